"""What the passes make of graphs: the same meaning, with less to do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import tinygrad_edu as edu
from lowering import passes
from tinygrad_edu.graph import Graph, Rewrite

from .programs import Program, real_programs, whole_programs

ops = edu.ops

slow = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))

FLOATS = ["float32", "float64"]


def after(rewrite: Rewrite, program: Program) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What a program gives before and after a rewrite, which must be sound."""
    graph = program.graph().check()
    found = rewrite(graph).check()
    assert found.inputs == graph.inputs
    with np.errstate(all="ignore"):
        before, now = (g.run(*program.arguments) for g in (graph, found))
    assert [(y.shape, y.dtype) for y in now] == [(y.shape, y.dtype) for y in before]
    return [y.numpy() for y in before], [y.numpy() for y in now]


def bits(x: np.ndarray) -> Any:
    """The bytes of an array; every NaN is the same, and has no sign."""
    return (x if x.dtype.kind in "iu" else np.where(np.isnan(x), np.nan, x)).tobytes()


EXACT = [passes.dead_code, passes.common_subexpressions, passes.constants, passes.algebra]
REORDERING = [passes.late_factors, passes.early_factors, passes.reductions, passes.optimize]


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("rewrite", EXACT, ids=lambda p: p.__name__)
def test_the_same_bits(rewrite: Rewrite, dtype: str) -> None:
    @slow
    @given(whole_programs(dtype))
    def check(program: Program) -> None:
        before, now = after(rewrite, program)
        assert [bits(y) for y in now] == [bits(y) for y in before]

    check()


@pytest.mark.parametrize(
    "function",
    [
        *(lambda x: -(x * 0), lambda x: -(0 * x), lambda x: -(x / 0), lambda x: -(0 / x)),
        *(lambda x: -x * 0, lambda x: 0 * -x, lambda x: -x / 0, lambda x: 0 / -x),
    ],
)
def test_a_whole_zero_keeps_its_sign_among_floats(function: Any) -> None:
    with np.errstate(all="ignore"):
        found = edu.jit(function)(edu.tensor([-1.0, 2.0])).numpy()
        expected = function(np.array([-1.0, 2.0], "float32"))
    assert bits(found) == bits(expected)


def test_the_absolute_value_of_what_has_no_sign() -> None:
    """-x of unsigned integers is no number below zero, but what is missing to 256."""
    x = np.array([0, 1, 200], "uint8")
    assert edu.jit(lambda x: edu.abs(-x))(x).tolist() == [0, 255, 56]


def test_a_constant_that_is_infinite_stays_before_the_sum() -> None:
    """inf * -4 + inf * 0 is NaN, and inf * (-4 + 0) is not."""
    infinite = edu.tensor(np.inf)
    assert np.isnan(edu.jit(lambda x: edu.sum(x * infinite))(edu.tensor([-4.0, 0.0])).item())


def test_the_gradient_of_relu_has_the_same_bits() -> None:
    """That of its result is 0 where that of x is: also for what is not finite, and -0.0."""
    x = np.array([2.0, 0.0, -0.0, -1.0, np.inf, -np.inf, np.nan, 1e-45], "float32")
    g = np.array([np.inf, 1.0, np.nan, np.inf, -0.0, 1.0, 1.0, 3.0], "float32")
    both = edu.value_and_grad(lambda x: edu.sum(edu.relu(x) * g))
    graph = edu.jit(both).trace(x)
    found = passes.algebra(graph)
    assert found is not graph
    with np.errstate(all="ignore"):
        (_, before), (_, now) = graph.run(edu.tensor(x)), found.run(edu.tensor(x))
    assert bits(now.numpy()) == bits(before.numpy())


def test_no_pass_is_left_out() -> None:
    assert {*passes.PASSES, passes.optimize} == {*EXACT, *REORDERING}


@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_integers_come_out_the_same_of_all_passes(dtype: str) -> None:
    @slow
    @given(whole_programs(dtype))
    def check(program: Program) -> None:
        before, now = after(passes.optimize, program)
        assert [bits(y) for y in now] == [bits(y) for y in before]

    check()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rewrite", REORDERING, ids=lambda p: p.__name__)
