"""Arrays to call a subject with: ordinary ones drawn from its domain, ones at its kinks and ties,
and ones full of zeros, infinities and NaN.

Seeded by the subject's name, so that a failure comes back. Every other ordinary sample is read
through a stride.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from tinygrad_edu import dtypes
from tinygrad_edu.arguments import Shape
from tinygrad_edu.references import Domain

from .calls import Call, call
from .matrix_references import REGULAR
from .subjects import Subject

MARGIN = 0.1
"""How far ordinary samples stay away from kinks."""


class Sample(NamedTuple):
    """One call with its arrays."""

    call: Call
    arrays: tuple[np.ndarray, ...]

    @property
    def argnums(self) -> list[int]:
        """The arguments that can have a gradient."""
        return [i for i, array in enumerate(self.arrays) if dtypes.is_float(array.dtype)]

    def __str__(self) -> str:
        arrays = [f"{a.dtype}{a.shape}" for a in self.arrays]
        return ", ".join(arrays + [f"{k}={v!r}" for k, v in self.call.params.items()])


def finfo(dtype: Any) -> Any:
    """`np.finfo`, of bfloat16 too."""
    dtype = np.dtype(dtype)
    return np.finfo(dtype) if dtype.kind == "f" else import_module("ml_dtypes").finfo(dtype)


def weights(shape: Shape, dtype: Any) -> np.ndarray:
    """Numbers between 1/2 and 3/2 to weigh results with: a cotangent, or a direction."""
    generator = np.random.default_rng(math.prod(shape))
    return np.asarray(generator.uniform(0.5, 1.5, shape).astype(dtype))


def directions(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A direction for each argument: one of its own, for along one that all share `x - y` does not
    change."""
    return [weights(x.shape, x.dtype) * x.dtype.type(2**-i) for i, x in enumerate(inputs)]


def ordinary(subject: Subject, dtype: str) -> Iterator[Sample]:
    """A sample for each call, away from kinks."""
    generator = np.random.default_rng(zlib.crc32(subject.name.encode()))
    for number, called in enumerate(subject.calls):
        domains = subject.domains(len(called.shapes))
        arrays = tuple(
            _drawn(generator, domain, shape, dtype)
            for domain, shape in zip(domains, called.shapes, strict=True)
        )
        yield Sample(called, tuple(map(_strided, arrays)) if number % 2 else arrays)


def _drawn(generator: np.random.Generator, domain: Domain, shape: Shape, dtype: str) -> np.ndarray:
    if domain.kind == "bool":
        return np.asarray(generator.uniform(size=shape) < 0.5)
    if domain.kind == "int":
        info = np.iinfo(dtype if np.dtype(dtype).kind in "iu" else "int32")
        low, high = max(domain.low, info.min), min(domain.high, info.max)
        return np.asarray(generator.integers(int(low), int(high), shape, info.dtype))
    x = generator.uniform(domain.low, domain.high, shape)
    for kink in domain.away:
        x = np.where(np.abs(x - kink) < MARGIN, kink + np.copysign(MARGIN, x - kink), x)
    return np.asarray(x.astype(dtype))


def _strided(array: np.ndarray) -> np.ndarray:
    """The same elements, not next to each other."""
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def at_kinks(subject: Subject, dtype: str) -> Iterator[Sample]:
    """Where gradients follow a convention: the points the domain stays away from, ties, zeros."""
    if "float64" not in subject.dtypes:
        return
    if subject.elementwise:
        yield _products([_around_kinks(domain) for domain in subject.domains(subject.arity)], dtype)
        if subject.kinks:
            columns = zip(*subject.kinks, strict=True)
            arrays = tuple(np.array(column, dtype) for column in columns)
            yield Sample(call(*[array.shape for array in arrays]), arrays)
        return
    (domain,) = set(subject.domains(subject.arity))
    a, b = _around_kinks(domain)[-3::2]
    yield from _filled(subject, dtype, ((a, b, b, a, b), (b,), (0, a, 0, b, b)))


def _around_kinks(domain: Domain) -> list[float]:
    if domain.kind == "bool":
        return [False, True]
    inside = [domain.low + share * (domain.high - domain.low) for share in (0.25, 0.5, 0.75)]
    return [*domain.away, *inside]


def special(subject: Subject, dtype: str) -> Iterator[Sample]:
    """Zeros of both signs, infinities, NaN, the smallest and the largest numbers, halves, ties."""
    if subject.elementwise:
        yield _products([_specials(d, dtype) for d in subject.domains(subject.arity)], dtype)
        return
    if subject.name in REGULAR:
        return
    yield from _filled(subject, dtype, _PATTERNS)


def subnormal(subject: Subject, dtype: str) -> Iterator[Sample]:
    """The smallest numbers there are, with ordinary ones."""
    smallest = float(finfo(dtype).smallest_subnormal)
    if subject.elementwise:
        values = [0.0, 1.0, smallest, -smallest]
        domains = subject.domains(subject.arity)
        yield _products(
            [_specials(d, dtype) if d.kind == "bool" else values for d in domains], dtype
        )
        return
    if subject.name not in REGULAR:
        yield from _filled(subject, dtype, ((smallest, 1.0, -smallest),))


def _specials(domain: Domain, dtype: str) -> list[float]:
    if domain.kind == "bool":
        return [False, True]
    limits = finfo(dtype)
    edges = [float(limits.max), float(limits.eps), float(limits.tiny)]
    sizes = [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 100.0, np.inf, *edges]
    return [*sizes, *(-x for x in sizes), np.nan]


_PATTERNS: tuple[Sequence[float], ...] = (
    (0.0, -0.0, 0.0, 0.0, -0.0),
    (-0.0,),
    (2.0, 1.0, 2.0, 2.0, 1.0),
    (1.0, np.inf, 2.0),
    (-np.inf, 1.0, -np.inf, np.inf),
    (-np.inf,),
    (np.nan, 1.0, np.inf, 2.0, 0.0),
    (1000.0, -1000.0, 300.0, -300.0),
)


def _products(values: Sequence[Sequence[float]], dtype: str) -> Sample:
    """Every combination of a value of each argument, as arrays of one dimension."""
    columns = zip(*itertools.product(*values), strict=True)
    arrays = tuple(np.array(c, bool if isinstance(c[0], bool) else dtype) for c in columns)
    return Sample(call(*[array.shape for array in arrays]), arrays)


def _filled(subject: Subject, dtype: str, patterns: Sequence[Sequence[float]]) -> Iterator[Sample]:
    """Each pattern over and over in every call, each argument starting at another place of it."""
    for called in subject.calls:
        if any(0 in shape for shape in called.shapes):
            continue
        for pattern in patterns:
            rolled = [np.resize(np.roll(pattern, i), s) for i, s in enumerate(called.shapes)]
            yield Sample(called, tuple(array.astype(dtype) for array in rolled))
