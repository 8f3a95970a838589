"""Pictures of one run: accuracy and density over the epochs, the plateau, and what it cost."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from pwmpr.showing.deviations import as_text
from pwmpr.showing.pictures import runs_figure
from pwmpr.showing.recorded import Recorded
from pwmpr.showing.styles import BLUE, GREY, ORANGE, RED, TINTS, name_measure, quiet
from pwmpr.showing.wording import density, flops, verdict
from topograph.errors import TopographError
from topograph.picture import Picture

ENDINGS = (".png", ".svg", ".pdf")


def save(runs: Sequence[Recorded], path: str | Path) -> None:
    """Draw a run, or several in one picture, into a file.

    Parameters
    ----------
    runs
        At least one.
    path
        Its ending says what it becomes: ``.png``, ``.svg``, ``.pdf``.

    Raises
    ------
    TopographError
        If the ending is another, the file cannot be written, or there is nothing to draw yet.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in ENDINGS:
        raise TopographError(
            f"the figure is to be {str(path)!r}; expected a name that ends in {', '.join(ENDINGS)}",
            f"write e.g. --figure {path.stem or 'run'}.png",
        )
    figure = run_figure(runs[0]) if len(runs) == 1 else runs_figure(runs)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise TopographError(
            f"{path} cannot be written ({error.strerror})", "name a folder that you may write to"
        ) from None


def run_figure(run: Recorded) -> Figure:
    """Return the picture of one run, finished or not.

    Parameters
    ----------
    run
        The run.

    Returns
    -------
    matplotlib.figure.Figure
        Accuracy against epoch with the phases shaded, density below it; accuracy against density
        with the plateau fit, where density changes between stages; FLOPs and seconds by phase.

    Raises
    ------
    TopographError
        If no epoch is over.
    """
    if not run.history:
        raise TopographError(
            f"the run in {run.path} is before its first epoch; expected at least one to draw",
            "wait for an epoch, or bring it on with pwmpr resume",
        )
    with_curve = len({stage.density_to for stage in run.stages}) > 1
    figure = Picture(figsize=(9, 8.2), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(3, 2))
    top, bottom = halves
    above, below = top.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    _over_epochs(above, below, run)
    where = bottom.subplots(1, 3 if with_curve else 2, width_ratios=(2, 1, 1)[-(2 + with_curve) :])
    if with_curve:
        _over_density(where[0], run)
    _cost(where[-2], where[-1], run)
    figure.suptitle(_title(run), fontsize=11)
    return figure


def _title(run: Recorded) -> str:
    settings = run.settings
    name = f"{settings['recipe']}, {settings['method']}, seed {as_text(settings['seed'])}"
    if run.result is None:
        return f"{name}: unfinished, at epoch {run.history[-1]['epoch']}"
    parts = [f"density {density(run.result['density'])}"]
    if run.result["accuracy"] is not None:
        parts.append(f"{run.result['accuracy']:.2%} on {run.result['accuracy_on']} data")
    parts.append(f"{run.result['cost']:.3g} × dense training")
    return f"{name}: " + ", ".join(parts)


def _over_epochs(above: Axes, below: Axes, run: Recorded) -> None:
    """Draw accuracy with the phases shaded, and under it the density as steps."""
    epochs = np.array([row["epoch"] for row in run.history])
    values = np.array([_value(row.get(run.measure)) for row in run.history])
    marker = "o" if len(epochs) <= 30 else None
    above.plot(epochs, values, color=BLUE, lw=1.5, marker=marker, ms=3)
    name_measure(above, run.measure)
    seen: set[str] = set()
    for phase in run.phases:
        for axes in (above, below):
            # Only the first of a kind has a label: the legend names a kind once.
            label = "_" if phase.name in seen or axes is below else f"{phase.name} training"
            tint = TINTS.get(phase.name, GREY)
            axes.axvspan(phase.begin, phase.end, color=tint, lw=0, label=label, zorder=0)
        seen.add(phase.name)
    edges = [stage.begin for stage in run.stages[1:]]
    if len(edges) <= 60:
        for edge in edges:
            above.axvline(edge, color=GREY, lw=0.6, zorder=1)
    above.legend(loc="lower right", frameon=True, framealpha=0.9, fontsize=9)
    # An epoch's density holds from the end of the epoch before it to its own end.
    densities = np.array([row["density"] for row in run.history])
    below.step(np.append(0, epochs), np.append(densities[0], densities), where="pre",
               color=ORANGE, lw=1.8)  # fmt: skip
    below.set_ylim(0, 1.12 * densities.max())
    below.set_ylabel("density")
    below.set_xlabel("epoch")
    below.set_xlim(0, 1.01 * epochs[-1])
    below.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    quiet(above, below)


