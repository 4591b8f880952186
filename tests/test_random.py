"""Random numbers: keys, the default generator, and what is drawn with them, on every device."""

from __future__ import annotations

import copy
import math
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import tinygrad_edu as edu
from tinygrad_edu import errors, random, tree

KEY = random.key(20260)
WORDS = st.integers(0, 2**32 - 1)


# Threefry

# The known answers that its authors publish with their library Random123 (kat_vectors,
# threefry2x32 with 20 rounds): counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("counter", "words", "expected"), KNOWN)
def test_known_answers(counter: Any, words: Any, expected: Any) -> None:
    assert random._threefry_int(*words, *counter) == expected


@pytest.mark.parametrize(("counter", "words", "expected"), KNOWN)
def test_known_answers_in_arrays(counter: Any, words: Any, expected: Any, device: str) -> None:
    xp = edu.backends.current().xp
    high, low = counter
    found = random._threefry(
        xp.asarray(np.array(words, "uint32")), high, xp.asarray(np.array([low] * 3, "uint32"))
    )
    assert [np.asarray(word).tolist() for word in found] == [[word] * 3 for word in expected]


@given(WORDS, WORDS, st.integers(0, 2**64 - 40), st.integers(0, 30))
@settings(deadline=None)
def test_a_word_is_its_block_wherever_it_lies(
    first: int, second: int, start: int, count: int
) -> None:
    start -= max(0, start % 2**32 + count - 2**32)  # parts end where the low word does
    words = np.array((first, second), "uint32")
    blocks = [
        random._threefry_int(first, second, i >> 32, i & 0xFFFFFFFF)
        for i in range(start, start + count)
    ]
    part = random._random_bits._part
    assert part(np, words, start, count, 32).tolist() == [x ^ y for x, y in blocks]
    assert part(np, words, start, count, 64).tolist() == [x << 32 | y for x, y in blocks]
    assert part(np, words, start, count, 8).tolist() == [(x ^ y) & 255 for x, y in blocks]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 32767, 32768, 32769, 100_003])
def test_a_number_depends_on_its_place_alone(count: int, dtype: str) -> None:
    found = random.bits(KEY, (count,), dtype).numpy()
    assert found.shape == (count,)
    assert found.dtype == dtype
    assert_array_equal(found, random.bits(KEY, (100_003,), dtype).numpy()[:count])


# Keys


def test_a_key_is_a_seed_of_64_bits() -> None:
    assert (random.key(5).first, random.key(5).second) == (0, 5)
    assert random.key(2**40 + 3) == random.Key(256, 3)
    assert random.key(-1) == random.key(2**64 - 1) == random.Key(2**32 - 1, 2**32 - 1)
    assert random.key(np.int64(7)) == random.key(edu.tensor(7)) == random.key(7)


def test_keys_compare_hash_and_print_by_their_words() -> None:
    assert random.key(1) == random.Key(0, 1)
    assert random.key(1) != random.key(2)
    assert random.key(1) != (0, 1)
    assert len({random.key(1), random.key(1), random.key(2)}) == 2
    assert repr(random.key(0xABC)) == "Key(0x00000000, 0x00000abc)"
    assert eval(repr(KEY), {"Key": random.Key}) == KEY


def test_keys_are_copied_and_pickled() -> None:
    for twin in (pickle.loads(pickle.dumps(KEY)), copy.copy(KEY), copy.deepcopy(KEY)):
        assert twin == KEY


def test_keys_never_change() -> None:
    with pytest.raises(errors.ImmutableError, match="split"):
        KEY.first = 3
    assert not hasattr(KEY, "__dict__")


def test_a_key_is_a_leaf() -> None:
    structure = {"key": KEY, "more": random.split(KEY)}
    leaves, _ = tree.flatten(structure)
    assert leaves == [KEY, random.split(KEY)]
    assert tree.map(lambda leaf: leaf, structure) == structure


