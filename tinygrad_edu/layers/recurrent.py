"""Layers that go along the steps of a sequence and carry a state: SimpleRNN, LSTM, GRU, their
cells, a loop for cells of one's own, and wrappers for both directions and for single steps.

Names, arguments, weights and formulas are Keras's. The part of a step that needs no state, the
product with the inputs, is computed for all steps at once; the rest is one loop (`ops.scan`), which
a compiled program holds once, whatever the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import ops, registry, symbolic, tree
from ..arguments import fraction, whole
from ..conversion import as_tensor
from ..errors import ArgumentError, ShapeError, undefined
from ..tensors import Operators, Tensor
from ..variable import Variable
from . import activations, arguments
from .base import InputSpec, Layer, Shape
from .noise import Dropout
from .normalization import BatchNormalization

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
]

States = Any
"""What a cell carries from step to step: a list of Tensors (batch, size), or of such lists."""

Step = Callable[[Tensor, States], tuple[Tensor, States]]
"""A row and the states before to the output and the states after."""


# Cells: one step


class _Cell(Layer):
    """Base of the cells that are here. States `gates`, how many products of `units` columns a step
    takes, and `step_with`.

    `dropout` and `recurrent_dropout` are the parts of the inputs, and of the state that goes into
    the products, that training leaves out: the same for all steps of a sequence.
    """

    gates = 1
    state_count = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        name = type(self).__name__
        self.units = whole(name, "units", units, 1)
        self.activation = arguments.found(name, "activation", activations.get, activation)
        self.use_bias = use_bias
        self._kernel = arguments.weight(name, "kernel", locals())
        self._recurrent = arguments.weight(name, "recurrent", locals())
        self._bias = arguments.weight(name, "bias", locals())
        self.bias: Variable | None = None
        self.dropout = fraction(name, "dropout", dropout)
        self.recurrent_dropout = fraction(name, "recurrent_dropout", recurrent_dropout)
        self._noise = Dropout(self.dropout, seed=seed)
        self.state_size = [self.units] * self.state_count
        self.output_size = self.units

    def build(self, input_shape: Shape) -> None:
        features = arguments.known_size(type(self).__name__, input_shape, -1)
        columns = self.gates * self.units
        self.kernel = self.add_weight(name="kernel", shape=(features, columns), **self._kernel)
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, columns), **self._recurrent
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=self.bias_shape, **self._bias)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def call(
        self, inputs: Tensor, states: States, training: bool | None = None
    ) -> tuple[Tensor, States]:
        project, step = self.parts(inputs.shape[0], training)
        return step(project(inputs), list(tree.leaves(states)))

    def parts(self, batch: int, training: bool | None) -> tuple[Callable[[Tensor], Tensor], Step]:
        """A step in two: what is done with the inputs (..., batch, features) of as many steps as
        there are, and what is done step by step with a row of that. Both use weights as they are
        now, and the same dropout."""
        kernel, recurrent, bias = self.kernel.value, self.recurrent_kernel.value, self._added()
        of_inputs = self._kept(self.dropout, (batch, kernel.shape[0]), training)
        of_state = self._kept(self.recurrent_dropout, (batch, self.units), training)

        def project(inputs: Tensor) -> Tensor:
            found = ops.matmul(inputs if of_inputs is None else inputs * of_inputs, kernel)
            return found if bias is None else found + bias

        return project, self.step_with(recurrent, of_state)

    def step_with(self, recurrent: Tensor, kept: Tensor | None) -> Step:
        """The second of `parts`, with this recurrent kernel; `kept` has the state's dropout."""
        raise undefined(self, "step_with(self, recurrent, kept)")

    def _added(self) -> Tensor | None:
        """What is added to the product with the inputs."""
        return None if self.bias is None else self.bias.value

    def _kept(self, rate: float, shape: tuple[int, ...], training: bool | None) -> Tensor | None:
        """A factor for each element that is 0 where it is left out."""
        if not training or not rate:
            return None
        return ops.dropout(ops.ones(shape, dtype=self.compute_dtype), rate, key=self._noise.key())

    def get_initial_state(self, batch_size: int) -> States:
        """The states before the first step: zeros."""
        return _zeros(self.state_size, batch_size, self.compute_dtype)


