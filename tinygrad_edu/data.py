"""Data in batches: Dataset, and turning what users have into NumPy arrays.

A Dataset is a chain of steps (shuffle, batch, map ...), none of which does anything before it is
iterated. Steps whose elements can be asked for by number stay that way down the chain, so that a
batch of shuffled rows is one gather, and only those rows are read. Knows nothing of models.
"""

from __future__ import annotations

import collections
import contextvars
import csv
import functools
import itertools
import math
import operator
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import conversion, dtypes, random, tensors, tree
from .errors import ArgumentError, DtypeError, Error, ShapeError, close_to, undefined

Run = tuple[int, ...]
"""Which pass over the data this is: one number, and one more for each `repeat` inside."""

Where = slice | np.ndarray
"""Which rows: an unbroken stretch, or their numbers."""

ROWS_AT_ONCE = 1 << 22
"""More rows than this are shuffled in blocks: a permutation of them would take much memory."""

_BLOCK = 1 << 10

_AT_ONCE = 1 << 20
"""Bytes of batches that are gathered at once: they stay in the processor's cache until used."""


class Dataset:
    """Data to be iterated, as often as one likes; each pass shuffles anew.

    Made by `from_arrays`, `from_generator`, `from_csv` or `from_npy`. An element is a row, and
    after `batch` a batch: what `fit` takes is x, (x, y) or (x, y, sample_weight), each a NumPy
    array or a nested structure of them. Methods give a new Dataset and leave this one as it is.

    `state_dict()` is where the last iteration stands; after `load_state_dict` the next one goes on
    from there with exactly the elements that would have come.

    >>> import numpy as np
    >>> rows = Dataset.from_arrays((np.arange(5), np.arange(5) ** 2))
    >>> for x, y in rows.batch(2):
    ...     print(x, y)
    [0 1] [0 1]
    [2 3] [4 9]
    [4] [16]
    """

    _source: Dataset | None = None

    def __init__(self) -> None:
        self._place = _Place(0, 0)
        self._resumed = True

    # Where data comes from

    @staticmethod
    def from_arrays(data: Any) -> Dataset:
        """The rows of arrays of one length, in a nested structure such as (x, y).

        Takes what `fit` takes: NumPy arrays (not copied), Tensors, pandas, lists of numbers.
        Raises ShapeError where lengths differ, DtypeError for what is not numeric.
        """
        return _Rows(data)

    @staticmethod
    def from_npy(paths: Any) -> Dataset:
        """The rows of `.npy` files, in a nested structure such as ("x.npy", "y.npy").

        Files are mapped, not read: a batch reads just its rows, so files may be larger than
        memory. Raises ArgumentError for what is no such file or holds Python objects.
        """
        return _Rows(tree.map(_mapped_file, paths))

    @staticmethod
    def from_csv(
        path: str | Path,
        target: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        dtype: str = "float32",
        separator: str = ",",
    ) -> Dataset:
        """The rows of a CSV file of numbers whose first line names the columns.

        An element is x of shape (columns,), or (x, y) if there is a `target`: y is one number, or
        for a list of targets of shape (targets,); whole numbers become int32, if all of them fit. x
        has all columns but the target, or `columns`. Raises ArgumentError for unknown columns (with
        the close matches), and for what is not a number (with its row and column).
        """
        return _Rows(_read_csv(Path(path), target, columns, dtype, separator))

    @staticmethod
    def from_generator(function: Callable[[], Iterable[Any]], length: int | None = None) -> Dataset:
        """What the iterable gives that `function()` returns: called once for each pass.

        Anything that can be iterated more than once will do as well. To go on in the middle, the
        elements before are made again and dropped.
        """
        if isinstance(function, Iterator):
            raise ArgumentError(
                "Dataset.from_generator: a generator can be read once: give the function that "
                "makes it"
            )
        if not callable(function) and not isinstance(function, Iterable):
            raise ArgumentError(f"Dataset.from_generator: takes a function, not {function!r}")
        known = None if length is None else _count("from_generator", "length", length, 0)
        return _Generated(function, known)

    # Steps

    def shuffle(
        self, seed: int | None = None, *, buffer_size: int | None = None, reshuffle: bool = True
    ) -> Dataset:
        """The elements in a random order, another one in each pass unless `reshuffle` is False.

        Without a `seed` the order follows from `edu.random.seed`. Of more than 4 million rows,
        blocks of neighbours are shuffled and then all rows of a few thousand such blocks. Elements
        that come only one after another (from a generator) are drawn from a buffer: there
        `buffer_size` says how large. Raises ArgumentError if that is missing.
        """
        return _Shuffled(self, seed, buffer_size, reshuffle)

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Elements put together, `batch_size` at a time: arrays get a new first axis.

        The last batch may be short, unless `drop_remainder`. Raises ShapeError, while iterating,
        for elements whose shapes differ.
        """
        return _Batched(self, _count("batch", "batch_size", batch_size, 1), drop_remainder)

    def map(self, function: Callable[..., Any]) -> Dataset:
        """`function` of each element; of a tuple's parts, if the element is one: f(x, y)."""
        if not callable(function):
            raise ArgumentError(f"Dataset.map: takes a function, not {function!r}")
        return _Mapped(self, function)

    def prefetch(self, count: int = 2) -> Dataset:
        """The same elements, made ahead by a thread, at most `count` of them.

        What goes wrong there is raised here. The thread ends with the iteration.
        """
        return _Prefetched(self, _count("prefetch", "count", count, 1))

    def repeat(self, count: int | None = None) -> Dataset:
        """The passes one after another, `count` of them or without end, as one pass."""
        return _Repeated(self, None if count is None else _count("repeat", "count", count, 0))

    def take(self, count: int) -> Dataset:
        """The first `count` elements of each pass."""
        return _Part(self, 0, _count("take", "count", count, 0))

    def skip(self, count: int) -> Dataset:
        """All but the first `count` elements of each pass."""
        return _Part(self, _count("skip", "count", count, 0), None)

    # Iterating

    def __iter__(self) -> Iterator[Any]:
        return (element for element in self.converted(_apart))  # which can be closed

    def converted(self, function: Callable[[int, Any], Sequence[Any]]) -> Iterator[Any]:
        """The elements as `function(count, group)` makes them of so many, as `groups` gives them:
        small batches several at a time, for that is quicker.

        >>> import numpy as np
        >>> rows = Dataset.from_arrays(np.arange(4)).batch(2)
        >>> list(rows.converted(lambda count, group: group.sum(axis=-1).tolist()))
        [1, 5]
        """
        return itertools.chain.from_iterable(self._iterate(self._begin(), function))

    def groups(self, size: int) -> Iterator[tuple[int, Any]]:
        """The elements, where they are batches of rows `size` at a time, put together along a new
        first axis; with how many it is. What is left at the end comes one by one, as it is.

        >>> import numpy as np
        >>> for count, batches in Dataset.from_arrays(np.arange(5)).batch(2).groups(2):
        ...     print(count, batches.tolist())
        2 [[0, 1], [2, 3]]
        1 [4]
        """
        return self._iterate_groups(self._begin(), size)

    def _begin(self) -> _Place:
        """Where the next iteration begins."""
        if not self._resumed:
            self._place = _Place(self._place.run + 1, 0)
        self._resumed = False
        for step in self._chain():
            step._prepare()
        return self._place

    def _iterate(
        self, place: _Place, function: Callable[[int, Any], Sequence[Any]]
    ) -> Iterator[Iterator[Any]]:
        for count, group in self._groups((place.run,), place.element, None):
            yield place.taken(function(count, group))
        self._ended(place)

    def _iterate_groups(self, place: _Place, size: int) -> Iterator[tuple[int, Any]]:
        for count, group in self._groups((place.run,), place.element, size):
            place.count += count
            yield count, group
        self._ended(place)

    def _ended(self, place: _Place) -> None:
        if place is self._place:  # nobody has begun another pass meanwhile
            self._place, self._resumed = _Place(place.run + 1, 0), True

    def __len__(self) -> int:
        """The number of elements. Raises DtypeError (a TypeError) if it is unknown or infinite."""
        length = self._length()
        if length is None or length == math.inf:
            how = "no end" if length else "a length that is not known before it was iterated"
            raise DtypeError(f"len: this Dataset has {how}")
        return int(length)

    @property
    def length(self) -> int | None:
        """The number of elements in a pass; None if it is unknown or infinite."""
        length = self._length()
        return None if length is None or length == math.inf else int(length)

    @property
    def is_endless(self) -> bool:
        """Whether a pass is known to have no end."""
        return self._length() == math.inf

    def __repr__(self) -> str:
        length = self._length()
        if length is None or length == math.inf:
            return f"<Dataset, {'endless' if length else 'of unknown length'}>"
        return f"<Dataset, {length} elements>"

    def first(self, absent: Any) -> Any:
        """An element like those to come, `absent` if there is none. Iterating is not disturbed."""
        for step in self._chain():
            step._prepare()
        return next(self._stream((0,), 0), absent)

    def state_dict(self) -> dict[str, Any]:
        """Where the last iteration stands, as numbers and lists: which pass, how many elements it
        gave, and the keys that it shuffles with."""
        shuffled = [step for step in self._chain() if isinstance(step, _Shuffled)]
        return {
            "pass": self._place.run,
            "element": self._place.element,
            "keys": [step.key_words() for step in shuffled],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next iteration go on where `state_dict()` was taken, on a Dataset made alike.

        Raises ArgumentError for what is no such state, or that of another chain of steps.
        """
        shuffled = [step for step in self._chain() if isinstance(step, _Shuffled)]
        try:
            place = _Place(int(state["pass"]), int(state["element"]))
            keys = [None if key is None else [int(word) for word in key] for key in state["keys"]]
        except (KeyError, TypeError, ValueError):
            raise ArgumentError(f"load_state_dict: {state!r} is no state of a Dataset") from None
        if len(keys) != len(shuffled):
            raise ArgumentError(
                f"load_state_dict: the state of a Dataset that is shuffled {len(keys)} times, and "
                f"this one is {len(shuffled)} times"
            )
        for step, key in zip(shuffled, keys, strict=True):
            step.key = key
        self._place, self._resumed = place, True

    def _chain(self) -> list[Dataset]:
        """The steps from this one back to where data comes from."""
        return [self] if self._source is None else [self, *self._source._chain()]

    def _prepare(self) -> None:
        """What has to be done in the thread that begins to iterate."""

    # What each kind of step has of its own

    def _length(self) -> float | None:
        """How many elements a pass has: None where that is not known, else maybe infinity."""
        raise undefined(self, "_length(self)")

    def _numbered(self) -> bool:
        """Whether elements can be asked for by number."""
        return self._source is not None and self._source._numbered()

    def _table(self, run: Run) -> Table:
        """A pass, if they can be."""
        raise undefined(self, "_table(self, run)")

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        """The elements of a pass from number `start` on, if they come one after another."""
        raise undefined(self, "_flow(self, run, start)")

    def _stream(self, run: Run, start: int) -> Iterator[Any]:
        """The elements of a pass, from number `start` on."""
        if not self._numbered():
            return self._flow(run, start)
        table = self._table(run)
        return map(table.one, range(start, len(table)))

    def _groups(self, run: Run, start: int, size: int | None) -> Iterator[tuple[int, Any]]:
        """The same as `groups` gives them; without a size as many together as are gathered best."""
        table = self._table(run) if self._numbered() else None
        if isinstance(table, _BatchedTable):
            return table.groups(start, size)
        return zip(itertools.repeat(1), self._stream(run, start))


class _Place:
    """Where an iteration stands: the pass, and how many elements of it were given out."""

    def __init__(self, run: int, element: int) -> None:
        self.run = run
        self.count = element  # that were made, `_ahead` for later
        self._ahead: Iterator[Any] = iter(())

    @property
    def element(self) -> int:
        return self.count - operator.length_hint(self._ahead)

    def taken(self, elements: Sequence[Any]) -> Iterator[Any]:
        """What gives out these elements, which come next."""
        self.count += len(elements)
        self._ahead = iter(elements)
        return self._ahead


class Table(Protocol):
    """One pass over elements that can be asked for by number."""

    def __len__(self) -> int: ...

    def one(self, number: int) -> Any:
        """An element."""

    def many(self, where: Where) -> Any:
        """Several elements, put together along a new first axis."""

    @property
    def is_stored(self) -> bool:
        """Whether its elements are rows of arrays, and nobody is called for them."""


class _Rows(Dataset):
    """The rows of arrays: where most data comes from."""

    is_stored = True

    def __init__(self, data: Any) -> None:
        super().__init__()
        self._arrays, self._structure = tree.flatten(arrays(data, "Dataset"))
        self._size = common_length({"Dataset": self._arrays})

    def _length(self) -> int:
        return self._size

    def _numbered(self) -> bool:
        return True

    def _table(self, run: Run) -> Table:
        return self

    def one(self, number: int) -> Any:
        return self._structure.unflatten([array[number] for array in self._arrays])

    def many(self, where: Where) -> Any:
        if isinstance(where, slice):
            return self._structure.unflatten([array[where] for array in self._arrays])
        return self._structure.unflatten([array.take(where, 0) for array in self._arrays])


class _Generated(Dataset):
    """What an iterable gives, one after another."""

    def __init__(
        self, function: Callable[[], Iterable[Any]] | Iterable[Any], length: int | None
    ) -> None:
        super().__init__()
        self._function, self._given = function, length

    def _length(self) -> int | None:
        return self._given

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        made = self._function() if callable(self._function) else self._function
        return itertools.islice(made, start, None)


class Iterated(Dataset):
    """The batches of any iterable: a generator, a PyTorch DataLoader, a tf.data Dataset.

    A generator gives them once (`once`); going on in the middle drops those before.
    """

    def __init__(self, given: Iterable[Any]) -> None:
        super().__init__()
        self.once = isinstance(given, Iterator)
        self._given = given
        self._begun: Iterator[Any] | None = given if isinstance(given, Iterator) else None

    def first(self, absent: Any) -> Any:
        """The first element, which iterating gives nevertheless; `absent` if there is none."""
        begun = iter(self._given) if self._begun is None else self._begun
        for element in begun:
            self._begun = itertools.chain([element], begun)
            return element
        return absent

    def _length(self) -> int | None:
        try:
            return len(self._given)  # type: ignore[arg-type]
        except TypeError:
            return None

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        begun = iter(self._given) if self._begun is None else self._begun
        self._begun = begun if self.once else None
        return itertools.islice(begun, start, None)


class _Step(Dataset):
    """What is done to the elements of another Dataset."""

    _source: Dataset

    def __init__(self, source: Dataset) -> None:
        super().__init__()
        self._source = source

    def _length(self) -> float | None:
        return self._source._length()


class _Shuffled(_Step):
    def __init__(
        self, source: Dataset, seed: int | None, buffer_size: int | None, reshuffle: bool
    ) -> None:
        super().__init__(source)
        self.key = None if seed is None else _words(random.key(seed))
        self._buffer = buffer_size
        self._reshuffle = reshuffle
        if buffer_size is not None:
            _count("shuffle", "buffer_size", buffer_size, 1)
        elif not source._numbered():
            raise ArgumentError(
                "shuffle: these elements come one after another: say with buffer_size from how "
                "many to draw, or shuffle before prefetch and repeat"
            )

    def key_words(self) -> list[int] | None:
        """What the order follows from; None before the first pass, if no seed was given."""
        return self.key

    def _prepare(self) -> None:
        if self.key is None:
            self.key = _words(random.default_generator().draw())

    def _generator(self, run: Run) -> np.random.Generator:
        assert self.key is not None
        return np.random.default_rng([*self.key, *(run if self._reshuffle else ())])

    def _table(self, run: Run) -> Table:
        return _ShuffledTable(self._source._table(run), self._generator(run))

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        return itertools.islice(self._drawn(run), start, None)

    def _drawn(self, run: Run) -> Iterator[Any]:
        """Elements drawn from a buffer, in whose place the next one comes."""
        generator, rest = self._generator(run), self._source._stream(run, 0)
        buffer = list(itertools.islice(rest, self._buffer))
        for element in rest:
            i = int(generator.integers(len(buffer)))
            drawn, buffer[i] = buffer[i], element
            yield drawn
        generator.shuffle(buffer)
        yield from buffer


class _ShuffledTable:
    def __init__(self, table: Table, generator: np.random.Generator) -> None:
        self._table = table
        count = len(table)
        blocks = count > ROWS_AT_ONCE
        self._order: Any = _Blocks(count, generator) if blocks else generator.permutation(count)
        self.is_stored = table.is_stored

    def __len__(self) -> int:
        return len(self._table)

    def one(self, number: int) -> Any:
        return self._table.one(int(self._order[number : number + 1][0]))

    def many(self, where: Where) -> Any:
        return self._table.many(self._order[where])


class _Blocks:
    """A random order of more rows than a permutation should have: of blocks of neighbours, and of
    the rows of so many blocks at a time as make ROWS_AT_ONCE."""

    def __init__(self, count: int, generator: np.random.Generator) -> None:
        self._count = count
        self._starts = generator.permutation(math.ceil(count / _BLOCK)) * _BLOCK
        self._seed = int(generator.integers(1 << 62))
        sizes = np.minimum(count - self._starts, _BLOCK)
        first = np.arange(0, len(sizes), ROWS_AT_ONCE // _BLOCK)
        self._ends = np.cumsum(np.add.reduceat(sizes, first))
        self._window = functools.lru_cache(maxsize=2)(self._rows)

    def __getitem__(self, where: Where) -> np.ndarray:
        if isinstance(where, slice):
            where = np.arange(*where.indices(self._count))
        found = np.empty(len(where), np.int64)
        windows = np.searchsorted(self._ends, where, side="right")
        for window in np.unique(windows):
            inside = windows == window
            before = self._ends[window - 1] if window else 0
            found[inside] = self._window(int(window))[where[inside] - before]
        return found

    def _rows(self, window: int) -> np.ndarray:
        """The rows of one window, in their order."""
        many = ROWS_AT_ONCE // _BLOCK
        starts = self._starts[window * many : (window + 1) * many]
        rows = (starts[:, None] + np.arange(_BLOCK)).ravel()
        return np.random.default_rng([self._seed, window]).permutation(rows[rows < self._count])


class _Batched(_Step):
    def __init__(self, source: Dataset, size: int, drop_remainder: bool) -> None:
        super().__init__(source)
        self.size = size
        self._drop = drop_remainder

    def _length(self) -> float | None:
        length = self._source._length()
        return length if length in (None, math.inf) else _batches(length, self.size, self._drop)

    def _table(self, run: Run) -> _BatchedTable:
        return _BatchedTable(self._source._table(run), self.size, self._drop)

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        rest = self._source._stream(run, start * self.size)
        while elements := list(itertools.islice(rest, self.size)):
            if len(elements) == self.size or not self._drop:
                yield stacked(elements)


class _BatchedTable:
    is_stored = False

    def __init__(self, table: Table, size: int, drop_remainder: bool) -> None:
        self._table, self._size, self._drop = table, size, drop_remainder
        self._rows = len(table)
        self.whole = self._rows // size  # the batches that are not short

    def __len__(self) -> int:
        return _batches(self._rows, self._size, self._drop)

    def groups(self, start: int, size: int | None) -> Iterator[tuple[int, Any]]:
        """The batches from number `start` on, `size` at a time put together; the rest, which are
        fewer or short, one by one."""
        size = self._together() if size is None else size
        while start < len(self):
            count = size if start + size <= self.whole else 1
            yield count, self.one(start) if count == 1 else self.many(slice(start, start + count))
            start += count

    def _together(self) -> int:
        """How many batches are best gathered at once, if nobody but NumPy does it: a few rows take
        as long as many. As many each time, so that few are left over."""
        if not self.whole or not self._table.is_stored:
            return 1
        row = sum([x.nbytes for x in tree.leaves(self._table.many(slice(0, 1)))])
        turns = math.ceil(self.whole * self._size * row / _AT_ONCE)
        return max(1, self.whole // max(1, turns))

    def one(self, number: int) -> Any:
        start = number * self._size
        return self._table.many(slice(start, min(start + self._size, self._rows)))

    def many(self, where: Where) -> Any:
        if isinstance(where, slice) and where.stop <= self.whole:
            count, size = where.stop - where.start, self._size
            rows = self._table.many(slice(where.start * size, where.stop * size))
            return tree.map(lambda x: x.reshape(count, size, *x.shape[1:]), rows)
        return stacked([self.one(int(i)) for i in np.arange(len(self))[where]])


class _Mapped(_Step):
    def __init__(self, source: Dataset, function: Callable[..., Any]) -> None:
        super().__init__(source)
        self._function = function

    def _apply(self, element: Any) -> Any:
        return self._function(*element) if type(element) is tuple else self._function(element)

    def _table(self, run: Run) -> Table:
        return _MappedTable(self._source._table(run), self._apply)

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        return map(self._apply, self._source._stream(run, start))


class _MappedTable:
    is_stored = False

    def __init__(self, table: Table, function: Callable[[Any], Any]) -> None:
        self._table, self._function = table, function

    def __len__(self) -> int:
        return len(self._table)

    def one(self, number: int) -> Any:
        return self._function(self._table.one(number))

    def many(self, where: Where) -> Any:
        return stacked([self.one(int(i)) for i in np.arange(len(self))[where]])


class _Repeated(_Step):
    def __init__(self, source: Dataset, count: int | None) -> None:
        super().__init__(source)
        self._times = count

    def _length(self) -> float | None:
        length = self._source._length()
        if self._times is None:
            return math.inf if length is None or length else 0
        return 0 if self._times == 0 else None if length is None else length * self._times

    def _numbered(self) -> bool:
        return False

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        length = self._source._length()
        if length is None or length == math.inf or not length:
            return itertools.islice(self._turns(run, 0, 0), start, None)
        turn, start = divmod(start, int(length))
        return self._turns(run, turn, start)

    def _turns(self, run: Run, turn: int, start: int) -> Iterator[Any]:
        while self._times is None or turn < self._times:
            empty = not start
            for element in self._source._stream((*run, turn), start):
                empty = False
                yield element
            if empty:  # nothing again and again has an end too
                return
            turn, start = turn + 1, 0


class _Part(_Step):
    def __init__(self, source: Dataset, start: int, stop: int | None) -> None:
        super().__init__(source)
        self._start, self._stop = start, stop

    def _length(self) -> float | None:
        length = self._source._length()
        if length is None:
            return None
        return max((length if self._stop is None else min(length, self._stop)) - self._start, 0)

    def _table(self, run: Run) -> Table:
        table = self._source._table(run)
        stop = len(table) if self._stop is None else min(self._stop, len(table))
        return _PartTable(table, self._start, max(stop, self._start))

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        rest = self._source._stream(run, self._start + start)
        count = None if self._stop is None else max(self._stop - self._start - start, 0)
        return itertools.islice(rest, count)


class _PartTable:
    def __init__(self, table: Table, start: int, stop: int) -> None:
        self._table, self._start, self._stop = table, start, stop
        self.is_stored = table.is_stored

    def __len__(self) -> int:
        return self._stop - self._start

    def one(self, number: int) -> Any:
        return self._table.one(self._start + number)

    def many(self, where: Where) -> Any:
        if isinstance(where, slice):
            return self._table.many(slice(self._start + where.start, self._start + where.stop))
        return self._table.many(self._start + where)


class _Prefetched(_Step):
    def __init__(self, source: Dataset, count: int) -> None:
        super().__init__(source)
        self._ahead = count

    def _numbered(self) -> bool:
        return False

    def _flow(self, run: Run, start: int) -> Iterator[Any]:
        ready = _Ready(self._ahead)
        rest = self._source._stream(run, start)
        work = functools.partial(contextvars.copy_context().run, ready.fill, rest)
        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            while True:
                element, problem = ready.get()
                if problem is not None:
                    raise problem
                if element is _END:
                    return
                yield element
        finally:
            # Where the interpreter is ending, the thread runs no more, and may hold the lock.
            if not sys.is_finalizing():
                ready.close()
                thread.join()


_END = object()


class _Ready:
    """Elements that a thread has made and nobody has taken yet."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._made: collections.deque[tuple[Any, BaseException | None]] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False

    def fill(self, elements: Iterator[Any]) -> None:
        """Put in all elements and the end, or what went wrong, as long as anybody wants them."""
        try:
            for element in elements:
                if not self._put(element, None):
                    break
            else:
                self._put(_END, None)
        except BaseException as problem:
            self._put(_END, problem)
        finally:
            close = getattr(elements, "close", None)
            if close is not None:
                close()

    def _put(self, element: Any, problem: BaseException | None) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._made) < self._room or self._closed)
            self._made.append((element, problem))
            self._changed.notify_all()
            return not self._closed

    def get(self) -> tuple[Any, BaseException | None]:
        with self._changed:
            self._changed.wait_for(lambda: self._made)
            self._changed.notify_all()
            return self._made.popleft()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


