"""Three pictures of a trained classifier: the points, the predictions with the line, the loss.

Drawn with Matplotlib, without a screen and without touching Matplotlib's global state. Either all
three files appear in the folder, or none does and the folder is as it was.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import Error, ExtraMissingError
from .data import Dataset

if TYPE_CHECKING:
    from .training import Result

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError:
    raise ExtraMissingError(
        "the pictures are drawn with Matplotlib: pip install 'tinygrad_edu[plot]'"
    ) from None

# Two of Okabe and Ito's colours, which colour-blind people tell apart; the markers differ as well.
COLOURS = ("#0072B2", "#D55E00")
INK = "#222222"


class PictureError(Error, RuntimeError):
    """The pictures cannot be written; the message says why, and nothing was left behind."""


def draw(dataset: Dataset, result: Result, folder: str | Path) -> list[Path]:
    """Write points.png, predictions.png and loss.png to `folder`; returns their paths.

    The folder is made where it is missing; older pictures of the same names are replaced.
    Raises PictureError when it cannot be written to.
    """
    view = _view(dataset, result)
    return _write(
        Path(folder),
        {
            "points.png": _png(_points(dataset, view)),
            "predictions.png": _png(_predictions(dataset, result, view)),
            "loss.png": _png(_loss_curve(dataset, result)),
        },
    )


@dataclass(frozen=True)
class _View:
    """The points as two coordinates each, and the line: where `normal @ point + offset == 0`.

    A point is drawn at `coordinates * scale + mean`.
    """

    coordinates: NDArray[np.float64]  # (n, 2)
    normal: NDArray[np.float64]  # (2,)
    offset: float
    scale: NDArray[np.float64]  # (2,)
    mean: NDArray[np.float64]  # (2,)
    labels: tuple[str, str]
    equal: bool  # whether a step is as long along one axis as along the other
    rows: tuple[str, str] | None = None  # names for 0 and 1 on the second axis

    def drawn(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        return coordinates * self.scale + self.mean


def _view(dataset: Dataset, result: Result) -> _View:
    """A plane in which the points can be drawn and the line is exactly the classifier's."""
    points = dataset.points.astype(np.float64)
    weights = result.weights[:, 0].astype(np.float64)
    offset = float(result.bias[0]) - 0.5
    if len(weights) == 1:
        return _one_feature(dataset, weights, offset)
    if len(weights) == 2:
        return _View(
            coordinates=points,
            normal=weights,
            offset=offset,
            scale=dataset.scale,
            mean=dataset.mean,
            labels=(dataset.features[0], dataset.features[1]),
            equal=bool(dataset.scale[0] == dataset.scale[1]),
        )
    return _plane_through_the_weights(points, weights, offset)


def _one_feature(dataset: Dataset, weights: NDArray[np.float64], offset: float) -> _View:
    """The feature along the first axis, a row of points for each class along the second."""
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, size=dataset.labels.shape)
    return _View(
        coordinates=np.hstack([dataset.points, dataset.labels + jitter]),
        normal=np.append(weights, 0.0),
        offset=offset,
        scale=np.append(dataset.scale, 1.0),
        mean=np.append(dataset.mean, 0.0),
        labels=(dataset.features[0], "true class"),
        equal=False,
        rows=dataset.classes,
    )


def _plane_through_the_weights(
    points: NDArray[np.float64], weights: NDArray[np.float64], offset: float
) -> _View:
    """The points seen along directions that the classifier does not look at.

    The plane holds the weights, so a point and its projection have the same prediction, and the
    boundary, at right angles to the weights, is a line. Its other axis shows as much as it can: the
    first principal component.
    """
    centre = points.mean(axis=0)
    _, spreads, components = np.linalg.svd(points - centre, full_matrices=False)
    first = components[0]
    second = weights - (weights @ first) * first
    if np.linalg.norm(second) <= 1e-6 * np.linalg.norm(weights):  # the weights lie along `first`
        second = components[1]
    second = second / np.linalg.norm(second)
    axes = np.stack([first, second], axis=1)
    share = spreads[0] ** 2 / max(np.sum(spreads**2), 1e-30)
    return _View(
        coordinates=points @ axes,
        normal=weights @ axes,
        offset=offset,
        scale=np.ones(2),
        mean=np.zeros(2),
        labels=(
            f"first principal component ({share:.0%} of the variance)",
            "the part of the weights orthogonal to it",
        ),
        equal=False,  # most spreads are far smaller than the first
    )


def _points(dataset: Dataset, view: _View) -> Figure:
    figure, axes = _canvas(f"{dataset.name}: the points")
    _scatter(axes, view, dataset.labels[:, 0] > 0.5, [f"class {name}" for name in dataset.classes])
    _describe(axes, view)
    return figure