def test_nearly_the_same_numbers(rewrite: Rewrite, dtype: str) -> None:
    @slow
    @given(real_programs(dtype))
    def check(program: Program) -> None:
        before, now = after(rewrite, program)
        unit = np.finfo(dtype).eps * largest(program)
        for y, x in zip(now, before, strict=True):
            np.testing.assert_allclose(y, x, rtol=200 * unit, atol=200 * unit)

    check()


def largest(program: Program) -> float:
    """The largest number that a program meets on its way, from 1 on."""
    graph = program.graph()
    every = [v for made in graph.equations for v in made.outputs]
    found = graph.with_equations(graph.equations, every).run(*program.arguments)
    return max([1.0, *[float(np.abs(y.numpy().astype(float)).max()) for y in found]])


def test_a_second_time_changes_nothing() -> None:
    @slow
    @given(real_programs("float32"))
    def check(program: Program) -> None:
        once = passes.optimize(program.graph())
        assert passes.optimize(once) is once

    check()


# What they are for


def program(function: Any, *arguments: Any) -> list[str]:
    """The optimized program of a function: its equations' right sides, as they are printed."""
    graph = passes.optimize(edu.jit(function).trace(*arguments)).check()
    return [line.split(" = ", 1)[1] for line in str(graph).splitlines()[1:-1]]


x, y, s = edu.ones(3), edu.ones(3), edu.ones(())
wide, few = edu.ones((2000, 2)), edu.ones((2, 500))
whole = edu.ones(3, dtype="int32")


def test_a_training_step_is_what_a_person_would_write() -> None:
    W, b = edu.Variable(edu.ones((2, 1)), name="W"), edu.Variable(edu.zeros(1), name="b")

    def step(X: Any, Y: Any) -> Any:
        with edu.GradientTape() as tape:
            loss = ops.mean(ops.square(X @ W + b - Y))
        for variable, slope in zip((W, b), tape.gradient(loss, [W, b]), strict=True):
            variable.assign_sub(0.1 * slope)
        return loss

    found = str(passes.optimize(edu.jit(step).trace(wide, edu.ones((2000, 1)))).check())
    assert found.splitlines() == [
        "graph(X: float32(2000, 2), Y: float32(2000, 1), W: float32(2, 1), b: float32(1)):",
        "  t1: float32(2000, 1) = X @ W",
        "  t2: float32(2000, 1) = t1 + b",
        "  t3: float32(2000, 1) = t2 - Y",
        "  t4: float32(2000, 1) = square(t3)",
        "  t5: float32() = mean(t4, axis=(0, 1), keepdims=False)",
        "  t9: float32(1) = sum(t3, axis=(0,), keepdims=False)",
        "  t10: float32(2, 2000) = permute_dims(X, axes=(1, 0))",
        "  t11: float32(2, 1) = t10 @ t3",
        "  t12: float32(2, 1) = 0.0001 * t11",
        "  t13: float32(2, 1) = W - t12",
        "  t14: float32(1) = 0.0001 * t9",
        "  t15: float32(1) = b - t14",
        "  return t5, t13, t15",
    ]


def test_the_learning_rate_meets_the_cotangent_where_that_is_small() -> None:
    widths = [64, 256, 256, 10]
    layers = [edu.Variable(edu.ones(shape)) for shape in itertools.pairwise(widths)]

    def step(X: Any, Y: Any) -> Any:
        with edu.GradientTape() as tape:
            for W in layers[:-1]:
                X = ops.relu(X @ W)
            logits = X @ layers[-1]
            loss = ops.mean(ops.sparse_categorical_crossentropy(Y, logits, from_logits=True))
        for W, slope in zip(layers, tape.gradient(loss, layers), strict=True):
            W.assign_sub(0.1 * slope)
        return loss

    graph = edu.jit(step).trace(edu.ones((32, 64)), edu.zeros(32, dtype="int32"))
    assert sum([made.op is ops.multiply for made in graph.equations]) == 3
    assert not [made for made in passes.optimize(graph).equations if made.op is ops.multiply]


def test_a_factor_of_what_was_scaled_before() -> None:
    x = np.linspace(0, 1, 9000)

    def function(x: Any) -> Any:
        y = x / 2.5
        product = (y @ x) * 0.125
        return edu.sqrt(product + x * x).sum() + edu.sin(product) * 1.5 + (y - y).sum() * 1.5

    value, slope = edu.jit(edu.value_and_grad(function))(x)
    # By hand, with s = x @ x / 20 and r = sqrt(s + x * x)
    s = x @ x / 20
    r = np.sqrt(s + x * x)
    np.testing.assert_allclose(value.numpy(), r.sum() + 1.5 * np.sin(s), rtol=1e-12)
    of_s = (0.5 / r).sum() + 1.5 * np.cos(s)
    np.testing.assert_allclose(slope.numpy(), x / r + of_s * x / 10, rtol=1e-9)


