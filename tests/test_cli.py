"""The command `tinygrad-edu` and the example: what they print, write and refuse.

Most tests call the command in this process; those about the process itself (its exit code, its
terminal, its pipes, packages that are missing) start one.
"""

from __future__ import annotations

import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

import tinygrad_edu as edu
from tinygrad_edu.cli import main
from tinygrad_edu.linear_classifier import training
from tinygrad_edu.linear_classifier.data import Dataset, blobs

pytestmark = pytest.mark.filterwarnings("error")  # a warning would be a second line on stderr

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = "height,weight,sex\n180,80,m\n165,60,f\n170,62,f\n177,75,m\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, with one good file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(PEOPLE)
    return tmp_path


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def run(*command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment(**changes)
    )


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# Training


@pytest.mark.parametrize("source", ["blobs", "breast-cancer", "iris", "people.csv"])
def test_train_ends_with_the_loss_the_accuracy_the_line_and_the_pictures(
    folder: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", source]) == 0
    out, err = capsys.readouterr()
    loss, accuracy, line, *paths = out.splitlines()
    assert re.fullmatch(r"loss 0\.\d{4}", loss)
    assert re.fullmatch(r"accuracy (100|\d\d)\.\d\d%", accuracy)
    assert re.fullmatch(r"line -?[\d.e-]+ \* .+ [+-] [\d.]+ = 0\.5", line)
    assert paths == [
        str(Path("pictures") / name) for name in ("points.png", "predictions.png", "loss.png")
    ]
    for path in paths:
        assert imread(folder / path).std() > 0.02
    assert err == ""  # no progress bar where there is no terminal


def test_the_blobs_end_near_a_loss_of_0_025_and_nearly_all_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["train", "--no-pictures"])
    loss, accuracy, *_ = capsys.readouterr().out.splitlines()
    assert float(loss.split()[1]) == pytest.approx(0.025, abs=0.006)
    assert float(accuracy.split()[1].rstrip("%")) > 99.5


def test_the_options_reach_the_data_and_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def train(dataset: Dataset, **options: Any) -> training.Result:
        seen.update(options, dataset=dataset)
        return really_train(dataset, **options)

    really_train = training.train
    monkeypatch.setattr(training, "train", train)
    options = "--device xla --steps 3 --learning-rate 0.05 --seed 7 --no-pictures"
    assert main(["train", *options.split()]) == 0
    assert seen["device"] == "xla"
    assert (seen["steps"], seen["learning_rate"], seen["seed"]) == (3, 0.05, 7)
    assert (seen["dataset"].points == blobs(seed=7).points).all()


