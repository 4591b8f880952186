"""The linear classifier's data and pictures: what is read, what is refused, what is drawn.

Nothing here trains: a result made by hand stands for one, so that the pictures' geometry can be
checked exactly.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.image import imread

from tinygrad_edu.errors import Error, ExtraMissingError
from tinygrad_edu.linear_classifier import pictures
from tinygrad_edu.linear_classifier.data import (
    NAMES,
    DataError,
    Dataset,
    blobs,
    bundled,
    from_csv,
    load,
)
from tinygrad_edu.linear_classifier.training import Result, equation

pytestmark = pytest.mark.filterwarnings("error")

GOOD = "height,weight,sex\n180,80,m\n165,60,f\n170,62,f\n177,75,m\n"


def write(folder: Path, content: str | bytes, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def result_of(dataset: Dataset, weights: list[float], bias: float) -> Result:
    W = np.array(weights, np.float32)[:, np.newaxis]
    b = np.array([bias], np.float32)
    predictions = dataset.points @ W + b
    accuracy = float(np.mean((predictions > 0.5) == (dataset.labels > 0.5)))
    return Result(W, b, [0.5, 0.2, 0.1], predictions, accuracy)


# The sources


def test_the_blobs_are_a_thousand_points_around_each_of_two_means() -> None:
    data = blobs(seed=3)
    assert data.points.shape == (2000, 2)
    assert data.labels.shape == (2000, 1)
    assert data.points.dtype == data.labels.dtype == np.float32
    for label, mean in ((0, [0, 3]), (1, [3, 0])):
        cloud = data.points[data.labels[:, 0] == label]
        assert len(cloud) == 1000
        np.testing.assert_allclose(cloud.mean(axis=0), mean, atol=0.15)
        np.testing.assert_allclose(np.cov(cloud.T), [[1, 0.5], [0.5, 1]], atol=0.15)


def test_the_same_seed_gives_the_same_blobs_and_another_seed_others() -> None:
    assert (blobs(1).points == blobs(1).points).all()
    assert (blobs(1).points != blobs(2).points).any()


@pytest.mark.parametrize(
    ("name", "shape", "classes", "second"),
    [
        ("breast-cancer", (569, 30), ("malignant", "benign"), 357),
        ("iris", (100, 4), ("versicolor", "virginica"), 50),
    ],
)
def test_a_bundled_dataset_has_two_classes_and_its_own_names(
    name: str, shape: tuple[int, int], classes: tuple[str, str], second: int
) -> None:
    data = bundled(name)
    assert data.points.shape == shape
    assert len(data.features) == shape[1]
    assert data.classes == classes
    assert data.labels.sum() == second


@pytest.mark.parametrize("name", ["breast-cancer", "iris"])
def test_standardized_features_have_mean_0_one_spread_and_a_widest_direction_of_variance_1(
    name: str,
) -> None:
    points = bundled(name).points.astype(np.float64)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(points.std(axis=0), points.std(axis=0)[0], rtol=1e-5)
    assert np.linalg.eigvalsh(np.cov(points.T, bias=True))[-1] == pytest.approx(1, abs=1e-5)


def test_a_point_can_be_taken_back_to_the_users_units(tmp_path: Path) -> None:
    data = from_csv(write(tmp_path, GOOD))
    np.testing.assert_allclose(
        data.points * data.scale + data.mean,
        [[180, 80], [165, 60], [170, 62], [177, 75]],
        rtol=1e-6,
    )


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'tinygrad_edu\[data\]'"):
        load("iris")


def test_a_name_nearly_right_is_suggested() -> None:
    for name in ("blob", "BLOBS"):
        with pytest.raises(
            DataError, match=rf"no data set '{name}'.*CSV file; did you mean 'blobs'"
        ):
            load(name)


@pytest.mark.parametrize("name", NAMES)
def test_only_a_csv_file_has_a_label_column_to_choose(name: str) -> None:
    with pytest.raises(DataError, match="label column is for a CSV file"):
        load(name, label="sex")


# The user's own file


def test_the_last_column_holds_the_labels_and_the_classes_are_sorted(tmp_path: Path) -> None:
    data = load(str(write(tmp_path, GOOD)))
    assert data.name == "people"
    assert data.features == ("height", "weight")
    assert data.classes == ("f", "m")
    assert data.labels.ravel().tolist() == [1, 0, 0, 1]


def test_a_named_column_holds_the_labels_instead(tmp_path: Path) -> None:
    path = write(tmp_path, "sex,height\nm,180\nf,165\n")
    data = from_csv(path, label="sex")
    assert data.features == ("height",)
    assert data.labels.ravel().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["10", "9", "10"], ("9", "10"), [1, 0, 1]),  # as words, "10" would come first
        (["1", "0.0", "1.0"], ("0", "1"), [1, 0, 1]),  # 1 and 1.0 are one class
        (["10", "9", "nine"], None, None),  # three words
        (["1e3", "-1", "1000"], ("-1", "1000"), [1, 0, 1]),
        ([" yes ", "no", "yes"], ("no", "yes"), [1, 0, 1]),
    ],
)
def test_labels_that_are_all_numbers_are_compared_as_numbers(
    tmp_path: Path,
    labels: list[str],
    classes: tuple[str, str] | None,
    expected: list[int] | None,
) -> None:
    rows = "".join(f"{number},{label}\n" for number, label in enumerate(labels))
    path = write(tmp_path, "x,label\n" + rows)
    if classes is None:
        with pytest.raises(DataError, match="3 classes"):
            from_csv(path)
        return
    data = from_csv(path)
    assert data.classes == classes
    assert data.labels.ravel().tolist() == expected


@pytest.mark.parametrize(
    "content",
    [
        GOOD + "\n\n  \n",
        GOOD.encode("utf-8-sig"),
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        '"height","weight","sex"\n"180",80,"m"\n165,60,"f"\n170,62,f\n177,75,m\n',
        " height , weight,sex\n 180, 80 ,m\n165,60,f\n170,62,f\n177,75, m\n",
    ],
    ids=["blank lines", "byte order mark", "CRLF", "no newline at the end", "quotes", "spaces"],
)
def test_files_as_spreadsheets_write_them_are_read_alike(
    tmp_path: Path, content: str | bytes
) -> None:
    expected = from_csv(write(tmp_path, GOOD))
    data = from_csv(write(tmp_path, content))
    assert (data.features, data.classes) == (expected.features, expected.classes)
    assert (data.points == expected.points).all()
    assert (data.labels == expected.labels).all()


@pytest.mark.parametrize("constant", ["0.1", "0", "-1e100", "1e-300"])
def test_a_column_that_never_changes_becomes_zeros(tmp_path: Path, constant: str) -> None:
    rows = "".join(f"{n},{constant},{n % 2}\n" for n in range(30))
    data = from_csv(write(tmp_path, "x,same,label\n" + rows))
    assert (data.points[:, 1] == 0).all()
    assert np.isfinite(data.points).all()
    assert np.ptp(data.points[:, 0]) > 1


def test_a_column_whose_spread_is_too_small_for_a_float_becomes_zeros(tmp_path: Path) -> None:
    data = from_csv(write(tmp_path, "x,tiny,label\n1,1e-200,a\n2,2e-200,b\n"))
    assert (data.points[:, 1] == 0).all()


BAD_FILES = {
    "empty": (b"", "is empty: it needs a line of column names"),
    "blank lines only": (b"\n\n \n", "is empty"),
    "header only": (b"x,label\n", "has a header and no points"),
    "no feature": (b"label\n0\n1\n", "has the one column 'label'.*separated by commas"),
    "semicolons": (b"x;y;label\n1;2;a\n", "has the one column 'x;y;label'.*separated by commas"),
    "duplicate name": (b"x,y, x,label\n1,2,3,a\n", "two columns are called 'x'"),
    "no header": (b"5.1,2,a\n4.9,3,b\n", r"line 1: '5.1', '2' are numbers.*put one above it"),
    "empty name": (b"x,,label\n1,2,a\n", "column 2 has no name"),
    "too few fields": (
        b"x,y,label\n1,2,a\n1,b\n",
        "line 3: 2 fields where the header has 3",
    ),
    "too many fields": (b"x,label\n1,a\n\n1,2,b\n", "line 4: 3 fields where the header has 2"),
    "a word": (b"x,y,label\n1,2,a\n1,tall,b\n", "line 3, column 'y': 'tall' is not a number"),
    "digits as Python writes them": (b"x,label\n1_000,a\n2,b\n", "line 2.*'1_000' is not a number"),
    "a very long word": (b"x,label\n" + b"a" * 5000 + b",a\n", "'a{40}...' is not a number"),
    "nan": (b"x,label\n1,a\nNaN,b\n", "line 3, column 'x': 'NaN' is no finite number"),
    "infinity": (b"x,label\n-inf,a\n1,b\n", "line 2, column 'x': '-inf' is no finite number"),
    "overflow": (b"x,label\n1e999,a\n1,b\n", "line 2, column 'x': '1e999' is no finite number"),
    "no value": (b"x,y,label\n1,2,a\n1,,b\n", "line 3, column 'y': no value"),
    "no label": (b"x,label\n1,a\n2,\n", "line 3, column 'label': '' is no label"),
    "nan label": (b"x,label\n1,0\n2,nan\n3,1\n", "line 3, column 'label': 'nan' is no label"),
    "one class": (b"x,label\n1,a\n2,a\n", r"'label' has 1 class \('a'\)"),
    "three classes": (b"x,label\n1,a\n2,c\n3,b\n", r"has 3 classes \('a', 'b', 'c'\)"),
    "many classes": (
        b"x,label\n" + b"".join(b"1,%d\n" % n for n in range(100)),
        r"has 100 classes \('0', '1', .*'7' and 92 more\)",
    ),
    "not text": (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not text in UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "is not text in UTF-8"),
    "an open quote": (b'x,label\n"1,a\n2,b\n', "line 3: not CSV.*check the quotes"),
    "huge numbers": (b"x,label\n1e200,a\n-1e200,b\n", "column 'x' are too large"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_in_one_sentence_that_says_where(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        from_csv(write(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_whole_numbers_may_be_names(tmp_path: Path) -> None:
    assert from_csv(write(tmp_path, "2019,2020,label\n1,2,a\n3,5,b\n")).features == ("2019", "2020")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*absent\.csv"):
        load(str(tmp_path / "absent.csv"))
    with pytest.raises(DataError, match="is a folder"):
        load(str(tmp_path))


def test_an_unknown_label_column_lists_the_columns_and_the_nearest_one(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    for name in ("wieght", "WEIGHT"):
        with pytest.raises(
            DataError, match=rf"no column '{name}': .*'height', 'weight'.*; did you mean 'weight'"
        ):
            from_csv(path, label=name)


# The line's equation


def test_the_equation_is_in_the_units_of_the_file(tmp_path: Path) -> None:
    data = from_csv(write(tmp_path, GOOD))
    result = result_of(data, [0.7, -0.3], 0.25)
    text = equation(data, result)
    left, right = text.split(" = ")
    value = eval(left, {"height": 180, "weight": 80})
    assert float(right) == 0.5
    assert value == pytest.approx(float(result.predictions[0, 0]), abs=0.01)


def test_the_equation_reads_like_one() -> None:
    data = blobs()
    assert equation(data, result_of(data, [0.25, -0.125], -1)) == "0.25 * x - 0.125 * y - 1 = 0.5"
    assert equation(data, result_of(data, [-0.25, 0.125], 1)) == "-0.25 * x + 0.125 * y + 1 = 0.5"


# The pictures


def column_file(folder: Path, features: int, points: int = 12) -> Path:
    generator = np.random.default_rng(features)
    rows = [[*generator.normal(size=features), row % 2] for row in range(points)]
    header = [*(f"x{n}" for n in range(features)), "label"]
    return write(folder, "\n".join(",".join(map(str, row)) for row in [header, *rows]))


def has_colour(path: Path, colour: str, opacity: float = 1) -> bool:
    """Whether the picture has a pixel of this colour, drawn over white."""
    pixels = imread(path)[..., :3] * 255
    wanted = opacity * np.array([*bytes.fromhex(colour[1:])]) + (1 - opacity) * 255
    return bool((np.abs(pixels - wanted).max(axis=-1) < 2).any())


@pytest.mark.parametrize("features", [1, 2, 3])
def test_three_pictures_are_drawn_for_any_number_of_features(tmp_path: Path, features: int) -> None:
    data = from_csv(column_file(tmp_path, features))
    result = result_of(data, [0.5] * features, 0.5)
    paths = pictures.draw(data, result, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["points.png", "predictions.png", "loss.png"]
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    for path in paths:
        image = imread(path)
        assert min(image.shape[:2]) > 500
        assert image.std() > 0.02
    assert has_colour(paths[0], pictures.COLOURS[0], opacity=0.7)  # the points of either class
    assert has_colour(paths[0], pictures.COLOURS[1], opacity=0.7)
    assert has_colour(paths[1], pictures.INK)  # the line
    assert has_colour(paths[2], pictures.COLOURS[0])  # the curve


@pytest.mark.parametrize("features", [1, 2, 3, 30])
def test_the_line_drawn_is_the_line_predicted(tmp_path: Path, features: int) -> None:
    data = from_csv(column_file(tmp_path, features, points=40))
    weights = np.random.default_rng(0).normal(size=features).tolist()
    result = result_of(data, weights, 0.4)
    view = pictures._view(data, result)
    np.testing.assert_allclose(
        view.coordinates @ view.normal + view.offset, result.predictions[:, 0] - 0.5, atol=1e-5
    )


def test_the_line_is_where_the_equation_holds(tmp_path: Path) -> None:
    data = from_csv(write(tmp_path, GOOD))
    result = result_of(data, [0.7, 0.3], 0.5)
    figure = pictures._predictions(data, result, pictures._view(data, result))
    _, line = (drawn for drawn in figure.axes[0].collections if isinstance(drawn, ContourSet))
    (ends,) = line.allsegs[0]
    standard = (ends - data.mean) / data.scale
    np.testing.assert_allclose(standard @ result.weights + result.bias, 0.5, atol=1e-6)


def test_many_features_are_drawn_along_two_orthonormal_directions() -> None:
    data = bundled("breast-cancer")
    result = result_of(data, np.linspace(-1, 1, 30).tolist(), 0.5)
    view = pictures._view(data, result)
    distances = np.linalg.norm(view.coordinates - view.coordinates[0], axis=1)
    true = np.linalg.norm(data.points - data.points[0], axis=1)
    assert (distances <= true + 1e-5).all()
    assert view.coordinates[:, 0].var() == pytest.approx(1, abs=1e-5)  # the widest direction
    assert np.linalg.norm(view.normal) == pytest.approx(np.linalg.norm(result.weights), rel=1e-5)


@pytest.mark.parametrize("weights", [[0, 0, 0], [1, 1, 1]], ids=["zero", "along the component"])
def test_weights_without_a_direction_of_their_own_can_be_drawn(
    tmp_path: Path, weights: list[float]
) -> None:
    path = write(tmp_path, "a,b,c,label\n0,0,0,0\n1,1,1,1\n2,2,2,1\n")
    data = from_csv(path)
    view = pictures._view(data, result_of(data, weights, 0.1))
    assert np.isfinite(view.coordinates).all()
    assert np.linalg.norm(view.normal) == pytest.approx(np.linalg.norm(weights))


def test_names_that_mean_something_to_matplotlib_are_drawn_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, "_price in $,日本 {$\\frac,label\n1,2,_$a\n3,5,_$b_{$\n")
    data = from_csv(path)
    assert len(pictures.draw(data, result_of(data, [1, 1], 0), tmp_path)) == 3


# Writing them, all or none

NEW = {"points.png": b"new points", "predictions.png": b"new predictions", "loss.png": b"new loss"}


def everything_in(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def failing_at(call: int, error: BaseException) -> Any:
    """os.replace, which fails at its first, second ... call with `error`."""
    calls = iter(range(1, 100))
    replace = os.replace

    def fail(*args: Any) -> None:
        if next(calls) == call:
            raise error
        replace(*args)

    return fail


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_when_one_picture_fails_none_is_written_and_the_older_ones_stay(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    error: BaseException,
) -> None:
    (tmp_path / "loss.png").write_text("older")
    (tmp_path / "points.png").write_text("older")
    before = everything_in(tmp_path)
    for folder in (tmp_path, tmp_path / "new" / "folder"):
        with monkeypatch.context() as broken:
            broken.setattr(os, "replace", failing_at(call, error))
            with pytest.raises((pictures.PictureError, KeyboardInterrupt)):
                pictures._write(folder, NEW)
        assert everything_in(tmp_path) == before


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(pictures.PictureError, match="No space left on device"):
        pictures._write(tmp_path / "new", NEW)
    assert everything_in(tmp_path) == {}


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(pictures.PictureError, match="choose another"):
            pictures._write(folder, NEW)
    assert everything_in(tmp_path) == {tmp_path / "file": b"mine"}


def test_a_folder_where_a_picture_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loss.png").mkdir()
    with pytest.raises(pictures.PictureError, match=r"loss\.png is a folder"):
        pictures._write(tmp_path, NEW)
    assert everything_in(tmp_path) == {tmp_path / "loss.png": None}


def test_pictures_drawn_again_replace_the_older_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "loss.png").write_text("older")
    paths = pictures._write(tmp_path, NEW)
    assert [path.read_bytes() for path in paths] == list(NEW.values())
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", *NEW}


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, pictures.__name__)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Error, match=r"pip install 'tinygrad_edu\[plot\]'"):
        __import__(pictures.__name__)
