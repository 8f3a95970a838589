"""How accurate networks are by density, regrow rule and switch of rules (S, Tables 3, 4, 7, 8).

One network dense, and rewired at 5, 10 and 20% of its weights (S: sparsity 95, 90, 80%) by each of
the three regrow rules; at the lowest density also by two rules in turn, switched at half of
training.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/accuracy_tables.py --recipe fashion-mnist-mlp-survival --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import style
from command import Command
from finding import (
    AGREES,
    DISAGREES,
    OPEN,
    Difference,
    Finding,
    difference,
    mean_and_spread,
    table,
    together,
    verdict,
)
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from present import percent, present
from rewiring import METHODS, against_random, asked, short
from study import Study, gather

NAME = "accuracy_tables"
DENSITIES = (0.05, 0.1, 0.2)
COLUMNS = ["kind", "method", "switch_method", "density", "seed", "accuracy"]
CAPTION = (
    "Accuracy on the test data, a point a run; bars: mean and standard deviation over the seeds. "
    "Line: mean of the dense networks. Rows by density (weights kept) and regrow rule; an arrow "
    "stands for a switch at half of training, its row drawn in the first rule's colour, filled "
    "with the second's."
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv, densities=DENSITIES)
    study = gather(command, plan(command), varies=("density", "switch_method"))
    frame = numbers(study)
    return present(
        command,
        frame,
        draw(frame, study),
        caption=CAPTION,
        study=study,
        findings=findings(frame),
        tables=[table_of(frame), table_of_mixes(frame)],
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return the dense runs, those of every rule and density, and those that switch rules."""
    runs: list[dict[str, object]] = []
    for seed in command.seeds:
        runs.append({**command.common, "method": "dense", "seed": seed})
        for first in METHODS:
            one = {**command.common, "method": first, "seed": seed}
            runs += [{**one, "density": density} for density in command.densities]
            lowest = {**one, "density": min(command.densities)}
            runs += [{**lowest, "switch_method": then} for then in METHODS if then != first]
    return runs


def numbers(study: Study) -> pd.DataFrame:
    """Return the accuracy of every run; ``kind`` is dense, pure or mixed."""
    frame = study.runs.reset_index(drop=True)
    dense, mixed = frame["method"] == "dense", frame["switch_method"].notna()
    frame["kind"] = np.where(dense, "dense", np.where(mixed, "mixed", "pure"))
    frame["density"] = frame["density"].where(~dense, 1.0).astype(float)
    frame["seed"] = frame["seed"].astype(int)
    return frame[COLUMNS].sort_values(["kind", "density", "method", "seed"], ignore_index=True)


def draw(frame: pd.DataFrame, study: Study) -> Figure:
    """Draw a row a kind of run."""
    style.use_style()
    groups = rows_of(frame)
    rows = sum(len(kinds) + 1 for _, kinds in groups)
    figure, axes = plt.subplots(figsize=(7.5, 0.34 * rows + 1.2), layout="constrained")
    place, ticks, names = 0, [], []
    for heading, kinds in groups:
        ticks.append(place)
        names.append(heading)
        place += 1
        for name, (first, second), part in kinds:
            row(axes, place, first, second, part)
            ticks.append(place)
            names.append(name)
            place += 1
    dense = frame[frame["kind"] == "dense"]["accuracy"]
    if len(dense):
        axes.axvline(dense.mean() * 100, color="#000000", linewidth=1, zorder=1)
    axes.set_yticks(ticks, names)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_fontweight("bold" if name in [heading for heading, _ in groups] else "normal")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(place - 0.3, -0.7)
    axes.set_xlabel("test accuracy (%)")
    style.title(figure, f"Accuracy: {study.what}, {study.seeds} seeds")
    return figure


Kind = tuple[str, tuple[str, str], pd.DataFrame]


def rows_of(frame: pd.DataFrame) -> list[tuple[str, list[Kind]]]:
    """Return headings with their rows: a name, the two rules that colour it, and its runs."""
    groups: list[tuple[str, list[Kind]]] = []
    dense = frame[frame["kind"] == "dense"]
    if len(dense):
        groups.append(("dense", [("all weights", ("dense", "dense"), dense)]))
    for density, at in frame[frame["kind"] == "pure"].groupby("density"):
        kinds: list[Kind] = [
            (short(method), (style.REGROW[method],) * 2, at[at["method"] == method])
            for method in METHODS
            if (at["method"] == method).any()
        ]
        groups.append((f"density {percent(density, 0)}", kinds))
    for density, at in frame[frame["kind"] == "mixed"].groupby("density"):
        kinds = []
        for first in METHODS:
            for second in METHODS:
                part = at[(at["method"] == first) & (at["switch_method"] == second)]
                if len(part):
                    colours = (style.REGROW[first], style.REGROW[second])
                    kinds.append((f"{short(first)} → {short(second)}", colours, part))
        groups.append((f"density {percent(density, 0)}, switched", kinds))
    return groups


