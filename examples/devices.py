"""Choosing what computes: NumPy on the processor, CuPy on an NVIDIA GPU, XLA on whatever it finds.

Run it with `python examples/devices.py`. The program is the same everywhere. There are four ways to
choose, and the first of them that says something counts:

1. a block, `with edu.device("xla"):`, for its lines;
2. a call, `edu.set_device("xla")`, for the rest of the program;
3. the variable of the environment TINYGRAD_EDU_DEVICE, for one run;
4. "device" in the file config.json of the user's settings, for all runs.

NumPy is always there; XLA comes with `pip install 'tinygrad_edu[xla]'` and needs no GPU.
"""

import os
import subprocess
import sys

import numpy as np

import tinygrad_edu as edu

generator = np.random.default_rng(0)
x = generator.normal(size=(1024, 8)).astype("float32")
y = np.sum(x**2, axis=1, keepdims=True)


def train() -> tuple[str, float]:
    """A small network, trained on the device of the moment: its name, and the loss at the end."""
    edu.random.seed(0)  # one seed gives the same numbers on each device
    model = edu.Sequential([edu.layers.Dense(32, activation="relu"), edu.layers.Dense(1)])
    model.compile(edu.optimizers.Adam(0.01), loss="mean_squared_error")
    history = model.fit(x, y, epochs=10, verbose=0)
    return str(model.weights[0].device), history.history["loss"][-1]


def main() -> None:
    # What there is, and what is missing where something cannot run.
    for device in edu.devices():
        print(f"{device.name:6} {'runs here' if device.available else device.problem}")

    usable = [device.name for device in edu.devices() if device.available]
    for name in usable:
        with edu.device(name):  # a block
            where, loss = train()
        print(f"a block:  on {where}, loss {loss:.4f}")

    edu.set_device(usable[-1])  # a call
    where, loss = train()
    print(f"a call:   on {where}, loss {loss:.4f}")

    # The variable is read when the program starts: here that of another process.
    program = "import tinygrad_edu as edu; print(edu.ones(3).device)"
    for name in usable:
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"TINYGRAD_EDU_DEVICE": name},
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"variable: on {run.stdout.strip()}")

    # A Tensor goes from one device to another when it is told to; mixed up, they are an error.
    here = edu.ones(3)
    print(f"moved:    from {here.device} to {here.to('numpy').device}")
    try:
        edu.set_device("abacus")
    except edu.Error as error:
        print(f"unknown:  {error}")


if __name__ == "__main__":
    main()
