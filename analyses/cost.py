"""What growth costs beside iterative pruning: accuracy and cumulative cost (P, Fig. 7).

Cost is that of P: the floating-point operations of all training so far on kept weights, and of
every pass that scores weights, over those of training the dense network once. These are nominal;
masked dense kernels do not get faster by them.

IMP-C stands at all its densities; PWMPR where it stops by itself (a dot a seed) and at the
densities asked for. Accuracy is that of the validation data, known at every density of IMP-C.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/cost.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import style
from command import Command, parse
from curves import finals
from finding import (
    TOLERANCE,
    Finding,
    as_good,
    difference,
    mean_and_spread,
    table,
    verdict,
    verdict_within,
)
from levels import keeps, pruning
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plans import VARIES, grown, pruned, stopped
from present import percent, present, stated
from study import Study, gather

NAME = "cost"
#: What still counts as "about 1.5" and as "3 to 4" times dense training.
ABOUT_GROWTH, ABOUT_PRUNING = (1.0, 2.0), (2.5, 4.5)
CAPTION = (
    "PWMPR beside IMP-C. (a) Validation accuracy and (b) cumulative cost against density, (c) "
    "accuracy against cost. Stars are PWMPR where its stop rule ends growth, one a seed; circles "
    "are PWMPR grown to set densities; IMP-C's curve runs from 100% (the dense network, cost 1) "
    "down. Cost is in trainings of the dense network, by nominal floating-point operations. In (c) "
    "up and left is better."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    study = gather(command, plan(command), VARIES)
    levels = pruning(study)
    last = finals(study)
    last = last[last["kind"] == "pwmpr"]
    last["stopped"] = last["asked"].isna()
    frame = pd.concat([levels, last], ignore_index=True)
    return present(
        command,
        frame,
        draw(levels, last, study),
        caption=CAPTION,
        study=study,
        findings=findings(levels, last),
        tables=[table_of(levels, last)],
        facts={"tolerance": TOLERANCE},
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs of PWMPR, to the plateau and to each density, and of IMP-C."""
    return stopped(command) + grown(command, ["pwmpr"]) + pruned(command)


def draw(levels: pd.DataFrame, last: pd.DataFrame, study: Study) -> Figure:
    """Draw accuracy and cost against density, and one against the other."""
    style.use_style()
    figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.2), layout="constrained")
    for axes, (x, y) in zip(
        panels, (("density", "val_accuracy"), ("density", "cost"), ("cost", "val_accuracy")),
        strict=True,
    ):  # fmt: skip
        one(axes, levels, last, x, y)
        if x == "density":
            style.density_axis(axes, pd.concat([levels["density"], last["density"]]).astype(float))
        else:
            costs = pd.concat([levels["cost"], last["cost"]]).astype(float)
            style.times_axis(
                axes, costs.min(), costs.max(), "cumulative cost (× dense training, log scale)"
            )
        if y == "cost":
            axes.set_ylabel("cumulative cost (× dense training)")
            axes.axhline(1, color="black", linestyle=":", linewidth=1)
            axes.annotate(
                "dense", (0.02, 1), xytext=(0, -3), xycoords=axes.get_yaxis_transform(),
                textcoords="offset points", va="top", fontsize=9,
            )  # fmt: skip
        else:
            style.percent_axis(axes, "validation accuracy")
    for axes, head, which in zip(
        panels, ("accuracy", "cost", "accuracy for cost"), "abc", strict=True
    ):
        style.letter(axes, which, head)
    style.legend_below(figure, panels[0])
    spread = "means over seeds; bands and bars: least to largest"
    style.title(figure, f"What growth costs: {study.what} ({spread})")
    return figure


def one(axes: Axes, levels: pd.DataFrame, last: pd.DataFrame, x: str, y: str) -> None:
    """Draw IMP-C's levels, PWMPR at set densities and PWMPR's own stops into one panel."""
    if len(levels):
        name, colour, marker = style.named("imp-c")
        of = levels.groupby("cycle")[[x, y]].mean()
        axes.plot(of[x], of[y], color=colour, marker=marker, label=name)
        low, high = (levels.groupby("cycle")[y].agg(how) for how in ("min", "max"))
        axes.fill_between(of[x], low, high, color=colour, alpha=0.18, linewidth=0)
    name, colour, marker = style.named("pwmpr")
    fixed = last[~last["stopped"]]
    if len(fixed):
        of = fixed.groupby("asked")[[x, y]].mean()
        low, high = (fixed.groupby("asked")[y].agg(how) for how in ("min", "max"))
        axes.errorbar(
            of[x], of[y], np.maximum(0, [of[y] - low, high - of[y]]), color=colour, marker=marker,
            linewidth=1.2, label=f"{name}, grown to set densities",
        )  # fmt: skip
    own = last[last["stopped"]]
    axes.scatter(
        own[x].astype(float), own[y].astype(float), marker="*", s=110, color=colour,
        edgecolor="black", linewidth=0.6, zorder=4, label=f"{name}, where it stops (a seed each)",
    )  # fmt: skip


