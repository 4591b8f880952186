"""One operation after another, by the device's own kernels: what a device does that has no lowering
of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_edu import backends
from tinygrad_edu.graph import Graph, Value


def lower(graph: Graph, updates: Mapping[int, int]) -> Stepwise:
    """A program for the current device. Nothing is updated in place."""
    return Stepwise(graph)


class Stepwise:
    """A graph, run as it stands."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, *arrays: Any) -> Sequence[Any]:
        """The outputs for these arrays of one device; flags behind them are not looked at."""
        given = arrays[: len(self.graph.inputs)]
        device = _home(given)
        known: dict[Value, Any] = dict(zip(self.graph.inputs, given, strict=True))
        known.update({value: x._data for value, x in self.graph.constants.items()})
        for made in self.graph.equations:
            inputs = [known[x] if isinstance(x, Value) else x for x in made.inputs]
            found = device.kernels[made.op](*inputs, **made.params)
            found = found if isinstance(found, tuple) else (found,)
            known.update(zip(made.outputs, map(device.wrap, found), strict=True))
        outputs = []
        for x in self.graph.outputs:
            array = known[x] if isinstance(x, Value) else device.from_numpy(np.asarray(x))
            outputs.append(array.copy() if isinstance(array, np.ndarray) else array)
        return outputs


def _home(arrays: Sequence[Any]) -> backends.Device:
    """The device of some arrays; the current one if there are none."""
    for device in backends.devices():
        if device.available and any(isinstance(a, device.array_type) for a in arrays):
            return device
    return backends.current()
