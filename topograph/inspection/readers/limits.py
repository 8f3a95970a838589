"""How much a file may claim before memory is taken, and what counts as a file at all.

Every reader asks here first. The invariant: what is allocated for a file is at most a small
multiple of the file's own size, and the tensors that it declares, counted as if each were dense and
had memory of its own, are at most :func:`max_bytes`.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from topograph.errors import TopographError

#: A directory of tensors longer than this is refused (safetensors header, zip directory, JSON
#: index): parsed, it takes some 20 times as much. 16 MiB name more than 100,000 tensors.
DIRECTORY_LIMIT = 1 << 24

#: More tensors, storages or files in an archive than this are refused.
COUNT_LIMIT = 200_000

#: A tensor of more dimensions is refused; torch itself has kernels for at most 64.
DIMENSION_LIMIT = 64

#: A compressed archive that grows by more than this factor is refused; torch stores, uncompressed.
INFLATION_LIMIT = 20

#: The part of the machine's memory that a file's tensors may take unless the user says otherwise.
MEMORY_PART = 0.75

#: The environment variable that sets :func:`max_bytes`.
LIMIT_VARIABLE = "TOPOGRAPH_MAX_BYTES"

_RAISE = f"set {LIMIT_VARIABLE} to the bytes that it may take, or inspect it on a larger machine"


def max_bytes() -> int:
    """Return how many bytes the tensors of a file may take.

    The environment variable ``TOPOGRAPH_MAX_BYTES`` says so; without it, three quarters of the
    memory that the machine, or the container this runs in, has.

    Raises
    ------
    TopographError
        If the variable is set to something that is not a positive whole number.
    """
    given = os.environ.get(LIMIT_VARIABLE)
    if given is None:
        return int(MEMORY_PART * _memory())
    if not given.strip().isdecimal() or int(given) == 0:
        raise TopographError(
            f"{LIMIT_VARIABLE} is {given!r}; expected a positive whole number of bytes",
            f"set it to e.g. {2**34} (16 GiB), or unset it",
        )
    return int(given)


def _memory() -> int:
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:  # no container, or not Linux
        return there
    return min(there, int(limit)) if limit.isdecimal() else there


def check_memory(path: Path, needed: int) -> None:
    """Refuse what needs more bytes than :func:`max_bytes`."""
    limit = max_bytes()
    if needed > limit:
        raise TopographError(
            f"{path} declares {_size(needed)} of tensors; expected at most {_size(limit)}", _RAISE
        )


def check_count(path: Path, count: int, what: str) -> None:
    """Refuse a file that lists more than :data:`COUNT_LIMIT` of something."""
    if count > COUNT_LIMIT:
        raise TopographError(
            f"{path} lists {count:,} {what}; expected at most {COUNT_LIMIT:,}",
            "save the weights alone, in several files if there are so many",
        )


def open_file(path: Path, whole: bool = True) -> io.BufferedReader:
    """Open a regular file of a size within the limit; nothing that could block or never end.

    Parameters
    ----------
    path
        The file.
    whole
        Whether all of it will be in memory; if it is read in parts, it may have any size.

    Raises
    ------
    TopographError
        If it does not exist, cannot be read, is larger than :func:`max_bytes`, or is a folder, a
        pipe, a socket or a device.
    """
    try:
        # Opening a pipe without this flag waits for whoever may write to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise TopographError(
            f"{path} cannot be opened ({getattr(error, 'strerror', None) or error}); expected a "
            "file to read",
            "pass the path of a checkpoint",
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TopographError(
            f"{path} is no regular file; expected one, not a folder, pipe, socket or device",
            "pass the path of a checkpoint",
        )
    stream = os.fdopen(descriptor, "rb")
    try:
        size, limit = os.fstat(descriptor).st_size, max_bytes()
        if whole and size > limit:
            raise TopographError(
                f"{path} has {_size(size)}; expected at most {_size(limit)}", _RAISE
            )
    except TopographError:
        stream.close()
        raise
    return stream


def _size(count: int) -> str:
    if count >= 1 << 70:
        return "more than 2**70 bytes"
    return f"{count / 2**30:,.1f} GiB" if count >= 1 << 30 else f"{count:,} bytes"


def first_line(error: Exception) -> str:
    """Return the class of an error and the first line that it says."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
