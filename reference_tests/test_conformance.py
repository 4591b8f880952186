"""docs/conformance.md speaks of the operations there are."""

from __future__ import annotations

from .conformance import PATH, listed
from .subjects import SUBJECTS


def test_the_table_lists_every_operation() -> None:
    there = listed(PATH.read_text())
    missing, gone = sorted(set(SUBJECTS) - there), sorted(there - set(SUBJECTS))
    assert (missing, gone) == ([], []), "out of date: make conformance"
