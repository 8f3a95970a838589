"""What a run says when memory does not suffice."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from pwmpr.settings import Settings
from topograph.errors import TopographError

# PyTorch's allocator on the CPU, and libraries that it calls, raise RuntimeError.
_WORDS = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory|bad_alloc"
    r"|could not create a memory|out of memory|ALLOC_FAILED",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be had.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("sizes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_WORDS.search(str(error)))


@contextlib.contextmanager
def stating(settings: Settings, folder: Path) -> Iterator[None]:
    """Say in plain words that memory does not suffice, and what to do.

    Raises
    ------
    TopographError
        In place of what the allocator raises.
    """
    try:
        yield
    except TopographError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise TopographError(
            f"memory does not suffice on {settings.device} with batch={settings.batch} ({words})",
            f"free memory, and pwmpr resume {folder} goes on from the last checkpoint if one was "
            "written; or start another run with a smaller batch",
        ) from error
