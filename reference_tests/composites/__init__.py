"""The functions of `edu.ops` that are made of other operations, family by family.

A family states `COMPOSITES`, a Row for each function, and may state `NOT_COMPARED`: the functions
that have nothing to be compared with, each with the reason.
"""

from __future__ import annotations

from importlib import import_module

from .row import Row

FAMILIES = (
    "contraction",
    "control",
    "creation",
    "elementwise",
    "indexing",
    "linalg",
    "movement",
    "networks",
    "reduction",
    "scans",
    "sorting",
    "standard",
    "windows",
)

COMPOSITES: dict[str, Row] = {}
NOT_COMPARED: dict[str, str] = {}
for _name in FAMILIES:
    _family = import_module(f".{_name}", __name__)
    COMPOSITES.update(_family.COMPOSITES)
    NOT_COMPARED.update(getattr(_family, "NOT_COMPARED", {}))
