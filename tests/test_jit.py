"""jit: looking at the program, and doing without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu

from .compiled import same

# Looking at it


def test_trace_gives_a_graph_whose_meaning_is_the_function() -> None:
    v = edu.Variable([1.0, 2.0], name="weights")

    @edu.jit
    def step(x: Any, n: int = 2) -> Any:
        v.assign_add(x)
        return {"y": edu.exp(x) * v * n}

    x = edu.tensor([0.5, 1.0])
    graph = step.trace(x)
    assert isinstance(graph, edu.Graph)
    assert [value.name for value in graph.inputs] == ["x", "weights"]
    y, new = graph.check().run(x, v)
    np.testing.assert_allclose(y.numpy(), np.exp(x.numpy()) * new.numpy() * 2, rtol=1e-6)
    assert new.tolist() == [1.5, 3]
    assert v.tolist() == [1, 2]  # looking changes nothing
    assert step.cache_info() == (0, 0, 0, 64)
    assert "weights: float32(2)" in str(graph)
    same(step(x)["y"], y)


def test_lower_shows_each_stage_as_text() -> None:
    @edu.jit
    def f(x: Any, unused: Any) -> Any:
        unused + 1.0
        return edu.exp(x) * edu.exp(x)

    program = f.lower(edu.ones(3, device="numpy"), 1.0)
    assert program.as_text("graph") == str(f.trace(edu.ones(3), 1.0))
    assert program.as_text("graph").count("exp") == 2
    assert program.as_text("optimized").count("exp") == 1
    assert "def program(x" in program.as_text("python")
    assert program.as_text() == program.as_text("python")
    np.testing.assert_allclose(program(np.zeros(3, "float32"), np.float32(0))[0], np.ones(3))
    with pytest.raises(ValueError, match=r"'assembly'.*'graph', 'optimized', 'python'"):
        program.as_text("assembly")


def test_lower_gives_a_program_and_changes_nothing(device: str) -> None:
    v = edu.Variable([1.0, 2.0])

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(x)
        return v * x

    x = edu.ones(2)
    key = edu.random.state()
    step.lower(x)
    step.lower(x, device="numpy")
    assert v.tolist() == [1, 2]
    assert edu.random.state() == key


def test_an_equation_knows_the_users_line() -> None:
    graph = edu.jit(lambda x: edu.exp(x) * 2.0).trace(edu.ones(2))
    assert all("test_jit.py" in str(made.place) for made in graph.equations)


def test_the_function_runs_once_for_each_signature() -> None:
    printed = []

    @edu.jit
    def f(x: Any) -> Any:
        printed.append("traced")
        return x * 2.0

    for _ in range(3):
        f(edu.ones(2))
    assert printed == ["traced"]


# Without


def test_eager_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    v = edu.Variable([1.0])

    @edu.jit
    def f(x: Any) -> Any:
        calls.append(type(x._data))
        v.assign_add(x)
        if isinstance(x._data, np.ndarray) and x.sum() > 0:  # only eager code may ask
            return x * v
        return x * v

    x = edu.ones(1)
    same(f(x), edu.tensor([2.0]))
    monkeypatch.setattr(edu.config, "eager", True)
    same(f(x), edu.tensor([3.0]))
    same(f(x), edu.tensor([4.0]))
    assert calls[1:] == [np.ndarray] * 2
    assert f.cache_info() == (0, 1, 1, 64)
    monkeypatch.setattr(edu.config, "eager", False)
    same(f(x), edu.tensor([5.0]))
    assert len(calls) == 3
