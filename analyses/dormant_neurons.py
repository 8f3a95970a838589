"""How many hidden units become dormant under each regrow rule (S, Fig. 9).

A unit is dormant if it has at most so many connections, in and out. Drawn is their part of all
hidden units over training, for S's thresholds on networks of another size: 10, or a quarter of the
mean degree where that is less; three quarters of the mean degree, which S's 110 is of its MLP's;
and the degree at which the power law fitted to the final degrees begins (median over the runs),
which 110 is too, unless that is near another. ``--thresholds`` names others.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/dormant_neurons.py --recipe fashion-mnist-mlp-survival --data-dir DIR
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import style
from finding import Finding, difference, table, verdict
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from present import present
from rewiring import METHODS, against_random, asked, hidden, moments, rewired, short
from study import Study

import topograph as tg

NAME = "dormant_neurons"
#: S's small threshold, and the parts of the mean degree that take its place and that of the large.
THRESHOLD, FEW, MANY = 10, 0.25, 0.75
#: Thresholds closer than by this factor show the same.
NEAR = 1.5
OPTIONS = {
    "thresholds": {
        "type": int,
        "nargs": "+",
        "metavar": "K",
        "help": "largest degrees of a dormant unit (default: see above)",
    }
}
CAPTION = (
    "Part of the hidden units that are dormant, over training: those with at most so many "
    "connections in and out. Thresholds: {told}."
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv, OPTIONS)
    study = rewired(command)
    units = hidden(study)
    given = command.options["thresholds"]
    thresholds = dict.fromkeys(sorted(given), "chosen") if given else usual(units)
    frame = numbers(units, list(thresholds))
    return present(
        command,
        frame,
        draw(frame, study, thresholds),
        caption=CAPTION.format(told="; ".join(f"{k}, {why}" for k, why in thresholds.items())),
        study=study,
        findings=findings(frame),
        tables=[table_of(frame)],
        facts={"thresholds": thresholds},
    )


def usual(units: pd.DataFrame) -> dict[int, str]:
    """Return the thresholds that go with these networks, and what each is."""
    mean = float(units["degree"].mean())
    told = {THRESHOLD: "as S"}
    if mean * FEW < THRESHOLD:
        told = {max(1, round(mean * FEW)): "a quarter of the mean degree"}
    told[max(round(mean * MANY), min(told) + 1)] = "three quarters of the mean degree"
    last = units[units["snapshot"] == units["snapshot"].max()]
    fits = [
        tg.fit_power_law(run.to_numpy(), replicas=0) for _, run in last.groupby("run")["degree"]
    ]
    begins = [fit.xmin for fit in fits if fit.ok and fit.xmin is not None]
    xmin = round(float(np.median(begins))) if begins else 0
    if all(max(xmin, at) > NEAR * min(xmin, at) for at in told) and xmin:
        told[xmin] = "where the fitted power law begins"
    return dict(sorted(told.items()))


def numbers(units: pd.DataFrame, thresholds: Sequence[int]) -> pd.DataFrame:
    """Return the number and part of dormant units: a row a run, snapshot and threshold."""
    keys = ["method", "rule", "seed", "snapshot", "epochs"]
    tables = []
    for threshold in thresholds:
        counted = units.assign(dormant=units["degree"] <= threshold).groupby(keys)["dormant"]
        part = counted.agg(["sum", "mean", "size"]).reset_index().assign(threshold=threshold)
        tables.append(part.rename(columns={"sum": "dormant", "mean": "part", "size": "units"}))
    return pd.concat(tables, ignore_index=True)


def draw(frame: pd.DataFrame, study: Study, thresholds: dict[int, str]) -> Figure:
    """Draw a panel a threshold."""
    style.use_style()
    figure, panels = plt.subplots(
        1, len(thresholds), figsize=(4 * len(thresholds), 3.8), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axes, threshold, which in zip(panels[0], thresholds, "abcdefgh", strict=False):
        of = frame[frame["threshold"] == threshold].assign(percent=lambda t: t["part"] * 100)
        for method in METHODS:
            style.curve(axes, of[of["method"] == method], "epochs", "percent", style.REGROW[method])
        axes.set_xlabel("epoch")
        axes.set_ylim(0, None)
        why = thresholds[threshold]
        style.letter(axes, which, f"at most {threshold} connections" + f"\n({why})")
    panels[0, 0].set_ylabel("dormant hidden units (%)")
    style.legend_below(figure, panels[0, 0])
    style.title(figure, f"Dormant units: {study.what} ({study.spread})")
    return figure


def table_of(frame: pd.DataFrame) -> str:
    """Return the part of dormant units at every moment that S draws, as Markdown."""
    rows = []
    for threshold in sorted(frame["threshold"].unique()):
        for at, when in moments(frame).items():
            part = frame[(frame["threshold"] == threshold) & (frame["snapshot"] == at)]
            means = part.groupby("method")["part"].mean() * 100
            row: dict[str, object] = {"at most": int(threshold), "when": when}
            for method in METHODS:
                row[f"{short(method)} (%)"] = float(means.get(method, math.nan))
            rows.append(row)
    return table(pd.DataFrame(rows), digits=1)


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Test S's claims for every threshold."""
    found: list[Finding] = []
    for threshold in sorted(frame["threshold"].unique()):
        of = frame[frame["threshold"] == threshold]
        last = of[of["snapshot"] == of["snapshot"].max()]
        claim = f"{{rule}} regrowth makes more units dormant than random (at most {threshold})"
        found += against_random(
            last, "part", claim, 1, scale=100, digits=1, unit="%", gap_unit=" points"
        )
        claim = (
            f"random regrowth's come later: epoch of half the final number, {{rule}} − random "
            f"(at most {threshold})"
        )
        found += against_random(half_way(of), "epochs", claim, -1, digits=1, unit=" epochs")
        found += [steadiness(of, method, int(threshold)) for method in METHODS]
    return [each for each in found if each.measured]


