"""What a checkpoint file holds, read so that nothing in it is executed.

The kind of file is told from its first bytes, never from its name. Sizes are checked before memory
is taken: against the file (whatever a header claims) and against the machine's memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from topograph.errors import TopographError

#: A safetensors header longer than this is refused (the format's own limit).
HEADER_LIMIT = 100_000_000

#: A compressed archive that grows by more than this factor is refused; torch stores, uncompressed.
INFLATION_LIMIT = 20

_RESAVE = (
    "load the file where its code is trusted and save the weights alone: "
    'torch.save(model.state_dict(), "weights.pt"), or safetensors.torch.save_file'
)


def kind_of_file(path: Path) -> str:
    """Return what a file is by its content.

    Returns
    -------
    str
        ``"zip"`` (torch.save since 1.6), ``"pickle"`` (torch.save before), ``"safetensors"``,
        ``"torchscript"`` or ``"exported"`` (a ``.pt2`` program).

    Raises
    ------
    TopographError
        If it is empty or none of these, with the name of the format where that is known.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(16)
    if size == 0:
        raise TopographError(f"{path} is empty (0 bytes)", "save or copy the checkpoint again")
    if head[:4] == b"PK\x03\x04":
        return _kind_of_archive(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if size >= 10 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "safetensors"
    known = {
        b"\x89HDF": "an HDF5 file (Keras)",
        b"\x1f\x8b": "a gzip archive: unpack it first",
        b"GGUF": "a GGUF file",
        b"\x93NUMP": "a NumPy array",
        b"version https://": "a Git LFS pointer, not the file itself: run `git lfs pull`",
        b"<": "a web page or XML, perhaps a failed download",
    }
    what = next(
        (text for magic, text in known.items() if head.startswith(magic)), "not a known format"
    )
    raise TopographError(
        f"{path} is {what} (first bytes {head[:8]!r}); expected a PyTorch "
        "checkpoint or a safetensors file",
        "pass a .pt, .pth, .th, .bin, .ckpt or .safetensors file",
    )


def _kind_of_archive(path: Path) -> str:
    names = [name.split("/", 1)[-1] for name in _archive(path).namelist()]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "torchscript"
    if any(
        name.startswith("models/") or name == "serialized_exported_program.json" for name in names
    ):
        return "exported"
    if "data.pkl" in names:
        return "zip"
    raise TopographError(
        f"{path} is a zip archive without data.pkl; expected one that torch.save wrote",
        "if it is a packed folder, unpack it and pass the checkpoint inside",
    )


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise TopographError(
            f"{path} is a damaged or incomplete zip archive ({error})", "copy it again"
        ) from None


def read_file(path: Path, trust: bool = False) -> Any:
    """Return what a checkpoint file holds, on the CPU; pickles with ``weights_only=True``.

    Parameters
    ----------
    path
        A file written by ``torch.save`` (either format) or by safetensors.
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
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "torchscript":
        raise TopographError(
            f"{path} is a TorchScript program; expected weights",
            'load it where it is trusted and save its weights: torch.save(m.state_dict(), "w.pt")',
        )
    if kind == "exported" and trust:
        return torch.export.load(path).module()
    if kind == "exported":
        raise TopographError(
            f"{path} is an exported program (.pt2), and loading one runs pickled code",
            "save the weights alone, or pass trust=True for a file from a source that you trust",
        )
    return _read_pickle(path, kind)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > HEADER_LIMIT:
            raise TopographError(
                f"{path} has a header of {length:,} bytes; expected at most {HEADER_LIMIT:,}",
                "write the file again with safetensors",
            )
        try:
            header = json.loads(stream.read(length))
            ends = [
                entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"
            ]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            raise TopographError(
                f"{path} has a damaged safetensors header", "copy or write the file again"
            ) from None
    if any(not isinstance(end, int) or end > size - 8 - length for end in ends):
        raise TopographError(
            f"{path} names tensors beyond its end ({size:,} bytes)", "copy the file again"
        )
    _check_memory(path, size)
    try:
        return dict(load_file(path))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise TopographError(f"{path} is damaged ({_first_line(error)})", "copy it again") from None


def _read_pickle(path: Path, kind: str) -> Any:
    # Loading lets no global run that is not on PyTorch's list or ours. FakeTensorMode reads the
    # sizes of an old-format file first, because its storages are allocated as the pickle claims.
    # By name torch.load would take anything called .safetensors for that; an open file has none.
    mapped = kind == "zip" and _check_archive(path) and path.suffix != ".safetensors"
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mapped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as stream:
                if kind == "pickle":
                    with FakeTensorMode():
                        claimed = torch.load(stream, map_location="cpu", weights_only=True)
                    _check_claims(path, claimed)
                    stream.seek(0)
                return torch.load(stream, map_location="cpu", weights_only=True)
    except TopographError:
        raise
    except pickle.UnpicklingError as error:
        raise _refusal(path, kind, error) from None
    except MemoryError:
        raise TopographError(f"{path} needs more memory than there is", _RESAVE) from None
    except Exception as error:  # a damaged pickle may raise anything
        raise TopographError(
            f"{path} is damaged or was not written by torch.save ({_first_line(error)})",
            "copy it again, or save the weights with torch.save or safetensors",
        ) from None


def _harmless() -> list[Any]:
    """Return classes that training scripts put beside weights and that only hold plain values."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    # NumPy 1 and 2 write the same function under two module names.
    names = [(scalar, f"{module}.multiarray.scalar") for module in ("numpy.core", "numpy._core")]
    return [argparse.Namespace, pathlib.PosixPath, np.dtype, *dtypes, *names]


def _check_archive(path: Path) -> bool:
    """Check what an archive would unpack to; return whether all of it is stored uncompressed."""
    entries = _archive(path).infolist()
    size = path.stat().st_size
    total = sum(entry.file_size for entry in entries)
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if total > (size if stored else INFLATION_LIMIT * size):
        raise TopographError(
            f"{path} ({size:,} bytes) claims to unpack to {total:,} bytes",
            "torch.save writes no such file; get it from where it was made",
        )
    _check_memory(path, total)
    return stored


def _check_claims(path: Path, claimed: Any) -> None:
    storages = {
        id(storage): storage.nbytes()
        for storage in (tensor.untyped_storage() for tensor in _tensors(claimed))
    }
    total, size = sum(storages.values()), path.stat().st_size
    if total > size:
        raise TopographError(
            f"{path} ({size:,} bytes) claims to hold {total:,} bytes of tensors",
            "it is cut short or forged; copy it again",
        )
    _check_memory(path, total)


def _check_memory(path: Path, needed: int) -> None:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise TopographError(
            f"{path} holds {needed / 2**30:.1f} GiB; this machine has {there / 2**30:.1f} GiB",
            "inspect it on a larger machine",
        )


def _tensors(value: Any, depth: int = 8) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, depth - 1)


def _refusal(path: Path, kind: str, error: Exception) -> TopographError:
    """Return the error for a pickle that is refused: what it wants to run and how to re-save."""
    names = _unsafe_globals(path, kind)
    if not names:
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]
    if not names:
        return TopographError(
            f"{path} is damaged or was not written by torch.save ({_first_line(error)})", _RESAVE
        )
    shown = ", ".join(sorted(names)[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return TopographError(
        f"{path} is a pickle that would run or build {shown}; nothing in a file is executed here",
        _RESAVE,
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
    harmless = ("collections.OrderedDict", "torch._utils._rebuild_", "argparse.Namespace")
    storage = re.compile(r"torch\.\w+Storage$")
    return {name for name in names if not name.startswith(harmless) and not storage.match(name)}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
