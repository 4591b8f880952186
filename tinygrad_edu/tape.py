"""The tape: what was computed, for whoever walks back over it (`walk.py`).

While a tape is open, every operation on a value it follows leaves a Record: the operation, its
inputs, its outputs. An output links to its record, a record to its inputs, and no input knows its
outputs; so there are no reference cycles, and what nobody holds is freed at once.

Tapes have numbers. A record holds the numbers of the tapes that follow it. Number 0 is the tape
that is always open: `requires_grad` tensors are followed by it, and `Tensor.backward()` walks it.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import CodeType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import traces, tree
from .errors import ArgumentError, GradientError
from .lines import describe, in_library, line_of

if TYPE_CHECKING:
    from .op import Op
    from .tensors import Tensor

P = ParamSpec("P")
R = TypeVar("R")

ALWAYS = 0
"""The number of the tape that is always open."""


class _Every:
    """The tapes that follow a leaf at all times: all from the number `first` on."""

    __slots__ = ("first",)

    def __init__(self, first: int) -> None:
        self.first = first

    def __contains__(self, number: int) -> bool:
        return number >= self.first


EVERY = _Every(ALWAYS)
"""Followed by every tape and by `backward()`: a tensor that requires gradients."""
EXPLICIT = _Every(ALWAYS + 1)
"""Followed by every tape that somebody opened: a trainable Variable."""


class Leaf:
    """What the tape knows of a value that was not computed: who follows it, and its gradient."""

    __slots__ = ("__weakref__", "held", "tapes")

    parents: tuple[()] = ()

    def __init__(self, tapes: _Every | tuple[int, ...]) -> None:
        self.tapes = tapes
        self.held: Tensor | None = None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` has added up."""
        if traces.being_made and (trace := traces.current()) is not None:
            return trace.read_grad(self)
        return self.held

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        if traces.being_made and (trace := traces.current()) is not None:
            trace.write_grad(self, gradient)
        else:
            self.held = gradient


class Record:
    """One operation on the tape.

    `operands` are what the operation was given: Tensors and Python numbers, or if `bare` the arrays
    that they hold, where its gradients take those. `parents` are the nodes they came from (None for
    a constant), `outputs` the bare array, or a tuple of arrays.
    """

    __slots__ = (
        "bare",
        "code",
        "instruction",
        "op",
        "operands",
        "outputs",
        "params",
        "parents",
        "sequence",
        "tapes",
    )

    op: Op
    operands: tuple[Any, ...]
    bare: bool
    parents: tuple[Node | None, ...]
    params: dict[str, Any]
    outputs: Any
    tapes: tuple[int, ...]
    sequence: int
    code: CodeType
    instruction: int

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the operation was given, as Tensors and Python numbers."""
        if not self.bare:
            return self.operands
        wrapped = zip(self.operands, self.parents, strict=True)
        return tuple([tensors.around(x, node) for x, node in wrapped])

    def where(self) -> str:
        """The user's line that called the operation: `train.py:12: loss = (x @ W).mean()`."""
        return line_of(self.code, self.instruction)


Node = Leaf | Record


