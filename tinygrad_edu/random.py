"""Random numbers from explicit keys, and from a default generator that keeps one.

A key is 64 bits, and every number a function of key and position, so results depend on nothing
else: not on the device, nor on what was drawn before. Keys, bits, uniform numbers and integers are
those of `jax.random`; what is computed from them agrees to rounding.

>>> import tinygrad_edu as edu
>>> first, second = edu.random.split(edu.random.key(42))
>>> edu.random.uniform(first, (3,))
Tensor([0.5302608 , 0.31336212, 0.90153027], dtype=float32)

The key comes first and may be None: then the default generator gives a fresh one. It starts
somewhere else in every process, unless it is told where:

>>> edu.random.seed(0)
>>> edu.random.randint(None, (4,), 0, 10).tolist()
[2, 2, 6, 5]
>>> edu.random.normal(shape=(2, 2)).shape
(2, 2)

The bits are Threefry 2x32 with 20 rounds: Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
as easy as 1, 2, 3" (SC 2011). The i-th number of a Tensor comes from block i. Knows devices and
operations; operations do not know this.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias, Union, overload

import numpy as np

from . import backends, batching, conversion, dtypes, ops, tensors
from .arguments import Shape, normalize_axis
from .backends import Array, Device
from .dtypes import DType, DTypeLike
from .errors import ArgumentError, DtypeError, ImmutableError, ShapeError
from .op import Aval, Binary, Elementwise, Op, promoted
from .tensors import Operators, Tensor, TensorLike

__all__ = [
    "Key",
    "Keys",
    "bernoulli",
    "bits",
    "categorical",
    "choice",
    "exponential",
    "fold_in",
    "gumbel",
    "key",
    "key_data",
    "laplace",
    "normal",
    "permutation",
    "randint",
    "replayed",
    "seed",
    "split",
    "state",
    "truncated_normal",
    "uniform",
    "wrap_key_data",
]

Size = int | Sequence[int]


class Key:
    """What random numbers are drawn with: two 32-bit words, which never change.

    Make one with `key(seed)`, and more with `split` and `fold_in`: numbers drawn twice with one
    key are the same. Equal keys compare equal; a key is a leaf in nested structures, and pickles.

    Wherever a key is taken, a uint32 Tensor of shape (2,) is one too (`key_data`). What is drawn
    with it is computed on its device, and what is derived from it is a Tensor again.
    """

    __slots__ = ("first", "second")
    first: int
    second: int

    def __init__(self, first: int, second: int) -> None:
        for word in (first, second):
            if not isinstance(word, int) or not 0 <= word <= _MASK:
                raise ArgumentError(
                    f"random.Key: a word is an integer of 32 bits, not {word!r}: make keys with "
                    "edu.random.key(seed)"
                )
        _set_first(self, first)
        _set_second(self, second)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise ImmutableError("a Key never changes: derive others with edu.random.split or fold_in")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return self.first == other.first and self.second == other.second

    def __hash__(self) -> int:
        return hash((Key, self.first, self.second))

    def __repr__(self) -> str:
        return f"Key(0x{self.first:08x}, 0x{self.second:08x})"

    def __reduce__(self) -> Any:
        return Key, (self.first, self.second)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return _as_array(self, words(self), dtype, copy)

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise no_number(self)


class Keys(Sequence[Key]):
    """Several keys, from `split`: they unpack, and have places and a length, as in a tuple.

    As an array they are uint32 of shape (number of keys, 2), so that `vmap`, `scan` and `map` go
    over them; each turn or example gets the words of one, which are a key. They are one leaf in
    nested structures.

    >>> import tinygrad_edu as edu
    >>> edu.vmap(lambda key: edu.random.uniform(key))(split(key(0), 3))
    Tensor([0.8423141 , 0.00729382, 0.9024495 ], dtype=float32)
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    @overload
    def __getitem__(self, index: int) -> Key: ...

    @overload
    def __getitem__(self, index: slice) -> Keys: ...

    def __getitem__(self, index: int | slice) -> Key | Keys:
        found = self._keys[index]
        return Keys(found) if isinstance(found, tuple) else found

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __eq__(self, other: object) -> bool:
        return self._keys == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._keys)  # as that of the tuple that it equals

    def __repr__(self) -> str:
        return repr(self._keys)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        rows = [(key.first, key.second) for key in self._keys]
        return _as_array(self, np.array(rows, dtypes.uint32).reshape(-1, 2), dtype, copy)

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise no_number(self)


def no_number(key: Key | Keys) -> DtypeError:
    """What is raised where keys are computed with."""
    return DtypeError(
        f"takes numbers, not {key!r}: draw with a key, as in edu.random.normal(key, shape), or ask "
        "for its words, edu.random.key_data(key)"
    )


def _as_array(key: Key | Keys, made: np.ndarray, dtype: Any, copy: bool | None) -> np.ndarray:
    """An array that was made of keys, in a dtype. Raises ValueError where none is to be made."""
    if copy is False:
        raise ValueError(f"{key!r} is no array, and becomes none without a copy")
    return made if dtype is None else made.astype(dtype)


_MASK = 0xFFFFFFFF
_set_first: Any = Key.__dict__["first"].__set__
_set_second: Any = Key.__dict__["second"].__set__
_new: Any = object.__new__

KeyLike: TypeAlias = Union[Key, "Operators", np.ndarray]
"""A Key, or its two words as a uint32 Tensor or array. Most functions also take None."""


def _make_key(first: int, second: int) -> Key:
    """A Key of words that are known to be right."""
    made = _new(Key)
    _set_first(made, first)
    _set_second(made, second)
    return made


# Keys


