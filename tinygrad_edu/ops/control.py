"""Control flow as functions: branches and loops whose body is a function.

Run at once, they are Python's own `if`, `while` and `for`, and tapes record what happens inside.
They are for what Python's cannot do: under `vmap` the examples of a batch may take different
branches and numbers of turns. Then every branch is computed and each example keeps its own; so a
branch must not fail where it is not taken, and its gradient must be finite there.

The names and orders of arguments are those of JAX (jax.lax) and of keras.ops.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from .. import batching, dtypes, tensors, tree
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensors import Tensor, TensorLike
from .elementwise import where
from .logic import equal
from .movement import stack, unstack

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]

Structure = Any
"""A nested structure of Tensors."""


def cond(
    pred: TensorLike,
    true_fun: Callable[..., Structure],
    false_fun: Callable[..., Structure],
    /,
    *operands: Any,
) -> Structure:
    """`true_fun(*operands)` where `pred`, a boolean scalar, holds, else `false_fun(*operands)`.

    Where `pred` differs between the examples of a batch both are computed, and their results must
    have one structure and shape.

    >>> cond(2.0 > 1.0, lambda x: x + 1.0, lambda x: x - 1.0, 5.0)
    6.0
    """
    holds = _scalar("cond", pred)
    if not batching.is_mapped(holds):
        return true_fun(*operands) if bool(holds) else false_fun(*operands)
    return _chosen("cond", holds, true_fun(*operands), false_fun(*operands))


def switch(
    index: TensorLike, branches: Sequence[Callable[..., Structure]], /, *operands: Any
) -> Structure:
    """`branches[index](*operands)`; an index outside is taken for the nearest.

    Where `index` differs between the examples of a batch all are computed, and their results must
    have one structure and shape.

    >>> switch(1, [lambda x: x, lambda x: -x], 5.0)
    -5.0
    """
    if not isinstance(branches, (list, tuple)) or not branches:
        raise ArgumentError("switch: takes a list or tuple of at least one function")
    number = _scalar("switch", index)
    if dtypes.kind(number.dtype) not in "iu":
        raise DtypeError(f"switch: an index is an integer, not {number.dtype}")
    last = len(branches) - 1
    if not batching.is_mapped(number):
        return branches[builtins.min(builtins.max(int(number), 0), last)](*operands)
    found = branches[0](*operands)
    for i in range(1, last + 1):
        here = number >= i if i == last else equal(number, i)
        found = _chosen("switch", here, branches[i](*operands), found)
    return found


def while_loop(
    cond: Callable[..., TensorLike],
    body: Callable[..., Structure],
    loop_vars: Structure,
    /,
    *,
    maximum_iterations: int | None = None,
) -> Structure:
    """`loop_vars = body(loop_vars)` as long as `cond(loop_vars)` holds, at most
    `maximum_iterations` times. The structure, shapes and dtypes of the variables stay the same.

    Where `cond` differs between the examples of a batch, it goes on for as long as any of them
    does; those that are done keep what they have.

    >>> while_loop(lambda x: x < 100.0, lambda x: x * 3.0, 1.0)
    Tensor(243., dtype=float32)
    """
    held, weak = _started(loop_vars)
    turns = 0
    while maximum_iterations is None or turns < maximum_iterations:
        holds = _scalar("while_loop", cond(held))
        going = batching.any_example(holds)
        if not going:
            break
        held = _carried("while_loop", held, body(held), weak, holds)
        turns += 1
    return held


def fori_loop(
    lower: TensorLike, upper: TensorLike, body_fun: Callable[..., Structure], init_val: Structure, /
) -> Structure:
    """`value = body_fun(i, value)` for i from `lower` to `upper` (not included).

    The structure, shapes and dtypes of the value stay the same.

    >>> fori_loop(0, 4, lambda i, x: x * 2.0, 1.0)
    Tensor(16., dtype=float32)
    """
    first, end = _scalar("fori_loop", lower), _scalar("fori_loop", upper)
    if not (batching.is_mapped(first) or batching.is_mapped(end)):
        held, weak = _started(init_val)
        for i in range(int(first), int(end)):
            held = _carried("fori_loop", held, body_fun(i, held), weak)
        return held
    found: Structure = while_loop(
        lambda state: state[0] < end,
        lambda state: (state[0] + 1, body_fun(*state)),
        (first, init_val),
    )[1]
    return found


def scan(
    f: Callable[[Any, Any], tuple[Structure, Structure]],
    init: Structure,
    xs: Structure = None,
    /,
    length: int | None = None,
    *,
    reverse: bool = False,
) -> tuple[Structure, Structure]:
    """A loop that carries a value along and keeps one from each turn: `carry, y = f(carry, x)` for
    each x of `xs` along its first axis. Gives the last carry, and the ys stacked.

    `xs` is a nested structure of Tensors with equal first sizes, or None for `length` turns with
    x = None. With `reverse` it goes from the last to the first; the ys stay in place.

    >>> import tinygrad_edu as edu
    >>> scan(lambda total, x: (total + x, total), 0.0, edu.tensor([1.0, 2.0, 3.0]))
    (Tensor(6., dtype=float32), Tensor([0., 1., 3.], dtype=float32))
    """
    leaves, structure = tree.flatten(tree.map(tensors.as_tensor, xs))
    turns = _turns("scan", leaves, length)
    rows = [unstack(x) for x in leaves]
    carry, weak = _started(init)
    kept: list[Any] = [None] * turns
    for i in range(turns)[::-1] if reverse else range(turns):
        result = f(carry, structure.unflatten([row[i] for row in rows]))
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(f"scan: the function returns a pair (carry, y), not {result!r}")
        carry = _carried("scan", carry, result[0], weak)
        kept[i] = result[1]
    return carry, _stacked("scan", kept)


def map(f: Callable[[Any], Structure], xs: Structure, /) -> Structure:
    """`f(x)` for each x of `xs` along its first axis, one after another, stacked. `vmap` does it
    for all at once, and takes the memory for all at once.

    >>> import tinygrad_edu as edu
    >>> map(lambda x: x * x, edu.tensor([1.0, 2.0, 3.0]))
    Tensor([1., 4., 9.], dtype=float32)
    """
    if not callable(f):
        raise ArgumentError(f"map: takes a function and then values, not {f!r}")
    leaves, structure = tree.flatten(tree.map(tensors.as_tensor, xs))
    turns = _turns("map", leaves, None)
    rows = [unstack(x) for x in leaves]
    return _stacked("map", [f(structure.unflatten([row[i] for row in rows])) for i in range(turns)])


def _scalar(name: str, x: TensorLike) -> Tensor:
    found = tensors.as_tensor(x)
    if found.shape:
        raise ShapeError(f"{name}: decides by a scalar, not by a Tensor of shape {found.shape}")
    return found


def _turns(name: str, leaves: Sequence[Tensor], length: int | None) -> int:
    sizes = {x.shape[0] if x.shape else -1 for x in leaves}
    if length is not None:
        sizes.add(length)
    if len(sizes) != 1 or -1 in sizes:
        shapes = ", ".join(str(x.shape) for x in leaves) or "nothing"
        raise ShapeError(
            f"{name}: takes values of one first size (or, for None, a length), not {shapes}"
            + ("" if length is None else f" and length {length}")
        )
    return sizes.pop()


def _stacked(name: str, values: Sequence[Structure]) -> Structure:
    """Structures of one kind as one, each leaf stacked along a new first axis."""
    if not values:
        raise ShapeError(f"{name}: with no turns, nobody knows the shape of what a turn keeps")
    return tree.map(lambda *column: stack(column), *values)


def _started(values: Structure) -> tuple[Structure, list[bool]]:
    """What a loop starts with, as Tensors, and which of them were numbers without a dtype."""
    leaves = tree.leaves(values)
    return tree.map(tensors.as_tensor, values), [tensors.is_weak(x) for x in leaves]


def _carried(
    name: str,
    before: Structure,
    after: Structure,
    weak: Sequence[bool],
    holds: Tensor | None = None,
) -> Structure:
    """What a turn made of the loop's values, of the same structure, shapes and dtypes as before;
    where a condition differs between examples, only for those for which it holds."""
    leaves, structure = tree.flatten(before)
    found, shape = tree.flatten(after)
    if shape != structure:
        raise ArgumentError(f"{name}: the loop's value was {before!r}, and after a turn {after!r}")
    new = [tensors.as_tensor(x, like=old) for x, old in zip(found, leaves, strict=True)]
    for x, old, free in zip(new, leaves, weak, strict=True):
        if x.shape != old.shape or (x.dtype != old.dtype and not free):
            raise ShapeError(
                f"{name}: a value of the loop was {old.dtype} of shape {old.shape}, and after a "
                f"turn {x.dtype} of shape {x.shape}; it must stay the same"
            )
    result = structure.unflatten(new)
    if holds is None or not batching.is_mapped(holds):
        return result
    return _chosen(name, holds, result, before)


def _chosen(name: str, holds: Tensor, these: Structure, others: Structure) -> Structure:
    """For each example the one structure or the other."""

    def choose(x: Any, y: Any) -> Tensor:
        this, that = tensors.as_tensors(x, y)
        if this.shape != that.shape:
            raise ShapeError(f"{name}: the branches gave shapes {this.shape} and {that.shape}")
        return where(holds, this, that)

    return tree.map(choose, these, others)