def moments(x: Any, y: Any, share: float = 0.5) -> Any:
    """What Adam adds up of a gradient, which is larger than what it is made of."""
    g = x.T @ y
    return share * g, 2.0 * ops.square(g)


def test_a_gradient_that_is_scaled_and_squared_is_made_to_scale() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 500)).astype("float32")
    graph = edu.jit(moments).trace(x, y)
    found = passes.optimize(graph).run(edu.tensor(x), edu.tensor(y))
    exact = x.T.astype("float64") @ y
    np.testing.assert_allclose(found[0].numpy(), exact / 2, atol=1e-5)
    np.testing.assert_allclose(found[1].numpy(), 2 * exact**2, rtol=1e-5, atol=1e-5)


slope_of_relu = edu.value_and_grad(lambda x: edu.sum(edu.relu(x)))


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        # Neutral elements; x + 0.0 makes 0.0 of -0.0
        (lambda x: x * 1, [x], []),
        (lambda x: x / 1.0 - 0.0 + -0.0, [x], []),
        (lambda x: x**1 * 1.0, [x], []),
        (lambda x: x + 0.0, [x], ["x + 0.0"]),
        (lambda x: x + 0, [x], ["x + 0"]),
        (lambda x: x - -0.0, [x], ["x - -0.0"]),
        (lambda x: (x + 0) * 1 - 0, [whole], []),
        (lambda x: x * 0.0, [x], ["x * 0.0"]),
        (lambda x: x - x, [x], ["x - x"]),
        # Signs
        (lambda x: ops.negative(-x), [x], []),
        (lambda x: ops.negative(-x), [whole], []),
        (lambda x, y: x + -y, [x, y], ["x - y"]),
        (lambda x, y: -x + y, [x, y], ["y - x"]),
        (lambda x, y: x - -y, [x, y], ["x + y"]),
        (lambda x, y: -x * -y, [x, y], ["x * y"]),
        (lambda x: ops.square(-x) + ops.abs(-x), [x], ["square(x)", "abs(x)", "t2 + t4"]),
        # Factors
        (lambda x: 2.0 * x * 3.0, [x], ["6.0 * x"]),
        (lambda x: -(x * 0.5) / 4, [x], ["-0.125 * x"]),
        (lambda x: x / 3.0, [x], ["x / 3.0"]),
        (lambda x: x / 4.0, [x], ["x * 0.25"]),
        (lambda x: x / 3.0 * 3.0, [x], []),
        (lambda x, s: (s * x) * (s * 2.0), [x, s], ["square(s)", "2.0 * t3", "t3_2 * x"]),
        (lambda x: ops.mean(x) * 6.0, [x], ["sum(x, axis=(0,), keepdims=False)", "2.0 * t1"]),
        (
            lambda x: ops.sum(x * 0.5, axis=0) * 4.0,
            [wide],
            ["sum(x, axis=(0,), keepdims=False)", "2.0 * t2"],
        ),
        (
            lambda x, s: ops.matrix_transpose(x) @ (x * s) * 3.0,
            [wide, s],
            ["permute_dims(x, axes=(1, 0))", "t1 @ x", "3.0 * s", "t4 * t3"],
        ),
        (lambda x, y, s: (x / s) / y * 0.5, [x, y, s], ["x / y", "0.5 / s", "t3 * t2"]),
        (
            lambda x, y: 0.5 * (x * 0.25 + y * 4.0),
            [x, y],
            ["0.125 * x", "2.0 * y", "t1 + t2"],
        ),
        (
            lambda x: ops.where(x > 0, x * 0.5, 0.0) * 4.0,
            [x],
            ["x > 0", "where(t1, x, 0.0)", "2.0 * t3"],
        ),
        (
            moments,
            [few, few],
            ["permute_dims(x, axes=(1, 0))", "0.5 * t1", "t2 @ y", "square(t2_2)", "8.0 * t4"],
        ),
        # but not of a value that something else needs, of integers, and of halves
        (
            lambda x: (ops.sum(x * 0.5), ops.exp(x * 0.5)),
            [wide],
            ["x * 0.5", "sum(t1, axis=(0, 1), keepdims=False)", "exp(t1)"],
        ),
        (lambda x, s: x / s, [x, s], ["x / s"]),
        (
            lambda x, y: 0.5 * (x * 0.25 + y),
            [x, y],
            ["x * 0.25", "t1 + y", "0.5 * t2"],
        ),
        (
            lambda x, y: (*moments(x, y), ops.square(x.T @ y)),
            [few, few],
            ["permute_dims(x, axes=(1, 0))", "t1 @ y", "0.5 * t2", "square(t2)", "2.0 * t4"],
        ),
        (
            lambda x, y: (*moments(x, y), ops.exp(ops.square(x.T @ y))),
            [few, few],
            [
                "permute_dims(x, axes=(1, 0))",
                "t1 @ y",
                "0.5 * t2",
                "square(t2)",
                "2.0 * t4",
                "exp(t4)",
            ],
        ),
        (
            lambda x, y: moments(x, y, 1e-4),  # whose square is small
            [few, few],
            ["permute_dims(x, axes=(1, 0))", "t1 @ y", "0.0001 * t2", "square(t2)", "2.0 * t4"],
        ),
        (lambda x: x * 2 * 3, [whole], ["2", "3", "x * c", "t1 * c2"]),
        (
            lambda x: ops.sum(x * 2.0) * 3.0,
            [x.astype("float16")],
            ["x * 2.0", "sum(t1, axis=(0,), keepdims=False)", "t2 * 3.0"],
        ),
        # Moves
        (lambda x: x.reshape(-1).reshape((2000, 2)), [wide], []),
        (lambda x: x.reshape(-1).reshape((2, 2000)), [wide], ["reshape(x, shape=(2, 2000))"]),
        (lambda x: ops.permute_dims(x, (0, 1)), [wide], []),
        (lambda x: x.T.T, [wide], []),
        (lambda x, y: (x.T @ y).T, [wide, wide], ["permute_dims(y, axes=(1, 0))", "t3 @ x"]),
        (
            lambda x: ops.broadcast_to(x, (2, 3)) * 2.0 + x,
            [x],
            ["x * 2.0", "t2 + x", "broadcast_to(t3, shape=(2, 3))"],
        ),
        (lambda x, y: x + ops.broadcast_to(y, (2, 3)), [edu.ones((2, 3)), x], ["x + y"]),
        (
            lambda x, y: ops.exp(ops.broadcast_to(x, (4, 3))) - y,
            [x, edu.ones((4, 3))],
            ["exp(x)", "t2 - y"],
        ),
        (lambda x: ops.sum(ops.broadcast_to(x, (4, 3)), axis=0), [x], ["4.0 * x"]),
        (
            lambda x: ops.sum(ops.broadcast_to(x, (5, 3)), axis=1),
            [x],
            [
                "reshape(x, shape=(1, 3))",
                "sum(t2, axis=(1,), keepdims=False)",
                "broadcast_to(t2_2, shape=(5,))",
            ],
        ),
        (lambda q, k: (q @ k) / 8.0, [wide, wide.T], ["0.125 * q", "t1 @ k"]),
        (
            lambda x: ops.sum(ops.sum(x, axis=0), axis=0),
            [wide],
            ["sum(x, axis=(0, 1), keepdims=False)"],
        ),
        (
            lambda x, s: ops.broadcast_to(s, (9,)).reshape((3, 3)) * x,
            [x, s],
            ["s * x", "broadcast_to(t3, shape=(3, 3))"],
        ),
        # Casts and choices
        (lambda x: x.astype("float64").astype("float32"), [x], []),
        (
            lambda x: x.astype("float16").astype("float32"),
            [x],
            ["astype(x, dtype=dtype('float16'))", "astype(t1, dtype=dtype('float32'))"],
        ),
        (lambda x: ops.where(x > 0, x, x), [x], []),
        (
            lambda x, y: ops.where(ops.logical_not(x > 0), x, y),
            [x, y],
            ["x > 0", "where(t1, y, x)"],
        ),
        (lambda x: ops.stop_gradient(ops.identity(x)) ** 2, [x], ["square(x)"]),
        # What is positive, its relu shows as well, if it is there, and nothing else keeps x
        (
            lambda x: slope_of_relu(x + 1.0),
            [x],
            ["1.0", "x + 1.0", "relu(t1)", "sum(t2, axis=(0,), keepdims=False)", "gate(c, t2)"],
        ),
        (edu.grad(lambda x: edu.sum(edu.relu(x))), [x], ["1.0", "gate(c, x)"]),
        (
            lambda x: (lambda t: (slope_of_relu(t)[1], edu.relu(t)))(x + 1.0),
            [x],
            ["1.0", "x + 1.0", "gate(c, t1)", "relu(t1)"],
        ),
        (
            lambda x: (lambda t: (slope_of_relu(t), ops.exp(t)))(x + 1.0),
            [x],
            [
                "1.0",
                "x + 1.0",
                "relu(t1)",
                "sum(t2, axis=(0,), keepdims=False)",
                "gate(c, t1)",
                "exp(t1)",
            ],
        ),
        # Common subexpressions; 0.0 and -0.0, 1 and True are two
        (lambda x, y: (x * y, y * x), [x, y], ["x * y"]),
        (lambda x: (x + 0.0, x - -0.0), [x], ["x + 0.0", "x - -0.0"]),
        (lambda x: (x * 0.0, x * -0.0), [x], ["x * 0.0", "x * -0.0"]),
        # Constants
        (lambda x: x + edu.exp(edu.tensor(0.0)), [x], ["x + 1.0"]),
        (lambda x: x * edu.tensor(0.1), [x], ["x * 0.1"]),
        (
            lambda x: edu.where(x > 0, edu.tensor(1.0), 0.0),
            [x],
            ["1.0", "x > 0", "where(t1, c, 0.0)"],
        ),
    ],
)
def test_programs_are_simple(function: Any, arguments: Sequence[Any], expected: list[str]) -> None:
    assert program(function, *arguments) == expected


