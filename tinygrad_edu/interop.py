"""How NumPy's own functions treat a Tensor.

`np.sin(tensor)` and `array * tensor` become our operations, and are recorded. A NumPy function
that has none of the same name gets NumPy arrays, and gives what it gives for them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops, tree
from .op import Elementwise, Op
from .tensors import Operators

if TYPE_CHECKING:
    import inspect

_BY_UFUNC: dict[Any, Op] = {
    getattr(np, op.ufunc): op
    for op in vars(ops).values()
    if isinstance(op, Elementwise) and op.ufunc is not None
}
_BY_UFUNC[np.matmul] = ops.matmul


def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: Any) -> Any:
    """`Tensor.__array_ufunc__`: our operation for a ufunc, where nothing but operands is given."""
    op = _BY_UFUNC.get(ufunc)
    if op is not None and method == "__call__" and not kwargs:
        return op(*inputs)
    return getattr(ufunc, method)(*_to_numpy(inputs), **_to_numpy(kwargs))


def array_function(function: Any, args: Any, kwargs: Any) -> Any:
    """`Tensor.__array_function__`: our function of the same name, else NumPy's on arrays."""
    name = function.__name__
    ours = getattr(ops, _RENAMED.get(name, name), None)
    if ours is not None and getattr(np, name, None) is function:
        positional, keywords = _parameters(ours)
        names = list(_signature(function).parameters)[positional:]
        named = {**dict(zip(names, args[positional:], strict=False)), **kwargs}
        if args and set(named) <= keywords:
            return ours(*args[:positional], **named)
    return function(*_to_numpy(args), **_to_numpy(kwargs))


_RENAMED = {"concatenate": "concat"}


@functools.cache
def _signature(function: Any) -> inspect.Signature:
    import inspect  # takes long

    return inspect.signature(function)


@functools.cache
def _parameters(ours: Any) -> tuple[int, set[str]]:
    """How many arguments our function takes by position, and the names it takes."""
    parameters = _signature(ours).parameters.values()
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return len(positional), {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}


def _to_numpy(tree_of_tensors: Any) -> Any:
    return tree.map(lambda x: x.numpy() if isinstance(x, Operators) else x, tree_of_tensors)
