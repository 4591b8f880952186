"""Functions that networks are made of, and their counterparts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_edu import ops
from tinygrad_edu.references import real

from ..calls import Call, call
from .row import Row

_EACH = (call(()), call((3,)), call((2, 3)), call((0, 2)))


def _torch(name: str, **fixed: Any) -> Callable[..., Any]:
    return lambda torch, x, **params: getattr(torch.nn.functional, name)(x, **fixed, **params)


def _keras_op(name: str) -> Callable[..., Any]:
    """Keras's own function, over TensorFlow."""
    return lambda tf, *xs, **params: getattr(tf.keras.ops, name)(*xs, **params)


def _keras_loss(name: str) -> Callable[..., Any]:
    """Keras's own loss; it takes the mean along the last axis, and we over all of them."""
    return lambda tf, *xs, **params: tf.reduce_mean(getattr(tf.keras.losses, name)(*xs, **params))


def _tensorflow_gelu(tf: Any, x: Any, approximate: bool) -> Any:
    """Spelled out: TensorFlow's holds its constants in float32."""
    if not approximate:
        return x * 0.5 * (1 + tf.math.erf(x * tf.constant(0.5, x.dtype) ** 0.5))
    angle = (
        x * (1 + x * x * tf.constant(0.044715, x.dtype)) * tf.constant(2 / np.pi, x.dtype) ** 0.5
    )
    return x * 0.5 * (1 + tf.tanh(angle))


