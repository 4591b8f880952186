"""Whole training steps, forward, backward and update, as programs of each library's compiler; and
two single pieces of such steps: Adam's update, and a loss with its gradient.

One function a contender, which imports its library inside. All start from the same weights, learn
from the same batches, and hand back the last loss and how far each weight has come.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.classifier import repeat
from benchmarks.networks import (
    CONVOLUTIONAL,
    PERCEPTRON,
    TRANSFORMER,
    Network,
    jax_cross_entropy,
    our_cross_entropy,
)
from benchmarks.plan import Program

Step = Callable[[Any, Any], Any]
Loss = Callable[[Any, Any], Any]


class Rule(NamedTuple):
    """Plain gradient descent, or Adam (D. Kingma, J. Ba, arXiv:1412.6980), with decoupled decay of
    the weights where `decay` is not 0 (I. Loshchilov, F. Hutter, arXiv:1711.05101)."""

    rate: float
    adam: bool = False
    decay: float = 0.0


MEAN_DECAY, SQUARE_DECAY, TINY = 0.9, 0.999, 1e-8  # Adam's two, and what it divides by at least


class Training(NamedTuple):
    network: Network
    batch_size: int
    rule: Rule


TRAININGS = {
    "mlp": Training(PERCEPTRON, 128, Rule(0.1)),
    "mlp_adam": Training(PERCEPTRON, 32, Rule(1e-3, adam=True)),
    "transformer": Training(TRANSFORMER, 16, Rule(1e-3, adam=True, decay=0.1)),
    "convnet": Training(CONVOLUTIONAL, 64, Rule(0.05)),
}


def ours(name: str) -> Program:
    import tinygrad_edu as edu

    network, batch_size, rule = TRAININGS[name]
    initial, batches = network.problem(batch_size)
    weights = {name: edu.Variable(array) for name, array in initial.items()}
    variables = list(weights.values())
    loss_function = network.losses["tinygrad_edu"]
    update = our_adam(edu, variables, rule) if rule.adam else our_descent(variables, rule)

    @edu.jit
    def step(x: Any, y: Any) -> Any:
        with edu.GradientTape() as tape:
            loss = loss_function(edu, weights, x, y)
        update(tape.gradient(loss, variables))
        return loss

    found = {name: variable.numpy for name, variable in weights.items()}
    return training(step, [tuple(map(edu.tensor, batch)) for batch in batches], initial, found)


def our_descent(weights: Sequence[Any], rule: Rule) -> Callable[[Sequence[Any]], None]:
    def update(gradients: Sequence[Any]) -> None:
        for w, g in zip(weights, gradients, strict=True):
            w.assign_sub(rule.rate * g)

    return update


def our_adam(edu: Any, weights: Sequence[Any], rule: Rule) -> Callable[[Sequence[Any]], None]:
    count = edu.Variable(0.0, trainable=False)
    means, squares = (
        [edu.Variable(edu.zeros_like(w), trainable=False) for w in weights] for _ in range(2)
    )

    def update(gradients: Sequence[Any]) -> None:
        count.assign_add(1.0)
        mean_share, square_share = 1 - MEAN_DECAY**count, 1 - SQUARE_DECAY**count
        for w, g, m, v in zip(weights, gradients, means, squares, strict=True):
            m.assign(MEAN_DECAY * m + (1 - MEAN_DECAY) * g)
            v.assign(SQUARE_DECAY * v + (1 - SQUARE_DECAY) * edu.square(g))
            change = (m / mean_share) / (edu.sqrt(v / square_share) + TINY)
            w.assign_sub(rule.rate * (change + rule.decay * w if rule.decay else change))

    return update


def torch_eager(name: str) -> Program:
    return torch_training(name, lambda torch, loss: loss)


def torch_compiled(name: str) -> Program:
    return torch_training(name, lambda torch, loss: torch.compile(loss))


def torch_training(name: str, prepare: Callable[[Any, Loss], Loss]) -> Program:
    """The optimizers are PyTorch's own, of its kind that is one kernel for all (`fused`)."""
    import torch

    network, batch_size, rule = TRAININGS[name]
    initial, batches = network.problem(batch_size)
    weights = {name: torch_weight(torch, array) for name, array in initial.items()}
    loss_function = network.losses["torch"]
    prepared = prepare(torch, lambda x, y: loss_function(torch, weights, x, y))
    optimizer = torch_optimizer(torch, list(weights.values()), rule)

    def step(x: Any, y: Any) -> Any:
        loss = prepared(x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    given = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches]
    given = [(x if x.is_floating_point() else x.long(), y.long()) for x, y in given]
    found = {name: partial(torch_array, w) for name, w in weights.items()}
    return training(step, given, initial, found)


