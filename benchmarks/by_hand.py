"""The perceptron of `training.py` in NumPy and nothing else, as fast as one would write it by hand:
how far `fit` is from what NumPy can do.

Weights, gradients and Adam's sums lie side by side, so that an update is ten calls; everything has
its memory once and for all; classes are rows, for to reduce few long rows takes less than many
short ones; and a few steps' samples are gathered at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from benchmarks.plan import Program
from benchmarks.training import BATCH, CLASSES, FEATURES, HIDDEN, SAMPLES, initial, program, samples

TOGETHER = 16
"""Batches that are gathered at once: they stay in the processor's cache."""

RATE, DECAY, SQUARES_DECAY, EPSILON = 1e-3, 0.9, 0.999, 1e-7


def numpy_tuned() -> Program:
    x, y = samples()
    generator = np.random.default_rng(0)
    network = Network()
    few_x = aligned((TOGETHER * BATCH, FEATURES))
    few_y = np.empty(TOGETHER * BATCH, np.int32)

    def epochs(count: int) -> float:
        for _ in range(count):
            total, right = 0.0, 0
            order = generator.permutation(SAMPLES)
            for start in range(0, SAMPLES, TOGETHER * BATCH):
                rows = order[start : start + TOGETHER * BATCH]
                x.take(rows, 0, few_x[: len(rows)], "clip")  # "raise" would take a copy
                y.take(rows, 0, few_y[: len(rows)], "clip")
                for i in range(0, len(rows), BATCH):
                    loss, hits = network.step(few_x[i : i + BATCH], few_y[i : i + BATCH])
                    total, right = total + loss, right + hits
        return total / SAMPLES

    return program(epochs)


class Network:
    """Weights, and memory for a step."""

    def __init__(self) -> None:
        sizes = [FEATURES, *HIDDEN, CLASSES]
        size = sum([(m + 1) * n for m, n in itertools.pairwise(sizes)])
        self.weights, self.gradients, self.change = [aligned((size,)) for _ in range(3)]
        self.mean, self.squares = aligned((size,)), aligned((size,))
        self.mean[:] = self.squares[:] = 0
        np.concatenate([w.ravel() for w in initial()], out=self.weights)
        self.layers = list(layers(self.weights, sizes))
        self.slopes = list(layers(self.gradients, sizes))
        self.hidden = [aligned((BATCH, n)) for n in HIDDEN]
        self.back = [aligned((BATCH, n)) for n in HIDDEN]
        self.mask = np.empty((BATCH, HIDDEN[0]), np.int32)
        self.logits, self.powers = aligned((CLASSES, BATCH)), aligned((CLASSES, BATCH))
        self.top, self.sums, self.chosen = aligned((BATCH,)), aligned((BATCH,)), aligned((BATCH,))
        self.places, self.columns = np.empty(BATCH, np.intp), np.arange(BATCH)
        self.ones, self.few_ones = np.ones(BATCH, "float32"), np.ones(CLASSES, "float32")
        # NumPy takes arrays without axes in half the time of numbers.
        self.zero, self.infinity = np.array(0, "float32"), np.array(np.inf, "float32")
        self.share = np.array(1 / BATCH, "float32")
        self.decay = np.array(DECAY, "float32")
        self.squares_decay = np.array(SQUARES_DECAY, "float32")
        self.epsilon = np.array(EPSILON / (1 - SQUARES_DECAY) ** 0.5, "float32")
        self.rate = np.array(0, "float32")
        self.steps = 0

    def step(self, x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
        """The sum of the losses, and how many are right."""
        (W1, b1), (W2, b2), (W3, b3) = self.layers
        (dW1, db1), (dW2, db2), (dW3, db3) = self.slopes
        (h1, h2), (d1, d2), ones = self.hidden, self.back, self.ones
        z, powers, top, sums, chosen = self.logits, self.powers, self.top, self.sums, self.chosen
        x.dot(W1, out=h1)
        np.add(h1, b1, out=h1)
        h1.clip(self.zero, self.infinity, out=h1)
        h1.dot(W2, out=h2)
        np.add(h2, b2, out=h2)
        h2.clip(self.zero, self.infinity, out=h2)
        W3.T.dot(h2.T, out=z)
        np.add(z, b3[:, None], out=z)

        np.maximum.reduce(z, axis=0, out=top)
        np.multiply(y, BATCH, out=self.places)
        np.add(self.places, self.columns, out=self.places)
        z.take(self.places, out=chosen, mode="clip")
        right = np.count_nonzero(chosen == top)
        np.subtract(z, top, out=powers)
        np.exp(powers, out=powers)
        self.few_ones.dot(powers, out=sums)
        np.subtract(chosen, top, out=chosen)
        loss = np.log(sums).dot(ones) - chosen.dot(ones)

        np.multiply(sums, BATCH, out=sums)
        np.divide(powers, sums, out=powers)
        powers.reshape(-1)[self.places] -= self.share
        h2.T.dot(powers.T, out=dW3)
        powers.dot(ones, out=db3)
        powers.T.dot(W3.T.copy(), out=d2)  # the copy makes the product of small ones quicker
        self.gate(d2, h2)
        h1.T.dot(d2, out=dW2)
        ones.dot(d2, out=db2)
        d2.dot(W2.T.copy(), out=d1)
        self.gate(d1, h1)
        x.T.dot(d1, out=dW1)
        ones.dot(d1, out=db1)
        self.update()
        return float(loss), int(right)

    def gate(self, gradient: np.ndarray, relu: np.ndarray) -> None:
        """0 where relu is: the bits of -relu, taken as an integer, are negative where it is not."""
        np.negative(relu.view(np.int32), out=self.mask)
        np.right_shift(self.mask, 31, out=self.mask)
        np.bitwise_and(gradient.view(np.int32), self.mask, out=gradient.view(np.int32))

    def update(self) -> None:
        """Adam. The sums are kept as multiples of what the formula has, which saves two calls."""
        w, g, change, mean, squares = (
            *(self.weights, self.gradients, self.change),
            *(self.mean, self.squares),
        )
        self.steps += 1
        rate = RATE * (1 - SQUARES_DECAY**self.steps) ** 0.5 / (1 - DECAY**self.steps)
        self.rate[()] = rate * (1 - DECAY) / (1 - SQUARES_DECAY) ** 0.5
        np.multiply(mean, self.decay, out=mean)
        np.add(mean, g, out=mean)
        np.multiply(squares, self.squares_decay, out=squares)
        np.multiply(g, g, out=g)
        np.add(squares, g, out=squares)
        np.sqrt(squares, out=change)
        np.add(change, self.epsilon, out=change)
        np.divide(mean, change, out=change)
        np.multiply(change, self.rate, out=change)
        np.subtract(w, change, out=w)


def layers(row: np.ndarray, sizes: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of each layer, as parts of a row."""
    start = 0
    for m, n in itertools.pairwise(sizes):
        middle, end = start + m * n, start + (m + 1) * n
        yield row[start:middle].reshape(m, n), row[middle:end]
        start = end


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Memory for float32 that begins where a line of the cache does."""
    size = int(np.prod(shape))
    memory = np.empty(size + 16, "float32")
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + size].reshape(shape)
