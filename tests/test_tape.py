"""GradientTape: what it records, what it gives, when it stops."""

from __future__ import annotations

import dataclasses
import gc
import math
import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, ops


def test_a_tape_gives_the_gradient_of_what_it_watches(device: str) -> None:
    x = edu.tensor([1.0, 2.0])
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = (x * x).sum()
    gradient = tape.gradient(y, x)
    assert gradient.tolist() == [2, 4]
    assert gradient.device == device


def test_a_tensor_that_is_not_watched_is_a_constant() -> None:
    x, v = edu.tensor(2.0), edu.Variable(3.0)
    with edu.GradientTape() as tape:
        y = x * v
    assert tape.gradient(y, (x, v)) == (None, edu.tensor(2.0))


def test_watching_counts_from_then_on() -> None:
    x = edu.tensor(2.0)
    with edu.GradientTape() as tape:
        before = x * x
        tape.watch(x)
        y = before + x * x * x
    assert tape.gradient(y, x).item() == 12


def test_an_intermediate_value_is_a_source_too() -> None:
    v = edu.Variable(3.0)
    with edu.GradientTape() as tape:
        y = v * v
        z = y * y
    assert [g.item() for g in tape.gradient(z, [y, v])] == [18, 108]


def test_the_target_may_be_its_own_source() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape(persistent=True) as tape:
        y = v * 3
    assert tape.gradient(v, v).tolist() == [1, 1]
    assert tape.gradient(y, y).tolist() == [1, 1]
    assert tape.gradient(y, [y, v])[1].tolist() == [3, 3]


def test_a_target_that_is_no_scalar_counts_as_its_sum() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape() as tape:
        y = v * v
    assert tape.gradient(y, v).tolist() == [2, 4]


def test_output_gradients_weigh_the_targets() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape(persistent=True) as tape:
        y = v * v
        z = v.sum()
    assert tape.gradient(y, v, edu.tensor([10.0, 1.0])).tolist() == [20, 4]
    assert tape.gradient(y, v, np.array([10.0, 1.0])).dtype == "float32"
    weighted = tape.gradient({"y": y, "z": z}, v, {"y": np.array([1, 0]), "z": 5.0})
    assert weighted.tolist() == [2 + 5, 5]


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Layer:
    W: Any
    b: Any


def test_sources_and_targets_are_nested_structures() -> None:
    a, b, c = edu.Variable(2.0), edu.Variable(3.0), edu.Variable(5.0)
    with edu.GradientTape(persistent=True) as tape:
        y = a * a * b
        z = b * 10
    found = tape.gradient({"y": y, "z": (z,)}, {"pair": Pair(a, [b]), "layer": Layer(c, (a, None))})
    assert found["pair"].first.item() == 12
    assert found["pair"].second[0].item() == 4 + 10
    assert found["layer"].W is None
    assert found["layer"].b[0].item() == 12
    assert found["layer"].b[1] is None
    assert tape.gradient(y, []) == []


def test_none_where_nothing_connects() -> None:
    v, w = edu.Variable(2.0), edu.Variable(3.0)
    with edu.GradientTape(persistent=True) as tape:
        y = v * 2
        stopped = edu.stop_gradient(w * w)
        compared = ops.where(w > 1, v, 0.0)
    outside = w * w
    assert tape.gradient(y, w) is None
    assert tape.gradient(stopped, w) is None
    assert tape.gradient(compared, w) is None
    assert tape.gradient([edu.ones(3), edu.ones((2, 2))], w) is None
    assert tape.gradient(outside, w) is None
    assert tape.gradient(edu.tensor(1.0), v) is None


def test_steps_have_gradient_zero_which_is_not_none() -> None:
    v = edu.Variable(2.5)
    with edu.GradientTape() as tape:
        y = ops.floor(v)
    assert tape.gradient(y, v).item() == 0


