"""How IDX files are read (MNIST, Fashion-MNIST, EMNIST): plain or gzip."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from pwmpr.data.dataset import Dataset, Split
from pwmpr.data.pictures import MEMORY_LIMIT
from topograph.errors import TopographError

PARTS = {"train": "train", "test": "t10k"}
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_idx(path: str | Path) -> Tensor:
    """Return the array of one IDX file of unsigned bytes, gzip or not (told by content).

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Tensor
        uint8, of the shape that the header states.

    Raises
    ------
    TopographError
        If the file is missing, is no IDX file of unsigned bytes, or is shorter or longer than its
        header says.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if zipped:
                with gzip.open(raw) as unzipped:
                    return _parse(cast(BinaryIO, unzipped), path)
            return _parse(raw, path)
    except (OSError, EOFError, zlib.error) as error:
        raise TopographError(
            f"{path} cannot be read as an IDX file ({error})",
            "get a whole copy of the file; its gzip or plain form are both accepted",
        ) from None


def _parse(file: BinaryIO, path: Path) -> Tensor:
    """Read header and values: two zero bytes, type 8, rank, then one 32-bit size a dimension."""
    magic = file.read(4)
    rank = magic[3] if len(magic) == 4 else 0
    sizes = file.read(4 * rank)
    if magic[:3] != b"\x00\x00\x08" or not 1 <= rank <= 4 or len(sizes) != 4 * rank:
        raise TopographError(
            f"{path} begins with {magic.hex()}; expected the header of an IDX file of unsigned "
            "bytes (000008 and the number of dimensions)",
            "check that the file is an original MNIST-style file",
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    count = math.prod(shape)
    if count > MEMORY_LIMIT:
        raise TopographError(
            f"the header of {path} states the shape {shape}, {count} bytes; expected at most "
            f"{MEMORY_LIMIT}",
            "check that the file is whole and original",
        )
    values = file.read(count + 1)
    if len(values) != count:
        found = "more" if len(values) > count else str(len(values))
        raise TopographError(
            f"{path} holds {found} bytes after its header; expected {count} for the shape {shape}",
            "get a whole copy of the file",
        )
    return torch.frombuffer(bytearray(values), dtype=torch.uint8).view(shape)


def find_part(folder: Path, part: str, kind: str) -> Path | None:
    """Return the file of ``kind`` ("images", "labels") of ``part``, under any of its usual names.

    ``train-images-idx3-ubyte`` and ``train-images.idx3-ubyte``, with or without ``.gz``, in the
    folder itself or in ``raw``, ``MNIST/raw`` or ``FashionMNIST/raw`` below it.
    """
    for below in ("", "raw", "MNIST/raw", "FashionMNIST/raw"):
        for path in sorted((folder / below).glob(f"{PARTS[part]}-{kind}*idx?-ubyte*")):
            if path.suffix in ("", ".gz", ".idx1-ubyte", ".idx3-ubyte"):
                return path
    return None


def read_idx_folder(folder: Path) -> Dataset:
    """Return the data set of a folder of IDX files; see `find_part` for their names."""
    splits: dict[str, Split] = {}
    for part in PARTS:
        images_path = find_part(folder, part, "images")
        labels_path = find_part(folder, part, "labels")
        if images_path is None or labels_path is None:
            if part == "test" and images_path is None:
                continue
            name = f"{PARTS[part]}-{'labels-idx1' if images_path else 'images-idx3'}-ubyte.gz"
            raise TopographError(
                f"{folder} has no {name}; expected images and labels of each part",
                f"put {name} beside the other files",
            )
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise TopographError(
                f"{images_path} has the shape {tuple(images.shape)} and {labels_path.name} the "
                f"shape {tuple(labels.shape)}; expected (N, H, W) and (N,)",
                "check that the two files belong together",
            )
        splits[part] = Split(images[:, None], labels.long())
    train = splits["train"]
    count = int(train.labels.max()) + 1 if len(train) else 0
    fashion = "fashion" in folder.resolve().as_posix().lower() and count == 10
    classes = FASHION_CLASSES if fashion else tuple(str(number) for number in range(count))
    name = "Fashion-MNIST" if fashion else folder.resolve().name
    return Dataset(name, classes, train, None, splits.get("test"), "raw", str(folder))