def test_several_keys_are_as_a_tuple_and_as_an_array() -> None:
    keys = random.split(KEY, 5)
    first, *_, last = keys
    assert (keys[0], keys[-1], len(keys)) == (first, last, 5)
    assert keys == tuple(keys)
    assert hash(keys) == hash(random.split(KEY, 5)) == hash(tuple(keys))
    assert keys[1:3] == keys[1:4][:2] != keys[2:4]
    assert last in keys
    assert KEY not in keys
    assert pickle.loads(pickle.dumps(keys)) == keys == copy.deepcopy(keys)
    assert repr(keys) == repr(tuple(keys))
    assert edu.tensor(keys).tolist() == [random.key_data(key).tolist() for key in keys]
    assert edu.tensor(random.split(KEY, 0)).shape == (0, 2)
    assert edu.tensor(KEY).tolist() == random.key_data(KEY).tolist()


def test_split_and_fold_in_count_the_same_blocks() -> None:
    many = random.split(KEY, 40)
    assert len(set(many)) == 40
    for count in (0, 1, 2, 11, 12, 40):
        assert random.split(KEY, count) == many[:count]
    assert random.split(KEY) == many[:2]
    assert tuple(random.fold_in(KEY, i) for i in range(40)) == many


def test_a_tensor_key_gives_what_its_key_gives(device: str) -> None:
    words = random.key_data(KEY)
    assert words.device == device
    assert words.dtype == "uint32"
    assert random.wrap_key_data(words) == KEY
    for count in (0, 3, 40) if device == "numpy" else (3,):
        rows = random.split(words, count)
        assert rows.shape == (count, 2)
        assert tuple(map(random.wrap_key_data, rows)) == random.split(KEY, count)
    first, second = random.split(words)
    assert random.wrap_key_data(second) == random.split(KEY)[1]
    for folded in (
        random.fold_in(words, 2**32 - 1),
        random.fold_in(KEY, edu.tensor(2**32 - 1, "uint32")),
    ):
        assert random.wrap_key_data(folded) == random.fold_in(KEY, 2**32 - 1)
    for dtype in ("uint8", "uint16", "uint32", "uint64"):
        expected = random.bits(KEY, (3, 1), dtype)
        assert_array_equal(random.bits(words, (3, 1), dtype).numpy(), expected.numpy())
    found = random.uniform(words, (3,), minval=-0.1)
    assert found.device == device
    assert_array_equal(found.numpy(), random.uniform(KEY, (3,), minval=-0.1).numpy())
    assert_array_equal(random.bits(words.numpy(), (5,)).numpy(), random.bits(KEY, (5,)).numpy())
    assert first.device == device


# The default generator


def test_functions_without_a_key_draw_one_each() -> None:
    random.seed(3)
    found = [random.uniform(shape=(2,)), random.uniform(None, (2,)), random.randint(None, (), 0, 9)]
    rest, first = random.split(random.key(3))
    rest, second = random.split(rest)
    rest, third = random.split(rest)
    assert_array_equal(found[0].numpy(), random.uniform(first, (2,)).numpy())
    assert_array_equal(found[1].numpy(), random.uniform(second, (2,)).numpy())
    assert found[2].item() == random.randint(third, (), 0, 9).item()
    assert random.state() == rest


def test_a_state_brings_the_generator_back() -> None:
    random.seed(8)
    random.normal(shape=(3,))
    state = random.state()
    expected = random.normal(shape=(3,)).numpy()
    random.seed(state)
    assert_array_equal(random.normal(shape=(3,)).numpy(), expected)


def test_a_refused_call_may_be_repeated() -> None:
    random.seed(1)
    with pytest.raises(errors.ShapeError):
        random.uniform(shape=(-1,))
    assert random.state() == random.key(1)


