"""Attention layers against Keras's, and MultiHeadAttention against PyTorch's, with the same
weights: outputs, scores, and gradients with respect to inputs and weights; with masks."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import tinygrad_edu as edu

from .frameworks import FRAMEWORKS

tf, torch = FRAMEWORKS["tensorflow"].module, FRAMEWORKS["torch"].module

TOLERANCES = {"float64": 1e-9, "float32": 2e-5}  # of the largest number

X, Y, Z = (2, 4, 5), (2, 6, 3), (2, 6, 7)  # queries, values, keys
SQUARE = (2, 4, 4, 5)
IMAGE = (2, 3, 4, 5)
# Each query sees a key, for Keras's two ways to compute attention differ where one sees none.
VALUES = np.array([[1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]], bool)
KEYS = np.array([[1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 1]], bool)
QUERIES = np.array([[1, 0, 1, 1], [0, 1, 1, 1]], bool)
PAIRS = np.random.default_rng(8).random((2, 4, 6)) < 0.5
PAIRS[..., 0] = True
OF_HEADS = np.random.default_rng(8).random((2, 2, 4, 6)) < 0.5
OF_HEADS[..., 0] = True
SCORES = {"return_attention_scores": True}
CAUSAL = {"use_causal_mask": True}


class Case(NamedTuple):
    """A layer as text, the shapes of what it is called with, and the other arguments of the call.
    Attention takes its inputs as a list."""

    text: str
    shapes: tuple[Any, ...]
    given: dict[str, Any] = {}

    def __str__(self) -> str:
        named = [f"{k}{getattr(v, 'shape', '')}" for k, v in self.given.items()]
        return f"{self.text}-{self.shapes}-{','.join(named)}".replace(" ", "")


# Keras divides by the root of key_dim in float32, so that is a square.
CASES = [
    Case("MultiHeadAttention(2, 4)", (X, X)),
    Case("MultiHeadAttention(2, 4)", (X, X), CAUSAL),
    Case("MultiHeadAttention(2, 4, value_dim=4, output_shape=2)", (X, Y), SCORES),
    Case("MultiHeadAttention(3, 4, use_bias=False, output_shape=(2, 3))", (X, Y, Z)),
    Case("MultiHeadAttention(2, 4)", (X, Y, Z), {"value_mask": VALUES, "key_mask": KEYS}),
    Case("MultiHeadAttention(2, 4)", (X, Y), {"attention_mask": PAIRS, **SCORES}),
    Case("MultiHeadAttention(2, 4)", (X, Y), {"attention_mask": PAIRS[0], "value_mask": VALUES}),
    Case("MultiHeadAttention(2, 4)", (X, Y), {"attention_mask": OF_HEADS, **CAUSAL}),
    Case("MultiHeadAttention(2, 4)", (X, Y), {**SCORES, **CAUSAL}),
    Case("MultiHeadAttention(2, 4, sliding_window=2)", (X, X), SCORES),
    Case("MultiHeadAttention(2, 4, sliding_window=3)", (X, X), {**SCORES, **CAUSAL}),
    Case("MultiHeadAttention(2, 4, value_dim=2, use_gate=True)", (X, Y), SCORES),
    Case("MultiHeadAttention(2, 4, dropout=0.5)", (X, Y), SCORES),
    Case("MultiHeadAttention(2, 4)", (IMAGE, IMAGE), SCORES),
    Case("MultiHeadAttention(2, 4, attention_axes=(2,))", (IMAGE, IMAGE), SCORES),
    Case(
        "MultiHeadAttention(2, 4, attention_axes=2)",
        (IMAGE, IMAGE),
        {"attention_mask": PAIRS[..., :4], **SCORES},
    ),
    Case("MultiHeadAttention(2, 4, attention_axes=1)", (IMAGE, (2, 6, 4, 2)), SCORES),
    Case("MultiHeadAttention(2, 4, attention_axes=(1, 2))", (IMAGE, (2, 2, 3, 2)), SCORES),
    Case("MultiHeadAttention(2, 4, attention_axes=2)", (SQUARE, SQUARE), CAUSAL),
    Case(
        "MultiHeadAttention(2, 4)",
        (IMAGE, (2, 2, 2, 5)),
        {"attention_mask": np.random.default_rng(1).random((2, 3, 4, 2, 2)) < 0.5, **SCORES},
    ),
    Case("Attention()", ([X, X],)),
    Case("Attention(use_scale=True)", ([X, (2, 6, 3), (2, 6, 5)],), SCORES),
    Case("Attention(score_mode='concat')", ([X, (2, 6, 5)],), {"mask": [None, VALUES]}),
    Case("Attention(True, 'concat')", ([X, X],), {"mask": [QUERIES, None], **CAUSAL, **SCORES}),
    Case("Attention(dropout=0.5)", ([X, (2, 6, 5)],), {"mask": [QUERIES, VALUES], **SCORES}),
    Case("AdditiveAttention()", ([X, (2, 6, 5)],), {"mask": [QUERIES, VALUES], **SCORES}),
    Case("AdditiveAttention(use_scale=False)", ([X, X],), CAUSAL),
]


def _drawn(seed: int, shape: Sequence[int], dtype: Any) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype(dtype)


def _made(layers: Any, case: Case, dtype: str) -> Any:
    text = f"{case.text[:-1]}, dtype='{dtype}')".replace("(, ", "(")
    return eval(text, vars(layers).copy())


def _inputs(case: Case, dtype: str) -> tuple[list[np.ndarray], Any]:
    """Arrays, and how they are handed over."""
    listed = isinstance(case.shapes[0], list)
    shapes = case.shapes[0] if listed else case.shapes
    arrays = [_drawn(50 + i, shape, dtype) for i, shape in enumerate(shapes)]
    return arrays, (lambda xs: (list(xs),)) if listed else tuple


def _leaves(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _pair(case: Case, dtype: str) -> tuple[Any, Any]:
    """Our layer and Keras's, built, with the same weights."""
    ours, theirs = _made(edu.layers, case, dtype), _made(keras.layers, case, dtype)
    arrays, arranged = _inputs(case, dtype)
    ours(*arranged(arrays))
    theirs(*arranged([tf.constant(x) for x in arrays]))
    assert [v.shape for v in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    paths = ["/".join(w.path.split("/")[1:]) for w in theirs.weights]
    assert list(ours.weight_paths()) == paths
    weights = [_drawn(i, v.shape, dtype) for i, v in enumerate(ours.weights)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def _ours(layer: Any, case: Case, arrays: Sequence[Any], given: dict[str, Any]) -> Any:
    xs = [edu.ops.asarray(x) for x in arrays]
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(xs)
        values = _leaves(layer(*_inputs(case, "float32")[1](xs), **given))
        parts = [edu.sum(y * _drawn(i, y.shape, y.dtype)) for i, y in enumerate(values)]
        total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    return values, tape.gradient(total, xs), tape.gradient(total, layer.trainable_weights)


def _theirs(layer: Any, case: Case, arrays: Sequence[np.ndarray]) -> Any:
    xs = [tf.constant(x) for x in arrays]
    given = {
        k: [None if m is None else tf.constant(m) for m in v] if isinstance(v, list) else v
        for k, v in case.given.items()
    }
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(xs)
        values = _leaves(layer(*_inputs(case, "float32")[1](xs), **given))
        parts = [
            tf.reduce_sum(y * _drawn(i, y.shape, y.dtype.as_numpy_dtype))
            for i, y in enumerate(values)
        ]
        total = tf.add_n(parts)
    of_inputs = tape.gradient(total, xs)
    of_weights = tape.gradient(total, [w.value for w in layer.trainable_weights])
    return values, of_inputs, of_weights


def _assert_agree(found: Any, expected: Any, tolerance: float) -> None:
    for kind, mine, reference in zip(
        ("values", "of_inputs", "of_weights"), found, expected, strict=True
    ):
        for i, (x, y) in enumerate(zip(mine, reference, strict=True)):
            y = y.numpy()
            limit = tolerance * max(1.0, float(np.abs(y).max()))
            np.testing.assert_allclose(
                x.numpy(), y, rtol=0, atol=limit, err_msg=f"{kind} {i}", strict=True
            )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_agrees_with_keras(case: Case, dtype: str) -> None:
    ours, theirs = _pair(case, dtype)
    arrays, _ = _inputs(case, dtype)
    expected = _theirs(theirs, case, arrays)
    _assert_agree(_ours(ours, case, arrays, case.given), expected, TOLERANCES[dtype])
    if dtype == "float64":
        step = edu.jit(lambda arrays: _ours(ours, case, arrays, case.given))
        _assert_agree(step(arrays), expected, TOLERANCES[dtype])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_mask_of_a_query_hides_what_it_would_get_as_in_keras(dropout: float) -> None:
    # Keras takes it from the layer before; the argument of the call it leaves out of account.
    numbers = np.array([[1, 2, 0, 3], [4, 0, 0, 0]])
    ours, theirs = (
        (layers.Embedding(5, 3, mask_zero=True), layers.MultiHeadAttention(2, 4, dropout=dropout))
        for layers in (edu.layers, keras.layers)
    )
    for embedding, attention in (ours, theirs):
        x = embedding(numbers)
        attention(x, x)
    for mine, reference in zip(ours, theirs, strict=True):
        weights = [_drawn(i, v.shape, "float32") for i, v in enumerate(mine.weights)]
        mine.set_weights(weights)
        reference.set_weights(weights)
    # Without dropout and scores Keras computes in another way, in which such a query gets a mean.
    found, expected = ours[1](*[ours[0](numbers)] * 2), theirs[1](*[theirs[0](numbers)] * 2)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-5)
    x, y = ours[0](numbers), theirs[0](numbers)
    found, scores = ours[1](x, x, return_attention_scores=True)
    expected, seen = theirs[1](y, y, return_attention_scores=True)
    np.testing.assert_allclose(scores.numpy(), seen.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-5)
    assert not scores.numpy()[1, :, 1:].any()


@pytest.mark.parametrize("gate", [False, True])
def test_regularizers_are_for_every_product_as_in_keras(gate: bool) -> None:
    regularizers = {"kernel_regularizer": "l1", "activity_regularizer": "l2"}
    text = f"MultiHeadAttention(2, 4, value_dim=3, use_gate={gate}, **{regularizers})"
    case = Case(text, (X, Y))
    ours, theirs = _pair(case, "float64")
    arrays, _ = _inputs(case, "float64")
    ours(*arrays), theirs(*[tf.constant(x) for x in arrays])
    found, expected = (sorted(map(float, layer.losses)) for layer in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # factors are float32 in Keras


@pytest.mark.parametrize("axes", [None, (2,)])
def test_kernels_start_as_in_keras(axes: Any) -> None:
    x = np.zeros((1, 3, 4, 64) if axes else (1, 3, 64), "float32")
    ours = edu.layers.MultiHeadAttention(8, 64, attention_axes=axes)
    theirs = keras.layers.MultiHeadAttention(8, 64, attention_axes=axes)
    ours(x, x)
    theirs(x, x)
    for mine, reference in zip(ours.weights, theirs.weights, strict=True):
        # 32,768 numbers spread evenly: the largest is within a thousandth of the bound.
        bound = np.abs(reference.numpy()).max()
        np.testing.assert_allclose(np.abs(mine.numpy()).max(), bound, rtol=2e-3)


NOT_HERE = {"flash_attention"}


@pytest.mark.parametrize("name", ["MultiHeadAttention", "Attention", "AdditiveAttention"])
@pytest.mark.parametrize("method", ["__init__", "call"])
def test_arguments_and_their_defaults_are_those_of_keras(name: str, method: str) -> None:
    found, expected = (
        {
            key: each.default
            for key, each in inspect.signature(
                getattr(getattr(layers, name), method)
            ).parameters.items()
            if each.kind is not each.VAR_KEYWORD and key not in NOT_HERE
        }
        for layers in (edu.layers, keras.layers)
    )
    if "training" in expected:  # None is False, or what the layer around says
        expected["training"] = None
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("bias", [False, True], ids=["without", "with bias"])
def test_multi_head_attention_agrees_with_torch(bias: bool) -> None:
    size, heads = 6, 2
    theirs = torch.nn.MultiheadAttention(
        size, heads, bias=bias, batch_first=True, dtype=torch.float64
    )
    query, key, value = (_drawn(i, (3, n, size), "float64") for i, n in enumerate((4, 5, 5)))
    hidden = np.array([[0, 0, 0, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    with torch.no_grad():  # its biases start at 0
        for p in theirs.parameters():
            p += torch.tensor(_drawn(9, p.shape, "float64"))
    given = [torch.tensor(x, requires_grad=True) for x in (query, key, value)]
    outputs, weights = theirs(
        *given, key_padding_mask=torch.tensor(hidden), average_attn_weights=False
    )
    outputs.square().sum().backward()

    ours = edu.layers.MultiHeadAttention(heads, size // heads, use_bias=bias, dtype="float64")
    ours(query, value, key)
    kernels = _array(theirs.in_proj_weight).reshape(3, heads, size // heads, size)
    parts = [x.transpose(2, 0, 1) for x in kernels]
    parts.append(_array(theirs.out_proj.weight).T.reshape(heads, size // heads, size))
    biases: list[Any] = []
    if bias:
        biases = [*_array(theirs.in_proj_bias).reshape(3, heads, -1), _array(theirs.out_proj.bias)]
    both = zip(parts, biases, strict=True) if bias else ((x,) for x in parts)
    ours.set_weights([x for pair in both for x in pair])
    xs = [edu.tensor(x) for x in (query, key, value)]
    with edu.GradientTape() as tape:
        tape.watch(xs)
        q, k, v = xs
        found, scores = ours(q, v, k, value_mask=~hidden, return_attention_scores=True)
        total = edu.sum(edu.square(found))
    pairs = [(found, outputs), (scores, weights)]
    pairs += [(g, x.grad) for g, x in zip(tape.gradient(total, xs), given, strict=True)]
    for mine, reference in pairs:
        np.testing.assert_allclose(mine.numpy(), _array(reference), rtol=1e-9, atol=1e-9)


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy()
