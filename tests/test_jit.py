"""jit: compiled functions give what the same functions give without it."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import re
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, ops


def same(found: Any, wanted: Any) -> None:
    """Two nested structures hold the same numbers, of the same dtypes, to rounding."""
    these, structure = edu.tree.flatten(found)
    those, other = edu.tree.flatten(wanted)
    assert structure == other
    for x, y in zip(these, those, strict=True):
        assert type(x) is type(y)
        if not isinstance(y, edu.Tensor):
            assert x == y
            continue
        assert (x.dtype, x.shape, x.device) == (y.dtype, y.shape, y.device)
        np.testing.assert_allclose(
            x.numpy().astype("float64"), y.numpy().astype("float64"), rtol=1e-5, atol=1e-6
        )


def as_eager(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a jitted function gives, first traced and then found, held against the function."""
    jitted = edu.jit(function)
    wanted = function(*args, **kwargs)
    for _ in range(3):
        same(jitted(*args, **kwargs), wanted)
    assert jitted.cache_info()[:2] == (2, 1)
    return wanted


# Arguments and results


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Layer:
    W: Any
    b: Any = None


def test_nested_structures_go_in_and_come_out(device: str) -> None:
    def function(layers: Any, point: Any, *, scale: Any) -> Any:
        for layer in layers:
            point = Pair(point.right @ layer.W * scale["k"], point.left)
        return {"point": point, "rest": [None, (layers[0].W, 3, "text")]}, point.left.sum()

    layers = [Layer(edu.eye(2) * 2.0), Layer(edu.eye(2) + 1.0)]
    as_eager(function, layers, Pair(edu.ones(2), edu.arange(2.0)), scale={"k": edu.tensor(3.0)})


def test_a_registered_class_goes_in_and_comes_out() -> None:
    class Box:
        def __init__(self, held: Any) -> None:
            self.held = held

    edu.tree.register(Box, lambda box: ([box.held], None), lambda _, held: Box(*held))
    found = edu.jit(lambda box: Box(box.held * 2.0))(Box(edu.ones(2)))
    assert type(found) is Box
    assert found.held.tolist() == [2, 2]


def test_a_function_is_traced_once_for_each_structure() -> None:
    traced = []

    @edu.jit
    def total(values: Any) -> Any:
        traced.append(len(values))
        leaves = edu.tree.leaves(values)
        return sum(leaves[1:], leaves[0])

    x = edu.tensor(1.0)
    for values in ([x], [x, x], {"a": x}, {"b": x}, [x], [x, x], {"a": x}):
        assert total(values).item() == len(values)
    assert traced == [1, 2, 1, 1]


def test_arguments_by_position_and_by_name() -> None:
    @edu.jit
    def line(x: Any, slope: Any = 2.0, *more: Any, offset: Any = 0.0, **rest: Any) -> Any:
        return x * slope + offset + sum(more) + sum(rest.values())

    x = edu.tensor(3.0)
    assert line(x).item() == 6
    assert line(x=x).item() == 6
    assert line(x, 3.0).item() == 9
    assert line(x, offset=x).item() == 9
    assert line(x, slope=x, offset=1).item() == 10
    assert line(x, 1.0, 2.0, 3.0, offset=4.0, other=5.0).item() == 17


def test_results_that_are_arguments_constants_or_no_tensors(device: str) -> None:
    constant = edu.tensor([1.0, 2.0])

    def function(x: Any) -> Any:
        return x, x, constant, edu.zeros(2), None, 3, "text", (x + 1.0,) * 2

    as_eager(function, edu.tensor([3.0, 4.0]))


def test_a_result_that_is_one_number() -> None:
    assert edu.jit(lambda x: 3)(edu.ones(2)) == 3
    assert edu.jit(lambda x: None)(edu.ones(2)) is None
    assert edu.jit(lambda: edu.ones(2) * 2.0)().tolist() == [2, 2]


def test_a_decorator_keeps_name_and_documentation() -> None:
    @edu.jit
    def square(x: Any) -> Any:
        """x times itself."""
        return x * x

    @edu.jit(static_argnames="n")
    def power(x: Any, n: int) -> Any:
        return x**n

    assert (square.__name__, square.__doc__) == ("square", "x times itself.")
    assert "square" in repr(square)
    assert square(edu.tensor(3.0)).item() == 9
    assert power(edu.tensor(3.0), 3).item() == 27


def test_copies_have_programs_of_their_own() -> None:
    class Scale:
        def __init__(self) -> None:
            self.factor = edu.Variable(2.0)
            self.call = edu.jit(self.__call__)

        def __call__(self, x: Any) -> Any:
            return x * self.factor

    first = Scale()
    assert first.call(edu.tensor(3.0)).item() == 6
    second = copy.deepcopy(first)
    second.factor.assign(10.0)
    assert second.call(edu.tensor(3.0)).item() == 30
    assert first.call(edu.tensor(3.0)).item() == 6


@edu.jit
def doubled(x: Any) -> Any:
    return x * 2.0


def test_what_has_a_name_is_pickled_by_it() -> None:
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy(doubled) is doubled


def test_methods_can_be_jitted() -> None:
    class Model:
        def __init__(self, slope: float) -> None:
            self.slope = edu.Variable(slope)

        @edu.jit
        def __call__(self, x: Any) -> Any:
            return x * self.slope

        @edu.jit
        def train(self, x: Any) -> None:
            self.slope.assign_add(x)

    first, second = Model(2.0), Model(3.0)
    x = edu.tensor(10.0)
    assert (first(x).item(), second(x).item()) == (20, 30)
    first.train(x)
    assert (first(x).item(), second(x).item()) == (120, 30)
    assert isinstance(Model.train, type(edu.jit(lambda: None)))


def test_subclasses_of_tensor_stay_what_they_are() -> None:
    class Mine(edu.Tensor):
        pass

    kept = []

    def function(x: Any) -> Any:
        kept.append(type(x + 1.0))
        return x * 2.0, edu.zeros(2)

    x = edu.tensor([1.0, 2.0])
    mine = edu.tensors.wrap(Mine, x._data, x._device, None)
    jitted = edu.jit(function)
    for _ in range(2):
        found, plain = jitted(mine)
        assert type(found) is Mine
        assert type(plain) is edu.Tensor
    assert kept == [Mine]
    assert type(jitted(x)[0]) is edu.Tensor


# What is static


def test_static_arguments_by_number_and_by_name() -> None:
    traced = []

    def repeat(x: Any, times: int, how: str = "add") -> Any:
        traced.append((times, how))
        for _ in range(times):
            x = x + x if how == "add" else x * x
        return x

    jitted = edu.jit(repeat, static_argnums=1, static_argnames=("how",))
    x = edu.tensor(3.0)
    assert jitted(x, 2).item() == 12
    assert jitted(x, times=2).item() == 12
    assert jitted(x, 2, "times").item() == 81
    assert jitted(x, 2, how="times").item() == 81
    assert jitted(x, 1, "times").item() == 9
    assert jitted(x, 2).item() == 12
    assert set(traced) == {(2, "add"), (2, "times"), (1, "times")}


def test_static_values_are_told_apart_by_type_too() -> None:
    jitted = edu.jit(lambda x, y: x * y, static_argnums=1)
    x = edu.tensor([1, 2])
    assert jitted(x, 1).dtype == edu.int32
    assert jitted(x, 1.0).dtype == edu.float32
    assert jitted(x, True).dtype == edu.int32


@dataclasses.dataclass(frozen=True)
class Factor:
    value: float


@pytest.mark.filterwarnings("ignore:.*traced 8 times")
@pytest.mark.parametrize(
    "wrapped", [lambda y: y, lambda y: (y,), lambda y: ("a", (None, y)), lambda y: Factor(y)]
)
def test_static_values_that_are_equal_and_not_the_same(wrapped: Callable[[Any], Any]) -> None:
    def function(x: Any, static: Any) -> Any:
        return x * edu.tree.leaves(static)[-1]

    jitted, x = edu.jit(function, static_argnums=1), edu.tensor([1, 2])
    for y in (0, 0.0, -0.0, False, np.float32(0), np.float32(-0.0), 1, 1.0, True):
        found, wanted = jitted(x, wrapped(y)), function(x, y)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(np.signbit(found.numpy()), np.signbit(wanted.numpy()))
    assert jitted.cache_info().size == 9
    jitted(x, wrapped(-0.0))
    assert jitted.cache_info().size == 9


