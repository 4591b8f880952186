"""A layer, a loss, a training step and a training loop of one's own.

Run it with `python examples/of_your_own.py`. What is learned is a wave, sin(3 x), from measurements
some of which went badly wrong.
"""

from typing import Any

import numpy as np

import tinygrad_edu as edu
from tinygrad_edu import layers

generator = np.random.default_rng(0)
x = generator.uniform(-2, 2, size=(512, 1)).astype("float32")
y = np.sin(3 * x)
y[::16] += 5  # every sixteenth is far off


@edu.register("examples>Waves")  # under this name it can be saved and loaded
class Waves(edu.Layer):
    """sin(inputs @ frequencies + phases): a Dense layer that bends in waves."""

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the weights: called once, with the shape of the first inputs."""
        shape = (input_shape[-1], self.units)
        self.frequencies = self.add_weight(shape=shape, initializer="random_normal")
        self.phases = self.add_weight(shape=(self.units,), initializer="random_uniform")

    def call(self, inputs: edu.Tensor) -> edu.Tensor:
        return edu.sin(8 * edu.matmul(inputs, self.frequencies) + self.phases)


def absolute_error(y_true: edu.Tensor, y_pred: edu.Tensor) -> edu.Tensor:
    """A loss is a function: one number for each example. Far-off points pull no more than near."""
    return edu.mean(edu.abs(y_true - y_pred), axis=-1)


class Noisy(edu.Sequential):
    """A model whose training step is its own: inputs are shaken a little each time."""

    def train_step(self, data: tuple) -> dict[str, edu.Tensor]:
        x, y = data
        x = x + 0.02 * edu.random.normal(shape=x.shape)
        with edu.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def error(model: edu.Model) -> float:
    """How far the model is from the wave, which the measurements hide."""
    grid = np.linspace(-2, 2, 101, dtype="float32")[:, None]
    return float(np.mean(np.abs(model.predict(grid, verbose=0) - np.sin(3 * grid))))


def main() -> None:
    for loss in ("mean_squared_error", absolute_error):
        edu.random.seed(0)
        model = edu.Sequential([Waves(32), layers.Dense(1)])
        model.compile(edu.optimizers.Adam(0.01), loss=loss)
        model.fit(x, y, epochs=30, verbose=0)
        name = getattr(loss, "__name__", loss)
        print(f"layer of our own, {name}: off by {error(model):.3f}")

    edu.random.seed(0)
    model = Noisy([Waves(32), layers.Dense(1)])
    model.compile(edu.optimizers.Adam(0.01), loss=absolute_error)
    model.fit(x, y, epochs=30, verbose=0)
    print(f"training step of our own: off by {error(model):.3f}")

    # The whole loop: nothing of compile and fit, and the step is still one compiled program.
    edu.random.seed(0)
    model = edu.Sequential([Waves(32), layers.Dense(1)])
    optimizer = edu.optimizers.Adam(0.01)

    @edu.jit
    def step(x: edu.Tensor, y: edu.Tensor) -> edu.Tensor:
        with edu.GradientTape() as tape:
            loss = edu.mean(absolute_error(y, model(x, training=True)))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    for _ in range(30):
        for batch in edu.data.Dataset.from_arrays((x, y)).shuffle().batch(32):
            step(*batch)
    print(f"training loop of our own: off by {error(model):.3f}")


if __name__ == "__main__":
    main()
