"""topograph: what a network's graph looks like.

Turns any PyTorch model with masks into a weighted layered graph and measures it. Names are imported
when they are first used, so that ``import topograph`` itself stays light.

Examples
--------
>>> import topograph as tg
>>> graph = tg.layered_graph({"x": 2, "h": 2, "y": 1},
...                          [("x", "h", [[1, 0], [1, 2]]), ("h", "y", [[1, 0.5]])])
>>> tg.path_centrality(graph).tolist()
[0.6, 0.4, 0.4, 0.6, 1.0]
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topograph.capturing import capture as capture
    from topograph.capturing.lazy import LazyTensors as LazyTensors
    from topograph.capturing.lazy import open_weights as open_weights
    from topograph.capturing.structure import Structure as Structure
    from topograph.capturing.structure import structure as structure
    from topograph.capturing.trace import forget as forget
    from topograph.change import exploration_rate as exploration_rate
    from topograph.change import jaccard as jaccard
    from topograph.change import jaccard_matrix as jaccard_matrix
    from topograph.change import mask_changes as mask_changes
    from topograph.change import rank_correlation as rank_correlation
    from topograph.change import rank_correlation_matrix as rank_correlation_matrix
    from topograph.core import average_tau_core_ratio as average_tau_core_ratio
    from topograph.core import hourglass_score as hourglass_score
    from topograph.core import tau_core as tau_core
    from topograph.core import tau_core_ratios as tau_core_ratios
    from topograph.cuts import bridges as bridges
    from topograph.cuts import layer_cuts as layer_cuts
    from topograph.cuts import minimum_cut as minimum_cut
    from topograph.degrees import degree as degree
    from topograph.degrees import dormant_nodes as dormant_nodes
    from topograph.degrees import isolated_nodes as isolated_nodes
    from topograph.distance import graph_distance as graph_distance
    from topograph.distance import layer_distances as layer_distances
    from topograph.errors import TopographError as TopographError
    from topograph.evenness import path_entropy as path_entropy
    from topograph.flow import path_flow as path_flow
    from topograph.graph.layered import LayeredGraph as LayeredGraph
    from topograph.graph.layered import layered_graph as layered_graph
    from topograph.graph.mapped import map_graph as map_graph
    from topograph.graph.mapped import open_graph as open_graph
    from topograph.hourglass import hourglass_curve as hourglass_curve
    from topograph.inspection import inspect as inspect
    from topograph.partition import communities as communities
    from topograph.partition import modularity as modularity
    from topograph.paths import path_centrality as path_centrality
    from topograph.paths import path_sums as path_sums
    from topograph.powerlaws import fit_power_law as fit_power_law
    from topograph.quotient import layer_graph as layer_graph
    from topograph.reach import dead_nodes as dead_nodes
    from topograph.reach import effective_density as effective_density
    from topograph.richclub import rich_club as rich_club
    from topograph.shells import k_shell as k_shell
    from topograph.shellsummary import k_shell_summary as k_shell_summary
    from topograph.shellwindows import k_shell_windows as k_shell_windows
    from topograph.spectra import layer_spectra as layer_spectra
    from topograph.timeline import evolution as evolution

#: Public name to the module that defines it.
_HOMES = {
    "LayeredGraph": "topograph.graph.layered",
    "LazyTensors": "topograph.capturing.lazy",
    "Structure": "topograph.capturing.structure",
    "TopographError": "topograph.errors",
    "average_tau_core_ratio": "topograph.core",
    "bridges": "topograph.cuts",
    "capture": "topograph.capturing",
    "communities": "topograph.partition",
    "dead_nodes": "topograph.reach",
    "degree": "topograph.degrees",
    "dormant_nodes": "topograph.degrees",
    "effective_density": "topograph.reach",
    "evolution": "topograph.timeline",
    "exploration_rate": "topograph.change",
    "fit_power_law": "topograph.powerlaws",
    "forget": "topograph.capturing.trace",
    "graph_distance": "topograph.distance",
    "hourglass_curve": "topograph.hourglass",
    "hourglass_score": "topograph.core",
    "inspect": "topograph.inspection",
    "isolated_nodes": "topograph.degrees",
    "jaccard": "topograph.change",
    "jaccard_matrix": "topograph.change",
    "k_shell": "topograph.shells",
    "k_shell_summary": "topograph.shellsummary",
    "k_shell_windows": "topograph.shellwindows",
    "layer_cuts": "topograph.cuts",
    "layer_distances": "topograph.distance",
    "layer_graph": "topograph.quotient",
    "layer_spectra": "topograph.spectra",
    "layered_graph": "topograph.graph.layered",
    "map_graph": "topograph.graph.mapped",
    "mask_changes": "topograph.change",
    "minimum_cut": "topograph.cuts",
    "modularity": "topograph.partition",
    "open_graph": "topograph.graph.mapped",
    "open_weights": "topograph.capturing.lazy",
    "path_centrality": "topograph.paths",
    "path_entropy": "topograph.evenness",
    "path_flow": "topograph.flow",
    "path_sums": "topograph.paths",
    "rank_correlation": "topograph.change",
    "rank_correlation_matrix": "topograph.change",
    "rich_club": "topograph.richclub",
    "structure": "topograph.capturing.structure",
    "tau_core": "topograph.core",
    "tau_core_ratios": "topograph.core",
}

__all__ = [
    "LayeredGraph",
    "LazyTensors",
    "Structure",
    "TopographError",
    "average_tau_core_ratio",
    "bridges",
    "capture",
    "communities",
    "dead_nodes",
    "degree",
    "dormant_nodes",
    "effective_density",
    "evolution",
    "exploration_rate",
    "fit_power_law",
    "forget",
    "graph_distance",
    "hourglass_curve",
    "hourglass_score",
    "inspect",
    "isolated_nodes",
    "jaccard",
    "jaccard_matrix",
    "k_shell",
    "k_shell_summary",
    "k_shell_windows",
    "layer_cuts",
    "layer_distances",
    "layer_graph",
    "layer_spectra",
    "layered_graph",
    "map_graph",
    "mask_changes",
    "minimum_cut",
    "modularity",
    "open_graph",
    "open_weights",
    "path_centrality",
    "path_entropy",
    "path_flow",
    "path_sums",
    "rank_correlation",
    "rank_correlation_matrix",
    "rich_club",
    "structure",
    "tau_core",
    "tau_core_ratios",
]

try:
    __version__ = version("topograph")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'topograph' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
