"""Learning rate schedules: a rate for each step. Names, defaults and formulas are Keras's.

A schedule is called with the number of steps taken, a number or a Tensor, and gives a scalar
Tensor: of the step's dtype if that is a float, else float32. It works inside `jit`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import dtypes, ops, registry
from .arguments import not_negative, number, positive
from .conversion import as_tensor
from .errors import ArgumentError, undefined
from .tensors import Tensor, TensorLike

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
]


class LearningRateSchedule(registry.Configured):
    """A base for schedules: write `at(step)`, of a float Tensor. Any function of a step is one too.

    >>> class Halving(LearningRateSchedule):
    ...     def at(self, step):
    ...         return 0.5**step
    >>> Halving()(3)
    Tensor(0.125, dtype=float32)
    """

    def __call__(self, step: TensorLike) -> Tensor:
        given = as_tensor(step)
        return self.at(given if dtypes.is_float(given.dtype) else given.astype("float32"))

    def at(self, step: Tensor) -> Tensor:
        """The rate after so many steps, a float; a Tensor of the same dtype."""
        raise undefined(self, "at(self, step)")


class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    With `staircase`, only whole multiples of `decay_steps` count.

    >>> ExponentialDecay(1.0, decay_steps=10, decay_rate=0.5)(20)
    Tensor(0.25, dtype=float32)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = _initial(self, initial_learning_rate)
        self.decay_steps = positive("ExponentialDecay", "decay_steps", decay_steps)
        self.decay_rate = not_negative("ExponentialDecay", "decay_rate", decay_rate)
        self.staircase = staircase
        self.name = name

    def at(self, step: Tensor) -> Tensor:
        exponent = _periods(step, self.decay_steps, self.staircase)
        return ops.power(self.decay_rate, exponent) * self.initial_learning_rate


class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    With `staircase`, only whole multiples of `decay_steps` count.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = _initial(self, initial_learning_rate)
        self.decay_steps = positive("InverseTimeDecay", "decay_steps", decay_steps)
        self.decay_rate = not_negative("InverseTimeDecay", "decay_rate", decay_rate)
        self.staircase = staircase
        self.name = name

    def at(self, step: Tensor) -> Tensor:
        periods = _periods(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate / (periods * self.decay_rate + 1.0)


class PolynomialDecay(LearningRateSchedule):
    """From one rate to another, along (1 - step / decay_steps) ** power.

    With `cycle`, it starts again from where the rate would be with a `decay_steps` that is the next
    multiple.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = _initial(self, initial_learning_rate)
        self.decay_steps = positive("PolynomialDecay", "decay_steps", decay_steps)
        self.end_learning_rate = not_negative(
            "PolynomialDecay", "end_learning_rate", end_learning_rate
        )
        self.power = not_negative("PolynomialDecay", "power", power)
        self.cycle = cycle
        self.name = name

    def at(self, step: Tensor) -> Tensor:
        if self.cycle:
            turns = ops.maximum(ops.ceil(step / self.decay_steps), 1.0)
            done = step / (turns * self.decay_steps)
        else:
            done = ops.minimum(step, self.decay_steps) / self.decay_steps
        span = self.initial_learning_rate - self.end_learning_rate
        return ops.power(1.0 - done, self.power) * span + self.end_learning_rate


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[i]` up to and with step `boundaries[i]`, and the last one after all of them.

    >>> schedule = PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1])
    >>> [round(schedule(step).item(), 3) for step in (10, 11, 21)]
    [1.0, 0.5, 0.1]
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        if len(values) != len(boundaries) + 1 or not len(boundaries):
            raise ArgumentError(
                f"PiecewiseConstantDecay: {len(boundaries)} boundaries and {len(values)} values; "
                "there is one value more than boundaries, of which there is one at least"
            )
        if list(boundaries) != sorted(set(boundaries)):
            raise ArgumentError(
                f"PiecewiseConstantDecay: boundaries are {list(boundaries)}; each is above the one "
                "before"
            )
        self.boundaries = boundaries
        self.values = [not_negative("PiecewiseConstantDecay", "a value", x) for x in values]
        self.name = name

    def at(self, step: Tensor) -> Tensor:
        rate = ops.full_like(step, self.values[0])
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = ops.where(step > boundary, value, rate)
        return rate


class CosineDecay(LearningRateSchedule):
    """Down half a cosine in `decay_steps`, to `alpha` times the rate that it starts from.

    With a `warmup_target`, first in a straight line from the initial rate to that one, in
    `warmup_steps`. Loshchilov and Hutter, "SGDR" (2016); Goyal et al., "Accurate, large minibatch
    SGD" (2017).
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        if warmup_target is None and warmup_steps:
            raise ArgumentError(
                f"CosineDecay: warmup_steps is {warmup_steps}, and without warmup_target there is "
                "nothing to warm up to"
            )
        self.initial_learning_rate = _initial(self, initial_learning_rate)
        self.decay_steps = positive("CosineDecay", "decay_steps", decay_steps)
        self.alpha = not_negative("CosineDecay", "alpha", alpha)
        self.name = name
        self.warmup_target = (
            None
            if warmup_target is None
            else not_negative("CosineDecay", "warmup_target", warmup_target)
        )
        self.warmup_steps = not_negative("CosineDecay", "warmup_steps", warmup_steps)

    def at(self, step: Tensor) -> Tensor:
        start = self.initial_learning_rate
        if self.warmup_target is None:
            return self._decayed(step, start)
        decayed = self._decayed(ops.maximum(step - self.warmup_steps, 0.0), self.warmup_target)
        if not self.warmup_steps:
            return decayed
        warming = step * ((self.warmup_target - start) / self.warmup_steps) + start
        return ops.where(step < self.warmup_steps, warming, decayed)

    def _decayed(self, step: Tensor, start: float) -> Tensor:
        done = ops.minimum(step, self.decay_steps) / self.decay_steps
        return _cosine(done, self.alpha) * start


class CosineDecayRestarts(LearningRateSchedule):
    """CosineDecay again and again: each time `t_mul` times as long, from `m_mul` times the rate.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2016).
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = _initial(self, initial_learning_rate)
        self.first_decay_steps = positive(
            "CosineDecayRestarts", "first_decay_steps", first_decay_steps
        )
        title, growing = "CosineDecayRestarts", "a number from 1 on"
        self.t_mul = number(title, "t_mul", t_mul, growing, lambda x: x >= 1)
        self.m_mul = not_negative("CosineDecayRestarts", "m_mul", m_mul)
        self.alpha = not_negative("CosineDecayRestarts", "alpha", alpha)
        self.name = name

    def at(self, step: Tensor) -> Tensor:
        done = step / self.first_decay_steps  # in lengths of the first turn
        growth = self.t_mul
        if growth == 1.0:
            turn = ops.floor(done)
            done = done - turn
        else:
            # Turn n begins at (growth ** n - 1) / (growth - 1). Just there the logarithm may come
            # out a rounding below n.
            logarithm = ops.log(done * (growth - 1.0) + 1.0) / math.log(growth)
            turn = ops.floor(logarithm + 1e-6)
            length = ops.power(growth, turn)
            done = (done - (length - 1.0) / (growth - 1.0)) / length
        height = ops.power(self.m_mul, turn)
        return _cosine(done, self.alpha, height) * self.initial_learning_rate


def _cosine(done: Tensor, alpha: float, height: Tensor | float = 1.0) -> Tensor:
    """From `height` to `alpha`, while `done` goes from 0 to 1."""
    return (ops.cos(done * math.pi) + 1.0) * 0.5 * height * (1.0 - alpha) + alpha


def _periods(step: Tensor, length: float, whole: bool) -> Tensor:
    periods = step / length
    return ops.floor(periods) if whole else periods


def _initial(schedule: LearningRateSchedule, rate: float) -> float:
    return not_negative(type(schedule).__name__, "initial_learning_rate", rate)