def half_way(of: pd.DataFrame) -> pd.DataFrame:
    """Return when each run had half of the dormant units that training brought it."""
    rows = []
    for (method, seed), run in of.groupby(["method", "seed"]):
        course = run.sort_values("snapshot")
        gone = course["dormant"] - course["dormant"].iloc[0]
        if gone.iloc[-1] > 0:
            reached = course[gone >= gone.iloc[-1] / 2]["epochs"].iloc[0]
            rows.append({"method": method, "seed": seed, "epochs": reached})
    return pd.DataFrame(rows, columns=["method", "seed", "epochs"])


def steadiness(of: pd.DataFrame, method: str, threshold: int) -> Finding:
    """Test whether the number changes less in the last quarter of training than in the third."""
    changes = []
    for seed, run in of[of["method"] == method].groupby("seed"):
        course = run.set_index("snapshot")["part"].sort_index()
        last = course.index[-1]
        middle, late = (course.index[np.abs(course.index - last * p).argmin()] for p in (0.5, 0.75))
        for which, (a, b) in {"third": (middle, late), "last": (late, last)}.items():
            changes.append({"seed": seed, "quarter": which, "change": abs(course[b] - course[a])})
    if not changes:
        return Finding(f"{short(method)}", "", "cannot be told")
    frame = pd.DataFrame(changes)
    gap = difference(frame, "change", "quarter", "last", "third", ["seed"])
    means = frame.groupby("quarter")["change"].mean() * 100
    return Finding(
        f"{short(method)} regrowth's number stabilises: it changes less in the last quarter of "
        f"training than in the third (at most {threshold})",
        f"{means['last']:.1f} against {means['third']:.1f} points: {gap.text(100, 1, ' points')}",
        verdict(gap, -1),
    )


if __name__ == "__main__":
    print(main())
