"""What a file of ``torch.save`` holds, either format, with nothing in it executed.

The pickle is read by :mod:`topograph.inspection.readers.opcodes`, which knows no names but those in
:mod:`topograph.inspection.readers.names`; that is stricter than ``weights_only=True``, whose
list lets a file allocate what it likes and a nested key end the process. The pickle is read twice:
what its tensors claim is checked against the file and the memory first, then the tensors are made,
as views of the file where that is possible.
"""

from __future__ import annotations

import io
import mmap
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch

from topograph.errors import TopographError
from topograph.inspection.readers.archives import check_archive, data_offset, open_archive
from topograph.inspection.readers.limits import check_memory, first_line, open_file
from topograph.inspection.readers.names import table
from topograph.inspection.readers.opcodes import Machine, PickleError, check_tree
from topograph.inspection.readers.refusals import RESAVE, refusal
from topograph.inspection.readers.tensors import Builder

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

#: Beside its own size, what a pickle may hand to calls.
_SPARE = 1 << 20

_Load = Callable[[str], torch.UntypedStorage]


def read_zip(path: Path) -> Any:
    """Return what a file of ``torch.save`` since PyTorch 1.6 holds."""
    check_archive(path)
    with open_archive(path) as archive:
        return _guarded(path, lambda: _read_zip(path, archive))


def read_old(path: Path) -> Any:
    """Return what a file of ``torch.save`` before PyTorch 1.6 holds."""
    with open_file(path) as stream:
        return _guarded(path, lambda: _read_old(path, stream.fileno()))


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    before = _state(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about sparse CSR
            held = read()
    except TopographError:
        raise
    except MemoryError:
        raise TopographError(f"{path} needs more memory than there is", RESAVE) from None
    except Exception as error:  # a damaged file may raise anything
        said = str(error) if isinstance(error, PickleError) else first_line(error)
        raise TopographError(
            f"{path} is damaged or was not written by torch.save ({said}); expected tensors and "
            "plain values",
            "copy it again, or save the weights with torch.save or safetensors",
        ) from None
    if _state(path) != before:
        raise TopographError(
            f"{path} was changed while it was read; expected a file at rest",
            "read it again when whatever writes it is done",
        )
    return held


def _state(path: Path) -> tuple[int, ...]:
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


def _read_zip(path: Path, archive: zipfile.ZipFile) -> Any:
    members = {entry.filename: entry for entry in archive.infolist()}
    roots = [name for name in members if name.split("/", 1)[-1] == "data.pkl"]
    if len(roots) != 1:
        raise PickleError(f"{len(roots)} members called data.pkl")
    root = roots[0].removesuffix("data.pkl")
    swapped = root + "byteorder" in members and archive.read(root + "byteorder") == b"big"
    pickle = archive.read(roots[0])

    def run(builder: Builder) -> Any:
        machine = _machine(io.BytesIO(pickle), builder, len(pickle))
        return _known(path, machine, machine.run)

    claims = Builder()
    run(claims)
    parts = {}
    for key, length in claims.lengths.items():
        entry = members.get(f"{root}data/{key}")
        there = entry.file_size if entry is not None else 0
        if there < length:
            raise TopographError(
                f"{path} has {there:,} bytes for a storage; expected the {length:,} that its "
                "pickle claims",
                "it is cut short or forged; copy it again",
            )
        parts[key] = entry
    check_memory(path, claims.total)
    size = path.stat().st_size
    mapped = _map(path, size)
    stream = archive.fp

    def load(key: str) -> torch.UntypedStorage:
        entry, length = parts[key], claims.lengths[key]
        if entry is None or not length:
            return torch.UntypedStorage(0)
        if entry.compress_type != zipfile.ZIP_STORED or stream is None:
            return _owned(archive.read(entry)[:length])
        start = data_offset(stream, entry)
        if start + length > size:
            raise PickleError("a storage beyond the end of the file")
        return _aligned(mapped, start, length)

    return run(Builder(_once(load), swapped))


def _read_old(path: Path, descriptor: int) -> Any:
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:

        def run(builder: Builder) -> tuple[Any, Any]:
            content.seek(0)
            machine = _machine(content, builder, len(content))
            if _known(path, machine, machine.run) != _MAGIC:
                raise PickleError("a pickle without torch's number at its beginning")
            if machine.run() != _PROTOCOL:
                raise PickleError("a version of the format that is not known")
            machine.run()  # of the machine that wrote it
            held = _known(path, machine, machine.run)
            return held, machine.run()

        claims = Builder()
        _, keys = run(claims)
        if type(keys) is not list or not all(type(key) in (str, int, bytes) for key in keys):
            raise PickleError("a file without a list of its storages")
        names = [key.decode("ascii") if isinstance(key, bytes) else str(key) for key in keys]
        starts: dict[str, int] = {}
        place = content.tell()
        for name in names:
            length = claims.lengths.get(name, -1)
            count = int.from_bytes(content[place : place + 8], "little")
            width = claims.widths.get(name, 1)
            if count * width != length or place + 8 + length > len(content) or name in starts:
                raise TopographError(
                    f"{path} ({len(content):,} bytes) claims to hold a storage of "
                    f"{max(length, 0):,} bytes where there is none; expected a whole file",
                    "it is cut short or forged; copy it again",
                )
            starts[name] = place + 8
            place += 8 + length
        if starts.keys() != claims.lengths.keys():
            raise PickleError("a tensor on a storage that the file does not hold")
        check_memory(path, claims.total)
        mapped = _map(path, len(content))
        load = _once(lambda key: _aligned(mapped, starts[key], claims.lengths[key]))
        return run(Builder(load))[0]


def _machine(stream: IO[bytes] | mmap.mmap, builder: Builder, size: int) -> Machine:
    return Machine(stream, table(builder), builder.storage, spare=4 * size + _SPARE)


def _known(path: Path, machine: Machine, run: Callable[[], Any]) -> Any:
    """Run, and refuse the file where it asks for names that are not known, damaged or not."""
    try:
        held = run()
    except Exception:
        if machine.unknown:
            raise refusal(path, machine.unknown) from None
        raise
    if machine.unknown:
        raise refusal(path, machine.unknown)
    check_tree(held)
    return held


def _map(path: Path, size: int) -> torch.UntypedStorage:
    return cast(torch.UntypedStorage, torch.UntypedStorage.from_file(os.fspath(path), False, size))


def _aligned(mapped: torch.UntypedStorage, start: int, length: int) -> torch.UntypedStorage:
    """Return a part of a file, as a view unless its elements would lie across their boundaries."""
    part: Any = mapped[start : start + length]
    if start % 16:
        own = torch.UntypedStorage(length)
        own.copy_(part)
        part = own
    return cast(torch.UntypedStorage, part)


def _owned(data: bytes) -> torch.UntypedStorage:
    owned = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return owned.untyped_storage()


def _once(load: _Load) -> _Load:
    # Tensors that share a storage in the file share it in memory.
    made: dict[str, torch.UntypedStorage] = {}

    def cached(key: str) -> torch.UntypedStorage:
        if key not in made:
            made[key] = load(key)
        return made[key]

    return cached
