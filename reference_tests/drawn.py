"""Calls and arrays drawn by hypothesis: shapes of every rank up to 6, empty ones, ones that
broadcast; axes; layouts in memory; and values with zeros, ties, edges of domains, infinities, NaN.

Hypothesis draws the shapes, the axes, the dtypes and the layouts. Values come from a generator
that is seeded anew for each: many at once, and no two examples alike.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tinygrad_edu.arguments import Shape
from tinygrad_edu.references import Domain

from .calls import Call
from .matrix_references import REGULAR
from .ours import NUMPY
from .samples import MARGIN, Sample, finfo
from .subjects import Subject

RANK = 6
SIZE = 200
"""How many elements an array may have."""

EXAMPLES = int(os.environ.get("REFERENCE_EXAMPLES", "10"))
"""How many samples are drawn for a test; `make test-all` asks for many more."""


def drawn(
    subject: Subject, dtypes: Sequence[str], *, special: bool, tiny: bool = False
) -> list[Sample]:
    """Samples of `subject`, the same each time. `special` ones have infinities, NaN and zeros of
    both signs, others stay in its domain. With `tiny`, subnormal numbers as well."""
    found: list[Sample] = []
    if special and subject.name in REGULAR:
        return found

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
    )
    @given(
        calls(subject, empty=not special),
        st.sampled_from(dtypes),
        st.tuples(*[st.sampled_from(list(LAYOUTS))] * 3),
    )
    def collect(called: Call, dtype: str, layouts: tuple[str, ...]) -> None:
        # No seed from hypothesis, which draws integers it saw in whatever modules are loaded.
        generator = np.random.default_rng(zlib.crc32(f"{subject} {called} {len(found)}".encode()))
        found.append(_sample(subject, dtype, called, generator, layouts, special, tiny))

    collect()
    return found


# Calls


def calls(subject: Subject, empty: bool = True) -> Any:
    """Calls of `subject` in shapes of every kind that it takes."""
    smallest = 0 if empty else 1
    if follows_broadcasting(subject):
        return _broadcasting(subject, smallest)
    if subject.op is not None and not all(example.shapes for example in subject.op.examples):
        return _reducing(subject, smallest)
    along_an_axis = [
        c for c in subject.calls if len(c.shapes) == 1 and _has_an_axis(c) and _is_plain(c, "axis")
    ]
    if along_an_axis:
        return st.one_of(st.sampled_from(along_an_axis).flatmap(_moved), _as_it_stands(subject))
    return _as_it_stands(subject)


def _as_it_stands(subject: Subject) -> Any:
    return st.sampled_from(subject.calls)


@cache
def follows_broadcasting(subject: Subject) -> bool:
    """Whether its arrays may have any shapes that broadcast (or any shape, if it takes one)."""
    if subject.elementwise:
        return True
    if subject.op is not None or not any(c.shapes and not any(c.shapes) for c in subject.calls):
        return False
    if max(len(s) for c in subject.calls for s in c.shapes) < 2:
        return False
    if subject.arity > 1 and all(len(set(c.shapes)) == 1 for c in subject.calls):
        return False
    return all(_keeps_shape(subject, c) for c in subject.calls)


def _keeps_shape(subject: Subject, called: Call) -> bool:
    if "axis" in called.params or not _is_plain(called):
        return False
    domains = subject.domains(len(called.shapes))
    dtype = subject.dtypes[0]
    generator = np.random.default_rng(0)
    arrays = [_inside(generator, d, s, dtype) for d, s in zip(domains, called.shapes, strict=True)]
    found = NUMPY.value(called.bind(subject.function), arrays)
    try:
        return found.shape == np.broadcast_shapes(*called.shapes)
    except ValueError:
        return False


def _is_plain(called: Call, *but: str) -> bool:
    """Whether no parameter (but these) could have to do with the shapes."""
    rest = [value for name, value in called.params.items() if name not in but]
    return all(value is None or isinstance(value, (int, float, str)) for value in rest)


def _broadcasting(subject: Subject, smallest: int) -> Any:
    params = st.sampled_from([c.params for c in subject.calls])
    arity = st.sampled_from(sorted({len(c.shapes) for c in subject.calls}))
    shapes = st.tuples(arity, _shapes(0, empty=smallest == 0)).flatmap(
        lambda found: st.tuples(*[_narrower(found[1])] * found[0])
    )
    return st.builds(_call, shapes, params)


def _shapes(smallest_rank: int, empty: bool) -> Any:
    """Shapes of every rank alike (hypothesis's own prefers low ones), some of them empty."""
    sizes = st.sampled_from([1, 2, 2, 3, 3, 3])
    shapes = st.integers(smallest_rank, RANK).flatmap(lambda rank: st.tuples(*[sizes] * rank))
    small = shapes.map(lambda shape: tuple(_up_to(SIZE, shape)))
    if not empty:
        return small
    with_none = small.flatmap(
        lambda shape: st.permutations([*shape[:-1], 0] if shape else []).map(tuple)
    )
    return st.one_of(*[small] * 7, with_none)


def _up_to(count: int, sizes: Iterable[int]) -> Iterator[int]:
    """The sizes, but 1 from where the elements would be too many."""
    for size in sizes:
        size = size if size <= count else 1
        count //= max(size, 1)
        yield size


@st.composite
def _narrower(draw: Any, shape: Shape) -> Shape:
    """A shape that broadcasts to this one: without some axes in front, with size 1 for others.
    Half of the time it is this one."""
    if draw(st.booleans()):
        return shape
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple(1 if draw(st.sampled_from([True, False, False])) else size for size in kept)


@cache
def _kept(shapes: tuple[Shape, ...], params: tuple[tuple[str, Any], ...]) -> Call:
    return Call(shapes, dict(params))


def _call(shapes: Sequence[Shape], params: dict[str, Any]) -> Call:
    """One Call object for equal calls, so that each compiles once."""
    try:
        return _kept(tuple(shapes), tuple(params.items()))
    except TypeError:  # parameters that have no hash
        return Call(tuple(shapes), params)


def _reducing(subject: Subject, smallest: int) -> Any:
    """Any shape and axes of it, in the manner of the definition's examples."""
    assert subject.op is not None
    empty = smallest == 0 and getattr(subject.op, "accepts_empty", False)
    params = st.sampled_from([example.params for example in subject.op.examples])
    shapes = _shapes(0 if any(c.shapes == ((),) for c in subject.calls) else 1, empty)
    return st.tuples(shapes, params).flatmap(lambda found: _with_axes(*found))


def _with_axes(shape: Shape, params: dict[str, Any]) -> Any:
    rank = len(shape)
    axis = params["axis"]
    if axis is None or rank == 0:
        return st.just(_call([shape], {**params, "axis": None}))
    some = st.integers(-rank, rank - 1)
    if isinstance(axis, tuple):
        some = st.lists(some, max_size=rank, unique_by=lambda a: a % rank).map(tuple)
    return some.map(lambda found: _call([shape], {**params, "axis": found}))


def _has_an_axis(called: Call) -> bool:
    if "length" in called.params:  # overlap_add's axis is one of the result
        return False
    axis = called.params.get("axis")
    ints = axis if isinstance(axis, tuple) else (axis,)
    return all(isinstance(a, int) and -_rank(called) <= a < _rank(called) for a in ints)


def _rank(called: Call) -> int:
    return len(called.shapes[0])


@st.composite
def _moved(draw: Any, called: Call) -> Call:
    """The same call with more axes around the one (or those) that it is about."""
    axis = called.params["axis"]
    rank = _rank(called)
    named = [a % rank for a in (axis if isinstance(axis, tuple) else (axis,))]
    sizes = [called.shapes[0][a] for a in named]
    more = draw(st.lists(st.integers(1, 3), max_size=RANK - len(named)))
    while math.prod(more) * math.prod(sizes) > SIZE:
        more.pop()
    total = len(more) + len(named)
    places = draw(st.permutations(range(total)))[: len(named)]
    shape = [0] * total
    for place, size in zip(places, sizes, strict=True):
        shape[place] = size
    rest = iter(more)
    shape = [s if i in places else next(rest) for i, s in enumerate(shape)]
    found = [draw(st.sampled_from([place, place - total])) for place in places]
    moved = tuple(found) if isinstance(axis, tuple) else found[0]
    return _call([tuple(shape)], {**called.params, "axis": moved})


# Values


def _sample(
    subject: Subject,
    dtype: str,
    called: Call,
    generator: np.random.Generator,
    layouts: Sequence[str],
    special: bool,
    tiny: bool,
) -> Sample:
    domains = subject.domains(len(called.shapes))
    arrays = []
    for i, (domain, shape) in enumerate(zip(domains, called.shapes, strict=True)):
        array = _inside(generator, domain, shape, dtype)
        if special and domain.kind == "float":
            pool = _special(domain, dtype, subject.elementwise, tiny)
            chosen = generator.choice(pool, shape).astype(dtype)
            # In half of the samples the odd ones are few: else every sum is NaN.
            share = generator.choice([0.15, 0.7])
            array = np.where(generator.uniform(size=shape) < share, chosen, array)
        arrays.append(LAYOUTS[layouts[i % len(layouts)]](np.asarray(array)))
    return Sample(called, tuple(arrays))


def _inside(generator: np.random.Generator, domain: Domain, shape: Shape, dtype: str) -> np.ndarray:
    """Numbers of the domain, its edges and kinks among them, and many of them equal."""
    if domain.kind == "bool":
        return np.asarray(generator.uniform(size=shape) < 0.5)
    if domain.kind == "int":
        info = np.iinfo(dtype if np.dtype(dtype).kind in "iu" else "int32")
        low, high = int(max(domain.low, info.min)), int(min(domain.high, info.max))
        x = generator.integers(low, high, shape, info.dtype)
        edges = np.array([low, high - 1], info.dtype)
        return np.where(generator.uniform(size=shape) < 0.1, generator.choice(edges, shape), x)
    x = generator.uniform(domain.low, domain.high, shape)
    for kink in domain.away:
        x = np.where(np.abs(x - kink) < MARGIN, kink + np.copysign(MARGIN, x - kink), x)
    few = generator.choice([domain.low, domain.high, *domain.away, *x.reshape(-1)[:2]], shape)
    return np.where(generator.uniform(size=shape) < 0.2, few, x).astype(dtype)


def _special(domain: Domain, dtype: str, elementwise: bool, tiny: bool) -> list[float]:
    limits = finfo(dtype)
    found = [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, np.inf, domain.low, domain.high]
    if elementwise:  # elsewhere what comes of them depends on the order of additions
        found += [100.0, float(limits.max), float(limits.eps), float(limits.tiny)]
    if tiny:
        found += [float(limits.smallest_subnormal), 5 * float(limits.smallest_subnormal)]
    return [*found, *(-x for x in found), np.nan]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in order": np.asarray,
    "columns first": lambda x: np.array(x, order="F"),
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "backwards": lambda x: x[..., ::-1].copy()[..., ::-1] if x.ndim else x,
}
