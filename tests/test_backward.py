"""`Tensor.backward()`: gradients that add up in `.grad`, as in PyTorch."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, ops


def grad(x: Any) -> Any:
    return None if x.grad is None else x.grad.tolist()


def test_backward_fills_grad(device: str) -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    y = edu.tensor([3.0, 4.0])
    (x * x * y).sum().backward()
    assert grad(x) == [6, 16]
    assert x.grad.device == device
    assert y.grad is None


def test_gradients_add_up_until_they_are_reset() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    (x * x).backward()
    (x * 10).backward()
    assert grad(x) == 16
    x.grad = None
    (x * x).backward()
    assert grad(x) == 6


def test_requires_grad_spreads_through_operations_and_not_to_comparisons() -> None:
    x, c = edu.tensor(2.0, requires_grad=True), edu.tensor(2.0)
    assert (x * c).requires_grad
    assert (c * x)[None].sum().requires_grad
    assert not (c * c).requires_grad
    assert not (x > 1).requires_grad
    assert not edu.stop_gradient(x * c).requires_grad
    assert not x.argmax().requires_grad


def test_only_leaves_have_a_gradient() -> None:
    x = edu.tensor(2.0, requires_grad=True)
    y = x * x
    (y * 3).backward()
    assert (grad(x), grad(y)) == (12, None)


def test_a_leaf_that_does_not_take_part_keeps_its_gradient() -> None:
    x, other = (edu.tensor(2.0, requires_grad=True) for _ in range(2))
    (x * 2).backward()
    (other * 5).backward()
    assert (grad(x), grad(other)) == (2, 5)


def test_backward_of_a_leaf_gives_it_ones() -> None:
    x = edu.tensor(2.0, requires_grad=True)
    x.backward()
    assert grad(x) == 1


def test_a_cotangent_starts_the_walk() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    (x * x).backward([1.0, 10.0])
    assert grad(x) == [2, 40]
    (x * x).backward(np.array([1.0, 0.0]))
    assert grad(x) == [4, 40]
    assert x.grad is not None
    assert x.grad.dtype == "float32"


def test_a_single_element_counts_as_a_scalar() -> None:
    x = edu.tensor([[3.0]], requires_grad=True)
    (x * x).backward()
    assert grad(x) == [[6]]


@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
def test_a_non_scalar_needs_a_cotangent(shape: tuple[int, ...]) -> None:
    y = edu.tensor(np.ones(shape), requires_grad=True) * 2
    with pytest.raises(
        errors.GradientError, match=r"not a scalar.*mean\(\).*sum\(\).*cotangent"
    ) as caught:
        y.backward()
    assert str(shape) in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_a_cotangent_of_another_shape_is_refused() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(errors.ShapeError, match=r"backward.*\(3,\).*\(2,\)"):
        (x * x).backward(edu.ones(3))


def test_backward_twice_is_an_error_that_names_the_way_out() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    y = x * x
    y.backward()
    with pytest.raises(errors.GradientError, match=r"multiply.*freed.*retain_graph=True") as caught:
        y.backward()
    assert "test_backward.py" in str(caught.value)
    assert "y = x * x" in str(caught.value)
    assert grad(x) == 6


def test_backward_through_a_part_that_was_freed_is_the_same_error() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    shared = x * x
    (shared * 2).backward()
    with pytest.raises(errors.GradientError, match=r"freed.*retain_graph=True"):
        (shared * 3).backward()
    assert grad(x) == 12


def test_retain_graph_allows_another_pass() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert grad(x) == 12
    with pytest.raises(errors.GradientError, match="freed"):
        y.backward()


def test_create_graph_makes_gradients_that_can_be_differentiated() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    (x**3).backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first is not None
    assert (first.item(), first.requires_grad) == (27, True)
    first.backward(create_graph=True)
    second, x.grad = x.grad, None
    assert second is not None
    assert second.item() == 18
    second.backward()
    assert grad(x) == 6


def test_gradients_are_constants_without_create_graph() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    (x**3).backward()
    assert x.grad is not None
    assert not x.grad.requires_grad


def test_a_loss_on_a_gradient_reaches_the_weights() -> None:
    w = edu.tensor(2.0, requires_grad=True)
    x = edu.tensor(3.0, requires_grad=True)
    (w * x * x).backward(create_graph=True)
    slope = x.grad  # 2 w x
    w.grad = x.grad = None
    assert slope is not None
    (slope * slope).backward()  # 4 w^2 x^2
    assert (grad(w), grad(x)) == (8 * 2 * 9, 8 * 4 * 3)


def test_backward_inside_a_tape_is_recorded_by_it() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    with edu.GradientTape() as tape:
        (x**3).backward()
        slope = x.grad
    assert tape.gradient(slope, x).item() == 18


def test_backward_goes_back_over_the_gradient_of_a_tape() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    with edu.GradientTape() as tape:
        y = x**3
    slope = tape.gradient(y, x)
    slope.backward()
    assert (slope.item(), x.grad.item()) == (27.0, 18.0)


def test_backward_goes_back_to_the_cotangent_that_a_tape_was_given() -> None:
    x = edu.tensor([1.0, 2.0])
    cotangent = edu.tensor([1.0, 1.0], requires_grad=True)
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = x**3
    tape.gradient(y, x, output_gradients=cotangent).sum().backward()
    assert grad(cotangent) == [3.0, 12.0]


def test_the_gradient_of_a_tape_and_backward_agree() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    with edu.GradientTape() as tape:
        y = (ops.exp(x) * x).sum()
    from_tape = tape.gradient(y, x)
    y.backward()
    assert grad(x) == from_tape.tolist()


# no_grad, stop_gradient


def test_no_grad_as_a_context_and_as_a_decorator() -> None:
    x = edu.tensor(3.0, requires_grad=True)

    @edu.no_grad()
    def double(x: edu.Tensor) -> edu.Tensor:
        return x * 2

    with edu.no_grad():
        y = x * 2
    assert not y.requires_grad
    assert not double(x).requires_grad
    assert not double(x).requires_grad  # a decorator lasts
    assert (x * 2).requires_grad

    pause = edu.no_grad()
    with pause:
        with pause:
            assert not (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_a_generator_decorated_with_no_grad_records_nothing_and_its_caller_does() -> None:
    x = edu.tensor(2.0, requires_grad=True)

    @edu.no_grad()
    def powers() -> Generator[edu.Tensor, float, str]:
        try:
            factor = yield x * x
            yield x * factor
        except KeyError:
            yield x * 9
        return "end"

    steps = powers()
    first = next(steps)
    outside = x * x
    second = steps.send(3.0)
    third = steps.throw(KeyError())
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert [y.item() for y in (first, outside, second, third)] == [4, 4, 6, 18]
    assert [y.requires_grad for y in (first, outside, second, third)] == [False, True, False, False]
    assert end.value.value == "end"


def test_a_coroutine_decorated_with_no_grad_records_nothing_and_others_do() -> None:
    x = edu.tensor(2.0, requires_grad=True)

    async def product() -> bool:
        await asyncio.sleep(0)
        return (x * x).requires_grad

    async def both() -> list[bool]:
        return await asyncio.gather(edu.no_grad()(product)(), product())

    assert asyncio.run(both()) == [False, True]


def test_no_grad_without_parentheses_says_how_it_decorates() -> None:
    with pytest.raises(errors.ArgumentError, match=r"@edu\.no_grad\(\)"):

        @edu.no_grad  # type: ignore[arg-type]
        def product(x: edu.Tensor) -> edu.Tensor:
            return x * x


def test_recording_goes_on_after_an_exception_in_no_grad() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    with pytest.raises(ZeroDivisionError), edu.no_grad():
        1 / 0  # noqa: B018
    assert (x * 2).requires_grad


def test_a_tape_inside_no_grad_records() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    with edu.no_grad(), edu.GradientTape() as tape:
        y = x * x
    assert not y.requires_grad
    assert tape.gradient(y, x).item() == 6


def test_what_was_made_in_no_grad_can_require_gradients() -> None:
    with edu.no_grad():
        x = edu.tensor(3.0, requires_grad=True)
    (x * x).backward()
    assert grad(x) == 6


def test_gradient_descent_as_pytorch_users_write_it() -> None:
    w = edu.tensor(0.0, "float64", requires_grad=True)
    for _ in range(50):
        loss = (w - 3.0) ** 2
        loss.backward()
        with edu.no_grad():
            w = edu.tensor(w - 0.25 * w.grad, requires_grad=True)
    assert w.item() == pytest.approx(3.0, abs=1e-12)


def test_stop_gradient_cuts_one_path() -> None:
    x = edu.tensor(3.0, requires_grad=True)
    (x * edu.stop_gradient(x)).backward()
    assert grad(x) == 3


# What is refused


def test_backward_where_nothing_was_recorded_says_how_to_record() -> None:
    with pytest.raises(errors.GradientError, match=r"nothing was recorded.*requires_grad=True"):
        edu.tensor(1.0).backward()
    x = edu.tensor(1.0, requires_grad=True)
    with edu.no_grad():
        y = x * 2
    with pytest.raises(errors.GradientError, match=r"nothing was recorded.*no_grad"):
        y.backward()
    with pytest.raises(errors.GradientError, match="nothing was recorded"):
        (edu.Variable(1.0) * 2).backward()  # a Variable is for tapes, unless it says otherwise
    with pytest.raises(errors.GradientError, match="inside of jit, an argument"):
        edu.jit(lambda x: (x * x).sum().backward())(edu.tensor([1.0], requires_grad=True))


def test_integers_have_no_gradient() -> None:
    with pytest.raises(errors.DtypeError, match=r"requires_grad.*int32.*float"):
        edu.tensor([1, 2], requires_grad=True)
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(errors.DtypeError, match=r"backward.*int32"):
        x.astype("int32").sum().backward()
    with pytest.raises(errors.DtypeError, match=r"backward.*bool"):
        (x > 1).all().backward()


def test_grad_can_be_set_to_what_fits_a_leaf_only() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    x.grad = edu.tensor([5.0, 6.0])
    assert grad(x) == [5, 6]
    with pytest.raises(errors.ShapeError, match=r"\(3,\).*\(2,\)"):
        x.grad = edu.ones(3)
    with pytest.raises(errors.Error, match="float64"):
        x.grad = edu.ones(2, dtype="float64")
    with pytest.raises(errors.ArgumentError, match="requires_grad=True"):
        (x * 2).grad = edu.ones(2)
    with pytest.raises(errors.DtypeError, match="grad: takes a Tensor or None, not ndarray"):
        x.grad = np.ones(2, "float32")  # type: ignore[assignment]
    x.grad = v = edu.Variable([7.0, 8.0])  # type: ignore[assignment]
    v.assign([0.0, 0.0])
    assert grad(x) == [7, 8]