def _over_density(axes: Axes, run: Recorded) -> None:
    """Draw what each stage came to against its density, and the plateau fit to rough training."""
    fit = run.stopping
    shown = "accuracy" if run.measure == "val_accuracy" else "loss"
    for phase, marker, colour in (("rough", "o", BLUE), ("extensive", "D", RED)):
        stages = [stage for stage in run.stages if stage.phase == phase]
        if not stages:
            continue
        for over, face in ((True, colour), (False, "none")):
            some = [stage for stage in stages if stage.over is over]
            if some:
                axes.plot(
                    [stage.density_to for stage in some],
                    [getattr(stage, shown) for stage in some],
                    ls="", marker=marker, ms=5, color=colour, mfc=face, zorder=3,
                    label=f"after {phase} training" if over else f"{phase}, not over",
                )  # fmt: skip
    low, high = axes.get_xlim()
    if fit is not None and fit.ok:
        points = [point for point, _ in run.points]
        # The fit is drawn where it was fitted, and on to an onset that is near.
        begin = min(points)
        near = begin <= fit.onset <= 1.5 * max(points)
        end = max(*points, fit.onset if near else 0.0)
        grid = np.linspace(begin, end, 200)
        axes.plot(grid, fit.predict(grid), color="black", lw=1.2, label=f"fit, R² {fit.r2:.2f}")
        if near or fit.onset >= max(0.0, low):
            label = f"onset {density(fit.onset)}"
            if low <= fit.onset <= 1.5 * high:
                axes.axvline(fit.onset, color="black", lw=1.2, ls="--", label=label)
    if fit is not None:
        stated: Any = run.settings.get("density")
        growing = not run.finished and all(phase.name == "rough" for phase in run.phases)
        text = verdict(fit, stated, finished=not growing)
        axes.set_title(textwrap.fill(text, 58), fontsize=9, loc="left")
    axes.legend(loc="best", fontsize=8, frameon=True, framealpha=0.9)
    axes.set_xlabel("density")
    name_measure(axes, run.measure)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    quiet(axes)


def _cost(nominal: Axes, measured: Axes, run: Recorded) -> None:
    """Draw the nominal and the measured cost by phase, each on an axis of its own."""
    phases, dense = run.phases, run.dense_flops
    names = [phase.name for phase in phases]
    places = np.arange(len(phases))
    colours = [BLUE if name == "rough" else RED for name in names]
    spent = [phase.flops for phase in phases]
    seconds = [phase.seconds for phase in phases]
    shown = [value / dense for value in spent] if dense else spent
    texts = [f"{value:.3g}" for value in shown] if dense else [flops(value) for value in spent]
    for axes, values, labels in (
        (nominal, shown, texts),
        (measured, seconds, [f"{value:.3g}" for value in seconds]),
    ):
        bars = axes.bar(places, values, width=0.6, color=colours)
        axes.bar_label(bars, labels, padding=2, fontsize=9)
        axes.set_xticks(places, names)
        axes.set_xlim(-1, len(phases))
        axes.set_ylim(0, 1.15 * max(*values, 1e-9))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        quiet(axes)
    nominal.set_title("nominal", fontsize=9, loc="left")
    measured.set_title("measured", fontsize=9, loc="left")
    nominal.set_ylabel("FLOPs / dense training's" if dense else "FLOPs")
    if not dense:
        nominal.yaxis.set_major_formatter(EngFormatter())
    measured.set_ylabel("seconds")


def _value(value: float | None) -> float:
    return math.nan if value is None else value
