"""What growth finds beside pruning, rewiring and static masks, against density (P, Fig. 5).

PWMPR at each density asked for; IMP-C at every density from 100% down; RigL, PHEW and static ERK
at the same densities with matched training, as long as PWMPR's growth and extensive training are
together. In floating-point operations growth costs less per epoch, since it spends much of its
training at lower densities; the table has both. RigL is therefore also trained for as many
operations as PWMPR takes, at all densities but the least.

IMP-C ends only once, so accuracy is that of the validation data for every method.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/sparsity_methods.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import style
from budgets import as_dear
from command import Command, parse
from curves import at_density, compared, shown, summary
from finding import (
    AGREES,
    TOLERANCE,
    Difference,
    Finding,
    as_good,
    difference,
    mean_and_spread,
    table,
    verdict,
)
from levels import keeps, pruning
from matching import left_out, long_and_dear
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from plans import VARIES, dense, fixed, grown, once, pruned, upper
from present import percent, present, stated
from study import Study, gather

NAME = "sparsity_methods"
KINDS = ("pwmpr", "rigl", "rigl-cost", "phew", "erk")
CAPTION = (
    "Validation accuracy of PWMPR beside IMP-C (at all its densities, from 100% down) and beside "
    "RigL, PHEW and static ERK, which are trained for as many epochs as growth takes{left_out}; "
    "RigL also for as many operations as PWMPR. Points of one density stand side by side; the "
    "dashed line is the dense network. Where PWMPR's points lie on IMP-C's curve, growth has found "
    "a network as good as pruning's."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    long, study, last = long_and_dear(gather(command, plan(command), VARIES), ["rigl"])
    levels = pruning(study)
    last = last[last["kind"].isin([*KINDS, "dense"])]
    frame = pd.concat([levels, last], ignore_index=True)
    return present(
        command,
        frame,
        draw(levels, last, study),
        caption=CAPTION.format(left_out=left_out(long)),
        study=study,
        findings=findings(levels, last),
        tables=[text for text in (summary(last), table_of(levels)) if text],
        facts={"tolerance": TOLERANCE},
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs of PWMPR, IMP-C, the methods at fixed densities, and the dense network."""
    cheap = fixed(command, ["rigl"], upper(command), as_dear)
    others = once(fixed(command, ["rigl", "phew", "erk"]) + cheap)
    return grown(command, ["pwmpr"]) + pruned(command) + others + dense(command)


def draw(levels: pd.DataFrame, last: pd.DataFrame, study: Study) -> Figure:
    """Draw accuracy against density."""
    style.use_style()
    figure, axes = plt.subplots(figsize=(9.5, 5), layout="constrained")
    if len(levels):
        style.curve(axes, levels, "density", "val_accuracy", "imp-c")
    sparse = last[last["kind"] != "dense"]
    kinds = shown(sparse, KINDS)
    for place, kind in zip(style.places(len(kinds), sparse["asked"]), kinds, strict=True):
        style.points(axes, sparse[sparse["kind"] == kind], "asked", "val_accuracy", kind, place)
    style.level(axes, last.loc[last["kind"] == "dense", "val_accuracy"], "dense", band=False)
    style.density_axis(axes, pd.concat([levels["density"], sparse["asked"]]).astype(float))
    style.percent_axis(axes, "validation accuracy")
    style.legend_below(figure, axes)
    style.title(figure, f"Beside other methods: {study.what} ({study.spread})")
    return figure


def table_of(levels: pd.DataFrame) -> str:
    """Return IMP-C's accuracy and cost at every density, as Markdown; nothing without it."""
    if levels.empty:
        return ""
    rows = [
        {
            "IMP-C: density": percent(density),
            "validation accuracy (%)": mean_and_spread(part["val_accuracy"], 100),
            "cost so far (× dense)": mean_and_spread(part["cost"]),
        }
        for density, part in sorted(levels.groupby("density"), reverse=True)
    ]
    return table(pd.DataFrame(rows))


