"""What every operation promises by itself, with no framework to compare with: gradients that
finite differences confirm, shapes and dtypes as its rule says, the same results on device xla,
integers and Python numbers as they should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.op import Aval, Binary, Elementwise, Op

from .frameworks import Arrays
from .ours import NUMPY, XLA
from .samples import Sample, directions, ordinary, weights
from .subjects import Subject, operations
from .test_operations import EVERY, FLOATS, OF_FLOATS, problems, results

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

OPERATIONS = [subject for subject in EVERY if subject.op is not None]
DIFFERENTIABLE = [s for s in OF_FLOATS if s.op is None or s.op.no_gradient is None]
ON_FLOATS = [s for s in OPERATIONS if isinstance(s.op, Elementwise) and s in OF_FLOATS]
IN_EACH_DTYPE = [
    pytest.param(subject, dtype, id=f"{subject}-{dtype}")
    for subject in EVERY
    for dtype in subject.dtypes
]

STEP = 2.0**-17
"""How far finite differences step; near the cube root of float64's precision."""

SLOPE_TOLERANCE = 1e-7
"""What a central difference may be off by: the step's square, times a third derivative."""


@pytest.mark.parametrize("subject", DIFFERENTIABLE, ids=str)
def test_gradients_are_what_finite_differences_give(subject: Subject) -> None:
    for sample in ordinary(subject, "float64"):
        ours, _ = results(subject, sample, NUMPY)
        if ours.value.dtype != "float64":
            continue  # astype, to a dtype too coarse for differences
        value, slope = partial(_value, subject, sample), partial(_slope, subject, sample)
        for argument, first, second in zip(sample.argnums, ours.first, ours.second, strict=True):
            _close(first, _differences(value, sample.arrays, argument), f"{sample}: gradient")
            _close(second, _differences(slope, sample.arrays, argument), f"{sample}: second order")


def _value(subject: Subject, sample: Sample, arrays: Arrays) -> float:
    """The function's value, weighed as `results` does."""
    found = NUMPY.value(sample.call.bind(subject.function), arrays)
    return float(np.sum(found * weights(found.shape, found.dtype)))


def _slope(subject: Subject, sample: Sample, arrays: Arrays) -> float:
    """The gradients, weighed as `results` does."""
    moved = sample._replace(arrays=tuple(arrays))
    gradients = results(subject, moved, NUMPY)[0].first
    return float(sum(np.sum(g * v) for g, v in zip(gradients, directions(gradients), strict=True)))


def _differences(function: Callable[[Arrays], float], arrays: Arrays, argument: int) -> np.ndarray:
    """The slope of a scalar function along each element of one argument, by central differences."""
    x = arrays[argument]
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        ends = []
        for step in (STEP, -STEP):
            moved = np.array(x)
            moved[place] += step
            ends.append(function([*arrays[:argument], moved, *arrays[argument + 1 :]]))
        found[place] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def _close(analytic: np.ndarray, numeric: np.ndarray, what: str) -> None:
    scale = max(1.0, float(np.max(np.abs(numeric), initial=0)))
    np.testing.assert_allclose(
        analytic, numeric, rtol=0, atol=SLOPE_TOLERANCE * scale, err_msg=what
    )


@pytest.mark.parametrize(("subject", "dtype"), IN_EACH_DTYPE)
def test_the_shape_rule_says_what_comes_out(subject: Subject, dtype: str) -> None:
    # Also for every other operation that the subject and its gradient use.
    used = set()
    for sample in ordinary(subject, dtype):
        with _watched() as calls:
            results(subject, sample, NUMPY)
        for op, arrays, params, out in calls:
            avals = [_aval(a) if hasattr(a, "dtype") else a for a in arrays]
            assert op.infer(*avals, **params) == _aval(out), f"{op}: {sample}"
            used.add(op)
    assert subject.op is None or subject.op in used


def _aval(out: Any) -> Any:
    """The shape and dtype of a result, or of each of several."""
    if isinstance(out, tuple):
        return tuple(map(_aval, out))
    return Aval(np.shape(out), out.dtype)


