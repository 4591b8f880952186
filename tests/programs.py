"""Random programs for tests of what rewrites and lowers graphs: functions of a few arrays, made of
operations that a strategy of hypothesis draws, and arguments to call them with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_edu as edu
from tinygrad_edu.graph import Graph
from tinygrad_edu.tensors import Tensor

Step = tuple[str, Callable[..., Any], tuple[int, ...]]


@dataclass(frozen=True, repr=False)
class Program:
    """Steps, each a function of values that were there before: the arguments, then what the steps
    made. The results are some of these values; or, with `slopes`, the gradients of their sum."""

    arguments: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    results: tuple[int, ...]
    slopes: bool

    def __call__(self, *arguments: Tensor) -> list[Any]:
        if not self.slopes:
            return self.values(*arguments)
        with edu.GradientTape() as tape:
            tape.watch(arguments)
            total: Any = 0.0
            for y in self.values(*arguments):
                total = total + edu.ops.sum(y)
        found = tape.gradient(total, list(arguments))
        return [total, *[g for g in found if g is not None]]

    def values(self, *arguments: Tensor) -> list[Any]:
        known: list[Any] = list(arguments)
        for _, step, operands in self.steps:
            known.append(step(*[known[i] for i in operands]))
        return [known[i] for i in self.results]

    def graph(self) -> Graph:
        return edu.jit(self).trace(*self.arguments)

    def __repr__(self) -> str:
        """What hypothesis shows of one that fails."""
        lines = [f"v{i} = {x!r}" for i, x in enumerate(self.arguments)]
        for i, (text, _, operands) in enumerate(self.steps, len(self.arguments)):
            lines.append(f"v{i} = {text} of {', '.join([f'v{j}' for j in operands])}")
        what = "gradients of " if self.slopes else ""
        return "\n".join(["", *lines, f"{what}{', '.join([f'v{i}' for i in self.results])}"])


def whole_programs(dtype: str) -> st.SearchStrategy[Program]:
    """Programs of small whole numbers: floats compute them exactly, in whatever order. Floats may
    be infinite, NaN and -0.0 too."""
    numbers = [0, 1, -1, 2, 3] if "int" in dtype else [0.0, -0.0, 1.0, -1.0, 2.0, 4, 1, True]
    special = [] if "int" in dtype else [math.inf, -math.inf, math.nan, -0.0]
    elements = st.sampled_from([*range(-4, 5), *special])
    return _programs(dtype, elements, [*_EXACT, _with_number(numbers)], _clipped, st.just(False))


def real_programs(dtype: str) -> st.SearchStrategy[Program]:
    """Programs of real numbers and smooth functions, and their gradients: in another order they
    give nearly the same."""
    numbers = [0.1, -0.7, 1.0, -1.0, 2, 3.0, 0.25, 1 / 3]
    elements = st.integers(-200, 200).map(lambda i: i / 97)
    makers = [*_EXACT, *_SMOOTH, _with_number(numbers), _with_number(numbers)]
    return _programs(dtype, elements, makers, _squeezed, st.booleans())


@st.composite
def _programs(
    draw: Any,
    dtype: str,
    elements: st.SearchStrategy[float],
    makers: Sequence[Callable[..., Step]],
    tamed: Callable[[Any], Any],
    slopes: st.SearchStrategy[bool],
) -> Program:
    def array(shape: Sequence[int]) -> Tensor:
        size = math.prod(shape)
        drawn = draw(st.lists(elements, min_size=size, max_size=size))
        return edu.tensor(np.array(drawn, dtype).reshape(shape))

    shapes = st.lists(st.integers(1, 3), max_size=3)
    arguments = [array(draw(shapes)) for _ in range(draw(st.integers(1, 3)))]
    known: list[Any] = list(arguments)
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 10))):
        text, step, operands = draw(st.sampled_from(makers))(draw, known, array)
        with np.errstate(all="ignore"):
            found = step(*[known[i] for i in operands])
            if _is_large(found):
                text, step = f"tamed {text}", _then(step, tamed)
                found = step(*[known[i] for i in operands])
        known.append(found)
        steps.append((text, step, operands))
    count = len(known)
    others = draw(st.lists(st.integers(0, count - 1), max_size=2))
    return Program(tuple(arguments), tuple(steps), (count - 1, *others), draw(slopes))


def _is_large(x: Tensor) -> bool:
    values = x.numpy()
    return bool((np.abs(values[np.isfinite(values)]) > 100).any())


def _then(step: Callable[..., Any], after: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *xs: after(step(*xs))


def _clipped(x: Tensor) -> Tensor:
    return edu.ops.clip(x, -9, 9)


def _squeezed(x: Tensor) -> Tensor:
    return edu.tanh(x * 0.01)


# What makes a step, of a way to draw, the values so far, and a way to make arrays


def _any(draw: Any, known: Sequence[Tensor], most: int = 1000) -> int:
    """One of the values of at most so many elements, more often than not the last."""
    small = [i for i, x in enumerate(known) if x.size <= most]
    return draw(st.one_of(st.just(small[-1]), st.just(small[-1]), st.sampled_from(small)))


def _of_one(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i = _any(draw, known)
    functions: list[tuple[str, Callable[..., Any]]] = [
        ("negative", edu.ops.negative),
        ("square", edu.ops.square),
        ("identity", edu.ops.identity),
        ("abs", edu.ops.abs),
        ("--x", lambda x: edu.ops.negative(-x)),
        ("clip", _clipped),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (i,)


def _with_number(numbers: Sequence[float]) -> Callable[..., Step]:
    def make(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
        n = draw(st.sampled_from(numbers))
        functions: dict[str, Callable[[Any], Any]] = {
            f"x + {n}": lambda x: x + n,
            f"{n} + x": lambda x: n + x,
            f"x - {n}": lambda x: x - n,
            f"{n} - x": lambda x: n - x,
            f"x * {n}": lambda x: x * n,
            f"{n} * x": lambda x: n * x,
            f"x ** {int(n % 3)}": lambda x: x ** int(n % 3),
        }
        if not isinstance(n, int) and n in (1, 2, 4, 0.25, 0.1, -1, 3, 1 / 3):
            functions[f"x / {n}"] = lambda x: x / n
        text = draw(st.sampled_from(list(functions)))
        return text, functions[text], (_any(draw, known),)

    return make


def _of_two(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i, j = _any(draw, known), _any(draw, known)
    try:
        np.broadcast_shapes(known[i].shape, known[j].shape)
    except ValueError:
        j = i
    functions: list[tuple[str, Callable[..., Any]]] = [
        ("add", edu.ops.add),
        ("subtract", edu.ops.subtract),
        ("multiply", edu.ops.multiply),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (i, j)


def _with_constant(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i = _any(draw, known)
    shape = known[i].shape[draw(st.integers(0, known[i].ndim)) :]
    held = array(shape)
    functions: list[tuple[str, Callable[..., Any]]] = [
        (f"x * {held}", lambda x: x * held),
        (f"{held} + x", lambda x: held + x),
        (f"x - {held} * 2", lambda x: x - held * 2),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (i,)


def _reduced(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i = _any(draw, known)
    axis = tuple(sorted(draw(st.sets(st.integers(0, known[i].ndim - 1))))) if known[i].ndim else ()
    keepdims = draw(st.booleans())

    def step(x: Tensor) -> Tensor:
        return edu.ops.sum(x, axis=axis, keepdims=keepdims) + 0  # -0.0 or 0.0 is left open

    return f"sum over {axis}{' kept' * keepdims}", step, (i,)


def _moved(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i = _any(draw, known, 100)
    shape = known[i].shape
    places = draw(st.permutations(range(len(shape))))
    front = draw(st.lists(st.integers(1, 2), max_size=4 - min(len(shape), 4)))
    functions: list[tuple[str, Callable[..., Any]]] = [
        ("flattened", lambda x: edu.ops.reshape(x, -1)),
        ("reshaped", lambda x: edu.ops.reshape(x, (1, *shape[::-1]))),
        ("reshaped there and back", lambda x: x.reshape(-1).reshape(shape)),
        (f"permuted to {places}", lambda x: edu.ops.permute_dims(x, places)),
        (
            f"permuted to {places} of the reverse",
            lambda x: edu.ops.permute_dims(edu.ops.transpose(x), places),
        ),
        (
            f"broadcast along {front} as a row",
            lambda x: edu.ops.broadcast_to(x.reshape((1, -1)), (*front, 2, x.size)),
        ),
        (f"broadcast along {front}", lambda x: edu.ops.broadcast_to(x, (*front, *shape))),
        ("reversed", lambda x: edu.ops.transpose(x)),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (i,)


def _chosen(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    """By the sign of the first argument, which comes out of nothing that may be rounded."""
    i = _any(draw, known)
    functions: list[tuple[str, Callable[..., Any]]] = [
        ("where(y > 0, x, 0)", lambda x, y: edu.where(_signs(x, y) > 0, x, 0)),
        ("where(y > 0, x, x)", lambda x, y: edu.where(_signs(x, y) > 0, x, x)),
        (
            "where(not y > 0, x, -x)",
            lambda x, y: edu.where(edu.ops.logical_not(_signs(x, y) > 0), x, -x),
        ),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (i, 0)


def _signs(x: Tensor, y: Tensor) -> Tensor:
    """y in a shape that does not broadcast x; its first element where there is none."""
    fits = y.ndim <= x.ndim and y.shape == x.shape[x.ndim - y.ndim :]
    return y if fits else y.reshape(-1)[0]


def _multiplied(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i = _any(draw, known, 30)
    if known[i].ndim < 2 or draw(st.booleans()):
        return "outer product", lambda x: x.reshape((-1, 1)) @ x.reshape((1, -1)), (i,)
    functions: list[tuple[str, Callable[..., Any]]] = [
        ("x @ x.T", lambda x: x @ edu.ops.matrix_transpose(x)),
        ("(x.T @ x).T", lambda x: edu.ops.matrix_transpose(edu.ops.matrix_transpose(x) @ x)),
        ("2 * x @ x.T", lambda x: (2 * x) @ edu.ops.matrix_transpose(x)),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (i,)


def _cast(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    i = _any(draw, known)
    wide = "int64" if known[i].dtype.kind == "i" else "float64"
    dtype = known[i].dtype
    return "cast there and back", lambda x: x.astype(wide).astype(dtype), (i,)


def _smooth(draw: Any, known: Sequence[Tensor], array: Any) -> Step:
    functions: list[tuple[str, Callable[..., Any]]] = [
        ("tanh", edu.tanh),
        ("sin", edu.sin),
        ("exp of tanh", lambda x: edu.exp(edu.tanh(x))),
        ("mean", edu.ops.mean),
        ("a scaled mean", lambda x: edu.ops.mean(x * x) * 3.0),
        ("half of itself", lambda x: x / 2.0),
        ("by its norm", lambda x: x / edu.sqrt(edu.ops.sum(x * x) + 1.0)),
        ("times its sum", lambda x: edu.ops.sum(x) * 0.01 * x),
        ("by twice its norm", lambda x: x / ((edu.ops.sum(x * x) + 1.0) * 2.0)),
        ("half of a scaled sum", lambda x: (x * 0.25 + 3.0) * 0.5),
        ("normalized", _normalized),
    ]
    text, function = draw(st.sampled_from(functions))
    return text, function, (_any(draw, known),)


def _normalized(x: Tensor) -> Tensor:
    """With an operation of several outputs in its gradient."""
    row = x.reshape(-1)
    return edu.layer_norm(x.reshape((1, -1)), row * 0.5, row, epsilon=0.5) * 0.25


_EXACT = [_of_one, _of_two, _with_constant, _reduced, _moved, _moved, _chosen, _multiplied, _cast]
_SMOOTH = [_smooth, _smooth]
