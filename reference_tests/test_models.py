"""Models put together in the same way here and in Keras: the same shapes, weights in the same
order, trained and frozen ones, losses, masks, and, from the same weights, the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import layers

OURS = SimpleNamespace(
    Input=edu.Input,
    Layer=edu.Layer,
    Model=edu.Model,
    Sequential=edu.Sequential,
    layers=layers,
    concat=lambda *xs: edu.concat(xs, axis=-1),
    reshape=edu.reshape,
    relu=edu.relu,
    mean=lambda x: edu.mean(x, axis=1),
    square=lambda x: (x * x).sum(),
    tanh=edu.tanh,
)
THEIRS = SimpleNamespace(
    Input=keras.Input,
    Layer=keras.Layer,
    Model=keras.Model,
    Sequential=keras.Sequential,
    layers=keras.layers,
    concat=lambda *xs: keras.ops.concatenate(xs, axis=-1),
    reshape=keras.ops.reshape,
    relu=keras.ops.relu,
    mean=lambda x: keras.ops.mean(x, axis=1),
    square=lambda x: keras.ops.sum(x * x),
    tanh=keras.ops.tanh,
)


@pytest.fixture(autouse=True)
def policies() -> Iterator[None]:
    yield
    edu.layers.set_dtype_policy("float32")
    keras.config.set_dtype_policy("float32")


# Models


def sequential(k: Any) -> Any:
    return k.Sequential([k.Input((5,)), k.layers.Dense(4, "relu"), k.layers.Dense(3)])


def nested_sequential(k: Any) -> Any:
    inner = k.Sequential([k.layers.Dense(4), k.layers.Dense(5)])
    return k.Sequential([k.Input((5,)), inner, k.layers.Dense(2), k.layers.Dense(1)])


def two_inputs_one_shared_layer(k: Any) -> Any:
    a, b = k.Input((4,)), k.Input((4,))
    shared = k.layers.Dense(3, "tanh")
    y = k.concat(shared(b), k.layers.Dense(2)(a), shared(a))
    return k.Model([a, b], k.layers.Dense(1)(y))


def residual(k: Any) -> Any:
    x = k.Input((6,))
    h = k.layers.Dense(6, "relu")(x)
    for _ in range(3):
        h = h + k.layers.Dense(6)(k.layers.Dense(5, "relu")(h))
    return k.Model(x, k.layers.Dense(2)(h * 2.0 - x))


def several_outputs(k: Any) -> Any:
    x = k.Input((6,))
    short = k.layers.Dense(3)(x)
    long = k.layers.Dense(4)(k.layers.Dense(5)(k.relu(x)))
    return k.Model(x, {"long": long, "pair": [short, k.layers.Dense(2)(long)]})


def outputs_named_out_of_order(k: Any) -> Any:
    x = k.Input((6,))
    return k.Model(x, {"value": k.layers.Dense(1)(x), "kind": k.layers.Dense(3)(x)})


def called_twice(k: Any) -> Any:
    x = k.Input((4,))
    shared, other = k.layers.Dense(4), k.layers.Dense(4, "tanh")
    return k.Model(x, shared(other(shared(x))))


def a_dict_of_inputs(k: Any) -> Any:
    given = {"left": k.Input((3,)), "right": k.Input((2,))}
    y = k.concat(k.layers.Dense(2)(given["right"]), given["left"])
    return k.Model(given, k.layers.Dense(3)(y))


def models_inside_models(k: Any) -> Any:
    x, z = k.Input((4,)), k.Input((3,))
    encoder = k.Model(x, k.layers.Dense(3)(k.layers.Dense(2)(x)))
    decoder = k.Sequential([k.Input((3,)), k.layers.Dense(4)])
    both = k.Model([x, z], [decoder(encoder(x)), decoder(z)])
    y = k.Input((4,))
    return k.Model([y, z], k.layers.Dense(2)(both([y, z])[0] + both([y, z])[1]))


def an_end_in_the_middle(k: Any) -> Any:
    x = k.Input((4,))
    first, second = k.layers.Dense(3), k.layers.Dense(2)
    model = k.Model(x, second(first(x)))
    return k.Model(model.inputs, [first.output, model.outputs[0]])


def a_start_in_the_middle(k: Any) -> Any:
    x = k.Input((4,))
    first, second = k.layers.Dense(5), k.layers.Dense(2)
    k.Model(x, second(first(x)))
    return k.Model(first.output, second.output)


def sequences(k: Any) -> Any:
    x = k.Input((None, 4))
    y = k.layers.Dense(3)(x)[:, 1:]
    return k.Model(x, [y, k.mean(y), k.reshape(y, (-1, 3))])


def images_of_any_size(k: Any) -> Any:
    x = k.Input((None, None, 3))
    fine = k.layers.Conv2D(4, 3, padding="same")(x)
    coarse = k.layers.Conv2D(2, 3, strides=2, padding="same")(k.layers.MaxPooling2D()(fine))
    back = k.layers.UpSampling2D(4)(coarse)
    return k.Model(x, k.layers.Concatenate()([fine, back]))


def lists_of_one(k: Any) -> Any:
    x = k.Input((4,))
    return k.Model([x], [k.layers.Dense(2)(x)])


BUILDERS = [
    lists_of_one,
    sequential,
    nested_sequential,
    two_inputs_one_shared_layer,
    residual,
    several_outputs,
    outputs_named_out_of_order,
    called_twice,
    a_dict_of_inputs,
    models_inside_models,
    an_end_in_the_middle,
    a_start_in_the_middle,
    sequences,
    images_of_any_size,
]


def a_random_graph(seed: int) -> Callable[[Any], Any]:
    """Layers of one width in any order, some of them shared, some joined."""

    def build(k: Any) -> Any:
        random = np.random.default_rng(seed)
        inputs = [k.Input((4,)) for _ in range(random.integers(1, 4))]
        values, used = list(inputs), []
        for _ in range(random.integers(3, 12)):
            x = values[random.integers(len(values))]
            kind = random.integers(4)
            if kind == 0 and used:
                x = used[random.integers(len(used))](x)
            elif kind == 1:
                x = x + values[random.integers(len(values))]
            else:
                used.append(k.layers.Dense(4, "tanh"))
                x = used[-1](x)
            values.append(x)
        ends = [values[i] for i in random.permutation(len(values))[: random.integers(1, 4)]]
        return k.Model(inputs, [*ends, values[-1]])

    return build


def subclassed(k: Any) -> Any:
    class Block(k.Layer):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.units = units
            self.inner = k.layers.Dense(units)

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
            self.count = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="count"
            )
            self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros", name="shift")
            self.inner.build(shape)
            self.built = True

        def call(self, x: Any, training: bool = False) -> Any:
            return self.inner(x * self.scale + self.shift) * (2.0 if training else 1.0)

    class Whole(k.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = k.layers.Dense(2)
            self.blocks = [Block(3), Block(4)]
            self.heads = {"a": k.layers.Dense(2), "b": self.last}

        def call(self, x: Any, training: bool = False) -> Any:
            for block in self.blocks:
                x = block(x, training=training)
            return self.last(x) + self.heads["a"](x)

    model = Whole()
    model(np.zeros((2, 5), np.float32))
    model.width = 5
    return model


def set_alike(ours: Any, theirs: Any, seed: int = 0) -> None:
    """The same weights in both."""
    random = np.random.default_rng(seed)
    values = [random.normal(size=v.shape).astype(np.float32) * 0.5 for v in theirs.weights]
    assert [v.shape for v in ours.weights] == [tuple(v.shape) for v in theirs.weights]
    ours.set_weights(values)
    theirs.set_weights(values)


def data_for(theirs: Any, seed: int = 1) -> Any:
    random = np.random.default_rng(seed)
    shapes = getattr(theirs, "input_shape", None) or (None, theirs.width)

    def one(shape: Any) -> np.ndarray:
        sizes = [3, *[4 if size is None else size for size in shape[1:]]]
        return random.normal(size=sizes).astype(np.float32)

    if isinstance(shapes, dict):
        return {key: one(shape) for key, shape in shapes.items()}
    return [one(shape) for shape in shapes] if isinstance(shapes, list) else one(shapes)


def same(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key], tolerance)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, (list, tuple))
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, tolerance)
    else:
        np.testing.assert_allclose(
            ours.numpy().astype(np.float32),
            np.asarray(theirs).astype(np.float32),
            tolerance,
            tolerance,
        )


@pytest.mark.parametrize("build", [*BUILDERS, subclassed, *map(a_random_graph, range(12))])
def test_a_model_has_the_weights_and_gives_the_numbers_of_keras(build: Any) -> None:
    ours, theirs = build(OURS), build(THEIRS)
    set_alike(ours, theirs)
    given = data_for(theirs)
    same(ours(given), theirs(given))
    assert ours.count_params() == theirs.count_params()
    kinds = [[type(x).__name__ for x in model.layers] for model in (ours, theirs)]
    assert kinds[0] == [x.replace("Functional", "Model") for x in kinds[1]]
    for part in ("trainable_weights", "non_trainable_weights"):
        assert [v.shape for v in getattr(ours, part)] == [
            tuple(v.shape) for v in getattr(theirs, part)
        ]
    compiled = edu.jit(lambda x: ours(x))
    same(compiled(edu.tree.map(edu.tensor, given)), theirs(given))


@pytest.mark.parametrize("build", [b for b in BUILDERS if b is not lists_of_one])
def test_shapes_are_those_of_keras(build: Any) -> None:
    ours, theirs = build(OURS), build(THEIRS)
    assert ours.output_shape == theirs.output_shape
    assert ours.input_shape == theirs.input_shape
    shapes = theirs.input_shape
    if isinstance(shapes, tuple):
        known = (7, *[4 if size is None else size for size in shapes[1:]])
        assert ours.compute_output_shape(known) == theirs.compute_output_shape(known)


def test_training_reaches_the_layers_inside() -> None:
    ours, theirs = subclassed(OURS), subclassed(THEIRS)
    set_alike(ours, theirs)
    given = data_for(theirs)
    for training in (True, False):
        same(ours(given, training=training), theirs(given, training=training))


@pytest.mark.parametrize("default", [True, False, None])
def test_training_is_resolved_as_in_keras(default: bool | None) -> None:
    def build(k: Any, seen: list[Any]) -> Any:
        class Inner(k.Layer):
            def call(self, x: Any, training: Any = None) -> Any:
                seen.append(training)
                return x

        class Deaf(k.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.inner = Inner()

            def call(self, x: Any) -> Any:
                return self.inner(x)

        class Outer(k.Layer):
            def __init__(self) -> None:
                super().__init__()
                self.deaf, self.inner = Deaf(), Inner()

            def call(self, x: Any, training: Any = default) -> Any:
                seen.append(training)
                return self.inner(self.deaf(x), training=False)

        outer, x = Outer(), np.ones((1, 2), np.float32)
        outer(x)  # Keras also runs `call` to build what is inside
        seen.clear()
        for settings in ({}, {"training": True}, {"training": False}):
            outer(x, **settings)
        outer.deaf(x, training=True)
        return seen

    assert build(OURS, []) == build(THEIRS, [])


def test_freezing_splits_the_weights_as_in_keras() -> None:
    ours, theirs = subclassed(OURS), subclassed(THEIRS)

    def split(model: Any) -> list[list[int]]:
        every = [id(v) for v in model.weights]
        parts = (model.trainable_weights, model.non_trainable_weights)
        return [[every.index(id(v)) for v in part] for part in parts]

    def freeze(model: Any, on: bool) -> None:
        model.trainable = on

    def freeze_block(model: Any, on: bool) -> None:
        model.blocks[1].trainable = on

    def freeze_inner(model: Any, on: bool) -> None:
        model.blocks[0].inner.trainable = on

    steps = [(freeze_block, False), (freeze_inner, False), (freeze, False), (freeze_block, True)]
    steps += [(freeze, True), (freeze_inner, False), (freeze_inner, True)]
    for step, on in steps:
        step(ours, on)
        step(theirs, on)
        assert split(ours) == split(theirs), step.__name__
    same_model = sequential(OURS), sequential(THEIRS)
    for model in same_model:
        model.layers[0].trainable = False
    assert split(same_model[0]) == split(same_model[1])


def test_losses_of_regularizers_and_of_layers_are_those_of_keras() -> None:
    def build(k: Any) -> Any:
        class Penalty(k.Layer):
            def call(self, x: Any) -> Any:
                self.add_loss(k.square(x) * 0.25)
                return x

        x = k.Input((4,))
        frozen = k.layers.Dense(3, kernel_regularizer="l2", trainable=False)
        y = k.layers.Dense(5, kernel_regularizer="l2", bias_regularizer="l1")(x)
        y = k.layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l1")(Penalty()(y))
        return k.Model(x, frozen(y))

    ours, theirs = build(OURS), build(THEIRS)
    set_alike(ours, theirs)
    for seed in range(2):
        given = data_for(theirs, seed)
        ours(given), theirs(given)
        mine = [x.item() for x in ours.losses]
        np.testing.assert_allclose(mine, [float(x) for x in theirs.losses], 1e-5)

    @edu.jit
    def total(x: edu.Tensor) -> edu.Tensor:
        ours(x)
        return sum(ours.losses, edu.tensor(0.0))

    np.testing.assert_allclose(total(edu.tensor(given)).item(), sum(mine), 1e-5)


@pytest.mark.filterwarnings("ignore:Layer 'functional:UserWarning")  # Keras says what it drops
@pytest.mark.parametrize("named", [False, True])
def test_one_of_the_inputs_of_a_model_inside_has_a_mask_as_in_keras(named: bool) -> None:
    def build(k: Any) -> Any:
        plain, masked = k.Input((5, 3), name="plain"), k.Input((5, 2), name="masked")
        ends = k.concat(k.layers.LSTM(3)(plain), k.layers.GRU(2)(masked))
        inner = k.Model({"plain": plain, "masked": masked} if named else [plain, masked], ends)
        x, words = k.Input((5, 3)), k.Input((5,), dtype="int32")
        y = k.layers.Embedding(9, 2, mask_zero=True)(words)
        return k.Model([x, words], inner({"plain": x, "masked": y} if named else [x, y]))

    ours, theirs = build(OURS), build(THEIRS)
    set_alike(ours, theirs)
    random = np.random.default_rng(0)
    words = random.integers(1, 9, (4, 5))
    words[:, 3:] = 0
    given = [random.normal(size=(4, 5, 3)).astype(np.float32), words]
    same(ours(given), theirs(given))


def test_masks_reach_the_layers_that_they_reach_in_keras() -> None:
    def build(k: Any, seen: list[Any]) -> Any:
        class Probe(k.Layer):
            def __init__(self, passes: bool = True) -> None:
                super().__init__()
                self.supports_masking = passes

            def call(self, x: Any, mask: Any = None) -> Any:
                seen.append(None if mask is None else np.asarray(mask))
                return x * 1.0

        inner = k.Sequential([k.layers.Dense(3), Probe()])
        return k.Sequential(
            [
                k.layers.Embedding(5, 4, mask_zero=True),
                Probe(),
                k.layers.Dropout(0.5),
                inner,
                Probe(),
                k.layers.Activation("tanh"),
                Probe(passes=False),
                Probe(),
                k.layers.Masking(0.0),
                Probe(),
            ]
        )

    ids = np.array([[1, 2, 0, 0], [3, 0, 1, 0]])
    found: list[list[Any]] = [[], []]
    for k, seen in zip((OURS, THEIRS), found, strict=True):
        model = build(k, seen)
        with pytest.warns(UserWarning, match="mask"):
            model(ids)
        seen.clear()
        model(ids)
    ours, theirs = found
    assert [x is None for x in ours] == [x is None for x in theirs]
    assert len(ours) == 6
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64", "float16"])
def test_a_policy_gives_the_dtypes_of_keras(policy: str) -> None:
    edu.layers.set_dtype_policy(policy)
    keras.config.set_dtype_policy(policy)
    ours, theirs = subclassed(OURS), subclassed(THEIRS)
    set_alike(ours, theirs)
    given = data_for(theirs)
    mine, other = ours(given), theirs(given)
    assert mine.dtype.name == keras.backend.standardize_dtype(other.dtype)
    same(mine, other, {"mixed_bfloat16": 0.1, "float64": 1e-5}.get(policy, 1e-2))
    assert {v.dtype.name for v in ours.weights} == {v.dtype for v in theirs.weights}
    inner, their_inner = ours.blocks[0].inner, theirs.blocks[0].inner
    assert inner.compute_dtype == their_inner.compute_dtype
    assert inner.dtype == their_inner.dtype


def test_a_layer_of_its_own_policy_in_a_mixed_model() -> None:
    def build(k: Any) -> Any:
        x = k.Input((3,))
        y = k.layers.Dense(4, dtype="mixed_float16")(x)
        return k.Model(x, [y, k.layers.Dense(2, dtype="float32")(y)])

    ours, theirs = build(OURS), build(THEIRS)
    set_alike(ours, theirs)
    given = data_for(theirs)
    mine, other = ours(given), theirs(given)
    assert [x.dtype.name for x in mine] == ["float16", "float32"]
    assert [keras.backend.standardize_dtype(x.dtype) for x in other] == ["float16", "float32"]
    same(mine, other, 1e-2)


def test_half_precision_trains_float32_weights() -> None:
    layer = layers.Dense(3, dtype="mixed_bfloat16")
    x = edu.ones((2, 4))
    with edu.GradientTape() as tape:
        loss = layer(x).sum()
    gradients = tape.gradient(loss, layer.trainable_weights)
    assert [g.dtype.name for g in gradients] == ["float32", "float32"]
    np.testing.assert_array_equal(gradients[0].numpy(), np.full((4, 3), 2.0))
