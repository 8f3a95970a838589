"""How much to grow: growth ratios γ of 6, 12 and 25% (P, Fig. 10).

PWMPR grows the same networks in steps of γ times their weights, with the same rough training before
every step, so a smaller γ takes more steps and trains longer on the way to the same density. At the
largest of the densities asked for the networks are then trained extensively.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/growth_ratio.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import style
from command import Command, parse
from curves import at_density, before_growth, compared, finals
from finding import Finding, difference, mean_and_spread, table, verdict
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from plans import at_set_densities, grown
from present import present, stated
from study import Study, gather

NAME = "growth_ratio"
#: Beside the recipe's own (P: 25%).
SMALLER = (0.06, 0.12)
#: Shade, dashes and marker from the smallest ratio to the largest.
LOOKS = ((-0.5, "--", "s"), (0.5, ":", "^"), (0.0, "-", "o"))
#: Densities at which curves of different ratios are compared.
BETWEEN = 20
CAPTION = (
    "PWMPR with growth ratios γ: each step adds γ times the weights that there are. (a) Batches of "
    "all rough training up to each growth decision. (b) Validation accuracy just before the "
    "network grows. (c) Test accuracy after the same extensive training; points of one density "
    "stand side by side. A smaller γ comes to a density after more steps, so with more training."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    study = at_set_densities(gather(command, plan(command), ("density", "growth_ratio")))
    rough = before_growth(study).assign(stage="before growth")
    last = finals(study).assign(stage="after extensive training")
    frame = pd.concat([rough, last], ignore_index=True)
    return present(
        command,
        frame,
        draw(rough, last, study),
        caption=CAPTION,
        study=study,
        findings=findings(rough, last),
        tables=[table_of(last)],
        facts={"ratios": sorted(set(frame["growth_ratio"]))},
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs with the recipe's own ratio and with smaller ones."""
    runs = grown(command, ["pwmpr"])
    if "growth_ratio" in command.settings:
        return runs
    for ratio in SMALLER:
        runs += grown(command, ["pwmpr"], command.densities[-1:], growth_ratio=ratio)
    return runs


def draw(rough: pd.DataFrame, last: pd.DataFrame, study: Study) -> Figure:
    """Draw length, accuracy before growth, and accuracy after extensive training."""
    style.use_style()
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    ratios = sorted(set(rough["growth_ratio"]))
    shared = last.groupby("asked")["growth_ratio"].nunique()
    last = last[last["asked"].isin(shared[shared == shared.max()].index)]
    places = style.places(len(ratios), last["asked"])
    for number, (place, ratio) in enumerate(zip(places, ratios, strict=True)):
        part, dashes, marker = LOOKS[min(number, len(LOOKS) - 1)]
        how = {
            "label": f"PWMPR, γ = {stated(ratio)}",
            "dashes": dashes,
            "colour": style.shade("pwmpr", part),
            "marker": marker,
        }
        one = rough[rough["growth_ratio"] == ratio]
        style.curve(panels[0], one, "density", "batches_so_far", "pwmpr", **how)
        style.curve(panels[1], one, "density", "val_accuracy", "pwmpr", **how)
        end = last[last["growth_ratio"] == ratio]
        style.points(panels[2], end, "asked", "accuracy", "pwmpr", place, **how)
    for axes in panels[:2]:
        style.density_axis(axes, rough["density"])
    style.density_axis(panels[2], last["asked"], only=True)
    panels[0].set_ylim(0, None)
    panels[0].set_ylabel("batches so far")
    style.percent_axis(panels[1], "validation accuracy")
    style.percent_axis(panels[2], "test accuracy")
    heads = ("training up to each growth step", "after rough training", "after extensive training")
    for axes, head, letter in zip(panels, heads, "abc", strict=True):
        style.letter(axes, letter, head)
    style.legend_below(figure, panels[0])
    style.title(figure, f"How much to grow: {study.what} ({study.spread})")
    return figure


def table_of(last: pd.DataFrame) -> str:
    """Return accuracy and cost, a row a density and ratio."""
    rows = [
        {
            "density": stated(asked),
            "γ": stated(ratio),
            "growth steps": int(part["cycle"].max()),
            "epochs in all": mean_and_spread(part["epochs"], digits=0),
            "test accuracy (%)": mean_and_spread(part["accuracy"], 100),
            "cost (× dense)": mean_and_spread(part["cost"], digits=3),
        }
        for (asked, ratio), part in last.groupby(["asked", "growth_ratio"])
    ]
    return table(pd.DataFrame(rows))


def findings(rough: pd.DataFrame, last: pd.DataFrame) -> list[Finding]:
    """Compare each smaller ratio with the largest: before growth, after training, and in cost."""
    *smaller, largest = sorted(set(rough["growth_ratio"]))
    means = over_densities(rough)
    found = []
    for ratio in smaller:
        pair = f"γ {stated(ratio)} − {stated(largest)}"
        gap = difference(means, "val_accuracy", "growth_ratio", ratio, largest, ["seed"])
        if gap.pairs:
            claim = f"a smaller γ gives better networks just before growth ({pair})"
            text = f"{gap.text(100, unit=' points')}, mean over densities"
            found.append(Finding(claim, text, verdict(gap, 1)))
        text, gap = compared(last, ratio, largest, by="growth_ratio")
        if gap.pairs:
            claim = f"a smaller γ gives better networks after extensive training ({pair})"
            found.append(Finding(claim, text, verdict(gap, 1)))
        far = last[last["asked"] == last["asked"].max()]
        gap = difference(far, "cost", "growth_ratio", ratio, largest, ["seed"])
        if gap.pairs:
            claim = f"a smaller γ costs more ({pair}, × dense)"
            text = f"{gap.text(digits=3)} at {stated(far['asked'].max())}"
            # Every seed takes the same steps, so there is no spread to test against.
            found.append(Finding(claim, text, verdict(gap, 1)))
    return found


def over_densities(rough: pd.DataFrame) -> pd.DataFrame:
    """Return every run's mean accuracy before growth at densities that all ratios passed.

    Ratios grow to different densities, so accuracy is taken in between, straight in log density;
    the first density, which is the same start, is left out.
    """
    spans = rough.groupby("run")["density"].agg(["min", "max"])
    at = list(np.geomspace(spans["min"].max(), spans["max"].min() * (1 - 1e-9), BETWEEN + 1)[1:])
    rows = [
        {
            "growth_ratio": ratio,
            "seed": seed,
            "val_accuracy": at_density(part, "val_accuracy", at).mean(),
        }
        for (ratio, seed), part in rough.groupby(["growth_ratio", "seed"])
    ]
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(main())
