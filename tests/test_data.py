"""Dataset against NumPy: what comes out, in which order, and again after a stop."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import data, errors
from tinygrad_edu.data import Dataset

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10)


def flat(dataset: Dataset) -> list[int]:
    """All elements of a pass over batches of numbers, in order."""
    return [int(y) for batch in dataset for y in np.ravel(batch)]


def test_batches_of_arrays_are_their_slices() -> None:
    batches = list(Dataset.from_arrays({"x": X, "y": (Y,)}).batch(4))
    for i, batch in enumerate(batches):
        np.testing.assert_array_equal(batch["x"], X[4 * i : 4 * i + 4])
        np.testing.assert_array_equal(batch["y"][0], Y[4 * i : 4 * i + 4])
    assert [len(batch["x"]) for batch in batches] == [4, 4, 2]
    assert [len(y) for y in Dataset.from_arrays(Y).batch(4, drop_remainder=True)] == [4, 4]
    assert batches[0]["x"].base is not None, "a batch in order is a view"


def test_rows_are_elements_of_a_dataset_without_batches() -> None:
    rows = list(Dataset.from_arrays((X, Y)))
    assert len(rows) == 10
    np.testing.assert_array_equal(rows[3][0], X[3])
    assert rows[3][1] == 3


@pytest.mark.parametrize("rows_at_once", [1 << 22, 1 << 11])
def test_a_shuffle_is_a_permutation_another_one_each_pass(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "ROWS_AT_ONCE", rows_at_once)
    n = 5000  # in blocks: five of them, the last one short, in three windows
    shuffled = Dataset.from_arrays((np.arange(n), np.arange(n) * 2)).shuffle(seed=1).batch(64)
    first, second = [np.concatenate([x for x, _ in shuffled]) for _ in range(2)]
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.5 or rows_at_once < n
        assert (np.diff(order) == 1).mean() < 0.01
    assert (first != second).mean() > 0.99
    for x, y in shuffled:
        np.testing.assert_array_equal(y, 2 * x)


def test_a_dataset_says_how_many_elements_it_has() -> None:
    rows = Dataset.from_arrays(np.zeros((10, 2)))
    assert repr(rows) == "<Dataset, 10 elements>"
    assert repr(rows.shuffle().batch(4).prefetch(2)) == "<Dataset, 3 elements>"
    assert repr(rows.repeat()) == "<Dataset, endless>"
    assert repr(Dataset.from_generator(lambda: iter(()))) == "<Dataset, of unknown length>"


def test_every_order_of_a_shuffle_is_as_likely_as_any_other() -> None:
    shuffled = Dataset.from_arrays(np.arange(3)).shuffle(seed=7).batch(3)
    orders = [tuple(next(iter(shuffled)).tolist()) for _ in range(3000)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # chi-squared with 5, 0.1 %


def test_seeds_say_which_order() -> None:
    def first_pass(**options: Any) -> list[int]:
        return flat(Dataset.from_arrays(np.arange(50)).shuffle(**options).batch(8))

    assert first_pass(seed=3) == first_pass(seed=3) != first_pass(seed=4)
    edu.random.seed(5)
    before = first_pass()
    assert before != first_pass()
    edu.random.seed(5)
    assert before == first_pass()
    fixed = Dataset.from_arrays(np.arange(50)).shuffle(seed=3, reshuffle=False).batch(8)
    assert flat(fixed) == flat(fixed)


def test_elements_one_after_another_are_shuffled_from_a_buffer() -> None:
    drawn = Dataset.from_generator(lambda: range(100)).shuffle(seed=0, buffer_size=10)
    first = list(drawn)
    assert sorted(first) == list(range(100)) != first
    assert all(element < i + 10 for i, element in enumerate(first)), "no further than the buffer"
    assert list(drawn) != first
    with pytest.raises(errors.ArgumentError, match="buffer_size"):
        Dataset.from_generator(lambda: range(100)).shuffle()


def test_map_take_skip_and_repeat_do_what_itertools_would() -> None:
    rows = Dataset.from_arrays((X, Y))
    assert [float(s) for s in rows.map(lambda x, y: x.sum() + y)] == (X.sum(1) + Y).tolist()
    numbers = Dataset.from_arrays(Y)
    assert flat(numbers.skip(3).take(4)) == [3, 4, 5, 6]
    assert flat(numbers.take(4).skip(3).repeat(3)) == [3, 3, 3]
    assert flat(numbers.repeat(2).batch(4)) == [*range(10), *range(10)]
    assert flat(numbers.batch(4).skip(1)) == [4, 5, 6, 7, 8, 9]
    assert flat(numbers.repeat().skip(8).take(4)) == [8, 9, 0, 1]
    assert flat(numbers.take(0).repeat()) == []
    assert flat(numbers.map(lambda y: y * 2).batch(3)) == [2 * y for y in range(10)]
    stream = Dataset.from_generator(lambda: iter(range(5)))
    assert list(stream.repeat(2).skip(4).take(3)) == [4, 0, 1]
    assert flat(stream.batch(2)) == [0, 1, 2, 3, 4]
    assert list(Dataset.from_generator(lambda: iter(())).repeat()) == []


def test_shuffled_batches_are_batches_in_another_order() -> None:
    batches = [y.tolist() for y in Dataset.from_arrays(Y).batch(5).shuffle(seed=2)]
    assert sorted(batches) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    pairs = Dataset.from_arrays(Y).batch(5).shuffle(seed=2).batch(2)
    assert next(iter(pairs)).shape == (2, 5)


def test_passes_of_repeat_are_shuffled_each_in_its_own_way() -> None:
    thrice = flat(Dataset.from_arrays(np.arange(40)).shuffle(seed=0).repeat(3).batch(8))
    parts = np.split(np.array(thrice), 3)
    assert all(sorted(part) == list(range(40)) for part in parts)
    assert (parts[0] != parts[1]).any()
    assert (parts[1] != parts[2]).any()


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda d: d.batch(4), 3),
        (lambda d: d.batch(4, drop_remainder=True), 2),
        (lambda d: d.shuffle(0).map(abs).take(7).skip(2).prefetch(), 5),
        (lambda d: d.skip(20), 0),
        (lambda d: d.repeat(3).batch(4), 8),
        (lambda d: d.repeat().take(12), 12),
    ],
)
def test_lengths_that_are_known(make: Callable[[Dataset], Dataset], length: int) -> None:
    made = make(Dataset.from_arrays(Y))
    assert len(made) == made.length == length == len(list(made))


def test_lengths_that_are_not() -> None:
    for made in (Dataset.from_arrays(Y).repeat(), Dataset.from_generator(lambda: range(3))):
        assert made.length is None
        with pytest.raises(TypeError, match=r"length|no end"):
            len(made)
    assert len(Dataset.from_generator(lambda: range(3), length=3)) == 3


# Stopping and going on

CHAINS: dict[str, Callable[[], Dataset]] = {
    "rows": lambda: Dataset.from_arrays(np.arange(23)).shuffle(seed=1).batch(4),
    "batches": lambda: Dataset.from_arrays(np.arange(23)).batch(4).shuffle(seed=1).map(np.negative),
    "repeat": lambda: Dataset.from_arrays(np.arange(23)).shuffle(seed=1).repeat(2).batch(5),
    "endless": lambda: Dataset.from_arrays(np.arange(23)).shuffle(seed=1).repeat().batch(5),
    "stream": lambda: Dataset.from_generator(lambda: range(23)).shuffle(2, buffer_size=5).batch(4),
    "turns": lambda: Dataset.from_generator(lambda: range(23)).repeat(2).batch(4),
    "thread": lambda: Dataset.from_arrays(np.arange(23)).shuffle(seed=1).batch(4).prefetch(3),
    "part": lambda: Dataset.from_arrays(np.arange(23)).skip(3).shuffle(seed=1).take(17).batch(4),
    "unseeded": lambda: Dataset.from_arrays(np.arange(23)).shuffle().batch(4).shuffle(),
}


def passes(dataset: Dataset, count: int) -> Iterator[list[int]]:
    """The batches of several passes in a row."""
    for _ in range(count):
        for batch in dataset:
            yield np.ravel(batch).tolist()


@pytest.mark.parametrize("name", CHAINS)
def test_a_restored_dataset_goes_on_with_exactly_what_would_have_come(name: str) -> None:
    edu.random.seed(0)
    stopped = CHAINS[name]()
    everything = list(itertools.islice(passes(stopped, 3), 30))
    keys = stopped.state_dict()["keys"]
    assert len(everything) > 12
    for place in (0, 1, 5, 7, 12, 13, 15):
        stopped = CHAINS[name]()
        stopped.load_state_dict({"pass": 0, "element": 0, "keys": keys})
        walk = passes(stopped, 3)
        before = [next(walk) for _ in range(place)]
        saved = json.loads(json.dumps(stopped.state_dict()))
        edu.random.seed(9)
        resumed = CHAINS[name]()
        resumed.load_state_dict(saved)
        after = itertools.islice(passes(resumed, 3), len(everything) - place)
        assert before + list(after) == everything, place


@pytest.mark.parametrize("name", CHAINS)
def test_groups_are_the_elements_several_at_a_time(name: str) -> None:
    def in_groups(dataset: Dataset) -> Iterator[list[int]]:
        for _ in range(3):
            for count, found in dataset.groups(2):
                batches = [found] if count == 1 else found
                assert len(batches) == count
                yield from [np.ravel(batch).tolist() for batch in batches]

    found = []
    for walk in (lambda data: passes(data, 3), in_groups):
        edu.random.seed(0)
        data = CHAINS[name]()
        found.append([*itertools.islice(walk(data), 30), data.state_dict()])
    assert found[0] == found[1]


def test_groups_are_as_large_as_they_can_be_and_a_stop_is_between_them() -> None:
    data = Dataset.from_arrays((X, Y)).batch(3)  # three batches, and a short one
    assert [count for count, _ in data.groups(2)] == [2, 1, 1]
    assert [count for count, _ in data.groups(4)] == [1] * 4
    assert [count for count, _ in Dataset.from_arrays(Y).batch(5).groups(2)] == [2]
    x, y = next(data.groups(3))[1]
    np.testing.assert_array_equal(x, X[:9].reshape(3, 3, 2))
    np.testing.assert_array_equal(y, Y[:9].reshape(3, 3))
    resumed = Dataset.from_arrays((X, Y)).batch(3)
    resumed.load_state_dict(data.state_dict())
    assert [y.tolist() for _, y in resumed] == [[9]]
    assert data.state_dict()["pass"] == resumed.state_dict()["pass"] - 1


def test_small_batches_are_gathered_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    many = data._Rows.many

    def counted(self: Any, where: Any) -> Any:
        found = many(self, where)
        taken.append(len(found))
        return found

    monkeypatch.setattr(data._Rows, "many", counted)
    monkeypatch.setattr(data, "_AT_ONCE", 10 * 4 * 8)  # ten batches of four numbers
    shuffled = Dataset.from_arrays(np.arange(100)).shuffle(seed=1).batch(4)
    order = np.concatenate(list(shuffled))
    np.testing.assert_array_equal(np.sort(order), np.arange(100))
    assert taken == [1, 32, 32, 32, 4]  # one to see how large it is, and as many each time
    taken.clear()
    batches = iter(Dataset.from_arrays(np.arange(100)).shuffle(seed=1).batch(4))
    found = [next(batches), next(batches)]
    np.testing.assert_array_equal(np.concatenate(found), order[:8])
    assert max(taken) == 32


def test_where_it_stands_is_what_was_given_out_and_not_what_was_gathered() -> None:
    batched = Dataset.from_arrays(np.arange(100)).shuffle(seed=1).batch(4)
    everything = list(batched)
    batched.load_state_dict({"pass": 0, "element": 0, "keys": batched.state_dict()["keys"]})
    for number, _ in zip(range(1, 8), batched, strict=False):
        assert batched.state_dict()["element"] == number
    resumed = Dataset.from_arrays(np.arange(100)).shuffle(seed=1).batch(4)
    resumed.load_state_dict(batched.state_dict())
    np.testing.assert_array_equal(np.concatenate(list(resumed)), np.concatenate(everything[7:]))


def test_nobody_is_called_before_it_is_time() -> None:
    asked: list[int] = []

    def noted(x: Any) -> Any:
        asked.append(int(x))
        return x

    batches = iter(Dataset.from_arrays(Y).map(noted).batch(2))
    assert next(batches).tolist() == [0, 1]
    assert asked == [0, 1]


def test_batches_of_batches_are_those_of_rows_in_a_new_shape() -> None:
    assert [y.tolist() for y in Dataset.from_arrays(Y).batch(2).batch(2)] == [
        [[0, 1], [2, 3]],
        [[4, 5], [6, 7]],
        [[8, 9]],
    ]
    with pytest.raises(errors.ShapeError, match=r"\(4,\) and \(2,\)|\(2,\) and \(4,\)"):
        list(Dataset.from_arrays(Y).batch(4).batch(3))
    nothing = Dataset.from_arrays(np.ones((4, 0))).batch(2).batch(2)
    assert [x.shape for x in nothing] == [(2, 2, 0)]


def test_states_of_other_datasets_are_refused() -> None:
    shuffled = Dataset.from_arrays(Y).shuffle()
    with pytest.raises(errors.ArgumentError, match="shuffled 1 times"):
        Dataset.from_arrays(Y).load_state_dict(shuffled.state_dict())
    with pytest.raises(errors.ArgumentError, match="no state"):
        shuffled.load_state_dict({"epoch": 3})


# Threads


def test_prefetch_works_ahead_and_gives_the_same() -> None:
    made: list[int] = []

    def note(y: Any) -> Any:
        made.append(int(y))
        return y

    ahead = iter(Dataset.from_arrays(Y).map(note).prefetch(3))
    assert next(ahead) == 0
    until = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(made) in (4, 5), "three wait, and one more at the door"
    assert [int(y) for y in ahead] == list(range(1, 10))


def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_iterated() -> None:
    def third(y: int) -> int:
        if y == 3:
            raise KeyError("no third")
        return int(y)

    ahead = iter(Dataset.from_arrays(Y).map(third).prefetch())
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="no third"):
        next(ahead)


def test_no_thread_outlives_its_iteration() -> None:
    before = threading.active_count()
    dataset = Dataset.from_generator(lambda: iter(range(10**9))).prefetch().batch(2).prefetch()
    for batch in dataset:
        assert batch.tolist() == [0, 1]
        break
    iterator = iter(dataset)
    next(iterator)
    del iterator
    assert threading.active_count() == before


def test_rows_that_differ_in_length_are_refused_by_name() -> None:
    with pytest.raises(errors.ShapeError, match=r"fit: x: its rows differ in length: .* padding"):
        data.arrays([[1, 2], [3]], "fit: x")


def test_a_program_ends_while_elements_are_made_ahead() -> None:
    program = """