# What users have, as NumPy arrays


def arrays(data: Any, what: str) -> Any:
    """A nested structure with NumPy arrays for leaves, none of them copied that is one.

    Takes arrays, Tensors, Variables, pandas, PyTorch's and TensorFlow's tensors, lists of numbers.
    `what` is its name in errors: DtypeError for what is not numeric.
    """
    if isinstance(data, dict):
        return {name: arrays(value, f"{what}[{name!r}]") for name, value in data.items()}
    if isinstance(data, list) and _is_numbers(data):
        try:
            return conversion.to_array(data)
        except ShapeError:
            raise ShapeError(
                f"{what}: its rows differ in length: make them alike, with padding at the end"
            ) from None
    if isinstance(data, (list, tuple)):
        parts = [arrays(part, f"{what}[{i}]") for i, part in enumerate(data)]
        return parts if isinstance(data, list) else tuple(parts)
    return None if data is None else as_array(data, what)


def as_array(data: Any, what: str) -> np.ndarray:
    """One array of numbers, of whatever library it is; see `arrays`."""
    if type(data) is np.ndarray:
        found = data
    elif isinstance(data, tensors.Operators):
        found = data.numpy()
    elif hasattr(data, "detach") and hasattr(data, "cpu"):  # PyTorch's
        found = data.detach().cpu().numpy()
    elif hasattr(data, "to_numpy"):  # pandas' columns
        found = _table(data)
    elif hasattr(data, "__array__") or isinstance(data, (bool, int, float)):
        conversion.refuse_masked(data, f"{what}: ")
        found = np.asarray(data)
    else:
        raise DtypeError(f"{what}: takes arrays of numbers, not {type(data).__name__}")
    if found.dtype.kind not in "biuf" and found.dtype.name != "bfloat16":
        hint = ""
        if hasattr(data, "dtypes") and hasattr(data, "columns"):
            odd = [str(name) for name in data.columns if data[name].dtype.kind not in "biuf"]
            hint = f": column {odd[0]!r} is not numeric" if odd else ""
        raise DtypeError(f"{what}: takes numbers, not {found.dtype}{hint}")
    return found


