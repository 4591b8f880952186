"""Writes docs/conformance.md: how close every operation comes to every framework, what is not
compared, and where the frameworks disagree. `make conformance` runs it.

Measured on the samples of the suite, with the same excuses; where the suite passes, so do these.
The same machine writes the same file each time.
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_edu import ops

from .agreement import (
    DISAGREEMENTS,
    HALF_UNITS,
    LOOSER,
    NOT_DIFFERENTIATED,
    OPEN_SIGNS,
    OTHER_DTYPES,
    UNITS,
    excuses,
    measured,
    pairs,
)
from .composites import NOT_COMPARED
from .drawn import drawn
from .frameworks import FRAMEWORKS, Framework
from .samples import Sample, at_kinks, ordinary, special
from .subjects import SUBJECTS, Subject
from .test_half_precision import HALVES, one_framework
from .test_operations import FLOATS, results

PATH = Path(__file__).parent.parent / "docs" / "conformance.md"

NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX", "device xla": "device xla"}
ORDERS = {
    "value": "Values",
    "shape": "Shapes",
    "zero": "Signs of zeros",
    "first": "Gradients",
    "second": "Gradients of gradients",
}
Row = dict[str, dict[str, float]]
"""For each column (a framework, or a half precision) the largest error of each order."""


# Measuring


def row_of(name: str) -> Row:
    """What a subject's row of the table says."""
    warnings.simplefilter("ignore")
    subject = SUBJECTS[name]
    row: Row = {}
    for framework in FRAMEWORKS.values():
        if framework.name in subject.references:
            row[framework.name] = _largest(subject, framework, _samples(subject, framework))
    if "float64" in subject.dtypes and subject.references:
        for dtype in HALVES:
            samples = [(sample, True) for sample in ordinary(subject, dtype)]
            row[dtype] = _largest(subject, one_framework(subject), samples)
    return row


def _samples(subject: Subject, framework: Framework) -> Iterator[tuple[Sample, bool]]:
    """What the suite compares, and whether gradients are."""
    for dtype in subject.dtypes:
        for sample in (*ordinary(subject, dtype), *at_kinks(subject, dtype)):
            yield sample, True
        if dtype in FLOATS:
            for sample in special(subject, dtype):
                yield sample, False
    few = 2 if framework.name == "jax" else 1
    for sample in drawn(subject, subject.dtypes, special=False)[::few]:
        yield sample, True


def _largest(
    subject: Subject, framework: Framework, samples: Iterable[tuple[Sample, bool]]
) -> dict[str, float]:
    worst: dict[str, float] = {}
    for sample, derive in samples:
        found, expected = results(subject, sample, framework, derive)
        for order, _, x, y in pairs(sample, found, expected):
            asked = (subject.name, framework.name)
            if order == "zero" or np.any(excuses(*asked, "shape", sample, DISAGREEMENTS)):
                continue
            error = measured(*asked, order, sample, x, y, DISAGREEMENTS)
            worst[order] = max(worst.get(order, 0.0), float(np.max(error, initial=0)))
    return worst


# Writing


def page(rows: dict[str, Row]) -> str:
    """The whole file."""
    parts = [_HEAD.format(versions=_versions(), **_limits()), *_tables(rows)]
    parts += ["## What is not compared, and why\n", _table(("what", "why"), _not_compared())]
    parts += ["## Gradients that are not compared\n", _table(*_no_gradients())]
    parts += [_DTYPES, _table(("operations", "framework", "ours", "theirs", "why"), _dtypes())]
    parts += [_LOOSER_HEAD, _table(("operation", "framework", "order", "units", "why"), _looser())]
    parts.append(_DISAGREE.format(signs=_code(" ".join(OPEN_SIGNS))))
    for order, title in ORDERS.items():
        found = [
            (_code(row.subjects), _frameworks(row.frameworks), row.why)
            for row in DISAGREEMENTS
            if row.order == order
        ]
        if found:
            table = _table(("operations", "who differs", "what, and which we follow"), found)
            parts += [f"### {title}\n", table]
    return "\n".join(parts).rstrip() + "\n"


_HEAD = """# Conformance

Written by `make conformance`; do not edit. Every operation of `edu.ops` is called with the same
arrays as its counterpart in each framework ({versions}), on device numpy.

A cell tells the largest error of the value, of the gradient, and of the gradient of the gradient,
in this order, over all samples of the suite in float32 and float64 (or in integers). Errors are
counted in units in the last place: the distance from 1 to the next number of the dtype, times the
result where that is above 1, or times the terms that it is the sum of where they cancel. So 0 means
equal bit by bit, 0.5 is one rounding. The suite fails above {value} units for a value, {first} for
a gradient, {second} for the second order.

The columns float16 and bfloat16 hold our half precision against a framework's float32, rounded: at
most {half} unit for the value of an operation (two roundings of half a unit), and as above for what
several operations make, gradients among them.

\\- : the framework has no counterpart, or there is no gradient. \\* : they are known to differ in
places, which are left out here and listed [below](#where-the-frameworks-disagree).
"""

