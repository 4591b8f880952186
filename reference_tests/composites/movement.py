"""Movement that is composed of other operations, and its counterparts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_edu import ops

from ..calls import call
from .row import Row


def _permuted(x: Any, axes: Any) -> Any:
    return x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes)


def _joined(parts: Any) -> Any:
    """Several results as one, in reverse, so that their order counts."""
    return ops.concat([ops.reshape(part, -1) for part in parts][::-1])


_JOINED = {
    "tensorflow": lambda tf, parts: tf.concat([tf.reshape(p, [-1]) for p in parts][::-1], 0),
    "torch": lambda torch, parts: torch.cat([p.reshape(-1) for p in parts][::-1]),
    "jax": lambda jax, parts: jax.numpy.concatenate([p.reshape(-1) for p in parts][::-1]),
}


def _several(**references: Any) -> dict[str, Any]:
    """References that give several results, as ones that give one."""
    return {
        name: lambda module, *xs, _name=name, _function=function, **params: _JOINED[_name](
            module, _function(module, *xs, **params)
        )
        for name, function in references.items()
    }


def _tensorflow_diagonal(tf: Any, x: Any, offset: int, axis1: int, axis2: int) -> Any:
    rest = [i for i in range(len(x.shape)) if i not in (axis1, axis2)]
    matrices = tf.transpose(x, [*rest, axis1, axis2])
    if abs(offset) >= max(matrices.shape[-2:]):
        return matrices[..., :0, 0]  # TensorFlow has no diagonal there
    return tf.linalg.diag_part(matrices, k=offset)


def _by_places(tf: Any, x: Any, pad_width: Any, mode: str) -> Any:
    """What TensorFlow has no padding for: it gathers, from a reshaped array, whose gradient is an
    array and not a list of rows."""
    for axis, width in enumerate(pad_width):
        x = tf.reshape(x, x.shape)
        x = tf.gather(x, np.pad(np.arange(x.shape[axis]), width, mode), axis=axis)  # type: ignore[call-overload]
    return x


def _torch_pad(torch: Any, x: Any, pad_width: Any, mode: str) -> Any:
    """Axis by axis: PyTorch pads two in one go only where there are four."""
    names = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    for axis, width in enumerate(pad_width):
        moved = x.movedim(axis, -1)
        if mode == "symmetric":
            size = moved.shape[-1]
            before, behind = moved[..., : width[0]], moved[..., size - width[1] :]
            padded = torch.cat([before.flip(-1), moved, behind.flip(-1)], -1)
        else:
            rows = moved.reshape(-1, 1, moved.shape[-1])
            padded = torch.nn.functional.pad(rows, width, names[mode])
            padded = padded.reshape(*moved.shape[:-1], -1)
        x = padded.movedim(-1, axis)
    return x


_MATRICES = (call((3, 3), k=0), call((2, 4), k=1), call((2, 3, 2), k=-1), call((0, 2), k=0))
_DIAGONALS = (
    call((3, 3), offset=0, axis1=0, axis2=1),
    call((2, 4), offset=1, axis1=0, axis2=1),
    call((4, 2), offset=-1, axis1=0, axis2=1),
    call((2, 3, 4), offset=-1, axis1=2, axis2=0),
    call((2, 3), offset=3, axis1=0, axis2=1),
)


COMPOSITES: dict[str, Row] = {
    "atleast_1d": Row(
        ops.atleast_1d,
        {
            "tensorflow": "experimental.numpy.atleast_1d",
            "torch": "atleast_1d",
            "jax": "numpy.atleast_1d",
        },
        (call(()), call((3,)), call((2, 3))),
    ),
    "atleast_2d": Row(
        ops.atleast_2d,
        {
            "tensorflow": "experimental.numpy.atleast_2d",
            "torch": "atleast_2d",
            "jax": "numpy.atleast_2d",
        },
        (call(()), call((3,)), call((2, 3, 1))),
    ),
    "atleast_3d": Row(
        ops.atleast_3d,
        {
            "tensorflow": "experimental.numpy.atleast_3d",
            "torch": "atleast_3d",
            "jax": "numpy.atleast_3d",
        },
        (call(()), call((3,)), call((2, 3)), call((2, 3, 1))),
    ),
    "broadcast_arrays": Row(
        lambda *xs: _joined(ops.broadcast_arrays(*xs)),
        _several(
            tensorflow=lambda tf, *xs: [
                tf.broadcast_to(x, np.broadcast_shapes(*[tuple(x.shape) for x in xs])) for x in xs
            ],
            torch=lambda torch, *xs: torch.broadcast_tensors(*xs),
            jax=lambda jax, *xs: jax.numpy.broadcast_arrays(*xs),
        ),
        (call((2, 1), (3,)), call((), (2, 3), (2, 1)), call((3,), (3,))),
    ),
    "diag": Row(
        ops.diag,
        {
            "tensorflow": "experimental.numpy.diag",
            "torch": lambda torch, x, k: torch.diag(x, k),
            "jax": "numpy.diag",
        },
        (call((3,), k=0), call((2,), k=1), call((2,), k=-2), call((3, 2), k=-1), call((2, 3), k=1)),
    ),
    "diagonal": Row(
        ops.diagonal,
        {
            "tensorflow": _tensorflow_diagonal,
            "torch": lambda torch, x, offset, axis1, axis2: torch.diagonal(x, offset, axis1, axis2),
            "jax": "numpy.diagonal",
        },
        _DIAGONALS,
    ),
    "flip": Row(
        lambda x, axis: ops.flip(x, axis=axis),
        {
            "tensorflow": lambda tf, x, axis: tf.reverse(
                x, tuple(range(x.ndim)) if axis is None else axis
            ),
            "torch": lambda torch, x, axis: torch.flip(
                x, tuple(range(x.ndim)) if axis is None else axis
            ),
            "jax": "numpy.flip",
        },
        (call((3,), axis=(0,)), call((2, 3), axis=None), call((2, 3, 2), axis=(0, -1))),
    ),
    "meshgrid": Row(
        lambda *xs, indexing: _joined(ops.meshgrid(*xs, indexing=indexing)),
        _several(
            tensorflow=lambda tf, *xs, indexing: tf.meshgrid(*xs, indexing=indexing),
            torch=lambda torch, *xs, indexing: torch.meshgrid(*xs, indexing=indexing),
            jax=lambda jax, *xs, indexing: jax.numpy.meshgrid(*xs, indexing=indexing),
        ),
        (
            call((2,), (3,), indexing="xy"),
            call((2,), (3,), (2,), indexing="ij"),
            call((2,), (3,), (4,), indexing="xy"),
            call((3,), indexing="xy"),
        ),
    ),
    "pad": Row(
        ops.pad,
        {
            "tensorflow": lambda tf, x, pad_width, mode: (
                _by_places(tf, x, pad_width, mode)
                if mode in ("edge", "wrap")
                else tf.pad(x, pad_width, mode)
            ),
            "torch": _torch_pad,
            "jax": "numpy.pad",
        },
        (
            call((3,), pad_width=((2, 1),), mode="edge"),
            call((2, 3), pad_width=((1, 0), (2, 2)), mode="reflect"),
            call((3, 2), pad_width=((1, 2), (0, 2)), mode="symmetric"),
            call((2, 3), pad_width=((1, 1), (2, 0)), mode="wrap"),
        ),
    ),
    "ravel": Row(
        ops.ravel,
        {
            "tensorflow": lambda tf, x: tf.reshape(x, [-1]),
            "torch": "ravel",
            "jax": "numpy.ravel",
        },
        (call(()), call((2, 3)), call((0, 2))),
    ),
    "repeat": Row(
        lambda x, repeats, axis: ops.repeat(x, repeats, axis=axis),
        {
            "tensorflow": lambda tf, x, repeats, axis: tf.repeat(x, repeats, axis),
            "torch": lambda torch, x, repeats, axis: torch.repeat_interleave(
                x, torch.tensor(repeats), axis
            ),
            "jax": "numpy.repeat",
        },
        (
            call((3,), repeats=2, axis=0),
            call((2, 3), repeats=3, axis=-1),
            call((2, 3), repeats=2, axis=None),
            call((2, 3), repeats=np.array([2, 0, 1]), axis=1),
            call((2, 1), repeats=0, axis=1),
        ),
    ),
    "roll": Row(
        lambda x, shift, axis: ops.roll(x, shift, axis=axis),
        {
            "tensorflow": lambda tf, x, shift, axis: (
                tf.roll(x, shift, axis)
                if axis is not None
                else tf.experimental.numpy.roll(x, shift)
            ),
            "torch": lambda torch, x, shift, axis: torch.roll(x, shift, axis),
            "jax": "numpy.roll",
        },
        (
            call((5,), shift=2, axis=0),
            call((2, 3), shift=(1, -1), axis=(0, 1)),
            call((2, 3), shift=-7, axis=None),
            call((3, 2), shift=(1, 1), axis=(0, 0)),
            call((0, 2), shift=1, axis=0),
        ),
    ),
    "rot90": Row(
        ops.rot90,
        {
            "tensorflow": "experimental.numpy.rot90",
            "torch": lambda torch, x, k, axes: torch.rot90(x, k, axes),
            "jax": "numpy.rot90",
        },
        (
            call((2, 3), k=1, axes=(0, 1)),
            call((2, 3), k=2, axes=(0, 1)),
            call((2, 3, 2), k=-1, axes=(1, 2)),
            call((2, 3), k=4, axes=(0, 1)),
        ),
    ),
    "split": Row(
        lambda x, where, axis: _joined(ops.split(x, where, axis)),
        _several(
            tensorflow=lambda tf, x, where, axis: tf.experimental.numpy.split(x, where, axis),
            torch=lambda torch, x, where, axis: torch.tensor_split(x, where, axis),
            jax=lambda jax, x, where, axis: jax.numpy.split(x, where, axis),
        ),
        (
            call((6,), where=3, axis=0),
            call((2, 4), where=2, axis=1),
            call((2, 5), where=(1, 3), axis=-1),
        ),
    ),
    "tile": Row(
        lambda x, repetitions: ops.tile(x, repetitions),
        {
            "tensorflow": lambda tf, x, repetitions: tf.experimental.numpy.tile(x, repetitions),
            "torch": lambda torch, x, repetitions: torch.tile(x, repetitions),
            "jax": lambda jax, x, repetitions: jax.numpy.tile(x, repetitions),
        },
        (
            call((3,), repetitions=(2,)),
            call((2, 3), repetitions=(2, 1, 2)),
            call((2, 1, 2), repetitions=(2,)),
            call((), repetitions=(2, 2)),
            call((2,), repetitions=(0,)),
        ),
    ),
    "trace": Row(
        ops.trace,
        {
            "tensorflow": lambda tf, *x, **params: tf.reduce_sum(
                _tensorflow_diagonal(tf, *x, **params), -1
            ),
            "torch": lambda torch, x, offset, axis1, axis2: torch.diagonal(
                x, offset, axis1, axis2
            ).sum(-1),
            "jax": "numpy.trace",
        },
        _DIAGONALS,
    ),
    "tril": Row(
        lambda x, k: ops.tril(x, k=k),
        {
            "tensorflow": "experimental.numpy.tril",
            "torch": lambda torch, x, k: torch.tril(x, k),
            "jax": "numpy.tril",
        },
        _MATRICES,
    ),
    "triu": Row(
        lambda x, k: ops.triu(x, k=k),
        {
            "tensorflow": "experimental.numpy.triu",
            "torch": lambda torch, x, k: torch.triu(x, k),
            "jax": "numpy.triu",
        },
        _MATRICES,
    ),
    "unstack": Row(
        lambda x, axis: _joined(ops.unstack(x, axis=axis)),
        _several(
            tensorflow=lambda tf, x, axis: tf.unstack(x, axis=axis),
            torch=lambda torch, x, axis: torch.unbind(x, axis),
            jax=lambda jax, x, axis: jax.numpy.unstack(x, axis=axis),
        ),
        (call((3,), axis=0), call((2, 3), axis=-1), call((1, 3, 2), axis=0)),
    ),
    "expand_dims": Row(
        lambda x, axis: ops.expand_dims(x, axis=axis),
        {
            "tensorflow": "expand_dims",
            "torch": lambda torch, x, axis: x.unsqueeze(axis),
            "jax": "numpy.expand_dims",
        },
        (call((2, 3), axis=1), call((), axis=0), call((2, 0), axis=-1)),
    ),
    "matrix_transpose": Row(
        ops.matrix_transpose,
        {
            "tensorflow": "linalg.matrix_transpose",
            "torch": lambda torch, x: x.mT,
            "jax": "numpy.matrix_transpose",
        },
        (call((2, 3)), call((2, 1, 3)), call((0, 2))),
    ),
    "moveaxis": Row(
        lambda x, source, destination: ops.moveaxis(x, source, destination),
        {
            "tensorflow": "experimental.numpy.moveaxis",
            "torch": "moveaxis",
            "jax": "numpy.moveaxis",
        },
        (
            call((2, 3, 1), source=0, destination=-1),
            call((2, 3, 1), source=(0, 2), destination=(1, 0)),
        ),
    ),
    "squeeze": Row(
        lambda x, axis: ops.squeeze(x, axis=axis),
        {
            "tensorflow": "squeeze",
            "torch": lambda torch, x, axis: x.squeeze() if axis is None else x.squeeze(axis),
            "jax": "numpy.squeeze",
        },
        (
            call((2, 1, 3, 1), axis=None),
            call((2, 1, 3, 1), axis=1),
            call((2, 1, 3, 1), axis=(1, -1)),
        ),
    ),
    "stack": Row(
        lambda *xs, axis: ops.stack(xs, axis=axis),
        {
            "tensorflow": lambda tf, *xs, axis: tf.stack(xs, axis),
            "torch": lambda torch, *xs, axis: torch.stack(xs, axis),
            "jax": lambda jax, *xs, axis: jax.numpy.stack(xs, axis),
        },
        (call((2, 3), (2, 3), axis=0), call((2, 3), (2, 3), (2, 3), axis=-1), call((), (), axis=0)),
    ),
    "swapaxes": Row(
        lambda x, first, second: ops.swapaxes(x, first, second),
        {
            "torch": lambda torch, x, first, second: x.swapaxes(first, second),
            "jax": lambda jax, x, first, second: x.swapaxes(first, second),
        },
        (call((2, 3, 1), first=0, second=-1),),
    ),
    "transpose": Row(
        lambda x, axes: ops.transpose(x, axes),
        {
            "tensorflow": lambda tf, x, axes: tf.transpose(x, axes),
            "torch": lambda torch, x, axes: _permuted(x, axes),
            "jax": lambda jax, x, axes: jax.numpy.transpose(x, axes),
        },
        (call((2, 3, 1), axes=None), call((2, 3, 1), axes=(1, 2, 0)), call((), axes=None)),
    ),
}

NOT_COMPARED = {
    "to_device": "moves a Tensor and computes nothing; every test on device xla uses it",
}
