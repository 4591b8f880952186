"""Contractions that are composed of products of matrices, and their counterparts."""

from __future__ import annotations

from tinygrad_edu import ops

from ..calls import call
from .row import Row

_PLAIN = (
    call((3,), (3,)),
    call((2, 3), (4, 3)),
    call((2, 1, 3), (3,)),
    call((), (2, 3)),
    call((0, 3), (2, 3)),
)


COMPOSITES: dict[str, Row] = {
    "dot": Row(
        ops.dot,
        {
            "tensorflow": "experimental.numpy.dot",
            "jax": "numpy.dot",
        },
        (
            call((3,), (3,)),
            call((2, 3), (3, 4)),
            call((2, 3), (3,)),
            call((3,), (3, 2)),
            call((2, 3), (2, 3, 2)),
            call((), (2, 3)),
            call((2, 0), (0, 3)),
        ),
    ),
    "einsum": Row(
        lambda *xs, subscripts: ops.einsum(subscripts, *xs),
        {
            "tensorflow": lambda tf, *xs, subscripts: tf.einsum(subscripts, *xs),
            "torch": lambda torch, *xs, subscripts: torch.einsum(subscripts, *xs),
            "jax": lambda jax, *xs, subscripts: jax.numpy.einsum(subscripts, *xs),
        },
        (
            call((2, 3), (3, 2), subscripts="ij,jk->ik"),
            call((2, 3), (4, 3), subscripts="ij,kj->ki"),
            call((2, 2, 1, 3), (2, 3, 1, 3), subscripts="bqhd,bkhd->bhqk"),
            call((2, 1, 2, 3), (2, 3, 1, 2), subscripts="bhqk,bkhd->bqhd"),
            call((3, 3), subscripts="ii"),
            call((2, 3, 3), subscripts="bii->bi"),
            call((2, 3), subscripts="ba"),
            call((2, 3), (3,), subscripts="ij,j"),
            call((3,), (2,), subscripts="i,j->ji"),
            call((2, 3), (2, 3), subscripts="bi,bi->b"),
            call((2, 1, 2, 3), (3, 3, 2), subscripts="...ij,...jk->...ik"),
            call((2, 3), (2, 3), subscripts="ij,ij->"),
            call((2, 3), (3, 4), (4, 2), subscripts="ij,jk,kl->il"),
            call((2, 3), (2,), (3,), subscripts="ij,i,j->j"),
            call((0, 3), (3, 2), subscripts="ij,jk->ik"),
        ),
    ),
    "inner": Row(
        ops.inner,
        {"tensorflow": "experimental.numpy.inner", "torch": "inner", "jax": "numpy.inner"},
        _PLAIN,
    ),
    "kron": Row(
        ops.kron,
        {"tensorflow": "experimental.numpy.kron", "torch": "kron", "jax": "numpy.kron"},
        (call((2, 3), (3, 2)), call((3,), (2,)), call((2,), (2, 3)), call((1, 2, 3), (2, 1, 2))),
    ),
    "outer": Row(
        ops.outer,
        {"tensorflow": "experimental.numpy.outer", "torch": "outer", "jax": "numpy.outer"},
        (call((3,), (2,)), call((0,), (2,))),
    ),
    "tensordot": Row(
        lambda x, y, axes: ops.tensordot(x, y, axes=axes),
        {
            "tensorflow": "tensordot",
            "torch": lambda torch, x, y, axes: torch.tensordot(x, y, axes),
            "jax": "numpy.tensordot",
        },
        (
            call((2, 3), (3, 4), axes=1),
            call((2, 3), (2, 3), axes=2),
            call((2,), (3,), axes=0),
            call((2, 3, 4), (4, 3, 2), axes=([1, 2], [1, 0])),
            call((2, 3, 1), (3, 2), axes=([-2], [0])),
        ),
    ),
    "vecdot": Row(
        lambda x, y, axis: ops.vecdot(x, y, axis=axis),
        {
            "torch": lambda torch, x, y, axis: torch.linalg.vecdot(x, y, dim=axis),
            "jax": "numpy.vecdot",
        },
        (
            call((3,), (3,), axis=-1),
            call((2, 3), (2, 3), axis=-1),
            call((2, 3), (2, 3), axis=-2),
            call((2, 1, 3), (4, 3), axis=-1),
            call((2, 16), (16,), axis=-1),
        ),
    ),
}
