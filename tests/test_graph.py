"""Graph: printing, checking, running, drawing, costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors
from tinygrad_edu.graph import Equation, Graph, Value

ops = edu.ops
F4 = np.dtype("float32")


def traced(function: Callable[..., Any], *arguments: Any) -> Graph:
    return edu.jit(function).trace(*arguments).check()


def layer(x: Any, W: Any, b: Any) -> Any:
    return edu.sum(edu.tanh(x @ W + b) ** 2, axis=1)


X, W, B = np.ones((4, 2), "f4"), np.ones((2, 3), "f4"), np.ones(3, "f4")


def test_it_reads_like_mathematics() -> None:
    assert str(traced(layer, X, W, B)).splitlines() == [
        "graph(x: float32(4, 2), W: float32(2, 3), b: float32(3)):",
        "  t1: float32(4, 3) = x @ W",
        "  t2: float32(4, 3) = t1 + b",
        "  t3: float32(4, 3) = tanh(t2)",
        "  t4: float32(4, 3) = t3 ** 2",
        "  t5: float32(4) = sum(t4, axis=(1,), keepdims=False)",
        "  return t5",
    ]


def test_a_training_step_has_its_backward_pass_and_its_update() -> None:
    w = edu.Variable(3.0, name="weight")

    def step(x: Any) -> Any:
        with edu.GradientTape() as tape:
            loss = w * x
        w.assign_sub(tape.gradient(loss, w))
        return loss

    graph = traced(step, edu.tensor(2.0))
    assert [x.name for x in graph.inputs] == ["x", "weight"]
    assert [made.op.name for made in graph.equations] == ["multiply", "multiply", "subtract"]
    loss, new = graph.run(2.0, 3.0)
    assert (loss.item(), new.item()) == (6.0, 1.0)
    assert w.numpy() == 3.0


def test_running_it_is_what_it_means() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=a.shape).astype("f4") for a in (X, W, B)]
    (found,) = traced(layer, X, W, B).run(*arrays)
    np.testing.assert_allclose(
        found.numpy(), (np.tanh(arrays[0] @ arrays[1] + arrays[2]) ** 2).sum(1), rtol=1e-6
    )


def test_tapes_and_vmap_go_through_a_run() -> None:
    graph = traced(lambda x: x**3, edu.tensor(2.0))
    assert edu.grad(lambda x: graph.run(x)[0])(2.0).item() == 12.0
    assert edu.vmap(lambda x: graph.run(x)[0])(edu.tensor([1.0, 2.0])).tolist() == [1.0, 8.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X,), "1 arguments for 3 inputs"),
        ((X.T, W, B), r"x is float32\(4, 2\), not float32\(2, 4\)"),
        ((X, W, B.astype("f8")), r"b is float32\(3\), not float64\(3\)"),
    ],
)
def test_a_run_refuses_what_is_no_input(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(errors.GraphError, match=message):
        traced(layer, X, W, B).run(*arguments)


def test_what_is_ill_typed_is_found() -> None:
    graph = traced(layer, X, W, B)
    first, *rest = graph.equations
    wide = Value((4, 3), np.dtype("float64"), "wide")
    wrong = replace(graph, equations=(replace(first, outputs=(wide,)), *rest))
    with pytest.raises(errors.GraphError, match=r"matmul: makes float32\(4, 3\), not float64"):
        wrong.check()


def test_what_dangles_is_found() -> None:
    graph = traced(layer, X, W, B)
    with pytest.raises(errors.GraphError, match=r"add: its input t1.* is not made before"):
        replace(graph, equations=graph.equations[1:]).check()
    with pytest.raises(errors.GraphError, match=r"output t5.* is never made"):
        replace(graph, equations=graph.equations[:-1]).check()


def test_what_is_made_twice_is_found() -> None:
    graph = traced(layer, X, W, B)
    with pytest.raises(errors.GraphError, match=r"t1.* is made twice"):
        replace(graph, equations=(graph.equations[0], *graph.equations)).check()
    with pytest.raises(errors.GraphError, match=r"x.* is made twice"):
        replace(graph, inputs=(*graph.inputs, graph.inputs[0])).check()


def test_what_an_operation_refuses_is_found() -> None:
    x, y, z = [Value(shape, F4, name) for shape, name in (((2,), "x"), ((3,), "y"), ((3,), "z"))]
    graph = Graph((x, y), (Equation(ops.add, (x, y), {}, (z,)),), (z,), {})
    with pytest.raises(errors.GraphError, match=r"add: its rule refuses .* do not broadcast"):
        graph.check()


def test_a_constant_that_is_another_is_found() -> None:
    c = Value((2,), F4, "c")
    with pytest.raises(errors.GraphError, match=r"constant c.* holds float32\(3\)"):
        Graph((), (), (c,), {c: edu.ones(3)}).check()


def test_values_of_one_name_are_told_apart() -> None:
    x, y = Value((2,), F4, "x"), Value((2,), F4, "x")
    text = str(Graph((x,), (Equation(ops.negative, (x,), {}, (y,)),), (y,), {}))
    assert text.splitlines()[1:] == ["  x_2: float32(2) = -x", "  return x_2"]


def test_costs_are_those_of_mathematics() -> None:
    graph = traced(lambda x, W, b: edu.exp(x @ W + b), np.ones((5, 7)), np.ones((7, 3)), np.ones(3))
    rows = graph.cost().rows
    assert [row.flops for row in rows] == [2 * 5 * 7 * 3, 15, 15]
    assert rows[0].nbytes == 8 * (35 + 21 + 15)
    assert graph.cost().flops == 240
    assert "matmul" not in str(graph.cost())
    assert "x @ W" in str(graph.cost())


def test_a_convolution_costs_a_product_for_each_place() -> None:
    graph = traced(ops.conv, np.ones((2, 8, 8, 3), "f4"), np.ones((3, 3, 3, 4), "f4"))
    assert graph.cost().flops == 2 * (2 * 6 * 6 * 4) * (3 * 3 * 3)


def test_it_can_be_drawn() -> None:
    text = traced(layer, X, W, B).to_dot()
    assert text.startswith("digraph {")
    assert text.count("->") == 8  # seven operands and one result
    assert 'label="tanh"' in text
    assert 'label="power 2"' in text


def test_it_is_drawn_into_a_file(tmp_path: Path) -> None:
    graph = traced(lambda x: (edu.cond(x[0] > 0, edu.sin, edu.cos, x), x), np.ones(3, "f4"))
    graph.draw(tmp_path / "graph.svg")
    text = (tmp_path / "graph.svg").read_text()
    for word in ("getitem", "greater 0", "cond", "float32(3)", "output 0", "output 1"):
        assert f">{word}</text>" in text
    with pytest.raises(errors.ArgumentError, match=r"'graph.txt' has to end in"):
        graph.draw(tmp_path / "graph.txt")
