"""What is measured of a network: a row a layer, a row a node, and the numbers that sum it up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from topograph.core import tau_core, tau_core_ratios
from topograph.degrees import degree
from topograph.flow import PathFlow
from topograph.graph.blocks import Block
from topograph.graph.layered import Group, LayeredGraph
from topograph.reach import dead_nodes, effective_density
from topograph.shells import k_shell


@dataclass(frozen=True)
class Layer:
    """One use of a weight: what a row of the layer frame is about.

    Attributes
    ----------
    name, parameter, kind
        Of the operator: ``"layer1.0.conv1"``, ``"layer1.0.conv1.weight"``, ``"conv"``.
    source, target
        Names of the groups it leads from (joined by ``" + "`` where there are several) and to.
    shape
        Of the weight.
    weights, kept
        Number of weights, and how many the mask keeps.
    blocks
        The graph's blocks that its weights are in.
    path_share
        Part of all path weight that runs through it, 0 to 1; NaN where it is not known.
    again
        Whether its weights are those of an earlier layer: they are counted once.
    """

    name: str
    parameter: str
    kind: str
    source: str
    target: str
    shape: tuple[int, ...]
    weights: int
    kept: int
    blocks: tuple[Block, ...]
    path_share: float = math.nan
    again: bool = False


@dataclass(frozen=True, eq=False)
class Measures:
    """The frames and the summary of one network."""

    summary: dict[str, Any]
    layers: pd.DataFrame
    nodes: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Connectivity:
    """What the connections of a network are like, weights' values apart.

    Attributes
    ----------
    groups
        Name to group, with node ids.
    inputs, outputs
        Names of the groups that paths start from and end in.
    degree, degree_in, k_shell, dead
        By node id; NaN where it is not known.
    edges
        Their number.
    effective_density
        Kept weights on paths, of all weights.
    on_paths
        For every layer its kept weights that lie on a path; NaN where that is not known.
    """

    groups: Mapping[str, Group]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    degree: np.ndarray
    degree_in: np.ndarray
    k_shell: np.ndarray
    dead: np.ndarray
    edges: int
    effective_density: float
    on_paths: list[float]


def connectivity(graph: LayeredGraph, layers: list[Layer]) -> Connectivity:
    """Return the connectivity of a graph, of whose blocks the layers are."""
    dead = np.zeros(graph.n_nodes, bool)
    dead[dead_nodes(graph)] = True
    return Connectivity(
        graph.groups,
        graph.inputs,
        graph.outputs,
        degree(graph),
        degree(graph, "in"),
        k_shell(graph),
        dead,
        graph.n_edges,
        effective_density(graph),
        [_on_paths(graph, layer, ~dead) for layer in layers],
    )


def measure(found: Connectivity, paths: PathFlow, layers: list[Layer], tau: float) -> Measures:
    """Measure a network.

    Parameters
    ----------
    found
        The network's connectivity.
    paths
        The tensor path of the same network; path measures are taken from it.
    layers
        What the rows of the layer frame are about.
    tau
        Part of the path weight that a core holds, in (0, 1].
    """
    ratios = tau_core_ratios(paths, tau)
    nodes = _node_frame(found, _by_node(found, paths), tau_core(paths, tau).nodes)
    return Measures(
        _summary(found, nodes, layers, ratios, paths.log_total, tau),
        _layer_frame(layers, found.on_paths, nodes, ratios),
        nodes,
    )


def _by_node(found: Connectivity, paths: PathFlow) -> np.ndarray:
    share = np.zeros(len(found.degree))
    for name, values in paths.share.items():
        start = paths.offsets[name]
        share[start : start + len(values)] = np.asarray(values, dtype=np.float64)
    return share


def _node_frame(found: Connectivity, share: np.ndarray, core: np.ndarray) -> pd.DataFrame:
    groups = list(found.groups.values())
    ends = {*found.inputs, *found.outputs}
    sizes = [group.size for group in groups]
    index = np.concatenate([np.arange(size) for size in sizes])
    names = np.repeat([group.name for group in groups], sizes)
    in_core = np.zeros(len(share), bool)
    in_core[core] = True
    return pd.DataFrame(
        {
            "node": np.arange(len(share)),
            "group": pd.Categorical(names, categories=[group.name for group in groups]),
            "index": index,
            "hidden": np.repeat([group.name not in ends for group in groups], sizes),
            "degree": found.degree,
            "degree_in": found.degree_in,
            "degree_out": found.degree - found.degree_in,
            "k_shell": found.k_shell,
            "share": share,
            "tau_core": in_core,
            "dead": found.dead,
            "isolated": found.degree == 0,
        }
    )


def _layer_frame(
    layers: list[Layer], lying: list[float], nodes: pd.DataFrame, ratios: dict[str, float]
) -> pd.DataFrame:
    by_group = dict(iter(nodes.groupby("group", observed=True)))
    rows = []
    for layer, on_paths in zip(layers, lying, strict=True):
        there = by_group[layer.target]
        rows.append(
            {
                "layer": layer.name,
                "parameter": layer.parameter,
                "kind": layer.kind,
                "shape": "×".join(map(str, layer.shape)),
                "source": layer.source,
                "group": layer.target,
                "weights": layer.weights,
                "kept": layer.kept,
                "density": layer.kept / layer.weights if layer.weights else math.nan,
                "on_paths": on_paths,
                "effective_density": on_paths / layer.weights if layer.weights else math.nan,
                "path_share": layer.path_share,
                "nodes": len(there),
                "dead": int(there["dead"].sum()),
                "isolated": int(there["isolated"].sum()),
                "tau_core_ratio": ratios.get(layer.target, math.nan),
                "in_tau_core": int(there["tau_core"].sum()),
                "top_share": _top(there["share"].to_numpy()),
                "degree_mean": float(there["degree"].mean()),
                "k_shell_max": there["k_shell"].max(),
                "k_shell_mean": float(there["k_shell"].mean()),
            }
        )
    return pd.DataFrame(rows)


def _on_paths(graph: LayeredGraph, layer: Layer, alive: np.ndarray) -> float:
    """Return how many kept weights lie on a path; NaN where a block mixes several weights.

    An edge between two nodes that each lie on a path lies on one itself: its source is reached
    from the inputs, and its target reaches the outputs.
    """
    if not layer.blocks or any(len(block.parameters) > 1 for block in layer.blocks):
        return math.nan
    count = 0
    for block in layer.blocks:
        taps = block.with_entries(block.tap_counts)
        sources = alive[graph.nodes(block.source)].astype(np.int64)
        count += int((taps @ sources)[alive[graph.nodes(block.target)]].sum())
    return float(count)


def _top(share: np.ndarray) -> float:
    """Return the largest node's part of its group's path weight."""
    total = share.sum()
    return float(share.max() / total) if total > 0 else 0.0


def _summary(
    found: Connectivity,
    nodes: pd.DataFrame,
    layers: list[Layer],
    ratios: dict[str, float],
    log_total: float,
    tau: float,
) -> dict[str, Any]:
    hidden = nodes[nodes["hidden"]]
    shells = nodes["k_shell"].to_numpy()
    known = not np.isnan(shells).any()
    weights = sum(layer.weights for layer in layers if not layer.again)
    kept = sum(layer.kept for layer in layers if not layer.again)
    core = int(nodes["tau_core"].sum())
    return {
        "weights": weights,
        "kept": kept,
        "density": kept / weights if weights else math.nan,
        "effective_density": found.effective_density,
        "layers": len(layers),
        "groups": len(found.groups),
        "nodes": len(nodes),
        "hidden_nodes": len(hidden),
        "edges": found.edges,
        "log10_paths": log_total / math.log(10),
        "paths_from": "tensor path",
        "tau": tau,
        "tau_core": core,
        "tau_core_part": core / len(hidden) if len(hidden) else math.nan,
        "average_tau_core_ratio": float(np.mean(list(ratios.values()))) if ratios else math.nan,
        "k_max": int(shells.max(initial=0)) if known else math.nan,
        "k_max_nodes": int((shells == shells.max(initial=0)).sum()) if known else math.nan,
        "isolated": int(hidden["isolated"].sum()),
        "dead": int(hidden["dead"].sum()),
        "dead_inputs": _dead_in(found.inputs, nodes),
        "dead_outputs": _dead_in(found.outputs, nodes),
    }


def _dead_in(groups: tuple[str, ...], nodes: pd.DataFrame) -> int:
    return int(nodes.loc[nodes["group"].isin(groups), "dead"].sum())
