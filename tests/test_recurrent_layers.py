"""Recurrent layers and attention: the formulas, loops that are compiled, differentiated and mapped,
states, dropout, cells of one's own, and what is refused. The agreement with Keras and PyTorch is in
reference_tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops, registry
from tinygrad_edu.errors import ArgumentError, ShapeError
from tinygrad_edu.layers import (
    GRU,
    LSTM,
    RNN,
    AdditiveAttention,
    Attention,
    BatchNormalization,
    Bidirectional,
    Dense,
    Embedding,
    GRUCell,
    Layer,
    LSTMCell,
    MultiHeadAttention,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
    TimeDistributed,
)

BATCH, STEPS, FEATURES = 2, 5, 3
MASK = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool)

MAKERS: dict[str, Callable[[], Layer]] = {
    "SimpleRNN": lambda: SimpleRNN(4, return_sequences=True),
    "LSTM": lambda: LSTM(4, return_sequences=True, return_state=True),
    "LSTM backwards": lambda: LSTM(4, go_backwards=True, zero_output_for_mask=True),
    "GRU": lambda: GRU(4, return_state=True),
    "GRU before": lambda: GRU(4, reset_after=False, return_sequences=True),
    "unrolled": lambda: LSTM(4, unroll=True, return_sequences=True),
    "stacked": lambda: RNN([LSTMCell(3), GRUCell(4)], return_state=True),
    "own": lambda: RNN(Sums(), return_sequences=True),
    "both ways": lambda: Bidirectional(GRU(2, return_sequences=True, return_state=True)),
}


@edu.register("tests>Sums")
class Sums(Layer):
    """A cell that says only what it must: a running sum of what its layer makes of the inputs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.state_size = 4
        self.inner = Dense(4, "tanh")

    def build(self, input_shape: Any) -> None:
        self.inner.build(input_shape)

    def call(self, inputs: Any, states: Any) -> Any:
        total = states[0] + self.inner(inputs)
        return 2 * total, (total,)


def _x(*shape: int, dtype: str = "float32") -> np.ndarray:
    shape = shape or (BATCH, STEPS, FEATURES)
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def _assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    pairs = zip(edu.tree.leaves(found), edu.tree.leaves(expected), strict=True)
    for x, y in pairs:
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=tolerance, atol=tolerance)


