"""Convolutions, pools and patches that are composed of other operations, and their counterparts."""

from __future__ import annotations

from tinygrad_edu import ops
from tinygrad_edu.references import real

from ..calls import call
from ..window_references import AVERAGE_POOL, DEPTHWISE, FOLD, MAX_POOL, SEPARABLE, UNFOLD
from .row import Row

_POOLS = (
    call((2, 6, 2), pool_size=2),
    call((1, 7, 2), pool_size=3, strides=2, padding="same"),
    call((2, 4, 5, 2), pool_size=2),
    call((1, 5, 4, 3), pool_size=(3, 2), strides=(2, 1), padding="same"),
    call((1, 2, 4, 3), pool_size=(2, 1), strides=1, data_format="channels_first"),
    call((1, 3, 4, 3, 2), pool_size=2, strides=(1, 2, 1), padding="same"),
    call((1, 5, 4, 1), pool_size=2, strides=3),
    call((0, 4, 4, 1), pool_size=2),
)

COMPOSITES: dict[str, Row] = {
    "average_pool": Row(ops.average_pool, AVERAGE_POOL, _POOLS),
    "depthwise_conv": Row(
        ops.depthwise_conv,
        DEPTHWISE,
        (
            call((2, 5, 4, 2), (3, 2, 2, 1)),
            call((1, 5, 6, 2), (3, 3, 2, 2), strides=2, padding="same"),
            call((1, 2, 5, 4), (2, 2, 2, 1), padding="same", data_format="channels_first"),
            call((1, 5, 5, 2), (2, 2, 2, 1), dilation_rate=2, padding="same"),
            call((2, 6, 3), (3, 3, 2), padding="same"),
            call((1, 4, 3, 1), (2, 2, 1, 2)),
        ),
        real(-1, 1),
    ),
    "fold": Row(
        ops.fold,
        FOLD,
        (
            call((2, 8, 6), output_size=(3, 4), kernel_size=2),
            call((1, 6, 6), output_size=(5, 4), kernel_size=(3, 2), stride=2, padding=(1, 0)),
            call((1, 4, 4), output_size=(4, 4), kernel_size=2, dilation=2),
        ),
    ),
    "max_pool": Row(
        ops.max_pool,
        MAX_POOL,
        (
            *_POOLS,
            call((1, 4, 5, 2), pool_size=3, strides=2, padding=((1, 1), (0, 2))),
        ),
    ),
    "separable_conv": Row(
        ops.separable_conv,
        SEPARABLE,
        (
            call((1, 4, 4, 2), (2, 3, 2, 2), (1, 1, 4, 3)),
            call((2, 5, 4, 2), (3, 3, 2, 1), (1, 1, 2, 2), strides=2, padding="same"),
            call((1, 2, 3, 4), (2, 2, 2, 1), (1, 1, 2, 3), data_format="channels_first"),
        ),
        real(-1, 1),
    ),
    "unfold": Row(
        ops.unfold,
        UNFOLD,
        (
            call((2, 2, 3, 4), kernel_size=2),
            call((1, 1, 5, 4), kernel_size=(3, 2), stride=2, padding=(1, 0)),
            call((1, 2, 4, 4), kernel_size=2, dilation=2),
        ),
    ),
}