def test_booleans_text_and_functions_are_static_by_themselves() -> None:
    @edu.jit
    def function(x: Any, double: bool, how: str, f: Any) -> Any:
        x = f(x)
        if double:
            x = x * 2.0
        return x if how == "plain" else -x

    x = edu.tensor([1.0])
    assert function(x, True, "plain", edu.negative).tolist() == [-2]
    assert function(x, False, "plain", edu.abs).tolist() == [1]
    assert function(x, False, "negative", edu.abs).tolist() == [-1]


def test_what_is_not_hashable_cannot_be_static() -> None:
    class Settings:
        __hash__ = None  # type: ignore[assignment]

    x = edu.ones(2)
    with pytest.raises(errors.TracingError, match=r"static argument 1.*list.*tuple"):
        edu.jit(lambda x, n: x, static_argnums=1)(x, [1, 2])
    with pytest.raises(errors.TracingError, match=r"static argument 'n'.*dict"):
        edu.jit(lambda x, n: x, static_argnames="n")(x, n={"a": 1})
    with pytest.raises(errors.TracingError, match=r"Settings.*edu\.tree\.register"):
        edu.jit(lambda x, n: x)(x, Settings())


def test_settings_of_jit_that_make_no_sense() -> None:
    with pytest.raises(errors.ArgumentError, match="takes a function"):
        edu.jit(3)  # type: ignore[call-overload]
    with pytest.raises(errors.ArgumentError, match="static_argnums"):
        edu.jit(lambda x: x, static_argnums=-1)
    with pytest.raises(errors.ArgumentError, match="static_argnames"):
        edu.jit(lambda x: x, static_argnames=[3])  # type: ignore[list-item]
    with pytest.raises(errors.ArgumentError, match=r"'times'.*\['x', 'n'\]"):
        edu.jit(lambda x, n: x, static_argnames="times")
    with pytest.raises(errors.ArgumentError, match=r"2.*\['x', 'n'\]"):
        edu.jit(lambda x, n: x, static_argnums=2)
    edu.jit(lambda x, *n, **more: x, static_argnums=2, static_argnames="times")


# Numbers and arrays


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "bool"])
@pytest.mark.parametrize("number", [3, 2.5, True, np.float64(2.5), np.int64(3), np.float32(0.5)])
def test_numbers_give_way_to_arrays_as_they_do_eagerly(dtype: str, number: Any) -> None:
    def function(x: Any, y: Any) -> Any:
        return x + y, y * x, edu.where(x > 0, x, y), (y + 1) * x

    as_eager(function, edu.ones(3, dtype=dtype), number)


def test_numbers_alone_are_as_eagerly() -> None:
    def function(x: Any, y: Any) -> Any:
        return edu.exp(x), x + y, edu.add(x, 1), edu.tensor([1, 2]) * x, edu.stack([x, y])

    for x, y in [(1, 2), (1.5, 2), (np.float64(1.5), np.float64(2)), (np.int64(1), np.int64(2))]:
        wanted, found = function(x, y), edu.jit(function)(x, y)
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == edu.tensor(b).dtype
            np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=1e-6)


RATES = [0.1, 1 / 3]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, a, n: x * a,
        lambda x, a, n: a - x,
        lambda x, a, n: x + a * n,
        lambda x, a, n: x + n / 7,
        lambda x, a, n: x * -(a**2 + 1),
        lambda x, a, n: x + n // 2 * a,
    ],
)
def test_numbers_meet_floats_unrounded(
    function: Callable[..., Any], dtype: str, rate: float
) -> None:
    x = np.array([1.0, 3.0], dtype)
    found = edu.jit(function)(edu.tensor(x), rate, 3)
    assert found.dtype == dtype
    rtol = float(2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(found.numpy(), function(x, rate, 3), rtol=rtol)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("number", [3, -7, 2**31, 2**40 + 1, -(2**62)])
def test_integers_meet_wide_integers_whole(number: int) -> None:
    x = np.array([1, -1], "int64")
    functions: list[Callable[..., Any]] = [lambda x, n: x * n, lambda x, n: n // 2 - (x + (n - 1))]
    for function in functions:
        found = edu.jit(function)(edu.tensor(x), number)
        assert found.dtype == "int64"
        np.testing.assert_array_equal(found.numpy(), function(x, number))


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("kind", [int, np.int64])
@pytest.mark.parametrize(("dtype", "number"), [("int32", 2**31), ("int8", 300), ("uint8", -1)])
def test_integers_that_do_not_fit_raise_as_they_do_eagerly(
    dtype: str, number: int, kind: Callable[[int], Any]
) -> None:
    x, jitted = edu.ones(2, dtype=dtype), edu.jit(lambda x, n: x * n)
    np.testing.assert_array_equal(jitted(x, kind(3)).numpy(), [3, 3])
    with pytest.raises(errors.DtypeError):
        _ = x * kind(number)
    words = f"argument 'n': {number} does not fit in {dtype}"
    with pytest.raises(errors.DtypeError, match=f"multiply: {words}"):
        jitted(x, kind(number))
    np.testing.assert_array_equal(jitted(x, 3).numpy(), [3, 3])
    turns = edu.jit(lambda x, n: edu.fori_loop(0, 2, lambda i, v: v * n, x))
    with pytest.raises(errors.DtypeError, match=words):
        turns(x, kind(number))


@pytest.mark.usefixtures("device")
def test_integers_of_more_than_64_bits_are_refused() -> None:
    x, jitted = edu.ones(2, dtype="int64"), edu.jit(lambda x, n: x * n)
    with pytest.raises(errors.DtypeError, match=f"{2**63} does not fit in int64"):
        jitted(x, 2**63)


@pytest.mark.usefixtures("device")
def test_numbers_that_are_returned_have_the_dtype_of_numbers() -> None:
    found = edu.jit(lambda a, n: (a, n, a * n, n / 2, edu.exp(a)))(0.1, 3)
    wanted = (0.1, 3, 0.1 * 3, 1.5, np.exp(np.float32(0.1)))
    for y, z, dtype in zip(found, wanted, ["float32", "int32", *["float32"] * 3], strict=True):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), np.array(z, dtype), rtol=2e-7)
    with pytest.raises(errors.DtypeError, match="does not fit in int32"):
        edu.jit(lambda n: n)(2**31)


@pytest.mark.usefixtures("device")
def test_one_program_serves_numbers_and_wide_arrays() -> None:
    x, jitted = np.array([1.0, 3.0]), edu.jit(lambda x, a: x * a)
    for a in (0.1, 0.2, np.float32(0.1)):
        np.testing.assert_array_equal(jitted(edu.tensor(x, dtype="float64"), a).numpy(), x * a)
    assert jitted.cache_info().misses == 1


LOOPS: dict[str, Callable[..., Any]] = {
    "counter": lambda x, a: edu.fori_loop(0, 4, lambda i, v: v + i * 0.1, x),
    "captured": lambda x, a: edu.fori_loop(0, 4, lambda i, v: v * a + i * a, x),
    "nested": lambda x, a: edu.fori_loop(
        0, 2, lambda i, v: edu.fori_loop(0, 2, lambda j, w: w * a + i * 0.1 + j, v), x
    ),
    "start": lambda x, a: edu.fori_loop(0, 3, lambda i, v: v + x, a),
    "while": lambda x, a: edu.while_loop(lambda v: v < 2.0, lambda v: v + a, x),
    "scan": lambda x, a: edu.scan(lambda c, r: (c + r * a, c), x, edu.stack([x, x]))[0],
    "cond": lambda x, a: edu.cond(x < 2.0, lambda: x * a, lambda: x),
    "branch": lambda x, a: edu.cond(x < 2.0, lambda: a, lambda: x),
    "literal": lambda x, a: edu.cond(x < 2.0, lambda: 0.1, lambda: x),
    "vmap": lambda x, a: edu.vmap(lambda r: r * a + a * 3)(edu.stack([x, x]))[1],
    "mapped": lambda x, a: edu.vmap(lambda r, b: r * (b + 1), in_axes=(0, None))(
        edu.stack([x, x]), a
    )[1],
    "loop in vmap": lambda x, a: edu.vmap(lambda r: edu.fori_loop(0, 3, lambda i, v: v + i * a, r))(
        edu.stack([x, x])
    )[1],
}


