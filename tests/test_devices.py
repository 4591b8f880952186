"""Devices: choosing one, moving between them, and what a device that cannot run here says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_edu as edu
from tinygrad_edu import errors, ops

CUPY_RUNS = edu.devices()[1].available


# Choosing

CHOICES: list[Callable[[str], Any]] = [
    edu.set_device,
    lambda name: edu.device(name).__enter__(),
    lambda name: edu.ones(2).to(name),
    lambda name: edu.zeros(2, device=name),
    lambda name: edu.tensor(1.0, device=name),
    lambda name: edu.Variable(1.0, device=name),
]


def test_numpy_is_the_device_unless_somebody_says_otherwise() -> None:
    assert edu.ones(2).device == "numpy"


def test_set_device_chooses_for_the_whole_process() -> None:
    edu.set_device("xla")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(edu.ones(2).device))
    thread.start()
    thread.join()
    assert found == ["xla"]
    made = [edu.tensor(1.0), edu.zeros(2), edu.full(2, 3), edu.arange(3), edu.linspace(0, 1, 3),
            edu.eye(2), edu.Variable(1.0).value, ops.exp([1.0]), edu.add(1, 2)]  # fmt: skip
    assert {x.device for x in made} == {"xla"}


def test_a_with_statement_chooses_for_its_body_and_its_thread() -> None:
    edu.set_device("numpy")
    found: list[Any] = []
    with edu.device("xla") as here:
        thread = threading.Thread(target=lambda: found.append(edu.ones(2).device))
        thread.start()
        thread.join()
        assert here == "xla"
        assert edu.ones(2).device == "xla"
        with edu.device("numpy"):
            assert edu.ones(2).device == "numpy"
        assert edu.ones(2).device == "xla"
    assert edu.ones(2).device == "numpy"
    assert found == ["numpy"]


def test_the_device_comes_back_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), edu.device("xla"):
        1 / 0  # noqa: B018
    assert edu.ones(2).device == "numpy"


def test_every_constructor_takes_a_device() -> None:
    made = [edu.tensor(1.0, device="xla"), edu.zeros(2, device="xla"), edu.ones(2, device="xla"),
            edu.full(2, 3, device="xla"), edu.arange(3, device="xla"), edu.eye(2, device="xla"),
            edu.linspace(0, 1, 3, device="xla"), edu.Variable(1.0, device="xla").value]  # fmt: skip
    assert {x.device for x in made} == {"xla"}
    assert edu.zeros_like(made[0]).device == "xla"


def test_a_device_is_equal_to_its_name() -> None:
    device = edu.ones(2).device
    assert device == "numpy"
    assert device != "xla"
    assert {device: 1}[device] == 1
    assert str(device) == "numpy"
    assert edu.ones(2, device=device).device is device


def test_devices_says_of_each_whether_it_can_run_here() -> None:
    numpy, cupy, xla = edu.devices()
    assert (numpy.name, cupy.name, xla.name) == ("numpy", "cupy", "xla")
    assert (numpy.available, numpy.problem) == (True, None)
    assert (xla.available, xla.problem) == (True, None)
    assert repr(numpy) == "<device 'numpy': runs here>"


@pytest.mark.skipif(CUPY_RUNS, reason="a GPU is here")
def test_a_device_that_cannot_run_says_why_and_what_to_install() -> None:
    cupy = edu.devices()[1]
    assert not cupy.available
    assert cupy.problem is not None
    assert "CuPy" in cupy.problem
    for choose in CHOICES:
        with pytest.raises(errors.DeviceError, match="'cupy' cannot run here") as caught:
            choose("cupy")
        assert cupy.problem in str(caught.value)
    assert edu.ones(2).device == "numpy"  # nothing has changed


def test_without_cupy_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = type(edu.devices()[1])()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert fresh.problem is not None
    assert "tinygrad_edu[cupy-cuda13]" in fresh.problem
    assert "cupy-cuda12" in fresh.problem


def test_without_jax_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = type(edu.devices()[2])()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert fresh.problem is not None
    assert "tinygrad_edu[xla]" in fresh.problem


@pytest.mark.parametrize("choose", CHOICES)
def test_an_unknown_device_says_which_there_are(choose: Callable[[str], Any]) -> None:
    for name in ("nunpy", "NumPy"):
        with pytest.raises(
            errors.DeviceError, match=rf"'{name}'.*'numpy'.*'cupy'.*'xla'"
        ) as caught:
            choose(name)
        assert "; did you mean 'numpy'" in str(caught.value)


# Moving, and mixing


def test_to_moves_and_the_gradient_moves_back() -> None:
    x = edu.tensor([1.0, 2.0], requires_grad=True)
    moved = x.to("xla")
    y = (moved * moved).to("numpy")
    assert (moved.device, y.device) == ("xla", "numpy")
    (y * x).sum().backward()
    assert x.grad is not None
    assert x.grad.device == "numpy"
    assert x.grad.tolist() == [3, 12]
    assert x.to("numpy") is x


def test_the_gradient_through_to_can_be_differentiated_again() -> None:
    cube = edu.grad(edu.grad(lambda x: (x.to("xla") ** 3).to("numpy")))
    assert cube(3.0).item() == 18


def test_moving_copies() -> None:
    x = edu.tensor(np.ones(3))
    assert not np.shares_memory(x.numpy(), x.to("xla").numpy())
    assert x.to("xla").to("numpy").tolist() == [1, 1, 1]


MIXTURES: list[Callable[[Any, Any], Any]] = [
    lambda x, y: x + y, lambda x, y: y * x, lambda x, y: x > y, lambda x, y: x @ y,
    lambda x, y: ops.where(x > 0, x, y), lambda x, y: ops.concat([x, y]),
    lambda x, y: ops.stack([x, y]), lambda x, y: x.at[0].set(y[0]), lambda x, y: ops.maximum(x, y),
    lambda x, y: edu.Variable(x) - y, lambda x, y: x[y.astype("int32")],
    lambda x, y: np.add(x, y), lambda x, y: ops.atan2(x, y),
]  # fmt: skip


@pytest.mark.parametrize("mix", MIXTURES)
def test_mixing_devices_is_an_error_that_names_both(mix: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(errors.DeviceError, match=r"\.to\('") as caught:
        mix(edu.ones(2), edu.ones(2, device="xla"))
    assert "'numpy'" in str(caught.value)
    assert "'xla'" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_raw_arrays_and_numbers_adopt_the_device_of_a_tensor() -> None:
    x = edu.ones(2, device="xla")
    for result in (x + np.ones(2), np.ones(2) * x, x @ np.ones(2), x * [1, 2], 2 * x, x > 0.5,
                   x.at[0].set(np.float64(3)), x[np.array([0, 1])], x ** np.array(2),
                   ops.where([True, False], x, 0.0), np.ones((2, 2)) @ x,
                   ops.concat([np.zeros(1), x]), ops.stack([np.zeros(2), x]),
                   ops.mean_squared_error(np.zeros(2), x)):  # fmt: skip
        assert result.device == "xla"


# Everything runs on XLA


def test_the_three_styles_of_gradient_agree_on_every_device(device: str) -> None:
    rng = np.random.default_rng(0)
    X, t = rng.normal(size=(20, 2)), rng.integers(0, 2, (20, 1)).astype(float)
    start = rng.uniform(size=(2, 1))

    def loss(W: Any, b: Any) -> edu.Tensor:
        return ops.mean_squared_error(t, X @ W + b)

    # by hand: the gradient of mean((XW + b - t)^2)
    error = X @ start + 0.5 - t
    expected = [2 * X.T @ error / 20, 2 * error.mean(0)]

    W, b = edu.Variable(start), edu.Variable([0.5], "float64")
    with edu.GradientTape() as tape:
        value = loss(W, b)
    of_tape = tape.gradient(value, (W, b))
    x, y = edu.tensor(start, requires_grad=True), edu.tensor([0.5], "float64", requires_grad=True)
    loss(x, y).backward()
    of_grad = edu.grad(loss, (0, 1))(start, np.array([0.5]))
    assert value.device == device
    for found in (of_tape, (x.grad, y.grad), of_grad):
        for one, by_hand in zip(found, expected, strict=True):
            assert one.device == device
            assert_allclose(one.numpy(), by_hand, rtol=1e-12)


def test_float64_needs_no_flag_of_jax() -> None:
    before = jax.config.jax_enable_x64
    x = edu.tensor(np.array([1 / 3, 2.0]), device="xla")
    results = [x, x * x, x + 1, x @ x, x.sum(), x.mean(), ops.exp(x), x.T, x[0],
               x.at[0].set(1 / 7), ops.zeros_like(x), edu.arange(3, dtype="float64", device="xla"),
               edu.grad(lambda x: (x * x).sum())(x),
               x.astype("int64").astype("float64")]  # fmt: skip
    assert {r.dtype.name for r in results} == {"float64"}
    assert (x * x)[0].item() == (1 / 3) ** 2  # to the last bit
    assert (edu.tensor(2**40, "int64", device="xla") + 1).item() == 2**40 + 1
    assert jax.config.jax_enable_x64 is before is False


def test_the_users_own_jax_stays_32_bits_wide_and_64_if_they_want() -> None:
    code = """
