"""Optimizers: how weights follow gradients. Names, defaults and formulas are Keras's.

An optimizer is a pure function of arrays (`update`) and what surrounds it, which is the same for
all of them: checks, clipping, weight decay, averages, and Variables for what is remembered
(`slots`). Everything works at once and inside `jit`, where the learning rate and the slots are
state.

>>> import tinygrad_edu as edu
>>> w = edu.Variable([1.0, 2.0])
>>> optimizer = SGD(learning_rate=0.5)
>>> optimizer.apply([edu.tensor([1.0, -1.0])], [w])
>>> w
Variable([0.5, 2.5], dtype=float32)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import arguments, dtypes, lines, ops, registry
from .conversion import as_tensor
from .errors import ArgumentError, DtypeError, GradientError, ShapeError
from .tape import no_grad
from .tensors import Operators, Tensor, TensorLike
from .variable import Variable

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "LossScaleOptimizer",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
]

Variables = Sequence[Variable] | Mapping[str, Variable]
"""Variables, or Variables by the names that messages and files give them."""


def get(given: Any) -> Any:
    """The optimizer that a name, a class or an instance stands for.

    >>> get("sgd").get_config()["learning_rate"]
    0.01
    """
    return registry.lookup("optimizer", given, _TABLE, Optimizer)


class Optimizer(registry.Configured):
    """What all optimizers share; a new one states `slots`, `update`, and perhaps `factors`.

    `learning_rate` is a number, a schedule, or another function of the number of steps taken.
    Gradients are divided by `loss_scale_factor`, averaged over `gradient_accumulation_steps` calls,
    and clipped: each to a norm of at most `clipnorm`, or all together to `global_clipnorm`, or each
    element to `clipvalue`. Then weights lose the share `weight_decay` times the learning rate, and
    follow the gradient.

    With `use_ema` the optimizer keeps an average of every weight, of which each step leaves the
    share `ema_momentum`; every `ema_overwrite_frequency` steps, and in `finalize_variable_values`,
    weights become their averages. A Variable with a `constraint` is put through it last.
    """

    _rate: Variable

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or type(self).__name__.lower()
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._check_settings()
        self.built = False
        self._dtype = dtypes.float32
        self._calls = Variable(0, dtypes.int32, name="iterations")
        self._set_rate(learning_rate)
        self._weights: dict[Variable, _Weight] = {}
        self._scalars: dict[str, Variable] = {}
        self._excluded: tuple[set[Variable], tuple[str, ...]] = (set(), ())

    # What a new optimizer states.

    def slots(self) -> dict[str, float]:
        """What is remembered for each weight, as an array of its shape: names and first values."""
        return {}

    def scalars(self) -> dict[str, float]:
        """Numbers that are remembered: names and first values. `factors` reads and assigns them."""
        return {}

    def factors(self, rate: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        """Scalars that a step needs for all weights, of the learning rate and the step's number,
        which begins with 1."""
        return (rate,)

    def update(
        self,
        gradient: Tensor,
        weight: Tensor,
        slots: tuple[Tensor, ...],
        factors: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """The weight after the step, and then its slots, all in the weight's shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    # What a user calls.

    @property
    def iterations(self) -> Any:
        """The steps taken: an int32 Variable; if gradients are accumulated, computed from one."""
        many = self.gradient_accumulation_steps
        return self._calls // many if many else self._calls

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a Variable; under a schedule, its value now.

        It is float64, and steps are counted in the dtype of the weights. Assigning a number keeps
        compiled programs; assigning a schedule does not reach those that are compiled already.
        Raises ArgumentError for a number where a schedule decides.
        """
        return self._rate if self._schedule is None else self._scheduled_rate()

    @learning_rate.setter
    def learning_rate(self, given: Any) -> None:
        if callable(given):
            self._set_rate(given)
        elif self._schedule is not None:
            raise ArgumentError(
                f"{self._title}: its learning rate is {self._schedule!r}: to set a number, make it "
                "with a number"
            )
        elif isinstance(given, Operators):  # its value may be unknown, inside of jit
            self._rate.assign(given.astype(self._rate.dtype))
        else:
            self._rate.assign(_not_negative(self, "learning_rate", given))

    @property
    def variables(self) -> list[Variable]:
        """Everything remembered: steps taken, learning rate, then the slots of each weight."""
        return list(self.weight_paths().values())

    def weight_paths(self) -> dict[str, Variable]:
        """`variables` by their names, which are "weight's name/slot" for slots."""
        rate = {} if self._schedule is not None else {"learning_rate": self._rate}
        paths = {"iterations": self._calls, **rate, **self._scalars}
        for weight in self._weights.values():
            paths |= {str(slot.name): slot for slot in weight.remembered()}
        return paths

    def build(self, variables: Variables) -> None:
        """Make the slots for these weights, once; `apply` does it with those it is first given.

        Names are the keys of a mapping, else the Variables' own.
        """
        if self.built:
            return
        named = _named(variables)
        if any(weight.dtype == dtypes.float64 for weight in named.values()):
            self._dtype = dtypes.float64
        self._scalars = {
            name: Variable(start, self._dtype, trainable=False, name=name)
            for name, start in self.scalars().items()
        }
        if named:
            self._settle(next(iter(named.values())).device.name)
        for name, weight in named.items():
            slots = [_slot(weight, name, slot, start) for slot, start in self.slots().items()]
            average = _slot(weight, name, "average", 0.0) if self.use_ema else None
            many = self.gradient_accumulation_steps
            sums = _slot(weight, name, "gradient_accumulator", 0.0) if many else None
            decays = bool(self.weight_decay) and not self._is_excluded(weight, name)
            self._weights[weight] = _Weight(name, weight, tuple(slots), average, sums, decays)
        self.built = True

    def _settle(self, device: str) -> None:
        """Count where the weights are."""
        self._calls = _on(device, self._calls)
        self._scalars = {name: _on(device, scalar) for name, scalar in self._scalars.items()}
        if self._schedule is None:
            self._rate = _on(device, self._rate)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] = (), var_names: Iterable[str] = ()
    ) -> None:
        """Leave these weights, and those with one of these words in their name, as they are.

        Raises ArgumentError after the optimizer was built.
        """
        if self.built:
            raise ArgumentError(
                f"{self._title}: exclude_from_weight_decay comes before the first step"
            )
        self._excluded = (set(var_list), tuple(var_names))

    def apply(
        self, gradients: Sequence[TensorLike | None], variables: Variables | None = None
    ) -> None:
        """Take a step: a gradient for each of the Variables, by default those it was built for.

        Weights without a gradient (None) are left alone, with a warning. Before anything is
        changed, raises GradientError if there is no gradient at all, ShapeError and DtypeError for
        one that is not like its weight, ArgumentError for a Variable that was not there when it was
        built.
        """
        with no_grad():
            self._step(self._checked(gradients, variables))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[TensorLike | None, Variable]]) -> Any:
        """`apply` of pairs; gives `iterations`."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [weight for _, weight in pairs])
        return self.iterations

    def scale_loss(self, loss: TensorLike) -> Tensor:
        """The loss times `loss_scale_factor`, by which `apply` divides gradients."""
        given = as_tensor(loss)
        return given if self.loss_scale_factor is None else given * self.loss_scale_factor

    def finalize_variable_values(self, variables: Variables | None = None) -> None:
        """At the end of training: with `use_ema`, weights become their averages."""
        if self.use_ema:
            for held in self._known(variables):
                held.variable.assign(held.average)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make another one like this; the learning rate as it is now."""
        config = super().get_config()
        return config | {"learning_rate": self._schedule or float(self._rate)}

    # The step.

    def _step(self, pairs: list[tuple[Tensor, _Weight]]) -> None:
        if self.loss_scale_factor is not None:
            pairs = [(gradient / self.loss_scale_factor, held) for gradient, held in pairs]
        many = self.gradient_accumulation_steps
        if many:
            last = (self._calls + 1) % many == 0
            ops.cond(last, lambda: self._take_sums(pairs, many), lambda: _add_up(pairs))
        else:
            self._descend(pairs)
        if self.use_ema:
            self._average()
        for _, held in pairs:
            if held.variable.constraint is not None:
                held.variable.assign(held.variable.constraint(held.variable.value))
        self._calls.assign_add(1)

    def _take_sums(self, pairs: list[tuple[Tensor, _Weight]], many: int) -> None:
        self._descend([((gradient + held.sums) / many, held) for gradient, held in pairs])
        for held in self._weights.values():
            held.sums.assign(ops.zeros_like(held.sums))

    def _descend(self, pairs: list[tuple[Tensor, _Weight]]) -> None:
        rate = self.learning_rate.value.astype(self._dtype)
        step = (self.iterations + 1).astype(self._dtype)
        known = {self._dtype: (rate, *self.factors(rate, step))}
        for gradient, held in self._clipped(pairs):
            dtype = gradient.dtype
            if dtype not in known:
                known[dtype] = tuple([x.astype(dtype) for x in known[self._dtype]])
            rate, *factors = known[dtype]
            weight = held.variable.value
            if held.decays:
                weight = weight - weight * (rate * self.weight_decay)
            slots = tuple([slot.value for slot in held.slots])
            updated = self.update(gradient, weight, slots, tuple(factors))
            for variable, value in zip((held.variable, *held.slots), updated, strict=True):
                variable.assign(value)

    def _clipped(self, pairs: list[tuple[Tensor, _Weight]]) -> list[tuple[Tensor, _Weight]]:
        if self.clipvalue is not None:
            limit = self.clipvalue
            return [(ops.clip(gradient, -limit, limit), held) for gradient, held in pairs]
        most = self.clipnorm or self.global_clipnorm
        if most is None or math.isinf(most):
            return pairs
        squares = [self._square(gradient) for gradient, _ in pairs]
        if self.clipnorm is not None:
            factors = [_shrinking(square, most) for square in squares]
        else:
            total = ops.sum(ops.stack(squares))
            factors = [_shrinking(total, most)] * len(pairs)
        return [
            (gradient * factor.astype(gradient.dtype), held)
            for (gradient, held), factor in zip(pairs, factors, strict=True)
        ]

    def _square(self, gradient: Tensor) -> Tensor:
        return ops.sum(ops.square(gradient.astype(self._dtype)))

    def _average(self) -> None:
        # The first average is the weight.
        share = ops.where(ops.equal(self.iterations, 0), 0.0, self.ema_momentum)
        for held in self._weights.values():
            left = share.astype(held.variable.dtype)
            held.average.assign(held.average * left + held.variable * (1.0 - left))
        if self.ema_overwrite_frequency:
            now = (self.iterations + 1) % self.ema_overwrite_frequency == 0
            ops.cond(now, self.finalize_variable_values, lambda: None)

    # The learning rate.

    def _set_rate(self, given: Any) -> None:
        self._schedule = given if callable(given) else None
        if self._schedule is None:
            number = _not_negative(self, "learning_rate", given)
            self._rate = Variable(number, dtypes.float64, trainable=False, name="learning_rate")

    def _scheduled_rate(self) -> Tensor:
        schedule: Any = self._schedule
        return as_tensor(schedule(self._calls.astype(self._dtype)), self._dtype)

    # What is checked before anything is changed.

    @property
    def _title(self) -> str:
        return type(self).__name__

    def _checked(
        self, gradients: Sequence[TensorLike | None], variables: Variables | None
    ) -> list[tuple[Tensor, _Weight]]:
        """Gradients that are there, with what they are for."""
        if variables is None and not self.built:
            raise ArgumentError(
                f"{self._title}: was not built, so it knows no variables: give them, or call "
                "build(variables) first"
            )
        given = list(gradients)
        named = self._names() if variables is None else _named(variables)
        if self.built:
            held = self._known(list(named.values()))
            named = {weight.name: weight.variable for weight in held}
        if len(given) != len(named):
            raise ArgumentError(
                f"{self._title}: {len(given)} gradients do not fit {len(named)} variables"
            )
        found = [
            None if gradient is None else self._fitting(gradient, name, weight)
            for gradient, (name, weight) in zip(given, named.items(), strict=True)
        ]
        missing = [name for name, gradient in zip(named, found, strict=True) if gradient is None]
        if len(missing) == len(found):
            raise GradientError(
                f"{self._title}: none of the variables has a gradient ({', '.join(missing)}): does "
                "the loss depend on them, and was it computed inside of the tape?"
            )
        if missing:
            lines.warn(
                f"{self._title}: no gradient for {', '.join(missing)}: left as they are",
            )
        self.build(named)
        return [
            (gradient, self._weights[weight])
            for gradient, weight in zip(found, named.values(), strict=True)
            if gradient is not None
        ]

    def _fitting(self, gradient: TensorLike, name: str, weight: Variable) -> Tensor:
        found = as_tensor(gradient)
        if found.shape != weight.shape:
            raise ShapeError(
                f"{self._title}: the gradient of {name} has shape {found.shape}, and {name} "
                f"{weight.shape}"
            )
        if found.dtype != weight.dtype:
            raise DtypeError(
                f"{self._title}: the gradient of {name} is {found.dtype}, and {name} "
                f"{weight.dtype}: use gradient.astype({weight.dtype.name!r})"
            )
        return found

    def _names(self) -> dict[str, Variable]:
        return {held.name: held.variable for held in self._weights.values()}

    def _known(self, variables: Variables | None) -> list[_Weight]:
        """What is held for these Variables, or for all."""
        if variables is None:
            return list(self._weights.values())
        named = _named(variables)
        unknown = [name for name, weight in named.items() if weight not in self._weights]
        if unknown:
            raise ArgumentError(
                f"{self._title}: was built without {', '.join(unknown)}; it knows "
                f"{', '.join(self._names()) or 'none'}: make a new optimizer for other variables, "
                "with compile() for a model that has layers added or thawed"
            )
        return [self._weights[weight] for weight in named.values()]

    def _is_excluded(self, weight: Variable, name: str) -> bool:
        weights, words = self._excluded
        return weight in weights or any(word in name for word in words)

    def _check_settings(self) -> None:
        clips = {
            name: getattr(self, name)
            for name in ("clipnorm", "clipvalue", "global_clipnorm")
            if getattr(self, name) is not None
        }
        if len(clips) > 1:
            raise ArgumentError(f"{self._title}: {' and '.join(clips)} exclude each other")
        positive = clips | {"loss_scale_factor": self.loss_scale_factor}
        for name, given in positive.items():
            if given is not None:
                arguments.positive(self._title, name, given)
        if self.weight_decay is not None:
            _not_negative(self, "weight_decay", self.weight_decay)
        _share(self, "ema_momentum", self.ema_momentum)
        for name, least in (("ema_overwrite_frequency", 1), ("gradient_accumulation_steps", 2)):
            if getattr(self, name) is not None:
                arguments.whole(self._title, name, getattr(self, name), least)


class SGD(Optimizer):
    """Gradient descent, with `momentum` that a weight keeps of its last step.

    With `nesterov`, Sutskever et al.'s form of Nesterov's momentum (2013).
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.momentum = _share(self, "momentum", momentum)
        self.nesterov = nesterov

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        step = gradient * rate
        if not self.momentum:
            return (weight - step,)
        (m,) = slots
        m = m * self.momentum - step
        return weight + (m * self.momentum - step if self.nesterov else m), m