def test_threads_share_the_default_generator() -> None:
    drawn: list[Any] = []
    random.seed(0)

    def work() -> None:
        for _ in range(200):
            drawn.append(random.split(None, 1)[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    random.seed(0)
    assert set(drawn) == {random.split(None, 1)[0] for _ in range(800)}


def _drawn(queue: Any) -> None:
    queue.put([random.bits().item() for _ in range(3)])


@pytest.mark.parametrize("seeded", [True, False])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are what is tested")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_fork_draws_numbers_of_its_own_unless_seeded(seeded: bool) -> None:
    random._default.forget()
    if seeded:
        random.seed(5)
    else:
        random.state()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    found = []
    with random._default._lock:  # as another thread may, while this one forks
        processes = [context.Process(target=_drawn, args=(queue,)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            found.append(queue.get())
    found.append([random.bits().item() for _ in range(3)])
    assert len({tuple(row) for row in found}) == (1 if seeded else 3)


def test_an_unseeded_process_starts_somewhere_else() -> None:
    states = set()
    for _ in range(3):
        random._default.forget()
        states.add(random.state())
    assert len(states) == 3


# Shapes, dtypes, devices

DRAWS: dict[str, Callable[..., Any]] = {
    "bits": lambda key, shape: random.bits(key, shape),
    "uniform": lambda key, shape: random.uniform(key, shape, minval=-2.5, maxval=0.3),
    "normal": random.normal,
    "truncated_normal": lambda key, shape: random.truncated_normal(key, -0.5, 2.0, shape),
    "randint": lambda key, shape: random.randint(key, shape, -3, 12),
    "bernoulli": lambda key, shape: random.bernoulli(key, 0.3, shape),
    "categorical": lambda key, shape: random.categorical(key, [0.5, 0.1, -2.0], shape=shape),
    "choice": lambda key, shape: random.choice(key, 7, shape),
    "choice with p": lambda key, shape: random.choice(key, [1.5, 0.5], shape, p=[0.25, 0.75]),
    "gumbel": random.gumbel,
    "exponential": random.exponential,
    "laplace": random.laplace,
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (3, 7, 2), (10_007,)])
def test_shapes_on_every_device(name: str, shape: tuple[int, ...], device: str) -> None:
    found = DRAWS[name](KEY, shape)
    assert found.shape == shape
    assert found.device == device
    with edu.device("numpy"):
        expected = DRAWS[name](KEY, shape)
    assert found.dtype == expected.dtype
    assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["uniform", "normal", "gumbel", "exponential", "laplace"])
def test_floats_of_every_dtype_are_finite(name: str, dtype: str, device: str) -> None:
    found = getattr(random, name)(KEY, (70_001,), dtype)
    assert found.dtype == dtype
    assert np.isfinite(found.numpy()).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniforms_stay_in_their_range(dtype: str) -> None:
    found = random.uniform(KEY, (70_001,), dtype).numpy().astype("float64")
    assert found.min() >= 0
    assert found.max() < 1
    found = random.uniform(KEY, (70_001,), dtype, 2.0, 3.0).numpy().astype("float64")
    assert found.min() >= 2
    assert found.max() <= 3


def test_results_live_where_the_arguments_do() -> None:
    logits = edu.tensor([[0.0, 1.0]], device="xla")
    assert random.categorical(KEY, logits).device == "xla"
    assert random.bernoulli(KEY, edu.tensor(0.5, device="xla")).device == "xla"
    assert random.permutation(KEY, logits).device == "xla"
    assert random.choice(KEY, logits, (2,)).device == "xla"
    assert random.uniform(KEY, (2,), minval=edu.tensor(-1.0, device="xla")).device == "xla"
    assert random.randint(KEY, (2,), 0, edu.tensor(5, device="xla")).device == "xla"


def test_a_shape_may_be_one_number() -> None:
    assert random.normal(KEY, 5).shape == (5,)
    assert random.normal(KEY, np.int64(5)).shape == (5,)
    assert random.randint(KEY, 5, 0, 2).shape == (5,)
    assert random.normal(KEY, [2, 3]).shape == (2, 3)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int8", -128, 128), ("uint8", 0, 256), ("int16", -(2**15), 2**15), ("int32", 0, 2**31),
     ("int32", -(2**31), 2**31), ("uint32", 0, 2**32), ("int64", -(2**63), 2**63),
     ("uint64", 2**63, 2**64), ("uint64", 0, 2**64), ("int64", 5, 6), ("int32", -7, -6)],
)  # fmt: skip
def test_randint_reaches_the_ends_of_its_dtype(
    dtype: str, low: int, high: int, device: str
) -> None:
    found = random.randint(KEY, (3000,), low, high, dtype)
    assert found.dtype == dtype
    values = [int(x) for x in found.tolist()]
    assert low <= min(values)
    assert max(values) < high
    span = high - low
    assert abs(sum(values) / 3000 - (low + high - 1) / 2) < span * 0.03


