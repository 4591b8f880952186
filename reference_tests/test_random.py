"""Random numbers against JAX's in its default layout, from the same keys, on two devices.

Keys, bits, uniforms, integers and orders are the same numbers. What is computed from them in
floating point is compared with the formula in float64 (float64 itself with SciPy), which bounds our
error, and with JAX as far as JAX's own formula carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import special

import tinygrad_edu as edu
from tinygrad_edu import random

from .frameworks import FRAMEWORKS

jax = FRAMEWORKS["jax"].module

SEEDS = (0, 42, 2**31 + 7, 2**63 + 11, -5)
SHAPES = [(), (0, 3), (11,), (12,), (3, 5, 7), (2**15 + 1,), (100_003,)]
"""0-d, empty, odd; below and above what is done in Python; more than one part, more than 2**16."""
FLOATS = ["float16", "bfloat16", "float32", "float64"]
SAMPLES = (50_001,)


def theirs(function: Callable[..., Any], seed: int, *args: Any, **kwargs: Any) -> np.ndarray:
    """What a function of `jax.random` gives, with 64-bit dtypes allowed."""
    with jax.enable_x64(True):
        return np.asarray(function(key_of(seed), *args, **kwargs))


def key_of(seed: int) -> Any:
    """A key of JAX's, which takes seeds of 64 bits if they are signed."""
    return jax.random.key(seed if seed < 2**63 else seed - 2**64)


def same(draw: Callable[[], edu.Tensor], expected: np.ndarray) -> None:
    """Equal on every device, number by number; the dtype too."""
    for device in ("numpy", "xla"):
        with edu.device(device):
            found = draw()
        assert found.device == device
        assert found.dtype == expected.dtype
        assert_array_equal(found.numpy(), expected)


# Keys


def words(keys: Any) -> list[list[int]]:
    return [[key.first, key.second] for key in keys]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num", [2, 3, 11, 12, 1001])
def test_split(seed: int, num: int) -> None:
    with jax.enable_x64(True):
        expected = np.asarray(jax.random.key_data(jax.random.split(key_of(seed), num)))
    assert words(random.split(random.key(seed), num)) == expected.tolist()
    if num == 3:
        same(lambda: random.split(random.key_data(random.key(seed)), num), expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("data", [0, 1, 123, 2**31, 2**32 - 1])
def test_fold_in(seed: int, data: int) -> None:
    with jax.enable_x64(True):
        expected = np.asarray(
            jax.random.key_data(jax.random.fold_in(key_of(seed), np.uint32(data)))
        )
    assert words([random.fold_in(random.key(seed), data)]) == [expected.tolist()]


def test_keys_of_32_bits_need_no_switch() -> None:
    for seed in (0, 1, 2**31 - 1):
        expected = np.asarray(jax.random.key_data(jax.random.key(seed)))
        assert words([random.key(seed)]) == [expected.tolist()]


def test_transforms_go_over_keys_as_jax_does() -> None:
    keys, theirs = random.split(random.key(42), 5), jax.random.split(jax.random.key(42), 5)
    expected = np.asarray(jax.vmap(jax.random.uniform)(theirs))
    over_all = edu.vmap(random.uniform)
    for draw in (over_all, edu.jit(over_all), edu.vmap(edu.jit(random.uniform))):
        same(partial(draw, keys), expected)
    same(lambda: edu.scan(lambda n, key: (n, random.uniform(key)), 0, keys)[1], expected)
    same(lambda: edu.map(random.uniform, keys), expected)


def test_a_key_is_carried_from_turn_to_turn() -> None:
    def turn(key: Any, _: None) -> Any:
        key, drawn = random.split(key)
        return key, random.uniform(drawn)

    def their_turn(key: Any, _: None) -> Any:
        key, drawn = jax.random.split(key)
        return key, jax.random.uniform(drawn)

    expected = np.asarray(jax.lax.scan(their_turn, jax.random.key(42), None, length=4)[1])
    same(lambda: edu.scan(turn, random.key(42), None, length=4)[1], expected)
    turns = edu.jit(lambda key: edu.scan(turn, key, None, length=4)[1])
    same(lambda: turns(random.key(42)), expected)


# The same numbers


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bits(shape: tuple[int, ...], dtype: str) -> None:
    expected = theirs(jax.random.bits, 42, shape, dtype)
    same(lambda: random.bits(random.key(42), shape, dtype), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5, 7), (100_003,)])
