"""Programs for XLA: one executable, with the results of the graph, whatever state gives its memory
away and whatever is left to NumPy."""

from __future__ import annotations

import gc
import importlib.util
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from lowering import xla as lowering
from tinygrad_edu import debugging, errors, training
from tinygrad_edu.op import Aval, Op, Unary

from .programs import Program, real_programs, whole_programs

ops = edu.ops
MANY = 1 << 15  # elements of state that is large enough to give its memory away

slow = settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def on_xla() -> Iterator[None]:
    """New Tensors live there, and nothing is left to NumPy but where a test says so."""
    with edu.device("xla"), warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*asks for values")
        yield


def text(function: Callable[..., Any], *arguments: Any, stage: str = "hlo") -> str:
    return str(edu.jit(function).lower(*arguments).as_text(stage))


# What it computes


def close_to(found: np.ndarray, wanted: np.ndarray) -> None:
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    assert_allclose(found, wanted, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize(
    ("programs", "close"),
    [
        (whole_programs("int32"), assert_array_equal),
        (whole_programs("float64"), assert_array_equal),
        (real_programs("float64"), close_to),
    ],
    ids=["integers", "whole numbers", "real numbers and gradients"],
)
def test_drawn_programs_give_what_the_graph_gives(programs: Any, close: Any) -> None:
    @slow
    @given(programs)
    def check(program: Program) -> None:
        graph = program.graph()
        with np.errstate(all="ignore"):
            wanted = graph.run(*program.arguments)
        found = lowering.lower(graph, {})(*[x.numpy() for x in program.arguments])
        for x, y in zip(found, wanted, strict=True):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            close(np.asarray(x), y.numpy())

    with edu.device("numpy"):  # which says what is right, operation by operation
        check()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int64", "uint8", "bool"])
def test_every_dtype_stays_what_it_is(dtype: str) -> None:
    import jax

    x = edu.tensor([[1, 0], [1, 1]], dtype)
    y, z = edu.jit(lambda x: (ops.concat([x, x]), ops.where(x == 1, x, x[::-1])))(x)
    assert y.dtype == z.dtype == dtype
    assert y.tolist() == [[1, 0], [1, 1]] * 2
    assert z.tolist() == [[1, 1], [1, 1]]
    assert not jax.config.jax_enable_x64  # the user's flag is as it was


def test_64_bits_are_kept() -> None:
    large = 2**53 + 1  # which float64 has not
    assert edu.jit(lambda x: x + 1)(edu.tensor(large, "int64")).item() == large + 1
    third = edu.jit(lambda x: x / 3.0)(edu.tensor(1.0, "float64"))
    assert third.item() == 1 / 3
    assert edu.jit(lambda x: x / 3.0)(np.array([1.0])).tolist() == [1 / 3]


def test_xla_does_not_bring_factors_of_halves_together() -> None:
    tiny = edu.tensor(2.0**-14, "float16")
    large = edu.tensor(2.0**15, "float16")
    assert edu.jit(lambda x: x * tiny * tiny)(large).item() == 2.0**-13
    assert edu.jit(lambda x: x * 2.0**-14 * 2.0**-14)(large).item() == 2.0**-13


def test_what_is_out_of_range_is_nan_or_the_least_integer_and_is_not_written() -> None:
    x, whole = edu.tensor([1.0, 2.0]), edu.tensor([1, 2])
    found = edu.jit(lambda x, i: ops.getitem(x, i))
    assert_array_equal(found(x, edu.tensor([0, 2, -3])).numpy(), [1.0, np.nan, np.nan])
    assert found(whole, edu.tensor([2, -2])).tolist() == [-(2**31), 1]
    assert edu.jit(lambda x, i: x.at[i].set(5.0))(x, edu.tensor([1, 7])).tolist() == [1.0, 5.0]


def test_random_numbers_are_those_of_jax() -> None:
    import jax

    words = edu.random.key_data(edu.random.key(7))
    found = edu.jit(lambda key: edu.random.normal(key, (5,)))(words)
    assert_allclose(found.numpy(), jax.random.normal(jax.random.key(7), (5,)), 1e-6)
    bits = edu.jit(lambda key: edu.random.bits(key, (5,)))(words)
    assert_array_equal(bits.numpy(), jax.random.bits(jax.random.key(7), (5,)))


def test_the_default_generator_goes_on_as_it_does_without_a_program() -> None:
    edu.random.seed(3)
    wanted = [edu.random.uniform(None, (2,)).tolist() for _ in range(4)]
    edu.random.seed(3)
    draw = edu.jit(lambda: edu.random.uniform(None, (2,)))
    found = [draw().tolist(), draw().tolist(), edu.random.uniform(None, (2,)).tolist()]
    assert_allclose([*found, draw().tolist()], wanted, 1e-6)


# Loops and branches


def test_loops_and_branches_are_in_the_one_executable() -> None:
    def function(x: Any, n: Any) -> Any:
        y = ops.while_loop(lambda y: y.sum() < n, lambda y: y * 2.0, x)
        y = ops.cond(n > 5.0, lambda: y + 1.0, lambda: y - 1.0)
        return ops.scan(lambda c, row: (c + row, c * row), 0.0, y)

    x, n = edu.tensor([1.0, 2.0]), edu.tensor(10.0)
    compiled = text(function, x, n)
    assert compiled.count(" while(") == 2
    assert " conditional(" in compiled
    assert compiled.count("ENTRY") == 1
    total, kept = edu.jit(function)(x, n)  # 4 and 8, and 1 more
    assert (total.item(), kept.tolist()) == (14.0, [0.0, 45.0])


def test_gradients_of_loops_and_branches() -> None:
    def power(x: Any, n: Any) -> Any:
        y = ops.fori_loop(0, 3, lambda i, y: y * x, 1.0)  # x**3
        return ops.switch(n, [lambda: y, lambda: y * x, lambda: edu.sin(y)])

    slope = edu.jit(edu.grad(power))
    second = edu.jit(edu.grad(edu.grad(power)))
    for n, first, twice in (
        (0, 3 * 4, 6 * 2),
        (1, 4 * 8, 12 * 4),
        (9, np.cos(8) * 12, np.cos(8) * 12 - np.sin(8) * 144),
    ):
        assert slope(2.0, edu.tensor(n)).item() == pytest.approx(first)
        assert second(2.0, edu.tensor(n)).item() == pytest.approx(twice, 1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_scans(reverse: bool) -> None:
    def last(x: Any, rows: Any) -> Any:  # ((x r0 + r0) r1 + r1) r2 + r2, or from the other end
        return ops.scan(lambda c, r: (c * r + r, c), x, rows, reverse=reverse)[0]

    rows = [2.0, 3.0, 5.0]
    a, b, c = rows[::-1] if reverse else rows
    of_x, of_rows = edu.jit(edu.grad(last, (0, 1)))(edu.tensor(1.0), edu.tensor(rows))
    assert of_x.item() == a * b * c
    wanted = [(1 + 1) * b * c, (1 * a + a + 1) * c, (1 * a + a) * b + b + 1]
    assert of_rows.tolist() == (wanted[::-1] if reverse else wanted)


def test_loops_that_are_mapped_take_turns_of_their_own() -> None:
    def collatz(n: Any) -> Any:
        following = lambda state: (
            edu.where(state[0] % 2 == 0, state[0] // 2, state[0] * 3 + 1),
            state[1] + 1,
        )
        return ops.while_loop(lambda state: state[0] > 1, following, (n, 0))[1]

    assert edu.jit(edu.vmap(collatz))(edu.tensor([1, 2, 3, 6, 7])).tolist() == [0, 1, 7, 8, 16]


def test_state_is_carried_through_loops() -> None:
    total = edu.Variable(np.zeros(MANY, "float32"))

    @edu.jit
    def add(rows: Any) -> Any:
        ops.scan(lambda _, row: (None, total.assign_add(row).value.sum()), None, rows)
        return total[0] * 1.0

    assert add(edu.tensor([1.0, 2.0, 3.0])).item() == 6.0
    assert add(edu.tensor([1.0, 2.0, 3.0])).item() == 12.0


def test_loops_outside_of_programs_keep_what_every_turn_began_with() -> None:
    graph = edu.jit(edu.grad(lambda x: ops.scan(lambda c, _: (c * 2.0, None), x, None, 3)[0].sum()))
    x = edu.tensor(np.ones(MANY, "float32"))
    (slope,) = graph.trace(x).run(x)
    assert set(slope.tolist()) == {8.0}


def test_a_gradient_of_the_users_own() -> None:
    @edu.custom_gradient
    def clipped(x: Any) -> Any:
        return x * 2.0, lambda g: ops.clip(g, -1.0, 1.0)

    slope = edu.jit(edu.grad(lambda x: clipped(x) * 5.0))
    assert slope(edu.tensor(3.0)).item() == 1.0


# State, and whose memory it is


def test_large_state_is_updated_in_its_own_memory() -> None:
    v = edu.Variable(np.zeros(MANY, "float32"))

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    step()
    before = v._tensor._data
    place = before.unsafe_buffer_pointer()
    step()
    assert before.is_deleted()
    assert v._tensor._data.unsafe_buffer_pointer() == place
    assert set(v.numpy().tolist()) == {2.0}


def test_what_somebody_holds_is_neither_deleted_nor_changed() -> None:
    given = edu.tensor(np.zeros(MANY, "float32"))
    v = edu.Variable(given)
    w = edu.Variable(given)

    @edu.jit
    def step(x: Any) -> Any:
        held = v.value
        v.assign_add(x)
        w.assign(v.value)
        return held, v.value, x

    one = edu.tensor(np.ones(MANY, "float32"))
    seen = [(v.value, 0.0), (v.numpy(), 0.0), (given, 0.0), (one, 1.0)]
    for i in range(3):
        before, after, x = step(one)
        seen += [(before, i), (after, i + 1), (x, 1.0), (v.value, i + 1), (w.value, i + 1)]
        if i:
            seen += [(np.asarray(v.numpy()), i + 1)]
    for array, wanted in seen:
        assert set(np.asarray(array).tolist()) == {wanted}


@pytest.mark.parametrize("size", [0, 1, 5, MANY])
def test_results_share_no_memory(size: int) -> None:
    constant = edu.tensor(np.ones(size, "float32"))
    x = edu.tensor(np.ones(size, "float32"))

    @edu.jit
    def function(x: Any) -> Any:
        y = x + 1.0
        for each in (v, w):
            each.assign(constant)
        return x, x, y, y, ops.reshape(y, -1), v.value, w.value

    v, w = edu.Variable(constant), edu.Variable(constant)
    every = [*function(x), *function(x), x, constant, v.value, w.value]
    assert len({id(y._data) for y in every}) == len(every)
    assert not size or len({y._data.unsafe_buffer_pointer() for y in every}) == len(every)


def test_a_numpy_array_may_change_right_after_the_call() -> None:
    w = edu.tensor(np.ones((300, 300), "float32"))
    function = edu.jit(lambda x: ops.fori_loop(0, 5, lambda i, y: y @ w / 300.0, x + 0.0) + x)
    x = np.zeros((300, 300), "float32")
    for i in range(20):
        x[:] = i
        found = function(x)
        x[:] = -1
        assert_allclose(found.numpy(), 2.0 * i, 1e-5)


def test_a_call_that_fails_leaves_state_as_it_was() -> None:
    v = edu.Variable(np.zeros(MANY, "float32"))

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(1.0)
        return refused(v.value * x)

    with pytest.warns(UserWarning, match="asks for values"):
        step(1.0)
    with pytest.raises(errors.ArgumentError, match=r"refused: too large.*test_xla_lowering\.py"):
        step(100.0)
    assert set(v.numpy().tolist()) == {1.0}
    step(1.0)
    assert set(v.numpy().tolist()) == {2.0}


def test_large_constants_are_arguments_of_the_executable() -> None:
    held = edu.tensor(np.arange(MANY, dtype="float32"))

    def function(x: Any) -> Any:
        return ops.scan(lambda c, _: (c + held, None), x, None, 3)[0]

    assert len(text(function, edu.zeros(()) + edu.zeros(MANY), stage="stablehlo")) < MANY
    found = edu.jit(function)(edu.zeros(MANY))
    assert found[5].item() == 15.0


def test_threads_call_one_program() -> None:
    v = edu.Variable(np.zeros(MANY, "float32"))

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(x)
        return edu.exp(x)

    def run() -> None:
        found.extend(step(edu.tensor(1.0, device="xla")).item() for _ in range(25))

    found: list[float] = []
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(v.numpy().tolist()) == {100.0}
    assert found == pytest.approx([np.e] * 100)


def test_a_function_that_is_dropped_frees_its_executable() -> None:
    import jax

    x = edu.ones(3)
    client = jax.devices()[0].client
    gc.collect()
    before = len(client.live_executables())
    function: Any = edu.jit(lambda x: edu.sin(x) * 3.0)
    function(x)
    assert len(client.live_executables()) == before + 1
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None
    assert len(client.live_executables()) == before


# Training


class Hears(edu.callbacks.Callback):
    """Remembers each batch."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(batch)


X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]]) + 0.1).astype("float32")


def fitted(callbacks: Any = None, **settings: Any) -> tuple[Any, list[float]]:
    model = edu.Sequential([edu.Input((3,)), edu.layers.Dense(1, kernel_initializer="ones")])
    model.compile(edu.optimizers.Adam(0.1), "mse", metrics=["mae"], **settings)
    found = model.fit(
        X, Y, batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=callbacks
    ).history
    return model, [*found["loss"], *found["mae"]]


def test_training_that_goes_on_takes_several_steps_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with edu.device("numpy"):
        _, wanted = fitted(run_eagerly=True)
    model, one_by_one = fitted()
    assert len(model._compiled.programs) == 1
    monkeypatch.setattr(training, "_MANY", 20)  # an epoch has 13
    monkeypatch.setattr(training, "_TOGETHER", 5)
    model, together = fitted()
    assert len(model._compiled.programs) == 2
    hears = Hears()
    model, heard = fitted(hears)
    assert len(model._compiled.programs) == 1
    assert hears.heard == [*range(13)] * 4
    for found in (one_by_one, together, heard):
        assert_allclose(found, wanted, 1e-5)


def test_steps_of_one_call_share_an_epoch_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_MANY", 0)
    monkeypatch.setattr(training, "_TOGETHER", 5)
    model, _ = fitted()
    kinds = {key[0]: each.cache_info() for key, each in model._compiled.programs.items()}
    calls = {kind: found.hits + found.misses for kind, found in kinds.items()}
    # Of an epoch's 12 whole batches 4 a call, and the short one alone.
    assert calls == {"several": 4 * 3, "train": 4 * 1}


def test_a_loss_that_is_not_finite_is_told_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_MANY", 0)
    monkeypatch.setattr(training, "_TOGETHER", 5)
    model = edu.Sequential([edu.Input((3,)), edu.layers.Dense(1)])
    model.compile("sgd", "mse")
    wrong = X.copy()
    wrong[30] = np.nan
    with pytest.raises(errors.NonFiniteError, match="epoch 1, step 8 "):
        model.fit(wrong, Y, batch_size=4, shuffle=False, verbose=0)


def test_batches_whose_memory_is_used_again_are_learned_as_they_were() -> None:
    def batches() -> Iterator[Any]:
        x, y = np.empty((4, 3), "float32"), np.empty((4, 1), "float32")
        for i in range(0, 48, 4):
            x[:], y[:] = X[i : i + 4], Y[i : i + 4]
            yield x, y
            x[:], y[:] = np.nan, np.nan

    found = []
    for data in (batches(), iter([(X[i : i + 4], Y[i : i + 4]) for i in range(0, 48, 4)])):
        model = edu.Sequential([edu.Input((3,)), edu.layers.Dense(1, kernel_initializer="ones")])
        model.compile("sgd", "mse", steps_per_execution=3)
        found.append(model.fit(data, verbose=0).history["loss"])
    assert found[0] == found[1]


class LooksOn(edu.callbacks.Callback):
    """From the beginning of the second batch."""

    def __init__(self) -> None:
        self.seen: list[debugging.Step] = []
        self.look = self.seen.append

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 1 and not self.seen:
            debugging.observe(self.look)


def test_a_callback_may_begin_to_look_on() -> None:
    looks_on = LooksOn()
    try:
        _, found = fitted(looks_on)
    finally:
        debugging.leave(looks_on.look)
    assert "matmul" in [step.op.name for step in looks_on.seen]
    assert {step.device.name for step in looks_on.seen} == {"xla"}
    assert_allclose(found, fitted()[1], 1e-5)


# What NumPy computes, and what fails


class Refused(Unary):
    """x, unless it is too large: its kernel looks at values."""

    gradients = (lambda g, out, x: g,)

    def forward(self, xp: Any, x: Any) -> Any:
        if np.max(x) > 50:
            raise ValueError("too large")
        return +x


class Halved(Op):
    """Both by NumPy, of 64 bits."""

    no_gradient = "it has none"

    def forward(self, xp: Any, x: Any, n: Any) -> Any:
        return np.linspace(0.0, 1.0, 3) * np.sum(x), np.asarray(n) // 2

    def infer(self, x: Aval, n: Aval) -> Any:
        return Aval((3,), np.dtype("float64")), n

    def operand_dtypes(self, given: Any, kind: Any) -> Any:
        return given


class Impossible(Unary):
    """Fails whatever it gets."""

    gradients = (lambda g, out, x: g,)

    def forward(self, xp: Any, x: Any) -> Any:
        raise ValueError("it is never right")


refused, halved, impossible = Refused(), Halved(), Impossible()


def test_numpy_computes_what_needs_values() -> None:
    function = edu.jit(halved)
    x, n = edu.tensor([1 / 3, 1 / 3], "float64"), edu.tensor(2**60 + 1, "int64")
    with pytest.warns(UserWarning, match=r"halved: .*test_xla_lowering\.py"):
        y, half = function(x, n)
    assert (y.dtype, half.dtype) == ("float64", "int64")
    assert (y.tolist(), half.item()) == ([0.0, 1 / 3, 2 / 3], 2**59)


def test_64_bits_are_kept_in_threads_of_xlas_own() -> None:
    third = edu.tensor(np.full((900, 900), 1 / 3), "float64")
    later = edu.jit(lambda x: (x @ x @ x @ x)[0, :2] * 0.0 + x[0, 0])
    function = edu.jit(lambda x, n: halved(x, n))
    n = edu.tensor(2**60 + 1, "int64")
    with pytest.warns(UserWarning, match="halved"):
        function(later(third), n)
    for _ in range(3):
        # The operand is still being computed when the function is called, which waits for it in
        # another thread.
        y, half = function(later(third), n)
        assert (y.tolist(), half.item()) == ([0.0, 1 / 3, 2 / 3], 2**59)


def test_it_does_so_in_loops_and_branches() -> None:
    @edu.jit
    def function(x: Any) -> Any:
        kept = ops.fori_loop(0, 4, lambda i, y: refused(y * 2.0), x)
        return ops.cond(kept > 20.0, lambda: refused(kept * 5.0), lambda: kept)

    with pytest.warns(UserWarning, match="refused"):
        assert function(1.0).item() == 16.0
    for x in (2.0, 5.0):  # refused in the branch, and in the loop
        with pytest.raises(errors.ArgumentError, match="too large"):
            function(x)


def test_what_fails_names_operation_and_line() -> None:
    with pytest.raises(
        errors.ArgumentError,
        match=r"impossible: it is never right \(.*float32\(3\)\) \(at test_xla_lowering\.py",
    ):
        edu.jit(lambda x: ops.scan(lambda c, _: (impossible(c), None), x, None, 2)[0])(edu.ones(3))


def test_prints_come_in_order_at_every_call(capsys: pytest.CaptureFixture[str]) -> None:
    @edu.jit
    def function(x: Any) -> Any:
        edu.debug_print("from {}", x)

        def turn(carry: Any, row: Any) -> Any:
            edu.debug_print("row {}", row)
            return carry + row, None

        total = ops.scan(turn, 0.0, x)[0]
        edu.debug_print("to {:.2f}", total)
        return total

    for _ in range(2):
        assert function(edu.tensor([1.0, 2.0], "float64")).item() == 3.0
        printed = capsys.readouterr().out
        assert printed.splitlines() == ["from [1. 2.]", "row 1.0", "row 2.0", "to 3.00"]


def test_who_looks_on_sees_every_operation() -> None:
    function = edu.jit(lambda x: edu.exp(x) * 2.0)
    function(edu.ones(3))
    with edu.profile() as seen:
        function(edu.ones(3))
        function(np.ones(3))
    assert {each.name: each.calls for each in seen.operations} == {"exp": 2, "multiply": 2}


# Reading it


def test_stages() -> None:
    program = edu.jit(lambda x: edu.exp(x) + edu.exp(x)).lower(np.ones(3, "float32"), device="xla")
    graph, optimized, stablehlo, hlo = map(
        program.as_text, ("graph", "optimized", "stablehlo", "hlo")
    )
    assert (graph.count("exp("), optimized.count("exp(")) == (2, 1)
    assert program.as_text() == stablehlo
    assert stablehlo.count("stablehlo.exponential") == 1
    assert "HloModule" in hlo
    with pytest.raises(errors.ArgumentError, match=r"'python'.*'stablehlo', 'hlo'"):
        program.as_text("python")


def test_a_lowered_program_takes_arrays_of_either_kind() -> None:
    v = edu.Variable(np.zeros(MANY, "float32"))

    def step(x: Any) -> Any:
        v.assign_add(x)
        return x * 2.0

    program = edu.jit(step).lower(1.0)
    one, zeros = np.float64(1.0), np.zeros(MANY, "float32")
    for give in (np.asarray, lambda a: edu.tensor(a)._data):
        arrays = [give(one), give(zeros)]
        twice, state = program(*arrays)
        assert (float(twice), set(state.tolist())) == (2.0, {1.0})
        assert not np.asarray(arrays[1]).any()
    assert not v.numpy().any()


def test_without_jax_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "jax" else found(name)
    )
    _, _, xla = edu.devices()
    vars(xla).pop("problem", None)
    try:
        with edu.device("numpy"), pytest.raises(errors.DeviceError, match=r"tinygrad_edu\[xla\]"):
            edu.jit(edu.exp).lower(edu.ones(3), device="xla")
    finally:
        vars(xla).pop("problem", None)
