"""What the histories of runs say about accuracy, length and cost at each density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import style
from finding import Difference, deviation, mean_and_spread, table
from plans import RULES, kind
from present import stated
from study import Study


def ends(study: Study) -> pd.DataFrame:
    """Return a row a stage of training of every run: where it ended.

    ``run``, ``kind`` (see `plans.kind`), ``seed``, ``rough_epochs``, ``growth_ratio``, ``phase``
    ("rough", "extensive"), ``cycle``, ``density``, ``val_accuracy``, ``batches`` of this stage,
    ``batches_so_far``, ``epochs_so_far``, and ``cost`` so far, in dense trainings (see
    `dense_training`).
    """
    columns = ["method", "seed", "start", "rough_epochs", "growth_ratio"]
    history = study.history
    history = history.drop(columns=[c for c in columns if c in history]).join(
        study.runs[columns].assign(kind=kind(study.runs), one=dense_training(study.runs)), on="run"
    )
    last = history.groupby(["run", "cycle", "phase"], sort=False).tail(1).copy()
    last["batches_so_far"] = last["step"]
    last["epochs_so_far"] = last["epoch"]
    last["batches"] = last["step"] - last.groupby("run", sort=False)["step"].shift(fill_value=0)
    last["cost"] = last["flops"] / last["one"]
    last["growth_ratio"] = last["growth_ratio"].astype(float)
    last["seed"] = last["seed"].astype(int)
    names = [
        "run", "kind", "seed", "rough_epochs", "growth_ratio", "phase", "cycle", "density",
        "val_accuracy", "batches", "batches_so_far", "epochs_so_far", "cost",
    ]  # fmt: skip
    order = ["kind", "growth_ratio", "seed", "run", "cycle", "phase"]
    return last[names].sort_values(order, ascending=[True] * 5 + [False], ignore_index=True)


def dense_training(runs: pd.DataFrame) -> pd.Series:
    """Return what one dense training costs beside every run, in floating-point operations.

    A run's own ``dense_flops`` are those of a dense training of its length. Costs of runs of
    different lengths are told in the same unit, the shortest of these.
    """
    alike = [runs["network"], runs["data_name"]]
    return runs["dense_flops"].astype(float).groupby(alike).transform("min")


def longest(study: Study, by: tuple[str, ...] = ("method", "seed")) -> Study:
    """Return, of runs that differ in how far they grew alone, the one that grew farthest.

    It passes every density that the others end at. Runs that grow until a plateau end where it is,
    so they come last.
    """
    runs = study.runs.assign(order=study.runs["density"].map(lambda d: -1.0 if d is None else d))
    keys = [runs[name].map(repr) for name in by]
    last = runs.sort_values("order", kind="stable").groupby(keys).tail(1).index
    return study.where(lambda table: table.index.isin(last))


def before_growth(study: Study) -> pd.DataFrame:
    """Return the ends of rough training of the longest of all growing runs that are alike."""
    growing = study.where(lambda runs: kind(runs).isin(RULES))
    far = longest(growing, ("method", "seed", "rough_epochs", "growth_ratio"))
    table = ends(far)
    return table[table["phase"] == "rough"].drop(columns="phase").reset_index(drop=True)


def in_all(rough: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at densities that every run passed, so that means are over the same ones."""
    passed = rough.groupby("density")["run"].nunique()
    return rough[rough["density"].isin(passed[passed == rough["run"].nunique()].index)]


def finals(study: Study) -> pd.DataFrame:
    """Return a row a run, at the end of its training.

    As `ends`, and ``asked`` (the density asked for), ``accuracy`` (of the test data), ``cost``,
    ``epochs`` in all.
    """
    last = ends(study).groupby("run", sort=False).tail(1).set_index("run")
    runs = study.runs.loc[last.index]
    last["asked"] = runs["density"].astype(float)
    last["accuracy"] = runs["accuracy"].astype(float)
    last["cost"] = (runs["cost"] * runs["dense_flops"]).astype(float) / dense_training(runs)
    last["epochs"] = last["epochs_so_far"]
    return last.drop(columns=["phase", "batches", "epochs_so_far"]).reset_index()


def at_density(frame: pd.DataFrame, column: str, densities: list[float]) -> pd.Series:
    """Return ``column`` of one run at other densities, straight between points of log density."""
    ordered = frame.sort_values("density")
    values = np.interp(
        np.log(densities), np.log(ordered["density"]), ordered[column], left=np.nan, right=np.nan
    )
    return pd.Series(values, index=densities)


def shown(frame: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """Return, of kinds of runs in an order, those that a table has."""
    held = set(frame["kind"])
    return [name for name in order if name in held]


def compared(
    frame: pd.DataFrame, first: object, second: object, column: str = "accuracy", by: str = "kind"
) -> tuple[str, Difference]:
    """Compare two kinds of runs at the densities asked for.

    Runs of one seed hang together (initial weights, order, validation data), so the mean over the
    densities that all seeds have is the one number of a seed, and the pairs are seeds.

    Returns the difference in words, in points, over all and density by density.
    """
    sides = [
        frame[(frame[by] == side) & frame["asked"].notna()]
        .set_index(["asked", "seed"])[column]
        .astype(float)
        for side in (first, second)
    ]
    apart = (sides[0] - sides[1]).dropna()
    if apart.empty:
        return "", deviation(apart)
    seeds = apart.groupby("asked").size()
    held = seeds[seeds == seeds.max()].index
    balanced = apart[apart.index.get_level_values("asked").isin(held)]
    gap = deviation(balanced.groupby("seed").mean())
    each = ", ".join(
        f"{deviation(part).text(100)} at {stated(density)}"
        for density, part in apart.groupby("asked")
    )
    text = f"{gap.text(100, unit=' points')} over {gap.pairs} seed{'s' if gap.pairs > 1 else ''}"
    return f"{text} ({each})", gap


def summary(last: pd.DataFrame) -> str:
    """Return accuracy, epochs and cost of every kind of run at every density, as Markdown."""
    rows = []
    order = shown(last, list(style.METHODS))
    for asked, part in last.groupby("asked", dropna=False):
        for name in order:
            one = part[part["kind"] == name]
            if len(one):
                rows.append(
                    {
                        "density": "100%" if name == "dense" else stated(float(asked)),
                        "method": style.named(name)[0],
                        "seeds": one["seed"].nunique(),
                        "test accuracy (%)": mean_and_spread(one["accuracy"], 100),
                        "validation accuracy (%)": mean_and_spread(one["val_accuracy"], 100),
                        "epochs": mean_and_spread(one["epochs"], digits=0),
                        "cost (× dense)": mean_and_spread(one["cost"], digits=3),
                    }
                )
    return table(pd.DataFrame(rows))