class Recording:
    """Which tapes are open. Never changed: opening or closing a tape makes another one.

    `followers` says, for the tapes that follow a node, which of them are open. Equal answers are
    one object, so that operands followed by the same tapes are told at a glance. `usual` is that of
    most records, and `keep` puts such a record on the tapes that somebody opened, if there are any.

    `around` is what was open where a trace began, for operations on nothing of that trace.
    """

    __slots__ = ("always", "around", "before", "explicit", "followers", "keep", "tapes", "usual")

    keep: Callable[[Record], None] | None

    def __init__(
        self,
        always: bool,
        tapes: tuple[GradientTape, ...],
        explicit: tuple[int, ...],
        before: Recording | None = None,
        around: Recording | None = None,
    ) -> None:
        self.always = always
        self.around = around
        self.before = before
        self.tapes = tapes
        self.explicit = explicit
        self.usual = explicit or self.open
        self.followers: dict[Any, tuple[int, ...]] = {EXPLICIT: explicit}
        if len(tapes) == 1:
            self.keep = tapes[0]._records.append
        else:
            self.keep = functools.partial(_keep, tapes) if tapes else None

    @property
    def open(self) -> tuple[int, ...]:
        """The numbers of all tapes that are open."""
        return (ALWAYS, *self.explicit) if self.always else self.explicit

    def look_up(self, tapes: Any) -> tuple[int, ...]:
        """What `followers` does not know yet."""
        if len(self.followers) > 20:  # numbers of tapes that are long gone
            self.followers = {EXPLICIT: self.explicit}
        found = tuple([number for number in self.open if number in tapes])
        if found == self.usual:
            found = self.usual
        self.followers[tapes] = found = self.followers.setdefault(found, found)
        return found

    def opened(self, tape: GradientTape) -> Recording:
        explicit = (*self.explicit, tape._number) if self.explicit else tape._alone
        return Recording(self.always, (*self.tapes, tape), explicit, self, self.around)

    def closed(self, tape: GradientTape) -> Recording:
        if self.before is not None and self.tapes[-1] is tape:
            return self.before
        if tape not in self.tapes:
            return self
        rest = tuple([t for t in self.tapes if t is not tape])
        explicit = tuple([t._number for t in rest])
        return Recording(self.always, rest, explicit, around=self.around)

    def everywhere(self) -> Recording:
        """With the tapes that were open around the traces that are being made."""
        if self.around is None:
            return self
        outside = self.around.everywhere()
        explicit = (*outside.explicit, *self.explicit)
        return Recording(self.always, (*outside.tapes, *self.tapes), explicit)


_NO_TAPES = Recording(True, (), ())
PAUSED = Recording(False, (), ())
current: ContextVar[Recording] = ContextVar("tinygrad_edu.recording", default=_NO_TAPES)

_frame = sys._getframe
next_sequence = itertools.count().__next__
_next_number = itertools.count(ALWAYS + 1).__next__
_live = {ALWAYS}  # the numbers of tapes that may still be walked
_watching = threading.Lock()


def moment() -> int:
    """A number between those of the tapes that were made before, and of those made after."""
    return _next_number()


def record(
    op: Op,
    operands: tuple[Any, ...],
    parents: tuple[Node | None, ...],
    params: dict[str, Any],
    outputs: Any,
    bare: bool = False,
) -> Record | None:
    """Put one operation on the tapes that follow its inputs; None if none of them is open.

    Every recorded operation passes through here, so this is written for speed.
    """
    recording = current.get()
    if recording is PAUSED:
        return None
    if recording.around is not None and not _is_traced(outputs):
        recording = recording.everywhere()
    usual = recording.usual
    tapes: Any = ()
    for node in parents:
        if node is not None:
            found: Any = node.tapes
            if found is not usual:
                found = recording.followers.get(found)
                if found is None:
                    found = recording.look_up(node.tapes)
            if found is not tapes:
                tapes = recording.look_up((*tapes, *found)) if tapes else found
    if not tapes:
        return None
    made = Record()
    made.op = op
    made.operands = operands
    made.bare = bare
    made.parents = parents
    made.params = params
    made.outputs = outputs
    made.tapes = tapes
    made.sequence = next_sequence()
    frame = _frame(3)  # nothing in this library records on its caller's behalf from nearer
    while in_library[(code := frame.f_code).co_filename] and frame.f_back is not None:
        frame = frame.f_back
    # The code object and the instruction say where; the frame would keep the user's locals alive.
    made.code = code
    made.instruction = frame.f_lasti
    if tapes is not usual:
        for tape in recording.tapes:
            if tape._number in tapes:
                tape._records.append(made)
                tape._shared = True
    elif recording.keep is not None:
        recording.keep(made)
    return made


def _keep(tapes: Sequence[GradientTape], made: Record) -> None:
    """Put a record on several tapes."""
    for tape in tapes:
        tape._records.append(made)


def _is_traced(outputs: Any) -> bool:
    """Whether the result of an operation stands for values: of a trace, or of a batch."""
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    return getattr(first.device, "level", 0) > 0