class RMSprop(Optimizer):
    """Steps divided by the root of an average of the squared gradients (Hinton, 2012).

    With `centered`, of their variance.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho = _share(self, "rho", rho)
        self.momentum = _share(self, "momentum", momentum)
        self.epsilon = _not_negative(self, "epsilon", epsilon)
        self.centered = centered

    def slots(self) -> dict[str, float]:
        names = ["velocity"]
        names += ["momentum"] if self.momentum else []
        names += ["average_gradient"] if self.centered else []
        return dict.fromkeys(names, 0.0)

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        v, *others = slots
        v = v * self.rho + ops.square(gradient) * (1 - self.rho)
        variance = v
        if self.centered:
            average = others.pop() * self.rho + gradient * (1 - self.rho)
            variance = v - ops.square(average)
        step = gradient * rate / ops.sqrt(variance + self.epsilon)
        kept = [v]
        if self.momentum:
            step = others.pop() * self.momentum + step
            kept.append(step)
        return (weight - step, *kept, average) if self.centered else (weight - step, *kept)


class Adam(Optimizer):
    """Averages of the gradients and of their squares, corrected for starting at 0 (Kingma and Ba,
    2014). `epsilon` is added before the correction, Kingma's "epsilon hat".

    With `amsgrad`, the largest average of squares so far (Reddi et al., 2018).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1 = _fraction(self, "beta_1", beta_1)
        self.beta_2 = _fraction(self, "beta_2", beta_2)
        self.epsilon = _not_negative(self, "epsilon", epsilon)
        self.amsgrad = amsgrad

    def slots(self) -> dict[str, float]:
        names = ["momentum", "velocity"] + (["velocity_hat"] if self.amsgrad else [])
        return dict.fromkeys(names, 0.0)

    def factors(self, rate: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        return (rate * ops.sqrt(_share_seen(self.beta_2, step)) / _share_seen(self.beta_1, step),)

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        m, v, *most = slots
        m = m + (gradient - m) * (1 - self.beta_1)
        v = v + (ops.square(gradient) - v) * (1 - self.beta_2)
        largest = [ops.maximum(x, v) for x in most]
        size = ops.sqrt(largest[0] if largest else v) + self.epsilon
        return weight - m * rate / size, m, v, *largest


class AdamW(Adam):
    """Adam with `weight_decay` apart from the gradient (Loshchilov and Hutter, 2017)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **settings: Any,
    ) -> None:
        _not_negative(self, "weight_decay", weight_decay)
        betas = (beta_1, beta_2)
        super().__init__(
            learning_rate, *betas, epsilon, amsgrad, weight_decay=weight_decay, **settings
        )


class Adamax(Optimizer):
    """Adam with the largest gradient, forgotten slowly, for the average of squares (Kingma and Ba,
    2014)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1 = _fraction(self, "beta_1", beta_1)
        self.beta_2 = _share(self, "beta_2", beta_2)
        self.epsilon = _not_negative(self, "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "norm": 0.0}

    def factors(self, rate: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        return (rate / _share_seen(self.beta_1, step),)

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        m, u = slots
        m = m + (gradient - m) * (1 - self.beta_1)
        u = ops.maximum(u * self.beta_2, ops.abs(gradient))
        return weight - m * rate / (u + self.epsilon), m, u


class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, 2015)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1 = _fraction(self, "beta_1", beta_1)
        self.beta_2 = _fraction(self, "beta_2", beta_2)
        self.epsilon = _not_negative(self, "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    def scalars(self) -> dict[str, float]:
        return {"u_product": 1.0}

    def factors(self, rate: Tensor, step: Tensor) -> tuple[Tensor, ...]:
        # Momentum grows to beta_1 with the steps: u now, u_next in the step after.
        u, u_next = (self.beta_1 * (1.0 - 0.5 * 0.96**t) for t in (step, step + 1.0))
        product = self._scalars["u_product"].value * u
        self._scalars["u_product"].assign(product)
        of_momentum = rate * u_next / (1.0 - product * u_next)
        of_gradient = rate * (1.0 - u) / (1.0 - product)
        return of_momentum, of_gradient, _share_seen(self.beta_2, step)

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        of_momentum, of_gradient, correction = factors
        m, v = slots
        m = m + (gradient - m) * (1 - self.beta_1)
        v = v + (ops.square(gradient) - v) * (1 - self.beta_2)
        size = ops.sqrt(v / correction) + self.epsilon
        return weight - (m * of_momentum + gradient * of_gradient) / size, m, v


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.initial_accumulator_value = _not_negative(
            self, "initial_accumulator_value", initial_accumulator_value
        )
        self.epsilon = _not_negative(self, "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        (total,) = slots
        total = total + ops.square(gradient)
        return weight - gradient * rate / ops.sqrt(total + self.epsilon), total


class Adadelta(Optimizer):
    """Steps in proportion to an average of the steps before, over one of the gradients (Zeiler,
    2012)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.rho = _share(self, "rho", rho)
        self.epsilon = _not_negative(self, "epsilon", epsilon)

    def slots(self) -> dict[str, float]:
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        squares, steps = slots
        squares = squares * self.rho + ops.square(gradient) * (1 - self.rho)
        step = ops.sqrt((steps + self.epsilon) / (squares + self.epsilon)) * gradient
        steps = steps * self.rho + ops.square(step) * (1 - self.rho)
        return weight - step * rate, squares, steps


class Lion(Optimizer):
    """Steps of one size, in the direction of the signs of an average of gradients (Chen et al.,
    2023)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **settings: Any,
    ) -> None:
        super().__init__(learning_rate, **settings)
        self.beta_1 = _share(self, "beta_1", beta_1)
        self.beta_2 = _share(self, "beta_2", beta_2)

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0}

    def update(self, gradient: Tensor, weight: Tensor, slots: Any, factors: Any) -> Any:
        (rate,) = factors
        (m,) = slots
        direction = ops.sign(m * self.beta_1 + gradient * (1 - self.beta_1))
        m = m * self.beta_2 + gradient * (1 - self.beta_2)
        return weight - direction * rate, m


class LossScaleOptimizer(Optimizer):
    """An optimizer for float16, whose gradients would otherwise vanish: they are taken of a loss
    times a scale (`scale_loss`), and divided by it.

    A step whose gradients are not finite is left out, and halves the scale; after
    `dynamic_growth_steps` finite ones in a row it doubles.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
    ) -> None:
        self.inner_optimizer: Optimizer = get(inner_optimizer)
        if isinstance(self.inner_optimizer, LossScaleOptimizer):
            raise ArgumentError("LossScaleOptimizer: inner_optimizer scales the loss already")
        title, steps = self._title, dynamic_growth_steps
        self.initial_scale = arguments.positive(title, "initial_scale", initial_scale)
        self.dynamic_growth_steps = arguments.whole(title, "dynamic_growth_steps", steps, 1)
        self.name = name or "lossscaleoptimizer"
        self.dynamic_scale = Variable(initial_scale, trainable=False, name="dynamic_scale")
        self.step_counter = Variable(0, trainable=False, name="step_counter")

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether the inner optimizer is."""
        return self.inner_optimizer.built

    @property
    def iterations(self) -> Any:
        """The inner optimizer's: steps that were left out are not counted."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, given: Any) -> None:
        self.inner_optimizer.learning_rate = given

    def weight_paths(self) -> dict[str, Variable]:
        own = {str(x.name): x for x in (self.step_counter, self.dynamic_scale)}
        return own | self.inner_optimizer.weight_paths()

    def build(self, variables: Variables) -> None:
        self.inner_optimizer.build(variables)
        self._settle(self.inner_optimizer._calls.device.name)

    def _settle(self, device: str) -> None:
        self.dynamic_scale = _on(device, self.dynamic_scale)
        self.step_counter = _on(device, self.step_counter)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] = (), var_names: Iterable[str] = ()
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def apply(
        self, gradients: Sequence[TensorLike | None], variables: Variables | None = None
    ) -> None:
        inner = self.inner_optimizer
        with no_grad():
            pairs = inner._checked(gradients, variables)
            self._settle(inner._calls.device.name)
            finite = ops.all(ops.stack([ops.all(ops.isfinite(g)) for g, _ in pairs]))
            scale = self.dynamic_scale.value
            pairs = [(gradient / scale.astype(gradient.dtype), held) for gradient, held in pairs]
            ops.cond(finite, lambda: inner._step(pairs), lambda: None)
            grows = self.step_counter + 1 >= self.dynamic_growth_steps
            changed = scale * ops.where(finite, ops.where(grows, 2.0, 1.0), 0.5)
            # Not so far that it could not come back.
            self.dynamic_scale.assign(ops.clip(changed, 2.0**-100, 2.0**100))
            counts = ops.logical_and(finite, ops.logical_not(grows))
            self.step_counter.assign(ops.where(counts, self.step_counter + 1, 0))

    def scale_loss(self, loss: TensorLike) -> Tensor:
        """The loss times the scale, in float32 at least: float16 would not hold it."""
        return as_tensor(loss) * self.dynamic_scale

    def finalize_variable_values(self, variables: Variables | None = None) -> None:
        self.inner_optimizer.finalize_variable_values(variables)

    def get_config(self) -> dict[str, Any]:
        return registry.Configured.get_config(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Weight:
    """A weight, and what is remembered for it."""

    name: str
    variable: Variable
    slots: tuple[Variable, ...]
    average: Any  # Variables, None where nobody asked for them
    sums: Any
    decays: bool

    def remembered(self) -> list[Variable]:
        return [*self.slots, *[x for x in (self.average, self.sums) if x is not None]]


def _named(variables: Variables) -> dict[str, Variable]:
    """Variables by name: as given, or their own, made unique."""
    if isinstance(variables, Mapping):
        named = dict(variables)
    else:
        named = {}
        again: dict[str, int] = {}
        for i, weight in enumerate(variables):
            if not isinstance(weight, Variable):
                raise DtypeError(f"optimizer: variables[{i}] is no Variable, but {weight!r}")
            own = name = weight.name or "variable"
            while name in named:
                again[own] = again.get(own, 0) + 1
                name = f"{own}_{again[own]}"
            named[name] = weight
    if len(set(named.values())) < len(named):
        raise ArgumentError(f"optimizer: a Variable is there twice, among {', '.join(named)}")
    return named


def _on(device: str, variable: Variable) -> Variable:
    """The Variable; another one, if it has to be on another device."""
    if variable.device.name == device:
        return variable
    return Variable(variable.numpy(), trainable=False, name=variable.name, device=device)


def _slot(weight: Variable, owner: str, slot: str, start: float) -> Variable:
    # Of an array and a name: the first step may be inside of `jit`, which has a device of its own.
    array, name = np.full(weight.shape, start, weight.dtype), f"{owner}/{slot}"
    return Variable(array, trainable=False, name=name, device=weight.device.name)


def _add_up(pairs: list[tuple[Tensor, _Weight]]) -> None:
    for gradient, held in pairs:
        held.sums.assign_add(gradient)


def _share_seen(beta: float, step: Tensor) -> Tensor:
    """1 - beta ** step: how much of an average that started at 0 is of what it has seen. Right to
    the last digit, also in float32 and while it is small."""
    return -ops.expm1(step * math.log(beta)) if beta else ops.ones_like(step)


def _shrinking(square: Tensor, most: float) -> Tensor:
    """The factor that takes a norm of this square to at most `most`; NaN if that is not finite."""
    norm = ops.sqrt(square)
    return ops.where(ops.isfinite(norm), most / ops.maximum(norm, most), math.nan)


def _not_negative(optimizer: Optimizer, name: str, given: Any) -> float:
    return arguments.not_negative(type(optimizer).__name__, name, given)


def _share(optimizer: Optimizer, name: str, given: Any) -> float:
    return arguments.share(type(optimizer).__name__, name, given)


def _fraction(optimizer: Optimizer, name: str, given: Any) -> float:
    return arguments.fraction(type(optimizer).__name__, name, given)


_TABLE = registry.named(
    SGD, RMSprop, Adam, AdamW, Adamax, Nadam, Adagrad, Adadelta, Lion, LossScaleOptimizer
)