def key(seed: int) -> Key:
    """The key of a seed, an integer of 64 bits, signed or not.

    Seeds of 32 bits give the keys of `jax.random.key`; longer ones those it gives with 64-bit
    integers switched on (otherwise JAX drops their upper half).

    >>> key(7)
    Key(0x00000000, 0x00000007)
    """
    number = _integer("random.key", "seed", seed)
    if not -(2**63) <= number < 2**64:
        raise ArgumentError(f"random.key: seed is {number}; it is an integer of 64 bits")
    return _make_key(number >> 32 & _MASK, number & _MASK)


def split(key: KeyLike | None, num: int = 2) -> Any:
    """`num` new keys, independent of each other and of the old one, which is not used again.

    They unpack (see `Keys`); for a Tensor key, a Tensor of shape (num, 2), which unpacks too.

    >>> dropout_key, shuffle_key = split(key(0))
    >>> dropout_key
    Key(0x6b200159, 0x99ba4efe)
    """
    given = _as_key("random.split", key)
    if type(num) is not int or num < 0:
        num = _integer("random.split", "num", num)
        if num < 0:
            raise ArgumentError(f"random.split: num is {num}; it is how many keys, not negative")
    if isinstance(given, Tensor):
        return _split_key(given, 0, num=num)
    if num < _MANY:
        return Keys([_make_key(x, y) for x, y in _first_blocks(given, num)])
    rows = _split_key.forward(np, words(given), np.uint32(0), num=num).tolist()
    return Keys([_make_key(*row) for row in rows])


_MANY = 100
"""So many blocks take as long side by side, in Python's integers, as in NumPy's 120 calls."""


def fold_in(key: KeyLike | None, data: int | Operators) -> Any:
    """A new key from a key and a number of 32 bits: a step's, an example's, a layer's.

    The same as the key at that place of a `split`. A Tensor where `key` or `data` is one.

    >>> fold_in(key(0), 5) == split(key(0), 6)[5]
    True
    """
    given = _as_key("random.fold_in", key)
    if isinstance(given, Key) and not isinstance(data, Operators):
        return _make_key(*_threefry_int(given.first, given.second, 0, _folded(data)))
    if isinstance(data, Operators):
        if data.shape or dtypes.kind(data.dtype) not in "iu":
            raise ArgumentError(
                f"random.fold_in: data is {data.dtype} of shape {data.shape}; it is one integer"
            )
        number: Any = ops.astype(data, dtypes.uint32)
    else:
        number = _folded(data)
    device = given._device if isinstance(given, Tensor) else number._device
    return _split_key(_on(device, given), number, num=1)[0]


def _folded(data: Any) -> int:
    number = _integer("random.fold_in", "data", data)
    if not 0 <= number <= _MASK:
        raise ArgumentError(f"random.fold_in: data is {number}; it is an integer from 0 to {_MASK}")
    return number


def key_data(key: KeyLike) -> Tensor:
    """The words of a key: a uint32 Tensor of shape (2,), which is a key too.

    >>> key_data(key(3))
    Tensor([0, 3], dtype=uint32)
    """
    return _on(backends.current(), _as_key("random.key_data", key))


def wrap_key_data(key_bits_array: TensorLike) -> Key:
    """The Key of two words, the inverse of `key_data`. Waits for the device to give them.

    >>> wrap_key_data(key_data(key(3))) == key(3)
    True
    """
    array = conversion.as_tensor(key_bits_array).numpy()
    if array.shape != (2,) or array.dtype != dtypes.uint32:
        raise ArgumentError(
            f"random.wrap_key_data: key_bits_array is {array.dtype} of shape {array.shape}; the "
            "words of a key are uint32 of shape (2,)"
        )
    return _make_key(*array.tolist())


# The default generator


class _Generator:
    """A key that is replaced whenever one is drawn; safe to share between threads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start from somewhere new. The lock too is new: a fork may come while it is held."""
        self._lock = threading.Lock()
        self._key: Key | None = None
        self._seeded = False

    def seed(self, start: Key) -> None:
        with self._lock:
            self._key, self._seeded = start, True

    def state(self) -> Key:
        with self._lock:
            return self._held()

    def draw(self) -> Key:
        """A fresh key: the second of a split, whose first stays here."""
        with self._lock:
            held = self._held()
            self._key, fresh = split(held)
            return fresh

    def advance(self, program: Callable[[Key], Key]) -> None:
        """Put what a program makes of the key in its place; nobody draws meanwhile."""
        with self._lock:
            self._key = program(self._held())

    def _held(self) -> Key:
        if self._key is None:
            self._key = self._first()
        return self._key

    def _first(self) -> Key:
        return _make_key(*np.frombuffer(os.urandom(8), np.uint32).tolist())

    def forked(self) -> None:
        """In a new process: numbers of its own, unless a seed says which."""
        held, seeded = self._key, self._seeded
        self.forget()
        if seeded:
            self._key, self._seeded = held, True


_default = _Generator()
if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_default.forked)


_replaying: ContextVar[_Generator | None] = ContextVar("tinygrad_edu.random", default=None)


def default_generator() -> _Generator:
    """What is drawn from where there is no key."""
    return _replaying.get() or _default


@contextmanager
def replayed(start: Key) -> Iterator[None]:
    """Draw again, inside a `with` statement of this thread, what was drawn without keys from the
    state `start` on. The default generator stays where it is.

    >>> before = state()
    >>> x = uniform()
    >>> with replayed(before):
    ...     y = uniform()
    >>> bool(x == y)
    True
    """
    again = _Generator()
    again.seed(start)
    token = _replaying.set(again)
    try:
        yield
    finally:
        _replaying.reset(token)


