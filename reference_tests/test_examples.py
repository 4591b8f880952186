"""Every example runs, in a few seconds, and what it prints is true.

Bounds are what models of scikit-learn reach on the same data, or follow from mathematics.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
PERCEPTRON: dict[str, Any] = {
    "hidden_layer_sizes": (64, 64),
    "learning_rate_init": 1e-3,
    "batch_size": 32,
    "max_iter": 30,
}
PATIENCE_SECONDS = 120  # on a busy machine; alone, none takes ten


@cache
def output(name: str) -> str:
    """What an example prints, run as a learner runs it."""
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # other tests want the processors too
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    """What a pattern's group finds, as numbers; it finds something."""
    found = [float(each) for each in re.findall(pattern, text)]
    assert found, (pattern, text)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_prints_a_page(name: str) -> None:
    assert 3 <= len(output(name).splitlines()) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    assert f"python examples/{name}.py" in text


@cache
def accuracy_of(model: type, **settings: Any) -> float:
    """What a model of scikit-learn reaches on the digits that the examples put aside."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, random_state=0, stratify=y)
    return 100 * float(model(**settings).fit(x / 16, y).score(x_test / 16, y_test))


@pytest.mark.parametrize("name", ["digits_mlp", "digits_convnet"])
def test_networks_read_digits_better_than_a_linear_model(name: str) -> None:
    (accuracy,) = numbers(r"unseen digits.*? ([\d.]+)%", output(name))
    assert accuracy > accuracy_of(LogisticRegression, max_iter=1000)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # it too stops after 30 epochs
def test_the_perceptron_is_as_good_as_one_of_scikit_learn() -> None:
    (accuracy,) = numbers(r"unseen digits.*? ([\d.]+)%", output("digits_mlp"))
    theirs = [accuracy_of(MLPClassifier, random_state=seed, **PERCEPTRON) for seed in range(3)]
    assert accuracy > min(theirs) - 0.5


def test_the_four_styles_find_the_line_of_least_squares_by_the_same_way() -> None:
    lines = output("four_styles").splitlines()
    found = np.array(
        [
            numbers(r"line (\S+)", line) + numbers(r"([+-]\d\S+) [*=]? ?[y0=]", line)
            for line in lines
        ]
    )
    assert found.shape == (4, 3)
    assert np.ptp(found, axis=0).max() <= 1e-4
    np.testing.assert_allclose(found[0], descended(), atol=1e-4)


def descended() -> np.ndarray:
    """w1, w2 and b after 40 steps of gradient descent on the same data, by their formula."""
    generator = np.random.default_rng(0)
    covariance = [[1, 0.5], [0.5, 1]]
    clouds = [generator.multivariate_normal(m, covariance, size=1000) for m in ([0, 3], [3, 0])]
    x = np.column_stack([np.concatenate(clouds), np.ones(2000)])
    y = np.repeat([0.0, 1.0], 1000)
    w = np.append(generator.uniform(size=2), 0.0)
    for _ in range(40):
        w = w - 0.1 * 2 * x.T @ (x @ w - y) / len(x)
    return w


def test_the_regression_is_as_good_as_least_squares_and_stops_by_itself() -> None:
    text = output("diabetes_regression")
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
    error = np.mean(np.abs(LinearRegression().fit(x, y).predict(x_test) - y_test))
    assert numbers(r"error of the network: (\S+)", text)[0] < error
    assert numbers(r"stopped after epoch (\d+)", text)[0] < 300


def test_a_loss_of_ones_own_is_not_led_astray_by_what_is_far_off() -> None:
    squares, *others = numbers(r"off by (\S+)", output("of_your_own"))
    # A sixteenth of all points is 5 too high, so the best that squares can do is 5/16 too high.
    assert abs(squares - 5 / 16) < 0.05
    assert len(others) == 3
    assert max(others) < 0.1


def test_a_network_learns_the_same_on_each_device() -> None:
    text = output("devices")
    assert np.ptp(numbers(r"on \w+, loss (\S+)", text)) <= 1e-3
    assert re.findall(r"a block:  on (\w+)", text) == re.findall(r"variable: on (\w+)", text)
    assert "unknown:  there is no device 'abacus'" in text


def test_a_training_that_was_killed_ends_with_the_weights_of_one_that_was_not() -> None:
    text = output("stop_and_resume")
    assert "left in peace: True" in text
    assert "loaded: True" in text
