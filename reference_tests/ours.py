"""tinygrad_edu behind the same face as the frameworks, once for each device.

Written as a user would: tensors, tapes, gradients. What is compared is therefore what users get.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_edu as edu

from .frameworks import Arrays, Derivatives, Framework, Function


class Ours(Framework):
    """tinygrad_edu on one device."""

    module = edu

    def __init__(self, device: str) -> None:
        self.name = f"device {device}"
        self.device = device

    def array(self, array: np.ndarray) -> edu.Tensor:
        """The array as a Tensor that lies in memory in the same way: a copy would be contiguous."""
        if not array.ndim or not array.size or array.flags.c_contiguous:
            return edu.tensor(array, device=self.device)
        if array.flags.f_contiguous:
            return edu.ops.permute_dims(
                edu.tensor(array.T, device=self.device), range(array.ndim)[::-1]
            )
        if array.strides[-1] < 0:
            return edu.tensor(array[..., ::-1], device=self.device)[..., ::-1]
        return edu.tensor(np.repeat(array, 2, axis=-1), device=self.device)[..., ::2]

    def numpy(self, array: Any) -> np.ndarray:
        found: np.ndarray = array.numpy()
        return found

    def derivatives(
        self,
        function: Function,
        arrays: Arrays,
        argnums: Sequence[int],
        cotangent: np.ndarray,
        directions: Arrays,
    ) -> Derivatives:
        inputs = [self.array(a) for a in arrays]
        chosen = [inputs[i] for i in argnums]
        with edu.GradientTape() as outer:
            outer.watch(chosen)
            with edu.GradientTape() as inner:
                inner.watch(chosen)
                value = function(*inputs)
            first = self._connected(
                inner.gradient(value, chosen, output_gradients=self.array(cotangent)), chosen
            )
            slope = edu.zeros((), dtype=value.dtype, device=self.device)
            for gradient, direction in zip(first, directions, strict=True):
                slope = slope + (gradient * self.array(direction)).sum()
        second = self._connected(outer.gradient(slope, chosen), chosen)
        return Derivatives(
            self.numpy(value), [self.numpy(g) for g in first], [self.numpy(g) for g in second]
        )

    @staticmethod
    def _connected(gradients: Sequence[Any], inputs: Sequence[edu.Tensor]) -> list[edu.Tensor]:
        return [
            edu.ops.zeros_like(x) if g is None else g
            for g, x in zip(gradients, inputs, strict=True)
        ]


NUMPY = Ours("numpy")
XLA = Ours("xla")
