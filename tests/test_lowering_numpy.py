"""Programs for NumPy: the results of the graph, whatever shares a loop or a buffer, and whatever
state is written where it lies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from lowering import numpy as lowering
from tinygrad_edu import errors
from tinygrad_edu.graph import Graph, Value
from tinygrad_edu.op import Unary

from .programs import Program, real_programs, whole_programs

ops = edu.ops

slow = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=["straight", "in loops", "in loops, on threads"])
def manner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small arrays in loops over blocks too, as if the processor's cache held eight elements."""
    if request.param != "straight":
        monkeypatch.setattr(lowering, "BLOCK", 8)
        monkeypatch.setattr(lowering, "_LARGE", 1)
        monkeypatch.setattr(lowering, "_is_worth", lambda unit: unit.rows > 0)
    if "threads" in request.param:
        monkeypatch.setattr(lowering, "_MUCH", 1)
        monkeypatch.setenv("TINYGRAD_EDU_THREADS", "3")
    return str(request.param)


def updates_of(graph: Graph, draw: Any) -> dict[int, int]:
    """Some outputs that could be new state, each in the place of an input like it."""
    found: dict[int, int] = {}
    taken: set[Value] = set()
    for i, new in enumerate(graph.outputs):
        for j, old in enumerate(graph.inputs):
            alike = isinstance(new, Value) and new.aval == old.aval and new not in graph.inputs
            if alike and j not in found.values() and new not in taken and draw(st.booleans()):
                found[i] = j
                taken.add(new)  # type: ignore[arg-type]
                break
    return found


def agree(program: Program, draw: Any, close: Callable[[Any, Any], None]) -> None:
    graph = program.graph()
    updates = updates_of(graph, draw)
    lowered = lowering.lower(graph, updates)
    with np.errstate(all="ignore"):
        wanted = [y.numpy() for y in graph.run(*program.arguments)]
    for owned in (False, True, True):
        given = [np.array(x.numpy()) for x in program.arguments]
        before = [x.copy() for x in given]
        found = lowered.run(*given, *[owned] * len(updates))
        for y, expected in zip(found, wanted, strict=True):
            assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
            close(y, expected)
        for j, (x, old) in enumerate(zip(given, before, strict=True)):
            if not owned or j not in updates.values():
                assert_array_equal(x, old)
        for i, y in enumerate(found):
            for other in found[i + 1 :]:
                assert not np.may_share_memory(y, other)
            for j, x in enumerate(given):
                assert updates.get(i) == j or not np.may_share_memory(y, x)


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_whole_numbers_come_out_exactly(manner: str, dtype: str) -> None:
    @slow
    @given(whole_programs(dtype), st.data())
    def check(program: Program, data: Any) -> None:
        agree(program, data.draw, assert_array_equal)

    check()


def test_real_numbers_and_gradients_come_out_alike(manner: str) -> None:
    def close(found: np.ndarray, wanted: np.ndarray) -> None:
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        assert_allclose(found, wanted, rtol=0, atol=1e-12 * scale)

    @slow
    @given(real_programs("float64"), st.data())
    def check(program: Program, data: Any) -> None:
        agree(program, data.draw, close)

    check()


def lowered(function: Callable[..., Any], *arguments: Any) -> str:
    return edu.jit(function).lower(*arguments).as_text("python")


def test_a_person_recognizes_the_computation() -> None:
    X, W, b = np.ones((4, 2), "f4"), np.ones((2, 3), "f4"), np.ones(3, "f4")
    text = lowered(lambda X, W, b: edu.tanh(X @ W + b), X, W, b)
    assert text.splitlines()[-7:] == [
        "",
        "def program(X, W, b):",
        "    X.dot(W, out=t1)",
        "    t3 = np.empty((4, 3), np.float32)",
        "    np.add(t1, b, out=t3)",
        "    np.tanh(t3, out=t3)",
        "    return (t3,)",
    ]


