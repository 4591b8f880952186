"""Every operation and composite against TensorFlow, PyTorch and JAX: value, gradient, gradient of
the gradient; against finite differences; on device xla; and its shape rule against real shapes.

Nobody writes a test for an operation: these are generated from the definitions.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tinygrad_edu import dtypes

from .agreement import DISAGREEMENTS, NOT_DIFFERENTIATED, Disagreement, differences
from .drawn import drawn
from .frameworks import FRAMEWORKS, Derivatives, Framework
from .ours import NUMPY
from .samples import Sample, at_kinks, directions, ordinary, special, subnormal, weights
from .subjects import SUBJECTS, Subject, uncovered

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of special values

EVERY = list(SUBJECTS.values())
FLOATS = ("float32", "float64")
OF_FLOATS = [subject for subject in EVERY if "float64" in subject.dtypes]
PAIRS = [
    (subject, framework)
    for subject in EVERY
    for name, framework in FRAMEWORKS.items()
    if name in subject.references
]
IN_EACH_DTYPE = [
    pytest.param(subject, framework, dtype, id=f"{subject}-{framework.name}-{dtype}")
    for subject, framework in PAIRS
    for dtype in subject.dtypes
]
IN_EACH_FLOAT = [case for case in IN_EACH_DTYPE if case.values[2] in FLOATS]
DISAGREEING = [
    pytest.param(row, SUBJECTS[name], framework, id=f"{name}-{row.order}-{framework.name}")
    for row in DISAGREEMENTS
    for name in row.subjects.split()
    for framework in FRAMEWORKS.values()
    if row.concerns(name, framework.name)
]


def test_every_operation_is_compared_with_a_framework() -> None:
    assert uncovered() == []


@pytest.mark.parametrize(("subject", "framework", "dtype"), IN_EACH_DTYPE)
def test_agrees_with_the_framework(subject: Subject, framework: Framework, dtype: str) -> None:
    samples = [*ordinary(subject, dtype), *at_kinks(subject, dtype)]
    assert problems(subject, framework, samples) == []


@pytest.mark.parametrize(("subject", "framework", "dtype"), IN_EACH_FLOAT)
def test_agrees_on_zeros_infinities_and_nan(
    subject: Subject, framework: Framework, dtype: str
) -> None:
    assert problems(subject, framework, special(subject, dtype), derive=False) == []


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("subject", [s for s in OF_FLOATS if "torch" in s.references], ids=str)
def test_agrees_with_torch_on_subnormals(subject: Subject, dtype: str) -> None:
    # TensorFlow and XLA take them for zero.
    torch = FRAMEWORKS["torch"]
    assert problems(subject, torch, subnormal(subject, dtype), derive=False) == []


@pytest.mark.parametrize(("row", "subject", "framework"), DISAGREEING)
def test_known_disagreements_are_still_there(
    row: Disagreement, subject: Subject, framework: Framework
) -> None:
    others = tuple(other for other in DISAGREEMENTS if other is not row)
    found = _on_drawn(row, subject, framework, others)
    for dtype in subject.dtypes:
        if row.order in ("first", "second"):
            found += problems(subject, framework, at_kinks(subject, dtype), rows=others)
            continue
        samples = list(ordinary(subject, dtype))
        if dtype in FLOATS:
            samples = [*special(subject, dtype), *subnormal(subject, dtype)]
        found += problems(subject, framework, samples, derive=False, rows=others)
    assert found, f"{subject} agrees with {framework.name}: delete the row, or name fewer"


def _on_drawn(
    row: Disagreement, subject: Subject, framework: Framework, others: tuple[Disagreement, ...]
) -> list[str]:
    """The problems without this row, on what is drawn."""
    derive = row.order not in ("value", "zero")
    samples = drawn(subject, subject.dtypes, special=not derive)
    if framework.name == "torch" and not derive:
        samples = [*samples, *drawn(subject, subject.dtypes, special=True, tiny=True)]
    return problems(subject, framework, samples, derive=derive, rows=others)


def results(
    subject: Subject, sample: Sample, other: Framework, derive: bool = True
) -> tuple[Derivatives, Derivatives]:
    """Ours and another's, with as many orders as there are."""
    derive = derive and (subject.name, other.name) not in NOT_DIFFERENTIATED
    found = ours(subject, sample, derive)
    return found, theirs(subject, sample, other, found)


def ours(subject: Subject, sample: Sample, derive: bool = True) -> Derivatives:
    """What we compute on device numpy."""
    function = sample.call.bind(subject.function)
    value = NUMPY.value(function, sample.arrays)
    if not derive or not sample.argnums or not dtypes.is_float(value.dtype):
        return Derivatives(value, [], [])
    return NUMPY.derivatives(function, sample.arrays, sample.argnums, *_weighed(sample, value))


def theirs(subject: Subject, sample: Sample, other: Framework, found: Derivatives) -> Derivatives:
    """What another computes where we `found` this. In half precision the other computes in
    float32, and the result is rounded."""
    function = subject.function
    if other.name in FRAMEWORKS:
        function = other.function(subject.references[other.name])
    function = sample.call.bind(function)
    half = any(dtypes.is_half(x.dtype) for x in sample.arrays)
    arrays = [_widened(x) for x in sample.arrays] if half else sample.arrays
    if not found.first:
        result = Derivatives(other.value(function, arrays), [], [])
    else:
        cotangent, moves = _weighed(sample, found.value)
        if half:
            cotangent, moves = _widened(cotangent), [_widened(x) for x in moves]
        result = other.derivatives(function, arrays, sample.argnums, cotangent, moves)
    return _rounded(result, found) if half else result


def _weighed(sample: Sample, value: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """A cotangent for this value, and a direction for each argument."""
    inputs = [sample.arrays[i] for i in sample.argnums]
    return weights(value.shape, value.dtype), directions(inputs)


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype("float32") if dtypes.is_half(array.dtype) else array


def _rounded(wide: Derivatives, found: Derivatives) -> Derivatives:
    """Their float32 as our half precision; any other dtype is left, to be found different."""

    def rounded(x: np.ndarray, like: np.ndarray) -> np.ndarray:
        return x.astype(like.dtype) if x.dtype == "float32" else x

    return Derivatives(
        rounded(wide.value, found.value),
        [rounded(x, like) for x, like in zip(wide.first, found.first, strict=True)],
        [rounded(x, like) for x, like in zip(wide.second, found.second, strict=True)],
    )


def problems(
    subject: Subject,
    other: Framework,
    samples: Iterable[Sample],
    *,
    derive: bool = True,
    rows: tuple[Disagreement, ...] = DISAGREEMENTS,
) -> list[str]:
    """What differs between ours and another's, in words. Without `derive`, values only; signs of
    zeros count there."""
    found: list[str] = []
    for sample in samples:
        pair = results(subject, sample, other, derive)
        found += differences(subject.name, other.name, sample, *pair, rows)
    return found
