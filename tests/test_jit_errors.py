"""jit: what cannot be compiled says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors

from .compiled import as_eager, same


def _branch(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


@pytest.mark.parametrize(
    "attempt",
    [
        _branch,
        bool,
        float,
        int,
        np.asarray,
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: range(x),
        lambda x: f"{x:.3f}",
        lambda x: [1, 2][x],
        lambda x: np.array([x]),
        lambda x: x in (1, 2),
        lambda x: edu.random.key(x),
    ],
)
def test_what_is_traced_has_no_value(attempt: Callable[[Any], Any], device: str) -> None:
    with pytest.raises(errors.TracingError, match=r"edu\.cond.*static.*edu\.debug_print"):
        edu.jit(attempt)(edu.tensor(1, "int32"))


def test_the_error_names_the_users_line() -> None:
    @edu.jit
    def branch(x: Any) -> Any:
        y = x * 2.0
        if y.sum() > 0:  # the line that asks
            return x
        return -x

    with pytest.raises(errors.TracingError, match=r"test_jit_errors\.py:\d+: if y\.sum\(\) > 0:"):
        branch(edu.ones(2))


def test_what_is_traced_cannot_be_used_afterwards() -> None:
    kept: list[Any] = []
    edu.jit(kept.append)(edu.ones(3))
    x = kept[0]
    for use in (lambda: x + 1.0, lambda: x.numpy(), lambda: edu.exp(x), lambda: x[0], bool):
        with pytest.raises(errors.TracingError, match=r"float32\(3\).*after.*return it"):
            use(x[:1]) if use is bool else use()
    assert "traced" in repr(x)
    assert (x.shape, x.dtype) == ((3,), edu.float32)
    with pytest.raises(errors.TracingError):
        edu.jit(lambda y: y + x)(edu.ones(3))
    with pytest.raises(errors.TracingError):
        edu.Variable(edu.zeros(3)).assign(x)


def test_a_traced_value_shows_shape_and_dtype() -> None:
    shown = []

    @edu.jit
    def show(x: Any, n: Any) -> Any:
        shown.extend([repr(x), str(x * 2.0), f"{x}", repr(n)])
        return x

    show(edu.ones((3, 2)), 3)
    assert shown == ["Tensor(shape=(3, 2), dtype=float32, traced)"] * 3 + [
        "Tensor(shape=(), dtype=int32, traced)"
    ]


def test_tensors_from_outside_are_constants(device: str) -> None:
    x = edu.tensor([1.0, 2.0])
    holder = {"x": x}
    jitted = edu.jit(lambda y: y * holder["x"] + edu.tensor([1.0, 1.0]))
    assert jitted(edu.ones(2)).tolist() == [2, 3]
    holder["x"] = edu.zeros(2)
    assert jitted(edu.ones(2)).tolist() == [2, 3]
    assert len(jitted.trace(edu.ones(2)).constants) == 2


def test_operations_may_ask_for_the_value_of_a_constant() -> None:
    groups = edu.tensor([0, 1, 1, 2])

    def f(weights: Any) -> Any:
        return edu.ops.bincount(groups, weights=weights)

    as_eager(f, edu.tensor([1.0, 2.0, 3.0, 4.0]))
    same(edu.jit(f)(edu.ones(4)), edu.tensor([1.0, 2.0, 1.0]))


def test_a_tensor_from_outside_that_a_tape_follows_is_refused() -> None:
    x = edu.tensor([1.0, 2.0])
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = x * 2.0
        with pytest.raises(errors.TracingError, match=r"test_jit_errors\.py.*\(2,\).*argument"):
            edu.jit(lambda z: z * y)(edu.ones(2))


def test_a_tensor_of_vmap_from_outside_is_refused() -> None:
    def outer(x: Any) -> Any:
        return edu.jit(lambda y: y * x)(edu.ones(()))

    with pytest.raises(errors.TracingError, match=r"test_jit_errors\.py.*argument"):
        edu.vmap(outer)(edu.tensor([1.0, 2.0]))


def test_an_error_while_tracing_leaves_state_as_it_was() -> None:
    v = edu.Variable([1.0, 2.0], requires_grad=True)
    (v * v).sum().backward()
    grad, key, held = v.grad, edu.random.state(), v.value

    @edu.jit
    def broken(x: Any) -> Any:
        v.assign_add(x)
        v[0].assign(5.0)
        edu.random.uniform(shape=(2,))
        (v * x).sum().backward()
        v.grad = None
        raise KeyError("here")

    for _ in range(2):
        with pytest.raises(KeyError):
            broken(edu.ones(2))
    assert v.value is held
    assert v.grad is grad
    assert edu.random.state() == key
    assert broken.cache_info().size == 0
    with edu.GradientTape() as tape:
        y = (v * v).sum()
    same(tape.gradient(y, v), edu.tensor([2.0, 4.0]))


def test_errors_that_are_known_before_running_are_those_of_eager() -> None:
    x, y = edu.ones(2), edu.ones(3)
    for function in (lambda: x + y, lambda: x @ y, lambda: edu.sum(x, axis=2), lambda: x[5],
                     lambda: edu.reshape(x, (3,)), lambda: edu.concat([x, y[None]])):  # fmt: skip
        with pytest.raises(errors.Error) as eager:
            function()

        def inside(x: Any, y: Any, function: Any = function) -> Any:
            cells = {"x": x, "y": y}
            body = function.__code__
            return type(function)(body, {"edu": edu}, closure=_cells(cells, body.co_freevars))()

        with pytest.raises(type(eager.value)) as compiled:
            edu.jit(inside)(x, y)
        assert str(compiled.value) == str(eager.value)


def _cells(values: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    import types

    return tuple(types.CellType(values[name]) for name in names)


def test_assigning_what_does_not_fit_is_the_eager_error() -> None:
    v = edu.Variable([1.0, 2.0])
    with pytest.raises(errors.ShapeError, match=r"Variable\.assign"):
        edu.jit(lambda x: v.assign(x))(edu.ones(3))
    with pytest.raises(errors.DtypeError, match=r"Variable\.assign"):
        edu.jit(lambda x: v.assign(x))(edu.ones(2, dtype="float64"))
    assert v.tolist() == [1, 2]
