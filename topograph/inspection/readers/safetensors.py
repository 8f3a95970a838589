"""What a safetensors file holds."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from topograph.errors import TopographError
from topograph.inspection.readers.limits import HEADER_LIMIT, check_memory, first_line


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file."""
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
    check_memory(path, size)
    try:
        return dict(load_file(path))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise TopographError(f"{path} is damaged ({first_line(error)})", "copy it again") from None
