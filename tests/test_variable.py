"""Variable: state that is assigned to, and what earlier Tensors keep of it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors


def gradient_of_squares(v: Any) -> Any:
    with edu.GradientTape() as tape:
        y = (v * v).sum()
    return tape.gradient(y, v)


def test_assigning_replaces_the_value_and_returns_the_variable(device: str) -> None:
    v = edu.Variable([1.0, 2.0])
    assert v.assign([3, 4]) is v
    assert v.assign_add(1) is v
    assert v.assign_sub([0.5, 1.0]) is v
    assert v.tolist() == [3.5, 4.0]
    assert v.device == v.value.device == device


def test_a_variable_copies_its_initial_value() -> None:
    array = np.ones(2)
    v = edu.Variable(array)
    array[0] = 9
    v.assign(array)
    array[1] = 9
    assert v.tolist() == [9, 1]


def test_earlier_values_stay_as_they_were() -> None:
    v = edu.Variable([1.0, 2.0])
    value, array, part, product = v.value, v.numpy(), v[0], v * 10
    v.assign([5.0, 6.0])
    v[0].assign(7.0)
    assert (value.tolist(), array.tolist(), part.item(), product.tolist()) == (
        [1, 2], [1, 2], 1, [10, 20]
    )  # fmt: skip


def test_parts_are_assigned_through_an_index(device: str) -> None:
    v = edu.Variable(np.zeros((2, 3), "float32"))
    assert v[0, 0].assign(3.0) is v
    v[1].assign([1, 2, 3])
    v[:, 1].assign_add(10)
    v[[0, 0], [2, 2]].assign_add(1)
    v[1, 2].assign_sub(1)
    v[0, -2:].assign_sub([1, 2])
    assert v.tolist() == [[3, 9, 0], [1, 12, 2]]


def test_one_part_can_be_assigned_to_another() -> None:
    v = edu.Variable([1.0, 2.0, 3.0])
    v[:2].assign(v[1:])
    assert v.tolist() == [2, 3, 3]


def test_a_mask_chooses_the_part_to_assign_to() -> None:
    v = edu.Variable([1.0, -2.0, 3.0])
    v[v < 0].assign(0.0)
    assert v.tolist() == [1, 0, 3]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float16", "float32", "float64"])
def test_python_numbers_fit_a_variable_of_any_dtype(dtype: str, device: str) -> None:
    v = edu.Variable([5, 6], dtype=dtype)
    v.assign([7, 8])
    v.assign_add(2)
    v.assign_sub(1)
    v[0].assign_add(3)
    v[1].assign_sub(2)
    v[0].assign_sub(np.int64(1))
    v[1].assign_add(np.uint8(1))
    assert (v.tolist(), v.dtype) == ([10, 8], dtype)


def test_integers_larger_than_int32_fit_a_variable_of_floats() -> None:
    v = edu.Variable([1.0, 2.0])
    v.assign([2**40, 2**70])
    assert v.tolist() == [2**40, 2**70]
    v.assign_sub(2**40)
    assert v.tolist() == [0, 2**70]
    v[1].assign(-(2**40))
    assert v.tolist() == [0, -(2**40)]
    assert v.value.at[0].set(2**40).tolist() == [2**40, -(2**40)]
    with pytest.raises(errors.DtypeError, match=f"assign: {2**40} does not fit in int8"):
        edu.Variable([1], dtype="int8").assign([2**40])


def test_numpy_scalars_are_weak_in_assignments_too() -> None:
    v = edu.Variable([1.0, 2.0])
    v.assign_add(np.float64(1))
    v[0].assign(np.float64(5))
    v[0].assign_sub(np.float64(1))
    assert v.tolist() == [4, 3]


def test_a_part_can_be_used_wherever_a_tensor_can() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape() as tape:
        y = v[1] * v[1] * 3 + edu.ops.exp(v[0]) * 0
    assert tape.gradient(y, v).tolist() == [0, 12]
    assert (float(v[0]), v[0].shape, len(v[:1]), f"{v[1]:.1f}") == (1.0, (), 1, "2.0")


# What is refused

ASSIGNMENTS: dict[str, Callable[[Any, Any], Any]] = {
    "assign": lambda v, value: v.assign(value),
    "assign_add": lambda v, value: v.assign_add(value),
    "assign_sub": lambda v, value: v.assign_sub(value),
}
PART_ASSIGNMENTS: dict[str, Callable[[Any, Any], Any]] = {
    "assign": lambda v, value: v[:].assign(value),
    "assign_add": lambda v, value: v[:].assign_add(value),
    "assign_sub": lambda v, value: v[:].assign_sub(value),
}
EVERY = [*ASSIGNMENTS.values(), *PART_ASSIGNMENTS.values()]


@pytest.mark.parametrize("assign", EVERY)
@pytest.mark.parametrize("value", [[1.0, 2.0, 3.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_another_shape_is_refused_at_every_assignment(
    assign: Callable[[Any, Any], Any], value: Any
) -> None:
    v = edu.Variable([1.0, 2.0])
    with pytest.raises(errors.Error, match=r"\(2,\)") as caught:
        assign(v, value)
    assert isinstance(caught.value, ValueError)
    assert str(np.shape(value)) in str(caught.value)
    assert v.tolist() == [1, 2]


def test_assign_does_not_broadcast() -> None:
    with pytest.raises(errors.ShapeError, match=r"assign.*\(\).*\(2,\)"):
        edu.Variable([1.0, 2.0]).assign(0.0)


@pytest.mark.parametrize("assign", EVERY)
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", [1.5, 2.5]),
        ("float32", np.ones(2)),
        ("float32", edu.ones(2, dtype="float64")),
        ("float16", edu.ones(2)),
        ("int8", np.ones(2, "int32")),
        ("bool", [1, 0]),
    ],
)
def test_a_dtype_that_would_lose_something_is_refused_at_every_assignment(
    assign: Callable[[Any, Any], Any], dtype: str, value: Any
) -> None:
    v = edu.Variable([True, False], dtype=dtype)
    before = v.tolist()
    with pytest.raises(errors.DtypeError, match=f"assign.*{dtype}") as caught:
        assign(v, value)
    assert isinstance(caught.value, TypeError)
    assert "astype" in str(caught.value)
    assert v.tolist() == before


def test_a_dtype_that_fits_is_converted() -> None:
    v = edu.Variable([1.0, 2.0])
    v.assign(np.array([3, 4], "int64"))
    v.assign_add(edu.ones(2, dtype="float16"))
    assert (v.tolist(), v.dtype) == ([4, 5], "float32")


def test_a_constant_of_another_dtype_is_assigned_in_a_compiled_function(device: str) -> None:
    v = edu.Variable([1.0, 2.0])
    constant = edu.tensor([3, 4])

    @edu.jit
    def assign() -> None:
        v.assign(constant)
        v[0].assign(edu.tensor(7, "int8"))

    assign()
    assert (v.tolist(), v.dtype, v.device) == ([7, 4], "float32", device)


@pytest.mark.parametrize("assign", EVERY)
def test_a_value_on_another_device_is_refused_and_both_are_named(
    assign: Callable[[Any, Any], Any],
) -> None:
    v = edu.Variable([1.0, 2.0])
    with pytest.raises(errors.DeviceError, match=r"'numpy'.*'xla'.*\.to\('numpy'\)"):
        assign(v, edu.ones(2, device="xla"))


@pytest.mark.parametrize("assign", EVERY)
def test_what_is_not_numeric_is_refused(assign: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(errors.DtypeError):
        assign(edu.Variable([1.0, 2.0]), "ab")


def test_item_assignment_says_what_to_do_instead() -> None:
    v = edu.Variable([1.0, 2.0])
    for target in (v, v[:]):
        with pytest.raises(TypeError, match=r"item assignment.*v\[index\]\.assign\(value\)"):
            target[0] = 3.0


def test_an_index_out_of_range_is_refused_before_anything_changes() -> None:
    v = edu.Variable([1.0, 2.0])
    with pytest.raises(IndexError, match=r"5 is out of range.*\(2,\)"):
        v[5].assign(1.0)


def test_integers_cannot_be_trained() -> None:
    assert not edu.Variable([1, 2]).trainable
    with pytest.raises(errors.DtypeError, match=r"int32.*trainable=False"):
        edu.Variable([1, 2], trainable=True)
    with pytest.raises(errors.DtypeError, match="int32"):
        edu.Variable([1, 2], requires_grad=True)


# On the tape


def test_a_trainable_variable_is_followed_and_an_untrainable_one_is_not() -> None:
    assert gradient_of_squares(edu.Variable([1.0, 2.0])).tolist() == [2, 4]
    assert gradient_of_squares(edu.Variable([1.0, 2.0], trainable=False)) is None


def test_an_untrainable_variable_can_be_watched() -> None:
    v = edu.Variable(3.0, trainable=False)
    with edu.GradientTape() as tape:
        tape.watch(v)
        y = v * v
    assert tape.gradient(y, v).item() == 6


def test_the_tape_saw_the_value_of_its_time() -> None:
    v = edu.Variable(3.0)
    with edu.GradientTape() as tape:
        before = v * v
        v.assign(10.0)
        after = v * v
    assert (before.item(), after.item()) == (9, 100)
    assert tape.gradient([before, after], v).item() == 6 + 20


def test_assignments_are_not_recorded() -> None:
    v, w = edu.Variable(3.0), edu.Variable(2.0)
    with edu.GradientTape() as tape:
        v.assign(w * w)
        v.assign_add(w)
        y = v * 1.0
    assert y.item() == 6
    assert tape.gradient(y, [v, w])[1] is None


def test_a_variable_that_requires_grad_takes_part_in_backward() -> None:
    v = edu.Variable([1.0, 2.0], requires_grad=True)
    (v * v).sum().backward()
    v.assign([3.0, 4.0])
    assert v.grad is not None
    assert v.grad.tolist() == [2, 4]  # an assignment leaves the gradient where it is
    (v * v).sum().backward()
    assert v.grad.tolist() == [2 + 6, 4 + 8]
    v.grad = None
    assert v.grad is None


def test_a_variable_is_accepted_by_every_operation() -> None:
    v = edu.Variable([[1.0, 2.0], [3.0, 4.0]])
    assert edu.ops.concat([v, v]).shape == (4, 2)
    assert (v @ v).tolist() == [[7, 10], [15, 22]]
    assert edu.ops.where(v > 2, v, 0).tolist() == [[0, 0], [3, 4]]
    assert v.T.tolist() == [[1, 3], [2, 4]]
    assert [row.tolist() for row in v] == [[1, 2], [3, 4]]


def test_a_variable_and_its_parts_give_changed_copies() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape() as tape:
        y = (v.at[0].set(5.0) * v[:].at[1].add(1.0)).sum()
    assert (y.item(), v.tolist()) == (5 * 1 + 2 * 3, [1, 2])
    assert tape.gradient(y, v).tolist() == [5, 3 + 2]


COPIES = [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]


@pytest.mark.parametrize("of", COPIES)
def test_a_copied_variable_is_a_variable_of_its_own(of: Callable[[Any], Any], device: str) -> None:
    v = edu.Variable([1.0, 2.0], name="W", requires_grad=True)
    w = of(v)
    w.assign([5.0, 6.0])
    assert (v.tolist(), w.tolist(), w.name, w.device) == ([1, 2], [5, 6], "W", device)
    assert gradient_of_squares(w).tolist() == [10, 12]
    (w * 2).sum().backward()
    assert (w.grad.tolist(), v.grad) == ([2, 2], None)


@pytest.mark.parametrize("of", COPIES)
def test_a_copy_is_followed_by_tapes_if_the_original_is(of: Callable[[Any], Any]) -> None:
    assert gradient_of_squares(of(edu.Variable(3.0))).item() == 6
    assert gradient_of_squares(of(edu.Variable(3.0, trainable=False))) is None


@pytest.mark.parametrize("how", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copy_keeps_what_is_said_of_a_variable(how: Callable[[Any], Any]) -> None:
    v = edu.Variable([1.0], name="v")
    v.constraint, v.regularizer, v.trainable = edu.relu, edu.sum, False
    copied = how(v)
    assert (copied.name, copied.constraint, copied.regularizer) == ("v", edu.relu, edu.sum)
    assert not copied.trainable
    # It was made trainable, and may be so again.
    assert gradient_of_squares(copied) is not None
