"""How every figure looks: one colour a method, spread bands, units on the axes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.colors
import matplotlib.ticker
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
    "rigl-cost": ("RigL at PWMPR's cost", "#117733", "<"),
    "phew": ("PHEW (static)", "#B8860B", "v"),
    "erk": ("ERK (static)", "#56B4E9", ">"),
    "erk-cost": ("ERK at PWMPR's cost", "#56B4E9", ">"),
    "er": ("ER (static)", "#8C564B", "X"),
    "uniform": ("uniform (static)", "#7F7F7F", "*"),
    "dsr": ("DSR", "#882255", "h"),
    "snfs": ("SNFS", "#44AA99", "p"),
    "gse-grabo": ("GSE (GraBo)", "#999933", "8"),
    "dense": ("dense", "#000000", "x"),
    # S's names for what is regrown; the colours of the growth rules of the same name.
    "regrow-random": ("random regrowth", "#0072B2", "s"),
    "regrow-gradient": ("gradient regrowth", "#009E73", "^"),
    "regrow-momentum": ("momentum regrowth", "#E69F00", "d"),
}

#: Ends the names of what is the same method with another budget, drawn in its colour and hollow.
HOLLOW = "-cost"

#: Presets of S's three ways to regrow.
REGROW = {
    "set-magnitude": "regrow-random",
    "rigl": "regrow-gradient",
    "momentum": "regrow-momentum",
}


def named(method: str) -> tuple[str, str, str]:
    """Return a method's name in print, colour and marker."""
    return METHODS.get(method, (method, "#666666", "."))


def shade(method: str, part: float) -> str:
    """Return a method's colour mixed with white (part from 0 to 1) or black (from 0 to -1)."""
    colour = np.array(mpl.colors.to_rgb(named(method)[1]))
    end = np.ones(3) if part > 0 else np.zeros(3)
    return mpl.colors.to_hex(colour + (end - colour) * abs(part))


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


def points(
    axes: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    method: str,
    place: float = 1.0,
    *,
    label: str | None = None,
    dashes: str = "-",
    colour: str | None = None,
    marker: str | None = None,
) -> None:
    """Draw means over seeds at a few values of a logarithmic ``x``, bars from least to largest.

    ``place`` is the factor on ``x`` by which they stand beside it; see `places`.
    """
    name, own_colour, own_marker = named(method)
    colour = colour or own_colour
    table = frame.dropna(subset=[y]).groupby(x)[y].agg(["mean", "min", "max"])
    if table.empty:
        return
    at = table.index.to_numpy(float) * place
    reach = [table["mean"] - table["min"], table["max"] - table["mean"]]
    axes.plot(at, table["mean"], color=colour, linestyle=dashes, linewidth=1.0, alpha=0.6, zorder=2)
    axes.errorbar(
        at, table["mean"], np.maximum(0, reach),
        color=colour, marker=own_marker if marker is None else marker, markersize=5.5,
        linestyle="none", elinewidth=1.4, label=label or name, zorder=3,
        markerfacecolor="white" if method.endswith(HOLLOW) else colour,
    )  # fmt: skip


def places(number: int, densities: pd.Series) -> list[float]:
    """Return factors that put points of one density side by side, so that no bar hides another."""
    step = 0.025 * np.log(2 * float(densities.max()) / float(densities.min()))
    return [float(np.exp(step * (n - (number - 1) / 2))) for n in range(number)]


def level(axes: Axes, values: pd.Series, method: str, *, band: bool = True) -> None:
    """Draw what does not depend on density as a dashed line: mean, band from least to largest."""
    held = values.dropna().astype(float)
    if held.empty:
        return
    name, colour, _ = named(method)
    axes.axhline(held.mean(), color=colour, linestyle="--", linewidth=1.2, label=name)
    if band and len(held) > 1:
        axes.axhspan(held.min(), held.max(), color=colour, alpha=0.1, linewidth=0)


def percent_axis(axes: Axes, text: str) -> None:
    """Label the vertical axis of parts of one in per cent."""
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_ylabel(f"{text} (%)")


def percent_across(axes: Axes, text: str) -> None:
    """Label the horizontal axis of parts of one in per cent, with few ticks."""
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value * 100:g}"))
    axes.set_xlabel(f"{text} (%)")


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


def legend_inside(axes: Axes) -> None:
    """Put a legend where the fewest points are, on white so that lines do not cross it."""
    axes.legend(
        loc="best", fontsize=9, frameon=True, facecolor="white", edgecolor="none", framealpha=1
    ).set_zorder(6)


def title(figure: Figure, text: str) -> None:
    """Give a figure its heading, at the left."""
    figure.suptitle(text, x=0.01, ha="left")


def letter(axes: Axes, which: str, text: str) -> None:
    """Give a panel its letter and heading."""
    axes.set_title(f"({which}) {text}", loc="left")


def density_axis(axes: Axes, densities: pd.Series, *, only: bool = False) -> None:
    """Give a logarithmic axis of densities, with ticks in per cent; ``only`` at these densities."""
    axes.set_xscale("log")
    low, high = float(densities.min()), float(densities.max())
    candidates = np.array([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
    if high > 30 * low:
        candidates = candidates[~np.isin(candidates, (0.3, 0.7))]  # their labels would touch
    ticks = candidates[(candidates >= low * 0.95) & (candidates <= high * 1.05)]
    if only:
        ticks = np.unique(densities.to_numpy(float))
        axes.set_xlim(low / 1.4, high * 1.4)
    axes.set_xticks(ticks, [f"{tick * 100:.3g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("density (% of weights kept, log scale)")


def times_axis(axes: Axes, low: float, high: float, text: str) -> None:
    """Give a logarithmic horizontal axis of multiples, with plain numbers at 1, 2 and 5."""
    axes.set_xscale("log")
    candidates = np.array([a * 10.0**b for b in range(-4, 4) for a in (1, 2, 5)])
    ticks = candidates[(candidates >= low * 0.9) & (candidates <= high * 1.1)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(text)


def count_axis(axes: Axes, label: str) -> None:
    """Make the x axis one of counts, logarithmic, with ticks in plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    steps = (1, 3) if high / max(low, 1) < 100 else (1,)
    ticks = [a * 10**power for power in range(7) for a in steps if low <= a * 10**power <= high]
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
