"""float16 and bfloat16: every operation and composite against what the frameworks compute in
float32 from the same numbers, rounded. So it is our error that is measured, and not theirs.

In float32 the frameworks agree with each other, a ten-thousandth of a half's unit apart (the other
tests say so): gradients are held against one of them only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tinygrad_edu import dtypes

from .agreement import NOT_DIFFERENTIATED
from .drawn import drawn
from .frameworks import FRAMEWORKS, Framework
from .samples import Sample, at_kinks, ordinary, special
from .subjects import Subject
from .test_operations import OF_FLOATS, PAIRS, problems

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# What is not the same function in another dtype, so that a wide result rounded says nothing.
NOT_COMPARED = {
    "nextafter": "the next number is another one in each dtype",
    "nan_to_num": "it puts the largest number of the dtype for infinity",
}

# Where a step on the way to the second order is too large for float16, though its end is not.
OVERFLOWS = {("power", "float16"): "y (y - 1) x ** (y - 2) is computed factor by factor"}

MODERATE = 100
"""What is made of several operations may overflow between two of them: its arguments stay below."""

HALVES = ("float16", "bfloat16") if dtypes.bfloat16() else ("float16",)


def one_framework(subject: Subject) -> Framework:
    """The quickest of those that differentiate this; else of those that have it."""
    names = [name for name in ("torch", "tensorflow", "jax") if name in subject.references]
    able = [name for name in names if (subject.name, name) not in NOT_DIFFERENTIATED]
    return FRAMEWORKS[(able or names)[0]]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "subject", [s for s in OF_FLOATS if s.references and s.name not in NOT_COMPARED], ids=str
)
def test_gradients_agree_with_a_framework(subject: Subject, dtype: str) -> None:
    samples = [
        *ordinary(subject, dtype),
        *at_kinks(subject, dtype),
        *drawn(subject, (dtype,), special=False)[::2],
    ]
    derive = (subject.name, dtype) not in OVERFLOWS
    assert problems(subject, one_framework(subject), samples, derive=derive) == []


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("subject", "framework"),
    [
        pytest.param(s, f, id=f"{s}-{f.name}")
        for s, f in PAIRS
        if s in OF_FLOATS and s.name not in NOT_COMPARED
    ],
)
def test_values_agree_with_the_framework(
    subject: Subject, framework: Framework, dtype: str
) -> None:
    samples = [*ordinary(subject, dtype), *moderate(subject, dtype)]
    assert problems(subject, framework, samples, derive=False) == []


def moderate(subject: Subject, dtype: str) -> Iterator[Sample]:
    """The special samples, but for huge numbers where an operation does not stand alone."""
    for sample in special(subject, dtype):
        sizes = [np.abs(x[np.isfinite(x)]) for x in sample.arrays if x.dtype.kind != "b"]
        if subject.op is not None or all(np.all(size <= MODERATE) for size in sizes):
            yield sample
