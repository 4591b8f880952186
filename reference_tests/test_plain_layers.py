"""Layers without a memory against Keras's, with the same weights: values, gradients with respect to
inputs and weights, moving statistics, masks, shapes, names and defaults."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import tinygrad_edu as edu

from .frameworks import FRAMEWORKS

tf, torch, jax = (FRAMEWORKS[name].module for name in ("tensorflow", "torch", "jax"))

Shape = tuple[int, ...]

# Both compute in the same dtype, and add in another order: of the largest number, this much.
TOLERANCES = {"float64": 1e-9, "float32": 3e-5}
# Of these Keras has a factor in float32.
ROUNDED = ("=gelu", "=leaky_relu", "LeakyReLU()")


class Case(NamedTuple):
    """A layer, the shapes of its inputs (a list for layers that take one), and how they are drawn:
    real numbers, or integers below `below`."""

    name: str
    options: dict[str, Any]
    shapes: Shape | list[Shape]
    below: int | None = None

    def __str__(self) -> str:
        options = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.name}({options}){self.shapes}".replace(" ", "")


def case(name: str, shapes: Any, below: int | None = None, **options: Any) -> Case:
    return Case(name, options, shapes, below)


SEQUENCE, IMAGE = (2, 7, 4), (2, 6, 5, 4)
FIRST = {"data_format": "channels_first"}
PAIR, TRIO = [(3, 4), (3, 4)], [(2, 3, 4), (2, 3, 4), (2, 1, 4)]

CASES = [
    case("Dense", (3, 4), units=5),
    case("Dense", (2, 3, 4), units=2, activation="tanh", use_bias=False),
    case("Dense", (3, 4), units=3, activation="softmax"),
    *[case("Activation", (3, 4), activation=name) for name in (
        "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
        "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish",
        "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus",
        "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh", "tanh_shrink",
    )],
    case("ReLU", (4, 5)),
    case("ReLU", (4, 5), max_value=1.0, negative_slope=0.25),
    case("ReLU", (4, 5), threshold=0.5, negative_slope=0.25, max_value=1.5),
    case("LeakyReLU", (4, 5)),
    case("LeakyReLU", (4, 5), negative_slope=0.125),
    case("PReLU", (2, 3, 4)),
    case("PReLU", IMAGE, shared_axes=[1, 2]),
    case("ELU", (4, 5)),
    case("ELU", (4, 5), alpha=0.5),
    case("Softmax", (4, 5)),
    case("Softmax", (2, 3, 4), axis=1),
    case("Softmax", (2, 3, 4), axis=(1, 2)),
    case("Flatten", (2, 3, 4)),
    case("Flatten", (3,)),
    case("Flatten", (2, 3, 4, 2), **FIRST),
    case("Reshape", (2, 6, 2), target_shape=(3, 4)),
    case("Reshape", (2, 6, 2), target_shape=(2, -1, 3)),
    case("Permute", (2, 3, 4, 5), dims=(3, 1, 2)),
    case("RepeatVector", (2, 3), n=4),
    case("Rescaling", (2, 3), scale=0.5, offset=-1.0),
    case("Rescaling", (2, 3), 255, scale=1 / 255),
    case("Rescaling", (2, 3), scale=[1.0, 2.0, 4.0], offset=[0.5, 0.25, 0.0]),
    case("Normalization", (4, 3)),
    case("Normalization", (4, 2, 3), axis=(1, 2)),
    case("Normalization", (4, 3), mean=[1.0, 2.0, 3.0], variance=[4.0, 0.0, 0.25]),
    case("Normalization", (4, 3), axis=None, mean=2.0, variance=4.0, invert=True),
    case("Embedding", (3, 4), 6, input_dim=6, output_dim=2),
    case("Embedding", (3,), 6, input_dim=6, output_dim=2, mask_zero=True),
    case("Identity", (3, 4)),
    case("Masking", (2, 3, 2), 2, mask_value=1.0),
    case("ActivityRegularization", (3, 4), l1=0.5, l2=0.25),
    *[case(name, (3, 4), rate=0.5) for name in ("Dropout", "GaussianDropout", "AlphaDropout")],
    case("GaussianNoise", (3, 4), stddev=0.5),
    case("SpatialDropout1D", SEQUENCE, rate=0.5),
    case("SpatialDropout2D", IMAGE, rate=0.5),
    case("Conv1D", SEQUENCE, filters=3, kernel_size=3),
    case("Conv1D", SEQUENCE, filters=4, kernel_size=2, strides=2, padding="same", groups=2),
    case("Conv1D", SEQUENCE, filters=2, kernel_size=3, padding="causal", dilation_rate=2),
    case("Conv2D", IMAGE, filters=3, kernel_size=(3, 2), activation="relu"),
    case("Conv2D", IMAGE, filters=3, kernel_size=3, strides=(2, 1), padding="same"),
    case("Conv2D", IMAGE, filters=4, kernel_size=2, groups=2, use_bias=False),
    case("Conv2D", IMAGE, filters=2, kernel_size=2, dilation_rate=(2, 1), padding="same"),
    case("Conv1DTranspose", SEQUENCE, filters=3, kernel_size=3, strides=2),
    case("Conv1DTranspose", SEQUENCE, filters=3, kernel_size=3, strides=2, padding="same",
         output_padding=1),
    case("Conv2DTranspose", IMAGE, filters=3, kernel_size=(3, 2), strides=2),
    case("Conv2DTranspose", IMAGE, filters=3, kernel_size=3, strides=2, padding="same"),
    case("Conv2DTranspose", IMAGE, filters=2, kernel_size=(3, 4), strides=(2, 3),
         output_padding=(0, 1), activation="sigmoid"),
    case("DepthwiseConv1D", SEQUENCE, kernel_size=3, depth_multiplier=2),
    case("DepthwiseConv2D", IMAGE, kernel_size=3),
    case("DepthwiseConv2D", IMAGE, kernel_size=(3, 2), depth_multiplier=2, padding="same",
         strides=2),
    case("SeparableConv1D", SEQUENCE, filters=3, kernel_size=3, padding="same"),
    case("SeparableConv2D", IMAGE, filters=3, kernel_size=3, depth_multiplier=2),
    case("SeparableConv2D", IMAGE, filters=3, kernel_size=2, strides=2, padding="same",
         use_bias=False, activation="elu"),
    case("ZeroPadding1D", SEQUENCE, padding=(1, 2)),
    case("ZeroPadding1D", SEQUENCE),
    case("ZeroPadding2D", IMAGE, padding=((1, 0), (2, 1))),
    case("ZeroPadding2D", IMAGE, padding=(1, 2), **FIRST),
    case("Cropping1D", SEQUENCE, cropping=(2, 1)),
    case("Cropping1D", SEQUENCE, cropping=1),
    case("Cropping2D", IMAGE, cropping=((1, 0), (0, 2))),
    case("Cropping2D", IMAGE, cropping=(1, 2)),
    case("Cropping2D", IMAGE, cropping=1, **FIRST),
    case("UpSampling1D", SEQUENCE, size=3),
    case("UpSampling2D", IMAGE),
    case("UpSampling2D", IMAGE, size=(1, 3), **FIRST),
    *[
        case(f"{kind}Pooling{axes}D", shape, **options)
        for kind in ("Max", "Average")
        for axes, shape in ((1, SEQUENCE), (2, IMAGE))
        for options in (
            {"pool_size": 2},
            {"pool_size": 3, "strides": 2, "padding": "same"},
            {"pool_size": 2, "strides": 1},
        )
    ],
    *[
        case(f"Global{kind}Pooling{axes}D", shape, **options)
        for kind in ("Max", "Average")
        for axes, shape in ((1, SEQUENCE), (2, IMAGE))
        for options in ({}, {"keepdims": True}, FIRST)
    ],
    case("BatchNormalization", (5, 3)),
    case("BatchNormalization", IMAGE, momentum=0.5, epsilon=0.125, scale=False),
    case("BatchNormalization", IMAGE, axis=1, center=False),
    case("LayerNormalization", (3, 4)),
    case("LayerNormalization", (2, 3, 4), axis=[1, 2], epsilon=0.125),
    case("LayerNormalization", (2, 3, 4), axis=1, center=False, scale=False),
    case("GroupNormalization", IMAGE, groups=2),
    case("GroupNormalization", (2, 4, 3), groups=2, axis=1, epsilon=0.125, scale=False),
    case("GroupNormalization", SEQUENCE, groups=-1),
    case("RMSNormalization", (3, 4)),
    case("RMSNormalization", (2, 3, 4), epsilon=0.125),
    case("UnitNormalization", (3, 4)),
    case("UnitNormalization", (2, 3, 4), axis=(1, 2)),
    *[case(name, TRIO) for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")],
    case("Add", [(2, 4), (2, 3, 4)]),
    case("Subtract", PAIR),
    case("Concatenate", PAIR),
    case("Concatenate", [(2, 3, 4), (2, 1, 4)], axis=1),
    case("Dot", PAIR, axes=1),
    case("Dot", PAIR, axes=-1, normalize=True),
    case("Dot", [(2, 3, 4), (2, 5, 3)], axes=(1, 2)),
    case("Dot", [(2, 3, 4), (2, 3, 2, 5)], axes=1, normalize=True),
]  # fmt: skip

# Keras's TensorFlow back end has no convolution on a CPU whose channels come first.
CHANNELS_FIRST = [
    case("Conv1D", SEQUENCE, filters=3, kernel_size=3, strides=2),
    case("Conv2D", IMAGE, filters=4, kernel_size=2, groups=2, padding="same"),
    case("Conv2DTranspose", IMAGE, filters=3, kernel_size=2, strides=2),
    case("DepthwiseConv2D", IMAGE, kernel_size=2, depth_multiplier=2),
    case("SeparableConv2D", IMAGE, filters=3, kernel_size=2),
    case("MaxPooling2D", IMAGE, pool_size=2),
    case("AveragePooling1D", SEQUENCE, pool_size=3, strides=2, padding="same"),
    case("SpatialDropout2D", IMAGE, rate=0.5),
]


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """A dtype, which Keras computes in too."""
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx(before)


def _several(case: Case) -> list[Shape]:
    return case.shapes if isinstance(case.shapes, list) else [case.shapes]


def _inputs(case: Case, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    if case.below is not None:
        kind = dtype if case.name == "Masking" else "int32"
        return [rng.integers(0, case.below, shape).astype(kind) for shape in _several(case)]
    return [rng.normal(size=shape).astype(dtype) for shape in _several(case)]


def _as_given(case: Case, arrays: Sequence[Any]) -> Any:
    return list(arrays) if isinstance(case.shapes, list) else arrays[0]


def _pair(case: Case, inputs: Sequence[np.ndarray], dtype: str) -> tuple[Any, Any]:
    """Our layer and Keras's, both built for the inputs, with the same weights."""
    ours = getattr(edu.layers, case.name)(**case.options, dtype=dtype)
    theirs = getattr(keras.layers, case.name)(**case.options, dtype=dtype)
    ours(_as_given(case, [edu.tensor(x) for x in inputs]))
    theirs(_as_given(case, [tf.constant(x) for x in inputs]))
    rng = np.random.default_rng(7)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    weights = [rng.normal(size=w.shape).astype(w.dtype) for w in ours.weights]
    weights = [
        abs(x) if "variance" in w.name else x for x, w in zip(weights, ours.weights, strict=True)
    ]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    if case.name == "Normalization":
        theirs.finalize_state()  # it computes with a copy of its weights
    return ours, theirs


