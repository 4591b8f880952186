"""Tensors from nothing: not compared with the frameworks, for there is no gradient."""

from __future__ import annotations

from .row import Row

COMPOSITES: dict[str, Row] = {}

NOT_COMPARED = dict.fromkeys(
    (
        "arange",
        "asarray",
        "empty",
        "empty_like",
        "eye",
        "full",
        "full_like",
        "linspace",
        "ones",
        "ones_like",
        "tri",
        "zeros",
        "zeros_like",
    ),
    "makes a Tensor from nothing, so there is no gradient; compared with NumPy",
)
