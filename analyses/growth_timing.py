"""When to grow: rough trainings of few epochs, more epochs, and until validation stops (P, 3, 11).

PWMPR and gradient growth (GG) grow the same networks with rough trainings of three lengths: the
recipe's number of epochs, half as many, and until the validation loss has not fallen for three
epochs. At the densities asked for, without the least (few rough trainings lie before it), the
networks are then trained extensively.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting (5 and 10
epochs):

    python analyses/growth_timing.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
import style
from command import Command, parse
from curves import before_growth, compared, finals, in_all
from finding import Finding, as_good, difference, mean_and_spread, table, verdict
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from plans import at_set_densities, grown, upper
from present import present, stated
from study import Study, gather

NAME = "growth_timing"
METHODS = ("pwmpr", "gradient")
EARLY_STOP = "early-stop"
#: Shade, dashes and marker from the shortest rough training to the longest.
LOOKS = ((0.55, ":", "^"), (0.0, "-", "o"), (-0.45, "--", "s"))
CAPTION = (
    "Growth after rough trainings of different lengths, PWMPR above, gradient growth (GG) below. "
    "(a) Batches of the rough training before each growth decision. (b) Validation accuracy just "
    "before the network grows. (c) Test accuracy after the same extensive training at a few "
    "densities: where the curves of (b) differ and those of (c) do not, early growth is as good as "
    "late."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv)
    study = at_set_densities(gather(command, plan(command), varies=("density", "rough_epochs")))
    rough = before_growth(study).assign(stage="before growth")
    last = finals(study).assign(stage="after extensive training")
    frame = pd.concat([rough, last], ignore_index=True)
    frame["schedule"] = frame["rough_epochs"].map(schedule)
    return present(
        command,
        frame.drop(columns="rough_epochs"),
        draw(frame, study),
        caption=CAPTION,
        study=study,
        findings=findings(frame),
        tables=[table_of(frame)],
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs with the recipe's rough training, half of it, and early-stopped ones."""
    runs = grown(command, METHODS)
    for rough in others(command):
        runs += grown(command, METHODS, upper(command), rough_epochs=rough)
    return runs


