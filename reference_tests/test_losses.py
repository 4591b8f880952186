"""Each loss, with each reduction, weights and options, against Keras; and against PyTorch where it
has the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import losses

from .frameworks import FRAMEWORKS

tf, torch = FRAMEWORKS["tensorflow"].module, FRAMEWORKS["torch"].module

REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]
SAMPLES, WIDTH = 6, 4

# Keras's steps and ours differ in their order, a few roundings each.
TOLERANCES = {"float64": (1e-12, 1e-13), "float32": (2e-5, 2e-6)}
# The logarithm of 2 is one of float32 in Keras, also where all else is float64.
LOG_COSH = 1e-8, 2e-9


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """A dtype, which Keras computes in too."""
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx(before)


class Case(NamedTuple):
    name: str
    options: dict[str, Any]
    y_true: np.ndarray
    y_pred: np.ndarray


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    found = np.exp(x)
    return found / found.sum(axis, keepdims=True)


def cases() -> list[Case]:
    rng = np.random.default_rng(3)
    real = rng.normal(size=(SAMPLES, WIDTH))
    logits = 2 * rng.normal(size=(SAMPLES, WIDTH))
    images = 2 * rng.normal(size=(2, WIDTH, 3))
    few = rng.uniform(0.2, 3, (SAMPLES, WIDTH))
    bits = (rng.uniform(size=(SAMPLES, WIDTH)) < 0.5).astype(float)
    classes = rng.integers(0, WIDTH, SAMPLES)
    classes[0] = 0
    one_hot = np.eye(WIDTH)[classes]
    soft = _softmax(rng.normal(size=(SAMPLES, WIDTH)))
    p, q = _softmax(logits), 1 / (1 + np.exp(-logits))
    along_1 = _softmax(images, 1), _softmax(rng.normal(size=images.shape), 1)
    named = rng.integers(0, WIDTH, (2, 3))
    sparse, from_logits = "SparseCategoricalCrossentropy", {"from_logits": True}
    smooth = {"label_smoothing": 0.1}
    found = [
        *[
            Case(name, {}, real, real + logits)
            for name in ("MeanSquaredError", "MeanAbsoluteError", "LogCosh", "Huber")
        ],
        Case("Huber", {"delta": 2.5}, real, real + logits),
        Case("MeanSquaredError", {}, images[..., 0], images[..., 1]),
        Case("MeanSquaredError", {}, images[..., 0], images[..., 1:2]),
        Case("MeanSquaredError", {}, real[:, 0], logits[:, :1]),
        Case("MeanSquaredError", {}, real[:, :1], logits[:, 0]),
        Case("MeanSquaredError", {}, np.arange(SAMPLES), logits[:, 0]),
        Case("MeanAbsolutePercentageError", {}, real, real + logits),
        Case("MeanAbsolutePercentageError", {}, bits, few),
        Case("MeanSquaredLogarithmicError", {}, few, few[::-1]),
        Case("MeanSquaredLogarithmicError", {}, bits, logits),
        Case("Poisson", {}, np.floor(few), few[::-1]),
        Case("CosineSimilarity", {}, real, logits),
        Case("CosineSimilarity", {"axis": 1}, images, images[::-1]),
        *[Case(n, {}, 2 * bits - 1, real) for n in ("Hinge", "SquaredHinge")],
        *[Case(n, {}, bits, real) for n in ("Hinge", "SquaredHinge", "CategoricalHinge")],
        Case("CategoricalHinge", {}, one_hot, logits),
        Case("KLDivergence", {}, soft, p),
        Case("KLDivergence", {}, one_hot, p),
        *[
            Case(name, options, bits, q)
            for name in ("BinaryCrossentropy", "BinaryFocalCrossentropy")
            for options in ({}, smooth, {"axis": 0})
        ],
        Case("BinaryCrossentropy", {}, bits, bits),
        Case("BinaryCrossentropy", {}, bits[:, 0], q[:, :1]),
        *[
            Case(name, from_logits | options, bits, logits)
            for name in ("BinaryCrossentropy", "BinaryFocalCrossentropy")
            for options in ({}, smooth)
        ],
        Case("BinaryFocalCrossentropy", from_logits, bits, 20 * logits),
        Case(
            "BinaryFocalCrossentropy",
            {"apply_class_balancing": True, "alpha": 0.7, "gamma": 1.5},
            bits,
            q,
        ),
        *[
            Case(name, options, targets, p)
            for name in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy")
            for options in ({}, smooth)
            for targets in (one_hot, soft)
        ],
        *[
            Case(name, from_logits | options, one_hot, logits)
            for name in ("CategoricalCrossentropy", "CategoricalFocalCrossentropy")
            for options in ({}, smooth)
        ],
        Case("CategoricalFocalCrossentropy", {"alpha": 0.5, "gamma": 1.5}, soft, p),
        Case("CategoricalCrossentropy", {}, soft, few),
        Case("CategoricalCrossentropy", {"axis": 1}, *along_1),
        Case("CategoricalCrossentropy", {"axis": 1, **from_logits}, along_1[0], images),
        Case(sparse, {}, classes, p),
        Case(sparse, {}, classes[:, None], p),
        Case(sparse, from_logits, classes, logits),
        Case(sparse, from_logits, classes.astype(float), logits),
        Case(sparse, {"ignore_class": 0}, classes, p),
        Case(sparse, {"ignore_class": -1, **from_logits}, np.where(named, named, -1), images.mT),
        *[
            Case(name, options, bits, q)
            for name in ("Dice", "Tversky")
            for options in ({}, {"axis": -1}, {"axis": (0, 1)})
        ],
        Case("Tversky", {"alpha": 0.3, "beta": 0.9, "axis": 0}, bits, q),
    ]
    return found


CASES = cases()
NAMES = [f"{i}-{c.name}{'-'.join(['', *c.options])}" for i, c in enumerate(CASES)]


def _tolerance(case: Case, dtype: str) -> tuple[float, float]:
    return LOG_COSH if (case.name, dtype) == ("LogCosh", "float64") else TOLERANCES[dtype]


def _weights(shape: tuple[int, ...]) -> list[np.ndarray | None]:
    """None, one for each sample, and one for each loss."""
    rng = np.random.default_rng(1)
    if len(shape) < 2:
        return [None, rng.uniform(size=shape or SAMPLES)]
    return [None, rng.uniform(size=(shape[0], 1)), rng.uniform(size=shape)]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_values_and_gradients_are_those_of_keras(case: Case, dtype: str) -> None:
    rtol, atol = _tolerance(case, dtype)
    y_true = case.y_true.astype(dtype) if case.y_true.dtype.kind == "f" else case.y_true
    y_pred = case.y_pred.astype(dtype)

    def expect(found: Any, expected: Any, what: Any) -> None:
        expected = np.array(expected)
        assert found.dtype == dtype
        assert found.shape == expected.shape, what
        np.testing.assert_allclose(found, expected, rtol, atol, err_msg=str(what))

    theirs, given = getattr(keras.losses, case.name), tf.Variable(y_pred)
    each = theirs(reduction="none", **case.options)(y_true, y_pred)
    for reduction in REDUCTIONS:
        loss = getattr(losses, case.name)(reduction=reduction, **case.options)
        reference = theirs(reduction=reduction, **case.options)
        for weights in _weights(tuple(each.shape)):
            what = reduction, None if weights is None else weights.shape
            expect(loss(y_true, y_pred, weights), reference(y_true, y_pred, weights), what)

    weights = _weights(tuple(each.shape))[1]
    with tf.GradientTape() as tape:
        value = theirs(**case.options)(y_true, given, weights)
    loss = getattr(losses, case.name)(**case.options)

    def trained(y_pred: Any) -> Any:
        return loss(y_true, y_pred, weights)

    expected = tape.gradient(value, given)
    expect(edu.grad(trained)(y_pred), expected, "gradient")
    compiled = edu.jit(edu.value_and_grad(trained))
    expect(compiled(y_pred)[0], value, "compiled")
    expect(compiled(y_pred)[1], expected, "compiled gradient")


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_functions_give_what_those_of_keras_give(case: Case, dtype: str) -> None:
    name = keras.src.utils.naming.to_snake_case(case.name)
    y_true, y_pred = case.y_true.astype(dtype), case.y_pred.astype(dtype)
    if name == "sparse_categorical_crossentropy":
        y_true = case.y_true
    elif y_true.ndim != y_pred.ndim:
        y_true = y_true.reshape(y_pred.shape)  # only some of Keras's functions do that
    found = getattr(losses, name)(y_true, y_pred, **case.options).numpy()
    given = y_true if case.y_true.dtype.kind == "f" else case.y_true.astype("int32")
    expected = getattr(keras.losses, name)(
        tf.constant(given.reshape(y_true.shape)), tf.constant(y_pred), **case.options
    )
    np.testing.assert_allclose(found, np.array(expected), *_tolerance(case, dtype))


def test_defaults_and_order_of_arguments_are_those_of_keras() -> None:
    for name in losses.__all__:
        theirs = getattr(keras.losses, name, None)
        if name in ("get", "Loss") or theirs is None:
            continue
        ours = [
            (p.name, p.default)
            for p in inspect.signature(getattr(losses, name)).parameters.values()
        ]
        expected = [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]
        assert ours == expected, name
    assert {name for name in dir(keras.losses) if name[0].isupper()} - set(losses.__all__) == {
        "CTC",
        "CategoricalGeneralizedCrossEntropy",
        "Circle",
    }


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_masks_weigh_as_in_keras(reduction: str | None, dtype: str) -> None:
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, 3, 5, 2)).astype(dtype)
    masks = [rng.uniform(size=(3, 5)) < 0.6, np.zeros((3, 5), bool)]
    for mask in masks:
        for weights in (None, rng.uniform(size=(3, 5)), rng.uniform(size=(3, 1))):
            given = tf.constant(y_pred)
            keras.src.backend.set_keras_mask(given, tf.constant(mask))
            expected = keras.losses.MeanSquaredError(reduction)(y_true, given, weights)
            found = losses.MeanSquaredError(reduction)(y_true, y_pred, weights, mask=mask)
            np.testing.assert_allclose(found, np.array(expected), *TOLERANCES[dtype])
    # Beside a class that is ignored, too.
    classes = rng.integers(-1, 2, (3, 5))
    given = tf.constant(y_pred)
    keras.src.backend.set_keras_mask(given, tf.constant(masks[0]))
    options = {"from_logits": True, "ignore_class": -1, "reduction": reduction}
    expected = keras.losses.SparseCategoricalCrossentropy(**options)(classes, given)
    found = losses.SparseCategoricalCrossentropy(**options)(classes, y_pred, mask=masks[0])
    np.testing.assert_allclose(found, np.array(expected), *TOLERANCES[dtype])


def _as_in_pytorch() -> list[tuple[Case, Callable[[Any, Any], Any]]]:
    """Losses that PyTorch has too, and how it writes them for targets t and predictions p."""
    F = torch.nn.functional
    rng = np.random.default_rng(5)
    real, logits = rng.normal(size=(2, SAMPLES, WIDTH))
    bits = (real > 0) * 1.0
    p, soft = _softmax(logits), _softmax(real)
    counts = np.floor(abs(4 * real))
    classes, images = rng.integers(0, WIDTH, (SAMPLES, 2)), rng.normal(size=(SAMPLES, WIDTH, 2))
    sparse, from_logits = "SparseCategoricalCrossentropy", {"from_logits": True}
    return [
        (Case("MeanSquaredError", {}, real, logits), lambda t, p: F.mse_loss(p, t)),
        (Case("MeanAbsoluteError", {}, real, logits), lambda t, p: F.l1_loss(p, t)),
        (
            Case("Huber", {"delta": 0.7}, real, logits),
            lambda t, p: F.huber_loss(p, t, delta=0.7),
        ),
        (
            Case("CosineSimilarity", {}, real, logits),
            lambda t, p: -F.cosine_similarity(p, t).mean(),
        ),
        (
            Case("Poisson", {}, counts, soft),
            lambda t, p: F.poisson_nll_loss(p, t, log_input=False, eps=1e-7),
        ),
        (
            Case("KLDivergence", {}, soft, p),
            lambda t, p: F.kl_div(p.log(), t, reduction="batchmean"),
        ),
        (Case("BinaryCrossentropy", {}, bits, p), lambda t, p: F.binary_cross_entropy(p, t)),
        (
            Case("BinaryCrossentropy", from_logits, bits, logits),
            lambda t, p: F.binary_cross_entropy_with_logits(p, t),
        ),
        (
            Case("CategoricalCrossentropy", {"label_smoothing": 0.2, **from_logits}, soft, logits),
            lambda t, p: F.cross_entropy(p, t, label_smoothing=0.2),
        ),
        (
            Case(sparse, {"axis": 1, **from_logits}, classes, images),
            lambda t, p: F.cross_entropy(p, t),
        ),
        (
            Case(sparse, {"axis": 1, "ignore_class": 0, **from_logits}, classes, images),
            lambda t, p: F.cross_entropy(p, t, ignore_index=0),
        ),
    ]


@pytest.mark.parametrize(("case", "theirs"), _as_in_pytorch(), ids=lambda x: getattr(x, "name", ""))
def test_values_and_gradients_are_those_of_pytorch(
    case: Case, theirs: Callable[[Any, Any], Any]
) -> None:
    given = torch.tensor(case.y_pred, requires_grad=True)
    expected = theirs(torch.tensor(case.y_true), given)
    expected.backward()
    loss = getattr(losses, case.name)(**case.options)
    value, slope = edu.value_and_grad(lambda y_pred: loss(case.y_true, y_pred))(case.y_pred)
    np.testing.assert_allclose(value, expected.detach().numpy(), 1e-12)
    np.testing.assert_allclose(slope, given.grad.numpy(), 1e-11, 1e-13)


@pytest.mark.parametrize("device", ["numpy", "xla"])
@pytest.mark.parametrize("targets", [[[1.0, 0, 0]] * 3, [[0.0, 0, 0]] * 3])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_nan_stays_one_whatever_its_class_weighs_and_is_no_other_samples(
    targets: Any, device: str
) -> None:
    logits = np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0], [1.0, -np.inf, 0.0]], "float32")
    cross_entropy = torch.nn.functional.cross_entropy
    wanted = cross_entropy(torch.tensor(logits), torch.tensor(targets), reduction="none").numpy()
    # -inf without a weight costs nothing here, and is NaN in PyTorch.
    wanted[2] = np.log1p(np.exp(-1)) * targets[2][0]
    assert np.isnan(wanted).tolist() == [True, False, False]
    with edu.device(device):
        for function in (losses.categorical_crossentropy, edu.jit(losses.categorical_crossentropy)):
            found = function(np.array(targets, "float32"), logits, from_logits=True)
            np.testing.assert_allclose(found.numpy(), wanted, 1e-6)
