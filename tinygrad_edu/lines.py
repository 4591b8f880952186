"""The user's lines: where warnings point, and a tape as numbered lines, each with the one that it
comes from."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tape import Record


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
            if names.get(node, "").startswith("%"):
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
        result = "freed" if made.parents is None else ", ".join(map(_typed, outputs))
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


_HERE = str(Path(__file__).parent) + os.sep
_LOWERING = str(Path(__file__).parent.parent / "lowering") + os.sep


class _Library(dict[str, bool]):
    """Whether a file is part of this library; asked once a file."""

    def __missing__(self, filename: str) -> bool:
        inside = self[filename] = filename.startswith((_HERE, _LOWERING))
        return inside


in_library = _Library()


def warn(message: str) -> None:
    """Warn of something at the user's line that is being run."""
    frame, level = sys._getframe(1), 2
    while in_library[frame.f_code.co_filename] and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def called() -> str:
    """What of this library the user called: the name of an operation, or of a function."""
    frame, name = sys._getframe(1), ""
    while in_library[frame.f_code.co_filename] and frame.f_back is not None:
        own = frame.f_code.co_name
        if own == "__call__":
            own = getattr(frame.f_locals.get("self"), "name", "")
        if own.isidentifier() and not own.startswith("_"):
            name = own
        frame = frame.f_back
    return name


def line_of(code: CodeType, instruction: int) -> str:
    """Where an instruction stands: the file, the line, and what it says."""
    number = code.co_firstlineno
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            number = line
    import linecache  # takes long, and only what is printed needs it

    source = linecache.getline(code.co_filename, number).strip()
    return f"{Path(code.co_filename).name}:{number}" + (f": {source}" if source else "")
