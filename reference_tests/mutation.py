"""Does the suite find mistakes? Each operation's and composite's result is made wrong by a
thousandth, and each of its gradients by a hundredth, one at a time; some comparison must fail.

`python -m reference_tests.mutation [names]` does it for all (`make mutation-check`), prints which
comparison found each, and exits with 1 where one was not found. What is compared, and what is
excused, is just as in the suite; only what the frameworks gave is kept from one to the next.
"""

from __future__ import annotations

import dataclasses
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import tinygrad_edu as edu
from tinygrad_edu import dtypes, ops
from tinygrad_edu.op import Op, Unary

from .agreement import DISAGREEMENTS, NOT_DIFFERENTIATED, differences
from .drawn import drawn
from .frameworks import FRAMEWORKS, Derivatives, Framework
from .samples import Sample, at_kinks, ordinary, special
from .subjects import SUBJECTS, Subject
from .test_operations import FLOATS, ours, theirs
from .test_rules import test_gradients_are_what_finite_differences_give as by_differences

FORWARD, GRADIENT = 1.001, 1.01


class Mutant(NamedTuple):
    """A subject with one mistake in it: in its result, or in the gradient of an argument."""

    subject: Subject
    argument: int | None = None

    @property
    def mistake(self) -> str:
        return "result" if self.argument is None else f"gradient {self.argument}"

    def __str__(self) -> str:
        return f"{self.subject}-{self.mistake}"


def mutants(subject: Subject) -> list[Mutant]:
    """One of its result, and one of each argument that has a gradient."""
    return [Mutant(subject), *(Mutant(subject, i) for i in _arguments(subject))]


def _arguments(subject: Subject) -> list[int]:
    op = subject.op
    if op is not None and op.no_gradient is not None:
        return []
    floats = [i for i, d in enumerate(subject.domains(subject.arity)) if d.kind == "float"]
    if op is not None and op.gradients is not None and len(op.gradients) >= len(floats):
        return [i for i in floats if op.gradients[i] is not None]
    return [i for i in floats if _is_reached(subject, i)]


def _is_reached(subject: Subject, argument: int) -> bool:
    """Whether a gradient arrives at this argument of a composite in any call."""
    for sample in _first_samples(subject):
        with _tilting() as tilt:
            ours(_tilted(subject, argument), sample)
            if tilt.reached:
                return True
    return False


def _first_samples(subject: Subject) -> Iterator[Sample]:
    for dtype in subject.dtypes:
        yield from ordinary(subject, dtype)


# The mistakes


@contextmanager
def mistaken(mutant: Mutant, flat: bool = False) -> Iterator[Subject]:
    """The subject while it has the mistake. A hundredth of nothing is nothing: where the gradient
    is `flat`, it becomes 1/100."""
    subject, argument = mutant
    op = subject.op
    if argument is None and op is not None:
        kernels = edu.devices()[0].kernels
        right = kernels[op]
        kernels[op] = lambda *args, **params: _off(right(*args, **params))
        try:
            yield subject
        finally:
            kernels[op] = right
    elif argument is None:
        function = subject.function
        yield dataclasses.replace(
            subject, function=lambda *xs, **params: _tensor_off(function(*xs, **params))
        )
    elif op is None:
        with _tilting(flat):
            yield _tilted(subject, argument)
    else:
        with _wrong_rule(op, argument, 0.01 if flat else 0.0):
            yield subject


def _off(out: Any) -> Any:
    """A thousandth more; one more, of integers; the opposite, of booleans. Of several results,
    each."""
    if isinstance(out, tuple):
        return tuple(map(_off, out))
    array = np.asarray(out)
    kind = dtypes.kind(array.dtype)
    with np.errstate(all="ignore"):
        off = ~array if kind == "b" else array + 1 if kind in "iu" else array * FORWARD
    return np.asarray(off, array.dtype)


def _tensor_off(out: edu.Tensor) -> edu.Tensor:
    kind = dtypes.kind(out.dtype)
    if kind == "b":
        return ops.logical_not(out)
    return out + 1 if kind in "iu" else out * FORWARD


@contextmanager
def _wrong_rule(op: Op, argument: int, more: float) -> Iterator[None]:
    def off(gradient: Any) -> Any:
        return None if gradient is None else gradient * GRADIENT + more

    if op.gradients is not None:
        name, wrong = "gradients", list(op.gradients)
        right = wrong[min(argument, len(wrong) - 1)]
        assert right is not None
        wrong[argument] = lambda *args, **params: off(right(*args, **params))
        mistake: Any = tuple(wrong)
    else:
        name, vjp = "vjp", op.vjp

        def mistake(*args: Any) -> list[Any]:
            return [off(g) if i == argument else g for i, g in enumerate(vjp(*args))]

    before = vars(op).get(name)
    setattr(op, name, mistake)
    try:
        yield
    finally:
        if before is None:
            delattr(op, name)
        else:
            setattr(op, name, before)


