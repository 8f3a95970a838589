"""Which data set lies in a folder: the layout is told by content, then read."""

from __future__ import annotations

import functools
from pathlib import Path

from pwmpr.data.cifar_batches import find_batches, read_cifar_folder
from pwmpr.data.dataset import Dataset
from pwmpr.data.digits import read_digits
from pwmpr.data.folders import data_root, read_image_folder
from pwmpr.data.idx import find_part, read_idx_folder
from pwmpr.data.parquet import find_parquet, read_parquet_folder
from pwmpr.data.text import Text, python_source, read_text
from topograph.errors import TopographError

LAYOUTS = (
    "IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…; plain or .gz)",
    "cifar-10-batches-py or cifar-100-python (the unpacked originals)",
    "Hugging Face Parquet (train-….parquet, test-….parquet with img or image, and label)",
    "image folders (train/<class>/*.png with val/<class> or test/<class>)",
    "tiny-imagenet-200 or ImageNet as they come (train/<class>, val with a table of labels)",
)


def read_data(data_dir: str | Path, image_size: int | None = None) -> Dataset:
    """Return the data set in a folder, whichever of the accepted layouts it has.

    Decoded images are kept in memory for the next call with the same unchanged folder. Nothing is
    ever written into the folder.

    Parameters
    ----------
    data_dir
        The folder. Accepted: gzip or plain IDX files, ``cifar-10-batches-py``,
        ``cifar-100-python``, Hugging Face Parquet, image folders.
    image_size
        Side in pixels to which encoded pictures are scaled and cropped; None takes them as they
        are.

    Raises
    ------
    TopographError
        If the folder is missing, has none of the layouts, or a file in it is broken.
    """
    folder = Path(data_dir).expanduser()
    accepted = "; ".join(LAYOUTS)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise TopographError(
            f"data_dir={str(data_dir)!r} {what}; expected a folder with one of: {accepted}",
            "pass the folder that holds the data; nothing is downloaded",
        )
    layout = _layout(folder)
    if layout is None:
        found = sorted(path.name for path in folder.iterdir())
        listed = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
        packed = any(name.endswith((".tar.gz", ".tgz", ".zip")) for name in found)
        raise TopographError(
            f"{folder} has no layout that is known (it holds: {listed or 'nothing'}); expected "
            f"one of: {accepted}",
            "unpack the archive first" if packed else "arrange the files in one of these layouts",
        )
    return _read(folder.resolve(), layout, image_size, _state(folder))


def _layout(folder: Path) -> str | None:
    if find_part(folder, "train", "images") is not None:
        return "idx"
    if find_batches(folder) is not None:
        return "cifar"
    if find_parquet(folder):
        return "parquet"
    if data_root(folder) is not None:
        return "folders"
    return None


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return names, sizes and times of the files near the top: what a cached read depends on."""
    files = [*folder.glob("*"), *folder.glob("*/*")]
    stats = ((str(path), path.stat()) for path in files if path.is_file())
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@functools.lru_cache(maxsize=2)
def _read(folder: Path, layout: str, image_size: int | None, state: object) -> Dataset:
    if layout == "idx":
        return read_idx_folder(folder)
    if layout == "cifar":
        return read_cifar_folder(find_batches(folder) or folder)
    if layout == "parquet":
        return read_parquet_folder(folder, image_size)
    return read_image_folder(folder, image_size)


def open_data(
    name: str,
    data_dir: str | Path | None,
    image_size: int | None = None,
    context: int = 64,
) -> Dataset | Text:
    """Return a recipe's data.

    ``"digits"`` and ``"python-source"`` are embedded, ``"text"`` is the file ``data_dir``, and
    everything else lies in the folder ``data_dir``.

    Raises
    ------
    TopographError
        If a folder or file is needed and none is given, or it cannot be read.
    """
    if data_dir is None and name == "digits":
        return read_digits()
    if data_dir is None and name == "python-source":
        return python_source(context)
    if name in ("text", "python-source"):
        if data_dir is None:
            raise TopographError(
                "data_dir is None; expected the path of a UTF-8 text file",
                'pass data_dir="book.txt", or data="python-source" for an embedded text',
            )
        return read_text(data_dir, context)
    if data_dir is None:
        raise TopographError(
            f"data_dir is None; {name} is not embedded, expected a folder with one of: "
            + "; ".join(LAYOUTS),
            "pass data_dir=…; nothing is downloaded",
        )
    return read_data(data_dir, image_size)