def test_randint_takes_bounds_for_every_element(device: str) -> None:
    low, high = np.array([[0], [-5]]), edu.tensor([1, 10, 100])
    found = random.randint(KEY, (1000, 2, 3), low, high).numpy()
    assert (found >= low).all()
    assert (found < [1, 10, 100]).all()
    assert found[:, 1, 2].min() < -3
    mixed = random.randint(KEY, (9, 2), [0, 0], [2, 2**32], "uint32").numpy()
    assert mixed[:, 0].max() <= 1
    assert mixed[:, 1].max() > 2**28


def test_a_bernoulli_of_0_or_1_is_certain() -> None:
    assert not random.bernoulli(KEY, 0.0, (1000,)).any()
    assert random.bernoulli(KEY, 1.0, (1000,)).all()
    assert random.bernoulli(KEY, 1, ()).item() is True
    assert random.bernoulli(KEY).shape == ()


@pytest.mark.parametrize("count", [0, 1, 2, 100, 1625, 1626, 5000])
def test_a_permutation_has_every_number_once(count: int, device: str) -> None:
    found = random.permutation(KEY, count)
    assert found.dtype == "int32"
    assert sorted(found.tolist()) == list(range(count))
    assert count < 10 or found.tolist() != list(range(count))


def test_a_permutation_keeps_slices_together() -> None:
    x = np.arange(24).reshape(4, 6)
    rows = random.permutation(KEY, x).numpy()
    assert sorted(map(tuple, rows)) == sorted(map(tuple, x))
    columns = random.permutation(KEY, x, axis=-1).numpy()
    assert sorted(map(tuple, columns.T)) == sorted(map(tuple, x.T))


def test_independent_permutations_differ_from_slice_to_slice() -> None:
    x = np.arange(200).reshape(4, 50)
    found = random.permutation(KEY, x, axis=1, independent=True).numpy()
    assert_array_equal(np.sort(found, axis=1), x)
    assert len({tuple(row % 50) for row in found}) == 4


def test_choice_without_replacement_repeats_nothing(device: str) -> None:
    found = random.choice(KEY, 10, (2, 5), replace=False)
    assert sorted(found.numpy().ravel().tolist()) == list(range(10))
    p = [0.0, 0.5, 0.25, 0.25]
    found = random.choice(KEY, 4, (3,), replace=False, p=p)
    assert sorted(found.tolist()) == [1, 2, 3]


def test_choice_takes_slices_along_an_axis() -> None:
    x = np.arange(12.0).reshape(3, 4)
    found = random.choice(KEY, x, (2, 5), axis=1)
    assert found.shape == (3, 2, 5)
    assert_array_equal(found.numpy()[1], found.numpy()[0] + 4)
    assert random.choice(KEY, x).shape == (4,)
    assert random.choice(KEY, 3).shape == ()
    assert random.choice(KEY, 3, p=[0.2, 0.3, 0.5]).shape == ()


# Gradients


def test_gradients_flow_to_the_bounds_of_a_uniform(device: str) -> None:
    fractions = random.uniform(KEY, (1000,)).numpy().astype("float64")

    def total(low: Any, high: Any) -> Any:
        return random.uniform(KEY, (1000,), minval=low, maxval=high).sum()

    slopes = edu.grad(total, argnums=(0, 1))(edu.tensor(-1.0), edu.tensor([2.0] * 1000))
    assert_allclose(float(slopes[0]), (1 - fractions).sum(), rtol=1e-5)
    assert_allclose(slopes[1].numpy(), fractions, rtol=1e-5)


