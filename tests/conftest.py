"""What all tests share: settings of their own, the devices that run here, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import backends

Slope = Callable[[Callable[[np.ndarray], float], np.ndarray], np.ndarray]


@pytest.fixture(autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the user's settings, nor the device that another test chose.

    Gives the folder in which the configuration file is looked for.
    """
    folder = tmp_path_factory.getbasetemp() / "no-settings"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.delenv("TINYGRAD_EDU_DEVICE", raising=False)
    monkeypatch.setattr(backends, "_chosen", None)
    return folder


@pytest.fixture(params=["numpy", "xla"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test on each device that runs here: new Tensors live on it."""
    with edu.device(request.param):
        yield request.param


@pytest.fixture(scope="session")
def slope() -> Slope:
    """The gradient of a function of a NumPy array by central differences."""

    def differences(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
        step, found = 1e-6, np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            up, down = np.array(x, float), np.array(x, float)
            up[place] += step
            down[place] -= step
            found[place] = (function(up) - function(down)) / (2 * step)
        return found

    return differences
