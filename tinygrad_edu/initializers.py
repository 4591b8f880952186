"""Initializers: how the weights of a layer start. Names, defaults and distributions are Keras's.

An initializer is called with a shape and a dtype, and gives a Tensor. With a `seed` it gives the
same one each time; without, the default generator of `edu.random` draws another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes, ops, random, registry
from .arguments import Shape, not_negative, number, positive
from .conversion import tensor
from .dtypes import DType, DTypeLike
from .errors import ArgumentError, DtypeError, ShapeError, undefined
from .random import Key
from .tensors import Operators, Tensor, TensorLike

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]


class Initializer(registry.Configured):
    """A base for initializers: write `__call__(shape, dtype)`.

    Any function of a shape and a dtype is one too.
    """

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        """The first value of a weight of this shape and dtype."""
        raise undefined(self, "__call__(self, shape, dtype)")


def get(given: Any) -> Any:
    """The initializer that a name, a class, an instance or a function stands for; None for None.

    >>> get("he_normal")
    HeNormal(seed=None, input_axes=None, output_axes=None)
    """
    return None if given is None else registry.lookup("initializer", given, _TABLE)


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        return ops.zeros(_sizes(self, shape), dtype=dtype)


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        return ops.ones(_sizes(self, shape), dtype=dtype)


class Constant(Initializer):
    """All `value`, a number, or an array that broadcasts to the shape.

    >>> Constant(3.0)((2,))
    Tensor([3., 3.], dtype=float32)
    """

    def __init__(self, value: TensorLike = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        given = tensor(self.value, dtype)
        sizes = _sizes(self, shape)
        try:
            return ops.broadcast_to(given, sizes)
        except ShapeError:
            raise ShapeError(
                f"Constant: value of shape {given.shape} does not broadcast to shape {sizes}"
            ) from None


class Identity(Initializer):
    """A matrix with `gain` on its diagonal and 0 elsewhere.

    >>> Identity()((2, 3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number(type(self).__name__, "gain", gain)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        sizes = _sizes(self, shape)
        if len(sizes) != 2:
            raise ShapeError(f"Identity: makes a matrix, and shape {sizes} is none")
        return ops.eye(*sizes, dtype=dtype) * self.gain


class _Random(Initializer):
    """What draws: `_draw` with a key, in float32 where the dtype has fewer digits."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = _seed(self, seed)

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        name = type(self).__name__
        found = dtypes.as_dtype(dtype)
        if not dtypes.is_float(found):
            raise DtypeError(f"{name}: draws floats, and dtype is {found}")
        key = None if self.seed is None else random.key(self.seed)
        drawn = self._draw(
            key, _sizes(self, shape), dtypes.float32 if dtypes.is_half(found) else found
        )
        return ops.astype(drawn, found)

    def _draw(self, key: Key | None, shape: Shape, dtype: DType) -> Tensor:
        raise undefined(self, "_draw(self, key, shape, dtype)")


class RandomNormal(_Random):
    """Normally distributed, of this mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = number(type(self).__name__, "mean", mean)
        self.stddev = not_negative(type(self).__name__, "stddev", stddev)

    def _draw(self, key: Key | None, shape: Shape, dtype: DType) -> Tensor:
        return random.normal(key, shape, dtype) * self.stddev + self.mean


class RandomUniform(_Random):
    """Spread evenly from `minval` to `maxval`."""

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = least = number("RandomUniform", "minval", minval)
        most = f"a number from minval, {least:g}, on"
        self.maxval = number("RandomUniform", "maxval", maxval, most, lambda x: x >= least)

    def _draw(self, key: Key | None, shape: Shape, dtype: DType) -> Tensor:
        return random.uniform(key, shape, dtype, self.minval, self.maxval)


class TruncatedNormal(_Random):
    """Normally distributed, without what is two standard deviations from the mean, or more."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = number(type(self).__name__, "mean", mean)
        self.stddev = not_negative(type(self).__name__, "stddev", stddev)

    def _draw(self, key: Key | None, shape: Shape, dtype: DType) -> Tensor:
        drawn = random.truncated_normal(key, -2.0, 2.0, shape, dtype)
        return drawn * self.stddev + self.mean


class VarianceScaling(_Random):
    """Of mean 0 and variance `scale` / n, so that a layer keeps the size of its inputs.

    n is the number of units that a unit has before it ("fan_in"), after it ("fan_out"), or the mean
    of the two ("fan_avg"). `distribution` is "truncated_normal", "untruncated_normal" or "uniform".
    The last axis of a shape counts units after, the one before it units before, the others each
    multiply both; `input_axes` and `output_axes` together say otherwise.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        name = type(self).__name__
        self.scale = positive(name, "scale", scale)
        self.mode = _one_of(f"{name}: mode", mode, ("fan_in", "fan_out", "fan_avg"))
        known = ("truncated_normal", "untruncated_normal", "uniform")
        given = "truncated_normal" if distribution == "normal" else distribution
        self.distribution = _one_of(f"{name}: distribution", given, known)
        self.input_axes = input_axes
        self.output_axes = output_axes

    def _draw(self, key: Key | None, shape: Shape, dtype: DType) -> Tensor:
        before, after = fans(shape, self.input_axes, self.output_axes)
        units = {"fan_in": before, "fan_out": after, "fan_avg": (before + after) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, units))
        if self.distribution == "uniform":
            limit = math.sqrt(3) * stddev
            return random.uniform(key, shape, dtype, -limit, limit)
        if self.distribution == "untruncated_normal":
            return random.normal(key, shape, dtype) * stddev
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * (stddev / _TRUNCATED)


# The standard deviation of a standard normal distribution without what is beyond 2: the root of
# 1 - 4 p(2) / (P(2) - P(-2)), with its density p and its distribution P.
_TRUNCATED = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


class _Scaled(VarianceScaling):
    """VarianceScaling with settings that have a name."""

    _settings: tuple[float, str, str]

    def __init__(
        self,
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self._settings, seed, input_axes, output_axes)


class GlorotNormal(_Scaled):
    """Glorot and Bengio's (2010): variance 2 / (units before + units after), truncated normal."""

    _settings = (1.0, "fan_avg", "truncated_normal")


class GlorotUniform(_Scaled):
    """Glorot and Bengio's (2010): variance 2 / (units before + units after), uniform."""

    _settings = (1.0, "fan_avg", "uniform")


class HeNormal(_Scaled):
    """He et al.'s (2015), for ReLU: variance 2 / units before, truncated normal."""

    _settings = (2.0, "fan_in", "truncated_normal")


class HeUniform(_Scaled):
    """He et al.'s (2015), for ReLU: variance 2 / units before, uniform."""

    _settings = (2.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """LeCun et al.'s (1998): variance 1 / units before, truncated normal."""

    _settings = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """LeCun et al.'s (1998): variance 1 / units before, uniform."""

    _settings = (1.0, "fan_in", "uniform")


class Orthogonal(_Random):
    """A matrix with orthonormal rows or columns (whichever are fewer), times `gain`.

    All axes but the last together are the rows. Drawn evenly among such matrices: Q of a normal
    matrix, with the signs of R's diagonal (Mezzadri, "How to generate random matrices from the
    classical compact groups", 2007).
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = number(type(self).__name__, "gain", gain)

    def _draw(self, key: Key | None, shape: Shape, dtype: DType) -> Tensor:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal: makes a matrix or more, and shape {shape} is less")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = random.normal(key, (max(rows, columns), min(rows, columns)), dtype)
        q, r = ops.linalg.qr(tall)
        q = q * ops.where(ops.diagonal(r) < 0, -1.0, 1.0)
        return ops.reshape(q if rows >= columns else q.T, shape) * self.gain


class STFT(Initializer):
    """A convolution kernel that computes one side of a short-time Fourier transform.

    For a shape (frame length, 1, frequencies), `side` "real" or "imag" of exp(-2 pi i t f / n), n
    being the frame length or more, such that there are n / 2 + 1 frequencies. `window` is "hann",
    "hamming", "blackman", "bartlett", an array, or None for none; `scaling` "density" divides it by
    the root of its energy, "spectrum" by its sum.
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side = _one_of("STFT: side", side, ("real", "imag"))
        self.window = window
        self.scaling = (
            None if scaling is None else _one_of("STFT: scaling", scaling, ("density", "spectrum"))
        )
        self.periodic = periodic

    def __call__(self, shape: Sequence[int], dtype: DTypeLike = "float32") -> Tensor:
        sizes = _sizes(self, shape)
        if len(sizes) != 3 or sizes[1] != 1:
            raise ShapeError(f"STFT: shape {sizes} is not (frame length, 1, frequencies)")
        length, _, frequencies = sizes
        period = (frequencies - 1) * 2
        if period < length:
            raise ShapeError(
                f"STFT: {frequencies} frequencies are of frames of up to {period}, not of {length}"
            )
        # The remainder first: a sine of a large number loses digits.
        turns = np.outer(np.arange(length), np.arange(frequencies)) % max(period, 1)
        angles = turns * (2 * np.pi / max(period, 1))
        wave = np.cos(angles) if self.side == "real" else -np.sin(angles)
        return tensor((wave * self._window(length)[:, None])[:, None, :], dtype)

    def _window(self, length: int) -> np.ndarray:
        if self.window is None:
            return np.ones(length)
        if isinstance(self.window, str):
            made = _WINDOWS[_one_of("STFT: window", self.window, tuple(_WINDOWS))]
            window = made(length + 1)[:-1] if self.periodic else made(length)
        else:
            window = np.asarray(self.window, np.float64)
            if window.shape != (length,):
                raise ShapeError(f"STFT: window of shape {window.shape} is not of {length} samples")
        scale = {"density": math.sqrt((window**2).sum()), "spectrum": window.sum(), None: 1.0}
        return np.asarray(window / scale[self.scaling])


_WINDOWS = {
    "hann": np.hanning,
    "hamming": np.hamming,
    "blackman": np.blackman,
    "bartlett": np.bartlett,
}


def fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """How many units are before and after one, for a weight of this shape.

    >>> fans((3, 3, 16, 32))
    (144, 288)
    """
    if input_axes is not None and output_axes is not None:
        return (
            math.prod([shape[axis] for axis in input_axes]),
            math.prod([shape[axis] for axis in output_axes]),
        )
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _sizes(initializer: Initializer, shape: Any) -> Shape:
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in sizes):
        raise ShapeError(
            f"{type(initializer).__name__}: {shape!r} is not a shape: a tuple of integers, none "
            "negative"
        )
    return tuple(map(int, sizes))


def _seed(initializer: Initializer, seed: Any) -> int | None:
    if seed is None or (isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)):
        return None if seed is None else int(seed)
    given = f"a {seed.dtype} Tensor" if isinstance(seed, Operators) else repr(seed)
    raise ArgumentError(
        f"{type(initializer).__name__}: seed is {given}; it is an integer, or None to draw from "
        "edu.random's default generator"
    )


def _one_of(what: str, given: Any, known: Sequence[str]) -> str:
    if given not in known:
        raise ArgumentError(f"{what} is {given!r}; it is {', '.join(map(repr, known))}")
    return str(given)


_TABLE = registry.named(
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    STFT,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
    normal=RandomNormal,
    one=Ones,
    uniform=RandomUniform,
    zero=Zeros,
    identity_initializer=Identity,
    orthogonal_initializer=Orthogonal,
    stft_initializer=STFT,
)