@contextmanager
def at_once() -> Iterator[None]:
    """Draw from the generator of the process, inside a `with` statement of this thread, also where
    a program is being traced, which would draw when it runs."""
    token = _replaying.set(None)
    try:
        yield
    finally:
        _replaying.reset(token)


class Traced(_Generator):
    """What stands for the default generator in a trace: it draws from a Tensor, which is asked for
    when the first is drawn. `left` is what it would go on with, None if nobody drew."""

    def __init__(self, start: Callable[[], Tensor]) -> None:
        self._first: Any = start
        self.forget()

    @property
    def left(self) -> Key | Tensor | None:
        return self._key

    @contextmanager
    def default(self) -> Iterator[None]:
        """Have it drawn from, inside a `with` statement of this thread."""
        token = _replaying.set(self)
        try:
            yield
        finally:
            _replaying.reset(token)


def seed(seed: int | Key) -> None:
    """Start the default generator of this process at a seed, or at a state that `state()` gave.

    Each call of a function without a key then splits one off, in order, so that a program run
    again draws the same numbers; threads share the generator, in the order they come. Forked
    processes go on from the same seed; those that were never seeded draw numbers of their own.
    """
    default_generator().seed(seed if isinstance(seed, Key) else key(seed))


def state() -> Key:
    """Where the default generator is now; `seed(state)` brings it back there.

    >>> seed(1)
    >>> state() == key(1)
    True
    """
    return default_generator().state()


# Numbers


def bits(key: KeyLike | None = None, shape: Size = (), dtype: DTypeLike = "uint32") -> Tensor:
    """Random bits, as unsigned integers of 8, 16, 32 or 64 bits: those of `jax.random.bits`.

    >>> bits(key(0), (2,), "uint8")
    Tensor([167, 146], dtype=uint8)
    """
    name = "random.bits"
    found = _dtype(name, dtype)
    if found.kind != "u":
        raise DtypeError(f"{name}: dtype is {found}; it is uint8, uint16, uint32 or uint64")
    size = _shape(name, shape)
    given = _as_key(name, key)
    return _placed(given, _bits(given, size, 8 * found.itemsize))


def uniform(
    key: KeyLike | None = None,
    shape: Size = (),
    dtype: DTypeLike = "float32",
    minval: TensorLike = 0.0,
    maxval: TensorLike = 1.0,
) -> Tensor:
    """Floats spread evenly from `minval` to `maxval` (not included, but for rounding).

    `minval` and `maxval` broadcast to `shape`; gradients flow to them. The numbers are those of
    `jax.random.uniform`.

    >>> uniform(key(0), (2,), minval=-1.0)
    Tensor([0.895334  , 0.95715976], dtype=float32)
    """
    name = "random.uniform"
    found, size = _float(name, dtype), _shape(name, shape)
    given = _as_key(name, key)
    if _is_number(minval) and _is_number(maxval):
        drawn = _uniform(given, size, found, float(minval), float(maxval))  # type: ignore[arg-type]
        return _placed(given, drawn)
    low, high = _together(given, found, minval, maxval)
    _fits(name, size, minval=low, maxval=high)
    fractions = _moved(_fractions(given, size, found), low._device)
    return _placed(given, _between(fractions, low, high), minval, maxval)


def normal(key: KeyLike | None = None, shape: Size = (), dtype: DTypeLike = "float32") -> Tensor:
    """Normally distributed floats, of mean 0 and variance 1.

    As `jax.random.normal`: the square root of 2 times the inverse error function of numbers
    uniform on (-1, 1).

    >>> [round(x, 5) for x in normal(key(0), (2,)).tolist()]
    [1.62264, 2.02526]
    """
    name = "random.normal"
    found, size = _float(name, dtype), _shape(name, shape)
    given = _as_key(name, key)
    uniforms = _uniform(given, size, found, _above_minus_one(found), 1.0)
    return _placed(given, ops.erfinv(uniforms) * math.sqrt(2))


def truncated_normal(
    key: KeyLike | None,
    lower: TensorLike,
    upper: TensorLike,
    shape: Size | None = None,
    dtype: DTypeLike = "float32",
) -> Tensor:
    """Normally distributed floats, given that they are between `lower` and `upper`.

    `lower` and `upper` broadcast to `shape`; without one, together. Strictly between, even where
    rounding would not be; as in JAX, a number that had to be kept inside has no gradient.

    >>> bool((truncated_normal(key(0), 1.0, 2.0, (1000,)) > 1.0).all())
    True
    """
    name = "random.truncated_normal"
    found = _float(name, dtype)
    given = _as_key(name, key)
    low, high = _together(given, found, lower, upper)
    size = _common_shape(name, shape, lower=low, upper=high)
    if not _all(low < high):
        raise ArgumentError(
            f"{name}: lower is {lower!r} and upper {upper!r}; lower is less than upper"
        )
    root = math.sqrt(2)
    fractions = _moved(_fractions(given, size, found), low._device)
    normals = ops.erfinv(_between(fractions, ops.erf(low / root), ops.erf(high / root))) * root
    inside = ops.minimum(ops.maximum(normals, _next(low, math.inf)), _next(high, -math.inf))
    return _placed(given, inside, lower, upper)


