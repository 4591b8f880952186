"""A convolution and two pools, forward and back to every input, as eager programs.

All start from the same numbers; PyTorch has its channels first and ours last, each as its own
documentation recommends. Results are handed back with channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.classifier import repeat
from benchmarks.plan import Contender, Program, Race, Target

SHAPE = (32, 32, 32, 64)
WINDOW = (3, 3, 64, 64)


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Images and a kernel, of small whole numbers: every sum is exact, in whatever order."""
    rng = np.random.default_rng(0)
    images = rng.integers(-3, 4, SHAPE).astype("float32")
    return images, rng.integers(-3, 4, WINDOW).astype("float32")


def ours(function: Callable[..., Any], *arrays: np.ndarray) -> Program:
    import tinygrad_edu as edu

    inputs = [edu.tensor(array) for array in arrays]
    found: list[Any] = []

    def step() -> None:
        with edu.GradientTape() as tape:
            tape.watch(inputs)
            out = function(edu.ops, *inputs)
        found[:] = tape.gradient(out, inputs, output_gradients=edu.ops.ones_like(out))

    return Program(repeat(step), lambda: [gradient.numpy() for gradient in found])


def theirs(function: Callable[..., Any], *arrays: np.ndarray) -> Program:
    import torch

    torch.set_num_threads(1)
    # Channels first: (batch, channels, height, width), and (outputs, inputs, height, width).
    orders = ((0, 3, 1, 2), (3, 2, 0, 1))
    back = ((0, 2, 3, 1), (2, 3, 1, 0))
    inputs = [
        torch.from_numpy(array.transpose(order).copy()).requires_grad_()
        for array, order in zip(arrays, orders, strict=False)
    ]
    found: list[Any] = []

    def step() -> None:
        out = function(torch.nn.functional, *inputs)
        found[:] = torch.autograd.grad(out, inputs, torch.ones_like(out))

    def result() -> list[np.ndarray]:
        return [g.numpy().transpose(order) for g, order in zip(found, back, strict=False)]

    return Program(repeat(step), result)


def our_convolution() -> Program:
    return ours(lambda ops, x, kernel: ops.conv(x, kernel, padding="same"), *problem())


def their_convolution() -> Program:
    return theirs(lambda F, x, kernel: F.conv2d(x, kernel, padding=1), *problem())


def our_max_pool() -> Program:
    return ours(lambda ops, x: ops.max_pool(x, 2), problem()[0])


def their_max_pool() -> Program:
    return theirs(lambda F, x: F.max_pool2d(x, 2), problem()[0])


def our_average_pool() -> Program:
    return ours(lambda ops, x: ops.average_pool(x, 2), problem()[0])


def their_average_pool() -> Program:
    return theirs(lambda F, x: F.avg_pool2d(x, 2), problem()[0])


def _race(name: str, title: str, mine: Callable[[], Program], other: Callable[[], Program]) -> Race:
    return Race(
        name=name,
        title=title,
        note="32 images of 32x32 with 64 channels, float32: forward, and back to every input.",
        contenders=(
            Contender("ours", mine, "tinygrad_edu"),
            Contender("PyTorch, 1 thread", other, "torch"),
        ),
        baseline="PyTorch, 1 thread",
        targets=(Target("ours", "PyTorch, 1 thread", 3),),
        unit="ms",
    )


RACES = (
    _race("convolution", "A 3x3 convolution to 64 channels", our_convolution, their_convolution),
    _race("max_pool", "A 2x2 maximum pool", our_max_pool, their_max_pool),
    _race("average_pool", "A 2x2 average pool", our_average_pool, their_average_pool),
)