class Results(NamedTuple):
    """What a layer gives, the gradients of a sum over it, and its weights afterwards."""

    value: np.ndarray
    of_inputs: list[np.ndarray]
    of_weights: list[np.ndarray]
    weights: list[np.ndarray]


def _ours(case: Case, layer: Any, inputs: Sequence[np.ndarray], **given: Any) -> Results:
    xs = [edu.tensor(x) for x in inputs]
    followed = [x for x in xs if "int" not in str(x.dtype)]
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(followed)
        value = layer(_as_given(case, xs), **given)
        total = edu.sum(value * _cotangent(value.shape, value.dtype))
    of_inputs = tape.gradient(total, followed)
    of_weights = tape.gradient(total, layer.trainable_weights)
    return Results(
        value.numpy(),
        [g.numpy() for g in of_inputs],
        [g.numpy() for g in of_weights],
        layer.get_weights(),
    )


def _theirs(case: Case, layer: Any, inputs: Sequence[np.ndarray], **given: Any) -> Results:
    xs = [tf.constant(x) for x in inputs]
    followed = [x for x in xs if "int" not in str(x.dtype)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(followed)
        value = layer(_as_given(case, xs), **given)
        total = tf.reduce_sum(value * _cotangent(tuple(value.shape), value.dtype.name))
    of_inputs = tape.gradient(total, followed)
    of_weights = tape.gradient(total, [w.value for w in layer.trainable_weights])
    return Results(
        value.numpy(),
        [tf.convert_to_tensor(g).numpy() for g in of_inputs],
        [tf.convert_to_tensor(g).numpy() for g in of_weights],
        layer.get_weights(),
    )


def _cotangent(shape: Shape, dtype: Any) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(str(dtype))


def _assert_agree(ours: Results, theirs: Results, tolerance: float) -> None:
    for kind, mine, reference in zip(Results._fields, ours, theirs, strict=True):
        many = (mine, reference) if isinstance(mine, list) else ([mine], [reference])
        for x, y in zip(*many, strict=True):
            assert x.dtype == y.dtype, kind
            limit = tolerance * max(1.0, float(np.abs(y).max(initial=0)))
            np.testing.assert_allclose(x, y, rtol=0, atol=limit, err_msg=kind)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_agrees_with_keras(case: Case, dtype: str) -> None:
    inputs = _inputs(case, dtype)
    ours, theirs = _pair(case, inputs, dtype)
    expected = _theirs(case, theirs, inputs)
    rounded = any(word in str(case) for word in ROUNDED)
    tolerance = TOLERANCES["float32" if rounded else dtype]
    _assert_agree(_ours(case, ours, inputs), expected, tolerance)
    given = _as_given(case, inputs)
    compiled = edu.jit(lambda x: ours(x))(given)
    limit = tolerance * max(1.0, float(np.abs(expected.value).max(initial=0)))
    np.testing.assert_allclose(compiled.numpy(), expected.value, rtol=0, atol=limit)
    shapes = _as_given(case, [(None, *shape[1:]) for shape in _several(case)])
    assert ours.compute_output_shape(shapes) == (None, *expected.value.shape[1:])
    again = type(ours).from_config(ours.get_config())
    again(given)
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(again(given).numpy(), ours(given).numpy())


@pytest.mark.parametrize("case", CHANNELS_FIRST, ids=str)
def test_channels_that_come_first_are_the_same_moved(case: Case) -> None:
    (x,) = _inputs(case, "float64")
    last, theirs = _pair(case, [x], "float64")
    first = type(last)(**case.options, **FIRST, dtype="float64")
    moved = np.moveaxis(x, -1, 1)
    first(moved)
    first.set_weights(theirs.get_weights())
    expected = np.moveaxis(theirs(x).numpy(), -1, 1)
    np.testing.assert_allclose(first(moved).numpy(), expected, rtol=0, atol=1e-12)
    shape = (None, *moved.shape[1:])
    assert first.compute_output_shape(shape) == (None, *expected.shape[1:])


@pytest.mark.parametrize(
    ("case", "shape"),
    [
        (case("Conv1D", (), filters=2, kernel_size=3, strides=2), (None, None, 4)),
        (case("Conv1D", (), filters=2, kernel_size=3, padding="same"), (None, None, 4)),
        (case("Conv2D", (), filters=2, kernel_size=3), (None, None, 5, 4)),
        (case("Conv2DTranspose", (), filters=2, kernel_size=3, strides=2), (None, None, None, 4)),
        (case("MaxPooling1D", ()), (None, None, 4)),
        (case("AveragePooling2D", (), pool_size=2), (None, 6, None, 4)),
        (case("GlobalMaxPooling1D", ()), (None, None, 4)),
        (case("UpSampling1D", ()), (None, None, 4)),
        (case("UpSampling2D", (), interpolation="bilinear"), (None, None, 5, 4)),
        (case("ZeroPadding2D", ()), (None, None, 5, 4)),
        (case("Cropping1D", ()), (None, None, 4)),
        (case("Flatten", ()), (None, None, 4)),
        (case("Reshape", (), target_shape=(-1, 2)), (None, None, 4)),
        (case("Permute", (), dims=(2, 1)), (None, None, 4)),
        (case("Dense", (), units=3), (None, None, 4)),
        (case("Embedding", (), input_dim=3, output_dim=2), (None, None)),
        (case("LayerNormalization", ()), (None, None, 4)),
        (case("Add", ()), [(None, None, 4), (None, 1, 4)]),
        (case("Concatenate", ()), [(None, None, 4), (None, None, 2)]),
        (case("Dot", (), axes=2), [(None, None, 4), (None, None, 4)]),
    ],
    ids=str,
)
def test_sizes_that_are_not_known_stay_so(case: Case, shape: Any) -> None:
    ours = getattr(edu.layers, case.name)(**case.options)
    theirs = getattr(keras.layers, case.name)(**case.options)
    assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))


