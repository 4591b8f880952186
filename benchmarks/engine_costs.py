"""What the engine costs where no peer is asked: one small operation, its import, its memory.

Every measurement runs in a process of its own, so importing the engine is left to the function
that measures it.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import classifier
from benchmarks.plan import Program

ADDITIONS = 1000
CHAIN = 1_000_000
STYLES: dict[str, Callable[[], Program]] = {
    "tape": classifier.ours_tape,
    "backward": classifier.ours_backward,
    "functional": classifier.ours_functional,
}
OPTIONAL_PACKAGES = (
    *("cupy", "jax", "tensorflow", "torch", "keras"),
    *("matplotlib", "sklearn", "scipy", "pandas", "click", "rich"),
)


def recorded_addition() -> Program:
    """A fresh tape for every thousand additions, so making and freeing records is in the time."""
    import tinygrad_edu as edu

    x, y = map(edu.tensor, operands())
    total = x

    def run(count: int) -> None:
        nonlocal total
        for _ in range(count):
            with edu.GradientTape() as tape:
                tape.watch(x)
                for _ in range(ADDITIONS):
                    total = x + y

    return Program(run, lambda: [total.numpy()])


def numpy_addition() -> Program:
    x, y = operands()
    total = x

    def run(count: int) -> None:
        nonlocal total
        for _ in range(count):
            for _ in range(ADDITIONS):
                total = np.add(x, y)

    return Program(run, lambda: [total])


def operands() -> tuple[np.ndarray, np.ndarray]:
    return np.arange(8, dtype="float32"), np.ones(8, "float32")


def import_numpy() -> Program:
    return fresh_import("numpy")


def import_ours() -> Program:
    return fresh_import("tinygrad_edu")


def fresh_import(module: str) -> Program:
    """A whole interpreter's life, since that is what somebody waits for. Bytecode is kept from one
    to the next, as it is where a package was installed, whatever this machine's settings say."""
    keeping = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run(count: int) -> None:
        for _ in range(count):
            command = [sys.executable, "-c", f"import {module}"]
            subprocess.run(command, check=True, env=keeping)

    return Program(run, list)


def optional_imports() -> dict[str, float]:
    """How many packages that the engine may not need came along with it, and which."""
    code = "import sys, tinygrad_edu; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    strays = [name for name in OPTIONAL_PACKAGES if name in loaded]
    count = {"optional packages imported": float(len(strays))}
    return count | {f"imported: {name}": 1.0 for name in strays}


def memory_of_training() -> dict[str, float]:
    """Resident memory with the garbage collector off: only reference counts free anything."""
    gc.disable()
    measured: dict[str, float] = {}
    for style, make in STYLES.items():
        program = make()
        program.run(1000)
        early = resident_mebibytes()
        program.run(9000)
        late = resident_mebibytes()
        measured[f"{style}: after 1,000 steps, MiB"] = early
        measured[f"{style}: after 10,000 steps, MiB"] = late
        measured[f"{style}: growth, MiB"] = late - early
    return measured


def long_chain() -> dict[str, float]:
    """A million additions, one after the other, under a tape and through `backward`."""
    return {
        f"{style}: {what}": value
        for style, chain in {"tape": chain_on_a_tape, "backward": chain_of_tensors}.items()
        for what, value in chain().items()
    }


def chain_on_a_tape() -> dict[str, float]:
    import tinygrad_edu as edu

    x, one = edu.tensor(np.float32(0)), edu.tensor(np.float32(1))
    before = resident_mebibytes()
    started = perf_counter()
    # Persistent, so that differentiating and freeing are two moments.
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(x)
        total = x
        for _ in range(CHAIN):
            total = total + one
    recorded = perf_counter()
    memory = resident_mebibytes() - before
    gradient = tape.gradient(total, x)
    differentiated = perf_counter()
    del tape, total
    freed = perf_counter()
    expect_one(gradient.item())
    return {
        "record, s": recorded - started,
        "differentiate, s": differentiated - recorded,
        "free, s": freed - differentiated,
        "memory of a million records, MiB": memory,
    }


def chain_of_tensors() -> dict[str, float]:
    import tinygrad_edu as edu

    x: Any = edu.tensor(np.float32(0), requires_grad=True)
    one = edu.tensor(np.float32(1))
    started = perf_counter()
    total = x
    for _ in range(CHAIN):
        total = total + one
    recorded = perf_counter()
    total.backward(retain_graph=True)
    differentiated = perf_counter()
    del total
    freed = perf_counter()
    expect_one(x.grad.item())
    return {
        "record, s": recorded - started,
        "differentiate, s": differentiated - recorded,
        "free, s": freed - differentiated,
    }


def expect_one(gradient: float) -> None:
    if gradient != 1:
        raise ArithmeticError(f"the gradient of a chain of additions is 1, not {gradient}")


def resident_mebibytes() -> float:
    """What the process holds now; where the system doesn't say, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except FileNotFoundError:
        bytes_per_unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * bytes_per_unit / 2**20