@pytest.mark.parametrize(
    ("rows", "columns", "size", "dtype", "copied"),
    [
        (128, 64, 64, "f4", True),
        (128, 64, 64, "f2", False),
        (128, 64, 64, "i4", False),
        (63, 64, 64, "f4", False),  # the copy would take longer
        (128, 64, 65, "f4", False),
        (256, 64, 64, "f4", False),  # not small for BLAS
        (128, 64, 1, "f4", False),  # no sum
    ],
)
def test_small_products_are_with_a_copy_of_what_is_transposed(
    rows: int, columns: int, size: int, dtype: str, copied: bool
) -> None:
    rng = np.random.default_rng(0)
    g, W = [(rng.normal(size=(n, size)) * 4).astype(dtype) for n in (rows, columns)]
    assert (".copy()" in lowered(lambda g, W: g @ W.T, g, W)) == copied
    found = edu.jit(lambda g, W: g @ W.T)(g, W).numpy()
    assert_allclose(found, g.astype("f8") @ W.T.astype("f8"), 1e-2 if dtype == "f2" else 1e-4, 1e-3)


def test_single_numbers_are_numpys_scalars() -> None:
    count, step = edu.Variable(np.array(3, "i4")), edu.Variable(np.array(0.5, "f4"))

    def advance(x: Any) -> Any:
        count.assign_add(1)
        power = edu.expm1(edu.astype(count.value, "float32") * -0.25)
        step.assign(step * 0.5)
        return x * (edu.sqrt(-power) / step.value), power / (power - power)

    x = np.ones(3, "f4")
    text = edu.jit(advance).lower(x).as_text("python")
    assert re.findall(r"np\.(multiply|add|subtract|negative|true_divide)\(", text) == ["multiply"]
    compiled = edu.jit(advance)
    for i in range(1, 4):
        y, infinite = compiled(edu.tensor(x))
        power = np.expm1(np.float32(3 + i) * np.float32(-0.25))
        wanted = np.sqrt(-power) / np.float32(0.5 ** (i + 1))
        assert_array_equal(y.numpy(), np.full(3, wanted, "f4"))
        assert_array_equal(infinite.numpy(), np.float32(-np.inf))
        for found, dtype in ((infinite, "float32"), (count, "int32"), (step, "float32")):
            assert (type(found.value._data), found.shape) == (np.ndarray, ())
            assert found.dtype == dtype
        assert (count.item(), step.item()) == (3 + i, 0.5 ** (i + 1))


def test_a_single_number_of_state_is_updated_where_it_lies() -> None:
    v, x = edu.Variable(np.array(1.0, "f4")), edu.tensor(np.array(3.0, "f4"))
    step = edu.jit(lambda x: (v.assign(v * 2.0 + x), x * x)[1])
    step(x)
    place = v._tensor._data
    assert type(step(x)._data) is np.ndarray
    assert v._tensor._data is place
    assert v.item() == 13.0


@pytest.mark.parametrize("classes", [1, 10, 33])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_a_cross_entropy_is_few_calls(classes: int, dtype: str, manner: str) -> None:
    rng = np.random.default_rng(0)
    x, t = (rng.normal(size=(64, classes)) * 30).astype(dtype), rng.integers(0, classes, 64)

    def loss(x: Any) -> Any:
        return ops.sparse_categorical_crossentropy(t, x, from_logits=True).sum()

    powers = np.exp(x.astype("f8") - x.max(1, keepdims=True))
    shares = powers / powers.sum(1, keepdims=True)
    chosen = shares[np.arange(64), t]
    value, slope = edu.jit(edu.value_and_grad(loss))(x)
    tolerance = {"f2": 1e-2, "f4": 1e-5, "f8": 1e-12}[dtype]
    assert_allclose(value.numpy(), -np.log(chosen).sum(), rtol=tolerance)
    shares[np.arange(64), t] -= 1
    assert_allclose(slope.numpy(), shares, atol=tolerance)
    if manner == "straight" and dtype != "f2":
        text = lowered(edu.value_and_grad(loss), x)
        assert ("np.maximum.reduce(x.T.copy()" in text) == (classes < 33)
        assert re.findall(r"ops\.(\w+)\(", text) == ["highest"] * (classes > 32)
        assert text.count("places_of(") == 1  # for the loss and its slope


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_cross_entropy_of_one_row_is_a_number_that_more_is_made_of(dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=5).astype(dtype)

    def loss(x: Any) -> Any:
        one = ops.sparse_categorical_crossentropy(3, x, from_logits=True)
        return ops.clip(one, 0.0, 9.0) ** 2 + ops.broadcast_to(one, (2,)).sum()

    shares = np.exp(x.astype("f8")) / np.exp(x.astype("f8")).sum()
    one = -np.log(shares[3])
    value, slope = edu.jit(edu.value_and_grad(loss))(x)
    tolerance = {"f4": 1e-5, "f8": 1e-12}[dtype]
    assert_allclose(value.numpy(), one**2 + 2 * one, rtol=tolerance)
    assert_allclose(slope.numpy(), (shares - np.eye(5)[3]) * (2 * one + 2), rtol=tolerance)


