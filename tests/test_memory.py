"""Memory, recursion and visits: nothing is kept that is not needed, nothing is done twice."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops

X = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
T = (X[:, :1] > 0).astype("float32")


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def blocks() -> int:
    """How many blocks of memory Python holds, when there was nothing to collect."""
    assert gc.collect() == 0  # this also empties its lists of tuples and floats to use again
    return sys.getallocatedblocks()


def with_tape() -> Callable[[], object]:
    W, b = edu.Variable(np.ones((2, 1), "float32")), edu.Variable([0.0])

    def step() -> None:
        with edu.GradientTape() as tape:
            loss = ops.mean_squared_error(T, X @ W + b)
        of_W, of_b = tape.gradient(loss, (W, b))
        W.assign_sub(of_W * 0.1)
        b.assign_sub(of_b * 0.1)

    return step


def with_backward() -> Callable[[], object]:
    W = edu.Variable(np.ones((2, 1), "float32"), requires_grad=True)

    def step() -> None:
        ops.mean_squared_error(T, X @ W).backward()
        assert W.grad is not None
        W.assign_sub(W.grad * 0.1)
        W.grad = None

    return step


def with_grad() -> Callable[[], object]:
    state = {"W": edu.ones((2, 1))}

    def step() -> None:
        gradient = edu.grad(lambda p: ops.mean_squared_error(T, X @ p["W"]))(state)
        state["W"] = state["W"] - gradient["W"] * 0.1

    return step


def with_everything_else() -> Callable[[], object]:
    x, v = edu.tensor([1.0, 2.0]), edu.Variable([1.0, 2.0])

    @edu.custom_gradient
    def scaled(x: edu.Tensor) -> Any:
        return x * 2.0, lambda g: g * 2.0

    def step() -> None:
        with edu.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with edu.GradientTape() as inner:
                y = (scaled(x) * v[::-1] ** 3).sum() + ops.logsumexp(ops.concat([x, v]))
            slope = inner.gradient(y, v)
            z = slope.at[0].set(0.0)
        outer.gradient(z, (x, v))
        with pytest.raises(edu.Error):
            v + edu.ones(7)
        abandoned = edu.tensor(1.0, requires_grad=True) * 2.0
        repr(outer), abandoned.requires_grad

    return step


STEPS = [with_tape, with_backward, with_grad, with_everything_else]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("style", STEPS)
def test_memory_stays_flat_without_the_garbage_collector(style: Callable[[], Any]) -> None:
    step = style()
    count = {with_tape: 10_000, with_everything_else: 1_000}.get(style, 3_000)
    for _ in range(1_000):  # until every cache, ours and Python's, has what it will hold
        step()
    before = blocks()
    for _ in range(count):
        step()
    assert blocks() - before < count / 2  # one Tensor kept from each step would be more


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("style", STEPS)
def test_steps_leave_no_reference_cycles(style: Callable[[], Any]) -> None:
    step = style()
    step()
    gc.collect()
    for _ in range(10):
        step()
    assert gc.collect() == 0


@pytest.mark.usefixtures("no_collector")
def test_watching_in_a_loop_does_not_grow() -> None:
    x, y = edu.tensor([1.0, 2.0]), edu.tensor([1.0], requires_grad=True) * 2.0

    def step() -> None:
        with edu.GradientTape() as tape:
            tape.watch((x, y))
            z = (x * y).sum()
        tape.gradient(z, x)

    for _ in range(10):
        step()
    before = blocks()
    for _ in range(1_000):
        step()
    assert blocks() - before < 100


@pytest.mark.usefixtures("no_collector")
def test_what_nobody_holds_is_freed_at_once() -> None:
    x = edu.tensor(np.ones(3), requires_grad=True)
    inner = x * 2.0
    loss = (inner * inner).sum()
    freed = weakref.ref(inner._data)
    del inner
    assert freed() is not None  # the loss holds its graph,
    loss.backward()
    assert freed() is None  # until backward,

    inner = x * 2.0
    loss = (inner * inner).sum()
    freed = weakref.ref(inner._data)
    del inner, loss
    assert freed() is None  # or until it goes out of scope.


@pytest.mark.usefixtures("no_collector")
def test_a_tape_that_goes_frees_what_it_recorded() -> None:
    v = edu.Variable(np.ones(3))
    with edu.GradientTape(persistent=True) as tape:
        inner = v * 2.0
        y = (inner * inner).sum()
    freed = weakref.ref(inner._data)
    del inner
    assert freed() is not None
    del tape
    assert freed() is None
    assert y.item() == 12


@pytest.mark.usefixtures("no_collector")
def test_a_record_does_not_hold_the_users_frame() -> None:
    class Local:
        pass

    def compute(x: edu.Tensor) -> tuple[edu.Tensor, Any]:
        local = Local()
        return x * 2.0, weakref.ref(local)

    y, local = compute(edu.tensor(1.0, requires_grad=True))
    assert y.requires_grad
    assert local() is None


LONG = 1_000_000


@pytest.mark.slow
@pytest.mark.usefixtures("no_collector")
def test_a_chain_of_a_million_operations_goes_backward_and_is_freed() -> None:
    before = blocks()
    x = edu.tensor(1.0, "float64", requires_grad=True)
    y = x
    for _ in range(LONG):
        y = y + 1.0
    assert sys.getallocatedblocks() - before > LONG
    y.backward()
    assert x.grad is not None
    assert (y.item(), x.grad.item()) == (LONG + 1, 1)
    assert blocks() - before < 1000


@pytest.mark.slow
@pytest.mark.usefixtures("no_collector")
def test_a_chain_of_a_million_operations_on_a_tape_is_walked_and_freed() -> None:
    before = blocks()
    v = edu.Variable(1.0)
    with edu.GradientTape() as tape:
        y = v
        for _ in range(LONG):
            y = y + 1.0
    assert tape.gradient(y, v).item() == 1
    assert blocks() - before < 1000


@pytest.mark.usefixtures("no_collector")
def test_long_chains_that_nobody_walks_are_freed_without_recursion() -> None:
    x = edu.tensor(1.0, requires_grad=True)
    before = blocks()
    tape = edu.GradientTape(persistent=True)
    with tape:
        y = x
        for _ in range(LONG // 5):
            y = y + 1.0
    del tape
    del y
    assert blocks() - before < 1000


def test_forty_doublings_cost_forty_visits() -> None:
    visits = []

    class Sum(edu.Elementwise):
        """x + y, counting."""

        arity = 2
        ufunc = "add"

        def vjp(self, needed: Any, cotangent: Any, out: Any, inputs: Any, params: Any) -> Any:
            visits.append(needed)
            return cotangent, cotangent

    add = Sum()

    def doubled(x: edu.Tensor) -> edu.Tensor:
        for _ in range(40):
            x = add(x, x)
        return x

    assert edu.grad(doubled)(np.array(1.0)).item() == 2.0**40
    assert len(visits) == 40

    visits.clear()
    x = edu.tensor(1.0, "float64", requires_grad=True)
    doubled(x).backward()
    assert x.grad is not None
    assert (x.grad.item(), len(visits)) == (2.0**40, 40)


def test_what_leads_to_no_source_is_not_visited() -> None:
    visits = []

    class Same(edu.Elementwise):
        """x, counting."""

        arity = 1
        ufunc = "positive"
        gradients = (lambda g, out, x: visits.append(1) or g,)

    same, v, w = Same(), edu.Variable(1.0), edu.Variable(2.0)
    with edu.GradientTape() as tape:
        y = same(v) * same(same(w))
        same(y)
    tape.gradient(y, v)
    assert len(visits) == 1


OPTIONAL = ["jax", "jaxlib", "ml_dtypes", "cupy", "matplotlib", "sklearn", "scipy", "pandas",
            "click", "rich", "torch", "tensorflow", "keras", "lowering"]  # fmt: skip


def test_importing_needs_numpy_and_nothing_else() -> None:
    code = f"""
import sys
import tinygrad_edu as edu
x = edu.tensor([1.0, 2.0], requires_grad=True)
(x * x).sum().backward()
print(*[name for name in {OPTIONAL} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
