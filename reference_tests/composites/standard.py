"""Questions about dtypes, which reference_tests/test_standard.py compares with the standard."""

from __future__ import annotations

from .row import Row

COMPOSITES: dict[str, Row] = {}

NOT_COMPARED = dict.fromkeys(
    ("can_cast", "finfo", "iinfo", "isdtype", "result_type"),
    "about dtypes; the array API's strict implementation answers alike",
)
