"""What is to be inspected: the model, its weights and its masks, whatever a user hands over."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.builders import ModelSpec, build_model
from topograph.inspection.files import digest, kind_of_file, read_file
from topograph.inspection.matching import match
from topograph.inspection.wrappings import unwrap


@dataclass(frozen=True)
class Subject:
    """A network to be inspected.

    Attributes
    ----------
    model
        The module; never changed for good.
    state
        Values that it is to hold meanwhile, by name in the model; empty for its own.
    masks
        Masks found beside the weights, by parameter name.
    title
        What to call it.
    provenance
        Where it comes from.
    notes
        What a reader should know about how it was read.
    example
        An input that is known to fit, or None.
    built
        Whether the model was made here, and is nobody else's.
    """

    model: nn.Module
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    title: str
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    example: Tensor | None = field(default=None, repr=False)
    built: bool = False


def find_subject(checkpoint: Any, model: ModelSpec | None = None, trust: bool = False) -> Subject:
    """Return what ``checkpoint`` and ``model`` mean together.

    Parameters
    ----------
    checkpoint
        A module, a state dict (in the usual wrappings), the result of a run, or the path of a
        checkpoint file or of a run's folder.
    model
        What the weights belong to: see :func:`topograph.inspection.builders.build_model`. Needed
        for weights alone.
    trust
        Whether an exported program may be loaded, which runs code in it.

    Raises
    ------
    TopographError
        If it is none of these, cannot be read, or does not fit the model.
    """
    if isinstance(checkpoint, nn.Module):
        return _module(checkpoint, model)
    if isinstance(checkpoint, Mapping):
        return _weights(checkpoint, model, "the state dict", {})
    if isinstance(checkpoint, (str, os.PathLike)):
        return _path(Path(checkpoint).expanduser(), model, trust)
    if isinstance(getattr(checkpoint, "model", None), nn.Module):
        masks = getattr(checkpoint, "masks", None) or {}
        found = _module(checkpoint.model, model)
        return Subject(found.model, {}, dict(masks), found.title, found.provenance)
    raise TopographError(
        f"checkpoint is a {type(checkpoint).__name__}; expected a module, a state dict or a path",
        'pass e.g. a module, model.state_dict() or "weights.pt"',
    )


def _module(module: nn.Module, model: ModelSpec | None) -> Subject:
    if model is not None:
        raise TopographError(
            "checkpoint is a module and model is given too; expected one of them",
            "pass the module alone, or its state_dict() with model=",
        )
    return Subject(module, {}, {}, type(module).__name__, {})


def _path(path: Path, model: ModelSpec | None, trust: bool) -> Subject:
    if path.is_dir():
        return _folder(path, model)
    if not path.is_file():
        raise TopographError(f"{path} does not exist", "pass the path of a checkpoint")
    provenance = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "format": kind_of_file(path),
        "sha256": digest(path),
    }
    held = read_file(path, trust)
    if isinstance(held, nn.Module):
        found = _module(held, model)
        return Subject(held, {}, {}, path.name, provenance, found.notes)
    return _weights(held, model, str(path), provenance, path.name)


def _weights(
    held: Any,
    model: ModelSpec | None,
    origin: str,
    provenance: dict[str, Any],
    title: str = "",
) -> Subject:
    weights = unwrap(held, origin)
    if model is None:
        shapes = [f"{k} {tuple(v.shape)}" for k, v in weights.state.items() if v.dim() > 1]
        raise TopographError(
            f"{origin} holds {len(weights.state)} tensors ({', '.join(shapes[:3])}, …) and not "
            "the network that they belong to",
            'give it: model=module, or model="pwmpr:resnet20" (--model pwmpr:resnet20)',
        )
    module = build_model(model)
    matched = match(module, weights, origin)
    named = {"model": model if isinstance(model, str) else type(module).__name__}
    return Subject(
        module,
        matched.state,
        matched.masks,
        title or type(module).__name__,
        provenance | named,
        matched.notes,
        built=not isinstance(model, nn.Module),
    )


def _folder(path: Path, model: ModelSpec | None) -> Subject:
    if (path / "settings.json").is_file():
        return _run(path, model)
    suffixes = (".safetensors", ".pt", ".pth", ".th", ".bin", ".ckpt")
    inside = sorted(p.name for p in path.iterdir() if p.suffix in suffixes)
    raise TopographError(
        f"{path} is a folder without settings.json; expected the folder of a run or a file",
        f"pass one of its files: {', '.join(inside[:4])}" if inside else "pass a checkpoint file",
    )


def _run(path: Path, model: ModelSpec | None) -> Subject:
    """Read a run of pwmpr: its newest masks and the weights that go with them."""
    try:
        folder_module = importlib.import_module("pwmpr.folder")
        result_module = importlib.import_module("pwmpr.result")
    except ImportError as error:
        raise TopographError(
            f"{path} is the folder of a run, and pwmpr cannot be imported ({error})",
            "install pwmpr, or pass a checkpoint file",
        ) from None
    folder = folder_module.RunFolder.open(path)
    described = folder.settings()
    snapshot, state = _newest(folder, result_module.Snapshots(folder))
    about = described.get("model") or {}
    if model is None:
        if not about.get("name"):
            raise TopographError(
                f"the run in {path} trained a model of its own class, {about.get('class')}",
                "give such a model: model=Net(), or --model package.module:Net",
            )
        build = importlib.import_module("pwmpr.models").build
        with torch.random.fork_rng(devices=[]):
            module: nn.Module = build(about["name"], **(about.get("options") or {}))
    else:
        module = build_model(model)
    matched = match(module, unwrap(state, str(path)), str(path))
    shape = about.get("input_shape")
    settings = described.get("settings") or {}
    provenance = {
        "run": str(path),
        "recipe": settings.get("recipe"),
        "method": settings.get("method"),
        "seed": settings.get("seed"),
        "finished": folder.finished,
        "snapshot": f"{snapshot.cycle} (step {snapshot.step:,})",
        "model": about.get("name") or about.get("class"),
    }
    masks = dict(snapshot.masks)
    return Subject(
        module,
        matched.state,
        masks,
        path.resolve().name,
        provenance,
        (*matched.notes, *(() if folder.finished else ("the run is not finished",))),
        torch.zeros(1, *shape) if shape else None,
        built=not isinstance(model, nn.Module),
    )


def _newest(folder: Any, snapshots: Any) -> tuple[Any, Mapping[str, Tensor]]:
    """Return the last snapshot that has weights, with its weights."""
    if folder.finished and len(snapshots):
        return snapshots[-1], folder.model_state()
    for snapshot in reversed(snapshots):
        if folder.weights_path(snapshot.cycle).is_file():
            return snapshot, snapshot.weights
    raise TopographError(
        f"the run in {folder.path} has not written weights yet",
        "wait until its first training phase ends, or until the run does",
    )
