"""Every operation, in one flat namespace: `edu.ops.exp`, `edu.ops.sum`, `edu.ops.softmax`.

The primitives are defined family by family, each in one place; the rest are composed of them. A
family's `__all__` says what it brings.
"""

from typing import TYPE_CHECKING

from . import contraction, creation, elementwise, indexing, logic, movement, networks, reduction
from .contraction import *
from .creation import *
from .elementwise import *
from .indexing import *
from .logic import *
from .movement import *
from .networks import *
from .reduction import *

families = (contraction, creation, elementwise, indexing, logic, movement, networks, reduction)
if not TYPE_CHECKING:  # a type checker finds the names by itself, and not by this
    __all__ = [name for family in families for name in family.__all__]
