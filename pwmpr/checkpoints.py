"""How the state of an unfinished run is kept so that no crash loses it.

A checkpoint is a file of tensors and plain values (loaded with ``weights_only=True``: nothing in it
can run). The last two are kept; ``manifest.json`` holds their sizes and hashes and is replaced only
after a checkpoint is whole on the disk.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pwmpr.files import replacing, write
from pwmpr.sums import of_file
from topograph.errors import TopographError

KEPT = 2


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    folder
        Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __bool__(self) -> bool:
        return bool(self._manifest())

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint beside the last one; older ones are removed.

        Parameters
        ----------
        state
            Tensors and plain values, nested in dictionaries and lists.

        Raises
        ------
        TopographError
            If it cannot be written; the last one is intact then.
        """
        manifest = self._manifest()
        number = int(re.findall(r"\d+", manifest[0]["file"])[0]) + 1 if manifest else 0
        path = self.folder / f"{number:06d}.pt"
        with replacing(path) as file:
            torch.save(dict(state), file)
        entry = {"file": path.name, "size": path.stat().st_size, "sha256": of_file(path)}
        manifest = [entry, *manifest][:KEPT]
        text = json.dumps({"checkpoints": manifest}, indent=2) + "\n"
        write(self.folder / "manifest.json", text.encode())
        named = {entry["file"] for entry in manifest}
        for old in self.folder.glob("*.pt"):
            if old.name not in named:
                old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Return the newest whole checkpoint; None before the first was written.

        A damaged one is passed over with a warning.

        Raises
        ------
        TopographError
            If there were checkpoints and all of them are damaged.
        """
        manifest = self._manifest()
        for entry in manifest:
            path = self.folder / Path(entry["file"]).name
            try:
                if path.stat().st_size != entry["size"] or of_file(path) != entry["sha256"]:
                    raise ValueError("its size or hash is not the one in the manifest")
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file may raise anything
                warnings.warn(
                    f"checkpoint {path} is damaged ({error}); going back to the one before",
                    stacklevel=2,
                )
                continue
            return state
        if manifest:
            raise TopographError(
                f"none of the {len(manifest)} checkpoints in {self.folder} is whole",
                "start the run again in another folder",
            )
        return None

    def _manifest(self) -> list[dict[str, Any]]:
        path = self.folder / "manifest.json"
        if not path.is_file():
            return []
        try:
            entries: list[dict[str, Any]] = json.loads(path.read_text())["checkpoints"]
            return [{k: entry[k] for k in ("file", "size", "sha256")} for entry in entries]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TopographError(
                f"{path} cannot be read ({error})",
                "restore the file, or start the run again in another folder",
            ) from None