def randint(
    key: KeyLike | None,
    shape: Size,
    minval: TensorLike,
    maxval: TensorLike,
    dtype: DTypeLike = "int32",
) -> Tensor:
    """Integers from `minval` to `maxval` (not included), all equally likely.

    `minval` and `maxval` broadcast to `shape`. Those of `jax.random.randint`: remainders of random
    numbers, which favours some integers, by up to span / 2**64 where the span from `minval` to
    `maxval` is at most 2**16, and by up to span / 2**32 above (2**128 and 2**64 for 64 bits).

    >>> randint(key(0), (5,), 1, 7).tolist()
    [2, 1, 3, 2, 6]
    """
    name = "random.randint"
    found, size = _dtype(name, dtype), _shape(name, shape)
    if dtypes.kind(found) not in "iu":
        raise DtypeError(f"{name}: dtype is {found}; it is an integer")
    given = _as_key(name, key)
    low, high = _integers_between(name, minval, maxval, found, size)
    drawn = _integers(given, size, low, high, found)
    likes = [x for x in (minval, maxval) if isinstance(x, Operators)]
    return _moved(drawn, likes[0].device) if likes else _placed(given, drawn)


def _integers(key: Key | Tensor, shape: Shape, low: Any, high: Any, dtype: DType) -> Tensor:
    """Integers between bounds that are Python's, or object arrays of them."""
    device = _home(key)
    # Fewer bits would favour some integers more.
    wide = dtype if dtype.itemsize >= 4 else dtypes.int32
    width = 8 * wide.itemsize
    unsigned = np.dtype(f"uint{width}")
    # How many integers there are; 0 stands for every one of so many bits.
    span = np.asarray((high - low) % 2**width, object)
    higher, lower = (_bits(k, shape, width) for k in split(key))
    every = span == 0
    divisor = np.where(every, 1, span)
    # What the higher word counts, 2**width, modulo the span; for long spans JAX leaves it out.
    factor = (2 ** (width // 2) % divisor) ** 2 % 2**width % divisor
    n, m, start = (
        conversion.tensor(np.asarray(x, unsigned), device=device)
        for x in (divisor, factor, low % 2**width)
    )
    offset = ops.remainder(ops.remainder(higher, n) * m + ops.remainder(lower, n), n)
    if every.any():
        offset = ops.where(conversion.tensor(every.astype(bool), device=device), lower, offset)
    return ops.astype(start + offset, dtype)


def _integers_between(
    name: str, minval: TensorLike, maxval: TensorLike, dtype: DType, shape: Shape
) -> tuple[Any, Any]:
    """Two bounds as arrays of Python integers, which hold every dtype's."""
    bounds = []
    limits = np.iinfo(dtype)
    for argument, given in (("minval", minval), ("maxval", maxval)):
        array = np.asarray(given)
        if not all(isinstance(x, int) and not isinstance(x, bool) for x in array.flat[:1].tolist()):
            raise DtypeError(f"{name}: {argument} is {given!r}; it is an integer, or several")
        _fits(name, shape, **{argument: array})
        most = limits.max + (argument == "maxval")
        if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= most):
            raise ArgumentError(
                f"{name}: {argument} is {given!r}; for {dtype} it is between {limits.min} and "
                f"{most}"
            )
        bounds.append(array.astype(object))
    low, high = bounds
    if not np.all(low < high):
        raise ArgumentError(
            f"{name}: minval is {minval!r} and maxval {maxval!r}; minval is less than maxval, "
            "which is not drawn itself"
        )
    return low, high


def bernoulli(key: KeyLike | None = None, p: TensorLike = 0.5, shape: Size | None = None) -> Tensor:
    """Booleans, each True with probability `p`, which broadcasts to `shape`.

    >>> bernoulli(key(0), [0.0, 1.0])
    Tensor([False,  True], dtype=bool)
    """
    name = "random.bernoulli"
    given = _as_key(name, key)
    chances = _floats(name, "p", p, given)
    _check_probabilities(name, p, chances)
    size = _common_shape(name, shape, p=chances)
    fractions = _moved(_fractions(given, size, chances.dtype), chances._device)
    return _placed(given, fractions < chances, p)


def categorical(
    key: KeyLike | None, logits: TensorLike, axis: int = -1, shape: Size | None = None
) -> Tensor:
    """The index of a category, for each distribution that `logits` has along `axis`.

    A category's probability is its share of exp(logits). Without a `shape`, one index for each
    distribution; `shape` may have more axes in front, for more indices. Drawn by the Gumbel trick:
    the largest of logits plus `gumbel`.

    >>> categorical(key(0), [[0.0, -99.0], [-99.0, 0.0]])
    Tensor([0, 1], dtype=int32)
    """
    name = "random.categorical"
    given = _as_key(name, key)
    scores = _floats(name, "logits", logits, given)
    if not scores.ndim:
        raise ShapeError(f"{name}: logits is one number; it has an axis of categories")
    place = normalize_axis(name, axis, scores.ndim)
    categories = scores.shape[place]
    if not categories:
        raise ShapeError(f"{name}: logits of shape {scores.shape} have no category on axis {place}")
    batch = scores.shape[:place] + scores.shape[place + 1 :]
    size = batch if shape is None else _shape(name, shape)
    if _broadcast(size, batch) != size:
        raise ShapeError(
            f"{name}: shape {size} is not one that the distributions' shape {batch} broadcasts to"
        )
    front, own = size[: len(size) - len(batch)], size[len(size) - len(batch) :]
    noise = _gumbel(given, (*front, *own[:place], categories, *own[place:]), scores.dtype)
    chosen = ops.argmax(_moved(noise, scores._device) + scores, axis=place - scores.ndim)
    return _placed(given, chosen, logits)


def permutation(
    key: KeyLike | None, x: TensorLike, axis: int = 0, independent: bool = False
) -> Tensor:
    """The elements of x along `axis` in random order; the numbers below x, where x is an integer.

    Slices keep together, unless `independent`: then every one along `axis` has an order of its own.
    Gradients flow back to where the elements came from.

    >>> permutation(key(0), 5).tolist()
    [0, 1, 4, 3, 2]
    """
    name = "random.permutation"
    given = _as_key(name, key)
    values = conversion.as_tensor(x)
    if not values.ndim:
        count = _count(name, "x", x)
        normalize_axis(name, axis, 1)
        return _moved(_order(given, (count,), 0), values._device)
    place = normalize_axis(name, axis, values.ndim)
    if independent:
        order = _moved(_order(given, values.shape, place), values._device)
        return ops.take_along_axis(values, order, axis=place)
    order = _moved(_order(given, (values.shape[place],), 0), values._device)
    return ops.take(values, order, axis=place)


def choice(
    key: KeyLike | None,
    a: TensorLike,
    shape: Size = (),
    replace: bool = True,
    p: TensorLike | None = None,
    axis: int = 0,
) -> Tensor:
    """Elements of `a` along `axis`, drawn at random; numbers below `a`, where `a` is an integer.

    `p` are their probabilities, which add up to 1; without them all are alike. Without `replace`,
    none is drawn twice.

    >>> choice(key(0), 10, (3,), replace=False).tolist()
    [0, 1, 8]
    >>> choice(key(0), [1.5, 2.5], (2,), p=[0.0, 1.0]).tolist()
    [2.5, 2.5]
    """
    name = "random.choice"
    given, size = _as_key(name, key), _shape(name, shape)
    values = conversion.as_tensor(a)
    if values.ndim:
        place = normalize_axis(name, axis, values.ndim)
        count = values.shape[place]
    else:
        place, count = 0, _count(name, "a", a)
    draws = math.prod(size)
    if draws and not count:
        raise ArgumentError(f"{name}: nothing to draw {draws} elements from: a is empty")
    if not replace and draws > count:
        raise ArgumentError(
            f"{name}: {draws} elements of {count} without repeating one: draw fewer, or use "
            "replace=True"
        )
    if p is not None:
        index = _weighed(
            given, size, _probabilities(name, p, count, replace, draws, given), replace
        )
    elif not draws:
        index = conversion.tensor(np.zeros(size, np.int32), device=values._device)
    elif replace:
        index = _integers(given, size, 0, count, dtypes.int32)
    else:
        index = ops.reshape(_order(given, (count,), 0)[:draws], size)
    index = _moved(index, values._device)
    if not values.ndim:
        return index
    taken = ops.take(values, ops.reshape(index, (-1,)), axis=place)
    return ops.reshape(taken, values.shape[:place] + size + values.shape[place + 1 :])


def _weighed(key: Key | Tensor, shape: Shape, chances: Tensor, replace: bool) -> Tensor:
    """Indices drawn with these probabilities."""
    if replace:
        total = ops.cumulative_sum(chances)
        fractions = _moved(_fractions(key, shape, chances.dtype), chances._device)
        return ops.searchsorted(total, total[-1] * (1.0 - fractions))
    # The Gumbel trick again: the largest are a sample (Kool, van Hoof and Welling, "Stochastic
    # beams and where to find them", 2019).
    possible = chances > 0
    logs = ops.where(possible, ops.log(ops.where(possible, chances, 1.0)), -math.inf)
    scores = _moved(_gumbel(key, chances.shape, chances.dtype), chances._device) + logs
    return ops.reshape(ops.argsort(scores, descending=True)[: math.prod(shape)], shape)


def gumbel(key: KeyLike | None = None, shape: Size = (), dtype: DTypeLike = "float32") -> Tensor:
    """Floats of the standard Gumbel distribution, -log(-log(u)) of uniform u: the largest of many
    numbers is distributed so.

    >>> gumbel(key(0), (3,)).shape
    (3,)
    """
    name = "random.gumbel"
    found, size = _float(name, dtype), _shape(name, shape)
    given = _as_key(name, key)
    return _placed(given, _gumbel(given, size, found))


def _gumbel(key: Key | Tensor, shape: Shape, dtype: DType) -> Tensor:
    # From the smallest normal number, so that no logarithm is of 0.
    smallest = float(_info(dtype).smallest_normal)
    return -ops.log(-ops.log(_uniform(key, shape, dtype, smallest, 1.0)))


def exponential(
    key: KeyLike | None = None, shape: Size = (), dtype: DTypeLike = "float32"
) -> Tensor:
    """Floats of the standard exponential distribution, -log(1 - u) of uniform u: how long one waits
    for what happens once a second.

    >>> bool((exponential(key(0), (100,)) >= 0).all())
    True
    """
    name = "random.exponential"
    found, size = _float(name, dtype), _shape(name, shape)
    given = _as_key(name, key)
    return _placed(given, -ops.log1p(-_fractions(given, size, found)))


def laplace(key: KeyLike | None = None, shape: Size = (), dtype: DTypeLike = "float32") -> Tensor:
    """Floats of the standard Laplace distribution: exponential ones, to both sides of 0.

    >>> laplace(key(0), (3,)).shape
    (3,)
    """
    name = "random.laplace"
    found, size = _float(name, dtype), _shape(name, shape)
    given = _as_key(name, key)
    uniforms = _uniform(given, size, found, _above_minus_one(found), 1.0)
    return _placed(given, ops.sign(uniforms) * ops.log1p(-ops.abs(uniforms)))


# Bits and fractions: computed at home, which is NumPy for a Key, and its device for a Tensor key


def _home(key: Key | Tensor) -> Device:
    """Where the numbers of a key are computed.

    Those of a Key by NumPy, and moved: the same bits everywhere, where an accelerator would need
    more than a hundred small launches, and XLA a compilation for every new shape.
    """
    return key._device if isinstance(key, Tensor) else backends.numpy


def _moved(x: Tensor, device: Device) -> Tensor:
    """Numbers on another device; those of a Tensor key stay where they are."""
    if x._device is backends.numpy is not device:
        return tensors.wrap(Tensor, device.adopt(x._data), device, None)
    return x


def _placed(key: Key | Tensor, x: Tensor, *given: Any) -> Tensor:
    """A result where it belongs: with the Tensors among what was given, or with a Tensor key; or
    else on the current device."""
    if isinstance(key, Tensor) or any(isinstance(g, Operators) for g in given):
        return x
    return _moved(x, backends.current())


def _together(key: Key | Tensor, dtype: DType, *given: TensorLike) -> list[Tensor]:
    """Arguments as Tensors of a dtype: on the device of those that are Tensors, or at home."""
    likes = [g for g in given if isinstance(g, Operators)]
    device = likes[0].device if likes else _home(key)
    return [
        ops.astype(g, dtype)
        if isinstance(g, Operators)
        else conversion.tensor(g, dtype, device=device)
        for g in given
    ]


def _bits(key: Key | Tensor, shape: Shape, width: int) -> Tensor:
    """Words of `width` bits."""
    if isinstance(key, Tensor):
        return _random_bits(key, shape=shape, width=width)
    if math.prod(shape) < _MANY:
        array = _few_bits(key, shape, width)
    else:
        array = _random_bits.forward(np, words(key), shape=shape, width=width)
    return tensors.wrap(Tensor, array, backends.numpy, None)


def _few_bits(key: Key, shape: Shape, width: int) -> np.ndarray:
    blocks = _first_blocks(key, math.prod(shape))
    if width == 64:
        words = [x << 32 | y for x, y in blocks]
    else:
        words = [(x ^ y) & (1 << width) - 1 for x, y in blocks]
    return np.array(words, f"uint{width}").reshape(shape)


def _fractions(key: Key | Tensor, shape: Shape, dtype: DType) -> Tensor:
    """Multiples of 2**-digits from 0 to 1 (not included), as many digits as the dtype has below 1:
    all equally likely, and exact."""
    width, digits = _DIGITS[dtype.name]
    words = _bits(key, shape, width)
    return ops.astype(words >> (width - digits), dtype) * 2.0**-digits


# For each dtype: of how many random bits, how many are used.
_DIGITS = {"bfloat16": (8, 7), "float16": (16, 10), "float32": (32, 23), "float64": (64, 52)}


def _uniform(key: Key | Tensor, shape: Shape, dtype: DType, low: float, high: float) -> Tensor:
    fractions = _fractions(key, shape, dtype)
    if (low, high) == (0.0, 1.0):
        return fractions
    with np.errstate(over="ignore"):
        start, span = np.asarray(low, dtype), np.asarray(high, dtype) - np.asarray(low, dtype)
    if not (np.isfinite(start) and np.isfinite(span) and span >= 0):
        raise ArgumentError(
            f"random.uniform: from minval {low} to maxval {high} is no range of {dtype}: minval is "
            "at most maxval, and what is between them finite"
        )
    if math.frexp(span)[0] == 0.5:  # a power of two: the product is exact
        return fractions * float(span) + float(start)
    device = fractions._device
    return _multiply_add(
        fractions, conversion.tensor(span, device=device), conversion.tensor(start, device=device)
    )


def _between(fractions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ops.maximum(low, _multiply_add(fractions, high - low, low))


def _above_minus_one(dtype: DType) -> float:
    """The smallest number above -1."""
    return float(_info(dtype).epsneg) - 1.0


def _info(dtype: DType) -> Any:
    if dtype.name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo(dtype)
    return np.finfo(dtype)


def _order(key: Key | Tensor, shape: Shape, axis: int) -> Tensor:
    """Indices along `axis` in random order.

    Sorted by random words. Equal words keep their order, so it is done again until all of an
    element's words together are equal for two of them hardly ever: 3 log(n) / log(2**32) times.
    """
    size = math.prod(shape)
    order = ops.broadcast_to(
        ops.reshape(
            ops.arange(shape[axis], device=_home(key)),
            [-1 if i == axis else 1 for i in range(len(shape))],
        ),
        shape,
    )
    for _ in range(math.ceil(3 * math.log(max(1, size)) / math.log(_MASK))):
        key, fresh = split(key)
        again = ops.argsort(_bits(fresh, shape, 32), axis=axis, stable=True)
        order = ops.take_along_axis(order, again, axis=axis)
    return order


# Threefry

# How far words are rotated: to the left, and so to the right.
_SHIFTS = [[(r, 32 - r) for r in four] for four in ((13, 15, 26, 6), (17, 29, 16, 24))]
_PARITY = 0x1BD11BDA  # of the key schedule, as Skein's
_BLOCK = 2**15  # so many words, and what they are computed with, stay in a core's cache


def _threefry_int(first: int, second: int, high: int, low: int, ones: int = 1) -> tuple[int, int]:
    """Block (high, low) of a key, in Python's integers: a few microseconds.

    For several blocks at once, which takes hardly longer, `low` is their numbers side by side, 64
    bits for each, and `ones` a one for each; so are the results.
    """
    mask = _MASK * ones
    schedule = (first * ones, second * ones, (first ^ second ^ _PARITY) * ones)
    x, y = high * ones + schedule[0], low + schedule[1] & mask
    for i in range(5):
        for left, right in _SHIFTS[i & 1]:
            x += y  # may grow beyond 32 bits; only its lower ones come into y
            y = (y << left ^ y >> right ^ x) & mask
        x += schedule[(i + 1) % 3]
        y = y + schedule[(i + 2) % 3] + (i + 1) * ones & mask
    return x & mask, y


def _first_blocks(key: Key, count: int) -> list[tuple[int, int]]:
    """Blocks (0, 0), (0, 1) ... of a key."""
    x, y = _threefry_int(key.first, key.second, 0, *_side_by_side(count))
    return [(x >> place & _MASK, y >> place & _MASK) for place in range(0, 64 * count, 64)]


@functools.cache
def _side_by_side(count: int) -> tuple[int, int]:
    """The numbers from 0 on, and as many ones, in 64 bits each."""
    places = range(count)
    return sum([i << 64 * i for i in places]), sum([1 << 64 * i for i in places])


def _threefry(key: Array, high: int, low: Array) -> tuple[Array, Array]:
    """Blocks (high, low) of a key, in the arrays of any module; NumPy's and CuPy's in place."""
    first, second = key[:1], key[1:]
    schedule = (first, second, first ^ second ^ np.uint32(_PARITY))
    y = low + second
    x = y * np.uint32(0) + (first + np.uint32(high))
    for i in range(5):
        for left, right in _ARRAY_SHIFTS[i & 1]:
            x += y
            carried = y >> right
            y <<= left
            y |= carried
            y ^= x
        x += schedule[(i + 1) % 3]
        y += schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


_ARRAY_SHIFTS = [[(np.uint32(left), np.uint32(right)) for left, right in four] for four in _SHIFTS]


def _counted(xp: Any, start: Any, count: int) -> Array:
    """`count` words from `start` upwards."""
    return xp.arange(count, dtype=np.uint32) + start


class RandomBits(Op):
    """Words of 8, 16, 32 or 64 random bits of a key, word i from block i."""

    no_gradient = "bits have no slope"

    def operand_dtypes(self, given: Any, kind: Any) -> Any:
        return [dtypes.uint32]

    def forward(self, xp: Any, key: Array, *, shape: Shape, width: int) -> Array:
        size = math.prod(shape)
        most = _BLOCK if xp is np else 2**32
        parts = [
            self._part(xp, key, start, min(most, size - start), width)
            for start in range(0, max(size, 1), most)
        ]
        return (parts[0] if len(parts) == 1 else xp.concatenate(parts)).reshape(shape)

    def _part(self, xp: Any, key: Array, start: int, count: int, width: int) -> Array:
        low = _counted(xp, np.uint32(start & _MASK), count)
        x, y = _threefry(key, start >> 32, low)
        if width == 64:
            return x.astype(np.uint64) << np.uint64(32) | y
        x ^= y
        return x if width == 32 else x.astype(f"uint{width}")

    def infer(self, key: Any, *, shape: Shape, width: int) -> Aval:
        _check_words(key)
        return Aval(shape, np.dtype(f"uint{width}"))


class SplitKey(Op):
    """`num` keys of a key, from the blocks that begin at `start`."""

    no_gradient = "bits have no slope"

    def operand_dtypes(self, given: Any, kind: Any) -> Any:
        return [dtypes.uint32, dtypes.uint32]

    def forward(self, xp: Any, key: Array, start: Array, *, num: int) -> Array:
        return xp.stack(_threefry(key, 0, _counted(xp, start, num)), axis=-1)

    def infer(self, key: Any, start: Any, *, num: int) -> Aval:
        _check_words(key)
        return Aval((num, 2), dtypes.uint32)


class NextAfter(Binary):
    """The next number after x in the direction of y."""

    ufunc = "nextafter"
    result = "float"
    no_gradient = "it only keeps samples inside their bounds"
    c = "nextafter({0}, {1})"


class MultiplyAdd(Elementwise):
    """x * y + z of float32 and float64, as if rounded once.

    So it is the same whether a compiler fuses the two or not: XLA does, which is how
    `jax.random.uniform` computes. Half precision is rounded twice, as there. float32 goes through
    float64, where the product is exact; in float64 the errors of product and sum are computed and
    added: Dekker, "A floating-point technique for extending the available precision" (1971). That
    the last sum is rounded a second time shows where it is within 2**-28 of halfway, or less.
    """

    result = "float"
    c = "fma({0}, {1}, {2})"
    gradients = (lambda g, _, x, y, z: g * y, lambda g, _, x, y, z: g * x, lambda g, *_: g)

    def operand_dtypes(self, given: Any, kind: Any) -> Any:
        return [self._compute_dtype(promoted(given, kind))] * 3

    def forward(self, xp: Any, x: Array, y: Array, z: Array) -> Array:
        if x.dtype == np.float32:
            return (x.astype(np.float64) * y.astype(np.float64) + z).astype(np.float32)
        product = x * y
        rounded = product + z
        if x.dtype != np.float64:
            return rounded
        (a, b), (c, d) = _halves(x), _halves(y)
        lost = ((a * c - product) + a * d + b * c) + b * d
        added = rounded - product
        lost = lost + ((product - (rounded - added)) + (z - added))
        return xp.where(xp.isfinite(lost), rounded + lost, rounded)


def _halves(x: Array) -> tuple[Array, Array]:
    """float64 numbers as sums of two with half the digits."""
    scaled = x * (2.0**27 + 1)
    upper = scaled - (scaled - x)
    return upper, x - upper


_random_bits = RandomBits()
_split_key = SplitKey()
_next = NextAfter()
_multiply_add = MultiplyAdd()


# What is given


def _as_key(name: str, key: Any) -> Key | Tensor:
    """A key as a Key, or as a Tensor of its words; from the default generator where it is None."""
    if key.__class__ is Key:
        return key
    if key is None:
        return default_generator().draw()
    if isinstance(key, Operators) and key.shape == (2,) and key.dtype == dtypes.uint32:
        return key.value
    if isinstance(key, np.ndarray) and key.shape == (2,) and key.dtype == dtypes.uint32:
        return _make_key(*key.tolist())
    raise _no_key(name, key)


def _no_key(name: str, key: Any) -> DtypeError:
    if isinstance(key, (Operators, np.ndarray)):
        given = f"{key.dtype} of shape {key.shape}"
    elif isinstance(key, Keys):
        given = f"{len(key)} keys"
    else:
        given = repr(key)
    hint = "a Key (or its words, uint32 of shape (2,)), or None for the default generator"
    if isinstance(key, int):
        hint += f": edu.random.key({key}) makes a Key of a seed"
    if isinstance(key, Keys):
        hint += ": pick one of them, or go over all with edu.vmap or edu.scan"
    if isinstance(key, (tuple, list)):
        hint += f": to draw without a key, say shape={key!r}"
    return DtypeError(f"{name}: key is {given}; it is {hint}")


def _check_words(key: Any) -> None:
    if not isinstance(key, Aval) or key != Aval((2,), dtypes.uint32):
        raise DtypeError(f"random: a key is uint32 of shape (2,), not {key}")


def words(key: Key) -> np.ndarray:
    """A key as an array."""
    return np.array((key.first, key.second), np.uint32)


def _on(device: Device, key: Key | Tensor) -> Tensor:
    """A key's words as a Tensor, on this device if they are not one yet."""
    if isinstance(key, Tensor):
        return key
    return tensors.wrap(Tensor, device.adopt(words(key)), device, None)


def _integer(name: str, argument: str, given: Any) -> int:
    if isinstance(given, Operators) and not given.shape and dtypes.kind(given.dtype) in "iu":
        return int(given)
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return int(given)
    raise DtypeError(f"{name}: {argument} is {given!r}; it is an integer")


def _count(name: str, argument: str, given: Any) -> int:
    count = _integer(name, argument, given)
    if count < 0:
        raise ArgumentError(
            f"{name}: {argument} is {count}; as a number of elements it is not negative"
        )
    return count


def _shape(name: str, shape: Any) -> Shape:
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if all(type(n) is int and n >= 0 for n in sizes):
        return tuple(sizes)
    try:
        found = tuple([_integer(name, "shape", n) for n in sizes])
    except DtypeError:
        found = (-1,)
    if min(found) < 0:
        raise ShapeError(
            f"{name}: {shape!r} is not a shape; it is an integer, or a tuple of them, none negative"
        )
    return found


def _dtype(name: str, dtype: DTypeLike) -> DType:
    try:
        return dtypes.as_dtype(dtype)
    except DtypeError as error:
        raise DtypeError(f"{name}: {error}") from None


def _float(name: str, dtype: DTypeLike) -> DType:
    found = _dtype(name, dtype)
    if not dtypes.is_float(found):
        raise DtypeError(f"{name}: dtype is {found}; it is float32, float64, float16 or bfloat16")
    return found


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating))


