"""tinygrad_edu: automatic differentiation from scratch, to read and to use.

>>> import tinygrad_edu as edu
>>> x = edu.Variable(3.0)
>>> with edu.GradientTape() as tape:
...     y = x * x
>>> tape.gradient(y, x)
Tensor(6., dtype=float32)

`tinygrad_edu.ops` holds every operation; the common ones are here too. NumPy is all this needs;
other devices and extras are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import tensors as _tensors  # noqa: F401  first: Tensor and its operations need each other

# isort: split

from . import config, dtypes, errors, interop, op, ops, random, tree
from .backends import Device, device, devices, set_device
from .batching import vmap
from .checking import check_grads
from .compilation import jit
from .conversion import tensor
from .custom import checkpoint, custom_gradient
from .debugging import debug_print, profile
from .derivatives import hessian, jacobian, jvp, vjp
from .errors import Error
from .graph import Graph
from .op import Elementwise, Op
from .ops import *
from .tape import GradientTape, no_grad
from .tensors import Tensor, TensorLike
from .transforms import grad, value_and_grad
from .variable import Variable

__version__ = "0.1.0"

__all__ = [
    "Device",
    "Elementwise",
    "Error",
    "GradientTape",
    "Graph",
    "Op",
    "Tensor",
    "TensorLike",
    "Variable",
    "check_grads",
    "checkpoint",
    "config",
    "custom_gradient",
    "debug_print",
    "device",
    "devices",
    "dtypes",
    "errors",
    "grad",
    "hessian",
    "jacobian",
    "jit",
    "jvp",
    "no_grad",
    "op",
    "ops",
    "profile",
    "random",
    "set_device",
    "tensor",
    "tree",
    "value_and_grad",
    "vjp",
    "vmap",
]

if TYPE_CHECKING:  # what is imported later, for type checkers
    from . import (  # noqa: F401
        callbacks,
        constraints,
        data,
        initializers,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        regularizers,
        saving,
        schedules,
        train,
    )
    from .layers import Layer  # noqa: F401
    from .models import Input, Model, Sequential  # noqa: F401
    from .registry import register  # noqa: F401

# Layers, models and training, by where they are found: imported when first asked for.
_LATER = {
    "Input": "models",
    "Layer": "layers",
    "Model": "models",
    "Sequential": "models",
    "callbacks": "callbacks",
    "constraints": "constraints",
    "data": "data",
    "initializers": "initializers",
    "layers": "layers",
    "losses": "losses",
    "metrics": "metrics",
    "models": "models",
    "optimizers": "optimizers",
    "register": "registry",
    "regularizers": "regularizers",
    "saving": "saving",
    "schedules": "schedules",
    "train": "train",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise interop.no_attribute(__name__, name)
    place = _LATER[name]
    module = importlib.import_module(f".{place}", __name__)
    found = module if name == place else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


if not TYPE_CHECKING:  # a type checker finds the names by itself, and not by this
    __all__ += ops.__all__
