"""`grad`, `value_and_grad` and `custom_gradient`: functions of functions."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, ops


def test_grad_is_the_gradient_function(device: str) -> None:
    slope = edu.grad(lambda x: (x**3).sum())
    assert slope(edu.tensor([1.0, 2.0])).tolist() == [3, 12]
    assert slope(np.array([1.0, 2.0])).dtype == "float64"
    assert slope(2.0).item() == 12
    assert slope(edu.Variable(2.0)).item() == 12
    assert slope(2.0).device == device


def test_value_and_grad_gives_both() -> None:
    value, gradient = edu.value_and_grad(lambda x: x * x)(3.0)
    assert (value.item(), gradient.item()) == (9, 6)


def f(x: Any, y: Any, z: Any = 1.0) -> Any:
    return x * x * y * z


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [(0, 12.0), (1, 4.0), (-1, 4.0), ((0, 1), (12.0, 4.0)), ([1, 0], (4.0, 12.0)), ((1,), (4.0,))],
)
def test_argnums_choose_the_arguments(argnums: Any, expected: Any) -> None:
    gradient = edu.grad(f, argnums)(2.0, 3.0)
    assert edu.tree.map(float, gradient) == expected


def test_keyword_arguments_are_passed_on() -> None:
    assert edu.grad(f)(2.0, 3.0, z=10.0).item() == 120
    assert edu.grad(f)(2.0, y=3.0).item() == 12


def test_has_aux_carries_something_else_along() -> None:
    def loss(x: Any) -> Any:
        return x * x, {"twice": x * 2, "text": "kept"}

    gradient, aux = edu.grad(loss, has_aux=True)(3.0)
    assert (gradient.item(), aux["twice"].item(), aux["text"]) == (6, 6, "kept")
    (value, aux), gradient = edu.value_and_grad(loss, has_aux=True)(3.0)
    assert (value.item(), gradient.item(), aux["text"]) == (9, 6, "kept")


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Layer:
    W: Any
    b: Any = None


def test_the_result_has_the_structure_of_the_argument() -> None:
    def loss(p: Any) -> Any:
        layer = p["layers"][0]
        return layer.W * layer.W * p["pair"].first + p["pair"].second[0] * 5.0

    p = {"layers": [Layer(2.0)], "pair": Pair(3.0, (1.0, edu.ones(2)))}
    found = edu.grad(loss)(p)
    assert type(found) is dict
    assert type(found["pair"]) is Pair
    assert type(found["layers"][0]) is Layer
    assert (found["layers"][0].W.item(), found["layers"][0].b) == (12, None)
    assert (found["pair"].first.item(), found["pair"].second[0].item()) == (4, 5)
    assert found["pair"].second[1].tolist() == [0, 0]  # zero, where nothing connects


def test_a_constant_function_has_gradient_zero() -> None:
    assert edu.grad(lambda x: 3.0)(1.0).item() == 0
    assert edu.grad(lambda x: edu.tensor(1.0))(edu.ones(2)).tolist() == [0, 0]


# Nesting


def test_grad_of_grad_of_grad() -> None:
    derivatives = [ops.sin]
    for _ in range(4):
        derivatives.append(edu.grad(derivatives[-1]))
    s, c = math.sin(0.7), math.cos(0.7)
    values = [d(np.array(0.7)).item() for d in derivatives]
    assert values == pytest.approx([s, c, -s, -c, s], rel=1e-14)


def test_the_inner_gradient_does_not_confuse_the_outer_variable_with_its_own() -> None:
    # d/dx of x * (d/dy of x + y) is 1, and not 2.
    assert edu.grad(lambda x: x * edu.grad(lambda y: x + y)(1.0))(1.0).item() == 1
    # Here the inner derivative is x, so it is d/dx of x * x.
    assert edu.grad(lambda x: x * edu.grad(lambda y: x * y)(1.0))(3.0).item() == 6
    # The same name for both, and the same Tensor.
    x = edu.tensor(3.0)
    assert edu.grad(lambda y: x * y)(x).item() == 3


def test_grad_inside_a_tape_and_a_tape_inside_grad() -> None:
    v = edu.Variable(3.0)
    with edu.GradientTape() as tape:
        slope = edu.grad(lambda x: x**3)(v)
    assert tape.gradient(slope, v).item() == 18

    def slope_of_cube(x: edu.Tensor) -> Any:
        with edu.GradientTape() as tape:
            tape.watch(x)
            y = x**3
        return tape.gradient(y, x)

    assert edu.grad(slope_of_cube)(3.0).item() == 18


def test_grad_inside_backward_and_backward_inside_grad() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    edu.grad(lambda y: y**3)(x).backward()
    assert x.grad is not None
    assert x.grad.item() == 18

    def with_backward(y: edu.Tensor) -> edu.Tensor:
        z = edu.tensor(2.0, requires_grad=True)
        (y * z).backward()
        assert z.grad is not None
        return z.grad * y

    assert edu.grad(with_backward)(3.0).item() == 6


def test_a_closure_over_a_variable_is_a_constant_of_grad_and_not_of_a_tape_outside() -> None:
    w = edu.Variable(5.0)
    with edu.GradientTape() as tape:
        slope = edu.grad(lambda x: w * x * x)(3.0)
    assert slope.item() == 30
    assert tape.gradient(slope, w).item() == 6


def test_a_closure_over_a_tensor_that_requires_gradients_is_reached_by_backward() -> None:
    w = edu.tensor(2.0, requires_grad=True)
    (edu.grad(lambda x: w * x * x)(3.0) + w).backward()
    assert w.grad is not None
    assert w.grad.item() == 6 + 1


def test_grad_works_in_no_grad() -> None:
    with edu.no_grad():
        assert edu.grad(lambda x: x * x)(3.0).item() == 6


def test_grad_leaves_no_gradient_behind() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    edu.grad(lambda x: x * x)(x)
    assert x.grad is None


def test_the_wrapped_function_keeps_its_name_and_docstring() -> None:
    def loss(x: Any) -> Any:
        """What it costs."""

    for made in (edu.grad(loss), edu.value_and_grad(loss), edu.custom_gradient(loss)):
        assert (made.__name__, made.__doc__) == ("loss", "What it costs.")


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: edu.grad(lambda x: x)(edu.ones(3)), ValueError, None),
        (lambda: edu.grad(lambda x: x * 1.0)(3), TypeError, r"int32.*float"),
        (lambda: edu.grad(lambda x: x * 1.0)(edu.tensor([True])), TypeError, r"bool.*float"),
        (lambda: edu.grad(lambda x: (x > 0).sum())(edu.ones(3)), TypeError, "int32"),
        (
            lambda: edu.grad(lambda x: x, argnums=1)(1.0),
            ValueError,
            "no positional argument 1.*has 1",
        ),
        (lambda: edu.grad(lambda x: x, argnums="x")(1.0), errors.Error, "argnums"),
        (lambda: edu.grad(lambda x: (x, x))(1.0), RuntimeError, "tuple.*has_aux=True"),
        (lambda: edu.grad(lambda x: None)(1.0), RuntimeError, "NoneType.*scalar"),
        (lambda: edu.grad(lambda x: x, has_aux=True)(1.0), RuntimeError, "pair"),
        (lambda: edu.grad(lambda p: p["W"])({"W": 1.0, "name": "dense"}), TypeError, "numbers"),
    ],
)
def test_what_grad_refuses(
    call: Callable[[], Any], kind: type[Exception], words: str | None
) -> None:
    if words is None:  # a non-scalar
        kind, words = RuntimeError, r"\(3,\).*not a scalar.*mean\(\) or sum\(\)"
    with pytest.raises(errors.Error, match=words) as caught:
        call()
    assert isinstance(caught.value, kind)


def test_a_list_of_tensors_is_never_a_silent_constant() -> None:
    def total(a: edu.Tensor, b: edu.Tensor) -> edu.Tensor:
        return (edu.tensor([2.0, 3.0]) * [a, b]).sum()

    assert [g.item() for g in edu.grad(total, (0, 1))(1.0, 1.0)] == [2, 3]


# custom_gradient


def test_a_custom_gradient_replaces_the_real_one(device: str) -> None:
    @edu.custom_gradient
    def clipped(x: edu.Tensor) -> Any:
        return x * 1.0, lambda cotangent: ops.minimum(cotangent, 1.0)

    assert edu.grad(lambda x: 5.0 * clipped(x))(2.0).item() == 1
    x = edu.tensor(2.0, requires_grad=True)
    (clipped(x) * 0.5).backward()
    assert x.grad is not None
    assert x.grad.item() == 0.5


def test_a_custom_gradient_of_several_arguments_and_values() -> None:
    @edu.custom_gradient
    def both(x: edu.Tensor, y: edu.Tensor, *, scale: float) -> Any:
        def gradient(of_sum: edu.Tensor, of_product: edu.Tensor) -> Any:
            return of_sum + of_product * y, None

        return (x + y, x * y * scale), gradient

    def total(x: Any, y: Any) -> Any:
        first, second = both(x, y, scale=10.0)
        return first * 3.0 + second * 5.0

    assert total(2.0, 7.0).item() == 9 * 3 + 140 * 5
    assert [g.item() for g in edu.grad(total, (0, 1))(2.0, 7.0)] == [3 + 5 * 7, 0]


def test_only_one_of_several_values_is_used() -> None:
    @edu.custom_gradient
    def both(x: edu.Tensor) -> Any:
        return (x, x * 2.0), lambda a, b: a + 2.0 * b

    assert edu.grad(lambda x: both(x)[1])(3.0).item() == 2
    assert edu.grad(lambda x: both(x)[0])(3.0).item() == 1


def test_a_custom_gradient_can_be_differentiated_again() -> None:
    @edu.custom_gradient
    def log1pexp(x: edu.Tensor) -> Any:
        e = ops.exp(x)
        return ops.log(1.0 + e), lambda g: g * (1.0 - 1.0 / (1.0 + e))

    x = np.float64(0.3)
    s = 1 / (1 + math.exp(-0.3))
    first, second = edu.grad(log1pexp), edu.grad(edu.grad(log1pexp))
    third = edu.grad(second)
    assert first(x).item() == pytest.approx(s, rel=1e-14)
    assert second(x).item() == pytest.approx(s * (1 - s), rel=1e-13)
    assert third(x).item() == pytest.approx(s * (1 - s) * (1 - 2 * s), rel=1e-12)
    assert first(np.float64(100.0)).item() == 1.0  # the reason to write it this way


def test_a_custom_gradient_takes_numbers_arrays_and_variables() -> None:
    @edu.custom_gradient
    def double(x: edu.Tensor) -> Any:
        return x * 2.0, lambda g: g * 2.0

    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape() as tape:
        y = double(v)
    assert tape.gradient(y, v).tolist() == [2, 2]
    assert double(np.ones(2)).tolist() == [2, 2]
    assert double(3).item() == 6


def test_a_custom_gradient_may_be_an_array_or_a_number() -> None:
    @edu.custom_gradient
    def odd(x: edu.Tensor) -> Any:
        return x.sum(), lambda g: np.array([7.0, 8.0])

    assert edu.grad(odd)(edu.ones(2)).tolist() == [7, 8]


def test_a_function_without_a_name_can_have_a_custom_gradient() -> None:
    def scaled(factor: float, x: edu.Tensor) -> Any:
        return factor * x, lambda cotangent: 7.0 * cotangent

    assert edu.grad(edu.custom_gradient(functools.partial(scaled, 2.0)))(3.0).item() == 7


def test_what_is_no_number_is_refused_by_the_name_of_the_custom_gradient() -> None:
    @edu.custom_gradient
    def double(x: Any, words: str = "") -> Any:
        return words or 2 * x, lambda cotangent: words or "text"

    with pytest.raises(errors.DtypeError, match="double: a Tensor holds numbers, not dict"):
        double({"a": 1.0})
    with pytest.raises(errors.DtypeError, match="double: a Tensor holds numbers, not text"):
        double(1.0, words="text")
    with pytest.raises(errors.DtypeError, match="double: a Tensor holds numbers, not text"):
        edu.grad(double)(1.0)


def test_the_value_of_a_custom_gradient_may_be_its_argument() -> None:
    @edu.custom_gradient
    def reverse(x: edu.Tensor) -> Any:
        return x, lambda g: -g

    assert edu.grad(lambda x: x * 2.0 + reverse(x))(1.0).item() == 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x, "custom_gradient.*value and a function"),
        (lambda x: (x, 3), "custom_gradient.*value and a function"),
        (lambda x: (x, lambda g: (g, g)), "2 cotangents for 1 argument"),
        (lambda x: (x, lambda g: edu.ones(3)), r"\(3,\).*argument 0.*\(\)"),
    ],
)
def test_wrong_custom_gradients_say_what_is_wrong(function: Any, words: str) -> None:
    with pytest.raises(errors.Error, match=words):
        edu.grad(edu.custom_gradient(function))(1.0)


def test_a_function_may_change_the_structure_that_it_is_given() -> None:
    def loss(weights: dict[str, Any]) -> Any:
        return weights.pop("w") * 2 + weights.pop("b")

    found = edu.grad(loss)({"w": 3.0, "b": 1.0})
    assert {name: gradient.item() for name, gradient in found.items()} == {"w": 2.0, "b": 1.0}
