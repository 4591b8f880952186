"""Names for classes and functions: how a layer finds its initializer, and a file its classes.

`lookup` turns what a user gives (a name, an instance, a class, a function) into what is used.
`serialize` and `deserialize` turn objects into plain data and back. Data only ever names things:
a name is looked up among the library's own and those registered with `edu.register`, and nothing
in it is executed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, cast, overload

import numpy as np

from . import dtypes
from .errors import ArgumentError, KeywordError, close_to, meant, plain
from .tensors import Operators

__all__ = ["Configured", "deserialize", "lookup", "named", "register", "serialize"]

T = TypeVar("T")

# Where the library's own classes and functions are found; a class of losses is "losses.Huber".
_MODULES = (
    "layers",
    "models",
    "losses",
    "metrics",
    "optimizers",
    "schedules",
    "initializers",
    "regularizers",
    "constraints",
    "ops",
)
_CLASS, _FUNCTION, _TUPLE, _DICT, _ARRAY = "class", "function", "tuple", "dict", "array"
_MARKS = {_CLASS, _FUNCTION, _TUPLE, _DICT, _ARRAY}

_registered: dict[str, Any] = {}


class Configured:
    """A base for what can be made again from its arguments: it remembers those it was made with.

    So `get_config` need not be written, unless `__init__` takes `*args`. Raises KeywordError, with
    those close to it, for a keyword that `__init__` does not know.

    >>> class Scale(Configured):
    ...     def __init__(self, factor=2.0, bias=0.0): ...
    >>> Scale(3.0).get_config()
    {'factor': 3.0, 'bias': 0.0}
    >>> Scale(faktor=3.0)
    Traceback (most recent call last):
    tinygrad_edu.errors.KeywordError: Scale: no argument 'faktor'; did you mean 'factor'?
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            _check_keywords(cls, kwargs)
        made = super().__new__(cls)
        # Also a class whose `__setattr__` looks at what it is given is not to see this.
        object.__setattr__(made, "_arguments", (args, kwargs))
        return made

    def __init__(self) -> None: ...

    def get_config(self) -> dict[str, Any]:
        """The arguments that make another one like this, by name."""
        args, kwargs = self._arguments
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        config: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                config |= value
            elif kind is not inspect.Parameter.VAR_POSITIONAL:
                config[name] = value
            elif value:
                raise ArgumentError(
                    f"{type(self).__name__}: `*{name}` has no names: define get_config and "
                    "from_config"
                )
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """One made of what `get_config` gave. Raises ArgumentError for other names."""
        _check_keywords(cls, config)
        try:
            inspect.signature(cls).bind(**config)
        except TypeError as error:
            raise ArgumentError(
                f"{cls.__name__}: is not made of {', '.join(config) or 'nothing'}: {error}"
            ) from None
        return cls(**config)

    def __repr__(self) -> str:
        try:
            config = self.get_config()
        except ArgumentError:  # it has none by itself
            return f"{type(self).__name__}(...)"
        given = ", ".join(f"{name}={value!r}" for name, value in config.items())
        return f"{type(self).__name__}({given})"


def _check_keywords(kind: type, given: Iterable[str]) -> None:
    """Raise KeywordError for keywords that a class is not made with."""
    known = _keywords(kind)
    unknown = [] if known is None else [name for name in given if name not in known]
    if unknown:
        hint = meant(unknown[0], known or ())
        raise KeywordError(f"{kind.__name__}: no argument {unknown[0]!r}{hint}")


@functools.cache
def _keywords(kind: type) -> Collection[str] | None:
    """The keywords that a class is made with; None if only the class knows. The library's own take
    those of the class above as `**settings`."""
    names: dict[str, None] = {}
    for each in kind.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(vars(each)["__init__"]).parameters.values())[1:]
        own = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        names |= dict.fromkeys(own)
        others = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        if not others:
            break
        if others != ["settings"] or _place(each)[0].partition(".")[0] != __package__:
            return None
    return names


