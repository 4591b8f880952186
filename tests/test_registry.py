"""Names for classes and functions, and objects as plain data and back."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import constraints, initializers, optimizers, registry, regularizers, schedules
from tinygrad_edu.errors import ArgumentError


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_registered", {})


class Scale(registry.Configured):
    def __init__(self, factor: float, bias: float = 0.5, **others: Any) -> None:
        self.factor = factor

    def __call__(self, x: float) -> float:
        return self.factor * x


def twice(x: float) -> float:
    return 2 * x


# What users give


@pytest.mark.parametrize(
    "name", ["glorot_uniform", "GlorotUniform", "glorotuniform", "GLOROT_UNIFORM"]
)
def test_a_name_is_found_however_it_is_written(name: str) -> None:
    assert type(initializers.get(name)) is initializers.GlorotUniform


def test_classes_are_called_and_instances_and_functions_are_as_they_are() -> None:
    made = initializers.Zeros()
    assert initializers.get(made) is made
    assert type(initializers.get(initializers.Zeros)) is initializers.Zeros
    assert initializers.get(twice) is twice
    assert type(optimizers.get("adamw")) is optimizers.AdamW


def test_nothing_is_no_initializer_but_no_optimizer_is_an_error() -> None:
    assert [module.get(None) for module in (initializers, regularizers, constraints)] == [None] * 3
    with pytest.raises(ArgumentError, match="optimizer: None is none"):
        optimizers.get(None)


@pytest.mark.parametrize(
    ("module", "given", "message"),
    [
        (initializers, "he_norml", "initializer: no 'he_norml'; did you mean 'he_normal'"),
        (optimizers, "adm", "optimizer: no 'adm'; did you mean 'adam'"),
        (regularizers, "zzz", "regularizer: no 'zzz'; there are l1, l1l2, l2, orthogonal"),
        (constraints, 3, "constraint: 3 is none; give a name, an instance"),
        (optimizers, object, "optimizer: <class 'object'> is none"),
    ],
)
def test_what_is_unknown_is_refused_with_what_there_is(
    module: Any, given: Any, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        module.get(given)


def test_a_class_that_needs_arguments_is_to_be_given_as_an_instance() -> None:
    with pytest.raises(ArgumentError, match=r"metric: MeanIoU .*'num_classes'.*MeanIoU\(...\)"):
        edu.metrics.get("mean_io_u")


def test_a_configuration_stands_for_what_it_was_made_of() -> None:
    made = initializers.get(registry.serialize(initializers.Constant(3.0)))
    assert made((2,)).tolist() == [3.0, 3.0]


def test_what_is_registered_is_found_by_name() -> None:
    edu.register("shop>twice")(twice)
    assert initializers.get("shop>twice") is twice
    with pytest.raises(ArgumentError, match="did you mean 'shop>twice'"):
        initializers.get("shop>twise")


# Keywords


class Handing(edu.layers.Dense):
    """As users write it: who takes the others is not known here."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)


