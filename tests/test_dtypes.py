"""Dtypes: their names, their defaults, and what two of them become together."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import dtypes

ALL = [
    dtypes.as_dtype(name)
    for name in ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
                 "float16", "bfloat16", "float32", "float64")
]  # fmt: skip
SIGNED = {edu.int8, edu.int16, edu.int32, edu.int64}
BFLOAT16 = dtypes.as_dtype("bfloat16")


@pytest.mark.parametrize(("x", "y"), list(itertools.product(ALL, ALL)), ids=str)
def test_promotion_is_the_lattice_of_jax_except_for_uint64_with_a_signed_integer(
    x: np.dtype, y: np.dtype
) -> None:
    with jax.enable_x64(True):
        expected = np.dtype(jnp.promote_types(x, y))
    if edu.uint64 in (x, y) and {x, y} & SIGNED:
        # No integer holds both. JAX goes on to its default float, float64 in this mode; our
        # default float is always float32.
        assert expected == edu.float64
        expected = edu.float32
    assert dtypes.promote(x, y) == expected


@pytest.mark.parametrize("number", [True, 2, 2.5])
@pytest.mark.parametrize("dtype", [d for d in ALL if d.itemsize < 8], ids=str)
def test_python_numbers_are_as_weak_as_in_jax(dtype: np.dtype, number: Any) -> None:
    expected = jnp.result_type(dtype, number)  # outside the 64-bit mode: float32, int32
    assert dtypes.promote_weak(dtype, type(number)) == expected
    assert (edu.zeros(2, dtype=dtype) + number).dtype == expected
    assert (number + edu.zeros(2, dtype=dtype)).dtype == expected


@pytest.mark.parametrize(
    ("dtype", "number", "expected"),
    [("int64", 2.5, "float32"), ("uint64", 2.5, "float32"), ("int64", 2, "int64"),
     ("float64", 2, "float64"), ("float64", 2.5, "float64")],
)  # fmt: skip
def test_python_numbers_do_not_widen_64_bit_arrays_either(
    dtype: str, number: Any, expected: str
) -> None:
    assert (edu.ones(2, dtype=dtype) * number).dtype == expected


@pytest.mark.parametrize("scalar", [np.float64(2), np.float16(2), np.int64(2), np.bool_(True)])
def test_numpy_scalars_are_weak_like_python_numbers(scalar: Any) -> None:
    assert (edu.ones(2) * scalar).dtype == "float32"
    assert (scalar * edu.ones(2)).dtype == "float32"
    assert (edu.ones(2, dtype="float16") * scalar).dtype == "float16"


def test_a_numpy_scalar_by_itself_keeps_its_dtype() -> None:
    assert edu.ops.sin(np.float64(0.5)).dtype == "float64"
    assert edu.grad(lambda x: x * 2.0)(np.float64(0.5)).dtype == "float64"


def test_numpy_arrays_count_as_arrays_even_without_dimensions() -> None:
    assert (edu.ones(2) * np.array(2.0)).dtype == "float64"


def test_numbers_of_classes_of_their_own_are_python_numbers() -> None:
    class Level(enum.IntEnum):
        LOW = 3

    class Metres(float):
        pass

    assert (edu.tensor([1, 2]) + Level.LOW).tolist() == [4, 5]
    assert (edu.tensor([1.0, 2.0]) * Level.LOW).tolist() == [3.0, 6.0]
    assert (Metres(2.0) * edu.tensor([1, 2])).tolist() == [2.0, 4.0]
    assert edu.ops.add(Level.LOW, 1).dtype == "int32"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (True, "bool"), (3, "int32"), (3.0, "float32"), ([True, False], "bool"), ([1, 2], "int32"),
        ([1, 2.0], "float32"), ([[True, 2]], "int32"), ([], "float32"), ((1.0, 2.0), "float32"),
        (range(3), "int32"), (np.float64(3), "float64"), (np.ones(2), "float64"),
        (np.ones(2, np.int8), "int8"), (np.array([1, 2]), "int64"), ([np.int64(1), 2], "int64"),
        (np.arange(3, dtype=">f4"), "float32"),
    ],
)  # fmt: skip
def test_python_numbers_default_to_32_bits_and_arrays_keep_their_dtype(
    data: Any, expected: str
) -> None:
    x = edu.tensor(data)
    assert x.dtype == np.dtype(expected)
    assert x.dtype.isnative


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([2**64 - 1, 0], "uint64"), ([[2**63 + 1], [1]], "uint64"), ([2**53 + 1, -1], "int64"),
        (2**64 - 1, "uint64"), (2**100, "float64"), ([2**100, 0.5], "float64"),
    ],
)  # fmt: skip
def test_large_python_integers_are_what_they_were(data: Any, dtype: str) -> None:
    x = edu.tensor(data, dtype)
    assert (x.tolist(), x.dtype) == (data, dtype)


def test_an_integer_among_floats_is_exact_where_integers_are_asked_for() -> None:
    assert edu.tensor([2**53 + 1, 1.5], "int64").tolist() == [2**53 + 1, 1]


@pytest.mark.parametrize("make", [edu.tensor, edu.asarray])
def test_numbers_beside_tensors_are_of_the_dtype_that_is_asked_for(make: Any, device: str) -> None:
    x = make([[edu.tensor(1.0), 0.1], [2**40, 0.2]], dtype="float64")
    assert (x.tolist(), x.dtype, x.device) == ([[1.0, 0.1], [2**40, 0.2]], "float64", device)
    with pytest.raises(edu.errors.DtypeError, match="300 does not fit in uint8"):
        make([edu.tensor(1), 300], dtype="uint8")


@pytest.mark.parametrize(
    ("data", "dtype", "words"),
    [
        (2**63, None, f"{2**63} does not fit in int32"),
        ([2**63, 1], None, f"{2**63} does not fit in int32"),
        ([2**63, -1], "uint64", "-1 does not fit in uint64"),
        ([2**64, 1.5], "int64", f"{2**64} does not fit in int64"),
        (10**400, None, "an integer of 1329 bits does not fit in int32"),
        (10**400, "float64", "an integer of 1329 bits does not fit in float64"),
        (1e30, "int32", "1e.30 does not fit in int32"),
        ([1.0, -3e9], "int32", "-3000000000.0 does not fit in int32"),
        (np.array([1.0, 300.0]), "uint8", "300.0 does not fit in uint8"),
        (edu.tensor([-1.0]), "uint8", "-1.0 does not fit in uint8"),
        (np.array([2.0**63]), "int64", "does not fit in int64"),
    ],
)
def test_what_a_dtype_cannot_hold_is_refused(data: Any, dtype: str | None, words: str) -> None:
    with pytest.raises(edu.errors.DtypeError, match=words):
        edu.tensor(data, dtype)


def test_an_object_that_numpy_takes_for_an_array_keeps_its_dtype() -> None:
    class Frame:  # such as pandas' DataFrame, which has dtypes
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return np.ones((2, 2))

    assert edu.tensor(Frame()).dtype == "float64"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("float64", "float64"), (np.float16, "float16"), (np.dtype("uint8"), "uint8"),
     (float, "float32"), (int, "int32"), (bool, "bool"), (edu.int8, "int8"), (">i4", "int32")],
)  # fmt: skip
def test_a_dtype_has_many_names(name: Any, expected: str) -> None:
    assert edu.zeros(1, dtype=name).dtype == np.dtype(expected)


def test_bfloat16_needs_no_import(device: str) -> None:
    x = edu.tensor([1.0, 1 / 3], dtype="bfloat16")
    assert x.dtype == BFLOAT16
    assert x.tolist() == [1.0, 0.333984375]  # eight bits of precision


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_stay_halves(dtype: str, device: str) -> None:
    x = edu.tensor([1.0, 2.0], dtype=dtype)
    results = [x + 1, x * 2.0, 2.0 / x, x**2, x - x, -x, x @ x, x.sum(), x.mean(), x.var(), x.max(),
               edu.ops.exp(x), edu.ops.relu(x), edu.ops.softmax(x), edu.ops.erf(x),
               edu.ops.where(x > 1, x, 0.0)]  # fmt: skip
    assert {str(r.dtype) for r in results} == {dtype}


def test_halves_accumulate_in_float32(device: str) -> None:
    ones = edu.tensor(np.ones(5000, np.float16))
    assert ones.sum().item() == 5000  # summed in float16 it would stay at 2048
    assert (ones @ ones).item() == 5000


def test_the_mean_of_halves_does_not_overflow_on_its_way(device: str) -> None:
    x = edu.tensor(np.full(50_000, 10.0, np.float16))  # the sum, 500,000, is no float16
    assert x.mean().item() == 10
    assert x.var().item() == 0


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("bool", "int32"), ("int8", "int32"), ("uint8", "uint32"), ("int64", "int64"),
     ("uint16", "uint32"), ("float16", "float16"), ("float64", "float64")],
)  # fmt: skip
def test_sums_of_narrow_integers_are_32_bits_wide(dtype: str, expected: str, device: str) -> None:
    total = edu.ones(300, dtype=dtype).sum()
    assert (total.dtype, total.item()) == (expected, 300)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "int64"])
def test_functions_with_real_results_take_integers_to_float32(dtype: str, device: str) -> None:
    x = edu.ones(2, dtype=dtype)
    assert {f(x).dtype.name for f in (edu.ops.exp, edu.ops.sqrt, edu.ops.sin, edu.mean)} == {
        "float32"
    }
    assert (x / x).dtype == "float32"


def test_indices_are_int32(device: str) -> None:
    x = edu.tensor([[1.0, 3.0, 2.0]])
    assert (x.argmax().dtype, x.argmin(axis=1).dtype) == ("int32", "int32")


def test_a_gradient_has_the_dtype_of_its_source(device: str) -> None:
    x, y = edu.tensor(2.0, "float16"), edu.tensor(3.0, "float64")
    with edu.GradientTape() as tape:
        tape.watch((x, y))
        z = x * y
    assert [(g.dtype.name, g.item()) for g in tape.gradient(z, (x, y))] == [
        ("float16", 3.0),
        ("float64", 2.0),
    ]


@pytest.mark.parametrize("given", ["float32", "f4", np.float32, np.dtype("f4").newbyteorder("=")])
def test_a_dtype_is_one_object_however_it_was_asked_for(given: Any) -> None:
    wanted = np.dtype("float32")
    assert dtypes.as_dtype(given) is wanted
    assert edu.tensor([1.0], given).dtype is wanted
    assert edu.tensor([1, 2]).astype(given).dtype is wanted
    assert edu.tensor(np.zeros(2, np.dtype(given))).dtype is wanted
    assert edu.tensor(np.zeros(2, ">f4")).dtype is wanted


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_python_number_beside_a_tensor_stays_a_number(dtype: str) -> None:
    x = edu.tensor([3.0], dtype)
    with edu.GradientTape() as tape:
        tape.watch(x)
        x**2
    assert "power(a " in repr(tape)
    assert ", 2)" in repr(tape)


@pytest.mark.parametrize(
    ("attempt", "name"),
    [
        (lambda: edu.sum(None), "sum"),
        (lambda: edu.ones(2).dot(None), "dot"),
        (lambda: edu.concat([edu.ones(2), "a"]), "concat"),
        (lambda: edu.layer_norm("a"), "layer_norm"),
        (lambda: edu.jit(lambda x: edu.softmax({1: x}))(edu.ones(2)), "softmax"),
        (lambda: edu.vmap(edu.sum)("a"), "vmap"),
        (lambda: edu.losses.mean_squared_error("a", [1.0]), "mean_squared_error"),
    ],
)
def test_what_is_no_tensor_is_refused_in_the_name_of_what_was_called(
    attempt: Callable[[], Any], name: str
) -> None:
    with pytest.raises(edu.errors.DtypeError, match=f"^{name}: a Tensor holds numbers, not "):
        attempt()
