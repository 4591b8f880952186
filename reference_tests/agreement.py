"""When two results agree: how close they must be, and the places where they are known to differ.

Errors are counted in units: the distance between 1 and the next number of the dtype, times the
larger of the two results where that is above 1. A difference of convention is a row of
`DISAGREEMENTS`, never a wide tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .frameworks import Derivatives
from .samples import Sample

# In units: a value, a gradient, a gradient of a gradient, whatever the dtype.
UNITS = {"value": 8.0, "zero": 0.0, "first": 8.0, "second": 16.0}

_LOG1P = "XLA's float64 log1p is off by up to 15 units; NumPy, TensorFlow and PyTorch agree"

# Looser ones, for an operation, a framework and an order, and why.
LOOSER: dict[tuple[str, str, str], tuple[float, str]] = {
    ("atanh", "jax", "value"): (20, _LOG1P),
    ("atanh", "device xla", "value"): (20, _LOG1P),
    ("cosh", "jax", "value"): (
        12,
        "XLA's float64 is off by up to 9 units where the result is huge",
    ),
    ("log1p", "jax", "value"): (20, _LOG1P),
    ("log1p", "device xla", "value"): (20, _LOG1P),
    ("prod", "torch", "second"): (64, "PyTorch divides the product by each factor"),
    ("scatter_multiply", "torch", "second"): (64, "PyTorch divides the product by each factor"),
    ("sinh", "jax", "value"): (
        12,
        "XLA's float64 is off by up to 9 units where the result is huge",
    ),
}

# What a framework refuses to differentiate is compared by its value.
NOT_DIFFERENTIATED: dict[tuple[str, str], str] = {
    ("floor_divide", "torch"): "PyTorch has no derivative of it",
    ("scatter_multiply", "jax"): "JAX has one only where it is told that no place comes twice",
}


@dataclass(frozen=True)
class Disagreement:
    """Where `frameworks` give something else than we do, of which order, and why."""

    subjects: str
    frameworks: str
    order: str
    where: Callable[..., Any]  # of the arrays and the parameters: a mask, or one truth for all
    why: str

    def concerns(self, subject: str, framework: str) -> bool:
        return subject in self.subjects.split() and framework in self.frameworks.split()


def _always(*arrays: np.ndarray, **params: Any) -> bool:
    return True


def _any_nan(*arrays: np.ndarray, **params: Any) -> bool:
    return any(bool(np.isnan(x).any()) for x in arrays)


def _no_spread(x: np.ndarray, axis: Any, **params: Any) -> bool:
    return bool(np.any(x.std(axis) == 0))


_SIGNS = "0 and -0 are equal, and which of them comes out is left open: ours is NumPy's"

# Sorted by order, then by operation. A row that no sample needs any longer fails the suite.
DISAGREEMENTS: tuple[Disagreement, ...] = (
    Disagreement(
        "argmax argmin", "tensorflow", "value", _any_nan,
        "TensorFlow passes over NaN; for us it is the extreme, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "astype", "jax", "value", lambda x, dtype: ~np.isfinite(x) & (dtype == "int32"),
        "XLA gives the nearest integer, and 0 for NaN; ours is the processor's, as in NumPy, "
        "TensorFlow and PyTorch",
    ),
    Disagreement(
        "bitwise_left_shift", "tensorflow", "value", lambda x, y: y >= 8 * x.itemsize,
        "TensorFlow shifts by one place less than there are; we shift everything out, as NumPy, "
        "PyTorch and JAX do",
    ),
    Disagreement(
        "erf", "tensorflow", "value", lambda x: np.abs(x) > 1e30,
        "TensorFlow's float64 gives NaN; the limit is 1, as in PyTorch and JAX",
    ),
    Disagreement(
        "floor_divide", "tensorflow", "value",
        lambda x, y: np.isinf(x) | (np.abs(x) < 1e-30) | (np.abs(y) > 1e30),
        "TensorFlow rounds the quotient before the floor; we follow Python, as NumPy, PyTorch and "
        "JAX do",
    ),
    Disagreement(
        "remainder", "torch", "value", lambda x, y: np.abs(x) / np.abs(y) > 1e5,
        "PyTorch subtracts a rounded quotient; we compute it exactly, as NumPy, TensorFlow, JAX do",
    ),
    Disagreement(
        "scatter_max scatter_min", "tensorflow", "value", _any_nan,
        "TensorFlow passes over NaN; ours wins, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "sign", "torch", "value", np.isnan,
        "PyTorch gives 0 for NaN; we give NaN, as NumPy, TensorFlow and JAX do",
    ),
    Disagreement("floor_divide maximum mean minimum sign sum", "jax", "zero", _always, _SIGNS),
    Disagreement("max min", "torch jax", "zero", _always, _SIGNS),
    Disagreement("matmul", "torch", "zero", _always, _SIGNS),
    Disagreement("mean sum", "tensorflow", "zero", _always, _SIGNS),
    Disagreement("relu", "tensorflow torch", "zero", _always, _SIGNS),
    Disagreement("remainder", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement("scatter_max scatter_min", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement(
        "abs", "jax", "first", lambda x: x == 0,
        "JAX's slope at 0 is 1; ours is 0, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "maximum minimum", "tensorflow", "first", lambda x, y: x == y,
        "TensorFlow gives a tie's gradient to the first; we share it, as PyTorch and JAX do",
    ),
    Disagreement(
        "power", "tensorflow jax", "first", lambda x, y: (x == 0) & (y == 0),
        "theirs is NaN for the base at 0 ** 0; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "power", "tensorflow", "first", lambda x, y: x < 0,
        "TensorFlow's is 0 for the exponent of a negative base; ours is NaN, as in PyTorch and JAX",
    ),
    Disagreement(
        "std", "tensorflow jax", "first", _no_spread,
        "theirs is NaN where all are equal; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "power", "tensorflow", "second", lambda x, y: x <= 0,
        "at 0 theirs is NaN; below 0 ours is, where it involves the exponent",
    ),
    Disagreement("power", "jax", "second", lambda x, y: x == 0, "theirs is NaN where x is 0"),
    Disagreement(
        "power", "torch", "second", lambda x, y: (x == 0) | (y == 0),
        "theirs is NaN where x is 0, and lacks a term, 1 / x, where y is 0",
    ),
    Disagreement(
        "prod", "tensorflow", "second", lambda x, **params: bool(np.any(x == 0)),
        "TensorFlow's is 0 where a factor is 0; ours is right, as PyTorch's and JAX's",
    ),
    Disagreement(
        "std", "tensorflow jax", "second", _no_spread,
        "theirs is NaN where all are equal; ours is 0, as in PyTorch",
    ),
)  # fmt: skip


def errors(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The error of each element, in units; infinite for what is not comparable."""
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
    if ours.dtype.kind != "f":
        return np.where(same, 0.0, np.inf)
    with np.errstate(all="ignore"):
        scale = np.maximum(1, np.maximum(np.abs(ours), np.abs(theirs))) * np.finfo(ours.dtype).eps
        found = np.where(same, 0.0, np.abs(ours - theirs) / scale)
    return np.where(same, 0.0, np.where(np.isfinite(found) & (found > 0), found, np.inf))