def test_a_run_can_be_repeated_exactly_and_another_seed_gives_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outputs = []
    for seed in ("1", "1", "2"):
        assert main(["train", "--no-pictures", "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


def test_more_steps_and_another_learning_rate_change_the_loss(
    capsys: pytest.CaptureFixture[str],
) -> None:
    losses = []
    for options in (["--steps", "5"], ["--steps", "200"], ["--learning-rate", "0.01"]):
        assert main(["train", "--no-pictures", *options]) == 0
        losses.append(float(capsys.readouterr().out.split()[1]))
    assert losses[1] < 0.0252 < losses[0]
    assert losses[2] > 0.05


@pytest.mark.parametrize("device", [device.name for device in edu.devices() if device.available])
def test_every_device_that_runs_here_finds_the_same_line(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = training.train(blobs(), device="numpy")
    there = training.train(blobs(), device=device)
    assert there.losses == pytest.approx(here.losses, rel=1e-4)
    assert main(["train", "--no-pictures", "--device", device]) == 0
    assert f"loss {here.losses[-1]:.4f}" in capsys.readouterr().out


def test_training_does_what_the_same_formulas_do_in_numpy() -> None:
    data = blobs(seed=5)
    points, labels = data.points.astype(np.float64), data.labels.astype(np.float64)
    W, b = np.random.default_rng(5).uniform(size=(2, 1)), np.zeros(1)
    losses = []
    for _ in range(40):
        error = points @ W + b - labels
        losses.append(np.mean(error**2))
        W = W - 0.1 * 2 * points.T @ error / len(points)
        b = b - 0.1 * 2 * error.mean(axis=0)
    seen: list[tuple[int, float]] = []
    result = training.train(data, device="numpy", seed=5, on_step=lambda *step: seen.append(step))
    np.testing.assert_allclose(result.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(result.weights, W, rtol=1e-3)
    np.testing.assert_allclose(result.bias, b, rtol=1e-3)
    assert seen == list(zip(range(1, 41), result.losses, strict=True))
    assert result.accuracy == np.mean((points @ W + b > 0.5) == (labels > 0.5))


def test_the_column_of_labels_and_the_folder_of_the_pictures_can_be_chosen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "first.csv").write_text("sex,height\nm,180\nf,165\nf,170\nm,177\n")
    options = ["--data", "first.csv", "--label", "sex", "--pictures", "some/where"]
    assert main(["train", *options]) == 0
    out = capsys.readouterr().out
    assert " * height " in out
    assert str(Path("some/where/loss.png")) in out
    assert (folder / "some/where/loss.png").exists()


def test_without_pictures_nothing_is_written_and_matplotlib_is_not_needed(folder: Path) -> None:
    done = run(
        "-c",
        "import sys; sys.modules['matplotlib'] = None; from tinygrad_edu.cli import main; "
        "sys.exit(main(['train', '--no-pictures']))",
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert names_in(folder) == {"people.csv"}


def test_a_loss_that_grew_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--no-pictures", "--learning-rate", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert float(out.split()[1]) > 10
    assert err == "The loss grew: a smaller --learning-rate would help.\n"


# Showing the pictures


def test_without_a_desktop_show_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("click.launch", lambda path: 0)
    assert main(["train", "--show"]) == 0
    assert capsys.readouterr().err.startswith("No viewer was found here")


@pytest.mark.parametrize(("options", "opened"), [(["--show"], 3), ([], 0)])
def test_with_a_desktop_the_pictures_are_opened_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    opened: int,
) -> None:
    launched: list[str] = []

    def launch(path: str) -> int:
        launched.append(path)
        return 0

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("click.launch", launch)
    assert main(["train", *options]) == 0
    assert len(launched) == opened
    assert capsys.readouterr().err == ""


# The other commands


def test_devices_lists_each_with_whether_it_runs_here_or_why_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(edu.devices())
    for line, device in zip(lines, edu.devices(), strict=True):
        name, told = line.split(maxsplit=1)
        assert name == device.name
        assert told == (device.problem or "runs here")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["train", "--help"]])
def test_help_is_printed_where_it_is_asked_for_or_nothing_is(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("Usage: tinygrad-edu")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"tinygrad-edu, version \d+\.\d+.*\n", capsys.readouterr().out)


# What is refused: one line, exit code 2, nothing left behind

BAD_FILES = {
    "empty.csv": "",
    "header.csv": "x,label\n",
    "ragged.csv": "x,y,label\n1,2,a\n1,b\n",
    "words.csv": "x,label\n1,a\ntall,b\n",
    "nan.csv": "x,label\n1,a\nnan,b\n",
    "one.csv": "x,label\n1,a\n2,a\n",
    "three.csv": "x,label\n1,a\n2,b\n3,c\n",
    "two-lines.csv": 'x,label\n"1\n2",a\n2,b\n',
}
REFUSED = {
    "an empty file": ("--data empty.csv", "empty.csv is empty"),
    "a header alone": ("--data header.csv", "has a header and no points"),
    "a ragged file": ("--data ragged.csv", "line 3: 2 fields where the header has 3"),
    "a word for a number": ("--data words.csv", "line 3, column 'x': 'tall' is not a number"),
    "NaN": ("--data nan.csv", "line 3, column 'x': 'nan' is no finite number"),
    "one class": ("--data one.csv", "1 class ('a')"),
    "three classes": ("--data three.csv", "3 classes ('a', 'b', 'c')"),
    "a value of two lines": ("--data two-lines.csv", "line 3, column 'x': '1\\n2' is not a number"),
    "a missing file": ("--data absent.csv", "no file absent.csv"),
    "a folder": ("--data .", ". is a folder"),
    "an unknown data set": ("--data irs", "a CSV file; did you mean 'iris'?"),
    "an unknown label": ("--data people.csv --label sx", "did you mean 'sex'?"),
    "a label for the blobs": ("--label sex", "is for a CSV file"),
    "no steps": ("--steps 0", "0 is not in the range x>=1"),
    "negative steps": ("--steps -3", "-3 is not in the range x>=1"),
    "steps in words": ("--steps many", "'many' is not a valid integer"),
    "a rate of zero": ("--learning-rate 0", "0.0 is not a positive number"),
    "a negative rate": ("--learning-rate -1", "-1.0 is not a positive number"),
    "a rate of NaN": ("--learning-rate nan", "nan is not a positive number"),
    "an infinite rate": ("--learning-rate inf", "inf is not a positive number"),
    "a rate that diverges": (
        "--learning-rate 1e9",
        "no longer finite at step 3: a learning rate of 1e+09 is too large here, try 0.1",
    ),
    "a last step that diverges": ("--learning-rate 1e38 --steps 1", "no longer finite at step 1"),
    "a negative seed": ("--seed -1", "-1 is not in the range x>=0"),
    "an unknown device": ("--device tpu", "'tpu'"),
    "an unknown option": ("--step 3", "--steps"),
    "an option without its value": ("--steps", "--steps"),
    "too many words": ("blobs", "unexpected extra argument"),
    "nothing to show": ("--no-pictures --show", "--show needs the pictures"),
    "a file for the pictures": ("--pictures people.csv", "people.csv"),
    "a folder below a file": ("--pictures people.csv/below", "choose another folder"),
}


def refused(code: int, err: str, message: str) -> None:
    assert code == 2
    assert err.startswith("tinygrad-edu: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_train_refuses(
    folder: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in BAD_FILES.items():
        (folder / name).write_text(content)
    before = names_in(folder)
    code = main(["train", *options.split()])
    refused(code, capsys.readouterr().err, message)
    assert names_in(folder) == before


def test_a_path_of_two_lines_is_refused_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    refused(main(["train", "--data", "two\nlines.csv"]), capsys.readouterr().err, "no file two")


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    refused(main(["trian"]), capsys.readouterr().err, "'trian'")


def test_every_device_that_cannot_run_here_is_refused_with_what_to_install(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for device in edu.devices():
        if device.problem is not None:
            code = main(["train", "--device", device.name])
            refused(code, capsys.readouterr().err, device.problem)
    assert names_in(folder) == {"people.csv"}


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(training, "train", broken)
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_an_interruption_ends_in_one_line_and_130(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, on_step: Any, **__: Any) -> None:
        on_step(1, math.pi)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err.strip() == "tinygrad-edu: interrupted"
    assert names_in(folder) == {"people.csv"}


# The process


def test_python_m_is_the_same_command_and_its_exit_code_is_2_when_it_refuses(folder: Path) -> None:
    done = run("-m", "tinygrad_edu", "train", "--steps", "3", "--data", "people.csv")
    assert done.returncode == 0
    assert done.stdout.startswith("loss 0.")
    done = run("-m", "tinygrad_edu", "train", "--data", "absent.csv")
    refused(done.returncode, done.stderr, "no file absent.csv")
    assert done.stdout == ""


def test_a_wrong_device_in_the_environment_is_refused() -> None:
    done = run("-m", "tinygrad_edu", "train", TINYGRAD_EDU_DEVICE="abacus")
    refused(done.returncode, done.stderr, "TINYGRAD_EDU_DEVICE")


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_packages_of_the_command_line_it_names_the_extra(package: str) -> None:
    without = f"import sys; sys.modules[{package!r}] = None; import tinygrad_edu.__main__"
    done = run("-c", without)
    refused(done.returncode, done.stderr, "pip install 'tinygrad_edu[cli]'")


@pytest.mark.parametrize(
    ("package", "extra", "options"),
    [("matplotlib", "plot", ""), ("sklearn", "data", "'--data', 'iris'")],
)
def test_without_an_optional_package_train_names_the_extra(
    folder: Path, package: str, extra: str, options: str
) -> None:
    done = run(
        "-c",
        f"import sys; sys.modules[{package!r}] = None; import tinygrad_edu.cli as cli; "
        f"sys.exit(cli.main(['train', {options}]))",
    )
    refused(done.returncode, done.stderr, f"pip install 'tinygrad_edu[{extra}]'")
    assert done.stdout == ""
    assert names_in(folder) == {"people.csv"}


def test_a_reader_that_went_away_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "tinygrad_edu", "devices"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_the_output_is_told_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tinygrad_edu", "devices"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    refused(done.returncode, done.stderr, "No space left on device")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_on_a_terminal_a_bar_shows_the_step_and_the_loss_and_control_c_ends_it(
    folder: Path,
) -> None:
    ours, theirs = os.openpty()
    # Who runs the tests in the background ignores Control-C, and so does what they start.
    heard = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('tinygrad_edu', run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heard, "train", "--steps", "100000000"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(TERM="xterm", COLUMNS="80"),
    )
    os.close(theirs)
    try:
        begin = read_until(r"step [1-9]\d*/100000000.*loss 0\.\d{4}", ours)
        process.send_signal(signal.SIGINT)
        end = read_until("interrupted", ours)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(ours)
    assert process.returncode == 130
    assert out == b""
    assert "nan" not in begin
    assert "Traceback" not in end
    assert names_in(folder) == {"people.csv"}


def read_until(pattern: str, terminal: int, seconds: float = 30) -> str:
    seen = ""
    deadline = time.monotonic() + seconds
    while not re.search(pattern, seen):
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{pattern} never came: {seen}"
        seen += os.read(terminal, 4096).decode()
    return seen


# The example


def test_the_example_learns_the_line_with_numpy_alone() -> None:
    optional = ["click", "rich", "matplotlib", "sklearn", "jax", "cupy", "torch", "tensorflow"]
    example = str(ROOT / "examples" / "linear_classifier.py")
    alone = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({optional})); "
        f"runpy.run_path({example!r}, run_name='__main__')"
    )
    done = run("-c", alone, TINYGRAD_EDU_DEVICE="numpy")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    losses = [float(line.split()[-1]) for line in lines if line.startswith("step")]
    assert losses == sorted(losses, reverse=True)
    loss, accuracy, line = lines[-3:]
    assert float(loss.split()[1]) == pytest.approx(0.025, abs=0.006)
    assert float(accuracy.split()[1].rstrip("%")) > 99.5
    assert re.fullmatch(r"line 0\.\d+ \* x -0\.\d+ \* y \+0\.\d+ = 0\.5", line)
