"""How regrow rules change a network's k-shells: core, crust and isolated units (S, Figs. 11, 12).

The k-shell of a unit is the largest k for which it belongs to a part of the network in which every
unit has at least k connections. The units in the largest shell, k_max, are the core, those in shell
0 are isolated, and all between are the crust. Top: how the units of every layer lie in the shells,
before training and after it. Bottom: largest shell, core, crust and isolated hidden units over
training. `topograph.k_shell_summary(graph).figure()` draws the shells of one network as rings
(S, Fig. 10).

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/kshell_evolution.py --recipe fashion-mnist-mlp-survival --data-dir DIR
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
from rewiring import METHODS, against_random, asked, moments, nodes, rewired, short
from study import Study

NAME = "kshell_evolution"
MEASURES = {
    "k_max": "largest shell k_max",
    "core": "units in the core",
    "crust": "units in the crust",
    "isolated": "isolated hidden units",
}
#: Greys and browns: the colours of the methods mean methods.
LAYER_COLOURS = ("#BBBBBB", "#8C6D31", "#3B3B3B", "#D9B26F", "#6B6B6B", "#E7CBA9")
CAPTION = (
    "k-shells of networks that are rewired. Top: number of units in every shell, mean over the "
    "runs, layers stacked; what lies at 0 is isolated, the largest shell of a run is its core, "
    "which differs a little between runs. All rules start as in panel (a), whose scale is its own. "
    "Bottom, over training: largest shell; units in it (core); units in the shells between "
    "(crust); hidden units without a connection (isolated). Core and crust take in all layers."
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv)
    study = rewired(command)
    every = nodes(study)
    frame = numbers(every)
    return present(
        command,
        frame,
        draw(every, frame, study),
        caption=CAPTION,
        study=study,
        findings=findings(frame),
        tables=[table_of(frame)],
    )


def numbers(every: pd.DataFrame) -> pd.DataFrame:
    """Return k_max and the sizes of core, crust and isolated part: a row a run and snapshot."""
    keys = ["method", "rule", "seed", "snapshot", "epochs"]
    top = every.groupby(["run", "snapshot"])["shell"].transform("max")
    shell = every["shell"]
    marked = every.assign(
        k_max=top,
        core=(shell == top) & (top > 0),
        crust=(shell < top) & (shell > 0),
        isolated=(shell == 0) & every["hidden"],
        next_shell=(shell == top - 1) & (shell > 0),
    )
    sums = ["core", "next_shell", "crust", "isolated"]
    told = marked.groupby(keys).agg({"k_max": "max"} | dict.fromkeys(sums, "sum"))
    return told.reset_index()


def draw(every: pd.DataFrame, frame: pd.DataFrame, study: Study) -> Figure:
    """Draw the shells by layer in the first row, and their parts over training in the second."""
    style.use_style()
    figure, panels = plt.subplots(2, 4, figsize=(12, 6.2), layout="constrained")
    last = every["snapshot"].max()
    shown = [("before training", every[every["snapshot"] == 0])]
    for method in METHODS:
        of = every[(every["method"] == method) & (every["snapshot"] == last)]
        shown.append((f"after, {style.named(style.REGROW[method])[0]}", of))
    for axes, (what, part), which in zip(panels[0], shown, "abcd", strict=True):
        axes.set_visible(len(part) > 0)
        shells(axes, part, int(every["shell"].max()))
        style.letter(axes, which, what)
    tallest = 1.04 * max(axes.get_ylim()[1] for axes in panels[0, 1:])
    for axes in panels[0, 1:]:
        axes.set_ylim(0, tallest)
    panels[0, 0].set_ylabel("units")
    for axes, (measure, label), which in zip(panels[1], MEASURES.items(), "efgh", strict=True):
        for method in METHODS:
            of = frame[frame["method"] == method]
            style.curve(axes, of, "epochs", measure, style.REGROW[method])
        axes.set_ylim(0, None)
        axes.set_xlabel("epoch")
        axes.set_ylabel("shell" if measure == "k_max" else "units")
        style.letter(axes, which, label)
    style.legend_below(figure, panels[0, 0], panels[1, 0])
    style.title(figure, f"k-shells under rewiring: {study.what} ({study.spread})")
    return figure


def shells(axes: Axes, part: pd.DataFrame, largest: int) -> None:
    """Draw how many units of every layer are in each shell, mean over the runs, stacked."""
    runs = max(1, part["run"].nunique())
    below = np.zeros(largest + 1)
    groups = sorted(part["group"].unique())
    for colour, group in zip(LAYER_COLOURS * len(groups), groups, strict=False):
        of = part[part["group"] == group]
        count = np.bincount(of["shell"], minlength=largest + 1) / runs
        name = f"hidden layer {group}" if of["hidden"].all() else ("outputs" if group else "inputs")
        axes.bar(np.arange(largest + 1), count, 1.0, bottom=below, color=colour, label=name)
        below += count
    axes.set_xlim(-1, largest + 1)
    axes.set_xlabel("k-shell")
    axes.grid(axis="x", visible=False)


def table_of(frame: pd.DataFrame) -> str:
    """Return the parts at start, middle and end, as Markdown."""
    told = moments(frame)
    rows = []
    for method in METHODS:
        for at, when in told.items():
            part = frame[(frame["method"] == method) & (frame["snapshot"] == at)]
            if len(part):
                row: dict[str, object] = {"regrowth": short(method), "when": when}
                rows.append(row | {name: float(part[name].mean()) for name in MEASURES})
    return table(pd.DataFrame(rows), digits=1)


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Test whether cores become denser, and more units isolated, under gradient and momentum."""
    last = frame[frame["snapshot"] == frame["snapshot"].max()]
    first = frame[frame["snapshot"] == frame["snapshot"].min()].set_index(["method", "seed"])
    found = against_random(
        last, "k_max", "{rule} regrowth makes a denser core than random (k_max)", 1, digits=1
    )
    for method in METHODS:
        of = last[last["method"] == method].set_index(["method", "seed"])
        if of.empty:
            continue
        gap = deviation((of["k_max"] - first["k_max"]).dropna())
        text = (
            f"k_max {first['k_max'].mean():.1f} to {of['k_max'].mean():.1f}: {gap.text(digits=1)}"
        )
        found.append(
            Finding(
                f"{short(method)} regrowth makes the core denser than before training",
                text,
                verdict(gap, 1),
            )
        )
    claim = "{rule} regrowth isolates more hidden units than random"
    found += against_random(last, "isolated", claim, 1, digits=1, unit=" units")
    for method in METHODS:
        of = last[last["method"] == method]
        if len(of):
            gap = deviation(of["core"] - of["next_shell"])
            text = f"{of['core'].mean():.0f} against {of['next_shell'].mean():.0f}: "
            found.append(
                Finding(
                    f"units gather in {short(method)} regrowth's core: more than in the next shell",
                    text + gap.text(digits=0, unit=" units"),
                    verdict(gap, 1),
                )
            )
    return found


if __name__ == "__main__":
    print(main())
