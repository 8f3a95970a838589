"""How Hugging Face Parquet files of labelled pictures are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pwmpr.data.dataset import Dataset, Split
from pwmpr.data.pictures import decode
from topograph.errors import TopographError

IMAGE_COLUMNS = ("img", "image", "pixel_values", "png", "jpg", "jpeg")
LABEL_COLUMNS = ("label", "fine_label", "labels", "coarse_label", "cls", "class")
SPLIT_OF = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


def find_parquet(folder: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of every split; the file name's first word names the split.

    ``train-00000-of-00001.parquet``, ``test.parquet``, ``validation-….parquet``, in the folder
    itself or in ``data`` below it.
    """
    for candidate in (folder, folder / "data"):
        files = sorted(candidate.glob("*.parquet"))
        if files:
            found: dict[str, list[Path]] = {}
            for path in files:
                word = path.name.lower().replace("_", "-").split(".")[0].split("-")[0]
                if word in SPLIT_OF:
                    found.setdefault(SPLIT_OF[word], []).append(path)
            if "train" not in found:
                raise TopographError(
                    f"{candidate} holds {files[0].name} but no training file; expected names "
                    "such as train-00000-of-00001.parquet and test-00000-of-00001.parquet",
                    "rename the files after their splits",
                )
            return found
    return {}


def read_parquet_folder(folder: Path, size: int | None = None) -> Dataset:
    """Return the data set of a folder of Hugging Face Parquet files.

    Parameters
    ----------
    folder
        Holds the files; see `find_parquet`.
    size
        See `pwmpr.data.pictures.decode`.

    Raises
    ------
    TopographError
        If pyarrow is missing, a file is torn, or has no picture and label columns.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise TopographError(
            f"{folder} holds Parquet files, and pyarrow is not installed", "pip install pyarrow"
        ) from None

    splits: dict[str, Split] = {}
    classes: tuple[str, ...] = ()
    encodings: list[str] = []
    for part, paths in find_parquet(folder).items():
        files = []
        for path in paths:
            try:
                files.append(pq.ParquetFile(path))
            except (OSError, ValueError) as error:
                raise TopographError(
                    f"{path} cannot be read as Parquet ({error})", "get a whole copy of the file"
                ) from None
        image_column, label_column = _columns(files[0].schema_arrow.names, paths[0])
        labels: list[int] = []
        count = sum(file.metadata.num_rows for file in files)
        pictures = _pictures(paths, files, image_column, label_column, labels)
        images, encoding = decode(pictures, count, size)
        splits[part] = Split(images, torch.tensor(labels, dtype=torch.int64))
        encodings.append(encoding)
        classes = classes or _class_names(files[0].schema_arrow, label_column)
    train = splits["train"]
    if not classes:
        classes = tuple(str(number) for number in range(int(train.labels.max()) + 1))
    encoding = "JPEG" if "JPEG" in encodings else encodings[0]
    return Dataset(
        _name(folder, classes), classes, train, splits.get("validation"), splits.get("test"),
        encoding, str(folder),
    )  # fmt: skip


def _columns(names: list[str], path: Path) -> tuple[str, str]:
    image = next((name for name in IMAGE_COLUMNS if name in names), None)
    label = next((name for name in LABEL_COLUMNS if name in names), None)
    if image is None or label is None:
        raise TopographError(
            f"{path} has the columns {', '.join(names)}; expected a picture column "
            f"({', '.join(IMAGE_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)})",
            "rename the columns",
        )
    return image, label


def _pictures(
    paths: list[Path], files: list[Any], image_column: str, label_column: str, labels: list[int]
) -> Iterator[tuple[str, bytes]]:
    """Yield (place, encoded bytes) of every row and append every row's label to ``labels``."""
    for path, file in zip(paths, files, strict=True):
        row = 0
        try:
            for batch in file.iter_batches(1024, columns=[image_column, label_column]):
                table = batch.to_pydict()
                for cell, label in zip(table[image_column], table[label_column], strict=True):
                    content = cell.get("bytes") if isinstance(cell, dict) else cell
                    if not isinstance(content, bytes) or not isinstance(label, int):
                        raise TopographError(
                            f"row {row} of {path} holds {type(content).__name__} and label "
                            f"{label!r}; expected encoded bytes and a class number",
                            "write the pictures into the file (embed_external_files=True)",
                        )
                    labels.append(label)
                    yield f"row {row} of {path}", content
                    row += 1
        except (OSError, ValueError) as error:
            if isinstance(error, TopographError):
                raise
            raise TopographError(
                f"{path} cannot be read after row {row} ({error})", "get a whole copy of the file"
            ) from None


def _class_names(schema: Any, label_column: str) -> tuple[str, ...]:
    """Return the class names that Hugging Face writes into the file's metadata, or nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label_column]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _name(folder: Path, classes: tuple[str, ...]) -> str:
    cifar = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
    return "CIFAR-10" if classes[:9] == cifar and len(classes) == 10 else folder.resolve().name
