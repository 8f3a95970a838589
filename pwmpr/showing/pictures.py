"""A picture of several runs: accuracy against epoch and against density, a legend below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pwmpr.showing.recorded import Recorded
from pwmpr.showing.side_by_side import labels
from pwmpr.showing.styles import COLOURS, DASHES, name_measure, quiet
from topograph.errors import TopographError
from topograph.picture import Picture

#: As many as colours and dashes tell apart.
MOST = len(COLOURS) * len(DASHES)


def runs_figure(runs: Sequence[Recorded]) -> Figure:
    """Return a picture of several runs, finished or not.

    Raises
    ------
    TopographError
        If there are more than can be told apart, no epoch of any is over, or some have an
        accuracy and others only a loss.
    """
    if len(runs) > MOST:
        raise TopographError(
            f"{len(runs)} runs in one picture; expected at most {MOST}, which can be told apart",
            "name fewer of their folders",
        )
    drawn = [run for run in runs if run.history]
    if not drawn:
        raise TopographError(
            "no epoch of any of these runs is over; expected at least one to draw",
            "wait for an epoch",
        )
    measures = {run.measure for run in drawn}
    if len(measures) > 1:
        raise TopographError(
            "some of these runs have an accuracy and some only a loss; expected one of both",
            "draw them apart",
        )
    measure = measures.pop()
    names = labels(drawn)
    wide = max(map(len, names)) > 40
    rows = math.ceil(len(drawn) / (1 if wide else 2))
    figure = Picture(figsize=(10, 4.2 + 0.22 * rows), layout="constrained")
    epochs, densities = figure.subplots(1, 2, sharey=True)
    for place, (run, name) in enumerate(zip(drawn, names, strict=True)):
        colour = COLOURS[place % len(COLOURS)]
        dashes = DASHES[place // len(COLOURS)]
        _draw(epochs, densities, run, measure, name, colour, dashes)
    epochs.set_xlabel("epoch")
    epochs.set_xlim(left=0)
    epochs.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    epochs.set_title("at the end of every epoch", fontsize=10, loc="left")
    densities.set_xlabel("density")
    densities.set_title("at the end of every stage", fontsize=10, loc="left")
    name_measure(epochs, measure)
    quiet(epochs, densities)
    handles, texts = epochs.get_legend_handles_labels()
    figure.legend(
        handles, texts, loc="outside lower center", ncols=1 if wide else 2, fontsize=9,
        frameon=False,
    )  # fmt: skip
    return figure


def _draw(
    epochs: Axes, densities: Axes, run: Recorded, measure: str, name: str, colour: str, dashes: str
) -> None:
    values = [math.nan if row.get(measure) is None else row[measure] for row in run.history]
    epochs.plot(
        [row["epoch"] for row in run.history], values, color=colour, ls=dashes, lw=1.4, label=name
    )
    shown = "accuracy" if measure == "val_accuracy" else "loss"
    stages = run.stages
    rough = [stage for stage in stages if stage.phase == "rough"]
    extensive = [stage for stage in stages if stage.phase == "extensive"]
    for some, marker, size in ((rough, "o", 4), (extensive, "D", 6)):
        densities.plot(
            [stage.density_to for stage in some], [getattr(stage, shown) for stage in some],
            color=colour, ls=dashes, lw=1.2, marker=marker, ms=size,
        )  # fmt: skip
