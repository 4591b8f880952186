"""What compiling costs where no peer is asked: a call, tracing and lowering, peak memory.

Every measurement runs in a process of its own, so importing the engine is left to the function
that measures it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import compiled
from benchmarks.engine_costs import resident_mebibytes

CALLS, ROUNDS = 10_000, 15
EQUATIONS = (100, 1_000, 10_000)
OPERATIONS, ELEMENTS = 50, 25_000_000  # float32: 100 MB


def calls() -> dict[str, float]:
    """Microseconds a call of a function that does nothing, with 4 arrays."""
    import tinygrad_edu as edu

    empty = edu.jit(lambda a, b, c, d: None)
    vectors, matrices = ([edu.ones(shape) for _ in range(4)] for shape in (3, (3, 3)))

    def alike() -> None:
        for _ in range(CALLS):
            empty(*vectors)

    def in_turn() -> None:
        for _ in range(CALLS // 2):
            empty(*vectors)
            empty(*matrices)

    return {
        "the same signature, µs": seconds(alike) / CALLS * 1e6,
        "signatures in turn, µs": seconds(in_turn) / CALLS * 1e6,
    }


def seconds(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of some rounds."""
    run()
    times = []
    for _ in range(rounds):
        started = perf_counter()
        run()
        times.append(perf_counter() - started)
    return median(times)


def lowering() -> dict[str, float]:
    """Seconds to trace and lower programs of about so many equations."""
    measured: dict[str, float] = {}
    for count in EQUATIONS:
        function, arrays = recurrent(count // equations_a_step())
        measured[f"{count:,} equations: in fact"] = len(function.trace(*arrays).equations)
        rounds = 5 if count <= 1_000 else 1
        measured[f"{count:,} equations, s"] = seconds(lambda: function.lower(*arrays), rounds)  # noqa: B023  called here
    ratio = measured["10,000 equations, s"] / measured["1,000 equations, s"]
    return measured | {"10,000 equations, times what 1,000 take": ratio}


def recurrent(steps: int) -> tuple[Any, list[Any]]:
    """A recurrent network of so many steps, and its gradient: h = tanh(h W + x)."""
    import tinygrad_edu as edu

    def loss(W: Any, h: Any, x: Any) -> Any:
        for _ in range(steps):
            h = edu.tanh(edu.matmul(h, W) + x)
        return edu.ops.mean(h)

    return edu.jit(edu.value_and_grad(loss)), [edu.ones((4, 4)), edu.ones((2, 4)), edu.ones((2, 4))]


def equations_a_step() -> int:
    short, long = (len(f.trace(*arrays).equations) for f, arrays in map(recurrent, (10, 20)))
    return (long - short) // 10


def peaks() -> dict[str, float]:
    """MiB at most, beyond those before; each function in a process of its own."""
    measured: dict[str, float] = {}
    for name in compiled.TRAININGS:
        of_eager, of_compiled = (
            apart(f"step_peak({name!r}, {eager})") for eager in ("True", "False")
        )
        measured[f"{name}: eager, MiB"] = of_eager
        measured[f"{name}: compiled, MiB"] = of_compiled
        measured[f"{name}: compiled / eager"] = of_compiled / of_eager
    held = 3 * ELEMENTS * np.dtype("float32").itemsize / 2**20  # two inputs and an output
    peak = apart("chain_peak()")
    measured["50 operations: inputs and outputs, MiB"] = held
    measured["50 operations: peak, MiB"] = peak
    measured["50 operations: peak / (inputs + outputs)"] = peak / held
    return measured


def apart(call: str) -> float:
    """What a function of this module gives in a fresh process."""
    code = f"from benchmarks import compilation_costs; print(compilation_costs.{call})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{call}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def step_peak(name: str, eager: bool) -> float:
    import tinygrad_edu as edu

    edu.jit(edu.exp).lower(edu.ones(2))  # what is imported for it
    edu.config.eager = eager
    program = compiled.ours(name)
    before = forgotten_peak()
    program.run(3)
    return peak_mebibytes() - before


def chain_peak() -> float:
    """Of 50 operations, each on the result of the last, on two arrays."""
    import tinygrad_edu as edu

    @edu.jit
    def chain(x: Any, y: Any) -> Any:
        for _ in range(OPERATIONS // 2):
            x = edu.tanh(x * y)
        return x

    chain.lower(edu.ones(2), edu.ones(2))  # what is imported for it
    before = forgotten_peak()
    x, y = (edu.ops.full((ELEMENTS,), value) for value in (0.5, 1.5))
    out = chain(x, y)
    peak = peak_mebibytes() - before
    if not 0 < out[0].item() < 1:
        raise ArithmeticError(f"a chain of tanh gave {out[0].item()}")
    return peak


def forgotten_peak() -> float:
    """What the process holds, where a new peak begins if Linux lets it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident_mebibytes()


def peak_mebibytes() -> float:
    """The most that the process ever held. Linux's `getrusage` would count what its parent held
    when it began."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmHWM"))
            return int(line.split()[1]) / 2**10
    except (FileNotFoundError, StopIteration):
        bytes_per_unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_per_unit / 2**20