def test_a_class_that_is_not_there_is_the_eager_error() -> None:
    def loss(t: Any, x: Any) -> Any:
        return ops.sparse_categorical_crossentropy(t, x, from_logits=True)

    arguments = edu.tensor([3, 10, 0]), edu.tensor(np.zeros((3, 10), "f4"))
    for function in (loss, edu.jit(loss)):
        with pytest.raises(errors.OutOfRangeError, match="sparse_crossentropy: class 10 is not"):
            function(*arguments)


def test_what_is_done_with_gives_its_memory_to_what_comes() -> None:
    def chain(x: Any) -> Any:
        for _ in range(20):
            x = edu.sin(x) * 2.0
        return x

    text = lowered(chain, np.ones((3, 4), "f4"))
    assert text.count("np.empty") == 1  # the result, which all of them are computed in


def test_what_is_read_for_the_last_time_is_written_over() -> None:
    def chain(x: Any) -> Any:
        y = edu.sin(x) * edu.cos(x)  # of two memories, one of which is free from now on
        return edu.exp(edu.exp(y)).sum(axis=0)

    text = lowered(chain, np.ones((30, 400), "f4"))
    places = [place for _, place in re.findall(r"(t[12345]) = (memory\d)", text)]
    assert places in (
        ["memory0", "memory1", *["memory1"] * 3],
        ["memory0", "memory1", *["memory0"] * 3],
    )


def test_memory_begins_where_a_line_of_the_cache_does() -> None:
    v = edu.Variable(np.ones((300, 200), "f4"))
    step = edu.jit(lambda x: (v.assign_add(x @ x.T[:, :200]), x * 2.0))
    held = v.value  # so that the program puts the state elsewhere
    for _ in range(2):
        _, doubled = step(np.ones((300, 300), "f4"))
        for array in (v._tensor._data, doubled._data):
            assert array.ctypes.data % 64 == 0
    assert_array_equal(doubled.numpy(), np.full((300, 300), 2.0))
    assert_array_equal(v.numpy(), np.full((300, 200), 601.0))
    assert_array_equal(held.numpy(), np.ones((300, 200)))


def test_a_sum_is_taken_where_its_terms_are_made() -> None:
    def step(x: Any, y: Any) -> Any:
        made = edu.sin(x) * 2.0
        return ops.conv(made, y), edu.sum(made, axis=(0, 1, 2))  # the convolution could fail

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 30, 30, 12)), rng.normal(size=(2, 2, 12, 1))
    lines = lowered(step, x, y).splitlines()
    number = {word: i for i, line in enumerate(lines) for word in line.split("(")[0].split()}
    convolved = next(i for i, line in enumerate(lines) if "ops.conv" in line)
    assert number["np.sin"] < number["t4_parts[i"] < convolved
    _, total = edu.jit(step)(x, y)
    assert_allclose(total.numpy(), (np.sin(x) * 2.0).sum((0, 1, 2)), atol=1e-9)


