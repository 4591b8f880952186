"""Everything the engine refuses, as exceptions.

Each class is also the built-in exception that a Python programmer would expect, so
`except ValueError` goes on working. A message says what was wrong and what would work.
"""

from __future__ import annotations

import collections.abc

import numpy as np


class Error(Exception):
    """Base of every error that tinygrad_edu raises on purpose."""


class ShapeError(Error, ValueError):
    """Shapes that an operation cannot take."""


class DtypeError(Error, TypeError):
    """Dtypes, or kinds of values, that an operation cannot take."""


class ArgumentError(Error, ValueError):
    """An argument whose value an operation cannot take: an axis, an index, a name."""


class KeywordError(ArgumentError, TypeError):
    """A keyword argument that a class is not made with."""


class LinAlgError(ArgumentError, np.linalg.LinAlgError):
    """A matrix that an operation cannot take: singular, or not positive definite."""


class OutOfRangeError(Error, IndexError):
    """An index beyond the end of its axis."""


class GradientError(Error, RuntimeError):
    """A gradient that cannot be computed: nothing recorded, already freed, not a scalar."""


class NonFiniteError(Error, FloatingPointError):
    """A result that is NaN or infinite, of finite operands, while `config.check_finite` is on."""


class ImmutableError(Error, TypeError):
    """An attempt to change a Tensor."""


class DeviceError(Error, RuntimeError):
    """A device that is unknown, cannot run here, or differs between operands."""


class TracingError(Error, TypeError):
    """The value of a Tensor was asked for where it stands for many, or for any."""


class GraphError(Error, ValueError):
    """A graph that is no program: ill-typed, or with values that nothing makes."""


class ConfigError(Error, ValueError):
    """A setting, from the environment or from the configuration file, that cannot be used."""


class DefinitionError(Error, TypeError):
    """An operation whose definition lacks a rule."""


class ExtraMissingError(Error, ImportError):
    """An optional package that is not installed; the message names the extra to install."""


def undefined(owner: object, method: str) -> NotImplementedError:
    """What a base raises where a subclass has to say something.

    >>> undefined(1, "call(self, inputs)")
    NotImplementedError('int has no call: define call(self, inputs)')
    """
    name = method.partition("(")[0]
    return NotImplementedError(f"{type(owner).__name__} has no {name}: define {method}")


def close_to(given: object, known: collections.abc.Iterable[str]) -> str:
    """A hint at the known names that are close to one that is not; case and underscores do not
    matter.

    >>> close_to("Rellu", ["relu", "tanh"]), close_to("sin", ["relu", "tanh"])
    ("; did you mean 'relu'?", '')
    """
    from difflib import get_close_matches  # takes long, and only errors need it

    shown = {plain(name): name for name in known}
    close = [repr(shown[name]) for name in get_close_matches(plain(str(given)), shown, n=3)]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def meant(given: object, known: collections.abc.Iterable[str]) -> str:
    """`close_to`, or where nothing is close all that there are.

    >>> meant("sin", ["tanh", "relu"])
    '; there are relu, tanh'
    """
    names = sorted(known)
    return close_to(given, names) or (f"; there are {', '.join(names)}" if names else "")


def plain(name: str) -> str:
    """A name without its case and underscores.

    >>> plain("GlorotUniform") == plain("glorot_uniform")
    True
    """
    return name.replace("_", "").lower()
