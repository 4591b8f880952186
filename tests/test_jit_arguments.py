"""jit: arguments and results, what is static, numbers and arrays."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors

from .compiled import as_eager, same

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
    with pytest.raises(errors.TracingError, match=r"1 is a list, which is not hashable.*tuple"):
        edu.jit(lambda x, n: x, static_argnums=1)(x, [1, 2])
    with pytest.raises(errors.TracingError, match=r"static argument 'n'.*dict"):
        edu.jit(lambda x, n: x, static_argnames="n")(x, n={"a": 1})
    with pytest.raises(errors.TracingError, match=r"Settings.*edu\.tree\.register"):
        edu.jit(lambda x, n: x)(x, Settings())


def test_settings_of_jit_that_make_no_sense() -> None:
    with pytest.raises(errors.ArgumentError, match="takes a function"):
        edu.jit(3)  # type: ignore[call-overload]
    for number in (-1, 1.5, None):
        with pytest.raises(errors.ArgumentError, match="static_argnums"):
            edu.jit(lambda x: x, static_argnums=number)  # type: ignore[call-overload]
    with pytest.raises(errors.ArgumentError, match="static_argnames"):
        edu.jit(lambda x: x, static_argnames=3)  # type: ignore[call-overload]
    with pytest.raises(errors.ArgumentError, match="static_argnames"):
        edu.jit(lambda x: x, static_argnames=[3])  # type: ignore[list-item]
    with pytest.raises(errors.ArgumentError, match=r"'times'.*\['x', 'n'\]"):
        edu.jit(lambda x, n: x, static_argnames="times")
    with pytest.raises(errors.ArgumentError, match=r"2.*\['x', 'n'\]"):
        edu.jit(lambda x, n: x, static_argnums=2)
    edu.jit(lambda x, *n, **more: x, static_argnums=2, static_argnames="times")


def test_what_does_not_run_when_it_is_called_cannot_be_jitted() -> None:
    async def later(x: Any) -> Any:
        return x * 2.0

    def each(x: Any) -> Any:
        yield x * 2.0

    for function in (later, each):
        with pytest.raises(errors.ArgumentError, match=f"{function.__name__}.*returns"):
            edu.jit(function)


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
@pytest.mark.parametrize(
    ("function", "number", "dtype"),
    [
        (lambda n: n * n, 100_000, "int32"),
        (lambda n: n**3 > 0, 2_000, "int32"),
        (lambda n: -n, -(2**31), "int32"),
        (lambda n: edu.arange(3) + (n + 1), 2**31 - 1, "int32"),
        (lambda n: edu.tensor([1], "int8") + n * n, 20, "int8"),
        (lambda n: edu.ones(1) * (n * n), 2**33, "int64"),
    ],
)
def test_numbers_that_outgrow_their_dtype_are_no_others(
    function: Callable[..., Any], number: int, dtype: str
) -> None:
    compiled = edu.jit(function)
    np.testing.assert_array_equal(compiled(3).numpy(), np.asarray(function(3)))
    with pytest.raises(errors.DtypeError, match=f"does not fit in {dtype}; ask for a wider dtype"):
        compiled(number)
    exact = edu.jit(lambda n: (n * n // n, n * n % 7, edu.ones(1) * (n * n)))
    assert [int(x.item()) for x in exact(100_000)] == [100_000, 100_000**2 % 7, 100_000**2]


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


@pytest.mark.parametrize("way", [lambda f: f, edu.jit])
def test_a_python_integer_divided_with_integers_gives_the_float_of_the_array(way: Any) -> None:
    for x, y, wanted in (
        (2, edu.tensor([4, 8]), [0.5, 0.25]),
        (2, edu.tensor(4), 0.5),
        (edu.tensor([4, 8]), 2, [2, 4]),
    ):
        found = way(lambda x, y: x / y)(x, y)
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found.numpy(), wanted)