# What they leave alone


class Shouted(edu.Op):
    """x, said aloud."""

    effect = True
    no_gradient = "it is said only once"

    def forward(self, xp: Any, x: Any) -> Any:
        return x

    def infer(self, x: Any) -> Any:
        return x


class Called(edu.Op):
    """What a graph makes of x."""

    no_gradient = "it is only looked at"

    def forward(self, xp: Any, x: Any, *, graph: Graph) -> Any:
        raise NotImplementedError

    def infer(self, x: Any, *, graph: Graph) -> Any:
        return x


shouted, called = Shouted(), Called()


def known(graph: Graph, **values: Any) -> Graph:
    """A graph with values for some of its inputs, by their names."""
    constants = {x: edu.tensor(values[x.name]) for x in graph.inputs if x.name in values}
    inputs = tuple([x for x in graph.inputs if x not in constants])
    return replace(graph, inputs=inputs, constants={**graph.constants, **constants})


def test_an_effect_happens_as_often_as_it_was_asked_for() -> None:
    def function(x: Any) -> Any:
        shouted(x)
        shouted(x)
        return x + x

    graph = passes.optimize(edu.jit(function).trace(x))
    assert [made.op.name for made in graph.equations] == ["shouted", "shouted", "add"]
    graph = known(edu.jit(lambda c: shouted(c)).trace(x), c=np.ones(3, "float32"))
    assert passes.optimize(graph).equations == graph.equations