_ACTIVATIONS: dict[str, Row] = {
    "celu": Row(
        lambda x, alpha: ops.celu(x, alpha=alpha),
        {
            "tensorflow": _keras_op("celu"),
            "torch": _torch("celu"),
            "jax": lambda jax, x, alpha: jax.nn.celu(x, alpha),
        },
        tuple(call(c.shapes[0], alpha=alpha) for c in _EACH for alpha in (1.0, 0.5)),
        real(-3, 3, away=(0,)),
    ),
    "elu": Row(
        lambda x, alpha: ops.elu(x, alpha=alpha),
        {
            "tensorflow": _keras_op("elu"),
            "torch": _torch("elu"),
            "jax": lambda jax, x, alpha: jax.nn.elu(x, alpha),
        },
        tuple(call(c.shapes[0], alpha=alpha) for c in _EACH for alpha in (1.0, 0.5)),
        real(-3, 3, away=(0,)),
    ),
    "gelu": Row(
        lambda x, approximate: ops.gelu(x, approximate=approximate),
        {
            "tensorflow": _tensorflow_gelu,
            "torch": lambda torch, x, approximate: torch.nn.functional.gelu(
                x, approximate="tanh" if approximate else "none"
            ),
            "jax": lambda jax, x, approximate: jax.nn.gelu(x, approximate),
        },
        tuple(call(c.shapes[0], approximate=how) for c in _EACH for how in (True, False)),
        real(-3, 3),
    ),
    "glu": Row(
        lambda x, axis: ops.glu(x, axis=axis),
        {
            "tensorflow": _keras_op("glu"),
            "torch": lambda torch, x, axis: torch.nn.functional.glu(x, axis),
            "jax": lambda jax, x, axis: jax.nn.glu(x, axis),
        },
        (call((4,), axis=-1), call((2, 4), axis=-1), call((2, 1, 3), axis=0), call((0, 2), axis=1)),
    ),
    "hard_shrink": Row(
        lambda x: ops.hard_shrink(x),
        {"tensorflow": _keras_op("hard_shrink"), "torch": _torch("hardshrink")},
        _EACH,
        real(-1, 1, away=(-0.5, 0.5)),
    ),
    "hard_sigmoid": Row(
        ops.hard_sigmoid,
        {
            "tensorflow": _keras_op("hard_sigmoid"),
            # Spelled out: PyTorch's has no gradient of the gradient.
            "torch": lambda torch, x: torch.nn.functional.relu6(x + 3) / 6,
            "jax": "nn.hard_sigmoid",
        },
        _EACH,
        real(-6, 6, away=(-3, 3)),
    ),
    "hard_silu": Row(
        ops.hard_silu,
        {
            "tensorflow": _keras_op("hard_silu"),
            "torch": _torch("hardswish"),
            "jax": "nn.hard_silu",
        },
        _EACH,
        real(-6, 6, away=(-3, 3)),
    ),
    "hard_tanh": Row(
        ops.hard_tanh,
        {
            "tensorflow": _keras_op("hard_tanh"),
            "torch": _torch("hardtanh"),
            "jax": "nn.hard_tanh",
        },
        _EACH,
        real(-2, 2, away=(-1, 1)),
    ),
    "leaky_relu": Row(
        lambda x, negative_slope: ops.leaky_relu(x, negative_slope=negative_slope),
        {
            # Spelled out: that of TensorFlow holds the slope in float32.
            "tensorflow": lambda tf, x, negative_slope: tf.where(x > 0, x, x * negative_slope),
            "torch": _torch("leaky_relu"),
            "jax": lambda jax, x, negative_slope: jax.nn.leaky_relu(x, negative_slope),
        },
        tuple(call(c.shapes[0], negative_slope=slope) for c in _EACH for slope in (0.2, 0.01)),
        real(-3, 3, away=(0,)),
    ),
    "log_sigmoid": Row(
        ops.log_sigmoid,
        {
            "tensorflow": "math.log_sigmoid",
            "torch": _torch("logsigmoid"),
            "jax": "nn.log_sigmoid",
        },
        _EACH,
    ),
    "mish": Row(
        ops.mish,
        {"tensorflow": "keras.activations.mish", "torch": _torch("mish"), "jax": "nn.mish"},
        _EACH,
    ),
    "relu6": Row(
        ops.relu6,
        {"tensorflow": "nn.relu6", "torch": _torch("relu6"), "jax": "nn.relu6"},
        _EACH,
        real(-3, 9, away=(0, 6)),
    ),
    "selu": Row(
        ops.selu,
        {"tensorflow": "nn.selu", "torch": "selu", "jax": "nn.selu"},
        _EACH,
        real(-3, 3, away=(0,)),
    ),
    "soft_shrink": Row(
        lambda x: ops.soft_shrink(x),
        {"tensorflow": _keras_op("soft_shrink"), "torch": _torch("softshrink")},
        _EACH,
        real(-1, 1, away=(-0.5, 0.5)),
    ),
    "tanh_shrink": Row(
        ops.tanh_shrink,
        {"tensorflow": _keras_op("tanh_shrink"), "torch": _torch("tanhshrink")},
        _EACH,
    ),
    "threshold": Row(
        lambda x: ops.threshold(x, 0.5, -1.0),
        {
            "tensorflow": lambda tf, x: tf.keras.ops.threshold(x, 0.5, -1.0),
            "torch": lambda torch, x: torch.nn.functional.threshold(x, 0.5, -1.0),
        },
        _EACH,
        real(-1, 1, away=(0.5,)),
    ),
}

# Losses. Targets that are whole numbers are fixed: they have no gradient.

_PAIRS = (call((3,), (3,)), call((2, 3), (2, 3)))
_SHARES = real(0.1, 0.9)


def _classes(*cases: tuple[tuple[int, ...], int, Any]) -> tuple[Call, ...]:
    return tuple(call(shape, axis=axis, classes=np.array(t)) for shape, axis, t in cases)


def _sparse(from_logits: bool) -> Callable[..., Any]:
    return lambda x, axis, classes: ops.sparse_categorical_crossentropy(
        classes, x, from_logits=from_logits, axis=axis
    )


