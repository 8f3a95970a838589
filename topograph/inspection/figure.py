"""How a report is drawn for print: its layers by depth, and how paths and connections spread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from topograph.inspection.charts import concentration, degree_distribution, round_values
from topograph.inspection.wording import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from topograph.inspection.report import Report

_CORE, _LIGHT, _MARK, _SOFT = "#1f5f9e", "#a9c8e6", "#b4501c", "#5a6675"


def draw(report: Report) -> Figure:
    """Return a matplotlib figure of four panels; nothing is shown or saved."""
    from topograph.picture import Picture

    figure = Picture(figsize=(11, 7), layout="constrained")
    density, ratio, paths, connections = figure.subplots(2, 2).flat
    _density(density, report)
    _ratio(ratio, report)
    _concentration(paths, report)
    _degrees(connections, report)
    figure.suptitle(f"{report.title}: {report.subtitle}", fontsize=12)
    for axes in (density, ratio, paths, connections):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _density(axes: Any, report: Report) -> None:
    layers = report.layers
    at = np.arange(len(layers))
    axes.bar(at, layers["density"], color=_LIGHT, width=0.85, label="kept")
    axes.bar(at, layers["on_paths"] / layers["weights"], color=_CORE, width=0.85, label="on a path")
    axes.set(ylabel="part of the weights", ylim=(0, None))
    axes.set_title("Density by layer", loc="left")
    _name(axes, list(layers["layer"]))
    axes.legend(frameon=False, loc="lower right", ncols=2, bbox_to_anchor=(1, 1))


def _ratio(axes: Any, report: Report) -> None:
    layers = report.layers.drop_duplicates("group")
    layers = layers[layers["tau_core_ratio"].notna()]
    tau = percent(report.summary["tau"])
    axes.set_ylim(0, 1)
    axes.set_ylabel(f"part of nodes with {tau} of the paths")
    if layers.empty:
        axes.set_title("τ-core ratio: no hidden layer", loc="left")
        return
    values = layers["tau_core_ratio"].to_numpy()
    colours = [_MARK if value == values.min() else _CORE for value in values]
    axes.bar(np.arange(len(values)), values, color=colours, width=0.85)
    average = report.summary["average_tau_core_ratio"]
    axes.axhline(average, color=_SOFT, linestyle="--", linewidth=1)
    axes.set_title(f"τ-core ratio by layer (dashed: average, {percent(average)})", loc="left")
    _name(axes, list(layers["group"].astype(str)))


def _concentration(axes: Any, report: Report) -> None:
    part, held = concentration(report.nodes)
    axes.set_title("Concentration of path weight", loc="left")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set(xlabel="part of the hidden nodes, largest first", ylabel="path weight held")
    if not len(held):
        axes.text(0.5, 0.5, "no path", transform=axes.transAxes, ha="center", color=_SOFT)
        return
    tau = report.summary["tau"]
    at = int(np.searchsorted(held, tau * (1 - 1e-12)))
    axes.plot([0, 1], [0, 1], color=_SOFT, linestyle=":", linewidth=1)
    axes.plot([0, *part], [0, *held], color=_CORE, linewidth=2)
    axes.plot([0, part[at], part[at]], [held[at], held[at], 0], color=_MARK, linewidth=1, ls="--")
    axes.plot(part[at], held[at], "o", color=_MARK)
    note = f"τ-core: {percent(part[at])} of the nodes hold {percent(tau)}"
    axes.text(
        0.98,
        0.05,
        note,
        transform=axes.transAxes,
        ha="right",
        color=_MARK,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _degrees(axes: Any, report: Report) -> None:
    from matplotlib.ticker import NullFormatter

    degrees, part = degree_distribution(report.nodes)
    axes.set_title("Connections of a node", loc="left")
    axes.set(xlabel="degree", ylabel="part of nodes with at least so many")
    if not len(degrees):
        return
    axes.loglog(degrees, part, color=_CORE, linewidth=2, marker="o", markersize=3)
    low, high = math.log10(degrees[0]), math.log10(degrees[-1])
    marks = [10**mark for mark in round_values(low, high, log=True)]
    axes.set_xticks(marks, [f"{mark:,.0f}" for mark in marks])
    shares = [10**mark for mark in round_values(math.log10(part[-1]), 0.0, log=True)]
    axes.set_yticks(shares, [f"{share:g}" for share in shares])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())


def _name(axes: Any, names: list[str]) -> None:
    """Label the bars; where they are many, where the top-level module changes and there is room."""
    heads = [name.split(".")[0] for name in names]
    many = len(names) > 9 or sum(map(len, names)) > 56
    shown = [_short(name) for name in (heads if many else names)]
    letter = len(names) / 64  # the width of a letter, in bars
    at: list[int] = []
    for k, text in enumerate(shown):
        new = not many or k == 0 or heads[k] != heads[k - 1]
        if new and (not at or k - at[-1] > letter * (len(text) + len(shown[at[-1]]) + 2) / 2):
            at.append(k)
    axes.set_xticks(at, [shown[k] for k in at], fontsize=9)


def _short(name: str) -> str:
    return name if len(name) <= 22 else "…" + name[-21:]
