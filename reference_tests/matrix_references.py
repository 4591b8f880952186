"""Linear algebra as the suite compares it: of matrices that are far from those that have no answer,
and by what does not depend on the signs that a factorization is free to choose.

Ours and each framework's functions go through the same words.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_edu import ops
from tinygrad_edu.op import Op

Words = Any
"""A module: `edu.ops`, tensorflow, torch or jax."""

Function = Callable[..., Any]


def transposed(words: Words, x: Any) -> Any:
    """The last two axes exchanged."""
    return words.linalg.matrix_transpose(x) if words.__name__ == "tensorflow" else x.mT


def constant(words: Words, array: np.ndarray, x: Any) -> Any:
    """A NumPy array in the dtype of x."""
    if words.__name__ == "tensorflow":
        return words.cast(array, x.dtype)
    if words.__name__ == "torch":
        return words.from_numpy(array).to(x.dtype)
    return array.astype(x.dtype)


def on_diagonal(words: Words, x: Any, first: float, step: float) -> Any:
    """x plus `first`, `first + step`, ... on the diagonal."""
    m, n = int(x.shape[-2]), int(x.shape[-1])
    return x + constant(words, np.eye(m, n) * (first + step * np.arange(n)), x)


def joined(words: Words, parts: Sequence[Any], batch: int) -> Any:
    """Arrays that share their first `batch` axes as one, the rest of each in a row."""
    module = words.numpy if words.__name__ == "jax" else words
    front = tuple(parts[0].shape[:batch])
    rows = [module.reshape(x, (*front, math.prod(map(int, x.shape[batch:])))) for x in parts]
    if words.__name__ == "torch":
        return words.cat(rows, -1)
    if words.__name__ == "tensorflow":
        return words.concat(rows, -1)
    return module.concat(rows, axis=-1)


# What an operation is given for the arrays that were drawn, of elements between -1 and 1.


def regular(words: Words, x: Any) -> Any:
    """Far from singular."""
    return on_diagonal(words, x * 0.5, 1.5, 0)


def separate(words: Words, x: Any) -> Any:
    """With singular values far from each other."""
    return on_diagonal(words, x, 3, 3)


def symmetric(words: Words, x: Any) -> Any:
    """Symmetric, with eigenvalues far from each other."""
    return separate(words, (x + transposed(words, x)) / 4)


def positive(words: Words, x: Any) -> Any:
    """Symmetric and positive definite."""
    return on_diagonal(words, x @ transposed(words, x), 1, 0)


# What is compared of a result with several parts.


def of_eigh(words: Words, values: Any, vectors: Any) -> Any:
    cubes = (vectors * (values / 16)[..., None, :] ** 3) @ transposed(words, vectors)
    return joined(words, [values, vectors * vectors, cubes], len(values.shape) - 1)


def of_svd(words: Words, u: Any, s: Any, vh: Any) -> Any:
    k = int(s.shape[-1])
    cubes = (u[..., :, :k] * (s / 16)[..., None, :] ** 3) @ vh[..., :k, :]
    return joined(words, [s, u * u, vh * vh, cubes], len(s.shape) - 1)


def of_qr(words: Words, q: Any, r: Any) -> Any:
    return joined(words, [q * q, (r / 8) ** 2], len(q.shape) - 2)


def of_slogdet(words: Words, sign: Any, logarithm: Any) -> Any:
    return joined(words, [sign[..., None], logarithm[..., None]], len(sign.shape))


_GIVEN: dict[str, Function] = {
    "adjugate": regular,
    "cholesky": positive,
    "det": regular,
    "eigh": symmetric,
    "inv": regular,
    "pinv": separate,
    "qr": separate,
    "slogdet": regular,
    "solve": regular,
    "solve_triangular": regular,
    "svd": separate,
}

_COMPARED: dict[str, Function] = {
    "eigh": of_eigh,
    "qr": of_qr,
    "slogdet": of_slogdet,
    "svd": of_svd,
}

REGULAR = frozenset(_GIVEN) | {"eigvalsh", "matrix_norm", "matrix_power", "matrix_rank", "svdvals"}
"""What is not compared of infinite elements and NaN: some raise, some give NaN, some never end."""


def _called(name: str, words: Words, function: Function, x: Any, rest: Any, params: Any) -> Any:
    found = function(_GIVEN[name](words, x), *rest, **params)
    return _COMPARED[name](words, *found) if name in _COMPARED else found


def _form(name: str) -> Function:
    return lambda op, x, *rest, **params: _called(name, ops, op, x, rest, params)


def _reference(name: str, stated: Any) -> Function:
    """A framework's function, as the operation's definition states it."""

    def reference(words: Words, x: Any, *rest: Any, **params: Any) -> Any:
        if isinstance(stated, str):
            function = operator.attrgetter(stated)(words)
        else:
            function = lambda *arrays, **params: stated(words, *arrays, **params)
        return _called(name, words, function, x, rest, params)

    return reference


FORMS: dict[str, Function] = {name: _form(name) for name in _GIVEN}


def _op(name: str) -> Op:
    found: Op = getattr(ops, name)
    return found


REFERENCES: dict[str, dict[str, Any]] = {
    name: {words: _reference(name, stated) for words, stated in _op(name).references.items()}
    for name in _GIVEN
}