def _by_numpy(name: str, x: Any, a: float) -> Any:
    """The same, in Python's loops."""
    if name in ("counter", "captured"):
        for i in range(4):
            x = x + i * 0.1 if name == "counter" else x * a + i * a
    elif name == "nested":
        for i in range(2):
            for j in range(2):
                x = x * a + i * 0.1 + j
    elif name == "while":
        while x < 2.0:
            x = x + a
    elif name == "loop in vmap":
        for i in range(3):
            x = x + i * a
    else:
        others = {"start": a + x + x + x, "scan": x + x * a + x * a, "cond": x * a}
        others |= {"branch": a, "literal": 0.1, "vmap": x * a + a * 3, "mapped": x * (a + 1)}
        return others[name]
    return x


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", LOOPS)
def test_numbers_reach_loops_branches_and_batches_unrounded(name: str) -> None:
    x = edu.tensor(1.0, dtype="float64")
    found = edu.jit(LOOPS[name])(x, 0.3)
    assert found.dtype == "float64"
    np.testing.assert_allclose(found.numpy(), _by_numpy(name, np.float64(1.0), 0.3), rtol=1e-15)


@pytest.mark.usefixtures("device")
def test_gradients_are_of_unrounded_numbers() -> None:
    x = edu.tensor([1.0, 3.0], dtype="float64")
    inside = edu.jit(lambda x, a: edu.grad(lambda v: ((v * a) ** 2).sum())(x))
    outside = edu.grad(edu.jit(lambda x, a: ((x * a) ** 2).sum()))
    turns = edu.grad(
        edu.jit(lambda x, a: edu.fori_loop(0, 2, lambda i, v: v * a + i * 0.1, x).sum())
    )
    for found in (inside(x, 0.1), outside(x, 0.1)):
        np.testing.assert_allclose(found.numpy(), 2 * x.numpy() * 0.1**2, rtol=1e-15)
    np.testing.assert_allclose(turns(x, 0.1).numpy(), [0.1**2] * 2, rtol=1e-15)


def test_a_number_that_changes_does_not_trace_again() -> None:
    jitted = edu.jit(lambda x, rate: x * rate)
    x = edu.ones(2)
    assert [jitted(x, rate)[0].item() for rate in (1.0, 0.5, 0.25)] == [1, 0.5, 0.25]
    assert jitted.cache_info().misses == 1
    jitted(x, 2)
    assert jitted.cache_info().misses == 2  # an integer is of another dtype


def test_numpy_arrays_are_arguments_and_not_changed(device: str) -> None:
    def function(x: Any, y: Any) -> Any:
        return x, x + y, edu.reshape(x, (-1,)), x.T, x[0]

    x = np.arange(6, dtype="float32").reshape(2, 3)
    y = np.ones(3)
    kept = x.copy()
    jitted = edu.jit(function)
    for _ in range(3):
        found = jitted(x, y)
        same(found, function(edu.tensor(x), edu.tensor(y)))
        before = [f.numpy().copy() for f in found]
        x += 100
        for f, b in zip(found, before, strict=True):
            np.testing.assert_array_equal(f.numpy(), b)
        x -= 100
    np.testing.assert_array_equal(x, kept)
    assert jitted.cache_info().misses == 1


def test_arrays_that_lie_in_odd_order_and_odd_bytes() -> None:
    base = np.arange(24, dtype="float64").reshape(4, 6)
    jitted = edu.jit(lambda x: (x * 2.0).sum(axis=0))
    for array in (base, base[::2], base.T, base[:, ::-1], base.astype(">f8"), base[:0]):
        np.testing.assert_allclose(jitted(array).numpy(), (array * 2).sum(axis=0))


def test_what_has_no_dtype_here_is_refused_as_eagerly() -> None:
    with pytest.raises(errors.DtypeError, match="complex"):
        edu.jit(lambda x: x)(np.ones(2, complex))


@pytest.mark.filterwarnings("ignore:.*traced 8 times")
def test_shapes_and_dtypes_have_programs_of_their_own(device: str) -> None:
    traced = []

    @edu.jit
    def total(x: Any) -> Any:
        traced.append((x.shape, str(x.dtype)))
        return x.sum()

    shapes = [(3,), (2, 2), (), (0,)]
    for shape in shapes * 2:
        for dtype in ("float32", "int32"):
            assert total(edu.ones(shape, dtype=dtype)).item() == np.ones(shape).sum()
    assert len(traced) == len(set(traced)) == 8


def test_devices_have_programs_of_their_own() -> None:
    jitted = edu.jit(lambda x: x * 2.0)
    for name in ("numpy", "xla", "numpy"):
        assert jitted(edu.ones(2, device=name)).device == name
    assert jitted.cache_info() == (1, 2, 2, 64)
    with pytest.raises(errors.DeviceError, match=r"'numpy' and 'xla'.*x\.to"):
        edu.jit(lambda x, y: x)(edu.ones(2), edu.ones(2, device="xla"))


def test_making_tensors_inside_follows_the_chosen_device() -> None:
    jitted = edu.jit(lambda: edu.ones(2) + 1.0)
    assert jitted().device == "numpy"
    with edu.device("xla"):
        assert jitted().device == "xla"
    assert jitted().device == "numpy"


# State


def test_variables_are_read_as_they_are_at_the_call(device: str) -> None:
    v = edu.Variable([1.0, 2.0])
    jitted = edu.jit(lambda x: x * v)
    x = edu.tensor(10.0)
    assert jitted(x).tolist() == [10, 20]
    v.assign([3.0, 4.0])
    assert jitted(x).tolist() == [30, 40]
    assert jitted.cache_info().misses == 1


def test_variables_are_assigned(device: str) -> None:
    def steps(v: edu.Variable, count: edu.Variable, table: edu.Variable) -> Callable[..., Any]:
        def step(x: Any) -> Any:
            before = v.value
            v.assign(v * 2.0)
            v.assign_add(x)
            v.assign_sub(0.5)
            count.assign_add(1)
            table[1].assign(v)
            table[0, 1].assign_add(x)
            table[:, 0].assign_sub([1.0, 2.0])
            return before, v.value, v, count.value, table[1]

        return step

    def state() -> list[edu.Variable]:
        return [
            edu.Variable([1.0, 2.0]),
            edu.Variable(0, dtype="int32"),
            edu.Variable(np.zeros((2, 2), "float32")),
        ]

    these, those = state(), state()
    jitted, plain = edu.jit(steps(*these)), steps(*those)
    for i in range(4):
        found, wanted = jitted(edu.tensor(float(i))), plain(edu.tensor(float(i)))
        assert found[2] is these[0]
        same([found[:2], found[3], found[4].value], [wanted[:2], wanted[3], wanted[4].value])
        same([v.value for v in these], [v.value for v in those])
    assert jitted.cache_info().misses == 1


def test_variables_as_arguments_and_in_structures() -> None:
    @edu.jit
    def step(model: Any, x: Any) -> Any:
        model["v"].assign_add(x)
        return model

    v, w = edu.Variable([1.0]), edu.Variable([5.0])
    x = edu.tensor([1.0])
    assert step({"v": v}, x)["v"] is v
    assert step({"v": w}, x)["v"] is w
    assert step({"v": v}, x)["v"] is v
    assert (v.item(), w.item()) == (3, 6)
    assert step.cache_info().misses == 2


def test_a_variable_made_at_the_first_call_stays(device: str) -> None:
    class Dense:
        W: Any = None

        def __call__(self, x: Any) -> Any:
            if self.W is None:
                self.W = edu.Variable(edu.ones((x.shape[-1], 2)), name="W")
            self.W.assign_add(1.0)
            return x @ self.W

    layer, plain = Dense(), Dense()
    jitted = edu.jit(layer)
    x = edu.tensor([[1.0, 2.0]])
    for _ in range(3):
        same(jitted(x), plain(x))
        same(layer.W.value, plain.W.value)
    assert layer.W.numpy().tolist() == [[4, 4], [4, 4]]
    assert layer.W.name == "W"


def test_a_variable_may_be_made_on_the_device_of_what_is_traced() -> None:
    made: list[Any] = []

    @edu.jit
    def f(x: Any) -> Any:
        if not made:
            made.append(edu.Variable([1.0, 2.0], device=x.device))
        return made[0] * x

    x = edu.tensor([3.0, 4.0])
    assert f(x).tolist() == f(x).tolist() == [3.0, 8.0]


