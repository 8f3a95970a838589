"""How growth rules shape a network's paths: total path weight, τ-core, bottlenecks (P, Fig. 6).

Four rules grow the same networks from a few per cent of their weights: PWMPR, random growth (RG),
gradient growth (GG) and PWMP, which is PWMPR without its randomness. After every rough training,
just before the network grows, three numbers are taken from the tensor path (P's definition):

- total path weight magnitude product, as log10 R;
- size of the τ-core: the fewest hidden units through which τ = 90% of the path weight goes;
- average τ-core ratio: the same within each layer, over the layer's width, averaged. High means
  that no layer is a bottleneck.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/tau_core_evolution.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import style
from command import Command, parse
from curves import longest
from finding import Finding, difference, table, verdict
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from present import percent, present
from study import Study, gather

NAME = "tau_core_evolution"
METHODS = ("pwmpr", "random", "gradient", "pwmp")
TAU = 0.9
MEASURES = {
    "log10_total": "total path weight, log10 R",
    "tau_core_size": f"τ-core size (hidden units, τ = {TAU})",
    "tau_core_ratio": "average τ-core ratio (0 to 1)",
}
#: What is taken of topograph's table of a run, and what it is called here.
COLUMNS = {
    "recipe": "recipe",
    "method": "method",
    "seed": "seed",
    "snapshot": "cycle",
    "density": "density",
    "val_accuracy": "val_accuracy",
    "log10_paths": "log10_total",
    "tau_core": "tau_core_size",
    "average_tau_core_ratio": "tau_core_ratio",
}
CAPTION = (
    f"Total path weight, size of the τ-core (τ = {TAU}) and average τ-core ratio at the end of "
    "every rough training. A low ratio is a bottleneck: few units of a layer carry its paths."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    study = longest(gather(command, plan(command), varies=("density", "extensive")))
    frame = numbers(study)
    return present(
        command,
        frame,
        draw(frame, study),
        caption=CAPTION,
        study=study,
        findings=findings(frame),
        tables=[table_of(frame)],
        facts={"tau": TAU},
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return one run a rule and seed, which grows to half of all weights."""
    common = {"extensive": False, "density": 0.5, **command.common}
    return [{**common, "method": m, "seed": s} for m in METHODS for s in command.seeds]


def numbers(study: Study) -> pd.DataFrame:
    """Return one row a snapshot of a run: density and the three measures."""
    frame = study.snapshots.assign(recipe=study.runs["recipe"].iloc[0])
    frame = frame[list(COLUMNS)].rename(columns=COLUMNS)
    return frame.dropna(subset=["log10_total"])


def draw(frame: pd.DataFrame, study: Study) -> Figure:
    """Draw the three measures side by side."""
    style.use_style()
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for axes, (measure, label), letter in zip(panels, MEASURES.items(), "abc", strict=True):
        for method in METHODS:
            style.curve(axes, frame[frame["method"] == method], "density", measure, method)
        style.density_axis(axes, frame["density"])
        style.letter(axes, letter, label)
    panels[2].set_ylim(0, None)
    style.legend_below(figure, panels[0])
    style.title(figure, f"Paths while networks grow: {study.what} ({study.spread})")
    return figure


def table_of(frame: pd.DataFrame) -> str:
    """Return means over the seeds at a few densities, as Markdown."""
    cycles = sorted(frame["cycle"].unique())
    chosen = sorted({cycles[round(part * (len(cycles) - 1))] for part in (0, 0.25, 0.5, 0.75, 1)})
    rows = []
    for cycle in chosen:
        part = frame[frame["cycle"] == cycle]
        row: dict[str, object] = {"density": percent(part["density"].mean())}
        for column, name in (("log10_total", "log10 R"), ("tau_core_ratio", "average ratio")):
            means = part.groupby("method")[column].mean()
            for method in METHODS:
                short = style.named(method)[0].split(" ")[0]
                row[f"{name}: {short}"] = float(means.get(method, float("nan")))
        rows.append(row)
    return table(pd.DataFrame(rows), digits=3)


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Compare rules over all densities after the first growth step; one number a seed."""
    grown = frame[frame["cycle"] > 0]
    if grown.empty or set(METHODS) - set(grown["method"]):
        return []
    ends = {"first": grown["cycle"].min(), "last": grown["cycle"].max()}

    def compared(column: str, method: str, expected: int, claim: str) -> Finding:
        # Densities of one run hang together, so their mean is the one number of a run.
        means = grown.groupby(["method", "seed"])[column].mean().reset_index()
        found = difference(means, column, "method", method, "pwmpr", ["seed"])
        at = {
            name: difference(
                grown[grown["cycle"] == cycle], column, "method", method, "pwmpr", ["seed"]
            ).mean
            for name, cycle in ends.items()
        }
        text = (
            f"{found.text(digits=3)} on average; {at['first']:+.3f} after the first growth step, "
            f"{at['last']:+.3f} after the last"
        )
        return Finding(claim, text, verdict(found, expected))

    ratio, total = "tau_core_ratio", "log10_total"
    return [
        compared(ratio, "random", 1, "RG has the highest average τ-core ratio (RG − PWMPR)"),
        compared(ratio, "gradient", -1, "GG makes bottlenecks (average ratio, GG − PWMPR)"),
        compared(ratio, "pwmp", -1, "PWMP makes bottlenecks (average ratio, PWMP − PWMPR)"),
        compared(total, "pwmp", 1, "PWMP raises total path weight (log10 R, PWMP − PWMPR)"),
        compared(total, "gradient", 0, "GG's total is comparable (log10 R, GG − PWMPR)"),
        compared(total, "random", -1, "RG's total path weight is low (log10 R, RG − PWMPR)"),
    ]


if __name__ == "__main__":
    print(main())
