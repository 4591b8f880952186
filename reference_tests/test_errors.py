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
# By the name of what users call.
SPOKEN_OF = {"split_at": "split"}
DTYPES = {"b": "bool", "i": "int32", "u": "uint8", "f": "float32"}

# What is called with x of shape (2, 3) and v of shape (3,), the error, a word of its message.
REFUSED: dict[str, tuple[Callable[[edu.Tensor, edu.Tensor], Any], type[Error], str]] = {
    "inner sizes": (lambda x, v: ops.matmul(x, x), ShapeError, "matmul"),
    "batch sizes": (
        lambda x, v: ops.matmul(edu.ones((2, 1, 3)), edu.ones((4, 3, 1))), ShapeError, "matmul"
    ),
    "a vector too long": (lambda x, v: ops.matmul(x, edu.ones(4)), ShapeError, "matmul"),
    "no axis to sum": (lambda x, v: ops.matmul(x, 2.0), ShapeError, "matmul"),
    "other sizes to sum": (lambda x, v: ops.vecdot(x, edu.ones(4)), ShapeError, "vecdot"),
    "other last sizes": (lambda x, v: ops.inner(x, edu.ones(4)), ShapeError, "inner"),
    "sizes of dot": (lambda x, v: ops.dot(x, edu.ones((2, 2, 2))), ShapeError, "dot"),
    "pairs of axes": (lambda x, v: ops.tensordot(x, x, axes=1), ShapeError, "tensordot"),
    "too many axes to sum": (lambda x, v: ops.tensordot(x, v, axes=2), ArgumentError, "tensordot"),
    "lists of other lengths": (
        lambda x, v: ops.tensordot(x, x, axes=([0, 1], [0])), ArgumentError, "tensordot"
    ),
    "terms and arrays": (lambda x, v: ops.einsum("ij,jk", x), ArgumentError, "einsum.*2 terms"),
    "letters and axes": (lambda x, v: ops.einsum("ijk", x), ShapeError, "einsum.*3 axes"),
    "sizes of a letter": (lambda x, v: ops.einsum("ij,jk", x, x), ShapeError, "einsum.*'j' is 3"),
    "a diagonal of unequal sizes": (lambda x, v: ops.einsum("ii", x), ShapeError, "einsum"),
    "a letter from nowhere": (lambda x, v: ops.einsum("ij->k", x), ArgumentError, "einsum.*'k'"),
    "a letter twice in front": (lambda x, v: ops.einsum("ij->ii", x), ArgumentError, "einsum"),
    "no letter": (lambda x, v: ops.einsum("i1", x), ArgumentError, "einsum.*'i1'"),
    "a lost ellipsis": (lambda x, v: ops.einsum("i...->i", x), ArgumentError, "einsum.*'...'"),
    "no array for einsum": (lambda x, v: ops.einsum("i"), ArgumentError, "einsum"),
    "not square": (lambda x, v: ops.inv(x), ShapeError, "inv.*square"),
    "not square for det": (lambda x, v: ops.det(x), ShapeError, "det.*square"),
    "not square for slogdet": (lambda x, v: ops.slogdet(x), ShapeError, "slogdet.*square"),
    "not square for cholesky": (lambda x, v: ops.cholesky(x), ShapeError, "cholesky.*square"),
    "not square for eigh": (lambda x, v: ops.eigh(x), ShapeError, "eigh.*square"),
    "not square for solve": (lambda x, v: ops.solve(x, x), ShapeError, "solve.*square"),
    "right sides": (lambda x, v: ops.solve(edu.eye(2), v), ShapeError, "solve.*2 columns, 3 rows"),
    "right sides of a triangle": (
        lambda x, v: ops.solve_triangular(edu.eye(2), v), ShapeError, "solve_triangular.*3 rows"
    ),
    "no matrix": (lambda x, v: ops.svd(v), ShapeError, "svd.*matrix"),
    "no matrix for qr": (lambda x, v: ops.qr(v), ShapeError, "qr.*matrix"),
    "an unknown mode": (lambda x, v: ops.qr(x, mode="raw"), ArgumentError, "qr.*'raw'"),  # type: ignore[arg-type]
    "a power that is not whole": (
        lambda x, v: ops.matrix_power(edu.eye(2), 0.5), ArgumentError, "matrix_power"  # type: ignore[arg-type]
    ),
    "an unknown norm": (lambda x, v: ops.matrix_norm(x, ord=3), ArgumentError, "matrix_norm.*3"),
    "a matrix's norm of a vector": (
        lambda x, v: ops.norm(v, "fro"), ArgumentError, "norm.*'fro'"
    ),
    "three axes of a norm": (
        lambda x, v: ops.norm(edu.ones((1, 1, 1)), 1, (0, 1, 2)),
        ArgumentError, "norm.*one axis or two"
    ),
    "vectors of two": (lambda x, v: ops.cross(x, edu.ones(2)), ShapeError, "cross.*size 3"),
    "another rank": (lambda x, v: ops.concat([x, v]), ShapeError, "concat"),
    "another size": (lambda x, v: ops.concat([x, edu.ones((2, 4))], axis=0), ShapeError, "concat"),
    "no such axis to join": (lambda x, v: ops.concat([x, x], axis=2), ArgumentError, "concat"),
    "nothing to join": (lambda x, v: ops.concat([]), ArgumentError, "concat"),
    "scalars to join": (lambda x, v: ops.concat([v.sum(), v.sum()]), ArgumentError, "concat"),
    "an axis to stack along": (
        lambda x, v: ops.stack([x, x], axis=4), ArgumentError, "stack: axis 4"
    ),
    "unequal sections": (lambda x, v: ops.split(x, 2, axis=1), ArgumentError, "split: 3 elements"),
    "no sections": (lambda x, v: ops.split(x, 0), ArgumentError, "split"),
    "a place to cut that is not whole": (
        lambda x, v: ops.split(x, [0.5]), ArgumentError, "split"  # type: ignore[list-item]
    ),
    "no such axis to split": (lambda x, v: ops.split(x, 1, axis=2), ArgumentError, "split: axis"),
    "no such axis to unstack": (lambda x, v: ops.unstack(v, axis=1), ArgumentError, "unstack"),
    "negative repetitions": (lambda x, v: ops.tile(x, (-1,)), ArgumentError, "tile"),
    "repeats of a fraction": (lambda x, v: ops.repeat(x, 1.5), ArgumentError, "repeat"),
    "repeats too few": (lambda x, v: ops.repeat(x, [1, 2], axis=1), ShapeError, "repeat: 2"),
    "negative repeats": (lambda x, v: ops.repeat(x, -1, axis=0), ArgumentError, "repeat"),
    "no such axis to flip": (lambda x, v: ops.flip(x, axis=2), ArgumentError, "flip: axis 2"),
    "shifts and axes": (
        lambda x, v: ops.roll(x, (1, 2, 3), axis=(0, 1)), ArgumentError, "roll: 3 shifts"
    ),
    "an unknown mode of pad": (
        lambda x, v: ops.pad(x, 1, "mirror"), ArgumentError, "pad: mode.*mirror"
    ),
    "negative widths": (lambda x, v: ops.pad(x, (-1, 1)), ArgumentError, "pad: pad_width"),
    "widths for other axes": (lambda x, v: ops.pad(x, [(1, 1)] * 3), ArgumentError, "pad: pad_w"),
    "widths that are not whole": (lambda x, v: ops.pad(x, 0.5), ArgumentError, "pad"),
    "a float around integers": (
        lambda x, v: ops.pad(edu.arange(3), 1, constant_values=0.5), DtypeError, "pad: constant"
    ),
    "nothing to reflect": (
        lambda x, v: ops.pad(x[:0], 1, "reflect"), ShapeError, "pad: axis 0.*empty"
    ),
    "no matrix to cut": (lambda x, v: ops.tril(v), ShapeError, "tril"),
    "a diagonal of one axis": (
        lambda x, v: ops.diagonal(x, axis1=1, axis2=-1), ArgumentError, "diagonal"
    ),
    "no matrix for a trace": (lambda x, v: ops.trace(v), ArgumentError, "diagonal: axis 1"),
    "a cube for diag": (lambda x, v: ops.diag(x[None]), ShapeError, "diag"),
    "a matrix for meshgrid": (lambda x, v: ops.meshgrid(x, v), ShapeError, "meshgrid"),
    "an order of meshgrid": (
        lambda x, v: ops.meshgrid(v, v, indexing="yx"), ArgumentError, "meshgrid"
    ),
    "not broadcastable together": (
        lambda x, v: ops.broadcast_arrays(x, edu.ones(4)), ShapeError, "broadcast_arrays"
    ),
    "one axis to turn in": (lambda x, v: ops.rot90(x, axes=(0, 0)), ArgumentError, "rot90"),
    "indices of floats": (lambda x, v: ops.take(x, v, axis=0), DtypeError, "take: indices"),
    "indices of another rank": (
        lambda x, v: ops.take_along_axis(x, [0]), ShapeError, "take_along_axis"
    ),
    "one_hot of floats": (lambda x, v: ops.one_hot(v, 3), DtypeError, "one_hot"),
    "places of too many axes": (
        lambda x, v: ops.scatter([[0, 0]], [1.0], (3,)), ShapeError, "scatter: indices"
    ),
    "values of another shape": (
        lambda x, v: ops.scatter([[0]], [1.0, 2.0], (3,)), ShapeError, "scatter: values"
    ),
    "unequal to stack": (lambda x, v: ops.stack([x, v]), ShapeError, "stack"),
    "a shape that is none": (lambda x, v: ops.reshape(x, None), ArgumentError, "reshape"),  # type: ignore[arg-type]
    "axes that are words": (lambda x, v: ops.transpose(x, "ab"), ArgumentError, "permute_dims"),  # type: ignore[arg-type]
    "a fraction of an axis": (
        lambda x, v: ops.expand_dims(x, axis=1.5),  # type: ignore[arg-type]
        ArgumentError,
        "expand_dims",
    ),
    "a letter to join along": (
        lambda x, v: ops.concat([x, x], axis="a"),  # type: ignore[arg-type]
        ArgumentError,
        "concat",
    ),
    "something to stack": (lambda x, v: ops.stack(None), ArgumentError, "stack"),  # type: ignore[arg-type]
    "places to roll to": (lambda x, v: ops.roll(x, None), ArgumentError, "roll"),  # type: ignore[arg-type]
    "places to split at": (lambda x, v: ops.split(x, None), ArgumentError, "split"),  # type: ignore[arg-type]
    "times to repeat": (lambda x, v: ops.repeat(x, [[1], [1, 2]]), ShapeError, "rectangular"),  # type: ignore[list-item]
    "an axis of a norm": (lambda x, v: ops.norm(x, axis=1.5), ArgumentError, "norm"),  # type: ignore[arg-type]
    "a share that is a word": (lambda x, v: ops.quantile(x, "half"), DtypeError, "numbers"),  # type: ignore[arg-type]
    "groups that are words": (lambda x, v: ops.group_norm(x, "two"), ArgumentError, "group_norm"),  # type: ignore[arg-type]
    "a word for alpha": (lambda x, v: ops.celu(x, "one"), ArgumentError, "celu"),  # type: ignore[arg-type]
    "a word for a rate": (lambda x, v: ops.dropout(x, "half"), ArgumentError, "dropout"),  # type: ignore[arg-type]
    "an array for a dtype": (lambda x, v: ops.astype(x, v.numpy()), DtypeError, "dtype"),  # type: ignore[arg-type]
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
    "a convolution of a matrix": (lambda x, v: ops.conv(x, x), ShapeError, "conv: takes a batch"),
    "channels that a kernel has not": (
        lambda x, v: ops.conv(edu.ones((1, 4, 3)), edu.ones((2, 2, 1))), ShapeError, "3 channels"
    ),
    "channels that groups do not divide": (
        lambda x, v: ops.conv(edu.ones((1, 4, 4)), edu.ones((2, 2, 3)), groups=2),
        ShapeError, "conv: 2 groups",
    ),
    "a window larger than what it slides on": (
        lambda x, v: ops.conv(edu.ones((1, 2, 1)), edu.ones((3, 1, 1))), ShapeError, "spans 3"
    ),
    "a window of nothing": (
        lambda x, v: ops.conv(edu.ones((1, 2, 1)), edu.ones((0, 1, 1))), ShapeError, "empty"
    ),
    "padding in capitals": (
        lambda x, v: ops.conv(edu.ones((1, 4, 1)), edu.ones((2, 1, 1)), padding="SAME"),
        ArgumentError, "did you mean 'same'",
    ),
    "padding for another axis": (
        lambda x, v: ops.conv(edu.ones((1, 4, 1)), edu.ones((2, 1, 1)), padding=((1, 1), (0, 0))),
        ArgumentError, "conv: padding",
    ),
    "an unknown data_format": (
        lambda x, v: ops.max_pool(edu.ones((1, 4, 1)), 2, data_format="channel_first"),  # type: ignore[arg-type]
        ArgumentError, "did you mean 'channels_first'",
    ),
    "strides of 0": (
        lambda x, v: ops.conv(edu.ones((1, 4, 1)), edu.ones((2, 1, 1)), 0), ArgumentError, "strides"
    ),
    "strides for another axis": (
        lambda x, v: ops.conv(edu.ones((1, 4, 1)), edu.ones((2, 1, 1)), (1, 1)),
        ArgumentError, "conv: strides",
    ),
    "channels of a transposed kernel": (
        lambda x, v: ops.conv_transpose(edu.ones((1, 4, 2)), edu.ones((2, 2, 1))),
        ShapeError, "conv_transpose: inputs with 2 channels",
    ),
    "cutting all off": (
        lambda x, v: ops.conv_transpose(
            edu.ones((1, 1, 1)), edu.ones((2, 1, 1)), padding=((1, 1),)
        ),
        ShapeError, "conv_transpose: the padding",
    ),
    "outputs of another convolution": (
        lambda x, v: ops.conv_kernel(edu.ones((1, 4, 1)), edu.ones((1, 4, 1)), 2),
        ShapeError, "conv_kernel: a convolution of these",
    ),
    "a pool without channels": (lambda x, v: ops.max_pool(x, 2), ShapeError, "max_pool"),
    "a pool larger than its inputs": (
        lambda x, v: ops.average_pool(edu.ones((1, 2, 1)), 3), ShapeError, "average_pool"
    ),
    "a pool of padding only": (
        lambda x, v: ops.max_pool(edu.ones((1, 4, 1)), 2, padding=((2, 0),)),
        ArgumentError, "max_pool: a padding",
    ),
    "a pool of nothing": (
        lambda x, v: ops.max_pool(edu.ones((1, 4, 1)), 0), ArgumentError, "pool_size"
    ),
    "a window too long": (lambda x, v: ops.sliding_windows(v, 4), ShapeError, "sliding_windows"),
    "windows that do not add up": (
        lambda x, v: ops.overlap_add(x, 5), ShapeError, "overlap_add: 5 numbers"
    ),
    "patches of another size": (
        lambda x, v: ops.fold(edu.ones((1, 4, 3)), 3, 2), ShapeError, "fold: takes"
    ),
    "patches of no image": (lambda x, v: ops.unfold(x, 2), ShapeError, "unfold"),
    "an unknown dtype": (lambda x, v: ops.astype(x, "float7"), DtypeError, "float7"),
    "a complex dtype": (lambda x, v: ops.astype(x, "complex64"), DtypeError, "complex"),
    "axes of softmax": (lambda x, v: ops.softmax(x, axis=2), ArgumentError, "softmax"),
    "axes of logsumexp": (lambda x, v: ops.logsumexp(x, axis=(0, 0)), ArgumentError, "logsumexp"),
    "axes of var": (lambda x, v: ops.var(x, axis=-3), ArgumentError, "var"),
    "a sum of booleans": (lambda x, v: ops.sum(x, dtype="bool"), DtypeError, "sum"),
    "a running sum of what": (lambda x, v: ops.cumulative_sum(x), ArgumentError, "cumulative_sum"),
    "no axis to run along": (
        lambda x, v: ops.cumulative_prod(v, axis=1), ArgumentError, "cumulative_prod"
    ),
    "a running maximum of what": (lambda x, v: ops.cummax(x), ArgumentError, "cummax"),
    "axes of cummin": (lambda x, v: ops.cummin(x, axis=2), ArgumentError, "cummin"),
    "axes of diff": (lambda x, v: ops.diff(x, axis=2), ArgumentError, "diff"),
    "fewer than no differences": (lambda x, v: ops.diff(x, n=-1), ArgumentError, "diff"),
    "differences of booleans": (lambda x, v: ops.diff(x > 0), DtypeError, "diff"),
    "another shape in front": (lambda x, v: ops.diff(x, prepend=v), ShapeError, "diff"),
    "axes of sort": (lambda x, v: ops.sort(x, axis=2), ArgumentError, "sort"),
    "more than there are": (lambda x, v: ops.top_k(x, 4), ArgumentError, "top_k"),
    "the largest of a scalar": (lambda x, v: ops.top_k(v.sum(), 1), ShapeError, "top_k"),
    "axes of median": (lambda x, v: ops.median(x, axis=(1, 1)), ArgumentError, "median"),
    "the median of nothing": (lambda x, v: ops.median(x[:0], axis=0), ShapeError, "median"),
    "a share above 1": (lambda x, v: ops.quantile(x, 50), ArgumentError, "quantile"),
    "an unknown method": (
        lambda x, v: ops.quantile(x, 0.5, method="best"),  # type: ignore[arg-type]
        ArgumentError, "quantile",
    ),
    "places in a matrix": (lambda x, v: ops.searchsorted(x, v), ShapeError, "searchsorted"),
    "an unknown side": (
        lambda x, v: ops.searchsorted(v, x, side="top"),  # type: ignore[arg-type]
        ArgumentError, "searchsorted",
    ),
    "counts of floats": (lambda x, v: ops.bincount(v), DtypeError, "bincount"),
    "counts in a matrix": (lambda x, v: ops.bincount([[1], [2]]), ShapeError, "bincount"),
    "counts below 0": (lambda x, v: ops.bincount([1, -1]), OutOfRangeError, "bincount"),
    "weights of another size": (
        lambda x, v: ops.bincount([1, 2], weights=v), ShapeError, "bincount"
    ),
    "halves of an odd axis": (lambda x, v: ops.glu(x), ArgumentError, "glu"),
    "a rate above 1": (lambda x, v: ops.dropout(x, 1.5), ArgumentError, "dropout"),
    "an alpha of 0": (lambda x, v: ops.celu(x, alpha=0), ArgumentError, "celu"),
    "a gamma too long": (
        lambda x, v: ops.layer_norm(x, edu.ones(4)), ShapeError, r"layer_norm.*\(4,\).*\(3,\)"
    ),
    "axes of rms_norm": (lambda x, v: ops.rms_norm(x, axis=2), ArgumentError, "rms_norm"),
    "a mean too short": (
        lambda x, v: ops.batch_normalization(x, edu.ones(2), v), ShapeError, "batch_normalization"
    ),
    "groups that do not divide": (lambda x, v: ops.group_norm(x, 2), ArgumentError, "group_norm"),
    "groups of examples": (lambda x, v: ops.group_norm(x, 2, axis=0), ArgumentError, "group_norm"),
    "an index of a table of floats": (lambda x, v: ops.embedding(v, x), DtypeError, "embedding"),
    "attention without heads": (
        lambda x, v: ops.dot_product_attention(x, x, x), ShapeError, "dot_product_attention"
    ),
    "a mask of numbers": (
        lambda x, v: ops.dot_product_attention(*[edu.ones((1, 2, 1, 3))] * 3, mask=x[:, :2]),
        DtypeError, "dot_product_attention.*boolean",
    ),
    "a bias too large": (
        lambda x, v: ops.dot_product_attention(*[edu.ones((1, 2, 1, 3))] * 3, bias=x),
        ShapeError, "dot_product_attention.*bias",
    ),
    "classes of floats": (
        lambda x, v: ops.sparse_categorical_crossentropy(v[:2], x), DtypeError, "sparse_categorical"
    ),
    "too many classes to find": (
        lambda x, v: ops.sparse_categorical_crossentropy([0, 1, 2], x), ShapeError,
        "sparse_categorical",
    ),
    "logits of another shape": (
        lambda x, v: ops.binary_crossentropy(v, x, from_logits=True), ShapeError,
        "binary_crossentropy",
    ),
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
    params = {**subject.calls[0].params, "axis": axis}
    with pytest.raises(ArgumentError, match=f"{subject}|{SPOKEN_OF.get(subject.name)}"):
        subject.function(edu.ones((2, 3), device=device), **params)


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