def test_tensors_are_made_of_what_is_traced() -> None:
    f = edu.jit(
        lambda x: (edu.tensor(x, "float64") + 1, edu.full((2,), x.sum()), edu.full(3, x[0]))
    )
    a, b, c = f(np.array([1.0, 2.0], "f4"))
    assert (a.dtype, a.tolist()) == (np.float64, [2.0, 3.0])
    assert (b.tolist(), c.tolist()) == ([3.0, 3.0], [1.0, 1.0, 1.0])
    rows = edu.vmap(lambda x: edu.full((2,), x) + edu.tensor(x))(np.array([1.0, 2.0]))
    assert rows.tolist() == [[2.0, 2.0], [4.0, 4.0]]


def test_a_variable_made_from_what_is_traced_is_refused() -> None:
    made = []
    with pytest.raises(errors.TracingError, match=r"test_jit\.py"):
        edu.jit(lambda x: made.append(edu.Variable(x)))(edu.ones(2))


def test_variables_in_no_grad_and_not_trainable() -> None:
    v = edu.Variable([1.0, 2.0], trainable=False)

    @edu.jit
    def step(x: Any) -> Any:
        with edu.no_grad():
            v.assign_add(x)
        return v * 1.0

    same(step(edu.ones(2)), edu.tensor([2.0, 3.0]))
    with edu.no_grad():
        same(step(edu.ones(2)), edu.tensor([3.0, 4.0]))


def test_a_function_of_nothing_but_state_is_for_the_device_of_that() -> None:
    v, w = edu.Variable([1.0], device="xla"), edu.Variable([1.0])

    @edu.jit
    def step() -> Any:
        v.assign_add(1.0)
        return v * 1.0

    for wanted in (2.0, 3.0):
        y = step()
        assert (y.item(), y.device, v.device) == (wanted, "xla", "xla")
    with pytest.raises(errors.DeviceError, match=r"test_jit\.py.*'xla'.*'numpy'.*x\.to"):
        edu.jit(lambda: (w * 1.0, v * 1.0))()
    with pytest.raises(errors.DeviceError, match=r"test_jit\.py.*'numpy'.*'xla'.*x\.to"):
        edu.jit(lambda x: w.assign_add(x))(edu.ones(1, device="xla"))
    assert w.item() == 1


def test_only_what_a_call_assigns_is_written() -> None:
    v, w = edu.Variable([1.0]), edu.Variable([2.0])

    @edu.jit
    def swap() -> None:
        before = v.value
        v.assign(w)
        w.assign(before)

    for _ in range(3):
        swap()
    assert (v.item(), w.item()) == (2, 1)


def test_two_variables_may_get_the_same_value() -> None:
    v, w = edu.Variable([1.0]), edu.Variable([2.0])

    @edu.jit
    def step(x: Any) -> Any:
        y = x * 2.0
        v.assign(y)
        w.assign(y)
        return y

    @edu.jit
    def add() -> None:
        v.assign_add(1.0)

    y = step(edu.ones(1))
    add()
    add()
    assert (v.item(), w.item(), y.item()) == (4, 2, 2)


def test_an_argument_may_be_assigned() -> None:
    v = edu.Variable([1.0])

    @edu.jit
    def keep(x: Any) -> None:
        v.assign(x)

    @edu.jit
    def add() -> None:
        v.assign_add(1.0)

    x, array = edu.tensor([5.0]), np.array([7.0], "float32")
    keep(x)
    add()
    add()
    assert (v.item(), x.item()) == (7, 5)
    keep(array)
    add()
    add()
    assert (v.item(), array.item()) == (9, 7)
    array[0] = 100
    assert v.item() == 9


def test_gradients_are_added_up_by_backward(device: str) -> None:
    def step(W: Any) -> Callable[..., Any]:
        def function(x: Any, clear: bool = False) -> Any:
            if clear:
                W.grad = None
            loss = ((x @ W) ** 2).sum()
            loss.backward()
            return loss, W.grad

        return function

    these = edu.Variable([[1.0], [2.0]], requires_grad=True)
    those = edu.Variable([[1.0], [2.0]], requires_grad=True)
    jitted, plain = edu.jit(step(these)), step(those)
    x = edu.tensor([[1.0, 3.0]])
    for clear in (False, False, True, False, True):
        same(jitted(x, clear), plain(x, clear))
        same(these.grad, those.grad)
    assert these.grad is not None
    these.grad = None
    same(jitted(x)[1], edu.tensor([[14.0], [42.0]]))


def test_a_grad_that_is_cleared_is_none() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)

    @edu.jit
    def clear() -> None:
        x.grad = None

    (x * x).sum().backward()
    clear()
    assert x.grad is None
    clear()
    assert x.grad is None


def test_backward_goes_to_tensors_that_require_gradients(device: str) -> None:
    W = edu.tensor([1.0, 2.0], requires_grad=True)

    @edu.jit
    def step(x: Any) -> None:
        (x * W).sum().backward()

    step(edu.tensor([3.0, 4.0]))
    step(edu.tensor([3.0, 4.0]))
    assert W.grad is not None
    assert W.grad.tolist() == [6, 8]


def test_random_numbers_are_those_of_the_eager_function(device: str) -> None:
    def draw(x: Any) -> Any:
        noise = edu.random.normal(shape=(3,))
        return x + noise, edu.random.uniform(shape=(2,)), edu.random.permutation(None, 5)

    jitted = edu.jit(draw)
    edu.random.seed(0)
    wanted = [draw(edu.ones(3)) for _ in range(3)]
    after = edu.random.state()
    edu.random.seed(0)
    for each in wanted:
        same(jitted(edu.ones(3)), each)
    assert edu.random.state() == after
    assert jitted.cache_info().misses == 1


def test_keys_are_arguments() -> None:
    jitted = edu.jit(lambda key: edu.random.uniform(key, (2,)))
    for seed in (1, 2):
        same(jitted(edu.random.key(seed)), edu.random.uniform(edu.random.key(seed), (2,)))
    assert jitted.cache_info().misses == 1


def test_a_seed_set_inside_is_the_seed_afterwards() -> None:
    @edu.jit
    def draw() -> Any:
        edu.random.seed(7)
        return edu.random.uniform(shape=(2,))

    first, second = draw(), draw()
    same(first, second)
    state = edu.random.state()
    edu.random.seed(7)
    same(first, edu.random.uniform(shape=(2,)))
    assert edu.random.state() == state


def test_a_key_that_leaves_is_a_tensor_or_an_error() -> None:
    key = edu.random.key(3)
    found = edu.jit(lambda key: edu.random.split(key))(key)
    wanted = edu.random.split(key)
    for a, b in zip(found, wanted, strict=True):
        same(edu.random.key_data(a), edu.random.key_data(b))


def test_dropout_draws_anew_at_each_call() -> None:
    jitted = edu.jit(lambda x: x * edu.random.bernoulli(p=0.5, shape=x.shape))
    x = edu.ones(64)
    assert jitted(x).tolist() != jitted(x).tolist()


# Gradients


def cube(x: Any) -> Any:
    return (x * x * x).sum()


def test_tapes_inside(device: str) -> None:
    W = edu.Variable([[1.0], [2.0]])

    def gradients(x: Any) -> Any:
        with edu.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = edu.tanh(x @ W)
            loss = (y * y).mean()
        return loss, tape.gradient(loss, [W, x]), tape.gradient(y, x)

    as_eager(gradients, edu.tensor([[1.0, -1.0], [0.5, 0.25]]))


def test_tapes_outside(device: str) -> None:
    W = edu.Variable([[1.0], [2.0]])

    def layer(x: Any, scale: Any) -> Any:
        y = edu.tanh(x @ W)
        return {"y": y * scale, "count": y.shape[0], "index": edu.argmax(y)}

    def gradients(layer: Callable[..., Any]) -> Any:
        x, scale = edu.tensor([[1.0, -1.0], [0.5, 0.25]]), edu.tensor(2.0)
        with edu.GradientTape() as tape:
            tape.watch([x, scale])
            y = edu.exp(layer(x * 1.0, scale)["y"]).sum()
        return y, tape.gradient(y, {"W": W, "rest": [x, scale]})

    jitted = edu.jit(layer)
    for _ in range(2):
        same(gradients(jitted), gradients(layer))


def test_a_tape_outside_and_a_variable_that_is_only_read_inside(device: str) -> None:
    v = edu.Variable(3.0)
    jitted = edu.jit(lambda: v * v)
    for wanted in (6.0, 8.0):
        with edu.GradientTape() as tape:
            y = jitted()
        same(tape.gradient(y, v), edu.tensor(wanted))
        v.assign_add(1.0)