@pytest.mark.parametrize("axis", [(0, 1), (0, 1, 2), (0, 2), (0,), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min"])
def test_reductions_over_rows_and_more(
    manner: str, name: str, axis: tuple[int, ...], keepdims: bool
) -> None:
    x = np.random.default_rng(0).uniform(0.9, 1.1, (7, 3, 4, 2))
    f = edu.jit(lambda x: getattr(edu, name)(x * 2.0 - 1.0, axis=axis, keepdims=keepdims))
    wanted = getattr(np, name)(x * 2.0 - 1.0, axis=axis, keepdims=keepdims)
    assert_allclose(f(x).numpy(), wanted, rtol=1e-12)


def test_a_view_that_its_loop_does_not_need_comes_after_it() -> None:
    def function(x: Any) -> Any:
        y = edu.exp(edu.sin(x))
        return edu.reshape(y, (1 << 10, 1 << 11)) @ edu.ones((1 << 11, 2)), edu.cos(y)

    x = np.linspace(0.0, 1.0, 1 << 21).astype("f4").reshape(1 << 10, 1 << 5, 1 << 6)
    assert "copyto" not in lowered(function, x)
    alone = lowered(lambda x: edu.reshape(edu.exp(edu.sin(x)), (1 << 10, 1 << 11)), x)
    assert "memory" not in alone  # but a result has its own, and needs no other
    found, _ = edu.jit(function)(x)
    wanted = np.exp(np.sin(x)).reshape(1 << 10, 1 << 11).sum(1)
    assert_allclose(found.numpy(), np.stack([wanted, wanted], 1), rtol=1e-5)


def test_the_gradient_of_relu_is_gated_where_it_lies(manner: str) -> None:
    x = np.array([[1.0, -1.0, 0.0], [np.nan, 2.0, -0.0], [np.inf, -np.inf, 3.0]])
    g = np.array([[np.inf, np.inf, np.nan], [1.0, -0.0, np.inf], [2.0, 1.0, np.nan]])
    for dtype in ("float16", "float32", "float64"):
        slope = edu.jit(edu.grad(lambda x, g: edu.sum(edu.relu(x * 1.5) * (g * 2.0))))
        with np.errstate(all="ignore"):
            found = slope(x.astype(dtype), g.astype(dtype)).numpy()
        assert_array_equal(found, np.where(x > 0, g * 3.0, 0.0))


def test_numpy_has_its_settings_again_after_a_program(manner: str) -> None:
    f = edu.jit(lambda x: edu.log(x - 1.0) + edu.sqrt(x[:, :1] - 2.0))
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        before = np.geterr(), np.getbufsize()
        assert np.isnan(f(np.ones((64, 3))).numpy()).all()  # in threads, too
        assert (np.geterr(), np.getbufsize()) == before


def test_state_is_updated_where_it_lies(manner: str) -> None:
    v = edu.Variable(np.arange(12.0).reshape(6, 2))
    step = edu.jit(lambda x: v.assign_sub(x * 0.5))
    step(np.ones((6, 2)))
    memory = v._tensor._data
    for _ in range(3):
        step(np.ones((6, 2)))
        assert v._tensor._data is memory
    held = v.numpy()
    step(np.ones((6, 2)))
    assert_array_equal(held, np.arange(12.0).reshape(6, 2) - 2.0)
    assert_array_equal(v.numpy(), held - 0.5)


def test_an_update_that_reads_other_rows_reads_them_first(manner: str) -> None:
    start = np.arange(36.0).reshape(6, 6)
    v = edu.Variable(start)
    step = edu.jit(lambda x: v.assign(v * 0.5 + v.T + v[:1] + x))
    expected = start
    for _ in range(3):
        step(np.ones((6, 6)))
        expected = expected * 0.5 + expected.T + expected[:1] + 1.0
    assert_allclose(v.numpy(), expected)


def test_an_update_of_one_operation_reads_other_rows_first(manner: str) -> None:
    start = np.arange(36.0).reshape(6, 6)
    v = edu.Variable(start)
    step = edu.jit(lambda: v.assign(edu.square(v.T)))
    step()
    step()
    assert_array_equal(v.numpy(), start**4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * 2.0).sum(axis=0) * x,
        lambda x: x - x.mean(axis=0),
        lambda x: edu.exp(x - x.max(axis=0)).sum(axis=1) * x,
        lambda x: (x * x).sum() * x + x,
        lambda x: (x + 1.0).T * x,
        lambda x: (x + 1.0)[:, 0] * x,
        lambda x: (x * 2.0).sum(axis=1) + x,
        lambda x: edu.softmax(x * 2.0, axis=1).sum(axis=1, keepdims=True) * x,
        lambda x: edu.softmax(x * 2.0, axis=0) * x,
        lambda x: edu.reshape(x * 2.0, (36,)) * 3.0,
        lambda x: edu.broadcast_to((x * 2.0)[:1], (6, 6)) * x,
        lambda x: (lambda v: (x * v).sum(axis=1) + v * 2.0)(edu.cumulative_sum(x[0])),
        lambda x: (lambda v: edu.sin(v) + (x + v).sum(axis=1))(edu.cumulative_sum(x[0])),
    ],
)
def test_what_a_loop_makes_is_whole_when_it_is_needed_whole(
    manner: str, function: Callable[[Any], Any]
) -> None:
    x = np.linspace(-1.0, 2.0, 36).reshape(6, 6)
    assert_allclose(edu.jit(function)(x).numpy(), function(edu.tensor(x)).numpy(), atol=1e-12)


