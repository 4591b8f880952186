"""Recurrent layers against Keras's, and LSTM and GRU against PyTorch's, with the same weights:
outputs, states, and gradients with respect to inputs, initial states and weights; with masks, and
states that are carried from batch to batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import tinygrad_edu as edu

from .frameworks import FRAMEWORKS

tf, torch = FRAMEWORKS["tensorflow"].module, FRAMEWORKS["torch"].module

BATCH, STEPS, FEATURES = 3, 5, 4

# The rounding of five steps, of the largest number.
TOLERANCES = {"float64": 1e-9, "float32": 2e-5}

# Steps that count after some that do not, none behind the last, and none at all.
MASK = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)

LAYERS = [
    "SimpleRNN(3)",
    "SimpleRNN(3, 'relu', use_bias=False, return_sequences=True, return_state=True)",
    "LSTM(3)",
    "LSTM(3, return_sequences=True, return_state=True)",
    "LSTM(3, return_sequences=True, go_backwards=True)",
    "LSTM(3, 'softsign', 'hard_sigmoid', use_bias=False, return_state=True, unroll=True)",
    "LSTM(3, return_state=True, zero_output_for_mask=True)",
    "GRU(3)",
    "GRU(3, return_sequences=True, return_state=True)",
    "GRU(3, return_state=True, reset_after=False)",
    "GRU(3, 'relu', 'softplus', use_bias=False, go_backwards=True)",
    "GRU(3, return_sequences=True, reset_after=False, use_bias=False, unroll=True)",
    "GRU(3, return_sequences=True, zero_output_for_mask=True)",
    "RNN(SimpleRNNCell(3), return_state=True)",
    "RNN(StackedRNNCells([GRUCell(2), LSTMCell(3)]), return_sequences=True)",
    "RNN([LSTMCell(2), GRUCell(3, reset_after=False), SimpleRNNCell(4)], go_backwards=True)",
    "Bidirectional(LSTM(3, return_sequences=True, return_state=True))",
    "Bidirectional(GRU(3), merge_mode='sum')",
    "Bidirectional(GRU(3, return_sequences=True), merge_mode='mul')",
    "Bidirectional(SimpleRNN(3, return_state=True), merge_mode='ave')",
    "Bidirectional(LSTM(3, return_sequences=True, return_state=True), merge_mode=None)",
    "Bidirectional(LSTM(3), backward_layer=LSTM(2, 'relu', go_backwards=True))",
    "Bidirectional(GRU(2, return_sequences=True, zero_output_for_mask=True))",
]
COMPILED = [LAYERS[i] for i in (1, 3, 4, 8, 9, 14, 16)]


class Results(NamedTuple):
    """What a layer gives, outputs and states, and the gradients of a sum over all of it."""

    values: list[np.ndarray]
    of_inputs: list[np.ndarray]
    of_weights: list[np.ndarray]


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """A dtype that layers of both sides compute in."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    edu.layers.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
    edu.layers.set_dtype_policy("float32")


def _drawn(seed: int, shape: Sequence[int], dtype: Any) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype(dtype)