@contextmanager
def _watched() -> Iterator[list[tuple[Op, Any, Any, Any]]]:
    """Every call of a kernel of device numpy: operation, arrays, parameters, result."""
    kernels = edu.devices()[0].kernels
    calls: list[tuple[Op, Any, Any, Any]] = []
    kept = {op: kernels[op] for op in (*operations(), *kernels)}

    def watched(op: Op) -> Any:
        def kernel(*arrays: Any, **params: Any) -> Any:
            out = kept[op](*arrays, **params)
            calls.append((op, arrays, params, out))
            return out

        return kernel

    kernels.update({op: watched(op) for op in kept})
    try:
        yield calls
    finally:
        kernels.update(kept)


@pytest.mark.parametrize(("subject", "dtype"), IN_EACH_DTYPE)
def test_gradients_have_the_shape_and_dtype_of_their_arguments(
    subject: Subject, dtype: str
) -> None:
    for sample in ordinary(subject, dtype):
        ours, _ = results(subject, sample, NUMPY)
        for gradients in (ours.first, ours.second):
            for argument, gradient in zip(sample.argnums, gradients, strict=False):
                x = sample.arrays[argument]
                assert (gradient.shape, gradient.dtype) == (x.shape, x.dtype), str(sample)


@pytest.mark.parametrize(("subject", "dtype"), IN_EACH_DTYPE)
def test_device_xla_agrees_with_device_numpy(subject: Subject, dtype: str) -> None:
    # Each eager operation compiles for each shape, so gradients are compared on a few calls only.
    samples = list(ordinary(subject, dtype))
    assert problems(subject, XLA, samples[:3], rows=()) == []
    assert problems(subject, XLA, samples[3:], derive=False, rows=()) == []


@pytest.mark.parametrize("subject", ON_FLOATS, ids=str)
def test_integers_give_what_their_floats_give(subject: Subject) -> None:
    op = subject.op
    assert isinstance(op, Elementwise)
    for kind, dtype in (("i", "int32"), ("b", "bool")):
        if kind not in op.accepts:
            with pytest.raises(edu.errors.DtypeError, match=op.name):
                op(*[edu.ones(2, dtype=dtype)] * subject.arity)
            continue
        values = np.array([1, 2, 1, 3] if kind == "i" else [1, 1, 1, 1])
        integers = [edu.tensor(np.roll(values, i).astype(dtype)) for i in range(subject.arity)]
        floats = [edu.tensor(np.roll(values, i).astype("float64")) for i in range(subject.arity)]
        found, expected = op(*integers), op(*floats)
        wanted = {"same": dtype, "float": "float32", "bool": "bool"}[op.result]
        assert found.dtype == wanted
        tolerance = 4 * float(np.finfo("float32").eps) if op.result == "float" else 0.0
        np.testing.assert_allclose(
            found.numpy().astype("float64"),
            expected.numpy().astype(wanted).astype("float64"),
            rtol=tolerance,
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("subject", [s for s in ON_FLOATS if isinstance(s.op, Binary)], ids=str)
def test_a_python_number_never_widens_an_array(subject: Subject, dtype: str) -> None:
    x = edu.tensor(np.array([0.5, 1.5, 2.0], dtype))
    for number in (2.0, 1):
        array = edu.full((), float(number), dtype=dtype)
        for found, expected in (
            (subject.function(x, number), subject.function(x, array)),
            (subject.function(number, x), subject.function(array, x)),
        ):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (edu.arange(5), np.arange(5, dtype="int32")),
        (edu.arange(1.0, 2.0, 0.25), np.arange(1.0, 2.0, 0.25, dtype="float32")),
        (edu.eye(2, 3, k=1), np.eye(2, 3, 1, "float32")),
        (edu.full((2, 1), 7), np.full((2, 1), 7, "int32")),
        (edu.linspace(0, 1, 7), np.linspace(0, 1, 7, dtype="float32")),
        (edu.linspace(0, 1, 4, endpoint=False, dtype="float64"), np.linspace(0, 1, 4, False)),
        (edu.ones((0, 2)), np.ones((0, 2), "float32")),
        (edu.zeros(3, dtype="float64"), np.zeros(3)),
        (ops.full_like(np.zeros((2, 2)), 0.5), np.full((2, 2), 0.5)),
        (ops.ones_like(np.zeros(2, "int32")), np.ones(2, "int32")),
        (ops.zeros_like(np.ones(2)), np.zeros(2)),
    ],
)
def test_tensors_from_nothing_are_numpys(ours: edu.Tensor, expected: np.ndarray) -> None:
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours.numpy(), expected)
