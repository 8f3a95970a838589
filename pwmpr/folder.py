"""What lies in a run's folder, and how it is written and read.

::

    settings.json        every resolved setting, the model's and data's shape, machine, versions
    metrics.jsonl        one line an epoch, appended and flushed as training goes
    snapshots.jsonl      one line a topology change: index, step, density, mask digest, …, and
                         with sparse kernels the layers that compute sparsely from then on
    masks/step-000.safetensors     the masks of snapshot 0 (`pwmpr.Masks.load`)
    weights/step-000.safetensors   the weights at the end of snapshot 0's training, kept values only
    checkpoints/         see `pwmpr.checkpoints`
    model.safetensors    the trained network's state, written at the end
    SHA256SUMS           what a finished run's files must be; written just before the outcome
    result.json          the outcome; its presence says that the run is finished

Everything that must be whole is replaced all or nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from pwmpr import records, sums
from pwmpr.checkpoints import Checkpoints
from pwmpr.files import remove_leftovers, write
from pwmpr.masks import Masks
from pwmpr.tensors import compress, expand, read_state, write_state
from topograph.errors import TopographError

PARTS = ("masks", "weights", "checkpoints")

#: The first format of the folder whose finished runs have SHA256SUMS.
FORMAT_WITH_SUMS = 2


class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    path
        The folder; see `create` and `open` for how one comes to be.

    Attributes
    ----------
    checkpoints : Checkpoints
        What an unfinished run goes on from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._is_new = False
        self._metrics: FileIO | None = None
        self._lock: TextIO | None = None

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new folder; one that holds a run already is refused.

        Raises
        ------
        TopographError
            If the folder holds a run, is a file, or cannot be made.
        """
        if (path / "settings.json").exists():
            state = "a finished run" if (path / "result.json").exists() else "an unfinished run"
            raise TopographError(
                f"out={str(path)!r} holds {state}; expected a new folder",
                f"pwmpr.resume({str(path)!r}) goes on with it; another out= starts anew",
            )
        folder = cls(path)
        folder._is_new = not path.exists()
        try:
            for name in PARTS:
                (path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TopographError(
                f"out={str(path)!r} cannot be made ({error.strerror})",
                "pass a folder that you may write to",
            ) from None
        return folder

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of a run that was started.

        Raises
        ------
        TopographError
            If it is no such folder.
        """
        folder = Path(path).expanduser()
        if not (folder / "settings.json").is_file():
            what = "holds no settings.json" if folder.is_dir() else "is no folder"
            raise TopographError(
                f"{folder} {what}; expected the folder of a run",
                "pass the folder that pwmpr.run(out=…) wrote",
            )
        return cls(folder)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "result.json").is_file()

    def discard(self) -> None:
        """Remove what a run left that could not begin; nothing is lost, as nothing was trained."""
        self.close()
        if self._is_new:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for name in PARTS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in ("settings.json", "metrics.jsonl", "snapshots.jsonl", "lock"):
            (self.path / name).unlink(missing_ok=True)

    def lock(self) -> None:
        """Keep other processes from writing into the folder, until this one ends or closes it.

        What killed writers left half written is removed.

        Raises
        ------
        TopographError
            If another process is writing.
        """
        self._hold()
        remove_leftovers(self.path)

    def _hold(self) -> None:
        try:
            import fcntl
        except ImportError:  # no advisory locks on this system
            return
        file = (self.path / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise TopographError(
                f"{self.path} is being written by another process",
                "wait until that run ends, or end it",
            ) from None
        self._lock = file

    def close(self) -> None:
        """Close what is open; the lock is given up."""
        for file in (self._metrics, self._lock):
            if file is not None:
                file.close()
        self._metrics = self._lock = None

    # settings, history, result

    def write_settings(self, values: Mapping[str, Any]) -> None:
        """Write settings.json."""
        self._write_json("settings.json", values)

    def settings(self) -> dict[str, Any]:
        """Return the content of settings.json."""
        return self._read_json("settings.json")

    def add_history(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl and flush it.

        Raises
        ------
        TopographError
            If it cannot be written, as on a full disk.
        """
        path = self.path / "metrics.jsonl"
        try:
            if self._metrics is None:
                # Unbuffered: a row that did not fit is not tried again when the file is closed.
                self._metrics = path.open("ab", buffering=0)
            line = records.of_row(row)
            if self._metrics.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise TopographError(
                f"{path} cannot be written ({error.strerror})",
                f"make room or check permissions; pwmpr.resume({str(self.path)!r}) goes on from "
                "the last checkpoint",
            ) from error

    def set_history(self, rows: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl, as after going back to a checkpoint."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        self._write_lines("metrics.jsonl", rows)

    def history(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl; a torn last line is left out.

        Raises
        ------
        TopographError
            If another line is damaged.
        """
        return self._read_lines("metrics.jsonl")

    def write_result(self, values: Mapping[str, Any]) -> None:
        """Write SHA256SUMS and then result.json: the run is finished."""
        content = records.of_values(values)
        # Sorted, so that a run that is killed here and goes on writes the same lines.
        written = sorted(
            path
            for pattern in ("*.json", "*.jsonl", "*.safetensors", "*/step-*.safetensors")
            for path in self.path.glob(pattern)
            if path.name != "result.json"
        )
        found = {path.relative_to(self.path).as_posix(): sums.of_file(path) for path in written}
        found["result.json"] = sums.of_bytes(content)
        write(self.path / sums.NAME, sums.to_text(found).encode())
        write(self.path / "result.json", content)

    def result(self) -> dict[str, Any]:
        """Return the content of result.json.

        Raises
        ------
        TopographError
            If the run is not finished.
        """
        if not self.finished:
            raise TopographError(
                f"the run in {self.path} is not finished; expected a result.json",
                f"pwmpr.resume({str(self.path)!r}) brings it to its end",
            )
        return self._read_json("result.json")

    def check(self, path: Path) -> None:
        """Refuse a file of a finished run that is not what the run wrote.

        Raises
        ------
        TopographError
            If its hash is not the one in SHA256SUMS, or that file is missing or damaged.
        """
        if not self.finished:
            return
        listed = (self.path / sums.NAME).is_file()
        settings = self.path / "settings.json"
        if not listed and records.read_values(settings).get("format", 0) < FORMAT_WITH_SUMS:
            return
        sums.check(self.path, path.relative_to(self.path).as_posix())

    # masks and weights

    def write_masks(self, index: int, masks: Masks) -> None:
        """Write the masks of a snapshot."""
        masks.save(self.masks_path(index))

    def masks(self, index: int) -> Masks:
        """Return the masks of a snapshot."""
        path = self.masks_path(index)
        self.check(path)
        return Masks.load(path)

    def masks_path(self, index: int) -> Path:
        """Return where the masks of a snapshot lie."""
        return self.path / "masks" / f"step-{index:03d}.safetensors"

    def weights_path(self, index: int) -> Path:
        """Return where the weights of a snapshot lie."""
        return self.path / "weights" / f"step-{index:03d}.safetensors"

    def set_snapshots(self, rows: list[dict[str, Any]]) -> None:
        """Replace snapshots.jsonl."""
        self._write_lines("snapshots.jsonl", rows)

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the rows of snapshots.jsonl."""
        return self._read_lines("snapshots.jsonl")

    def write_weights(self, index: int, state: Mapping[str, Tensor], masks: Masks) -> None:
        """Write a network's state, of masked weights the kept values alone."""
        write_state(self.weights_path(index), compress(state, masks))

    def weights(self, index: int, masks: Masks) -> dict[str, Tensor]:
        """Return a network's state as `write_weights` took it.

        Raises
        ------
        TopographError
            If the snapshot has no weights.
        """
        path = self.weights_path(index)
        if not path.is_file():
            raise TopographError(
                f"{path} does not exist: snapshot {index} has masks and no weights",
                "weights are written when the snapshot's training ends; run with "
                "weight_snapshots=True",
            )
        self.check(path)
        return expand(read_state(path), masks)

    def write_model(self, state: Mapping[str, Tensor]) -> None:
        """Write model.safetensors."""
        write_state(self.path / "model.safetensors", state)

    def model_state(self) -> dict[str, Tensor]:
        """Return the state in model.safetensors."""
        path = self.path / "model.safetensors"
        self.check(path)
        return read_state(path)

    # JSON

    def _write_json(self, name: str, values: Mapping[str, Any]) -> None:
        write(self.path / name, records.of_values(values))

    def _write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        write(self.path / name, records.of_rows(rows))

    def _read_json(self, name: str) -> dict[str, Any]:
        self.check(self.path / name)
        return records.read_values(self.path / name)

    def _read_lines(self, name: str) -> list[dict[str, Any]]:
        self.check(self.path / name)
        return records.read_rows(self.path / name)
