"""Scalar factors: moved over linear operations to where the arrays are smallest, and merged.

A factor is a Python number, or a value without axes, that a float32 or float64 array is multiplied
by. What an operation is linear in, its definition says. Two passes: forward, from where a factor is
applied to where its array ends (a cotangent that is scaled, then summed, then scaled by the
learning rate); and backward, from there to where it comes from (all gradients are scaled by the
learning rate: so may be the cotangent that they are all made of).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeGuard

from tinygrad_edu import ops
from tinygrad_edu.graph import Atom, Equation, Graph, Value, inferred
from tinygrad_edu.op import Op

from .rewriting import Sweep, is_real

_CALL = 1000
"""What one more call costs, in elements that could be multiplied meanwhile."""


class _Factor(NamedTuple):
    """What an array is to be multiplied by: a number, and values without axes; and what it is to be
    divided by, `under`. A number that it is to be divided by is a `divisor` as long as nothing else
    joins it, for x / 3 is not x * (1 / 3)."""

    number: float = 1.0
    scalars: tuple[Value, ...] = ()
    under: tuple[Value, ...] = ()
    divisor: float | None = None

    def times(self, other: _Factor) -> _Factor:
        if self == _ONE or other == _ONE:
            return other if self == _ONE else self
        number = self.number * other.number
        return _Factor(number, self.scalars + other.scalars, self.under + other.under)

    @property
    def is_number(self) -> bool:
        return not (self.scalars or self.under)


_ONE = _Factor()


def _scaling(made: Equation) -> tuple[Value, _Factor] | None:
    """The array and the factor, if an equation is their product (or quotient, or negative)."""
    if made.op not in _SCALING or not is_real(made.outputs[0]):
        return None
    x, y = made.inputs if len(made.inputs) == 2 else (made.inputs[0], -1)
    pairs = [(x, y)] if made.op is ops.divide else [(x, y), (y, x)]
    for array, factor in pairs:
        if not isinstance(array, Value):
            continue
        if _is_plain(factor):
            number = float(factor)
            over = _Factor(1 / number, (), (), number)
            return array, over if made.op is ops.divide else _Factor(number)
        if isinstance(factor, Value) and factor.ndim < 1 <= array.ndim:
            over = _Factor(1.0, (), (factor,))
            return array, over if made.op is ops.divide else _Factor(1.0, (factor,))
    return None


_SCALING = frozenset({ops.multiply, ops.divide, ops.negative})


def _is_plain(x: Atom) -> TypeGuard[float]:
    """Whether an operand is a number of which a product of three stays in the range of float32."""
    return not isinstance(x, Value) and 1e-9 < abs(x) < 1e9


def _fits(number: float) -> bool:
    """Whether a product may still be multiplied by another of its kind."""
    return 1e-18 < abs(number) < 1e18


def _linear(made: Equation) -> Sequence[int]:
    """Which of its inputs an operation is linear in, each for itself."""
    if not all([is_real(y) for y in made.outputs]):
        return ()
    if made.op is ops.where:
        return [i for i in (1, 2) if made.inputs[3 - i] == 0]
    return [i for i in made.op.linear if is_real(made.inputs[i])]


def _multiply(sweep: Sweep, made: Equation, x: Value, factor: _Factor) -> None:
    """An equation for the value that `made` stands for, as an array times a factor."""
    number, scalars, under, divisor = factor
    op: Op
    inputs: tuple[Atom, ...]
    if divisor is not None:
        op, inputs = ops.divide, (x, divisor)
    elif factor.is_number and abs(number) == 1:
        op, inputs = ops.negative if number == -1 else ops.identity, (x,)
    elif under and number == 1 and not scalars:
        op, inputs = ops.divide, (x, _product(sweep, made, under))
    else:
        scalar = _product(sweep, made, (number, *scalars) if number != 1 else scalars)
        if under:
            scalar = sweep.make(made, ops.divide, scalar, _product(sweep, made, under))
        op, inputs = ops.multiply, (scalar, x)
    sweep.add(replace(made, op=op, inputs=inputs, params={}))


def _product(sweep: Sweep, made: Equation, scalars: Sequence[Atom]) -> Atom:
    """The product of scalars, from the right; if there is one, that."""
    *others, found = scalars
    for x in reversed(others):
        found = sweep.make(made, ops.multiply, x, found)
    return found


# Forward


def late_factors(graph: Graph) -> Graph:
    """With scalar factors applied as late as it saves work.

    `W - 0.1 * (x.T @ (s * error))` becomes `W - (0.1 * s) * (x.T @ error)`, if nothing else needs
    `s * error` than what can be scaled afterwards.
    """
    return _Later(graph).moved()


class _Later(Sweep):
    """The sweep of `late_factors`. `pending` are values that are not computed, each as an array
    without its factor, and that factor."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.pending: dict[Value, tuple[Value, _Factor]] = {}
        self.waiting = _waiting(graph)

    def moved(self) -> Graph:
        if not self.waiting:
            return self.graph
        for made in self.graph.equations:
            own = self._moving(made)
            linear = [i for i in _linear(made) if made.inputs[i] in self.pending]
            if own is not None and (own[0] in self.pending or made.outputs[0] in self.waiting):
                self._joined(made, *own)
            elif linear:
                self._applied(made, linear)
            else:
                self.add(self.updated(made))
        return self.result()

    def _moving(self, made: Equation) -> tuple[Value, _Factor] | None:
        """The array and the factor; none where the factor is known, and infinite or nearly so."""
        own = _scaling(made)
        known = [] if own is None else [self.number(x) for x in (*own[1].scalars, *own[1].under)]
        return own if all([x is None or _is_plain(x) for x in known]) else None

    def _joined(self, made: Equation, x: Value, factor: _Factor) -> None:
        """A multiplication by a factor, which joins that which is pending."""
        x, before = self.pending.get(x, (x, _ONE))
        factor = before.times(self._simpler(factor))
        if made.outputs[0] in self.waiting and _fits(factor.number):
            self.pending[made.outputs[0]] = x, factor
        else:
            _multiply(self, made, x, factor)

    def _simpler(self, factor: _Factor) -> _Factor:
        """A factor with the factors of its scalars as its own."""
        found = _Factor(factor.number, (), (), factor.divisor)
        for x in factor.scalars:
            x, own = self._apart(x)
            found = found.times(own).times(_Factor(1.0, (x,)))
        for x in factor.under:
            x, own = self._apart(x)
            found = found.times(_Factor(1 / own.number, own.under, (x, *own.scalars)))
        return found

    def _apart(self, x: Value) -> tuple[Value, _Factor]:
        """A scalar as another times a factor, where it is pending or a number times another."""
        if x in self.pending:
            return self.pending[x]
        made = self.makers.get(x)
        own = None if made is None else _scaling(made)
        return (x, _ONE) if own is None else own

    def _applied(self, made: Equation, linear: Sequence[int]) -> None:
        """A linear operation on what is pending, without the factors: they are so still, or are
        applied to its results."""
        inputs, factor = list(made.inputs), _ONE
        for i in linear:
            value = made.inputs[i]
            assert isinstance(value, Value)
            inputs[i], other = self.pending[value]
            factor = factor.times(other)
        avals = inferred(made.op, inputs, made.params)
        bare = tuple([Value(*a, y.name) for a, y in zip(avals, made.outputs, strict=True)])
        self.add(replace(made, inputs=tuple(inputs), outputs=bare))
        for x, out in zip(bare, made.outputs, strict=True):
            if out in self.waiting and _fits(factor.number):
                self.pending[out] = x, factor
            else:
                _multiply(self, replace(made, outputs=(out,)), x, factor)


