"""The networks that compiled steps train: their weights and batches, and the loss in each library's
own words.

A loss takes the library's module, the weights by name, and a batch. Weights are shaped as ours are;
PyTorch gets kernels with the outputs first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Weights = dict[str, np.ndarray]
Batch = tuple[np.ndarray, np.ndarray]
Loss = Callable[[Any, Mapping[str, Any], Any, Any], Any]

SIZES = (784, 512, 512, 10)
LAYERS, WIDTH, HEADS, LENGTH, VOCABULARY = 2, 128, 4, 64, 65
BATCHES = 8  # taken in turn: of just one, training would soon learn all there is


class Network(NamedTuple):
    """What is trained, and on what. `losses` are by the name of the library's package."""

    weights: Callable[[np.random.Generator], Iterator[tuple[str, np.ndarray]]]
    batch: Callable[[np.random.Generator, int], Batch]
    losses: Mapping[str, Loss]

    def problem(self, batch_size: int) -> tuple[Weights, list[Batch]]:
        """The weights that all start from, and the batches that all learn from."""
        rng = np.random.default_rng(0)
        weights = dict(self.weights(rng))
        return weights, [self.batch(rng, batch_size) for _ in range(BATCHES)]


def normal(rng: np.random.Generator, *shape: int, scale: float) -> np.ndarray:
    return rng.normal(scale=scale, size=shape).astype("float32")


def classes(rng: np.random.Generator, *shape: int, count: int) -> np.ndarray:
    return rng.integers(0, count, shape, dtype="int32")


# A perceptron for pictures of digits