def row(axes: Axes, place: float, first: str, second: str, part: pd.DataFrame) -> None:
    """Draw the runs of one kind, their mean and standard deviation."""
    _, colour, marker = style.named(first)
    fill = style.named(second)[1]
    values = part["accuracy"] * 100
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    axes.errorbar(
        values.mean(), place, xerr=spread, color=colour, capsize=4, marker="|", markersize=13,
        linewidth=1.4, zorder=2,
    )  # fmt: skip
    axes.scatter(
        values, np.full(len(values), place), s=26, marker="o" if marker == "x" else marker,
        facecolor=fill, edgecolor=colour, linewidth=1.3, zorder=3, alpha=0.9,
    )  # fmt: skip


def table_of(frame: pd.DataFrame) -> str:
    """Return mean and standard deviation in per cent, by density and rule, as Markdown."""
    rows = []
    dense = frame[frame["kind"] == "dense"]["accuracy"]
    if len(dense):
        rows.append({"density": "100% (dense)", "dense": mean_and_spread(dense, 100)})
    for density, at in frame[frame["kind"] == "pure"].groupby("density"):
        told = {"density": percent(density, 0), "dense": "–"}
        for method in METHODS:
            told[short(method)] = mean_and_spread(at[at["method"] == method]["accuracy"], 100)
        rows.append(told)
    return table(pd.DataFrame(rows).fillna("–"))


def table_of_mixes(frame: pd.DataFrame) -> str:
    """Return the same of runs that switch: a row the first rule, a column the second."""
    mixed = frame[frame["kind"] == "mixed"]
    if mixed.empty:
        return "No run switches its rule."
    rows = []
    for first in METHODS:
        told = {f"switched at half, density {percent(mixed['density'].iloc[0], 0)}": short(first)}
        for second in METHODS:
            part = mixed[(mixed["method"] == first) & (mixed["switch_method"] == second)]
            if first == second:
                pure = (frame["kind"] == "pure") & (frame["density"] == mixed["density"].iloc[0])
                part = frame[pure & (frame["method"] == first)]
            told[f"→ {short(second)}"] = mean_and_spread(part["accuracy"], 100)
        rows.append(told)
    return table(pd.DataFrame(rows))


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Test whether sparse networks lose, which rule wins, and whether switching matters."""
    found: list[Finding] = []
    pure, dense = frame[frame["kind"] == "pure"], frame[frame["kind"] == "dense"]
    for density, at in pure.groupby("density"):
        if len(dense):
            found.append(beside_dense(density, at, dense))
    for density, at in pure.groupby("density"):
        claim = (
            f"random regrowth is the more accurate ({{rule}} − random, density "
            f"{percent(density, 0)})"
        )
        found += against_random(at, "accuracy", claim, -1, scale=100, unit="%", gap_unit=" points")
    for _, at in frame[frame["kind"] == "mixed"].groupby("density"):
        found += switched(at, pure)
    return found


def beside_dense(density: float, at: pd.DataFrame, dense: pd.DataFrame) -> Finding:
    """Say whether networks of one density lose accuracy against dense ones, rule by rule."""
    texts, verdicts = [], []
    for method in METHODS:
        part = at[at["method"] == method]
        if part.empty:
            continue
        gap = difference(pd.concat([part, dense]), "accuracy", "method", method, "dense", ["seed"])
        texts.append(f"{short(method)}: {gap.text(100, unit=' points')}")
        verdicts.append(no_loss(gap))
    claim = f"networks of {percent(density, 0)} density do not lose against dense ones"
    return Finding(claim, "; ".join(texts), together(verdicts))


def no_loss(gap: Difference) -> str:
    """Return the verdict on a claim that a difference is not negative."""
    if gap.pairs < 2:
        return OPEN
    return AGREES if gap.sign >= 0 else DISAGREES


def switched(at: pd.DataFrame, pure: pd.DataFrame) -> list[Finding]:
    """Compare runs that switch with the mean of the two rules' own, paired by seed."""
    found = []
    own = pure[pure["density"] == at["density"].iloc[0]].pivot_table(
        index="seed", columns="method", values="accuracy"
    )
    for first in METHODS:
        for second in METHODS:
            part = at[(at["method"] == first) & (at["switch_method"] == second)]
            if part.empty or not {first, second} <= set(own):
                continue
            pair = pd.concat(
                [
                    part[["seed", "accuracy"]].assign(kind="mixed"),
                    own[[first, second]].mean(axis=1).rename("accuracy").reset_index()
                    .assign(kind="own"),
                ]
            )  # fmt: skip
            gap = difference(pair, "accuracy", "kind", "mixed", "own", ["seed"])
            claim = (
                f"switching from {short(first)} to {short(second)} makes no difference (against "
                "the mean of both rules alone)"
            )
            found.append(Finding(claim, gap.text(100, unit=" points"), verdict(gap, 0)))
    return found


if __name__ == "__main__":
    print(main())