def _one_hot(module: Any, x: Any, axis: int, classes: Any) -> Any:
    """1 at the class, for a module whose arrays take NumPy's."""
    hot = np.expand_dims(classes, axis) == np.arange(x.shape[axis]).reshape(
        [-1] + [1] * (x.ndim - 1 - axis % x.ndim)
    )
    return hot.astype(str(x.dtype).split(".")[-1])


def _tf_logits(tf: Any, x: Any, axis: int, classes: Any) -> Any:
    last = tf.experimental.numpy.moveaxis(x, axis, -1)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(classes, last)


def _torch_logits(torch: Any, x: Any, axis: int, classes: Any) -> Any:
    last = x.movedim(axis, -1)
    rows, targets = last.reshape(-1, last.shape[-1]), torch.from_numpy(np.array(classes))
    found = torch.nn.functional.cross_entropy(rows, targets.reshape(-1), reduction="none")
    return found.reshape(targets.shape)


def _jax_logits(jax: Any, x: Any, axis: int, classes: Any) -> Any:
    last = jax.numpy.moveaxis(jax.nn.log_softmax(x, axis), axis, -1)
    return -jax.numpy.take_along_axis(last, classes[..., None], -1)[..., 0]


_CLASSES = _classes(
    ((3,), -1, 1), ((2, 3), -1, [2, 0]), ((2, 3), 0, [1, 0, 1]), ((2, 3, 2), 1, [[0, 1], [2, 2]])
)

