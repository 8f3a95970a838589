"""Which runs at a fixed density are as long as growth to there, and which are as dear."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from curves import finals
from plans import RULES, VARIES, at_set_densities, kind
from study import Study
from style import HOLLOW

#: Part by which trainings may differ in length and count as equally long.
LENGTHS_APART = 0.001
#: Part by which trainings may differ in floating-point operations and count as equally dear.
COSTS_APART = 0.05


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
    kept = ~varies_in_length(runs) | longest.isna() | (as_long & (steps == most))
    return study.where(lambda table: kept)


def say_not_drawn(study: Study, drawn: Study) -> None:
    """Print how many of a study's runs at set densities have no match in what is drawn."""
    missing = len(at_set_densities(study).runs.index.difference(drawn.runs.index))
    if missing:
        print(f"trained longer or shorter than growth, so not drawn: {missing} runs")


def left_out(study: Study) -> str:
    """Return, for captions, that some runs lack growth's last rough training; nothing else.

    A study is what `matched` returns.
    """
    runs = study.runs
    density = runs["density"].astype(float)
    steps, _ = lengths(study)
    growing = runs["method"].isin(RULES)
    longest = density.map(steps[growing].groupby(density[growing]).min())
    short = varies_in_length(runs) & (steps < longest * (1 - LENGTHS_APART))
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
    """Return the runs at a fixed density that take about as many operations as PWMPR's growth.

    Of several of one method and seed, the one nearest to it.
    """
    study = at_set_densities(study)
    runs = study.runs
    density = runs["density"].astype(float)
    flops = (runs["cost"] * runs["dense_flops"]).astype(float)
    growing = runs["method"] == "pwmpr"
    apart = (flops / density.map(flops[growing].groupby(density[growing]).mean()) - 1).abs()
    dear = varies_in_length(runs) & (apart < COSTS_APART)
    alike = [density, kind(runs), runs["seed"]]
    kept = dear & (apart == apart.where(dear).groupby(alike).transform("min"))
    return study.where(lambda table: kept)


def long_and_dear(study: Study, dear: Collection[str]) -> tuple[Study, Study, pd.DataFrame]:
    """Return the runs as long as growth, those and the ones as dear, and how the latter ended.

    Runs as dear as growth, of the kinds in ``dear``, are called KIND-cost in the table, whose
    columns are those of `curves.finals`. A run may be both.
    """
    long, cheap = matched(study), equally_dear(study)
    cheap = cheap.where(lambda runs: kind(runs).isin(dear))
    both = study.where(lambda runs: runs.index.isin(long.runs.index.union(cheap.runs.index)))
    say_not_drawn(study, both)
    every = finals(both)
    first = every[every["run"].isin(long.runs.index)]
    second = every[every["run"].isin(cheap.runs.index)]
    second = second.assign(kind=second["kind"] + HOLLOW)
    return long, both, pd.concat([first, second], ignore_index=True)


def varies_in_length(runs: pd.DataFrame) -> pd.Series:
    """Return which runs are of methods whose length a figure chooses."""
    return runs["method"].map(lambda method: "epochs" in VARIES.get(method, ()))
