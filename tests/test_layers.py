"""Layer: building, names, calls, losses, precision, copies, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, layers, registry
from tinygrad_edu.layers import base


class Affine(edu.Layer):
    """x * factor + offset, in units of the last axis."""

    def __init__(self, offset: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.offset = offset
        self.shapes: list[Any] = []

    def build(self, input_shape: Any) -> None:
        self.shapes.append(input_shape)
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
        self.input_spec = layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor + self.offset


class Trained(edu.Layer):
    """Says what `training` it was called with."""

    def __init__(self, *inner: Any) -> None:
        super().__init__()
        self.inner = list(inner)
        self.seen: list[Any] = []

    def call(self, inputs: Any, training: Any = "default") -> Any:
        self.seen.append(training)
        for layer in self.inner:
            inputs = layer(inputs)
        return inputs


@pytest.fixture(autouse=True)
def policies() -> Iterator[None]:
    yield
    layers.set_dtype_policy("float32")


# Building


def test_a_layer_is_built_once_for_any_batch_size() -> None:
    layer = Affine()
    assert not layer.built
    layer(edu.ones((2, 3)))
    layer(edu.ones((5, 3)))
    assert layer.built
    assert layer.shapes == [(None, 3)]
    assert layer.get_build_config() == {"inputs": (None, 3)}


def test_building_by_hand_is_building() -> None:
    layer = Affine()
    layer.build((None, 4))
    assert layer(edu.ones((1, 4))).shape == (1, 4)
    assert layer.shapes == [(None, 4)]


def test_a_layer_of_several_arguments_is_built_for_a_shape_of_each() -> None:
    class Attends(edu.Layer):
        def build(self, query_shape: Any, value_shape: Any) -> None:
            self.given = query_shape, value_shape

        def call(self, query: Any, value: Any, key: Any = None) -> Any:
            return query

    layer = Attends()
    layer(edu.ones((2, 3)), value=edu.ones((2, 4)))
    assert layer.given == ((None, 3), (None, 4))


def test_inputs_in_a_structure_give_shapes_in_that_structure() -> None:
    class Many(edu.Layer):
        def build(self, input_shape: Any) -> None:
            self.given = input_shape

        def call(self, inputs: Any) -> Any:
            return inputs["a"] + inputs["b"][0]

    layer = Many()
    layer({"a": np.ones((2, 3)), "b": [np.ones((2, 1))]})
    assert layer.given == {"a": (None, 3), "b": [(None, 1)]}


def test_a_build_that_fails_leaves_nothing_behind() -> None:
    class Fails(edu.Layer):
        attempts = 0

        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(input_shape[-1],), name="w")
            self.attempts += 1
            if self.attempts == 1:
                raise RuntimeError("not yet")

        def call(self, inputs: Any) -> Any:
            return inputs + self.w

    layer = Fails()
    with pytest.raises(RuntimeError):
        layer(edu.ones((1, 2)))
    assert not layer.built
    layer(edu.ones((1, 2)))
    assert list(layer.weight_paths()) == ["w"]


def test_weights_get_the_dtype_initializer_constraint_and_regularizer_asked_for() -> None:
    layer = edu.Layer()
    w = layer.add_weight((2, 3), "zeros", regularizer="l2", constraint="non_neg", name="w")
    count = layer.add_weight(shape=(), dtype="int32", trainable=False)
    default = layer.add_weight(shape=(50, 50))
    assert w.tolist() == [[0.0] * 3] * 2
    assert w.regularizer(edu.ones(2)).item() == pytest.approx(0.02)
    assert w.constraint(edu.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    assert (count.dtype, count.item(), count.trainable) == ("int32", 0, False)
    # Glorot's uniform distribution: variance 2 / (50 + 50).
    assert default.numpy().std() == pytest.approx(np.sqrt(0.02), rel=0.1)


def test_a_weight_of_unknown_size_is_refused() -> None:
    with pytest.raises(errors.ArgumentError, match=r"Layer 'layer': add_weight: shape \(None, 2\)"):
        edu.Layer().add_weight(shape=(None, 2))


def test_an_initializer_that_gives_another_shape_is_refused() -> None:
    layer = layers.Dense(2, kernel_initializer=lambda shape, dtype: edu.ones((3, 3)))
    with pytest.raises(errors.ShapeError, match=r"gives shape \(3, 3\).*of shape \(6, 2\)"):
        layer(edu.ones((1, 6)))
    assert not layer.built


def test_a_name_for_two_weights_is_refused() -> None:
    layer = edu.Layer(name="mine")
    layer.add_weight(name="w")
    with pytest.raises(errors.ArgumentError, match=r"'mine'.*'w' already"):
        layer.add_weight(name="w")


# Tracking and names


def test_weights_are_found_in_attributes_lists_and_dicts() -> None:
    class Holder(edu.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.free = edu.Variable(1.0)
            self.blocks = [Affine(), (Affine(), edu.Variable([1.0], name="ignored"))]
            self.heads = {"left": Affine(), "right": None}
            self._hidden = Affine()
            self.again = self.heads["left"]
            self.parent = self
            self.unnamed = self.add_weight(shape=(1,))

        def call(self, x: Any) -> Any:
            for layer in [self.blocks[0], self.blocks[1][0], self.heads["left"], self._hidden]:
                x = layer(x)
            return x

    layer = Holder()
    layer(edu.ones((1, 2)))
    assert list(layer.weight_paths()) == [
        "unnamed",
        "free",
        "blocks/1/1",
        "blocks/0/factor",
        "blocks/1/0/factor",
        "heads/left/factor",
        "hidden/factor",
    ]
    layer.blocks.append(Affine())
    layer.blocks[-1](edu.ones((1, 2)))
    assert "blocks/2/factor" in layer.weight_paths()


def test_layers_of_one_name_have_paths_of_their_own() -> None:
    class Twins(edu.Layer):
        def __init__(self) -> None:
            super().__init__()
            self._inner, self.inner = Affine(), Affine()
            self.either = {1: Affine(), "1": Affine()}

        def call(self, x: Any) -> Any:
            for layer in (self._inner, self.inner, *self.either.values()):
                x = layer(x)
            return x

    layer = Twins()
    layer(edu.ones((1, 2)))
    assert len(layer.weight_paths()) == len(layer.weights) == 4

    class Beside(edu.Model):
        def __init__(self) -> None:
            x = edu.Input((3,))
            super().__init__(x, layers.Dense(2)(x))
            self.dense = layers.Dense(4)
            self.dense.build((None, 2))

    model = Beside()
    assert list(model.weight_paths()) == [
        "dense/kernel",
        "dense/bias",
        "dense_1/kernel",
        "dense_1/bias",
    ]
    assert (model.get_layer("dense").units, model.get_layer("dense_1").units) == (2, 4)


def test_metrics_belong_to_the_layer_but_are_no_weights() -> None:
    from tinygrad_edu import metrics

    inner, outer = Affine(), edu.Layer()
    inner.measure = metrics.Mean(name="m")
    outer.part = inner
    inner.build((None, 2))
    inner.measure.update_state(3.0)
    assert outer.metrics == [inner.measure]
    assert len(outer.weights) == 1
    assert len(outer.variables) == 1 + len(inner.measure.variables)


def test_set_weights_changes_all_or_nothing() -> None:
    layer = edu.Layer()
    a, b = layer.add_weight((2,), "zeros", name="a"), layer.add_weight((3,), "zeros", name="b")
    with pytest.raises(errors.ShapeError, match=r"b has shape \(3,\), and the value \(4,\)"):
        layer.set_weights([np.ones(2), np.ones(4)])
    with pytest.raises(errors.ArgumentError, match="1 values for 2 weights"):
        layer.set_weights([np.ones(2)])
    assert a.tolist() == [0.0, 0.0]
    layer.set_weights([np.ones(2), np.ones(3)])
    assert b.tolist() == [1.0] * 3
    assert layer.count_params() == 5


def test_frozen_layers_have_no_trainable_weights() -> None:
    outer = edu.Layer()
    outer.parts = [Affine(), Affine()]
    for part in outer.parts:
        part.build((None, 2))
    first, second = outer.weights
    outer.parts[0].trainable = False
    assert outer.trainable_weights[0] is second
    assert outer.non_trainable_weights[0] is first
    outer.trainable = False
    assert outer.trainable_weights == []
    outer.trainable = True
    assert len(outer.trainable_weights) == 2


# Calling


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.ones((2, 2)), "float32"),
        (np.ones((2, 2), np.float16), "float32"),
        ([[1, 2], [3, 4]], "int32"),
        ([[1.0, 2.0]], "float32"),
        (np.ones((2, 2), np.int64), "int64"),
        (edu.ones((2, 2), dtype="float64"), "float32"),
        (edu.Variable([[1.0]]), "float32"),
        (np.ones((2, 2), bool), "bool"),
    ],
)
def test_inputs_become_tensors_and_floats_are_cast(given: Any, dtype: str) -> None:
    class Same(edu.Layer):
        def call(self, inputs: Any) -> Any:
            assert isinstance(inputs, edu.Tensor)
            return inputs

    assert Same()(given).dtype == dtype
    assert Same()(inputs=given).dtype == dtype


def test_arguments_after_the_first_are_cast_and_settings_are_left_alone() -> None:
    class Two(edu.Layer):
        def call(self, inputs: Any, other: Any, axes: Any = None, name: Any = None) -> Any:
            assert axes == [0, 1]
            assert name == "x"
            return inputs + other

    found = Two()(np.ones(2), np.ones(2), axes=[0, 1], name="x")
    assert found.dtype == "float32"


def test_training_is_inherited_unless_it_is_given() -> None:
    inner = Trained()
    outer = Trained(inner)
    x = edu.ones((1, 2))
    outer(x)
    outer(x, training=True)
    outer(x, training=False)
    outer(x, "by position")
    assert outer.seen == inner.seen == ["default", True, False, "by position"]


def test_training_passes_through_a_layer_that_does_not_take_it() -> None:
    class Through(edu.Layer):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs)

    inner = Trained()
    Through(inner)(edu.ones(1), training=True)
    inner(edu.ones(1))
    inner(edu.ones(1), True)
    assert inner.seen == [True, "default", True]


def test_an_error_in_a_call_ends_the_call() -> None:
    class Fails(edu.Layer):
        def call(self, inputs: Any) -> Any:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        Fails()(edu.ones(1), training=True)
    layer = Trained()
    layer(edu.ones(1))
    assert layer.seen == ["default"]


def test_an_error_names_the_layer_and_what_it_was_built_for() -> None:
    layer = Affine(name="scale")
    layer(edu.ones((2, 3)))
    with pytest.raises(
        errors.ShapeError,
        match=r"Affine 'scale': takes inputs with 3 in axis -1, and this has 4: shape \(2, 4\), as",
    ):
        layer(edu.ones((2, 4)))
    with pytest.raises(errors.ShapeError, match="at least 2 axes, and this has 1"):
        layer(edu.ones(3))
    with pytest.raises(errors.ArgumentError, match="'scale': is called without inputs"):
        layer()
    with pytest.raises(errors.DtypeError, match="'scale': takes a Tensor"):
        layer("text")


def test_a_call_without_all_inputs_names_those_that_are_missing() -> None:
    class Two(edu.Layer):
        def call(self, left: Any, right: Any, scale: float = 1.0) -> Any:
            return left + right

    for given in (np.ones(2), edu.ones(2)):
        with pytest.raises(errors.ArgumentError, match="without right"):
            Two()(given)


def test_weights_of_a_layer_that_was_not_built_are_refused() -> None:
    layer = Affine()
    for ask in (lambda: layer.weights, layer.get_weights, layer.count_params, layer.weight_paths):
        with pytest.raises(errors.ArgumentError, match=r"'affine': was not built.*call it on data"):
            ask()
    assert layers.Activation("relu").weights == []


def test_a_layer_without_super_init_is_told_so() -> None:
    class Forgets(edu.Layer):
        def __init__(self) -> None:
            self.units = 3

    with pytest.raises(errors.ArgumentError, match=r"Forgets.*super\(\).__init__\(\)"):
        Forgets()(edu.ones(1))
    with pytest.raises(errors.ArgumentError, match="Forgets"):
        Forgets().add_weight()


def test_a_layer_without_call_is_told_so() -> None:
    with pytest.raises(NotImplementedError, match=r"define call\(self, inputs\)"):
        edu.Layer()(edu.ones(1))


def test_a_missing_attribute_of_a_property_is_named_itself() -> None:
    class Broken(edu.Layer):
        @property
        def size(self) -> Any:
            return self.missing

    with pytest.raises(AttributeError, match="missing"):
        _ = Broken().size


# Under transforms


def test_a_layer_can_be_built_while_a_function_is_compiled(device: str) -> None:
    layer = Affine(offset=1.0)
    step = edu.jit(lambda x: layer(x) * 2)
    for _ in range(2):
        assert step(edu.ones((2, 3))).tolist() == [[4.0] * 3] * 2
    layer.factor.assign([2.0, 2.0, 2.0])
    assert step(edu.ones((2, 3))).tolist() == [[6.0] * 3] * 2
    assert step.cache_info().misses == 1


def test_weights_are_drawn_when_they_are_made_not_when_the_program_runs() -> None:
    edu.random.seed(0)
    eager = layers.Dense(3)
    eager(edu.ones((1, 4)))
    edu.random.seed(0)
    compiled = layers.Dense(3)
    edu.jit(lambda x: compiled(x))(edu.ones((1, 4)))
    assert eager.kernel.tolist() == compiled.kernel.tolist()


def test_gradients_reach_weights_by_a_tape_and_inputs_by_grad() -> None:
    layer = Affine(offset=2.0)
    x = edu.tensor([[1.0, 2.0, 3.0]])
    with edu.GradientTape() as tape:
        loss = (layer(x) ** 2).sum()
    (gradient,) = tape.gradient(loss, layer.trainable_weights)
    # d/df (x f + 2)^2 = 2 (x f + 2) x, at f = 1
    assert gradient.tolist() == [6.0, 16.0, 30.0]

    def loss_of(x: edu.Tensor) -> edu.Tensor:
        return (layer(x) ** 2).sum()

    assert edu.grad(loss_of)(x).tolist() == [[6.0, 8.0, 10.0]]
    assert edu.jit(edu.grad(loss_of))(x).tolist() == [[6.0, 8.0, 10.0]]


def test_building_is_not_recorded() -> None:
    class Twice(edu.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(1,), initializer="ones")
            self.w.assign(self.w * 3)

        def call(self, inputs: Any) -> Any:
            return inputs * self.w

    layer = Twice()
    with edu.GradientTape() as tape:
        y = layer(edu.ones((1, 1))).sum()
    assert repr(tape).count("multiply") == 1
    assert tape.gradient(y, layer.w).tolist() == [1.0]
    assert y.item() == 3.0


def test_vmap_of_a_call_gives_a_gradient_for_each_example() -> None:
    layer = Affine()
    X = edu.tensor([[1.0, 2.0], [3.0, 4.0]])

    def gradient(x: edu.Tensor) -> edu.Tensor:
        with edu.GradientTape() as tape:
            loss = (layer(x[None]) ** 2).sum()
        return tape.gradient(loss, layer.factor)

    assert edu.vmap(gradient)(X).tolist() == [[2.0, 8.0], [18.0, 32.0]]
    np.testing.assert_array_equal(edu.vmap(lambda x: layer(x[None])[0])(X), layer(X))


# Losses


def test_losses_are_those_of_the_last_call() -> None:
    class Penalty(edu.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            if training:
                self.add_loss([x.sum(), 2 * x.sum()])
            return x

    class Twice(edu.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.penalty = Penalty()

        def call(self, x: Any) -> Any:
            return self.penalty(self.penalty(x))

    outer = Twice()
    x = edu.ones(3)
    for _ in range(2):
        outer(x, training=True)
        assert [loss.item() for loss in outer.losses] == [3.0, 6.0, 3.0, 6.0]
    outer(x, training=False)
    assert outer.losses == []


def test_losses_of_calls_before_are_not_kept() -> None:
    class Penalty(edu.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(x.sum())
            return x

    layer = Penalty()
    layer(edu.ones(3))
    before = weakref.ref(layer.losses[0])
    layer(edu.ones(3))
    assert before() is None


def test_losses_of_a_compiled_call_do_not_outlive_it() -> None:
    layer = layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l1")

    @edu.jit
    def step(x: edu.Tensor) -> Any:
        layer(x)
        return layer.losses

    inside = step(edu.ones((2, 2)))
    assert len(inside) == 2
    assert len(layer.losses) == 1  # that of the weights
    layer(edu.ones((2, 2)))
    np.testing.assert_allclose([x.item() for x in layer.losses], [x.item() for x in inside], 1e-6)


# Masks


def test_a_mask_goes_when_its_tensor_goes() -> None:
    layer = layers.Masking()
    x = layer(np.array([[[1.0], [0.0]]]))
    assert base.mask_of(x).tolist() == [[True, False]]
    del x
    assert not base._masks


def test_a_mask_that_is_given_wins_and_is_passed_on() -> None:
    class Takes(edu.Layer):
        supports_masking = True

        def call(self, inputs: Any, mask: Any = None) -> Any:
            self.seen = mask
            return inputs * 2

    layer = Takes()
    y = layer(np.ones((1, 2, 1)), mask=np.array([[True, False]]))
    assert layer.seen.tolist() == base.mask_of(y).tolist() == [[True, False]]
    layer(np.ones((1, 2, 1)))
    assert layer.seen is None
    layer(layers.Masking()(np.zeros((1, 2, 1))))
    assert layer.seen.tolist() == [[False, False]]


def test_a_model_leaves_the_mask_that_its_last_layer_leaves() -> None:
    class Last(edu.Layer):
        supports_masking = True

        def call(self, inputs: Any) -> Any:
            return inputs[:, -1]

        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
            return None

    x = layers.Masking()(np.array([[[1.0], [0.0]]]))
    start = edu.Input((2, 1))
    for model in (edu.Sequential([Last()]), edu.Model(start, Last()(start))):
        assert base.mask_of(model(x)) is None
    for model in (edu.Sequential([layers.ReLU()]), edu.Model(start, layers.ReLU()(start))):
        assert base.mask_of(model(x)).tolist() == [[True, False]]


def test_masks_work_in_a_compiled_function() -> None:
    model = edu.Sequential([layers.Masking(), layers.Activation("tanh")])

    @edu.jit
    def mask(x: edu.Tensor) -> Any:
        return base.mask_of(model(x))

    assert mask(edu.tensor([[[1.0], [0.0]]])).tolist() == [[True, False]]


# Precision


class Counts(edu.Layer):
    """Multiplies by a weight, and keeps a mean."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="w")
        self.mean = self.add_weight(
            (input_shape[-1],), "zeros", trainable=False, autocast=False, name="mean"
        )
        self.total = self.add_weight((), "zeros", trainable=False, name="total")

    def call(self, inputs: Any) -> Any:
        self.dtypes = inputs.dtype.name, self.w.dtype.name, self.mean.dtype.name
        self.mean.assign(self.mean * 0.5 + inputs.mean(axis=0).astype("float32"))
        self.total.assign_add(1.0)
        return inputs * self.w


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_mixed_precision_reads_weights_in_half_and_keeps_them_whole(half: str) -> None:
    layer = Counts(dtype=f"mixed_{half}")
    x = np.full((2, 2), 2.0)
    for call in (layer, edu.jit(lambda x: layer(x))):
        y = call(edu.tensor(x))
        assert y.dtype.name == half
        assert layer.dtypes == (half, half, "float32")
        assert layer.w.dtype == layer.total.dtype == "float32"
    assert (layer.total.item(), layer.mean.tolist()) == (2.0, [3.0, 3.0])
    copied = pickle.loads(pickle.dumps(layer))
    assert copied(x).dtype.name == half


