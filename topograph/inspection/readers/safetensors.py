"""What a safetensors file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from topograph.capturing.lazy import LazyTensors, open_weights_of
from topograph.errors import TopographError
from topograph.inspection.readers.limits import (
    DIMENSION_LIMIT,
    DIRECTORY_LIMIT,
    check_count,
    check_memory,
    first_line,
    open_file,
)

_AGAIN = "copy or write the file again"


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, mapped into memory."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_memory(path, _checked(path, whole=True))
    try:
        return dict(load_file(path))
    except (SafetensorError, RuntimeError, ValueError, AttributeError, KeyError) as error:
        raise TopographError(
            f"{path} is damaged, or holds a type that PyTorch lacks ({first_line(error)})", _AGAIN
        ) from None


def open_safetensors(files: Iterable[Path]) -> LazyTensors:
    """Return the tensors of files together, each to be read when it is asked for.

    Headers are checked as if the files were read; the tensors together may have any size, and each
    is to be within :func:`~topograph.inspection.readers.limits.max_bytes`.
    """
    from safetensors import safe_open

    homes: dict[str, Path] = {}
    for path in files:
        _checked(path, whole=False)
        try:
            with safe_open(path, framework="pt") as stored:
                names = list(stored.keys())
        except Exception as error:
            raise TopographError(
                f"{path} is damaged, or holds a type that PyTorch lacks ({first_line(error)})",
                _AGAIN,
            ) from None
        for name in names:
            if name in homes:
                raise TopographError(
                    f"{path} holds {name[:200]!r} a second time", "save the weights again"
                )
            homes[name] = path
    lazy = open_weights_of(homes)
    for name in lazy:
        check_memory(homes[name], math.prod(lazy.shape(name)) * lazy.dtype(name).itemsize)
    return lazy


def _checked(path: Path, whole: bool) -> int:
    """Return how many bytes of tensors a file's header claims, once it is sure to be true."""
    with open_file(path, whole) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > DIRECTORY_LIMIT:
            raise TopographError(
                f"{path} has a header of {length:,} bytes; expected at most {DIRECTORY_LIMIT:,}",
                "write the file again with safetensors, in several files if it is so large",
            )
        text = stream.read(length)
        size = stream.seek(0, 2)
    return _claims(path, text, size - 8 - length)


def _claims(path: Path, text: bytes, there: int) -> int:
    """Return how many bytes of tensors a header claims, or refuse one that cannot be true."""
    try:
        header = json.loads(text, object_pairs_hook=_unlike)
    except (ValueError, RecursionError) as error:
        raise TopographError(
            f"{path} has a damaged safetensors header ({first_line(error)})", _AGAIN
        ) from None
    if not isinstance(header, dict):
        raise TopographError(f"{path} has a safetensors header that names no tensors", _AGAIN)
    header.pop("__metadata__", None)
    check_count(path, len(header), "tensors")
    spans = [_span(path, entry) for entry in header.values()]
    if any(end > there for _, end in spans):
        raise TopographError(
            f"{path} names tensors beyond its end; expected at most {there:,} bytes of them",
            "copy the file again",
        )
    place = 0
    for start, end in sorted(spans):
        if start != place:
            raise TopographError(
                f"{path} has tensors that overlap or leave gaps at byte {min(start, place):,}; "
                "expected one behind the other",
                _AGAIN,
            )
        place = end
    return place


def _span(path: Path, entry: Any) -> tuple[int, int]:
    """Return where a tensor lies, its shape being of a size that could lie there."""
    if isinstance(entry, Mapping):
        shape, offsets = entry.get("shape"), entry.get("data_offsets")
        if (
            isinstance(shape, list)
            and isinstance(offsets, list)
            and isinstance(entry.get("dtype"), str)
            and len(shape) <= DIMENSION_LIMIT
            and len(offsets) == 2
            and all(type(n) is int and 0 <= n < 1 << 48 for n in (*shape, *offsets))
            and offsets[0] <= offsets[1]
            # Elements take half a byte (F4) to sixteen (C128).
            and math.prod(shape) <= 2 * (offsets[1] - offsets[0]) <= 32 * math.prod(shape)
        ):
            return offsets[0], offsets[1]
    raise TopographError(
        f"{path} has a damaged safetensors header: an entry is {str(entry)[:100]!r}; expected "
        "a type, a shape and the bytes that it takes",
        _AGAIN,
    )


def _unlike(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; readers differ in which of two values of one key they take."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key that stands there twice")
    return made
