"""The suite finds mistakes: with any one result a thousandth off, or any one gradient a hundredth,
a comparison fails. Here for some operations of every kind; `make mutation-check` takes them all.
"""

from __future__ import annotations

from functools import cache

import pytest

from .mutation import Checks, Mutant, caught, mutants
from .subjects import SUBJECTS, Subject

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# One argument, several, any number; no gradient, of integers, of booleans; a vjp for all arguments;
# several results; made of other operations.
CHOSEN = (
    "tanh power where matmul concat sum max argmax sign bitwise_xor logical_not getitem "
    "scatter_multiply astype softmax std relu mean_squared_error moveaxis solve qr split_at conv "
    "max_pool layer_norm sort cumulative_prod"
)
MUTANTS = [
    mutant for name in CHOSEN.split() if name in SUBJECTS for mutant in mutants(SUBJECTS[name])
]


@cache
def _checks(subject: Subject) -> Checks:
    return Checks(subject)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mistake_is_found(mutant: Mutant) -> None:
    assert caught(mutant, _checks(mutant.subject))


def test_every_chosen_operation_is_there() -> None:
    assert [name for name in CHOSEN.split() if name not in SUBJECTS] == []
