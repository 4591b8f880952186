"""A table of a model's layers: what they return, how many parameters, how they are connected.

It is plain text; on a terminal it is set by `rich`, the extra `cli`, where that is installed.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from . import symbolic
from .drawings import Node
from .errors import Error
from .layers.base import Layer, layer_names, with_shapes
from .plans import Plan

if TYPE_CHECKING:
    from .models import Model


class Row(NamedTuple):
    """A layer, or another operation, as it is shown."""

    name: str
    kind: str  # its class
    shape: str  # of what it returns
    params: int | None  # None: it is not built
    sources: tuple[str, ...]  # the names of those that it is connected to
    role: str  # "input", "layer", "model", or "operation"
    level: int = 0  # in how many models it is


def rows(
    model: Model, expand_nested: bool = False, level: int = 0, *, each_call: bool = False
) -> list[Row]:
    """A row for each layer, or for each call of one, in the order in which they run where that is
    known."""
    from .models import InputLayer, Model

    found: list[Row] = []
    for name, layer, shape, sources in _connected(model, each_call) or _listed(model):
        params = _params(layer) if isinstance(layer, Layer) else 0
        kind = type(layer).__name__
        role = "model" if isinstance(layer, Model) else "layer"
        if not isinstance(layer, Layer):
            role = "operation"
        elif isinstance(layer, InputLayer):
            role = "input"
        found.append(Row(name, kind, shape, params, sources, role, level))
        if expand_nested and isinstance(layer, Model):
            found += rows(layer, True, level + 1)
    return found


def _params(layer: Layer) -> int | None:
    found = [v.size for _, v, _ in layer._walk()]
    waits = not found and any([each._waits() for each in layer._below()])
    return None if waits else sum(found)


_Found = list[tuple[str, Any, str, tuple[str, ...]]]


def _connected(model: Model, each_call: bool) -> _Found | None:
    """Names, layers, shapes and sources of a model whose connections are known."""
    plan = _plan(model)
    if plan is None:
        return None
    names = {layer: name for name, layer in plan.layers.items()}
    if model._plan is None:  # they have names in the model that they do not have in the plan
        own = layer_names(model._parts())
        names = {layer: own.get(layer, name) for layer, name in names.items()}
    makers = {i: names[layer] for i, layer in enumerate(plan.starts)}
    found: dict[str, tuple[Any, str, dict[str, None]]] = {
        names[layer]: (layer, _shape_text(plan.specs[i]), {}) for i, layer in enumerate(plan.starts)
    }
    for call in plan.calls:
        name = names.get(call.operation, call.name)
        if each_call and name in found:
            name = next(n for i in itertools.count(2) if (n := f"{name} ({i})") not in found)
        shape = ", ".join(_shape_text(plan.specs[slot.number]) for slot in call.made)
        sources = found.setdefault(name, (call.operation, shape, {}))[2]
        sources.update(dict.fromkeys(makers[slot.number] for slot in call.taken))
        makers.update({slot.number: name for slot in call.made})
    return [(name, x, shape, tuple(sources)) for name, (x, shape, sources) in found.items()]


def _plan(model: Model) -> Plan | None:
    """How a model's layers are connected: also in a subclass that was called, by having its `call`
    run on symbolic values, where it can be."""
    from .models import Input, Sequential

    if model._plan is not None:
        return model._plan
    if isinstance(model, Sequential):
        return Plan(*model._ends) if model._ends is not None and model._stack else None
    for dtype in (model.compute_dtype, "int32"):
        starts = {
            name: with_shapes(shape, lambda s, d=dtype: Input(s[1:], s[0], d))  # type: ignore[misc]
            for name, shape in (model._built_for or {}).items()
        }
        try:
            return Plan(list(starts.values()), model.call(**starts)) if starts else None
        except (Error, TypeError, AttributeError, NotImplementedError):
            continue  # it does what needs values
    return None


def _listed(model: Model) -> _Found:
    """The layers of a model, where it isn't known how they are connected."""
    return [(name, x, _own_shape(x), ()) for x, name in layer_names(model._parts()).items()]