def test_what_does_not_change_stays_the_same_object() -> None:
    graph = edu.jit(lambda x: ops.sin(ops.exp(x) * 1.0)).trace(x)
    found = passes.optimize(graph)
    assert found.equations[0] is graph.equations[0]
    assert found.outputs == graph.outputs
    assert found.equations[1].place == graph.equations[2].place
    graph = edu.jit(lambda x: ops.sin(ops.exp(x))).trace(x)
    assert passes.optimize(graph) is graph


def test_a_known_value_is_computed_beforehand_but_not_a_large_one() -> None:
    def function(c: Any, x: Any) -> Any:
        return x + ops.exp(c), ops.broadcast_to(c, (1000, 1000))

    graph = passes.optimize(known(edu.jit(function).trace(s, x), c=np.float32(0)))
    assert [made.op.name for made in graph.equations] == ["add", "broadcast_to"]
    assert max([held.size for held in graph.constants.values()]) == 1


def test_what_fails_fails_when_the_program_runs() -> None:
    graph = edu.jit(lambda c: ops.linalg.inv(c)).trace(edu.ones((2, 2)))
    graph = passes.optimize(known(graph, c=np.zeros((2, 2), "float32")))
    assert [made.op.name for made in graph.equations] == ["inv"]
    with pytest.raises(edu.errors.LinAlgError, match="singular"):
        graph.run()


