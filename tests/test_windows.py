"""Convolutions that are computed block by block: as one sum over the places of the window."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinygrad_edu import ops

# Of 2**19 numbers a block has: two pictures of three, and half of one.
SIZES = [40, 64]
CHANNELS = [(16, 4), (4, 16)]  # patches of the cotangent are small, or products of it


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", SIZES)
def test_blocks_make_no_difference(size: int, channels: tuple[int, int], groups: int) -> None:
    inputs, outputs = channels
    rng = np.random.default_rng(0)
    # Small whole numbers: every sum is exact, in whatever order.
    x = rng.integers(-3, 4, (3, size, size, inputs)).astype("float64")
    kernel = rng.integers(-3, 4, (3, 3, inputs // groups, outputs)).astype("float64")
    y = rng.integers(-3, 4, (3, size - 2, size - 2, outputs)).astype("float64")

    expected = [np.zeros_like(y), np.zeros_like(x), np.zeros_like(kernel)]
    for group, (a, b) in itertools.product(range(groups), itertools.product(range(3), repeat=2)):
        i = slice(group * inputs // groups, (group + 1) * inputs // groups)
        o = slice(group * outputs // groups, (group + 1) * outputs // groups)
        under = (slice(None), slice(a, a + size - 2), slice(b, b + size - 2), i)
        expected[0][..., o] += x[under] @ kernel[a, b, :, o]
        expected[1][under] += y[..., o] @ kernel[a, b, :, o].T
        expected[2][a, b, :, o] = np.tensordot(x[under], y[..., o], ([0, 1, 2], [0, 1, 2]))

    found = [
        ops.conv(x, kernel, groups=groups),
        ops.conv_transpose(y, kernel, groups=groups),
        ops.conv_kernel(x, y, 3, groups=groups),
    ]
    for each, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(each.numpy(), right)
