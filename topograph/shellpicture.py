"""How a network's k-shells look: nodes on rings by shell, the core inmost, coloured by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topograph.degrees import degree
from topograph.graph.layered import LayeredGraph
from topograph.graph.scaled import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from topograph.shellsummary import KShellSummary

# The core fills a disc of this radius; the other shells lie between it and 1.
_CORE = 0.3
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
# Least distance between two of the shells' numbers.
_ROOM = 0.09
_SOFT, _LINE = "#5a6675", "#d9dee5"
# More layers than this have a colour bar by depth instead of a legend.
_NAMED = 8


def draw(summary: KShellSummary, graph: LayeredGraph, axes: Any = None) -> Figure:
    """Return a figure of nodes on rings by shell, and the shells' histogram beside it.

    A ring's distance from the middle falls with its shell; the core fills the disc inside. Nodes
    are coloured by layer and sized by degree. Angles mean nothing: a ring's nodes are spread
    evenly, layer after layer.

    Parameters
    ----------
    summary
        The shells of ``graph``.
    graph
        The layered graph.
    axes
        matplotlib axes for the rings alone; by default a new figure with both.

    References
    ----------
    The survival paper, figures 10 and 12; Alvarez-Hamelin et al. 2006, "Large scale networks
    fingerprinting and visualization using the k-core decomposition" (rings by shell).
    """
    if axes is not None:
        _rings(axes, summary, graph)
        _legend(axes, graph)
        figure: Figure = axes.figure
        return figure
    from topograph.picture import Picture

    figure = Picture(figsize=(11, 5.2), layout="constrained")
    rings, bars = figure.subplots(1, 2, width_ratios=(1.05, 1))
    _rings(rings, summary, graph)
    _histogram(bars, summary, graph)
    _legend(bars, graph)
    return figure


def _colours(graph: LayeredGraph) -> FloatArray:
    """Return one colour a group, RGBA of shape (groups, 4): dark inputs to light outputs."""
    from matplotlib import colormaps

    colours: FloatArray = colormaps["viridis"](np.linspace(0, 0.92, len(graph.groups)))
    return colours


def _rings(axes: Any, summary: KShellSummary, graph: LayeredGraph) -> None:
    x, y = positions(summary)
    sizes = [group.size for group in graph.groups.values()]
    colour = np.repeat(_colours(graph), sizes, axis=0)
    degrees = degree(graph)
    # Areas go with degree, between a dot and what the number of nodes leaves room for.
    room = np.clip(9000 / max(graph.n_nodes, 1), 4, 160)
    area = 2 + room * degrees / max(degrees.max(initial=1), 1)
    _guides(axes, summary)
    # Large nodes first, so that no small one hides beneath them.
    order = np.argsort(-area, kind="stable")
    axes.scatter(
        x[order], y[order], s=area[order], c=colour[order], linewidths=0.3, edgecolors="white",
        zorder=2,
    )  # fmt: skip
    axes.set(aspect="equal", xlim=(-1.12, 1.12), ylim=(-1.12, 1.12))
    axes.set_axis_off()
    axes.set_title(f"{len(summary.core):,} of {graph.n_nodes:,} nodes in the core", loc="left")


def _guides(axes: Any, summary: KShellSummary) -> None:
    """Draw rings for some of the shells and write their numbers at the top."""
    from matplotlib.patches import Circle

    present = np.unique(summary.shell)
    outer = present[present < summary.k_max] if summary.k_max else present
    steps = np.linspace(0, max(len(outer) - 1, 0), 6 if len(outer) else 0)
    shown = outer[np.unique(steps.round().astype(int))]
    above = 2.0
    for k, radius in zip(shown, _radius(shown, summary), strict=True):
        # Numbers that would lie on one another are left out.
        if above - radius < _ROOM or (summary.k_max and radius - _CORE < _ROOM):
            continue
        above = radius
        axes.add_patch(Circle((0, 0), radius, fill=False, color=_LINE, linewidth=0.8, zorder=0))
        _number(axes, radius, str(k))
    if summary.k_max:
        axes.add_patch(Circle((0, 0), _CORE, color="#eef1f5", linewidth=0, zorder=0))
        _number(axes, _CORE, f"{summary.k_max}")


def _number(axes: Any, radius: float, text: str) -> None:
    axes.text(
        0, radius, text, ha="center", va="center", fontsize=8, color=_SOFT, zorder=3,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )  # fmt: skip


def positions(summary: KShellSummary) -> tuple[FloatArray, FloatArray]:
    """Return where the nodes lie, x and y of shape (n_nodes,), within the unit circle."""
    shell, n = summary.shell, len(summary.shell)
    radius, angle = _radius(shell, summary), np.zeros(n)
    for k in np.unique(shell):
        here = np.flatnonzero(shell == k)
        if k == summary.k_max and k > 0:
            # A sunflower: even over the disc, and layer after layer from the middle on.
            radius[here] = 0.93 * _CORE * np.sqrt((np.arange(len(here)) + 0.5) / len(here))
            angle[here] = _GOLDEN_ANGLE * np.arange(len(here))
        else:
            # A gap at the top leaves room for the shell's number; rings start apart.
            angle[here] = np.pi / 2 + 2 * np.pi * (np.arange(len(here)) + 0.5) / len(here)
            radius[here] += _apart(here, summary)
    return radius * np.cos(angle), radius * np.sin(angle)


def _radius(shell: IntArray, summary: KShellSummary) -> FloatArray:
    """Return the radius of each shell's ring: 1 for the lowest there is, falling linearly."""
    lowest = int(summary.shell.min())
    span = max(summary.k_max - lowest, 1)
    return 1 - (1 - _CORE) * (shell - lowest) / span


def _apart(nodes: IntArray, summary: KShellSummary) -> FloatArray:
    """Return how far each node of a crowded ring is moved off it, so that they lie side by side."""
    lowest = int(summary.shell.min())
    half = 0.5 * (1 - _CORE) / max(summary.k_max - lowest, 1)
    crowd = min(len(nodes) / 150, 1.0)
    steps = (np.arange(len(nodes)) % 5 - 2) / 2
    return min(half * 0.7, 0.05) * crowd * steps


def _histogram(axes: Any, summary: KShellSummary, graph: LayeredGraph) -> None:
    shells = np.arange(summary.shell.min(), summary.k_max + 1)
    below = np.zeros(len(shells))
    for counts, colour in zip(summary.histogram.values(), _colours(graph), strict=True):
        axes.bar(shells, counts[shells], bottom=below, color=colour, width=0.9)
        below += counts[shells]
    axes.set(xlabel="k-shell", ylabel="nodes")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"shells by layer, largest {summary.k_max}", loc="left")


def _legend(axes: Any, graph: LayeredGraph) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap
    from matplotlib.lines import Line2D

    colours = _colours(graph)
    if len(graph.groups) <= _NAMED:
        marks = [
            Line2D([], [], linestyle="", marker="o", color=colour, label=name)
            for name, colour in zip(graph.groups, colours, strict=True)
        ]
        axes.figure.legend(
            handles=marks, loc="outside lower center", ncols=_NAMED, frameon=False, fontsize=9
        )
        return
    scale = ScalarMappable(cmap=ListedColormap(colours))
    scale.set_clim(-0.5, len(graph.groups) - 0.5)
    ends = [0, len(graph.groups) - 1]
    bar = axes.figure.colorbar(scale, ax=axes, ticks=ends, fraction=0.05)
    bar.ax.set_yticklabels([list(graph.groups)[end] for end in ends], rotation=90, va="center")
    bar.set_label(f"layer ({len(graph.groups)}, by depth)", labelpad=-4)
