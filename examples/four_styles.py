"""The linear classifier four times: with a tape, with backward(), with functions, and with fit().

Run it with `python examples/four_styles.py`. The four say the same in the words of TensorFlow,
PyTorch, JAX and Keras. Underneath is one engine, so from the same start they find the same line.
`linear_classifier.py` explains what goes on.
"""

import numpy as np

import tinygrad_edu as edu

RATE, STEPS = 0.1, 40

# 1,000 points around (0, 3), to be called 0, and 1,000 around (3, 0), to be called 1.
generator = np.random.default_rng(0)
covariance = [[1, 0.5], [0.5, 1]]
clouds = [generator.multivariate_normal(mean, covariance, size=1000) for mean in ([0, 3], [3, 0])]
points = np.concatenate(clouds).astype("float32")  # (2000, 2)
labels = np.repeat([[0.0], [1.0]], 1000, axis=0).astype("float32")  # (2000, 1)
start = generator.uniform(size=(2, 1)).astype("float32")


def mean_squared_error(W: edu.TensorLike, b: edu.TensorLike) -> edu.Tensor:
    return edu.mean((edu.matmul(points, W) + b - labels) ** 2)


def with_a_tape() -> tuple[np.ndarray, np.ndarray]:
    """State that is assigned, and a tape that watches it."""
    W, b = edu.Variable(start), edu.Variable(edu.zeros(1))
    for _ in range(STEPS):
        with edu.GradientTape() as tape:
            loss = mean_squared_error(W, b)
        dW, db = tape.gradient(loss, [W, b])
        W.assign_sub(RATE * dW)
        b.assign_sub(RATE * db)
    return W.numpy(), b.numpy()


def with_backward() -> tuple[np.ndarray, np.ndarray]:
    """What requires gradients gets them from backward(), added to `.grad` until that is None."""
    W = edu.Variable(start, requires_grad=True)
    b = edu.Variable(edu.zeros(1), requires_grad=True)
    optimizer = edu.optimizers.SGD(RATE)
    for _ in range(STEPS):
        mean_squared_error(W, b).backward()
        optimizer.apply([W.grad, b.grad], [W, b])
        W.grad = b.grad = None
    return W.numpy(), b.numpy()


def with_functions() -> tuple[np.ndarray, np.ndarray]:
    """No state at all: what comes in, and what comes out. One step is one compiled program."""

    @edu.jit
    def step(W: edu.Tensor, b: edu.Tensor) -> tuple[edu.Tensor, edu.Tensor]:
        dW, db = edu.grad(mean_squared_error, argnums=(0, 1))(W, b)
        return W - RATE * dW, b - RATE * db

    W, b = edu.tensor(start), edu.zeros(1)
    for _ in range(STEPS):
        W, b = step(W, b)
    return W.numpy(), b.numpy()


def with_fit() -> tuple[np.ndarray, np.ndarray]:
    """A model that says what it is made of, and leaves the loop to the library."""
    model = edu.Sequential([edu.Input((2,)), edu.layers.Dense(1)])
    model.set_weights([start, np.zeros(1)])
    model.compile(edu.optimizers.SGD(RATE), loss="mean_squared_error")
    model.fit(points, labels, batch_size=len(points), epochs=STEPS, verbose=0)
    W, b = model.get_weights()
    return W, b


def main() -> None:
    for style in (with_a_tape, with_backward, with_functions, with_fit):
        W, b = style()
        loss = float(mean_squared_error(W, b))
        accuracy = np.mean((points @ W + b > 0.5) == (labels > 0.5))
        name = style.__name__.replace("_", " ")
        line = f"{W[0, 0]:.4f} * x {W[1, 0]:+.4f} * y {b[0]:+.4f} = 0.5"
        print(f"{name:14}  loss {loss:.4f}  accuracy {accuracy:.2%}  line {line}")


if __name__ == "__main__":
    main()