def _zeros(sizes: Any, batch: int, dtype: Any) -> States:
    """Zeros (batch, size) for each of a structure of sizes."""
    return tree.map(lambda size: ops.zeros((batch, size), dtype=dtype), sizes)


def _times(state: Tensor, kept: Tensor | None) -> Tensor:
    return state if kept is None else state * kept


class SimpleRNNCell(_Cell):
    """One step of SimpleRNN: activation(inputs @ kernel + state @ recurrent_kernel + bias).

    >>> cell = SimpleRNNCell(2)
    >>> output, states = cell(ops.ones((1, 3)), [ops.zeros((1, 2))])
    >>> output.shape, len(states)
    ((1, 2), 1)
    """

    def step_with(self, recurrent: Tensor, kept: Tensor | None) -> Step:
        def step(row: Tensor, states: States) -> tuple[Tensor, States]:
            output = self.activation(row + ops.matmul(_times(states[0], kept), recurrent))
            return output, [output]

        return step


class LSTMCell(_Cell):
    """One step of LSTM. The states are the output h and the memory c; the columns of the kernels
    are the gates i, f, c, o:

        c = sigmoid(f) * c + sigmoid(i) * tanh(c'),   h = sigmoid(o) * tanh(c)

    With `unit_forget_bias` the bias of f starts at 1.

    Source: S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997).
    """

    gates = 4
    state_count = 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        given = registry.arguments(locals(), "recurrent_activation", "unit_forget_bias")
        super().__init__(**given)
        self.recurrent_activation = _gate(self, recurrent_activation)
        if unit_forget_bias:
            self._bias["initializer"] = partial(_remembering, self._bias["initializer"])

    def step_with(self, recurrent: Tensor, kept: Tensor | None) -> Step:
        gate, activation = self.recurrent_activation, self.activation

        def step(row: Tensor, states: States) -> tuple[Tensor, States]:
            h, c = states
            i, f, new, o = ops.split(row + ops.matmul(_times(h, kept), recurrent), 4, axis=-1)
            c = gate(f) * c + gate(i) * activation(new)
            h = gate(o) * activation(c)
            return h, [h, c]

        return step


def _remembering(initializer: Any, shape: Sequence[int], dtype: Any) -> Tensor:
    """The first bias of an LSTM, with 1 for the gate f, which then lets the memory through."""
    units = shape[0] // 4
    parts = [initializer((units,), dtype), ops.ones(units, dtype=dtype)]
    return ops.concat([*parts, initializer((2 * units,), dtype)])


