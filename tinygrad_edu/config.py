"""The user's settings: one call beats one environment variable beats one JSON file.

The file is `tinygrad_edu/config.json` in the user's configuration folder
(`$XDG_CONFIG_HOME`, else `%APPDATA%` on Windows, else `~/.config`), for example
`{"device": "xla"}`. Knows nothing of Tensors or devices.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

from .errors import ConfigError

SETTINGS = {"device": "TINYGRAD_EDU_DEVICE"}
"""Each setting in the file, and the environment variable that beats it."""


eager = False
"""With True, jitted functions run as they are written, operation by operation."""

check_finite: bool
"""With True, the first operation that makes NaN or infinity of finite operands is an error, a
NonFiniteError that names it and the user's line, eagerly and compiled, forward and backward.
Programs then run operation by operation. For the whole process; off at first, and free when off."""


class _Module(types.ModuleType):
    """This module, of which a setting does something when it is set."""

    @property
    def check_finite(self) -> bool:
        from . import debugging  # which needs this module when it is imported

        return debugging.is_checking()

    @check_finite.setter
    def check_finite(self, on: bool) -> None:
        from . import debugging

        debugging.check_finite(on)


sys.modules[__name__].__class__ = _Module


def path() -> Path:
    """Where the configuration file is looked for."""
    roaming = os.environ.get("APPDATA") if sys.platform == "win32" else None
    folder = os.environ.get("XDG_CONFIG_HOME") or roaming or Path.home() / ".config"
    return Path(folder) / "tinygrad_edu" / "config.json"


def read(setting: str) -> tuple[str, str] | None:
    """The value of a setting and where it was found, or None where nobody set it.

    Raises ConfigError for a file that is not JSON, not an object, or holds an unknown setting.
    """
    variable = SETTINGS[setting]
    if value := os.environ.get(variable):
        return value, f"environment variable {variable}"
    value = _file().get(setting)
    return None if value is None else (value, str(path()))


def _file() -> dict[str, str]:
    file = path()
    try:
        text = file.read_text(encoding="utf-8-sig")  # editors on Windows put a mark first
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    import json  # takes long, and few have a file

    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file} is not JSON ({error}); write {_example()}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{file} holds {settings!r}, not an object; write {_example()}")
    for name, value in settings.items():
        if name not in SETTINGS or not isinstance(value, str):
            raise ConfigError(f"{file} has no use for {name!r}: {value!r}; write {_example()}")
    return settings


def _example() -> str:
    return 'an object such as {"device": "numpy"}'
