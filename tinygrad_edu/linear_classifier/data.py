"""Points of two classes: made up, shipped with scikit-learn, or read from the user's own CSV file.

Everything a user can get wrong about their data is found here, and told in one sentence. This file
needs NumPy and knows nothing of the engine; scikit-learn is imported when it is asked for.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import Error, ExtraMissingError, close_to

BUNDLED = ("breast-cancer", "iris")
NAMES = ("blobs", *BUNDLED)


class DataError(Error, ValueError):
    """The data cannot be used; the message says what is wrong with it and what would work."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Points with a label each, and what it takes to go back to the units they came in.

    A point in the user's own units is `points * scale + mean`.
    """

    name: str
    points: NDArray[np.float32]  # (n, features)
    labels: NDArray[np.float32]  # (n, 1), 0 for the first class and 1 for the second
    features: tuple[str, ...]
    classes: tuple[str, str]
    mean: NDArray[np.float64]  # (features,)
    scale: NDArray[np.float64]  # (features,)


def load(source: str, *, seed: int = 0, label: str | None = None) -> Dataset:
    """The dataset that `source` names: one of NAMES, or the path of a CSV file.

    `seed` is for the blobs, `label` (the label column's name) for a CSV file. Raises DataError,
    and ExtraMissingError where a package is missing.
    """
    if source in NAMES:
        if label is not None:
            raise DataError(f"{source} has its labels already: a label column is for a CSV file")
        return blobs(seed) if source == "blobs" else bundled(source)
    if not source.lower().endswith(".csv") and not Path(source).exists():
        raise DataError(
            f"there is no data set {source!r}: choose one of {', '.join(NAMES)}, or give the path "
            f"of a CSV file{close_to(source, NAMES)}"
        )
    return from_csv(source, label)


def blobs(seed: int = 0) -> Dataset:
    """Two round clouds of 1,000 points each, which a straight line separates almost perfectly."""
    generator = np.random.default_rng(seed)
    covariance = [[1, 0.5], [0.5, 1]]
    negative = generator.multivariate_normal(mean=[0, 3], cov=covariance, size=1000)
    positive = generator.multivariate_normal(mean=[3, 0], cov=covariance, size=1000)
    return Dataset(
        name="blobs",
        points=np.concatenate([negative, positive]).astype(np.float32),
        labels=np.repeat([[0], [1]], 1000, axis=0).astype(np.float32),
        features=("x", "y"),
        classes=("0", "1"),
        mean=np.zeros(2),
        scale=np.ones(2),
    )


def bundled(name: str) -> Dataset:
    """A dataset that scikit-learn ships: "breast-cancer" or "iris", standardized.

    Iris has three species. The two kept are versicolor and virginica, which overlap; setosa stands
    so far apart from both that any line would do. Raises ExtraMissingError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_breast_cancer, load_iris
    except ImportError:
        raise ExtraMissingError(
            f"the data set {name} comes with scikit-learn: pip install 'tinygrad_edu[data]'"
        ) from None

    if name == "breast-cancer":
        source = load_breast_cancer()
        kept = np.full(len(source.target), True)
    elif name == "iris":
        source = load_iris()
        kept = source.target > 0
    else:
        raise DataError(f"there is no data set {name!r}: choose one of {', '.join(BUNDLED)}")
    first, second = source.target_names[-2:]
    return _standardized(
        name,
        values=source.data[kept],
        labels=source.target[kept] == source.target.max(),
        features=tuple(str(feature) for feature in source.feature_names),
        classes=(str(first), str(second)),
    )


def from_csv(path: str | Path, label: str | None = None) -> Dataset:
    """The user's own file: a line of column names, then numbers and one column of labels.

    The labels are in the last column, or in the one called `label`; they are words or numbers, of
    exactly two kinds, and sorted: the first is class 0. The other columns are standardized.
    Raises DataError, with the line and the column where there is one.
    """
    path = Path(path)
    lines = _lines(path)
    number, header = next(lines, (0, []))
    if not header:
        raise DataError(f"{path} is empty: it needs a line of column names, then one line a point")
    names = _column_names(path, header)
    at = _label_column(path, names, label)
    features = names[:at] + names[at + 1 :]
    if None not in map(_as_number, features) and not all(map(str.isdigit, features)):
        # Whole numbers may be names: of years, or as pandas writes them.
        raise DataError(
            f"{path}, line {number}: {_listed(features)} are numbers, and the first line has the "
            "names of the columns; put one above it"
        )

    rows: list[list[float]] = []
    words: list[str] = []
    for number, fields in lines:
        if len(fields) != len(names):
            raise DataError(
                f"{path}, line {number}: {_count(len(fields), 'field')} where the header has "
                f"{len(names)}; every line needs one for each column"
            )
        words.append(fields.pop(at).strip())
        if not words[-1] or _is_nan_or_infinite(words[-1]):
            raise DataError(
                f"{path}, line {number}, column {names[at]!r}: {_shown(words[-1])} is no label; "
                "fill it in or remove the line"
            )
        rows.append(
            [
                _number(field, f"{path}, line {number}, column {name!r}")
                for field, name in zip(fields, features, strict=True)
            ]
        )
    if not rows:
        raise DataError(f"{path} has a header and no points: add one line a point below it")

    classes, labels = _two_classes(path, names[at], words)
    return _standardized(path.stem, np.array(rows), labels, tuple(features), classes)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of every line that isn't blank, with the line's number (the first is 1)."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a byte order mark
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: give the path of a CSV file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8: save it as a UTF-8 CSV file") from None
    except (OSError, ValueError) as error:  # ValueError: a path no system can hold
        raise DataError(f"{path} cannot be read ({error}): check the path and its rights") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            if fields and (len(fields) > 1 or fields[0].strip()):
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: not CSV ({error}); check the quotes"
        ) from None


