"""The devices that can hold a Tensor: NumPy, CuPy, and XLA through JAX.

A device is an array module and the few places where it differs from NumPy: how arrays move in and
out, whether it can run here, and how an operation's kernel is called. It knows nothing of Tensors
or of gradients. An optional package is imported when its device is first used.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import config
from .errors import DeviceError, close_to

if TYPE_CHECKING:
    from .graph import Equation
    from .op import Op

Array: TypeAlias = Any
"""A device's own array: `numpy.ndarray`, `cupy.ndarray` or `jax.Array`."""


next_level = itertools.count(1).__next__
"""The level of a device that stands for several values, or for any: above all that are in use."""


class Device:
    """Where a Tensor lives and what computes with it. Equal to its name: `x.device == "xla"`.

    - `name`: "numpy", "cupy" or "xla".
    - `available`: whether it can run here.
    - `problem`: None, or one sentence on why it cannot and what to install.
    - `xp`: its array module.
    """

    name: str
    module: str
    kernels: Kernels
    level = 0
    """0 where arrays hold values; those of higher levels (see `batching`) stand for several, and
    take in Tensors of lower ones."""

    def __init__(self) -> None:
        self.kernels = Kernels(self)

    @property
    def base(self) -> Device:
        """The device that holds the values."""
        return self

    @cached_property
    def xp(self) -> Any:
        return importlib.import_module(self.module)

    @cached_property
    def problem(self) -> str | None:
        return None

    @property
    def available(self) -> bool:
        return self.problem is None

    @cached_property
    def array_type(self) -> type:
        """The class of this device's arrays; a kernel that returns anything else is wrapped."""
        return type(self.xp.zeros(()))

    def from_numpy(self, array: np.ndarray) -> Array:
        """A copy of a NumPy array on this device."""
        return self.xp.array(array)

    def adopt(self, array: np.ndarray) -> Array:
        """A NumPy array for one operation on this device, without a copy where that is safe."""
        return self.from_numpy(array)

    def lend(self, array: np.ndarray) -> Array:
        """A NumPy array as an argument of a program that runs next: what it takes for an array of
        this device."""
        return self.adopt(array)

    @cached_property
    def wrap(self) -> Callable[[Any], Array]:
        """Makes what a kernel returned this device's array: NumPy gives scalars for 0-d results."""
        return self.xp.asarray

    def to_numpy(self, array: Array) -> np.ndarray:
        """This device's array as a NumPy array: a view where it can be one."""
        return np.asarray(array)

    def kernel(self, op: Op) -> Callable[..., Any]:
        """What computes `op` on this device's arrays."""
        return op.kernel(self.xp)

    def finish(self, array: Array) -> None:
        """Wait until an array is computed. NumPy's are."""

    def describe(self, array: Array) -> str:
        """What is worth saying of an array when it is printed, besides its values."""
        return "" if self is numpy else f", device={self.name!r}"

    def lift(self, x: Any) -> Any:
        """A Tensor of a lower level as one of this device, which has a level."""
        raise NotImplementedError  # values themselves never move unasked

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, str) and other == self.name)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<device {self.name!r}: {self.problem or 'runs here'}>"