def table_of(levels: pd.DataFrame, last: pd.DataFrame) -> str:
    """Return accuracy and cost of PWMPR, and of IMP-C where it is dense, good, and sparsest."""
    rows = []

    def row(name: str, part: pd.DataFrame) -> None:
        rows.append(
            {
                "network": name,
                "density": percent(part["density"].astype(float).mean()),
                "validation accuracy (%)": mean_and_spread(part["val_accuracy"], 100),
                "cost (× dense)": mean_and_spread(part["cost"], digits=3),
            }
        )

    for stopped_by_itself, part in last.groupby("stopped", sort=True):
        if stopped_by_itself:
            row("PWMPR, where it stops", part)
        else:
            for _, own in part.groupby("asked"):
                row("PWMPR, set density", own)
    if len(levels):
        row("IMP-C before it prunes (dense)", levels[levels["cycle"] == 0])
        good = cheapest(levels, last)
        row(f"IMP-C, sparsest within {TOLERANCE * 100:g} points of dense", good)
        row("IMP-C, sparsest", levels[levels["cycle"] == levels["cycle"].max()])
    return table(pd.DataFrame(rows))


def cheapest(levels: pd.DataFrame, last: pd.DataFrame) -> pd.DataFrame:
    """Return, of every seed's IMP-C, the lowest density down to which it stays near dense."""
    good = keeps(levels, last)
    good = good[good["kind"] == "imp-c"].set_index("seed")["lowest"]
    return levels[levels["density"].eq(levels["seed"].map(good))]


def findings(levels: pd.DataFrame, last: pd.DataFrame) -> list[Finding]:
    """Say what growth to its own stopping point costs, and how good it is beside IMP-C there."""
    found = []
    own = last[last["stopped"]]
    if len(own):
        least, most = ABOUT_GROWTH
        found.append(
            Finding(
                "PWMPR costs about 1.5 dense trainings where it stops",
                f"{mean_and_spread(own['cost'], digits=3)} at density "
                f"{mean_and_spread(own['density'], 100, 1)}% (agrees: every seed from {least:g} to "
                f"{most:g})",
                verdict_within(own["cost"], least, most),
            )
        )
    if levels.empty:
        return found
    good = cheapest(levels, last)
    least, most = ABOUT_PRUNING
    found.append(
        Finding(
            "IMP-C costs 3 to 4 dense trainings",
            f"{mean_and_spread(good['cost'])} where it is sparsest within {TOLERANCE * 100:g} "
            f"points of dense, density {mean_and_spread(good['density'], 100, 1)}% (agrees: every "
            f"seed from {least:g} to {most:g})",
            verdict_within(good["cost"], least, most),
        )
    )
    sets = {f"at {stated(d)}": p for d, p in last[~last["stopped"]].groupby("asked")}
    for where, part in {"where it stops": own, **sets}.items():
        both = pd.concat([good.assign(kind="imp-c"), part])
        gap = difference(both, "val_accuracy", "kind", "pwmpr", "imp-c", ["seed"])
        if not gap.pairs:
            continue
        half = pd.concat([good.assign(kind="imp-c", cost=good["cost"] / 2), part])
        cheaper = difference(half, "cost", "kind", "pwmpr", "imp-c", ["seed"])
        ratio = part.set_index("seed")["cost"] / good.set_index("seed")["cost"]
        found += [
            as_good(
                f"PWMPR {where} matches IMP-C's accuracy (PWMPR − sparsest good IMP-C)",
                gap.text(100, unit=" points"),
                gap,
            ),
            Finding(
                f"PWMPR {where} costs less than half of that",
                f"{mean_and_spread(ratio, digits=3)} of IMP-C's cost",
                verdict(cheaper, -1),
            ),
        ]
    return found


if __name__ == "__main__":
    print(main())
