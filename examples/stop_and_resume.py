"""A training that is killed on the way, and goes on as if nothing had been.

Run it with `python examples/stop_and_resume.py`. A Checkpointer keeps all that a training needs:
the weights, what the optimizer remembers, the random numbers, and where in the data it stood. So
the weights at the end are the same, to the last bit. Afterwards the model is saved as one file.
"""

import tempfile
from pathlib import Path

import numpy as np

import tinygrad_edu as edu
from tinygrad_edu import layers

generator = np.random.default_rng(0)
x = generator.normal(size=(640, 8)).astype("float32")
y = (np.sum(x**2, axis=1) > 8).astype("int32")


class PowerCut(edu.callbacks.Callback):
    """Ends the program, or as good as, in the middle of an epoch."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if self.model.fit_state.epoch == 3 and batch == 7:
            raise KeyboardInterrupt


def train(*callbacks: edu.callbacks.Callback) -> edu.Model:
    """The same program each time: from the same start, or from a checkpoint where there is one."""
    edu.random.seed(0)
    model = edu.Sequential(
        [
            edu.Input((8,)),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(edu.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=6, verbose=0, callbacks=list(callbacks))
    return model


def alike(one: edu.Model, other: edu.Model) -> bool:
    """Whether all weights are, bit for bit."""
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def main() -> None:
    undisturbed = train()

    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder, "checkpoints")
        try:
            train(edu.train.Checkpointer(checkpoints, save_freq=5), PowerCut())
        except KeyboardInterrupt:
            print("killed in epoch 4, step 8; there are", end=" ")
            print(*sorted(path.name for path in checkpoints.iterdir()))

        resumed = train(edu.train.Checkpointer(checkpoints, save_freq=5))
        print("went on, and came to the end")
        print(f"weights as of a training that was left in peace: {alike(resumed, undisturbed)}")

        # A whole model in one file: layers, weights, optimizer, and what compile() was told.
        saved = Path(folder, "model.zip")
        resumed.save(saved)
        again = edu.saving.load_model(saved)
        loss, accuracy = again.evaluate(x, y, verbose=0)
        print(f"saved in {saved.stat().st_size / 1024:.0f} KB and loaded: {alike(again, resumed)}")
        print(f"loss {loss:.4f}, accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