def test_a_value_used_twice_gets_both_gradients() -> None:
    x = edu.Variable(3.0)
    with edu.GradientTape() as tape:
        y = x * x
        z = y * y + y + x
    assert tape.gradient(z, x).item() == 4 * 27 + 2 * 3 + 1


def test_gradients_of_broadcast_arguments_are_summed_back() -> None:
    a, b, c = edu.Variable(np.ones((2, 1))), edu.Variable(np.ones(3)), edu.Variable(2.0, "float64")
    with edu.GradientTape() as tape:
        y = (a * b * c).sum()
    gradients = tape.gradient(y, (a, b, c))
    assert [g.tolist() for g in gradients] == [[[6], [6]], [4, 4, 4], 6]


# Once, or again


def test_a_used_up_tape_says_how_to_keep_it() -> None:
    v = edu.Variable(2.0)
    with edu.GradientTape() as tape:
        y = v * v
    tape.gradient(y, v)
    with pytest.raises(errors.GradientError, match=r"used up.*persistent=True"):
        tape.gradient(y, v)
    with pytest.raises(errors.GradientError, match=r"used up.*persistent=True"):
        tape.__enter__()


def test_a_persistent_tape_answers_again_and_again() -> None:
    v = edu.Variable(2.0)
    with edu.GradientTape(persistent=True) as tape:
        y = v * v
        z = y * v
    assert [tape.gradient(t, v).item() for t in (y, z, y)] == [4, 12, 4]


def test_a_tape_that_failed_can_still_be_asked() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape() as tape:
        y = v * v
    with pytest.raises(errors.ShapeError):
        tape.gradient(y, v, output_gradients=edu.ones(3))
    assert tape.gradient(y, v).tolist() == [2, 4]


def test_a_tape_can_be_opened_again() -> None:
    v = edu.Variable(2.0)
    tape = edu.GradientTape()
    with tape:
        y = v * v
    with tape:
        z = y * v
    assert tape.gradient(z, v).item() == 12


def test_a_closed_tape_does_not_record() -> None:
    v = edu.Variable(2.0)
    with edu.GradientTape(persistent=True) as tape:
        y = v * v
    z = y * v
    assert tape.gradient(z, v) is None
    assert "1 record" in repr(tape)


def test_a_tape_is_closed_by_an_exception_too() -> None:
    v = edu.Variable(2.0)
    tape = edu.GradientTape(persistent=True)
    with pytest.raises(ZeroDivisionError), tape:
        1 / 0  # noqa: B018
    _ = v * v
    assert "0 records" in repr(tape)


def test_the_gradient_can_be_taken_while_the_tape_is_open() -> None:
    v = edu.Variable(2.0)
    with edu.GradientTape(persistent=True) as tape:
        y = v * v
        slope = tape.gradient(y, v)
        z = y * 3
    assert slope.item() == 4
    assert tape.gradient(z, v).item() == 12
    assert "2 records" in repr(tape)  # it did not record its own walk


def test_stop_recording_pauses_a_tape() -> None:
    v = edu.Variable(2.0)
    with edu.GradientTape() as tape:
        y = v * v
        with tape.stop_recording():
            aside = y * v
        z = y * 3 + aside
    assert tape.gradient(z, v).item() == 12


def test_stop_recording_pauses_that_tape_alone() -> None:
    v = edu.Variable(2.0)
    with edu.GradientTape() as outer, edu.GradientTape() as inner:
        with inner.stop_recording():
            y = v * v
        z = y * 1.0
    assert inner.gradient(z, v) is None
    assert outer.gradient(z, v).item() == 4


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_tape_that_could_not_be_made_is_gone_quietly() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        edu.GradientTape(persistant=True)  # type: ignore[call-arg]
    gc.collect()


def test_no_grad_stops_the_tapes_outside_and_not_those_inside() -> None:
    v = edu.Variable(3.0)
    with edu.GradientTape() as outer, edu.no_grad():
        with edu.GradientTape() as inner:
            y = v * v
        z = v * 2
    assert inner.gradient(y, v).item() == 6
    assert outer.gradient([y, z], v) is None


