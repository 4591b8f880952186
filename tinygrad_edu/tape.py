"""The tape: what was computed, and the walk back over it.

While a tape is open, every operation on a value it follows leaves a Record: the operation, its
inputs, its outputs. An output links to its record, a record to its inputs, and no input knows its
outputs; so there are no reference cycles, and what nobody holds is freed at once. Walking back is
one loop over the records in reverse order, asking each operation for its vector-Jacobian product.

Tapes have numbers. A record holds the numbers of the tapes that follow it. Number 0 is the tape
that is always open: `requires_grad` tensors are followed by it, and `Tensor.backward()` walks it.

Source: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

import functools
import itertools
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from . import dtypes, traces, tree
from .errors import DtypeError, GradientError, ShapeError

if TYPE_CHECKING:
    from .backends import Device
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
    sequence = -1  # a leaf comes before every record

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

    def device(self, cotangent: Device) -> Device:
        """Where its outputs live, which under vmap need not be where their cotangent does."""
        devices = [x._device for x in self.inputs if isinstance(x, tensors.Tensor)]
        return max(devices, key=lambda device: device.level, default=cotangent)

    def where(self) -> str:
        """The user's line that called the operation: `train.py:12: loss = (x @ W).mean()`."""
        return line_of(self.code, self.instruction)


def line_of(code: CodeType, instruction: int) -> str:
    """Where an instruction stands: the file, the line, and what it says."""
    number = code.co_firstlineno
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            number = line
    import linecache  # takes long, and only what is printed needs it

    source = linecache.getline(code.co_filename, number).strip()
    return f"{Path(code.co_filename).name}:{number}" + (f": {source}" if source else "")


Node = Leaf | Record


class Recording:
    """Which tapes are open. Never changed: opening or closing a tape makes another one.

    `followers` says, for the tapes that follow a node, which of them are open. Equal answers are
    one object, so that operands followed by the same tapes are told at a glance.
    """

    __slots__ = ("before", "explicit", "followers", "open", "tapes")

    def __init__(
        self,
        always: bool,
        tapes: tuple[GradientTape, ...],
        explicit: tuple[int, ...],
        before: Recording | None = None,
    ) -> None:
        self.before = before
        self.tapes = tapes
        self.explicit = explicit
        self.open = (ALWAYS, *explicit) if always else explicit
        self.followers: dict[Any, tuple[int, ...]] = {EXPLICIT: explicit}

    def look_up(self, tapes: Any) -> tuple[int, ...]:
        """What `followers` does not know yet."""
        if len(self.followers) > 20:  # numbers of tapes that are long gone
            self.followers = {EXPLICIT: self.explicit}
        found = tuple([number for number in self.open if number in tapes])
        if found == self.explicit:
            found = self.explicit
        self.followers[tapes] = found = self.followers.setdefault(found, found)
        return found

    def opened(self, tape: GradientTape) -> Recording:
        explicit = (*self.explicit, tape._number) if self.explicit else tape._alone
        return Recording(self.open is not self.explicit, (*self.tapes, tape), explicit, self)

    def closed(self, tape: GradientTape) -> Recording:
        if self.before is not None and self.tapes[-1] is tape:
            return self.before
        if tape not in self.tapes:
            return self
        rest = tuple([t for t in self.tapes if t is not tape])
        explicit = tuple([t._number for t in rest])
        return Recording(self.open is not self.explicit, rest, explicit)


_NO_TAPES = Recording(True, (), ())
_PAUSED = Recording(False, (), ())
_current: ContextVar[Recording] = ContextVar("tinygrad_edu.recording", default=_NO_TAPES)

_frame = sys._getframe
_new: Any = object.__new__
_next_sequence = itertools.count().__next__
_next_number = itertools.count(ALWAYS + 1).__next__
_live = {ALWAYS}  # the numbers of tapes that may still be walked
_watching = threading.Lock()

