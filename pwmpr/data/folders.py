"""How image folders are read: one sub-folder a class, below train and val or test."""

from __future__ import annotations

from pathlib import Path

import torch

from pwmpr.data.dataset import Dataset, Split
from pwmpr.data.pictures import decode, read_file
from topograph.errors import TopographError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".tif", ".tiff")
VALIDATION_NAMES = ("val", "valid", "validation")


def class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of ``folder``, by name; none if it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def read_image_folder(folder: Path, size: int | None = None) -> Dataset:
    """Return the data set of ``train/<class>/*.png`` and ``val`` or ``test`` beside it.

    With ``test`` and ``val`` both there, the second is the validation split. With ``val`` alone it
    is the test split, as its labels are the only ones held out (TinyImageNet, ImageNet).

    Parameters
    ----------
    folder
        Holds ``train`` and at least one of ``test``, ``val``, ``valid``, ``validation``.
    size
        See `pwmpr.data.pictures.decode`.

    Raises
    ------
    TopographError
        If a class folder is empty or the held-out folder has a class that train has not.
    """
    classes = tuple(path.name for path in class_folders(folder / "train"))
    held_out = [name for name in VALIDATION_NAMES if class_folders(folder / name)]
    test = "test" if class_folders(folder / "test") else (held_out.pop() if held_out else None)
    train, encoding = _read_split(folder / "train", classes, size)
    splits = {
        part: _read_split(folder / name, classes, size)[0] if name else None
        for part, name in (("test", test), ("validation", held_out[0] if held_out else None))
    }
    return Dataset(
        folder.resolve().name, classes, train, splits["validation"], splits["test"], encoding,
        str(folder),
    )  # fmt: skip


def _read_split(folder: Path, classes: tuple[str, ...], size: int | None) -> tuple[Split, str]:
    paths: list[Path] = []
    labels: list[int] = []
    for class_folder in class_folders(folder):
        if class_folder.name not in classes:
            raise TopographError(
                f"{class_folder} is a class that {folder.parent / 'train'} lacks",
                "give every held-out class a training folder of the same name",
            )
        files = sorted(p for p in class_folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise TopographError(
                f"{class_folder} holds no picture; expected files ending in {', '.join(SUFFIXES)}",
                "remove the empty class folder or fill it",
            )
        paths += files
        labels += [classes.index(class_folder.name)] * len(files)
    images, encoding = decode((read_file(path) for path in paths), len(paths), size)
    return Split(images, torch.tensor(labels, dtype=torch.int64)), encoding