def torch_weight(torch: Any, array: np.ndarray) -> Any:
    w = torch.from_numpy(array.copy())
    if w.ndim == 4:  # a kernel: outputs first to read, and channels last in memory
        w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return w.requires_grad_()


def torch_array(w: Any) -> np.ndarray:
    w = w.detach()
    return (w.permute(2, 3, 1, 0) if w.ndim == 4 else w).numpy()


def torch_optimizer(torch: Any, weights: list[Any], rule: Rule) -> Any:
    if not rule.adam:
        return torch.optim.SGD(weights, rule.rate, fused=True)
    betas = (MEAN_DECAY, SQUARE_DECAY)
    return torch.optim.AdamW(weights, rule.rate, betas, TINY, rule.decay, fused=True)


def jax_jit(name: str) -> Program:
    """The state is donated, so that the update can be in place. Each step is waited for."""
    import jax

    network, batch_size, rule = TRAININGS[name]
    initial, batches = network.problem(batch_size)
    loss_function = network.losses["jax"]

    def update(state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(partial(loss_function, jax))(state[0], x, y)
        return loss, jax_update(jax, state, gradients, rule)

    compiled = jax.jit(update, donate_argnums=0)
    state = jax_state(jax, initial, rule)

    def step(x: Any, y: Any) -> Any:
        nonlocal state
        loss, state = compiled(state, x, y)
        return loss.block_until_ready()

    found = {name: lambda name=name: np.asarray(state[0][name]) for name in initial}
    return training(step, [tuple(map(jax.numpy.asarray, b)) for b in batches], initial, found)


def jax_state(jax: Any, initial: Any, rule: Rule) -> tuple[Any, ...]:
    """Weights, means, squares and the number of steps; without Adam just the weights."""
    weights = jax.tree.map(jax.numpy.array, initial)
    if not rule.adam:
        return (weights,)
    means, squares = (jax.tree.map(jax.numpy.zeros_like, weights) for _ in range(2))
    return weights, means, squares, jax.numpy.zeros(())


def jax_update(jax: Any, state: tuple[Any, ...], gradients: Any, rule: Rule) -> tuple[Any, ...]:
    if not rule.adam:
        return (jax.tree.map(lambda w, g: w - rule.rate * g, state[0], gradients),)
    weights, means, squares, count = state
    count = count + 1
    mean_share, square_share = 1 - MEAN_DECAY**count, 1 - SQUARE_DECAY**count

    def changed(w: Any, m: Any, v: Any) -> Any:
        change = (m / mean_share) / (jax.numpy.sqrt(v / square_share) + TINY)
        return w - rule.rate * (change + rule.decay * w)

    means = jax.tree.map(lambda m, g: MEAN_DECAY * m + (1 - MEAN_DECAY) * g, means, gradients)
    squares = jax.tree.map(
        lambda v, g: SQUARE_DECAY * v + (1 - SQUARE_DECAY) * g * g, squares, gradients
    )
    return jax.tree.map(changed, weights, means, squares), means, squares, count


def tensorflow_function(name: str) -> Program:
    return tensorflow_training(name, xla=False)


def tensorflow_xla(name: str) -> Program:
    return tensorflow_training(name, xla=True)


def tensorflow_training(name: str, xla: bool) -> Program:
    import tensorflow as tf

    network, batch_size, rule = TRAININGS[name]
    initial, batches = network.problem(batch_size)
    weights = {name: tf.Variable(array) for name, array in initial.items()}
    variables = list(weights.values())
    count = tf.Variable(0.0)
    means, squares = ([tf.Variable(tf.zeros_like(w)) for w in variables] for _ in range(2))
    loss_function = network.losses["tensorflow"]

    def adam(gradients: Sequence[Any]) -> None:
        count.assign_add(1.0)
        mean_share, square_share = 1 - MEAN_DECAY**count, 1 - SQUARE_DECAY**count
        for w, g, m, v in zip(variables, gradients, means, squares, strict=True):
            m.assign(MEAN_DECAY * m + (1 - MEAN_DECAY) * g)
            v.assign(SQUARE_DECAY * v + (1 - SQUARE_DECAY) * tf.square(g))
            change = (m / mean_share) / (tf.sqrt(v / square_share) + TINY)
            w.assign_sub(rule.rate * (change + rule.decay * w))

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_function(tf, weights, x, y)
        gradients = tape.gradient(loss, variables)
        if rule.adam:
            adam(gradients)
        else:
            for w, g in zip(variables, gradients, strict=True):
                w.assign_sub(rule.rate * g)
        return loss

    by_graph = tf.function(step, jit_compile=xla)
    found = {name: variable.numpy for name, variable in weights.items()}
    return training(by_graph, [tuple(map(tf.constant, b)) for b in batches], initial, found)


def numpy_by_hand(name: str) -> Program:
    """A perceptron by somebody who knows the derivatives and counts: nothing is allocated anew."""
    network, batch_size, rule = TRAININGS[name]
    initial, batches = network.problem(batch_size)
    weights = {name: array.copy() for name, array in initial.items()}
    Ws = [w for name, w in weights.items() if name.startswith("W")]
    bs = [w for name, w in weights.items() if name.startswith("b")]
    dWs, dbs = [np.empty_like(W) for W in Ws], [np.empty_like(b) for b in bs]
    hidden = [np.empty((batch_size, len(b)), "float32") for b in bs]
    cotangents = [np.empty_like(h) for h in hidden]
    positive = [np.empty(h.shape, "bool") for h in hidden]
    column, rows = np.empty((batch_size, 1), "float32"), np.arange(batch_size)
    pairs = [*zip(Ws, dWs, strict=True), *zip(bs, dbs, strict=True)]
    update = numpy_adam(pairs, rule) if rule.adam else partial(numpy_descent, pairs, rule)

    def forward(x: np.ndarray) -> np.ndarray:
        for W, b, h in zip(Ws, bs, hidden, strict=True):
            np.matmul(x, W, out=h)
            np.add(h, b, out=h)
            if h is not hidden[-1]:
                np.maximum(h, 0, out=h)
            x = h
        return x

    def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> Any:
        """And its gradient, in the last of the cotangents."""
        g = cotangents[-1]
        np.max(logits, axis=1, keepdims=True, out=column)
        np.subtract(logits, column, out=logits)
        chosen = logits[rows, labels]
        np.exp(logits, out=g)
        np.sum(g, axis=1, keepdims=True, out=column)
        loss = np.mean(np.log(column[:, 0]) - chosen)
        np.multiply(column, batch_size, out=column)
        np.divide(g, column, out=g)
        g[rows, labels] -= np.float32(1 / batch_size)
        return loss

    def backward(x: np.ndarray) -> None:
        for i in reversed(range(len(Ws))):
            g, h = cotangents[i], hidden[i - 1] if i else x
            np.matmul(h.T, g, out=dWs[i])
            np.sum(g, axis=0, out=dbs[i])
            if i:
                np.matmul(g, Ws[i].T, out=cotangents[i - 1])
                np.greater(h, 0, out=positive[i - 1])
                np.multiply(cotangents[i - 1], positive[i - 1], out=cotangents[i - 1])

    def step(x: Any, y: Any) -> Any:
        loss = cross_entropy(forward(x), y)
        backward(x)
        update()
        return loss

    return training(step, batches, initial, {name: w.copy for name, w in weights.items()})


Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


def numpy_descent(pairs: Pairs, rule: Rule) -> None:
    """Each weight with its gradient, which is overwritten."""
    for w, g in pairs:
        np.multiply(g, rule.rate, out=g)
        np.subtract(w, g, out=w)


def numpy_adam(pairs: Pairs, rule: Rule) -> Callable[[], None]:
    """The factors of all elements are made one, and applied at once. Gradients are overwritten."""
    means, squares, scratches = ([np.zeros_like(w) for w, _ in pairs] for _ in range(3))
    count = 0

    def update() -> None:
        nonlocal count
        count += 1
        root = (1 - SQUARE_DECAY**count) ** 0.5
        rate = rule.rate * root / (1 - MEAN_DECAY**count)
        for (w, g), m, v, scratch in zip(pairs, means, squares, scratches, strict=True):
            np.multiply(m, MEAN_DECAY, out=m)
            np.multiply(g, 1 - MEAN_DECAY, out=scratch)
            np.add(m, scratch, out=m)
            np.square(g, out=g)
            np.multiply(g, 1 - SQUARE_DECAY, out=g)
            np.multiply(v, SQUARE_DECAY, out=v)
            np.add(v, g, out=v)
            np.sqrt(v, out=scratch)
            np.add(scratch, TINY * root, out=scratch)
            np.divide(m, scratch, out=scratch)
            np.multiply(scratch, rate, out=scratch)
            np.subtract(w, scratch, out=w)

    return update


def training(
    step: Step,
    batches: Sequence[tuple[Any, ...]],
    initial: Mapping[str, np.ndarray],
    found: Mapping[str, Callable[[], np.ndarray]],
) -> Program:
    """Steps on batches in turn; the result is the last loss, and how far each weight has come."""
    turns = itertools.cycle(batches)
    loss: Any = None

    def take() -> None:
        nonlocal loss
        loss = step(*next(turns))

    def result() -> list[np.ndarray]:
        return [np.asarray(loss), *(found[name]() - initial[name] for name in initial)]

    return Program(repeat(take), result)


# Adam's update, of as many weights as a small language model has

ADAM_WEIGHTS = 4_000_000
ADAM = Rule(1e-3, adam=True)


def adam_problem() -> tuple[np.ndarray, np.ndarray]:
    """Weights, and a gradient that stays."""
    both = np.random.default_rng(0).standard_normal((2, ADAM_WEIGHTS), "float32")
    return both[0], both[1]


def our_adam_update() -> Program:
    import tinygrad_edu as edu

    w, g = adam_problem()
    weights = edu.Variable(w)
    update = our_adam(edu, [weights], ADAM)
    step = edu.jit(lambda g: update([g]))
    given = edu.tensor(g)
    return Program(repeat(lambda: step(given)), lambda: [weights.numpy()])


def numpy_plain_adam_update() -> Program:
    """As the formula is written, every step of it a new array."""
    w, g = adam_problem()
    m, v, count = np.zeros_like(w), np.zeros_like(w), 0

    def step() -> None:
        nonlocal w, m, v, count
        count += 1
        m = MEAN_DECAY * m + (1 - MEAN_DECAY) * g
        v = SQUARE_DECAY * v + (1 - SQUARE_DECAY) * np.square(g)
        change = (m / (1 - MEAN_DECAY**count)) / (np.sqrt(v / (1 - SQUARE_DECAY**count)) + TINY)
        w = w - ADAM.rate * change

    return Program(repeat(step), lambda: [w])


def jax_adam_update() -> Program:
    import jax

    w, g = map(jax.numpy.asarray, adam_problem())
    state = jax_state(jax, w, ADAM)
    update = jax.jit(lambda state, g: jax_update(jax, state, g, ADAM), donate_argnums=0)

    def step() -> None:
        nonlocal state
        state = update(state, g)
        state[0].block_until_ready()

    return Program(repeat(step), lambda: [np.asarray(state[0])])


def torch_adam_update() -> Program:
    import torch

    w, g = map(torch.from_numpy, adam_problem())
    w.grad = g
    optimizer = torch_optimizer(torch, [w], ADAM)
    return Program(repeat(optimizer.step), lambda: [w.numpy()])


# A loss over many classes, and its gradient


def loss_problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8192, 1000)).astype("float32")
    return logits, rng.integers(0, 1000, 8192, dtype="int32")