_HERE = str(Path(__file__).parent)
_LOWERING = str(Path(__file__).parent.parent / "lowering")


class _Library(dict[str, bool]):
    """Whether a file is part of this library; asked once a file."""

    def __missing__(self, filename: str) -> bool:
        inside = self[filename] = filename.startswith((_HERE, _LOWERING))
        return inside


in_library = _Library()


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
    recording = _current.get()
    if recording is _PAUSED:
        return None
    explicit = recording.explicit
    tapes: Any = ()
    for node in parents:
        if node is not None:
            found: Any = node.tapes
            if found is not explicit:  # which most records have
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
    made.sequence = _next_sequence()
    frame = _frame(3)  # nothing in this library records on its caller's behalf from nearer
    while in_library[(code := frame.f_code).co_filename] and frame.f_back is not None:
        frame = frame.f_back
    # The code object and the instruction say where; the frame would keep the user's locals alive.
    made.code = code
    made.instruction = frame.f_lasti
    if tapes is explicit:
        for tape in recording.tapes:
            tape._records.append(made)
    else:
        for tape in recording.tapes:
            if tape._number in tapes:
                tape._records.append(made)
                tape._shared = True
    return made


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
        _current.set(_current.get().opened(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _current.set(_current.get().closed(self))

    def __del__(self) -> None:
        if not self._spent:
            self._release()

    def watch(self, watched: Any) -> None:
        """Follow a Tensor, or each Tensor of a nested structure, from now on.

        Raises DtypeError for integers and booleans: no gradient flows through them.
        """
        for tensor in [watched] if isinstance(watched, tensors.Operators) else tree.leaves(watched):
            value = differentiable(tensor, "GradientTape.watch")
            node = value._record
            if node is None or node.parents is None:
                value._record = Leaf(self._alone)
            else:
                follow(node, self)

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Pause this tape inside a `with` statement."""
        before = _current.get()
        _current.set(before.closed(self))
        try:
            yield
        finally:
            _current.set(before)

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
        targets = [target] if isinstance(target, tensors.Operators) else tree.leaves(target)
        if output_gradients is None:
            given: Sequence[Any] = [None] * len(targets)
        elif isinstance(output_gradients, tensors.Operators):
            given = [output_gradients]
        else:
            given = tree.leaves(output_gradients)
        if len(given) != len(targets):
            raise GradientError(
                f"{where}: {len(given)} output_gradients for {len(targets)} targets"
            )
        for end, cotangent in zip(targets, given, strict=True):
            seed(pending, end, cotangent, where)
        leaves, structure = tree.flatten(sources)
        nodes = [differentiable(source, where)._record for source in leaves]
        return structure.unflatten(self._pulled_back(pending, nodes))

    def _pulled_back(
        self, pending: dict[Node | None, Any], sources: Sequence[Node | None]
    ) -> list[Tensor | None]:
        """`gradient`, from what `seed` has made of targets to the nodes of sources."""
        before = _current.get()
        others = before.closed(self) if before.tapes else before
        alone = not (others.tapes or traces.being_made or self._shared)
        if alone and all([start._record is None for start in pending.values()]):
            _current.set(_PAUSED)  # nobody records this: say so at once
        else:
            _current.set(others)
        try:
            found = walk_back(self._records, pending, sources)
        finally:
            _current.set(before if self.persistent else others)
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


def walk_back(
    records: Sequence[Record],
    pending: dict[Node | None, Any],
    sources: Sequence[Node | None],
    wanted: set[Node | None] | None = None,
) -> list[Tensor | None]:
    """The cotangent of each source, given that of each target: reverse-mode differentiation.

    `records` stand in the order in which they were made, which is gone back over, each record once.
    `wanted` are the sources and what depends on one, where that is known; else a first loop finds
    it. Where nobody records the walk, cotangents on the NumPy device are bare arrays, which most
    rules take as well as Tensors.
    """
    asked = set(sources)
    asked.discard(None)
    if wanted is None:
        wanted = set(asked)
        for made in records:
            parents = made.parents
            if parents is None:
                raise _freed(made)
            if not wanted.isdisjoint(parents):
                wanted.add(made)
    unrecorded = _current.get() is _PAUSED and not backends.numpy.kernels.observed
    for made in reversed(records):
        cotangent = pending.get(made) if made in asked else pending.pop(made, None)
        if cotangent is None:
            continue
        op, parents, inputs, params = made.op, made.parents, made.operands, made.params
        rules: Any = op.gradients
        out: Any = made.outputs
        is_array = isinstance(cotangent, _ARRAYS)
        if made.bare:
            if is_array or (unrecorded and _is_plain(cotangent)):
                data = cotangent if is_array else cotangent._data[()]
                if data.shape != out.shape and not op.keeps_narrow(made):
                    data = ops.broadcast_to.of(data, shape=out.shape)
                given = None
                if rules is None:  # their vjp gives them at once
                    needed = [node in wanted for node in parents]
                    given = rules = op.vjp(needed, data, out, inputs, params)
                for node, x, rule in zip(parents, inputs, rules):  # noqa: B905  checked at definition
                    if node in wanted and rule is not None:
                        if given:
                            gradient = rule
                        elif params or len(inputs) != 2:
                            gradient = rule(data, out, *inputs, **params)
                        else:  # as most are; and without stars a call takes a third of the time
                            gradient = rule(data, out, inputs[0], inputs[1])
                        if gradient is not None:
                            shape = gradient.shape
                            narrow = not shape and node.__class__ is Record
                            if (shape != x.shape and not narrow) or gradient.dtype is not x.dtype:
                                gradient = _fitted(gradient, node, x)
                            pending[node] = (
                                _sum(pending[node], gradient) if node in pending else gradient
                            )
                continue
            inputs = made.inputs
        if is_array:
            cotangent = tensors.around(cotangent)
        if rules is None:
            needed = [node in wanted for node in parents]
            if True not in needed:
                continue
            found = op.pull_back(made, needed, cotangent)
            for node, x, gradient in zip(parents, inputs, found, strict=True):
                if gradient is not None and node in wanted:
                    gradient = gradient if x is None else _fitted(gradient, node, x._data)
                    pending[node] = _sum(pending[node], gradient) if node in pending else gradient
            continue
        if cotangent._data.shape != out.shape and not op.keeps_narrow(made):
            cotangent = ops.broadcast_to(cotangent, out.shape)
        if op.needs_out:
            device = cotangent._device
            if out.__class__ is not device.array_type or device.level:
                device = made.device(device)
            out = tensors.wrap(cotangent.__class__, out, device, made)
        else:
            out = None
        for node, x, rule in zip(parents, inputs, rules):  # noqa: B905  checked at definition
            if node in wanted and rule is not None:
                gradient = rule(cotangent, out, *inputs, **params)
                if gradient is not None:
                    given, like = gradient._data, x._data
                    if given.dtype is not like.dtype or given.shape != like.shape:
                        gradient = _fitted(gradient, node, like)
                    pending[node] = _sum(pending[node], gradient) if node in pending else gradient
    pending[None] = None  # where nothing connects
    wholes = []
    for source in sources:
        cotangent = pending.get(source)
        if isinstance(cotangent, _ARRAYS):
            cotangent = tensors.wrap(tensors.Tensor, cotangent, backends.numpy, None)
        if source.__class__ is Record and cotangent is not None:
            cotangent = ops.broadcast_to(cotangent, source.outputs.shape)
        wholes.append(cotangent)
    return wholes


_ARRAYS = (np.ndarray, np.generic)
"""What the cotangents of a walk that nobody records may be on the NumPy device."""


def _is_plain(cotangent: Any) -> bool:
    """Whether a cotangent is a Tensor of which the array tells everything."""
    return cotangent.__class__ is tensors.Tensor and cotangent._device is backends.numpy


def _sum(x: Any, y: Any) -> Any:
    """Two cotangents of one value together: Tensors, arrays, or parts."""
    if x.__class__ is not y.__class__:
        x, y = tensors.around(x), tensors.around(y)
    return x + y


def _freed(made: Record) -> GradientError:
    return GradientError(
        f"the record of {made.op} ({made.where()}) was freed by an earlier backward pass: "
        "keep it there with retain_graph=True or a persistent tape"
    )


def _fitted(cotangent: Any, node: Node | None, like: Any) -> Any:
    """What an operation's rule gave for an input, in the shape and dtype of its array `like`.

    Along axes on which it is constant a cotangent may stay narrower than its value, until somebody
    needs it whole: the gradient of a mean is one number, not a million equal ones.
    """
    given: Any = cotangent if isinstance(cotangent, _ARRAYS) else cotangent._data
    shape = like.shape
    if given.shape != shape:
        cotangent = ops.movement.sum_to(cotangent, shape)
        if node.__class__ is Leaf and cotangent.shape != shape:
            cotangent = ops.broadcast_to.of(cotangent, shape=shape)
    return cotangent if given.dtype is like.dtype else ops.astype.of(cotangent, dtype=like.dtype)


_in_order = operator.attrgetter("sequence")


def reachable(target: Record, number: int) -> tuple[list[Record], list[Leaf], set[Node | None]]:
    """What the tape of this number holds behind `target`: records in order, leaves, and both."""
    seen: set[Node | None] = {target}
    records: list[Record] = []
    leaves: list[Leaf] = []
    stack: list[Any] = [target]
    while stack:
        node = stack.pop()
        if node.__class__ is Leaf:
            leaves.append(node)
            continue
        records.append(node)
        if node.parents is None:
            raise _freed(node)
        for parent in node.parents:
            if parent is not None and parent not in seen:
                tapes = parent.tapes
                if tapes is EVERY or number in tapes:
                    seen.add(parent)
                    stack.append(parent)
    records.sort(key=_in_order)
    return records, leaves, seen


class Passage:
    """What was recorded between two moments: where it came from, and how to forget it."""

    def __init__(self) -> None:
        self._start = _next_sequence()
        self._marks = [(tape, len(tape._records)) for tape in _current.get().tapes]

    def inputs(self, outputs: Iterable[Tensor]) -> list[Tensor]:
        """The Tensors from before that these outputs were computed from, as far as tapes know."""
        seen: set[Node] = set()
        found: dict[Node, Tensor] = {}
        stack: list[tuple[Node | None, Tensor]] = [(y._record, y) for y in outputs]
        while stack:
            node, x = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if isinstance(node, Record) and node.sequence > self._start:
                if node.parents is not None:
                    stack.extend(zip(node.parents, node.inputs, strict=True))
            else:
                found[node] = x
        return list(found.values())

    def forget(self) -> None:
        """Take it off the open tapes."""
        for tape, mark in self._marks:
            del tape._records[mark:]


def free(records: Iterable[Record], number: int) -> None:
    """Free the records that only this tape, and tapes that are gone, have followed. What is freed
    has no parents, not even none: who walks over it gets an error."""
    tapes, alone = None, False
    for made in records:
        if made.tapes is not tapes:  # most records share one tuple
            tapes = made.tapes
            alone = len(tapes) == 1 or _live.isdisjoint([n for n in tapes if n != number])
        if alone:
            made.operands = made.outputs = made.parents = None  # type: ignore[assignment]


def backward(target: Tensor, gradient: Any, retain_graph: bool, create_graph: bool) -> None:
    """`Tensor.backward`, which documents it."""
    differentiable(target, "backward")
    node = target._record
    if isinstance(node, Leaf) and ALWAYS in node.tapes:
        records, leaves, wanted = list[Record](), [node], set[Node | None]([node])
    elif isinstance(node, Record) and ALWAYS in node.tapes:
        records, leaves, wanted = reachable(node, ALWAYS)
    else:
        inside = (
            "; inside of jit, an argument is no such value: use a Variable there, or a tensor from "
            "outside, or a GradientTape"
        )
        raise GradientError(
            "backward: nothing was recorded, because no value that this one was computed from "
            "requires gradients: make one with edu.tensor(..., requires_grad=True), or "
            f"edu.Variable(..., requires_grad=True), outside no_grad(){inside * _is_traced()}"
        )
    if gradient is None and target.size != 1:
        raise GradientError(
            f"backward: a tensor of shape {target.shape} is not a scalar: call it on a mean() or "
            "sum(), or give backward(gradient) a cotangent of this shape"
        )
    pending: dict[Node | None, Any] = {}
    seed(pending, target, gradient, "backward")
    before = _current.get()
    _current.set(
        Recording(create_graph, before.tapes, before.explicit)
        if create_graph or before.tapes or _is_traced()
        else _PAUSED
    )
    try:
        found = walk_back(records, pending, leaves, wanted)
        sums = [_added(leaf.grad, new) for leaf, new in zip(leaves, found, strict=True)]
    finally:
        _current.set(before)
    for leaf, total in zip(leaves, sums, strict=True):
        leaf.grad = total
    if not (retain_graph or create_graph):
        free(records, ALWAYS)


def _added(held: Tensor | None, new: Tensor | None) -> Tensor | None:
    """A gradient and what is added to it, where there are any."""
    return held + new if held is not None and new is not None else held if new is None else new


class no_grad:  # noqa: N801  used like the function that PyTorch's users know
    """Stop every recording begun outside, inside a `with` statement or a decorated function.

    A tape opened inside records.

    >>> import tinygrad_edu as edu
    >>> x = edu.tensor(2.0, requires_grad=True)
    >>> with edu.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        self._before: list[Recording] = []

    def __enter__(self) -> None:
        self._before.append(_current.get())
        _current.set(_PAUSED)

    def __exit__(self, *exception: object) -> None:
        _current.set(self._before.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def unrecorded(*args: P.args, **kwargs: P.kwargs) -> R:
            with no_grad():
                return function(*args, **kwargs)

        return unrecorded


@contextmanager
def apart() -> Iterator[None]:
    """Record nothing on tapes that were opened outside, inside a `with` statement; those opened
    inside record, and `backward()` goes back to its beginning."""
    before = _current.get()
    _current.set(_PAUSED if is_paused() else _NO_TAPES)
    try:
        yield
    finally:
        _current.set(before)


def is_paused() -> bool:
    """Whether `no_grad` holds."""
    return _current.get() is _PAUSED


def _is_traced() -> bool:
    """Whether a program is being written down. It may be differentiated later, also what no tape
    follows now, so that only `no_grad` pauses there."""
    return traces.current() is not None


def is_explicit() -> bool:
    """Whether somebody has opened a tape."""
    return bool(_current.get().explicit)


def follow(node: Any, tape: GradientTape) -> None:
    """Have a tape follow a node as well."""
    with _watching:
        if tape._number not in node.tapes:
            # Numbers of tapes that are gone go, or a value watched each step would collect them.
            others = [n for n in node.tapes if n in _live]
            node.tapes = (*others, tape._number) if others else tape._alone


def is_followed(value: Any) -> bool:
    """Whether an open tape follows a Tensor or a Variable."""
    node = value.value._record
    return node is not None and any(n in node.tapes for n in _current.get().open)


def differentiable(value: Any, where: str) -> Tensor:
    """The Tensor of a Tensor or Variable. Raises DtypeError unless its dtype is a float."""
    if isinstance(value, tensors.Tensor):
        found = value
    elif isinstance(value, tensors.Operators):
        found = value.value
    else:
        raise DtypeError(
            f"{where}: a {type(value).__name__} has no place on a tape: "
            "make it a Tensor with edu.tensor, or a Variable"
        )
    dtype = found._data.dtype
    if dtype.kind != "f" and not dtypes.is_float(dtype):
        raise DtypeError(
            f"{where}: no gradient flows through dtype {value.dtype} (shape {value.shape}): "
            "use a float dtype, for example x.astype('float32')"
        )
    return found


def seed(pending: dict[Node | None, Any], end: Any, cotangent: Any, where: str) -> None:
    """Add the cotangent that a walk back from a target starts from: ones unless given."""
    target = differentiable(end, where)
    node = target._record
    if cotangent is None:
        data, device = target._data, target._device
        one = np.ones(data.shape, data.dtype) if data.shape else _one(data.dtype)
        start = tensors.wrap(target.__class__, device.adopt(one), device, None)
    elif (
        cotangent.__class__ is target.__class__
        and cotangent._data.dtype is target._data.dtype
        and cotangent._data.shape == target._data.shape
    ):
        start = cotangent
    else:
        given = conversion.as_tensor(cotangent, like=target)
        if given.shape != target.shape:
            raise ShapeError(
                f"{where}: a cotangent of shape {given.shape} does not fit a target of shape "
                f"{target.shape}"
            )
        start = ops.astype(given, target.dtype)
    if node is not None:
        pending[node] = pending[node] + start if node in pending else start


@functools.lru_cache
def _one(dtype: dtypes.DType) -> np.ndarray:
    """Where nearly every walk starts: the 1 of a dtype."""
    one = np.ones((), dtype)
    one.flags.writeable = False
    return one.view()  # of which nobody can change that


def describe(records: Sequence[Record]) -> Iterator[str]:
    """The records as numbered lines: `3. %3 float32(2, 1) = matmul(%1, a float32(4, 2))`, and the
    user's line. Computed values have a number, values from outside a letter."""
    names: dict[Any, str] = {}
    rows: list[tuple[str, Record]] = []
    for made in records:
        names[made] = f"%{len(rows) + 1}"
        operands = []
        parents = made.parents or ()  # none if it was freed
        for x, node in zip(made.inputs if parents else (), parents, strict=True):
            if node in names and isinstance(node, Record):
                operands.append(names[node])
            elif x is None or not hasattr(x, "shape"):
                operands.append(names.get(node, repr(x)))
            elif made.bare and node is None and not x.ndim:
                operands.append(str(x._data))
            else:
                known = (node or id(x._data)) in names
                name = names.setdefault(node or id(x._data), _letter(names))
                operands.append(name if known else f"{name} {_typed(x._data)}")
        parameters = [f"{name}={value!r}" for name, value in made.params.items()]
        outputs = made.outputs if isinstance(made.outputs, tuple) else (made.outputs,)
        result = ", ".join("freed" if o is None else _typed(o) for o in outputs)
        call = f"{made.op}({', '.join(operands + parameters)})"
        rows.append((f"{len(rows) + 1:3}. {names[made]} {result} = {call}", made))
    width = max((len(text) for text, _ in rows), default=0)
    for text, made in rows:
        yield f"{text:{width}}  # {made.where()}"


def _letter(names: dict[Any, str]) -> str:
    """a, b, ..., z, a1, b1, ...: the next name of a value from outside."""
    used = sum(not name.startswith("%") for name in names.values())
    return "abcdefghijklmnopqrstuvwxyz"[used % 26] + (str(used // 26) if used >= 26 else "")


def _typed(data: Any) -> str:
    return f"{data.dtype}({', '.join(map(str, data.shape))})"


# What follows is needed when a tape is walked; these modules need this one when they are imported.
from . import backends, conversion, ops, tensors  # noqa: E402