_LOSSES: dict[str, Row] = {
    "binary_crossentropy": Row(
        lambda t, p: ops.binary_crossentropy(t, p),
        {
            "tensorflow": lambda tf, t, p: tf.keras.ops.binary_crossentropy(t, p),
            # Spelled out: PyTorch's own adds 1e-12 to what its gradient divides by.
            "torch": lambda torch, t, p: (
                -(t * p.clamp(1e-7, 1 - 1e-7).log() + (1 - t) * (1 - p.clamp(1e-7, 1 - 1e-7)).log())
            ),
        },
        (call((), ()), *_PAIRS),
        _SHARES,
    ),
    "binary_crossentropy_from_logits": Row(
        lambda t, x: ops.binary_crossentropy(t, x, from_logits=True),
        {
            "tensorflow": "nn.sigmoid_cross_entropy_with_logits",
            "torch": lambda torch, t, x: torch.nn.functional.binary_cross_entropy_with_logits(
                x, t, reduction="none"
            ),
            "jax": lambda jax, t, x: jax.nn.softplus(-x) * t + jax.nn.softplus(x) * (1 - t),
        },
        (call((), ()), *_PAIRS),
    ),
    "categorical_crossentropy": Row(
        lambda t, p, axis: ops.categorical_crossentropy(t, p, axis=axis),
        {
            "tensorflow": lambda tf, t, p, axis: tf.keras.ops.categorical_crossentropy(
                t, p, axis=axis
            )
        },
        (call((3,), (3,), axis=-1), call((2, 3), (2, 3), axis=-1), call((2, 3), (2, 3), axis=0)),
        _SHARES,
    ),
    "categorical_crossentropy_from_logits": Row(
        lambda t, x, axis: ops.categorical_crossentropy(t, x, from_logits=True, axis=axis),
        {
            "tensorflow": lambda tf, t, x, axis: (
                -tf.reduce_sum(t * tf.nn.log_softmax(x, axis), axis)
            ),
            "torch": lambda torch, t, x, axis: -(t * x.log_softmax(axis)).sum(axis),
            "jax": lambda jax, t, x, axis: -(t * jax.nn.log_softmax(x, axis)).sum(axis),
        },
        (call((3,), (3,), axis=-1), call((2, 3), (2, 3), axis=-1), call((2, 3), (2, 3), axis=0)),
    ),
    "cosine_similarity": Row(
        lambda x, y, axis: ops.cosine_similarity(x, y, axis=axis),
        {
            "tensorflow": lambda tf, x, y, axis: (
                -tf.keras.losses.cosine_similarity(x, y, axis=axis)
            ),
            "torch": lambda torch, x, y, axis: torch.cosine_similarity(x, y, axis),
        },
        (call((3,), (3,), axis=-1), call((2, 3), (2, 3), axis=-1), call((2, 3), (2, 3), axis=0)),
    ),
    "hinge": Row(
        ops.hinge,
        {
            "tensorflow": lambda tf, t, x: tf.reduce_mean(tf.nn.relu(1 - t * x)),
            "torch": lambda torch, t, x: torch.relu(1 - t * x).mean(),
            "jax": lambda jax, t, x: jax.nn.relu(1 - t * x).mean(),
        },
        _PAIRS,
        real(-0.9, 0.9),
    ),
    "huber": Row(
        lambda x, y, delta: ops.huber(x, y, delta),
        {
            "tensorflow": _keras_loss("huber"),
            "torch": lambda torch, x, y, delta: torch.nn.functional.huber_loss(y, x, delta=delta),
        },
        (call((1,), (1,), delta=1.0), call((2, 3), (2, 3), delta=1.0), call((9,), (9,), delta=0.7)),
    ),
    "kl_divergence": Row(
        lambda x, y: ops.kl_divergence(x, y),
        {
            "tensorflow": "keras.losses.kullback_leibler_divergence",
            "torch": lambda torch, x, y: torch.nn.functional.kl_div(
                y.clamp(1e-7, 1).log(), x.clamp(1e-7, 1), reduction="none"
            ).sum(-1),
        },
        _PAIRS,
        _SHARES,
    ),
    "log_cosh": Row(
        ops.log_cosh,
        {
            # Keras's, whose log(2) is a float32.
            "tensorflow": lambda tf, x, y: tf.reduce_mean(
                tf.abs(x - y) + tf.nn.softplus(-2 * tf.abs(x - y)) - tf.math.log(2 + 0 * x)
            )
        },
        _PAIRS,
    ),
    "mean_absolute_error": Row(
        ops.mean_absolute_error,
        {
            "tensorflow": lambda tf, x, y: tf.reduce_mean(tf.abs(x - y)),
            "torch": "nn.functional.l1_loss",
            "jax": lambda jax, x, y: jax.numpy.mean(jax.numpy.abs(x - y)),
        },
        (call((), ()), *_PAIRS),
    ),
    "mean_squared_error": Row(
        ops.mean_squared_error,
        {
            "tensorflow": lambda tf, x, y: tf.reduce_mean(tf.math.squared_difference(x, y)),
            "torch": "nn.functional.mse_loss",
            "jax": lambda jax, x, y: jax.numpy.mean(jax.numpy.square(x - y)),
        },
        (call((), ()), call((3,), (3,)), call((2, 3), (2, 3))),
    ),
    "sparse_categorical_crossentropy": Row(
        _sparse(False),
        {
            "tensorflow": lambda tf, x, axis, classes: tf.keras.ops.sparse_categorical_crossentropy(
                classes,
                tf.experimental.numpy.moveaxis(x / tf.reduce_sum(x, axis, keepdims=True), axis, -1),
            ),
        },
        _CLASSES,
        _SHARES,
    ),
    "sparse_categorical_crossentropy_from_logits": Row(
        _sparse(True),
        {"tensorflow": _tf_logits, "torch": _torch_logits, "jax": _jax_logits},
        _CLASSES,
    ),
}

# Normalizations, with all their parameters, and without.


# Not so small that it magnifies rounding where all are equal.
_EPSILON = 0.5


def _moments(tf: Any, x: Any, axes: Any, epsilon: float) -> Any:
    """Spelled out: tf.nn.moments has a wrong gradient of the gradient."""
    centered = x - tf.reduce_mean(x, axes, keepdims=True)
    return centered / tf.sqrt(tf.reduce_mean(centered * centered, axes, keepdims=True) + epsilon)


