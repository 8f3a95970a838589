"""How every figure looks: one colour a method, spread bands, units on the axes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Name in print, colour and marker. The colours are Okabe and Ito's, which colour-blind readers can
#: tell apart, and kin of them; markers and dashes tell the rest, and everything in grey print.
METHODS = {
    "pwmpr": ("PWMPR", "#D55E00", "o"),
    "random": ("RG (random growth)", "#0072B2", "s"),
    "gradient": ("GG (gradient growth)", "#009E73", "^"),
    "pwmp": ("PWMP (no randomness)", "#CC79A7", "D"),
    "imp-c": ("IMP-C", "#332288", "P"),
    "rigl": ("RigL", "#117733", "<"),
    "phew": ("PHEW (static)", "#B8860B", "v"),
    "erk": ("ERK (static)", "#56B4E9", ">"),
    "dsr": ("DSR", "#882255", "h"),
    "snfs": ("SNFS", "#44AA99", "p"),
    "gse-grabo": ("GSE (GraBo)", "#999933", "8"),
    "dense": ("dense", "#000000", "x"),
    # S's names for what is regrown; the colours of the growth rules of the same name.
    "regrow-random": ("random regrowth", "#0072B2", "s"),
    "regrow-gradient": ("gradient regrowth", "#009E73", "^"),
    "regrow-momentum": ("momentum regrowth", "#E69F00", "d"),
}

#: Presets of S's three ways to regrow.
REGROW = {
    "set-magnitude": "regrow-random",
    "rigl": "regrow-gradient",
    "momentum": "regrow-momentum",
}


def named(method: str) -> tuple[str, str, str]:
    """Return a method's name in print, colour and marker."""
    return METHODS.get(method, (method, "#666666", "."))


def use_style() -> None:
    """Set the fonts, sizes and grid of all figures drawn from now on."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
            "svg.hashsalt": "topograph",  # the same figure gives the same file
            "svg.fonttype": "none",
        }
    )


def curve(
    axes: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    method: str,
    *,
    label: str | None = None,
    dashes: str = "-",
    colour: str | None = None,
    marker: str | None = None,
) -> None:
    """Draw the mean over seeds of ``y`` against ``x``, with a band from least to largest.

    ``frame`` has the rows of one method; ``method`` decides colour, marker and label, where they
    are not given.
    """
    name, own_colour, own_marker = named(method)
    colour = colour or own_colour
    table = frame.dropna(subset=[y]).groupby(x)[y].agg(["mean", "min", "max", "count"])
    if table.empty:
        return
    axes.plot(
        table.index, table["mean"], color=colour, label=label or name, linestyle=dashes, zorder=3,
        marker=own_marker if marker is None else marker,
    )  # fmt: skip
    if int(table["count"].max()) > 1:
        axes.fill_between(
            table.index, table["min"], table["max"], color=colour, alpha=0.18, linewidth=0
        )


def legend_below(figure: Figure, *panels: Axes) -> None:
    """Put one legend under all panels, each entry once."""
    entries: dict[str, Artist] = {}
    for axes in panels or figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    rows = -(-len(entries) // 6)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=-(-len(entries) // max(1, rows)),
    )


def title(figure: Figure, text: str) -> None:
    """Give a figure its heading, at the left."""
    figure.suptitle(text, x=0.01, ha="left")


def letter(axes: Axes, which: str, text: str) -> None:
    """Give a panel its letter and heading."""
    axes.set_title(f"({which}) {text}", loc="left")


def density_axis(axes: Axes, densities: pd.Series) -> None:
    """Give a logarithmic axis of densities, with ticks in per cent."""
    axes.set_xscale("log")
    low, high = float(densities.min()), float(densities.max())
    candidates = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
    ticks = candidates[(candidates >= low * 0.95) & (candidates <= high * 1.05)]
    axes.set_xticks(ticks, [f"{tick * 100:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("density (% of weights kept, log scale)")


def count_axis(axes: Axes, label: str) -> None:
    """Make the x axis one of counts, logarithmic, with ticks in plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [t for power in range(7) for t in (10**power, 3 * 10**power) if low <= t <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"{label} (log scale)")


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name``.png and ``name``.svg into ``folder`` and return the PNG's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    path = folder / f"{name}.png"
    figure.savefig(path)
    return path