class GradientTape:
    """Records operations on watched Tensors and trainable Variables while it is open.

    `persistent`: keep the records after `gradient`, so that it can be called again.

    >>> import tinygrad_edu as edu
    >>> time = edu.Variable(3.0)
    >>> with edu.GradientTape() as outer:
    ...     with edu.GradientTape() as inner:
    ...         position = 4.9 * time**2
    ...     speed = inner.gradient(position, time)
    >>> print(f"{outer.gradient(speed, time):.1f}")
    9.8
    """

    __slots__ = ("__weakref__", "_alone", "_number", "_records", "_shared", "_spent", "persistent")

    def __init__(self, persistent: bool = False) -> None:
        self.persistent = persistent
        self._number = _next_number()
        self._alone = (self._number,)  # one object, for who is followed by this tape alone
        self._records: list[Record] = []
        self._shared = False  # whether `backward()` may go back over what is recorded here
        self._spent = False
        _live.add(self._number)

    def __enter__(self) -> GradientTape:
        if self._spent:
            raise self._used_up("opened")
        current.set(current.get().opened(self))
        return self

    def __exit__(self, *exception: object) -> None:
        current.set(current.get().closed(self))

    def __del__(self) -> None:
        try:
            spent = self._spent
        except AttributeError:  # it was given arguments that there are not, and never made
            return
        if not spent:
            self._release()

    def watch(self, watched: Any) -> None:
        """Follow a Tensor, or each Tensor of a nested structure, from now on.

        Raises DtypeError for integers and booleans: no gradient flows through them.
        """
        for tensor in tree.leaves(watched):
            value = walk.differentiable(tensor, "GradientTape.watch")
            node = value._record
            if node is None or node.parents is None:
                value._record = Leaf(self._alone)
            else:
                follow(node, self)

    def stop_recording(self) -> AbstractContextManager[None]:
        """Pause this tape inside a `with` statement."""
        return _recording_as(lambda before: before.closed(self))

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None) -> Any:
        """The gradient of `target` with respect to `sources`.

        `target` and `sources` are Tensors, Variables or nested structures of them; the result has
        the structure of `sources`, and None where nothing connects. Each gradient has its source's
        shape and dtype. A target that is not a scalar counts as its sum, unless `output_gradients`
        (of the target's structure) gives its cotangent. Other open tapes record this computation;
        this one does not.

        Raises GradientError when the tape was used up, DtypeError for an integer target or source,
        ShapeError for a cotangent of another shape than its target.

        >>> import tinygrad_edu as edu
        >>> x = edu.tensor([1.0, 2.0])
        >>> with edu.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> tape.gradient(y, {"x": x})
        {'x': Tensor([2., 4.], dtype=float32)}
        """
        if self._spent:
            raise self._used_up("walked")
        where = "GradientTape.gradient"
        pending: dict[Node | None, Any] = {}
        if output_gradients is None:
            for end in tree.leaves(target):
                walk.seed(pending, end, None, where)
        else:
            given = _cotangents(target, output_gradients, where)
            for end, cotangent in zip(tree.leaves(target), given, strict=True):
                walk.seed(pending, end, cotangent, where)
        leaves, structure = tree.flatten(sources)
        nodes = [walk.differentiable(source, where)._record for source in leaves]
        return structure.unflatten(self._pulled_back(pending, nodes))

    def _pulled_back(
        self, pending: dict[Node | None, Any], sources: Sequence[Node | None]
    ) -> list[Tensor | None]:
        """`gradient`, from what `seed` has made of targets to the nodes of sources."""
        before = current.get()
        others = before.closed(self) if before.tapes else before
        alone = not (others.tapes or traces.being_made or self._shared)
        for start in pending.values():
            alone = alone and getattr(start, "_record", None) is None
        current.set(PAUSED if alone else others)  # who knows that nobody records it is faster
        try:
            found = walk.walk_back(self._records, pending, sources, not alone)
        finally:
            current.set(before if self.persistent else others)
        if not self.persistent:
            self._spent = True
            self._release()
            self._records.clear()
        return found

    def _used_up(self, how: str) -> GradientError:
        return GradientError(
            f"this GradientTape was used up by gradient() and cannot be {how} again: make it "
            "with GradientTape(persistent=True), or ask for all gradients in one call"
        )

    def _release(self) -> None:
        _live.discard(self._number)
        free(self._records, self._number)

    def __repr__(self) -> str:
        if self._spent:
            return "GradientTape, used up by gradient()"
        count = len(self._records)
        title = f"GradientTape, {count} record{'s' * (count != 1)}"
        return "\n".join([title, *describe(self._records)])


