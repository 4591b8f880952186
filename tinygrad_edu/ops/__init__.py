"""Every operation, in one flat namespace: `edu.ops.exp`, `edu.ops.sum`, `edu.ops.softmax`.

The primitives are defined family by family, each in one place; the rest are composed of them. A
family's `__all__` says what it brings.
"""

from typing import TYPE_CHECKING

from .activations import *
from .contraction import *
from .control import *
from .creation import *
from .elementwise import *
from .indexing import *
from .linalg import *
from .logic import *
from .losses import *
from .movement import *
from .networks import *
from .normalization import *
from .reduction import *
from .scans import *
from .sorting import *
from .special import *
from .standard import *
from .windows import *

if not TYPE_CHECKING:  # a type checker finds the names by itself, and not by this
    # Importing from a family has made it an attribute here.
    families = [value for _, value in sorted(globals().items()) if hasattr(value, "__all__")]
    __all__ = [name for family in families for name in family.__all__]

    def __getattr__(name: str) -> object:
        from .. import interop  # which needs this module

        raise interop.no_attribute(__name__, name)
