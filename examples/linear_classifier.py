"""A straight line between two clouds of points, found by following a gradient.

Run it with `python examples/linear_classifier.py`; it needs NumPy and nothing else. It says what
to predict and how wrong a prediction is; which way to change the weights, the tape works out.
"""

import numpy as np

import tinygrad_edu as edu


def main() -> None:
    # The data: 1,000 points around (0, 3), which are to be called 0, and 1,000 around (3, 0), to be
    # called 1. A point is a row of two numbers, x and y.
    generator = np.random.default_rng(0)
    covariance = [[1, 0.5], [0.5, 1]]
    negative = generator.multivariate_normal(mean=[0, 3], cov=covariance, size=1000)
    positive = generator.multivariate_normal(mean=[3, 0], cov=covariance, size=1000)
    points = edu.tensor(np.concatenate([negative, positive]), "float32")  # shape (2000, 2)
    labels = edu.tensor(np.repeat([[0.0], [1.0]], 1000, axis=0), "float32")  # shape (2000, 1)

    # The model: w1 * x + w2 * y + b. A Variable is a number, or an array of them, that will change.
    W = edu.Variable(generator.uniform(size=(2, 1)), "float32")
    b = edu.Variable(edu.zeros(1))
    learning_rate = 0.1

    for step in range(1, 41):
        # While the tape is open, it notes every operation that the Variables take part in.
        with edu.GradientTape() as tape:
            predictions = points @ W + b
            loss = edu.ops.mean(edu.ops.square(predictions - labels))

        # The loss came out of W and b by a chain of simple operations. Going back over the tape,
        # from the last to the first, the chain rule gives the gradients: how fast the loss would
        # grow if each number in W and b grew a little.
        dW, db = tape.gradient(loss, [W, b])

        # So a small step the other way makes the loss smaller.
        W.assign_sub(learning_rate * dW)
        b.assign_sub(learning_rate * db)

        if step == 1 or step % 5 == 0:
            print(f"step {step:2}  loss {loss:.4f}")

    # A point is called 1 where the model gives more than 0.5: on one side of a straight line.
    guesses = points @ W + b > 0.5
    accuracy = np.mean(guesses.numpy() == (labels > 0.5).numpy())
    (w1,), (w2,) = W.numpy()
    print(f"loss {loss:.4f}\naccuracy {accuracy:.2%}")
    print(f"line {w1:.3f} * x {w2:+.3f} * y {b.numpy()[0]:+.3f} = 0.5")


if __name__ == "__main__":
    main()
