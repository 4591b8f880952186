"""Tensors from nothing: not compared with the frameworks, for there is no gradient."""

from __future__ import annotations

from tinygrad_edu.ops import creation

from .row import Row

COMPOSITES: dict[str, Row] = {}

NOT_COMPARED = dict.fromkeys(
    creation.__all__, "makes a Tensor from nothing, so there is no gradient; compared with NumPy"
)
NOT_COMPARED["from_dlpack"] = "computes nothing; reference_tests/test_interop.py has each framework"