def _floats(name: str, argument: str, given: TensorLike, key: Key | Tensor) -> Tensor:
    found = (
        given.value if isinstance(given, Operators) else conversion.tensor(given, device=_home(key))
    )
    if dtypes.is_float(found.dtype):
        return found
    if found.dtype == dtypes.bool_:
        raise DtypeError(f"{name}: {argument} is bool; it is a float")
    return ops.astype(found, dtypes.float32)


def _broadcast(*shapes: Shape) -> Shape | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _fits(name: str, shape: Shape, **arguments: Any) -> None:
    """Refuse arguments that do not broadcast to the shape."""
    for argument, array in arguments.items():
        if _broadcast(shape, array.shape) != shape:
            raise ShapeError(
                f"{name}: {argument} of shape {tuple(array.shape)} does not broadcast to shape "
                f"{shape}"
            )


def _common_shape(name: str, shape: Size | None, **arguments: Any) -> Shape:
    """The shape asked for, or the one that the arguments have together."""
    if shape is not None:
        found = _shape(name, shape)
        _fits(name, found, **arguments)
        return found
    together = _broadcast(*[array.shape for array in arguments.values()])
    if together is None:
        given = " and ".join(f"{n} of shape {array.shape}" for n, array in arguments.items())
        raise ShapeError(f"{name}: {given} do not broadcast")
    return together