def test_uniform(shape: tuple[int, ...], dtype: str) -> None:
    expected = theirs(jax.random.uniform, SEEDS[3], shape, dtype)
    same(lambda: random.uniform(random.key(SEEDS[3]), shape, dtype), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("low", "high"), [(-3.0, 7.1), (0.1, 0.3), (-1, 1), (1e-3, 1e3), (5, 6), (-1e4, -9e3)]
)
def test_uniform_in_a_range(low: float, high: float, dtype: str) -> None:
    expected = theirs(jax.random.uniform, 42, SAMPLES, dtype, low, high)
    same(lambda: random.uniform(random.key(42), SAMPLES, dtype, low, high), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_in_a_range_for_every_element(dtype: str) -> None:
    low, high = np.array([[-1.3], [0.2]], dtype), np.array([0.7, 1.1, 9.3], dtype)
    expected = theirs(jax.random.uniform, 3, (999, 2, 3), dtype, low, high)
    same(lambda: random.uniform(random.key(3), (999, 2, 3), dtype, low, high), expected)
    same(lambda: random.uniform(random.key(3), (999, 2, 3), dtype, edu.tensor(low), high), expected)


RANGES: list[Any] = [
    ("int32", 0, 10), ("int32", -100, 1000), ("int32", 0, 2**16), ("int32", 0, 2**16 + 1),
    ("int32", -(2**31), 2**31 - 1), ("int32", -(2**31), 2**31), ("int32", 0, 2**31),
    ("int32", 7, 8),
    ("uint32", 3, 2**32), ("uint32", 0, 2**32), ("int8", -128, 128), ("int8", -5, 5),
    ("uint8", 0, 256), ("int16", 0, 30_000), ("uint16", 0, 2**16), ("int64", 0, 10),
    ("int64", -(2**62), 2**62 + 12345), ("int64", -(2**63), 2**63 - 1), ("uint64", 0, 2**63 + 5),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "low", "high"), RANGES)
def test_randint(dtype: str, low: int, high: int) -> None:
    bounds = [np.array(b, "uint64" if b >= 2**63 else "int64") for b in (low, high)]
    expected = theirs(jax.random.randint, 42, (1001,), *bounds, dtype)
    same(lambda: random.randint(random.key(42), (1001,), low, high, dtype), expected)


def test_randint_between_bounds_for_every_element() -> None:
    low, high = np.array([[0], [-70_000]]), np.array([1, 10, 100_000])
    expected = theirs(jax.random.randint, 1, (500, 2, 3), low, high, "int32")
    same(
        lambda: random.randint(random.key(1), (500, 2, 3), low, edu.tensor(high), "int32"), expected
    )


@pytest.mark.parametrize("count", [0, 1, 2, 10, 1625, 1626, 70_001])
def test_permutation_of_numbers(count: int) -> None:
    expected = np.asarray(jax.random.permutation(jax.random.key(9), count))
    same(lambda: random.permutation(random.key(9), count), expected)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"), [((50,), 0), ((4, 30), 0), ((4, 30), -1), ((5, 6, 7), 1), ((40, 50), 1)]
)
def test_permutation(shape: tuple[int, ...], axis: int, independent: bool) -> None:
    x = np.arange(math.prod(shape), dtype="float32").reshape(shape)
    expected = np.asarray(jax.random.permutation(jax.random.key(4), x, axis, independent))
    same(lambda: random.permutation(random.key(4), x, axis, independent), expected)


CHOICES: list[Any] = [
    (10, (5,), True, None), (10, (), True, None), (10, (2, 5), False, None),
    (7, (1000,), True, None),
    (4, (1000,), True, [0.5, 0.25, 0.125, 0.125]), (4, (3,), False, [0.5, 0.25, 0.25, 0.0]),
    (200, (150,), False, (np.arange(200) / np.arange(200).sum()).astype("float32")),
]  # fmt: skip


@pytest.mark.parametrize(("count", "shape", "replace", "p"), CHOICES)
def test_choice(count: int, shape: Any, replace: bool, p: Any) -> None:
    weights = None if p is None else np.array(p, "float32")
    key, theirs = random.key(5), jax.random.key(5)
    expected = jax.random.choice(theirs, count, shape, replace, weights)
    same(lambda: random.choice(key, count, shape, replace, p), np.asarray(expected))
    x = np.arange(count * 6, dtype="float32").reshape(2, count, 3)
    expected = jax.random.choice(theirs, x, shape, replace, weights, 1)
    same(lambda: random.choice(key, x, shape, replace, p, 1), np.asarray(expected))


def test_bernoulli() -> None:
    p = np.array([0.0, 0.1, 0.5, 0.999, 1.0], "float32")
    expected = np.asarray(jax.random.bernoulli(jax.random.key(2), p, (2001, 5)))
    same(lambda: random.bernoulli(random.key(2), p, (2001, 5)), expected)
    expected = np.asarray(jax.random.bernoulli(jax.random.key(2), shape=(100,)))
    same(lambda: random.bernoulli(random.key(2), shape=(100,)), expected)


