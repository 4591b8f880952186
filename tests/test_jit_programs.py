"""jit: the programs that are kept, and threads that call them."""

from __future__ import annotations

import gc
import re
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu

from .compiled import same

# The cache


def test_cache_info_counts() -> None:
    jitted = edu.jit(lambda x: x + 1.0)
    assert jitted.cache_info() == (0, 0, 0, 64)
    for shape in [(1,), (1,), (2,), (1,)]:
        jitted(edu.ones(shape))
    info = jitted.cache_info()
    assert (info.hits, info.misses, info.size, info.max_size) == (2, 2, 2, 64)


@pytest.mark.filterwarnings("ignore:.*traced 8 times")
def test_the_cache_is_bounded() -> None:
    jitted = edu.jit(lambda x, n: x * n, static_argnums=1)
    x = edu.ones(1)
    for n in range(100):
        assert jitted(x, n).item() == n
    assert jitted.cache_info() == (0, 100, 64, 64)
    jitted(x, 99)
    jitted(x, 36)
    assert jitted.cache_info().hits == 2
    jitted(x, 0)
    assert jitted.cache_info().misses == 101


def test_nothing_of_the_users_is_kept_alive() -> None:
    class Model:
        def __init__(self) -> None:
            self.v = edu.Variable([1.0, 2.0], requires_grad=True)

    @edu.jit
    def step(model: Any, x: Any) -> Any:
        with edu.GradientTape() as tape:
            loss = (model.v * x).sum()
        model.v.assign_sub(tape.gradient(loss, model.v))
        (model.v * x).sum().backward()
        return {"loss": loss, "v": model.v}

    edu.tree.register(Model, lambda model: ([model.v], None), lambda _, children: _built(children))

    def _built(children: Any) -> Any:
        made = object.__new__(Model)
        made.v = children[0]
        return made

    model, x = Model(), edu.ones(2)
    refs = [weakref.ref(model), weakref.ref(model.v), weakref.ref(x)]
    result = step(model, x)
    refs += [weakref.ref(result["loss"])]
    result = step(model, x)
    with edu.GradientTape() as tape:
        tape.watch(x)
        loss = step(model, x)["loss"]
    tape.gradient(loss, x)
    del model, x, result, tape, loss
    gc.collect()
    assert [ref() for ref in refs] == [None] * len(refs)


def test_what_is_itself_and_no_value_is_not_kept_alive_as_a_static_argument() -> None:
    class Model:
        def __init__(self) -> None:
            self.v = edu.Variable([1.0, 2.0])

        @edu.jit
        def loss(self, x: Any, f: Any, *, last: Any) -> Any:
            return last(f(self.v * x)).sum()

    def slopes() -> tuple[list[Any], list[list[float]]]:
        model, f, last, x = Model(), lambda x: x**2, lambda x: x * 3.0, edu.ones(2)
        refs = [weakref.ref(each) for each in (model, model.v, f, last)]
        model.loss(x, f, last=last)
        with edu.GradientTape() as outer:
            outer.watch(x)
            with edu.GradientTape() as inner:
                inner.watch(x)
                loss = model.loss(x, f, last=last)
            v = model.v
            del model, f, last  # the tapes need them still
            gc.collect()
            first = inner.gradient(loss, v)
            del inner, loss
            gc.collect()
        return refs, [first.tolist(), outer.gradient(first, x).tolist()]

    refs, found = slopes()
    assert found == [[6, 12], [12, 24]]
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4


@pytest.mark.parametrize("threshold", [0, 1])  # the collector never comes; or as often as it can
def test_state_that_the_function_makes_for_itself_lasts_for_the_call(threshold: int) -> None:
    def step(x: edu.Tensor) -> edu.Tensor:
        v = edu.Variable([1.0, 2.0])
        v.assign_add(x)
        return v * 2.0

    jitted = edu.jit(step)
    often = gc.get_threshold()
    gc.set_threshold(threshold)
    try:
        for _ in range(3):
            assert jitted(edu.tensor([10.0, 20.0])).tolist() == [22.0, 44.0]
    finally:
        gc.set_threshold(*often)


def test_a_program_whose_variable_is_gone_is_replaced() -> None:
    holder = {"v": edu.Variable(1.0)}
    jitted = edu.jit(lambda x: x * holder["v"])
    x = edu.tensor(2.0)
    assert jitted(x).item() == 2
    holder["v"] = edu.Variable(5.0)
    gc.collect()
    assert jitted(x).item() == 10
    assert jitted.cache_info().size == 1


def test_a_jitted_function_and_its_programs_can_be_freed() -> None:
    v = edu.Variable([1.0])

    def made() -> Any:
        jitted = edu.jit(lambda x: x * v)
        with edu.GradientTape() as tape:
            y = jitted(edu.ones(1))
        tape.gradient(y, v)
        return weakref.ref(jitted)

    ref = made()
    gc.collect()
    assert ref() is None