def others(command: Command) -> list[object]:
    """Return the lengths of rough training beside the recipe's own."""
    if command.from_runs is not None:
        return [EARLY_STOP]  # whichever lengths there are, are drawn
    from pwmpr.running import resolve

    common = dict(command.common)
    own = resolve(common.pop("recipe"), **common).rough_epochs
    if not isinstance(own, int):
        return []
    return [own // 2, EARLY_STOP] if own > 1 else [EARLY_STOP]


def schedule(rough: object) -> str:
    """Return a length of rough training in words."""
    if rough == EARLY_STOP:
        return "early stop"
    return f"{rough} epoch{'s' if rough != 1 else ''}"


def schedules(frame: pd.DataFrame) -> list[str]:
    """Return all schedules from the shortest on."""
    found = frame["rough_epochs"].drop_duplicates()
    fixed = sorted(int(value) for value in found if value != EARLY_STOP)
    return [schedule(value) for value in [*fixed, *found[found == EARLY_STOP]]]


def draw(frame: pd.DataFrame, study: Study) -> Figure:
    """Draw three panels a growth rule."""
    style.use_style()
    methods = [m for m in METHODS if m in set(frame["kind"])]
    figure, grid = plt.subplots(
        len(methods), 3, figsize=(12, 3.5 * len(methods) + 0.4), layout="constrained",
        squeeze=False, sharex="col", sharey="col",
    )  # fmt: skip
    for method, panels in zip(methods, grid, strict=True):
        of = frame[frame["kind"] == method]
        rough = of[of["stage"] == "before growth"]
        last = of[of["stage"] == "after extensive training"]
        names = schedules(frame)
        places = style.places(len(names), last["asked"])
        for place, (name, (part, dashes, marker)) in zip(places, looks(names).items(), strict=True):
            how = {
                "label": f"{style.named(method)[0].split(' ')[0]}, {name}",
                "dashes": dashes,
                "colour": style.shade(method, part),
                "marker": marker,
            }
            one = rough[rough["schedule"] == name]
            style.curve(panels[0], one, "density", "batches", method, **how)
            style.curve(panels[1], one, "density", "val_accuracy", method, **how)
            style.points(
                panels[2], last[last["schedule"] == name], "asked", "accuracy", method,
                place, **how,
            )  # fmt: skip
        for axes in panels[:2]:
            style.density_axis(axes, rough["density"])
        style.density_axis(panels[2], last["asked"], only=True)
        for axes in panels:
            if method != methods[-1]:
                axes.set_xlabel("")
        panels[0].set_ylim(0, None)
        panels[0].set_ylabel(f"{style.named(method)[0]}\nbatches before a growth step")
        style.percent_axis(panels[1], "validation accuracy")
        style.percent_axis(panels[2], "test accuracy")
    heads = ("length of rough training", "after rough training", "after extensive training")
    for axes, head, letter in zip(grid[0], heads, "abc", strict=True):
        style.letter(axes, letter, head)
    style.legend_below(figure, *grid[:, 0])
    style.title(figure, f"When to grow: {study.what} ({study.spread})")
    return figure


def looks(names: list[str]) -> dict[str, tuple[float, str, str]]:
    """Return how each schedule is drawn; more schedules than looks repeat the last."""
    return {name: LOOKS[min(n, len(LOOKS) - 1)] for n, name in enumerate(names)}


def table_of(frame: pd.DataFrame) -> str:
    """Return accuracy after extensive training and cost, a row a schedule and density."""
    last = frame[frame["stage"] == "after extensive training"]
    rows = []
    for (method, asked), part in last.groupby(["kind", "asked"]):
        for name in schedules(frame):
            one = part[part["schedule"] == name]
            if len(one):
                rows.append(
                    {
                        "growth": style.named(method)[0].split(" ")[0],
                        "density": stated(asked),
                        "rough training": name,
                        "epochs in all": mean_and_spread(one["epochs"], digits=0),
                        "before extensive training (validation, %)": mean_and_spread(
                            before(frame, one), 100
                        ),
                        "after it (test, %)": mean_and_spread(one["accuracy"], 100),
                        "cost (× dense)": mean_and_spread(one["cost"], digits=3),
                    }
                )
    return table(pd.DataFrame(rows))


def before(frame: pd.DataFrame, last: pd.DataFrame) -> pd.Series:
    """Return validation accuracy before growth at (nearly) the densities of some final rows."""
    rough = frame[frame["stage"] == "before growth"]
    found = []
    for row in last.itertuples():
        same = rough[
            (rough["kind"] == row.kind)
            & (rough["schedule"] == row.schedule)
            & (rough["seed"] == row.seed)
        ]
        nearest = (same["density"] - row.asked).abs().argmin()
        found.append(same["val_accuracy"].iloc[nearest])
    return pd.Series(found)


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Compare schedules before growth and after extensive training, a number a seed."""
    names = schedules(frame)
    if len(names) < 2:
        return []
    found = []
    rough = frame[frame["stage"] == "before growth"]
    means = in_all(rough).groupby(["kind", "schedule", "seed"])["val_accuracy"].mean().reset_index()
    last = frame[frame["stage"] == "after extensive training"]
    for method in METHODS:
        short = style.named(method)[0].split(" ")[0]
        one, end = means[means["kind"] == method], last[last["kind"] == method]
        for earlier, later in pairwise(names):
            gap = difference(one, "val_accuracy", "schedule", later, earlier, ["seed"])
            if gap.pairs:
                found.append(
                    Finding(
                        f"{short}: longer rough training raises accuracy before growth "
                        f"({later} − {earlier}, mean over densities)",
                        gap.text(100, unit=" points"),
                        verdict(gap, 1),
                    )
                )
        for earlier in names[:-1]:
            text, gap = compared(end, earlier, names[-1], by="schedule")
            if gap.pairs:
                claim = f"{short}: early growth is as good as late after extensive training"
                found.append(as_good(f"{claim} ({earlier} − {names[-1]})", text, gap))
    return found


if __name__ == "__main__":
    print(main())