def _check_probabilities(name: str, given: Any, chances: Tensor) -> None:
    if not isinstance(given, Operators):
        chances = conversion.tensor(given, device=backends.numpy)  # known, also in a trace
    if not _all((chances >= 0) & (chances <= 1)):
        raise ArgumentError(f"{name}: p is {given!r}; a probability is between 0 and 1")


def _probabilities(
    name: str, p: Any, count: int, replace: bool, draws: int, key: Key | Tensor
) -> Tensor:
    """`p` for `count` elements; without `replace`, so many are to be possible."""
    chances = _floats(name, "p", p, key)
    if chances.shape != (count,):
        raise ShapeError(
            f"{name}: p has shape {chances.shape}; it has one probability for each of "
            f"{count} elements"
        )
    _check_probabilities(name, p, chances)
    total = ops.sum(chances)
    if count and not _all(ops.abs(total - 1) <= math.sqrt(float(_info(chances.dtype).eps))):
        raise ArgumentError(f"{name}: p adds up to {total}; probabilities add up to 1")
    if not replace and not _all(ops.sum(ops.astype(chances > 0, dtypes.int32)) >= draws):
        raise ArgumentError(
            f"{name}: fewer than {draws} elements have a probability above 0; without repeating "
            "one, that many are needed"
        )
    return chances


def _all(holds: Tensor) -> bool:
    """Whether something holds everywhere; under vmap, for every example. In a trace nobody knows,
    and it is taken to."""
    every = ops.logical_not(holds.all())
    return batching.is_traced(every) or not batching.any_example(every)