# Several tapes


def test_the_acceleration_of_a_falling_body() -> None:
    time = edu.Variable(3.0)
    with edu.GradientTape() as outer:
        with edu.GradientTape() as inner:
            position = 4.9 * time**2
        speed = inner.gradient(position, time)
    assert f"{speed:.1f}" == "29.4"
    assert f"{outer.gradient(speed, time):.1f}" == "9.8"


def test_tapes_nest_to_any_order(device: str) -> None:
    x = edu.Variable(0.5, "float64")
    with edu.GradientTape() as third:
        with edu.GradientTape() as second:
            with edu.GradientTape() as first:
                y = ops.sin(x) * ops.exp(x)
            y1 = first.gradient(y, x)
        y2 = second.gradient(y1, x)
    y3 = third.gradient(y2, x)
    e, s, c = math.exp(0.5), math.sin(0.5), math.cos(0.5)
    expected = [e * s, e * (s + c), 2 * e * c, 2 * e * (c - s)]
    assert [v.item() for v in (y, y1, y2, y3)] == pytest.approx(expected, rel=1e-14)


def test_two_tapes_side_by_side_do_not_disturb_each_other() -> None:
    v, w = edu.Variable(2.0), edu.Variable(3.0)
    with edu.GradientTape() as one, edu.GradientTape() as other:
        y = v * v * w
    assert one.gradient(y, v).item() == 12
    assert other.gradient(y, w).item() == 4


def test_tapes_may_overlap() -> None:
    v = edu.Variable(2.0)
    first, second = edu.GradientTape(), edu.GradientTape()
    first.__enter__()
    y = v * v
    second.__enter__()
    z = y * v
    first.__exit__()
    u = z * v
    second.__exit__()
    assert first.gradient(z, v).item() == 12
    assert second.gradient(u, v).item() == 16  # 4 v * v: y is a constant for the second tape


def test_a_watched_tensor_belongs_to_the_tapes_that_watch_it() -> None:
    x = edu.tensor(3.0)
    with edu.GradientTape() as one, edu.GradientTape() as other:
        one.watch(x)
        y = x * x
    assert one.gradient(y, x).item() == 6
    assert other.gradient(y, x) is None


def test_a_used_up_tape_leaves_its_tensors_to_other_tapes() -> None:
    x = edu.tensor(3.0)
    for expected in (6, 6, 6):
        with edu.GradientTape() as tape:
            tape.watch(x)
            y = x * x
        assert tape.gradient(y, x).item() == expected


def test_a_freed_result_can_be_watched_again() -> None:
    x = edu.Variable(3.0)
    with edu.GradientTape() as tape:
        y = x * x
    tape.gradient(y, x)
    with edu.GradientTape() as tape:
        tape.watch(y)
        z = y * y
    assert [None if g is None else g.item() for g in tape.gradient(z, [y, x])] == [18, None]


