"""Every operation and composite against the frameworks on what hypothesis draws: shapes of any
rank, empty, broadcasting, in any layout; zeros, ties, edges, infinities, NaN, subnormal numbers.

`REFERENCE_EXAMPLES=100` draws a hundred for each test (`make test-all`); else there are a few, the
same each time.
"""

from __future__ import annotations

import pytest

from .drawn import drawn
from .frameworks import Framework
from .samples import Sample
from .subjects import Subject
from .test_operations import PAIRS, problems

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

EACH = [pytest.param(s, framework, id=f"{s}-{framework.name}") for s, framework in PAIRS]
OF_FLOATS = [case for case in EACH if "float64" in case.values[0].dtypes]


@pytest.mark.parametrize(("subject", "framework"), EACH)
def test_agrees_on_drawn_arguments(subject: Subject, framework: Framework) -> None:
    samples = drawn(subject, subject.dtypes, special=False)
    assert problems(subject, framework, _fewer(samples, framework)) == []


@pytest.mark.parametrize(("subject", "framework"), OF_FLOATS)
def test_agrees_on_drawn_special_values(subject: Subject, framework: Framework) -> None:
    # TensorFlow and XLA take subnormal numbers for zero.
    tiny = framework.name == "torch"
    samples = drawn(subject, subject.dtypes, special=True, tiny=tiny)
    assert problems(subject, framework, samples, derive=False) == []


def _fewer(samples: list[Sample], framework: Framework) -> list[Sample]:
    """JAX compiles a program for the gradients of each shape: it sees half."""
    return samples[::2] if framework.name == "jax" else samples