def test_backward_goes_through_a_compiled_function(device: str) -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    jitted = edu.jit(cube)
    for total in (1.0, 2.0):
        jitted(x * 1.0).backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), total * np.array([3.0, 12.0]))
    y = edu.tensor([1.0, 2.0], requires_grad=True)
    jitted(y).backward()
    same(y.grad, edu.tensor([3.0, 12.0]))


def test_backward_goes_to_a_variable_that_is_read_inside() -> None:
    v = edu.Variable([1.0, 2.0], requires_grad=True)
    jitted = edu.jit(lambda x: (x * v * v).sum())
    for _ in range(2):
        v.grad = None
        y = jitted(edu.tensor([1.0, 1.0]))
        assert y.requires_grad
        y.backward()
        same(v.grad, edu.tensor([2.0, 4.0]))


@pytest.mark.parametrize("order", ["grad of jit", "jit of grad", "jit of grad of jit"])
def test_grad_and_jit_in_any_order(order: str, device: str) -> None:
    x = edu.tensor([1.0, 2.0])
    f: Any = cube
    for step in reversed(order.split(" of ")):
        f = edu.jit(f) if step == "jit" else edu.grad(f)
    for _ in range(2):
        same(f(x), edu.tensor([3.0, 12.0]))


def test_second_and_third_derivatives(device: str) -> None:
    # d/dx x^3 = 3 x^2, d2/dx2 = 6 x, d3/dx3 = 6
    def f(x: Any) -> Any:
        return x * x * x

    jit, grad = edu.jit, edu.grad
    x = edu.tensor(2.0)
    for second in (
        grad(grad(jit(f))),
        grad(jit(grad(f))),
        jit(grad(grad(f))),
        jit(grad(jit(grad(jit(f))))),
    ):
        same(second(x), edu.tensor(12.0))
        same(second(x), edu.tensor(12.0))
    same(grad(grad(grad(jit(f))))(x), edu.tensor(6.0))


def test_value_and_grad_vjp_jvp_jacobian_and_hessian(device: str) -> None:
    def f(x: Any) -> Any:
        return edu.stack([x[0] * x[1], edu.sin(x[0])])

    x, u = edu.tensor([0.5, 2.0]), edu.tensor([1.0, -1.0])
    jitted = edu.jit(f)
    same(edu.jacobian(jitted)(x), edu.jacobian(f)(x))
    same(edu.jit(edu.jacobian(f))(x), edu.jacobian(f)(x))
    same(edu.vjp(jitted, x)[1](u), edu.vjp(f, x)[1](u))
    same(edu.jvp(jitted, (x,), (u,)), edu.jvp(f, (x,), (u,)))
    same(edu.jit(lambda x, u: edu.jvp(f, (x,), (u,)))(x, u), edu.jvp(f, (x,), (u,)))
    same(edu.hessian(edu.jit(cube))(x), edu.hessian(cube)(x))
    same(edu.jit(edu.hessian(cube))(x), edu.hessian(cube)(x))
    same(edu.jit(edu.value_and_grad(cube))(x), edu.value_and_grad(cube)(x))
    same(edu.value_and_grad(edu.jit(cube))(x), edu.value_and_grad(cube)(x))


def test_checkpoint_and_custom_gradient_inside(device: str) -> None:
    @edu.custom_gradient
    def clipped(x: Any) -> Any:
        return x * 1.0, lambda g: edu.minimum(g, 1.0)

    def f(x: Any) -> Any:
        inner = edu.checkpoint(lambda y: edu.sin(y) * y)
        return (clipped(inner(x)) * 5.0).sum()

    as_eager(edu.grad(f), edu.tensor([0.5, 2.0]))
    same(edu.grad(edu.jit(f))(edu.tensor([0.5, 2.0])), edu.grad(f)(edu.tensor([0.5, 2.0])))


def test_an_outer_tape_sees_what_it_sees_eagerly(device: str) -> None:
    """No gradient from no_grad, and an assignment is a new beginning: gradients go to the Variable
    from uses of every value that it had."""
    v = edu.Variable(3.0)

    def f(x: Any) -> Any:
        with edu.no_grad():
            y = x * 5.0
        first = v * x
        v.assign(v * 2.0)
        z = first + v * v + x * y + edu.stop_gradient(x) * x
        v.assign(v / 2.0)
        return z

    def gradients(f: Any) -> Any:
        x = edu.tensor(2.0)
        with edu.GradientTape() as tape:
            tape.watch(x)
            z = f(x)
        return z, tape.gradient(z, [x, v])

    jitted = edu.jit(f)
    # dz/dx = 3 + 5 * 2 + 2, dz/dv = 2 (first) + 2 * 6 (the second value, at 6)
    same(gradients(f), (edu.tensor(66.0 - 0.0), [edu.tensor(15.0), edu.tensor(14.0)]))
    for _ in range(2):
        same(gradients(jitted), gradients(f))


def test_no_grad_outside_and_inside() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    jitted = edu.jit(lambda x: x * 2.0)
    assert jitted(x).requires_grad
    with edu.no_grad():
        assert not jitted(x).requires_grad
    assert jitted(x).requires_grad
    assert not edu.no_grad()(jitted)(x).requires_grad

    @edu.jit
    def detached(x: Any) -> Any:
        with edu.no_grad():
            return x * 2.0

    assert detached(x).tolist() == [2, 4]


def test_a_result_that_does_not_depend_on_what_is_followed_has_no_gradient() -> None:
    jitted = edu.jit(lambda x, y: (x * 2.0, edu.argmax(x), y + 1.0))
    x, y = edu.tensor([1.0, 2.0]), edu.tensor([1.0])
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(x)
        a, _, c = jitted(x, y)
    same(tape.gradient(a, x), edu.tensor([2.0, 2.0]))
    found = tape.gradient(c, x)
    assert found is None or found.tolist() == [0, 0]


def test_gradients_of_integers_and_halves() -> None:
    def f(x: Any, i: Any) -> Any:
        return (x[i] * i).sum()

    i = edu.tensor([1, 2])
    for dtype in ("float16", "float64", "bfloat16"):
        x = edu.ones(4, dtype=dtype)
        same(edu.grad(edu.jit(f))(x, i), edu.grad(f)(x, i))


def test_training_steps_follow_the_eager_ones(device: str) -> None:
    """A classifier with momentum: losses, weights and velocities, step by step."""

    def trainer() -> tuple[Any, Callable[..., Any]]:
        W = edu.Variable(np.zeros((2, 1), "float32"), name="W")
        b = edu.Variable(np.zeros(1, "float32"), name="b")
        velocity = [edu.Variable(np.zeros_like(p.numpy()), trainable=False) for p in (W, b)]

        def step(X: Any, y: Any, rate: float) -> Any:
            with edu.GradientTape() as tape:
                loss = ((X @ W + b - y) ** 2).mean()
            for p, g, m in zip([W, b], tape.gradient(loss, [W, b]), velocity, strict=True):
                m.assign(m * 0.9 + g)
                p.assign_sub(rate * m)
            return loss

        return [W, b, *velocity], step

    (these, compiled), (those, plain) = trainer(), trainer()
    compiled = edu.jit(compiled)
    rng = np.random.default_rng(0)
    X, y = edu.tensor(rng.normal(size=(20, 2))), edu.tensor(rng.normal(size=(20, 1)))
    for i in range(5):
        same(compiled(X, y, 0.1 / (i + 1)), plain(X, y, 0.1 / (i + 1)))
        same([v.value for v in these], [v.value for v in those])
    assert compiled.cache_info() == (4, 1, 1, 64)


# vmap, and jit in jit


def test_vmap_and_jit_in_any_order(device: str) -> None:
    def f(x: Any, w: Any) -> Any:
        return edu.tanh(x @ w), (x * x).sum()

    X, W = edu.ones((3, 2)) * edu.arange(3.0)[:, None], edu.eye(2) + 0.5
    wanted = edu.vmap(f, in_axes=(0, None))(X, W)
    for mapped in (
        edu.jit(edu.vmap(f, in_axes=(0, None))),
        edu.vmap(edu.jit(f), in_axes=(0, None)),
        edu.jit(edu.vmap(edu.jit(f), in_axes=(0, None))),
    ):
        same(mapped(X, W), wanted)
        same(mapped(X, W), wanted)


