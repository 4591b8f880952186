"""The suite finds mistakes: with the forward of any one operation a thousandth off, or the gradient
of any one argument a hundredth, the comparison with a framework fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu

from .agreement import NOT_DIFFERENTIATED
from .frameworks import FRAMEWORKS, Framework
from .ours import NUMPY
from .samples import ordinary
from .subjects import Subject
from .test_operations import EVERY, problems, results

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

OPERATIONS = [subject for subject in EVERY if subject.op is not None]
GRADIENTS = [
    pytest.param(subject, argument, id=f"{subject}-{argument}")
    for subject in OPERATIONS
    if subject.op is not None and subject.op.no_gradient is None
    for argument, domain in enumerate(subject.domains(subject.arity))
    if domain.kind == "float"
]


@pytest.mark.parametrize("subject", OPERATIONS, ids=str)
def test_a_forward_a_thousandth_off_is_found(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert subject.op is not None
    kernels = edu.devices()[0].kernels
    right = kernels[subject.op]
    monkeypatch.setitem(kernels, subject.op, lambda *args, **params: _off(right(*args, **params)))
    assert _found(subject)


def _off(out: Any) -> Any:
    """A thousandth more; one more, of integers; the opposite, of booleans."""
    kind = np.asarray(out).dtype.kind
    off = np.logical_not(out) if kind == "b" else out + 1 if kind in "iu" else out * 1.001
    return np.asarray(off, np.asarray(out).dtype)


@pytest.mark.parametrize(("subject", "argument"), GRADIENTS)
def test_a_gradient_a_hundredth_off_is_found(
    subject: Subject, argument: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = subject.op
    assert op is not None
    # A hundredth of nothing is nothing: where the gradient is zero, it becomes 1/100.
    more = 0.01 if _is_flat(subject, argument) else 0.0

    def off(gradient: Any) -> Any:
        return None if gradient is None else gradient * 1.01 + more

    if op.gradients is not None:
        rules: list[Any] = list(op.gradients)
        right = rules[argument]
        rules[argument] = lambda *args, **params: off(right(*args, **params))
        monkeypatch.setattr(op, "gradients", tuple(rules))
    else:
        vjp = op.vjp
        monkeypatch.setattr(
            op,
            "vjp",
            lambda *args: [off(g) if i == argument else g for i, g in enumerate(vjp(*args))],
        )
    assert _found(subject)


def _is_flat(subject: Subject, argument: int) -> bool:
    samples = ordinary(subject, "float64")
    found = [results(subject, sample, NUMPY)[0].first for sample in samples]
    return not any(np.any(first[argument]) for first in found if argument < len(first))


def _found(subject: Subject) -> bool:
    """Whether the comparison with one framework fails in any dtype."""
    return any(
        problems(subject, _reference(subject), ordinary(subject, dtype), rows=())
        for dtype in subject.dtypes
    )


def _reference(subject: Subject) -> Framework:
    return next(
        FRAMEWORKS[name]
        for name in ("torch", "tensorflow", "jax")
        if name in subject.references and (subject.name, name) not in NOT_DIFFERENTIATED
    )