def test_a_loop_of_calls_runs_in_flat_memory() -> None:
    import tracemalloc

    v = edu.Variable(np.zeros(10_000, "float32"))

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(x)
        return (v * x).sum()

    x = edu.ones(10_000)
    step(x)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        for _ in range(5):
            step(x)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            step(x)
        assert tracemalloc.get_traced_memory()[0] - first < 20_000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_tracing_over_and_over_warns_once_and_names_the_argument() -> None:
    jitted = edu.jit(lambda table, scale: table * scale)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 30):
            jitted(edu.ones(n), 2.0)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "'table'" in text
    assert "float32(7), then float32(8)" in text
    assert "scale" not in text
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (lambda i: ((edu.ones(2), i), {}), "static argument"),
        (lambda i: (([edu.ones(2)] * (i + 1), 0), {}), "structure"),
        (lambda i: ((edu.ones(2), 0), {"name": f"x{i}"}), "'name'.*x6.*x7"),
        (lambda i: ((edu.Variable(1.0), 0), {}), "another Variable, then another Variable"),
        (lambda i: ((edu.ones(2), 0), {"name": lambda: i}), "'name' .another function, then"),
        (lambda i: (([edu.ones(1), 1.0][i % 2], i), {}), r"then float32\(\) of a number\)"),
    ],
)
def test_the_warning_says_what_differs(calls: Callable[[int], Any], words: str) -> None:
    jitted = edu.jit(lambda x, n, name="": edu.tree.leaves(x)[0] * 2.0, static_argnums=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(9):
            args, kwargs = calls(i)
            jitted(*args, **kwargs)
    assert len(caught) == 1
    assert re.search(words, str(caught[0].message))


def test_no_warning_where_programs_are_found_in_between() -> None:
    jitted = edu.jit(lambda x: x * 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(1, 30):
            jitted(edu.ones(n))
            jitted(edu.ones(n))


# Threads


def together(count: int, work: Callable[[int], None]) -> None:
    """Run `work(0)`, `work(1)`, ... at once; raises what any of them raises."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def run(i: int) -> None:
        try:
            start.wait()
            work(i)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_threads_may_call_one_function_at_once() -> None:
    def f(x: Any) -> Any:
        y = edu.exp(x * 0.5) + x
        return (y @ y).sum(), y * 2.0 - 1.0

    jitted = edu.jit(f)
    inputs = [edu.ones((40, 40)) * (0.01 * i) for i in range(4)]
    wanted = [f(x) for x in inputs]

    def work(i: int) -> None:
        for _ in range(100):
            same(jitted(inputs[i]), wanted[i])

    together(4, work)
    assert jitted.cache_info().misses == 1


def test_threads_that_share_state_take_turns() -> None:
    total = edu.Variable(np.zeros(1000, "float32"))
    count = edu.Variable(0, dtype="int32")

    @edu.jit
    def add(x: Any) -> Any:
        total.assign_add(x)
        count.assign_add(1)
        return total.value

    x = edu.ones(1000)

    def work(i: int) -> None:
        for _ in range(100):
            found = add(x).numpy()
            assert (found == found[0]).all()

    together(4, work)
    assert count.item() == 400
    assert (total.numpy() == 400).all()


def test_functions_that_share_variables_take_turns() -> None:
    v, w, x = [edu.Variable(np.zeros(1_000_000, "float32")) for _ in range(3)]
    functions = [
        edu.jit(lambda: [v.assign_add(1.0), x.assign_add(1.0)]),
        edu.jit(lambda: [w.assign_add(2.0)]),
        edu.jit(lambda: [w.assign_add(1.0), v.assign_add(1.0)]),
        edu.jit(lambda: [v.assign_add(1.0), w.assign_add(1.0), x.assign_add(1.0)]),
    ]

    def work(i: int) -> None:
        for _ in range(100):
            functions[i]()

    together(4, work)
    for variable, wanted in [(v, 300), (w, 400), (x, 200)]:
        assert variable.numpy().min() == variable.numpy().max() == wanted


def test_threads_draw_different_numbers() -> None:
    jitted = edu.jit(lambda: edu.random.uniform(shape=(4,)))
    drawn: list[Any] = []
    together(4, lambda i: drawn.extend(jitted().tolist() for _ in range(20)))
    assert len({tuple(x) for x in drawn}) == 80


def test_a_trace_in_one_thread_leaves_others_alone() -> None:
    v = edu.Variable([1.0])
    tracing, done = threading.Event(), threading.Event()

    @edu.jit
    def slow(x: Any) -> Any:
        tracing.set()
        done.wait(10)
        v.assign_add(x)
        return v * 1.0

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(slow(edu.ones(1))))
    thread.start()
    tracing.wait(10)
    assert v.tolist() == [1]
    v.assign([5.0])
    assert (v * 2.0).tolist() == [10]
    done.set()
    thread.join()
    assert found[0].tolist() == [6]
    assert v.tolist() == [6]
