"""Training as users do it: `fit` on a perceptron, beside other libraries and beside its own step;
its step for a ConvNet and an LSTM, beside JAX by hand; and data that is larger than memory.

One function a contender, which imports its library inside. All start from the same weights and
learn from the same samples, 128 at a time, in an order of their own; they hand back the loss of the
last epoch.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.networks import jax_cross_entropy
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
    x, y = samples()
    batches = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, SAMPLES, BATCH)]
    return stepping(our_model(edu), edu.optimizers.Adam(), batches)


def stepping(model: Any, optimizer: Any, arrays: Sequence[Any]) -> Program:
    """A step of `fit` in a loop over batches."""
    import tinygrad_edu as edu

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

    batches = [tuple(map(edu.tensor, batch)) for batch in arrays]

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


# A ConvNet and an LSTM: what `fit` does at each step, and the same in JAX by hand


class Network(NamedTuple):
    """Layers; the shapes of their weights, in the order in which models have them; and the logits
    of those weights and a batch, in JAX's words."""

    layers: Callable[[Any], list[Any]]
    weights: tuple[tuple[int, ...], ...]
    sample: tuple[int, ...]
    batch_size: int
    jax: Callable[[Any, Any, Any], Any]

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        generator = np.random.default_rng(0)
        x_shape, y_shape = (self.batch_size, *self.sample), (self.batch_size,)
        return [
            (
                generator.normal(size=x_shape).astype("float32"),
                generator.integers(0, CLASSES, y_shape, "int32"),
            )
            for _ in range(NETWORK_STEPS)
        ]

    def initial(self) -> list[np.ndarray]:
        generator = np.random.default_rng(1)
        found = []
        for shape in self.weights:
            scale = np.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0
            found.append(generator.normal(scale=scale, size=shape).astype("float32"))
        return found


NETWORK_STEPS = 8
RATE = 0.01


def jax_convnet(jax: Any, weights: Any, x: Any) -> Any:
    K0, b0, K1, b1, W, b = weights

    def convolution(x: Any, kernel: Any) -> Any:
        order = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=order)

    h = jax.nn.relu(convolution(x, K0) + b0)
    h = jax.nn.relu(convolution(h, K1) + b1)
    window = (1, 2, 2, 1)
    h = jax.lax.reduce_window(h, -jax.numpy.inf, jax.lax.max, window, window, "VALID")
    return h.reshape(len(x), -1) @ W + b


def jax_lstm(jax: Any, weights: Any, x: Any) -> Any:
    kernel, recurrent, bias, W, b = weights
    rows = (x @ kernel + bias).swapaxes(0, 1)

    def step(state: Any, row: Any) -> Any:
        h, c = state
        i, f, new, o = jax.numpy.split(row + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jax.numpy.tanh(new)
        return (jax.nn.sigmoid(o) * jax.numpy.tanh(c), c), None

    zeros = jax.numpy.zeros((len(x), UNITS))
    (h, _), _ = jax.lax.scan(step, (zeros, zeros), rows)
    return h @ W + b


TIMES, UNITS = 64, 128

NETWORKS = {
    "convnet": Network(
        lambda layers: [
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ],
        ((3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (9216, CLASSES), (CLASSES,)),
        (28, 28, 1),
        64,
        jax_convnet,
    ),
    "lstm": Network(
        lambda layers: [layers.LSTM(UNITS), layers.Dense(CLASSES)],
        ((FEATURES, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,), (UNITS, CLASSES), (CLASSES,)),
        (TIMES, FEATURES),
        32,
        jax_lstm,
    ),
}


def our_network(name: str) -> Program:
    import tinygrad_edu as edu

    edu.set_device("xla")
    network = NETWORKS[name]
    model = edu.Sequential([edu.Input(network.sample), *network.layers(edu.layers)])
    model.set_weights(network.initial())
    return stepping(model, edu.optimizers.SGD(RATE), network.batches())


def jax_network(name: str) -> Program:
    """The state is donated, so that the update can be in place."""
    import jax

    network = NETWORKS[name]

    def loss(weights: Any, x: Any, y: Any) -> Any:
        logits = network.jax(jax, weights, x)
        return jax_cross_entropy(jax, logits, y), logits

    def update(state: Any, x: Any, y: Any) -> Any:
        weights, total, right = state
        (value, logits), slopes = jax.value_and_grad(loss, has_aux=True)(weights, x, y)
        weights = [w - RATE * g for w, g in zip(weights, slopes, strict=True)]
        return weights, total + value, right + (jax.numpy.argmax(logits, -1) == y).sum()

    step = jax.jit(update, donate_argnums=0)
    weights = [jax.numpy.array(w) for w in network.initial()]
    batches = [(jax.numpy.array(x), jax.numpy.array(y)) for x, y in network.batches()]

    def epochs(count: int) -> float:
        nonlocal weights
        for _ in range(count):
            state = (weights, jax.numpy.zeros(()), jax.numpy.zeros((), int))
            for batch in batches:
                state = step(state, *batch)
            weights, total, _ = state
        return float(total) / len(batches)

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