# What is computed


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_an_lstm_is_its_formula() -> None:
    layer = LSTM(2, return_state=True, dtype="float64")
    x = _x(dtype="float64")
    _, found_h, found_c = layer(x)
    kernel, recurrent, bias = layer.get_weights()
    np.testing.assert_array_equal(bias, [0, 0, 1, 1, 0, 0, 0, 0])  # unit_forget_bias
    h = c = np.zeros((BATCH, 2))
    for t in range(STEPS):
        i, f, new, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(new)
        h = _sigmoid(o) * np.tanh(c)
    _assert_close((found_h, found_c), (h, c), 1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_is_its_formula(reset_after: bool) -> None:
    layer = GRU(2, reset_after=reset_after, bias_initializer="random_normal", dtype="float64")
    x = _x(dtype="float64")
    found = layer(x)
    kernel, recurrent, bias = layer.get_weights()
    of_x, of_h = bias if reset_after else (bias, np.zeros(6))
    h = np.zeros((BATCH, 2))
    for t in range(STEPS):
        xz, xr, xh = np.split(x[:, t] @ kernel + of_x, 3, axis=1)
        hz, hr, hh = np.split(h @ recurrent + of_h, 3, axis=1)
        z, r = _sigmoid(xz + hz), _sigmoid(xr + hr)
        inner = r * hh if reset_after else (r * h) @ recurrent[:, 4:]
        h = z * h + (1 - z) * np.tanh(xh + inner)
    _assert_close(found, h, 1e-12)


def test_a_cell_alone_is_a_step_of_its_layer() -> None:
    for cell in (SimpleRNNCell(2), LSTMCell(2), GRUCell(2), StackedRNNCells([GRUCell(3)] * 1)):
        x = _x()
        states: Any = cell.get_initial_state(BATCH)
        for t in range(STEPS):
            output, states = cell(x[:, t], states)
        _assert_close((output, *states), RNN(cell, return_state=True)(x))


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_steps_that_do_not_count_change_nothing(kind: Any) -> None:
    layer = kind(3, return_sequences=True, return_state=True)
    x = _x()
    counts = np.arange(STEPS) < 3
    outputs, *states = layer(x, mask=np.stack([counts, counts]))
    shorter, *expected = layer(x[:, :3])
    _assert_close(states, expected)
    _assert_close(outputs[:, :3], shorter)
    _assert_close(outputs[:, 3:], np.repeat(shorter[:, 2:].numpy(), 2, axis=1))


def test_masks_come_from_the_layer_before() -> None:
    numbers = np.array([[3, 1, 0, 0], [2, 4, 1, 0]])
    embedding = Embedding(5, 3, mask_zero=True)
    for layer in (LSTM(2), Bidirectional(GRU(2, return_sequences=True))):
        _assert_close(
            layer(embedding(numbers)), layer(embedding(numbers).numpy(), mask=numbers > 0)
        )


def test_backwards_is_forwards_over_what_is_turned_around() -> None:
    forward = SimpleRNN(3, return_sequences=True)
    backward = SimpleRNN(3, return_sequences=True, go_backwards=True)
    x = _x()
    forward(x), backward(x)
    backward.set_weights(forward.get_weights())
    _assert_close(backward(x), forward(x[:, ::-1]))
    both = Bidirectional(forward, merge_mode=None)
    both(x)
    both.set_weights(forward.get_weights() * 2)
    _assert_close(both(x), (forward(x), backward(x).numpy()[:, ::-1]))


def test_bidirectional_makes_two_layers_with_weights_of_their_own() -> None:
    pattern = RNN(GRUCell(2))
    both = Bidirectional(pattern)
    both(_x())
    assert not pattern.built
    one, other = both.get_weights()[0], both.get_weights()[3]
    assert one.shape == other.shape == (3, 6)
    assert not np.allclose(one, other)
    again = Bidirectional(LSTM(2), weights=LSTM_WEIGHTS * 2)
    again(_x())
    _assert_close(again.get_weights(), LSTM_WEIGHTS * 2)


LSTM_WEIGHTS = [np.full(shape, 0.5, "float32") for shape in ((3, 8), (2, 8), (8,))]


# How it is computed


@pytest.mark.parametrize("mask", [None, MASK], ids=["all steps", "mask"])
@pytest.mark.parametrize("name", MAKERS)
def test_compiled_and_mapped_it_is_the_same(name: str, mask: Any) -> None:
    layer = MAKERS[name]()
    x = edu.tensor(_x())
    call = lambda x: layer(x, mask=mask)
    expected = call(x)
    _assert_close(edu.jit(call)(x), expected)
    two = ops.stack([x, 2 * x])
    _assert_close(edu.tree.map(lambda y: y[0], edu.vmap(call)(two)), expected)
    _assert_close(edu.tree.map(lambda y: y[1], edu.jit(edu.vmap(call))(two)), call(2 * x))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("name", MAKERS)
def test_gradients_are_those_of_differences(name: str, compiled: bool) -> None:
    edu.layers.set_dtype_policy("float64")
    try:
        layer = MAKERS[name]()
        x = _x(dtype="float64")
        layer(x)
    finally:
        edu.layers.set_dtype_policy("float32")
    call = lambda x: edu.tree.leaves(layer(x, mask=MASK))
    edu.check_grads(edu.jit(call) if compiled else call, [x], modes=("reverse",))


def test_each_example_has_a_gradient_of_its_own() -> None:
    layer = LSTM(2)
    layer(_x())
    loss = lambda x: ops.sum(layer(x[None]) ** 2)
    x = edu.tensor(_x())
    found = edu.vmap(edu.grad(loss))(x)
    _assert_close(found, ops.stack([edu.grad(loss)(x[0]), edu.grad(loss)(x[1])]))


@pytest.mark.parametrize("unroll", [False, True])
def test_a_program_grows_with_the_steps_only_unrolled(unroll: bool) -> None:
    layer = GRU(2, unroll=unroll)
    short, long = (
        len(edu.jit(lambda x: layer(x)).trace(_x(2, steps, 3)).equations) for steps in (4, 8)
    )
    assert (long > 1.5 * short) == unroll
    assert (long == short) == (not unroll)


def test_inputs_meet_the_kernel_all_at_once() -> None:
    layer = LSTM(2, return_sequences=True)
    layer(_x())
    with edu.profile() as profile:
        layer(_x())
    assert str(profile).count("\n") > 3
    (row,) = [line.split() for line in str(profile).splitlines() if line.startswith("matmul")]
    assert int(row[1]) == 1 + STEPS


# States


def test_a_stateful_layer_goes_on_where_it_stopped() -> None:
    layer, plain = LSTM(3, stateful=True), LSTM(3)
    x = _x(BATCH, 6, FEATURES)
    layer(x), plain(x)
    plain.set_weights(layer.get_weights())  # states are no weights
    layer.reset_state()
    layer(x[:, :4])
    _assert_close(layer(x[:, 4:]), plain(x))
    layer.reset_state()
    _assert_close(layer(x), plain(x))
    with pytest.raises(ShapeError, match=r"LSTM 'lstm': stateful, with the states of a batch of 2"):
        layer(_x(4, STEPS, FEATURES))


def test_a_stateful_layer_goes_on_from_a_state_that_was_given() -> None:
    layer, plain = GRU(3, stateful=True), GRU(3)
    x, start = _x(BATCH, 6, FEATURES), _x(BATCH, 3)
    layer(x[:, :4], initial_state=start), plain(x)
    plain.set_weights(layer.get_weights())
    _assert_close(layer(x[:, 4:]), plain(x, initial_state=start))


def test_a_stateful_layer_in_a_model_learns_its_batch_from_data() -> None:
    inputs = edu.Input((STEPS, FEATURES))
    layer = GRU(3, stateful=True)
    model = edu.Model(inputs, layer(inputs))
    first = model(_x())
    assert not np.allclose(model(_x()).numpy(), first.numpy())
    layer.reset_state()
    _assert_close(model(_x()), first)


def test_states_are_state_of_a_compiled_program() -> None:
    layer, eager = GRU(3, stateful=True), GRU(3, stateful=True)
    x = _x()
    step = edu.jit(lambda x: layer(x))
    step(x), eager(x)
    eager.set_weights(layer.get_weights())
    for each in (layer, eager):
        each.reset_state()
    for turn in range(3):
        _assert_close(step(x * turn), eager(x * turn))


def test_an_initial_state_may_be_one_tensor_or_a_list() -> None:
    layer = GRU(3)
    start = _x(BATCH, 3)
    _assert_close(layer(_x(), initial_state=start), layer(_x(), initial_state=[start]))


# Dropout


def _shown(**rates: float) -> np.ndarray:
    """What a layer that adds up its inputs, and passes on its state, gives in training."""
    eye = {"kernel_initializer": "identity", "recurrent_initializer": "identity"}
    layer = SimpleRNN(8, None, return_sequences=True, **eye, **rates)
    return layer(np.ones((50, 4, 8)), training=True).numpy()


def test_dropout_leaves_out_the_same_inputs_in_every_step() -> None:
    edu.random.seed(0)
    found = _shown(dropout=0.25)
    first = found[:, 0]
    assert {*np.unique(first.round(5))} == {0.0, np.float32(1.33333)}
    assert abs((first > 0).mean() - 0.75) < 0.1
    np.testing.assert_allclose(found, first[:, None] * np.arange(1, 5)[:, None], rtol=1e-6)


def test_recurrent_dropout_leaves_out_the_same_states_in_every_step() -> None:
    edu.random.seed(0)
    found = _shown(recurrent_dropout=0.5)
    np.testing.assert_array_equal(found[:, 0], 1.0)
    kept = found[:, 1] == 3.0  # 1 + 2 * 1
    assert abs(kept.mean() - 0.5) < 0.1
    np.testing.assert_array_equal(found[:, 3], np.where(kept, 15.0, 1.0))


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_dropout_is_drawn_in_training_only_and_repeatably(kind: Any) -> None:
    layer = kind(3, dropout=0.5, recurrent_dropout=0.5)
    x = _x()
    _assert_close(layer(x), layer(x, training=False), 0)
    draws = []
    for call in (layer, edu.jit(lambda x, training: layer(x, training=training))):
        edu.random.seed(1)
        draws += [call(x, training=True).numpy(), call(x, training=True).numpy()]
    _assert_close(draws[:2], draws[2:])
    assert not np.allclose(draws[0], draws[1])
    of_states = kind(3, recurrent_dropout=0.5)
    assert not np.allclose(of_states(x, training=True).numpy(), of_states(x).numpy())
    seeded = [kind(3, dropout=0.5, seed=3, kernel_initializer="ones") for _ in range(2)]
    for each in seeded:
        each(x)
    seeded[1].set_weights(seeded[0].get_weights())
    _assert_close(*[each(x, training=True) for each in seeded])


# Layers among others


@pytest.mark.parametrize("name", MAKERS)
def test_a_layer_is_made_again_from_its_configuration(name: str) -> None:
    layer = MAKERS[name]()
    x = _x()
    expected = layer(x)
    data = json.loads(json.dumps(registry.serialize(layer)))
    again = registry.deserialize(data)
    again(x)
    again.set_weights(layer.get_weights())
    _assert_close(again(x), expected, 0)


def test_arguments_that_are_names_classes_or_functions_do_what_they_say() -> None:
    layer = LSTM(
        2,
        activation=ops.sin,
        kernel_regularizer=lambda w: ops.sum(w * w),
        recurrent_constraint="non_neg",
        activity_regularizer="l2",
    )
    x = _x()
    y = layer(x)
    of_activity = 0.01 * np.sum(y.numpy() ** 2) / BATCH
    expected = [of_activity, np.sum(layer.get_weights()[0] ** 2)]
    np.testing.assert_allclose(sorted(float(z) for z in layer.losses), sorted(expected), rtol=1e-5)
    assert layer.weights[1].constraint is not None
    assert list(layer.weight_paths()) == ["cell/kernel", "cell/recurrent_kernel", "cell/bias"]
    without = LSTM(2, use_bias=False)
    without(x)
    assert [w.shape for w in without.weights] == [(3, 8), (2, 8)]


def test_a_model_of_sequences_of_any_length_is_put_together() -> None:
    inputs = edu.Input((None, FEATURES))
    hidden = Bidirectional(LSTM(4, return_sequences=True))(inputs)
    hidden = MultiHeadAttention(2, 3)(hidden, hidden, use_causal_mask=True)
    hidden = TimeDistributed(Dense(5))(hidden)
    model = edu.Model(inputs, GRU(2)(hidden))
    assert hidden.shape == (None, None, 5)
    assert model(_x()).shape == (BATCH, 2)
    assert model(_x(3, 7, FEATURES)).shape == (3, 2)


def test_batch_normalization_at_each_step_has_the_statistics_of_that_step() -> None:
    x = np.random.default_rng(2).normal(size=(6, 4, 3)).astype(np.float32)
    norm = BatchNormalization(momentum=0.5)
    found = TimeDistributed(edu.Sequential([norm]))(x, training=True)
    means, variances = x.mean(0), x.var(0)
    expected = (x - means) / np.sqrt(variances + 1e-3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    moving = np.zeros(3)
    for mean in means:
        moving = 0.5 * moving + 0.5 * mean
    np.testing.assert_allclose(norm.moving_mean, moving, rtol=1e-4, atol=1e-6)


def test_a_mask_of_what_is_in_each_step_reaches_the_layer() -> None:
    inner = GRU(2)
    layer = TimeDistributed(inner)
    x, mask = _x(BATCH, 3, STEPS, FEATURES), np.stack([MASK, MASK[::-1], MASK], axis=1)
    found = layer(x, mask=mask)
    for t in range(3):
        _assert_close(found[:, t], inner(x[:, t], mask=mask[:, t]))
    _assert_close(layer(x, mask=mask[:, :, 0]), layer(x))  # says nothing of what is in a step


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
def test_mixed_precision_keeps_weights_and_computes_in_half(kind: Any) -> None:
    layer = kind(3, return_state=True, dropout=0.5, dtype="mixed_float16")
    found = layer(_x(), training=True, mask=MASK)
    assert {str(y.dtype) for y in found} == {"float16"}
    assert {str(v.dtype) for v in layer.weights} == {"float32"}
    exact = kind(3)
    exact(_x())
    exact.set_weights(layer.get_weights())
    _assert_close(layer(_x())[0], exact(_x()), 5e-3)


# Attention


def test_multi_head_attention_is_its_formula() -> None:
    layer = MultiHeadAttention(2, 4, value_dim=3, bias_initializer="random_normal", dtype="float64")
    x, y = _x(2, 4, 5, dtype="float64"), _x(2, 6, 3, dtype="float64")
    found, scores = layer(x, y, return_attention_scores=True, use_causal_mask=True)
    wq, bq, wk, bk, wv, bv, wo, bo = layer.get_weights()
    q, k, v = (
        np.einsum("btd,dhs->bhts", z, w) + b[:, None]
        for z, w, b in ((x, wq, bq), (y, wk, bk), (y, wv, bv))
    )
    products = np.einsum("bhqs,bhks->bhqk", q, k) / 2
    weights = np.where(np.arange(4)[:, None] >= np.arange(6), np.exp(products), 0)
    weights /= weights.sum(axis=-1, keepdims=True)
    expected = np.einsum("bhqk,bhkv,hvd->bqd", weights, v, wo) + bo
    _assert_close((found, scores), (expected, weights), 1e-12)


def test_a_query_that_sees_no_key_gets_the_mean_of_all_values_as_in_keras() -> None:
    layer = MultiHeadAttention(2, 4)
    x = edu.tensor(_x())
    layer(x, x)
    hidden = np.array([[True] * STEPS, [True] + [False] * (STEPS - 1)])
    found = layer(x, x, query_mask=hidden)
    layer.query.kernel.assign(ops.zeros(layer.query.kernel.shape))  # so that all keys weigh alike
    layer.query.bias.assign(ops.zeros(layer.query.bias.shape))
    _assert_close(found[1, 1:], layer(x, x)[1, 1:], 1e-5)


def test_a_query_that_sees_no_key_gets_nothing_and_gives_no_gradient() -> None:
    layer = MultiHeadAttention(2, 4, dropout=0.5)  # without it Keras gives the mean
    x = edu.tensor(_x())
    layer(x, x)
    hidden = np.array([[True] * STEPS, [False] * STEPS])
    for mask in ({"value_mask": hidden}, {"query_mask": hidden}):
        found, scores = layer(x, x, return_attention_scores=True, **mask)
        assert not scores[1].numpy().any()
        assert np.isfinite(found.numpy()).all()
        gradient = edu.grad(lambda x, mask=mask: ops.sum(layer(x, x, **mask) ** 2))(x).numpy()
        assert np.isfinite(gradient).all()
        assert not gradient[1].any()


@pytest.mark.parametrize("shape", [(STEPS, STEPS), (BATCH, STEPS, STEPS), (2, 2, STEPS, STEPS)])
def test_masks_of_pairs_may_lack_the_batch_or_have_heads(shape: tuple[int, ...]) -> None:
    layer = MultiHeadAttention(2, 3)
    x = _x()
    before = np.tril(np.ones((STEPS, STEPS), bool))
    found = layer(x, x, attention_mask=np.broadcast_to(before, shape))
    _assert_close(found, layer(x, x, use_causal_mask=True))


ATTENTION: dict[str, Callable[[], Any]] = {
    "heads": lambda: (lambda layer: lambda x: layer(x, x, use_causal_mask=True))(
        MultiHeadAttention(2, 3, use_gate=True, sliding_window=3)
    ),
    "dot": lambda: (lambda layer: lambda x: layer([x, x]))(Attention(use_scale=True)),
    "concat": lambda: (lambda layer: lambda x: layer([x, x]))(Attention(score_mode="concat")),
    "additive": lambda: (lambda layer: lambda x: layer([x, x, x]))(AdditiveAttention()),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_compiled_and_mapped_is_the_same(name: str) -> None:
    call = ATTENTION[name]()
    x = edu.tensor(_x())
    expected = call(x)
    _assert_close(edu.jit(call)(x), expected)
    two = ops.stack([x, 2 * x])
    _assert_close(edu.vmap(call)(two)[0], expected)
    _assert_close(edu.jit(edu.vmap(call))(two)[1], call(2 * x))


@pytest.mark.parametrize(
    "make", [lambda: MultiHeadAttention(2, 3, dropout=0.5), lambda: Attention(dropout=0.5)]
)
def test_dropout_of_scores_is_drawn_in_training_only(make: Callable[[], Any]) -> None:
    layer = make()
    x = _x(8, STEPS, FEATURES)
    given = ((x, x),) if isinstance(layer, Attention) else (x, x)
    calm, scores = layer(*given, return_attention_scores=True)
    edu.random.seed(0)
    drawn, seen = layer(*given, return_attention_scores=True, training=True)
    _assert_close(seen, scores, 0)  # before dropout, as in Keras
    assert not np.allclose(drawn.numpy(), calm.numpy())


def test_attention_is_made_again_from_its_configuration() -> None:
    layer = MultiHeadAttention(2, 3, attention_axes=(1,), output_shape=(4,), use_gate=True)
    x = _x()
    expected = layer(x, x)
    again = registry.deserialize(json.loads(json.dumps(registry.serialize(layer))))
    again(x, x)
    again.set_weights(layer.get_weights())
    _assert_close(again(x, x), expected, 0)


# What is refused

REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: LSTM(0), ArgumentError, r"LSTMCell: units .*0"),
    (lambda: GRU(3, "tahn"), ArgumentError, r"GRUCell: activation: no 'tahn'; .*'tanh'"),
    (lambda: GRU(3, dropout=1.5), ArgumentError, r"GRUCell: dropout .*1\.5"),
    (lambda: GRU(3, recurrent_initializer="orthogonl"), ArgumentError, "'orthogonal'"),
    (lambda: LSTM(3)(_x(2, 3)), ShapeError, r"LSTM 'lstm': takes inputs of 3 axes, and this has 2"),
    (lambda: _built(LSTM(3))(_x(2, 5, 4)), ShapeError, r"'lstm'.*3 in axis -1, and this has 4"),
    (lambda: LSTM(3)(_x(2, 0, 3)), ShapeError, r"LSTM 'lstm': inputs .* have no steps"),
    (lambda: LSTM(3)(_x(), initial_state=_x(2, 3)), ArgumentError, "initial_state has 1 .* 2"),
    (lambda: LSTM(3)(_x(), initial_state=[_x(2, 4)] * 2), ShapeError, r"initial_state .*\(2, 4\)"),
    (lambda: GRU(3)(_x(), initial_state=_x(1, 3)), ShapeError, r"GRU 'gru': initial_state"),
    (lambda: GRU(3)(_x(), mask=MASK[:, :4]), ShapeError, r"mask .* \(2, 5\), not \(2, 4\)"),
    (lambda: RNN(Dense(3)), ArgumentError, r"RNN: a cell is a layer with `state_size`"),
    (lambda: StackedRNNCells([]), ArgumentError, "StackedRNNCells: cells is a list"),
    (lambda: Bidirectional(Dense(3)), ArgumentError, "Bidirectional: layer is a recurrent layer"),
    (lambda: Bidirectional(GRU(3), "max"), ArgumentError, "merge_mode is .*'concat'.*not 'max'"),
    (lambda: Bidirectional(GRU(3), backward_layer=GRU(3)), ArgumentError, "go_backwards"),
    (
        lambda: Bidirectional(
            GRU(3), backward_layer=GRU(3, go_backwards=True, return_sequences=True)
        ),
        ArgumentError,
        "return_sequences differs",
    ),
    (
        lambda: Bidirectional(GRU(3))(_x(), initial_state=[_x(2, 3)]),
        ArgumentError,
        "initial_state has 1",
    ),
    (lambda: TimeDistributed(3), ArgumentError, "TimeDistributed: layer"),
    (lambda: TimeDistributed(Dense(2))(_x(4)), ShapeError, r"steps, size, \.\.\.\), not \(4,\)"),
    (
        lambda: TimeDistributed(Dense(2))(edu.Input((5,))),
        ShapeError,
        r"steps, size, \.\.\.\), not \((\d+), 5\) \(\1 stands for sizes",
    ),
    (
        lambda: Bidirectional(LSTM(3))(edu.Input((5,))),
        ShapeError,
        "Bidirectional 'bidirectional': takes inputs of 3 axes, and this has 2",
    ),
    (lambda: MultiHeadAttention(0, 3), ArgumentError, "MultiHeadAttention: num_heads .*0"),
    (lambda: MultiHeadAttention(2, -1), ArgumentError, "MultiHeadAttention: key_dim .*-1"),
    (lambda: MultiHeadAttention(2, 3, value_dim=1.5), ArgumentError, "value_dim .*1.5"),
    (lambda: MultiHeadAttention(2, 3)(_x(2, 3), _x(2, 3)), ShapeError, "at least 3 axes"),
    (
        lambda: MultiHeadAttention(2, 3)(_x(), _x(1, 5, 3)),
        ShapeError,
        r"query \(2, 5, 3\) and value \(1, 5, 3\)",
    ),
    (
        lambda: MultiHeadAttention(2, 3)(_x(), _x(), _x(2, 4, 3)),
        ShapeError,
        r"key \(2, 4, 3\) and value \(2, 5, 3\)",
    ),
    (
        lambda: MultiHeadAttention(2, 3)(_x(), _x(), value_mask=MASK[:, :3]),
        ShapeError,
        r"value_mask of shape \(2, 3\) does not fit \(2, 5\)",
    ),
    (
        lambda: MultiHeadAttention(2, 3)(_x(), _x(), attention_mask=np.ones((2, 4, 5))),
        ShapeError,
        r"attention_mask of shape \(2, 4, 5\) does not fit \(2, 2, 5, 5\)",
    ),
    (
        lambda: MultiHeadAttention(2, 3)(_x(), _x(), attention_mask=np.ones(5)),
        ShapeError,
        r"attention_mask of shape \(5,\)",
    ),
    (
        lambda: MultiHeadAttention(2, 3, attention_axes=(2,))(_x(), _x()),
        ArgumentError,
        "attention_axes are among those between",
    ),
    (
        lambda: MultiHeadAttention(2, 3)(_x(2, 2, 2, 3), _x(2, 2, 2, 3), use_causal_mask=True),
        ArgumentError,
        "several attention_axes",
    ),
    (lambda: Attention(score_mode="dott"), ArgumentError, "score_mode .*did you mean 'dot'"),
    (lambda: Attention()(_x()), ArgumentError, r"Attention 'attention': inputs are \[query, value"),
    (lambda: Attention()([_x(), _x(2, 5, 4)]), ShapeError, r"query \(2, 5, 3\), value \(2, 5, 4\)"),
    (lambda: Attention()([_x(), _x()], mask=[None, MASK[:1]]), ShapeError, r"mask of shape \(1"),
]  # fmt: skip


def _built(layer: Layer) -> Layer:
    layer(_x())
    return layer


@pytest.mark.parametrize(("act", "error", "message"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(act: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        act()
