"""What the suite tests: every operation of `edu.ops`, from its own definition, and the composites.

An operation is found by looking for it, so none can be forgotten; what cannot be tested for want of
a rule here fails by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_edu import ops
from tinygrad_edu.op import Elementwise, Op
from tinygrad_edu.references import Domain

from .calls import FORMS, REFERENCES, Call
from .composites import COMPOSITES, NOT_COMPARED

# Shapes that broadcast, for operations of up to three arguments; 0-d, empty, of high rank.
BROADCASTS = (
    ((), (), ()),
    ((3,), (3,), (3,)),
    ((2, 3), (), (3,)),
    ((2, 1, 3), (4, 1), (2, 4, 3)),
    ((0, 3), (1, 3), ()),
    ((2, 1, 3, 1, 2), (1, 2, 1, 1, 1), (2,)),
)

# Shapes for operations of one argument that take an axis.
RANKED = ((), (3,), (0, 3), (2, 1, 3, 2))


@dataclass(frozen=True, eq=False)
class Subject:
    """One function under test. `function` takes the arrays in order, then parameters by name."""

    name: str
    function: Callable[..., Any]
    references: dict[str, Any]
    domain: Domain | tuple[Domain, ...]
    calls: tuple[Call, ...]
    kinks: tuple[tuple[float, ...], ...]
    op: Op | None = None

    def domains(self, count: int) -> tuple[Domain, ...]:
        """The domain of each of `count` arguments."""
        return (self.domain,) * count if isinstance(self.domain, Domain) else self.domain

    @property
    def arity(self) -> int:
        """How many arrays the largest of the calls takes."""
        return max(len(call.shapes) for call in self.calls)

    @property
    def elementwise(self) -> bool:
        return isinstance(self.op, Elementwise)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes to test in: of the floats among its arguments; else of the integers."""
        kinds = {d.kind for d in self.domains(1)}
        if "float" in kinds:
            return ("float32", "float64")
        return ("int32", "uint8") if "int" in kinds else ("bool",)

    def __str__(self) -> str:
        return self.name


def operations() -> Iterator[Op]:
    """Every operation in `edu.ops`, those kept in dictionaries too."""
    for value in vars(ops).values():
        for found in value.values() if isinstance(value, dict) else [value]:
            if isinstance(found, Op):
                yield found


def of_operation(op: Op) -> Subject:
    """What the definition says, completed by what `calls.py` knows."""
    name = op.name
    function = partial(FORMS[name], op) if name in FORMS else op
    references = REFERENCES.get(name, op.references)
    return Subject(name, function, references, op.domain, _calls(op), op.kinks, op)


def _calls(op: Op) -> tuple[Call, ...]:
    if isinstance(op, Elementwise):
        assert op.arity is not None
        return tuple(Call(shapes, {}) for shapes in {row[: op.arity]: 0 for row in BROADCASTS})
    if all(example.shapes for example in op.examples):
        return tuple(Call(*example) for example in op.examples)
    return tuple(
        Call((shape,), example.params)
        for example in op.examples
        for shape in RANKED
        if _fits(op, shape, example.params["axis"])
    )


def _fits(op: Op, shape: tuple[int, ...], axis: Any) -> bool:
    """Whether the axes are there, and hold something if the operation must have something."""
    rank = len(shape)
    axes = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(-rank <= a < rank for a in axes) or len({a % rank for a in axes}) < len(axes):
        return False
    return getattr(op, "accepts_empty", False) or 0 not in [shape[a] for a in axes]


def composites() -> Iterator[Subject]:
    """The functions made of operations, from their table."""
    for name, row in COMPOSITES.items():
        yield Subject(name, row.function, row.references, row.domain, row.calls, row.kinks)


SUBJECTS: dict[str, Subject] = {
    subject.name: subject for subject in [*map(of_operation, operations()), *composites()]
}


def uncovered() -> list[str]:
    """What in `edu.ops` is neither compared nor on the list of what is not, and why; and what its
    definition does not say."""
    problems = [*undocumented()]
    for name, subject in SUBJECTS.items():
        if not subject.calls:
            problems.append(f"{name}: no calls to test it with; give the definition examples")
        if not subject.references:
            problems.append(f"{name}: no counterpart in any framework")
    for name in COMPOSITES.keys() & {op.name for op in operations()}:
        problems.append(f"{name}: an operation, and a row of COMPOSITES as well")
    for name, value in vars(ops).items():
        known = name in SUBJECTS or name in NOT_COMPARED or name.startswith("_")
        if callable(value) and not isinstance(value, Op) and not known:
            problems.append(
                f"{name}: a function that is neither compared nor listed in NOT_COMPARED"
            )
    return problems


def undocumented() -> Iterator[str]:
    """What a user is not told: what a function does, how it is called, what its gradient is where
    there could be several."""
    for name in ops.__all__:
        found = getattr(ops, name)
        if not callable(found):  # a constant
            continue
        words = (type(found) if isinstance(found, Op) else found).__doc__ or ""
        if not words:
            yield f"{name}: no docstring"
        elif not isinstance(found, (Op, type)) and ">>>" not in words:
            yield f"{name}: its docstring has no example (>>>)"
    for name, subject in SUBJECTS.items():
        op = subject.op
        if op is not None and op.no_gradient is not None:
            if len(op.no_gradient.split()) < 2:
                yield f"{name}: no_gradient is not a sentence"
            continue
        words = (type(op) if op is not None else getattr(ops, name, None)).__doc__ or ""
        kinks = subject.kinks or any(d.away for d in subject.domains(1))
        if kinks and hasattr(ops, name) and not _TELLS_OF_GRADIENT.search(words):
            yield f"{name}: it has kinks, and its docstring does not say what the gradient is there"


_TELLS_OF_GRADIENT = re.compile("gradient|slope|derivative", re.IGNORECASE)
