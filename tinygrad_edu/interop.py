"""Tensors among other libraries: NumPy's functions, the array API, DLPack.

`np.sin(tensor)` and `array * tensor` become our operations, and are recorded. A NumPy function
that has none of the same name, or takes more than ours, gets NumPy arrays and gives what it gives
for them; where that would lose a gradient it is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes, ops, tape, tree
from .errors import ArgumentError, DtypeError, GradientError, ShapeError
from .tensors import Operators, Tensor

if TYPE_CHECKING:
    import inspect

_RENAMED = {
    "absolute": "abs",
    "true_divide": "divide",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "arctan2": "atan2",
    "amax": "max",
    "amin": "min",
    "around": "round",
    "concatenate": "concat",
    "cumsum": "cumulative_sum",
    "cumprod": "cumulative_prod",
}
"""Where NumPy's older name is not the array API's, which is ours."""

_NUMPYS_OWN = {
    "unique", "broadcast_arrays", "linspace", "save", "array_repr", "array_str", "copyto",
}  # fmt: skip
"""Functions of NumPy's whose results, or effects, are not what ours of that name has."""


def no_attribute(module: str, name: str) -> AttributeError:
    """For a name that a module does not have; where it is NumPy's older one, with ours."""
    ours = _RENAMED.get(name)
    hint = f": here it is {ours!r}, as in the array API" if ours else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def array(x: Tensor, dtype: Any, copy: bool | None) -> np.ndarray:
    """`Tensor.__array__`: the read-only view of it, unless another dtype or a copy is asked for."""
    found = x.numpy()
    if dtype is not None and found.dtype != dtype:
        if copy is False:
            raise ValueError(f"a Tensor of dtype {found.dtype} is not {dtype} without a copy")
        return found.astype(dtype)
    return found.copy() if copy else found


def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: Any) -> Any:
    """`Tensor.__array_ufunc__`: our operation for a ufunc, where nothing but operands is given."""
    ours = getattr(ops, _RENAMED.get(ufunc.__name__, ufunc.__name__), None)
    if ours is not None and method == "__call__" and not kwargs:
        return ours(*inputs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    return _by_numpy(name, getattr(ufunc, method), inputs, kwargs)


def array_function(function: Any, args: Any, kwargs: Any) -> Any:
    """`Tensor.__array_function__`: our function of the same name, else NumPy's on arrays."""
    name = function.__name__
    if function.__module__ == "numpy.linalg":
        ours = getattr(getattr(ops, "linalg", None), name, None)
    elif getattr(np, name, None) is function and name not in _NUMPYS_OWN:
        ours = getattr(ops, _RENAMED.get(name, name), None)
    else:
        ours = None
    if ours is not None and args:
        _, needed, keywords = _parameters(ours)
        positional = _alike(function, ours)
        more = args[positional:]
        names = list(_signature(function).parameters)[positional:]
        named = {**dict(zip(names, more, strict=False)), **kwargs}
        fits = len(more) <= len(names) and len(args) + len(kwargs) >= needed
        if fits and set(named) <= keywords:
            try:
                return ours(*args[:positional], **named)
            except (ArgumentError, ShapeError) as error:
                try:
                    return _by_numpy(name, function, args, kwargs)  # which may take more than ours
                except Exception:
                    raise error from None
    return _by_numpy(name, function, args, kwargs)


def _by_numpy(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What NumPy gives for arrays, unless that is numbers whose gradient a tape asks for."""
    found = function(*_to_numpy(args), **_to_numpy(kwargs))
    given = [x for x in tree.leaves((args, kwargs)) if isinstance(x, Operators)]
    if any(map(tape.is_followed, given)) and any(map(_is_float, tree.leaves(found))):
        raise GradientError(
            f"np.{name} is no operation of tinygrad_edu with these arguments, so no gradient would "
            "flow through it: use operations of edu.ops, or leave the tape with x.numpy()"
        )
    return found


def _is_float(x: Any) -> bool:
    if isinstance(x, (np.ndarray, np.generic)):
        return dtypes.is_float(x.dtype)
    return isinstance(x, float)


@functools.cache
def _signature(function: Any) -> inspect.Signature:
    import inspect  # takes long

    return inspect.signature(function)


@functools.cache
def _parameters(ours: Any) -> tuple[int, int, set[str]]:
    """How many arguments our function takes by position, how many it needs, and the names that it
    takes."""
    parameters = _signature(ours).parameters.values()
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    any_number = any(p.kind is p.VAR_POSITIONAL for p in positional)
    names = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    needed = [p for p in positional if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    return 1000 if any_number else len(positional), len(needed), names


@functools.cache
def _alike(function: Any, ours: Any) -> int:
    """How many arguments of NumPy's function and of ours may be the same by position: until one of
    ours has another place in NumPy's."""
    known = _signature(function).parameters.values()
    theirs = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    count = _parameters(ours)[0]
    pairs = enumerate(zip([*_signature(ours).parameters][:count], theirs, strict=False))
    return next((i for i, (a, b) in pairs if a != b and a in theirs), count)


def as_method(function: Any, x: Operators, args: Any, kwargs: Any) -> Any:
    """A function of x, called as a method: what the function takes by name only, a method also
    takes by position, as in `x.sum(0)`."""
    if not args:
        return function(x, **kwargs)
    positional = _parameters(function)[0] - 1
    names = list(_signature(function).parameters)[1 + positional :]
    if len(args) - positional > len(names):
        raise ArgumentError(f"{function}: takes at most {positional + len(names)} arguments")
    named = dict(zip(names, args[positional:], strict=False))
    return function(x, *args[:positional], **named, **kwargs)


def _to_numpy(tree_of_tensors: Any) -> Any:
    return tree.map(lambda x: x.numpy() if isinstance(x, Operators) else x, tree_of_tensors)


_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def array_namespace(version: str | None) -> Any:
    """`Tensor.__array_namespace__`: the module that holds the functions of the array API."""
    if version not in (None, *_VERSIONS):
        raise ArgumentError(
            f"__array_namespace__: version {version!r} of the array API is not supported; "
            f"{', '.join(_VERSIONS)} are"
        )
    return ops


def dlpack(x: Tensor, options: dict[str, Any]) -> Any:
    """`Tensor.__dlpack__`: the memory itself. Whoever gets it must not write to it, unless it was
    exported with `copy=True`."""
    if x._device.level:
        return x.numpy().copy().__dlpack__(**options)  # or an error, that says why there is none
    try:
        return x._data.__dlpack__(**options)
    except BufferError as error:
        readonly = isinstance(x._data, np.ndarray) and not x._data.flags.writeable
        if not readonly or options.get("copy") is False:
            raise DtypeError(f"__dlpack__: {error} ({x.dtype} of shape {x.shape})") from None
    return x._data.copy().__dlpack__(**options)  # a broadcast view, which older consumers refuse