import jax, jax.numpy as jnp, numpy as np, tinygrad_edu as edu
for wide in (False, True):
    jax.config.update("jax_enable_x64", wide)
    x = edu.tensor(np.ones(2), device="xla")
    y = edu.ones(2, device="xla")
    assert ((x * x).dtype, (y * 2.0).dtype, y.sum().dtype) == ("float64", "float32", "float32")
    assert (edu.arange(3, device="xla").sum().dtype, y.argmax().dtype) == ("int32", "int32")
    assert jax.config.jax_enable_x64 is wide
    assert jnp.ones(2).dtype == ("float64" if wide else "float32")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_variable_stays_on_its_device() -> None:
    v = edu.Variable([1.0, 2.0], device="xla")
    v.assign([3, 4])
    v[0].assign(5)
    v.assign_add(np.ones(2, "float32"))
    assert (v.device, v.tolist()) == ("xla", [6, 5])


def test_gradients_stay_on_the_device_of_their_source_whatever_the_current_one() -> None:
    x = edu.tensor([1.0, 2.0], device="xla", requires_grad=True)
    y = (x * x + ops.where(x > 1, x, 0.0)).mean()
    y.backward()
    assert x.grad is not None
    assert (x.grad.device, x.grad.tolist()) == ("xla", [1, 2.5])
    assert edu.grad(lambda x: ops.logsumexp(x) + x.max() + x[0] + x.std())(x).device == "xla"


def test_moving_to_the_device_that_it_is_on_is_nothing_in_any_mode(device: str) -> None:
    def doubled(x: Any) -> Any:
        return x.to(device) * 2.0

    for function in (edu.jit(doubled), edu.vmap(doubled), edu.jit(edu.vmap(doubled))):
        assert function(edu.ones(2)).tolist() == [2, 2]
