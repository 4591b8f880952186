"""Control flow takes functions, not arrays: tested by itself."""

from __future__ import annotations

from .row import Row

COMPOSITES: dict[str, Row] = {}

NOT_COMPARED = dict.fromkeys(
    ("cond", "fori_loop", "map", "scan", "switch", "while_loop"),
    "takes functions; tests/test_control.py holds it against the loops it stands for",
)
