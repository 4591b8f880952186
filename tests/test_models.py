"""Model, Sequential and Input: putting together, names, looking at it, copies, what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, layers, registry

Dense = layers.Dense


def branchy() -> edu.Model:
    """Two inputs, a shared layer, a residual connection, operators, two outputs."""
    a, b = edu.Input((4,), name="a"), edu.Input((4,), name="b")
    shared = Dense(5, "tanh", name="shared")
    h = edu.concat([shared(a), shared(b)], axis=-1)
    h = edu.relu(h) + Dense(10)(h) * 2
    return edu.Model([a, b], {"pairs": edu.reshape(h, (-1, 2, 5)), "sum": Dense(1)(h)})


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def same(left: Any, right: Any) -> None:
    for a, b in zip(edu.tree.leaves(left), edu.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-6)


# Symbolic values

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "operators": lambda x: 2 * x**2 - x / 3 + (x > 0),
    "indices": lambda x: x[:, 1:] - x[:, :1],
    "a new axis": lambda x: x[:, None] * x[..., None, :],
    "reshape": lambda x: edu.reshape(x, (-1, 2, 3)),
    "reshape by its shape": lambda x: edu.reshape(x, (x.shape[0], 3, -1)),
    "reshape of all": lambda x: edu.reshape(x, (-1, 2)),
    "stack and split": lambda x: edu.stack(edu.split(x, 2, axis=1), axis=1),
    "concat of rows": lambda x: edu.concat([x, x + 1, x[:1]], axis=0),
    "transpose": lambda x: x.T @ x,
    "softmax": lambda x: edu.softmax(x, axis=-1),
    "composites": lambda x: edu.gelu(edu.layer_norm(x)),
    "statistics": lambda x: (x - x.mean(axis=0)) / x.std(axis=0),
    "broadcast_to": lambda x: edu.broadcast_to(x[:, None], (x.shape[0], 4, 6)),
    "one_hot": lambda x: edu.one_hot(edu.argmax(x, axis=-1), 6),
    "several results": lambda x: edu.top_k(x, 2)[0],
    "where": lambda x: edu.where(x > 0, x, 0.1 * x),
    "einsum": lambda x: edu.einsum("bi,bj->bij", x, x),
    "constants": lambda x: x @ np.ones((6, 2), np.float32) + edu.tensor([1.0, 2.0]),
    "a structure": lambda x: {"y": x + 1, "z": [x, x.sum()]},
    "NumPy's functions": lambda x: np.exp(x) + np.tanh(x),
    "pad": lambda x: edu.pad(x, ((0, 0), (1, 2))),
    "roll and flip": lambda x: edu.flip(edu.roll(x, 1, axis=1), axis=1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_model_of_functions_computes_what_they_do_for_any_batch_size(name: str) -> None:
    function = FUNCTIONS[name]
    x = edu.Input((6,))
    symbolic = function(x)
    model = edu.Model(x, symbolic)
    again = registry.deserialize(json.loads(json.dumps(registry.serialize(model))))
    for size in (2, 5):
        given = edu.tensor(data(size, 6))
        expected = function(given)
        same(model(given), expected)
        same(again(given), expected)
        same(edu.jit(lambda x: model(x))(given), expected)
        for a, b in zip(edu.tree.leaves(symbolic), edu.tree.leaves(expected), strict=True):
            assert len(a.shape) == b.ndim
            assert all(s is None or s == t for s, t in zip(model_shape(a), b.shape, strict=True))
            assert a.dtype == b.dtype


def model_shape(x: edu.Tensor) -> tuple[int | None, ...]:
    return tuple(None if size == None else size for size in x.shape)  # noqa: E711


def _attended(x: Any) -> Any:
    return edu.softmax(x @ edu.matrix_transpose(x)) @ x


ON_SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "two sizes": lambda x: edu.reshape(x, (x.shape[0], x.shape[1] * 4)),
    "two sizes as one": lambda x: edu.reshape(x[:, 1:], (x.shape[0] * (x.shape[1] - 1), 4)),
    "there and back": lambda x: edu.reshape(edu.reshape(x, (-1, 2)) * 2, x.shape),
    "by a layer and back": lambda x: edu.reshape(
        layers.ReLU()(edu.reshape(x, (-1, 4))), (-1, x.shape[1], 4)
    ),
    "broadcast_to": lambda x: edu.broadcast_to(x[:, :1], x.shape),
    "stack": lambda x: edu.stack([x, x + 1], axis=1),
    "tile and repeat": lambda x: edu.tile(edu.repeat(x, 2, axis=1), (1, 2, 1)),
    "one_hot": lambda x: edu.one_hot(edu.argmax(x, axis=-1), 4),
    "half of the steps": lambda x: edu.broadcast_to(x[:, :1], (x.shape[0], x.shape[1] // 2, 4)),
    "the last": lambda x: x[:, x.shape[1] - 1],
    "those between": lambda x: x[:, 1 : x.shape[1] - 1],
    "attention": _attended,
    "a layer's": lambda x: edu.broadcast_to(x[:, :1], layers.ZeroPadding1D()(x).shape),
    "a layer's argument": lambda x: Reshaped()(x, x.shape[1]),
}


class Reshaped(edu.Layer):
    def call(self, inputs: Any, size: int) -> Any:
        return edu.reshape(inputs, (-1, size * 4))


edu.register("tests>Reshaped")(Reshaped)


@pytest.mark.parametrize("name", ON_SEQUENCES)
def test_sizes_that_are_not_known_are_told_apart(name: str) -> None:
    function = ON_SEQUENCES[name]
    x = edu.Input((None, 4))
    symbolic = function(x)
    model = edu.Model(x, symbolic)
    again = registry.deserialize(json.loads(json.dumps(registry.serialize(model))))
    for batch, steps in ((2, 5), (5, 2), (3, 3), (1, 4)):
        given = edu.tensor(data(batch * steps, 4)).reshape((batch, steps, 4))
        expected = function(given)
        for each in (model, again, copy.deepcopy(model), edu.jit(lambda x: model(x))):
            same(each(given), expected)
        sizes = zip(model_shape(symbolic), expected.shape, strict=True)
        assert all(size is None or size == actual for size, actual in sizes)


def test_sizes_of_several_inputs_are_told_apart() -> None:
    x, y = edu.Input((None, 4)), edu.Input((None, 4))
    rows = edu.broadcast_to(y[:, :1], (y.shape[0], x.shape[1], 4))
    pairs = edu.reshape(x @ edu.matrix_transpose(y), (x.shape[0], x.shape[1] * y.shape[1]))
    found = edu.Model([x, y], [rows, pairs])([edu.ones((2, 3, 4)), edu.ones((2, 5, 4))])
    assert [z.shape for z in found] == [(2, 3, 4), (2, 15)]


@pytest.mark.parametrize(
    "use",
    [
        lambda n: n / 2,
        lambda n: 1 / n,
        lambda n: n * 0.5,
        lambda n: n**2,
        lambda n: 2**n,
        lambda n: 12 // n,
        lambda n: n // 7,
        lambda n: n % 2,
        lambda n: [0] * n,
        float,
    ],
)
def test_arithmetic_on_a_size_that_would_make_a_number_of_it_is_refused(use: Any) -> None:
    with pytest.raises(errors.ShapeError, match="known only when data comes"):
        use(edu.Input((None, 4)).shape[1])


def test_a_model_that_starts_in_the_middle_needs_the_sizes_that_it_uses() -> None:
    x = edu.Input((None, 4))
    layer = layers.Dense(3)
    end = edu.reshape(layer(x), (-1, x.shape[1] * 3))
    with pytest.raises(errors.ArgumentError, match="not among the inputs"):
        edu.Model(layer.output, end)


def test_shapes_of_symbolic_values_have_none_where_data_decides() -> None:
    x = edu.Input((None, 3), name="x")
    assert x.shape == (None, None, 3)
    assert (x[:, 1:].shape, x[:, 0].shape) == ((None, None, 3), (None, 3))
    assert edu.reshape(x, (-1,)).shape == (None,)
    assert edu.Input((3,), batch_size=2).shape == (2, 3)
    assert x.sum().shape == ()
    assert repr(x) == "Tensor(shape=(None, None, 3), dtype=float32, symbolic)"


@pytest.mark.parametrize(
    "use",
    [lambda x: x.numpy(), lambda x: bool(x.sum()), lambda x: float(x.sum()), lambda x: x.tolist()],
)
def test_a_symbolic_value_has_no_values(use: Callable[[Any], Any]) -> None:
    with pytest.raises(errors.TracingError, match=r"no values and no truth.*edu.Model"):
        use(edu.Input((3,)))


def test_what_needs_a_size_that_is_not_known_is_refused() -> None:
    x = edu.Input((3,))
    with pytest.raises(errors.ShapeError, match="known only when data comes"):
        edu.dropout(x, 0.5)
    with pytest.raises(errors.ShapeError, match="known only when data comes"):
        edu.reshape(x, (x.shape[0] // 2, 6))
    with pytest.raises(errors.ShapeError, match="known only when data comes"):
        len(x)
    with pytest.raises(errors.ShapeError, match="known only when data comes"):
        list(x)
    with pytest.raises(errors.ShapeError, match="known only when data comes"):
        x * x.shape[0]


def test_a_variable_does_not_become_a_constant() -> None:
    with pytest.raises(errors.ArgumentError, match="inside of a layer that owns it"):
        edu.Input((3,)) * edu.Variable([1.0, 2.0, 3.0])


def test_a_symbolic_value_is_refused_in_a_compiled_function() -> None:
    x = edu.Input((3,))
    with pytest.raises(errors.TracingError, match="another trace"):
        edu.jit(lambda y: x + y)(edu.ones(3))


def test_sizes_of_an_input_are_whole_numbers_of_any_kind() -> None:
    assert edu.Input((np.int64(3), None), batch_size=np.int32(2)).shape == (2, 3, None)
    assert edu.Input(np.int8(4)).shape == (None, 4)
    wrong: Any
    for wrong in (None, 1.5, "3", (1.5,), (-1,)):
        with pytest.raises(errors.ArgumentError, match="InputLayer"):
            edu.Input(wrong)


# The functional form


def test_models_work_on_each_device(device: str) -> None:
    model, x = branchy(), edu.tensor(data(3, 4))
    assert x.device == device
    found = model([x, x])["sum"]
    assert found.device == device
    same(edu.jit(lambda x: model([x, x])["sum"])(x), found)


def test_inputs_are_taken_in_their_structure_or_by_name() -> None:
    model = branchy()
    a, b = data(3, 4), data(3, 4, seed=1)
    expected = model([a, b])
    same(model({"a": a, "b": b}), expected)
    same(model({"b": b, "a": a}), expected)
    same(model((a, b)), expected)
    assert (model.input_names, model.output_names) == (["a", "b"], ["reshape", "dense_1"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([data(3, 4)], r"takes 2 inputs, \['a', 'b'\], and got 1"),
        ({"a": data(3, 4)}, r"is called without \['b'\]"),
        ({"a": data(3, 4), "b": data(3, 4), "c": data(3, 4)}, r"is called with \['c'\]"),
        ([data(3, 4), data(3, 5)], r"input 'b': a value of shape \(3, 5\) does not fit \(None, 4"),
        ([data(3, 4), data(4)], r"input 'b': a value of shape \(4,\)"),
        ([data(3, 4), "text"], "input 'b': takes a Tensor or an array, not str"),
    ],
)
def test_wrong_inputs_are_named(given: Any, message: str) -> None:
    with pytest.raises(errors.Error, match=message):
        branchy()(given)


def test_an_axis_of_one_may_be_left_out_and_dtypes_follow_the_input() -> None:
    x, i = edu.Input((1,)), edu.Input((), dtype="int32")
    model = edu.Model([x, i], [x * 2, i])
    y, n = model([np.ones(3), np.ones(3, np.int64)])
    assert (y.shape, n.shape) == ((3, 1), (3,))
    assert (y.dtype, n.dtype) == ("float32", "int32")


def test_layers_cast_what_comes_from_an_input_of_another_dtype() -> None:
    x = edu.Input((3,), dtype="float64")
    model = edu.Model(x, Dense(2)(x))
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Dense"]
    assert len(model.summary_text().splitlines()) == 10
    assert model(np.ones((1, 3))).dtype == "float32"


def test_outputs_that_need_another_input_are_refused() -> None:
    a, b = edu.Input((2,), name="a"), edu.Input((2,), name="b")
    with pytest.raises(errors.ArgumentError, match=r"need the input 'b'.*add it to Model"):
        edu.Model(a, a + b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: edu.Model(x, edu.ones(3)), "outputs: Tensor is no symbolic Tensor"),
        (lambda x: edu.Model(3, x), "inputs: int is no symbolic"),
        (lambda x: edu.Model(x), "takes both"),
        (lambda x: edu.Model([x, x], x), "there twice"),
        (lambda x: edu.Model([], []), "has inputs"),
        (lambda x: edu.Model(x, Dense(2, name="d")(Dense(3, name="d")(x))), "the name 'd'"),
    ],
)
def test_what_is_no_functional_model_is_refused(make: Any, message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=message):
        make(edu.Input((3,)))


def test_a_shared_layer_has_its_weights_once() -> None:
    model = branchy()
    assert list(model.weight_paths()) == [
        "shared/kernel",
        "shared/bias",
        "dense/kernel",
        "dense/bias",
        "dense_1/kernel",
        "dense_1/bias",
    ]
    x = data(2, 4)
    with edu.GradientTape() as tape:
        loss = (model([x, x])["sum"] ** 2).sum()
    assert all(g is not None for g in tape.gradient(loss, model.trainable_weights))


def test_models_of_deep_graphs_need_no_recursion() -> None:
    x = edu.Input((2,))
    y = x
    for _ in range(3 * sys.getrecursionlimit()):
        y = y + 1
    model = edu.Model(x, y)
    assert model(np.zeros((1, 2))).tolist() == [[3.0 * sys.getrecursionlimit()] * 2]
    assert copy.deepcopy(model)(np.zeros((1, 2))).shape == (1, 2)


def test_one_model_ends_where_another_passes() -> None:
    model = branchy()
    features = edu.Model(model.inputs[0], model.get_layer("shared").output)
    x = data(2, 4)
    same(features(x), model.get_layer("shared")(x))
    assert features.layers[-1] is model.get_layer("shared")


def test_a_layer_of_that_name_or_number_is_there_or_refused() -> None:
    model = branchy()
    assert model.get_layer("dense_1").units == 1
    assert model.get_layer(index=-1) is model.layers[-1]
    with pytest.raises(errors.ArgumentError, match="no layer 'dens'; did you mean 'dense' or"):
        model.get_layer("dens")
    with pytest.raises(errors.ArgumentError, match="no layer 9"):
        model.get_layer(index=9)
    with pytest.raises(errors.ArgumentError, match="a name, or an index"):
        model.get_layer()


# Sequential


def test_a_sequential_knows_its_shapes_from_an_input_or_from_data() -> None:
    early = edu.Sequential([edu.Input((4,)), Dense(3), Dense(2)])
    late = edu.Sequential([Dense(3), Dense(2)])
    assert (early.built, late.built) == (True, False)
    late(data(5, 4))
    for model in (early, late):
        assert (model.input_shape, model.output_shape) == ((None, 4), (None, 2))
        assert list(model.weight_paths()) == [
            "dense/kernel",
            "dense/bias",
            "dense_1/kernel",
            "dense_1/bias",
        ]
        assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    third = edu.Sequential([Dense(3)])
    third.build((None, 7))
    assert third.count_params() == 24


def test_layers_are_put_on_and_taken_off() -> None:
    model = edu.Sequential([edu.Input((4,)), Dense(3)])
    model.add(Dense(2, name="last"))
    x = data(2, 4)
    first = model.layers[0](x)
    assert model(x).shape == (2, 2)
    assert model.pop().name == "last"
    assert model.output_shape == (None, 3)
    same(model(x), first)
    model.add(Dense(7))
    assert model(x).shape == (2, 7)
    assert edu.Model(model.inputs, model.outputs)(x).shape == (2, 7)
    assert copy.deepcopy(model).output_shape == (None, 7)
    model.pop(), model.pop()
    with pytest.raises(errors.ArgumentError, match="has no layers"):
        model.pop()


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda m: m.add(edu.relu), r"no layer: use edu.layers.Lambda\(relu\)"),
        (lambda m: m.add(3), "3 is no layer"),
        (lambda m: m.add(m), "cannot be a part of itself"),
        (lambda m: m.add(edu.Sequential([m])), "cannot be a part of itself"),
        (lambda m: m.add(m.layers[0]), "is there already.*functional form"),
        (lambda m: m.add(Dense(2, name="one")), "has a layer 'one' already"),
        (lambda m: m.add(edu.Input((2,))), "an Input comes first"),
        (lambda m: m.add(layers.Conv2D(2, 3)), "takes inputs of 4 axes, and this has 2"),
    ],
)
def test_what_cannot_be_added_is_refused_and_leaves_the_model_as_it_was(
    add: Callable[[Any], None], message: str
) -> None:
    model = edu.Sequential([edu.Input((4,)), Dense(3, name="one")])
    with pytest.raises(errors.Error, match=message):
        add(model)
    assert len(model.layers) == 1
    assert model(data(2, 4)).shape == (2, 3)


def test_a_sequential_takes_what_a_function_of_values_takes() -> None:
    class Branches(edu.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs if inputs.sum() > 0 else -inputs

    model = edu.Sequential([Branches(), Dense(2)])
    assert model(-np.ones((1, 3))).shape == (1, 2)
    assert edu.Sequential([layers.Add(), Dense(2)])([np.ones((1, 3)), np.ones((1, 3))]).shape == (
        1,
        2,
    )


# Subclasses


class Residual(edu.Model):
    def __init__(self, units: int = 3) -> None:
        super().__init__()
        self.blocks = [Dense(units), Dense(units, "relu")]
        self.head = edu.Sequential([Dense(2), Dense(1)])

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = self.blocks[0](inputs)
        return self.head(x + self.blocks[1](x))


def test_a_subclass_is_built_by_data_or_for_a_shape() -> None:
    by_data, by_shape = Residual(), Residual()
    by_data(data(2, 4))
    by_shape.build((None, 4))
    paths = ["blocks/0", "blocks/1", "head/dense", "head/dense_1"]
    expected = [f"{path}/{name}" for path in paths for name in ("kernel", "bias")]
    assert list(by_data.weight_paths()) == list(by_shape.weight_paths()) == expected
    assert by_shape.blocks[0].kernel.numpy().all()  # drawn, and not zeros that stand for weights
    again = Residual()
    again.build_from_config(json.loads(json.dumps(by_data.get_build_config())))
    again.set_weights(by_data.get_weights())
    same(again(data(3, 4)), by_data(data(3, 4)))


@pytest.mark.parametrize(
    "model", [Residual, lambda: edu.Sequential([Dense(3)]), lambda: edu.Sequential([Residual()])]
)
def test_weights_of_a_model_that_was_not_built_are_refused(model: Callable[[], Any]) -> None:
    unbuilt = model()
    for ask in (lambda: unbuilt.weights, unbuilt.count_params, unbuilt.get_weights):
        with pytest.raises(errors.ArgumentError, match=r"not built.*build\(input_shape\)"):
            ask()


def test_a_model_without_call_is_told_so() -> None:
    with pytest.raises(NotImplementedError, match=r"define call\(self, inputs\)"):
        edu.Model()(edu.ones(1))


def test_a_subclass_may_be_functional_inside() -> None:
    @edu.register("tests>inside")
    class Inside(edu.Model):
        def __init__(self, units: int) -> None:
            x = edu.Input((4,))
            super().__init__(x, Dense(units)(x))

    model = Inside(3)
    again = registry.deserialize(registry.serialize(model))
    assert again.output_shape == (None, 3)
    again.set_weights(model.get_weights())
    same(again(data(2, 4)), model(data(2, 4)))


def test_models_inside_models_are_layers() -> None:
    inner = branchy()
    x = edu.Input((4,))
    model = edu.Model(x, Residual()(inner([x, x * 2])["sum"]))
    assert model.output_shape == (None, 1)
    assert "model/shared/kernel" in model.weight_paths()
    assert "residual/blocks/0/kernel" in model.weight_paths()
    given = edu.tensor(data(3, 4))
    same(model(given), model.layers[-1](inner([given, given * 2])["sum"]))


def test_layers_inside_are_built_for_sizes_that_are_not_known() -> None:
    class Notes(edu.Layer):
        def build(self, input_shape: Any) -> None:
            self.given = input_shape

        def call(self, inputs: Any) -> Any:
            return inputs

    class Holds(edu.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner = Dense(131), Notes()

        def call(self, inputs: Any) -> Any:
            return self.inner(self.first(inputs))

    model = Holds()
    assert model(edu.Input((None, 3))).shape == (None, None, 131)
    assert model.inner.given == (None, None, 131)
    assert model(np.ones((2, 5, 3))).shape == (2, 5, 131)


def test_errors_say_which_numbers_stand_for_sizes_that_are_not_known() -> None:
    with pytest.raises(errors.ShapeError, match=r"\((\d+), 2\).*\(\1 stands for sizes that"):
        layers.Add()([edu.Input((2,)), edu.Input((3,))])
    with pytest.raises(
        errors.ShapeError, match=r"\((\d+), (\d+), 2\).*\(\1 and \2 stand for sizes"
    ):
        layers.Add()([edu.Input((None, 2)), edu.Input((None, 3))])
    with pytest.raises(errors.ShapeError, match=r"target_shape \(2,\)$"):  # an error of one example
        layers.Reshape((2,))(edu.Input((3,)))


def test_per_example_gradients_of_a_model() -> None:
    model = Residual()
    model.build((None, 4))
    X = edu.tensor(data(3, 4))

    def gradients(x: edu.Tensor) -> Any:
        with edu.GradientTape() as tape:
            loss = model(x[None]).sum()
        return tape.gradient(loss, model.trainable_weights)

    every = edu.vmap(gradients)(X)
    for i in range(3):
        for all_of, one in zip(every, gradients(X[i]), strict=True):
            np.testing.assert_allclose(all_of[i].numpy(), one.numpy(), 1e-5, 1e-6)


# Looking at it


def test_keras_users_find_input_among_the_layers() -> None:
    assert layers.Input is edu.Input
    assert layers.InputLayer is edu.models.InputLayer
    with pytest.raises(AttributeError, match=r"tinygrad_edu.layers' has no attribute 'Inputt'"):
        layers.Inputt  # noqa: B018


def test_the_summary_is_a_table() -> None:
    model = branchy()
    lines = model.summary_text().splitlines()
    cells = [line.split() for line in lines]
    assert lines[0] == "Model 'model'"
    assert ["shared", "(Dense)", "(None,", "5)", "25", "a,", "b"] in cells
    assert ["reshape", "(Reshape)", "(None,", "2,", "5)", "0", "add"] in cells
    # 4*5+5, 10*10+10 and 10+1 parameters, of 4 bytes.
    assert "Total params: 146 (584 B)" in lines
    got: list[str] = []
    model.summary(print_fn=got.append)
    assert got == lines


def test_the_summary_says_what_is_frozen_nested_or_not_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = edu.Sequential([edu.Input((4,)), edu.Sequential([Dense(3)], name="inner"), Dense(2)])
    model.layers[0].trainable = False
    model.summary(expand_nested=True)
    text = capsys.readouterr().out
    assert "Trainable: 8 (32 B)" in text
    assert "Non-trainable: 15 (60 B)" in text
    assert "    dense (Dense)" not in text
    assert "  dense (Dense)" in text
    waiting = edu.Sequential([Dense(3), Dense(2)]).summary_text()
    assert "Total params: 0 (0 B), without those of dense, dense_1: not built yet" in waiting
    assert "not built" not in text
    subclass = Residual()
    assert "blocks/1 (Dense)   ?             not built" in subclass.summary_text()
    assert "without those of blocks/0, blocks/1, head: not built" in subclass.summary_text()
    subclass.build((None, 4))
    row = next(line for line in subclass.summary_text().splitlines() if "head" in line)
    assert row.split() == ["head", "(Sequential)", "(None,", "1)", "11", "add"]


def test_the_summary_is_set_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    model = branchy()
    model.summary()
    text = capsys.readouterr().out
    assert "shared (Dense)" in text
    assert "a, b" in text
    assert "Total params: 146 (584 B)" in text
    monkeypatch.setitem(sys.modules, "rich.console", None)
    model.summary()
    assert capsys.readouterr().out == model.summary_text() + "\n"


def test_a_model_is_drawn_for_graphviz() -> None:
    text = branchy().to_dot()
    assert text.startswith("digraph {")
    assert '"a" -> "shared";' in text
    assert '"b" -> "shared (2)";' in text  # a box for each call
    assert '"add" [label="add\\nAdd\\n(None, 10)"];' in text


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_model_is_drawn_into_a_file(kind: str, tmp_path: Path) -> None:
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for model in (branchy(), Residual(), edu.Sequential([Dense(2)])):
        file = tmp_path / f"model.{kind}"
        model.draw(file)
        assert file.read_bytes().startswith(starts[kind])
    if kind == "svg":
        branchy().draw(file)
        first = file.read_text()
        assert all(name in first for name in ("shared (2)", "InputLayer", "(None, 2, 5)"))
        branchy().draw(file)
        assert file.read_text() == first
        branchy().draw(file, show_shapes=False)
        assert "(None, 2, 5)" not in file.read_text()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.ArgumentError, match=r"'a.txt' has to end in .svg"):
        branchy().draw(tmp_path / "a.txt")
    with pytest.raises(errors.ArgumentError, match="has no layers"):
        edu.Sequential().draw(tmp_path / "a.svg")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(errors.ExtraMissingError, match=r"tinygrad_edu\[plot\]"):
        branchy().draw(tmp_path / "a.svg")


# Copies


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_models_work_and_are_apart(how: Callable[[Any], Any]) -> None:
    x = data(2, 4)
    sequential = edu.Sequential([edu.Input((4,)), Dense(3), Dense(2)])
    subclass = Residual()
    subclass(x)
    for model, given in ((branchy(), [x, x]), (sequential, x), (subclass, x)):
        expected = model(given)
        copied = how(model)
        same(copied(given), expected)
        copied.weights[0].assign(copied.weights[0] + 1)
        same(model(given), expected)
    assert how(branchy()).get_layer("dense").output.shape == (None, 10)
    copied = how(sequential)
    assert edu.Model(copied.inputs, copied.layers[0].output)(x).shape == (2, 3)
    copied.add(Dense(6))
    assert copied.output_shape == (None, 6)


def test_configurations_make_the_same_model_again() -> None:
    x = data(2, 4)
    late = edu.Sequential([Dense(3, name="first"), Dense(2)], name="late")
    unbuilt = registry.deserialize(json.loads(json.dumps(registry.serialize(late))))
    assert not unbuilt.built
    late(x)
    for model, given in ((branchy(), [x, x]), (late, x)):
        data_of = json.loads(json.dumps(registry.serialize(model)))
        again = registry.deserialize(data_of)
        assert list(again.weight_paths()) == list(model.weight_paths())
        assert again.name == model.name
        again.set_weights(model.get_weights())
        same(again(given), model(given))
        assert registry.serialize(again) == data_of
        apart = type(model).from_config(model.get_config())
        assert not set(apart.layers) & set(model.layers)