def _waiting(graph: Graph) -> set[Value]:
    """The values behind which a factor is better applied: what takes them can all take it later,
    and that is less work."""
    later: dict[Value, float] = {x: math.inf for x in graph.outputs if isinstance(x, Value)}
    found = set()
    for made in reversed(graph.equations):
        cost = 0.0
        for out in made.outputs:
            now = out.size + _CALL
            if is_real(out) and later.get(out, 0.0) < now:
                found.add(out)
            cost += min(now, later.get(out, 0.0))
        own, linear = _scaling(made), _linear(made)
        for i, x in enumerate(made.inputs):
            if isinstance(x, Value):
                joins = own is not None and own[0] is x
                more = 0.0 if joins else cost if i in linear else math.inf
                later[x] = later.get(x, 0.0) + more
    return found


# Backward


def early_factors(graph: Graph) -> Graph:
    """With numbers that all that is made of a value is multiplied by applied to that value, where
    it saves work.

    If all gradients are scaled by 0.1, so may be the cotangent they come from; and for
    `(q @ k.T) / 8` it is less work to divide q, where q is smaller than the product. Squares do not
    mind: of `0.1 * g` and `0.001 * g**2` there remain `h` and `0.1 * h**2`.
    """
    return _Earlier(graph).moved()


class _Wish(NamedTuple):
    """The number that all that takes a value would rather have it multiplied by, and the work that
    this would save."""

    number: float
    saves: float


