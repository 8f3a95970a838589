"""What is measured of a network: a row a layer, a row a node, and the numbers that sum it up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from topograph.core import tau_core, tau_core_ratios
from topograph.degrees import degree
from topograph.flow import PathFlow
from topograph.graph.blocks import Block
from topograph.graph.layered import LayeredGraph
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


def measure(graph: LayeredGraph, paths: PathFlow, layers: list[Layer], tau: float) -> Measures:
    """Measure a network.

    Parameters
    ----------
    graph
        The network's graph; connectivity is taken from it.
    paths
        The tensor path of the same network; path measures are taken from it.
    layers
        What the rows of the layer frame are about.
    tau
        Part of the path weight that a core holds, in (0, 1].
    """
    ratios = tau_core_ratios(paths, tau)
    nodes = _node_frame(graph, _by_node(graph, paths), tau_core(paths, tau).nodes)
    return Measures(
        _summary(graph, nodes, layers, ratios, paths.log_total, tau),
        _layer_frame(graph, layers, nodes, ratios),
        nodes,
    )


def _by_node(graph: LayeredGraph, paths: PathFlow) -> np.ndarray:
    share = np.zeros(graph.n_nodes)
    for name, values in paths.share.items():
        start = paths.offsets[name]
        share[start : start + len(values)] = np.asarray(values, dtype=np.float64)
    return share


def _node_frame(graph: LayeredGraph, share: np.ndarray, core: np.ndarray) -> pd.DataFrame:
    groups = list(graph.groups.values())
    sizes = [group.size for group in groups]
    index = np.concatenate([np.arange(size) for size in sizes])
    names = np.repeat([group.name for group in groups], sizes)
    total = degree(graph)
    into = degree(graph, "in")
    in_core, dead = np.zeros(graph.n_nodes, bool), np.zeros(graph.n_nodes, bool)
    in_core[core] = True
    dead[dead_nodes(graph)] = True
    return pd.DataFrame(
        {
            "node": np.arange(graph.n_nodes),
            "group": pd.Categorical(names, categories=[group.name for group in groups]),
            "index": index,
            "hidden": np.repeat([group.name in set(graph.hidden) for group in groups], sizes),
            "degree": total,
            "degree_in": into,
            "degree_out": total - into,
            "k_shell": k_shell(graph),
            "share": share,
            "tau_core": in_core,
            "dead": dead,
            "isolated": total == 0,
        }
    )


def _layer_frame(
    graph: LayeredGraph, layers: list[Layer], nodes: pd.DataFrame, ratios: dict[str, float]
) -> pd.DataFrame:
    alive = ~nodes["dead"].to_numpy()
    by_group = dict(iter(nodes.groupby("group", observed=True)))
    rows = []
    for layer in layers:
        there = by_group[layer.target]
        on_paths = _on_paths(graph, layer, alive)
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
                "k_shell_max": int(there["k_shell"].max()),
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
    graph: LayeredGraph,
    nodes: pd.DataFrame,
    layers: list[Layer],
    ratios: dict[str, float],
    log_total: float,
    tau: float,
) -> dict[str, Any]:
    hidden = nodes[nodes["hidden"]]
    shells = nodes["k_shell"].to_numpy()
    weights = sum(layer.weights for layer in layers if not layer.again)
    kept = sum(layer.kept for layer in layers if not layer.again)
    core = int(nodes["tau_core"].sum())
    return {
        "weights": weights,
        "kept": kept,
        "density": kept / weights if weights else math.nan,
        "effective_density": effective_density(graph),
        "layers": len(layers),
        "groups": len(graph.groups),
        "nodes": graph.n_nodes,
        "hidden_nodes": len(hidden),
        "edges": graph.n_edges,
        "log10_paths": log_total / math.log(10),
        "paths_from": "tensor path",
        "tau": tau,
        "tau_core": core,
        "tau_core_part": core / len(hidden) if len(hidden) else math.nan,
        "average_tau_core_ratio": float(np.mean(list(ratios.values()))) if ratios else math.nan,
        "k_max": int(shells.max(initial=0)),
        "k_max_nodes": int((shells == shells.max(initial=0)).sum()),
        "isolated": int(hidden["isolated"].sum()),
        "dead": int(hidden["dead"].sum()),
        "dead_inputs": _dead_in(graph.inputs, nodes),
        "dead_outputs": _dead_in(graph.outputs, nodes),
    }


def _dead_in(groups: tuple[str, ...], nodes: pd.DataFrame) -> int:
    return int(nodes.loc[nodes["group"].isin(groups), "dead"].sum())