def test_a_float32_layer_in_a_mixed_one_computes_in_float32() -> None:
    class Outer(edu.Layer):
        def __init__(self) -> None:
            super().__init__(dtype="mixed_float16")
            self.inner = Counts(dtype="float32")
            self.half = Counts(dtype="mixed_float16")

        def call(self, inputs: Any) -> Any:
            return self.half(self.inner(inputs))

    layer = Outer()
    assert layer(np.ones((1, 2))).dtype == "float16"
    assert layer.inner.dtypes == ("float32",) * 3
    assert layer.half.dtypes == ("float16", "float16", "float32")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(errors.ArgumentError, match="mixed_float16"):
        layers.set_dtype_policy("mixed_float8")
    with pytest.raises(errors.DtypeError):
        edu.Layer(dtype="float33")


# Shapes


def test_output_shapes_are_found_without_computing_building_or_drawing() -> None:
    layer = layers.Dense(5)
    before = edu.random.state()
    assert layer.compute_output_shape((None, 7, 3)) == (None, 7, 5)
    assert layer.compute_output_shape((2, 3)) == (2, 5)
    assert not layer.built
    assert edu.random.state() == before


def test_output_shapes_of_structures() -> None:
    class Splits(edu.Layer):
        def call(self, inputs: Any) -> Any:
            x, y = inputs
            return {"sum": x + y, "first": x[0], "rows": edu.concat([x, y], axis=0)}

    found = Splits().compute_output_shape([(None, 3), (None, 3)])
    assert found == {"sum": (None, 3), "first": (3,), "rows": (None, 3)}


