"""What can be said of weights whose network is not known: the connections of each layer alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from topograph.graph.layered import layered_graph
from topograph.inspection.kept import Kept
from topograph.shells import k_shell

#: A matrix with more connections than this is not peeled into shells; its shells are -1.
SHELL_LIMIT = 200_000_000


@dataclass(frozen=True)
class _Layer:
    name: str
    parameter: str
    kind: str
    shape: tuple[int, ...]
    weights: int
    kept: int
    mask: Kept
    into: np.ndarray  # connections of every row
    out: np.ndarray  # connections of every column
    shells: np.ndarray  # rows, then columns


@dataclass(frozen=True, eq=False)
class LayerwiseMeasures:
    """The frames and the summary, as in :class:`topograph.inspection.measures.Measures`.

    What takes a graph to know (paths, cores, dead nodes) is NaN.
    """

    summary: dict[str, Any]
    layers: pd.DataFrame
    nodes: pd.DataFrame
    masks: dict[str, Kept]
    infinite: int


def is_layer(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is taken for a layer's weight: a matrix, or a kernel.

    Examples
    --------
    >>> is_layer("fc.weight", (1, 9)), is_layer("cls_token", (1, 1, 9)), is_layer("b", (9,))
    (True, False, False)
    """
    if len(shape) < 2 or math.prod(shape) == 0:
        return False
    return len(shape) == 2 or min(shape[:2]) > 1 or name.endswith(("weight", "kernel"))


def measure_layers(
    state: Mapping[str, Tensor], masks: Mapping[str, Tensor], tau: float
) -> LayerwiseMeasures:
    """Measure every matrix and kernel by itself.

    The rows of a weight (its first dimension) are taken for what it leads to, the columns (the
    second) for what it comes from, as PyTorch's layers have them; taps of a kernel are one
    connection. Nodes are rows and columns: what one layer's rows have to do with another's columns
    is not known.

    Parameters
    ----------
    state
        Name to dense tensor.
    masks
        Name to bool tensor; weights without a mask are kept where they are not exactly 0.
    tau
        Handed on to the summary.
    """
    layers, parameters, infinite = [], 0, 0
    for name, value in state.items():
        if not value.is_floating_point() and not value.is_complex():
            continue
        parameters += value.numel()
        if is_layer(name, tuple(value.shape)):
            infinite += int((~torch.isfinite(value.float())).sum())
            layers.append(_layer(name, value, masks.get(name)))
    nodes = _node_frame(layers)
    frame = pd.DataFrame(list(_rows(layers)))
    masks_of = {layer.parameter: layer.mask for layer in layers}
    summary = _summary(layers, nodes, parameters, tau)
    return LayerwiseMeasures(summary, frame, nodes, masks_of, infinite)


def _layer(name: str, value: Tensor, mask: Tensor | None) -> _Layer:
    fits = mask is not None and mask.shape == value.shape
    kept = mask.bool() if fits and mask is not None else value != 0
    taps = int(kept.sum())
    present = kept.flatten(2).any(dim=2) if kept.dim() > 2 else kept  # (rows, columns)
    kind = "matrix" if value.dim() == 2 else "kernel"
    if value.dim() > 2 and value.shape[1] == 1:
        kind = "depthwise kernel"
    return _Layer(
        name.removesuffix(".weight"),
        name,
        kind,
        tuple(value.shape),
        value.numel(),
        taps,
        Kept.of(kept.numpy()),
        present.sum(dim=1).numpy(),
        present.sum(dim=0).numpy(),
        _shells(present),
    )


def _shells(present: Tensor) -> np.ndarray:
    rows, columns = present.shape
    edges = int(present.sum())
    if edges == rows * columns:  # each node of a complete K(m, n) is in shell min(m, n)
        return np.full(rows + columns, min(rows, columns))
    if edges > SHELL_LIMIT:
        return np.full(rows + columns, -1)
    matrix = sp.csr_array(present.numpy().astype(np.float32))
    graph = layered_graph({"columns": columns, "rows": rows}, [("columns", "rows", matrix)])
    shells = np.asarray(k_shell(graph))
    return np.concatenate([shells[columns:], shells[:columns]])