def _table(data: Any) -> np.ndarray:
    """A table, or a column, of pandas as an array. Where some columns are numbers and some truths
    pandas itself makes objects of both."""
    kinds = {dtype.kind for dtype in data.dtypes} if hasattr(data, "columns") else set()
    if "b" in kinds and kinds <= set("biuf"):
        return np.stack([column.to_numpy() for _, column in data.items()], axis=1)
    found: np.ndarray = data.to_numpy()
    return found


def common_length(parts: Mapping[str, Any]) -> int:
    """How many samples arrays have that belong together: x, y and so on, by name.

    Raises ShapeError, naming them, where that differs, and where there are no arrays.
    """
    sizes: dict[str, int] = {}
    for name, data in parts.items():
        found = tree.leaves(data)
        for i, array in enumerate(found):
            label = name if len(found) == 1 else f"{name}[{i}]"
            if not array.ndim:
                raise ShapeError(f"{label}: an array of samples has at least one axis, not none")
            sizes[label] = len(array)
    if not sizes:
        raise ShapeError(f"{', '.join(parts)}: no arrays at all")
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{label} has {size}" for label, size in sizes.items())
        raise ShapeError(f"as many samples in one as in the other: {told}")
    return next(iter(sizes.values()))


def _apart(count: int, group: Any) -> Sequence[Any]:
    """The elements that were put together."""
    if count == 1:
        return [group]
    leaves, structure = tree.flatten(group)
    return [structure.unflatten(rows) for rows in zip(*leaves, strict=True)]