import numpy as np, tinygrad_edu as edu
begun = iter(edu.data.Dataset.from_arrays(np.arange(9)).prefetch())
next(begun)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)  # 3.13 hung
    assert done.returncode == 0


def test_the_thread_has_the_device_of_who_iterates() -> None:
    with edu.device("xla"):
        moved = Dataset.from_arrays(Y).map(lambda y: edu.tensor(y).device.name).prefetch()
        assert next(iter(moved)) == "xla"


# Files


def test_csv_files_have_their_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "flowers.csv"
    path.write_text('\ufeff"width", length,kind\n1.5,2,0\n"3",4e1,1\n-5,6,2\n')
    x, y = next(iter(Dataset.from_csv(path, "kind").batch(10)))
    np.testing.assert_array_equal(x, np.array([[1.5, 2], [3, 40], [-5, 6]], np.float32))
    np.testing.assert_array_equal(y, [0, 1, 2])
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    (row,) = Dataset.from_csv(path, columns=["length"], dtype="float64").batch(3)
    np.testing.assert_array_equal(row, [[2.0], [40.0], [6.0]])
    _, both = next(iter(Dataset.from_csv(path, ["width", "kind"]).batch(3)))
    np.testing.assert_array_equal(both, np.array([[1.5, 0], [3, 1], [-5, 2]], np.float32))


