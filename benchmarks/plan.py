"""The words in which a benchmark is stated: a race between programs, or a probe of one quantity.

Knows nothing of the engine, of its peers, or of how anything is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Program:
    """What a contender does: something that can be repeated, and what came of it so far."""

    run: Callable[[int], object]
    result: Callable[[], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Contender:
    """One way to do a job. It gets a process of its own, so it may import and set what it likes."""

    name: str
    make: Callable[[], Program | dict[str, Program]]  # of a field, one for each of its jobs
    needs: str = "numpy"
    threads: int | None = 1  # None leaves the library's own default


Kind = Literal["times", "above"]


@dataclass(frozen=True)
class Target:
    """`of` costs at most so many times what `against` does, or so much more than it.

    Of several that it is against, the fastest counts. `plus`, in the race's unit, is on top of so
    many times.
    """

    of: str
    against: str | tuple[str, ...]
    at_most: float
    aim: float | None = None
    kind: Kind = "times"
    plus: float = 0.0


@dataclass(frozen=True)
class Race:
    """Contenders that do the same job, timed against each other."""

    name: str
    title: str
    note: str
    contenders: tuple[Contender, ...]
    baseline: str
    targets: tuple[Target, ...]
    unit: Literal["µs", "ms"] = "µs"
    per: int = 1  # how many of the thing that is timed one repetition holds
    tolerance: float | None = None  # of each result as a whole; None: of each of its numbers


@dataclass(frozen=True)
class Standard:
    """Over the jobs of a group `of` costs at most so many times what `against` does, in the
    geometric mean, and in no job more than `worst` times."""

    of: str
    against: str
    group: str
    at_most: float
    worst: float | None = None


@dataclass(frozen=True)
class Field:
    """Contenders that do the same many jobs. A job's name ends with the group that it is of."""

    name: str
    title: str
    note: str
    contenders: tuple[Contender, ...]
    baseline: str
    standards: tuple[Standard, ...]


@dataclass(frozen=True)
class Limit:
    """A quantity that a probe measures is at most this."""

    of: str
    at_most: float


@dataclass(frozen=True)
class Probe:
    """Quantities measured once, in a fresh process: memory, counts, long runs."""

    name: str
    title: str
    note: str
    measure: Callable[[], dict[str, float]]
    limits: tuple[Limit, ...]
    needs: str = "numpy"


Case = Race | Field | Probe


@dataclass(frozen=True)
class Effort:
    """How long a race lasts: so many rounds, each contender's turn about this long."""

    rounds: int
    turn_seconds: float


FULL = Effort(rounds=40, turn_seconds=0.04)
QUICK = Effort(rounds=3, turn_seconds=0.005)
