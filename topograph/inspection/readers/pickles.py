"""What a file of ``torch.save`` holds, either format, with ``weights_only=True``."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from topograph.errors import TopographError
from topograph.inspection.readers.archives import check_archive
from topograph.inspection.readers.limits import check_memory, first_line
from topograph.inspection.readers.refusals import RESAVE, refusal


def read_zip(path: Path) -> Any:
    """Return what a file of ``torch.save`` since PyTorch 1.6 holds."""
    return _read(path, "zip")


def read_old(path: Path) -> Any:
    """Return what a file of ``torch.save`` before PyTorch 1.6 holds."""
    return _read(path, "pickle")


def _read(path: Path, kind: str) -> Any:
    # Loading lets no global run that is not on PyTorch's list or ours. FakeTensorMode reads the
    # sizes of an old-format file first, because its storages are allocated as the pickle claims.
    # By name torch.load would take anything called .safetensors for that; an open file has none.
    mapped = kind == "zip" and check_archive(path) and path.suffix != ".safetensors"
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mapped:
                return _unpacked(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
            with path.open("rb") as stream:
                if kind == "pickle":
                    with FakeTensorMode():
                        claimed = torch.load(stream, map_location="cpu", weights_only=True)
                    _check_claims(path, claimed)
                    stream.seek(0)
                return _unpacked(torch.load(stream, map_location="cpu", weights_only=True))
    except TopographError:
        raise
    except pickle.UnpicklingError as error:
        with torch.serialization.safe_globals(_harmless()):  # what is let through is not named
            raise refusal(path, kind, error) from None
    except MemoryError:
        raise TopographError(f"{path} needs more memory than there is", RESAVE) from None
    except Exception as error:  # a damaged pickle may raise anything
        raise TopographError(
            f"{path} is damaged or was not written by torch.save ({first_line(error)})",
            "copy it again, or save the weights with torch.save or safetensors",
        ) from None


def _harmless() -> list[Any]:
    """Return what training scripts put beside weights and that only holds plain values.

    A name may stand for a function of ours: NumPy's own reconstruct would take memory for whatever
    shape it is told.
    """
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdFD"]
    # NumPy 1 and 2 write the same functions under two module names.
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    functions = [(scalar, f"{module}.scalar") for module in modules]
    functions += [(_Array.empty, f"{module}._reconstruct") for module in modules]
    held = [argparse.Namespace, pathlib.PosixPath, np.dtype, np.ndarray, *dtypes, _Array]
    return [*held, *functions]


class _Array:
    """An array of NumPy's as a pickle builds it: empty, then told its shape and bytes."""

    def __init__(self) -> None:
        self.value = np.empty(0)

    @staticmethod
    def empty(kind: Any, shape: Any, dtype: Any) -> _Array:
        """Stand in for ``numpy.core.multiarray._reconstruct``, which makes an empty array."""
        if kind is not np.ndarray or shape != (0,):
            raise pickle.UnpicklingError(f"an array of the kind {kind!r} and shape {shape!r}")
        return _Array()

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, by_column, content = state
        if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of Python objects")
        flat = np.frombuffer(content, dtype)
        self.value = flat.reshape(shape, order="F" if by_column else "C").copy()


def _unpacked(value: Any, depth: int = 16) -> Any:
    """Return what was read with NumPy's arrays in the place of what stands for them."""
    if isinstance(value, _Array):
        return value.value
    if depth and type(value) in (dict, OrderedDict):
        for key, item in value.items():
            value[key] = _unpacked(item, depth - 1)
    elif depth and type(value) in (list, tuple):
        return type(value)(_unpacked(item, depth - 1) for item in value)
    return value


def _check_claims(path: Path, claimed: Any) -> None:
    storages = {
        id(storage): storage.nbytes()
        for storage in (tensor.untyped_storage() for tensor in _tensors(claimed))
    }
    total, size = sum(storages.values()), path.stat().st_size
    if total > size:
        raise TopographError(
            f"{path} ({size:,} bytes) claims to hold {total:,} bytes of tensors",
            "it is cut short or forged; copy it again",
        )
    check_memory(path, total)


def _tensors(value: Any, depth: int = 8) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, depth - 1)
