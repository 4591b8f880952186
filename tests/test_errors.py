"""Bad input: one clear error each, of a class of ours and of Python's, that says what works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, ops


def x() -> edu.Tensor:
    return edu.ones((2, 3))


def setitem(target: Any) -> None:
    target[0] = 1.0


def not_scalar() -> None:
    edu.tensor([1.0, 2.0], requires_grad=True).backward()


def freed() -> None:
    v = edu.tensor(1.0, requires_grad=True)
    y = v * v
    y.backward()
    y.backward()


def used_up() -> None:
    v = edu.Variable(1.0)
    with edu.GradientTape() as tape:
        y = v * v
    tape.gradient(y, v)
    tape.gradient(y, v)


def masked() -> Any:
    return np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])


# What somebody does; the built-in error they would catch; words the message must have.
BAD: list[tuple[Callable[[], Any], type[Exception], list[str]]] = [
    # Shapes
    (lambda: x() + edu.ones(2), ValueError, ["add", "(2, 3)", "(2,)", "equal", "1"]),
    (lambda: np.ones(2) * x(), ValueError, ["multiply", "(2,)", "(2, 3)"]),
    (lambda: x() > edu.ones((3, 3)), ValueError, ["greater", "(2, 3)", "(3, 3)"]),
    (lambda: ops.where(x() > 0, x(), edu.ones(7)), ValueError, ["where", "(2, 3)", "(7,)"]),
    (lambda: x() @ x(), ValueError, ["matmul", "(2, 3)", "3", "2"]),
    (lambda: edu.ones(3) @ edu.ones((2, 2)), ValueError, ["matmul", "(3,)", "(2, 2)"]),
    (lambda: x() @ edu.ones(2), ValueError, ["matmul", "(2, 3)", "(2,)"]),
    (lambda: x() @ 2.0, ValueError, ["matmul", "(2, 3)", "()"]),
    (lambda: edu.ones((2, 4, 3)) @ edu.ones((5, 3, 4)), ValueError, ["matmul"]),
    (lambda: x().reshape(4, 2), ValueError, ["reshape", "(2, 3)", "(4, 2)", "6"]),
    (lambda: x().reshape(-1, -1), ValueError, ["reshape", "(-1, -1)"]),
    (lambda: x().reshape(-1, 4), ValueError, ["reshape", "(-1, 4)"]),
    (lambda: ops.broadcast_to(x(), (3, 2)), ValueError, ["broadcast_to", "(2, 3)", "(3, 2)"]),
    (lambda: ops.concat([x(), edu.ones((3, 2))]), ValueError, ["concat", "(3, 2)", "axis 0"]),
    (lambda: ops.concat([]), ValueError, ["concat", "at least one"]),
    (lambda: ops.concat(x()), ValueError, ["concat", "list"]),
    (lambda: ops.stack([x(), edu.ones(2)]), ValueError, ["stack", "(2, 3)", "(2,)"]),
    (lambda: ops.squeeze(x(), axis=0), ValueError, ["squeeze", "axis 0", "(2, 3)"]),
    (lambda: ops.mean_squared_error(x(), edu.ones((2, 1))), ValueError, ["(2, 1)", "same"]),
    (lambda: x().at[0].set([1.0, 2.0]), ValueError, ["set", "(2,)", "(3,)"]),
    (lambda: x().at[0].add(edu.ones((2, 3))), ValueError, ["add", "(2, 3)", "(3,)"]),
    (lambda: edu.tensor([[1, 2], [3]]), ValueError, ["rectangular"]),
    (lambda: x().item(), ValueError, ["item", "(2, 3)", "tolist()"]),
    (lambda: float(x()), ValueError, ["(2, 3)"]),
    (lambda: edu.zeros(0).item(), ValueError, ["item", "(0,)"]),
    # Axes and other arguments
    (lambda: x().sum(2), ValueError, ["sum", "axis 2", "2 dimensions"]),
    (lambda: x().mean(-3), ValueError, ["mean", "axis -3"]),
    (lambda: x().max((0, 0)), ValueError, ["max", "(0, 0)", "twice"]),
    (lambda: x().sum(1.0), ValueError, ["sum", "integer", "1.0"]),
    (lambda: x().argmax(5), ValueError, ["argmax", "axis 5"]),
    (lambda: ops.softmax(x(), axis=2), ValueError, ["softmax", "axis 2"]),
    (lambda: x().transpose(0, 0), ValueError, ["permute_dims", "(0, 0)", "2"]),
    (lambda: ops.moveaxis(x(), (0, 1), 0), ValueError, ["moveaxis"]),
    (lambda: ops.concat([x(), x()], axis=2), ValueError, ["concat", "axis 2"]),
    (lambda: edu.zeros((2, "a")), ValueError, ["(2, 'a')", "shape"]),
    (lambda: edu.ones(-1), ValueError, ["-1", "shape"]),
    (lambda: edu.eye(-1), ValueError, ["eye", "-1"]),
    (lambda: edu.arange(0, 1, 0), ValueError, ["arange", "0"]),
    (lambda: edu.linspace(0, 1, -1), ValueError, ["linspace", "-1"]),
    (lambda: edu.linspace(0, 1, 2.5), ValueError, ["linspace", "2.5"]),  # type: ignore[arg-type]
    (lambda: x()[::0], ValueError, ["step", "0"]),
    # Dtypes and kinds of values
    (lambda: edu.tensor("text"), TypeError, ["numbers"]),
    (lambda: edu.tensor(None), TypeError, ["numbers", "NoneType"]),
    (lambda: edu.tensor({"a": 1}), TypeError, ["numbers", "dict"]),
    (lambda: edu.tensor(np.array([1j])), TypeError, ["complex"]),
    (lambda: edu.tensor([1, None]), TypeError, ["numbers", "NoneType"]),
    (lambda: edu.tensor([1, 10**30]), TypeError, [str(10**30), "does not fit"]),
    (lambda: edu.tensor(np.array([1.0], object)), TypeError, ["object", "astype"]),
    (lambda: edu.tensor(masked()), TypeError, ["mask", "filled", ".data"]),
    (lambda: x() * masked(), TypeError, ["multiply", "mask", "filled"]),
    (lambda: edu.jit(lambda y: y)(masked()), TypeError, ["mask", "filled"]),
    (lambda: edu.zeros(2, dtype="complex64"), TypeError, ["complex64", "float32"]),
    (lambda: edu.zeros(2, dtype="float23"), TypeError, ["float23", "float32"]),
    (lambda: edu.tensor(2**40), TypeError, [str(2**40), "int32"]),
    (lambda: edu.tensor([-1], "uint8"), TypeError, ["-1", "uint8"]),
    (lambda: edu.full(2, 300, dtype="uint8"), TypeError, ["300", "uint8"]),
    (lambda: edu.arange(2**33, 2**33 + 1), TypeError, [str(2**33), "int32"]),
    (lambda: edu.tensor([1], "int8") + 300, TypeError, ["add", "300", "int8"]),
    (lambda: edu.tensor(10**30), TypeError, [str(10**30), "does not fit"]),
    (lambda: edu.tensor([1], "int8").at[0].set(300), TypeError, ["set", "300", "int8"]),
    (lambda: edu.Variable([1], "int8").assign([300]), TypeError, ["assign", "300", "int8"]),
    (lambda: edu.Variable([1]).assign("a"), TypeError, ["Variable.assign", "numbers, not text"]),
    (lambda: edu.Variable([[1]]).assign([[1], [2, 3]]), ValueError, ["assign", "rectangular"]),
    (lambda: edu.add(edu.ones(2), [1, 2**40]), TypeError, ["add", str(2**40), "int32"]),
    (lambda: edu.tensor([np.nan], "int32"), TypeError, ["NaN", "int32"]),
    (lambda: edu.tensor([1, 2]).at[0].set(2.5), TypeError, ["set", "float32", "int32", "astype"]),
    (lambda: x().at[0].add(np.ones(3)), TypeError, ["add", "float64", "float32", "astype"]),
    (lambda: edu.arange("a"), TypeError, ["arange", "'a'"]),
    (lambda: edu.grad(5), ValueError, ["grad", "function", "5"]),  # type: ignore[arg-type]
    (lambda: x() + "a", TypeError, ["add", "numbers"]),
    (lambda: None * x(), TypeError, ["multiply", "NoneType"]),  # type: ignore[operator]
    (lambda: x() + 1j, TypeError, ["complex"]),
    (lambda: ~x(), TypeError, ["bitwise_invert", "integer", "float32"]),
    (lambda: x() & 1, TypeError, ["bitwise_and", "integer", "float32"]),
    (lambda: -edu.tensor([True]), TypeError, ["negative", "bool"]),
    (lambda: edu.tensor([True]) - edu.tensor([True]), TypeError, ["subtract", "bool"]),
    (lambda: edu.tensor([2]) ** -1, TypeError, ["power", "float"]),
    (lambda: ops.exp("a"), TypeError, ["numbers"]),
    (lambda: edu.Tensor([1.0]), TypeError, ["edu.tensor"]),
    (lambda: len(edu.tensor(1.0)), TypeError, ["len", "0-d"]),
    (lambda: list(edu.tensor(1.0)), TypeError, ["0-d"]),
    (lambda: f"{x():.2f}", TypeError, [".2f", "(2, 3)", "tolist()"]),
    # Indices
    (lambda: x()[2], IndexError, ["2", "axis 0", "(2, 3)"]),
    (lambda: x()["a"], TypeError, ["indexing", "text"]),
    (lambda: x()[0, -4], IndexError, ["-4", "axis 1", "(2, 3)"]),
    (lambda: x()[0, 0, 0], IndexError, ["too many", "(2, 3)"]),
    (lambda: x()[[0, 9]], IndexError, ["9", "axis 0"]),
    (lambda: x().at[5].set(1.0), IndexError, ["5", "axis 0"]),
    (lambda: x()[1.0], TypeError, ["index", "float"]),
    (lambda: x()["a"], TypeError, []),
    (lambda: x()[0:1.5], TypeError, ["slice", "1.5"]),
    # Truth and change
    (lambda: bool(x()), ValueError, ["(2, 3)", "ambiguous", ".any()", ".all()"]),
    (lambda: bool(edu.zeros(0)), ValueError, ["(0,)", ".any()"]),
    (lambda: 1 if x() > 0 else 0, ValueError, ["ambiguous"]),
    (lambda: setitem(x()), TypeError, ["does not support item assignment", ".at[index].set"]),
    (lambda: setitem(edu.Variable([1.0])), TypeError, ["item assignment", "assign"]),
    # Gradients
    (lambda: edu.grad(lambda x: x * 1.0)(3), TypeError, ["int32", "float"]),
    (lambda: edu.tensor([1], requires_grad=True), TypeError, ["int32", "float"]),
    (lambda: edu.GradientTape().watch(edu.tensor([1])), TypeError, ["watch", "int32", "float"]),
    (lambda: edu.grad(lambda x: x)(x()), RuntimeError, ["(2, 3)", "scalar", "mean()", "sum()"]),
    (not_scalar, RuntimeError, ["(2,)", "scalar", "mean()", "sum()", "cotangent"]),
    (lambda: edu.tensor(1.0).backward(), RuntimeError, ["nothing was recorded", "requires_grad"]),
    (freed, RuntimeError, ["multiply", "freed", "retain_graph=True", "test_errors.py"]),
    (used_up, RuntimeError, ["used up", "persistent=True"]),
    # Devices
    (lambda: edu.set_device("numpi"), RuntimeError, ["'numpi'", "'numpy'", "'cupy'", "'xla'"]),
    (lambda: edu.ones(2).to("gpu"), RuntimeError, ["'gpu'", "'cupy'"]),
    (lambda: x() + edu.ones(3, device="xla"), RuntimeError, ["add", "'numpy'", "'xla'", ".to("]),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "words"), BAD, ids=lambda v: None)
def test_bad_input_is_one_clear_error(act: Any, kind: type[Exception], words: list[str]) -> None:
    with pytest.raises(errors.Error) as caught:
        act()
    assert isinstance(caught.value, kind)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None  # one error, and not the story of another
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x + np.ones(7), lambda x: x @ x, lambda x: x.sum(9), lambda x: ~x, lambda x: x[9],
        lambda x: x.astype("int8") + 300, lambda x: x.reshape(7), lambda x: bool(x),
        lambda x: ops.max(x[:0]), lambda x: x.at[0].set([1.0, 2.0]), lambda x: x.backward(),
    ],
)  # fmt: skip
def test_errors_are_the_same_on_xla_and_on_numpy(act: Callable[[Any], Any]) -> None:
    found = []
    for device in ("numpy", "xla"):
        with pytest.raises(errors.Error) as caught:
            act(edu.ones((2, 3), device=device))
        found.append((type(caught.value), str(caught.value)))
    assert found[0] == found[1]


def test_a_failed_operation_leaves_nothing_on_the_tape() -> None:
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape(persistent=True) as tape:
        y = v * 2.0
        with pytest.raises(errors.ShapeError):
            y + edu.ones(3)
        z = (y * y).sum()
    assert len(repr(tape).splitlines()) == 1 + 3
    assert tape.gradient(z, v).tolist() == [8, 16]


def test_every_error_class_is_ours_and_a_built_in_one_and_says_what_for() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c is not errors.Error]
    assert len(classes) >= 10
    for kind in classes:
        assert issubclass(kind, errors.Error)
        assert kind.__doc__
        builtin = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert builtin[0] not in (Exception, BaseException)
    assert edu.Error is errors.Error


# Warnings


def plain_model(*more: Any) -> edu.Sequential:
    made = edu.Sequential([edu.Input((1,)), edu.layers.Dense(1), *more])
    made.compile("sgd", "mse")
    return made


def fitted(made: Any, *watching: Any, **options: Any) -> None:
    made.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0, callbacks=list(watching), **options)


def damaged(folder: Path) -> edu.train.Checkpointer:
    (folder / "checkpoint-00000001.zip").write_bytes(b"")
    return edu.train.Checkpointer(folder, model=plain_model())


def untrainable() -> edu.Sequential:
    made = plain_model()
    made.layers[0].trainable = False
    made.compile("sgd", "mse")
    return made


def without_gradient(optimizer: Any, method: str) -> None:
    a, b = edu.Variable(1.0, name="a"), edu.Variable(1.0, name="b")
    if method == "apply":
        optimizer.apply([1.0, None], [a, b])
    else:
        optimizer.apply_gradients([(1.0, a), (None, b)])


def forgetting_the_mask() -> None:
    class Forgetful(edu.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    edu.Sequential([edu.layers.Masking(), Forgetful()])(np.ones((2, 3, 1)))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda _: fitted(plain_model(), edu.callbacks.EarlyStopping("val_los")), "val_los"),
        (lambda _: fitted(plain_model(), edu.callbacks.ReduceLROnPlateau("x")), "no 'x'"),
        (lambda folder: damaged(folder).restore(), "passed over"),
        (lambda folder: fitted(plain_model(), damaged(folder)), "passed over"),
        (lambda _: fitted(untrainable()), "no trainable weights"),
        (
            lambda _: plain_model().fit(
                ((np.ones((2, 1)), np.ones((2, 1))) for _ in "ab"), steps_per_epoch=3, verbose=0
            ),
            "ended early",
        ),
        (lambda _: without_gradient(edu.optimizers.SGD(), "apply"), "no gradient for b"),
        (lambda _: without_gradient(edu.optimizers.SGD(), "apply_gradients"), "gradient for b"),
        (
            lambda _: without_gradient(edu.optimizers.LossScaleOptimizer("sgd"), "apply"),
            "gradient for b",
        ),
        (lambda _: forgetting_the_mask(), "does not support masks"),
    ],
    ids=lambda v: None,
)
def test_a_warning_points_at_the_users_line(
    act: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=words) as caught:
        act(tmp_path)
    assert {each.filename for each in caught if words in str(each.message)} == {__file__}
