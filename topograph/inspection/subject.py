"""What is to be inspected: the model, its weights and its masks, whatever a user hands over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.adapters import merge_adapter
from topograph.inspection.builders import ModelSpec, build_model
from topograph.inspection.files import digest, kind_of_file, read_file
from topograph.inspection.folders import Folder, open_folder
from topograph.inspection.matching import Match, match, place_masks
from topograph.inspection.parametrised import assemble
from topograph.inspection.pretrained import Described, model_of_config
from topograph.inspection.readers.shards import read_shards, shards_of
from topograph.inspection.recognition import Recognition, recognise_weights
from topograph.inspection.runs import Run, open_run
from topograph.inspection.wrappings import Weights, unwrap


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
    remarks
        What a reader has to know before anything else.
    inferred
        Whether the model was found here, and none was given.
    """

    model: nn.Module
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    title: str
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    example: Tensor | None = field(default=None, repr=False)
    built: bool = False
    remarks: tuple[str, ...] = ()
    inferred: bool = False


@dataclass(frozen=True)
class Bare:
    """Weights whose network is not known.

    Attributes
    ----------
    state, masks
        By the names that the checkpoint gives, weights that it stores in parts put together.
    title, provenance, notes
        As in :class:`Subject`.
    reasons
        Why no network is known, where there is more to say than that none was given.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    title: str
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


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


def find_masks(masks: Any) -> dict[str, Tensor]:
    """Return masks by name from a mapping, or from the path of a file that holds one."""
    held = masks
    if isinstance(masks, (str, os.PathLike)):
        path = Path(masks).expanduser()
        if not path.is_file():
            raise TopographError(f"{path} does not exist", "pass the path of a file with masks")
        held = read_file(path)
    found = unwrap(held, "masks" if held is masks else str(masks))
    return {name: mask.bool() for name, mask in (found.masks or found.state).items()}


def _module(module: nn.Module, model: ModelSpec | None) -> Subject:
    if model is not None:
        raise TopographError(
            "checkpoint is a module and model is given too; expected one of them",
            "pass the module alone, or its state_dict() with model=",
        )
    return Subject(module, {}, {}, type(module).__name__, {})


def _path(path: Path, model: ModelSpec | None, trust: bool) -> Subject | Bare:
    if path.is_dir():
        return _folder(path, model)
    if not path.is_file():
        raise TopographError(f"{path} does not exist", "pass the path of a checkpoint")
    held, provenance = _read(path, trust)
    if model is None:
        found_beside = _beside(path, held, provenance)
        if found_beside is not None:
            return found_beside
    if isinstance(held, nn.Module):
        found = _module(held, model)
        return Subject(held, {}, {}, path.name, provenance, found.notes)
    return _weights(held, model, str(path), provenance, path.name)


def _read(path: Path, trust: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return what a file holds, together with its other shards, and its provenance."""
    files = shards_of(path)
    provenance: dict[str, Any] = {
        "file": str(path),
        "bytes": sum(file.stat().st_size for file in files),
        "format": kind_of_file(files[0]),
        "sha256": digest(path),
    }
    if files == (path,):
        return read_file(path, trust), provenance
    provenance["shards"] = {file.name: digest(file) for file in files}
    return read_shards(files, read_file), provenance


def _weights(
    held: Any,
    model: ModelSpec | None,
    origin: str,
    provenance: dict[str, Any],
    title: str = "",
) -> Subject | Bare:
    weights = unwrap(held, origin)
    if model is None:
        return _unnamed(weights, origin, provenance, title)
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
        remarks=_without_place(matched),
    )


def _without_place(matched: Match) -> tuple[str, ...]:
    if not matched.unused:
        return ()
    count, shown = len(matched.unused), ", ".join(matched.unused[:3])
    more = f" and {count - 3} more" if count > 3 else ""
    held = f"{count} weight{'s' * (count != 1)} that the model has no place for ({shown}{more})"
    remark = (
        f"The checkpoint holds {held}; if they are layers of the network that was trained, this is "
        "another model"
    )
    return (remark,)


