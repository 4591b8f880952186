"""Elementwise functions that are composed of other operations, and their counterparts."""

from __future__ import annotations

import math
from typing import Any

from tinygrad_edu import ops
from tinygrad_edu.references import real

from ..calls import call
from .row import Row

_ONE = (call(()), call((3,)), call((0, 3)), call((2, 1, 3)))
_TWO = (call((), ()), call((3,), (3,)), call((2, 1), (3,)), call((0, 3), (1, 3)))


def _scaled(factor: float) -> dict[str, Any]:
    """Degrees and radians in TensorFlow, which has no name for them."""
    return {"tensorflow": lambda tf, x: x * factor}


COMPOSITES: dict[str, Row] = {
    "allclose": Row(
        lambda x, y: ops.allclose(x, y, rtol=0.5, atol=0.1),
        {
            "torch": lambda torch, x, y: torch.isclose(x, y, 0.5, 0.1).all(),
            "jax": lambda jax, x, y: jax.numpy.allclose(x, y, 0.5, 0.1),
        },
        _TWO,
    ),
    "deg2rad": Row(
        ops.deg2rad,
        {**_scaled(math.pi / 180), "torch": "deg2rad", "jax": "numpy.deg2rad"},
        _ONE,
        real(-360, 360),
    ),
    "heaviside": Row(
        ops.heaviside,
        {
            "tensorflow": "experimental.numpy.heaviside",
            "torch": "heaviside",
            "jax": "numpy.heaviside",
        },
        _TWO,
        kinks=((0, 2),),
    ),
    "isclose": Row(
        lambda x, y, **params: ops.isclose(x, y, **params),
        {
            "torch": "isclose",
            "jax": "numpy.isclose",
        },
        (
            call((), (), rtol=0.5, atol=0.1),
            call((3,), (3,), rtol=0.1, atol=1.0),
            call((2, 1), (3,), rtol=0.0, atol=1.0),
            call((2, 3), (2, 3), rtol=0.5, atol=0.0, equal_nan=True),
        ),
    ),
    "lerp": Row(
        ops.lerp,
        {
            "tensorflow": lambda tf, x, y, weight: x + weight * (y - x),
            "torch": "lerp",
            "jax": lambda jax, x, y, weight: x + weight * (y - x),
        },
        (
            call((), (), ()),
            call((3,), (3,), (3,)),
            call((2, 3), (3,), ()),
            call((0, 3), (1, 3), ()),
        ),
    ),
    "nan_to_num": Row(
        lambda x, **params: ops.nan_to_num(x, **params),
        {"torch": "nan_to_num", "jax": "numpy.nan_to_num"},
        (
            call((3,)),
            call((), nan=1.0),
            call((2, 3), posinf=3.0),
            call((0, 3), nan=2.0, posinf=9.0, neginf=-9.0),
        ),
    ),
    "positive": Row(ops.positive, {"torch": "positive", "jax": "numpy.positive"}, _ONE),
    "rad2deg": Row(
        ops.rad2deg,
        {**_scaled(180 / math.pi), "torch": "rad2deg", "jax": "numpy.rad2deg"},
        _ONE,
    ),
    "sinc": Row(
        ops.sinc,
        {
            "tensorflow": "experimental.numpy.sinc",
            "torch": "sinc",
            "jax": "numpy.sinc",
        },
        _ONE,
        kinks=((0,),),
    ),
}

NOT_COMPARED = {"pow": "the array API standard's name for power, which is compared"}