def test_graphs_inside_of_graphs_are_optimized() -> None:
    inner = edu.jit(lambda x: ops.negative(-x) * 1).trace(x)
    graph = edu.jit(lambda x: called(x, graph=inner)).trace(x)
    assert not passes.optimize(graph).equations[0].params["graph"].equations


def test_stages_name_the_passes_that_changed_something() -> None:
    graph = edu.jit(lambda x: ops.exp(x * 1.0) + ops.exp(x)).trace(x)
    found = dict(passes.stages(graph))
    assert list(found) == ["graph", "algebra", "common_subexpressions"]
    assert found["graph"] is graph


# What operations say they are linear in


STEP = {"size": 2, "step": 1, "padding": (0, 0)}
CALLS: dict[str, tuple[Sequence[Any], dict[str, Any]]] = {
    "reshape": ([(2, 3)], {"shape": (3, 2)}),
    "permute_dims": ([(2, 3)], {"axes": (1, 0)}),
    "broadcast_to": ([(3,)], {"shape": (2, 3)}),
    "getitem_transpose": ([(2,)], {"index": (slice(1, 3),), "shape": (4,)}),
    "sum": ([(2, 3)], {"axis": (0,), "keepdims": False}),
    "mean": ([(2, 3)], {"axis": (0,), "keepdims": False}),
    "deviations": ([(2, 3), (2, 1)], {"axis": (1,)}),
    "matmul": ([(2, 3), (3, 4)], {}),
    "softmax_slope": ([(2, 3), (2, 3)], {"axis": (1,)}),
    "log_softmax_slope": ([(2, 3), (2, 3)], {"axis": (1,)}),
    "sparse_crossentropy_slope": (
        [np.array([2, 0], "int32"), (2, 3), (2, 3), (2, 1), (2,)],
        {"axis": 1},
    ),
    "standardize_slope": ([(2, 3), (2, 3)], {"axis": (1,), "epsilon": 0.01}),
    "root_mean_square_slope": ([(2, 3), (2, 3)], {"axis": (1,), "epsilon": 0.01}),
    "layer_norm_slope": ([(2, 3), (2, 3), (3,)], {"axis": (1,), "epsilon": 0.01}),
    "put": ([(2,), np.array([1, 0], "int32")], {"size": 3, "axis": 0, "distinct": True}),
    "overlap_add": ([(4, 2)], {"length": 5, "axis": 0, "dilation": 1, **STEP}),
    "conv": ([(2, 5, 3), (2, 3, 4)], {}),
    "conv_transpose": ([(2, 5, 3), (2, 4, 3)], {}),
    "conv_kernel": ([(2, 5, 3), (2, 4, 6)], {"window": 2}),
    "to_largest": ([(2, 3), (2, 4), (2, 3)], {"axis": 1, **STEP}),
    "at_largest": ([(2, 4), (2, 4), (2, 3)], {"axis": 1, **STEP}),
}


def linear() -> list[type[edu.Op]]:
    """The operations of the package that say they are linear in something."""
    found, left = [], [edu.Op]
    while left:
        for each in left.pop().__subclasses__():
            left.append(each)
            ours = each.__module__.startswith("tinygrad_edu") and not each.__name__.startswith("_")
            if each.linear and ours:
                found.append(each)
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize("kind", linear(), ids=lambda each: each.__name__)
def test_twice_the_operand_is_twice_the_result(kind: type[edu.Op]) -> None:
    op = kind()
    shapes, params = CALLS.get(op.name, ([(2, 3)] * (op.arity or 0), {}))

    def compute(*arrays: np.ndarray) -> Any:
        if op.name.startswith("conv"):
            return op(*arrays, **params).numpy()
        return op.kernel(np)(*arrays, **params)

    rng = np.random.default_rng(0)
    arrays = [
        given if isinstance(given, np.ndarray) else rng.normal(size=given) for given in shapes
    ]
    once = compute(*arrays)
    for i in op.linear:
        twice = compute(*[2 * a if j == i else a for j, a in enumerate(arrays)])
        both = zip(once, twice, strict=True) if isinstance(once, tuple) else [(once, twice)]
        for before, now in both:
            np.testing.assert_array_equal(now, 2 * before)
