"""What random numbers cost on one thread: a key, and a million numbers of several kinds.

The same numbers come from `jax.random`, so its times stand beside ours where JAX is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import Any

COUNT = 1_000_000
SPLITS = 1000
ROUNDS = 15


def costs() -> dict[str, float]:
    """Processor time, the median of some rounds, for each job: what other programs of a shared
    machine take meanwhile does not count."""
    measured = {f"{job}, µs": 1e6 * seconds(run) / SPLITS for job, run in splits().items()}
    measured |= {f"{job}, ms": 1e3 * seconds(run) for job, run in millions().items()}
    if find_spec("jax") is not None:
        measured |= {f"JAX: {job}, ms": 1e3 * seconds(run) for job, run in by_jax().items()}
    return measured


def seconds(run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(ROUNDS):
        started = process_time()
        run()
        times.append(process_time() - started)
    return median(times)


def splits() -> dict[str, Callable[[], object]]:
    from tinygrad_edu import random

    def split() -> None:
        key = random.key(0)
        for _ in range(SPLITS):
            key, _ = random.split(key)

    def draw() -> None:
        for _ in range(SPLITS):
            random.bits()

    return {"split of a key": split, "one word of the default generator": draw}


def millions() -> dict[str, Callable[[], object]]:
    from tinygrad_edu import random

    key = random.key(0)
    return {
        "a million 32-bit words": lambda: random.bits(key, COUNT),
        "a million uniforms": lambda: random.uniform(key, COUNT),
        "a million normals": lambda: random.normal(key, COUNT),
        "a million integers": lambda: random.randint(key, COUNT, 0, 10),
        "a permutation of a million": lambda: random.permutation(key, COUNT),
    }


def by_jax() -> dict[str, Callable[[], Any]]:
    import jax

    key = jax.random.key(0)
    return {
        "a million 32-bit words": lambda: jax.random.bits(key, (COUNT,)).block_until_ready(),
        "a million uniforms": lambda: jax.random.uniform(key, (COUNT,)).block_until_ready(),
        "a million normals": lambda: jax.random.normal(key, (COUNT,)).block_until_ready(),
    }
