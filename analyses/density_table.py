"""Accuracy at fixed densities: growth beside dynamic sparse training and static masks (P, Table 1).

PWMPR and the other growth rules against DSR, sparse momentum (SNFS), RigL and GSE, and against
static networks with PHEW and ERK masks. The methods at a fixed density are trained for as long as
growth takes to it. The least of the densities is drawn for growth, RigL and static masks alone.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/density_table.py --recipe imagenet-resnet50 --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import style
from command import Command, parse
from curves import compared, finals, shown
from finding import Finding, mean_and_spread, table, verdict
from matching import left_out, matched, say_not_drawn
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from plans import RULES, VARIES, dense, fixed, grown, upper
from present import present, stated
from study import Study, gather

NAME = "density_table"
DYNAMIC = ("rigl", "gse-grabo", "snfs", "dsr")
KINDS = (*RULES, *DYNAMIC, "phew", "erk")
CAPTION = (
    "Test accuracy at fixed densities after the whole training: growth (above), dynamic sparse "
    "training (middle), static masks (below). Dots are means over seeds, bars reach from the least "
    "to the largest seed, ticks are single seeds; the dashed line is the dense network; a line "
    "without a dot was not trained at that density. All methods of one panel but the dense network "
    "have the same density and are trained for as many epochs as growth takes{left_out}."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    every = gather(command, plan(command), VARIES)
    study = matched(every)
    say_not_drawn(every, study)
    frame = finals(study)
    return present(
        command,
        frame,
        draw(frame, study),
        caption=CAPTION.format(left_out=left_out(study)),
        study=study,
        findings=findings(frame),
        tables=[table_of(frame)],
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs of all methods at the densities, and of the dense network."""
    few = fixed(command, ["dsr", "snfs", "gse-grabo"], upper(command))
    return grown(command) + fixed(command, ["rigl", "phew", "erk"]) + few + dense(command)


def draw(frame: pd.DataFrame, study: Study) -> Figure:
    """Draw a panel a density, a line a method."""
    style.use_style()
    sparse = frame[frame["kind"] != "dense"]
    densities = sorted(set(sparse["asked"]))
    kinds = shown(sparse, KINDS)
    figure, panels = plt.subplots(
        1, len(densities), figsize=(3.2 + 3 * len(densities), 1.8 + 0.3 * len(kinds)),
        layout="constrained", squeeze=False, sharey=True,
    )  # fmt: skip
    for axes, density, letter in zip(panels[0], densities, "abcdefghij", strict=False):
        for number, kind in enumerate(kinds):
            held = sparse.loc[
                (sparse["kind"] == kind) & (sparse["asked"] == density), "accuracy"
            ].astype(float)
            if held.empty:
                continue
            _, colour, marker = style.named(kind)
            axes.plot([held.min(), held.max()], [number, number], color=colour, linewidth=1.4)
            axes.plot(held, [number] * len(held), "|", color=colour, markersize=7)
            axes.plot(held.mean(), number, color=colour, marker=marker, markersize=7)
        lines = frame.loc[frame["kind"] == "dense", "accuracy"].astype(float)
        if len(lines):
            axes.axvline(lines.mean(), color="black", linestyle="--", linewidth=1.2)
            axes.text(
                lines.mean(), 0.01, "dense ", ha="right", fontsize=9,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        style.percent_across(axes, "test accuracy")
        style.letter(axes, letter, f"density {stated(density)}")
        for between in (len(shown(sparse, RULES)), len(shown(sparse, [*RULES, *DYNAMIC]))):
            if 0 < between < len(kinds):
                axes.axhline(between - 0.5, color="#888888", linewidth=0.6)
    panels[0][0].set_yticks(range(len(kinds)), [style.named(kind)[0] for kind in kinds])
    panels[0][0].invert_yaxis()
    style.title(figure, f"Fixed densities: {study.what} ({study.seeds} seeds)")
    return figure


def table_of(frame: pd.DataFrame) -> str:
    """Return accuracy by method and density, with the epochs and costs of the largest density."""
    rows = []
    sparse = frame[frame["kind"] != "dense"]
    densities = sorted(set(sparse["asked"]))
    for kind in shown(frame, [*KINDS, "dense"]):
        of = frame[frame["kind"] == kind]
        row: dict[str, object] = {"method": style.named(kind)[0]}
        for density in densities:
            one = of if kind == "dense" else of[of["asked"] == density]
            row[f"accuracy at {stated(density)} (%)"] = mean_and_spread(one["accuracy"], 100)
        for density in densities:
            one = of if kind == "dense" else of[of["asked"] == density]
            row[f"epochs; cost at {stated(density)}"] = (
                f"{one['epochs'].mean():.0f}; {one['cost'].mean():.3f}" if len(one) else "–"
            )
        rows.append(row)
    return table(pd.DataFrame(rows))


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Compare growth with each of the others, a number a seed."""
    found = []
    for other in DYNAMIC:
        text, gap = compared(frame, "pwmpr", other)
        if gap.pairs:
            name = style.named(other)[0]
            claim = f"PWMPR lags {name} at a fixed density (PWMPR − {name})"
            found.append(Finding(claim, text, verdict(gap, -1)))
    for rule in RULES:
        text, gap = compared(frame, rule, "erk")
        if gap.pairs:
            name = style.named(rule)[0].split(" ")[0]
            claim = f"not P's, a bar to clear: {name} is better than static ERK ({name} − ERK)"
            found.append(Finding(claim, text, verdict(gap, 1)))
    return found


if __name__ == "__main__":
    print(main())