def test_a_layer_that_needs_values_says_its_shape_itself() -> None:
    class Asks(edu.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs if inputs.sum() > 0 else -inputs

    class Says(Asks):
        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    with pytest.raises(errors.TracingError, match=r"'asks'.*compute_output_shape"):
        Asks()(edu.Input((2,)))
    assert Says()(edu.Input((2,))).shape == (None, 2)


# Copies


def test_copies_have_weights_of_their_own() -> None:
    layer = Affine(offset=1.0, name="a")
    layer(edu.ones((1, 2)))
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert copied.name == "a"
        copied.factor.assign([5.0, 5.0])
        assert copied.weights[0] is copied.factor
        assert copied(edu.ones((1, 2))).tolist() == [[6.0, 6.0]]
    assert layer.factor.tolist() == [1.0, 1.0]


def test_a_frozen_layer_stays_frozen_in_a_copy_and_can_be_thawed() -> None:
    layer = Affine()
    layer.build((None, 2))
    layer.trainable = False
    copied = pickle.loads(pickle.dumps(layer))
    assert copied.trainable_weights == []
    copied.trainable = True
    with edu.GradientTape() as tape:
        loss = copied(edu.ones((1, 2))).sum()
    assert tape.gradient(loss, copied.factor).tolist() == [1.0, 1.0]


def test_a_configuration_makes_another_layer() -> None:
    layer = Affine(3.0, name="a", dtype="mixed_float16", trainable=False)
    config = layer.get_config()
    assert config == {
        "offset": 3.0,
        "name": "a",
        "dtype": "mixed_float16",
        "trainable": False,
    }
    again = Affine.from_config(json.loads(json.dumps(config)))
    assert (again.offset, again.name, again.compute_dtype) == (3.0, "a", "float16")
    assert not again.trainable


def test_a_layer_around_another_has_one_of_its_own_when_made_again() -> None:
    @edu.register("tests>around")
    class Around(edu.Layer):
        def __init__(self, inner: Any, scale: float = 2.0) -> None:
            super().__init__()
            self.inner = inner
            self.scale = scale

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs) * self.scale

    layer = Around(layers.Dense(3, "relu"))
    data = json.loads(json.dumps(registry.serialize(layer)))
    for again in (registry.deserialize(data), Around.from_config(layer.get_config())):
        assert again.inner is not layer.inner
        assert again.inner.units == 3
        assert again.scale == 2.0


def test_a_name_with_a_slash_is_refused() -> None:
    with pytest.raises(errors.ArgumentError, match="without '/'"):
        edu.Layer(name="a/b")


def test_what_is_jitted_inside_of_a_layer_knows_whether_it_is_training() -> None:
    class Jitted(edu.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = edu.layers.Dropout(0.5)
            self.helper = edu.jit(lambda x: self.dropout(x) * 2.0)

        def call(self, inputs: Any) -> Any:
            return self.helper(inputs)

    layer, x = Jitted(), np.ones((100,), "f4")
    assert 0.0 in layer(x, training=True).tolist()
    assert set(layer(x, training=False).tolist()) == {2.0}
    whole = edu.jit(lambda x: (layer(x, training=True), layer(x, training=False)))
    trained, not_trained = whole(x)
    assert 0.0 in trained.tolist()
    assert set(not_trained.tolist()) == {2.0}
