"""What the numbers were measured on: the machine, and the version of every library in the race."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np

PACKAGES = (
    *("tinygrad-edu", "numpy", "torch", "tensorflow", "keras"),
    *("jax", "jaxlib", "autograd", "mygrad"),
)


def machine() -> dict[str, str]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    numpy = np.show_config(mode="dicts")
    blas, vectors = numpy["Build Dependencies"]["blas"], numpy["SIMD Extensions"]["found"]
    return {
        "Processor": f"{processor()}, {os.cpu_count()} cores",
        "Its vectors, for NumPy": vectors[-1] if vectors else "the baseline",
        "Memory": f"{memory:.0f} GiB",
        "System": f"{system()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "NumPy's BLAS": f"{blas['name']} {blas['version']}",
        "Load at the start": f"{os.getloadavg()[0]:.1f} (an idle machine: 0)",
    }


def versions() -> dict[str, str]:
    return {package: installed_version(package) for package in PACKAGES}


def installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def system() -> str:
    """The distribution where there is one: its libraries matter more than the kernel's number."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()


def processor() -> str:
    """Linux tells the model in a file; elsewhere the platform's own word must do."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