# Training


@pytest.mark.parametrize("case", [c for c in CASES if c.name == "BatchNormalization"], ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_batch_normalization_trains_as_keras_does(case: Case, dtype: str, compiled: bool) -> None:
    inputs = _inputs(case, dtype)
    ours, theirs = _pair(case, inputs, dtype)
    step = edu.jit(lambda x: ours(x, training=True)) if compiled else None
    for turn in range(3):
        batch = [x * (turn + 1) + turn for x in inputs]
        expected = _theirs(case, theirs, batch, training=True)
        if step is None:
            _assert_agree(_ours(case, ours, batch, training=True), expected, TOLERANCES[dtype])
            continue
        found = step(batch[0]).numpy()
        np.testing.assert_allclose(found, expected.value, rtol=0, atol=10 * TOLERANCES[dtype])
        for x, y in zip(ours.get_weights(), expected.weights, strict=True):
            np.testing.assert_allclose(x, y, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    ours.trainable = theirs.trainable = False
    frozen = theirs(inputs[0], training=True).numpy()
    found = ours(inputs[0], training=True).numpy()
    np.testing.assert_allclose(found, frozen, rtol=0, atol=10 * TOLERANCES[dtype])


MASK = np.array([[True, True, False, False], [True, False, True, True], [False] * 4])


@pytest.mark.parametrize(
    "case",
    [
        case("BatchNormalization", (3, 4, 2)),
        case("GlobalAveragePooling1D", (3, 4, 2)),
        case("GlobalAveragePooling1D", (3, 4, 2), keepdims=True),
        case("Softmax", (3, 4)),
    ],
    ids=str,
)
def test_a_mask_counts_as_in_keras(case: Case, dtype: str) -> None:
    inputs = _inputs(case, dtype)
    ours, theirs = _pair(case, inputs, dtype)
    # Keras divides 0 by 0 for an example of which pooling sees nothing.
    rows = slice(2 if case.name.startswith("Global") else 3)
    inputs, mask = [x[rows] for x in inputs], MASK[rows]
    training = {"training": True} if case.name == "BatchNormalization" else {}
    expected = _theirs(case, theirs, inputs, mask=tf.constant(mask), **training)
    found = _ours(case, ours, inputs, mask=edu.tensor(mask), **training)
    _assert_agree(found, expected, TOLERANCES[dtype])


def test_masks_go_from_layer_to_layer_as_in_keras() -> None:
    words = np.array([[1, 2, 0, 0], [3, 0, 2, 1]], np.int32)
    steps = np.random.default_rng(4).normal(size=(2, 4, 3)).astype("float32")
    steps[:, 1:3] = 0

    def forward(layers: Any) -> tuple[Any, list[Any]]:
        made = [
            layers.Embedding(4, 3, mask_zero=True),
            layers.Masking(),
            layers.Add(),
            layers.Dense(3, activation="tanh"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling1D(),
        ]
        embed, masking, add, dense, norm, pool = made

        def model(words: Any, steps: Any) -> Any:
            hidden = dense(add([embed(words), masking(steps)]))
            return pool(norm(hidden, training=True))

        return model, [embed, dense, norm]

    theirs, kept = forward(keras.layers)
    ours, made = forward(edu.layers)
    ours(words, steps), theirs(words, tf.constant(steps))
    for mine, reference in zip(made, kept, strict=True):
        mine.set_weights(reference.get_weights())
    expected = theirs(words, tf.constant(steps)).numpy()
    np.testing.assert_allclose(ours(words, steps).numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        edu.jit(ours)(edu.tensor(words), edu.tensor(steps)).numpy(),
        theirs(words, tf.constant(steps)).numpy(), rtol=0, atol=1e-5,
    )  # fmt: skip
    for mine, reference in zip(made[2].get_weights(), kept[2].get_weights(), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "case",
    [
        case("Dense", (3, 4), units=5, activation="gelu"),
        case("Conv2D", IMAGE, filters=3, kernel_size=3, activation="relu"),
        case("Embedding", (3, 4), 6, input_dim=6, output_dim=2),
        case("BatchNormalization", (5, 3)),
        case("LayerNormalization", (3, 4)),
        case("GroupNormalization", IMAGE, groups=2),
        case("UnitNormalization", (3, 4)),
        case("MaxPooling2D", IMAGE),
        case("UpSampling2D", IMAGE),
        case("Softmax", (3, 4)),
        case("Rescaling", (3, 4), 255, scale=1 / 255),
        case("Dot", PAIR, axes=1, normalize=True),
    ],
    ids=str,
)
def test_mixed_precision_computes_as_keras_does(case: Case, policy: str) -> None:
    inputs = _inputs(case, "float32")
    ours, theirs = _pair(case, inputs, policy)
    training = {"training": True} if case.name == "BatchNormalization" else {}
    found, expected = (
        ours(_as_given(case, inputs), **training),
        theirs(_as_given(case, [tf.constant(x) for x in inputs]), **training),
    )
    assert str(found.dtype) == policy.removeprefix("mixed_") == expected.dtype.name
    assert [str(w.dtype) for w in ours.weights] == [w.dtype for w in theirs.weights]
    step = 2.0**-10 if policy == "mixed_float16" else 2.0**-7
    reference = tf.cast(expected, "float32").numpy()
    limit = 4 * step * max(1.0, np.abs(reference).max())
    np.testing.assert_allclose(found.numpy().astype("float32"), reference, rtol=0, atol=limit)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=step, atol=step)


OTHER = np.roll(MASK, 1, axis=1)


@pytest.mark.parametrize(
    ("case", "masks"),
    [
        *[
            (case(name, [(3, 4, 2), (3, 4, 2)], **options), masks)
            for name, options in (
                ("Add", {}),
                ("Maximum", {}),
                ("Concatenate", {}),
                ("Concatenate", {"axis": 1}),
                ("Dot", {"axes": 2}),
            )
            for masks in ((MASK, OTHER), (MASK, None), (None, OTHER), (None, None))
        ],
        *[
            (case(name, (3, 4, 2), **options), (MASK,))
            for name, options in (
                ("Dense", {"units": 2}),
                ("Activation", {"activation": "relu"}),
                ("Dropout", {"rate": 0.5}),
                ("BatchNormalization", {}),
                ("LayerNormalization", {}),
                ("GlobalAveragePooling1D", {}),
            )
        ],
        (case("Embedding", (3, 4), 3, input_dim=3, output_dim=2, mask_zero=True), (None,)),
        (case("Embedding", (3, 4), 3, input_dim=3, output_dim=2), (None,)),
        (case("Masking", (3, 4, 1), 2), (None,)),
    ],
    ids=lambda x: str(x) if isinstance(x, Case) else "".join("-m"[m is not None] for m in x),
)
def test_the_mask_of_a_result_is_that_of_keras(case: Case, masks: Sequence[Any]) -> None:
    inputs = _as_given(case, _inputs(case, "float32"))
    given = _as_given(case, masks)
    ours = getattr(edu.layers, case.name)(**case.options)
    theirs = getattr(keras.layers, case.name)(**case.options)
    ours(inputs), theirs(inputs)
    expected = theirs.compute_mask(_tensors(inputs, tf.constant), _tensors(given, tf.constant))
    found = ours.compute_mask(_tensors(inputs, edu.tensor), _tensors(given, edu.tensor))
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


def _tensors(given: Any, make: Callable[[Any], Any]) -> Any:
    if isinstance(given, list):
        return [_tensors(x, make) for x in given]
    return None if given is None else make(given)


@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("ours", "theirs"), [("bilinear", "linear"), ("bicubic", "cubic")])
def test_upsampling_interpolates_as_jax_does(ours: str, theirs: str, order: str) -> None:
    x = np.random.default_rng(2).normal(size=(2, 5, 4, 3))
    layer = edu.layers.UpSampling2D((3, 2), order, ours, dtype="float64")
    moved = x if order == "channels_last" else np.moveaxis(x, -1, 1)
    found = layer(moved).numpy()
    with jax.enable_x64(True):
        expected = np.array(jax.image.resize(x, (2, 15, 8, 3), theirs))
    if order == "channels_first":
        expected = np.moveaxis(expected, -1, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# Data


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), None])
def test_normalization_adapts_as_keras_does(axis: Any, dtype: str) -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 4, 3)).astype(dtype)
    ours = edu.layers.Normalization(axis, dtype=dtype)
    theirs = keras.layers.Normalization(axis, dtype=dtype)
    ours.adapt(x)
    theirs.adapt(x)
    for mine, reference in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=TOLERANCES[dtype])
    found, expected = ours(x).numpy(), theirs(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=5 * TOLERANCES[dtype])
    np.testing.assert_allclose(ours.mean.numpy(), theirs.mean.numpy(), rtol=TOLERANCES[dtype])
    assert ours.variance.shape == tuple(theirs.variance.shape)
    in_batches = edu.layers.Normalization(axis, dtype=dtype)
    in_batches.adapt(x[i : i + 16] for i in range(0, 50, 16))
    for mine, reference in zip(in_batches.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=TOLERANCES[dtype])


