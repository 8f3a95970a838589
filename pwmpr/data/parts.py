"""Which data a run trains on, is steered by, and is tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from pwmpr.data.batches import (
    Batches,
    ImageBatches,
    ItemBatches,
    check_dataset,
    split_off_validation,
)
from pwmpr.data.dataset import Dataset, Split
from pwmpr.data.layouts import open_data
from pwmpr.data.lists import PictureList
from pwmpr.data.streaming import PictureBatches
from pwmpr.data.strong import AUGMENTATIONS, StrongBatches
from pwmpr.data.text import Text
from pwmpr.seeds import derive
from pwmpr.settings import Settings
from topograph.errors import TopographError


@dataclass(frozen=True, eq=False)
class Parts:
    """The data of one run.

    Attributes
    ----------
    train, validation, test
        Data sets; test may be None.
    description
        Names, sizes and statistics as plain values; the same data have the same description.
    known
        The data set that a recipe names; None for data of one's own.
    """

    train: Any
    validation: Any
    test: Any | None
    description: dict[str, Any]
    known: Dataset | Text | None

    def batches(self, part: Any, settings: Settings, device: str) -> Batches:
        """Return the batches of one of the parts, on a device.

        Images are normalised by the training images' statistics, or to 0 … 1.
        """
        if not isinstance(part, Split | PictureList):
            return ItemBatches(part, seed=settings.seed, device=device)
        if settings.scaling == "unit":
            channels = self.train.shape[0]
            largest = 255.0 if isinstance(part, PictureList) else float(self.train.images.max())
            mean, std = torch.zeros(channels), torch.full((channels,), largest)
        else:
            mean, std = self.train.statistics()
        how: dict[str, Any] = {"seed": settings.seed, "augment": settings.augment, "device": device}
        if isinstance(part, PictureList):
            return PictureBatches(part, mean, std, **how)
        if settings.augment == "strong":
            classes = (
                len(self.known.classes)
                if isinstance(self.known, Dataset)
                else int(self.train.labels.max()) + 1
            )
            return StrongBatches(
                part, mean, std, classes=classes, seed=settings.seed, device=device
            )
        return ImageBatches(part, mean, std, **how)


def prepare_parts(settings: Settings, train: Any, validation: Any, test: Any) -> Parts:
    """Return a run's data: the recipe's, unless data sets are given.

    Without a validation set, ``settings.validation`` of the training data is held out, by the
    run's seed: methods compared at one seed share the split, and the spread over seeds includes
    it.

    Parameters
    ----------
    settings
        Data set, folder, validation fraction, seed.
    train, validation, test
        Data sets of one's own, or None.

    Raises
    ------
    TopographError
        If data are missing or cannot be read, or there is nothing to validate on.
    """
    known: Dataset | Text | None = None
    if train is None and not settings.data:
        raise TopographError(
            "train is None and no recipe was named; expected a data set to train on",
            "pass train=, or a recipe such as pwmpr.run('digits')",
        )
    if train is None:
        known = open_data(settings.data, settings.data_dir, settings.image_size, settings.context)
        if validation is None:
            seed = derive(settings.seed, "validation")
            known = known.split_validation(settings.validation, seed)
        train, held_out, tested = known.train, known.validation, known.test
    else:
        train, held_out, tested = check_dataset(train, "train"), None, None
        if validation is None and settings.validation:
            train, held_out = split_off_validation(train, settings.validation, settings.seed)
    held_out = held_out if validation is None else check_dataset(validation, "validation")
    tested = tested if test is None else check_dataset(test, "test")
    if held_out is None:
        raise TopographError(
            "validation is 0 and the data have no validation split; growth is decided by "
            "validation accuracy",
            "pass validation=0.1, or a data set as validation=",
        )
    _check_images(settings, train)
    description: dict[str, Any] = {
        "name": known.title if known else type(train).__name__,
        "train": len(train),
        "validation": len(held_out),
        "test": None if tested is None else len(tested),
    }
    if known is not None:
        description |= replace(known, train=train).details
    return Parts(train, held_out, tested, description, known)


def _check_images(settings: Settings, train: Any) -> None:
    """Refuse settings of pictures for other data, and augmentations for the wrong kind of them."""
    kind = type(train).__name__
    if settings.scaling != "standard" and not isinstance(train, Split | PictureList):
        raise TopographError(
            f"scaling is {settings.scaling!r} and train is a {kind}; expected 8-bit images",
            'scale in the data set itself and pass scaling="standard"',
        )
    fitting: tuple[str, ...] = ("none",)
    if isinstance(train, Split):
        fitting = ("none", *AUGMENTATIONS)
    elif isinstance(train, PictureList):
        fitting = ("none", "resized-crop-flip")
    if settings.augment not in fitting:
        raise TopographError(
            f"augment is {settings.augment!r} and train is a {kind}; expected 8-bit images in "
            f"memory (pwmpr.data.Split); for a {kind} there is {', '.join(fitting)}",
            'augment in the data set itself and pass augment="none"',
        )