def test_a_view_within_a_loop_is_not_there_afterwards(manner: str) -> None:
    def function(x: Any) -> Any:
        shares = edu.sigmoid(edu.exp(x))
        views = edu.sin(edu.reshape(shares, (128, 8, 16)))
        return shares @ shares, views

    x = np.linspace(-1.0, 2.0, 128 * 128).reshape(128, 128)
    for found, wanted in zip(edu.jit(function)(x), function(edu.tensor(x)), strict=True):
        assert_allclose(found.numpy(), wanted.numpy(), atol=1e-12)


def test_state_is_read_before_it_is_written(manner: str) -> None:
    v = edu.Variable(np.arange(6.0))

    @edu.jit
    def step(x: Any) -> Any:
        y = edu.exp(x * 0.1) * v
        v.assign(v * 2.0)
        return y * 2.0 + v

    x = np.linspace(0.0, 1.0, 24).reshape(4, 6)
    for factor in (1.0, 2.0, 4.0):
        old = np.arange(6.0) * factor
        assert_allclose(step(x).numpy(), np.exp(x * 0.1) * old * 2.0 + 2.0 * old)


def test_an_error_comes_before_anything_is_written(manner: str) -> None:
    logits, v = np.ones((20, 3), "f4"), edu.Variable(np.zeros((20, 3), "f4"))
    calls = edu.Variable(0.0)

    @edu.jit
    def step(labels: Any) -> Any:
        calls.assign_add(1.0)
        loss = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        v.assign_add(logits * 0.5 + loss.reshape(-1, 1))
        return loss

    step(np.zeros(20, "i4"))
    before = v._tensor._data.copy()  # who asks for the value has it written elsewhere
    wrong = np.zeros(20, "i4")
    wrong[-1] = 7
    with pytest.raises(
        errors.OutOfRangeError, match=r"class 7 .*test_lowering_numpy.py:\d+: loss ="
    ):
        step(wrong)
    assert_array_equal(v._tensor._data, before)
    assert calls.item() == 1.0


@pytest.mark.parametrize("function", [ops.inv, ops.cholesky])
def test_an_error_of_a_program_is_the_eager_one(function: Callable[..., Any]) -> None:
    singular = np.zeros((3, 3))
    with pytest.raises(errors.LinAlgError) as eager:
        function(singular)
    with pytest.raises(errors.LinAlgError) as compiled:
        edu.jit(function)(singular)
    assert str(compiled.value).startswith(str(eager.value))
    assert "test_lowering_numpy.py" in str(compiled.value)


