"""What is there to know about one checkpoint: from whatever a user has to a report."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import topograph
from topograph.capturing import capture
from topograph.capturing.assemble import EDGE_LIMIT, most_edges
from topograph.capturing.layout import layout
from topograph.capturing.structure import structure_of
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Layout
from topograph.check import check_fraction
from topograph.errors import TopographError
from topograph.flow import PathFlow, path_flow
from topograph.flow.tensor_path import lying_on_paths
from topograph.graph.layered import LayeredGraph
from topograph.influence import check_influence
from topograph.inspection.builders import ModelSpec
from topograph.inspection.examples import guess_example
from topograph.inspection.finding import find_masks, find_subject
from topograph.inspection.kept import kept_weights
from topograph.inspection.large import large_connectivity, once
from topograph.inspection.large_report import LargeReport
from topograph.inspection.layerwise_report import layerwise_report
from topograph.inspection.matching import holding, place_masks
from topograph.inspection.measures import Layer, connectivity, measure
from topograph.inspection.readers.limits import max_bytes
from topograph.inspection.report import Report
from topograph.inspection.subject import Bare, Subject
from topograph.inspection.verdicts import verdicts

#: Units whose influence is checked against the graph before anything is said about it.
_VERIFIED = 16

#: What an edge takes while a graph is made and measured: 12 bytes that stay, and as many again.
_BYTES = 24


def inspect(
    checkpoint: Any,
    model: ModelSpec | None = None,
    example_input: Any = None,
    masks: Mapping[str, Tensor] | str | os.PathLike[str] | None = None,
    tau: float = 0.9,
    device: str | torch.device = "cpu",
    trust: bool = False,
) -> Report:
    """Look at a network: what its graph is like, and where its paths run.

    Parameters
    ----------
    checkpoint
        A module; a state dict, also inside the usual wrappings of training scripts; the path of a
        checkpoint file, whose kind is told by its content (``torch.save``, old or new format, or
        safetensors); a Hugging Face folder; the folder of a pwmpr run; or the result of one.
        Safetensors larger than ``TOPOGRAPH_MAX_BYTES`` are read one tensor at a time.
    model
        What the weights belong to, where they come alone and are not recognised by their names
        and shapes: a module, a callable that returns one, or ``"pwmpr:resnet32"``,
        ``"torchvision:resnet50"``, ``"timm:…"``, ``"transformers:gpt2"``,
        ``"package.module:callable"``. A module that is given holds the checkpoint's values while
        it is looked at and its own afterwards; it is neither copied nor changed.
    example_input
        A batch of one sample, a tuple of positional or a dict of keyword arguments; None guesses
        one from the first layers, and the report says which.
    masks
        Parameter name to bool tensor of the parameter's shape, True where a weight is kept, or
        the path of a file that holds such a mapping; names may also be those of the layers. By
        default the masks that come with the checkpoint; without any, those that are in the model
        (``torch.nn.utils.prune``, parametrisations), or else the weights that are not exactly 0.
    tau
        Part of the path weight that the τ-core holds, in (0, 1].
    device
        Where a model that is built here, from a name or a callable, is put.
    trust
        Whether an exported program (``.pt2``) may be loaded: that runs code pickled in it. No
        other file is ever executed, trusted or not.

    Returns
    -------
    Report
        Path measures from the tensor path, connectivity from the channel graph. Where that would
        be larger than memory, connectivity from one weight at a time; ``graph`` is None then, and
        k-shells are NaN where connections are missing. The first line of the coverage says so.

    Raises
    ------
    TopographError
        If the checkpoint cannot be read, needs to run code, does not fit the model, or the model
        cannot be captured.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> report = inspect(net)
    >>> report.summary["weights"], report.summary["density"]
    (18, 1.0)
    >>> list(report.layers["layer"])
    ['0', '2']
    """
    tau = check_fraction(tau, "tau")
    subject = find_subject(checkpoint, model, trust)
    if isinstance(subject, Bare):
        return _layerwise(subject, masks, tau)
    if subject.inferred and example_input is None and masks is None:
        try:
            return _known(subject, None, None, tau, device)
        except TopographError as error:
            return _layerwise(_as_bare(subject, error), None, tau)
    return _known(subject, example_input, masks, tau, device)


def _known(
    subject: Subject,
    example_input: Any,
    masks: Mapping[str, Tensor] | str | os.PathLike[str] | None,
    tau: float,
    device: str | torch.device,
) -> Report:
    if subject.built:
        _place(subject.model, device)
    example, guessed = _example(subject, example_input)
    used = subject.masks
    if masks is not None:
        parameters = dict(subject.model.named_parameters(remove_duplicate=False))
        used = place_masks(list(parameters), find_masks(masks))
    with holding(subject.model, subject.state):
        return _report(subject, example, used or None, tau, guessed)


def _as_bare(subject: Subject, error: TopographError) -> Bare:
    """Return the weights of a network that was found for them and cannot be looked at."""
    state = subject.weights
    if state is None:
        state = dict(subject.state) or subject.model.state_dict()
    why = f"Its graph cannot be told here: {error.problem}"
    return Bare(
        state,
        subject.masks,
        subject.title,
        dict(subject.provenance),
        subject.notes,
        (*subject.remarks, why),
    )


def _place(model: nn.Module, device: str | torch.device) -> None:
    try:
        model.to(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise TopographError(
            f"device is {device!r}, which cannot be used here ({str(error).splitlines()[0]})",
            'pass "cpu", or a device that torch knows and this machine has',
        ) from None


def _example(subject: Subject, given: Any) -> tuple[Any, bool]:
    if given is not None:
        return given, False
    guessed = subject.example is None
    example = guess_example(subject.model) if subject.example is None else subject.example
    weight = next(subject.model.parameters(), None)
    return (example if weight is None else _moved(example, weight.device)), guessed


def _moved(example: Any, device: torch.device) -> Any:
    """Return an example of whatever kind with its tensors on a device."""
    if isinstance(example, Tensor):
        return example.to(device)
    if isinstance(example, Mapping):
        return {name: _moved(value, device) for name, value in example.items()}
    if isinstance(example, (tuple, list)):
        return type(example)(_moved(value, device) for value in example)
    return example


def _report(
    subject: Subject,
    example: Any,
    masks: Mapping[str, Tensor] | None,
    tau: float,
    guessed: bool,
) -> Report:
    model, weights = subject.model, subject.weights
    traced = trace(model, example)
    binding = Binding(traced, model, masks, weights)
    made = layout(traced, binding)
    flow = path_flow(model, example, masks=masks, weights=weights, scores=False)
    limit = min(EDGE_LIMIT, max_bytes() // _BYTES)
    edges = most_edges(made, binding, limit)
    graph = None
    if edges <= limit:
        graph = capture(model, example, masks=masks, weights=weights)
        assert graph.coverage is not None  # a captured graph has one
        coverage = graph.coverage
        verified = check_influence(traced, binding, made, units=_VERIFIED)
        layers, kept = _layers(graph, flow, binding), kept_weights(binding)
        connected = connectivity(graph, layers)
    else:
        coverage = structure_of("", 0, made).coverage
        verified = 0
        alive = _alive(made, flow, subject, example, masks)
        large = large_connectivity(made, binding, flow, alive)
        layers, kept, connected = large.layers, large.masks, large.connectivity
    remarks = (*subject.remarks, *coverage.notes)
    coverage = replace(coverage, verified=verified, notes=remarks)
    found = measure(connected, flow, layers, tau)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    summary = {"parameters": parameters, **found.summary}
    size = " and ".join("×".join(map(str, shape)) for shape in _shapes(example))
    notes = list(subject.notes)
    if guessed:
        notes.append(f"the input size {size} is a guess; example_input (--input-size) sets another")
    provenance: dict[str, Any] = dict(subject.provenance)
    provenance |= {
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "input": size,
        "notes": notes,
        "tau": tau,
        "granularity": "channel",
        "norm": "identity",
        "versions": _versions(),
    }
    parts = (
        subject.title,
        f"{type(model).__name__}, {parameters:,} parameters, input {size}",
        coverage,
        summary,
        found.layers,
        found.nodes,
        verdicts(summary, found.layers),
        provenance,
    )
    if graph is None:
        return LargeReport(*parts, None, kept)
    return Report(*parts, replace(graph, coverage=coverage), kept)


def _alive(
    made: Layout,
    flow: PathFlow,
    subject: Subject,
    example: Any,
    masks: Mapping[str, Tensor] | None,
) -> np.ndarray:
    """Return by node id whether it lies on a path."""
    live = {name: share > 0 for name, share in flow.share.items()}
    if not all(bool(each.all()) for each in live.values()):
        # A kept weight of value 0 carries no path weight, and is a connection all the same.
        live = lying_on_paths(subject.model, example, masks, subject.weights)
    return np.concatenate([live[name].numpy() for name in made.groups])


def _layerwise(
    subject: Bare, masks: Mapping[str, Tensor] | str | os.PathLike[str] | None, tau: float
) -> Report:
    used = subject.masks
    if masks is not None:
        used = place_masks(list(subject.state), find_masks(masks))
    provenance: dict[str, Any] = dict(subject.provenance)
    provenance |= {"notes": list(subject.notes), "versions": _versions()}
    return layerwise_report(subject.state, used, tau, subject.title, provenance, subject.reasons)


def _versions() -> str:
    return (
        f"topograph {topograph.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


def _shapes(example: Any) -> list[tuple[int, ...]]:
    if isinstance(example, Tensor):
        return [tuple(example.shape[1:])]
    values = example.values() if isinstance(example, Mapping) else example
    return [tuple(value.shape[1:]) for value in values if isinstance(value, Tensor)]


def _layers(graph: LayeredGraph, flow: PathFlow, binding: Binding) -> list[Layer]:
    layers = []
    for record in graph.operators:
        blocks = tuple(
            block
            for block in graph.weight_blocks
            if block.target == record.target and record.parameter in block.parameters
        )
        layers.append(
            Layer(
                record.name,
                record.parameter,
                record.kind,
                " + ".join(record.sources),
                record.target,
                record.shape,
                record.size,
                record.kept,
                blocks,
                flow.passed.get(record.name, 0.0),
            )
        )
    return once(layers, binding)
