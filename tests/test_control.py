"""Control flow as functions: at once, with gradients, and under vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import ArgumentError, DtypeError, Error, ShapeError

X = np.array([1.0, -2.0, 3.0])


def test_cond() -> None:
    f = lambda x: ops.cond(x > 0, lambda x: x * 2, lambda x: -x, x)
    assert [f(edu.tensor(x)).item() for x in X] == [2, 2, 6]
    assert_array_equal(edu.vmap(f)(X), [2, 2, 6])
    assert_array_equal(edu.vmap(edu.grad(f))(X), [2, -1, 2])


def test_cond_calls_one_branch_only() -> None:
    def never(x: Any) -> Any:
        raise AssertionError

    assert ops.cond(True, lambda x: x, never, 3.0) == 3.0


def test_switch() -> None:
    branches = [lambda x: x, lambda x: x * 10, lambda x: x * 100]
    places = np.array([0, 1, 2, 7, -3], "int32")
    assert [ops.switch(int(i), branches, 1.0) for i in places] == [1, 10, 100, 100, 1]
    found = edu.vmap(lambda i: ops.switch(i, branches, 1.0))(places)
    assert_array_equal(found, [1, 10, 100, 100, 1])


def test_while_loop() -> None:
    def f(x: Any) -> Any:
        return ops.while_loop(lambda s: s[0] < 100, lambda s: (s[0] * 3, s[1] + 1), (x, 0))

    assert [x.item() for x in f(edu.tensor(50.0))] == [150, 1]
    values, turns = edu.vmap(f)(np.array([1.0, 50.0, 200.0]))
    assert_array_equal(values, [243, 150, 200])
    assert_array_equal(turns, [5, 1, 0])
    assert ops.while_loop(lambda x: True, lambda x: x + 1, 0, maximum_iterations=7).item() == 7


def test_fori_loop() -> None:
    f = lambda n: ops.fori_loop(0, n, lambda i, x: x * 2.0 + i, 1.0)
    assert f(3).item() == 12
    assert_array_equal(edu.vmap(f)(np.array([0, 3, 1], "int32")), [1, 12, 2])


def test_loops_have_gradients() -> None:
    power = lambda x: ops.fori_loop(0, 3, lambda i, y: y * x, 1.0)
    assert edu.grad(power)(2.0).item() == 12
    assert edu.grad(edu.grad(power))(2.0).item() == 12
    grow = lambda x: ops.while_loop(lambda y: y < 10, lambda y: y * x, x)
    assert_array_equal(edu.vmap(edu.grad(grow))(np.array([2.0, 4.0])), [32, 8])


def test_scan_is_the_loop_written_out() -> None:
    xs = np.array([1.0, 2.0, 3.0])
    f = lambda h, x: (ops.tanh(h * 0.5 + x), h)
    carry, ys = ops.scan(f, 0.0, xs)
    h, kept = 0.0, []
    for x in xs:
        kept.append(h)
        h = np.tanh(h * 0.5 + x)
    assert_allclose(carry, h)
    assert_allclose(ys, kept)
    _, backwards = ops.scan(lambda total, x: (total + x, total), 0.0, xs, reverse=True)
    assert_array_equal(backwards, [5, 3, 0])
    counted, _ = ops.scan(lambda n, _: (n + 1, n), 0, length=4)
    assert counted.item() == 4


def test_scan_of_structures_has_gradients_and_batches() -> None:
    def f(w: Any, xs: Any) -> Any:
        step = lambda h, x: ({"h": ops.tanh(h["h"] * w + x["a"])}, {"y": h["h"] * 2})
        carry, ys = ops.scan(step, {"h": ops.zeros_like(w)}, {"a": xs})
        return carry["h"] + ops.sum(ys["y"])

    xs = np.array([[0.1, 0.2, 0.3], [0.5, -0.2, 0.1]])
    edu.check_grads(lambda w: f(w, edu.tensor(xs[0])), [0.7], order=2)
    found = edu.vmap(edu.grad(f), in_axes=(None, 0))(np.array(0.7), xs)
    rows = [edu.grad(f)(np.array(0.7), row).item() for row in xs]
    assert_allclose(found, rows)


def test_map() -> None:
    assert_array_equal(ops.map(lambda x: x * x, X), X * X)
    assert_array_equal(edu.grad(lambda x: ops.sum(ops.map(ops.square, x)))(X), 2 * X)


REFUSED: dict[str, tuple[Callable[[], Any], type[Error], str]] = {
    "a vector decides": (
        lambda: ops.cond(edu.ones(2) > 0, abs, abs, 1.0), ShapeError, r"cond.*\(2,\)"
    ),
    "branches of other shapes": (
        lambda: edu.vmap(lambda x: ops.cond(x > 0, lambda: edu.ones(2), lambda: edu.ones(3)))(X),
        ShapeError, "cond",
    ),
    "branches of other structures": (
        lambda: edu.vmap(lambda x: ops.cond(x > 0, lambda: (x,), lambda: x))(X),
        ArgumentError, "structure",
    ),
    "no branches": (lambda: ops.switch(0, []), ArgumentError, "switch"),
    "a float chooses": (lambda: ops.switch(0.5, [abs]), DtypeError, "switch.*float32"),
    "a shape changes": (
        lambda: ops.fori_loop(0, 2, lambda i, x: ops.concat([x, x]), edu.ones(2)),
        ShapeError, "fori_loop",
    ),
    "a dtype changes": (
        lambda: ops.while_loop(lambda x: x < 3, lambda x: x * 2.5, edu.tensor(1)),
        ShapeError, "while_loop.*int32.*float32",
    ),
    "a structure changes": (
        lambda: ops.scan(lambda c, x: ((c, c), x), 0.0, X), ArgumentError, "scan"
    ),
    "no pair": (lambda: ops.scan(lambda c, x: c, 0.0, X), ArgumentError, "pair"),
    "lengths": (
        lambda: ops.scan(lambda c, x: (c, c), 0.0, (X, X[:2])), ShapeError, "scan"
    ),
    "no length": (lambda: ops.scan(lambda c, x: (c, c), 0.0), ShapeError, "length"),
    "another length": (
        lambda: ops.scan(lambda c, x: (c, c), 0.0, X, length=2), ShapeError, "length 2"
    ),
    "a scalar": (lambda: ops.map(lambda x: x, 1.0), ShapeError, "map"),
    "nothing to keep": (lambda: ops.map(lambda x: x, X[:0]), ShapeError, "no turns"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    call, error, word = REFUSED[what]
    with pytest.raises(error, match=word):
        call()