def _column_names(path: Path, header: list[str]) -> list[str]:
    names = [" ".join(name.split()) for name in header]
    if "" in names:
        raise DataError(f"{path}: column {names.index('') + 1} has no name; name it in the header")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}: two columns are called {name!r}; give each its own name")
    if len(names) == 1:
        raise DataError(
            f"{path} has the one column {_shown(names[0])}: it needs at least one of numbers "
            "and one of labels, separated by commas"
        )
    return names


def _label_column(path: Path, names: list[str], label: str | None) -> int:
    if label is None:
        return len(names) - 1
    if label not in names:
        raise DataError(
            f"{path} has no column {label!r}: its columns are {_listed(names)}"
            f"{close_to(label, names)}"
        )
    return names.index(label)


def _number(field: str, place: str) -> float:
    if not field.strip():
        raise DataError(f"{place}: no value; fill it in or remove the line")
    if _is_nan_or_infinite(field):
        raise DataError(f"{place}: {_shown(field)} is no finite number; fill it in or remove it")
    value = _as_number(field)
    if value is None:
        raise DataError(f"{place}: {_shown(field)} is not a number; every feature must be one")
    return value


def _as_number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # Python would take 1_000; other tools don't
    except ValueError:
        return None


def _is_nan_or_infinite(text: str) -> bool:
    value = _as_number(text)
    return value is not None and not math.isfinite(value)


def _two_classes(
    path: Path, column: str, words: list[str]
) -> tuple[tuple[str, str], NDArray[np.bool_]]:
    """The two classes in order, and for each label whether it is the second.

    Labels that are all numbers are compared as numbers, so 1 and 1.0 are one class and 10 is
    above 9.
    """
    if any(_as_number(word) is None for word in words):
        classes = sorted(set(words))
    else:
        words = [f"{float(word):.15g}" for word in words]
        classes = sorted(set(words), key=float)
    if len(classes) != 2:
        raise DataError(
            f"{path}: the label column {column!r} has {_count(len(classes), 'class', 'classes')} "
            f"({_listed(classes)}); a line separates exactly two"
        )
    first, second = classes
    return (first, second), np.array([word == second for word in words])


def _standardized(
    name: str,
    values: NDArray[np.float64],
    labels: NDArray[np.bool_],
    features: tuple[str, ...],
    classes: tuple[str, str],
) -> Dataset:
    """The dataset with every feature around 0 and of equal spread.

    The spread is not 1 but such that the points' most varied direction has variance 1: the mean
    squared error is as curved as that variance, and with thirty features that rise and fall
    together (breast cancer) it would be 13, and gradient descent at a rate of 0.1 would diverge.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean(axis=0)
        spread = values.std(axis=0)
    for feature, finite in zip(features, np.isfinite(spread), strict=True):
        if not finite:
            raise DataError(f"{name}: the numbers in column {feature!r} are too large; rescale it")
    # A column that never changes may still have a mean and a spread of rounding errors.
    constant = (np.ptp(values, axis=0) == 0) | (spread == 0)
    mean = np.where(constant, values[0], mean)
    spread = np.where(constant, 1, spread)
    standard = (values - mean) / spread
    widest = np.linalg.eigvalsh(standard.T @ standard / len(standard))[-1]
    scale = spread * math.sqrt(widest) if widest > 0 else spread
    return Dataset(
        name=name,
        points=((values - mean) / scale).astype(np.float32),
        labels=labels.astype(np.float32)[:, np.newaxis],
        features=features,
        classes=classes,
        mean=mean,
        scale=scale,
    )


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(_shown(name) for name in names[:most]) + more


def _shown(value: str, longest: int = 40) -> str:
    return repr(value if len(value) <= longest else value[:longest] + "...")


def _count(number: int, thing: str, things: str = "") -> str:
    return f"{number} {thing if number == 1 else things or thing + 's'}"
