"""vjp, jvp, jacobian, hessian, checkpoint, check_grads: structures, composition, what they refuse.

That they are right for every operation is shown in reference_tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import (
    ArgumentError,
    DtypeError,
    Error,
    GradientError,
    ShapeError,
    TracingError,
)

A = np.array([1.0, 2.0, 3.0])
B = np.array([0.5, -1.0, 2.0])


def test_vjp_of_structures_may_be_called_often() -> None:
    value, pull_back = edu.vjp(
        lambda p, x: {"y": p["w"] * x, "n": p["b"].sum()}, {"w": A, "b": B}, 2.0
    )
    assert_array_equal(value["y"], 2 * A)
    for scale in (1.0, 3.0):
        of_p, of_x = pull_back({"y": scale * A, "n": 5.0})
        assert_allclose(of_p["w"], 2 * scale * A)
        assert_allclose(of_p["b"], [5, 5, 5])
        assert of_x.item() == pytest.approx(scale * 14)


def test_cotangents_and_tangents_belong_to_values_by_key() -> None:
    _, pull_back = edu.vjp(lambda x: {"a": 2 * x, "b": 3 * x}, 1.0)
    assert pull_back({"b": 10.0, "a": 1.0})[0].item() == 32
    x = {"a": edu.tensor(1.0), "b": edu.tensor(1.0)}
    _, slope = edu.jvp(lambda x: 2 * x["a"] + 3 * x["b"], (x,), ({"b": 10.0, "a": 1.0},))
    assert slope.item() == 32


def test_vjp_is_zero_where_nothing_connects_and_passes_over_integers() -> None:
    value, pull_back = edu.vjp(lambda x, y: (x * 2, ops.argmax(x)), A, B)
    of_x, of_y = pull_back((A, value[1]))
    assert_array_equal(of_x, 2 * A)
    assert_array_equal(of_y, [0, 0, 0])


def test_vjp_and_jvp_with_aux() -> None:
    value, pull_back, aux = edu.vjp(lambda x: (x * x, "kept"), A, has_aux=True)
    assert aux == "kept"
    assert_array_equal(pull_back(A)[0], 2 * A * A)
    value, moved, aux = edu.jvp(lambda x: (x * x, "kept"), (A,), (B,), has_aux=True)
    assert aux == "kept"
    assert_array_equal(moved, 2 * A * B)
    assert_array_equal(value, A * A)


def test_jvp_where_cotangents_would_cancel() -> None:
    # The value's two halves pull back opposite cotangents: a dummy of ones would see zeros.
    _, moved = edu.jvp(lambda x: ops.stack([ops.sqrt(x), -ops.sqrt(x)]), (A,), (B,))
    assert_allclose(moved, [B / 2 / np.sqrt(A), -B / 2 / np.sqrt(A)])


def test_jvp_of_structures() -> None:
    value, moved = edu.jvp(
        lambda p: {"s": p["a"] * p["b"], "i": ops.argmax(p["a"])},
        ({"a": A, "b": B},),
        ({"a": B, "b": A},),
    )
    assert_allclose(moved["s"], B * B + A * A)
    assert moved["i"].item() == 0
    assert value["i"].item() == 2


def test_jacobian_has_the_structure_of_the_value_and_of_the_argument() -> None:
    found = edu.jacobian(lambda p: {"y": p["w"][:, None] * p["x"], "n": p["w"].sum()})(
        {"w": A, "x": B[:2]}
    )
    assert found["y"]["w"].shape == (3, 2, 3)
    assert found["y"]["x"].shape == (3, 2, 2)
    assert_array_equal(found["n"]["w"], [1, 1, 1])
    assert_array_equal(found["n"]["x"], [0, 0])


def test_jacobian_of_several_arguments_with_aux() -> None:
    (of_a, of_b), aux = edu.jacobian(lambda a, b: (a * b, 7), argnums=(0, 1), has_aux=True)(A, B)
    assert aux == 7
    assert_array_equal(of_a, np.diag(B))
    assert_array_equal(of_b, np.diag(A))


def test_jacobian_of_nothing() -> None:
    assert edu.jacobian(lambda x: x * 2)(np.zeros(0)).shape == (0, 0)


def test_hessian_is_symmetric_and_exact() -> None:
    found = edu.hessian(lambda x: ops.sum(x) ** 3)(A)
    assert_allclose(found, np.full((3, 3), 36.0))


def test_checkpoint_takes_functions_without_a_name() -> None:
    for function in (ops.sin, functools.partial(ops.multiply, 2.0)):
        wanted = edu.grad(lambda x, f=function: f(x).sum())(A)
        found = edu.grad(lambda x, f=function: edu.checkpoint(f)(x).sum())(A)
        assert_array_equal(found.numpy(), wanted.numpy())


def test_checkpoint_keeps_inputs_only_and_computes_again() -> None:
    calls = []

    def block(x: Any) -> Any:
        calls.append(1)
        for _ in range(20):
            x = ops.sin(x) * w
        return x

    w = edu.Variable(A)
    x = edu.tensor(B)
    with edu.GradientTape() as plain:
        plain.watch(x)
        y = ops.sum(block(x) ** 2)
    expected = plain.gradient(y, [x, w])
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(edu.checkpoint(block)(x) ** 2)
    assert len(tape._records) < 6
    for found, other in zip(tape.gradient(y, [x, w]), expected, strict=True):
        assert_array_equal(found, other)
    assert len(calls) == 3


def test_checkpoint_follows_what_the_function_captured() -> None:
    x = edu.tensor(A)
    with edu.GradientTape() as tape:
        tape.watch(x)
        captured = ops.exp(x)
        y = edu.checkpoint(lambda z: ops.sin(z) * captured)(x)
    assert_allclose(tape.gradient(y, x), np.exp(A) * (np.sin(A) + np.cos(A)))


def test_checkpoint_of_higher_orders_and_backward() -> None:
    f = edu.checkpoint(lambda x: ops.sin(x) * x)
    third = edu.grad(edu.grad(edu.grad(f)))(0.3)
    assert third.item() == pytest.approx(-3 * np.sin(0.3) - 0.3 * np.cos(0.3), rel=1e-5)
    x = edu.tensor(A, requires_grad=True)
    f(x).sum().backward()
    assert_allclose(x.grad, np.sin(A) + A * np.cos(A))
    assert f(edu.tensor(A)).requires_grad is False


def test_checkpoint_gives_back_structures_with_what_has_no_gradient() -> None:
    f = edu.checkpoint(lambda x: {"y": x * x, "place": ops.argmax(x), "word": "kept"})
    with edu.GradientTape() as tape:
        x = edu.tensor(A)
        tape.watch(x)
        found = f(x)
    assert found["word"] == "kept"
    assert found["place"].item() == 2
    assert_array_equal(tape.gradient(found["y"], x), 2 * A)


def test_checkpoint_draws_the_same_numbers_again() -> None:
    x = edu.ones(100)
    edu.random.seed(3)
    expected = edu.grad(lambda x: ops.sum(ops.dropout(x, 0.5)))(x)
    edu.random.seed(3)
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(edu.checkpoint(lambda x: ops.dropout(x, 0.5))(x))
    after = edu.random.state()
    assert_array_equal(tape.gradient(y, x), expected)
    assert edu.random.state() == after


def test_checkpoint_under_vmap() -> None:
    f = edu.checkpoint(lambda x: ops.sum(ops.sin(x)))
    assert_allclose(edu.vmap(edu.grad(f))(np.stack([A, B])), np.cos([A, B]))
    assert_allclose(edu.grad(lambda x: ops.sum(edu.vmap(f)(x)))(np.stack([A, B])), np.cos([A, B]))


def test_operands_that_are_lists_of_tensors_have_second_derivatives() -> None:
    f = lambda a, b: (ops.sin([a, b]) * [a, b]).sum()
    edu.check_grads(f, [0.5, 1.0], order=3)


def _watched(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def gradient(w: Any) -> Any:
        x = edu.tensor(A)
        with edu.GradientTape() as tape:
            tape.watch(x)
            y = function(x, w)
        return tape.gradient(y, x)

    return gradient


# Gradients with respect to A, which is no argument, of functions of A and of w, which is B.
OF_CONSTANTS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "grad": (lambda w: edu.grad(lambda x: (x**2 * w).sum())(A), 2 * A * B),
    "grad of grad": (
        lambda w: edu.grad(lambda y: edu.grad(lambda x: (x**3 * w).sum())(y).sum())(A),
        6 * A * B,
    ),
    "vjp": (lambda w: edu.vjp(lambda x: x**2 * w, A)[1](w)[0], 2 * A * B**2),
    "jvp": (lambda w: edu.jvp(lambda x: x**2 * w, (A,), (B,))[1], 2 * A * B**2),
    "hessian": (lambda w: edu.hessian(lambda x: (x**2 * w).sum())(A), np.diag(2 * B)),
    "checkpoint": (
        lambda w: edu.grad(lambda x: edu.checkpoint(lambda y: (y**2 * w).sum())(x))(A),
        2 * A * B,
    ),
    "watched": (_watched(lambda x, w: (x**2 * w).sum()), 2 * A * B),
    "watched, in a loop": (
        _watched(lambda x, w: edu.fori_loop(0, 3, lambda i, y: y * w[0] + (x**2).sum(), w[1])),
        2 * A * (B[0] ** 2 + B[0] + 1),
    ),
    "watched, in what a loop keeps": (
        _watched(lambda x, w: edu.scan(lambda y, u: (y * u, (x**2).sum()), w[1], w)[1].sum()),
        6 * A,
    ),
    "watched, in a loop in a branch": (
        _watched(
            lambda x, w: edu.cond(
                w[0] > 0,
                lambda: edu.while_loop(
                    lambda y: y > 0, lambda y: y - (x**2).sum(), w[2], maximum_iterations=2
                ),
                lambda: w[1],
            )
        ),
        -2 * A,
    ),
    "watched, with another in a loop": (
        _watched(
            lambda x, w: edu.fori_loop(
                0, 3, lambda i, y: y * w[0] + _watched(lambda v, _: (v**2 * x).sum())(w).sum(), w[1]
            )
        ),
        2 * A * (B[0] ** 2 + B[0] + 1),
    ),
    "a branch": (
        lambda w: edu.grad(lambda x: edu.cond(w[0] > 0, lambda: (x**2).sum(), lambda: w[1]))(A),
        2 * A,
    ),
    "a loop": (
        lambda w: edu.grad(
            lambda x: edu.fori_loop(0, 3, lambda i, y: y * w[0] + (x**2).sum(), w[1])
        )(A),
        2 * A * (B[0] ** 2 + B[0] + 1),
    ),
    "a scan": (
        lambda w: edu.grad(
            lambda x: edu.scan(lambda y, u: (y * u + x.sum(), None), edu.tensor(1.0, "float64"), w)[
                0
            ]
        )(A),
        np.full(3, B[1] * B[2] + B[2] + 1),
    ),
}


@pytest.mark.parametrize("name", OF_CONSTANTS)
@pytest.mark.usefixtures("device")
def test_gradients_with_respect_to_what_is_no_argument_of_a_compiled_function(name: str) -> None:
    function, expected = OF_CONSTANTS[name]
    for compiled in (function, edu.jit(function), edu.jit(edu.jit(function))):
        assert_allclose(compiled(edu.tensor(B)).numpy(), expected, rtol=1e-6)
    slopes = [edu.grad(lambda w, f=f: f(w).sum())(B) for f in (function, edu.jit(function))]
    assert_allclose(slopes[1].numpy(), slopes[0].numpy(), rtol=1e-6)


@pytest.mark.usefixtures("device")
def test_a_tape_around_a_compiled_function_follows_what_is_no_argument_of_it() -> None:
    x, w = edu.tensor(A), edu.tensor(B)
    f = edu.jit(lambda w: edu.fori_loop(0, 2, lambda i, y: y + (w * x) ** 2, w).sum())
    f(w)  # before anybody watches
    for _ in range(2):
        with edu.GradientTape() as outer:
            outer.watch((x, w))
            with edu.GradientTape() as inner:
                inner.watch(x)
                y = f(w)
            slope = inner.gradient(y, x)
        of_x, of_w = outer.gradient(slope, [x, w])
        assert_allclose(slope.numpy(), 4 * A * B**2)
        assert_allclose(of_x.numpy(), 4 * B**2)
        assert_allclose(of_w.numpy(), 8 * A * B)
    x = edu.tensor(A, requires_grad=True)
    f = edu.jit(lambda w: (w * x**2 * w).sum())
    with pytest.raises(TracingError, match="make it an argument, or a Variable"):
        f(w)  # x**2 is of nothing of the program, and would be the same in later calls
    f = edu.jit(lambda w: ((w * x) ** 2).sum())
    for _ in range(2):
        f(w).backward()
    assert_allclose(x.grad.numpy(), 4 * A * B**2)


def test_backward_to_what_a_compiled_function_makes() -> None:
    @edu.jit
    def gradient(w: Any) -> Any:
        x = edu.tensor(A, requires_grad=True)
        (x**2 * w).sum().backward()
        return x.grad

    for scale in (1, 3):
        assert_allclose(gradient(edu.tensor(scale * B)).numpy(), 2 * scale * A * B)
    assert gradient.cache_info().misses == 1
    looped = edu.jit(lambda w: edu.fori_loop(0, 2, lambda i, y: y + gradient(y), w))
    assert_allclose(looped(edu.tensor(B)).numpy(), B * (1 + 2 * A) ** 2)  # it traced for ever


def test_check_grads_passes_what_is_right() -> None:
    edu.check_grads(lambda p: ops.tanh(p["w"] * 2) @ p["x"], [{"w": A, "x": B}], order=2)
    edu.check_grads(lambda x: (ops.exp(x), ops.sum(x**2)), [A.astype("float32")])


def test_check_grads_says_where_it_is_wrong() -> None:
    @edu.custom_gradient
    def wrong_at_one(x: Any) -> Any:
        return x * x, lambda g: g * x * edu.tensor([2.0, 2.1, 2.0], "float64")

    with pytest.raises(GradientError, match=r"order 1 of argument 1 is off at \(1,\).*1 of 3"):
        edu.check_grads(lambda b, x: ops.sum(b) + wrong_at_one(x), [B, A])

    @edu.custom_gradient
    def wrong_in_second(x: Any) -> Any:
        return x**3, lambda g: g * 3.0 * ops.stop_gradient(x) ** 2

    edu.check_grads(wrong_in_second, [1.5])
    with pytest.raises(GradientError, match="order 2"):
        edu.check_grads(wrong_in_second, [1.5], order=2)


REFUSED: dict[str, tuple[Callable[[], Any], type[Error], str]] = {
    "cotangent of another structure": (
        lambda: edu.vjp(lambda x: (x, x), A)[1](A), GradientError, "structure"
    ),
    "cotangent of another shape": (
        lambda: edu.vjp(lambda x: x, A)[1](B[:2]), ShapeError, "vjp: the cotangent"
    ),
    "an integer argument": (lambda: edu.vjp(lambda x: x, np.arange(3)), DtypeError, "float"),
    "tangents of another structure": (
        lambda: edu.jvp(lambda x: x, (A,), (A, B)), ArgumentError, "tangents"
    ),
    "primals without a tuple": (lambda: edu.jvp(lambda x: x, A, B), ArgumentError, "tuples"),
    "tangents of another shape": (
        lambda: edu.jvp(lambda x: x, (A,), (B[:2],)), ShapeError, "jvp: the tangent"
    ),
    "jacobian of an integer": (
        lambda: edu.jacobian(lambda x: ops.argmax(x))(A), DtypeError, "jacobian"
    ),
    "hessian of a vector": (lambda: edu.hessian(lambda x: x)(A), GradientError, "scalar"),
    "no such argument": (lambda: edu.jacobian(lambda x: x, argnums=3)(A), ArgumentError, "3"),
    "one argument twice": (
        lambda: edu.grad(lambda x, y: (x * y).sum(), (0, -2))(A, B), ArgumentError, "twice"
    ),
    "no function": (lambda: edu.jacobian(3), ArgumentError, "jacobian"),  # type: ignore[arg-type]
    "modes": (
        lambda: edu.check_grads(ops.sin, [A], modes=("sideways",)), ArgumentError, "modes"
    ),
    "order": (lambda: edu.check_grads(ops.sin, [A], order=0), ArgumentError, "order"),
    "arguments without a list": (
        lambda: edu.check_grads(ops.sin, A), ArgumentError, "args is a list"  # type: ignore[arg-type]
    ),
    "an integer to check": (
        lambda: edu.check_grads(ops.sin, [np.arange(3)]), DtypeError, "int64"
    ),
    "no value": (lambda: edu.check_grads(lambda x: None, [A]), GradientError, "no Tensor"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    call, error, word = REFUSED[what]
    with pytest.raises(error, match=word):
        call()
