"""Models: layers put together. By subclassing (define `call`), as a list (Sequential), or in the
functional form: call layers on `Input(...)`, and say where it ends, `Model(inputs, outputs)`.

Knows layers and plans; how models are trained is in `training`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import dtypes, ops, symbolic, tree
from .dtypes import DTypeLike
from .errors import ArgumentError, DtypeError, ShapeError, TracingError, meant
from .layers.base import Layer, layer_names, set_mask
from .plans import Plan, in_order
from .symbolic import Spec
from .tensors import Tensor
from .training import Trainable

__all__ = ["Input", "InputLayer", "Model", "Sequential"]


class InputLayer(Layer):
    """Where data comes into a model. `Input` makes one, and gives its symbolic Tensor."""

    autocast = False

    def __init__(
        self,
        shape: Sequence[int | None] | int,
        batch_size: int | None = None,
        dtype: DTypeLike = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        given = (shape,) if isinstance(shape, (int, np.integer)) else shape
        if not isinstance(given, Sequence):
            raise self._error(f"shape is a tuple, of the sizes of an example, not {shape!r}")
        for size in (batch_size, *given):
            if size is not None and (not isinstance(size, (int, np.integer)) or size < 0):
                raise self._error(f"shape {shape} has {size!r}: sizes are whole numbers, or None")
        self.batch_size, *sizes = symbolic.known((batch_size, *given))
        self.shape = tuple(sizes)
        self._wanted = (batch_size, *self.shape)
        self.input_dtype = dtypes.as_dtype(self.compute_dtype if dtype is None else dtype)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "batch_size": self.batch_size,
            "dtype": self.input_dtype.name,
            "name": self._name,
        }

    def start(self) -> Tensor:
        """Its symbolic Tensor."""
        if self._node is None:
            sizes = symbolic.sized((self.batch_size, *self.shape))
            found = symbolic.called(self, (), {}, Spec(sizes, self.input_dtype))
            self._placed((found,), {}, found)
        found = self.output
        return found

    def fitted(self, x: Any, name: str) -> Tensor:
        """Data for this input, in its dtype. An axis of size 1 at the end may be left out, or be
        one too many. Raises ShapeError for another shape."""
        if not isinstance(x, Tensor):
            raise DtypeError(f"input {name!r}: takes a Tensor or an array, not {type(x).__name__}")
        wanted = self._wanted
        if x.ndim == len(wanted) - 1 and wanted[-1] == 1 and x.ndim:
            x = ops.expand_dims(x, axis=-1)
        elif x.ndim == len(wanted) + 1 and x.shape[-1] == 1:
            x = ops.squeeze(x, axis=-1)
        shape = x.shape
        sizes = zip(wanted, shape, strict=False)
        if len(wanted) != len(shape) or not all([a is None or a == b for a, b in sizes]):
            raise ShapeError(
                f"input {name!r}: a value of shape {shape} does not fit {wanted}, where the "
                "first axis is that of the examples"
            )
        return x if x.dtype is self.input_dtype else ops.astype(x, self.input_dtype)


def Input(
    shape: Sequence[int | None] | int,
    batch_size: int | None = None,
    dtype: DTypeLike = None,
    name: str | None = None,
) -> Tensor:
    """A symbolic Tensor: data that will come, of this shape for each example. None is a size that
    is not known yet, and so is the batch size. Layers, operators and functions take it.

    >>> x = Input((4,))
    >>> x.shape, (x * 2).shape
    ((None, 4), (None, 4))
    """
    return InputLayer(shape, batch_size, dtype, name).start()


class Model(Trainable, Layer):
    """A layer that can be trained, saved and drawn.

    By subclassing, make layers in `__init__` and use them in `call(self, inputs)`. In the
    functional form, `Model(inputs, outputs)` computes what was put together between them: nested
    structures of symbolic Tensors, with branches, shared layers and models inside.

    Raises ArgumentError for outputs that need other inputs, and for two layers of one name.

    >>> import tinygrad_edu as edu
    >>> x = Input((3,))
    >>> model = Model(x, edu.relu(x) + 1)
    >>> model(edu.tensor([[-1.0, 0.0, 2.0]]))
    Tensor([[1., 1., 3.]], dtype=float32)
    """

    _plan: Plan | None = None
    _ends: tuple[Any, Any] | None = None

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        if self._is_plain():  # its configuration says more than these
            self._arguments = (), {}
        if inputs is None and outputs is None:
            return
        if inputs is None or outputs is None:
            raise self._error("a functional model takes both, Model(inputs, outputs)")
        try:
            self._plan = Plan(inputs, outputs)
        except ArgumentError as error:
            raise self._error(str(error)) from None
        self._ends = inputs, outputs
        self.built = True
        self.autocast = False
        self.supports_masking = True

    # The functional form

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """What the model computes: in a functional model, its steps. Define it in subclasses."""
        if self._plan is None:
            raise self._error(
                "computes nothing: define call(self, inputs) in a subclass, or make it of inputs "
                "and outputs, Model(inputs, outputs)",
                NotImplementedError,
            )
        values = self._inputs_of(inputs)
        masks = mask if isinstance(mask, (list, tuple)) else [mask]
        if isinstance(mask, dict):
            masks = [mask.get(key) for key in self._input_keys()]
        for x, each in zip(values, masks, strict=False):
            if each is not None:
                set_mask(x, each)
        return self._plan.run(values)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: the layers inside have left masks where there are any."""
        return None if self._plan is not None else super().compute_mask(inputs, previous_mask)

    def _inputs_of(self, given: Any) -> list[Tensor]:
        """What is given as the inputs of the plan, in their order, found by name in a dict."""
        assert self._plan is not None
        names, starts = self._plan.input_names, self._plan.starts
        if isinstance(given, dict):
            wanted = self._input_keys()
            missing = [key for key in wanted if key not in given]
            unknown = [key for key in given if key not in wanted]
            if missing or unknown:
                what = f"without {missing}" if missing else f"with {unknown}"
                raise self._error(f"is called {what}; its inputs are {wanted}")
            given = {key: given[key] for key in wanted}
        leaves = tree.leaves(given)
        if len(leaves) != len(starts):
            raise self._error(f"takes {len(starts)} inputs, {names}, and got {len(leaves)}")
        rows = zip(starts, leaves, names, strict=True)
        return [self._fitted(start, x, name) for start, x, name in rows]

    def _fitted(self, start: InputLayer, x: Any, name: str) -> Tensor:
        try:
            return start.fitted(x, name)
        except (ShapeError, DtypeError) as error:
            raise self._error(str(error), type(error)) from None

    def _input_keys(self) -> list[str]:
        """What inputs are called in a dict of them, in their order."""
        assert self._plan is not None
        inputs = self._plan.inputs
        return sorted(inputs) if isinstance(inputs, dict) else self._plan.input_names

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs of a functional model, or a Sequential that knows its input."""
        return in_order(self.input)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic outputs; with `inputs` and a layer's `output`, another model is made."""
        return in_order(self.output)

    def _place(self) -> tuple[Any, Any]:
        return super()._place() if self._ends is None else self._ends

    @property
    def input_names(self) -> list[str]:
        """The names of a functional model's inputs."""
        return [] if self._plan is None else self._plan.input_names

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give a functional model's outputs."""
        return [] if self._plan is None else self._plan.output_names

    @property
    def input_shape(self) -> Any:
        """The shape of the input, or a list of those of several."""
        return _shapes(self.inputs)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, or a list of those of several."""
        return _shapes(self.outputs)

    @property
    def fixed_batch_size(self) -> int | None:
        """The number of examples that its inputs say a batch has; None if any will do."""
        sizes = [] if self._ends is None else [x.shape[:1] for x in tree.leaves(self._ends[0])]
        return next((n for size in sizes for n in symbolic.known(size) if n is not None), None)

    # Layers

    def _members(self) -> dict[str, Layer]:
        """The layers that have names of their own, apart from attributes."""
        return {} if self._plan is None else self._plan.layers

    def _parts(self) -> Iterator[tuple[str, Any]]:
        members = self._members()
        yield from members.items()
        known = set(members.values())
        for name, x in super()._parts():
            if not isinstance(x, Layer) or (x not in known and not isinstance(x, InputLayer)):
                yield name, x

    @property
    def layers(self) -> list[Layer]:
        """The layers right below."""
        return self._layers()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer right below, by its name in this model or by its place in `layers`.

        Raises ArgumentError for one that is not there.
        """
        if (name is None) == (index is None):
            raise self._error("get_layer takes a name, or an index")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise self._error(f"get_layer: no layer {index} among {len(self.layers)}")
            return self.layers[index]
        names = {part: x for x, part in layer_names(self._parts()).items()}
        if name not in names:
            raise self._error(f"get_layer: no layer {name!r}{meant(name, names)}")
        return names[str(name)]

    # Building

    def build(self, input_shape: Any) -> None:
        """Make all weights for inputs of this shape (or structure of shapes), by running `call`
        without computing. Calling the model on data does it as well."""
        if self.built:
            return
        self.built = True
        self._remember(input_shape)
        try:
            self.compute_output_shape(input_shape)
        except BaseException:
            self.built = False
            raise

    def _build_for(self, shapes: dict[str, Any]) -> None:
        """Layers of a subclass are built when they are called; so there is nothing to do first,
        unless it says what."""
        if type(self).build is not Model.build:
            super()._build_for(shapes)
        self._built_for = shapes
        self.built = True

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for what `get_build_config` gave."""
        if not self.built:
            self.build(next(iter(config.values())))

    def _waits(self) -> bool:
        return False  # but its layers may

    # Looking at it

    def summary(self, *, expand_nested: bool = False, print_fn: Any = None) -> None:
        """Print a table of the layers: shapes of what they return, parameters, what they are
        connected to. `print_fn` gets the lines instead, one by one."""
        from . import summaries

        if print_fn is None:
            summaries.show(self, expand_nested)
            return
        for line in summaries.text(self, expand_nested).splitlines():
            print_fn(line)

    def summary_text(self, *, expand_nested: bool = False) -> str:
        """What `summary` prints."""
        from . import summaries

        return summaries.text(self, expand_nested)

    def to_dot(self) -> str:
        """The drawing of the model in the language of Graphviz."""
        from . import summaries

        return summaries.dot(self)

    def draw(self, path: Any, *, show_shapes: bool = True) -> None:
        """Draw how the layers are connected, into a file: .svg, .png or .pdf. A model inside is one
        box; it draws itself.

        Raises ExtraMissingError where matplotlib is missing, the extra `plot`.
        """
        from . import drawings, summaries

        nodes = summaries.nodes(self, show_shapes)
        if not nodes:
            raise self._error("draw: it has no layers")
        drawings.draw(nodes, path)

    # Saving

    def save(self, path: Any) -> None:
        """Write the whole model into one file; see `edu.saving`."""
        from . import saving

        saving.save_model(self, path)

    def save_weights(self, path: Any) -> None:
        """Write the weights into a file; see `edu.saving`."""
        from . import saving

        saving.save_weights(self, path)

    def load_weights(self, path: Any) -> None:
        """Read the weights from a file; see `edu.saving`."""
        from . import saving

        saving.load_weights(self, path)

    def __getstate__(self) -> dict[str, Any]:
        # Symbolic Tensors are not copied: they are made again.
        return {name: x for name, x in super().__getstate__().items() if name != "_ends"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._restore()

    def _restore(self) -> None:
        """Make symbolic Tensors again in a copy."""
        if self._plan is not None:
            self._ends = self._plan.symbols()

    def _is_plain(self) -> bool:
        """Whether the arguments of `__init__` are parts of the model."""
        return type(self).__init__ in (Model.__init__, Sequential.__init__)

    def get_config(self) -> dict[str, Any]:
        """What makes another model like this, without weights."""
        if self._plan is None or not self._is_plain():
            return super().get_config()
        own = {"name": self._name, "trainable": self._trainable, "dtype": self.dtype_policy.name}
        return {**own, **self._plan.config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """A model made of what `get_config` gave, with layers and weights of its own."""
        if "calls" not in config:
            return super().from_config(config)
        fresh = {
            **config,
            "layers": [type(x).from_config(x.get_config()) for x in config["layers"]],
        }
        own = {key: config[key] for key in ("name", "trainable", "dtype")}
        return cls(*Plan.ends(fresh), **own)


def _shapes(tensors: Sequence[Tensor]) -> Any:
    found = [symbolic.known(x.shape) for x in tensors]
    return found[0] if len(found) == 1 else found


class Sequential(Model):
    """Layers one after another.

    Shapes come from an `Input` at its beginning, or from the first data. Raises ArgumentError for
    what is no layer, and for two layers of one name.

    >>> from tinygrad_edu import layers
    >>> model = Sequential([Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)])
    >>> model.output_shape, model.count_params()
    ((None, 2), 23)
    >>> list(model.weight_paths())
    ['dense/kernel', 'dense/bias', 'dense_1/kernel', 'dense_1/bias']
    """

    autocast = False
    supports_masking = True

    def __init__(
        self,
        layers: Sequence[Any] | None = None,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self._stack: list[Layer] = []
        self._input: InputLayer | None = None
        self._input_given = False
        self._results: list[Any] = []  # the Spec that each layer gives, where the input is known
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Put a layer at the end; at the beginning it may be an `Input`."""
        if symbolic.is_symbolic(layer):
            layer = symbolic.symbol(layer).step.operation
        if isinstance(layer, InputLayer):
            if self._stack or self._input is not None:
                raise self._error("add: an Input comes first, and there is something already")
            self._begin(layer)
            self._input_given = True
            return
        self._check_layer(layer)
        self._stack.append(layer)
        if self._ends is not None:
            try:
                self._reach(layer)
            except BaseException:
                self._stack.pop()
                raise
        self.built = self._ends is not None
        self._members()  # which names it
        self._forget_programs()

    def _check_layer(self, layer: Any) -> None:
        if not isinstance(layer, Layer):
            function = getattr(layer, "__name__", None) or getattr(layer, "name", "function")
            hint = f": use edu.layers.Lambda({function})" if callable(layer) else ""
            raise self._error(f"add: {layer!r} is no layer{hint}")
        if any([each is self for each in layer._below()]):
            raise self._error("add: a model cannot be a part of itself")
        if layer in self._stack:
            raise self._error(
                f"add: the layer {layer.name!r} is there already: a layer that is used twice needs "
                "the functional form, Model(inputs, outputs)"
            )
        if layer._name and layer._name in [each._name for each in self._stack]:
            raise self._error(
                f"add: it has a layer {layer._name!r} already: give them different names, or none"
            )

    def pop(self) -> Layer:
        """Take the last layer away; returns it."""
        if not self._stack:
            raise self._error("pop: it has no layers")
        del self._results[len(self._stack) - 1 :]
        layer = self._stack.pop()
        self._restore()
        self._forget_programs()
        return layer

    def _begin(self, start: InputLayer) -> None:
        self._input, self._results = start, []
        self._ends = start.start(), start.start()

    def _reach(self, layer: Layer) -> None:
        """Go on with a layer, symbolically."""
        assert self._ends is not None
        found = layer(self._ends[1])
        self._results.append(tree.map(lambda x: Spec(x.shape, x.dtype), found))
        self._ends = self._ends[0], found

    def _restore(self) -> None:
        if self._input is None:
            return
        x: Any = self._input.start()
        for layer, result in zip(self._stack, self._results, strict=False):
            found = symbolic.called(layer, (x,), {}, result)
            layer._placed((x,), {}, found)
            x = found
        self._ends = self._input.start(), x

    def build(self, input_shape: Any) -> None:
        """Make all weights, for inputs of this shape; the batch size may be None."""
        self._build_from(InputLayer(input_shape[1:], input_shape[0]))

    def _build_from(self, start: InputLayer) -> None:
        self._begin(start)
        try:
            for layer in self._stack:
                self._reach(layer)
        except BaseException:
            self._input = self._ends = None
            self._results = []
            raise
        self.built = True

    def _build(self, how: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Find all shapes from the first inputs, if they are one Tensor of a shape that layers tell
        theirs from; else layers are built one by one, as they are called."""
        x = args[0] if args else kwargs.get("inputs")
        if self._ends is None and isinstance(x, Tensor) and x.ndim:
            shape = symbolic.shape_for_build(x)
            try:
                with symbolic.at_once():
                    self._build_from(InputLayer(shape[1:], dtype=x.dtype))
            except TracingError:
                pass
        self.built = True

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """What the last layer gives."""
        x = inputs
        if self._input_given and self._input is not None:
            x = self._fitted(self._input, x, self._input.name)
        if mask is not None:
            set_mask(x, mask)
        for layer in self._stack:
            x = layer(x)
        return x

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None

    def _members(self) -> dict[str, Layer]:
        taken = {layer._name for layer in self._stack if layer._name}
        return {layer._named(taken): layer for layer in self._stack}

    def get_config(self) -> dict[str, Any]:
        if not self._is_plain():
            return super().get_config()
        own = {"name": self._name, "trainable": self._trainable, "dtype": self.dtype_policy.name}
        start = [] if self._input is None else [self._input]
        return {**own, "layers": [*start, *self._stack]}