def _rows(layers: list[_Layer]) -> Iterator[dict[str, Any]]:
    for layer in layers:
        nodes = np.concatenate([layer.into, layer.out])
        yield {
            "layer": layer.name,
            "parameter": layer.parameter,
            "kind": layer.kind,
            "shape": "×".join(map(str, layer.shape)),
            "source": _columns(layer),
            "group": _to(layer),
            "weights": layer.weights,
            "kept": layer.kept,
            "density": layer.kept / layer.weights,
            "on_paths": math.nan,
            "effective_density": math.nan,
            "path_share": math.nan,
            "nodes": len(nodes),
            "dead": math.nan,
            "isolated": int((nodes == 0).sum()),
            "tau_core_ratio": math.nan,
            "in_tau_core": math.nan,
            "top_share": math.nan,
            "degree_mean": float(nodes.mean()),
            "k_shell_max": int(layer.shells.max()),
            "k_shell_mean": float(layer.shells.mean()),
            "rows": len(layer.into),
            "columns": len(layer.out),
            "isolated_rows": int((layer.into == 0).sum()),
            "isolated_columns": int((layer.out == 0).sum()),
        }


def _to(layer: _Layer) -> str:
    return f"{layer.name} rows"


def _columns(layer: _Layer) -> str:
    return f"{layer.name} columns"


def _node_frame(layers: list[_Layer]) -> pd.DataFrame:
    names = [name for layer in layers for name in (_to(layer), _columns(layer))]
    sizes = [size for layer in layers for size in (len(layer.into), len(layer.out))]
    total = sum(sizes)
    parts = [part for layer in layers for part in (layer.into, layer.out)]
    degree = np.concatenate(parts) if parts else np.empty(0, np.int64)
    is_row = np.repeat([position % 2 == 0 for position in range(len(sizes))], sizes)
    shells = [layer.shells for layer in layers]
    return pd.DataFrame(
        {
            "node": np.arange(total),
            "group": pd.Categorical(np.repeat(names, sizes), categories=names),
            "index": np.concatenate([np.arange(size) for size in sizes] or [np.empty(0, int)]),
            "hidden": np.zeros(total, bool),
            "degree": degree,
            "degree_in": np.where(is_row, degree, 0),
            "degree_out": np.where(is_row, 0, degree),
            "k_shell": np.concatenate(shells) if shells else np.empty(0, np.int64),
            "share": np.full(total, math.nan),
            "tau_core": np.zeros(total, bool),
            "dead": np.zeros(total, bool),
            "isolated": degree == 0,
        }
    )


def _summary(
    layers: list[_Layer], nodes: pd.DataFrame, parameters: int, tau: float
) -> dict[str, Any]:
    weights = sum(layer.weights for layer in layers)
    kept = sum(layer.kept for layer in layers)
    shells = nodes["k_shell"].to_numpy()
    unknown = dict.fromkeys(
        (
            "tau_core",
            "tau_core_part",
            "average_tau_core_ratio",
            "dead",
            "dead_inputs",
            "dead_outputs",
            "effective_density",
            "log10_paths",
            "groups",
        ),
        math.nan,
    )
    return {
        "parameters": parameters,
        "weights": weights,
        "kept": kept,
        "density": kept / weights if weights else math.nan,
        "layers": len(layers),
        "nodes": len(nodes),
        "hidden_nodes": 0,
        "edges": int(sum(layer.into.sum() for layer in layers)),
        "paths_from": "",
        "tau": tau,
        "k_max": int(shells.max(initial=0)),
        "k_max_nodes": int((shells == shells.max(initial=0)).sum()),
        "isolated": int(nodes["isolated"].sum()),
        **unknown,
    }
