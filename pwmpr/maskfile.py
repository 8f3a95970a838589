"""What masks look like on the disk.

A mask file is a safetensors file: for every parameter a uint8 tensor of the flattened mask's bits
(the first weight in the highest bit, as ``numpy.packbits`` lays them), and in the metadata
``format = "pwmpr-masks"``, ``version = "1"`` and ``shapes``, a JSON object name -> shape in the
order of the layers. Nothing in it can be executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from pwmpr import files
from topograph.errors import TopographError

FORMAT = "pwmpr-masks"
VERSION = "1"

Bits = dict[str, NDArray[np.uint8]]
Shapes = dict[str, tuple[int, ...]]


def write(
    path: Path, bits: Mapping[str, NDArray[np.uint8]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Write packed masks, all or nothing.

    Raises
    ------
    TopographError
        If the file cannot be written; what was there before is intact then.
    """
    listed = json.dumps({name: list(shape) for name, shape in shapes.items()})
    metadata = {"format": FORMAT, "version": VERSION, "shapes": listed}
    files.write(path, _ordered(safetensors.numpy.save(dict(bits), metadata=metadata)))


def read(path: Path) -> tuple[Bits, Shapes]:
    """Read packed masks and their shapes.

    Raises
    ------
    TopographError
        If the file is missing, torn, of another kind, or contradicts itself.
    """
    remedy = "pass a complete file that Masks.save wrote"
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            if (metadata.get("format"), metadata.get("version")) != (FORMAT, VERSION):
                raise TopographError(f"{path} is no mask file of version {VERSION}", remedy)
            listed = json.loads(metadata["shapes"])
            shapes = {name: tuple(int(n) for n in shape) for name, shape in listed.items()}
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except TopographError:
        raise
    except FileNotFoundError:
        raise TopographError(f"{path} does not exist", "check the path") from None
    except Exception as error:
        # safetensors, json and the operating system each have their own; all mean the same here.
        raise TopographError(
            f"{path} cannot be read as masks ({type(error).__name__}: {error})", remedy
        ) from error
    if packed.keys() != shapes.keys():
        raise TopographError(f"{path} lists other names than it holds", remedy)
    for name, shape in shapes.items():
        size, bits = math.prod(shape), packed[name]
        length = -(-size // 8)
        if min(shape, default=0) < 0 or bits.dtype != np.uint8 or bits.shape != (length,):
            raise TopographError(
                f"{path}: {name!r} has {bits.shape} values of {bits.dtype} for shape {shape}; "
                f"expected {length} bytes",
                remedy,
            )
        if size % 8 and bits[-1] & (0xFF >> size % 8):
            raise TopographError(f"{path}: {name!r} has bits set past its last weight", remedy)
    return {name: packed[name].copy() for name in shapes}, shapes


def _ordered(content: bytes) -> bytes:
    """Return a safetensors file with sorted metadata: equal masks have equal files.

    The library writes the metadata in the order of a hash table with random keys.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[end:]