def test_gradients_for_each_example_compiled(device: str) -> None:
    X = edu.tensor([[1.0, 2.0], [3.0, 4.0]])
    wanted = 3 * X.numpy() ** 2
    for f in (
        edu.jit(edu.vmap(edu.grad(cube))),
        edu.vmap(edu.jit(edu.grad(cube))),
        edu.vmap(edu.grad(edu.jit(cube))),
        edu.grad(edu.jit(lambda X: edu.vmap(cube)(X).sum())),
        edu.grad(lambda X: edu.vmap(edu.jit(cube))(X).sum()),
    ):
        for _ in range(2):
            np.testing.assert_allclose(f(X).numpy(), wanted)


def test_jit_in_jit(device: str) -> None:
    v = edu.Variable(1.0)

    @edu.jit
    def inner(x: Any, n: int = 2) -> Any:
        v.assign_add(x.sum())
        return x * v * n

    @edu.jit
    def outer(x: Any) -> Any:
        return inner(x) + inner(x, 3)

    x = edu.tensor([1.0, 2.0])
    # v: 4, 7, 10, 13
    assert outer(x).tolist() == [29, 58]
    assert outer(x).tolist() == [59, 118]
    assert v.item() == 13
    assert outer.cache_info().misses == 1


# Where state and values are held elsewhere


@pytest.mark.parametrize(
    "keep",
    [
        lambda v: v.value,
        lambda v: v.numpy(),
        lambda v: np.asarray(v),
        lambda v: v * 1.0,
        lambda v: edu.reshape(v, (-1,)),
        lambda v: edu.transpose(v),
        lambda v: v[0],
        lambda v: v[0].value,
        lambda v: ops.identity(v),
        lambda v: v.detach(),
        lambda v: edu.squeeze(v),
        lambda v: edu.broadcast_to(v, (3, 2, 2)),
        lambda v: edu.astype(v, "float32"),
        lambda v: edu.tensor(v),
        lambda v: +v,
        lambda v: np.from_dlpack(v),
        lambda v: edu.Variable(v),
        lambda v: edu.jit(lambda: v.value)(),
        lambda v: edu.jit(lambda: v.T)(),
        lambda v: edu.jit(lambda: v[:1])(),
        lambda v: edu.jit(lambda: edu.flip(v))(),
        lambda v: edu.jit(lambda: edu.split(v, 2)[1])(),
        lambda v: edu.jit(lambda: edu.diagonal(v))(),
        lambda v: edu.jit(lambda: edu.unstack(v)[1])(),
        lambda v: _assigned(edu.flip(v)),
        lambda v: _assigned_inside(lambda: edu.flip(v)),
        lambda v: _assigned_inside(lambda: v.value),
        lambda v: edu.jit(lambda x: x)(v.value),
    ],
)
@pytest.mark.parametrize("warm", [0, 1, 2])
def test_what_was_taken_of_a_variable_never_changes(
    keep: Callable[[edu.Variable], Any], warm: int
) -> None:
    v = edu.Variable([[1.0, 2.0], [3.0, 4.0]])

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    for _ in range(warm):
        step()
    kept = keep(v)
    before = np.array(kept)
    wanted = v.numpy() + 3
    for _ in range(3):
        step()
    np.testing.assert_array_equal(np.array(kept), before)
    np.testing.assert_array_equal(v.numpy(), wanted)


def _assigned(value: Any) -> edu.Variable:
    return edu.Variable(np.zeros(value.shape, "float32")).assign(value)


def _assigned_inside(make: Callable[[], Any]) -> edu.Variable:
    other = edu.Variable(np.zeros(make().shape, "float32"))
    edu.jit(lambda: other.assign(make()))()
    return other


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:3],
        lambda x: x[1],
        lambda x: edu.flip(x),
        lambda x: edu.diagonal(x),
        lambda x: edu.split(x, 2)[1],
        lambda x: edu.unstack(x)[2],
        lambda x: x.T,
        lambda x: edu.reshape(x, (-1,)),
        lambda x: edu.expand_dims(x, 0),
        lambda x: x.detach(),
    ],
)
def test_a_part_of_a_temporary_value_outlives_it(view: Callable[[Any], Any]) -> None:
    """What is written to reused memory later must not be seen in it."""

    def f(x: Any) -> Any:
        part = view(edu.exp(x @ x))
        y = edu.sin(x @ x.T) @ x
        z = edu.cos(y @ y) @ y
        return part * part, z

    x = edu.tensor(np.linspace(-1, 1, 36).reshape(6, 6), "float32")
    as_eager(f, x)
    kept = edu.jit(lambda x: view(edu.exp(x)))
    first = kept(x)
    then = first.numpy().copy()
    kept(x * 2.0)
    np.testing.assert_array_equal(first.numpy(), then)


def test_a_value_on_a_tape_never_changes() -> None:
    v = edu.Variable([2.0])

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    step()
    with edu.GradientTape() as tape:
        y = (v * v * v).sum()
        step()
    step()
    same(tape.gradient(y, v), edu.tensor([27.0]))


def test_variables_do_not_share_memory_with_each_other_after_a_copy() -> None:
    v = edu.Variable([1.0])

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    step()
    w, x = copy.copy(v), copy.deepcopy(v)
    u = edu.Variable(v)
    step()
    assert [z.item() for z in (v, w, x, u)] == [3, 2, 2, 2]


def test_a_value_assigned_to_a_variable_never_changes() -> None:
    v = edu.Variable([1.0, 2.0])
    x = edu.tensor([3.0, 4.0])
    array = np.array([5.0, 6.0], "float32")

    @edu.jit
    def step() -> None:
        v.assign_add(1.0)

    for given in (x, array, edu.reshape(x, (2,))):
        v.assign(given)
        step()
        step()
        np.testing.assert_array_equal(v.numpy(), np.asarray(given) + 2)
    assert x.tolist() == [3, 4]
    assert array.tolist() == [5, 6]


def test_results_kept_from_earlier_calls_never_change(device: str) -> None:
    v = edu.Variable([[1.0, 2.0], [3.0, 4.0]])

    @edu.jit
    def step(x: Any) -> Any:
        before = v.value
        y = edu.exp(x) + 1.0
        v.assign_add(y)
        return y, y.T, y[0], edu.reshape(y, (-1,)), (y * y).sum(), before, v.value, v.T, x, x.T

    kept = []
    for i in range(5):
        found = step(edu.ones((2, 2)) * float(i))
        kept.append((found, [f.numpy().copy() for f in found]))
    for found, then in kept:
        for f, t in zip(found, then, strict=True):
            np.testing.assert_array_equal(f.numpy(), t)


def test_results_of_one_call_do_not_share_memory_that_can_be_written() -> None:
    jitted = edu.jit(lambda x: (x, x, x.T, x + 1.0))
    for array in jitted(edu.ones((2, 2))):
        assert not array.numpy().flags.writeable


def test_the_same_array_may_be_passed_twice(device: str) -> None:
    def f(x: Any, y: Any) -> Any:
        return x * 2.0 + y, y - x

    x = edu.tensor([1.0, 2.0])
    as_eager(f, x, x)
    array = np.array([1.0, 2.0])
    same(edu.jit(f)(array, array), f(edu.tensor(array), edu.tensor(array)))
    v = edu.Variable([1.0, 2.0])

    @edu.jit
    def step(x: Any, y: Any) -> Any:
        v.assign_add(x)
        return v * y

    same(step(v.value, v.value), edu.tensor([2.0, 8.0]))
    same(step(v.value, v.value), edu.tensor([8.0, 32.0]))
    assert v.tolist() == [4, 8]


def test_a_variable_and_its_value_both_as_arguments() -> None:
    @edu.jit
    def step(v: Any, x: Any) -> Any:
        v.assign_add(1.0)
        v.assign_add(x)
        return x

    v = edu.Variable([1.0])
    kept = []
    for wanted in (3.0, 7.0, 15.0):
        kept.append(step(v, v.value))
        assert v.item() == wanted
    assert [x.item() for x in kept] == [1, 3, 7]


# Errors


