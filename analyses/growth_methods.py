"""Where to grow: PWMPR, random growth, gradient growth and PWMP against density (P, Fig. 4).

Four rules grow the same networks, with the same training. Left the validation accuracy after every
rough training, just before the network grows; right the test accuracy after extensive training at
the densities asked for. Beside them stand static networks with ERK masks, one trained for as many
epochs as growth takes to its density, one for as many floating-point operations as PWMPR takes, and
the dense network: a way to grow must clear both random growth and ERK to be worth its trouble.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/growth_methods.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import style
from budgets import as_dear
from command import Command, parse
from curves import before_growth, compared, in_all, shown, summary
from finding import Finding, as_good, difference, verdict
from matching import left_out, long_and_dear
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from plans import RULES, VARIES, dense, fixed, grown, once
from present import present
from study import Study, gather

NAME = "growth_methods"
CAPTION = (
    "Accuracy of four ways to grow, against density. (a) Validation accuracy after each rough "
    "training, just before growth. (b) Test accuracy after extensive training; points of one "
    "density stand side by side.{erk}{dense} All rules have the same training."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    study = gather(command, plan(command), VARIES)
    study = study.where(lambda runs: (runs["method"] != "static") | (runs["start"] == "erk"))
    long, study, last = long_and_dear(study, ["erk"])
    rough = before_growth(long).assign(stage="before growth")
    last = last.assign(stage="after extensive training")
    frame = pd.concat([rough, last], ignore_index=True)
    return present(
        command,
        frame,
        draw(rough, last, study),
        caption=caption(long, set(last["kind"])),
        study=study,
        findings=findings(rough, last),
        tables=[summary(last)],
    )


def caption(study: Study, kinds: set[str]) -> str:
    """Return what is drawn, of what there is."""
    erk = dense = ""
    if "erk" in kinds:
        erk = f" ERK is static and trained for as many epochs as growth takes{left_out(study)}"
        erk += ", or for as many operations as PWMPR." if "erk-cost" in kinds else "."
    if "dense" in kinds:
        dense = " The dashed line is the dense network."
    return CAPTION.format(erk=erk, dense=dense)


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs of the four rules, of static ERK, and of the dense network."""
    static = once(fixed(command, ["erk"]) + fixed(command, ["erk"], budget=as_dear))
    return grown(command) + static + dense(command)


def draw(rough: pd.DataFrame, last: pd.DataFrame, study: Study) -> Figure:
    """Draw accuracy before growth and after extensive training."""
    style.use_style()
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for rule in RULES:
        style.curve(panels[0], rough[rough["kind"] == rule], "density", "val_accuracy", rule)
    style.density_axis(panels[0], rough["density"])
    style.percent_axis(panels[0], "validation accuracy")
    style.letter(panels[0], "a", "after rough training")
    sparse = last[last["kind"] != "dense"]
    kinds = shown(sparse, [*RULES, "erk", "erk-cost"])
    for place, kind in zip(style.places(len(kinds), sparse["asked"]), kinds, strict=True):
        style.points(panels[1], sparse[sparse["kind"] == kind], "asked", "accuracy", kind, place)
    style.level(panels[1], last.loc[last["kind"] == "dense", "accuracy"], "dense")
    style.density_axis(panels[1], sparse["asked"], only=True)
    style.percent_axis(panels[1], "test accuracy")
    style.letter(panels[1], "b", "after extensive training")
    style.legend_below(figure, panels[1])
    style.title(figure, f"Where to grow: {study.what} ({study.spread})")
    return figure


def findings(rough: pd.DataFrame, last: pd.DataFrame) -> list[Finding]:
    """Compare the rules, a number a seed: the mean over densities."""
    found = []
    means = in_all(rough).groupby(["kind", "seed"])["val_accuracy"].mean().reset_index()
    for other, name in (("gradient", "GG"), ("random", "RG")):
        gap = difference(means, "val_accuracy", "kind", "pwmpr", other, ["seed"])
        if gap.pairs:
            claim = f"PWMPR matches or exceeds {name} before growth (mean over densities)"
            found.append(as_good(claim, gap.text(100, unit=" points"), gap))
    for first, other, claim in (
        ("pwmpr", "gradient", "PWMPR matches or exceeds GG after extensive training (PWMPR − GG)"),
        ("pwmpr", "random", "PWMPR matches or exceeds RG after extensive training (PWMPR − RG)"),
        ("gradient", "random", "GG matches or exceeds RG after extensive training (GG − RG)"),
    ):
        text, gap = compared(last, first, other)
        if gap.pairs:
            found.append(as_good(claim, text, gap))
    text, gap = compared(last, "pwmp", "pwmpr")
    if gap.pairs:
        claim = "PWMP falls below PWMPR after extensive training (PWMP − PWMPR)"
        found.append(Finding(claim, text, verdict(gap, -1)))
    for rule, name in (("pwmpr", "PWMPR"), ("gradient", "GG"), ("random", "RG")):
        for kind, words in (("erk", ""), ("erk-cost", " that costs as much")):
            text, gap = compared(last, rule, kind)
            if gap.pairs:
                claim = (
                    f"not P's, a bar to clear: {name} is better than static ERK{words} "
                    f"({name} − ERK)"
                )
                found.append(Finding(claim, text, verdict(gap, 1)))
    return found


if __name__ == "__main__":
    print(main())
