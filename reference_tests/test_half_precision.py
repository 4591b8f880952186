"""float16 and bfloat16: every operation and composite against what the frameworks compute in
float32 from the same numbers, rounded. So it is our error that is measured, and not theirs.

In float32 the frameworks agree with each other, a ten-thousandth of a half's unit apart (the other
tests say so): gradients are held against one of them only.
"""

from __future__ import annotations

import pytest

from tinygrad_edu import dtypes

from .agreement import NOT_DIFFERENTIATED
from .drawn import drawn
from .frameworks import FRAMEWORKS, Framework
from .samples import at_kinks, ordinary, special
from .subjects import Subject
from .test_operations import OF_FLOATS, PAIRS, problems

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

HALVES = ("float16", "bfloat16") if dtypes.bfloat16() else ("float16",)


def one_framework(subject: Subject) -> Framework:
    """The quickest of those that differentiate this; else of those that have it."""
    names = [name for name in ("torch", "tensorflow", "jax") if name in subject.references]
    able = [name for name in names if (subject.name, name) not in NOT_DIFFERENTIATED]
    return FRAMEWORKS[(able or names)[0]]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("subject", [s for s in OF_FLOATS if s.references], ids=str)
def test_gradients_agree_with_a_framework(subject: Subject, dtype: str) -> None:
    samples = [
        *ordinary(subject, dtype),
        *at_kinks(subject, dtype),
        *drawn(subject, (dtype,), special=False)[::2],
    ]
    assert problems(subject, one_framework(subject), samples) == []


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("subject", "framework"),
    [pytest.param(s, f, id=f"{s}-{f.name}") for s, f in PAIRS if s in OF_FLOATS],
)
def test_values_agree_with_the_framework(
    subject: Subject, framework: Framework, dtype: str
) -> None:
    samples = [*ordinary(subject, dtype), *special(subject, dtype)]
    assert problems(subject, framework, samples, derive=False) == []