def test_gradients_flow_through_what_was_chosen() -> None:
    x = edu.tensor([1.0, 2.0, 3.0, 4.0])
    order = random.permutation(KEY, 4).numpy()
    found = edu.grad(lambda x: (random.permutation(KEY, x) * [1.0, 2.0, 3.0, 4.0]).sum())(x)
    assert_array_equal(found.numpy()[order], [1, 2, 3, 4])
    found = edu.grad(lambda x: random.choice(KEY, x, (100,)).sum())(x)
    counts = np.bincount(random.choice(KEY, 4, (100,)).numpy(), minlength=4)
    assert_array_equal(found.numpy(), counts)


def test_a_key_passes_through_a_differentiated_function() -> None:
    def loss(w: Any, key: Any) -> Any:
        return (w * random.normal(key, (3,))).sum()

    found = edu.grad(loss)(edu.ones(3), KEY)
    assert_array_equal(found.numpy(), random.normal(KEY, (3,)).numpy())


def test_what_is_drawn_is_a_constant_for_tapes() -> None:
    with edu.GradientTape() as tape:
        w = edu.Variable([2.0, 2.0, 2.0])
        noisy = w * random.normal(KEY, (3,))
    assert_array_equal(tape.gradient(noisy, w), random.normal(KEY, (3,)))


def test_under_vmap_each_key_draws_for_its_example() -> None:
    keys = random.split(random.key_data(KEY), 3)
    found = edu.vmap(lambda key: random.uniform(key, (4,)))(keys)
    expected = [random.uniform(key, (4,)).tolist() for key in random.split(KEY, 3)]
    assert found.tolist() == expected


def test_under_vmap_one_key_draws_for_all_examples() -> None:
    x = edu.tensor([[0.25], [0.5]])
    found = edu.vmap(lambda row: row + random.uniform(KEY, (2,)))(x)
    assert_array_equal(found.numpy(), x.numpy() + random.uniform(KEY, (2,)).numpy())
    logits = edu.tensor([[0.0, 90.0], [90.0, 0.0]])
    assert edu.vmap(lambda row: random.categorical(KEY, row))(logits).tolist() == [1, 0]
    chances = edu.tensor([[0.0], [1.0]])
    assert edu.vmap(lambda p: random.bernoulli(KEY, p))(chances).tolist() == [[False], [True]]


# Distributions: at fixed seeds, so a test that passes goes on passing.

COUNT = 20_000
DISTRIBUTIONS: list[Any] = [
    pytest.param(lambda k, d: random.uniform(k, (COUNT,), d), stats.uniform(), id="uniform"),
    pytest.param(
        lambda k, d: random.uniform(k, (COUNT,), d, -3.0, 5.0), stats.uniform(-3, 8), id="range"
    ),
    pytest.param(lambda k, d: random.normal(k, (COUNT,), d), stats.norm(), id="normal"),
    pytest.param(
        lambda k, d: random.truncated_normal(k, -0.5, 2.0, (COUNT,), d),
        stats.truncnorm(-0.5, 2.0),
        id="truncated_normal",
    ),
    pytest.param(lambda k, d: random.gumbel(k, (COUNT,), d), stats.gumbel_r(), id="gumbel"),
    pytest.param(lambda k, d: random.exponential(k, (COUNT,), d), stats.expon(), id="exponential"),
    pytest.param(lambda k, d: random.laplace(k, (COUNT,), d), stats.laplace(), id="laplace"),
]


@pytest.mark.parametrize(("draw", "distribution"), DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=st.integers(0, 2**64 - 1))
@settings(max_examples=10, derandomize=True, deadline=None)
def test_samples_are_distributed_as_they_say(
    draw: Any, distribution: Any, dtype: str, seed: int
) -> None:
    found = draw(random.key(seed), dtype).numpy().astype("float64")
    assert stats.kstest(found, distribution.cdf).pvalue > 1e-5
    mean, variance, skewness, kurtosis = map(float, distribution.stats("mvsk"))
    standard = (found - mean) / math.sqrt(variance)
    assert abs(standard.mean()) < 4.5 / math.sqrt(COUNT)
    assert abs((standard**2).mean() - 1) < 4.5 * math.sqrt((kurtosis + 2) / COUNT)
    assert (standard**3).mean() == pytest.approx(skewness, abs=0.6)


