"""Control flow inside of `jit`: one operation each, whose parameters are graphs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import errors, ops

X = np.array([0.5, -0.2, 0.1, 0.7], "float32")


def same(found: Any, wanted: Any) -> None:
    """Two nested structures hold the same numbers, of the same dtypes, to rounding."""
    these, structure = edu.tree.flatten(found)
    those, other = edu.tree.flatten(wanted)
    assert structure == other
    for x, y in zip(map(edu.tensor, these), map(edu.tensor, those), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert_allclose(x.numpy(), y.numpy(), rtol=1e-5, atol=1e-6)


def as_eager(function: Callable[..., Any], *args: Any) -> Any:
    """What a jitted function gives, first traced and then found, held against the function."""
    jitted = edu.jit(function)
    wanted = function(*args)
    for _ in range(2):
        same(jitted(*args), wanted)
    jitted.trace(*args).check()
    return wanted


def operations(graph: edu.Graph) -> list[str]:
    return [made.op.name for made in graph.equations]


# Values


def by_cond(x: Any) -> Any:
    return ops.cond(x.sum() > 1.0, lambda x: ops.sin(x) * 2.0, lambda x: x * x, x)


def by_switch(x: Any) -> Any:
    index = (x.sum() * 2.0).astype("int32")
    return ops.switch(index, [ops.sin, ops.square, lambda x: x * 3.0], x)


def by_fori(x: Any) -> Any:
    return ops.fori_loop(1, 5, lambda i, y: ops.tanh(y * x) + i, x)


def by_scan(x: Any) -> Any:
    return ops.scan(lambda h, y: (ops.tanh(h * x[0] + y), {"y": h * y}), 0.1, x)


def backwards(x: Any) -> Any:
    return ops.scan(lambda h, y: (ops.tanh(h * x[0] + y), h * y), 0.1, x, reverse=True)


def by_map(x: Any) -> Any:
    return ops.map(lambda y: (ops.exp(y) * x, y), x)


def by_count(x: Any) -> Any:
    return ops.scan(lambda h, _: (h * x + 1.0, None), x, length=4)


FUNCTIONS = [by_cond, by_switch, by_fori, by_scan, backwards, by_map, by_count]


@pytest.mark.parametrize("scale", [-1.0, 1.0, 3.0])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_values_are_those_of_python(
    function: Callable[..., Any], scale: float, device: str
) -> None:
    as_eager(function, edu.tensor(X * scale, device=device))


def total(function: Callable[..., Any]) -> Callable[..., Any]:
    """A scalar of all that a function gives, not symmetric in anything."""

    def summed(x: Any) -> Any:
        leaves = edu.tree.leaves(function(x))
        return sum(ops.sum(ops.sin(y + i)) for i, y in enumerate(leaves))

    return summed


@pytest.mark.parametrize("scale", [-1.0, 1.0, 3.0])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_are_those_of_python(function: Callable[..., Any], scale: float) -> None:
    x = edu.tensor(X * scale)
    scalar = total(function)
    wanted = as_eager(edu.value_and_grad(scalar), x)
    same(edu.value_and_grad(edu.jit(scalar))(x), wanted)
    second = edu.grad(lambda x: ops.sum(ops.cos(edu.grad(scalar)(x))))
    wanted = as_eager(second, x)
    jitted = edu.grad(lambda x: ops.sum(ops.cos(edu.grad(edu.jit(scalar))(x))))
    same(jitted(x), wanted)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_are_those_of_differences(function: Callable[..., Any]) -> None:
    edu.check_grads(edu.jit(total(function)), [X.astype("float64")], order=2)


def test_values_and_gradients_are_those_of_jax() -> None:
    rng = np.random.default_rng(0)
    W, U = rng.normal(size=(2, 3, 3)).astype("float32") * 0.5
    xs = rng.normal(size=(7, 3)).astype("float32")

    def model(np_: Any, lax: Any, W: Any, U: Any, xs: Any) -> Any:
        def turn(h: Any, x: Any) -> Any:
            held = np_.tanh(W @ h + U @ x)
            h = lax.cond(held.sum() > 0, lambda h: h * 0.5, lambda h: h + x, held)
            return h, lax.fori_loop(0, 3, lambda i, y: y * h + i, x)

        h, ys = lax.scan(turn, xs[0] * 0, xs)
        return (np_.sin(h).sum() + (ys * ys).mean()) * lax.switch(
            (h.sum() > 0).astype("int32"), [np_.sum, np_.max], ys
        )

    ours = lambda W, U, xs: model(edu, ops, W, U, xs)
    theirs = lambda W, U, xs: model(jax.numpy, jax.lax, W, U, xs)
    wanted = jax.value_and_grad(theirs, (0, 1, 2))(W, U, xs)
    arguments = [edu.tensor(a) for a in (W, U, xs)]
    for found in (
        edu.jit(edu.value_and_grad(ours, (0, 1, 2)))(*arguments),
        edu.value_and_grad(edu.jit(ours), (0, 1, 2))(*arguments),
    ):
        assert_allclose(found[0], wanted[0], rtol=1e-4)
        for x, y in zip(found[1], wanted[1], strict=True):
            assert_allclose(x, y, rtol=1e-3, atol=1e-5)


def test_while_loops_take_as_many_turns_as_they_need(device: str) -> None:
    def collatz(n: Any) -> Any:
        even = lambda n: n // 2
        odd = lambda n: n * 3 + 1
        return ops.while_loop(
            lambda s: s[0] != 1,
            lambda s: (ops.cond(s[0] % 2 == 0, even, odd, s[0]), s[1] + 1),
            (n, 0),
        )[1]

    jitted = edu.jit(collatz)
    wanted = {1: 0, 6: 8, 27: 111}  # OEIS A006577
    for n, turns in wanted.items():
        assert jitted(edu.tensor(n, device=device)).item() == turns
    assert jitted.cache_info().misses == 1


def test_while_loops_stop_at_their_maximum() -> None:
    f = edu.jit(
        lambda x: ops.while_loop(lambda y: y < 50, lambda y: y + x, 0, maximum_iterations=7)
    )
    assert f(1).item() == 7
    assert f(20).item() == 60
    none = edu.jit(
        lambda x: ops.while_loop(lambda y: y < x, lambda y: y + 1, 0, maximum_iterations=0)
    )
    assert none(3).item() == 0


def test_bounds_of_a_loop_may_be_computed() -> None:
    f = edu.jit(lambda a, b: ops.fori_loop(a, b, lambda i, x: x * 2.0 + i, 1.0))
    for a, b in [(0, 3), (2, 5), (3, 3), (4, 1)]:
        assert (
            f(edu.tensor(a), b).item() == ops.fori_loop(a, b, lambda i, x: x * 2.0 + i, 1.0).item()
        )
    assert f.cache_info().misses == 1


def test_one_branch_is_computed() -> None:
    forever = lambda x: ops.while_loop(lambda y: x == x, lambda y: y + 1.0, x)
    f = edu.jit(lambda x: ops.cond(x > 0, lambda: forever(x), lambda: -x))
    assert f(edu.tensor(-2.0)).item() == 2
    g = edu.jit(edu.grad(lambda x: ops.cond(x > 0, lambda: x / 0.0, lambda: x * x)))
    assert g(edu.tensor(-2.0)).item() == -4


def test_what_a_branch_computes_is_in_the_branch() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        return ops.cond(y.sum() > 0, lambda: ops.sin(y) + ops.cos(x), lambda: y)

    graph = edu.jit(f).trace(edu.tensor(X)).check()
    assert operations(graph) == ["multiply", "sum", "greater", "cond"]
    inner = graph.equations[-1].params["branches"][1]
    assert operations(inner) == ["sin", "cos", "add"]
    assert "sin" in str(graph)


def test_programs_are_as_long_for_many_turns_as_for_few() -> None:
    def f(x: Any, n: int) -> Any:
        return edu.grad(lambda x: ops.fori_loop(0, n, lambda i, y: ops.sin(y) * x, x))(x)

    lines = [str(edu.jit(f, static_argnums=1).trace(edu.tensor(1.0), n)) for n in (3, 3000)]
    assert len(lines[0].splitlines()) == len(lines[1].splitlines()) < 40


def test_a_number_takes_the_dtype_it_has_after_a_turn() -> None:
    wide = edu.tensor(1.5, "float64")
    as_eager(lambda x: ops.fori_loop(0, 3, lambda i, y: y * x, 1.0), wide)
    as_eager(lambda x: ops.fori_loop(0, 3, lambda i, y: y + x, 1), wide)
    as_eager(lambda x: ops.while_loop(lambda y: y < 9, lambda y: y + x, 1), wide)
    as_eager(lambda x: ops.scan(lambda c, x: (c + x, c), 0, x), edu.tensor(X))
    as_eager(lambda x: ops.fori_loop(0, 3, lambda i, y: y + i, x), edu.tensor(1, "int8"))
    as_eager(lambda x: ops.fori_loop(0, 3, lambda i, y: y * i, x), edu.tensor(1.5, "float16"))
    as_eager(lambda x: ops.cond(x > 1, lambda: x, lambda: 0.0), wide)
    as_eager(lambda x, c: ops.fori_loop(0, 3, lambda i, y: y * x, c), wide, 2.0)


@pytest.mark.parametrize("x", [np.float64(1.5), np.float16(1.5), np.int64(3), np.int8(3)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.fori_loop(0, 2, lambda _, c: c * 2, x),
        lambda x: ops.while_loop(lambda c: c < 9, lambda c: c + x, x),
        lambda x: ops.while_loop(lambda c: c < 9, lambda c: c + x, x, maximum_iterations=3),
        lambda x: ops.scan(lambda c, _: (c * c, c), x, length=2),
        lambda x: ops.cond(x > 1, lambda c: c * 2, lambda c: c, x),
        lambda x: ops.cond(x > 1, lambda: x * 2, lambda: x),
    ],
)
def test_numbers_of_numpy_keep_their_dtype(function: Callable[..., Any], x: Any) -> None:
    as_eager(function, x)


def test_structures_go_around_and_come_out() -> None:
    def f(x: Any) -> Any:
        first = {"a": (x, x.sum()), "b": [None, x > 0]}
        turn = lambda c, _: (
            {"a": (c["a"][0] * 2.0, c["a"][1] + 1.0), "b": [None, ~c["b"][1]]},
            None,
        )
        return ops.scan(turn, first, length=3)

    as_eager(f, edu.tensor(X))
    as_eager(
        lambda x: ops.cond(x.sum() > 0, lambda: {"k": (x, None)}, lambda: {"k": (-x, None)}), X
    )


def test_results_have_memory_of_their_own() -> None:
    v = edu.Variable(X)

    @edu.jit
    def f(x: Any) -> Any:
        found = ops.cond(x.sum() > 0, lambda: (v.value, x), lambda: (x, x))
        kept = ops.fori_loop(0, 3, lambda i, c: c, v.value)
        none = ops.while_loop(lambda c: c.sum() > 1e9, lambda c: c, v.value)
        v.assign_add(x)
        return found, kept, none

    f(X)
    (first, given), kept, none = f(X)  # the program may write over the memory of v
    f(X)
    assert_array_equal(first, X * 2)
    assert_array_equal(given, X)
    assert_array_equal(kept, X * 2)
    assert_array_equal(none, X * 2)


# State


def training(loop: Callable[..., Any]) -> Any:
    """A fit of a line, with the steps as the body of a loop; what it gives and leaves behind."""
    W, b = edu.Variable([0.0, 0.0], name="W"), edu.Variable(0.0, name="b")
    steps = edu.Variable(0, trainable=False)
    data = edu.tensor([[1.0, 2.0], [0.5, -1.0], [2.0, 0.3], [-1.0, 1.0]])
    wanted = data @ edu.tensor([2.0, -1.0]) + 0.5

    def step() -> Any:
        with edu.GradientTape() as tape:
            loss = ops.mean((data @ W + b - wanted) ** 2)
        for v, g in zip((W, b), tape.gradient(loss, (W, b)), strict=True):
            v.assign_sub(0.1 * g)
        steps.assign_add(1)
        return loss

    found = [loop(step), loop(step)]
    return found, W.value, b.value, steps.value


LOOPS: dict[str, Callable[..., Any]] = {
    "scan": lambda step: ops.scan(lambda c, _: (c, step()), None, length=20)[1],
    "map": lambda step: ops.map(lambda x: step() + x, edu.zeros(20)),
    "fori_loop": lambda step: ops.fori_loop(0, 20, lambda i, last: step(), 0.0),
    "while_loop": lambda step: ops.while_loop(lambda s: s > 0.01, lambda s: step(), 1.0),
    "cond": lambda step: ops.cond(edu.tensor(1.0) > 0, step, lambda: 0.0),
    "loop in loop": lambda step: ops.fori_loop(
        0, 4, lambda i, _: ops.fori_loop(0, 5, lambda j, last: step(), 0.0), 0.0
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_variables_assigned_inside_are_carried(name: str) -> None:
    wanted = training(LOOPS[name])
    same(training(lambda step: edu.jit(lambda: LOOPS[name](step))()), wanted)


def test_a_variable_assigned_in_one_branch_keeps_its_value_in_the_other() -> None:
    v, untouched = edu.Variable(1.0), edu.Variable(5.0)

    @edu.jit
    def f(x: Any) -> Any:
        before = v * 1.0
        found = ops.cond(x > 0, lambda: (v.assign_add(x), v * untouched)[1], lambda: x)
        return before, found, v * 1.0

    assert [y.item() for y in f(2.0)] == [1, 15, 3]
    assert [y.item() for y in f(-2.0)] == [3, -2, 3]
    assert v.numpy() == 3
    assert untouched.numpy() == 5


def test_a_branch_reads_a_variable_that_was_assigned_before_it() -> None:
    average, w = edu.Variable([1.0]), edu.Variable([0.0])

    @edu.jit
    def step(takes: edu.Tensor) -> None:
        average.assign(average * 0.5)

        def take() -> None:
            w.assign(average)

        ops.cond(takes, take, lambda: None)

    for takes in (False, True):
        step(edu.tensor(takes))
    assert (average.item(), w.item()) == (0.25, 0.25)


def test_what_decides_may_be_a_variable() -> None:
    v = edu.Variable(1.0)
    f = edu.jit(
        lambda: ops.while_loop(lambda _: v < 100.0, lambda _: (v.assign(v * 3.0), None)[1], None)
    )
    assert f() is None
    assert v.numpy() == 243


def reading(x: Any, v: Any) -> Any:
    """A loop that reads a Variable and assigns to it: tapes do not follow an assignment."""

    def turn(c: Any, y: Any) -> Any:
        c = ops.tanh(c + v * y)
        v.assign(v * 0.9 + c)
        return c, v * y

    c, ys = ops.scan(turn, x[0], x)
    return ops.sum(ys * ys) + c * v


def test_gradients_of_variables_that_a_loop_assigns() -> None:
    def of_both(x: Any, v: Any) -> Any:
        with edu.GradientTape() as tape:
            tape.watch(x)
            loss = reading(x, v)
        return loss, tape.gradient(loss, (x, v))

    found = []
    for wrap in (lambda f: f, edu.jit):
        v = edu.Variable(0.5)
        function = wrap(lambda x, v=v: of_both(x, v))
        found.append((function(edu.tensor(X)), function(edu.tensor(X)), v.value))
    same(found[1], found[0])


def test_a_jitted_loop_on_an_outer_tape() -> None:
    found = []
    for wrap in (lambda f: f, edu.jit):
        v = edu.Variable(0.5)
        function, x = wrap(lambda x, v=v: reading(x, v)), edu.tensor(X)
        with edu.GradientTape() as tape:
            tape.watch(x)
            loss = function(x)
        found.append((loss, tape.gradient(loss, (x, v)), v.value))
    same(found[1], found[0])


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: ops.scan(lambda c, y: (c + edu.random.normal(), edu.random.uniform()), 0.0, x),
        lambda x: ops.fori_loop(0, 4, lambda i, c: c * edu.random.normal(shape=(2,)), edu.ones(2)),
        lambda x: ops.cond(x.sum() > 9, lambda: x, lambda: x + edu.random.normal(shape=(4,))),
        lambda x: ops.cond(x.sum() > 9, lambda: x + edu.random.normal(), lambda: x),
        lambda x: ops.while_loop(lambda c: c < 5.0 + x[0], lambda c: c + edu.random.uniform(), 0.0),
        lambda x: ops.scan(
            lambda c, y: (c, ops.map(lambda z: z + edu.random.normal(), x)), None, x
        )[1],
    ],
)
def test_random_numbers_are_those_of_python(draw: Callable[..., Any]) -> None:
    jitted = edu.jit(lambda x: (edu.random.normal(), draw(x), edu.random.normal()))
    edu.random.seed(7)
    x = edu.tensor(X)
    wanted = [(edu.random.normal(), draw(x), edu.random.normal()) for _ in range(2)]
    state = edu.random.state()
    edu.random.seed(7)
    same([jitted(x), jitted(x)], wanted)
    assert edu.random.state() == state


@pytest.mark.parametrize("loop", ["scan", "cond"])
def test_gradients_add_up_inside(loop: str) -> None:
    found = []
    for wrap in (lambda f: f, edu.jit):
        w = edu.Variable([1.0, 2.0], requires_grad=True)

        def step(x: Any, w: Any = w) -> Any:
            loss = ops.sum((w * x) ** 2)
            loss.backward()
            return loss

        def f(x: Any, step: Any = step) -> Any:
            if loop == "scan":
                return ops.map(step, x)
            step(x[0])
            return ops.cond(x[0] > 0, lambda: step(x[1]), lambda: 0.0)

        function = wrap(f)
        found.append([function(edu.tensor(X)), w.grad, function(edu.tensor(X)), w.grad])
    same(found[1], found[0])


# Loops and branches in each other


def test_loops_in_branches_in_loops() -> None:
    def f(x: Any) -> Any:
        def turn(c: Any, y: Any) -> Any:
            inner = lambda: ops.fori_loop(0, 3, lambda i, z: ops.sin(z * y + c), x)
            c = ops.cond(c.sum() > 0.5, inner, lambda: c + y * x)
            return c, ops.map(lambda z: z * c.sum(), x)

        return ops.scan(turn, x, x)

    as_eager(f, edu.tensor(X))
    as_eager(edu.grad(total(f)), edu.tensor(X))
    same(edu.grad(edu.jit(total(f)))(edu.tensor(X)), edu.grad(total(f))(edu.tensor(X)))
    second = edu.grad(lambda x: ops.sum(edu.grad(total(f))(x) ** 2))
    as_eager(second, edu.tensor(X))


def test_gradients_inside_a_body() -> None:
    def f(x: Any) -> Any:
        def turn(c: Any, y: Any) -> Any:
            slope = edu.grad(lambda c: ops.sum(ops.sin(c * x) * y))(c)
            return c - 0.1 * slope, slope.sum()

        return ops.scan(turn, x, x)

    as_eager(f, edu.tensor(X))
    as_eager(edu.grad(total(f)), edu.tensor(X))


def test_a_jitted_function_in_a_body() -> None:
    inner = edu.jit(lambda c, y: ops.tanh(c * y + 1.0))
    as_eager(lambda x: ops.scan(lambda c, y: (inner(c, y), c), 0.0, x), edu.tensor(X))


def test_a_tape_that_is_open_around_a_loop() -> None:
    def f(x: Any) -> Any:
        with edu.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = x * 2.0
            c = ops.fori_loop(0, 3, lambda i, c: c * y, x)
        return tape.gradient(c, x), tape.gradient(c, y)

    as_eager(f, edu.tensor(X))


def test_tapes_hold_one_record_for_a_loop() -> None:
    seen = []

    @edu.jit
    def f(x: Any) -> Any:
        with edu.GradientTape() as tape:
            tape.watch(x)
            y = ops.fori_loop(0, 3, lambda i, c: ops.sin(c * x), x)
            seen.append(repr(tape))
        return tape.gradient(y, x)

    f(edu.tensor(X))
    assert seen[0].count("= scan(") == 1
    assert "= sin(" not in seen[0]


def test_a_gradient_takes_one_loop_there_and_one_back() -> None:
    f = total(by_scan)
    for function in (edu.grad(f), edu.grad(lambda x: edu.jit(f).trace(X).run(x)[0])):
        graph = edu.jit(function).trace(edu.tensor(X))
        assert operations(graph).count("scan") == 2


def test_a_followed_value_in_one_branch_and_the_original_in_the_other() -> None:
    for sign in (-1.0, 1.0):
        x = edu.tensor(X * sign)
        inner = lambda x, z: ops.cond(x.sum() > 0, lambda: x * 2.0, lambda: z * 3.0).sum()
        as_eager(lambda x: edu.grad(lambda z: inner(x, z))(x), x)  # noqa: B023
        as_eager(lambda x: edu.grad(lambda z: inner(z, x))(x), x)  # noqa: B023


def test_original_and_followed_argument_are_told_apart() -> None:
    f = lambda x: edu.grad(lambda z: ops.fori_loop(0, 3, lambda i, c: c * z + x, x).sum())(x)
    as_eager(f, edu.tensor(X))


@pytest.mark.usefixtures("device")
def test_what_a_loop_carries_goes_into_a_copy_of_what_is_around_it() -> None:
    as_eager(lambda x: ops.fori_loop(0, 3, lambda i, y: x.at[0].set(y.sum()), x), edu.tensor(X))
    as_eager(
        lambda x: ops.cond(x.sum() > 0, lambda: x.at[0].add(2 * x[1]), lambda: x), edu.tensor(X)
    )


def test_maximum_iterations_let_gradients_through_a_while_loop() -> None:
    def f(x: Any) -> Any:
        return ops.while_loop(lambda y: y < 10, lambda y: y * x, x, maximum_iterations=8)

    as_eager(edu.grad(f), edu.tensor(2.0))
    assert edu.jit(edu.grad(f))(edu.tensor(2.0)).item() == 32  # x**4
    assert edu.jit(edu.grad(f))(edu.tensor(4.0)).item() == 8  # x**2
    assert edu.jit(edu.grad(f))(edu.tensor(20.0)).item() == 1
    assert edu.jit(edu.grad(f))(edu.tensor(1.1)).item() == pytest.approx(9 * 1.1**8, rel=1e-5)
    chosen = lambda x: ops.cond(x > 0, lambda: f(x), lambda: x)
    assert edu.jit(edu.grad(chosen))(edu.tensor(2.0)).item() == 32
    summed = lambda x: ops.fori_loop(0, 3, lambda i, y: y + f(x), 0.0)
    assert edu.jit(edu.grad(summed))(edu.tensor(2.0)).item() == 96
    carried = lambda x: ops.fori_loop(0, 3, lambda i, y: f(y), x)  # 2 to 16, and no further
    assert edu.jit(edu.grad(carried))(edu.tensor(2.0)).item() == 32


# Batches


def by_while(x: Any) -> Any:
    return ops.while_loop(lambda s: s[0] < 9.0, lambda s: (s[0] * 2.0 + 1.0, s[1] + 1), (x, 0))


BATCHED: dict[str, Callable[..., Any]] = {
    "cond": lambda x, k: ops.cond(x > 0, lambda: x * k, lambda: -x),
    "cond of what is the same for all": lambda x, k: ops.cond(k > 0, lambda: x * k, lambda: -x),
    "switch": lambda x, k: ops.switch(x.astype("int32"), [ops.sin, ops.cos, ops.square], x * k),
    "while": lambda x, k: by_while(ops.abs(x) + 0.1),
    "while of what is the same for all": lambda x, k: (by_while(k), x),
    "while that might go on again": lambda x, k: ops.while_loop(
        lambda n: n < 3, lambda n: (n + 1) % 4, x.astype("int32")
    ),
    "for": lambda x, k: ops.fori_loop(0, 3, lambda i, c: c * x + k, k),
    "for as long as k": lambda x, k: ops.fori_loop(0, k.astype("int32"), lambda i, c: c * x, x),
    "for as long as x": lambda x, k: ops.fori_loop(0, x.astype("int32"), lambda i, c: c * k, x),
    "scan": lambda x, k: ops.scan(lambda c, y: (c * x + y, c), k, ops.stack([x, k, x])),
    "scan of what is the same for all": lambda x, k: ops.scan(
        lambda c, y: (c + y, (c * x, y)), 0.0, ops.stack([k, k * 2.0])
    ),
    "map": lambda x, k: ops.map(lambda y: y * x, ops.stack([k, k])),
    "cond in scan": lambda x, k: ops.scan(
        lambda c, y: (ops.cond(c > y, lambda: c * 0.5, lambda: c + x), c), k, ops.stack([x, k])
    ),
    "while in scan": lambda x, k: ops.map(lambda y: by_while(ops.abs(y) + 0.1), ops.stack([x, k])),
}


@pytest.mark.parametrize("name", BATCHED)
def test_jit_of_vmap_and_vmap_of_jit(name: str) -> None:
    f = BATCHED[name]
    x, k = edu.tensor([0.5, -0.2, 2.3, 1.7]), edu.tensor(1.5)
    rows = [f(each, k) for each in x]
    wanted = edu.tree.map(lambda *column: ops.stack(column), *rows)
    mapped = edu.vmap(f, in_axes=(0, None))
    graph = edu.jit(mapped).trace(x, k).check()
    assert len(graph.equations) < 30
    same(edu.jit(mapped)(x, k), wanted)
    same(edu.vmap(edu.jit(f), in_axes=(0, None))(x, k), wanted)


@pytest.mark.parametrize(
    "name", [name for name in BATCHED if "while" not in name and "as long as" not in name]
)
def test_gradients_of_batches(name: str) -> None:
    f = BATCHED[name]

    def scalar(x: Any, k: Any) -> Any:
        leaves = edu.tree.leaves(f(x, k))
        return sum(ops.sum(ops.sin(y + i)) for i, y in enumerate(leaves))

    x, k = edu.tensor([0.5, -0.2, 2.3, 1.7]), edu.tensor(1.5)
    slope = edu.grad(scalar, (0, 1))
    rows = [slope(each, k) for each in x]
    each = edu.vmap(slope, in_axes=(0, None))
    same(edu.jit(each)(x, k), edu.tree.map(lambda *column: ops.stack(column), *rows))
    together = edu.grad(lambda x, k: edu.vmap(scalar, in_axes=(0, None))(x, k).sum(), (0, 1))
    wanted = ops.stack([row[0] for row in rows]), sum(row[1] for row in rows)
    same(edu.jit(together)(x, k), wanted)


def test_batches_of_batches() -> None:
    f = lambda x, y: ops.scan(lambda c, _: (ops.cond(c > y, ops.sin, ops.cos, c), c), x, length=3)
    both = edu.vmap(edu.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    as_eager(both, edu.tensor(X), edu.tensor(X[:3]))


# Errors

REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "structures": (
        lambda x: ops.cond(x.sum() > 0, lambda: (x,), lambda: x),
        errors.ArgumentError, r"cond: the branches gave two structures: .*traced.* and \(",
    ),
    "shapes": (
        lambda x: ops.cond(x.sum() > 0, lambda: x, lambda: x[:2]),
        errors.ShapeError, r"cond: .*\(2,\) and \(4,\)",
    ),
    "dtypes": (
        lambda x: ops.cond(x.sum() > 0, lambda: x, lambda: x.astype("float64")),
        errors.DtypeError, r"cond: .*float64 and float32",
    ),
    "a branch gives no numbers": (
        lambda x: ops.cond(x.sum() > 0, lambda: "text", lambda: "text"),
        errors.DtypeError, "numbers",
    ),
    "a vector decides": (
        lambda x: ops.cond(x > 0, lambda: x, lambda: x), errors.ShapeError, r"cond.*\(4,\)"
    ),
    "a float chooses": (
        lambda x: ops.switch(x[0], [abs]), errors.DtypeError, "switch.*float32"
    ),
    "a shape changes": (
        lambda x: ops.fori_loop(0, 2, lambda i, x: ops.concat([x, x]), x),
        errors.ShapeError, r"fori_loop.*\(4,\).*\(8,\)",
    ),
    "a dtype changes": (
        lambda x: ops.while_loop(lambda x: x < 3, lambda x: x * 2.5, edu.tensor(1)),
        errors.ShapeError, "while_loop.*int32.*float32",
    ),
    "a number changes its dtype twice": (
        lambda x: ops.fori_loop(0, 3, lambda i, c: c.astype("int32"), 0.5),
        errors.ShapeError, "fori_loop.*float32.*int32",
    ),
    "a structure changes": (
        lambda x: ops.scan(lambda c, x: ((c, c), x), 0.0, x), errors.ArgumentError, "scan"
    ),
    "no pair": (lambda x: ops.scan(lambda c, x: c, 0.0, x), errors.ArgumentError, "pair"),
    "lengths": (
        lambda x: ops.scan(lambda c, x: (c, c), 0.0, (x, x[:2])), errors.ShapeError, "scan"
    ),
    "nothing to keep": (lambda x: ops.map(lambda x: x, x[:0]), errors.ShapeError, "no turns"),
    "a gradient through while": (
        lambda x: edu.grad(lambda y: ops.while_loop(lambda y: y < 9, lambda y: y * 2, y))(x[0]),
        errors.GradientError, "while_loop.*maximum_iterations.*scan",
    ),
    "a gradient through unknown bounds": (
        lambda x: edu.grad(
            lambda y: ops.fori_loop(0, x[1].astype("int32"), lambda i, y: y * 2, y)
        )(x[0]),
        errors.GradientError, "fori_loop with bounds",
    ),
    "truth inside of a body": (
        lambda x: ops.fori_loop(0, 3, lambda i, c: c if i > 1 else c * 2.0, x),
        errors.TracingError, "test_control_in_jit.py.*edu.cond",
    ),
    "a .grad that only one branch leaves": (
        lambda x: ops.cond(x[0] > 0, lambda: None, lambda: GRADED.value.sum().backward()),
        errors.TracingError, r"cond.*\.grad",
    ),
}  # fmt: skip

GRADED = edu.Variable([1.0, 2.0], requires_grad=True)


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    function, error, words = REFUSED[what]
    with pytest.raises(error, match=words):
        edu.jit(function)(edu.tensor(X))


def test_a_value_of_a_body_is_of_no_use_outside() -> None:
    def f(x: Any) -> Any:
        leaked: list[Any] = []
        ops.fori_loop(0, 3, lambda i, c: (leaked.append(c), c)[1], x)
        return leaked[0] + x

    with pytest.raises(errors.TracingError, match=r"test_control_in_jit\.py.*return it"):
        edu.jit(f)(edu.tensor(X))


def test_assigning_under_vmap_is_refused() -> None:
    v = edu.Variable(0.0)
    f = edu.vmap(lambda x: ops.fori_loop(0, 3, lambda i, c: (v.assign_add(1.0), c * x)[1], x))
    with pytest.raises(errors.TracingError, match="vmap"):
        edu.jit(f)(edu.tensor(X))
    assert v.numpy() == 0


# What cuts a gradient, or has one of its own, does so in a program too


def cut_by_no_grad(x: Any) -> Any:
    with edu.no_grad():
        y = ops.sin(x)
    return y * x


@edu.custom_gradient
def clipped(x: Any, y: Any) -> Any:
    slope = ops.cos(x)
    return ops.sin(x) * y, lambda g: (ops.minimum(g * slope * y, 0.3), None)


@edu.custom_gradient
def doubled(x: Any) -> Any:
    return (x * 2.0, x + 1.0), lambda g, h: g * ops.sin(x) + h


ODD: dict[str, Callable[[Any], Any]] = {
    "no_grad": cut_by_no_grad,
    "detached": lambda x: ops.stop_gradient(ops.sin(x)) * x,
    "one that is not linear": lambda x: clipped(x, x),
    "a gradient of one's own": lambda x: ops.multiply(*doubled(x)),
    "a checkpoint": edu.checkpoint(lambda x: ops.sin(x) * x),
}


@pytest.mark.parametrize("where", ["alone", "loop", "branch"])
@pytest.mark.parametrize("name", ODD)
def test_what_changes_a_gradient(name: str, where: str) -> None:
    def f(x: Any) -> Any:
        if where == "alone":
            return ops.sum(ODD[name](x))
        if where == "branch":
            return ops.cond(x.sum() > 0, lambda: ODD[name](x), lambda: x).sum()
        return ops.fori_loop(0, 3, lambda i, c: ODD[name](c) + x, x).sum()

    x = edu.tensor(X)
    wanted = as_eager(edu.grad(f), x)
    same(edu.grad(edu.jit(f))(x), wanted)
    if name == "one that is not linear":  # second derivatives go back through parts of it
        return
    second = lambda f: edu.grad(lambda x: ops.sum(ops.cos(f(x)) * x))
    wanted = as_eager(second(edu.grad(f)), x)
    same(second(edu.grad(edu.jit(f)))(x), wanted)
    same(second(edu.jit(edu.grad(f)))(x), wanted)


def test_a_variable_assigned_and_read_again_on_an_outer_tape() -> None:
    found = []
    for wrap in (lambda f: f, edu.jit):
        v = edu.Variable(2.0)

        def f(v: Any = v) -> Any:
            y = v * 2.0
            v.assign(v * v)
            z = v * 3.0
            v.assign_add(y)
            return y + z + v * v

        function = wrap(f)
        with edu.GradientTape() as tape:
            y = function()
        found.append((y, tape.gradient(y, v), v.value))
    same(found[1], found[0])
    assert found[0][1].item() == 2 + 3 + 2 * 8  # each read counts as one of v


def test_prints_happen_in_each_turn_and_not_again_in_the_backward_pass(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def f(x: Any) -> Any:
        def turn(c: Any, y: Any) -> Any:
            ops.cond(y > 0, lambda: edu.debug_print("turn {}", y), lambda: None)
            return c * y + x[0], None

        return ops.scan(turn, x[0], x)[0]

    edu.jit(edu.grad(f))(edu.tensor([1.0, -2.0, 3.0]))
    assert capsys.readouterr().out == "turn 1.0\nturn 3.0\n"
    edu.grad(edu.jit(f))(edu.tensor([1.0, -2.0, 3.0]))
    assert capsys.readouterr().out == "turn 1.0\nturn 3.0\n"


def test_a_gradient_that_fails_does_so_when_it_is_asked_for() -> None:
    @edu.custom_gradient
    def closed(x: Any) -> Any:
        def gradient(g: Any) -> Any:
            raise NotImplementedError("no way back")

        return x * 2.0, gradient

    f = lambda x: ops.fori_loop(0, 3, lambda i, c: closed(c), x).sum()
    assert edu.jit(f)(edu.tensor(1.0)).item() == 8
    with pytest.raises(NotImplementedError, match="no way back"):
        edu.jit(edu.grad(f))(edu.tensor(1.0))


def test_checks_of_a_program_look_inside() -> None:
    graph = edu.jit(by_scan).trace(edu.tensor(X)).check()
    loop = graph.equations[-1]
    body = loop.params["body"]
    broken = body.with_equations(body.equations[1:])
    object.__setattr__(loop, "params", {**loop.params, "body": broken})
    with pytest.raises(errors.GraphError, match="is not made before"):
        graph.check()


def test_costs_count_turns() -> None:
    def flops(n: int) -> int:
        f = lambda x: ops.fori_loop(0, n, lambda i, c: c @ x, x)
        return edu.jit(f).trace(edu.ones((4, 4))).cost().flops

    assert flops(10) == 10 * (2 * 4**3)


# A graph means what `run` does


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_graph_can_be_run_differentiated_and_mapped(function: Callable[..., Any]) -> None:
    scalar = total(function)
    rows = edu.tensor(np.stack([X, X * 3, -X]))
    graph = edu.jit(scalar).trace(rows[0])
    run = lambda x: graph.run(x)[0]
    same([run(row) for row in rows], [scalar(row) for row in rows])
    same(edu.vmap(run)(rows), ops.stack([scalar(row) for row in rows]))
    same([edu.grad(run)(row) for row in rows], [edu.grad(scalar)(row) for row in rows])
    slopes = ops.stack([edu.grad(scalar)(row) for row in rows])
    same(edu.vmap(edu.grad(run))(rows), slopes)
    same(edu.grad(lambda rows: edu.vmap(run)(rows).sum())(rows), slopes)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint32", "bool"])
def test_every_dtype_goes_around(dtype: str) -> None:
    x = edu.tensor([1, 0, 1, 1]).astype(dtype)
    as_eager(lambda x: ops.scan(lambda c, y: (ops.maximum(c, y), ops.minimum(c, y)), x[0], x), x)
    as_eager(lambda x: ops.cond(x[0] == x[1], lambda: x[:2], lambda: x[2:]), x)
    as_eager(lambda x: ops.while_loop(lambda s: s[1] < 3, lambda s: (s[0], s[1] + 1), (x, 0)), x)


def test_functions_that_give_nothing() -> None:
    as_eager(lambda x: ops.map(lambda y: None, x), edu.tensor(X))
    as_eager(lambda x: ops.cond(x[0] > 0, lambda: None, lambda: None), edu.tensor(X))
    as_eager(lambda x: (ops.fori_loop(0, 3, lambda i, c: c, 0), x), edu.tensor(X))
    as_eager(lambda x: (ops.scan(lambda c, _: (c, 1.0), None, length=3), x), edu.tensor(X))


@pytest.mark.parametrize("rows", [1, 3])  # of one row a cotangent looks like a tuple of cotangents
def test_the_gradient_of_a_long_loop_in_a_loop(rows: int) -> None:
    """The inner loop takes long, so that the outer keeps what it gave."""

    def f(x: Any) -> Any:
        def turn(c: Any, y: Any) -> tuple[Any, None]:
            by_count = ops.fori_loop(0, 40, lambda i, d: ops.tanh(d * y + x), c)
            return ops.scan(lambda d, z: (ops.sin(d * z) + y, None), by_count, edu.ones(40))[
                0
            ], None

        return ops.scan(turn, x, x)[0].sum()

    x = edu.tensor(X[:rows])
    as_eager(edu.grad(f), x)
    same(edu.grad(edu.jit(f))(x), edu.grad(f)(x))
    as_eager(edu.vmap(edu.grad(f)), edu.stack([x, x * 2]))
    as_eager(edu.hessian(f), x)


def test_random_numbers_under_vmap_are_the_same_for_all_examples() -> None:
    f = edu.vmap(lambda x: ops.scan(lambda c, y: (c + edu.random.normal() * y, c), x[0], x))
    rows = edu.tensor(np.stack([X, X * 3, -X]))
    for g, x in ((f, rows), (edu.vmap(f), edu.stack([rows, rows + 1]))):
        jitted = edu.jit(lambda x, g=g: (g(x), edu.random.normal()))
        edu.random.seed(3)
        wanted = g(x), edu.random.normal()
        edu.random.seed(3)
        same(jitted(x), wanted)


def test_a_tensor_that_requires_gradients_and_is_closed_over() -> None:
    found = []
    for wrap in (lambda f: f, edu.jit):
        w = edu.tensor([1.0, 2.0], requires_grad=True)

        def f(x: Any, w: Any = w) -> Any:
            def turn(y: Any) -> Any:
                loss = ops.sum((w * y) ** 2)
                loss.backward()
                return loss

            return ops.map(turn, x)

        found.append((wrap(f)(edu.tensor(X)), w.grad))
    same(found[1], found[0])


def test_a_program_with_loops_keeps_no_variable_alive() -> None:
    v = edu.Variable(1.0)
    held = weakref.ref(v)

    @edu.jit
    def f(x: Any) -> Any:
        return ops.fori_loop(0, 3, lambda i, c: (held().assign_add(c), c * held())[1], x)

    f(edu.tensor(1.0))
    del v
    gc.collect()
    assert held() is None


def test_a_clip_of_gradients_in_a_loop() -> None:
    """Steps as they are often written: a scan over batches, of a step with a branch."""
    W = edu.Variable(np.zeros((3, 1), "float32"))
    rng = np.random.default_rng(0)
    batches = edu.tensor(rng.normal(size=(5, 8, 3)).astype("float32"))

    def epoch(batches: Any) -> Any:
        def step(x: Any) -> Any:
            with edu.GradientTape() as tape:
                loss = ops.mean((x @ W - x[:, :1] * 9.0) ** 2)
            g = tape.gradient(loss, W)
            norm = ops.sqrt(ops.sum(g * g))
            W.assign_sub(0.1 * ops.cond(norm > 1.0, lambda: g / norm, lambda: g))
            return loss

        return ops.map(step, batches)

    wanted = [epoch(batches), epoch(batches), W.value]
    W.assign(np.zeros((3, 1), "float32"))
    jitted = edu.jit(epoch)
    same([jitted(batches), jitted(batches), W.value], wanted)


# What a loop keeps for its gradient


def by_matmul(W: Any, rows: Any, reverse: bool = False) -> Any:
    """A recurrent network whose product is worth keeping, and one that is not followed."""

    def turn(h: Any, row: Any) -> tuple[Any, Any]:
        product = ops.tanh(h @ W + row)
        with edu.no_grad():
            scale = ops.matmul(product, W).sum() * 0.01
        return product * (1.0 + scale), (product @ W).sum()

    last, kept = ops.scan(turn, ops.zeros_like(rows[0]), rows, reverse=reverse)
    return last.sum() + (kept**2).sum()


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_use_what_a_loop_kept(device: str, reverse: bool) -> None:
    rng = np.random.default_rng(0)
    W = edu.tensor(rng.normal(size=(16, 16)) / 8, "float64")
    rows = edu.tensor(rng.normal(size=(3, 16)), "float64")
    function = lambda W, rows: by_matmul(W, rows, reverse)
    of_both = edu.grad(function, (0, 1))
    pushed = lambda W, rows: edu.grad(lambda W: (of_both(W, rows)[0] ** 2).sum())(W)
    mapped = edu.vmap(of_both, in_axes=(None, 0))
    with np.errstate(all="ignore"):
        for each, last in ((of_both, rows), (pushed, rows), (mapped, ops.stack([rows, -rows]))):
            for x, y in zip(
                edu.tree.leaves(edu.jit(each)(W, last)), edu.tree.leaves(each(W, last)), strict=True
            ):
                assert_allclose(x.numpy(), y.numpy(), rtol=1e-9, atol=1e-11)


def test_what_takes_long_is_not_computed_again() -> None:
    def function(W: Any, x: Any) -> Any:
        return ops.fori_loop(0, 5, lambda i, h: ops.tanh(h @ W), x).sum()

    graph = edu.jit(edu.grad(function)).trace(ops.ones((32, 32)), ops.ones((4, 32)))
    forward, backward = [made for made in graph.equations if made.op.name == "scan"]
    assert operations(forward.params["body"]).count("matmul") == 1
    assert operations(backward.params["body"]).count("matmul") == 2  # one for each operand


@pytest.mark.parametrize("device", ["numpy", "xla"])
def test_a_counter_and_a_number_are_indices(device: str) -> None:
    def added(x: Any) -> Any:
        return edu.fori_loop(0, 3, lambda i, total: total + x[i] * x[i + 1], 0.0)

    def moved(x: Any) -> Any:
        return edu.fori_loop(0, 3, lambda i, y: y.at[i].set(x[-1 - i]), x)

    with edu.device(device):
        x = edu.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        assert edu.jit(added)(x).item() == 1 * 2 + 2 * 3 + 3 * 4
        assert edu.jit(moved)(x).tolist() == [6, 5, 4, 4, 5, 6]
        picked = edu.jit(lambda x, i: (x[i], edu.take(x, i), x.at[i].add(1.0)))(x, 2)
    assert [y.tolist() for y in picked] == [3, 3, [1, 2, 4, 4, 5, 6]]


@pytest.mark.usefixtures("device")
def test_a_constant_is_cast_in_a_body_to_meet_a_value_from_outside() -> None:
    constant, x = np.array([1, 2, -3], "int32"), np.array([1.0, 2.0, 3.0], "float32")
    c = edu.tensor(constant)
    found = as_eager(
        lambda x: {
            "fori": ops.fori_loop(0, 2, lambda i, y: c * x, x),
            "scan": ops.scan(lambda y, u: (x - c, x / c), x, x)[1][2],
            "cond": ops.cond(x[0] > 0, lambda: ops.maximum(c, x), lambda: x),
            "while": ops.while_loop(lambda y: (y < c + x).any(), lambda y: c - x + 9, x - 9),
        },
        edu.tensor(x),
    )
    wanted = {
        "fori": constant * x,
        "scan": x / constant,
        "cond": np.maximum(constant, x),
        "while": constant - x + 9,
    }
    for name, value in wanted.items():
        assert_allclose(found[name].numpy(), value)


def test_what_requires_gradients_is_made_before_a_loop() -> None:
    def turn(_: Any, x: Any) -> Any:
        v = edu.Variable([1.0, 2.0], requires_grad=True)
        (v * v * x).sum().backward()
        return x + v.grad.sum()

    with pytest.raises(errors.TracingError, match=r"fori_loop.*\.grad.*before the loop"):
        edu.jit(lambda x: edu.fori_loop(0, 3, turn, x))(edu.tensor(1.0))
