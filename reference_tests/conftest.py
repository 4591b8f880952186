"""What the tests against the frameworks share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jax
import pytest

_count = itertools.count(1)


@pytest.fixture(autouse=True)
def jax_forgets() -> Iterator[None]:
    """Every fifty tests, JAX lets go of the programs that it has compiled: of many thousands in
    one process, each of which maps memory, its compiler crashes."""
    yield
    if next(_count) % 50 == 0:
        jax.clear_caches()
