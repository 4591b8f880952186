"""One operation after another, by the device's own kernels: what a device does that has no lowering
of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_edu import backends
from tinygrad_edu.graph import Graph

from . import text_of


def lower(graph: Graph, updates: Mapping[int, int]) -> Stepwise:
    """A program for the current device. Nothing is updated in place."""
    return Stepwise(graph)


class Stepwise:
    """A graph, run as it stands."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.local = self

    def as_text(self, stage: str = "graph") -> str:
        """A stage of the lowering, of which there is one: "graph"."""
        return text_of({"graph": self.graph}, stage)

    def __call__(self, *arrays: Any) -> Sequence[Any]:
        """The outputs for these arrays."""
        return self.run(*arrays)

    def explain(self, error: Exception) -> Exception:
        """Our error for one that was raised in the program: as it is."""
        return error

    def run(self, *arrays: Any) -> Sequence[Any]:
        """The outputs for these arrays of one device; flags behind them are not looked at."""
        given = arrays[: len(self.graph.inputs)]
        home = _home(given)
        given = tuple([x if isinstance(x, home.array_type) else home.wrap(x) for x in given])
        outputs = self.graph.compute(home, given)
        return [y.copy() if isinstance(y, np.ndarray) else y for y in outputs]


def _home(arrays: Sequence[Any]) -> backends.Device:
    """The device of some arrays; the current one if there are none."""
    for device in reversed(backends.devices()):  # of NumPy's may be what others were lent
        if device.available and any(isinstance(a, device.array_type) for a in arrays):
            return device
    return backends.current()
