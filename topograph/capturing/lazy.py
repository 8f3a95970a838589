"""Tensors that stay where they are stored until one is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from topograph.errors import TopographError

#: What a safetensors header calls a type of number.
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


class LazyTensors(Mapping[str, Tensor]):
    """A mapping of tensors of which each is read when it is asked for, and not kept.

    Shapes and types are known beforehand, so that a network can be laid out, and what does not fit
    refused, without reading a single value.

    Parameters
    ----------
    table
        Name to the shape and type of every tensor there is.
    read
        Returns the tensor of a name. It is called anew each time.

    Examples
    --------
    >>> lazy = LazyTensors({"fc.weight": ((2, 3), torch.float32)}, lambda name: torch.ones(2, 3))
    >>> lazy.shape("fc.weight"), lazy.dtype("fc.weight"), len(lazy)
    ((2, 3), torch.float32, 1)
    >>> lazy["fc.weight"].sum().item()
    6.0
    """

    def __init__(
        self,
        table: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
        read: Callable[[str], Tensor],
    ) -> None:
        self._table = {name: (tuple(shape), dtype) for name, (shape, dtype) in table.items()}
        self._read = read

    def __getitem__(self, name: str) -> Tensor:
        shape, _ = self._table[name]
        value = self._read(name)
        if tuple(value.shape) != shape:
            raise TopographError(
                f'"{name}" was read with shape {tuple(value.shape)}; expected {shape}, as listed',
                "give the shapes of the tensors as they are stored",
            )
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table  # the default would read the tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without reading it."""
        return self._table[name][0]

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a tensor, without reading it."""
        return self._table[name][1]

    def renamed(self, names: Mapping[str, str]) -> LazyTensors:
        """Return the same tensors under other names.

        Parameters
        ----------
        names
            New name to the name here, for every tensor that is wanted.
        """
        table = {new: self._table[old] for new, old in names.items()}
        return LazyTensors(table, lambda name: self[names[name]])


def open_weights(path: str | os.PathLike[str]) -> LazyTensors:
    """Return the tensors of safetensors files, to be read one at a time.

    Parameters
    ----------
    path
        A ``.safetensors`` file, the ``.safetensors.index.json`` of a sharded one, or a folder with
        either. No file stays open or mapped between two readings.

    Raises
    ------
    TopographError
        If there is no such file, or one of them is no safetensors file.
    """
    from safetensors import safe_open

    homes: dict[str, Path] = {}
    for file in _files(Path(path)):
        try:
            with safe_open(file, framework="pt") as stored:
                homes |= dict.fromkeys(stored.keys(), file)
        except Exception as error:
            raise TopographError(
                f'"{file.name}" is no readable safetensors file: {error}',
                "check that it was copied whole",
            ) from None
    return open_weights_of(homes)


def open_weights_of(homes: Mapping[str, Path]) -> LazyTensors:
    """Return the tensors of safetensors files, to be read one at a time.

    Parameters
    ----------
    homes
        Name to the file that holds it.
    """
    from safetensors import safe_open

    inside: dict[Path, list[str]] = {}
    for name, file in homes.items():
        inside.setdefault(file, []).append(name)
    table: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for file, names in inside.items():
        with safe_open(file, framework="pt") as stored:
            for name in names:
                part = stored.get_slice(name)
                table[name] = tuple(part.get_shape()), _type(part.get_dtype(), name)

    def read(name: str) -> Tensor:
        with safe_open(homes[name], framework="pt") as stored:
            value: Tensor = stored.get_tensor(name)
            return value

    return LazyTensors(table, read)


def _type(name: str, tensor: str) -> torch.dtype:
    if name not in _TYPES:
        raise TopographError(
            f'"{tensor}" holds numbers of type {name}; expected one of {", ".join(_TYPES)}',
            "save it in a type of number that torch has",
        )
    return _TYPES[name]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        indexes = sorted(path.glob("*.safetensors.index.json"))
        files = sorted(path.glob("*.safetensors"))
        return _files(indexes[0]) if indexes else files or [_missing(path)]
    if not path.is_file():
        _missing(path)
    if not path.name.endswith(".index.json"):
        return [path]
    try:
        listed = set(json.loads(path.read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise TopographError(
            f'"{path.name}" is no index of safetensors files; expected a "weight_map"',
            "pass the .safetensors.index.json beside the files, or the folder",
        ) from None
    # Only names beside the index: it is not to lead anywhere else.
    files = [path.parent / Path(str(name)).name for name in sorted(listed, key=str)]
    for file in files:
        if not file.is_file():
            _missing(file)
    return files


def _missing(path: Path) -> Path:
    raise TopographError(
        f'there is no safetensors file at "{path}"',
        "pass a .safetensors file, its index or the folder that holds it",
    )