def perceptron_weights(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    for i, (inputs, outputs) in enumerate(pairwise(SIZES)):
        yield f"W{i}", normal(rng, inputs, outputs, scale=(2 / inputs) ** 0.5)
        yield f"b{i}", np.zeros(outputs, "float32")


def flat_pictures(rng: np.random.Generator, count: int) -> Batch:
    return rng.uniform(size=(count, 784)).astype("float32"), classes(rng, count, count=10)


def our_perceptron(edu: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    h = edu.relu(edu.matmul(x, w["W0"]) + w["b0"])
    h = edu.relu(edu.matmul(h, w["W1"]) + w["b1"])
    return our_cross_entropy(edu, edu.matmul(h, w["W2"]) + w["b2"], labels)


def our_cross_entropy(edu: Any, logits: Any, labels: Any) -> Any:
    return edu.ops.mean(edu.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def torch_perceptron(torch: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    functional = torch.nn.functional
    h = functional.relu(torch.addmm(w["b0"], x, w["W0"]))
    h = functional.relu(torch.addmm(w["b1"], h, w["W1"]))
    return functional.cross_entropy(torch.addmm(w["b2"], h, w["W2"]), labels)


def jax_perceptron(jax: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    h = jax.nn.relu(x @ w["W0"] + w["b0"])
    h = jax.nn.relu(h @ w["W1"] + w["b1"])
    return jax_cross_entropy(jax, h @ w["W2"] + w["b2"], labels)


def jax_cross_entropy(jax: Any, logits: Any, labels: Any) -> Any:
    """Of the ways to write it the one that XLA makes the fastest program of."""
    chosen = jax.numpy.take_along_axis(logits, labels[..., None], axis=-1)
    return jax.numpy.mean(jax.nn.logsumexp(logits, axis=-1) - chosen[..., 0])


def tensorflow_perceptron(tf: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    h = tf.nn.relu(tf.matmul(x, w["W0"]) + w["b0"])
    h = tf.nn.relu(tf.matmul(h, w["W1"]) + w["b1"])
    return tensorflow_cross_entropy(tf, tf.matmul(h, w["W2"]) + w["b2"], labels)


def tensorflow_cross_entropy(tf: Any, logits: Any, labels: Any) -> Any:
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


PERCEPTRON = Network(
    perceptron_weights,
    flat_pictures,
    {
        "tinygrad_edu": our_perceptron,
        "torch": torch_perceptron,
        "jax": jax_perceptron,
        "tensorflow": tensorflow_perceptron,
    },
)

# Two convolutions for the same


def convolutional_weights(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    yield "K0", normal(rng, 3, 3, 1, 32, scale=(2 / 9) ** 0.5)
    yield "b0", np.zeros(32, "float32")
    yield "K1", normal(rng, 3, 3, 32, 64, scale=(2 / 288) ** 0.5)
    yield "b1", np.zeros(64, "float32")
    yield "W2", normal(rng, 12 * 12 * 64, 10, scale=(1 / 9216) ** 0.5)
    yield "b2", np.zeros(10, "float32")


def pictures(rng: np.random.Generator, count: int) -> Batch:
    return rng.uniform(size=(count, 28, 28, 1)).astype("float32"), classes(rng, count, count=10)


def our_convolutional(edu: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    h = edu.relu(edu.conv(x, w["K0"]) + w["b0"])
    h = edu.max_pool(edu.relu(edu.conv(h, w["K1"]) + w["b1"]), 2)
    logits = edu.matmul(edu.reshape(h, (len(x), -1)), w["W2"]) + w["b2"]
    return our_cross_entropy(edu, logits, labels)


def torch_convolutional(torch: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    """Channels first to read, and last in memory, as PyTorch recommends for convolutions; so
    making them last again, for the weights' order, moves nothing."""
    functional = torch.nn.functional
    h = functional.relu(functional.conv2d(x.permute(0, 3, 1, 2), w["K0"], w["b0"]))
    h = functional.max_pool2d(functional.relu(functional.conv2d(h, w["K1"], w["b1"])), 2)
    flat = h.permute(0, 2, 3, 1).flatten(1)
    return functional.cross_entropy(torch.addmm(w["b2"], flat, w["W2"]), labels)


def jax_convolutional(jax: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    def convolution(x: Any, kernel: Any) -> Any:
        order = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=order)

    h = jax.nn.relu(convolution(x, w["K0"]) + w["b0"])
    h = jax.nn.relu(convolution(h, w["K1"]) + w["b1"])
    window = (1, 2, 2, 1)
    h = jax.lax.reduce_window(h, -jax.numpy.inf, jax.lax.max, window, window, "VALID")
    return jax_cross_entropy(jax, h.reshape(len(x), -1) @ w["W2"] + w["b2"], labels)


def tensorflow_convolutional(tf: Any, w: Mapping[str, Any], x: Any, labels: Any) -> Any:
    h = tf.nn.relu(tf.nn.conv2d(x, w["K0"], 1, "VALID") + w["b0"])
    h = tf.nn.relu(tf.nn.conv2d(h, w["K1"], 1, "VALID") + w["b1"])
    flat = tf.reshape(tf.nn.max_pool2d(h, 2, 2, "VALID"), (x.shape[0], -1))
    return tensorflow_cross_entropy(tf, tf.matmul(flat, w["W2"]) + w["b2"], labels)


CONVOLUTIONAL = Network(
    convolutional_weights,
    pictures,
    {
        "tinygrad_edu": our_convolutional,
        "torch": torch_convolutional,
        "jax": jax_convolutional,
        "tensorflow": tensorflow_convolutional,
    },
)

# A Transformer that continues text, character by character: normalized before each part, and
# without biases (that of the keys would have gradient 0, and Adam would walk along its rounding).


def transformer_weights(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    yield "characters", normal(rng, VOCABULARY, WIDTH, scale=0.1)
    yield "places", normal(rng, LENGTH, WIDTH, scale=0.1)
    for i in range(LAYERS):
        yield f"attended {i}", normal(rng, WIDTH, 3 * WIDTH, scale=WIDTH**-0.5)
        yield f"joined {i}", normal(rng, WIDTH, WIDTH, scale=WIDTH**-0.5)
        yield f"wide {i}", normal(rng, WIDTH, 4 * WIDTH, scale=WIDTH**-0.5)
        yield f"narrow {i}", normal(rng, 4 * WIDTH, WIDTH, scale=(4 * WIDTH) ** -0.5)
    for norm in norms():
        yield f"scale {norm}", np.ones(WIDTH, "float32")
        yield f"shift {norm}", np.zeros(WIDTH, "float32")
    yield "out", normal(rng, WIDTH, VOCABULARY, scale=WIDTH**-0.5)


def norms() -> Iterator[str]:
    for i in range(LAYERS):
        yield f"attended {i}"
        yield f"wide {i}"
    yield "out"


def text(rng: np.random.Generator, count: int) -> Batch:
    """Characters, and those that come next."""
    drawn = classes(rng, count, LENGTH + 1, count=VOCABULARY)
    return drawn[:, :-1].copy(), drawn[:, 1:].copy()


EPSILON = 1e-5


def our_transformer(edu: Any, w: Mapping[str, Any], text: Any, following: Any) -> Any:
    def normed(x: Any, name: str) -> Any:
        x = edu.layer_norm(x, w[f"scale {name}"], w[f"shift {name}"], epsilon=EPSILON)
        return edu.matmul(x, w[name])

    heads = (*text.shape, HEADS, WIDTH // HEADS)
    x = edu.embedding(text, w["characters"]) + w["places"]
    for i in range(LAYERS):
        parts = edu.split(normed(x, f"attended {i}"), 3, axis=-1)
        query, key, value = (edu.reshape(part, heads) for part in parts)
        seen = edu.dot_product_attention(query, key, value, is_causal=True)
        x = x + edu.matmul(edu.reshape(seen, x.shape), w[f"joined {i}"])
        wide = edu.gelu(normed(x, f"wide {i}"), approximate=True)
        x = x + edu.matmul(wide, w[f"narrow {i}"])
    return our_cross_entropy(edu, normed(x, "out"), following)


def torch_transformer(torch: Any, w: Mapping[str, Any], text: Any, following: Any) -> Any:
    functional = torch.nn.functional

    def normed(x: Any, name: str) -> Any:
        scale, shift = w[f"scale {name}"], w[f"shift {name}"]
        return functional.layer_norm(x, (WIDTH,), scale, shift, EPSILON) @ w[name]

    heads = (*text.shape, HEADS, WIDTH // HEADS)
    x = functional.embedding(text, w["characters"]) + w["places"]
    for i in range(LAYERS):
        parts = normed(x, f"attended {i}").split(WIDTH, dim=-1)
        query, key, value = (part.view(heads).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + seen.transpose(1, 2).reshape(x.shape) @ w[f"joined {i}"]
        wide = functional.gelu(normed(x, f"wide {i}"), approximate="tanh")
        x = x + wide @ w[f"narrow {i}"]
    logits = normed(x, "out")
    return functional.cross_entropy(logits.flatten(0, 1), following.flatten())


def jax_transformer(jax: Any, w: Mapping[str, Any], text: Any, following: Any) -> Any:
    jnp = jax.numpy

    def normed(x: Any, name: str) -> Any:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + EPSILON)
        return (x * w[f"scale {name}"] + w[f"shift {name}"]) @ w[name]

    heads = (*text.shape, HEADS, WIDTH // HEADS)
    x = w["characters"][text] + w["places"]
    for i in range(LAYERS):
        parts = jnp.split(normed(x, f"attended {i}"), 3, axis=-1)
        query, key, value = (part.reshape(heads) for part in parts)
        seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + seen.reshape(x.shape) @ w[f"joined {i}"]
        wide = jax.nn.gelu(normed(x, f"wide {i}"), approximate=True)
        x = x + wide @ w[f"narrow {i}"]
    return jax_cross_entropy(jax, normed(x, "out"), following)


TRANSFORMER = Network(
    transformer_weights,
    text,
    {"tinygrad_edu": our_transformer, "torch": torch_transformer, "jax": jax_transformer},
)