@given(seed=st.integers(0, 2**64 - 1))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_keys_that_were_split_are_independent(seed: int) -> None:
    parent = random.key(seed)
    children = random.split(parent, 3)
    rows = [random.normal(key, (COUNT,)).numpy() for key in (parent, *children)]
    correlation = np.corrcoef(np.stack(rows).astype("float64"))
    assert abs(correlation - np.eye(4)).max() < 4.5 / math.sqrt(COUNT)
    pairs = np.histogram2d(*(stats.norm.cdf(row) for row in rows[1:3]), bins=8, range=[[0, 1]] * 2)
    assert stats.chisquare(pairs[0].ravel()).pvalue > 1e-5


@given(seed=st.integers(0, 2**64 - 1))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_counts_are_as_likely_as_they_say(seed: int) -> None:
    key = random.key(seed)
    p = np.array([0.5, 0.25, 0.125, 0.125])
    drawn = {
        "randint": (random.randint(key, (COUNT,), 0, 7), np.full(7, 1 / 7)),
        "choice": (random.choice(key, 5, (COUNT,)), np.full(5, 0.2)),
        "choice, p": (random.choice(key, 4, (COUNT,), p=p), p),
        "categorical": (random.categorical(key, np.log(p) + 3, shape=(COUNT,)), p),
        "bernoulli": (edu.astype(random.bernoulli(key, 0.3, (COUNT,)), int), [0.7, 0.3]),
        "permutation": (random.permutation(key, np.tile(np.arange(9), (COUNT, 1)), 1, True)[:, 2],
                        np.full(9, 1 / 9)),
    }  # fmt: skip
    for name, (values, expected) in drawn.items():
        counts = np.bincount(values.numpy(), minlength=len(expected))
        assert stats.chisquare(counts, np.array(expected) * COUNT).pvalue > 1e-5, name


def test_bits_are_balanced_in_every_place() -> None:
    words = random.bits(KEY, (40_000,)).numpy()
    shares = np.unpackbits(words.view("uint8")).reshape(-1, 32).mean(axis=0)
    assert abs(shares - 0.5).max() < 4.5 * 0.5 / math.sqrt(40_000)


@given(seed=st.integers(0, 2**32 - 1), shape=st.lists(st.integers(0, 6), max_size=5).map(tuple))
@settings(max_examples=50, deadline=None)
def test_any_shape_holds_the_same_numbers_in_a_row(seed: int, shape: tuple[int, ...]) -> None:
    key = random.key(seed)
    for draw in (random.bits, random.uniform, random.normal):
        found = draw(key, shape)
        assert found.shape == shape
        flat = draw(key, (math.prod(shape),)).numpy()
        assert_array_equal(found.numpy().ravel(), flat)


# x * y + z, rounded once

FLOATS = st.one_of(st.just(0.0), st.floats(1e-30, 1e30), st.floats(-1e30, -1e-30))


@given(st.integers(0, 2**23 - 1).map(lambda m: m / 2**23), FLOATS, FLOATS)
@settings(max_examples=300, deadline=None)
def test_multiply_add_rounds_once(x: float, y: float, z: float) -> None:
    for dtype in ("float32", "float64"):
        operands = [np.array(v, dtype) for v in (x, y, z)]
        found = random._multiply_add(*operands).numpy()
        a, b, c = (Fraction(float(v)) for v in operands)
        off = abs(Fraction(float(found)) - (a * b + c)) / Fraction(float(np.spacing(abs(found))))
        assert off <= Fraction(1, 2) + Fraction(1, 2**27)


def test_multiply_add_has_the_gradient_of_its_formula() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    edu.check_grads(lambda x, y, z: random._multiply_add(x, y, z), (x, x[0] + 1.0, x[:, :1]))


# Bad input