def test_every_thread_has_tapes_of_its_own() -> None:
    v, found = edu.Variable(2.0), {}
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        with edu.GradientTape(persistent=True) as tape:
            barrier.wait()
            y = v * number
            barrier.wait()
        found[number] = (tape.gradient(y, v).item(), len(repr(tape).splitlines()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    with edu.GradientTape(persistent=True) as outside:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: (number, 2) for number in range(4)}
    assert "0 records" in repr(outside)


# What it refuses, and how it prints


@pytest.mark.parametrize("thing", [3.0, np.ones(2), "x"])
def test_only_tensors_and_variables_can_be_watched(thing: Any) -> None:
    with pytest.raises(errors.DtypeError, match=r"watch.*edu\.tensor"):
        edu.GradientTape().watch([thing])


def test_integers_are_refused_as_watched_as_target_and_as_source() -> None:
    i, v = edu.tensor([1, 2]), edu.Variable(2.0)
    with edu.GradientTape(persistent=True) as tape:
        y = v * v
        with pytest.raises(errors.DtypeError, match=r"watch.*int32.*float"):
            tape.watch(i)
    with pytest.raises(errors.DtypeError, match=r"gradient.*int32"):
        tape.gradient(i, v)
    with pytest.raises(errors.DtypeError, match=r"gradient.*int32"):
        tape.gradient(y, i)
    with pytest.raises(errors.DtypeError, match=r"gradient.*bool"):
        tape.gradient(y > 1, v)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_output_gradients_belong_to_targets_by_key(names: str) -> None:
    x = edu.Variable(1.0)
    with edu.GradientTape(persistent=True) as tape:
        targets = {"a": 2.0 * x, "b": 3.0 * x}
    weights = {"a": 1.0, "b": 10.0}
    given = {name: edu.tensor(weights[name]) for name in names}
    assert tape.gradient(targets, x, output_gradients=given).item() == 32
    assert tape.gradient([targets], x, output_gradients=[given]).item() == 32
    for wrong in ({"a": 1.0, "c": 10.0}, [1.0, 10.0]):
        with pytest.raises(errors.GradientError, match="have the structure of the target"):
            tape.gradient(targets, x, output_gradients=wrong)


def test_output_gradients_must_fit_the_targets() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape(persistent=True) as tape:
        y = v * v
    with pytest.raises(errors.ShapeError, match=r"\(3,\).*\(2,\)"):
        tape.gradient(y, v, output_gradients=edu.ones(3))
    with pytest.raises(errors.DtypeError, match=r"gradient: a Tensor holds numbers"):
        tape.gradient(y, v, output_gradients="text")
    with pytest.raises(errors.GradientError, match="2 output_gradients for 1 targets"):
        tape.gradient(y, v, output_gradients=[edu.ones(2), edu.ones(2)])


def test_a_tape_prints_as_the_numbered_list_of_what_it_recorded() -> None:
    W, x = edu.Variable(np.ones((3, 2), "float32")), edu.ones((4, 3))
    with edu.GradientTape() as tape:
        hidden = x @ W
        loss = (hidden * 2.5).sum(axis=0)
    lines = repr(tape).splitlines()
    assert lines[0] == "GradientTape, 3 records"
    for number, op, result in ((1, "matmul", "float32(4, 2)"), (2, "multiply", "float32(4, 2)"),
                               (3, "sum", "float32(2)")):  # fmt: skip
        assert lines[number].split()[:2] == [f"{number}.", f"%{number}"]
        assert f"{result} = {op}(" in lines[number]
    assert "float32(3, 2)" in lines[1]
    assert "2.5" in lines[2]
    assert "axis=(0,)" in lines[3]
    assert "test_tape.py" in lines[1]
    assert "hidden = x @ W" in lines[1]
    assert "loss = (hidden * 2.5)" in lines[2]
    tape.gradient(loss, W)
    assert repr(tape) == "GradientTape, used up by gradient()"


def test_an_empty_tape_prints_too() -> None:
    assert repr(edu.GradientTape()) == "GradientTape, 0 records"


def test_a_tape_with_an_operation_of_several_outputs_prints() -> None:
    @edu.custom_gradient
    def both(x: edu.Tensor) -> Any:
        return (x, x * 2), lambda a, b: a + b * 2

    v = edu.Variable(1.0)
    with edu.GradientTape() as tape:
        both(v)
    assert "both" in repr(tape)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_gradients_of_single_numbers_are_tensors_of_their_dtype(dtype: str) -> None:
    x = edu.tensor(3.0, dtype)
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        z = edu.ops.exp(y * 0.0) + y
    at_x, at_y = tape.gradient(z, [x, y])
    assert isinstance(at_x, edu.Tensor)
    assert isinstance(at_y, edu.Tensor)
    assert (at_x.dtype, at_x.item(), at_y.dtype, at_y.item()) == (x.dtype, 6.0, x.dtype, 1.0)
