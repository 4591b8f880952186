"""Equal chains on small arrays, computed as one: the same results, fewer calls, and state that is
nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from lowering import numpy as lowering
from lowering import stacks
from tinygrad_edu import errors

shapes_of = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=2, max_size=6)


def variables(shapes: Any, seed: int = 0) -> list[edu.Variable]:
    rng = np.random.default_rng(seed)
    return [edu.Variable(rng.normal(size=shape)) for shape in shapes]


def momentum(weights: Any, velocities: Any, gradients: Any) -> None:
    """Heavy ball, of which every weight has a chain of four equations."""
    for w, v, g in zip(weights, velocities, gradients, strict=True):
        v.assign(v * 0.9 + g)
        w.assign(w - v * 0.1)


def by_hand(w: np.ndarray, v: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    v = v * 0.9 + g
    return w - v * 0.1, v


SHAPES = [(3, 4), (4,), (4, 2), (2,), (5, 5), (5,)]


class Training:
    """Weights with their velocities, a compiled step, and what NumPy makes of it."""

    def __init__(self, shapes: Any = SHAPES) -> None:
        self.weights, self.velocities = variables(shapes, 0), variables(shapes, 1)
        self.gradients = [np.random.default_rng(2).normal(size=shape) for shape in shapes]
        self.wanted = [
            (w.numpy(), v.numpy()) for w, v in zip(self.weights, self.velocities, strict=True)
        ]
        self.step = edu.jit(lambda *gradients: momentum(self.weights, self.velocities, gradients))

    def run(self, step: Callable[..., Any] | None = None) -> Any:
        found = (step or self.step)(*self.gradients)
        self.wanted = [
            by_hand(w, v, g) for (w, v), g in zip(self.wanted, self.gradients, strict=True)
        ]
        return found

    def check(self) -> None:
        for w, v, (wanted_w, wanted_v) in zip(
            self.weights, self.velocities, self.wanted, strict=True
        ):
            assert_allclose(w._tensor._data, wanted_w, rtol=1e-12)
            assert_allclose(v._tensor._data, wanted_v, rtol=1e-12)


def calls(text: str, name: str) -> int:
    return text.count(f"np.{name}(")


def test_the_update_of_many_small_weights_is_one_chain() -> None:
    training = Training()
    text = training.step.lower(*training.gradients).as_text("python")
    assert [calls(text, name) for name in ("multiply", "add", "subtract")] == [2, 1, 1]
    assert calls(text, "concatenate") == 1  # of the gradients; state lies side by side already
    training.run()
    training.run()
    training.check()


@pytest.mark.parametrize("also", ["nothing", "read", "given"])
def test_what_is_only_laid_side_by_side_is_made_there(also: str) -> None:
    training = Training()

    def step(*gradients: Any) -> Any:
        made = [g @ (2 * np.eye(g.shape[-1])) for g in gradients]
        largest = edu.max(made[2]) if also == "read" else 0.0
        momentum(training.weights, training.velocities, made)
        return made[1] if also == "given" else largest

    gradients = training.gradients
    text = edu.jit(step).lower(*gradients).as_text("python")
    assert calls(text, "concatenate") == (0 if also == "nothing" else 1)
    training.gradients = [2 * g for g in gradients]
    compiled = edu.jit(step)
    for _ in range(2):
        training.run(lambda *_: compiled(*gradients))
        training.check()


def test_a_graph_of_stacks_means_the_same() -> None:
    training = Training()
    traced = training.step.trace(*training.gradients)
    count = len(training.gradients)  # state comes behind them, in the order in which it is written
    updates = {i: count + i for i in range(len(traced.outputs))}
    graph = stacks.stacked(traced, updates, 1 << 15)
    assert "joined" in str(graph)
    assert "parted" in str(graph)
    rng = np.random.default_rng(3)
    arguments = [edu.tensor(rng.normal(size=x.shape)) for x in traced.inputs]
    for y, wanted in zip(graph.run(*arguments), traced.run(*arguments), strict=True):
        assert_array_equal(y.numpy(), wanted.numpy())


@settings(deadline=None, max_examples=60)
@given(shapes_of, st.sampled_from([4, 40, 400]), st.lists(st.integers(0, 5), max_size=8))
def test_whatever_happens_to_state_between_calls(
    shapes: list[list[int]], most: int, events: list[int]
) -> None:
    training = Training(shapes)
    other = edu.jit(lambda *gradients: momentum(training.weights, training.velocities, gradients))
    block, lowering.BLOCK = lowering.BLOCK, most * 4
    held: list[tuple[Any, np.ndarray]] = []
    try:
        for event in [0, *events, 0]:
            w = training.weights[event % len(shapes)]
            if event == 1:  # somebody keeps a value
                held.append((w.value, w.numpy().copy()))
            elif event == 2:  # or puts another one there
                w.assign(w * 2.0)
                i = event % len(shapes)
                training.wanted[i] = (training.wanted[i][0] * 2.0, training.wanted[i][1])
            elif event == 3:  # another program has the same state
                training.run(other)
            elif event == 4:  # and takes one part of it alone
                edu.jit(lambda w=w: w.assign_add(1.0))()
                i = event % len(shapes)
                training.wanted[i] = (training.wanted[i][0] + 1.0, training.wanted[i][1])
            training.run()
            training.check()
            for value, copy in held:
                assert_array_equal(value.numpy(), copy)
    finally:
        lowering.BLOCK = block


def test_state_stays_where_it_is_until_somebody_keeps_a_part() -> None:
    training = Training()
    training.run()
    memory = [w._tensor._data for w in training.weights]
    training.run()
    assert all(w._tensor._data is x for w, x in zip(training.weights, memory, strict=True))
    kept = training.weights[1].value
    before = kept.numpy().copy()
    training.run()
    training.check()
    assert_array_equal(kept.numpy(), before)


def test_threads_that_take_turns_with_the_same_state() -> None:
    training = Training()
    for _ in range(5):
        thread = threading.Thread(target=training.run)
        thread.start()
        thread.join()
        training.run()
    training.check()


def test_chains_that_read_what_the_other_writes() -> None:
    shapes = [(3,)] * 2
    a, b = variables(shapes)
    x, y = a.numpy(), b.numpy()

    @edu.jit
    def step() -> None:
        old_a, old_b = a.value, b.value
        a.assign(((old_a * 0.5 + old_b) * 0.7 - old_b) * 0.9 + 1.0)
        b.assign(((old_b * 0.5 + old_a) * 0.7 - old_a) * 0.9 + 1.0)

    assert "row0" in step.lower().as_text("python")
    for _ in range(3):
        step()
        x, y = ((x * 0.5 + y) * 0.7 - y) * 0.9 + 1.0, ((y * 0.5 + x) * 0.7 - x) * 0.9 + 1.0
        assert_allclose(a.numpy(), x)
        assert_allclose(b.numpy(), y)


def test_results_that_are_no_state_are_arrays_of_their_own() -> None:
    def chains(*arrays: Any) -> list[Any]:
        return [edu.tanh(edu.sin(edu.exp(x * 0.5) - 1.0) * 2.0) + edu.sqrt(x * x) for x in arrays]

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in SHAPES]
    f = edu.jit(chains)
    assert "concatenate" in f.lower(*arrays).as_text("python")
    first = f(*arrays)
    copies = [y.numpy().copy() for y in first]
    f(*[x * 2.0 for x in arrays])
    for y, copy, x in zip(first, copies, arrays, strict=True):
        assert_array_equal(y.numpy(), copy)
        assert_allclose(copy, np.tanh(np.sin(np.exp(x * 0.5) - 1) * 2) + np.abs(x))


@pytest.mark.parametrize("change", ["dtype", "number", "operation", "result", "scalar", "row"])
def test_chains_that_differ_stay_apart(change: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")
    if change == "dtype":
        b = b.astype("float64")
    row, scalars = rng.normal(size=3).astype("float32"), np.array([0.5, 0.25], "float32")

    def chain(x: Any, number: float, last: Any, scalar: Any) -> Any:
        for _ in range(10):
            x = edu.sin(x) * number
        x = x * (row if change == "row" else scalar)
        return x, last(x)

    @edu.jit
    def step(a: Any, b: Any, scalars: Any) -> Any:
        _, y = chain(a, 0.5, edu.sin, scalars[0])
        number = 0.75 if change == "number" else 0.5
        last = edu.cos if change == "operation" else edu.sin
        scalar = scalars[1] if change == "scalar" else scalars[0]
        z, w = chain(b, number, last, scalar)
        return (y, z, w) if change == "result" else (y, w)

    assert "concatenate" not in step.lower(a, b, scalars).as_text("python")
    found = step(a, b, scalars)
    for y, wanted in zip(found, step.function(*map(edu.tensor, (a, b, scalars))), strict=True):
        assert_allclose(y.numpy(), wanted.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "subtractions", "copies"),
    [
        ({}, 3, 1),  # of the gradients
        ({"clipnorm": 0.5}, 3, 0),  # which are made where they are to be
        ({"weight_decay": 0.01}, 4, 1),
    ],
)
def test_an_optimizers_update_is_one_chain(
    settings: dict[str, Any], subtractions: int, copies: int
) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=shape) for shape in SHAPES]
    found = []
    for compiled in (False, True):
        weights = variables(SHAPES)
        optimizer = edu.optimizers.Adam(**settings)

        def apply(*gradients: Any, weights: Any = weights, optimizer: Any = optimizer) -> None:
            optimizer.apply(gradients, weights)

        step = edu.jit(apply) if compiled else apply
        for _ in range(3):
            step(*map(edu.tensor, gradients))
        found.append([w.numpy() for w in weights])
    text = edu.jit(apply).lower(*gradients).as_text("python")
    assert [calls(text, name) for name in ("subtract", "concatenate")] == [subtractions, copies]
    for eager, ours in zip(*found, strict=True):
        assert_allclose(ours, eager, rtol=1e-12)


@pytest.mark.parametrize("size", [20_000, 9_000])
def test_large_arrays_stay_apart(size: int) -> None:
    training = Training([(size,)] * 3)
    text = training.step.lower(*training.gradients).as_text("python")
    assert "concatenate" not in text


def test_a_part_is_read_before_it_is_written() -> None:
    weights = variables(SHAPES)
    values = [w.numpy() for w in weights]

    @edu.jit
    def step() -> Any:
        powers = [edu.exp(w * 2.0) for w in weights]
        for w in weights:
            w.assign(w * 0.5 - 1.0)
        return [edu.sum(x) for x in powers]

    assert "row0" in step.lower().as_text("python")
    for _ in range(3):
        assert_allclose([x.item() for x in step()], [np.exp(w * 2.0).sum() for w in values])
        values = [w * 0.5 - 1.0 for w in values]
        for w, value in zip(weights, values, strict=True):
            assert_allclose(w._tensor._data, value)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_may_give_its_state_too(when: str) -> None:
    training = Training()

    @edu.jit
    def step(*gradients: Any) -> Any:
        before = [w.value for w in training.weights]
        momentum(training.weights, training.velocities, gradients)
        return before if when == "before" else [w.value for w in training.weights]

    kept: list[tuple[Any, np.ndarray]] = []
    for _ in range(3):
        old = [w for w, _ in training.wanted]
        found = training.run(step)
        new = [w for w, _ in training.wanted]
        kept += zip(found, old if when == "before" else new, strict=True)
        training.check()
    for x, wanted in kept:
        assert_allclose(x.numpy(), wanted)


def test_state_that_cannot_be_computed_where_it_lies() -> None:
    weights = variables(SHAPES)
    wanted = [w.numpy() for w in weights]

    @edu.jit
    def step() -> None:
        for w in weights:
            w.assign(edu.where(w > 0.0, w * 0.5 - 1.0, w * 0.25 + 1.0))

    assert "row0" in step.lower().as_text("python")
    for _ in range(3):
        step()
        wanted = [np.where(w > 0, w * 0.5 - 1, w * 0.25 + 1) for w in wanted]
        for w, x in zip(weights, wanted, strict=True):
            assert_allclose(w._tensor._data, x)


def test_an_error_leaves_rows_as_they_were() -> None:
    training = Training()

    @edu.jit
    def step(i: Any, *gradients: Any) -> Any:
        momentum(training.weights, training.velocities, gradients)
        return edu.ops.take(edu.arange(3), i)

    training.run(lambda *gradients: step(np.array([1]), *gradients))
    for _ in range(2):
        with pytest.raises(errors.OutOfRangeError):
            step(np.array([7]), *training.gradients)
        training.check()
    training.run(lambda *gradients: step(np.array([2]), *gradients))
    training.check()