def _predictions(dataset: Dataset, result: Result, view: _View) -> Figure:
    figure, axes = _canvas(f"{dataset.name}: the predictions, {result.accuracy:.2%} right")
    second = result.predictions[:, 0] > 0.5
    _scatter(axes, view, second, [f"predicted {name}" for name in dataset.classes])
    wrong = second != (dataset.labels[:, 0] > 0.5)
    if wrong.any():
        x, y = view.drawn(view.coordinates[wrong]).T
        label = f"wrong ({wrong.sum():,})"
        axes.scatter(x, y, s=60, facecolors="none", edgecolors=INK, linewidths=0.9, label=label)
    _divide(axes, view)
    _describe(axes, view)
    return figure


def _loss_curve(dataset: Dataset, result: Result) -> Figure:
    figure, axes = _canvas(f"{dataset.name}: the loss, {result.losses[-1]:.4f} at the end")
    steps = range(1, len(result.losses) + 1)
    marker = "o" if len(result.losses) <= 60 else None
    axes.plot(steps, result.losses, color=COLOURS[0], linewidth=2, marker=marker, markersize=4)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("mean squared error")
    return figure


def _canvas(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.6, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_plain(title), color=INK, pad=12)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _scatter(axes: Axes, view: _View, second: NDArray[np.bool_], names: list[str]) -> None:
    """The points in two colours: those of `second` in the second one."""
    for members, name, colour, marker in zip((~second, second), names, COLOURS, "o^", strict=True):
        x, y = view.drawn(view.coordinates[members]).T
        label = f"{_plain(name, 30)} ({members.sum():,})"
        axes.scatter(x, y, s=22, c=colour, marker=marker, alpha=0.7, linewidths=0, label=label)
    if view.equal:
        _square(axes)


def _square(axes: Axes) -> None:
    x, y = axes.get_xlim(), axes.get_ylim()
    half = max(x[1] - x[0], y[1] - y[0]) / 2
    axes.set_xlim(sum(x) / 2 - half, sum(x) / 2 + half)
    axes.set_ylim(sum(y) / 2 - half, sum(y) / 2 + half)
    axes.set_aspect("equal")


def _divide(axes: Axes, view: _View) -> None:
    """The line, and a hint of each class's colour on its side of it."""
    corners = np.stack(np.meshgrid(axes.get_xlim(), axes.get_ylim()), axis=-1)
    sides = (corners - view.mean) / view.scale @ view.normal + view.offset
    if not sides.min() < 0 < sides.max():
        axes.plot([], [], color=INK, label="decision line (outside the picture)")
        return
    x, y = corners[..., 0], corners[..., 1]
    axes.contourf(x, y, sides, levels=[-np.inf, 0, np.inf], colors=COLOURS, alpha=0.08)
    axes.contour(x, y, sides, levels=[0], colors=INK, linewidths=2)
    axes.plot([], [], color=INK, linewidth=2, label="decision line")


def _describe(axes: Axes, view: _View) -> None:
    axes.set_xlabel(_plain(view.labels[0]))
    axes.set_ylabel(_plain(view.labels[1]))
    if view.rows is not None:
        axes.set_yticks([0, 1], [_plain(row, 24) for row in view.rows])
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _plain(text: str, longest: int = 60) -> str:
    """Text as it is, where Matplotlib would read mathematics between two dollars."""
    text = text if len(text) <= longest else text[:longest] + "..."
    return text.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A column may be named in a script that Matplotlib's own font has no letters for.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def _write(folder: Path, pictures: dict[str, bytes]) -> list[Path]:
    """All the pictures or, when anything fails or is interrupted, everything as it was before."""
    targets = [folder / name for name in pictures]
    for target in targets:
        if target.is_dir():
            raise PictureError(f"{target} is a folder where a picture should go: choose another")
    try:
        with ExitStack() as made:
            for missing in reversed([at for at in (folder, *folder.parents) if not at.exists()]):
                missing.mkdir()
                made.callback(missing.rmdir)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".pictures-") as aside:
                for name, picture in pictures.items():
                    (Path(aside) / name).write_bytes(picture)
                with ExitStack() as replaced:
                    for target in targets:
                        _replace(Path(aside) / target.name, target, replaced)
                    replaced.pop_all()
            made.pop_all()
    except OSError as error:
        raise PictureError(
            f"the pictures cannot be written to {folder} ({error.strerror}): choose another folder"
        ) from None
    return targets


def _replace(new: Path, target: Path, undo: ExitStack) -> None:
    if os.path.lexists(target):
        old = new.with_suffix(".old")
        shutil.copy2(target, old, follow_symlinks=False)
        undo.callback(os.replace, old, target)
    else:
        undo.callback(target.unlink, missing_ok=True)
    os.replace(new, target)
