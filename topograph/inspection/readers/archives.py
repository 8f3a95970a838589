"""What a zip archive would unpack to, before anything is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from topograph.errors import TopographError
from topograph.inspection.readers.limits import INFLATION_LIMIT, check_memory


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open a zip archive; refuse a damaged one."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise TopographError(
            f"{path} is a damaged or incomplete zip archive ({error})", "copy it again"
        ) from None


def check_archive(path: Path) -> bool:
    """Check what an archive would unpack to; return whether all of it is stored uncompressed."""
    entries = open_archive(path).infolist()
    size = path.stat().st_size
    total = sum(entry.file_size for entry in entries)
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if total > (size if stored else INFLATION_LIMIT * size):
        raise TopographError(
            f"{path} ({size:,} bytes) claims to unpack to {total:,} bytes",
            "torch.save writes no such file; get it from where it was made",
        )
    check_memory(path, total)
    return stored