def arguments(scope: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """The arguments of an `__init__` by name, from its `locals()` at the beginning, with what is in
    `settings`; without these."""
    named = {**scope, **scope.get("settings", {})}
    left_out = {"self", "settings", "__class__", *without}
    return {name: value for name, value in named.items() if name not in left_out}


# Registering


@overload
def register(name: str) -> Callable[[T], T]: ...
@overload
def register(name: T) -> T: ...
def register(name: Any) -> Any:
    """Give a class or a function of yours a name in files: `@edu.register`, or
    `@edu.register("package>name")`.

    Without a name it is the class's own. What is registered is also found where the library's own
    is given by name. Raises ArgumentError for a name that stands for something else already.

    >>> @register("shop>twice")
    ... def twice(x):
    ...     return 2 * x
    >>> deserialize(serialize(twice)) is twice
    True
    """
    if isinstance(name, str):
        return lambda given: _register(given, name)
    return _register(name, getattr(name, "__name__", ""))


def _register(given: T, name: str) -> T:
    if not callable(given):
        raise ArgumentError(f"register: takes a class or a function, not {given!r}")
    if not name or "." in name:
        raise ArgumentError(
            f"register: {name!r} is no name: use 'name' or 'package>name', without a dot"
        )
    known = _registered.get(name, given)
    if known is not given and _place(known) != _place(given):  # the same, run again, may replace it
        raise ArgumentError(
            f"register: {name!r} stands for {'.'.join(_place(known))} already: use another, such "
            f"as 'package>{name}'"
        )
    _registered[name] = given
    return given


def _place(given: Any) -> tuple[str, str]:
    return str(getattr(given, "__module__", "")), str(getattr(given, "__qualname__", ""))


# What users give


def lookup(kind: str, given: Any, table: Mapping[str, Any], base: type | None = None) -> Any:
    """What `given` stands for: a name of `table` (in any case, with underscores or without) or a
    registered one, a class, a configuration made by `serialize`, or the thing itself.

    A class is called without arguments; functions and instances are as they are. `kind` is for
    messages; `base` is the class of instances, where these are not callable.

    Raises ArgumentError for an unknown name, with those close to it, and for anything else.

    >>> lookup("activation", "ReLU", {"relu": max, "tanh": min}) is max
    True
    >>> lookup("activation", "rellu", {"relu": max, "tanh": min})
    Traceback (most recent call last):
    tinygrad_edu.errors.ArgumentError: activation: no 'rellu'; did you mean 'relu'?
    """
    if isinstance(given, Mapping):
        found = deserialize(given)
    elif isinstance(given, str):
        found = _by_name(kind, given, table)
    else:
        found = given
    if isinstance(found, type):
        found = _made(kind, found)
    if callable(found) or (base is not None and isinstance(found, base)):
        return found
    raise ArgumentError(
        f"{kind}: {given!r} is none; give a name, an instance, "
        f"{'a class or a configuration' if base else 'a class or a function'}"
    )


def _made(kind: str, cls: type) -> Any:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise ArgumentError(
            f"{kind}: {cls.__name__} is not made without arguments ({error}): give an instance, "
            f"{cls.__name__}(...)"
        ) from None
    return cls()


def named(*classes: type, **others: Any) -> dict[str, Any]:
    """A table for `lookup`: classes by their names as functions would be called, and others.

    >>> named(Configured)
    {'configured': <class 'tinygrad_edu.registry.Configured'>}
    """
    return {snake_case(c.__name__): c for c in classes} | others


@functools.cache
def snake_case(name: str) -> str:
    """A class's name as that of an instance of it, a function's as that of what it measures.

    >>> snake_case("MeanSquaredError"), snake_case("Conv2D"), snake_case("GlobalMaxPooling1D")
    ('mean_squared_error', 'conv2d', 'global_max_pooling1d')
    >>> snake_case("LSTM"), snake_case("KLDivergence")
    ('lstm', 'kl_divergence')
    >>> snake_case("<lambda>")
    'lambda'
    """
    parts = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", re.sub(r"\W", "", name))
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", parts).lower()


def _by_name(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    known = {plain(key): key for key in table}
    if plain(name) in known:
        return table[known[plain(name)]]
    if name in _registered:
        return _registered[name]
    raise ArgumentError(f"{kind}: no {name!r}{meant(name, [*table, *_registered])}")


# Plain data


def serialize(given: Any) -> Any:
    """An object as plain data, which JSON can hold: numbers, text, lists, dictionaries.

    An object becomes {"class": name, "config": what its `get_config()` gives}, a function
    {"function": name}; tuples, dtypes and arrays are told apart from lists and text.

    Raises ArgumentError for a class or a function that has no name: register it.

    >>> from tinygrad_edu import initializers
    >>> serialize(initializers.Constant(2.0))
    {'class': 'initializers.Constant', 'config': {'value': 2.0}}
    """
    if given is None or isinstance(given, (bool, int, float, str)):
        return given
    if isinstance(given, np.dtype) or (isinstance(given, type) and issubclass(given, np.generic)):
        return np.dtype(given).name
    if isinstance(given, (np.ndarray, np.generic, Operators)):
        array = np.asarray(given)
        return {_ARRAY: array.tolist(), "dtype": array.dtype.name, "shape": list(array.shape)}
    if isinstance(given, list):
        return [serialize(x) for x in given]
    if type(given) is tuple:
        return {_TUPLE: [serialize(x) for x in given]}
    if isinstance(given, Mapping):
        if _MARKS.isdisjoint(given) and all(isinstance(key, str) for key in given):
            return {key: serialize(x) for key, x in given.items()}
        return {_DICT: [[serialize(key), serialize(x)] for key, x in given.items()]}
    if isinstance(given, type) or not hasattr(given, "get_config"):
        return {_FUNCTION: _name(given)}
    return {_CLASS: _name(type(given)), "config": serialize(given.get_config())}


def deserialize(data: Any) -> Any:
    """What `serialize` made plain data of.

    Raises ArgumentError for a name that is neither the library's nor registered, and for data that
    `serialize` never makes.
    """
    if isinstance(data, list):
        return [deserialize(x) for x in data]
    if not isinstance(data, Mapping):
        return data
    if _CLASS in data:
        found = _find(data[_CLASS])
        config = deserialize(data.get("config", {}))
        if not isinstance(found, type) or not hasattr(found, "from_config"):
            raise ArgumentError(f"deserialize: {data[_CLASS]!r} is no class that can be configured")
        if not isinstance(config, dict):
            raise ArgumentError(f"deserialize: config of {data[_CLASS]!r} is {config!r}, no dict")
        return cast(Any, found).from_config(config)
    if _FUNCTION in data:
        return _find(data[_FUNCTION])
    if _TUPLE in data:
        return tuple(deserialize(_items(data, _TUPLE)))
    if _DICT in data:
        return {deserialize(key): deserialize(x) for key, x in _items(data, _DICT)}
    if _ARRAY in data:
        return _array(data)
    return {key: deserialize(x) for key, x in data.items()}


def _array(data: Mapping[str, Any]) -> np.ndarray:
    dtype = dtypes.as_dtype(data.get("dtype"))
    try:
        return np.array(data[_ARRAY], dtype).reshape(data.get("shape", ()))
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"deserialize: no array of {dtype}: {error}") from None


def _items(data: Mapping[str, Any], mark: str) -> list[Any]:
    items = data[mark]
    if not isinstance(items, list) or (
        mark == _DICT and any(not isinstance(pair, list) or len(pair) != 2 for pair in items)
    ):
        raise ArgumentError(f"deserialize: {mark!r} is {items!r}, which is no list of its parts")
    return items


def _name(given: Any) -> str:
    """The name of a class or a function in data."""
    for name, known in _registered.items():
        if known is given:
            return name
    place, own = _place(given)
    parts = place.split(".")
    if parts[0] == __package__ and len(parts) > 1 and parts[1] in _MODULES:
        own = own or str(getattr(given, "name", ""))  # an operation is an instance with a name
        module = parts[1]
        if own in _public(module) and getattr(_module(module), own) is given:
            return f"{module}.{own}"
    for module in _MODULES:  # by another name, or an instance
        for name in _public(module):
            if getattr(_module(module), name) is given:
                return f"{module}.{name}"
    shown = own or repr(given)
    raise ArgumentError(
        f"serialize: {shown} has no name: give it one with @edu.register, before it is used"
    )


def _find(given: Any) -> Any:
    name = str(given)
    if name in _registered:
        return _registered[name]
    module, _, own = name.partition(".")
    if module in _MODULES and own in _public(module):
        return getattr(_module(module), own)
    known = [*_registered, *[f"{m}.{n}" for m in _MODULES for n in _public(m)]]
    raise ArgumentError(
        f"deserialize: no class or function {name!r} here{close_to(name, known) or '.'} A class of "
        "your own is found after @edu.register"
    )


def _module(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)


def _public(module: str) -> Collection[str]:
    """The names of a module's classes and functions that a file may mention."""
    try:
        return cast(Collection[str], _module(module).__all__)
    except (ImportError, AttributeError):
        return ()