class GRUCell(_Cell):
    """One step of GRU. The columns of the kernels are the gates z, r and the candidate h':

        h = z * h + (1 - z) * tanh(h')

    With `reset_after`, r multiplies the product of the state, which has a bias of its own (bias is
    (2, 3 * units)); without, the state before the product.

    Source: K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical
    machine translation, arXiv:1406.1078.
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        given = registry.arguments(locals(), "recurrent_activation", "reset_after")
        super().__init__(**given)
        self.recurrent_activation = _gate(self, recurrent_activation)
        self.reset_after = reset_after

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _added(self) -> Tensor | None:
        bias = super()._added()
        return bias[0] if bias is not None and self.reset_after else bias

    def step_with(self, recurrent: Tensor, kept: Tensor | None) -> Step:
        gate, activation, ends = self.recurrent_activation, self.activation, [2 * self.units]
        bias = self.bias.value[1] if self.bias is not None and self.reset_after else None

        def after(row: Tensor, states: States) -> tuple[Tensor, States]:
            h = states[0]
            product = ops.matmul(_times(h, kept), recurrent)
            of_row = ops.split(row, ends, axis=-1)
            of_state = ops.split(product if bias is None else product + bias, ends, axis=-1)
            z, r = ops.split(gate(of_row[0] + of_state[0]), 2, axis=-1)
            return mixed(z, h, of_row[1] + r * of_state[1])

        of_gates, of_new = ops.split(recurrent, ends, axis=-1)

        def before(row: Tensor, states: States) -> tuple[Tensor, States]:
            h = states[0]
            for_gates, for_new = ops.split(row, ends, axis=-1)
            seen = _times(h, kept)
            z, r = ops.split(gate(for_gates + ops.matmul(seen, of_gates)), 2, axis=-1)
            return mixed(z, h, for_new + ops.matmul(r * seen, of_new))

        def mixed(z: Tensor, h: Tensor, new: Tensor) -> tuple[Tensor, States]:
            candidate = activation(new)
            h = candidate + z * (h - candidate)
            return h, [h]

        return after if self.reset_after else before


def _gate(cell: _Cell, activation: Any) -> Callable[[Any], Any]:
    name = type(cell).__name__
    found: Callable[[Any], Any] = arguments.found(
        name, "recurrent_activation", activations.get, activation
    )
    return found


class StackedRNNCells(Layer):
    """Cells on top of each other, as one cell: each is given the output of the one before. Its
    states are a list of those of each.

    >>> StackedRNNCells([LSTMCell(2), GRUCell(3)]).state_size
    [[2, 2], [3]]
    """

    def __init__(self, cells: Sequence[Layer], **settings: Any) -> None:
        super().__init__(**settings)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise ArgumentError(f"StackedRNNCells: cells is a list of cells, not {cells!r}")
        self.cells = [_as_cell("StackedRNNCells", cell) for cell in cells]
        self.state_size = [_sizes(cell) for cell in self.cells]
        self.output_size = _output_size(self.cells[-1])

    def build(self, input_shape: Shape) -> None:
        for cell in self.cells:
            _build(cell, input_shape)
            input_shape = (input_shape[0], _output_size(cell))

    def call(
        self, inputs: Tensor, states: States, training: bool | None = None
    ) -> tuple[Tensor, States]:
        project, step = self.parts(inputs.shape[0], training)
        return step(project(inputs), states)

    def parts(self, batch: int, training: bool | None) -> tuple[Callable[[Tensor], Tensor], Step]:
        """See `_Cell.parts`: only the first cell's inputs are known before the loop."""
        (project, first), *rest = [_parts(cell, batch, training) for cell in self.cells]

        def step(row: Tensor, states: States) -> tuple[Tensor, States]:
            output, after = first(row, states[0])
            found = [after]
            for (onto, then), held in zip(rest, states[1:], strict=True):
                output, after = then(onto(output), held)
                found.append(after)
            return output, found

        return project, step

    def get_initial_state(self, batch_size: int) -> States:
        """The states before the first step, of each cell."""
        return [_initial(cell, batch_size, self.compute_dtype) for cell in self.cells]


# What is asked of a cell, also of one that somebody else wrote


def _as_cell(owner: str, cell: Any) -> Layer:
    if isinstance(cell, Layer) and hasattr(cell, "state_size"):
        return cell
    raise ArgumentError(
        f"{owner}: a cell is a layer with `state_size`, whose `call(inputs, states)` gives an "
        f"output and a list of states, not {cell!r}"
    )


def _sizes(cell: Any) -> Any:
    """The sizes of a cell's states, in a list also where there is one."""
    size = cell.state_size
    return [size] if isinstance(size, int) else list(size)


def _output_size(cell: Any) -> int:
    size: int = getattr(cell, "output_size", None) or tree.leaves(_sizes(cell))[0]
    return size


