"""Every operation and composite in a jitted function gives what it gives without, and so do its
gradients: of the compiled function, and compiled themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import dtypes, errors

from .samples import Sample, at_kinks, ordinary, special
from .subjects import SUBJECTS, Subject

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# The shape of the result depends on values, which a trace does not know.
SIZES_DEPEND_ON_VALUES = {
    "bincount_counts",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
}

# Rounding, where sums are taken in another order.
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=str)
def test_compiled_is_as_eager(subject: Subject) -> None:
    if subject.name in SIZES_DEPEND_ON_VALUES:
        sample = next(ordinary(subject, subject.dtypes[0]))
        with pytest.raises(errors.TracingError):
            edu.jit(partial(subject.function, **sample.call.params))(*sample.arrays)
        return
    assert list(_problems(subject)) == []


def _problems(subject: Subject) -> Iterator[str]:
    for dtype in subject.dtypes:
        samples = [*ordinary(subject, dtype), *at_kinks(subject, dtype)]
        if dtypes.is_float(np.dtype(dtype)):
            samples += special(subject, dtype)
        for sample in samples:
            function = partial(subject.function, **sample.call.params)
            compiled = edu.jit(function)
            inputs = [edu.tensor(a) for a in sample.arrays]
            wanted = edu.tree.leaves(function(*inputs))
            for _ in range(2):
                yield from _differences(sample, edu.tree.leaves(compiled(*inputs)), wanted)
            if not sample.argnums or not any(map(_is_sloped, wanted)):
                continue
            slopes = _gradients(function, sample.argnums, *inputs)
            for derive in (
                partial(_gradients, compiled, sample.argnums),
                edu.jit(partial(_gradients, function, sample.argnums)),
            ):
                yield from _differences(sample, derive(*inputs), slopes)


@pytest.mark.filterwarnings("error:.*asks for values")
@pytest.mark.parametrize(
    "subject", [s for s in SUBJECTS.values() if s.name not in SIZES_DEPEND_ON_VALUES], ids=str
)
def test_for_xla_it_is_one_executable_that_gives_the_same(subject: Subject) -> None:
    sample = next(ordinary(subject, subject.dtypes[0]))
    function = partial(subject.function, **sample.call.params)

    def with_gradients(*inputs: edu.Tensor) -> Any:
        slopes = _gradients(function, sample.argnums, *inputs) if sample.argnums else []
        return function(*inputs), slopes

    wanted = edu.tree.leaves(with_gradients(*map(edu.tensor, sample.arrays)))
    with edu.device("xla"):
        found = edu.tree.leaves(edu.jit(with_gradients)(*map(edu.tensor, sample.arrays)))
    assert list(_differences(sample, found, wanted)) == []


def _gradients(
    function: Callable[..., Any], argnums: Sequence[int], *inputs: edu.Tensor
) -> list[edu.Tensor]:
    """The gradients of the sum of what comes out; zeros where nothing connects."""
    chosen = [inputs[i] for i in argnums]
    with edu.GradientTape() as tape:
        tape.watch(chosen)
        outputs = [y for y in edu.tree.leaves(function(*inputs)) if _is_sloped(y)]
    found = tape.gradient(outputs, chosen)
    return [edu.zeros_like(x) if g is None else g for g, x in zip(found, chosen, strict=True)]


def _is_sloped(y: edu.Tensor) -> bool:
    return dtypes.is_float(y.dtype)


def _differences(sample: Sample, found: Sequence[Any], wanted: Sequence[Any]) -> Iterator[str]:
    for x, y in zip(found, wanted, strict=True):
        if (x.dtype, x.shape) != (y.dtype, y.shape):
            yield f"{sample}: {x.dtype}{x.shape}, not {y.dtype}{y.shape}"
            continue
        tolerance = TOLERANCE.get(y.dtype.name, 0)
        near = np.isclose(x.numpy(), y.numpy(), tolerance, 10 * tolerance, equal_nan=True)
        if not near.all():
            yield f"{sample}: {x.numpy()[~near][:3]}, not {y.numpy()[~near][:3]}"
