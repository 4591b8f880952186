"""Forty common operations, forward and backward, as each library's own documentation would call
them: ours through a tape, PyTorch through `torch.autograd.grad`, HIPS autograd through `make_vjp`.

Every operation gets float32 arrays of 8, 1,000 and 1,000,000 elements, and a cotangent of its
result; what is compared before anything is timed is the value and the gradient of every input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.plan import Program

SHAPES = {"8": (2, 4), "1,000": (25, 40), "1,000,000": (1000, 1000)}

Function = Callable[..., Any]
Call = Callable[[Any], Function]


class Operation(NamedTuple):
    """One operation: as a function of the module and then of the arrays, for each library.

    `inputs` draws the arrays of a shape; those of floats are differentiated.
    """

    ours: Call
    torch: Call
    autograd: Call
    inputs: Callable[[np.random.Generator, tuple[int, int]], list[np.ndarray]]


def one(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [rng.normal(size=shape).astype("float32")]


def positive(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [rng.uniform(0.5, 2, shape).astype("float32")]


def two(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [rng.normal(size=shape).astype("float32"), rng.uniform(0.5, 2, shape).astype("float32")]


def and_row(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [*one(rng, shape), rng.normal(size=shape[1]).astype("float32")]


def and_scale(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [*one(rng, shape), *(rng.normal(size=shape[1]).astype("float32") for _ in range(2))]


def factors(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    """Two square matrices with about as many elements as the shape, up to 256 x 256."""
    size = min(int(np.sqrt(shape[0] * shape[1])), 256)
    return [rng.normal(size=(size, size)).astype("float32") for _ in range(2)]


def and_labels(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [*one(rng, shape), rng.integers(0, shape[1], shape[0])]


def and_rows(rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    return [*one(rng, shape), rng.integers(0, shape[0], shape[0])]


def _alike(name: str, torch: str = "", autograd: str = "") -> tuple[Call, Call, Call]:
    """A function that has (nearly) one name everywhere."""
    return (
        lambda edu: getattr(edu, name),
        lambda t: getattr(t, torch or name),
        lambda anp: getattr(anp, autograd or name),
    )


def _softmax(anp: Any) -> Function:
    def softmax(x: Any) -> Any:
        powers = anp.exp(x - anp.max(x, axis=-1, keepdims=True))
        return powers / anp.sum(powers, axis=-1, keepdims=True)

    return softmax


def _logsumexp(anp: Any, x: Any) -> Any:
    top = anp.max(x, axis=-1, keepdims=True)
    return anp.log(anp.sum(anp.exp(x - top), axis=-1, keepdims=True)) + top


def _autograd_erf() -> Function:
    from autograd.scipy.special import erf

    return erf


def _autograd_layer_norm(anp: Any) -> Function:
    def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
        centred = x - anp.mean(x, axis=-1, keepdims=True)
        variance = anp.mean(centred**2, axis=-1, keepdims=True)
        return centred / anp.sqrt(variance + np.float32(1e-3)) * gamma + beta

    return layer_norm


OPERATIONS: dict[str, Operation] = {
    "add": Operation(*_alike("add"), two),
    "subtract": Operation(*_alike("subtract"), two),
    "multiply": Operation(*_alike("multiply"), two),
    "divide": Operation(*_alike("divide"), two),
    "add a row": Operation(*_alike("add"), and_row),
    "maximum": Operation(*_alike("maximum"), two),
    "power": Operation(
        lambda edu: lambda x: x**3, lambda t: lambda x: x**3, lambda anp: lambda x: x**3, one
    ),
    "abs": Operation(*_alike("abs"), one),
    "exp": Operation(*_alike("exp"), one),
    "log": Operation(*_alike("log"), positive),
    "sqrt": Operation(*_alike("sqrt"), positive),
    "square": Operation(*_alike("square"), one),
    "sin": Operation(*_alike("sin"), one),
    "tanh": Operation(*_alike("tanh"), one),
    "log1p": Operation(*_alike("log1p"), positive),
    "expm1": Operation(*_alike("expm1"), one),
    "erf": Operation(lambda edu: edu.erf, lambda t: t.erf, lambda anp: _autograd_erf(), one),
    "sigmoid": Operation(
        lambda edu: edu.sigmoid,
        lambda t: t.sigmoid,
        lambda anp: lambda x: 1 / (1 + anp.exp(-x)),
        one,
    ),
    "relu": Operation(
        lambda edu: edu.relu, lambda t: t.relu, lambda anp: lambda x: anp.maximum(x, 0), one
    ),
    "leaky_relu": Operation(
        lambda edu: lambda x: edu.leaky_relu(x, 0.25),
        lambda t: lambda x: t.nn.functional.leaky_relu(x, 0.25),
        lambda anp: lambda x: anp.where(x > 0, x, np.float32(0.25) * x),
        one,
    ),
    "elu": Operation(
        lambda edu: edu.elu,
        lambda t: t.nn.functional.elu,
        lambda anp: lambda x: anp.where(x > 0, x, anp.exp(anp.minimum(x, 0)) - 1),
        one,
    ),
    "silu": Operation(
        lambda edu: edu.silu,
        lambda t: t.nn.functional.silu,
        lambda anp: lambda x: x / (1 + anp.exp(-x)),
        one,
    ),
    "softplus": Operation(
        lambda edu: edu.softplus,
        lambda t: t.nn.functional.softplus,
        lambda anp: lambda x: anp.logaddexp(x, np.float32(0)),
        one,
    ),
    "gelu": Operation(
        lambda edu: lambda x: edu.gelu(x, approximate=False),
        lambda t: t.nn.functional.gelu,
        lambda anp: lambda x: x * (1 + _autograd_erf()(x / np.float32(np.sqrt(2)))) / 2,
        one,
    ),
    "gelu by tanh": Operation(
        lambda edu: lambda x: edu.gelu(x, approximate=True),
        lambda t: lambda x: t.nn.functional.gelu(x, approximate="tanh"),
        lambda anp: (
            lambda x: (
                (
                    x
                    * (
                        1
                        + anp.tanh(
                            np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)
                        )
                    )
                )
                / 2
            )
        ),
        one,
    ),
    "clip": Operation(
        lambda edu: lambda x: edu.clip(x, -1.0, 1.0),
        lambda t: lambda x: t.clip(x, -1.0, 1.0),
        lambda anp: lambda x: anp.clip(x, -1.0, 1.0),
        one,
    ),
    "where": Operation(
        lambda edu: lambda x, y: edu.where(x > y, x, y),
        lambda t: lambda x, y: t.where(x > y, x, y),
        lambda anp: lambda x, y: anp.where(x > y, x, y),
        two,
    ),
    "sum": Operation(*_alike("sum"), one),
    "mean of rows": Operation(
        lambda edu: lambda x: edu.mean(x, axis=-1),
        lambda t: lambda x: t.mean(x, -1),
        lambda anp: lambda x: anp.mean(x, axis=-1),
        one,
    ),
    "max of rows": Operation(
        lambda edu: lambda x: edu.max(x, axis=-1),
        lambda t: lambda x: t.amax(x, -1),
        lambda anp: lambda x: anp.max(x, axis=-1),
        one,
    ),
    "variance of rows": Operation(
        lambda edu: lambda x: edu.var(x, axis=-1),
        lambda t: lambda x: t.var(x, -1, correction=0),
        lambda anp: lambda x: anp.var(x, axis=-1),
        one,
    ),
    "logsumexp": Operation(
        lambda edu: lambda x: edu.logsumexp(x, axis=-1),
        lambda t: lambda x: t.logsumexp(x, -1),
        lambda anp: lambda x: _logsumexp(anp, x)[:, 0],
        one,
    ),
    "softmax": Operation(
        lambda edu: edu.softmax, lambda t: lambda x: t.softmax(x, -1), _softmax, one
    ),
    "log_softmax": Operation(
        lambda edu: edu.log_softmax,
        lambda t: lambda x: t.log_softmax(x, -1),
        lambda anp: lambda x: x - _logsumexp(anp, x),
        one,
    ),
    "layer_norm": Operation(
        lambda edu: edu.layer_norm,
        lambda t: lambda x, w, b: t.nn.functional.layer_norm(x, x.shape[-1:], w, b, 1e-3),
        _autograd_layer_norm,
        and_scale,
    ),
    "cross-entropy": Operation(
        lambda edu: (
            lambda x, labels: edu.sparse_categorical_crossentropy(
                labels, x, from_logits=True
            ).mean()
        ),
        lambda t: t.nn.functional.cross_entropy,
        lambda anp: (
            lambda x, labels: anp.mean(_logsumexp(anp, x)[:, 0] - x[np.arange(len(labels)), labels])
        ),
        and_labels,
    ),
    "cumulative_sum": Operation(
        lambda edu: lambda x: edu.cumulative_sum(x, axis=-1),
        lambda t: lambda x: t.cumsum(x, -1),
        lambda anp: lambda x: anp.cumsum(x, axis=-1),
        one,
    ),
    "matmul": Operation(*_alike("matmul"), factors),
    "take rows": Operation(
        lambda edu: lambda x, rows: x[rows],
        lambda t: lambda x, rows: x[rows],
        lambda anp: lambda x, rows: x[rows],
        and_rows,
    ),
    "concat": Operation(
        lambda edu: lambda x, y: edu.concat([x, y], axis=0),
        lambda t: lambda x, y: t.cat([x, y], 0),
        lambda anp: lambda x, y: anp.concatenate([x, y], axis=0),
        two,
    ),
}


def jobs() -> Iterator[tuple[str, Operation, list[np.ndarray]]]:
    """Every operation at every size: its name, with the size, and its arrays."""
    for size, shape in SHAPES.items():
        for name, operation in OPERATIONS.items():
            rng = np.random.default_rng(0)
            yield f"{name}, {size}", operation, operation.inputs(rng, shape)


def cotangent(value: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.asarray(generator.uniform(0.5, 1.5, value.shape), "float32")


def program(step: Callable[[], Any], result: Callable[[], list[np.ndarray]]) -> Program:
    def run(count: int) -> None:
        for _ in range(count):
            step()

    return Program(run, result)


def ours() -> dict[str, Program]:
    import tinygrad_edu as edu

    def make(operation: Operation, arrays: list[np.ndarray]) -> Program:
        function = operation.ours(edu)
        given = [edu.tensor(a) for a in arrays]
        floats = [x for x in given if x.dtype == "float32"]
        g = edu.tensor(cotangent(function(*given).numpy()))

        def step() -> Any:
            with edu.GradientTape() as tape:
                tape.watch(floats)
                value = function(*given)
            return value, tape.gradient(value, floats, g)

        def result() -> list[np.ndarray]:
            value, gradients = step()
            return [value.numpy(), *(x.numpy() for x in gradients)]

        return program(step, result)

    return {name: make(operation, arrays) for name, operation, arrays in jobs()}


def torch_eager() -> dict[str, Program]:
    import torch

    def make(operation: Operation, arrays: list[np.ndarray]) -> Program:
        function = operation.torch(torch)
        given = [torch.from_numpy(a) for a in arrays]
        floats = [x.requires_grad_() for x in given if x.dtype == torch.float32]
        g = torch.from_numpy(cotangent(function(*given).detach().numpy()))

        def step() -> Any:
            value = function(*given)
            return value, torch.autograd.grad(value, floats, g)

        def result() -> list[np.ndarray]:
            value, gradients = step()
            return [value.detach().numpy(), *(x.numpy() for x in gradients)]

        return program(step, result)

    return {name: make(operation, arrays) for name, operation, arrays in jobs()}


def hips_autograd() -> dict[str, Program]:
    """Without the largest size: it computes with NumPy, as we do, and more often."""
    import autograd.numpy as anp
    from autograd import make_vjp

    def make(operation: Operation, arrays: list[np.ndarray]) -> Program:
        function = operation.autograd(anp)
        places = tuple(i for i, a in enumerate(arrays) if a.dtype == np.float32)
        g = cotangent(np.asarray(function(*arrays)))

        def step() -> Any:
            pull_back, value = make_vjp(function, places)(*arrays)
            return value, pull_back(g)

        def result() -> list[np.ndarray]:
            value, gradients = step()
            return [np.asarray(x, np.float32) for x in (value, *gradients)]

        return program(step, result)

    return {
        name: make(operation, arrays)
        for name, operation, arrays in jobs()
        if not name.endswith("1,000,000")
    }
