"""How every figure looks: one colour a method, spread bands, units on the axes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Okabe and Ito's colours, which stay apart for colour-blind readers, and in grey print by marker.
METHODS = {
    "pwmpr": ("PWMPR", "#D55E00", "o"),
    "random": ("RG (random)", "#0072B2", "s"),
    "gradient": ("GG (gradient)", "#009E73", "^"),
    "pwmp": ("PWMP (no randomness)", "#CC79A7", "D"),
    "dense": ("dense", "#000000", "x"),
    "static": ("static", "#56B4E9", "v"),
}


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
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
            "svg.hashsalt": "topograph",  # the same figure gives the same file
            "svg.fonttype": "none",
        }
    )


def curve(axes: Axes, frame: pd.DataFrame, x: str, y: str, method: str) -> None:
    """Draw the mean over seeds of ``y`` against ``x``, with a band from least to largest."""
    label, colour, marker = METHODS.get(method, (method, "#666666", "."))
    table = frame.dropna(subset=[y]).groupby(x)[y].agg(["mean", "min", "max", "count"])
    axes.plot(table.index, table["mean"], color=colour, marker=marker, label=label, zorder=3)
    if int(table["count"].max()) > 1:
        axes.fill_between(
            table.index, table["min"], table["max"], color=colour, alpha=0.18, linewidth=0
        )


def density_axis(axes: Axes, densities: pd.Series) -> None:
    """Give a logarithmic axis of densities, with ticks in per cent."""
    axes.set_xscale("log")
    low, high = float(densities.min()), float(densities.max())
    candidates = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
    ticks = candidates[(candidates >= low * 0.95) & (candidates <= high * 1.05)]
    axes.set_xticks(ticks, [f"{tick * 100:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("density (% of weights kept, log scale)")


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name``.png and ``name``.svg into ``folder`` and return the PNG's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    path = folder / f"{name}.png"
    figure.savefig(path)
    return path