class Holding(edu.layers.Layer):
    """Its keywords are its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options


class Plain(edu.layers.Dense):
    """Takes what Dense takes."""


class Bell(edu.callbacks.Callback):
    def __init__(self, loudness: int = 1) -> None:
        self.loudness = loudness


@pytest.mark.parametrize(
    ("make", "keyword", "message"),
    [
        (edu.layers.Dense, "activaton", "Dense: no argument 'activaton'; did you mean 'activation"),
        (edu.layers.LSTM, "nam", "LSTM: no argument 'nam'; did you mean 'name'"),
        (edu.layers.Conv2D, "kernelInitialiser", "did you mean 'kernel_initializer'"),
        (Plain, "activaton", "Plain: no argument 'activaton'; did you mean 'activation'"),
        (edu.Sequential, "layer", "Sequential: no argument 'layer'; did you mean 'layers'"),
        (optimizers.SGD, "momentm", "SGD: no argument 'momentm'; did you mean 'momentum'"),
        (optimizers.Adam, "lr", "Adam: no argument 'lr'; there are .*learning_rate, loss_scale"),
        (
            schedules.CosineDecay,
            "warmup",
            "CosineDecay: no argument 'warmup'; did you mean 'warmup",
        ),
        (edu.losses.Huber, "dleta", "Huber: no argument 'dleta'; did you mean 'delta'"),
        (edu.metrics.Accuracy, "dtyp", "Accuracy: no argument 'dtyp'; did you mean 'dtype'"),
        (edu.callbacks.EarlyStopping, "patence", "EarlyStopping: .* did you mean 'patience'"),
        (edu.train.Checkpointer, "keeps", "Checkpointer: .* did you mean 'keep'"),
        (Bell, "loudnes", "Bell: no argument 'loudnes'; did you mean 'loudness'"),
        (initializers.HeNormal, "sed", "HeNormal: no argument 'sed'; did you mean 'seed'"),
        (initializers.Zeros, "seed", "Zeros: no argument 'seed'$"),
    ],
)
def test_a_misspelled_keyword_is_refused_with_those_close_to_it(
    make: Any, keyword: str, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        make(**{keyword: 1})
    assert isinstance(caught.value, TypeError)  # as Python has it


def test_who_takes_any_keyword_is_left_alone() -> None:
    assert Holding(named="x").options == {"named": "x"}
    assert Handing(3, activation="relu").get_config()["activation"] == "relu"
    with pytest.raises(TypeError, match="'activaton'"):
        Handing(3, activaton="relu")


def test_what_has_no_configuration_has_a_name_to_be_shown() -> None:
    class Several(registry.Configured):
        def __init__(self, *parts: int) -> None: ...

    assert repr(Several(1, 2)) == "Several(...)"
    assert repr(Bell(3)) == "Bell(loudness=3)"


def test_a_class_without_arguments_takes_none() -> None:
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        initializers.Zeros(3)  # type: ignore[call-arg]


def test_a_configuration_that_lacks_an_argument_is_refused_by_name() -> None:
    with pytest.raises(ArgumentError, match=r"Conv2D: is not made of filters: .*'kernel_size'"):
        edu.layers.Conv2D.from_config({"filters": 3})


# Registering


def test_a_name_is_registered_once_for_one_thing() -> None:
    assert edu.register(twice) is twice
    assert edu.register("twice")(twice) is twice
    with pytest.raises(ArgumentError, match=r"'twice' stands for .*test_registry.twice already"):
        edu.register("twice")(Scale)


def test_the_same_definition_run_again_replaces_the_one_before() -> None:
    def define() -> type:
        class Again:
            pass

        return edu.register(Again)

    define()
    second = define()
    assert registry._registered == {"Again": second}


@pytest.mark.parametrize("name", ["", "layers.Dense"])
def test_names_that_would_not_be_told_from_the_librarys_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="is no name"):
        edu.register(name)(twice)


def test_only_classes_and_functions_are_registered() -> None:
    with pytest.raises(ArgumentError, match="takes a class or a function, not 3"):
        edu.register(3)


# Plain data


def _restored(given: Any) -> Any:
    """Through text, as in a file."""
    return registry.deserialize(json.loads(json.dumps(registry.serialize(given))))


@pytest.mark.parametrize(
    "given",
    [
        None,
        True,
        3,
        0.1,
        "text",
        [1, [2, "x"]],
        (1, (2.5, [3])),
        {"a": (1,), "b": None},
        {1: "one", ("x", 2): [3]},
        {"class": "not one", "config": 1},
        [],
        {},
    ],
)
def test_plain_values_come_back_as_they_were(given: Any) -> None:
    found = _restored(given)
    assert found == given
    assert type(found) is type(given)


def test_arrays_come_back_with_dtype_and_every_bit() -> None:
    array = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    for given in (array, edu.tensor(array), edu.Variable(array)):
        found = _restored(given)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array)
    assert _restored(np.float64(0.1)) == 0.1
    assert _restored(np.zeros((0, 2))).shape == (0, 2)


def test_dtypes_come_back_as_names() -> None:
    assert [_restored(given) for given in (np.dtype("int8"), np.float64)] == ["int8", "float64"]


@pytest.mark.parametrize(
    "given",
    [
        initializers.VarianceScaling(2.0, mode="fan_out", seed=3),
        initializers.Constant(0.5),
        regularizers.L1L2(0.1, 0.2),
        constraints.MaxNorm(3, axis=(0, 1)),
        schedules.PiecewiseConstantDecay([1, 2], [0.3, 0.2, 0.1]),
        optimizers.RMSprop(0.125, momentum=0.5, clipnorm=1.0),
        optimizers.SGD(schedules.CosineDecay(0.1, 100)),
        optimizers.LossScaleOptimizer(optimizers.Adam(0.5), dynamic_growth_steps=7),
    ],
    ids=lambda given: type(given).__name__,
)
def test_objects_come_back_from_their_configuration(given: Any) -> None:
    found = _restored(given)
    assert type(found) is type(given)
    assert registry.serialize(found) == registry.serialize(given)
    for again in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
        assert registry.serialize(again) == registry.serialize(given)


def test_names_in_data_say_where_a_class_of_the_library_is() -> None:
    assert registry.serialize(initializers.Zeros()) == {"class": "initializers.Zeros", "config": {}}
    assert registry.serialize(edu.ops.relu) == {"function": "ops.relu"}
    assert _restored(edu.ops.softmax) is edu.ops.softmax
    assert _restored(optimizers.Adam) is optimizers.Adam


def test_classes_and_functions_of_ones_own_come_back_once_registered() -> None:
    for given in (Scale(2.0), twice, lambda x: x):
        with pytest.raises(ArgumentError, match=r"has no name: give it one with @edu\.register"):
            registry.serialize(given)
    edu.register("shop>Scale")(Scale)
    edu.register(twice)
    found, function = _restored([Scale(2.0, colour="red"), twice])
    assert found.get_config() == {"factor": 2.0, "bias": 0.5, "colour": "red"}
    assert function is twice


def test_a_configuration_needs_names() -> None:
    class Many(registry.Configured):
        def __init__(self, *parts: int) -> None: ...

    assert Many().get_config() == {}
    with pytest.raises(ArgumentError, match=r"Many: `\*parts` has no names"):
        Many(1, 2).get_config()


# Data that is wrong, or means harm


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"class": "initializers.Zeroes"}, "did you mean 'initializers.Zeros'"),
        (
            {"class": "os.system", "config": {"command": "false"}},
            "no class or function 'os.system'",
        ),
        ({"function": "builtins.eval"}, "no class or function 'builtins.eval'"),
        ({"function": "initializers.random"}, "no class or function"),
        ({"class": "initializers.registry.Configured"}, "no class or function"),
        ({"class": "initializers.__builtins__"}, "no class or function"),
        ({"class": ["initializers.Zeros"]}, "no class or function"),
        ({"class": "ops.relu"}, "'ops.relu' is no class that can be configured"),
        ({"class": "initializers.Zeros", "config": [1]}, "is .1., no dict"),
        (
            {"class": "initializers.Constant", "config": {"valu": 1}},
            "Constant: no argument 'valu'; did you mean 'value'",
        ),
        ({"tuple": 3}, "'tuple' is 3, which is no list"),
        ({"dict": [[1]]}, "which is no list of its parts"),
        ({"array": [1.0], "dtype": "object"}, "cannot hold object"),
        ({"array": [1, "x"], "dtype": "int32", "shape": [2]}, "no array of int32"),
        ({"array": [1, 2], "dtype": "int32", "shape": [3]}, "no array of int32"),
    ],
    ids=str,
)
def test_data_that_names_anything_else_is_refused(data: Any, message: str) -> None:
    with pytest.raises(edu.Error, match=message):
        registry.deserialize(data)


def test_nothing_in_data_is_executed(tmp_path: Any) -> None:
    trap = tmp_path / "sprung"
    text = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    data = {"class": "initializers.Constant", "config": {"value": text, "more": {"eval": text}}}
    with pytest.raises(edu.Error):
        registry.deserialize(data)
    assert registry.deserialize({"code": text, "list": [text]}) == {"code": text, "list": [text]}
    assert not trap.exists()
