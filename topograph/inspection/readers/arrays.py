"""What a file of NumPy's holds: one array, or several in an archive."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from topograph.errors import TopographError
from topograph.inspection.readers.archives import check_archive, open_archive
from topograph.inspection.readers.limits import first_line, open_file


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` archive by name."""
    check_archive(path)
    held: dict[str, np.ndarray] = {}
    with open_archive(path) as archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as stream:
                    held[entry.filename.removesuffix(".npy")] = _array(
                        path, stream, entry.file_size
                    )
            except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
                raise TopographError(
                    f"{path} is damaged ({first_line(error)})", "copy it again"
                ) from None
    return held


def read_npy(path: Path) -> np.ndarray:
    """Return the array of an ``.npy`` file."""
    with open_file(path) as stream:
        return _array(path, stream, path.stat().st_size)


def _array(path: Path, stream: IO[bytes], size: int) -> np.ndarray:
    """Read one array whose header claims no more than ``size`` bytes, and no objects."""
    header: Any = np.lib.format
    try:
        version = header.read_magic(stream)
        read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
        shape, by_column, dtype = read(stream)
    except Exception as error:  # a header is a Python literal, read by Python's own parser
        raise TopographError(
            f"{path} has a damaged NumPy header ({first_line(error)})", "copy it again"
        ) from None
    if dtype.hasobject:
        raise TopographError(
            f"{path} holds Python objects, which are pickled code",
            "save plain arrays of numbers",
        )
    needed = math.prod(shape) * dtype.itemsize
    largest = max(shape, default=0)  # an array of no elements may have any size all the same
    if needed > size or min(shape, default=0) < 0 or largest > 1 << 48 or len(shape) > 32:
        raise TopographError(
            f"{path} claims an array of {needed:,} bytes in {size:,}", "copy it again"
        )
    content = stream.read(needed)
    if len(content) != needed:
        raise TopographError(f"{path} is cut short", "copy it again")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C").copy()
