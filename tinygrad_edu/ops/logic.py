"""Operations that compare, reason and work on bits, element by element. None has a gradient."""

from __future__ import annotations

from ..op import Binary, Unary
from ..references import booleans, integers, named_alike, real

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "signbit",
]

_COMPARED = "a comparison has no slope"
_LOGIC = "logic has no slope"
_BITS = "bits have no slope"
_SIMILAR = (real(-2, 2), real(-2, 2))


class Equal(Binary):
    """Whether x equals y."""

    ufunc = "equal"
    c = "({0} == {1})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("equal", torch="eq")
    domain = _SIMILAR


equal = Equal()


class NotEqual(Binary):
    """Whether x differs from y."""

    ufunc = "not_equal"
    c = "({0} != {1})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("not_equal", torch="ne")
    domain = _SIMILAR


not_equal = NotEqual()


class Less(Binary):
    """Whether x is less than y."""

    ufunc = "less"
    c = "({0} < {1})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("less", torch="lt")
    domain = _SIMILAR


less = Less()


class LessEqual(Binary):
    """Whether x is less than y or equal to it."""

    ufunc = "less_equal"
    c = "({0} <= {1})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("less_equal", torch="le")
    domain = _SIMILAR


less_equal = LessEqual()


class Greater(Binary):
    """Whether x is greater than y."""

    ufunc = "greater"
    c = "({0} > {1})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("greater", torch="gt")
    domain = _SIMILAR


greater = Greater()


class GreaterEqual(Binary):
    """Whether x is greater than y or equal to it."""

    ufunc = "greater_equal"
    c = "({0} >= {1})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("greater_equal", torch="ge")
    domain = _SIMILAR


greater_equal = GreaterEqual()


class Isnan(Unary):
    """Whether x is not a number."""

    ufunc = "isnan"
    c = "({0} != {0})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("isnan", tensorflow="math.is_nan")


isnan = Isnan()


class Isinf(Unary):
    """Whether x is infinite."""

    ufunc = "isinf"
    c = "isinf({0})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("isinf", tensorflow="math.is_inf")


isinf = Isinf()


class Isfinite(Unary):
    """Whether x is a number, and finite."""

    ufunc = "isfinite"
    c = "isfinite({0})"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("isfinite", tensorflow="math.is_finite")


isfinite = Isfinite()


class Signbit(Unary):
    """Whether the sign is set: of negative numbers, and of -0.0."""

    ufunc = "signbit"
    c = "(signbit({0}) != 0)"
    accepts = "f"
    result = "bool"
    no_gradient = _COMPARED
    references = named_alike("signbit", tensorflow="experimental.numpy.signbit")


signbit = Signbit()


class LogicalAnd(Binary):
    """Whether x and y are both true (not zero)."""

    ufunc = "logical_and"
    c = "({0} && {1})"
    result = "bool"
    no_gradient = _LOGIC
    references = named_alike("logical_and")
    domain = (booleans, booleans)


logical_and = LogicalAnd()


class LogicalOr(Binary):
    """Whether x or y is true (not zero)."""

    ufunc = "logical_or"
    c = "({0} || {1})"
    result = "bool"
    no_gradient = _LOGIC
    references = named_alike("logical_or")
    domain = (booleans, booleans)


logical_or = LogicalOr()


class LogicalXor(Binary):
    """Whether just one of x and y is true (not zero)."""

    ufunc = "logical_xor"
    c = "(!{0} != !{1})"
    result = "bool"
    no_gradient = _LOGIC
    references = named_alike("logical_xor")
    domain = (booleans, booleans)


logical_xor = LogicalXor()


class LogicalNot(Unary):
    """Whether x is false (zero)."""

    ufunc = "logical_not"
    c = "(!{0})"
    result = "bool"
    no_gradient = _LOGIC
    references = named_alike("logical_not")
    domain = booleans


logical_not = LogicalNot()


class BitwiseAnd(Binary):
    """The bits that x and y both have."""

    ufunc = "bitwise_and"
    c = "({0} & {1})"
    accepts = "biu"
    no_gradient = _BITS
    references = named_alike("bitwise_and", tensorflow="bitwise.bitwise_and")
    domain = (integers(-9, 9), integers(-9, 9))


bitwise_and = BitwiseAnd()


class BitwiseOr(Binary):
    """The bits that x or y has."""

    ufunc = "bitwise_or"
    c = "({0} | {1})"
    accepts = "biu"
    no_gradient = _BITS
    references = named_alike("bitwise_or", tensorflow="bitwise.bitwise_or")
    domain = (integers(-9, 9), integers(-9, 9))


bitwise_or = BitwiseOr()


class BitwiseXor(Binary):
    """The bits that just one of x and y has."""

    ufunc = "bitwise_xor"
    c = "({0} ^ {1})"
    accepts = "biu"
    no_gradient = _BITS
    references = named_alike("bitwise_xor", tensorflow="bitwise.bitwise_xor")
    domain = (integers(-9, 9), integers(-9, 9))


bitwise_xor = BitwiseXor()


class BitwiseInvert(Unary):
    """Every bit of x turned; of booleans, not x."""

    ufunc = "invert"
    c = "(~{0})"
    accepts = "biu"
    no_gradient = _BITS
    references = {"tensorflow": "bitwise.invert", "torch": "bitwise_not", "jax": "numpy.invert"}
    domain = integers(-9, 9)


bitwise_invert = BitwiseInvert()


class BitwiseLeftShift(Binary):
    """x with its bits moved up by y places."""

    ufunc = "left_shift"
    c = "({0} << {1})"
    accepts = "iu"
    no_gradient = _BITS
    references = {
        "tensorflow": "bitwise.left_shift",
        "torch": "bitwise_left_shift",
        "jax": "numpy.left_shift",
    }
    domain = (integers(0, 9), integers(0, 9))


bitwise_left_shift = BitwiseLeftShift()


class BitwiseRightShift(Binary):
    """x with its bits moved down by y places; the sign stays."""

    ufunc = "right_shift"
    c = "({0} >> {1})"
    accepts = "iu"
    no_gradient = _BITS
    references = {
        "tensorflow": "bitwise.right_shift",
        "torch": "bitwise_right_shift",
        "jax": "numpy.right_shift",
    }
    domain = (integers(-99, 99), integers(0, 9))


bitwise_right_shift = BitwiseRightShift()