def other_zero(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Infinity where both are zero, of different signs."""
    if ours.dtype.kind != "f":
        return np.zeros(ours.shape)
    differ = (ours == 0) & (theirs == 0) & (np.signbit(ours) != np.signbit(theirs))
    return np.where(differ, np.inf, 0.0)


def differences(
    subject: str,
    framework: str,
    sample: Sample,
    ours: Derivatives,
    theirs: Derivatives,
    rows: tuple[Disagreement, ...],
) -> Iterator[str]:
    """What differs between two results that should agree, in words."""
    for order, label, found, expected in _pairs(sample, ours, theirs):
        if found.shape != expected.shape:
            yield f"{label}: shape {found.shape}, {framework} gives {expected.shape}: {sample}"
            continue
        if found.dtype != expected.dtype and found.dtype.kind not in "iu":
            yield f"{label}: dtype {found.dtype}, {framework} gives {expected.dtype}: {sample}"
            continue
        measure = other_zero if order == "zero" else errors
        excused = excuses(subject, framework, order, sample, rows)
        error = np.where(excused, 0, measure(found, expected))
        limit = LOOSER.get((subject, framework, order), (UNITS[order], ""))[0]
        if np.any(error > limit):
            place = np.unravel_index(np.argmax(error), error.shape)
            yield (
                f"{label}: {found[place]!r}, {framework} gives {expected[place]!r}: "
                f"{error[place]:.3g} units, at most {limit:g}, at {tuple(map(int, place))}, of "
                f"{sample}"
            )


def excuses(
    subject: str, framework: str, order: str, sample: Sample, rows: tuple[Disagreement, ...]
) -> Any:
    """Which elements are known to differ."""
    found: Any = False
    for row in rows:
        if row.order == order and row.concerns(subject, framework):
            found = found | np.asarray(row.where(*sample.arrays, **sample.call.params))
    return found


def _pairs(
    sample: Sample, ours: Derivatives, theirs: Derivatives
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    yield "value", "value", ours.value, theirs.value
    if not ours.first:
        yield "zero", "sign of zero", ours.value, theirs.value
    for order, words in (("first", "gradient"), ("second", "gradient of the gradient")):
        pairs = zip(sample.argnums, getattr(ours, order), getattr(theirs, order), strict=False)
        for argument, found, expected in pairs:
            yield order, f"{words} of argument {argument}", found, expected
