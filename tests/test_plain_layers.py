"""Layers without a memory where no framework is needed: what they refuse, what chance does, state
in compiled programs, masks, and copies. `reference_tests` holds values against Keras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import layers
from tinygrad_edu.errors import ArgumentError, DtypeError, OutOfRangeError, ShapeError
from tinygrad_edu.layers import activations

ONES = np.ones((2, 6, 6, 4), "float32")


# What is refused


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: layers.Dense(0), "Dense: units is an integer from 1 on, not 0"),
        (lambda: layers.Dense(-2), "Dense: units is an integer from 1 on, not -2"),
        (lambda: layers.Dense(2.5), "Dense: units is an integer from 1 on, not 2.5"),
        (lambda: layers.Dense(2, "rellu"), "Dense: activation: no 'rellu'; did you mean 'relu'"),
        (lambda: layers.Dense(2, 7), "Dense: activation: 7 is none"),
        (
            lambda: layers.Dense(2, bias_initializer="zeroes"),
            "Dense: bias_initializer: no 'zeroes'; did you mean 'zeros'",
        ),
        (
            lambda: layers.Conv1D(2, 3, kernel_regularizer="l1_l3"),
            "Conv1D: kernel_regularizer: no 'l1_l3'; did you mean",
        ),
        (
            lambda: layers.Conv2D(2, 3, padding="sane"),
            "Conv2D: padding is 'valid' or 'same', not 'sane'; did you mean 'same'?",
        ),
        (lambda: layers.Conv2D(2, 3, padding="causal"), "Conv2D: padding is 'valid' or 'same'"),
        (lambda: layers.Conv1D(2, 3, padding="casual"), "did you mean 'causal'?"),
        (
            lambda: layers.MaxPooling2D(data_format="channel_last"),
            "data_format is 'channels_last' or 'channels_first', not 'channel_last'; did you mean",
        ),
        (lambda: layers.Conv2D(0, 3), "Conv2D: filters is an integer from 1 on, not 0"),
        (
            lambda: layers.Conv2D(3, (3, 3, 3)),
            "Conv2D: kernel_size is an integer, or 2 of them, not (3, 3, 3)",
        ),
        (
            lambda: layers.Conv2DTranspose(3, 2, strides=(2, 1), output_padding=1),
            "Conv2DTranspose: output_padding is less than strides, (2, 1), along each axis",
        ),
        (lambda: layers.Conv2D(3, 2, strides=(1, 0)), "Conv2D: strides is an integer from 1 on"),
        (lambda: layers.Conv2D(3, 2, groups=2), "Conv2D: 2 groups do not divide 3 filters"),
        (
            lambda: layers.Conv2D(3, 2, strides=2, dilation_rate=2),
            "Conv2D: strides (2, 2) and dilation_rate (2, 2) are not both above 1",
        ),
        (lambda: layers.DepthwiseConv2D(2, depth_multiplier=0), "depth_multiplier is an integer"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "ZeroPadding2D: padding is an integer, or one"),
        (lambda: layers.ZeroPadding1D(-1), "ZeroPadding1D: padding is an integer from 0 on"),
        (
            lambda: layers.UpSampling2D(interpolation="bilinar"),
            "UpSampling2D: interpolation is 'nearest' or 'bilinear' or 'bicubic', not 'bilinar'",
        ),
        (lambda: layers.Dropout(1.0), "Dropout: rate is a number in [0, 1), not 1.0"),
        (lambda: layers.SpatialDropout1D(-0.1), "SpatialDropout1D: rate is a number in [0, 1)"),
        (lambda: layers.Dropout("half"), "Dropout: rate is a number in [0, 1), not 'half'"),
        (lambda: layers.GaussianNoise(-1), "GaussianNoise: stddev is a number from 0 on, not -1"),
        (lambda: layers.ReLU(negative_slope=-1.0), "ReLU: negative_slope is a number from 0 on"),
        (lambda: layers.ELU("x"), "ELU: alpha is a number, not 'x'"),
        (
            lambda: layers.BatchNormalization(momentum=1.5),
            "momentum is a number in [0, 1], not 1.5",
        ),
        (lambda: layers.Normalization(mean=0, variance=-1.0), "variance is from 0 on, not -1.0"),
        (lambda: layers.Embedding(0, 2), "Embedding: input_dim is an integer from 1 on, not 0"),
        (lambda: layers.Reshape((-1, -1)), "Reshape: target_shape has one -1 at most"),
        (lambda: layers.Permute((0, 1)), "Permute: dims are an order of an example's axes"),
        (lambda: layers.Normalization(mean=1.0), "mean and variance are both given, or neither"),
        (lambda: layers.GroupNormalization(0), "GroupNormalization: groups is an integer from 1"),
        (
            lambda: layers.Dot((1, 2, 3)),
            "Dot: axes is an axis, or one of each input, not (1, 2, 3)",
        ),
        (lambda: layers.Lambda(3), "Lambda: function is 3; it is a function"),
    ],
)
def test_an_argument_that_cannot_be_is_named(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "inputs", "said"),
    [
        (layers.Dense(2), np.ones(3), "takes inputs of at least 2 axes, and this has 1"),
        (layers.Conv2D(2, 3), np.ones((6, 6, 4)), "takes inputs of 4 axes, and this has 3"),
        (layers.MaxPooling1D(), ONES, "takes inputs of 3 axes, and this has 4"),
        (layers.RepeatVector(2), ONES, "takes inputs of 2 axes, and this has 4"),
        (layers.Permute((2, 1)), ONES, "takes inputs of 3 axes, and this has 4"),
        (layers.Conv2D(3, 2, groups=3), ONES, "Conv2D: 3 groups do not divide the 4 channels"),
        (layers.GroupNormalization(3), ONES, "3 groups do not divide the 4 features"),
        (layers.BatchNormalization(axis=4), ONES, "axis 4 is out of range for 4 dimensions"),
        (layers.LayerNormalization(axis=0), ONES, "axis 0 counts the examples"),
        (layers.Conv2D(2, 7), ONES, "Conv2D: a window that spans 7 does not fit 6 inputs"),
        (layers.MaxPooling2D(7), ONES, "MaxPooling2D: a window that spans 7 does not fit 6"),
        (layers.Cropping2D(3), ONES, "Cropping2D: cropping ((3, 3), (3, 3)) leaves nothing"),
        (layers.Reshape((5, -1)), ONES, "Reshape: 144 elements of an example of shape (6, 6, 4)"),
        (layers.Dropout(0.5, (1, 1)), ONES, "noise_shape (1, 1) has not the 4 axes"),
        (layers.Add(), ONES, "Add: takes a list of Tensors, and inputs are one"),
        (layers.Subtract(), [ONES] * 3, "Subtract: takes a list of 2 inputs, not of 3"),
        (layers.Add(), [np.ones((2, 3)), np.ones((2, 4))], "Add: inputs of shapes"),
        (layers.Concatenate(), [np.ones((2, 3)), np.ones((3, 3))], "differ beside axis 1"),
        (layers.Dot(1), [np.ones((2, 3)), np.ones((2, 4))], "are not of one size"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer: Any, inputs: Any, said: str) -> None:
    with pytest.raises((ShapeError, ArgumentError)) as caught:
        layer(inputs, training=True)
    assert said in str(caught.value)
    assert type(layer).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (layers.Dense(2), -1),
        (layers.Conv2D(2, 3), -1),
        (layers.Conv2DTranspose(2, 3, data_format="channels_first"), 1),
        (layers.SeparableConv2D(2, 3), -1),
        (layers.DepthwiseConv2D(3), -1),
        (layers.PReLU(shared_axes=(1, 2)), 3),
        (layers.BatchNormalization(), -1),
        (layers.LayerNormalization(axis=2), 2),
        (layers.RMSNormalization(), -1),
    ],
)
def test_a_layer_keeps_the_features_that_it_was_built_for(layer: Any, axis: int) -> None:
    layer(ONES)
    other = np.repeat(ONES, 2, axis)
    with pytest.raises(ShapeError, match=f"with {ONES.shape[axis]} in axis {axis}, and this has"):
        layer(other)


def test_sizes_that_weights_need_are_to_be_known() -> None:
    with pytest.raises(ShapeError, match=r"Dense: .* axis -1, whose size is not known"):
        layers.Dense(2).build((None, 3, None))
    with pytest.raises(ShapeError, match=r"BatchNormalization: .* axis 1"):
        layers.BatchNormalization(axis=1).build((None, None, 3))


def test_a_row_that_an_embedding_does_not_have_is_refused() -> None:
    layer = layers.Embedding(3, 2)
    with pytest.raises(OutOfRangeError, match="Embedding: 3 is out of range"):
        layer(np.array([[1, 3]]))
    assert layer(np.array([[1.0, 2.0]])).shape == (1, 2, 2)  # whole numbers, as floats


# Chance


NOISE = [
    layers.Dropout(0.25),
    layers.GaussianDropout(0.25),
    layers.GaussianNoise(0.5),
    layers.AlphaDropout(0.25),
]


@pytest.mark.parametrize("layer", NOISE, ids=lambda layer: layer.name)
def test_noise_keeps_mean_and_spread_as_it_says(layer: Any) -> None:
    edu.random.seed(3)
    normal = np.random.default_rng(0).normal(size=(300, 400)).astype("float32")
    assert np.array_equal(layer(normal).numpy(), normal)
    assert np.array_equal(layer(normal, training=False).numpy(), normal)
    noisy = layer(normal, training=True).numpy()
    # Of 120,000 numbers: a mean is off by 0.003 at one standard deviation.
    variance = {"gaussian_noise": 1.25, "alpha_dropout": 1.0}.get(layer.name, 1 / 0.75)
    assert noisy.mean() == pytest.approx(0, abs=0.02)
    assert noisy.var() == pytest.approx(variance, abs=0.03)


def test_dropout_scales_what_it_keeps_and_its_gradient() -> None:
    layer, x = layers.Dropout(0.25), edu.tensor(np.full((100, 100), 3.0, "float32"))
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    kept = y.numpy() != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.02)
    np.testing.assert_allclose(y.numpy()[kept], 4.0, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), kept / 0.75, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "together"),
    [
        (layers.SpatialDropout2D(0.5), (1, 2)),
        (layers.SpatialDropout2D(0.5, "channels_first"), (2, 3)),
        (layers.Dropout(0.5, (None, 1, None, 1)), (1, 3)),
    ],
)
def test_what_shares_noise_is_dropped_together(layer: Any, together: tuple[int, ...]) -> None:
    dropped = layer(np.ones((8, 5, 6, 7), "float32"), training=True).numpy() == 0
    assert np.array_equal(dropped.all(together), dropped.any(together))
    assert 0.2 < dropped.mean() < 0.8


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_a_seed_of_its_own_makes_a_layer_repeatable(compiled: bool) -> None:
    def draws(seed: int) -> list[np.ndarray]:
        layer = layers.Dropout(0.5, seed=seed)
        step = edu.jit(lambda x: layer(x, training=True)) if compiled else layer
        given: dict[str, Any] = {} if compiled else {"training": True}
        return [step(edu.ones((4, 9)), **given).numpy() for _ in range(3)]

    first, again, other = draws(1), draws(1), draws(2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])


def test_the_seed_of_the_default_generator_makes_dropout_repeatable() -> None:
    layer = layers.Dropout(0.5)
    step = edu.jit(lambda x: layer(x, training=True))
    found = []
    for run in (lambda x: layer(x, training=True), step):
        edu.random.seed(5)
        found.append([run(edu.ones((4, 9))).numpy() for _ in range(3)])
    assert np.array_equal(*found)
    assert not np.array_equal(found[0][0], found[0][1])


def test_a_generator_that_goes_on_gives_what_it_would_have_given() -> None:
    layer, copy = layers.Dropout(0.5, seed=1), layers.Dropout(0.5, seed=1)
    x = np.ones((3, 8), "float32")
    layer(x, training=True)
    copy(x)
    for path, state in layer.weight_paths().items():
        copy.weight_paths()[path].assign(state)
    assert np.array_equal(layer(x, training=True).numpy(), copy(x, training=True).numpy())


# Values that mathematics gives


def test_sparsemax_is_the_nearest_point_of_the_simplex() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) * 2
    found = activations.sparsemax(x).numpy()
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)
    assert found.min() == 0
    # No point of the simplex is closer.
    others = rng.dirichlet(np.full(6, 0.3), size=(500, 1))
    distance = ((found - x) ** 2).sum(-1)
    assert (((others - x) ** 2).sum(-1) >= distance - 1e-12).all()
    edu.check_grads(lambda t: activations.sparsemax(t), (x[:5],))
    across = activations.sparsemax(x.T, axis=0).numpy()
    np.testing.assert_allclose(across, found.T, rtol=1e-12)


def test_a_masked_batch_has_the_statistics_of_what_is_shown() -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.normal(2, 3, size=(3, 4, 2, 5)), rng.uniform(size=(3, 4)) < 0.6
    layer = layers.BatchNormalization(momentum=0.0, epsilon=0.0, dtype="float64")
    layer(x, training=True, mask=edu.tensor(mask))
    shown = x[mask].reshape(-1, 5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), shown.mean(0), rtol=1e-7)
    np.testing.assert_allclose(layer.moving_variance.numpy(), shown.var(0), rtol=1e-7)
    with pytest.raises(ShapeError, match=r"a mask of shape \(4, 3\) is not for inputs"):
        layer(x, training=True, mask=edu.tensor(mask.T))


@pytest.mark.parametrize("length", [1e-9, 1e-11, 1e-13, 0.0])
def test_unit_normalization_counts_no_length_below_its_least(length: float) -> None:
    x = np.array([[0.6, 0.8]]) * length
    found = layers.UnitNormalization()(x)
    np.testing.assert_allclose(found.numpy(), x / max(length, 1e-12), rtol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        layers.BatchNormalization,
        layers.LayerNormalization,
        partial(layers.GroupNormalization, 3),
        layers.RMSNormalization,
        layers.UnitNormalization,
    ],
)
@pytest.mark.parametrize("policy", ["float64", "mixed_float16"])
def test_integers_are_normalized_in_the_dtype_of_the_layer(kind: Any, policy: str) -> None:
    numbers = np.arange(24).reshape(2, 4, 3)
    layer = kind(dtype=policy)
    found, expected = layer(numbers), layer(numbers.astype("float64"))
    assert found.dtype == layer.compute_dtype
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_nothing_is_nan_where_all_features_are_0() -> None:
    x = edu.tensor(np.zeros((2, 3), "float32"))
    for layer in (layers.UnitNormalization(), layers.LayerNormalization(), layers.Softmax()):
        with edu.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        assert np.isfinite(y.numpy()).all()
        assert np.isfinite(tape.gradient(y, x).numpy()).all()


# State in compiled programs


def test_moving_statistics_of_a_compiled_step_are_those_of_an_eager_one() -> None:
    x = np.random.default_rng(0).normal(1, 2, (8, 3)).astype("float32")
    eager, compiled = layers.BatchNormalization(), layers.BatchNormalization()
    eager(x), compiled(x)
    step = edu.jit(lambda x: compiled(x, training=True))
    for _ in range(3):
        expected = eager(x, training=True)
        np.testing.assert_allclose(step(edu.tensor(x)).numpy(), expected.numpy(), atol=1e-6)
    for mine, reference in zip(compiled.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-6)
    before = compiled.get_weights()
    edu.jit(lambda x: compiled(x))(edu.tensor(x))
    assert np.array_equal(before[2], compiled.get_weights()[2])


def test_the_moving_statistics_are_not_trained() -> None:
    layer = layers.BatchNormalization()
    layer(np.ones((2, 3)))
    assert [v.name for v in layer.trainable_weights] == ["gamma", "beta"]
    assert [v.name for v in layer.non_trainable_weights] == ["moving_mean", "moving_variance"]


# Devices and transforms


MADE = [
    (lambda: layers.Dense(3, "gelu"), (4, 5)),
    (lambda: layers.Conv2D(4, 3, padding="same", groups=2), (2, 5, 4, 2)),
    (lambda: layers.Conv2DTranspose(3, 2, strides=2), (2, 3, 4, 2)),
    (lambda: layers.SeparableConv1D(3, 2), (2, 5, 3)),
    (lambda: layers.MaxPooling2D(), (2, 4, 4, 2)),
    (lambda: layers.UpSampling2D(interpolation="bicubic"), (1, 3, 3, 2)),
    (lambda: layers.BatchNormalization(), (4, 3)),
    (lambda: layers.GroupNormalization(2), (2, 3, 4)),
    (lambda: layers.RMSNormalization(), (3, 4)),
    (lambda: layers.UnitNormalization(), (3, 4)),
    (lambda: layers.PReLU("ones"), (3, 4)),
    (lambda: layers.Reshape((2, -1)), (3, 4)),
    (lambda: layers.Cropping1D(1), (2, 5, 3)),
    (lambda: layers.Normalization(mean=1.0, variance=4.0), (3, 4)),
]


@pytest.mark.parametrize(("make", "shape"), MADE, ids=lambda x: x().name if callable(x) else "")
def test_a_layer_computes_the_same_on_each_device(
    make: Callable[[], Any], shape: tuple[int, ...], device: str
) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = make()
    with edu.device("numpy"):
        reference = make()
        expected = reference(edu.tensor(x)).numpy()
    layer(x)
    layer.set_weights(reference.get_weights())
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=0, atol=1e-5)
    found = edu.jit(lambda x: layer(x))(edu.tensor(x))
    assert found.device == device
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("make", "shape"), MADE, ids=lambda x: x().name if callable(x) else "")
def test_vmap_and_grad_go_through_a_layer(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(3, *shape))
    layer = make()
    layer(x[0])
    expected = [layer(each).numpy() for each in x]
    np.testing.assert_allclose(edu.vmap(layer)(edu.tensor(x)).numpy(), expected, atol=1e-5)
    slopes = edu.vmap(edu.grad(lambda t: edu.sum(layer(t) ** 2)))(edu.tensor(x))
    one = edu.grad(lambda t: edu.sum(layer(t) ** 2))(edu.tensor(x[1]))
    np.testing.assert_allclose(slopes.numpy()[1], one.numpy(), rtol=0, atol=1e-4)


# Functions, data, copies


def test_a_lambda_passes_what_its_function_names() -> None:
    def scaled(x: Any, training: bool, by: float) -> Any:
        return x * (by if training else 1.0)

    layer = layers.Lambda(scaled, arguments={"by": 3.0})
    assert layer(np.ones((1, 2)), training=True).tolist() == [[3.0, 3.0]]
    assert layer(np.ones((1, 2)), training=False).tolist() == [[1.0, 1.0]]
    assert layers.Lambda(edu.square)(np.full((1, 1), 3.0)).item() == 9


def test_normalization_refuses_to_adapt_where_it_cannot() -> None:
    with pytest.raises(ArgumentError, match="mean and variance were given"):
        layers.Normalization(mean=0.0, variance=1.0).adapt(np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="there is nothing to adapt to"):
        layers.Normalization().adapt(np.ones((0, 2)))
    layer = layers.Normalization()
    layer.adapt([[1.0, 2.0], [3.0, 2.0]])
    with pytest.raises(ShapeError, match="adapt: takes inputs with 2 in axis 1, and this has 1"):
        layer.adapt(np.ones((4, 1)))
    with pytest.raises(ShapeError, match="with 2 in axis 1, and this has 3"):
        layer(np.ones((2, 3)))


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(3, "tanh", kernel_regularizer="l2", name="hidden"),
        layers.Conv2D(4, (2, 1), groups=2, bias_initializer=edu.initializers.Constant(2.0)),
        layers.Dropout(0.5, seed=3),
        layers.Activation(edu.ops.relu),
        layers.Activation(layers.LeakyReLU(0.5)),
        layers.BatchNormalization(momentum=0.5, trainable=False),
        layers.Normalization(mean=[1.0] * 4, variance=[2.0] * 4),
        layers.Rescaling(2.0, dtype="float64"),
    ],
    ids=lambda layer: layer.name,
)
def test_a_configuration_makes_the_same_layer_again(layer: Any) -> None:
    from tinygrad_edu import registry

    again = registry.deserialize(registry.serialize(layer))
    assert type(again) is type(layer)
    assert registry.serialize(again) == registry.serialize(layer)
    assert again.name == layer.name
    assert again.trainable is layer.trainable
    layer(ONES), again(ONES)
    again.set_weights(layer.get_weights())
    assert np.array_equal(again(ONES).numpy(), layer(ONES).numpy())


def test_layers_take_no_text() -> None:
    with pytest.raises((DtypeError, ArgumentError)):
        layers.Dense(2)("some text")