class _Earlier(Sweep):
    """The sweep of `early_factors`. `scaled` has the multiples that are taken in the place of
    values: of these, nothing else is needed."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.takers = _takers(graph)
        self.squares = _squares(graph)
        self.wishes = self._agreed_upon()
        self.scaled: dict[Value, Value] = {}
        self.squared: dict[Value, tuple[Value, float]] = {}  # and how many times as large it is

    def moved(self) -> Graph:
        if not self.wishes:
            return self.graph
        for value in (*self.graph.constants, *self.graph.inputs):
            self._consider(Equation(ops.identity, (value,), {}, (value,)))
        for made in self.graph.equations:
            own = _by_number(made)
            if own is not None and own[0] in self.scaled:
                self._arrived(made.outputs[0], self.scaled[own[0]])
            elif own is not None and own[0] in self.squared:
                square, times = self.squared[own[0]]
                _multiply(self, made, square, _Factor(own[1] / times))
            elif (x := self.squares.get(made.outputs[0])) in self.scaled:
                square = self.make(made, ops.square, self.scaled[x])
                self.squared[made.outputs[0]] = square, self.wishes[x].number ** 2
            elif any([made.inputs[i] in self.scaled for i in self.takers.get(made, ())]):
                wish = self.wishes[made.outputs[0]]
                self.scaled[made.outputs[0]] = self._times(made, wish.number)
            else:
                self.add(self.updated(made))
                self._consider(made)
        return self.result()

    def _arrived(self, out: Value, scaled: Value) -> None:
        """A product with a number, which was multiplied by before."""
        if out in self.wishes:  # which is a part of what the number was
            self.scaled[out] = scaled
        else:
            self.now[out] = scaled

    def _consider(self, made: Equation) -> None:
        """Scale what an equation makes, if that is wished for and pays."""
        out = made.outputs[0]
        wish = self.wishes.get(out)
        if wish is None or self._cost(made) >= wish.saves:
            return
        own, takers = _scaling(self.updated(made)), self.takers.get(made, ())
        if own is not None:
            value = Value(*out.aval, out.name)
            factor = own[1].times(_Factor(wish.number))
            _multiply(self, replace(made, outputs=(value,)), own[0], factor)
            self.scaled[out] = value
        elif takers and sum([_size(made.inputs[i]) for i in takers]) < out.size:
            self.scaled[out] = self._times(made, wish.number)
        else:
            self.scaled[out] = self.make(made, ops.multiply, wish.number, out)

    def _times(self, made: Equation, number: float) -> Value:
        """A number times what an equation makes, with those of its inputs that take a factor
        multiplied by it, which some may be already."""
        inputs = [self.read(x) for x in made.inputs]
        for i in self.takers[made]:
            x = made.inputs[i]
            if not isinstance(x, Value):
                inputs[i] = x * number
            elif x in self.scaled:
                inputs[i] = self.scaled[x]
            else:
                inputs[i] = self.make(made, ops.multiply, number, inputs[i])
        return self.make(made, made.op, *inputs, **made.params)

    def _cost(self, made: Equation) -> float:
        """The work of scaling what an equation makes, or what it is linear in, if that is
        smaller."""
        if made.outputs[0] in self.graph.constants or _scaling(made) is not None:
            return 0.0
        takers, size = self.takers.get(made), made.outputs[0].size
        inputs = size if takers is None else sum([_size(made.inputs[i]) for i in takers])
        return _CALL + min(size, inputs)

    def _agreed_upon(self) -> dict[Value, _Wish]:
        """For each value what all that takes it agrees on."""
        squared = set(self.squares.values())
        found: dict[Value, _Wish | None] = {}
        found.update({x: None for x in self.graph.outputs if isinstance(x, Value)})
        for made in reversed(self.graph.equations):
            wish, takers = found.get(made.outputs[0]), self.takers.get(made, ())
            own = _by_number(made)
            for i, x in enumerate(made.inputs):
                if not isinstance(x, Value) or made.outputs[0] in self.squares:
                    continue
                mine = None
                if own is not None and own[0] is x:
                    number = own[1] * (1.0 if wish is None else wish.number)
                    mine = _Wish(number, x.size + _CALL) if _fits(number) else None
                elif i in takers and wish is not None:
                    saves = min(wish.saves, self._cost(made)) / len(takers)
                    mine = _Wish(wish.number, saves)
                if mine is not None and x in squared and not 1e-3 < abs(mine.number) < 1e3:
                    mine = None  # the square's range is half as wide
                found[x] = _common(found[x], mine) if x in found else mine
        return {x: wish for x, wish in found.items() if wish is not None}


def _common(one: _Wish | None, other: _Wish | None) -> _Wish | None:
    """One wish for two, if they are for the same number."""
    if one is None or other is None or one.number != other.number:
        return None
    return _Wish(one.number, one.saves + other.saves)


def _by_number(made: Equation) -> tuple[Value, float] | None:
    """The array and the number, if an equation is their product."""
    own = _scaling(made)
    return None if own is None or not own[1].is_number else (own[0], own[1].number)


def _takers(graph: Graph) -> dict[Equation, Sequence[int]]:
    """For each equation the inputs that are to take a factor of its result: the one, of those it is
    linear in, where the factor can come from with least work; or both terms of a sum, if there it
    is none."""
    works: dict[Atom, float] = dict.fromkeys(graph.constants, 0.0)
    found: dict[Equation, Sequence[int]] = {}
    for made in graph.equations:
        if len(made.outputs) > 1:
            continue
        out, inputs = made.outputs[0], made.inputs
        works[out] = out.size + _CALL if _scaling(made) is None else 0.0
        each = {i: works.get(inputs[i], _size(inputs[i]) + _CALL) for i in _linear(made)}
        if each:
            taker = min(each, key=each.__getitem__)
            found[made] = (taker,)
            works[out] = min(works[out], each[taker])
        elif (
            made.op in _SUMS and is_real(out) and not any([works.get(x, _size(x)) for x in inputs])
        ):
            found[made] = (0, 1)
            works[out] = 0.0
    return found


def _squares(graph: Graph) -> dict[Value, Value]:
    """The squares that are only taken to be multiplied by numbers, with what they are squares of: a
    factor of that may join these numbers."""
    uses, results = graph.uses(), set(graph.outputs)
    found: dict[Value, Value] = {}
    for made in graph.equations:
        out = made.outputs[0]
        if made.op is not ops.square or not is_real(out) or out in results:
            continue
        if all([_by_number(user) is not None for user in uses.get(out, ())]):
            found[out] = made.values[0]
    return found


_SUMS = frozenset({ops.add, ops.subtract})


def _size(x: Atom) -> int:
    return x.size if isinstance(x, Value) else 0
