"""How regrow rules change a network's degrees while it trains (S, Figs. 4, 5 and 18).

A network of fixed density is rewired during training: weak weights are pruned, as many grow anew,
by chance (random), where the gradient is largest (gradient) or where its running mean is
(momentum). Drawn are the degree distributions of the hidden units (in and out) and of the inputs
(out) at the start, after two updates and at four quarters of training, as the part of units with
at least so many connections.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/degree_evolution.py --recipe fashion-mnist-mlp-survival --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import style
from finding import Finding, deviation, table, verdict
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from present import present
from rewiring import (
    METHODS,
    against_random,
    asked,
    first_and_last,
    moments,
    nodes,
    rewired,
    short,
)
from study import Study

NAME = "degree_evolution"
LAYERS = {"hidden": "hidden units: in + out", "input": "inputs: out"}
CAPTION = (
    "Degree distributions while networks are rewired. Lines: part of the units that have at least "
    "k connections, mean over the runs; what is missing to 1 at the left are units without "
    "any. Dashed: where a rule's distribution ends (largest degree, mean over the runs).{rows} All "
    "rules start from the same distribution."
)
#: Of fewer units than this there is no distribution to draw, such as of a picture's one channel.
LEAST_UNITS = 10


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv)
    study = rewired(command)
    every = layers(nodes(study))
    drawn = every[every["snapshot"].isin(list(moments(every)))]
    spread = spreads(every)
    return present(
        command,
        distributions(drawn),
        draw(drawn, study),
        caption=CAPTION.format(
            rows=" Top: hidden units; bottom: inputs." if every["layer"].nunique() > 1 else ""
        ),
        study=study,
        findings=findings(spread),
        tables=[table_of(spread, moments(every))],
    )


def layers(every: pd.DataFrame) -> pd.DataFrame:
    """Return the hidden units and, if there are enough, the inputs, told apart by ``layer``."""
    layer = np.where(every["hidden"], "hidden", np.where(every["group"] == 0, "input", "output"))
    told = every.assign(layer=layer)
    inputs = told.loc[told["layer"] == "input", "node"].nunique()
    shown = ["hidden", "input"] if inputs >= LEAST_UNITS else ["hidden"]
    return told[told["layer"].isin(shown)]


def distributions(drawn: pd.DataFrame) -> pd.DataFrame:
    """Return how many units have each degree: a row a run, snapshot, layer and degree."""
    keys = ["method", "seed", "layer", "snapshot", "epochs", "degree"]
    return drawn.groupby(keys).size().rename("units").reset_index()


def spreads(every: pd.DataFrame) -> pd.DataFrame:
    """Return mean, variance and largest degree: a row a run, snapshot and layer."""
    keys = ["method", "seed", "layer", "snapshot", "epochs"]
    return every.groupby(keys)["degree"].agg(["mean", "var", "max"]).reset_index()


def at_least(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return degrees from 1 on, and the part of units with at least so many, mean over the runs."""
    degrees = np.arange(1, part["degree"].max() + 2)
    curves = [
        1 - np.searchsorted(np.sort(run.to_numpy()), degrees) / len(run)
        for _, run in part.groupby("run")["degree"]
    ]
    return degrees, np.mean(curves, axis=0)


def draw(drawn: pd.DataFrame, study: Study) -> Figure:
    """Draw a row of panels for the hidden units and one for the inputs, a column a moment."""
    style.use_style()
    told = moments(drawn)
    rows = {layer: what for layer, what in LAYERS.items() if (drawn["layer"] == layer).any()}
    figure, panels = plt.subplots(
        len(rows), len(told), figsize=(2 * len(told), 0.6 + 2.3 * len(rows)), sharex="row",
        sharey="row", layout="constrained", squeeze=False,
    )  # fmt: skip
    for row, (layer, what) in zip(panels, rows.items(), strict=True):
        part = drawn[drawn["layer"] == layer]
        for axes, (at, when) in zip(row, told.items(), strict=True):
            panel(axes, part[part["snapshot"] == at])
            axes.set_title(when, loc="left", fontsize=10)
        row[0].set_ylabel(f"{what}\npart with at least k")
        row[0].set_xlim(left=max(1, 0.5 * part["degree"].quantile(0.02)))
        units = len(part) / part.groupby(["run", "snapshot"]).ngroups
        row[0].set_ylim(0.4 / units, 1.4)
        for axes in row:
            style.count_axis(axes, "degree k")
    style.legend_below(figure, panels[0, 0])
    style.title(figure, f"Degrees under rewiring: {study.what} ({study.mean_of})")
    return figure


def panel(axes: Axes, part: pd.DataFrame) -> None:
    """Draw one moment: a line a rule, and where it ends."""
    for dashes, (method, of) in zip(("-", "--", ":"), by_method(part), strict=False):
        name, colour, _ = style.named(style.REGROW[method])
        degrees, curve = at_least(of)
        axes.step(degrees, curve, where="pre", color=colour, label=name, linestyle=dashes)
        end = of.groupby("run")["degree"].max().mean()
        axes.axvline(end, color=colour, linestyle=(0, (4, 3)), linewidth=1, alpha=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")


def by_method(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of every rule that is there, in one order."""
    parts = [(method, frame[frame["method"] == method]) for method in METHODS]
    return [(method, part) for method, part in parts if len(part)]


def table_of(spread: pd.DataFrame, told: dict[int, str]) -> str:
    """Return variance and largest degree at every moment drawn, as Markdown."""
    rows = []
    for layer in [layer for layer in LAYERS if (spread["layer"] == layer).any()]:
        for at, when in told.items():
            part = spread[(spread["layer"] == layer) & (spread["snapshot"] == at)]
            row: dict[str, object] = {"layer": layer, "when": when}
            for column, name in (("max", "largest degree"), ("var", "variance")):
                for method, of in by_method(part):
                    row[f"{name}, {short(method)}"] = float(of[column].mean())
            rows.append(row)
    return table(pd.DataFrame(rows), digits=0)


def findings(spread: pd.DataFrame) -> list[Finding]:
    """Test what S says of the speed at which hubs form and of the spread of degrees."""
    hidden = spread[spread["layer"] == "hidden"]
    found = []
    for column, name in (("max", "a larger largest degree"), ("var", "a wider spread (variance)")):
        for when, at in first_and_last(spread).items():
            claim = f"{{rule}} regrowth has {name} than random, hidden units, {when}"
            of = hidden[hidden["snapshot"] == at]
            found += against_random(of, column, claim, 1, digits=0)
    for method, part in by_method(hidden):
        found += course(method, part)
    return found


def course(method: str, part: pd.DataFrame) -> list[Finding]:
    """Test how a rule's variance goes on after the middle of training."""
    wide = part.pivot_table(index="seed", columns="snapshot", values="var")
    last = wide.columns[-1]
    middle = min(wide.columns, key=lambda at: abs(at - last / 2))
    if middle in (0, last):
        return []
    gap = deviation(wide[last] - wide[middle])
    rises = short(method) == "random"
    claim = (
        "random regrowth's variance keeps increasing (end − middle of training)"
        if rises
        else f"{short(method)} regrowth's variance decreases again (end − middle of training)"
    )
    text = f"{wide[middle].mean():.0f} to {wide[last].mean():.0f}: {gap.text(digits=1)}"
    return [Finding(claim, text, verdict(gap, 1 if rises else -1))]


if __name__ == "__main__":
    print(main())
