"""Checkpoints: what a training needs to go on as if it had never stopped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from . import lines, random, registry, saving
from .callbacks import Callback
from .errors import ArgumentError

__all__ = ["Checkpointer"]

_NAME = re.compile(r"checkpoint-(\d{8,})\.zip")


class Checkpointer(Callback):
    """Keeps the last checkpoints of a training in a folder, and starts from the newest.

    A checkpoint has the weights, the optimizer's state, metrics, what `stateful` layers go on from,
    the default random generator, the position in the data, and what callbacks remember, the History
    among them. As a callback of `fit` it brings back the newest first, so that a program which was
    killed goes on, run again, to the very weights it would have come to; and writes one every
    `save_freq`, "epoch" or a number of batches. In a loop of one's own, call `restore()` and
    `save()`, and give the `data` whose position is to be kept (a Dataset, or whatever has
    `state_dict` and `load_state_dict`).

    Files are written whole or not at all, and have checksums; a damaged one is passed over with a
    warning. The last `keep` are kept. Data that is no Dataset and no array is read again and
    skipped up to the position.

    >>> import tempfile, tinygrad_edu as edu
    >>> x, y = edu.ones((8, 2)), edu.zeros((8, 1))
    >>> def train(folder, epochs):
    ...     model = edu.Sequential([edu.Input((2,)), edu.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model.fit(x, y, epochs=epochs, verbose=0, callbacks=[Checkpointer(folder)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = train(folder, 2)
    ...     history = train(folder, 3)  # one epoch more
    >>> history.epoch, len(history.history["loss"])
    ([0, 1, 2], 3)
    """

    comes_last = True  # when the others have begun, and have heard of the end of an epoch
    reads_batch_logs = False

    def __init__(
        self,
        directory: Any,
        *,
        keep: int = 3,
        save_freq: int | str = "epoch",
        model: Any = None,
        data: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(keep, int) or keep < 1:
            raise ArgumentError(f"Checkpointer: keep is a number from 1 on, not {keep!r}")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ArgumentError(
                f"Checkpointer: save_freq is 'epoch' or a number of batches, not {save_freq!r}"
            )
        self.directory = Path(directory)
        self.keep = keep
        self.save_freq = save_freq
        self.data = data
        self._model = model
        self._since = 0

    # By hand

    def paths(self) -> list[Path]:
        """The checkpoints there are, the oldest first."""
        found = [x for x in self.directory.glob("checkpoint-*.zip") if _NAME.fullmatch(x.name)]
        return sorted(found, key=_number)

    def save(self) -> Path:
        """Write a checkpoint; the oldest that are too many are removed.

        Raises ArgumentError where the folder is a file, OSError where nothing can be written.
        """
        known = self.paths()
        parts = {f"{kind}.safetensors": saving.pack(own) for kind, own in self._state().items()}
        generator = random.state()
        manifest = {
            "random": [generator.first, generator.second],
            "data": None if self._place() is None else self._place().state_dict(),
            "callbacks": [[type(each).__name__, each.state_dict()] for each in self.beside],
        }
        saving.make_folder(self.directory)
        number = _number(known[-1]) + 1 if known else 1
        path = self.directory / f"checkpoint-{number:08}.zip"
        saving.write_archive(path, "checkpoint", registry.serialize(manifest), parts)
        unfinished = self.directory.glob(".checkpoint-*.zip.*")  # what somebody was killed over
        for old in [*[*known, path][: -self.keep], *unfinished]:
            old.unlink(missing_ok=True)
        return path

    def restore(self) -> Path | None:
        """Bring back the newest checkpoint that is whole: its path, None where there is none.

        Raises ArgumentError, before anything is changed, for one of another model.
        """
        for path in reversed(self.paths()):
            try:
                manifest, parts = saving.read_archive(path, "checkpoint")
            except ArgumentError as error:
                lines.warn(f"Checkpointer: passed over: {error}")
                continue
            self._restore(registry.deserialize(manifest), parts, path)
            return path
        return None

    def _restore(self, manifest: dict[str, Any], parts: dict[str, bytes], path: Path) -> None:
        if "optimizer.safetensors" in parts:
            self._known().build_optimizer()
        arrays = {
            kind: saving.unpack(data, path)
            for kind, data in ((name.removesuffix(".safetensors"), x) for name, x in parts.items())
        }
        carried = arrays.get("carried", {})
        for i, last in self._carried().items():
            count = sum(name.startswith(f"{i}/") for name in carried)
            last.begin([carried[f"{i}/{j}"] for j in range(count)])
        state = self._state()
        if arrays.get("metrics", {}).keys() != state.get("metrics", {}).keys():
            arrays.pop("metrics", None)  # others are measured now, from the next epoch on
            state.pop("metrics", None)
        saving.assign(_flat(state), _flat(arrays), path)
        random.seed(random.Key(*manifest["random"]))
        if self._place() is not None and manifest["data"] is not None:
            self._place().load_state_dict(manifest["data"])
        for each in self.beside:  # the first of its class gets the first of that
            states = manifest["callbacks"]
            found = next((x for x in states if x[0] == type(each).__name__), None)
            if found is not None:
                states.remove(found)
                each.load_state_dict(found[1])

    def _known(self) -> Any:
        model = self._model if self._model is not None else self.model
        if model is None:
            raise ArgumentError("Checkpointer: give it the model, Checkpointer(folder, model=...)")
        return model

    def _state(self) -> dict[str, dict[str, Any]]:
        """All that is to be kept of the model, by kind and name."""
        model = self._known()
        found = {"weights": model.weight_paths()}
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and optimizer.built:
            found["optimizer"] = optimizer.weight_paths()
        metrics = [v for metric in getattr(model, "metrics", ()) for v in metric.variables]
        if metrics:  # by number, for names may come twice
            found["metrics"] = {str(i): v for i, v in enumerate(metrics)}
        carried = self._carried().items()
        states = {f"{i}/{j}": v for i, last in carried for j, v in enumerate(last.variables)}
        if states:
            found["carried"] = states
        return found

    def _carried(self) -> dict[int, Any]:
        """What `stateful` layers go on from, by the layers' places in the model."""
        layers = enumerate(self._known()._below())
        return {i: layer._last for i, layer in layers if hasattr(layer, "_last")}

    def _place(self) -> Any:
        """What knows the position in the data: while `fit` runs, that is `fit`."""
        state = getattr(self._known(), "fit_state", None)
        return self.data if state is None else state

    # As a callback

    def on_train_begin(self, logs: Any = None) -> None:
        self._since = 0
        saving.make_folder(self.directory)  # if it cannot be, that is said before an epoch is spent
        self.restore()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if isinstance(self.save_freq, int):
            self._since += 1
            if self._since >= self.save_freq:
                self._since = 0
                self.save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self.save()


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def _flat(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{kind}: {name}": x for kind, own in parts.items() for name, x in own.items()}
