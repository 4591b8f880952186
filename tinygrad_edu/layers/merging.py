"""Layers that make one Tensor of several. Names, arguments and formulas are Keras's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..arguments import normalize_axis
from ..errors import ArgumentError, ShapeError
from ..tensors import Tensor
from .base import Layer
from .normalization import unit

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
]


class _Merging(Layer):
    """Base of layers that take a list of Tensors."""

    supports_masking = True
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = None

    def _several(self, inputs: Any) -> Sequence[Tensor]:
        """The inputs, if they are a list of as many as the layer takes."""
        name, least, most = type(self).__name__, self.least, self.most
        if not isinstance(inputs, (list, tuple)):
            raise ArgumentError(f"{name}: takes a list of Tensors, and inputs are one")
        if len(inputs) < least or (most is not None and len(inputs) > most):
            wanted = f"{least}" if least == most else f"{least} or more"
            raise ArgumentError(f"{name}: takes a list of {wanted} inputs, not of {len(inputs)}")
        return inputs


class _Elementwise(_Merging):
    """Base of what combines elements at the same place. States `combine`, of two.

    Inputs broadcast; one with fewer axes than another gets axes of size 1 after the first.
    """

    combine: ClassVar[Any]

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return reduce(type(self).combine, self._alike(inputs))

    def _alike(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The inputs with as many axes each."""
        inputs = self._several(inputs)
        ndim = max([x.ndim for x in inputs])
        alike = [ops.expand_dims(x, list(range(1, 1 + ndim - x.ndim))) for x in inputs]
        try:
            np.broadcast_shapes(*[x.shape for x in alike])
        except ValueError:
            raise ShapeError(
                f"{type(self).__name__}: inputs of shapes {[x.shape for x in inputs]} do not "
                "broadcast"
            ) from None
        return alike

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Shown is what any of the masks shows; all, unless each of the inputs has a mask."""
        if previous_mask is None or any(mask is None for mask in previous_mask):
            return None
        return reduce(ops.logical_or, previous_mask)


class _Shown(_Elementwise):
    """Base of those in which an input takes no part where its mask hides it."""

    def call(self, inputs: Sequence[Tensor], mask: Any = None) -> Tensor:
        if mask is None:
            return super().call(inputs)
        masks = [_mask_like(x, shown) for x, shown in zip(inputs, mask, strict=True)]
        rows = zip(self._alike(inputs), self._alike(masks), strict=True)
        found, shown = next(rows)
        for x, also in rows:
            both = type(self).combine(found, x)
            found = ops.where(shown & also, both, ops.where(also, x, found))
            shown = shown | also
        return found


def _mask_like(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mask of an input, with the input's axes; one that has none shows everything."""
    if mask is None:
        return ops.ones((1,) * x.ndim, dtype="bool")
    return ops.expand_dims(mask, list(range(mask.ndim, x.ndim)))


class Add(_Elementwise):
    """The sum of the inputs.

    >>> Add()([np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]])])
    Tensor([[11., 22.]], dtype=float32)
    """

    combine = ops.add


class Subtract(_Elementwise):
    """The first input minus the second."""

    least = most = 2
    combine = ops.subtract


class Multiply(_Shown):
    """The product of the inputs; of those that masks show, and 0 where they hide all."""

    combine = ops.multiply

    def call(self, inputs: Sequence[Tensor], mask: Any = None) -> Tensor:
        product = super().call(inputs, mask)
        shown = self.compute_mask(inputs, mask)
        return product if shown is None else ops.where(_mask_like(product, shown), product, 0)


class Average(_Elementwise):
    """The mean of the inputs."""

    combine = ops.add

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return super().call(inputs) / len(inputs)


class Maximum(_Shown):
    """The largest of the inputs, or of those that masks show."""

    combine = ops.maximum


class Minimum(_Shown):
    """The smallest of the inputs, or of those that masks show."""

    combine = ops.minimum


class Concatenate(_Merging):
    """The inputs one after the other along `axis`.

    >>> Concatenate()([np.ones((2, 1)), np.ones((2, 3))]).shape
    (2, 4)
    """

    def __init__(self, axis: int = -1, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis = axis

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        inputs = self._several(inputs)
        shapes = [x.shape for x in inputs]
        axis = normalize_axis("Concatenate", self.axis, len(shapes[0]))
        if len({(*shape[:axis], -1, *shape[axis + 1 :]) for shape in shapes}) > 1:
            raise ShapeError(f"Concatenate: inputs of shapes {shapes} differ beside axis {axis}")
        return ops.concat(inputs, axis=axis)

    def compute_mask(self, inputs: Sequence[Tensor], previous_mask: Any = None) -> Any:
        """The masks one after the other; where they do not have the axis, what any of them shows.
        Inputs without one show everything."""
        if previous_mask is None or all(mask is None for mask in previous_mask):
            return None
        ndim = next(mask.ndim for mask in previous_mask if mask is not None)
        masks = [
            ops.ones(x.shape[:ndim], dtype="bool") if mask is None else mask
            for x, mask in zip(inputs, previous_mask, strict=True)
        ]
        axis = normalize_axis("Concatenate", self.axis, inputs[0].ndim)
        return ops.concat(masks, axis=axis) if axis < ndim else reduce(ops.logical_or, masks)


class Dot(_Merging):
    """The products of two inputs, example by example, summed along `axes`: one axis, or one of each
    input. With `normalize`, of inputs of length 1 along it: cosines.

    The result has the other axes of the first input, then those of the second, and (batch, 1) where
    there are none.

    >>> Dot(axes=1)([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])])
    Tensor([[11.]], dtype=float32)
    """

    least = most = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        pair = (axes, axes) if isinstance(axes, int) else axes
        if not isinstance(pair, (tuple, list)) or [type(a) for a in pair] != [int, int]:
            raise ArgumentError(f"Dot: axes is an axis, or one of each input, not {axes!r}")
        self.axes = tuple(pair)
        self.normalize = normalize

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, y = self._several(inputs)
        along_x, along_y = (
            normalize_axis("Dot", axis, z.ndim) for axis, z in zip(self.axes, (x, y), strict=True)
        )
        if 0 in (along_x, along_y):
            raise ArgumentError("Dot: axis 0 counts the examples, and is not summed along")
        if x.shape[along_x] != y.shape[along_y]:
            raise ShapeError(
                f"Dot: axes {(along_x, along_y)} of inputs of shapes {x.shape} and {y.shape} are "
                "not of one size"
            )
        if self.normalize:
            x, y = unit(x, along_x), unit(y, along_y)
        x, y = ops.moveaxis(x, along_x, -1), ops.moveaxis(y, along_y, 1)
        batch, *of_x, size = x.shape
        of_y = y.shape[2:]
        products = ops.matmul(
            ops.reshape(x, (batch, math.prod(of_x), size)),
            ops.reshape(y, (batch, size, math.prod(of_y))),
        )
        return ops.reshape(products, (batch, *((*of_x, *of_y) or (1,))))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """The axes that masks were for may be gone."""