REFUSED: list[Any] = [
    (lambda: random.uniform((3,)), errors.DtypeError, r"uniform: key is \(3,\).*shape=\(3,\)"),
    (lambda: random.uniform(42), errors.DtypeError, r"uniform: key is 42.*edu.random.key\(42\)"),
    (lambda: random.bits(edu.ones(2)), errors.DtypeError, r"bits: key is float32 of shape \(2,\)"),
    (lambda: random.split("a"), errors.DtypeError, "split: key is 'a'"),
    (lambda: random.split(random.split(KEY)), errors.DtypeError, "key is 2 keys.*pick one"),
    (lambda: random.split(KEY, -1), errors.ArgumentError, "split: num is -1"),
    (lambda: random.split(KEY, 2.0), errors.DtypeError, "split: num is 2.0.*integer"),
    (lambda: random.key("a"), errors.DtypeError, "key: seed is 'a'; it is an integer"),
    (lambda: random.key(1.5), errors.DtypeError, "key: seed is 1.5; it is an integer"),
    (lambda: random.key(True), errors.DtypeError, "key: seed is True"),
    (lambda: random.key(2**64), errors.ArgumentError, "key: seed is .*64 bits"),
    (lambda: random.seed(0.5), errors.DtypeError, "seed is 0.5"),
    (lambda: random.fold_in(KEY, -1), errors.ArgumentError, "fold_in: data is -1.*4294967295"),
    (lambda: random.fold_in(KEY, 2**32), errors.ArgumentError, "fold_in: data is 4294967296"),
    (lambda: random.fold_in(KEY, 0.5), errors.DtypeError, "fold_in: data is 0.5"),
    (lambda: random.fold_in(KEY, edu.ones(2)), errors.ArgumentError, "fold_in: data is float32"),
    (lambda: random.Key(-1, 0), errors.ArgumentError, "Key: .*-1.*edu.random.key"),
    (lambda: random.wrap_key_data([1, 2]), errors.ArgumentError, "wrap_key_data: .*int32"),
    (lambda: random.bits(KEY, (2,), "int32"), errors.DtypeError, "bits: dtype is int32.*uint8"),
    (lambda: random.uniform(KEY, (-2,)), errors.ShapeError, r"uniform: \(-2,\) is not a shape"),
    (lambda: random.uniform(KEY, 2.5), errors.ShapeError, "uniform: 2.5 is not a shape"),
    (lambda: random.normal(KEY, (2, "a")), errors.ShapeError, "normal: .* is not a shape"),
    (lambda: random.normal(KEY, True), errors.ShapeError, "normal: True is not a shape"),
    (lambda: random.uniform(KEY, dtype=int), errors.DtypeError, "uniform: dtype is int32"),
    (lambda: random.normal(KEY, (), "complex64"), errors.DtypeError, "complex"),
    (lambda: random.gumbel(KEY, (), bool), errors.DtypeError, "gumbel: dtype is bool"),
    (lambda: random.uniform(KEY, (2,), minval=1, maxval=0), errors.ArgumentError,
     "uniform: from minval 1.0 to maxval 0.0"),
    (lambda: random.uniform(KEY, maxval=math.inf), errors.ArgumentError, "uniform: .*maxval inf"),
    (lambda: random.uniform(KEY, (2,), minval=edu.zeros(3)), errors.ShapeError,
     r"uniform: minval of shape \(3,\) does not broadcast to shape \(2,\)"),
    (lambda: random.uniform(KEY, (), minval=edu.zeros(3)), errors.ShapeError, "uniform: minval"),
    (lambda: random.truncated_normal(KEY, 1.0, 1.0), errors.ArgumentError,
     "truncated_normal: lower is 1.0 and upper 1.0"),
    (lambda: random.truncated_normal(KEY, 0.0, math.nan), errors.ArgumentError, "lower is 0.0"),
    (lambda: random.truncated_normal(KEY, [0.0] * 3, [1.0] * 2), errors.ShapeError, "broadcast"),
    (lambda: random.randint(KEY, (), 5, 5), errors.ArgumentError, "minval is 5 and maxval 5"),
    (lambda: random.randint(KEY, (2,), 0, [1, 0]), errors.ArgumentError, "minval is 0"),
    (lambda: random.randint(KEY, (), 0, 2.5), errors.DtypeError, "randint: maxval is 2.5"),
    (lambda: random.randint(KEY, (), 0, 300, "uint8"), errors.ArgumentError,
     "randint: maxval is 300; for uint8 it is between 0 and 256"),
    (lambda: random.randint(KEY, (), -1, 3, "uint8"), errors.ArgumentError, "minval is -1"),
    (lambda: random.randint(KEY, (), 0, 3, "float32"), errors.DtypeError, "dtype is float32"),
    (lambda: random.randint(KEY, (2,), 0, [1, 2, 3]), errors.ShapeError, "maxval of shape"),
    (lambda: random.bernoulli(KEY, -0.1), errors.ArgumentError, "bernoulli: p is -0.1"),
    (lambda: random.bernoulli(KEY, [0.5, 1.5]), errors.ArgumentError, "bernoulli: p is"),
    (lambda: random.bernoulli(KEY, math.nan), errors.ArgumentError, "bernoulli: p is nan"),
    (lambda: random.bernoulli(KEY, [0.5] * 3, (2,)), errors.ShapeError, "p of shape"),
    (lambda: random.categorical(KEY, 1.0), errors.ShapeError, "categorical: logits"),
    (lambda: random.categorical(KEY, [[]]), errors.ShapeError, "categorical: .*no category"),
    (lambda: random.categorical(KEY, [1.0], axis=1), errors.ArgumentError, "categorical: axis 1"),
    (lambda: random.categorical(KEY, np.zeros((2, 3)), shape=(3,)), errors.ShapeError,
     r"categorical: shape \(3,\)"),
    (lambda: random.permutation(KEY, 2.5), errors.DtypeError, "permutation: x is 2.5"),
    (lambda: random.permutation(KEY, -1), errors.ArgumentError, "permutation: x is -1"),
    (lambda: random.permutation(KEY, [1, 2], axis=1), errors.ArgumentError, "permutation: axis 1"),
    (lambda: random.choice(KEY, 3, (4,), replace=False), errors.ArgumentError,
     "choice: 4 elements of 3"),
    (lambda: random.choice(KEY, [], (1,)), errors.ArgumentError, "choice: nothing to draw"),
    (lambda: random.choice(KEY, 2, p=[0.5, 0.6]), errors.ArgumentError, "choice: p adds up to"),
    (lambda: random.choice(KEY, 2, p=[-0.5, 1.5]), errors.ArgumentError, "choice: p is"),
    (lambda: random.choice(KEY, 3, p=[0.5, 0.5]), errors.ShapeError, "choice: p has shape"),
    (lambda: random.choice(KEY, 3, (2,), False, [1.0, 0.0, 0.0]), errors.ArgumentError,
     "choice: fewer than 2"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_input_is_refused_by_name(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert str(caught.value).startswith("random.")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: edu.ones(2) + KEY,
            errors.DtypeError,
            r"add: takes numbers, not Key.*key_data\(key",
        ),
        (lambda: KEY * edu.Variable(1.0), errors.DtypeError, r"multiply: takes numbers, not Key"),
        (lambda: np.ones(2) - KEY, errors.DtypeError, r"takes numbers, not Key"),
        (
            lambda: edu.jit(lambda x: x / KEY)(1.0),
            errors.DtypeError,
            "divide: takes numbers, not Key",
        ),
        (lambda: edu.ones(2) + random.split(KEY), errors.DtypeError, r"add: .* not \(Key\(.*Key\("),
        (lambda: np.asarray(KEY, copy=False), ValueError, "Key.* becomes none without a copy"),
        (
            lambda: np.asarray(random.split(KEY), copy=False),
            ValueError,
            "becomes none without a copy",
        ),
    ],
)
def test_keys_are_not_computed_with(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_floats_where_integers_are_meant_work_where_they_are_unambiguous() -> None:
    assert random.bernoulli(KEY, 0).item() is False
    assert random.categorical(KEY, [0, 0, 0]).dtype == "int32"
