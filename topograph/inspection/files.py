"""What a checkpoint file holds, read so that nothing in it is executed.

The kind of file is told from its first bytes, never from its name. Sizes are checked before memory
is taken: against the file (whatever a header claims) and against the machine's memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topograph.inspection.readers.arrays import read_npy, read_npz
from topograph.inspection.readers.kinds import kind_of_file as kind_of_file
from topograph.inspection.readers.limits import open_file
from topograph.inspection.readers.onnx import read_onnx
from topograph.inspection.readers.pickles import read_old, read_zip
from topograph.inspection.readers.programs import read_exported, read_torchscript
from topograph.inspection.readers.safetensors import read_safetensors

#: By kind of file, what reads it. A reader executes nothing in the file.
READERS: dict[str, Callable[[Path], Any]] = {
    "safetensors": read_safetensors,
    "zip": read_zip,
    "pickle": read_old,
    "torchscript": read_torchscript,
    "npz": read_npz,
    "npy": read_npy,
    "onnx": read_onnx,
}


def read_file(path: Path, trust: bool = False) -> Any:
    """Return what a checkpoint file holds, on the CPU; nothing that a pickle names is imported.

    Parameters
    ----------
    path
        A file written by ``torch.save`` (either format), by safetensors or by NumPy, or an ONNX
        model, of which the weights are read.
    trust
        Whether an exported program (``.pt2``) may be loaded, which runs code pickled in it.
        Pickles are refused all the same.

    Raises
    ------
    TopographError
        If the file is of another kind, is damaged, claims more than it holds or than fits into
        memory, or is a pickle that needs to run code; then with the names of what it needs.
    """
    kind = kind_of_file(path)
    return read_exported(path, trust) if kind == "exported" else READERS[kind](path)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open_file(path, whole=False) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
