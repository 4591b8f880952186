"""TensorFlow, PyTorch and JAX behind one small face: a function by its name, its value, and its
gradients to second order, NumPy arrays in and out.

A framework that is not installed is an ImportError here: no test passes for want of something to
compare with. Knows nothing of tinygrad_edu.
"""

from __future__ import annotations

import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

# TensorFlow reads this when it is imported: no kernels that round differently from run to run.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the terminal what C++ writes to it, before anybody could tell it not to."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _quiet():
    import jax
    import tensorflow
    import torch

    # The suite runs in several processes already.
    torch.set_num_threads(1)
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.list_logical_devices()  # looks for devices now, and complains now

Function = Callable[..., Any]
Arrays = Sequence[np.ndarray]


class Derivatives(NamedTuple):
    """What a function of arrays x_i gives: its value; the gradient of sum(value * cotangent) with
    respect to each chosen x_i; and that of sum_i sum(gradient_i * direction_i)."""

    value: np.ndarray
    first: list[np.ndarray]
    second: list[np.ndarray]


class Framework(ABC):
    """What the suite asks of a framework. `name` is its key in an operation's `references`."""

    name: str
    module: Any

    @cache  # noqa: B019  the same object each time, so that it compiles once
    def function(self, reference: str | Function) -> Function:
        """What `references` names: "math.tanh" under the module, or a function of the module."""
        if isinstance(reference, str):
            found: Function = operator.attrgetter(reference)(self.module)
            return found
        return lambda *arrays, **params: reference(self.module, *arrays, **params)

    @abstractmethod
    def array(self, array: np.ndarray) -> Any:
        """A NumPy array as the framework's."""

    def numpy(self, array: Any) -> np.ndarray:
        """The framework's array as NumPy's."""
        return np.array(array)

    def value(self, function: Function, arrays: Arrays) -> np.ndarray:
        """The function of these arrays."""
        return self.numpy(function(*map(self.array, arrays)))

    @abstractmethod
    def derivatives(
        self,
        function: Function,
        arrays: Arrays,
        argnums: Sequence[int],
        cotangent: np.ndarray,
        directions: Arrays,
    ) -> Derivatives:
        """The value and the gradients to second order; one of `directions` for each argnum. A
        gradient is zero where nothing connects."""


class TensorFlow(Framework):
    """TensorFlow, eager, through GradientTape."""

    name = "tensorflow"
    module = tensorflow

    def array(self, array: np.ndarray) -> Any:
        return tensorflow.constant(array)

    def numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array.numpy() if hasattr(array, "numpy") else array)

    def derivatives(
        self,
        function: Function,
        arrays: Arrays,
        argnums: Sequence[int],
        cotangent: np.ndarray,
        directions: Arrays,
    ) -> Derivatives:
        inputs = [self.array(a) for a in arrays]
        chosen = [inputs[i] for i in argnums]
        with tensorflow.GradientTape() as outer:
            outer.watch(chosen)
            with tensorflow.GradientTape() as inner:
                inner.watch(chosen)
                value = function(*inputs)
            first = inner.gradient(
                value, chosen, output_gradients=cotangent, unconnected_gradients="zero"
            )
            slope = tensorflow.add_n(
                [tensorflow.reduce_sum(g * v) for g, v in zip(first, directions, strict=True)]
            )
        second = outer.gradient(slope, chosen, unconnected_gradients="zero")
        return Derivatives(self.numpy(value), self._dense(first), self._dense(second))

    def _dense(self, gradients: Sequence[Any]) -> list[np.ndarray]:
        return [self.numpy(tensorflow.convert_to_tensor(g)) for g in gradients]


class PyTorch(Framework):
    """PyTorch, eager, through autograd."""

    name = "torch"
    module = torch

    def array(self, array: np.ndarray) -> Any:
        if array.dtype.name == "bfloat16":  # PyTorch's is not NumPy's: hand over the bits
            return torch.from_numpy(np.array(array, order="C").view("int16")).view(torch.bfloat16)
        return torch.from_numpy(np.array(array, order="C"))  # kron refuses other orders

    def numpy(self, array: Any) -> np.ndarray:
        array = array.detach()
        if array.dtype == torch.bfloat16:
            bits: np.ndarray = array.view(torch.int16).numpy(force=True)
            return bits.view("bfloat16")
        found: np.ndarray = array.numpy(force=True)
        return found

    def derivatives(
        self,
        function: Function,
        arrays: Arrays,
        argnums: Sequence[int],
        cotangent: np.ndarray,
        directions: Arrays,
    ) -> Derivatives:
        inputs = [self.array(a) for a in arrays]
        chosen = [inputs[i].requires_grad_() for i in argnums]
        value = function(*inputs)
        first = self._gradients((value * self.array(cotangent)).sum(), chosen)
        slopes = [(g * self.array(v)).sum() for g, v in zip(first, directions, strict=True)]
        second = self._gradients(torch.stack(slopes).sum(), chosen)
        return Derivatives(
            self.numpy(value), [self.numpy(g) for g in first], [self.numpy(g) for g in second]
        )

    @staticmethod
    def _gradients(scalar: Any, inputs: Sequence[Any]) -> Sequence[Any]:
        if not scalar.requires_grad:
            return [torch.zeros_like(x) for x in inputs]
        found: Sequence[Any] = torch.autograd.grad(
            scalar, inputs, create_graph=True, allow_unused=True, materialize_grads=True
        )
        return found


class JAX(Framework):
    """JAX, with 64-bit dtypes in its own scoped switch; derivatives compiled in one program."""

    name = "jax"
    module = jax

    def array(self, array: np.ndarray) -> Any:
        return jax.numpy.array(array)

    def value(self, function: Function, arrays: Arrays) -> np.ndarray:
        with jax.enable_x64(True):
            return super().value(function, arrays)

    def derivatives(
        self,
        function: Function,
        arrays: Arrays,
        argnums: Sequence[int],
        cotangent: np.ndarray,
        directions: Arrays,
    ) -> Derivatives:
        with jax.enable_x64(True):
            program = _compiled(function, tuple(argnums))
            value, first, second = program(
                self.array(cotangent), [*map(self.array, directions)], *map(self.array, arrays)
            )
        return Derivatives(
            self.numpy(value), [self.numpy(g) for g in first], [self.numpy(g) for g in second]
        )


@cache
def _compiled(function: Function, argnums: tuple[int, ...]) -> Function:
    """A program for the value and the gradients of both orders."""

    def derivatives(cotangent: Any, directions: Any, *inputs: Any) -> tuple[Any, Any, Any]:
        def weighed(*inputs: Any) -> tuple[Any, Any]:
            value = function(*inputs)
            return (value * cotangent).sum(), value

        def slope(*inputs: Any) -> tuple[Any, Any]:
            first, value = jax.grad(weighed, argnums, has_aux=True)(*inputs)
            total = sum((g * v).sum() for g, v in zip(first, directions, strict=True))
            return total, (value, first)

        second, (value, first) = jax.grad(slope, argnums, has_aux=True)(*inputs)
        return value, first, second

    # A program runs a few times only: less optimising, and the suite takes half as long.
    found: Function = jax.jit(derivatives, compiler_options={"xla_backend_optimization_level": 0})
    return found


FRAMEWORKS: dict[str, Framework] = {
    framework.name: framework for framework in (TensorFlow(), PyTorch(), JAX())
}