def _branch(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


@pytest.mark.parametrize(
    "attempt",
    [
        _branch,
        bool,
        float,
        int,
        np.asarray,
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: range(x),
        lambda x: f"{x:.3f}",
        lambda x: [1, 2][x],
        lambda x: np.array([x]),
        lambda x: x in (1, 2),
        lambda x: edu.random.key(x),
    ],
)
def test_what_is_traced_has_no_value(attempt: Callable[[Any], Any], device: str) -> None:
    with pytest.raises(errors.TracingError, match=r"edu\.cond.*static.*edu\.debug_print"):
        edu.jit(attempt)(edu.tensor(1, "int32"))


def test_the_error_names_the_users_line() -> None:
    @edu.jit
    def branch(x: Any) -> Any:
        y = x * 2.0
        if y.sum() > 0:  # the line that asks
            return x
        return -x

    with pytest.raises(errors.TracingError, match=r"test_jit\.py:\d+: if y\.sum\(\) > 0:"):
        branch(edu.ones(2))


def test_what_is_traced_cannot_be_used_afterwards() -> None:
    kept: list[Any] = []
    edu.jit(kept.append)(edu.ones(3))
    x = kept[0]
    for use in (lambda: x + 1.0, lambda: x.numpy(), lambda: edu.exp(x), lambda: x[0], bool):
        with pytest.raises(errors.TracingError, match=r"float32\(3\).*after.*return it"):
            use(x[:1]) if use is bool else use()
    assert "traced" in repr(x)
    assert (x.shape, x.dtype) == ((3,), edu.float32)
    with pytest.raises(errors.TracingError):
        edu.jit(lambda y: y + x)(edu.ones(3))
    with pytest.raises(errors.TracingError):
        edu.Variable(edu.zeros(3)).assign(x)


def test_a_traced_value_shows_shape_and_dtype() -> None:
    shown = []

    @edu.jit
    def show(x: Any, n: Any) -> Any:
        shown.extend([repr(x), str(x * 2.0), f"{x}", repr(n)])
        return x

    show(edu.ones((3, 2)), 3)
    assert shown == ["Tensor(shape=(3, 2), dtype=float32, traced)"] * 3 + [
        "Tensor(shape=(), dtype=int32, traced)"
    ]


def test_tensors_from_outside_are_constants(device: str) -> None:
    x = edu.tensor([1.0, 2.0])
    holder = {"x": x}
    jitted = edu.jit(lambda y: y * holder["x"] + edu.tensor([1.0, 1.0]))
    assert jitted(edu.ones(2)).tolist() == [2, 3]
    holder["x"] = edu.zeros(2)
    assert jitted(edu.ones(2)).tolist() == [2, 3]
    assert len(jitted.trace(edu.ones(2)).constants) == 2


def test_operations_may_ask_for_the_value_of_a_constant() -> None:
    groups = edu.tensor([0, 1, 1, 2])

    def f(weights: Any) -> Any:
        return edu.ops.bincount(groups, weights=weights)

    as_eager(f, edu.tensor([1.0, 2.0, 3.0, 4.0]))
    same(edu.jit(f)(edu.ones(4)), edu.tensor([1.0, 2.0, 1.0]))


def test_a_tensor_from_outside_that_a_tape_follows_is_refused() -> None:
    x = edu.tensor([1.0, 2.0])
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = x * 2.0
        with pytest.raises(errors.TracingError, match=r"test_jit\.py.*\(2,\).*argument"):
            edu.jit(lambda z: z * y)(edu.ones(2))


def test_a_tensor_of_vmap_from_outside_is_refused() -> None:
    def outer(x: Any) -> Any:
        return edu.jit(lambda y: y * x)(edu.ones(()))

    with pytest.raises(errors.TracingError, match=r"test_jit\.py.*argument"):
        edu.vmap(outer)(edu.tensor([1.0, 2.0]))


def test_an_error_while_tracing_leaves_state_as_it_was() -> None:
    v = edu.Variable([1.0, 2.0], requires_grad=True)
    (v * v).sum().backward()
    grad, key, held = v.grad, edu.random.state(), v.value

    @edu.jit
    def broken(x: Any) -> Any:
        v.assign_add(x)
        v[0].assign(5.0)
        edu.random.uniform(shape=(2,))
        (v * x).sum().backward()
        v.grad = None
        raise KeyError("here")

    for _ in range(2):
        with pytest.raises(KeyError):
            broken(edu.ones(2))
    assert v.value is held
    assert v.grad is grad
    assert edu.random.state() == key
    assert broken.cache_info().size == 0
    with edu.GradientTape() as tape:
        y = (v * v).sum()
    same(tape.gradient(y, v), edu.tensor([2.0, 4.0]))


def test_errors_that_are_known_before_running_are_those_of_eager() -> None:
    x, y = edu.ones(2), edu.ones(3)
    for function in (lambda: x + y, lambda: x @ y, lambda: edu.sum(x, axis=2), lambda: x[5],
                     lambda: edu.reshape(x, (3,)), lambda: edu.concat([x, y[None]])):  # fmt: skip
        with pytest.raises(errors.Error) as eager:
            function()

        def inside(x: Any, y: Any, function: Any = function) -> Any:
            cells = {"x": x, "y": y}
            body = function.__code__
            return type(function)(body, {"edu": edu}, closure=_cells(cells, body.co_freevars))()

        with pytest.raises(type(eager.value)) as compiled:
            edu.jit(inside)(x, y)
        assert str(compiled.value) == str(eager.value)


def _cells(values: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    import types

    return tuple(types.CellType(values[name]) for name in names)


def test_assigning_what_does_not_fit_is_the_eager_error() -> None:
    v = edu.Variable([1.0, 2.0])
    with pytest.raises(errors.ShapeError, match=r"Variable\.assign"):
        edu.jit(lambda x: v.assign(x))(edu.ones(3))
    with pytest.raises(errors.DtypeError, match=r"Variable\.assign"):
        edu.jit(lambda x: v.assign(x))(edu.ones(2, dtype="float64"))
    assert v.tolist() == [1, 2]


# The cache


def test_cache_info_counts() -> None:
    jitted = edu.jit(lambda x: x + 1.0)
    assert jitted.cache_info() == (0, 0, 0, 64)
    for shape in [(1,), (1,), (2,), (1,)]:
        jitted(edu.ones(shape))
    info = jitted.cache_info()
    assert (info.hits, info.misses, info.size, info.max_size) == (2, 2, 2, 64)


@pytest.mark.filterwarnings("ignore:.*traced 8 times")
def test_the_cache_is_bounded() -> None:
    jitted = edu.jit(lambda x, n: x * n, static_argnums=1)
    x = edu.ones(1)
    for n in range(100):
        assert jitted(x, n).item() == n
    assert jitted.cache_info() == (0, 100, 64, 64)
    jitted(x, 99)
    jitted(x, 36)
    assert jitted.cache_info().hits == 2
    jitted(x, 0)
    assert jitted.cache_info().misses == 101


def test_nothing_of_the_users_is_kept_alive() -> None:
    class Model:
        def __init__(self) -> None:
            self.v = edu.Variable([1.0, 2.0], requires_grad=True)

    @edu.jit
    def step(model: Any, x: Any) -> Any:
        with edu.GradientTape() as tape:
            loss = (model.v * x).sum()
        model.v.assign_sub(tape.gradient(loss, model.v))
        (model.v * x).sum().backward()
        return {"loss": loss, "v": model.v}

    edu.tree.register(Model, lambda model: ([model.v], None), lambda _, children: _built(children))

    def _built(children: Any) -> Any:
        made = object.__new__(Model)
        made.v = children[0]
        return made

    model, x = Model(), edu.ones(2)
    refs = [weakref.ref(model), weakref.ref(model.v), weakref.ref(x)]
    result = step(model, x)
    refs += [weakref.ref(result["loss"])]
    result = step(model, x)
    with edu.GradientTape() as tape:
        tape.watch(x)
        loss = step(model, x)["loss"]
    tape.gradient(loss, x)
    del model, x, result, tape, loss
    gc.collect()
    assert [ref() for ref in refs] == [None] * len(refs)


@pytest.mark.parametrize("threshold", [0, 1])  # the collector never comes; or as often as it can
def test_state_that_the_function_makes_for_itself_lasts_for_the_call(threshold: int) -> None:
    def step(x: edu.Tensor) -> edu.Tensor:
        v = edu.Variable([1.0, 2.0])
        v.assign_add(x)
        return v * 2.0

    jitted = edu.jit(step)
    often = gc.get_threshold()
    gc.set_threshold(threshold)
    try:
        for _ in range(3):
            assert jitted(edu.tensor([10.0, 20.0])).tolist() == [22.0, 44.0]
    finally:
        gc.set_threshold(*often)


def test_a_program_whose_variable_is_gone_is_replaced() -> None:
    holder = {"v": edu.Variable(1.0)}
    jitted = edu.jit(lambda x: x * holder["v"])
    x = edu.tensor(2.0)
    assert jitted(x).item() == 2
    holder["v"] = edu.Variable(5.0)
    gc.collect()
    assert jitted(x).item() == 10
    assert jitted.cache_info().size == 1


def test_a_jitted_function_and_its_programs_can_be_freed() -> None:
    v = edu.Variable([1.0])

    def made() -> Any:
        jitted = edu.jit(lambda x: x * v)
        with edu.GradientTape() as tape:
            y = jitted(edu.ones(1))
        tape.gradient(y, v)
        return weakref.ref(jitted)

    ref = made()
    gc.collect()
    assert ref() is None


def test_a_loop_of_calls_runs_in_flat_memory() -> None:
    import tracemalloc

    v = edu.Variable(np.zeros(10_000, "float32"))

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(x)
        return (v * x).sum()

    x = edu.ones(10_000)
    step(x)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        for _ in range(5):
            step(x)
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            step(x)
        assert tracemalloc.get_traced_memory()[0] - first < 20_000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_tracing_over_and_over_warns_once_and_names_the_argument() -> None:
    jitted = edu.jit(lambda table, scale: table * scale)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 30):
            jitted(edu.ones(n), 2.0)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "'table'" in text
    assert "float32(7), then float32(8)" in text
    assert "scale" not in text
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (lambda i: ((edu.ones(2), i), {}), "static argument"),
        (lambda i: (([edu.ones(2)] * (i + 1), 0), {}), "structure"),
        (lambda i: ((edu.ones(2), 0), {"name": f"x{i}"}), "'name'.*x6.*x7"),
        (lambda i: ((edu.Variable(1.0), 0), {}), "Variable"),
    ],
)
def test_the_warning_says_what_differs(calls: Callable[[int], Any], words: str) -> None:
    jitted = edu.jit(lambda x, n, name="": edu.tree.leaves(x)[0] * 2.0, static_argnums=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(9):
            args, kwargs = calls(i)
            jitted(*args, **kwargs)
    assert len(caught) == 1
    assert re.search(words, str(caught[0].message))


def test_no_warning_where_programs_are_found_in_between() -> None:
    jitted = edu.jit(lambda x: x * 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(1, 30):
            jitted(edu.ones(n))
            jitted(edu.ones(n))


# Threads


def together(count: int, work: Callable[[int], None]) -> None:
    """Run `work(0)`, `work(1)`, ... at once; raises what any of them raises."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def run(i: int) -> None:
        try:
            start.wait()
            work(i)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_threads_may_call_one_function_at_once() -> None:
    def f(x: Any) -> Any:
        y = edu.exp(x * 0.5) + x
        return (y @ y).sum(), y * 2.0 - 1.0

    jitted = edu.jit(f)
    inputs = [edu.ones((40, 40)) * (0.01 * i) for i in range(4)]
    wanted = [f(x) for x in inputs]

    def work(i: int) -> None:
        for _ in range(100):
            same(jitted(inputs[i]), wanted[i])

    together(4, work)
    assert jitted.cache_info().misses == 1


def test_threads_that_share_state_take_turns() -> None:
    total = edu.Variable(np.zeros(1000, "float32"))
    count = edu.Variable(0, dtype="int32")

    @edu.jit
    def add(x: Any) -> Any:
        total.assign_add(x)
        count.assign_add(1)
        return total.value

    x = edu.ones(1000)

    def work(i: int) -> None:
        for _ in range(100):
            found = add(x).numpy()
            assert (found == found[0]).all()

    together(4, work)
    assert count.item() == 400
    assert (total.numpy() == 400).all()


def test_functions_that_share_variables_take_turns() -> None:
    v, w, x = [edu.Variable(np.zeros(1_000_000, "float32")) for _ in range(3)]
    functions = [
        edu.jit(lambda: [v.assign_add(1.0), x.assign_add(1.0)]),
        edu.jit(lambda: [w.assign_add(2.0)]),
        edu.jit(lambda: [w.assign_add(1.0), v.assign_add(1.0)]),
        edu.jit(lambda: [v.assign_add(1.0), w.assign_add(1.0), x.assign_add(1.0)]),
    ]

    def work(i: int) -> None:
        for _ in range(100):
            functions[i]()

    together(4, work)
    for variable, wanted in [(v, 300), (w, 400), (x, 200)]:
        assert variable.numpy().min() == variable.numpy().max() == wanted


def test_threads_draw_different_numbers() -> None:
    jitted = edu.jit(lambda: edu.random.uniform(shape=(4,)))
    drawn: list[Any] = []
    together(4, lambda i: drawn.extend(jitted().tolist() for _ in range(20)))
    assert len({tuple(x) for x in drawn}) == 80


def test_a_trace_in_one_thread_leaves_others_alone() -> None:
    v = edu.Variable([1.0])
    tracing, done = threading.Event(), threading.Event()

    @edu.jit
    def slow(x: Any) -> Any:
        tracing.set()
        done.wait(10)
        v.assign_add(x)
        return v * 1.0

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(slow(edu.ones(1))))
    thread.start()
    tracing.wait(10)
    assert v.tolist() == [1]
    v.assign([5.0])
    assert (v * 2.0).tolist() == [10]
    done.set()
    thread.join()
    assert found[0].tolist() == [6]
    assert v.tolist() == [6]


# Looking at it


def test_trace_gives_a_graph_whose_meaning_is_the_function() -> None:
    v = edu.Variable([1.0, 2.0], name="weights")

    @edu.jit
    def step(x: Any, n: int = 2) -> Any:
        v.assign_add(x)
        return {"y": edu.exp(x) * v * n}

    x = edu.tensor([0.5, 1.0])
    graph = step.trace(x)
    assert isinstance(graph, edu.Graph)
    assert [value.name for value in graph.inputs] == ["x", "weights"]
    y, new = graph.check().run(x, v)
    np.testing.assert_allclose(y.numpy(), np.exp(x.numpy()) * new.numpy() * 2, rtol=1e-6)
    assert new.tolist() == [1.5, 3]
    assert v.tolist() == [1, 2]  # looking changes nothing
    assert step.cache_info() == (0, 0, 0, 64)
    assert "weights: float32(2)" in str(graph)
    same(step(x)["y"], y)


def test_lower_shows_each_stage_as_text() -> None:
    @edu.jit
    def f(x: Any, unused: Any) -> Any:
        unused + 1.0
        return edu.exp(x) * edu.exp(x)

    program = f.lower(edu.ones(3, device="numpy"), 1.0)
    assert program.as_text("graph") == str(f.trace(edu.ones(3), 1.0))
    assert program.as_text("graph").count("exp") == 2
    assert program.as_text("optimized").count("exp") == 1
    assert "def program(x" in program.as_text("python")
    assert program.as_text() == program.as_text("python")
    np.testing.assert_allclose(program(np.zeros(3, "float32"), np.float32(0))[0], np.ones(3))
    with pytest.raises(ValueError, match=r"'assembly'.*'graph', 'optimized', 'python'"):
        program.as_text("assembly")


def test_lower_gives_a_program_and_changes_nothing(device: str) -> None:
    v = edu.Variable([1.0, 2.0])

    @edu.jit
    def step(x: Any) -> Any:
        v.assign_add(x)
        return v * x

    x = edu.ones(2)
    key = edu.random.state()
    step.lower(x)
    step.lower(x, device="numpy")
    assert v.tolist() == [1, 2]
    assert edu.random.state() == key


def test_an_equation_knows_the_users_line() -> None:
    graph = edu.jit(lambda x: edu.exp(x) * 2.0).trace(edu.ones(2))
    assert all("test_jit.py" in str(made.place) for made in graph.equations)


def test_the_function_runs_once_for_each_signature() -> None:
    printed = []

    @edu.jit
    def f(x: Any) -> Any:
        printed.append("traced")
        return x * 2.0

    for _ in range(3):
        f(edu.ones(2))
    assert printed == ["traced"]


# Without


def test_eager_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    v = edu.Variable([1.0])

    @edu.jit
    def f(x: Any) -> Any:
        calls.append(type(x._data))
        v.assign_add(x)
        if isinstance(x._data, np.ndarray) and x.sum() > 0:  # only eager code may ask
            return x * v
        return x * v

    x = edu.ones(1)
    same(f(x), edu.tensor([2.0]))
    monkeypatch.setattr(edu.config, "eager", True)
    same(f(x), edu.tensor([3.0]))
    same(f(x), edu.tensor([4.0]))
    assert calls[1:] == [np.ndarray] * 2
    assert f.cache_info() == (0, 1, 1, 64)
    monkeypatch.setattr(edu.config, "eager", False)
    same(f(x), edu.tensor([5.0]))
    assert len(calls) == 3
