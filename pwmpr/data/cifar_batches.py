"""How the original CIFAR folders are read: ``cifar-10-batches-py`` and ``cifar-100-python``.

The files are pickles. Plain unpickling runs whatever a file says; the reader here can make
nothing but dictionaries, lists, numbers, text and NumPy arrays.
"""

from __future__ import annotations

import _codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pwmpr.data.dataset import Dataset, Split
from topograph.errors import TopographError

_reconstruct = np.empty(0).__reduce__()[0]
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _codecs.encode,
}
FOLDERS = {
    "cifar-10-batches-py": (
        "CIFAR-10", [f"data_batch_{k}" for k in range(1, 6)], ["test_batch"], "batches.meta",
        b"labels", b"label_names",
    ),
    "cifar-100-python": (
        "CIFAR-100", ["train"], ["test"], "meta", b"fine_labels", b"fine_label_names",
    ),
}  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows NumPy arrays of plain numbers and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]


def read_batch(path: str | Path) -> dict[bytes, Any]:
    """Return the dictionary of one CIFAR file; nothing in the file is executed.

    Raises
    ------
    TopographError
        If the file is missing, torn, or asks for anything but arrays and plain values.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            batch = _ArrayUnpickler(file, encoding="bytes").load()
    except OSError as error:
        raise TopographError(
            f"{path} cannot be read ({error.strerror})", "put the original file there"
        ) from None
    except Exception as error:  # a hostile or torn pickle may raise anything
        raise TopographError(
            f"{path} is no CIFAR batch of plain arrays ({error})",
            "get the original file again; files that need more than arrays are refused because "
            "loading them could run code",
        ) from None
    if not isinstance(batch, dict):
        raise TopographError(
            f"{path} holds a {type(batch).__name__}; expected a dictionary",
            "get the original file again",
        )
    return batch


def find_batches(folder: Path) -> Path | None:
    """Return the CIFAR folder that ``folder`` is or holds, or None."""
    for candidate in (folder, *(folder / name for name in FOLDERS)):
        known = candidate.name in FOLDERS or (candidate / "data_batch_1").is_file()
        if known and candidate.is_dir():
            return candidate
    return None


def read_cifar_folder(folder: Path) -> Dataset:
    """Return the data set of a ``cifar-10-batches-py`` or ``cifar-100-python`` folder."""
    kind = folder.name if folder.name in FOLDERS else "cifar-10-batches-py"
    name, train_files, test_files, meta_file, label_key, names_key = FOLDERS[kind]

    def read_split(files: list[str]) -> Split:
        images, labels = [], []
        for file in files:
            batch = read_batch(folder / file)
            values, numbers = batch.get(b"data"), batch.get(label_key)
            if (
                not isinstance(values, np.ndarray)
                or values.dtype != np.uint8
                or values.ndim != 2
                or values.shape[1] != 3072
                or not isinstance(numbers, list)
                or len(numbers) != len(values)
            ):
                raise TopographError(
                    f"{folder / file} lacks images (N, 3072) with N labels "
                    f"({label_key.decode()!r})",
                    "get the original file again",
                )
            images.append(torch.from_numpy(values.reshape(-1, 3, 32, 32).copy()))
            labels += numbers
        return Split(torch.cat(images), torch.tensor(labels, dtype=torch.int64))

    names = read_batch(folder / meta_file).get(names_key, [])
    classes = tuple(label.decode() for label in names)
    return Dataset(
        name, classes, read_split(train_files), None, read_split(test_files), "raw", str(folder)
    )