def test_an_index_out_of_range_is_an_error() -> None:
    take = edu.jit(lambda x, i: x[i] * 2.0)
    with pytest.raises(errors.OutOfRangeError, match="getitem"):
        take(np.ones(3), np.array([5]))


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 300)).astype("f4")
    f = edu.jit(lambda x: (edu.exp(x) * 0.3 - x).mean(axis=0))
    found = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("TINYGRAD_EDU_THREADS", threads)
        found.append(f(x).numpy())
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])
    assert_allclose(found[0], (np.exp(x) * 0.3 - x).mean(axis=0), rtol=1e-4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    program = """
import os, numpy as np, tinygrad_edu as edu
double = edu.jit(lambda x: edu.sin(x) * 2.0)
x = edu.zeros(1 << 21)
double(x)
child = os.fork()
if not child:
    os._exit(int(double(x).numpy().sum()))
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],  # 3.12 warns of threads and forks
        env=os.environ | {"TINYGRAD_EDU_THREADS": "2"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0


def test_a_number_of_threads_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_EDU_THREADS", "many")
    with pytest.raises(errors.ConfigError, match="TINYGRAD_EDU_THREADS is 'many'"):
        lowering.threads()


def test_each_thread_has_buffers_of_its_own() -> None:
    f = edu.jit(lambda x: ((x * 2.0 + 1.0).sum(axis=0) * x).sum())
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(50, 40)) for _ in range(4)]
    wanted = [((a * 2 + 1).sum(0) * a).sum() for a in arrays]
    f(arrays[0])
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(200):
            if not np.isclose(f(arrays[i]).item(), wanted[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize(
    "function",
    [
        lambda x: edu.sum(edu.exp(x).T.reshape(6) * edu.arange(6.0)),
        lambda x: edu.broadcast_to(edu.exp(x)[:1], (4, 3)).reshape(12) + 1.0,
        lambda x: edu.sum(edu.unstack(edu.exp(x))[1] * edu.cos(edu.sin(edu.exp(x)[0]))),
        lambda x: edu.concat(edu.split(edu.sin(x) * 2.0, 3, axis=1)[::-1], axis=1),
    ],
)
def test_a_view_is_of_what_is_there_when_it_is_read(function: Callable[[Any], Any]) -> None:
    f = edu.jit(function)
    for factor in (1.0, -0.5):
        x = np.linspace(-1.0, 2.0, 6).reshape(2, 3) * factor
        assert_allclose(f(x).numpy(), function(edu.tensor(x)).numpy(), atol=1e-12)


class Same(Unary):
    """x, and no copy of it."""

    gradients = (lambda g, out, x: g,)
    c = "{0}"

    def forward(self, xp: Any, x: Any) -> Any:
        return x


def test_a_kernel_may_give_what_it_was_given(manner: str) -> None:
    v = edu.Variable(np.ones((12, 2)))

    @edu.jit
    def step(x: Any) -> Any:
        y = Same()(edu.exp(x))
        z = edu.sin(x) * 2.0
        v.assign_add(edu.cos(z) * 3.0)
        return y + z, Same()(v)

    x = np.linspace(0.0, 1.0, 24).reshape(12, 2)
    for i in (1, 2):
        y, held = step(x)
        assert_allclose(y.numpy(), np.exp(x) + 2 * np.sin(x))
        assert_allclose(held.numpy(), 1 + 3 * i * np.cos(2 * np.sin(x)))
    assert_allclose(v.numpy(), held.numpy())


class Difference(edu.Op):
    """x less what is called out."""

    axes = ()
    no_gradient = "it is here for the name of its argument"

    def forward(self, xp: Any, x: Any, out: Any) -> Any:
        return xp.subtract(x, out)

    def infer(self, x: Any, out: Any) -> Any:
        return x

    def by_rows(self, params: Any) -> bool:
        return True


def test_an_operand_may_be_called_out(manner: str) -> None:
    f = edu.jit(lambda x: Difference()(edu.exp(x), edu.sin(x)) * 2.0)
    x = np.linspace(0.0, 1.0, 24).reshape(12, 2)
    assert_allclose(f(x).numpy(), 2 * (np.exp(x) - np.sin(x)))


class Relu(Unary):
    """Another one than the library's."""

    gradients = (lambda g, _, x: g,)
    c = "(2 * {0})"

    def forward(self, xp: Any, x: Any) -> Any:
        return x * 2


class Sum(edu.Op):
    """Another one than the library's."""

    no_gradient = "it is here for its name"

    def forward(self, xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
        return xp.max(x, axis=axis, keepdims=keepdims)

    def infer(self, x: Any, *, axis: Any, keepdims: bool) -> Any:
        return type(x)(x.shape[1:], x.dtype)


def test_an_operation_of_the_users_may_have_the_name_of_one_of_ours(manner: str) -> None:
    f = edu.jit(lambda x: (Relu()(edu.exp(x)), Sum()(edu.exp(x), axis=(0,), keepdims=False)))
    x = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
    doubled, highest = f(x)
    assert_allclose(doubled.numpy(), 2 * np.exp(x))
    assert_allclose(highest.numpy(), np.exp(x).max(0))


@pytest.mark.parametrize(
    "names",
    [
        ("i", "j"),
        ("start", "stop"),
        ("x", "x_"),
        ("x_", "x__"),
        ("t1", "t1_parts"),
        ("loop0", "scratch0"),
        ("loop1", "parallel"),
        ("memory0", "n0"),
        ("ops", "np"),
        ("apart", "min"),
        ("own_v", "v"),
        ("zero", "infinity"),
    ],
)
def test_arguments_and_state_may_have_any_names(manner: str, names: tuple[str, str]) -> None:
    a, b = names
    body = "(edu.exp(edu.relu(A) * 0.5) * B + A - B[0], edu.sum(edu.sin(A) - B, axis=0))"
    source = f"lambda {a}, {b}: {body.replace('A', a).replace('B', b)}"
    function = eval(source, {"edu": edu})
    x, y = np.linspace(-1.0, 2.0, 48).reshape(2, 12, 2)
    compiled = edu.jit(function)
    for found, wanted in zip(compiled(x, y), function(edu.tensor(x), edu.tensor(y)), strict=True):
        assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-12)
    v, w = edu.Variable(x, name=a), edu.Variable(y, name=b)
    edu.jit(lambda: (v.assign(v * 0.5 + w), w.assign(w * 2.0), None)[2])()
    assert_allclose(v.numpy(), x * 0.5 + y)
    assert_allclose(w.numpy(), y * 2)


def test_names_that_python_cannot_have_do_not_meet() -> None:
    v, w = edu.Variable([1.0], name="kernel/momentum"), edu.Variable([2.0], name="kernel_momentum")
    edu.jit(lambda: (v.assign(v + w), w.assign(w * 2.0), None)[2])()
    assert (v.tolist(), w.tolist()) == ([3.0], [4.0])


def test_a_number_among_floats_is_an_array_which_numpy_takes_in_half_the_time() -> None:
    text = lowered(lambda x: edu.sin(x * 0.1), np.ones(3, "f4"))
    assert "n0 = np.array(0.1, np.float32)" in text
    assert "np.multiply(x, n0, out=" in text


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (), (1,), (5, 1, 2)])
def test_odd_shapes(manner: str, shape: Sequence[int]) -> None:
    x = np.linspace(0.1, 1.0, int(np.prod(shape))).reshape(shape)
    f = edu.jit(lambda x: (edu.exp(x) * x - 1.0, (x * 2.0).sum(), edu.sqrt(x).T))
    a, b, c = f(x)
    assert_allclose(a.numpy(), np.exp(x) * x - 1)
    assert_allclose(b.numpy(), (x * 2).sum())
    assert_allclose(c.numpy(), np.sqrt(x).T)