def _initial(cell: Any, batch: int, dtype: Any) -> States:
    if hasattr(cell, "get_initial_state"):
        found = cell.get_initial_state(batch_size=batch)
        return found if isinstance(found, (list, tuple)) else [found]
    return _zeros(_sizes(cell), batch, dtype)


def _parts(cell: Any, batch: int, training: bool | None) -> tuple[Callable[[Any], Any], Step]:
    """A cell of one's own is called with the inputs as they are."""
    if hasattr(cell, "parts"):
        found: tuple[Callable[[Any], Any], Step] = cell.parts(batch, training)
        return found
    return (lambda inputs: inputs), cell


def _build(layer: Layer, input_shape: Shape) -> None:
    if not layer.built:
        layer.build(input_shape)


# Layers: all steps


class RNN(Layer):
    """A cell, step by step along (batch, steps, features), each with the states of the last one.

    Gives the last output (batch, size); with `return_sequences` all of them, (batch, steps, size);
    with `return_state` a tuple of that and the last states. Calls take `initial_state` (zeros
    without), a `mask` (batch, steps), true for the steps that count, and `training`: where a step
    does not count, states and output stay as they were (the output is 0 before the first that
    does; with `zero_output_for_mask` in all that do not).

    `go_backwards`: from the last step to the first, which is also the order of the outputs.
    `stateful`: each batch goes on from the states of the one before, until `reset_state()`.
    `unroll`: a compiled program holds every step by itself.

    A cell is a layer with `state_size` (an integer, or a list of them), perhaps `output_size` and
    `get_initial_state(batch_size)`, whose `call(inputs, states)` gives an output (batch, size) and
    a list of states. A list of cells is stacked.

    Raises ArgumentError for a cell that is none, and for another number of initial states;
    ShapeError for inputs, initial states and masks of shapes that do not fit.

    >>> outputs, h, c = RNN(LSTMCell(4), return_sequences=True, return_state=True)(
    ...     ops.ones((2, 5, 3))
    ... )
    >>> outputs.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        stacked = isinstance(cell, (list, tuple))
        self.cell: Any = StackedRNNCells(cell) if stacked else _as_cell(type(self).__name__, cell)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.input_spec = InputSpec(ndim=3)
        self._last = _Last()

    def build(self, input_shape: Shape) -> None:
        _build(self.cell, (input_shape[0], *input_shape[2:]))
        self.input_spec = InputSpec(ndim=3, axes={-1: input_shape[-1]})

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        batch, steps = sequences.shape[:2]
        if not steps:
            raise self._error(f"inputs of shape {sequences.shape} have no steps", ShapeError)
        counts = None if mask is None else _by_step(_checked_mask(self, mask, (batch, steps)))
        start = self._start(initial_state, batch)
        sequences = _by_step(sequences)
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=0)
            counts = None if counts is None else ops.flip(counts, axis=0)
        project, step = _parts(self.cell, batch, training)
        structure = tree.flatten(start)[1]

        def turn(carry: Any, row: Any) -> tuple[Any, Tensor | None]:
            states, before = carry
            output, after = step(row[0], states)
            after = structure.unflatten(tree.leaves(after))
            if row[1] is not None:
                output = _where(row[1], output, 0.0 if self.zero_output_for_mask else before)
                after = tree.map(lambda new, old: _where(row[1], new, old), after, states)
            return (after, output), output if self.return_sequences else None

        nothing = ops.zeros((batch, _output_size(self.cell)), dtype=self.compute_dtype)
        loop = _unrolled if self.unroll else ops.scan
        (states, output), outputs = loop(turn, (start, nothing), (project(sequences), counts))
        if self.stateful and not symbolic.is_evaluating():
            self._last.keep(states)
        found = ops.moveaxis(outputs, 0, 1) if self.return_sequences else output
        return (found, *states) if self.return_state else found

    def _start(self, given: Any, batch: int) -> States:
        """The states before the first step."""
        start = _initial(self.cell, batch, self.compute_dtype)
        if self.stateful and not symbolic.is_evaluating():
            start = self._last.of(self, start)
        if given is None:
            return start
        leaves, structure = tree.flatten(start)
        states = tree.leaves(given)
        if len(states) != len(leaves):
            raise self._error(f"initial_state has {len(states)} Tensors, for {len(leaves)} states")
        found = [ops.astype(as_tensor(x), self.compute_dtype) for x in states]
        shapes = [x.shape for x in found]
        if shapes != [x.shape for x in leaves]:
            expected = [x.shape for x in leaves]
            raise self._error(f"initial_state has shapes {shapes}, not {expected}", ShapeError)
        return structure.unflatten(found)

    def reset_state(self) -> None:
        """Have a `stateful` layer start from zeros again."""
        self._last.reset()

    reset_states = reset_state

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        mask = previous_mask if self.return_sequences else None
        states = len(_sizes(self.cell)) if self.return_state else 0
        return (mask, *(None,) * states) if states else mask


class _Last:
    """The states that a stateful layer goes on from: state, but none of the weights."""

    def __init__(self) -> None:
        self.variables: list[Variable] = []

    def of(self, layer: Layer, start: States) -> States:
        """They; at first zeros, as `start`."""
        leaves, structure = tree.flatten(start)
        if not self.variables:
            with symbolic.at_once():
                zeros = [ops.zeros(x.shape, dtype=x.dtype) for x in leaves]
                self.variables = [Variable(x, trainable=False) for x in zeros]
        held = [v.value for v in self.variables]
        if [x.shape for x in held] != [x.shape for x in leaves]:
            raise layer._error(
                f"stateful, with the states of a batch of {held[0].shape[0]}; this one has "
                f"{leaves[0].shape[0]}",
                ShapeError,
            )
        return structure.unflatten(held)

    def begin(self, arrays: Sequence[Any]) -> None:
        """Have states like these, for what is to be assigned to them, if there are none yet."""
        if not self.variables:
            zeros = [ops.zeros(x.shape, dtype=x.dtype) for x in arrays]
            self.variables = [Variable(x, trainable=False) for x in zeros]

    def keep(self, states: States) -> None:
        for variable, state in zip(self.variables, tree.leaves(states), strict=True):
            variable.assign(state)

    def reset(self) -> None:
        for variable in self.variables:
            variable.assign(ops.zeros(variable.shape, dtype=variable.dtype))


def _by_step(x: Tensor) -> Tensor:
    """(batch, steps, ...) as (steps, batch, ...), and back."""
    return ops.moveaxis(x, 0, 1)


def _checked_mask(layer: Layer, mask: Any, shape: tuple[int, ...]) -> Tensor:
    found = as_tensor(mask)
    if found.shape != shape:
        raise layer._error(f"mask has shape (batch, steps), {shape}, not {found.shape}", ShapeError)
    return ops.astype(found, "bool")


def _where(counts: Tensor, new: Tensor, old: Any) -> Tensor:
    """For each example of a batch the new one or the old."""
    return ops.where(ops.reshape(counts, (-1, *(1,) * (new.ndim - 1))), new, old)


def _unrolled(turn: Callable[[Any, Any], tuple[Any, Any]], carry: Any, rows: Any) -> Any:
    """`ops.scan`, with every step by itself also in a program."""
    kept = []
    for i in range(rows[0].shape[0]):
        carry, output = turn(carry, tree.map(lambda x: x[i], rows))  # noqa: B023  called here
        kept.append(output)
    return carry, None if kept[0] is None else ops.stack(kept)


_LOOP = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "activity_regularizer",
    "trainable",
    "name",
)


def _around(cell: type[_Cell], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of RNN for a layer that makes its own cell: `given` has both's, by name."""
    own = {name: given.pop(name) for name in _LOOP if name in given}
    return {"cell": cell(**given), "dtype": given.get("dtype"), **own}


