"""What weights belong to that are too large to be read at once: a network without memory for them.

The network is built with shapes alone, names and shapes are matched as for any checkpoint, and
every value is read from its file when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from topograph.capturing.hollow import parameters_without_memory
from topograph.capturing.lazy import LazyTensors
from topograph.errors import TopographError
from topograph.inspection.builders import ModelSpec, build_model
from topograph.inspection.files import kind_of_file
from topograph.inspection.matching import Match, match
from topograph.inspection.pretrained import Described
from topograph.inspection.readers.limits import LIMIT_VARIABLE, max_bytes
from topograph.inspection.readers.safetensors import open_safetensors
from topograph.inspection.subject import Bare, Subject
from topograph.inspection.wrappings import Weights

_ONE_AT_A_TIME = "The weights are larger than memory together, and were read one at a time"


def open_beyond(files: tuple[Path, ...]) -> LazyTensors | None:
    """Return the tensors of files that are together larger than memory, if they can be read so.

    Returns
    -------
    LazyTensors or None
        None for what fits, and for files that are not all safetensors.
    """
    if sum(file.stat().st_size for file in files) <= max_bytes():
        return None
    if any(kind_of_file(file, whole=False) != "safetensors" for file in files):
        return None
    return open_safetensors(files)


def subject_beyond(
    weights: LazyTensors,
    network: Described | ModelSpec | None,
    origin: str,
    provenance: dict[str, Any],
    title: str,
) -> Subject | Bare:
    """Return the network that weights belong to which are read one at a time.

    Parameters
    ----------
    weights
        The weights.
    network
        What a folder's config.json describes, or a model as in
        :func:`topograph.inspection.builders.build_model`; None leaves the layers to be looked at
        one by one.
    origin
        What to call the checkpoint in an error.
    provenance, title
        As in :class:`Subject`.

    Raises
    ------
    TopographError
        If the network cannot be built without memory, or the weights do not fit it name by name.
    """
    if network is None:
        return Bare(weights, {}, title, provenance, (), (_ONE_AT_A_TIME,))
    model, name = _build(network, origin)
    hollow = {
        stored: torch.empty(weights.shape(stored), dtype=_held(weights, stored), device="meta")
        for stored in weights
    }
    matched = match(model, Weights(hollow), origin)
    read = weights.renamed(_names(matched, hollow, origin))
    remark = _ONE_AT_A_TIME
    if isinstance(network, Described):
        remark = f"Built as transformers' {name}, which the folder's config.json names. {remark}"
    return Subject(
        model.eval(),
        {},
        {},
        title,
        provenance | {"model": name},
        matched.notes,
        remarks=(remark,),
        inferred=isinstance(network, Described),
        weights=read,
    )


def _held(weights: LazyTensors, name: str) -> torch.dtype:
    """Return the type that a model holds a tensor in: the default one for all of its weights."""
    dtype = weights.dtype(name)
    return torch.get_default_dtype() if dtype.is_floating_point else dtype


def _build(network: Described | ModelSpec, origin: str) -> tuple[nn.Module, str]:
    if isinstance(network, nn.Module):
        return network, type(network).__name__
    with parameters_without_memory():
        if isinstance(network, Described):
            return network.hollow(origin), network.name
        model = build_model(network)
    return model, network if isinstance(network, str) else type(model).__name__


def _names(matched: Match, hollow: Mapping[str, Tensor], origin: str) -> dict[str, str]:
    """Return name in the model to name in the files."""
    stored = {id(tensor): name for name, tensor in hollow.items()}
    strange = [name for name, tensor in matched.state.items() if id(tensor) not in stored]
    strange += list(matched.masks)
    if strange:
        raise TopographError(
            f"{origin} is larger than memory, and stores {strange[0]} in parts or in another type "
            "than the model, which takes more than one reading",
            f"save whole weights, or set {LIMIT_VARIABLE} to the bytes that it may take",
        )
    return {name: stored[id(tensor)] for name, tensor in matched.state.items()}
