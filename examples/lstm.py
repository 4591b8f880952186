"""An LSTM that remembers: two numbers somewhere in a sequence are marked, and it gives their sum.

Run it with `python examples/lstm.py`. It is the problem that LSTMs were first tried on (Hochreiter
and Schmidhuber, 1997): between the marked numbers lie others, to be ignored, and what was seen
early has to last until the end. Sequences differ in length, and a mask says where each one ends.
"""

import numpy as np

import tinygrad_edu as edu

STEPS = 16
PADDING = -1.0

# The data: in each step a number between 0 and 1, and a mark, 1 in two steps and 0 in the others.
# A sequence has 8 to 16 steps; what is behind its end is padding.
generator = np.random.default_rng(0)


def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (count, STEPS, 2) and the sums of their marked numbers (count, 1)."""
    numbers = generator.uniform(size=(count, STEPS)).astype("float32")
    lengths = generator.integers(8, STEPS + 1, size=(count, 1))
    first = generator.integers(0, lengths // 2)
    second = generator.integers(lengths // 2, lengths)
    marks = np.zeros_like(numbers)
    np.put_along_axis(marks, first, 1.0, axis=1)
    np.put_along_axis(marks, second, 1.0, axis=1)
    sums = np.sum(numbers * marks, axis=1, keepdims=True)
    sequences = np.stack([numbers, marks], axis=2)
    sequences[np.arange(STEPS) >= lengths] = PADDING
    return sequences, sums


def main() -> None:
    edu.random.seed(0)
    model = edu.Sequential(
        [
            edu.Input((STEPS, 2)),
            edu.layers.Masking(PADDING),  # a step of nothing but padding does not count
            edu.layers.LSTM(32),  # (batch, 32): what it holds after the last step that counts
            edu.layers.Dense(1),
        ]
    )
    model.summary()
    model.compile(optimizer=edu.optimizers.Adam(0.005, clipnorm=1.0), loss="mean_squared_error")

    sequences, sums = draw(2560)
    unseen = draw(500)
    history = model.fit(
        sequences, sums, batch_size=32, epochs=20, validation_data=unseen, verbose=2
    ).history

    # Who always says 1, the mean of all sums, is wrong by 1/6 on average (squared).
    print(f"mean squared error {history['val_loss'][-1]:.4f}, of who always says 1: {1 / 6:.4f}")
    for sequence, total in zip(*(part[:3] for part in unseen), strict=True):
        numbers = sequence[sequence[:, 1] == 1, 0]
        guess = model.predict(sequence[None], verbose=0)[0, 0]
        print(f"{numbers[0]:.2f} + {numbers[1]:.2f} = {total[0]:.2f}; the model says {guess:.2f}")


if __name__ == "__main__":
    main()
