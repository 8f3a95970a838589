"""What a pickle that is refused wants to run, by name, found without running it."""

from __future__ import annotations

import pickletools
import re
from pathlib import Path
from typing import IO

import torch

from topograph.errors import TopographError
from topograph.inspection.readers.limits import first_line

#: How to make a file that can be read without running anything.
RESAVE = (
    "load the file where its code is trusted and save the weights alone: "
    'torch.save(model.state_dict(), "weights.pt"), or safetensors.torch.save_file'
)


def refusal(path: Path, kind: str, error: Exception) -> TopographError:
    """Return the error for a pickle that is refused: what it wants to run and how to re-save."""
    names = _unsafe_globals(path, kind)
    if not names:
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]
    if not names:
        return TopographError(
            f"{path} is damaged or was not written by torch.save ({first_line(error)})", RESAVE
        )
    shown = ", ".join(sorted(names)[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return TopographError(
        f"{path} is a pickle that would run or build {shown}; nothing in a file is executed here",
        RESAVE,
    )


def _unsafe_globals(path: Path, kind: str) -> list[str]:
    try:
        if kind == "zip":
            return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with path.open("rb") as stream:
            return sorted(_globals(stream))
    except Exception:  # what is damaged cannot be listed; the refusal stands anyway
        return []


def _globals(stream: IO[bytes]) -> set[str]:
    """Return the names an old-format file refers to, beyond torch's and plain containers'."""
    names: set[str] = set()
    for _ in range(4):  # magic number, protocol, system information, then the object
        for opcode, argument, _position in pickletools.genops(stream):
            if opcode.name == "GLOBAL" and isinstance(argument, str):
                names.add(argument.replace(" ", "."))
    harmless = (
        "collections.OrderedDict",
        "torch._utils._rebuild_",
        "argparse.Namespace",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray.",
        "numpy._core.multiarray.",
        "_codecs.encode",
        "pathlib.PosixPath",
    )
    storage = re.compile(r"torch\.\w+Storage$")
    return {name for name in names if not name.startswith(harmless) and not storage.match(name)}