@pytest.mark.parametrize(
    ("shape", "axis", "drawn"),
    [((5,), -1, None), ((5,), 0, (2000,)), ((300, 4), -1, None), ((4, 300), 0, None),
     ((3, 4, 5), 1, None), ((3, 4, 5), 1, (7, 3, 5)), ((3, 4, 5), -2, (6, 7, 3, 5)),
     ((1, 4), 1, (50,))],
)  # fmt: skip
def test_categorical(shape: Any, axis: int, drawn: Any) -> None:
    logits = np.random.default_rng(0).normal(size=shape).astype("float32")
    expected = np.asarray(jax.random.categorical(jax.random.key(6), logits, axis, drawn))
    same(lambda: random.categorical(random.key(6), logits, axis, drawn), expected)


# The same formulas

EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


XLA_UNITS = {
    ("normal", "float64"): 20,
    ("exponential", "float64"): 150,
    ("laplace", "float64"): 150,
}
"""Where XLA's own functions are less exact than 4 units, on the CPU: its erf_inv is off by up to 17
in float64 (around 0.7), and its log1p by up to 120."""


def log1p(x: np.ndarray) -> np.ndarray:
    """By the C library, which is right to the last unit."""
    return np.vectorize(math.log1p)(x)


def from_uniform(name: str, u: np.ndarray) -> np.ndarray:
    """The formulas, in float64."""
    if name in ("normal", "truncated_normal"):
        return math.sqrt(2) * special.erfinv(u)
    if name == "gumbel":
        return -np.log(-np.log(u))
    if name == "exponential":
        return -log1p(-u)
    return np.sign(u) * log1p(-np.abs(u))


def uniforms_of(name: str, dtype: str) -> np.ndarray:
    """What JAX computes these numbers from, which is exact, in float64."""
    info = jax.numpy.finfo(dtype)
    low = {"gumbel": info.tiny, "exponential": 0.0}.get(name, info.epsneg - 1.0)
    return theirs(jax.random.uniform, 42, SAMPLES, dtype, np.asarray(low, dtype)).astype("float64")


def condition(name: str, u: np.ndarray, value: np.ndarray) -> np.ndarray:
    """By how much a rounding within the formula shows in its result, in units of epsilon."""
    if name == "gumbel":
        return 1 + np.abs(value)  # a logarithm of 1 + epsilon is epsilon
    return np.abs(value)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["normal", "gumbel", "exponential", "laplace"])
def test_formulas(name: str, dtype: str) -> None:
    ours = getattr(random, name)(random.key(42), SAMPLES, dtype)
    assert ours.dtype == dtype
    found = ours.numpy().astype("float64")
    u = uniforms_of(name, dtype)
    expected = from_uniform(name, u)
    off = np.abs(found - expected) / EPSILON[dtype]
    sensitive = condition(name, u, expected)
    assert (off <= 4 * sensitive).all(), (off / sensitive).max()

    jaxs = theirs(getattr(jax.random, name), 42, SAMPLES, dtype).astype("float64")
    off = np.abs(jaxs - expected) / EPSILON[dtype]
    if name == "normal":
        # JAX takes the logarithm of 1 - u * u, where the square is rounded.
        sensitive = sensitive + 0.5 / (1 - u * u)
    assert (off <= XLA_UNITS.get((name, dtype), 4) * sensitive).all(), (off / sensitive).max()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 2.0), (-0.5, 1.5), (0.1, 0.2), (1.0, 3.0)])
def test_truncated_normal(lower: float, upper: float, dtype: str) -> None:
    found = random.truncated_normal(random.key(42), lower, upper, SAMPLES, dtype)
    expected = theirs(jax.random.truncated_normal, 42, lower, upper, SAMPLES, dtype)
    assert found.dtype == dtype
    x = expected.astype("float64")
    # One unit of the uniform, whose range erf gives, and how much further that is here; and what
    # JAX's erfinv is off by, as above.
    u = special.erf(x / math.sqrt(2))
    own = XLA_UNITS.get(("normal", dtype), 4) * np.abs(x)
    units = own + 2 * math.sqrt(math.pi / 2) * np.exp(x * x / 2) + 0.5 / (1 - u * u)
    tolerance = EPSILON[dtype] * units
    off = np.abs(found.numpy().astype("float64") - x)
    assert (off <= tolerance).all(), (off / tolerance).max()
    assert lower < found.numpy().min()
    assert found.numpy().max() < upper