def findings(levels: pd.DataFrame, last: pd.DataFrame) -> list[Finding]:
    """Compare PWMPR with the others at equal density and seed."""
    found = against_pruning(levels, last) if len(levels) else []

    def beside(other: str, part: pd.DataFrame) -> tuple[str, Difference]:
        return compared(part, "pwmpr", other, "val_accuracy")

    text, gap = beside("phew", last)
    if gap.pairs:
        claim = "PWMPR is better than PHEW at a matched budget (PWMPR − PHEW)"
        found.append(Finding(claim, text, verdict(gap, 1)))
    with_rigl = last[last["asked"].isin(last.loc[last["kind"] == "rigl", "asked"])]
    low = with_rigl[with_rigl["asked"] == with_rigl["asked"].min()]
    high = with_rigl[with_rigl["asked"] == with_rigl["asked"].max()]
    apart = with_rigl["asked"].nunique() > 1
    text, gap = beside("rigl", low)
    if gap.pairs:
        text, gap = compared(low, "rigl", "pwmpr", "val_accuracy")
        found.append(as_good("RigL is competitive at the least density (RigL − PWMPR)", text, gap))
    for kind, words in (("rigl", ""), ("rigl-cost", " that costs as much")):
        text, gap = beside(kind, high)
        if gap.pairs and apart:
            claim = f"PWMPR surpasses RigL{words} at the largest density (PWMPR − RigL)"
            found.append(Finding(claim, text, verdict(gap, 1)))
    text, gap = beside("erk", last)
    if gap.pairs:
        claim = "not P's, a bar to clear: PWMPR is better than static ERK (PWMPR − ERK)"
        found.append(Finding(claim, text, verdict(gap, 1)))
    return found


def against_pruning(levels: pd.DataFrame, last: pd.DataFrame) -> list[Finding]:
    """Say from which density on PWMPR is as good as IMP-C, and how low IMP-C stays good."""
    grown_to = last[last["kind"] == "pwmpr"]
    pairs = []
    for seed, curve in levels.groupby("seed"):
        own = grown_to[grown_to["seed"] == seed]
        there = at_density(curve, "val_accuracy", list(own["asked"]))
        pairs.append(own.assign(kind="pwmpr"))
        pairs.append(own.assign(kind="imp-c", val_accuracy=there.to_numpy()))
    both = pd.concat(pairs)
    gaps = {
        density: difference(part, "val_accuracy", "kind", "pwmpr", "imp-c", ["seed"])
        for density, part in both.groupby("asked")
    }
    gaps = {density: gap for density, gap in gaps.items() if gap.pairs}
    if not gaps:
        return []
    claim = "PWMPR reaches IMP-C's accuracy at the same density, at the largest one (PWMPR − IMP-C)"
    found = [as_good(claim, "", gap) for gap in gaps.values()]
    each = ", ".join(f"{gap.text(100)} at {stated(density)}" for density, gap in gaps.items())
    reached = []
    for density, one in reversed(list(zip(gaps, found, strict=True))):
        if one.verdict != AGREES:
            break
        reached.append(density)
    where = f"from {stated(min(reached))} on" if reached else "at none of these densities"
    found = [replace(found[-1], measured=f"{each} points; as good {where}")]
    lowest = keeps(levels, last)
    if len(lowest):
        gap = difference(lowest, "lowest", "kind", "pwmpr", "imp-c", ["seed"])
        text = ", ".join(
            f"{style.named(kind)[0]} {mean_and_spread(part['lowest'], 100, 1)}%"
            for kind, part in lowest.groupby("kind")
        )
        missing = int(lowest["beyond"].sum())
        beyond = f"; {missing} PWMPR runs never, and count with 100%" if missing else ""
        found.append(
            Finding(
                f"PWMPR needs a higher density than IMP-C to stay within {TOLERANCE * 100:g} "
                "points of the dense network",
                f"lowest density within: {text} (PWMPR only at the densities studied){beyond}",
                verdict(gap, 1),
            )
        )
    return found


if __name__ == "__main__":
    print(main())
