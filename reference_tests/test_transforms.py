"""The transforms, for every operation and composite: a batch at once equals one example after
another; the forward derivative is the transpose of the reverse one. And programs in which they
meet, against JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops

from .samples import Sample, ordinary, weights
from .subjects import Subject
from .test_operations import EVERY, OF_FLOATS

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DIFFERENTIABLE = [s for s in OF_FLOATS if s.op is None or s.op.no_gradient is None]
EXAMPLES = 3


REFUSED = {
    "bincount_counts": "how long the result is depends on the values",
    "unique_all": "how many there are depends on the values",
    "unique_counts": "how many there are depends on the values",
    "unique_inverse": "how many there are depends on the values",
    "unique_values": "how many there are depends on the values",
}


def batches(subject: Subject) -> Iterator[tuple[Callable[..., Any], list[np.ndarray]]]:
    """Functions of arrays, and arrays of several examples along their first axis."""
    for sample in ordinary(subject, subject.dtypes[-1]):
        yield sample.call.bind(subject.function), [_several(x) for x in sample.arrays]


def _several(x: np.ndarray) -> np.ndarray:
    """Different examples with the same values in another order, so that domains hold."""
    return np.stack([np.roll(x, i) if x.ndim else x for i in range(EXAMPLES)])


def _example(x: np.ndarray, i: int) -> np.ndarray:
    return np.asarray(x[i])  # a NumPy scalar would be weak


def _leaves(value: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in edu.tree.leaves(value)]


@pytest.mark.parametrize("subject", EVERY, ids=str)
def test_a_batch_is_one_example_after_another(subject: Subject) -> None:
    for function, arrays in batches(subject):
        for axes in _choices(len(arrays)):
            given = [
                x if axis == 0 else _example(x, 1) for x, axis in zip(arrays, axes, strict=True)
            ]
            if subject.name in REFUSED:
                with pytest.raises(edu.errors.TracingError):
                    edu.vmap(function, axes)(*given)
                continue
            rows = []
            for i in range(EXAMPLES):
                pairs = zip(given, axes, strict=True)
                rows.append(function(*[_example(x, i) if axis == 0 else x for x, axis in pairs]))
            columns = zip(*map(_leaves, rows), strict=True)
            for one, each in zip(_leaves(edu.vmap(function, axes)(*given)), columns, strict=True):
                expected = np.stack(each)
                assert (one.shape, one.dtype) == (expected.shape, expected.dtype), axes
                np.testing.assert_allclose(one, expected, 1e-12, 1e-12, err_msg=str(axes))


def _choices(count: int) -> Iterator[tuple[int | None, ...]]:
    """All arguments mapped; and each alone."""
    if count:
        yield (0,) * count
    if count > 1:
        for i in range(count):
            yield tuple(0 if i == j else None for j in range(count))


@pytest.mark.parametrize("subject", [s for s in DIFFERENTIABLE if s.name not in REFUSED], ids=str)
def test_the_gradients_of_a_batch(subject: Subject) -> None:
    for function, arrays in batches(subject):
        numbers = tuple(i for i, x in enumerate(arrays) if x.dtype.kind == "f")
        if not numbers or function(*[_example(x, 0) for x in arrays]).dtype.kind != "f":
            continue
        gradients = edu.grad(_weighed(function), numbers)
        rows = [gradients(*[_example(x, i) for x in arrays]) for i in range(EXAMPLES)]
        for one, each in zip(edu.vmap(gradients)(*arrays), zip(*rows, strict=True), strict=True):
            expected = np.stack([np.asarray(g) for g in each])
            np.testing.assert_allclose(one, expected, 1e-9, 1e-9)


def _weighed(function: Callable[..., Any]) -> Callable[..., Any]:
    def scalar(*arrays: Any) -> Any:
        value = function(*arrays)
        return (value * weights(value.shape, value.dtype)).sum()

    return scalar


@pytest.mark.parametrize("subject", DIFFERENTIABLE, ids=str)
def test_forward_is_the_transpose_of_reverse(subject: Subject) -> None:
    for sample in ordinary(subject, "float64"):
        numbers = sample.argnums
        function = sample.call.bind(subject.function)
        if not numbers or function(*sample.arrays).dtype.name != "float64":
            continue
        of_floats = _of_chosen(function, sample, numbers)
        inputs = [sample.arrays[i] for i in numbers]
        directions = [weights(x.shape, x.dtype) * (1 + i) for i, x in enumerate(inputs)]
        value, moved = edu.jvp(of_floats, inputs, directions)
        cotangent = weights(value.shape, value.dtype)
        pulled = edu.vjp(of_floats, *inputs)[1](cotangent)
        if not all(x.size for x in inputs):
            continue  # of nothing, the mean and its slope are NaN
        forward = float(np.sum(moved.numpy() * cotangent))
        reverse = float(sum(np.sum(g.numpy() * v) for g, v in zip(pulled, directions, strict=True)))
        assert forward == pytest.approx(reverse, 1e-9, 1e-9, nan_ok=True), str(sample)


def _of_chosen(
    function: Callable[..., Any], sample: Sample, numbers: list[int]
) -> Callable[..., Any]:
    def of_chosen(*given: Any) -> Any:
        arrays: list[Any] = list(sample.arrays)
        for number, array in zip(numbers, given, strict=True):
            arrays[number] = array
        return function(*arrays)

    return of_chosen


# Programs in which transforms meet, written with an array module that is ours or JAX's.


def _energy(xp: Any, x: Any) -> Any:
    return xp.sum(xp.exp(x) * x[::-1]) + xp.sum(x) ** 2


def _network(xp: Any, W: Any, x: Any) -> Any:
    return xp.sum(xp.tanh(xp.matmul(x, W)) ** 2)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))
W = RNG.normal(size=(3, 2))

PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "jacobian": lambda t, xp: t.jacobian(lambda x: xp.exp(x) * xp.sum(x))(X[0]),
    "jacobian of a matrix function": lambda t, xp: t.jacobian(lambda w: xp.matmul(X, w))(W),
    "hessian": lambda t, xp: t.hessian(lambda x: _energy(xp, x))(X[0]),
    "hessian of two arguments": lambda t, xp: t.hessian(
        lambda w, x: _network(xp, w, x), argnums=(0, 1)
    )(W, X[0]),
    "hessian times a vector": lambda t, xp: t.jvp(
        t.grad(lambda x: _energy(xp, x)), (X[0],), (X[1],)
    ),
    "gradient of a forward derivative": lambda t, xp: t.grad(
        lambda x: t.jvp(lambda y: _energy(xp, y), (x,), (X[1],))[1]
    )(X[0]),
    "forward of forward": lambda t, xp: t.jvp(
        lambda x: t.jvp(lambda y: _energy(xp, y), (x,), (x,))[1], (X[0],), (X[1],)
    ),
    "a gradient for each example": lambda t, xp: t.vmap(
        t.grad(lambda w, x: _network(xp, w, x)), (None, 0)
    )(W, X),
    "the gradient of a batch": lambda t, xp: t.grad(
        lambda w: xp.sum(t.vmap(lambda x: _network(xp, w, x))(X) ** 2)
    )(W),
    "a hessian for each example": lambda t, xp: t.vmap(t.hessian(lambda x: _energy(xp, x)))(X),
    "a batch of batches": lambda t, xp: t.vmap(
        lambda x: t.vmap(lambda y: xp.sum(xp.tanh(x * y)))(X)
    )(X),
    "gradient of a batch of gradients": lambda t, xp: t.grad(
        lambda w: xp.sum(t.vmap(t.grad(lambda x: _network(xp, w, x)))(X) ** 2)
    )(W),
    "examples along other axes": lambda t, xp: t.vmap(
        lambda x, y: xp.sum(x) * y, in_axes=(1, 0), out_axes=1
    )(X, X.T),
    "the third derivative": lambda t, xp: t.grad(t.grad(t.grad(lambda x: xp.sin(x) * x**3)))(
        X[0, 0]
    ),
    "vjp of vjp": lambda t, xp: t.vjp(
        lambda g: t.vjp(lambda x: xp.tanh(x) * xp.sum(x), X[0])[1](g)[0], X[1]
    )[1](X[2]),
}


class _Jax:
    """JAX's transforms under our names."""

    jvp, vjp, grad, vmap = jax.jvp, jax.vjp, jax.grad, jax.vmap
    jacobian, hessian = jax.jacrev, jax.hessian


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_agree_with_jax(name: str) -> None:
    ours = PROGRAMS[name](edu, ops)
    with jax.enable_x64(True):
        theirs = PROGRAMS[name](_Jax, jax.numpy)
    pairs = zip(_leaves(ours), jax.tree.leaves(theirs), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-12, atol=1e-12)
