"""What the steps of the learning rate do to rewired networks (S, Fig. 3).

S begins at a learning rate of 0.1 and lowers it to a tenth at half and at three quarters of
training. Drawn is the accuracy on the validation data after every epoch, a panel a regrow rule, the
drops marked; dashed, the same networks at a constant rate, which an analysis of runs that exist
leaves out where there are none.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/learning_rate_steps.py --recipe fashion-mnist-mlp-survival --data-dir DIR
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import style
from command import Command
from finding import Finding, deviation, difference, mean_and_spread, table, verdict
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from present import present
from rewiring import METHODS, asked, short, there
from study import Study, gather

NAME = "learning_rate_steps"
STEPS, CONSTANT = "step", "constant"
#: Epochs before and after a drop whose means are compared.
AROUND = 3
CAPTION = (
    "Accuracy on the validation data after every epoch, a panel a regrow rule, mean over the runs "
    "(band: least to largest). Arrows: the learning rate falls to a tenth.{constant}"
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv)
    study = gather(command, plan(command), varies=("schedule",))
    frame = numbers(study)
    both = (frame["schedule"] == CONSTANT).any()
    return present(
        command,
        frame,
        draw(frame, study),
        caption=CAPTION.format(constant=" Dashed: a constant learning rate." if both else ""),
        study=study,
        findings=findings(frame, study),
        tables=[table_of(study)],
        facts={"epochs_around_a_drop": AROUND},
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return one run a rule and seed as the recipe has it, and one at a constant rate."""
    steps = [{**command.common, "method": m, "seed": s} for m in METHODS for s in command.seeds]
    return steps + [{**run, "schedule": CONSTANT} for run in steps]


def numbers(study: Study) -> pd.DataFrame:
    """Return a row an epoch of every run."""
    history = study.history.drop(columns=["schedule"], errors="ignore")
    history = history.join(study.runs["schedule"], on="run")
    columns = ["method", "schedule", "seed", "epoch", "lr", "train_loss", "val_accuracy"]
    return history[columns]


def drops(frame: pd.DataFrame) -> dict[int, float]:
    """Return the epochs from which on the rate is lower than before, and the rate."""
    rates = frame[frame["schedule"] != CONSTANT].groupby("epoch")["lr"].first()
    fallen = rates[rates < 0.9 * rates.shift()]
    return {int(epoch): float(rate) for epoch, rate in fallen.items()}


def draw(frame: pd.DataFrame, study: Study) -> Figure:
    """Draw a panel a rule."""
    style.use_style()
    rules = there(frame)
    figure, grid = plt.subplots(
        1, len(rules), figsize=(4 * len(rules), 3.9), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    panels = grid[0]
    percent = frame.assign(percent=frame["val_accuracy"] * 100)
    low, high = percent["percent"].quantile(0.04), percent["percent"].max()
    panels[0].set_ylim(low - 0.12 * (high - low), high + 0.05 * (high - low))
    for axes, method, which in zip(panels, rules, "abc", strict=False):
        rule = style.REGROW[method]
        of = percent[percent["method"] == method]
        for schedule, dashes in ((CONSTANT, "--"), (STEPS, "-")):
            part = of[of["schedule"] == schedule]
            style.curve(axes, part, "epoch", "percent", rule, dashes=dashes, marker="")
        mark(axes, drops(of))
        axes.set_xlabel("epoch")
        style.letter(axes, which, style.named(rule)[0])
    panels[0].set_ylabel("validation accuracy (%)")
    shown = set(frame["schedule"])
    lines = {"rate in steps": "-", "constant rate": "--"} if CONSTANT in shown else {}
    proxies = [Line2D([], [], color="#444444", linestyle=dashes) for dashes in lines.values()]
    if proxies:
        figure.legend(proxies, list(lines), loc="outside lower center", ncols=2)
    style.title(figure, f"Steps of the learning rate: {study.what} ({study.spread})")
    return figure


def mark(axes: Axes, falls: dict[int, float]) -> None:
    """Put an arrow at the foot of a panel where the rate falls, with the new rate."""
    for epoch, rate in falls.items():
        axes.annotate(
            f"rate {rate:.2g}", (epoch - 0.5, 0.17), (epoch - 0.5, 0.02),
            xycoords=("data", "axes fraction"), textcoords=("data", "axes fraction"),
            ha="center", va="bottom", fontsize=9, color="#AA0000",
            arrowprops={"arrowstyle": "->", "color": "#AA0000"},
        )  # fmt: skip


def table_of(study: Study) -> str:
    """Return the accuracy on the test data, as Markdown."""
    rows = []
    for method in METHODS:
        of = study.runs[study.runs["method"] == method]
        if len(of):
            rows.append(
                {
                    "regrowth": short(method),
                    "rate in steps: test accuracy (%)": mean_and_spread(
                        of[of["schedule"] == STEPS]["accuracy"], 100
                    ),
                    "constant rate": mean_and_spread(
                        of[of["schedule"] == CONSTANT]["accuracy"], 100
                    ),
                }
            )
    return table(pd.DataFrame(rows))


def findings(frame: pd.DataFrame, study: Study) -> list[Finding]:
    """Test whether accuracy rises at the drops, and ends higher than at a constant rate."""
    found: list[Finding] = []
    for method in METHODS:
        of = frame[(frame["method"] == method) & (frame["schedule"] == STEPS)]
        for epoch, rate in drops(of).items():
            before = of[of["epoch"].between(epoch - AROUND, epoch - 1)]
            after = of[of["epoch"].between(epoch, epoch + AROUND - 1)]
            gain = (
                after.groupby("seed")["val_accuracy"].mean()
                - before.groupby("seed")["val_accuracy"].mean()
            )
            gap = deviation(gain)
            found.append(
                Finding(
                    f"accuracy rises when the rate falls to {rate:.2g}, {short(method)} regrowth",
                    f"{gap.text(100, unit=' points')} from the {AROUND} epochs before to the "
                    f"{AROUND} after",
                    verdict(gap, 1),
                )
            )
    runs = study.runs.reset_index()
    for method in METHODS:
        of = runs[runs["method"] == method].astype({"seed": int})
        gap = difference(of, "accuracy", "schedule", STEPS, CONSTANT, ["seed"])
        if gap.pairs and not math.isnan(gap.mean):
            found.append(
                Finding(
                    f"steps end more accurate than a constant rate, {short(method)} regrowth",
                    f"{gap.text(100, unit=' points')} of test accuracy",
                    verdict(gap, 1),
                )
            )
    return found


if __name__ == "__main__":
    print(main())
