"""vmap: axes, nesting, what is captured, gradients of both kinds, and what it refuses."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import (
    ArgumentError,
    DeviceError,
    OutOfRangeError,
    ShapeError,
    TracingError,
)

X = np.arange(6.0).reshape(2, 3)


def test_one_argument() -> None:
    assert_array_equal(edu.vmap(lambda x: x[::-1] * 2)(X), X[:, ::-1] * 2)


def test_in_axes_and_out_axes() -> None:
    found = edu.vmap(lambda x, y: x * y, in_axes=(1, None), out_axes=1)(X, np.array([1.0, 10.0]))
    assert_array_equal(found, X * [[1.0], [10.0]])
    assert_array_equal(edu.vmap(lambda x: x, in_axes=-1)(X), X.T)
    assert_array_equal(edu.vmap(lambda x: (x, 7.0), out_axes=(0, None))(X)[1], 7.0)


def test_nested_structures_and_keywords() -> None:
    @edu.vmap
    def norm(point: Any, *, scale: Any) -> Any:
        return {"norm": ops.sum(point["a"] ** 2) * point["b"][0] * scale}

    point = {"a": X, "b": [np.array([1.0, 2.0])]}
    found = norm(point, scale=np.array([1.0, 3.0]))["norm"]
    assert_array_equal(found, (X**2).sum(1) * [1, 2] * [1, 3])
    by_axes = edu.vmap(lambda p: p["a"] * p["b"], in_axes=({"a": 0, "b": None},))
    assert_array_equal(by_axes({"a": X, "b": 2.0}), X * 2)


def test_what_is_captured_is_the_same_for_all() -> None:
    v = edu.Variable([1.0, 2.0, 3.0])
    assert_allclose(edu.vmap(lambda x: x @ v)(X), X @ v.numpy())
    assert_allclose(edu.vmap(lambda x: edu.zeros(3) + 1.0)(X), np.ones((2, 3)))


def test_what_does_not_depend_on_the_example_is_repeated() -> None:
    assert_array_equal(edu.vmap(lambda x: 5)(X), [5, 5])


def test_nested() -> None:
    found = edu.vmap(lambda x: edu.vmap(lambda y: edu.vmap(lambda z: (x * y * z).sum())(X))(X))(X)
    assert_allclose(found, np.einsum("ai,bi,ci->abc", X, X, X))


def test_a_gradient_for_each_example_and_the_gradient_of_all() -> None:
    def loss(w: Any, x: Any) -> Any:
        return ops.sum(ops.tanh(x * w))

    w = np.array([0.5, -0.2, 0.1])
    each = edu.vmap(edu.grad(loss), in_axes=(None, 0))(w, X)
    assert_allclose(each, X * (1 - np.tanh(X * w) ** 2))
    every = edu.grad(lambda w: ops.sum(edu.vmap(lambda x: loss(w, x))(X)))(w)
    assert_allclose(every, each.numpy().sum(0))


def test_a_tape_inside_follows_variables() -> None:
    v = edu.Variable(2.0)

    def slope(x: Any) -> Any:
        with edu.GradientTape() as tape:
            y = v * v * x
        return tape.gradient(y, v)

    assert_array_equal(edu.vmap(slope)(np.array([1.0, 3.0])), [4.0, 12.0])


def test_backward_through_a_batch() -> None:
    x = edu.tensor(X, requires_grad=True)
    edu.vmap(lambda row: row.sum() ** 2)(x).sum().backward()
    assert_allclose(x.grad, 2 * X.sum(1, keepdims=True) * np.ones((2, 3)))


def test_second_derivatives_under_an_outer_tape() -> None:
    x = edu.tensor(X)
    with edu.GradientTape() as tape:
        tape.watch(x)
        slopes = edu.vmap(edu.grad(lambda row: ops.sum(row**3)))(x)
    assert_allclose(tape.gradient(slopes, x), 6 * X)


def test_an_operation_without_a_rule_runs_one_by_one() -> None:
    class Twice(edu.Op):
        """2 x."""

        gradients = (lambda g, out, x: g * 2.0,)

        def forward(self, xp: Any, x: Any) -> Any:
            return 2 * x

        def infer(self, x: Any) -> Any:
            return x

    twice = Twice()
    assert_array_equal(edu.vmap(twice)(X), 2 * X)
    assert_array_equal(edu.vmap(edu.grad(lambda x: twice(x).sum()))(X), np.full((2, 3), 2.0))
    with pytest.raises(ShapeError, match="none"):
        edu.vmap(twice)(X[:0])


def test_an_operation_with_several_outputs() -> None:
    class Both(edu.Op):
        """x and its square."""

        def forward(self, xp: Any, x: Any) -> Any:
            return x, x * x

        def infer(self, x: Any) -> Any:
            return x, x

        def vjp(self, needed: Any, cotangent: Any, out: Any, inputs: Any, params: Any) -> Any:
            return [cotangent[0] + cotangent[1] * 2.0 * inputs[0]]

    both = Both()
    one, square = edu.vmap(both)(X)
    assert_array_equal(one, X)
    assert_array_equal(square, X**2)
    assert_allclose(edu.vmap(edu.grad(lambda x: both(x)[1].sum()))(X), 2 * X)


def test_custom_gradients_hold_inside_and_outside() -> None:
    @edu.custom_gradient
    def scaled(x: Any, w: Any) -> Any:
        return x * w, lambda g: (g * 100.0, g.sum() * 7.0)

    x = np.array([1.0, 2.0, 3.0])
    assert_array_equal(edu.vmap(edu.grad(scaled), in_axes=(0, None))(x, 2.0), [100.0] * 3)
    both = edu.grad(lambda x, w: edu.vmap(scaled, (0, None))(x, w).sum(), argnums=(0, 1))(x, 2.0)
    assert_array_equal(both[0], [100.0] * 3)
    assert both[1].item() == 21.0


def test_custom_gradients_hold_in_a_program_too(device: str) -> None:
    @edu.custom_gradient
    def scaled(x: Any, w: Any) -> Any:
        return x * w, lambda g: (g * 100.0 * x, g.sum() * 7.0)

    x, w = edu.tensor([1.0, 2.0, 3.0]), edu.tensor(2.0)
    of_each = edu.jit(edu.vmap(edu.grad(scaled, (0, 1)), in_axes=(0, None)))
    assert_array_equal(of_each(x, w)[0].numpy(), [100.0, 200.0, 300.0])
    assert_array_equal(of_each(x, w)[1].numpy(), [7.0] * 3)
    total = edu.jit(lambda x, w: edu.vmap(scaled, (0, None))(x, w).sum())
    for whole in (edu.jit(edu.grad(total, (0, 1))), edu.grad(total, (0, 1))):
        both = whole(x, w)
        assert_array_equal(both[0].numpy(), [100.0, 200.0, 300.0])
        assert both[1].item() == 21.0
    twice = edu.jit(edu.vmap(edu.vmap(edu.grad(scaled), (None, 0)), (0, None)))
    assert_array_equal(twice(x, edu.stack([w, w])).numpy(), [[100.0] * 2, [200.0] * 2, [300.0] * 2])


def test_custom_gradients_of_a_batch_in_a_program_are_one_operation() -> None:
    @edu.custom_gradient
    def doubled(x: Any) -> Any:
        return x * 2.0, lambda g: g * 3.0

    sizes = [len(edu.jit(edu.vmap(doubled)).trace(np.ones(n)).equations) for n in (2, 50)]
    assert sizes[0] == sizes[1]


def test_a_batch_on_another_device(device: str) -> None:
    found = edu.vmap(lambda x: ops.softmax(x) @ edu.ones(3, dtype="float64"))(edu.tensor(X))
    assert found.device == device
    assert_allclose(found, [1, 1])


def test_it_prints_and_does_not_leave_anything_alive() -> None:
    seen = []
    edu.vmap(lambda x: seen.append(repr(x)) or x)(X)
    assert seen == ["Tensor(shape=(3,), dtype=float64, one of 2 under vmap)"]
    gc.collect()
    gc.disable()
    try:
        edu.vmap(edu.grad(lambda x: ops.sum(x * x)))(X)
        assert gc.collect() == 0
    finally:
        gc.enable()


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a truth": (lambda: edu.vmap(lambda x: x if x.sum() > 1 else -x)(X), TracingError, "edu.where"),
    "a number": (lambda: edu.vmap(lambda x: float(x[0]))(X), TracingError, "vmap"),
    "an array": (lambda: edu.vmap(lambda x: np.asarray(x))(X), TracingError, "vmap"),
    "a mask": (lambda: edu.vmap(lambda x: x[x > 1])(X), TracingError, "vmap"),
    "sizes": (lambda: edu.vmap(ops.add)(X, X.T), ShapeError, "2, 3"),
    "nothing mapped": (lambda: edu.vmap(lambda x: x, in_axes=None)(X), ShapeError, "in_axes"),
    "no such axis": (lambda: edu.vmap(lambda x: x, in_axes=2)(X), ArgumentError, "axis 2"),
    "a scalar": (lambda: edu.vmap(lambda x: x)(1.0), ArgumentError, "axis 0"),
    "too many axes": (lambda: edu.vmap(lambda x: x, in_axes=(0, 0))(X), ArgumentError, "2 entries"),
    "axes of another structure": (
        lambda: edu.vmap(lambda x: x, in_axes=((0, 0),))(X), ArgumentError, "deeper"
    ),
    "one result for all": (
        lambda: edu.vmap(lambda x: x, out_axes=None)(X), ArgumentError, "out_axes"
    ),
    "no such axis of a result": (
        lambda: edu.vmap(lambda x: x, out_axes=5)(X), ArgumentError, "vmap: out_axes .* axis 5"
    ),
    "an axis that is text": (lambda: edu.vmap(lambda x: x, in_axes="0")(X), ArgumentError, "'0'"),
    "an index out of range": (lambda: edu.vmap(lambda x: x[3])(X), OutOfRangeError, "3"),
    "shapes": (lambda: edu.vmap(lambda x: x + edu.ones(4))(X), ShapeError, r"\(3,\) and \(4,\)"),
    "a function": (lambda: edu.vmap(3), ArgumentError, "function"),  # type: ignore[arg-type]
    "an assignment": (
        lambda: edu.vmap(lambda x: edu.Variable(0.0, "float64").assign(x[0]))(X),
        TracingError, "assign outside",
    ),
    "another device": (
        lambda: edu.vmap(lambda x: x + edu.ones(3, device="xla"))(X), DeviceError, "xla"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    call, error, word = REFUSED[what]
    with pytest.raises(error, match=word):
        call()


def test_what_is_the_same_for_all_examples_has_a_value() -> None:
    def signed(x: Any) -> Any:
        slope = edu.grad(lambda y: (3 * y).sum())(x)  # no matter what x is
        assert np.asarray(slope).tolist() == [3, 3]
        assert np.from_dlpack(slope).tolist() == [3, 3]
        up = edu.cond(slope.sum() > 0, lambda: x, lambda: -x)
        return up * (2 if slope[0] > 2 else 1)

    def nested(x: Any) -> Any:
        return edu.vmap(lambda y: signed(edu.stack([y, x[0]])))(x)

    x = np.array([[1.0, -2.0], [3.0, 4.0]])
    for transform in (edu.vmap, lambda f: edu.jit(edu.vmap(f))):
        assert_array_equal(transform(signed)(x).numpy(), 2 * x)
        assert_array_equal(transform(nested)(x).numpy(), [[[2, 2], [-4, 2]], [[6, 6], [8, 6]]])
    with pytest.raises(TracingError, match="differs from example to example"):
        edu.vmap(lambda x: edu.vmap(lambda y: y * float(x[0]))(x))(x)