def _jax_standardized(jax: Any, x: Any, axes: Any, epsilon: float) -> Any:
    centered = x - x.mean(axes, keepdims=True)
    return centered / jax.numpy.sqrt((centered**2).mean(axes, keepdims=True) + epsilon)


_NORMALIZATIONS: dict[str, Row] = {
    "batch_norm": Row(
        lambda x, b, g: ops.batch_norm(x, 1, b, g, _EPSILON)[0],
        {
            "tensorflow": lambda tf, x, b, g: (
                _moments(tf, x, [0, 2], _EPSILON) * g[:, None] + b[:, None]
            ),
            "torch": lambda torch, x, b, g: torch.nn.functional.batch_norm(
                x, None, None, g, b, True, eps=_EPSILON
            ),
            "jax": lambda jax, x, b, g: (
                _jax_standardized(jax, x, (0, 2), _EPSILON) * g[:, None] + b[:, None]
            ),
        },
        (call((2, 3, 4), (3,), (3,)), call((4, 1, 2), (1,), (1,))),
    ),
    "batch_normalization": Row(
        lambda x, m, v, b, g: ops.batch_normalization(x, m, v, 1, b, g, _EPSILON),
        {
            "tensorflow": lambda tf, x, m, v, b, g: (
                (x - m[:, None]) / tf.sqrt(v[:, None] + _EPSILON) * g[:, None] + b[:, None]
            ),
            "torch": lambda torch, x, m, v, b, g: (
                (x - m[:, None]) / (v[:, None] + _EPSILON).sqrt() * g[:, None] + b[:, None]
            ),
        },
        (call((2, 3, 4), (3,), (3,), (3,), (3,)), call((4, 1, 2), (1,), (1,), (1,), (1,))),
        real(0.5, 2),
    ),
    "group_norm": Row(
        lambda x, g, b: ops.group_norm(x, 2, g, b, 1, _EPSILON),
        {
            "tensorflow": lambda tf, x, g, b: (
                tf.reshape(_moments(tf, tf.reshape(x, (-1, 2, 2, 3)), [2, 3], _EPSILON), x.shape)
                * g[:, None]
                + b[:, None]
            ),
            "torch": lambda torch, x, g, b: torch.nn.functional.group_norm(x, 2, g, b, _EPSILON),
        },
        (call((2, 4, 3), (4,), (4,)),),
    ),
    "layer_norm": Row(
        lambda x, g, b: ops.layer_norm(x, g, b, epsilon=_EPSILON),
        {
            "tensorflow": lambda tf, x, g, b: _moments(tf, x, [-1], _EPSILON) * g + b,
            "torch": lambda torch, x, g, b: torch.nn.functional.layer_norm(
                x, x.shape[-1:], g, b, _EPSILON
            ),
            "jax": lambda jax, x, g, b: _jax_standardized(jax, x, -1, _EPSILON) * g + b,
        },
        (call((5,), (5,), (5,)), call((2, 3), (3,), (3,)), call((2, 1, 4), (4,), (4,))),
    ),
    "layer_norm alone": Row(
        lambda x, axis: ops.layer_norm(x, axis=axis, epsilon=_EPSILON),
        {
            "tensorflow": lambda tf, x, axis: _moments(tf, x, axis, _EPSILON),
            "jax": lambda jax, x, axis: _jax_standardized(jax, x, axis, _EPSILON),
        },
        (
            call((5,), axis=0),
            call((4, 3), axis=0),
            call((2, 3, 4), axis=(-1, 1)),
            call((2, 3, 4), axis=(0, 2)),
        ),
    ),
    "rms_norm": Row(
        lambda x, g: ops.rms_norm(x, g, epsilon=_EPSILON),
        {
            "tensorflow": lambda tf, x, g: (
                x / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) + _EPSILON) * g
            ),
            "torch": lambda torch, x, g: torch.nn.functional.rms_norm(x, x.shape[-1:], g, _EPSILON),
            "jax": lambda jax, x, g: (
                x / jax.numpy.sqrt((x * x).mean(-1, keepdims=True) + _EPSILON) * g
            ),
        },
        (call((5,), (5,)), call((2, 3), (3,)), call((2, 1, 4), (4,))),
    ),
}

