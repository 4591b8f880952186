"""How programs are timed against each other on a machine that others use too.

Times of a shared machine drift by tens of percent, but neighbouring moments are alike. So the
contenders take short turns, in a new order every round, and are compared round by round.
"""

from __future__ import annotations

import random
import resource
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import inf
from statistics import median, quantiles

import numpy as np

from benchmarks.plan import Contender, Effort, Field, Kind, Program, Race, Target
from benchmarks.worker import Worker, WorkerError

NOT_INSTALLED = "not installed"
CHECKED_REPETITIONS = 10
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-5, 1e-6  # float32 rounding, ten updates long
PAUSE_SECONDS = 0.005  # thread pools spin for some milliseconds after their work


@dataclass
class Lane:
    """One contender's times, or why it has none."""

    contender: Contender
    seconds: list[float] = field(default_factory=list)  # of one repetition, a round each
    cores: list[float] = field(default_factory=list)  # kept busy meanwhile
    failure: str = ""


def race(case: Race, effort: Effort) -> dict[str, Lane]:
    """Time every contender that is installed and computes what the baseline computes."""
    lanes = {contender.name: Lane(contender) for contender in case.contenders}
    workers: dict[str, Worker] = {}
    try:
        for name, lane in lanes.items():
            if find_spec(lane.contender.needs) is None:
                lane.failure = NOT_INSTALLED
            else:
                workers[name] = Worker(lane.contender.make, lane.contender.threads)
        check(case, lanes, workers)
        run_rounds(lanes, workers, effort)
    finally:
        for worker in workers.values():
            worker.stop()
    return lanes


def check(case: Race, lanes: dict[str, Lane], workers: dict[str, Worker]) -> None:
    """Take everyone out of the race who fails, or whose result is not the baseline's."""
    expected = workers[case.baseline].ask(result_after, CHECKED_REPETITIONS)
    for name in [name for name in workers if name != case.baseline]:
        try:
            result = workers[name].ask(result_after, CHECKED_REPETITIONS)
            if not agree(result, expected, case.tolerance):
                raise WorkerError(f"computes {result}, not {expected} as {case.baseline} does")
        except WorkerError as failure:
            lanes[name].failure = str(failure)
            workers.pop(name).stop()


def run_rounds(lanes: dict[str, Lane], workers: dict[str, Worker], effort: Effort) -> None:
    counts = {name: fitting_count(worker, effort.turn_seconds) for name, worker in workers.items()}
    shuffle = random.Random(0).shuffle
    order = list(workers)
    for _ in range(effort.rounds):
        shuffle(order)
        for name in order:
            time.sleep(PAUSE_SECONDS)
            wall, cpu = workers[name].ask(timed, counts[name])
            lanes[name].seconds.append(wall / counts[name])
            lanes[name].cores.append(cpu / wall)


def fitting_count(worker: Worker, turn_seconds: float) -> int:
    """How many repetitions fill a turn."""
    count = 1
    while (wall := worker.ask(timed, count)[0]) < turn_seconds / 2:
        count *= 2
    return max(1, round(count * turn_seconds / wall))


@dataclass
class Entry:
    """One contender's times for one job of a field."""

    seconds: list[float] = field(default_factory=list)


def compete(case: Field, effort: Effort) -> tuple[dict[str, dict[str, Entry]], dict[str, str]]:
    """Time every job of a field: contender, job, times. And what kept a contender from a job."""
    found: dict[str, dict[str, Entry]] = {contender.name: {} for contender in case.contenders}
    failures: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    try:
        for contender in case.contenders:
            if find_spec(contender.needs) is None:
                failures[contender.name] = NOT_INSTALLED
            else:
                workers[contender.name] = Worker(contender.make, contender.threads)
        shuffle = random.Random(0).shuffle
        order = list(workers)
        jobs = {name: worker.ask(list) for name, worker in workers.items()}
        for job in jobs[case.baseline]:
            present = [name for name in order if job in jobs[name]]
            expected = workers[case.baseline].ask(job_result, job)
            for name in list(present):
                if not close(workers[name].ask(job_result, job), expected):
                    failures[f"{name}: {job}"] = f"computes something else than {case.baseline}"
                    present.remove(name)
            counts = {name: fitting(workers[name], job, effort.turn_seconds) for name in present}
            for _ in range(effort.rounds):
                shuffle(present)
                for name in present:
                    wall = workers[name].ask(timed_job, job, counts[name])
                    entry = found[name].setdefault(job, Entry())
                    entry.seconds.append(wall / counts[name])
    finally:
        for worker in workers.values():
            worker.stop()
    return found, failures


def fitting(worker: Worker, job: str, turn_seconds: float) -> int:
    """How many repetitions of a job fill a turn."""
    count = 1
    while (wall := worker.ask(timed_job, job, count)) < turn_seconds / 2:
        count *= 2
    return max(1, round(count * turn_seconds / wall))


def rival(target: Target, lanes: dict[str, Lane]) -> Lane:
    """Whom a target is against: of several the fastest that ran."""
    names = (target.against,) if isinstance(target.against, str) else target.against
    return min((lanes[name] for name in names), key=lambda lane: median(lane.seconds or [inf]))


def paired(of: Lane, against: Lane, kind: Kind, plus: float = 0.0) -> list[float]:
    """`of`, less `plus`, as so many times `against`, or as so much above it, once a round."""
    rounds = zip(of.seconds, against.seconds, strict=True)
    return [compare(mine - plus, theirs, kind) for mine, theirs in rounds]


def compare(mine: float, theirs: float, kind: Kind) -> float:
    return mine / theirs if kind == "times" else mine - theirs


def middle(values: list[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    low, _, high = quantiles(values, n=4)
    return low, median(values), high


# What follows is asked of workers, and runs over there.


def timed(program: Program, count: int) -> tuple[float, float]:
    """Seconds on the clock and seconds of processors, after a short run to warm the caches."""
    program.run(max(1, count // 10))
    wall, cpu = time.perf_counter(), processor_seconds()
    program.run(count)
    return time.perf_counter() - wall, processor_seconds() - cpu


def processor_seconds() -> float:
    """Of all threads, and of processes that were started and have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def result_after(program: Program, count: int) -> list[np.ndarray]:
    program.run(count)
    return [np.array(value) for value in program.result()]


def agree(
    result: list[np.ndarray], expected: list[np.ndarray], tolerance: float | None = None
) -> bool:
    return len(result) == len(expected) and all(
        mine.shape == theirs.shape
        and mine.dtype == theirs.dtype
        and (
            np.allclose(mine, theirs, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE)
            if tolerance is None
            else np.linalg.norm(mine - theirs) <= tolerance * np.linalg.norm(theirs)
        )
        for mine, theirs in zip(result, expected, strict=True)
    )


def job_result(programs: dict[str, Program], job: str) -> list[np.ndarray]:
    return [np.array(value) for value in programs[job].result()]


def timed_job(programs: dict[str, Program], job: str, count: int) -> float:
    return timed(programs[job], count)[0]


def close(result: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    """Alike to float32's rounding of sums: a thousandth of the largest."""
    return len(result) == len(expected) and all(
        mine.shape == theirs.shape
        and np.allclose(mine, theirs, 1e-3, 1e-3 * float(np.max(np.abs(theirs), initial=1e-3)))
        for mine, theirs in zip(result, expected, strict=True)
    )
