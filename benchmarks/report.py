"""Turns measurements into Markdown: the same text for the terminal and for RESULTS.md.

Measures nothing. Everything that was planned has its row, also what is missing or failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import geometric_mean, median

from benchmarks.machine import machine, versions
from benchmarks.plan import Field, Limit, Probe, Race, Standard, Target
from benchmarks.race import NOT_INSTALLED, Entry, Lane, compare, middle, paired, rival

UNITS = {"µs": 1e6, "ms": 1e3}


def heading() -> str:
    facts = machine() | versions()
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `make bench`, all in one run; not edited by hand. Every contender has a",
            "process of its own, and they take short turns in a shuffled order. Times are medians.",
            "A comparison is made within each round; what is given is its median, and the middle",
            "half of all rounds. The fastest turns alone tell more of an idle machine, and less of",
            "what one would wait for on this one.",
            "",
            table(["what", "which"], facts.items()),
        ]
    )


def race_section(case: Race, lanes: dict[str, Lane]) -> str:
    scale = UNITS[case.unit] / case.per
    baseline = lanes[case.baseline]
    ratio = f"times {case.baseline}"
    rows = table(
        ["contender", case.unit, "fastest", ratio, "middle half", "threads", "cores busy"],
        (lane_row(lane, baseline, scale) for lane in lanes.values()),
    )
    verdicts = table(
        ["target", "measured", "middle half", "fastest", "at most", "aim", "met"],
        (target_row(target, lanes, scale, case.unit) for target in case.targets),
    )
    parts = [f"## {case.title}", f"{case.note} (`{case.name}`)", rows, reasons(lanes), verdicts]
    return "\n\n".join(filter(None, parts))


def field_section(case: Field, found: dict[str, dict[str, Entry]], failures: dict[str, str]) -> str:
    others = [c.name for c in case.contenders if c.name != case.baseline]
    columns = [f"{case.baseline}, µs", *(f"times {name}" for name in others)]
    rows = []
    for job, entry in found[case.baseline].items():
        ratios = [ratio(entry, found[name].get(job)) for name in others]
        cells = ["" if r is None else number(r) for r in ratios]
        rows.append([job, number(median(entry.seconds) * 1e6), *cells])
    verdicts = [standard_row(standard, found) for standard in case.standards]
    parts = [
        f"## {case.title}",
        f"{case.note} (`{case.name}`)",
        table(["geometric mean", "measured", "at most", "worst", "at most", "met"], verdicts),
        "\n".join(f"- {what}: {why}" for what, why in failures.items()),
        table(["job", *columns], rows),
    ]
    return "\n\n".join(filter(None, parts))


def ratio(of: Entry, against: Entry | None) -> float | None:
    """The median over the rounds, in which they took turns."""
    if against is None:
        return None
    pairs = zip(of.seconds, against.seconds, strict=True)
    return median([mine / theirs for mine, theirs in pairs])


def standard_row(standard: Standard, found: dict[str, dict[str, Entry]]) -> list[str]:
    promise = f"{standard.of} / {standard.against}, {standard.group} elements"
    limits = [number(standard.at_most), "" if standard.worst is None else number(standard.worst)]
    ratios = {
        job: ratio(entry, found[standard.against].get(job))
        for job, entry in found[standard.of].items()
        if job.endswith(f", {standard.group}")
    }
    known = {job: value for job, value in ratios.items() if value is not None}
    if not known:
        return [promise, "not measured", limits[0], "", limits[1], ""]
    mean = geometric_mean(known.values())
    worst = max(known, key=lambda job: known[job])
    well = mean <= standard.at_most and (standard.worst is None or known[worst] <= standard.worst)
    return [
        promise,
        f"{number(mean)} ({len(known)} jobs)",
        limits[0],
        f"{number(known[worst])}, {worst.rsplit(', ')[0]}",
        limits[1],
        "yes" if well else "**no**",
    ]


def lane_row(lane: Lane, baseline: Lane, scale: float) -> list[str]:
    threads = "its default" if lane.contender.threads is None else str(lane.contender.threads)
    if not lane.seconds:
        failure = lane.failure if lane.failure == NOT_INSTALLED else "failed"
        return [lane.contender.name, failure, "", "", "", threads, ""]
    low, ratio, high = middle(paired(lane, baseline, "times"))
    return [
        lane.contender.name,
        number(median(lane.seconds) * scale),
        number(min(lane.seconds) * scale),
        number(ratio),
        f"{number(low)} to {number(high)}",
        threads,
        f"{median(lane.cores):.1f}",
    ]


def reasons(lanes: dict[str, Lane]) -> str:
    return "\n".join(
        f"- {name} failed: {one_line(lane.failure)}"
        for name, lane in lanes.items()
        if lane.failure not in ("", NOT_INSTALLED)
    )


def target_row(target: Target, lanes: dict[str, Lane], scale: float, unit: str) -> list[str]:
    of, against = lanes[target.of], rival(target, lanes)
    promise = promised(target, against.contender.name, unit)
    limits = [number(target.at_most), "" if target.aim is None else number(target.aim)]
    if not of.seconds or not against.seconds:
        return [promise, "not measured", "", "", *limits, ""]
    factor, plus = 1 if target.kind == "times" else scale, target.plus / scale
    compared = paired(of, against, target.kind, plus)
    low, measured, high = (value * factor for value in middle(compared))
    fastest = compare(min(of.seconds) - plus, min(against.seconds), target.kind) * factor
    spread = f"{number(low)} to {number(high)}"
    measures = [number(measured), spread, number(fastest)]
    return [promise, *measures, *limits, verdict(measured, target)]


def promised(target: Target, against: str, unit: str) -> str:
    if target.kind == "above":
        return f"{target.of} minus {against}, {unit}"
    less = f"({target.of} - {number(target.plus)} {unit})" if target.plus else target.of
    if not isinstance(target.against, str):
        against = f"the best of {len(target.against)}, {against}"
    return f"{less} / {against}"


def verdict(measured: float, target: Target) -> str:
    if measured > target.at_most:
        return "**no**"
    if target.aim is not None:
        return "yes, and the aim" if measured <= target.aim else "yes, not the aim"
    return "yes"


def probe_section(case: Probe, measured: dict[str, float], failure: str) -> str:
    limits = {limit.of: limit for limit in case.limits}
    rows = [limited_row(name, value, limits.get(name)) for name, value in measured.items()]
    if failure:
        rows = [["nothing", one_line(failure), "", ""]]
    text = table(["quantity", "measured", "at most", "met"], rows)
    return "\n\n".join([f"## {case.title}", f"{case.note} (`{case.name}`)", text])


def limited_row(name: str, value: float, limit: Limit | None) -> list[str]:
    if limit is None:
        return [name, number(value), "", ""]
    met = "yes" if value <= limit.at_most else "**no**"
    return [name, number(value), number(limit.at_most), met]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up in a terminal."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2}f}"


def one_line(text: str) -> str:
    """An error's text, short, and harmless inside a table."""
    return " ".join(text.split()).replace("|", "/")[:200]


def write(path: Path, text: str) -> None:
    """All of it or nothing: a reader never meets half a report."""
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
