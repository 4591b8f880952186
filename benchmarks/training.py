"""Training as users do it: `fit` on a perceptron, beside other libraries and beside its own step;
and data that is larger than memory.

One function a contender, which imports its library inside. All start from the same weights and
learn from the same samples, 128 at a time, in an order of their own; they hand back the loss of the
last epoch.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import Program

FEATURES, HIDDEN, CLASSES = 64, (64, 64), 10
SAMPLES, BATCH = 12_800, 128
STEPS = SAMPLES // BATCH  # an epoch's, which is what is repeated

ROWS, LARGE_BATCH = 1 << 24, 4096  # a file of 4 GiB


def samples() -> tuple[np.ndarray, np.ndarray]:
    """x (SAMPLES, FEATURES), float32, and classes that follow from it but for some noise."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, FEATURES)).astype("float32")
    scores = x @ generator.normal(size=(FEATURES, CLASSES)) / 4
    noise = generator.gumbel(size=(SAMPLES, CLASSES))
    return x, np.argmax(scores + noise, axis=1).astype("int32")


def initial() -> list[np.ndarray]:
    """Kernel and bias of each layer."""
    generator = np.random.default_rng(1)
    sizes = [FEATURES, *HIDDEN, CLASSES]
    found = []
    for inputs, outputs in itertools.pairwise(sizes):
        bound = np.sqrt(6 / (inputs + outputs))
        found.append(generator.uniform(-bound, bound, (inputs, outputs)).astype("float32"))
        found.append(np.zeros(outputs, "float32"))
    return found


def program(epochs: Callable[[int], float]) -> Program:
    """Of a function that trains for so many epochs and gives the loss of the last."""
    loss = np.nan

    def run(count: int) -> None:
        nonlocal loss
        loss = epochs(count)

    return Program(run, lambda: [np.array(loss, "float32")])


def our_fit(device: str, steps_per_execution: int = 1) -> Program:
    import tinygrad_edu as edu

    edu.set_device(device)
    model = our_model(edu)
    model.compile(
        edu.optimizers.Adam(),
        edu.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return fitted(model)


def our_model(edu: Any) -> Any:
    hidden = [edu.layers.Dense(units, activation="relu") for units in HIDDEN]
    model = edu.Sequential([edu.Input((FEATURES,)), *hidden, edu.layers.Dense(CLASSES)])
    model.set_weights(initial())
    return model


def fitted(model: Any) -> Program:
    """`fit` as Keras and we have it."""
    x, y = samples()

    def epochs(count: int) -> float:
        return model.fit(x, y, batch_size=BATCH, epochs=count, verbose=0).history["loss"][-1]

    return program(epochs)


def our_step(device: str) -> Program:
    """What `fit` does at each step, on batches that are there, in a loop and nothing else."""
    import tinygrad_edu as edu

    edu.set_device(device)
    model, optimizer = our_model(edu), edu.optimizers.Adam()
    cross_entropy = edu.losses.SparseCategoricalCrossentropy(from_logits=True)
    mean, accuracy = edu.metrics.Mean(), edu.metrics.SparseCategoricalAccuracy()

    @edu.jit
    def step(x: Any, y: Any) -> Any:
        with edu.GradientTape() as tape:
            y_pred = model(x, training=True)
            loss = cross_entropy(y, y_pred)
        weights = model.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        mean.update_state(loss, sample_weight=len(x))
        accuracy.update_state(y, y_pred)
        return loss

    x, y = map(edu.tensor, samples())
    batches = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]

    def epochs(count: int) -> float:
        for _ in range(count):
            mean.reset_state()
            accuracy.reset_state()
            for batch in batches:
                step(*batch)
        return float(mean.result())

    return program(epochs)


def keras_fit(backend: str) -> Program:
    os.environ["KERAS_BACKEND"] = backend  # read when it is imported
    import keras

    hidden = [keras.layers.Dense(units, activation="relu") for units in HIDDEN]
    model = keras.Sequential([keras.Input((FEATURES,)), *hidden, keras.layers.Dense(CLASSES)])
    model.set_weights(initial())
    model.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return fitted(model)


def torch_loop() -> Program:
    """Batches are taken from one tensor, which is quicker than a DataLoader."""
    import torch

    torch.manual_seed(0)
    x, y = map(torch.from_numpy, samples())
    y = y.long()
    sizes = [FEATURES, *HIDDEN, CLASSES]
    parts: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        parts += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts[:-1])
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), initial(), strict=True):
            parameter.copy_(torch.from_numpy(array.T))
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def epochs(count: int) -> float:
        for _ in range(count):
            total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
            for rows in torch.randperm(SAMPLES).split(BATCH):
                targets = y[rows]
                y_pred = model(x[rows])
                loss = cross_entropy(y_pred, targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
                right += (y_pred.detach().argmax(1) == targets).sum()
        return total.item() / SAMPLES

    return program(epochs)


def memory_of_large_data() -> dict[str, float]:
    """MiB of anonymous memory, at most, while `fit` goes once over a file of 4 GiB, shuffled."""
    import tinygrad_edu as edu

    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "x.npy"), Path(folder, "y.npy")
        # Of zeros that were never written: such a file takes no room on most disks.
        for path, shape, dtype in zip(
            paths, ((ROWS, FEATURES), (ROWS,)), ("float32", "uint8"), strict=True
        ):
            np.lib.format.open_memmap(path, "w+", dtype, shape)
        data = edu.data.Dataset.from_npy(paths).shuffle().batch(LARGE_BATCH)
        model = our_model(edu)
        loss = edu.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        held: list[float] = [anonymous_mebibytes()]

        class Watch(edu.callbacks.Callback):
            reads_batch_logs = False

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if batch % 64 == 0:
                    held.append(anonymous_mebibytes())

        history = model.fit(data, verbose=0, callbacks=[Watch()])
        if history.history["accuracy"][-1] < 0.9:
            raise ArithmeticError("zeros, all of one class, were not learned")
        return {
            "the file, MiB": paths[0].stat().st_size / 2**20,
            "anonymous memory before, MiB": held[0],
            "anonymous memory at most, MiB": max(held),
        }


def anonymous_mebibytes() -> float:
    """What the process holds that is no file's; Linux alone tells."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("RssAnon"))
        return int(line.split()[1]) / 2**10
