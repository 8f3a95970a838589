"""What a user means by a checkpoint, a model and masks, whatever is handed over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.builders import ModelSpec
from topograph.inspection.files import read_file
from topograph.inspection.stored import subject_of_path
from topograph.inspection.subject import Bare, Subject, subject_of_module, subject_of_weights
from topograph.inspection.wrappings import MASKS, unwrap


def find_subject(
    checkpoint: Any, model: ModelSpec | None = None, trust: bool = False
) -> Subject | Bare:
    """Return what ``checkpoint`` and ``model`` mean together.

    Parameters
    ----------
    checkpoint
        A module, a state dict (in the usual wrappings), the result of a run, or the path of a
        checkpoint file or of a run's folder.
    model
        What the weights belong to: see :func:`topograph.inspection.builders.build_model`. Without
        it, weights alone are looked up by names and shapes
        (:mod:`topograph.inspection.recognition`).
    trust
        Whether an exported program may be loaded, which runs code in it.

    Raises
    ------
    TopographError
        If it is none of these, cannot be read, or does not fit the model.
    """
    if isinstance(checkpoint, nn.Module):
        return subject_of_module(checkpoint, model)
    if isinstance(checkpoint, Mapping):
        return subject_of_weights(checkpoint, model, "the state dict", {})
    if isinstance(checkpoint, (str, os.PathLike)):
        return subject_of_path(Path(checkpoint).expanduser(), model, trust)
    if isinstance(getattr(checkpoint, "model", None), nn.Module):
        masks = getattr(checkpoint, "masks", None) or {}
        found = subject_of_module(checkpoint.model, model)
        return Subject(found.model, {}, dict(masks), found.title, found.provenance)
    raise TopographError(
        f"checkpoint is a {type(checkpoint).__name__}; expected a module, a state dict or a path",
        'pass e.g. a module, model.state_dict() or "weights.pt"',
    )


def find_masks(masks: Any) -> dict[str, Tensor]:
    """Return masks by name from a mapping, or from the path of a file that holds one."""
    if isinstance(masks, Mapping) and all(isinstance(mask, Tensor) for mask in masks.values()):
        return {str(name): mask for name, mask in masks.items()}
    origin = "masks"
    held = masks
    if isinstance(masks, (str, os.PathLike)):
        path, origin = Path(masks).expanduser(), str(masks)
        if not path.exists():
            raise TopographError(f"{path} does not exist", "pass the path of a file with masks")
        held = read_file(path)
    if isinstance(held, Mapping):
        held = next((held[key] for key in MASKS if isinstance(held.get(key), Mapping)), held)
    try:
        found = unwrap(held, origin)
    except TopographError as error:
        raise TopographError(
            f"{origin} holds no masks ({error.problem})",
            "save them with torch.save({name: mask, ...}, path), a mask of 0 and 1 a parameter",
        ) from None
    return dict(found.masks or found.state)
