"""Every operation and composite against TensorFlow, PyTorch and JAX: value, gradient, gradient of
the gradient; against finite differences; on device xla; and its shape rule against real shapes.

Nobody writes a test for an operation: these are generated from the definitions.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from .agreement import DISAGREEMENTS, NOT_DIFFERENTIATED, Disagreement, differences
from .frameworks import FRAMEWORKS, Derivatives, Framework
from .ours import NUMPY
from .samples import Sample, at_kinks, ordinary, special, subnormal, weights
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
    found: list[str] = []
    for dtype in subject.dtypes:
        if row.order in ("first", "second"):
            found += problems(subject, framework, at_kinks(subject, dtype), rows=others)
            continue
        samples = list(ordinary(subject, dtype))
        if dtype in FLOATS:
            samples = [*special(subject, dtype), *subnormal(subject, dtype)]
        found += problems(subject, framework, samples, derive=False, rows=others)
    assert found, f"{subject} agrees with {framework.name}: delete the row, or name fewer"


def results(
    subject: Subject, sample: Sample, other: Framework, derive: bool = True
) -> tuple[Derivatives, Derivatives]:
    """Ours and another's, with as many orders as there are."""
    derive = derive and (subject.name, other.name) not in NOT_DIFFERENTIATED
    function = sample.call.bind(subject.function)
    reference = function
    if other.name in FRAMEWORKS:
        reference = sample.call.bind(other.function(subject.references[other.name]))
    value = NUMPY.value(function, sample.arrays)
    if not derive or not sample.argnums or value.dtype.kind != "f":
        return Derivatives(value, [], []), Derivatives(
            other.value(reference, sample.arrays), [], []
        )
    inputs = [sample.arrays[i] for i in sample.argnums]
    question = (
        sample.arrays,
        sample.argnums,
        weights(value.shape, value.dtype),
        [weights(x.shape, x.dtype) for x in inputs],
    )
    return NUMPY.derivatives(function, *question), other.derivatives(reference, *question)


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
        ours, theirs = results(subject, sample, other, derive)
        found += differences(subject.name, other.name, sample, ours, theirs, rows)
    return found