def _unnamed(
    weights: Weights, origin: str, provenance: dict[str, Any], title: str
) -> Subject | Bare:
    """Return weights with the network that they are recognised to belong to, if there is one."""
    found = recognise_weights(weights, origin)
    if isinstance(found, Recognition):
        return Subject(
            found.model,
            found.matched.state,
            found.matched.masks,
            title or type(found.model).__name__,
            provenance | {"model": found.name},
            found.matched.notes,
            built=True,
            remarks=found.remarks,
            inferred=True,
        )
    whole = assemble(weights.state)
    masks = place_masks(list(whole.state), weights.masks) | whole.masks
    notes = (*weights.notes, *whole.notes)
    return Bare(whole.state, masks, title or origin, provenance, notes, found.reasons)


def _folder(path: Path, model: ModelSpec | None) -> Subject | Bare:
    if (path / "settings.json").is_file():
        return _run(path, model)
    folder = open_folder(path)
    held, provenance = _read(folder.weights)
    title = path.resolve().name
    origin = str(folder.weights)
    if folder.adapter:
        return _adapter(folder, unwrap(held, origin), model, provenance, title)
    described = model_of_config(folder.config) if model is None else None
    if described is None:
        found = _weights(held, model, origin, provenance, title)
    elif isinstance(described, str):
        found = _weights(held, described, origin, provenance, title)
    else:
        found = _described(described, unwrap(held, origin), origin, provenance, title)
    passed = (f"not read beside it: {', '.join(folder.passed)}",) if folder.passed else ()
    return replace(found, notes=(*found.notes, *passed))


def _beside(path: Path, held: Any, provenance: dict[str, Any]) -> Subject | Bare | None:
    """Return the network that a config.json beside the weights describes, if they go together."""
    if not (path.parent / "config.json").is_file() or not isinstance(held, Mapping):
        return None
    try:
        folder = open_folder(path.parent)
        if path != folder.weights and path not in shards_of(folder.weights):
            return None
        described = model_of_config(folder.config)
        if isinstance(described, str):
            return _weights(held, described, str(path), provenance, path.name)
        if described is None:
            return None
        return _described(described, unwrap(held, str(path)), str(path), provenance, path.name)
    except TopographError as error:  # the file itself can be looked at all the same
        found = _unnamed(unwrap(held, str(path)), str(path), provenance, path.name)
        why = f"{error.problem} (the config.json beside the file is left out of account)"
        if isinstance(found, Bare):
            return replace(found, reasons=(*found.reasons, why))
        return replace(found, notes=(*found.notes, why))


def _described(
    described: Described,
    weights: Weights,
    origin: str,
    provenance: dict[str, Any],
    title: str,
) -> Subject:
    """Return the network that a Hugging Face folder describes, with the folder's weights."""
    stored = sum(tensor.numel() for tensor in weights.state.values())
    module, extra = described.load(weights.state, stored, origin)
    remarks = (f"Built as transformers' {described.name}, which the folder's config.json names",)
    notes = (f"the model has no place for {', '.join(extra[:4])}",) if extra else ()
    return Subject(
        module,
        {},
        dict(weights.masks),
        title,
        provenance | {"model": described.name},
        (*weights.notes, *notes),
        built=True,
        remarks=remarks,
        inferred=True,
    )


def _adapter(
    folder: Folder,
    weights: Weights,
    model: ModelSpec | None,
    provenance: dict[str, Any],
    title: str,
) -> Subject:
    """Return the network that an adapter changes, with the adapter merged into its weights."""
    base = folder.adapter.get("base_model_name_or_path")
    if not isinstance(model, nn.Module):
        raise TopographError(
            f"{folder.weights} holds an adapter, and not the weights of the model that it changes "
            f"({base})",
            "pass that model with its weights, model=AutoModel.from_pretrained(…): the adapter is "
            "merged into them; or save the merged model (peft's merge_and_unload)",
        )
    merged, count = merge_adapter(model, weights.state, folder.adapter, str(folder.weights))
    return Subject(
        model,
        merged,
        {},
        title,
        provenance | {"model": type(model).__name__, "base": base},
        weights.notes,
        remarks=(f"An adapter is merged into {count} weights of the model that was given",),
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
