"""What a user installs: the wheel alone, beside NumPy alone, trains the classifier."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # it makes an environment of its own

ROOT = Path(__file__).parent.parent

TRAIN = """
import importlib.util
import tinygrad_edu as edu
from tinygrad_edu.linear_classifier import data, training

for extra in ("jax", "cupy", "click", "rich", "matplotlib", "sklearn"):
    assert importlib.util.find_spec(extra) is None, extra
result = training.train(data.blobs(seed=0), device="numpy")
print(f"loss {result.losses[-1]:.4f} from {edu.__file__}")
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps", "--quiet", "-w", folder]
    run(*build, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tinygrad_edu", "lowering"}
    assert {"tinygrad_edu/py.typed", "lowering/py.typed"} <= set(names)


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel, and NumPy, which it asks for."""
    folder = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)  # pip takes seconds
    made = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    run(*pip_of(made), "install", "--quiet", wheel, cwd=folder)
    return made


def pip_of(python: Path) -> list[str | Path]:
    """This environment's pip, for another's packages."""
    return [sys.executable, "-m", "pip", "--python", python]


def test_beside_numpy_alone_it_trains_the_classifier(python: Path, tmp_path: Path) -> None:
    installed = run(*pip_of(python), "list", "--format=freeze", cwd=tmp_path)
    packages = {line.split("==")[0].lower().replace("_", "-") for line in installed.split()}
    assert packages == {"numpy", "tinygrad-edu"}
    said = run(python, "-c", TRAIN, cwd=tmp_path)
    loss = float(said.split()[1])
    assert 0.02 < loss < 0.03
    assert str(python.parent.parent) in said


def test_without_the_extra_the_command_line_says_what_to_install(
    python: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [python, "-m", "tinygrad_edu", "train"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "tinygrad_edu[cli]" in done.stderr
