"""What is to be inspected that lies on the disk: a file, shards, a folder, a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from topograph.capturing.lazy import LazyTensors
from topograph.errors import TopographError
from topograph.inspection.adapters import merge_adapter
from topograph.inspection.beyond import open_beyond, subject_beyond
from topograph.inspection.builders import ModelSpec
from topograph.inspection.files import digest, kind_of_file, read_file
from topograph.inspection.folders import Folder, open_folder
from topograph.inspection.matching import match
from topograph.inspection.pretrained import Described, model_of_config
from topograph.inspection.readers.shards import read_shards, shards_of
from topograph.inspection.runs import Run, open_run
from topograph.inspection.subject import Bare, Subject, subject_of_module, subject_of_weights
from topograph.inspection.wrappings import Weights, unwrap


def subject_of_path(path: Path, model: ModelSpec | None, trust: bool = False) -> Subject | Bare:
    """Return what a file or folder holds, with the network that it belongs to.

    Parameters
    ----------
    path
        A file, any shard of a checkpoint in several, or a folder.
    model
        The network, or None.
    trust
        Whether an exported program may be loaded, which runs code in it.

    Raises
    ------
    TopographError
        If it cannot be read, or does not fit the model.
    """
    if path.is_dir():
        return _folder(path, model)
    if not path.exists():
        raise TopographError(f"{path} does not exist", "pass the path of a checkpoint")
    held, provenance = _read(path, trust)
    if isinstance(held, LazyTensors):
        network = _network_beside(path) if model is None else model
        return subject_beyond(held, network, str(path), provenance, path.name)
    if model is None:
        found_beside = _beside(path, held, provenance)
        if found_beside is not None:
            return found_beside
    if isinstance(held, nn.Module):
        found = subject_of_module(held, model)
        return Subject(held, {}, {}, path.name, provenance, found.notes)
    return subject_of_weights(held, model, str(path), provenance, path.name)


def _read(path: Path, trust: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return what a file holds, together with its other shards, and its provenance."""
    files = shards_of(path)
    provenance: dict[str, Any] = {
        "file": str(path),
        "bytes": sum(file.stat().st_size for file in files),
        "format": kind_of_file(files[0], whole=False),
        "sha256": digest(path),
    }
    beyond = open_beyond(files)
    if files != (path,) and beyond is not None:
        provenance["shards"] = {file.name: digest(file) for file in files}
    if beyond is not None:
        return beyond, provenance
    if files == (path,):
        return read_file(path, trust), provenance
    provenance["shards"] = {file.name: digest(file) for file in files}
    return read_shards(files, read_file), provenance


def _folder(path: Path, model: ModelSpec | None) -> Subject | Bare:
    if (path / "settings.json").is_file():
        return _run(path, model)
    folder = open_folder(path)
    held, provenance = _read(folder.weights)
    title = path.resolve().name
    origin = str(folder.weights)
    if isinstance(held, LazyTensors):
        network = model_of_config(folder.config) if model is None else model
        return subject_beyond(held, network, origin, provenance, title)
    if folder.adapter:
        return _adapter(folder, unwrap(held, origin), model, provenance, title)
    described = model_of_config(folder.config) if model is None else None
    if described is None:
        found = subject_of_weights(held, model, origin, provenance, title)
    elif isinstance(described, str):
        found = subject_of_weights(held, described, origin, provenance, title)
    else:
        found = _described(described, unwrap(held, origin), origin, provenance, title)
    passed = (f"not read beside it: {', '.join(folder.passed)}",) if folder.passed else ()
    return replace(found, notes=(*found.notes, *passed))


def _network_beside(path: Path) -> Described | str | None:
    """Return what the config.json beside the weights describes, if they go together."""
    if not (path.parent / "config.json").is_file():
        return None
    folder = open_folder(path.parent)
    if path != folder.weights and path not in shards_of(folder.weights):
        return None
    return model_of_config(folder.config)


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
            return subject_of_weights(held, described, str(path), provenance, path.name)
        if described is None:
            return None
        return _described(described, unwrap(held, str(path)), str(path), provenance, path.name)
    except TopographError as error:  # the file itself can be looked at all the same
        found = subject_of_weights(held, None, str(path), provenance, path.name)
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
