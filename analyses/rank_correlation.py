"""When the order of a network's units by degree settles, by regrow rule (S, Fig. 20).

Kendall's τ-b of the hidden units' degrees (in and out) at two moments of training is 1 where the
units stand in the same order, 0 where nothing of the order is left. Drawn are the correlations of
every two moments, a map a rule, and the correlation with the final degrees over training. Updates
exchange ever fewer weights towards the end (the part falls by a cosine), so neighbours in time
agree more there whatever the rule; when the final order appears tells the rules apart.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/rank_correlation.py --recipe fashion-mnist-mlp-survival --data-dir DIR
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import style
from finding import Finding, difference, mean_and_spread, table, verdict
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from present import present
from rewiring import (
    METHODS,
    against_random,
    asked,
    hidden,
    moments,
    rewired,
    short,
    snapshots,
    there,
)
from study import Study

import topograph as tg

NAME = "rank_correlation"
#: The correlation with the final degrees at which an order counts as found.
FOUND = 0.8
CAPTION = (
    "Kendall's τ-b of the hidden units' degrees at two moments of training, mean over the runs: "
    "the maps every two moments, the last panel every moment with the end. Dark: the units stand "
    f"in the same order. Dashed: τ = {FOUND}, at which the findings count the final order as found."
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv)
    study = rewired(command)
    frame = numbers(hidden(study))
    neighbours = snapshots(study)
    return present(
        command,
        frame,
        draw(frame, study),
        caption=CAPTION,
        study=study,
        findings=findings(frame, neighbours),
        tables=[table_of(frame)],
        facts={"found": FOUND},
    )


def numbers(units: pd.DataFrame) -> pd.DataFrame:
    """Return τ-b of every two moments of every run: ``earlier`` and ``later`` are snapshots."""
    rows = []
    for (method, seed), run in units.groupby(["method", "seed"]):
        degrees = run.pivot_table(index=["group", "node"], columns="snapshot", values="degree")
        epochs = run.groupby("snapshot")["epochs"].first()
        matrix = tg.rank_correlation_matrix([degrees[at].to_numpy() for at in degrees])
        for i, earlier in enumerate(degrees):
            for j, later in enumerate(degrees):
                if i <= j:
                    rows.append(
                        {
                            "method": method,
                            "seed": seed,
                            "earlier": earlier,
                            "later": later,
                            "epochs_earlier": epochs[earlier],
                            "epochs_later": epochs[later],
                            "tau": matrix[i, j],
                        }
                    )
    return pd.DataFrame(rows)


def draw(frame: pd.DataFrame, study: Study) -> Figure:
    """Draw a map a rule and the correlation with the end."""
    style.use_style()
    rules = there(frame)
    figure, panels = plt.subplots(
        1,
        len(rules) + 1,
        figsize=(3 * len(rules) + 3, 3.7),
        layout="constrained",
        width_ratios=(*(1 for _ in rules), 1.25),
    )
    for axes, method, which in zip(panels[:-1], rules, "abc", strict=False):
        of = frame[frame["method"] == method]
        style.letter(axes, which, style.named(style.REGROW[method])[0])
        axes.set_xlabel("epoch")
        axes.grid(visible=False)
        half = of.groupby(["epochs_earlier", "epochs_later"])["tau"].mean().unstack()
        whole = half.combine_first(half.T)
        image = axes.pcolormesh(
            whole.columns, whole.index, whole, cmap="YlGnBu", vmin=0, vmax=1, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        axes.set_aspect("equal")
    panels[0].set_ylabel("epoch")
    figure.colorbar(image, ax=list(panels[:-1]), label="Kendall's τ-b", shrink=0.75, pad=0.02)
    last = frame["later"].max()
    for method in METHODS:
        of = frame[(frame["method"] == method) & (frame["later"] == last)]
        style.curve(panels[-1], of, "epochs_earlier", "tau", style.REGROW[method])
    panels[-1].axhline(FOUND, color="#444444", linestyle=(0, (4, 3)), linewidth=1)
    panels[-1].set_ylim(min(0, panels[-1].get_ylim()[0]), 1.03)
    panels[-1].set_xlabel("epoch")
    panels[-1].set_ylabel("τ-b with the final degrees")
    style.letter(panels[-1], "abcd"[len(rules)], "correlation with the end")
    style.legend_below(figure, panels[-1])
    style.title(figure, f"Order of units by degree: {study.what} ({study.spread})")
    return figure


def table_of(frame: pd.DataFrame) -> str:
    """Return the correlation with the end at the moments that S draws, as Markdown."""
    ends = frame[frame["later"] == frame["later"].max()]
    ends = ends.rename(columns={"earlier": "snapshot", "epochs_earlier": "epochs"})
    rows = []
    for at, when in moments(ends).items():
        row: dict[str, object] = {"τ-b with the end, from": when}
        for method in METHODS:
            of = ends[(ends["method"] == method) & (ends["snapshot"] == at)]
            row[short(method)] = mean_and_spread(of["tau"])
        rows.append(row)
    return table(pd.DataFrame(rows))


def findings(frame: pd.DataFrame, neighbours: pd.DataFrame) -> list[Finding]:
    """Test whether correlations rise, and for which rule the final order is found earlier."""
    found = []
    for method in METHODS:
        of = neighbours[neighbours["method"] == method].dropna(subset=["rank_correlation"])
        if of["snapshot"].nunique() < 4:
            continue
        quarter = of["snapshot"].max() / 4
        parts = pd.concat(
            [
                of[of["snapshot"] <= quarter].assign(part="first"),
                of[of["snapshot"] > 3 * quarter].assign(part="last"),
            ]
        )
        means = parts.groupby(["seed", "part"])["rank_correlation"].mean().reset_index()
        gap = difference(means, "rank_correlation", "part", "last", "first", ["seed"])
        at = means.groupby("part")["rank_correlation"].mean()
        found.append(
            Finding(
                f"correlations from update to update rise towards the end, {short(method)} "
                "regrowth (last quarter of training against the first)",
                f"{at['last']:.2f} against {at['first']:.2f}: {gap.text()}",
                verdict(gap, 1),
            )
        )
    claim = (
        f"{{rule}} regrowth finds its final order earlier than random (epoch from which τ-b with "
        f"the end stays above {FOUND})"
    )
    return found + against_random(found_at(frame), "epochs", claim, -1, digits=1, unit=" epochs")


def found_at(frame: pd.DataFrame) -> pd.DataFrame:
    """Return from when on each run's correlation with its end stays above `FOUND`."""
    rows = []
    ends = frame[frame["later"] == frame["later"].max()]
    for (method, seed), run in ends.groupby(["method", "seed"]):
        course = run.sort_values("earlier")
        below = np.flatnonzero(course["tau"] < FOUND)
        from_here = below[-1] + 1 if len(below) else 0
        epoch = course["epochs_earlier"].iloc[from_here] if from_here < len(course) else math.nan
        rows.append({"method": method, "seed": seed, "epochs": epoch})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(main())