def test_targets_of_an_integer_dtype_lose_no_fraction(tmp_path: Path) -> None:
    path = tmp_path / "fraction.csv"
    path.write_text("a,b\n1,3000000000\n2,5\n")
    _, y = next(iter(Dataset.from_csv(path, "b", dtype="int64").batch(2)))
    assert y.tolist() == [3_000_000_000, 5]
    path.write_text("a,b\n1,2.5\n")
    with pytest.raises(errors.ArgumentError, match=r"2\.5"):
        Dataset.from_csv(path, "b", dtype="int64")
    with pytest.raises(errors.DtypeError, match="flot32"):
        Dataset.from_csv(path, "b", dtype="flot32")


@pytest.mark.parametrize("large", [2.0**31, -3e9, np.inf])
def test_targets_that_are_too_large_for_integers_stay_what_they_are(
    tmp_path: Path, large: float
) -> None:
    (tmp_path / "large.csv").write_text(f"a,b\n1,{large}\n2,5\n")
    _, y = next(iter(Dataset.from_csv(tmp_path / "large.csv", "b").batch(2)))
    np.testing.assert_array_equal(y, np.array([large, 5], np.float32))


@pytest.mark.parametrize(
    ("text", "target", "says"),
    [
        ("a,b\n1,2\n3,red\n", None, "red.*row 1, column 2|red.*row 2, column 2"),
        ("a,b\n1,2\n3\n", None, "columns changed|invalid column index"),
        ("a,b\n1,\n", None, "''"),
        ("a,b\n", None, "no rows"),
        ("", None, "name the columns"),
        ("a,a\n1,2\n", None, "name the columns"),
        ("width,kind\n1,2\n", "kinds", "did you mean 'kind'"),
    ],
)
def test_csv_files_that_do_not_fit(tmp_path: Path, text: str, target: Any, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(errors.ArgumentError, match=says):
        Dataset.from_csv(path, target)


def test_npy_files_are_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    files = Dataset.from_npy((tmp_path / "x.npy", tmp_path / "y.npy")).shuffle(seed=1).batch(4)
    arrays = Dataset.from_arrays((X, Y)).shuffle(seed=1).batch(4)
    for mapped, held in zip(files, arrays, strict=True):
        np.testing.assert_array_equal(mapped[0], held[0])
        np.testing.assert_array_equal(mapped[1], held[1])
        assert not isinstance(mapped[0], np.memmap)
    np.save(tmp_path / "z.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:150])
    for name in ("z.npy", "short.npy", "missing.npy"):
        with pytest.raises(errors.ArgumentError, match=name):
            Dataset.from_npy(tmp_path / name)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_larger_than_memory_is_shuffled_in_little_memory(tmp_path: Path) -> None:
    """A file of 8 GB with 64 million rows and nothing in it; anonymous memory is what counts."""
    program = f"""
import numpy as np, os
from pathlib import Path
from tinygrad_edu.data import Dataset

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024

path = {str(tmp_path / "large.npy")!r}
with open(path, "wb") as file:
    header = dict(descr="<f4", fortran_order=False, shape=(64_000_000, 32))
    np.lib.format.write_array_header_1_0(file, header)
    os.truncate(path, file.tell() + 64_000_000 * 32 * 4)
before = anonymous()
batches = iter(Dataset.from_npy(path).shuffle(seed=0).batch(128).prefetch())
for _ in range(3):
    assert next(batches).shape == (128, 32)
print(anonymous() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 300  # MB


# What users have


def test_what_users_have_becomes_numpy_arrays_without_a_copy_where_that_can_be() -> None:
    assert data.arrays(X, "x") is X
    nested = data.arrays(([[1.0, 2.0]], {"v": edu.Variable([1.0])}, [X, Y]), "x")
    assert nested[0].dtype == np.float32
    assert nested[0].shape == (1, 2)
    assert nested[1]["v"].tolist() == [1.0]
    assert nested[2][0] is X
    with pytest.raises(errors.DtypeError, match=r"x\['c'\]: takes arrays of numbers, not str"):
        data.arrays({"c": "red"}, "x")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Dataset.from_arrays((X, Y[:9])), r"Dataset\[0\] has 10, Dataset\[1\] has 9"),
        (lambda: Dataset.from_arrays(np.float32(1)), "at least one axis"),
        (lambda: Dataset.from_arrays([]), "no arrays"),
        (lambda: Dataset.from_arrays(Y).batch(0), "batch_size is a whole number from 1 on"),
        (lambda: Dataset.from_arrays(Y).batch(2.5), "not 2.5"),
        (lambda: Dataset.from_arrays(Y).take(-1), "count is a whole number from 0 on"),
        (lambda: Dataset.from_generator(iter([1, 2])), "read once"),
        (lambda: Dataset.from_generator(3), "takes a function"),
        (lambda: Dataset.from_generator(lambda: [1], -1), "length is a whole number from 0 on"),
        (lambda: Dataset.from_arrays(Y).map(3), "map: takes a function, not 3"),
        (lambda: Dataset.from_csv("x.csv", separator=", "), "is one character, not ', '"),
        (
            lambda: list(Dataset.from_generator(lambda: [np.ones(2), np.ones(3)]).batch(2)),
            r"shapes \(2,\) and \(3,\)",
        ),
        (lambda: list(Dataset.from_generator(lambda: [1, (1, 2)]).batch(2)), "structure"),
    ],
)
def test_bad_input_says_what_is_wrong(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(errors.Error, match=says):
        call()