class Kernels(dict["Op", Callable[..., Any]]):
    """A device's kernel for each operation, made when it is first asked for."""

    observed = False
    """Whether somebody looks on (see `debugging`), who must be told of every operation."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def __missing__(self, op: Op) -> Callable[..., Any]:
        kernel = self[op] = self.device.kernel(op)
        return kernel

    def of(self, made: Equation) -> Callable[..., Any]:
        """The kernel for an equation of a graph."""
        return self[made.op]


class NumPy(Device):
    """The CPU, through NumPy."""

    name = module = "numpy"

    def adopt(self, array: np.ndarray) -> np.ndarray:
        return array


class CuPy(Device):
    """An NVIDIA GPU, through CuPy."""

    name = module = "cupy"

    @cached_property
    def problem(self) -> str | None:
        install = "pip install 'tinygrad_edu[cupy-cuda13]' (or [cupy-cuda12] for CUDA 12)"
        if importlib.util.find_spec("cupy") is None:
            return f"CuPy is not installed: {install}"
        try:
            if self.xp.is_available():
                return None
            driver = self.xp.cuda.runtime.driverGetVersion()
        except (ImportError, RuntimeError) as error:  # CUDARuntimeError is a RuntimeError
            return f"CuPy is installed but cannot start ({error}): {install}"
        missing = "the NVIDIA driver finds no GPU" if driver else "no NVIDIA driver was found"
        return f"CuPy is installed, but {missing}: it needs an NVIDIA GPU and its driver"

    def to_numpy(self, array: Array) -> np.ndarray:
        return array.get()

    def finish(self, array: Array) -> None:
        self.xp.cuda.get_current_stream().synchronize()


class XLA(Device):
    """A CPU, GPU or TPU, through JAX.

    JAX turns 64-bit dtypes into 32-bit ones unless a process-wide flag is set. Every call here
    runs inside JAX's own scoped switch instead, so the user's flag stays as it is.
    """

    name, module = "xla", "jax.numpy"

    @cached_property
    def problem(self) -> str | None:
        if importlib.util.find_spec("jax") is None:
            return "JAX is not installed: pip install 'tinygrad_edu[xla]'"
        return None

    @cached_property
    def wide(self) -> Callable[[bool], Any]:
        """JAX's scoped switch: `with wide(True)` there are 64-bit dtypes."""
        jax = importlib.import_module("jax")
        if hasattr(jax, "enable_x64"):
            return jax.enable_x64
        return importlib.import_module("jax.experimental").enable_x64

    def from_numpy(self, array: np.ndarray) -> Array:
        # JAX may read a NumPy array after the call has returned: it gets a copy nobody changes.
        # `jax.numpy.asarray` would compile a program for each shape.
        with self.wide(True):
            return importlib.import_module("jax").device_put(np.array(array))

    def lend(self, array: np.ndarray) -> np.ndarray:
        # A program takes it over in a tenth of the time. A copy, for the same reason.
        return np.array(array)

    def finish(self, array: Array) -> None:
        array.block_until_ready()

    def kernel(self, op: Op) -> Callable[..., Any]:
        compute, wide = super().kernel(op), self.wide

        def kernel(*args: Any, **params: Any) -> Any:
            with wide(True):
                return compute(*args, **params)

        return kernel


_DEVICES: dict[str, Device] = {device.name: device for device in (NumPy(), CuPy(), XLA())}

numpy = _DEVICES["numpy"]

_chosen: Device | None = None  # by set_device, for the whole process
_scoped: ContextVar[Device | None] = ContextVar("tinygrad_edu.device", default=None)


def devices() -> list[Device]:
    """Every device, with whether it can run here and, if not, why.

    >>> devices()[0]
    <device 'numpy': runs here>
    """
    return list(_DEVICES.values())


def of_module(xp: Any) -> Device:
    """The device whose array module this is."""
    return next(device for device in _DEVICES.values() if device.module == xp.__name__)


def set_device(name: str | Device) -> None:
    """Choose where new Tensors live, for the whole process. Beats the environment variable
    `TINYGRAD_EDU_DEVICE`, which beats the configuration file (`tinygrad_edu.config.path()`).

    Raises DeviceError for an unknown device, or one that cannot run here.
    """
    global _chosen
    _chosen = find(name)


@contextmanager
def device(name: str | Device) -> Iterator[Device]:
    """Choose where new Tensors live, inside a `with` statement of this thread.

    >>> with device("numpy") as here:
    ...     print(here)
    numpy
    """
    token = _scoped.set(find(name))
    try:
        yield current()
    finally:
        _scoped.reset(token)


def current() -> Device:
    """The device that new Tensors are made on."""
    return _scoped.get() or _chosen or _configured()


def find(name: str | Device) -> Device:
    """The device of this name, ready to run. Raises DeviceError, as `set_device` does."""
    if isinstance(name, Device):
        found: Device | None = name
    else:
        found = _DEVICES.get(name) if isinstance(name, str) else None
    if found is None:
        hint = close_to(name, _DEVICES)
        raise DeviceError(f"there is no device {name!r}: use one of {_summary()}{hint}")
    if found.problem is not None:
        raise DeviceError(f"device {found.name!r} cannot run here: {found.problem}")
    return found


def _summary() -> str:
    return ", ".join(
        f"{d.name!r}" + (f" (cannot run here: {d.problem})" if d.problem else "")
        for d in _DEVICES.values()
    )


def _configured() -> Device:
    """The device of the environment or the configuration file, kept once it has been found."""
    global _chosen
    setting = config.read("device")
    if setting is None:
        _chosen = numpy
        return numpy
    name, source = setting
    try:
        _chosen = find(name)
    except DeviceError as error:
        raise DeviceError(f"{source}: {error}") from None
    return _chosen