@pytest.mark.parametrize("shapes", [((2, 3, 0), (0, 4)), ((2, 0, 3), (3, 4)), ((0, 2, 3), (3, 4))])
def test_products_of_stacks_that_have_nothing_to_add(shapes: Sequence[Sequence[int]]) -> None:
    x, y = [np.ones(shape) for shape in shapes]
    assert_array_equal(edu.jit(lambda x, y: x @ y)(x, y).numpy(), x @ y)


def test_halves_and_bytes_and_truths(manner: str) -> None:
    for dtype in ("float16", "int8", "uint8", "bool"):
        x = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
        f = edu.jit(lambda x: (x == x, edu.where(x > 0, x, x), x.sum(axis=1)))
        for found, wanted in zip(f(x), (x == x, x, x.sum(1)), strict=True):
            assert_array_equal(found.numpy(), wanted)


def test_relu_of_whatever_dtype(manner: str) -> None:
    for dtype in ("float16", "float32", "float64", "int32", "int8"):
        x = np.arange(-6, 6).reshape(6, 2).astype(dtype)
        found = edu.jit(lambda x: edu.relu(x + x))(x)
        assert found.dtype == x.dtype
        assert_array_equal(found.numpy(), np.maximum(x + x, 0))


def test_no_warning_of_numpys_comes_out_of_a_program(recwarn: pytest.WarningsRecorder) -> None:
    f = edu.jit(lambda x: edu.log(x) / x)
    assert not np.isfinite(f(np.zeros(3)).numpy()).any()
    assert [str(w.message) for w in recwarn] == []


def test_every_stage_can_be_read() -> None:
    step = edu.jit(lambda x: edu.exp(x) * 1.0)
    program = step.lower(np.ones(3))
    assert "t1 * 1.0" in program.as_text("graph")
    assert "* 1.0" not in program.as_text("optimized")
    assert "np.exp(x, out=" in program.as_text("python")
    with pytest.raises(errors.ArgumentError, match="no stage 'cuda'; use one of 'graph'"):
        program.as_text("cuda")


@pytest.mark.parametrize("device", ["xla", "cupy"])
def test_a_device_that_has_no_lowering_yet_shows_the_graph(device: str) -> None:
    program = edu.jit(lambda x: edu.exp(x) * 2.0).lower(np.ones(3), device=device)
    assert "exp(x)" in program.as_text("graph")


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(errors.DeviceError, match="there is no device 'tpu9'"):
        edu.jit(edu.exp).lower(np.ones(3), device="tpu9")
