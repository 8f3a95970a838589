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
    from topograph.capturing.trace import forget as forget
    from topograph.core import average_tau_core_ratio as average_tau_core_ratio
    from topograph.core import hourglass_score as hourglass_score
    from topograph.core import tau_core as tau_core
    from topograph.core import tau_core_ratios as tau_core_ratios
    from topograph.degrees import degree as degree
    from topograph.degrees import dormant_nodes as dormant_nodes
    from topograph.degrees import isolated_nodes as isolated_nodes
    from topograph.errors import TopographError as TopographError
    from topograph.flow import path_flow as path_flow
    from topograph.graph.layered import LayeredGraph as LayeredGraph
    from topograph.graph.layered import layered_graph as layered_graph
    from topograph.inspection import inspect as inspect
    from topograph.paths import path_centrality as path_centrality
    from topograph.paths import path_sums as path_sums
    from topograph.reach import dead_nodes as dead_nodes
    from topograph.reach import effective_density as effective_density
    from topograph.shells import k_shell as k_shell

#: Public name to the module that defines it.
_HOMES = {
    "LayeredGraph": "topograph.graph.layered",
    "TopographError": "topograph.errors",
    "average_tau_core_ratio": "topograph.core",
    "capture": "topograph.capturing",
    "dead_nodes": "topograph.reach",
    "degree": "topograph.degrees",
    "dormant_nodes": "topograph.degrees",
    "effective_density": "topograph.reach",
    "forget": "topograph.capturing.trace",
    "hourglass_score": "topograph.core",
    "inspect": "topograph.inspection",
    "isolated_nodes": "topograph.degrees",
    "k_shell": "topograph.shells",
    "layered_graph": "topograph.graph.layered",
    "path_centrality": "topograph.paths",
    "path_flow": "topograph.flow",
    "path_sums": "topograph.paths",
    "tau_core": "topograph.core",
    "tau_core_ratios": "topograph.core",
}

__all__ = [
    "LayeredGraph",
    "TopographError",
    "average_tau_core_ratio",
    "capture",
    "dead_nodes",
    "degree",
    "dormant_nodes",
    "effective_density",
    "forget",
    "hourglass_score",
    "inspect",
    "isolated_nodes",
    "k_shell",
    "layered_graph",
    "path_centrality",
    "path_flow",
    "path_sums",
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
