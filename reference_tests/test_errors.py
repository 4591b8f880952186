"""What an operation cannot take, it refuses with an error of ours that names it, on every device:
shapes that do not fit, dtypes it is not for, axes that are not there.

Generated where the definition says what is accepted; a table for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import ArgumentError, DtypeError, Error, OutOfRangeError, ShapeError
from tinygrad_edu.op import Elementwise

from .subjects import SUBJECTS, Subject
from .test_operations import EVERY

DEVICES = ("numpy", "xla")
ELEMENTWISE = [s for s in EVERY if isinstance(s.op, Elementwise)]
WITH_AXIS = [
    s for s in EVERY if s.op is not None and s.op.arity == 1 and "axis" in s.calls[0].params
]
DTYPES = {"b": "bool", "i": "int32", "u": "uint8", "f": "float32"}

# What is called with x of shape (2, 3) and v of shape (3,), the error, a word of its message.
REFUSED: dict[str, tuple[Callable[[edu.Tensor, edu.Tensor], Any], type[Error], str]] = {
    "inner sizes": (lambda x, v: ops.matmul(x, x), ShapeError, "matmul"),
    "batch sizes": (
        lambda x, v: ops.matmul(edu.ones((2, 1, 3)), edu.ones((4, 3, 1))), ShapeError, "matmul"
    ),
    "a vector too long": (lambda x, v: ops.matmul(x, edu.ones(4)), ShapeError, "matmul"),
    "no axis to sum": (lambda x, v: ops.matmul(x, 2.0), ShapeError, "matmul"),
    "another rank": (lambda x, v: ops.concat([x, v]), ShapeError, "concat"),
    "another size": (lambda x, v: ops.concat([x, edu.ones((2, 4))], axis=0), ShapeError, "concat"),
    "no such axis to join": (lambda x, v: ops.concat([x, x], axis=2), ArgumentError, "concat"),
    "nothing to join": (lambda x, v: ops.concat([]), ArgumentError, "concat"),
    "scalars to join": (lambda x, v: ops.concat([v.sum(), v.sum()]), ArgumentError, "concat"),
    "unequal to stack": (lambda x, v: ops.stack([x, v]), ShapeError, "stack"),
    "too many elements": (lambda x, v: ops.reshape(x, (4, 2)), ShapeError, "reshape"),
    "two sizes left open": (lambda x, v: ops.reshape(x, (-1, -1)), ShapeError, "reshape"),
    "a size that is not whole": (
        lambda x, v: ops.reshape(x, [0.5]), ArgumentError, "reshape"  # type: ignore[list-item]
    ),
    "not broadcastable": (lambda x, v: ops.broadcast_to(x, (2, 4)), ShapeError, "broadcast_to"),
    "a smaller shape": (lambda x, v: ops.broadcast_to(x, (3,)), ShapeError, "broadcast_to"),
    "an axis twice": (lambda x, v: ops.permute_dims(x, (0, 0)), ArgumentError, "permute_dims"),
    "an axis missing": (lambda x, v: ops.permute_dims(x, (0,)), ArgumentError, "permute_dims"),
    "no such axis to move": (lambda x, v: ops.moveaxis(x, 2, 0), ArgumentError, "moveaxis"),
    "an axis of size 3": (lambda x, v: ops.squeeze(x, axis=1), ShapeError, "squeeze"),
    "a place twice": (lambda x, v: ops.expand_dims(x, axis=(0, 0)), ArgumentError, "expand_dims"),
    "too far": (lambda x, v: x[5], OutOfRangeError, "index"),
    "too far in an array": (lambda x, v: x[:, np.array([0, 3])], OutOfRangeError, "index"),
    "too many indices": (lambda x, v: x[0, 0, 0], OutOfRangeError, "index"),
    "an index of floats": (lambda x, v: x[np.array([0.5])], DtypeError, "index"),
    "a mask that does not fit": (lambda x, v: x[np.ones(3, bool)], OutOfRangeError, "index"),
    "a slice of floats": (lambda x, v: x[0.5:], DtypeError, "index"),
    "values too many": (lambda x, v: x.at[0].set(edu.ones(4)), ArgumentError, "at"),
    "targets of another shape": (
        lambda x, v: ops.mean_squared_error(v, edu.ones((3, 1))), ShapeError, "mean_squared_error"
    ),
    "an unknown dtype": (lambda x, v: ops.astype(x, "float7"), DtypeError, "float7"),
    "a complex dtype": (lambda x, v: ops.astype(x, "complex64"), DtypeError, "complex"),
    "axes of softmax": (lambda x, v: ops.softmax(x, axis=2), ArgumentError, "softmax"),
    "axes of logsumexp": (lambda x, v: ops.logsumexp(x, axis=(0, 0)), ArgumentError, "logsumexp"),
    "axes of var": (lambda x, v: ops.var(x, axis=-3), ArgumentError, "var"),
}  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subject", [s for s in ELEMENTWISE if s.arity > 1], ids=str)
def test_shapes_that_do_not_broadcast(subject: Subject, device: str) -> None:
    shapes = [(2, 3), (4,), (1,)][: subject.arity]
    arrays = [edu.ones(s, dtype=subject.dtypes[0], device=device) for s in shapes]
    with pytest.raises(ShapeError, match=rf"{subject}.*\(2, 3\).*\(4,\)"):
        subject.function(*arrays)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subject", ELEMENTWISE, ids=str)
def test_dtypes_that_an_operation_does_not_accept(subject: Subject, device: str) -> None:
    assert isinstance(subject.op, Elementwise)
    for kind in set(DTYPES) - set(subject.op.accepts):
        arrays = [edu.ones(2, dtype=DTYPES[kind], device=device)] * subject.arity
        with pytest.raises(DtypeError, match=f"{subject}.*{DTYPES[kind]}"):
            subject.function(*arrays)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subject", WITH_AXIS, ids=str)
@pytest.mark.parametrize("axis", [2, -3, "x", 0.0, True])
def test_axes_that_are_not_there(subject: Subject, axis: Any, device: str) -> None:
    with pytest.raises(ArgumentError, match=str(subject)):
        subject.function(edu.ones((2, 3), device=device), axis=axis)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_nothing_to_choose_from(name: str, device: str) -> None:
    with pytest.raises(ShapeError, match=name):
        SUBJECTS[name].function(edu.ones((2, 0), device=device), axis=1)


@pytest.mark.parametrize("subject", EVERY, ids=str)
def test_complex_numbers_are_refused(subject: Subject) -> None:
    called = subject.calls[0]
    arrays = [np.ones(shape, "complex64") for shape in called.shapes]
    with pytest.raises(DtypeError, match="complex"):
        subject.function(*arrays, **called.params)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_by_name(what: str, device: str) -> None:
    function, error, word = REFUSED[what]
    with edu.device(device), pytest.raises(error, match=word):
        function(edu.ones((2, 3)), edu.ones(3))