def _pair(text: str, shape: Sequence[int], dtype: str) -> tuple[Any, Any]:
    """Our layer and Keras's, built for the shape, with the same weights."""
    ours, theirs = eval(text, vars(edu.layers).copy()), eval(text, vars(keras.layers).copy())
    ours(np.zeros(shape))
    theirs.build(tuple(shape))
    assert [v.shape for v in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [v.name for v in ours.weights] == [w.name for w in theirs.weights]
    weights = [_drawn(i, v.shape, dtype) for i, v in enumerate(ours.weights)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def _starts(layer: Any, dtype: str) -> list[np.ndarray]:
    """Initial states, in a row."""
    wrapped = hasattr(layer, "forward_layer")
    parts = [layer.forward_layer, layer.backward_layer] if wrapped else [layer]
    sizes = [x.shape for part in parts for x in edu.tree.leaves(part.cell.get_initial_state(BATCH))]
    return [_drawn(20 + i, shape, dtype) for i, shape in enumerate(sizes)]


def _weighed(values: Sequence[Any], total: Any) -> Any:
    """One number of many."""
    parts = [total(y * _drawn(40 + i, y.shape, y.dtype)) for i, y in enumerate(values)]
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found


def _ours(layer: Any, x: Any, starts: Sequence[Any], mask: Any) -> Any:
    inputs = [edu.ops.asarray(a) for a in (x, *starts)]
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        given = {"initial_state": inputs[1:]} if starts else {}
        values = edu.tree.leaves(layer(inputs[0], mask=mask, **given))
        total = _weighed(values, edu.sum)
    gradients = tape.gradient(total, inputs), tape.gradient(total, layer.trainable_weights)
    return values, *gradients


def _theirs(layer: Any, x: np.ndarray, starts: Sequence[np.ndarray], mask: Any) -> Results:
    inputs = [tf.constant(a) for a in (x, *starts)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        given = {"initial_state": inputs[1:]} if starts else {}
        values = tf.nest.flatten(layer(inputs[0], mask=mask, **given))
        total = _weighed([_Named(y) for y in values], tf.reduce_sum)
    of_inputs = tape.gradient(total, inputs, unconnected_gradients="zero")
    of_weights = tape.gradient(total, [w.value for w in layer.trainable_weights])
    return Results(*[[np.array(a) for a in each] for each in (values, of_inputs, of_weights)])


class _Named:
    """A TensorFlow Tensor whose shape and dtype NumPy knows."""

    def __init__(self, x: Any) -> None:
        self.x, self.shape, self.dtype = x, tuple(x.shape), x.dtype.as_numpy_dtype

    def __mul__(self, other: np.ndarray) -> Any:
        return self.x * other


def _assert_agree(found: Any, expected: Results, tolerance: float) -> None:
    for kind, mine, reference in zip(Results._fields, found, expected, strict=True):
        for i, (x, y) in enumerate(zip(mine, reference, strict=True)):
            limit = tolerance * max(1.0, float(np.abs(y).max()))
            np.testing.assert_allclose(
                x.numpy(), y, rtol=0, atol=limit, err_msg=f"{kind} {i}", strict=True
            )


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_agrees_with_keras(text: str, dtype: str) -> None:
    shape = (BATCH, STEPS, FEATURES)
    ours, theirs = _pair(text, shape, dtype)
    x = _drawn(9, shape, dtype)
    starts = _starts(ours, dtype)
    # Keras takes the states of several cells in lists of lists only.
    settings = [([], None), ([], MASK)]
    settings += [] if "Cell" in text else [(starts, None), (starts, MASK)]
    for start, mask in settings:
        expected = _theirs(theirs, x, start, None if mask is None else tf.constant(mask))
        _assert_agree(_ours(ours, x, start, mask), expected, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
@pytest.mark.parametrize("text", COMPILED)
def test_compiled_it_agrees_too(text: str, dtype: str) -> None:
    shape = (BATCH, STEPS, FEATURES)
    ours, theirs = _pair(text, shape, dtype)
    x = _drawn(9, shape, dtype)
    starts = [] if "Cell" in text else _starts(ours, dtype)
    expected = _theirs(theirs, x, starts, tf.constant(MASK))
    step = edu.jit(lambda x, starts, mask: _ours(ours, x, starts, mask))
    _assert_agree(step(x, starts, MASK), expected, TOLERANCES[dtype])


@pytest.mark.parametrize("text", ["LSTM(3, stateful=True)", "GRU(3, stateful=True)"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
def test_states_are_carried_from_batch_to_batch(text: str, compiled: bool, dtype: str) -> None:
    shape = (BATCH, STEPS, FEATURES)
    ours, theirs = _pair(text, shape, dtype)
    theirs(np.zeros(shape))
    ours.reset_state()
    theirs.reset_state()
    call = edu.jit(lambda x: ours(x)) if compiled else ours
    for turn in range(4):
        x = _drawn(turn, shape, dtype)
        if turn == 3:
            ours.reset_state()
            theirs.reset_state()
        np.testing.assert_allclose(call(x).numpy(), np.array(theirs(x)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("TimeDistributed(Dense(2, 'tanh'))", (BATCH, STEPS, FEATURES)),
        ("TimeDistributed(GRU(2))", (BATCH, STEPS, 3, FEATURES)),
        ("TimeDistributed(Conv1D(2, 2))", (BATCH, STEPS, 4, 2)),
    ],
)
def test_time_distributed_agrees_with_keras(text: str, shape: Any, dtype: str) -> None:
    ours, theirs = _pair(text, shape, dtype)
    x = _drawn(9, shape, dtype)
    _assert_agree(_ours(ours, x, [], None), _theirs(theirs, x, [], None), TOLERANCES[dtype])


@pytest.mark.parametrize("text", LAYERS)
def test_the_masks_of_results_are_those_of_keras(text: str) -> None:
    ours, theirs = _pair(text, (BATCH, STEPS, FEATURES), "float32")
    x = np.zeros((BATCH, STEPS, FEATURES), "float32")
    (found, expected) = (
        [y is not None for y in (masks if isinstance(masks, (list, tuple)) else [masks])]
        for masks in (ours.compute_mask(x, MASK), theirs.compute_mask(x, MASK))
    )
    assert found[: len(expected)] == expected
    assert not any(found[len(expected) :])


NOT_HERE = {"use_cudnn", "weights"}


@pytest.mark.parametrize(
    "name",
    [
        "SimpleRNN",
        "LSTM",
        "GRU",
        "RNN",
        "SimpleRNNCell",
        "LSTMCell",
        "GRUCell",
        "StackedRNNCells",
        "Bidirectional",
        "TimeDistributed",
    ],
)
def test_arguments_and_their_defaults_are_those_of_keras(name: str) -> None:
    found, expected = (
        {
            key: each.default
            for key, each in inspect.signature(getattr(layers, name)).parameters.items()
            if each.kind is not each.VAR_KEYWORD and key not in NOT_HERE
        }
        for layers in (edu.layers, keras.layers)
    )
    assert list(found.items()) == list(expected.items())


# PyTorch


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_lstm_and_gru_agree_with_torch(name: str, bidirectional: bool) -> None:
    options = {"batch_first": True, "bidirectional": bidirectional, "dtype": torch.float64}
    theirs = getattr(torch.nn, name)(FEATURES, 3, **options)
    ours = getattr(edu.layers, name)(3, return_sequences=True, return_state=True, dtype="float64")
    if bidirectional:
        ours = edu.layers.Bidirectional(ours, dtype="float64")
    x = _drawn(9, (BATCH, STEPS, FEATURES), "float64")
    ours(x)
    with torch.no_grad():  # PyTorch's first values are small
        for p in theirs.parameters():
            p *= 3
    ours.set_weights(_from_torch(name, [_array(p) for p in theirs.parameters()]))
    given = torch.tensor(x, requires_grad=True)
    outputs, states = theirs(given)
    cotangent = _drawn(3, outputs.shape, "float64")
    (outputs * torch.tensor(cotangent)).sum().backward()

    xs = edu.tensor(x)
    with edu.GradientTape() as tape:
        tape.watch(xs)
        found, *held = ours(xs)
        total = edu.sum(found * cotangent)
    of_x, *of_weights = tape.gradient(total, [xs, *ours.weights])
    by_layer = torch.stack(list(states)) if name == "LSTM" else states[None]
    expected = _array(by_layer.transpose(0, 1)).reshape(-1, BATCH, 3)
    of_theirs = _from_torch(name, [_array(p.grad) for p in theirs.parameters()], gradient=True)
    pairs = [(found, _array(outputs)), (of_x, _array(given.grad))]
    pairs += [*zip(held, expected, strict=True), *zip(of_weights, of_theirs, strict=True)]
    for mine, reference in pairs:
        np.testing.assert_allclose(mine.numpy(), reference, rtol=0, atol=1e-11)


def _from_torch(name: str, parameters: list[np.ndarray], gradient: bool = False) -> list[Any]:
    """PyTorch's weights as Keras has them: transposed; of a GRU with r before z; of an LSTM with
    the sum of two biases, each of which gets the gradient of the sum."""
    found: list[Any] = []
    for i in range(0, len(parameters), 4):
        kernel, recurrent, *biases = parameters[i : i + 4]
        bias = np.stack(biases)
        if name == "GRU":
            kernel, recurrent, bias = (
                np.concatenate([part[..., 3:6], part[..., :3], part[..., 6:]], axis=-1)
                for part in (kernel.T, recurrent.T, bias)
            )
            found += [kernel, recurrent, bias]
        else:
            found += [kernel.T, recurrent.T, bias[0] if gradient else bias.sum(axis=0)]
    return found


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy()
