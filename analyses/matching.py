"""Which runs at a fixed density are as long as growth to there, and which are as dear."""

from __future__ import annotations

import pandas as pd
from plans import RULES, VARIES, at_set_densities, kind
from study import Study

#: Part by which trainings may differ in length and count as equally long.
LENGTHS_APART = 0.001
#: Part by which trainings may differ in floating-point operations and count as equally dear.
COSTS_APART = 0.02


def matched(study: Study) -> Study:
    """Return the runs at set densities: of those that vary in length, the ones as long as growth.

    Lengths are counted in optimiser steps, up to a thousandth: where one training is told in
    epochs and another in steps, they may differ by a part of an epoch. The rough training at
    growth's last density, which only the stop rule needs, may be missing (see `left_out`); of two
    runs of one seed the longer counts. At a density to which no run grows there is nothing to
    match, and all are kept.
    """
    study = at_set_densities(study)
    runs = study.runs
    density = runs["density"].astype(float)
    steps, last_rough = lengths(study)
    growing = runs["method"].isin(RULES)
    longest = density.map(steps[growing].groupby(density[growing]).max())
    least = density.map((steps - last_rough)[growing].groupby(density[growing]).min())
    as_long = steps.between(least * (1 - LENGTHS_APART), longest * (1 + LENGTHS_APART))
    alike = [density, kind(runs), runs["seed"], runs["growth_ratio"].map(repr)]
    most = steps.where(as_long).groupby(alike).transform("max")
    varies = runs["method"].map(lambda method: "epochs" in VARIES.get(method, ()))
    kept = ~varies | longest.isna() | (as_long & (steps == most))
    if not kept.all():
        print(f"trained longer or shorter than growth, so not drawn: {(~kept).sum()} runs")
    return study.where(lambda table: kept)


def left_out(study: Study) -> str:
    """Return, for captions, that some runs lack growth's last rough training; nothing else.

    A study is what `matched` returns.
    """
    runs = study.runs
    density = runs["density"].astype(float)
    steps, _ = lengths(study)
    growing = runs["method"].isin(RULES)
    varies = runs["method"].map(lambda method: "epochs" in VARIES.get(method, ()))
    longest = density.map(steps[growing].groupby(density[growing]).min())
    short = varies & (steps < longest * (1 - LENGTHS_APART))
    return ", its last rough training left out" if short.any() else ""


def lengths(study: Study) -> tuple[pd.Series, pd.Series]:
    """Return the optimiser steps of every run, and those of its last rough training."""
    history = study.history
    steps = history.groupby("run")["step"].max()
    rough = history[history["phase"] == "rough"].groupby(["run", "cycle"])["step"].max()
    ends = rough.groupby("run").tail(2)  # the end of the last, and of the one before
    begun = ends.groupby("run").min().where(ends.groupby("run").size() > 1, 0)
    last = (ends.groupby("run").max() - begun).reindex(study.runs.index, fill_value=0)
    return steps.reindex(study.runs.index), last


def equally_dear(study: Study) -> Study:
    """Return the static runs that take as many operations as growth to their density.

    Of several of one seed, the one nearest to it.
    """
    study = at_set_densities(study)
    runs = study.runs
    density = runs["density"].astype(float)
    flops = (runs["cost"] * runs["dense_flops"]).astype(float)
    growing = runs["method"] == "pwmpr"
    apart = (flops / density.map(flops[growing].groupby(density[growing]).mean()) - 1).abs()
    static = (runs["method"] == "static") & (apart < COSTS_APART)
    alike = [density, kind(runs), runs["seed"]]
    kept = static & (apart == apart.where(static).groupby(alike).transform("min"))
    return study.where(lambda table: kept)
