"""The training step of the linear classifier, as each library's own documentation would write it.

One function a contender; each imports its library inside, because it runs in a process of its own
and the others need not be installed. All start from the same data and weights, compute the loss at
every step, and hand back their weights, so that no wrong program is ever timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.plan import Program

RATE = 0.1


def problem() -> tuple[Any, Any, Any, Any]:
    """Two blobs of 1,000 points with their targets, and the weights that training starts from."""
    rng = np.random.default_rng(0)
    covariance = [[1.0, 0.5], [0.5, 1.0]]
    negative = rng.multivariate_normal([0, 3], covariance, size=1000)
    positive = rng.multivariate_normal([3, 0], covariance, size=1000)
    X = np.concatenate([negative, positive]).astype("float32")
    Y = np.repeat(np.array([0, 1], "float32"), 1000).reshape(-1, 1)
    W = rng.uniform(size=(2, 1)).astype("float32")
    b = np.zeros(1, "float32")
    return X, Y, W, b


def repeat(step: Callable[[], object]) -> Callable[[int], None]:
    """Lift one step to a run of `count` steps."""

    def run(count: int) -> None:
        for _ in range(count):
            step()

    return run


def ours_tape() -> Program:
    import tinygrad_edu as edu

    X, Y, W, b = problem()
    X, Y, W, b = edu.tensor(X), edu.tensor(Y), edu.Variable(W), edu.Variable(b)

    def step() -> Any:
        with edu.GradientTape() as tape:
            loss = edu.ops.mean(edu.ops.square(edu.matmul(X, W) + b - Y))
        dW, db = tape.gradient(loss, [W, b])
        W.assign_sub(RATE * dW)
        b.assign_sub(RATE * db)
        return loss

    return Program(repeat(step), lambda: [W.numpy(), b.numpy()])


def ours_backward() -> Program:
    import tinygrad_edu as edu

    X, Y, W, b = problem()
    X, Y = edu.tensor(X), edu.tensor(Y)
    W, b = edu.tensor(W, requires_grad=True), edu.tensor(b, requires_grad=True)

    def step() -> Any:
        nonlocal W, b
        loss = edu.ops.mean(edu.ops.square(edu.matmul(X, W) + b - Y))
        loss.backward()
        with edu.no_grad():
            new_W, new_b = W - RATE * W.grad, b - RATE * b.grad
        W, b = edu.tensor(new_W, requires_grad=True), edu.tensor(new_b, requires_grad=True)
        return loss

    return Program(repeat(step), lambda: [W.numpy(), b.numpy()])


def ours_functional() -> Program:
    import tinygrad_edu as edu

    X, Y, W, b = map(edu.tensor, problem())

    def loss_function(W: Any, b: Any) -> Any:
        return edu.ops.mean(edu.ops.square(edu.matmul(X, W) + b - Y))

    loss_and_gradients = edu.value_and_grad(loss_function, argnums=(0, 1))

    def step() -> Any:
        nonlocal W, b
        loss, (dW, db) = loss_and_gradients(W, b)
        W, b = W - RATE * dW, b - RATE * db
        return loss

    return Program(repeat(step), lambda: [W.numpy(), b.numpy()])


def ours_jit() -> Program:
    import tinygrad_edu as edu

    X, Y, W, b = problem()
    X, Y, W, b = edu.tensor(X), edu.tensor(Y), edu.Variable(W), edu.Variable(b)

    @edu.jit
    def step(X: Any, Y: Any) -> Any:
        with edu.GradientTape() as tape:
            loss = edu.ops.mean(edu.ops.square(edu.matmul(X, W) + b - Y))
        dW, db = tape.gradient(loss, [W, b])
        W.assign_sub(RATE * dW)
        b.assign_sub(RATE * db)
        return loss

    return Program(repeat(lambda: step(X, Y)), lambda: [W.numpy(), b.numpy()])


def numpy_by_hand() -> Program:
    """The derivative done on paper, then typed in: what a person writes first."""
    X, Y, W, b = problem()

    def step() -> Any:
        nonlocal W, b
        error = X @ W + b - Y
        loss = np.mean(np.square(error))
        gradient = 2 * error / len(X)
        W = W - RATE * (X.T @ gradient)
        b = b - RATE * np.sum(gradient, axis=0)
        return loss

    return Program(repeat(step), lambda: [W, b])


def numpy_tuned() -> Program:
    """The same by somebody who counts: no allocation, and constants applied to the small arrays."""
    X, Y, W, b = problem()
    error, dW, db = np.empty_like(Y), np.empty_like(W), np.empty_like(b)
    flat, transposed = error.reshape(-1), X.T
    scale = np.float32(RATE * 2 / len(X))

    def step() -> Any:
        np.matmul(X, W, out=error)
        np.add(error, b, out=error)
        np.subtract(error, Y, out=error)
        loss = np.dot(flat, flat) / len(flat)
        np.matmul(transposed, error, out=dW)
        np.add.reduce(error, axis=0, out=db)
        np.multiply(dW, scale, out=dW)
        np.multiply(db, scale, out=db)
        np.subtract(W, dW, out=W)
        np.subtract(b, db, out=b)
        return loss

    return Program(repeat(step), lambda: [W, b])


def torch_eager() -> Program:
    return torch_program(lambda torch, loss: loss)


def torch_compiled() -> Program:
    return torch_program(lambda torch, loss: torch.compile(loss))


def torch_program(prepare: Callable[[Any, Callable], Callable]) -> Program:
    import torch

    X, Y, initial_W, initial_b = map(torch.from_numpy, problem())
    W: Any = initial_W.requires_grad_()
    b: Any = initial_b.requires_grad_()

    def loss_function(W: Any, b: Any) -> Any:
        return torch.mean(torch.square(torch.matmul(X, W) + b - Y))

    prepared = prepare(torch, loss_function)

    def step() -> Any:
        loss = prepared(W, b)
        loss.backward()
        with torch.no_grad():
            W.sub_(W.grad * RATE)
            b.sub_(b.grad * RATE)
        W.grad = b.grad = None
        return loss

    return Program(repeat(step), lambda: [W.detach().numpy(), b.detach().numpy()])


def tensorflow_eager() -> Program:
    return tensorflow_program(lambda tf, step: step)


def tensorflow_function() -> Program:
    return tensorflow_program(lambda tf, step: tf.function(step))


def tensorflow_xla() -> Program:
    return tensorflow_program(lambda tf, step: tf.function(step, jit_compile=True))


def tensorflow_program(prepare: Callable[[Any, Callable], Callable]) -> Program:
    import tensorflow as tf

    X, Y, W, b = problem()
    X, Y, W, b = tf.constant(X), tf.constant(Y), tf.Variable(W), tf.Variable(b)

    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.matmul(X, W) + b - Y))
        dW, db = tape.gradient(loss, [W, b])
        W.assign_sub(dW * RATE)
        b.assign_sub(db * RATE)
        return loss

    return Program(repeat(prepare(tf, step)), lambda: [W.numpy(), b.numpy()])


def jax_jit() -> Program:
    """Each step is waited for: otherwise the loop would time how fast JAX queues."""
    import jax
    import jax.numpy as jnp

    X, Y, W, b = map(jnp.asarray, problem())

    def loss_function(W: Any, b: Any, X: Any, Y: Any) -> Any:
        return jnp.mean(jnp.square(jnp.matmul(X, W) + b - Y))

    def update(W: Any, b: Any, X: Any, Y: Any) -> Any:
        loss, (dW, db) = jax.value_and_grad(loss_function, argnums=(0, 1))(W, b, X, Y)
        return loss, W - RATE * dW, b - RATE * db

    compiled = jax.jit(update)

    def step() -> Any:
        nonlocal W, b
        loss, W, b = compiled(W, b, X, Y)
        return loss.block_until_ready()

    return Program(repeat(step), lambda: [np.asarray(W), np.asarray(b)])


def hips_autograd() -> Program:
    import autograd
    import autograd.numpy as anp

    X, Y, W, b = problem()

    def loss_function(W: Any, b: Any) -> Any:
        return anp.mean(anp.square(anp.matmul(X, W) + b - Y))

    loss_and_gradients = autograd.value_and_grad(loss_function, argnum=(0, 1))

    def step() -> Any:
        nonlocal W, b
        loss, (dW, db) = loss_and_gradients(W, b)
        W, b = W - RATE * dW, b - RATE * db
        return loss

    return Program(repeat(step), lambda: [W, b])


def mygrad_backward() -> Program:
    import mygrad as mg

    X, Y, W, b = problem()
    W, b = mg.tensor(W), mg.tensor(b)

    def step() -> Any:
        nonlocal W, b
        loss = mg.mean(mg.square(mg.matmul(X, W) + b - Y))
        loss.backward()
        W, b = mg.tensor(W.data - RATE * W.grad), mg.tensor(b.data - RATE * b.grad)
        return loss

    return Program(repeat(step), lambda: [W.data, b.data])
