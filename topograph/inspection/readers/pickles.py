"""What a file of ``torch.save`` holds, either format, with ``weights_only=True``."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import warnings
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
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as stream:
                if kind == "pickle":
                    with FakeTensorMode():
                        claimed = torch.load(stream, map_location="cpu", weights_only=True)
                    _check_claims(path, claimed)
                    stream.seek(0)
                return torch.load(stream, map_location="cpu", weights_only=True)
    except TopographError:
        raise
    except pickle.UnpicklingError as error:
        raise refusal(path, kind, error) from None
    except MemoryError:
        raise TopographError(f"{path} needs more memory than there is", RESAVE) from None
    except Exception as error:  # a damaged pickle may raise anything
        raise TopographError(
            f"{path} is damaged or was not written by torch.save ({first_line(error)})",
            "copy it again, or save the weights with torch.save or safetensors",
        ) from None


def _harmless() -> list[Any]:
    """Return classes that training scripts put beside weights and that only hold plain values."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    # NumPy 1 and 2 write the same function under two module names.
    names = [(scalar, f"{module}.multiarray.scalar") for module in ("numpy.core", "numpy._core")]
    return [argparse.Namespace, pathlib.PosixPath, np.dtype, *dtypes, *names]


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