# Attention and embedding.

_MASK = np.array([[True, False, True, True], [True, True, False, False]])
_HIDDEN = np.array([[True, False, True, True], [False, False, False, False]])


def _shown(mask: Any, is_causal: bool) -> np.ndarray:
    shown = np.ones((2, 4), bool) if mask is None else mask
    return np.tril(shown) if is_causal else shown


def _torch_attention(torch: Any, q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.nn.functional.scaled_dot_product_attention(
            *(x.transpose(1, 2) for x in (q, k, v)),
            attn_mask=torch.from_numpy(_shown(mask, is_causal)),
        ).transpose(1, 2)


def _jax_attention(jax: Any, q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    """Spelled out: JAX's works in float32, and gives what is hidden a share in hidden rows."""
    shown = _shown(mask, is_causal)
    scores = jax.numpy.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]).astype(q.dtype)
    weights = jax.nn.softmax(jax.numpy.where(shown, scores, -1e30))
    return jax.numpy.einsum("bhqk,bkhd->bqhd", jax.numpy.where(shown, weights, 0), v)


def _tensorflow_attention(tf: Any, q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    shown = _shown(mask, is_causal)
    scores = tf.einsum("bqhd,bkhd->bhqk", q, k) / tf.sqrt(tf.cast(q.shape[-1], q.dtype))
    low, nothing = tf.constant(-1e30, q.dtype), tf.constant(0, q.dtype)
    weights = tf.where(shown, tf.nn.softmax(tf.where(shown, scores, low)), nothing)
    return tf.einsum("bhqk,bkhd->bqhd", weights, v)


_HEADS = ((2, 2, 2, 3), (2, 4, 2, 3), (2, 4, 2, 3))

_REST: dict[str, Row] = {
    "dot_product_attention": Row(
        lambda q, k, v, mask, is_causal: ops.dot_product_attention(
            q, k, v, mask=mask, is_causal=is_causal
        ),
        {
            "tensorflow": _tensorflow_attention,
            "torch": _torch_attention,
            "jax": _jax_attention,
        },
        (
            call(*_HEADS, mask=None, is_causal=False),
            call(*_HEADS, mask=_MASK, is_causal=False),
            call(*_HEADS, mask=_HIDDEN, is_causal=False),
            call(*_HEADS, mask=None, is_causal=True),
            call(*_HEADS, mask=_MASK, is_causal=True),
        ),
        real(-1, 1),
    ),
    "embedding": Row(
        lambda table, indices: ops.embedding(indices, table),
        {
            "tensorflow": lambda tf, table, indices: tf.nn.embedding_lookup(table * 1, indices),
            "torch": lambda torch, table, indices: torch.nn.functional.embedding(
                torch.from_numpy(np.array(indices)), table
            ),
            "jax": lambda jax, table, indices: jax.numpy.take(table, indices, 0),
        },
        (
            call((3, 2), indices=np.array([0, 2, 2])),
            call((3, 2), indices=np.array([[1], [0]])),
            call((3, 4), indices=np.array(1)),
        ),
    ),
}

COMPOSITES: dict[str, Row] = {**_ACTIVATIONS, **_LOSSES, **_NORMALIZATIONS, **_REST}

NOT_COMPARED = {
    "dropout": "random; its mean, its zeros and its gradient are tested in tests/test_networks.py",
    "hard_swish": "hard_silu by another name",
    "layer_normalization": "layer_norm by another name",
    "rms_normalization": "rms_norm by another name",
    "swish": "silu by another name",
}