def stacked(elements: Sequence[Any]) -> Any:
    """Elements of one structure as arrays with a new first axis. Raises ShapeError if they differ
    in structure or shape."""
    rows, structures = zip(*map(tree.flatten, elements), strict=True)
    if any(structure != structures[0] for structure in structures):
        raise ShapeError("batch: elements of different structure cannot be put together")
    columns = []
    for leaves in zip(*rows, strict=True):
        if all(map(conversion.is_weak, leaves)):
            columns.append(conversion.to_array(list(leaves)))
            continue
        parts = [as_array(leaf, "batch") for leaf in leaves]
        shapes = sorted({part.shape for part in parts})
        if len(shapes) > 1:
            raise ShapeError(f"batch: elements of shapes {shapes[0]} and {shapes[1]} do not stack")
        columns.append(np.stack(parts))
    return structures[0].unflatten(columns)


def _is_numbers(data: Any) -> bool:
    """Whether this is a number, or nested lists of nothing else."""
    if isinstance(data, (list, tuple)):
        return bool(data) and all(map(_is_numbers, data))
    return isinstance(data, (bool, int, float, np.generic))


def _mapped_file(path: Any) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ArgumentError(f"Dataset.from_npy: {str(path)!r}: {error}") from None


def _read_csv(
    path: Path,
    target: str | Sequence[str] | None,
    columns: Sequence[str] | None,
    dtype: str,
    separator: str,
) -> Any:
    """x, or (x, y), of a CSV file."""
    if len(separator) != 1:
        raise ArgumentError(f"from_csv: separator is one character, not {separator!r}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        names = [name.strip() for name in next(csv.reader(file, delimiter=separator), [])]
    if len(set(names)) < len(names) or not names:
        raise ArgumentError(f"from_csv: {path}: its first line is to name the columns: {names}")
    targets = [] if target is None else [target] if isinstance(target, str) else list(target)
    rest = [name for name in names if name not in targets]
    kept = rest if columns is None else list(columns)
    for name in [*targets, *kept]:
        if name not in names:
            hint = close_to(name, names)
            raise ArgumentError(f"from_csv: {path}, of columns {names}, has no {name!r}{hint}")

    def read(wanted: list[str], dtype: str) -> np.ndarray:
        with path.open(newline="", encoding="utf-8-sig") as file:
            next(csv.reader(file, delimiter=separator))
            use = [names.index(name) for name in wanted]
            return np.loadtxt(
                file, dtype, None, separator, usecols=use, ndmin=2, quotechar='"', encoding=None
            )

    # Integers are read as such: a fraction is then refused, not cut off.
    exact = "float64" if dtypes.is_float(dtypes.as_dtype(dtype)) else dtype
    try:
        with warnings.catch_warnings():  # of a file without rows
            warnings.simplefilter("ignore")
            x = read(kept, dtype)
        y = read(targets, exact) if targets else None
    except ValueError as error:
        raise ArgumentError(f"from_csv: {path}, after its first line: {error}") from None
    if not len(x):
        raise ArgumentError(f"from_csv: {path} has no rows after its first line")
    if y is None:
        return x
    whole = bool(((y == np.round(y)) & (np.abs(y) <= np.iinfo("int32").max)).all())
    y = y.astype("int32" if whole else dtype)
    return x, y[:, 0] if isinstance(target, str) else y


def _batches(rows: float, size: int, drop_remainder: bool) -> int:
    return int(rows) // size if drop_remainder else math.ceil(rows / size)


def _words(key: random.Key) -> list[int]:
    return [int(word) for word in random.words(key)]


def _count(method: str, argument: str, given: Any, least: int) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < least:
        kind: type[Error] = (
            DtypeError if not isinstance(given, (int, np.integer)) else ArgumentError
        )
        raise kind(f"Dataset.{method}: {argument} is a whole number from {least} on, not {given!r}")
    return int(given)
