"""`python -m benchmarks`: measure everything in `cases.py`, print it, and write RESULTS.md.

With the name of a case, or with --quick, it only prints: RESULTS.md is always one whole run.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.plan import FULL, QUICK, Case, Effort, Field, Probe
from benchmarks.race import NOT_INSTALLED, compete, race
from benchmarks.worker import Worker, WorkerError

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 if something that is installed failed or computed the wrong thing.

    A missed target is reported but is no failure: another machine may miss it for its own reasons.
    """
    options = parse(arguments)
    effort = QUICK if options.quick else FULL
    chosen = [case for case in CASES if options.case in (None, case.name)]
    sections = [report.heading()]
    healthy = True
    print(sections[0], flush=True)
    for case in chosen:
        print(f"measuring: {case.title}", file=sys.stderr, flush=True)
        section, well = measure(case, effort)
        print(f"\n{section}", flush=True)
        sections.append(section)
        healthy = healthy and well
    if options.case is None and not options.quick:
        report.write(RESULTS, "\n\n".join(sections) + "\n")
        print(f"written: {RESULTS}", file=sys.stderr)
    return 0 if healthy else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("case", nargs="?", choices=names, help="measure only this")
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it works")
    return parser.parse_args(arguments)


def measure(case: Case, effort: Effort) -> tuple[str, bool]:
    """The case's section of the report, and whether all that is installed worked."""
    if isinstance(case, Probe):
        return probe(case)
    if isinstance(case, Field):
        # So many jobs that each can only have a few short turns.
        found, failures = compete(case, Effort(max(3, effort.rounds // 4), effort.turn_seconds / 4))
        wrong = [name for name, why in failures.items() if why != NOT_INSTALLED]
        return report.field_section(case, found, failures), not wrong
    lanes = race(case, effort)
    healthy = all(lane.seconds or lane.failure == NOT_INSTALLED for lane in lanes.values())
    return report.race_section(case, lanes), healthy


def probe(case: Probe) -> tuple[str, bool]:
    if find_spec(case.needs) is None:
        return report.probe_section(case, {}, f"{case.needs} is not installed"), True
    worker = Worker(case.measure, threads=1)
    try:
        return report.probe_section(case, worker.ask(dict), ""), True
    except WorkerError as failure:
        return report.probe_section(case, {}, str(failure)), False
    finally:
        worker.stop()


if __name__ == "__main__":
    sys.exit(main())
