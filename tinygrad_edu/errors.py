"""Everything the engine refuses, as exceptions.

Each class is also the built-in exception that a Python programmer would expect, so
`except ValueError` goes on working. A message says what was wrong and what would work.
"""

import numpy as np


class Error(Exception):
    """Base of every error that tinygrad_edu raises on purpose."""


class ShapeError(Error, ValueError):
    """Shapes that an operation cannot take."""


class DtypeError(Error, TypeError):
    """Dtypes, or kinds of values, that an operation cannot take."""


class ArgumentError(Error, ValueError):
    """An argument whose value an operation cannot take: an axis, an index, a name."""


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