def _cotangents(target: Any, given: Any, where: str) -> list[Any]:
    """What `output_gradients` gives for each target; a row of them may be a list or a tuple."""
    shape = tree.flatten(target)[1]
    found = tree.leaves_like(shape, given)
    if found is None and dict not in (shape.kind, type(given)):
        found = tree.leaves(given)
    if found is None:
        raise GradientError(
            f"{where}: output_gradients have the structure of the target, and not of {given!r}"
        )
    if len(found) != shape.size:
        raise GradientError(f"{where}: {len(found)} output_gradients for {shape.size} targets")
    return found


def free(records: Iterable[Record], number: int) -> None:
    """Free the records that only this tape, and tapes that are gone, have followed. What is freed
    has no parents, not even none: who walks over it gets an error."""
    tapes, alone = None, False
    for made in records:
        if made.tapes is not tapes:  # most records share one tuple
            tapes = made.tapes
            alone = len(tapes) == 1 or _live.isdisjoint([n for n in tapes if n != number])
        if alone:
            made.operands = made.parents = None  # type: ignore[assignment]


class no_grad:  # noqa: N801  used like the function that PyTorch's users know
    """Stop every recording begun outside, inside a `with` statement or a decorated function, which
    may be a generator or a coroutine.

    A tape opened inside records.

    >>> import tinygrad_edu as edu
    >>> x = edu.tensor(2.0, requires_grad=True)
    >>> with edu.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def __init__(self, *given: Any) -> None:
        if given:
            raise ArgumentError("no_grad: takes no arguments; it decorates as @edu.no_grad()")
        self._before: list[Recording] = []

    def __enter__(self) -> None:
        self._before.append(current.get())
        current.set(PAUSED)

    def __exit__(self, *exception: object) -> None:
        current.set(self._before.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def unrecorded(*args: P.args, **kwargs: P.kwargs) -> R:
            with no_grad():
                found: Any = function(*args, **kwargs)
            if isinstance(found, GeneratorType):
                found = _unrecorded_steps(found)
            elif isinstance(found, CoroutineType):
                found = _unrecorded_wait(found)
            return found

        return unrecorded


def _unrecorded_steps(generator: GeneratorType[Any, Any, R]) -> Generator[Any, Any, R]:
    """A generator of which nothing is recorded; what its caller does between its steps is."""
    resume: Callable[[Any], Any] = generator.send
    given: Any = None
    while True:
        try:
            with no_grad():
                step = resume(given)
        except StopIteration as end:
            return end.value
        try:
            resume, given = generator.send, (yield step)
        except BaseException as error:
            resume, given = generator.throw, error


async def _unrecorded_wait(coroutine: CoroutineType[Any, Any, R]) -> R:
    with no_grad():
        return await coroutine


def apart() -> AbstractContextManager[None]:
    """Record nothing of a trace on tapes that were opened outside, inside a `with` statement; those
    opened inside record, and `backward()` goes back to its beginning."""
    return _recording_as(
        lambda before: before if before is PAUSED else Recording(True, (), (), around=before)
    )


@contextmanager
def _recording_as(changed: Callable[[Recording], Recording]) -> Iterator[None]:
    """Have other tapes open inside a `with` statement."""
    before = current.get()
    current.set(changed(before))
    try:
        yield
    finally:
        current.set(before)


def is_paused() -> bool:
    """Whether `no_grad` holds."""
    return current.get() is PAUSED


def is_explicit() -> bool:
    """Whether somebody has opened a tape."""
    return bool(current.get().explicit)


def follow(node: Any, tape: GradientTape) -> None:
    """Have a tape follow a node as well."""
    with _watching:
        if tape._number not in node.tapes:
            # Numbers of tapes that are gone go, or a value watched each step would collect them.
            others = [n for n in node.tapes if n in _live]
            node.tapes = (*others, tape._number) if others else tape._alone


def is_followed(value: Any) -> bool:
    """Whether an open tape follows a Tensor or a Variable, also one around a trace."""
    node = value.value._record
    return node is not None and any(n in node.tapes for n in current.get().everywhere().open)


# These modules need this one when they are imported.
from . import tensors, walk  # noqa: E402
