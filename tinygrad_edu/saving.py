"""Weights and whole models in files.

Weights are in the safetensors format (https://huggingface.co/docs/safetensors), which other
libraries read too. A whole model is one zip archive: a manifest in JSON, which says what the model
is made of and has the SHA-256 of every other part, and weights and optimizer state as safetensors.
Nothing in a file is executed: classes are found by their names (`edu.register`).

A file is written aside and then put in the place of the old one, so there is always a whole one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import dtypes, registry
from .errors import ArgumentError, ExtraMissingError
from .variable import Variable

__all__ = ["load_model", "load_weights", "save_model", "save_weights"]

_VERSION = 1
_MANIFEST = "manifest.json"


def save_weights(model: Any, path: Any) -> None:
    """Write the weights of a layer or model as safetensors, by their names in `weight_paths()`.

    Raises ArgumentError where nothing is built yet, OSError where the file cannot be written: what
    was there before is whole then.

    >>> import tempfile, tinygrad_edu as edu
    >>> model = edu.Sequential([edu.Input((2,)), edu.layers.Dense(1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(model, f"{folder}/weights.safetensors")
    ...     load_weights(model, f"{folder}/weights.safetensors")
    """
    write(path, pack(model.weight_paths()))


def load_weights(model: Any, path: Any) -> None:
    """Assign to the weights of a layer or model what `save_weights` wrote.

    Raises, before anything is changed: ArgumentError for a file that is damaged or no such file,
    and for weights that it lacks, has too many or has of another shape, by their names.
    """
    assign(model.weight_paths(), unpack(_bytes(path), path), path)


def save_model(model: Any, path: Any) -> None:
    """Write a model with its configuration, weights, optimizer and what `compile` was given.

    Raises ArgumentError for classes and functions without a name (`edu.register`), OSError where
    the file cannot be written: what was there before is whole then.
    """
    settings = model.get_compile_config()
    manifest = {
        "model": registry.serialize(model),
        "built_for": registry.serialize(model.get_build_config()),
        "compile": registry.serialize(settings),
    }
    parts = {"weights.safetensors": pack(model.weight_paths())}
    if settings is not None and model.optimizer is not None and model.optimizer.built:
        parts["optimizer.safetensors"] = pack(model.optimizer.weight_paths())
    write_archive(path, "model", manifest, parts)


def load_model(path: Any, compile: bool = True) -> Any:
    """The model that `save_model` wrote, ready for more training.

    Raises ArgumentError for a file that is damaged, of another kind or of a newer version, and for
    classes that are neither the library's nor registered.

    >>> import tempfile, tinygrad_edu as edu
    >>> model = edu.Sequential([edu.Input((2,)), edu.layers.Dense(1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, f"{folder}/model.zip")
    ...     again = load_model(f"{folder}/model.zip")
    >>> (again.weights[0].numpy() == model.weights[0].numpy()).all().item()
    True
    """
    manifest, parts = read_archive(path, "model")
    model = registry.deserialize(manifest["model"])
    built_for = registry.deserialize(manifest["built_for"])
    if built_for is not None:
        model.build_from_config(built_for)
    assign(model.weight_paths(), unpack(parts["weights.safetensors"], path), path)
    settings = registry.deserialize(manifest["compile"])
    if compile and settings is not None:
        model.compile(**settings)
        if "optimizer.safetensors" in parts:
            model.build_optimizer()
            state = unpack(parts["optimizer.safetensors"], path)
            assign(model.optimizer.weight_paths(), state, path)
    return model


# Arrays in bytes


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ExtraMissingError(
            "saving: weights are written by safetensors: pip install 'tinygrad_edu[save]'"
        ) from None
    return safetensors


def pack(variables: Mapping[str, Variable]) -> bytes:
    """The values of Variables by their names, as safetensors."""
    arrays = {name: np.asarray(v.numpy(), order="C") for name, v in variables.items()}
    return bytes(_safetensors().numpy.save(arrays, {"format": "np"}))


def unpack(data: bytes, path: Any) -> dict[str, np.ndarray]:
    """The arrays that `pack` made bytes of; `path` is for messages."""
    library = _safetensors()
    try:
        parts = library.deserialize(data)
    except library.SafetensorError as error:
        if _MANIFEST in _names(data):
            raise ArgumentError(f"load: {path} is a whole model: use load_model") from None
        raise ArgumentError(f"load: {path} is damaged, or no file of weights: {error}") from None
    # The library makes arrays of all but bfloat16.
    return {name: _array(f"load: {path} has {name}", **part) for name, part in parts}


def _names(data: bytes) -> list[str]:
    """What is in an archive; nothing, if it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []


_DTYPES = {f"F{bits}": f"float{bits}" for bits in (16, 32, 64)} | {
    f"{letter}{bits}": f"{kind}{bits}"
    for letter, kind in (("I", "int"), ("U", "uint"))
    for bits in (8, 16, 32, 64)
}
_DTYPES |= {"BF16": "bfloat16", "BOOL": "bool"}


def _array(what: str, shape: Sequence[int], dtype: str, data: Any) -> np.ndarray:
    if dtype not in _DTYPES:
        raise ArgumentError(f"{what} of dtype {dtype}, which a Tensor cannot hold")
    return np.frombuffer(data, dtypes.as_dtype(_DTYPES[dtype])).reshape(shape)


def assign(variables: Mapping[str, Variable], arrays: Mapping[str, np.ndarray], path: Any) -> None:
    """Assign arrays to the Variables of their names. All are looked at before any is changed."""
    problems = []
    if missing := [name for name in variables if name not in arrays]:
        problems.append(f"lacks {_some(missing)}")
    if unexpected := [name for name in arrays if name not in variables]:
        problems.append(f"has {_some(unexpected)} too many")
    for name, v in variables.items():
        x = arrays.get(name)
        if x is not None and x.shape != v.shape:
            problems.append(f"has {name} of shape {x.shape} for one of {v.shape}")
        elif x is not None and not _fits(x.dtype, v.dtype):
            problems.append(f"has {name} of {x.dtype} for one of {v.dtype}")
    if problems:
        raise ArgumentError(f"load: {path} " + "; ".join(problems))
    for name, v in variables.items():
        v.assign(arrays[name].astype(v.dtype))


def _fits(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether numbers of a dtype stand for those of another: floats for floats."""
    return given == wanted or (dtypes.is_float(given) and dtypes.is_float(wanted))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# Files


def write(path: Any, data: bytes) -> None:
    """Put a file in the place of another, whole or not at all; a link goes on leading there.

    Raises ArgumentError where no file can be, OSError, with the path, where it cannot be written.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise ArgumentError(f"save: there is no folder {place.parent}: make it first")
    if place.is_dir():
        raise ArgumentError(f"save: {path} is a folder: give the name of a file in it")
    if place.exists() and not place.is_file():
        raise ArgumentError(f"save: {path} is a device or a pipe, which no file can replace")
    try:
        _replace(place, data)
    except OSError as error:  # which knows at most the name of the file aside
        raise OSError(error.errno, f"{error.strerror}, nothing is changed", str(path)) from None


def _replace(place: Path, data: bytes) -> None:
    handle, aside = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, place)
    except BaseException:
        os.unlink(aside)
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those around it, unless it is there. Raises ArgumentError where a file
    is."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(each for each in (path, *path.parents) if each.exists())
        raise ArgumentError(f"save: {file} is a file, where a folder is to be") from None


def _umask() -> int:
    """Which permissions new files do not get: a temporary file has those of its owner only."""
    found = os.umask(0)
    os.umask(found)
    return found


def _bytes(path: Any) -> bytes:
    place = Path(path)
    if not place.is_file():
        raise ArgumentError(f"load: there is no file {path}")
    return place.read_bytes()


def write_archive(
    path: Any, kind: str, manifest: Mapping[str, Any], parts: Mapping[str, bytes]
) -> None:
    """Write one archive of several parts, with their checksums."""
    head = {
        "format": f"tinygrad_edu {kind}",
        "version": _VERSION,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()},
        **manifest,
    }
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(_MANIFEST, json.dumps(head, indent=1))
        for name, data in parts.items():
            archive.writestr(name, data)
    write(path, held.getvalue())


def read_archive(path: Any, kind: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Manifest and parts of what `write_archive` wrote.

    Raises ArgumentError for what is damaged, of another kind, or newer than this library.
    """
    damaged = f"load: {path} is damaged, or no {kind} of tinygrad_edu"
    data = _bytes(path)
    names = _names(data)
    if names and _MANIFEST not in names:
        raise ArgumentError(f"{damaged}: it has no {_MANIFEST}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        head = json.loads(parts.pop(_MANIFEST))
        form, version, sums = head["format"], head["version"], head["sha256"]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as error:
        raise ArgumentError(f"{damaged}: {error}") from None
    if form != f"tinygrad_edu {kind}":
        raise ArgumentError(f"load: {path} is a {form!r}, not a {kind} of tinygrad_edu")
    if version > _VERSION:
        raise ArgumentError(
            f"load: {path} is of version {version}, and this library reads up to {_VERSION}: "
            "install a newer one"
        )
    if sums != {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}:
        raise ArgumentError(f"{damaged}: its parts are not those of its manifest")
    return head, parts
