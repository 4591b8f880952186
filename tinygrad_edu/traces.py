"""The trace that is being made, if there is one: where state is read from and written to.

Apart from `tracing.py`, so that Variables and tapes can ask without knowing how a trace is made.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .backends import Device
    from .tensors import Tensor
    from .tracing import Trace

being_made: list[Trace] = []
"""Those of all threads: as long as there is none, nobody asks further."""

layer_call: ContextVar[Any] = ContextVar("tinygrad_edu.layers", default=None)
"""What is passed down in the call of a layer, whether it is training among it; None outside."""

_current: ContextVar[Trace | None] = ContextVar("tinygrad_edu.trace", default=None)


def current() -> Trace | None:
    """The innermost trace that this thread is making."""
    return _current.get() if being_made else None


def brought(x: Tensor) -> Tensor:
    """A Tensor with respect to which one differentiates: a value of the program that is being
    written down, where one is. What is computed of it must be part of that too."""
    if not being_made or x._device.level:
        return x
    trace = current()
    return x if trace is None else trace.lift(x)


@contextmanager
def making(trace: Any) -> Iterator[None]:
    """Have state read from and written to this trace, inside a `with` statement of this thread;
    None: to where it is."""
    token = _current.set(trace)
    if trace is not None:
        being_made.append(trace)
    try:
        yield
    finally:
        _current.reset(token)
        if trace is not None:
            being_made.remove(trace)


class Elsewhere(Exception):  # noqa: N818  it is no error: who applies the operation goes on there
    """An operation on Tensors from around the trace that is being made, of which it is to be."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def brought(self, operands: tuple[Any, ...]) -> list[Any]:
        """The operands as those of the trace that is being made."""
        return [self.trace.brought(x) for x in operands]


def check(device: Device) -> None:
    """Raise Elsewhere if an operation on this device belongs to a trace inside of it: the body of a
    loop, or a branch, that uses values from outside."""
    trace = _current.get()
    if trace is not None and trace.level > device.level:
        raise Elsewhere(trace)
