"""Convolutions that are computed block by block: as one sum over the places of the window. And the
kernels of pooling, which may be told where to put what they make."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.ops.windows import _to_largest

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


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("length", "size", "step", "padding"),
    [(6, 2, 2, (0, 0)), (6, 3, 3, (0, 0)), (7, 1, 1, (0, 0)), (5, 1, 2, (0, 0)), (8, 2, 3, (0, 0)),
     (6, 4, 2, (0, 0)), (7, 3, 2, (1, 1)), (3, 2, 2, (0, 1)), (4, 4, 4, (0, 0))],
)  # fmt: skip
def test_pooling_into_memory_that_is_there(
    length: int, size: int, step: int, padding: tuple[int, int], dtype: str
) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, length, 5)).astype(dtype)  # of many equals the first counts
    slide: dict[str, Any] = {"axis": 1, "size": size, "step": step, "padding": padding}
    low, high = padding
    padded = np.pad(x, ((0, 0), padding, (0, 0)), constant_values=-np.inf)
    starts = range(0, length + low + high - size + 1, step)
    most = np.stack([padded[:, a : a + size].max(1) for a in starts], 1)
    g = rng.normal(size=most.shape).astype(dtype)
    slope = np.zeros(padded.shape)
    for i, a in enumerate(starts):
        first = padded[:, a : a + size].argmax(1)[:, None]
        window = np.zeros((2, size, 5))
        np.put_along_axis(window, first, g[:, i : i + 1].astype("float64"), 1)
        slope[:, a : a + size] += window
    for op, arrays, wanted in (
        (ops.window_max, (x,), most),
        (_to_largest, (g, x, most), slope[:, low : low + length]),
    ):
        memory = np.full(wanted.shape, 7, dtype)
        found = op.kernel(np)(*arrays, **slide, out=memory)
        assert found is memory
        np.testing.assert_allclose(memory, wanted, rtol=2 * float(np.finfo(dtype).eps))
        np.testing.assert_array_equal(op.kernel(np)(*arrays, **slide), memory)


@pytest.mark.parametrize("of_each", [1, 2])
@pytest.mark.parametrize(("size", "low", "step"), [(2, 2, 4), (1, 3, 4), (2, 3, 5), (3, 4, 7)])
def test_windows_that_lie_wholly_on_the_padding_see_zeros(
    size: int, low: int, step: int, of_each: int
) -> None:
    x = np.arange(1.0, 2 * size + 1).reshape(1, size, 2)
    kernel = np.arange(1.0, 2 * of_each + 1).reshape(1, of_each, 2)
    settings: dict[str, Any] = {"strides": step, "groups": 2 // of_each}

    def by_conv(x: Any, kernel: Any) -> Any:
        return ops.sum((1 + ops.conv(x, kernel, padding=((low, 0),), **settings)) ** 2)

    def by_hand(x: Any, kernel: Any) -> Any:
        padded = ops.pad(x, ((0, 0), (low, 0), (0, 0)))
        return ops.sum((1 + ops.conv(padded, kernel, **settings)) ** 2)

    found, expected = [edu.value_and_grad(f, (0, 1))(x, kernel) for f in (by_conv, by_hand)]
    assert found[0].item() == expected[0].item()
    for ours, right in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(ours.numpy(), right.numpy())
