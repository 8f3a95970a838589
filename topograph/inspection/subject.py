"""What is to be inspected: the model, its weights and its masks, whatever a user hands over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.builders import ModelSpec, build_model
from topograph.inspection.files import digest, kind_of_file, read_file
from topograph.inspection.matching import match
from topograph.inspection.runs import Run, open_run
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
    run = open_run(path)
    folder, about, settings = run.folder, run.about, run.settings
    snapshot, state = _newest(run)
    module = run.model(model)
    matched = match(module, unwrap(state, str(path)), str(path))
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
        run.example,
        built=not isinstance(model, nn.Module),
    )


def _newest(run: Run) -> tuple[Any, Mapping[str, Tensor]]:
    """Return the last snapshot that has weights, with its weights."""
    if run.folder.finished and len(run.snapshots):
        return run.snapshots[-1], run.folder.model_state()
    for number in reversed(range(len(run.snapshots))):
        state = run.weights(number)
        if state is not None:
            return run.snapshots[number], state
    raise TopographError(
        f"the run in {run.folder.path} has not written weights yet",
        "wait until its first training phase ends, or until the run does",
    )