class SimpleRNN(RNN):
    """A state that is the last output: h = activation(x @ kernel + h @ recurrent_kernel + bias).

    From (batch, steps, features) to (batch, units), and more: see RNN for the arguments of calls
    and what it gives. Weights: kernel (features, units), recurrent_kernel (units, units), bias
    (units). `dropout` leaves out parts of the inputs, `recurrent_dropout` of the state. Raises
    ArgumentError for `units` that is no positive integer, rates outside [0, 1) and unknown names.

    >>> SimpleRNN(4)(ops.ones((2, 5, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**_around(SimpleRNNCell, registry.arguments(locals())))


class LSTM(RNN):
    """Long short-term memory: see LSTMCell for the formulas, RNN for calls and what they give.

    From (batch, steps, features) to (batch, units); with `return_state` also h and c. Weights:
    kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units), with the
    columns of the gates i, f, c, o. Raises as SimpleRNN does.

    >>> layer = LSTM(4, return_state=True)
    >>> [x.shape for x in layer(ops.ones((2, 5, 3)))]
    [(2, 4), (2, 4), (2, 4)]
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**_around(LSTMCell, registry.arguments(locals())))


class GRU(RNN):
    """Gated recurrent units: see GRUCell for the formulas, RNN for calls and what they give.

    From (batch, steps, features) to (batch, units). Weights: kernel (features, 3 * units),
    recurrent_kernel (units, 3 * units), bias (2, 3 * units), or (3 * units) without `reset_after`,
    with the columns of z, r and the candidate. Raises as SimpleRNN does.

    >>> GRU(4, return_sequences=True)(ops.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(**_around(GRUCell, registry.arguments(locals())))


# Wrappers


class Bidirectional(Layer):
    """A recurrent layer and one like it that goes the other way, and their outputs as one.

    `layer` and `backward_layer` are patterns: layers like them are made. `merge_mode` is "concat",
    "sum", "mul" or "ave"; with None the outputs are two. Of `initial_state` the first half is for
    the forward layer. With `return_state` their states follow, forward first.

    Raises ArgumentError for a layer that is not recurrent, an unknown `merge_mode`, and a
    `backward_layer` that goes forwards or returns something else than `layer`.

    >>> Bidirectional(LSTM(4, return_sequences=True))(ops.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        layer: RNN,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: RNN | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(given, RNN) and (name == "layer" or given is not None):
                raise ArgumentError(f"Bidirectional: {name} is a recurrent layer, not {given!r}")
        if merge_mode is not None:
            merge_mode = arguments.one_of(
                "Bidirectional", "merge_mode", merge_mode, ("concat", "sum", "mul", "ave")
            )
        self.merge_mode = merge_mode
        turned = {"go_backwards": not layer.go_backwards} if backward_layer is None else {}
        self.forward_layer: Any = _another("forward", layer)
        self.backward_layer: Any = _another("backward", backward_layer or layer, **turned)
        self._check_backward()
        self._first_weights = weights
        self.input_spec = InputSpec(ndim=3)
        self.supports_masking = True

    def _check_backward(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ArgumentError("Bidirectional: layer and backward_layer have one go_backwards")
        for name in ("return_sequences", "return_state", "stateful"):
            if getattr(forward, name) != getattr(backward, name):
                raise ArgumentError(f"Bidirectional: {name} differs in layer and backward_layer")

    def build(self, input_shape: Shape) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            _build(layer, input_shape)
        if self._first_weights is not None:
            self.set_weights(self._first_weights)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        layers = (self.forward_layer, self.backward_layer)
        starts = _halves(initial_state)
        found = [
            layer(sequences, initial_state=start, mask=mask, training=training)
            for layer, start in zip(layers, starts, strict=True)
        ]
        states: list[Any] = []
        if self.forward_layer.return_state:
            states = [state for _, *held in found for state in held]
            found = [output for output, *_ in found]
        forward, backward = found
        if self.forward_layer.return_sequences:
            backward = ops.flip(backward, axis=1)
        if self.merge_mode is None:
            return (forward, backward, *states)
        merged = _MERGED[self.merge_mode](forward, backward)
        return (merged, *states) if states else merged

    def reset_state(self) -> None:
        """Have `stateful` layers start from zeros again."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        forward = self.forward_layer
        mask = previous_mask if forward.return_sequences else None
        outputs = 1 if self.merge_mode else 2
        states = 2 * len(_sizes(forward.cell)) if forward.return_state else 0
        return mask if outputs + states == 1 else ((mask,) * outputs + (None,) * states)


_MERGED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda x, y: ops.concat([x, y], axis=-1),
    "sum": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "ave": lambda x, y: (x + y) / 2,
}


def _halves(initial_state: Any) -> tuple[Any, Any]:
    if initial_state is None:
        return None, None
    states = list(initial_state)
    if len(states) % 2:
        raise ArgumentError(
            f"Bidirectional: initial_state has {len(states)} Tensors: it takes as many for the "
            "backward layer as for the forward one"
        )
    return states[: len(states) // 2], states[len(states) // 2 :]


def _another(direction: str, layer: RNN, **changes: Any) -> Any:
    """A layer like this one, with other weights. Outputs that do not count are 0, for those of the
    other direction would be from other steps."""
    changes |= {"name": f"{direction}_{layer.name}"}
    changes |= {"zero_output_for_mask": layer.return_sequences or layer.zero_output_for_mask}
    return type(layer).from_config({**layer.get_config(), **changes})


class TimeDistributed(Layer):
    """A layer at each step by itself: (batch, steps, size, ...) to (batch, steps, ...), with one
    set of weights. The steps are examples of one large batch for it; but in training a
    BatchNormalization sees them one by one, as in Keras, each with statistics of its own.

    A `mask` (batch, steps, ...) is handed on if it says something about what is in a step.

    >>> from tinygrad_edu.layers import Dense
    >>> TimeDistributed(Dense(4))(ops.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    def __init__(self, layer: Layer, **settings: Any) -> None:
        super().__init__(**settings)
        if not isinstance(layer, Layer):
            raise ArgumentError(f"TimeDistributed: layer is a layer, not {layer!r}")
        self.layer = layer
        self.supports_masking = True

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        batch, steps = _steps(inputs)
        inner = None if mask is None or mask.ndim < 3 else mask
        if training and any([isinstance(x, BatchNormalization) for x in self.layer._below()]):
            parts = [lambda x, i=i: x[:, i] for i in range(steps)]
            found = [self._of(part, inputs, inner, training) for part in parts]
            return tree.map(lambda *xs: ops.stack(xs, axis=1), *found)
        merged = self._of(_merged, inputs, inner, training)
        return tree.map(lambda x: ops.reshape(x, (batch, steps, *x.shape[1:])), merged)

    def _of(self, part: Callable[[Any], Tensor], inputs: Any, mask: Any, training: Any) -> Any:
        """What the layer makes of a part of the inputs."""
        masked = {} if mask is None else {"mask": part(mask)}
        return self.layer(tree.map(part, inputs), training=training, **masked)


def _steps(inputs: Any) -> tuple[int, int]:
    shapes = [x.shape for x in tree.leaves(inputs)]
    if any(len(shape) < 3 or shape[:2] != shapes[0][:2] for shape in shapes):
        raise ShapeError(
            "TimeDistributed: inputs have shape (batch, steps, size, ...), not "
            + ", ".join(map(str, shapes))
        )
    batch, steps = shapes[0][:2]
    return batch, steps


def _merged(x: Operators) -> Tensor:
    return ops.reshape(x, (-1, *x.shape[2:]))