@pytest.mark.parametrize(
    "case",
    [
        case("ActivityRegularization", (3, 4), l1=0.5, l2=0.25),
        case("Dense", (3, 4), units=5, kernel_regularizer="l2", activity_regularizer="l1"),
        case("Conv1D", SEQUENCE, filters=2, kernel_size=3, bias_regularizer="l1"),
        case("PReLU", (2, 3), alpha_regularizer="l1"),
        case("BatchNormalization", (4, 3), gamma_regularizer="l2", beta_regularizer="l1"),
    ],
    ids=str,
)
def test_what_regularizers_add_is_what_keras_adds(case: Case) -> None:
    inputs = _inputs(case, "float32")
    ours, theirs = _pair(case, inputs, "float32")
    ours(inputs[0]), theirs(tf.constant(inputs[0]))
    found, expected = ([float(x) for x in layer.losses] for layer in (ours, theirs))
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-5)


# Names and defaults

REQUIRED = inspect.Parameter.empty
BY_KEYWORD = ("name", "dtype")  # of every layer
NOT_HERE = {
    "lora_rank": "adapters are layers of their own",
    "lora_alpha": "adapters are layers of their own",
    "quantization_config": "nothing is quantized",
    "weights": "set_weights says the same",
    "synchronized": "there is one batch",
    "renorm": "batch renormalization is another formula",
    "renorm_clipping": "batch renormalization is another formula",
    "renorm_momentum": "batch renormalization is another formula",
}
PLAIN = sorted({c.name for c in CASES} | {"Lambda"})