def _own_shape(layer: Layer) -> str:
    """What a layer returns for what it was built for."""
    if layer._built_for is None:
        return "?"
    try:
        found = layer.compute_output_shape(*layer._built_for.values())
    except Error:
        return "?"
    shapes: list[str] = []
    with_shapes(found, lambda shape: shapes.append(str(shape)))
    return ", ".join(shapes)


def _shape_text(spec: Any) -> str:
    return str(symbolic.known(spec.shape))


# The table


def text(model: Model, expand_nested: bool = False) -> str:
    """The table as plain text."""
    shown = rows(model, expand_nested)
    heads = ("Layer (type)", "Output shape", "Params", "Connected to")
    lines = [heads, *[_cells(row) for row in shown]]
    if not _branches(shown):
        lines = [line[:3] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    # Numbers stand at the right of their column.
    table = [
        "  ".join(
            cell.rjust(width) if i == 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, table))
    return "\n".join([_title(model), rule, table[0], rule, *table[1:], rule, *totals(model)])


def _title(model: Model) -> str:
    return f"{type(model).__name__} {model.name!r}"


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{'  ' * row.level}{row.name} ({row.kind})"
    params = "not built" if row.params is None else f"{row.params:,}"
    return name, row.shape, params, ", ".join(row.sources)


def _branches(shown: list[Row]) -> bool:
    """Whether there is more to say than that each layer follows the one above."""
    before: tuple[str, ...] = ()
    for row in shown:
        if row.level == 0:
            if row.sources and row.sources != before:
                return True
            before = (row.name,)
    return False


def totals(model: Model) -> list[str]:
    """How many parameters there are, how much memory they take, and which are still to come."""
    trained, others = model._sizes()
    named = {"Total params": [*trained, *others], "Trainable": trained, "Non-trainable": others}
    lines = [
        f"{name}: {sum(v.size for v in found):,} "
        f"({_memory(sum(v.size * v.dtype.itemsize for v in found))})"
        for name, found in named.items()
    ]
    names = layer_names(model._parts()).items()
    waiting = [name for x, name in names if any(each._waits() for each in x._below())]
    if waiting:
        lines[0] += f", without those of {', '.join(waiting)}: not built yet"
    return lines


def _memory(size: float) -> str:
    """
    >>> _memory(92), _memory(2048)
    ('92 B', '2.00 KB')
    """
    step = min(int(math.log(size, 1024)), 4) if size else 0
    unit = ("B", "KB", "MB", "GB", "TB")[step]
    return f"{size / 1024**step:.2f} {unit}" if step else f"{size:.0f} B"


def show(model: Model, expand_nested: bool = False) -> None:
    """Print the table."""
    if not sys.stdout.isatty():
        print(text(model, expand_nested))
        return
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(text(model, expand_nested))
        return
    shown = rows(model, expand_nested)
    table = Table(title=_title(model), title_justify="left")
    heads = ["Layer (type)", "Output shape", "Params", "Connected to"]
    for head in heads if _branches(shown) else heads[:3]:
        table.add_column(head, justify="right" if head == "Params" else "left")
    for row in shown:
        table.add_row(*_cells(row)[: len(table.columns)])
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print("\n".join(totals(model)))


def nodes(model: Model, show_shapes: bool = True) -> list[Node]:
    """A node for each call of a layer, for a picture."""
    return [
        Node(
            row.name,
            [
                row.name,
                *([row.kind] if row.kind.lower() != row.name else []),
                *([row.shape] if show_shapes else []),
            ],
            row.role,
            row.sources,
        )
        for row in rows(model, each_call=True)
    ]


def dot(model: Model) -> str:
    """How the layers are connected, in the language of Graphviz: `dot -Tsvg` draws it."""
    shown = rows(model, each_call=True)
    lines = ["digraph {", "  node [shape=box, style=rounded, fontname=Helvetica];"]
    for row in shown:
        label = f"{row.name}\\n{row.kind}\\n{row.shape}".replace('"', "'")
        lines.append(f'  "{row.name}" [label="{label}"];')
    lines += [f'  "{source}" -> "{row.name}";' for row in shown for source in row.sources]
    return "\n".join([*lines, "}"])
