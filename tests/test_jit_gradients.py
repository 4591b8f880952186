"""jit with gradients, vmap and jit, inside and outside of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu

from .compiled import as_eager, same

# Gradients


def cube(x: Any) -> Any:
    return (x * x * x).sum()


def test_tapes_inside(device: str) -> None:
    W = edu.Variable([[1.0], [2.0]])

    def gradients(x: Any) -> Any:
        with edu.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = edu.tanh(x @ W)
            loss = (y * y).mean()
        return loss, tape.gradient(loss, [W, x]), tape.gradient(y, x)

    as_eager(gradients, edu.tensor([[1.0, -1.0], [0.5, 0.25]]))


def test_tapes_outside(device: str) -> None:
    W = edu.Variable([[1.0], [2.0]])

    def layer(x: Any, scale: Any) -> Any:
        y = edu.tanh(x @ W)
        return {"y": y * scale, "count": y.shape[0], "index": edu.argmax(y)}

    def gradients(layer: Callable[..., Any]) -> Any:
        x, scale = edu.tensor([[1.0, -1.0], [0.5, 0.25]]), edu.tensor(2.0)
        with edu.GradientTape() as tape:
            tape.watch([x, scale])
            y = edu.exp(layer(x * 1.0, scale)["y"]).sum()
        return y, tape.gradient(y, {"W": W, "rest": [x, scale]})

    jitted = edu.jit(layer)
    for _ in range(2):
        same(gradients(jitted), gradients(layer))


def test_a_tape_outside_and_a_variable_that_is_only_read_inside(device: str) -> None:
    v = edu.Variable(3.0)
    jitted = edu.jit(lambda: v * v)
    for wanted in (6.0, 8.0):
        with edu.GradientTape() as tape:
            y = jitted()
        same(tape.gradient(y, v), edu.tensor(wanted))
        v.assign_add(1.0)


def test_backward_goes_through_a_compiled_function(device: str) -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    jitted = edu.jit(cube)
    for total in (1.0, 2.0):
        jitted(x * 1.0).backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), total * np.array([3.0, 12.0]))
    y = edu.tensor([1.0, 2.0], requires_grad=True)
    jitted(y).backward()
    same(y.grad, edu.tensor([3.0, 12.0]))


def test_backward_goes_to_a_variable_that_is_read_inside() -> None:
    v = edu.Variable([1.0, 2.0], requires_grad=True)
    jitted = edu.jit(lambda x: (x * v * v).sum())
    for _ in range(2):
        v.grad = None
        y = jitted(edu.tensor([1.0, 1.0]))
        assert y.requires_grad
        y.backward()
        same(v.grad, edu.tensor([2.0, 4.0]))


@pytest.mark.parametrize("order", ["grad of jit", "jit of grad", "jit of grad of jit"])
def test_grad_and_jit_in_any_order(order: str, device: str) -> None:
    x = edu.tensor([1.0, 2.0])
    f: Any = cube
    for step in reversed(order.split(" of ")):
        f = edu.jit(f) if step == "jit" else edu.grad(f)
    for _ in range(2):
        same(f(x), edu.tensor([3.0, 12.0]))


def test_second_and_third_derivatives(device: str) -> None:
    # d/dx x^3 = 3 x^2, d2/dx2 = 6 x, d3/dx3 = 6
    def f(x: Any) -> Any:
        return x * x * x

    jit, grad = edu.jit, edu.grad
    x = edu.tensor(2.0)
    for second in (
        grad(grad(jit(f))),
        grad(jit(grad(f))),
        jit(grad(grad(f))),
        jit(grad(jit(grad(jit(f))))),
    ):
        same(second(x), edu.tensor(12.0))
        same(second(x), edu.tensor(12.0))
    same(grad(grad(grad(jit(f))))(x), edu.tensor(6.0))


def test_value_and_grad_vjp_jvp_jacobian_and_hessian(device: str) -> None:
    def f(x: Any) -> Any:
        return edu.stack([x[0] * x[1], edu.sin(x[0])])

    x, u = edu.tensor([0.5, 2.0]), edu.tensor([1.0, -1.0])
    jitted = edu.jit(f)
    same(edu.jacobian(jitted)(x), edu.jacobian(f)(x))
    same(edu.jit(edu.jacobian(f))(x), edu.jacobian(f)(x))
    same(edu.vjp(jitted, x)[1](u), edu.vjp(f, x)[1](u))
    same(edu.jvp(jitted, (x,), (u,)), edu.jvp(f, (x,), (u,)))
    same(edu.jit(lambda x, u: edu.jvp(f, (x,), (u,)))(x, u), edu.jvp(f, (x,), (u,)))
    same(edu.hessian(edu.jit(cube))(x), edu.hessian(cube)(x))
    same(edu.jit(edu.hessian(cube))(x), edu.hessian(cube)(x))
    same(edu.jit(edu.value_and_grad(cube))(x), edu.value_and_grad(cube)(x))
    same(edu.value_and_grad(edu.jit(cube))(x), edu.value_and_grad(cube)(x))


def test_checkpoint_and_custom_gradient_inside(device: str) -> None:
    @edu.custom_gradient
    def clipped(x: Any) -> Any:
        return x * 1.0, lambda g: edu.minimum(g, 1.0)

    def f(x: Any) -> Any:
        inner = edu.checkpoint(lambda y: edu.sin(y) * y)
        return (clipped(inner(x)) * 5.0).sum()

    as_eager(edu.grad(f), edu.tensor([0.5, 2.0]))
    same(edu.grad(edu.jit(f))(edu.tensor([0.5, 2.0])), edu.grad(f)(edu.tensor([0.5, 2.0])))


def test_an_outer_tape_sees_what_it_sees_eagerly(device: str) -> None:
    """No gradient from no_grad, and an assignment is a new beginning: gradients go to the Variable
    from uses of every value that it had."""
    v = edu.Variable(3.0)

    def f(x: Any) -> Any:
        with edu.no_grad():
            y = x * 5.0
        first = v * x
        v.assign(v * 2.0)
        z = first + v * v + x * y + edu.stop_gradient(x) * x
        v.assign(v / 2.0)
        return z

    def gradients(f: Any) -> Any:
        x = edu.tensor(2.0)
        with edu.GradientTape() as tape:
            tape.watch(x)
            z = f(x)
        return z, tape.gradient(z, [x, v])

    jitted = edu.jit(f)
    # dz/dx = 3 + 5 * 2 + 2, dz/dv = 2 (first) + 2 * 6 (the second value, at 6)
    same(gradients(f), (edu.tensor(66.0 - 0.0), [edu.tensor(15.0), edu.tensor(14.0)]))
    for _ in range(2):
        same(gradients(jitted), gradients(f))


def test_no_grad_outside_and_inside() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    jitted = edu.jit(lambda x: x * 2.0)
    assert jitted(x).requires_grad
    with edu.no_grad():
        assert not jitted(x).requires_grad
    assert jitted(x).requires_grad
    assert not edu.no_grad()(jitted)(x).requires_grad

    @edu.jit
    def detached(x: Any) -> Any:
        with edu.no_grad():
            return x * 2.0

    assert detached(x).tolist() == [2, 4]


def test_a_result_that_does_not_depend_on_what_is_followed_has_no_gradient() -> None:
    jitted = edu.jit(lambda x, y: (x * 2.0, edu.argmax(x), y + 1.0))
    x, y = edu.tensor([1.0, 2.0]), edu.tensor([1.0])
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(x)
        a, _, c = jitted(x, y)
    same(tape.gradient(a, x), edu.tensor([2.0, 2.0]))
    found = tape.gradient(c, x)
    assert found is None or found.tolist() == [0, 0]


def test_gradients_of_integers_and_halves() -> None:
    def f(x: Any, i: Any) -> Any:
        return (x[i] * i).sum()

    i = edu.tensor([1, 2])
    for dtype in ("float16", "float64", "bfloat16"):
        x = edu.ones(4, dtype=dtype)
        same(edu.grad(edu.jit(f))(x, i), edu.grad(f)(x, i))


def test_training_steps_follow_the_eager_ones(device: str) -> None:
    """A classifier with momentum: losses, weights and velocities, step by step."""

    def trainer() -> tuple[Any, Callable[..., Any]]:
        W = edu.Variable(np.zeros((2, 1), "float32"), name="W")
        b = edu.Variable(np.zeros(1, "float32"), name="b")
        velocity = [edu.Variable(np.zeros_like(p.numpy()), trainable=False) for p in (W, b)]

        def step(X: Any, y: Any, rate: float) -> Any:
            with edu.GradientTape() as tape:
                loss = ((X @ W + b - y) ** 2).mean()
            for p, g, m in zip([W, b], tape.gradient(loss, [W, b]), velocity, strict=True):
                m.assign(m * 0.9 + g)
                p.assign_sub(rate * m)
            return loss

        return [W, b, *velocity], step

    (these, compiled), (those, plain) = trainer(), trainer()
    compiled = edu.jit(compiled)
    rng = np.random.default_rng(0)
    X, y = edu.tensor(rng.normal(size=(20, 2))), edu.tensor(rng.normal(size=(20, 1)))
    for i in range(5):
        same(compiled(X, y, 0.1 / (i + 1)), plain(X, y, 0.1 / (i + 1)))
        same([v.value for v in these], [v.value for v in those])
    assert compiled.cache_info() == (4, 1, 1, 64)


# vmap, and jit in jit


def test_vmap_and_jit_in_any_order(device: str) -> None:
    def f(x: Any, w: Any) -> Any:
        return edu.tanh(x @ w), (x * x).sum()

    X, W = edu.ones((3, 2)) * edu.arange(3.0)[:, None], edu.eye(2) + 0.5
    wanted = edu.vmap(f, in_axes=(0, None))(X, W)
    for mapped in (
        edu.jit(edu.vmap(f, in_axes=(0, None))),
        edu.vmap(edu.jit(f), in_axes=(0, None)),
        edu.jit(edu.vmap(edu.jit(f), in_axes=(0, None))),
    ):
        same(mapped(X, W), wanted)
        same(mapped(X, W), wanted)


def test_gradients_for_each_example_compiled(device: str) -> None:
    X = edu.tensor([[1.0, 2.0], [3.0, 4.0]])
    wanted = 3 * X.numpy() ** 2
    for f in (
        edu.jit(edu.vmap(edu.grad(cube))),
        edu.vmap(edu.jit(edu.grad(cube))),
        edu.vmap(edu.grad(edu.jit(cube))),
        edu.grad(edu.jit(lambda X: edu.vmap(cube)(X).sum())),
        edu.grad(lambda X: edu.vmap(edu.jit(cube))(X).sum()),
    ):
        for _ in range(2):
            np.testing.assert_allclose(f(X).numpy(), wanted)


def test_jit_in_jit(device: str) -> None:
    v = edu.Variable(1.0)

    @edu.jit
    def inner(x: Any, n: int = 2) -> Any:
        v.assign_add(x.sum())
        return x * v * n

    @edu.jit
    def outer(x: Any) -> Any:
        return inner(x) + inner(x, 3)

    x = edu.tensor([1.0, 2.0])
    # v: 4, 7, 10, 13
    assert outer(x).tolist() == [29, 58]
    assert outer(x).tolist() == [59, 118]
    assert v.item() == 13
    assert outer.cache_info().misses == 1
