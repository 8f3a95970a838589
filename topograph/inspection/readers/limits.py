"""How much a file may claim before memory is taken."""

from __future__ import annotations

import os
from pathlib import Path

from topograph.errors import TopographError

#: A safetensors header longer than this is refused (the format's own limit).
HEADER_LIMIT = 100_000_000

#: A compressed archive that grows by more than this factor is refused; torch stores, uncompressed.
INFLATION_LIMIT = 20


def check_memory(path: Path, needed: int) -> None:
    """Refuse what needs more bytes than this machine has."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise TopographError(
            f"{path} holds {needed / 2**30:.1f} GiB; this machine has {there / 2**30:.1f} GiB",
            "inspect it on a larger machine",
        )


def first_line(error: Exception) -> str:
    """Return the class of an error and the first line that it says."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
