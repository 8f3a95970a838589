"""Colours that people with any colour vision tell apart (Okabe & Ito 2008), and quiet axes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#9A9A9A"
#: Runs, in this order; then again with other dashes.
COLOURS = (BLUE, RED, "#009E73", "#CC79A7", ORANGE, "#56B4E9", "#000000")
DASHES = ("-", "--", ":")
#: Behind each phase: told apart by brightness as well.
TINTS = {"rough": "#D8E7F3", "extensive": "#FAE6D6"}


def quiet(*several: Axes) -> None:
    """Leave out the frame's top and right side, and put faint lines behind the numbers."""
    for axes in several:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", lw=0.6, zorder=0)
        axes.set_axisbelow(True)


def name_measure(axes: Axes, measure: str) -> None:
    """Name the axis of accuracy, in percent, or of the loss."""
    if measure == "val_accuracy":
        axes.set_ylabel("validation accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    else:
        axes.set_ylabel("validation loss")
