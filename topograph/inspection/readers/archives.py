"""What a zip archive would unpack to, before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from topograph.errors import TopographError
from topograph.inspection.readers.limits import (
    COUNT_LIMIT,
    DIRECTORY_LIMIT,
    INFLATION_LIMIT,
    check_memory,
    open_file,
)

_FORGED = "torch.save writes no such file; get it from where it was made"
_LOCAL = struct.Struct("<4s5H3I2H")  # a member's own header; its name and extra follow


class Archive(zipfile.ZipFile):
    """A zip archive that closes the file it was opened from."""

    def close(self) -> None:
        """Close the archive and its file."""
        stream = self.fp
        super().close()
        if stream is not None:
            stream.close()


def open_archive(path: Path) -> Archive:
    """Open a zip archive; refuse a damaged one, and one whose directory is out of all proportion.

    Raises
    ------
    TopographError
        If it is no regular file, is damaged, or its directory is longer than the limit, names a
        member twice, or gives two members the same bytes.
    """
    stream = open_file(path)
    try:
        length = _directory_length(stream)
        if length > DIRECTORY_LIMIT:
            raise TopographError(
                f"{path} has a zip directory of {length:,} bytes; expected at most "
                f"{DIRECTORY_LIMIT:,}",
                _FORGED,
            )
        archive = Archive(stream)
        _check_directory(path, archive.infolist(), archive.start_dir)
    except TopographError:
        stream.close()
        raise
    except Exception as error:  # a forged directory may raise anything
        stream.close()
        raise TopographError(
            f"{path} is a damaged or incomplete zip archive ({error})", "copy it again"
        ) from None
    return archive


def check_archive(path: Path) -> bool:
    """Check what an archive would unpack to; return whether all of it is stored uncompressed."""
    with open_archive(path) as archive:
        entries = archive.infolist()
    size = path.stat().st_size
    total = sum(entry.file_size for entry in entries)
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if total > (size if stored else INFLATION_LIMIT * size):
        raise TopographError(
            f"{path} ({size:,} bytes) claims to unpack to {total:,} bytes", _FORGED
        )
    check_memory(path, total)
    return stored


def data_offset(stream: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Return where in the file the bytes of a member begin."""
    stream.seek(entry.header_offset)
    fields = _LOCAL.unpack(stream.read(_LOCAL.size))
    if fields[0] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no member at {entry.header_offset}")
    return int(entry.header_offset + _LOCAL.size + fields[-2] + fields[-1])


def _check_directory(path: Path, entries: Sequence[zipfile.ZipInfo], end: int) -> None:
    # Readers differ in which of two members of one name they take, so that one could be shown and
    # the other be used; and overlapping members let a small file unpack to a huge one.
    if len(entries) > COUNT_LIMIT:
        raise TopographError(
            f"{path} holds {len(entries):,} members; expected at most {COUNT_LIMIT:,}", _FORGED
        )
    twice = len(entries) - len({entry.filename for entry in entries})
    if twice:
        raise TopographError(f"{path} names {twice} of its members more than once", _FORGED)
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [*(entry.header_offset for entry in ordered[1:]), end]
    for entry, limit in zip(ordered, ends, strict=True):
        if entry.header_offset + _LOCAL.size + entry.compress_size > limit:
            raise TopographError(
                f"{path} has a member that overlaps what is behind it ({entry.filename!r})", _FORGED
            )


def _directory_length(stream: IO[bytes]) -> int:
    """Return how long the file says that its directory is; zipfile reads all of that at once."""
    size = stream.seek(0, 2)
    start = max(0, size - 65_557 - 76)  # the longest comment, the end record and the ZIP64 ones
    stream.seek(start)
    tail = stream.read()
    stream.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if not 0 <= end <= len(tail) - 22:
        return 0  # no archive, as zipfile will say
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if 0 <= large <= len(tail) - 56:
        long = int.from_bytes(tail[large + 40 : large + 48], "little")
        # 0xFFFFFFFF in the short record says that the length is in the long one.
        return long if length == 0xFFFFFFFF else max(length, long)
    return length