def our_loss() -> Program:
    import tinygrad_edu as edu

    given = tuple(map(edu.tensor, loss_problem()))
    loss = edu.value_and_grad(lambda logits, labels: our_cross_entropy(edu, logits, labels))
    return loss_program(edu.jit(loss), given, np.asarray)


def jax_loss() -> Program:
    import jax

    given = tuple(map(jax.numpy.asarray, loss_problem()))
    compiled = jax.jit(jax.value_and_grad(partial(jax_cross_entropy, jax)))
    return loss_program(lambda *args: jax.block_until_ready(compiled(*args)), given, np.asarray)


def torch_loss_eager() -> Program:
    return torch_loss(lambda torch, loss: loss)


def torch_loss_compiled() -> Program:
    return torch_loss(lambda torch, loss: torch.compile(loss))


def torch_loss(prepare: Callable[[Any, Loss], Loss]) -> Program:
    import torch

    logits, labels = map(torch.from_numpy, loss_problem())
    loss_function = prepare(torch, torch.nn.functional.cross_entropy)

    def step(logits: Any, labels: Any) -> Any:
        loss = loss_function(logits, labels)
        return loss.detach(), *torch.autograd.grad(loss, logits)

    return loss_program(step, (logits.requires_grad_(), labels.long()), lambda x: x.numpy())


def loss_program(
    function: Callable[..., Any], given: tuple[Any, ...], to_numpy: Callable[[Any], np.ndarray]
) -> Program:
    found: Any = ()

    def step() -> None:
        nonlocal found
        found = function(*given)

    return Program(repeat(step), lambda: [to_numpy(x) for x in found])
