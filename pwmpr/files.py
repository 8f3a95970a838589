"""How files are written so that a crash leaves either the old content or the new."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from topograph.errors import TopographError

TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends without an error.

    The content is on the disk before the name changes hands, and the name before this returns. A
    full disk, an error or a kill in between leaves the old file as it was.

    Raises
    ------
    TopographError
        If the file cannot be written.
    """
    # The temporary file lies in the same folder: os.replace is atomic on one file system only.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)
    except TopographError:
        raise
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        free = _free_space(path.parent)
        raise TopographError(
            f"{path} cannot be written ({str(error).splitlines()[0]}; {free} free)",
            "make room or check permissions; what was there before is intact",
        ) from error


def write(path: Path, content: bytes) -> None:
    """Replace a file's content, all or nothing; see `replacing`."""
    with replacing(path) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed writers left."""
    for path in folder.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def _free_space(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**20:.0f} MiB"
    except OSError:
        return "unknown space"