class _Tilt(Unary):
    """The same value, with a gradient that is wrong."""

    gradients = (lambda g, out, x: tilt.wrong(g),)
    more = 0.0
    reached = False

    def forward(self, xp: Any, x: Any) -> Any:
        return x

    def wrong(self, cotangent: Any) -> Any:
        self.reached = True
        return cotangent * GRADIENT + self.more


tilt = _Tilt()


@contextmanager
def _tilting(flat: bool = False) -> Iterator[_Tilt]:
    tilt.more, tilt.reached = 0.01 if flat else 0.0, False
    yield tilt


def _tilted(subject: Subject, argument: int) -> Subject:
    function = subject.function

    def tilted(*xs: Any, **params: Any) -> Any:
        return function(*[tilt(x) if i == argument else x for i, x in enumerate(xs)], **params)

    return dataclasses.replace(subject, function=tilted)


# The comparisons


class Check(NamedTuple):
    """One comparison of the suite: what they gave, and that ours agrees while nothing is wrong."""

    name: str
    sample: Sample
    framework: Framework
    right: Derivatives
    expected: Derivatives


class Checks:
    """The comparisons of one subject, made when they are first asked for, then kept."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._made: list[Check] = []
        self._rest = self._make()

    def __iter__(self) -> Iterator[Check]:
        yield from self._made
        for check in self._rest:
            self._made.append(check)
            yield check

    def _make(self) -> Iterator[Check]:
        subject = self.subject
        for what, derive, samples in _samples(subject):
            for framework in (FRAMEWORKS[name] for name in ("torch", "tensorflow", "jax")):
                if framework.name not in subject.references:
                    continue
                derived = derive and (subject.name, framework.name) not in NOT_DIFFERENTIATED
                for sample in samples:
                    try:
                        right = ours(subject, sample, derived)
                        expected = theirs(subject, sample, framework, right)
                    except Exception:  # a test of the suite itself fails then
                        continue
                    check = Check(f"{what}, {framework.name}", sample, framework, right, expected)
                    if not _differs(subject, check, right):
                        yield check

    def flat(self, argument: int) -> bool:
        """Whether the gradient of an argument is zero everywhere."""
        samples = [*_first_samples(self.subject)]
        found = [(s.argnums, ours(self.subject, s).first) for s in samples]
        return not any(
            np.any(first[argnums.index(argument)])
            for argnums, first in found
            if first and argument in argnums
        )


def _samples(subject: Subject) -> Iterator[tuple[str, bool, list[Sample]]]:
    for dtype in subject.dtypes:
        yield f"ordinary {dtype}", True, list(ordinary(subject, dtype))
    for dtype in subject.dtypes:
        yield f"at kinks, {dtype}", True, list(at_kinks(subject, dtype))
        if dtype in FLOATS:
            yield f"special {dtype}", False, list(special(subject, dtype))
    yield "drawn", True, drawn(subject, subject.dtypes, special=False)


def _differs(subject: Subject, check: Check, found: Derivatives) -> str | None:
    problems = differences(
        subject.name, check.framework.name, check.sample, found, check.expected, DISAGREEMENTS
    )
    return next(iter(problems), None)


def caught(mutant: Mutant, checks: Checks) -> str | None:
    """The comparison that fails because of this mistake; None where none does."""
    argument = mutant.argument
    flat = argument is not None and checks.flat(argument)
    for check in checks:
        if argument is not None and not check.right.first:
            continue
        with mistaken(mutant, flat) as wrong:
            try:
                found = ours(wrong, check.sample, bool(check.right.first))
            except Exception as error:
                return f"{check.name}: {type(error).__name__}"
        problem = _differs(wrong, check, found)
        if problem:
            return f"{check.name}: {problem.split(':')[0]}"
    if argument is None:
        return None
    with mistaken(mutant, flat) as wrong:
        try:
            by_differences(wrong)
        except AssertionError:
            return "finite differences"
    return None


def main(names: Sequence[str]) -> int:
    """Every mistake in every operation, or in those with these names."""
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    survivors: list[str] = []
    found: Counter[str] = Counter()
    print(f"{'operation':28}{'mistake':14}found by")
    for subject in [SUBJECTS[name] for name in names] if names else SUBJECTS.values():
        checks = Checks(subject)
        try:
            for mutant in mutants(subject):
                by = caught(mutant, checks)
                print(f"{subject.name:28}{mutant.mistake:14}{by or 'NOTHING'}", flush=True)
                found[by.replace(",", "").split(" ")[0] if by else "nothing"] += 1
                if by is None:
                    survivors.append(f"{mutant} was not found")
        except Exception as error:
            print(f"{subject.name:28}{'':14}FAILS WITHOUT ONE", flush=True)
            survivors.append(f"{subject} fails without a mistake: {type(error).__name__}: {error}")
    counts = ", ".join(f"{count} by {by}" for by, count in found.most_common())
    print(f"\n{sum(found.values())} mistakes in {time.perf_counter() - start:.0f} s: {counts}")
    print(*survivors, sep="\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