@pytest.mark.parametrize("name", PLAIN)
def test_arguments_and_their_defaults_are_those_of_keras(name: str) -> None:
    ours = _defaults(getattr(edu.layers, name))
    theirs = _defaults(getattr(keras.layers, name))
    expected = {k: v for k, v in theirs.items() if k not in NOT_HERE}
    assert list(ours) == list(expected)
    assert {k: v for k, v in ours.items() if expected[k] is not REQUIRED} == {
        k: v for k, v in expected.items() if v is not REQUIRED
    }


def _defaults(layer: type) -> dict[str, Any]:
    """Arguments by name, with their defaults; (1, 1) is 1, and "Zeros" is "zeros"."""
    found = {}
    for name, parameter in list(inspect.signature(layer.__init__).parameters.items())[1:]:
        default = parameter.default
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY) or name in BY_KEYWORD:
            continue
        while isinstance(default, tuple) and len(set(default)) == 1:
            default = default[0]
        found[name] = default.lower() if isinstance(default, str) else default
    return found


# PyTorch


def test_linear_conv_and_batch_norm_train_as_in_torch() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 3, 6, 5))
    conv = torch.nn.Conv2d(3, 4, 3, padding=1, dtype=torch.float64)
    norm = torch.nn.BatchNorm2d(4, momentum=0.25, dtype=torch.float64)
    linear = torch.nn.Linear(4 * 6 * 5, 2, dtype=torch.float64)
    given = torch.tensor(x, requires_grad=True)
    loss = linear(norm(conv(given)).relu().flatten(1)).square().sum()
    loss.backward()

    layers = edu.layers
    settings = {"data_format": "channels_first", "dtype": "float64"}
    ours = [
        layers.Conv2D(4, 3, padding="same", **settings),
        layers.BatchNormalization(axis=1, momentum=0.75, epsilon=1e-5, dtype="float64"),
        layers.ReLU(dtype="float64"),
        layers.Flatten(dtype="float64"),  # in PyTorch's order: channels stay first
        layers.Dense(2, dtype="float64"),
    ]

    def forward(y: Any) -> Any:
        for layer in ours:
            y = layer(y, training=True)
        return y

    forward(x)
    ours[0].set_weights([_array(conv.weight).transpose(2, 3, 1, 0), _array(conv.bias)])
    ours[1].set_weights([np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)])
    ours[4].set_weights([_array(linear.weight).T, _array(linear.bias)])
    inputs = edu.tensor(x)
    with edu.GradientTape() as tape:
        tape.watch(inputs)
        found = edu.sum(edu.square(forward(inputs)))
    of_x, of_kernel, of_gamma, of_dense = tape.gradient(
        found, [inputs, ours[0].kernel, ours[1].gamma, ours[4].kernel]
    )
    pairs = [
        (found, loss),
        (of_x, given.grad),
        (of_kernel, conv.weight.grad.permute(2, 3, 1, 0)),
        (of_gamma, norm.weight.grad),
        (of_dense, linear.weight.grad.T),
        (ours[1].moving_mean, norm.running_mean),
    ]
    for mine, reference in pairs:
        np.testing.assert_allclose(mine.numpy(), _array(reference), rtol=1e-9, atol=1e-9)
    # PyTorch's running variance divides by one less than there are.
    count = 4 * 6 * 5
    unbiased = (_array(norm.running_var) - 0.75) * (count - 1) / count + 0.75
    np.testing.assert_allclose(ours[1].moving_variance.numpy(), unbiased, rtol=1e-9)


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy()


@pytest.mark.parametrize("masks", [(MASK, OTHER), (MASK, None), (None, OTHER, MASK)])
@pytest.mark.parametrize("name", ["Add", "Average", "Multiply", "Maximum", "Minimum"])
def test_what_a_mask_hides_takes_part_as_in_keras(name: str, masks: Sequence[Any]) -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(3, 4, 2)).astype("float32") for _ in masks]
    ours, theirs = list(map(edu.tensor, arrays)), list(map(tf.constant, arrays))
    for mine, other, mask in zip(ours, theirs, masks, strict=True):
        if mask is not None:
            edu.layers.base.set_mask(mine, edu.tensor(mask))
            other._keras_mask = tf.constant(mask)
    expected = getattr(keras.layers, name)()(theirs)
    np.testing.assert_array_equal(getattr(edu.layers, name)()(ours).numpy(), expected.numpy())