_DTYPES = """
## Dtypes that differ

Results have the frameworks' dtypes, but for these.
"""

_LOOSER_HEAD = """
## Where a larger error is allowed
"""

_DISAGREE = """
## Where the frameworks disagree

Who gives something else than we do, where, and whom we follow. The suite checks each of these: one
that is no longer true fails it.

Which of 0 and -0 comes out of {signs} is not compared: within one framework it depends on the shape
and on the processor.
"""


def _limits() -> dict[str, str]:
    return {**{k: f"{v:g}" for k, v in UNITS.items()}, "half": f"{HALF_UNITS['operation']:g}"}


def _versions() -> str:
    packages = ("tensorflow", "torch", "jax")
    return ", ".join(f"{NAMES[p]} {importlib.metadata.version(p)}" for p in packages)


def _tables(rows: dict[str, Row]) -> Iterator[str]:
    columns = (*FRAMEWORKS, *HALVES)
    header = ("operation", *(NAMES.get(column, column) for column in columns))
    for family, names in _families().items():
        yield f"\n## {family.capitalize()}\n"
        yield _table(
            header,
            [
                (f"`{name}`", *(_cell(name, column, rows[name].get(column)) for column in columns))
                for name in names
            ],
        )


def _families() -> dict[str, list[str]]:
    """The subjects in the families of `edu.ops`, in order."""
    found: dict[str, list[str]] = {f.__name__.split(".")[-1]: [] for f in ops.families}
    for name, subject in sorted(SUBJECTS.items()):
        made = getattr(ops, name, None) if subject.op is None else type(subject.op)
        family = getattr(made, "__module__", "").split(".")[-1]
        found.setdefault(family if family in found else "others", []).append(name)
    return {family: names for family, names in found.items() if names}


def _cell(name: str, column: str, errors: dict[str, float] | None) -> str:
    if errors is None:
        return "-"
    known = any(
        row.concerns(name, column) and row.order not in ("zero", "shape") for row in DISAGREEMENTS
    )
    orders = ["value", *(["first", "second"] if "first" in errors else [])]
    return " / ".join(_number(errors[order]) for order in orders) + " \\*" * known


def _number(error: float) -> str:
    return f"{error:.0f}" if error == 0 or error >= 10 else f"{error:.2g}"


def _not_compared() -> list[tuple[str, str]]:
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(NOT_COMPARED.items()):
        reasons.setdefault(why, []).append(name)
    return [(_code(" ".join(names)), why) for why, names in reasons.items()]


def _no_gradients() -> tuple[tuple[str, str, str], list[tuple[str, str, str]]]:
    found: dict[tuple[str, str], list[str]] = {}
    for name, subject in sorted(SUBJECTS.items()):
        if subject.op is not None and subject.op.no_gradient:
            found.setdefault(("all", subject.op.no_gradient), []).append(name)
    for (name, framework), why in sorted(NOT_DIFFERENTIATED.items()):
        found.setdefault((_frameworks(framework), why), []).append(name)
    rows = [(_code(" ".join(names)), who, why) for (who, why), names in found.items()]
    return ("operations", "framework", "why"), rows


def _dtypes() -> list[tuple[str, ...]]:
    return [
        (
            "all" if row.subjects == "*" else _code(row.subjects),
            _frameworks(row.frameworks),
            row.ours,
            row.theirs,
            row.why,
        )
        for row in OTHER_DTYPES
    ]


def _looser() -> list[tuple[str, ...]]:
    return [
        (f"`{name}`", NAMES[framework], ORDERS[order].lower(), f"{units:g}", why)
        for (name, framework, order), (units, why) in sorted(LOOSER.items())
    ]


def _frameworks(names: str) -> str:
    return ", ".join(NAMES[name] for name in re.findall("device xla|[a-z]+", names))


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split())


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(_escaped(line)) + " |" for line in lines) + "\n"


def _escaped(cells: Iterable[Any]) -> list[str]:
    """A bar outside of a formula would end the cell."""
    return [str(cell).replace("|", "\\|") for cell in cells]


def listed(text: str) -> set[str]:
    """The operations that have a row in the file."""
    head = text.split("## What is not compared")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", head, re.MULTILINE))


def main() -> int:
    """Measures everything, in a process for each core, and writes the file."""
    spawn = multiprocessing.get_context("spawn")
    rows: dict[str, Row] = {}
    failed: list[str] = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        waiting = {name: pool.submit(row_of, name) for name in SUBJECTS}
        for name, future in waiting.items():
            try:
                rows[name] = future.result()
            except Exception as error:
                rows[name] = {}
                failed.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    PATH.write_text(page(rows))
    print(f"{PATH}: {len(rows)} operations")
    for problem in failed:
        print(f"not measured: {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
