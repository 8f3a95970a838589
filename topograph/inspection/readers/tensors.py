"""Tensors as a pickle describes them: checked first, then views of the file.

A pickle names storages (a key, a type, a length) and tensors on them (an offset, a shape, strides).
A :class:`Builder` without a source of storages only checks and counts; with one it makes the very
tensors that were counted. So a file is read twice: what does not fit is refused before anything is
allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topograph.inspection.readers.limits import COUNT_LIMIT, DIMENSION_LIMIT
from topograph.inspection.readers.opcodes import PickleError

#: What quantised types store.
_QUANTISED = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}

#: Larger sizes would overflow where torch computes with 64 bits.
_SIZE_LIMIT = 1 << 48


@dataclass(frozen=True)
class StorageType:
    """A class of storages, such as ``torch.FloatStorage``."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Storage:
    """A part of the file that holds elements of one type.

    Attributes
    ----------
    key
        What the file calls the storage.
    dtype
        Of its elements.
    start, length
        The part of it, in bytes.
    """

    key: str
    dtype: torch.dtype
    start: int
    length: int


@dataclass(frozen=True)
class Claim:
    """A tensor that is counted but not made."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class Builder:
    """Checks, counts and makes tensors.

    Parameters
    ----------
    load
        Returns the bytes of a whole storage by its key; None only counts.
    swapped
        Whether the bytes of an element are in the other order than this machine's.

    Attributes
    ----------
    lengths
        Key of every storage that is named to the bytes it has to have.
    widths
        Key of every storage to the bytes of an element.
    total
        Bytes of all tensors, each counted as if it were dense and had memory of its own.
    """

    def __init__(
        self, load: Callable[[str], torch.UntypedStorage] | None = None, swapped: bool = False
    ) -> None:
        self._load = load
        self._swapped = swapped
        self._turned: set[str] = set()
        self.lengths: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        self.total = 0
        self._count = 0

    def storage(self, identity: Any) -> Any:
        """Return the storage that a persistent id names, or what an old file says of a class."""
        if type(identity) is not tuple or not identity:
            raise PickleError(f"a persistent id that is a {type(identity).__name__}")
        kind, *rest = identity
        if _text(kind) == "module" and len(rest) == 3:
            return rest[0]
        if _text(kind) != "storage" or len(rest) not in (4, 5):
            raise PickleError("a persistent id that is no storage")
        held, key, _location, count = rest[:4]
        if not isinstance(held, StorageType):
            raise PickleError("a storage without a type")
        length = _size(count) * held.dtype.itemsize
        name = str(_size(key)) if type(key) is int else _text(key)
        if self.lengths.setdefault(name, length) != length:
            raise PickleError(f"storage {name!r} with two lengths")
        self.widths.setdefault(name, held.dtype.itemsize)
        if len(self.lengths) > COUNT_LIMIT:
            raise PickleError(f"more than {COUNT_LIMIT:,} storages")
        if len(rest) == 5 and rest[4] is not None:  # a view of another storage: files of 2017
            if type(rest[4]) is not tuple or len(rest[4]) != 3:
                raise PickleError("a view of a storage without its place")
            start, part = (_size(value) * held.dtype.itemsize for value in rest[4][1:])
            if start + part > length:
                raise PickleError(f"a view beyond the end of storage {name!r}")
            return Storage(name, held.dtype, start, part)
        return Storage(name, held.dtype, 0, length)

    def strided(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        stride: Any,
        dtype: torch.dtype | None = None,
        metadata: Any = None,
    ) -> Any:
        """Return a tensor on a part of a storage."""
        if not isinstance(storage, Storage):
            raise PickleError(f"a tensor on a {type(storage).__name__}")
        used = storage.dtype if dtype is None else dtype
        sizes, steps, first = _sizes(shape), _sizes(stride), _size(offset)
        if len(sizes) != len(steps):
            raise PickleError(f"a tensor of {len(sizes)} dimensions with {len(steps)} strides")
        self._declare(used, sizes)
        extent = sum((size - 1) * step for size, step in zip(sizes, steps, strict=True)) + 1
        if math.prod(sizes) and (first + extent) * used.itemsize > storage.length:
            raise PickleError(
                f"a tensor of shape {_shown(sizes)} beyond the end of storage {storage.key!r}"
            )
        if self._load is None:
            return Claim(used, sizes)
        whole = self._load(storage.key)
        if self._swapped and storage.key not in self._turned:
            whole.byteswap(used)
            self._turned.add(storage.key)
        part = whole[storage.start : storage.start + storage.length]
        if used in _QUANTISED:
            used = _QUANTISED[used]
        made = torch.empty((0,), dtype=used).set_(part, first, sizes, steps)
        if isinstance(metadata, dict):
            made = made.conj().resolve_conj() if metadata.get("conj") is True else made
            made = -made if metadata.get("neg") is True else made
        return made

    def quantised(self, storage: Any, offset: Any, shape: Any, stride: Any, how: Any) -> Any:
        """Return the values, in single precision, that a quantised tensor stands for."""
        if not isinstance(storage, Storage) or storage.dtype not in _QUANTISED:
            raise PickleError("a quantised tensor of a type that is not supported")
        if type(how) is not tuple or len(how) not in (3, 4):
            raise PickleError("a quantised tensor without its scales")
        stored = self.strided(storage, offset, shape, stride)
        self._declare(torch.float32, stored.shape)
        scales, zeros = how[1:3]
        axis = _size(how[3]) if len(how) == 4 else None
        if axis is None:
            if type(scales) is not float or type(zeros) is not int or abs(zeros) >= 2**31:
                raise PickleError("a quantised tensor without its scale")
        else:
            fits = axis < len(stored.shape) and all(
                isinstance(value, (Tensor, Claim)) and tuple(value.shape) == (stored.shape[axis],)
                for value in (scales, zeros)
            )
            if not fits:
                raise PickleError("a quantised tensor whose scales do not fit its shape")
        if self._load is None:
            return Claim(torch.float32, tuple(stored.shape))
        if axis is not None:
            spread = [1] * stored.dim()
            spread[axis] = -1
            scales, zeros = scales.float().view(spread), zeros.float().view(spread)
        return (stored.float() - zeros) * scales

    def sparse(self, layout: Any, data: Any) -> Any:
        """Return a sparse tensor; its indices are checked against its size."""
        coo = layout is torch.sparse_coo
        count = (3, 4) if coo else (4,)
        if not isinstance(layout, torch.layout) or type(data) is not tuple:
            raise PickleError("a sparse tensor without its parts")
        if len(data) not in count or not all(
            isinstance(part, (Tensor, Claim)) for part in data[: 2 if coo else 3]
        ):
            raise PickleError("a sparse tensor without its parts")
        shape = _sizes(data[2 if coo else 3])
        values = data[1 if coo else 2]
        self._declare(values.dtype, shape)
        if self._load is None:
            return Claim(values.dtype, shape)
        if coo:
            # Whether entries are in order and unlike is not for the file to say.
            return torch.sparse_coo_tensor(data[0], values, shape, check_invariants=True).coalesce()
        return torch.sparse_compressed_tensor(
            data[0], data[1], values, shape, layout=layout, check_invariants=True
        )

    def _declare(self, dtype: torch.dtype, shape: Sequence[int]) -> None:
        self._count += 1
        if self._count > COUNT_LIMIT:
            raise PickleError(f"more than {COUNT_LIMIT:,} tensors")
        self.total += math.prod(shape) * dtype.itemsize


def _text(value: Any) -> str:
    if type(value) is bytes:
        value = value.decode("ascii")
    if type(value) is not str:
        raise PickleError(f"a storage whose name is a {type(value).__name__}")
    return str(value)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _SIZE_LIMIT:
        shown = value if type(value) is int and abs(value) < 1 << 64 else type(value).__name__
        raise PickleError(f"the size or offset {shown}")
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > DIMENSION_LIMIT:
        raise PickleError(f"a shape that is no tuple of at most {DIMENSION_LIMIT} sizes")
    return tuple(_size(value) for value in values)


def _shown(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes)) or "()"
