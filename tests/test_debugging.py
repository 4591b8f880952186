"""Looking at a program while it runs: prints, values that are not finite, what takes time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import backends, errors
from tinygrad_edu.op import Op

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of log(0)


# debug_print


def test_it_prints_at_once(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    x = edu.tensor([1.0, 2.5])
    assert edu.debug_print("x is {0}, {1} {0} {n:.3f} {text}", x, 3, n=x[1], text="here") is None
    assert capsys.readouterr().out == "x is [1.  2.5], 3 [1.  2.5] 2.500 here\n"
    edu.debug_print("{} {:d} {{}}", np.arange(2), edu.tensor(7, "int32"))
    edu.debug_print("nothing")
    assert capsys.readouterr().out == "[0 1] 7 {}\nnothing\n"


def test_it_prints_at_each_call_of_a_jitted_function(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = edu.Variable(2.0)

    @edu.jit
    def f(x: Any, n: int) -> Any:
        edu.debug_print("begin")
        edu.debug_print("x = {}, n = {}", x, n)
        y = x * scale
        edu.debug_print("y = {y}, of {x[0]:.1f} and {scale}", x=x, y=y, scale=scale)
        scale.assign_add(1.0)
        return y

    for number in (1.0, 3.0):
        f(edu.tensor([number]), 5)
    assert capsys.readouterr().out.splitlines() == [
        "begin", "x = [1.], n = 5", "y = [2.], of 1.0 and 2.0",
        "begin", "x = [3.], n = 5", "y = [9.], of 3.0 and 3.0",
    ]  # fmt: skip
    assert f.cache_info().misses == 1


def test_tracing_and_lowering_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    @edu.jit
    def f(x: Any) -> Any:
        edu.debug_print("x = {}, c = {}", x, edu.ones(2))
        edu.debug_print("{}", edu.ones(2))
        edu.debug_print("no value")
        return x

    graph = f.trace(edu.ones(2))
    f.lower(edu.ones(2))
    assert capsys.readouterr().out == ""
    assert "debug_print" in str(graph)
    graph.run(edu.zeros(2))
    assert capsys.readouterr().out == "x = [0. 0.], c = [1. 1.]\n[1. 1.]\nno value\n"


def test_every_lowering_keeps_prints_and_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> None:
        for i in range(5):
            edu.debug_print("{}", i)
            edu.debug_print("{}", x)
            edu.debug_print("{}", x)

    for name in ("numpy", "xla"):
        edu.jit(f)(edu.ones(1, device=name))
        wanted = [line for i in range(5) for line in (str(i), "[1.]", "[1.]")]
        assert capsys.readouterr().out.splitlines() == wanted


def test_it_prints_in_loops_and_branches(capsys: pytest.CaptureFixture[str]) -> None:
    @edu.jit
    def f(x: Any) -> Any:
        def turn(i: Any, value: Any) -> Any:
            edu.debug_print("{}: {}", i, value)
            return value * 2.0

        y = edu.fori_loop(0, 3, turn, x)

        def big(y: Any) -> Any:
            edu.debug_print("big: {}", y)
            return y

        return edu.cond(y > 5.0, big, lambda y: y, y)

    f(edu.tensor(1.0))
    f(edu.tensor(0.5))
    assert capsys.readouterr().out.splitlines() == [
        "0: 1.0", "1: 2.0", "2: 4.0", "big: 8.0", "0: 0.5", "1: 1.0", "2: 2.0",
    ]  # fmt: skip


def test_a_loop_that_nothing_but_prints_stays(capsys: pytest.CaptureFixture[str]) -> None:
    def turn(i: Any, value: Any) -> Any:
        edu.debug_print("{}", i)
        return value

    @edu.jit
    def f(x: Any) -> Any:
        edu.fori_loop(0, 2, turn, x)
        return x * 2.0

    f(edu.ones(2))
    assert capsys.readouterr().out == "0\n1\n"


@pytest.mark.parametrize("wrap", [lambda f: f, edu.jit])
def test_under_vmap_it_prints_for_each_example(
    wrap: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def f(x: Any, y: Any) -> Any:
        edu.debug_print("{} of {}, {}", x, y, "all")
        return x * y

    mapped = wrap(edu.vmap(f, in_axes=(0, None)))
    mapped(edu.tensor([1.0, 2.0, 3.0]), edu.tensor(4.0))
    assert capsys.readouterr().out.splitlines() == [f"{x}.0 of 4.0, all" for x in (1, 2, 3)]
    mapped(edu.zeros(0), edu.tensor(4.0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wrap", [lambda f: f, edu.jit])
@pytest.mark.parametrize("outer", [lambda f: f, edu.jit])
def test_gradients_do_not_see_it(
    wrap: Callable[..., Any], outer: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    @wrap
    def f(x: Any) -> Any:
        y = x * x
        edu.debug_print("y = {}", y)
        return y

    for _ in range(2):
        assert outer(edu.grad(f))(3.0).item() == 6
        assert capsys.readouterr().out == "y = 9.0\n"
    assert edu.grad(edu.grad(f))(3.0).item() == 2


def test_texts_that_do_not_fit_are_an_error_where_they_stand() -> None:
    x = edu.ones(2)
    for call in (
        lambda x: edu.debug_print("{} {}", x),
        lambda x: edu.debug_print("{name}", x),
        lambda x: edu.debug_print("{:.2f}", x),
        lambda x: edu.debug_print("{", x),
        lambda x: edu.debug_print("{0.nothing}", x),
    ):
        for f in (call, edu.jit(call)):
            with pytest.raises(errors.ArgumentError, match="debug_print"):
                f(x)


def test_an_operation_has_no_effect_unless_it_says_so() -> None:
    assert Op.effect is False
    graph = edu.jit(lambda x: edu.debug_print("{}", x)).trace(edu.ones(1))
    assert [made.op.effect for made in graph.equations] == [True]


# check_finite


@pytest.fixture
def check_finite(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(edu.config, "check_finite", True)
    yield
    monkeypatch.undo()
    assert not edu.config.check_finite


def test_it_is_off_at_first_and_leaves_no_trace_when_off() -> None:
    plain = backends.numpy.kernels
    assert edu.config.check_finite is False
    edu.config.check_finite = True
    try:
        assert edu.config.check_finite is True
        edu.config.check_finite = True
        assert backends.numpy.kernels is not plain
    finally:
        edu.config.check_finite = False
    assert edu.config.check_finite is False
    assert backends.numpy.kernels is plain
    assert edu.log(edu.zeros(2)).tolist() == [-np.inf, -np.inf]


def log_of(x: Any) -> Any:
    y = x - 1.0
    z = edu.log(y)  # the line
    return (z * 0.0).sum()


@pytest.mark.usefixtures("check_finite")
@pytest.mark.parametrize("wrap", [lambda f: f, edu.jit])
def test_it_names_the_first_operation_and_its_line(wrap: Callable[..., Any], device: str) -> None:
    f = wrap(log_of)
    assert f(edu.tensor([2.0, 3.0])).item() == 0
    with pytest.raises(errors.NonFiniteError) as caught:
        f(edu.tensor([2.0, 1.0, 3.0]))
    text = str(caught.value)
    for words in ("log: 1 of the 3 elements", "-inf", "float32(3)", "forward pass of",
                  "z = edu.log(y)  # the line"):  # fmt: skip
        assert words in text
    assert isinstance(caught.value, FloatingPointError)
    assert isinstance(caught.value, edu.Error)


@pytest.mark.usefixtures("check_finite")
@pytest.mark.parametrize(
    "wrap",
    [edu.grad, lambda f: edu.jit(edu.grad(f)), lambda f: edu.grad(edu.jit(f))],
)
def test_a_backward_step_is_named_by_the_line_whose_gradient_it_is(
    wrap: Callable[..., Any], device: str
) -> None:
    def f(x: Any) -> Any:
        root = edu.sqrt(x)  # its slope at 0 is infinite
        return (root * 2.0).sum()

    assert wrap(f)(edu.tensor([1.0, 4.0])).tolist() == [1, 0.5]
    with pytest.raises(errors.NonFiniteError) as caught:
        wrap(f)(edu.tensor([1.0, 0.0]))
    assert "backward pass of" in str(caught.value)
    assert "root = edu.sqrt(x)  # its slope at 0 is infinite" in str(caught.value)


@pytest.mark.usefixtures("check_finite")
def test_what_is_not_finite_already_is_let_through() -> None:
    for wrap in (lambda f: f, edu.jit):
        x = edu.tensor([1.0, np.inf, np.nan])
        assert not np.isfinite(wrap(lambda x: x * 2.0)(x).numpy()[1:]).any()
        masked = wrap(lambda x: edu.where(x > 0, x, -np.inf))(edu.tensor([1.0, -1.0]))
        assert masked.tolist() == [1, -np.inf]
        assert wrap(lambda x: edu.softmax(x))(masked).tolist() == [1, 0]


@pytest.mark.usefixtures("check_finite")
def test_every_kind_of_float_is_looked_at_and_integers_are_not() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        with pytest.raises(errors.NonFiniteError, match="divide"):
            edu.ones(2, dtype=dtype) / edu.zeros(2, dtype=dtype)
    with pytest.raises(errors.NonFiniteError, match=r"exp.*inf"):
        edu.exp(1e4)
    assert (edu.ones(2, dtype="int32") // edu.ones(2, dtype="int32")).tolist() == [1, 1]


@pytest.mark.usefixtures("check_finite")
def test_it_looks_into_loops_vmap_and_assignments() -> None:
    with pytest.raises(errors.NonFiniteError, match=r"divide.*1 / x  # in the loop"):
        edu.jit(
            lambda x: edu.scan(
                lambda c, x: (c + 1.0 / x, c),  # 1 / x  # in the loop
                edu.tensor(0.0),
                x,
            )
        )(edu.tensor([1.0, 0.0]))
    with pytest.raises(errors.NonFiniteError, match="log"):
        edu.vmap(edu.log)(edu.tensor([1.0, 0.0]))
    v = edu.Variable([3e38])
    with pytest.raises(errors.NonFiniteError, match=r"add.*v\.assign_add\(v\)"):
        v.assign_add(v)
    assert v.item() == pytest.approx(3e38)


@pytest.mark.usefixtures("check_finite")
def test_an_error_leaves_the_state_of_a_program_as_it_was() -> None:
    v = edu.Variable([1.0])

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(1.0)
        edu.random.uniform()
        return edu.log(x)

    key = edu.random.state()
    with pytest.raises(errors.NonFiniteError):
        step(edu.zeros(1))
    assert v.item() == 1
    assert edu.random.state() == key
    step(edu.ones(1))
    assert v.item() == 2


def test_programs_made_before_and_after_are_kept_apart() -> None:
    jitted = edu.jit(log_of)
    x = edu.tensor([1.0, 2.0])
    assert np.isnan(jitted(x).item())
    edu.config.check_finite = True
    try:
        with pytest.raises(errors.NonFiniteError):
            jitted(x)
    finally:
        edu.config.check_finite = False
    assert np.isnan(jitted(x).item())


def test_a_graph_that_ran_before_is_looked_at_too() -> None:
    graph = edu.jit(edu.log).trace(edu.ones(2))
    zeros = [np.zeros(2, "float32")]
    for _ in range(2):
        assert graph.compute(backends.numpy, zeros)[0].tolist() == [-np.inf] * 2
        edu.config.check_finite = True
        try:
            with pytest.raises(errors.NonFiniteError, match="log"):
                graph.compute(backends.numpy, zeros)
        finally:
            edu.config.check_finite = False


# profile


def step(X: Any, W: Any) -> Any:
    with edu.GradientTape() as tape:
        y = edu.tanh(X @ W)  # forward
        loss = (y * y).mean()
    W.assign_sub(tape.gradient(loss, W))
    return loss


@pytest.mark.parametrize("wrap", [lambda f: f, edu.jit])
def test_calls_and_bytes_by_operation_and_by_line(wrap: Callable[..., Any], device: str) -> None:
    X, W = edu.ones((30, 20)), edu.Variable(np.ones((20, 10), "float32"))
    run = wrap(step)
    run(X, W)
    with edu.profile() as found:
        for _ in range(3):
            run(X, W)
    rows = {each.name: each for each in found.operations}
    assert (rows["matmul"].calls, rows["matmul"].nbytes) == (3, 3 * 30 * 10 * 4)
    assert (rows["matmul (backward)"].calls, rows["matmul (backward)"].nbytes) == (3, 3 * 800)
    assert rows["subtract"].nbytes == 3 * 800
    line = next(each for each in found.lines if each.name.endswith("# forward"))
    assert (line.calls, line.nbytes) == (6, 2 * 3 * 1200)
    assert any(each.name.endswith("# forward (backward)") for each in found.lines)
    total = sum(each.seconds for each in found.operations)
    assert 0 < total < found.seconds
    assert total == pytest.approx(sum(each.seconds for each in found.lines))


def test_what_takes_longest_comes_first_and_views_take_no_memory() -> None:
    x = edu.ones((500, 500))
    with edu.profile() as found:
        for _ in range(3):
            edu.exp(x[:2])
            (x @ x).T.reshape(-1)
    seconds = [each.seconds for each in found.operations]
    assert seconds == sorted(seconds, reverse=True)
    rows = {each.name: each.nbytes for each in found.operations}
    assert rows["permute_dims"] == rows["getitem"] == 0
    assert rows["exp"] == 3 * 2 * 500 * 4


def test_time_inside_of_a_loop_counts_once() -> None:
    jitted = edu.jit(lambda x: edu.fori_loop(0, 20, lambda i, y: y @ x * 0.01, x))
    x = edu.ones((200, 200))
    with edu.profile() as found:
        jitted(x)
    rows = {each.name: each for each in found.operations}
    assert rows["matmul"].calls == 20
    assert sum(each.seconds for each in found.operations) < found.seconds


def test_it_prints_as_a_table() -> None:
    with edu.profile() as found:
        edu.ones(1000) + 1.0
    lines = str(found).splitlines()
    assert "in operations, of" in lines[0]
    assert lines[2].split() == ["operation", "calls", "time", "share", "bytes"]
    assert lines[3].split()[:2] == ["add", "1"]
    assert lines[3].endswith("4,000")
    assert len(lines[2]) == len(lines[3])
    assert "edu.ones(1000) + 1.0" in lines[6]


def test_nothing_is_measured_afterwards_nor_after_an_error() -> None:
    plain = backends.numpy.kernels

    def fail() -> None:
        edu.ones(2) + 1.0
        raise KeyError

    with pytest.raises(KeyError), edu.profile() as found:
        fail()
    before, seconds = found.operations, found.seconds
    edu.ones(2) + 1.0
    assert found.operations == before
    assert found.seconds == seconds
    assert backends.numpy.kernels is plain


def test_profiles_nest_and_stand_beside_check_finite() -> None:
    edu.config.check_finite = True
    try:
        with edu.profile() as outer:
            edu.ones(2) + 1.0
            with edu.profile() as inner:
                edu.ones(2) * 2.0
            with pytest.raises(errors.NonFiniteError):
                edu.log(edu.zeros(2))
        assert [each.name for each in inner.operations] == ["multiply"]
        assert {"add", "multiply"} <= {each.name for each in outer.operations}
        assert edu.config.check_finite
    finally:
        edu.config.check_finite = False


def test_threads_are_measured_together() -> None:
    def work() -> None:
        for _ in range(50):
            edu.ones(10) + 1.0

    with edu.profile() as found:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {each.name: each.calls for each in found.operations} == {"add": 200}


# What a traced value looks like


def test_a_traced_value_shows_dtype_and_shape_and_no_values() -> None:
    shown = []

    @edu.jit
    def f(x: Any) -> Any:
        shown.extend([repr(x), repr(edu.exp(x)[0]), repr(v), str(x)])
        return x

    v = edu.Variable([1, 2], name="count")
    f(edu.ones(3))
    assert shown[0] == shown[3] == "Tensor(shape=(3,), dtype=float32, traced)"
    assert shown[1] == "Tensor(shape=(), dtype=float32, traced)"
    assert shown[2].startswith("Variable(shape=(2,), dtype=int32, traced")
