"""The command `tinygrad-edu`: train the linear classifier and draw it, or list the devices.

Whatever the user got wrong ends in one line on stderr and exit code 2. Only errors that were raised
on purpose end so: a bug keeps its traceback.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import __version__, backends
from .errors import Error
from .linear_classifier import data, training

try:
    import click
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
except ImportError:
    print(
        "tinygrad-edu: the command needs two packages: pip install 'tinygrad_edu[cli]'",
        file=sys.stderr,
    )
    raise SystemExit(2) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default the process's own) and return its exit code."""
    try:
        commands.main(arguments, prog_name="tinygrad-edu", standalone_mode=False)
        return 0
    except click.ClickException as error:
        return _failed(error.format_message())
    except (Error, OSError) as error:  # OSError: a full disk under stdout
        return _failed(str(error))
    except (click.Abort, KeyboardInterrupt):
        _failed("interrupted")
        return 130


def _failed(message: str) -> int:
    click.echo("tinygrad-edu: " + " ".join(message.split()), err=True)
    return 2


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def commands(context: click.Context) -> None:
    """Train the linear classifier, or see what can run it here."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _positive(context: click.Context, option: click.Parameter, value: float) -> float:
    if not 0 < value < math.inf:  # NaN is neither
        raise click.BadParameter(f"{value} is not a positive number, such as 0.1.")
    return value


@commands.command()
@click.option("--device", metavar="NAME", help="What computes: see `tinygrad-edu devices`.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="How often the weights are improved.",
)
@click.option(
    "--learning-rate",
    type=float,
    default=0.1,
    show_default=True,
    callback=_positive,
    help="How far along the gradient each time.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="For the first weights, and for the blobs.",
)
@click.option(
    "--data",
    "source",
    metavar="NAME|FILE.csv",
    default="blobs",
    show_default=True,
    help=f"One of {', '.join(data.NAMES)}, or your own CSV file with a header.",
)
@click.option(
    "--label", metavar="COLUMN", help="The CSV file's column of labels.  [default: the last]"
)
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    metavar="FOLDER",
    default="pictures",
    show_default=True,
    help="Where the pictures go.",
)
@click.option(
    "--no-pictures",
    "drawn",
    flag_value=False,
    default=True,
    help="Draw nothing; Matplotlib is then not needed.",
)
@click.option("--show/--no-show", help="Open the pictures when they are done.")
def train(
    device: str | None,
    steps: int,
    learning_rate: float,
    seed: int,
    source: str,
    label: str | None,
    pictures: Path,
    drawn: bool,
    show: bool,
) -> None:
    """Find the line between two classes of points, and draw it."""
    if show and not drawn:
        raise click.UsageError("--show needs the pictures that --no-pictures leaves out.")
    if drawn:  # imported before the training, so that a missing package costs nobody's time
        from .linear_classifier.pictures import draw
    where = backends.find(device) if device is not None else backends.current()
    dataset = data.load(source, seed=seed, label=label)
    with _progress(steps) as on_step:
        result = training.train(
            dataset,
            device=where,
            steps=steps,
            learning_rate=learning_rate,
            seed=seed,
            on_step=on_step,
        )
    click.echo(f"loss {result.losses[-1]:.4f}")
    click.echo(f"accuracy {result.accuracy:.2%}")
    click.echo(f"line {training.equation(dataset, result)}")
    if result.losses[-1] > result.losses[0]:
        click.echo("The loss grew: a smaller --learning-rate would help.", err=True)
    if drawn:
        paths = draw(dataset, result, pictures)
        for path in paths:
            click.echo(click.format_filename(path))
        if show:
            _show(paths)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int, float], None]]:
    """A live bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step, loss: None
        return
    columns = (
        TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("train", total=steps, loss="")
        yield lambda step, loss: progress.update(task, completed=step, loss=f"loss {loss:.4f}")


def _show(paths: Sequence[Path]) -> None:
    """Open the pictures with the desktop's own viewer, where there is a desktop."""
    desktop = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not desktop or any(click.launch(str(path)) for path in paths):
        click.echo("No viewer was found here: open the pictures named above yourself.", err=True)


@commands.command()
def devices() -> None:
    """List the devices: which can run here and, for one that can't, what to install."""
    for device in backends.devices():
        click.echo(f"{device.name:<8}{'runs here' if device.available else device.problem}")
