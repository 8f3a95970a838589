"""How image folders are read: one sub-folder a class, below train and val or test.

What is held out may also lie in one folder without classes, beside a table of its labels, as
TinyImageNet and ImageNet come.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from pwmpr.data import pictures
from pwmpr.data.dataset import Dataset, Split
from pwmpr.data.lists import PictureList
from pwmpr.data.pictures import decode, read_file
from topograph.errors import TopographError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".tif", ".tiff")
VALIDATION_NAMES = ("val", "valid", "validation")

#: Tables of labels: TinyImageNet's, in the folder; ImageNet's (Kaggle), at the top.
TABLES = ("val_annotations.txt", "LOC_val_solution.csv")


def class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of ``folder``, by name; none if it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def data_root(folder: Path) -> Path | None:
    """Return the folder that holds ``train/<class>``: the given one, or ImageNet's inside it."""
    for candidate in (folder, folder / "ILSVRC" / "Data" / "CLS-LOC", folder / "Data" / "CLS-LOC"):
        if class_folders(candidate / "train"):
            return candidate
    return None


def read_image_folder(folder: Path, size: int | None = None) -> Dataset:
    """Return the data set of ``train/<class>/*.png`` and ``val`` or ``test`` beside it.

    With ``test`` and ``val`` both labelled, the second is the validation split. With ``val`` alone
    it is the test split, as its labels are the only ones held out (TinyImageNet, ImageNet). A
    folder of pictures without labels is left alone.

    Parameters
    ----------
    folder
        Holds ``train`` and at least one of ``test``, ``val``, ``valid``, ``validation``.
    size
        See `pwmpr.data.pictures.decode`. Where all pictures at this size would not fit in memory,
        they are decoded while training goes on.

    Raises
    ------
    TopographError
        If a class folder is empty or the held-out folder has a class that train has not.
    """
    top, folder = folder, data_root(folder) or folder
    classes = tuple(path.name for path in class_folders(folder / "train"))
    names = {"train": "train"}
    held_out = [n for n in VALIDATION_NAMES if _labelled(folder / n, top)]
    if _labelled(folder / "test", top):
        names["test"] = "test"
    elif held_out:
        names["test"] = held_out.pop()
    if held_out:
        names["validation"] = held_out[0]
    files = {part: _files(folder / name, top, classes) for part, name in names.items()}
    count = sum(len(paths) for paths, _ in files.values())
    if size is not None and 3 * count * size**2 > pictures.MEMORY_LIMIT:
        lists = {part: PictureList(paths, labels, size) for part, (paths, labels) in files.items()}
        return Dataset(
            top.resolve().name, classes, lists["train"], lists.get("validation"),
            lists.get("test"), "JPEG", str(top),
        )  # fmt: skip
    splits, encoding = {}, ""
    for part, (paths, labels) in files.items():
        images, found = decode((read_file(path) for path in paths), len(paths), size)
        splits[part] = Split(images, labels)
        encoding = encoding or found
    return Dataset(
        top.resolve().name, classes, splits["train"], splits.get("validation"),
        splits.get("test"), encoding, str(top),
    )  # fmt: skip


def _labelled(folder: Path, top: Path) -> bool:
    if not folder.is_dir():
        return False
    flat = _table(folder, top) is not None
    return flat or any(_pictures(path) for path in class_folders(folder) if path.name != "images")


def _table(folder: Path, top: Path) -> Path | None:
    """Return the table of a folder's labels, if it has no class folders and there is one."""
    if folder.name not in VALIDATION_NAMES:
        return None
    places = (folder / TABLES[0], folder.parent / TABLES[1], top / TABLES[1])
    found = next((path for path in places if path.is_file()), None)
    inside = [path.name for path in class_folders(folder)]
    return found if inside in ([], ["images"]) else None


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


def _files(
    folder: Path, top: Path, classes: tuple[str, ...]
) -> tuple[tuple[Path, ...], torch.Tensor]:
    table = _table(folder, top)
    if table is not None:
        return _from_table(folder, table, classes)
    paths: list[Path] = []
    labels: list[int] = []
    for class_folder in class_folders(folder):
        if class_folder.name not in classes:
            raise TopographError(
                f"{class_folder} is a class that {folder.parent / 'train'} lacks",
                "give every held-out class a training folder of the same name",
            )
        files = _pictures(class_folder)
        if not files:
            raise TopographError(
                f"{class_folder} holds no picture; expected files ending in {', '.join(SUFFIXES)}",
                "remove the empty class folder or fill it",
            )
        paths += files
        labels += [classes.index(class_folder.name)] * len(files)
    return tuple(paths), torch.tensor(labels, dtype=torch.int64)


def _from_table(
    folder: Path, table: Path, classes: tuple[str, ...]
) -> tuple[tuple[Path, ...], torch.Tensor]:
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t" if table.suffix == ".txt" else ","))
    rows = rows if table.suffix == ".txt" else rows[1:]
    class_of = {row[0].rpartition(".")[0] or row[0]: row[1].split()[0] for row in rows if row}
    paths = tuple(_pictures(folder))
    labels = []
    for path in paths:
        name = class_of.get(path.stem)
        if name not in classes:
            raise TopographError(
                f"{table} gives {path.name} the class {name!r}; expected one of the "
                f"{len(classes)} folders of {folder.parent / 'train'}",
                "get whole copies of the table and of the training folder",
            )
        labels.append(classes.index(name))
    return paths, torch.tensor(labels, dtype=torch.int64)
