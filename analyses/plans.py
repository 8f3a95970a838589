"""Which runs the figures of growth need, each run with the same settings in every figure.

A run's folder is named by its settings, so what two figures ask for alike is trained once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from command import Command
from study import Study

if TYPE_CHECKING:
    from pwmpr.settings import Settings

#: The rules that grow a network at rising density (P, section 5).
RULES = ("pwmpr", "random", "gradient", "pwmp")
#: Methods at a fixed density with the settings that P or their own papers give them, by the name
#: that figures know them by. P moves 20% in RigL (appendix B).
FIXED: dict[str, dict[str, Any]] = {
    "rigl": {"method": "rigl", "update_fraction": 0.2},
    "phew": {"method": "static", "start": "phew"},
    "erk": {"method": "static", "start": "erk"},
    "dsr": {"method": "dsr"},
    "snfs": {"method": "snfs"},
    "gse-grabo": {"method": "gse-grabo"},
}
#: In what the runs of a method may differ within a figure, beside the seed.
VARIES = {
    **dict.fromkeys(RULES, ("density",)),
    "imp-c": ("density",),
    "static": ("density", "epochs", "iterations", "start"),
    **dict.fromkeys(("rigl", "dsr", "snfs", "gse-grabo"), ("density", "epochs", "iterations")),
}
#: Part by which trainings may differ in length and count as equally long.
LENGTHS_APART = 0.001


def grown(
    command: Command,
    methods: Iterable[str] = RULES,
    densities: Sequence[float | None] | None = None,
    seeds: Sequence[int] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Return runs that grow to each density; a density of None stops at the plateau."""
    return [
        {**command.common, **settings, "method": method, "density": density, "seed": seed}
        for method in methods
        for density in (command.densities if densities is None else densities)
        for seed in (command.seeds if seeds is None else seeds)
    ]


def stopped(command: Command, **settings: Any) -> list[dict[str, Any]]:
    """Return runs of PWMPR that find their own density."""
    return grown(command, ["pwmpr"], [None], **settings)


def dense(command: Command) -> list[dict[str, Any]]:
    """Return runs of the dense network."""
    return [{**command.common, "method": "dense", "seed": seed} for seed in command.seeds]


def pruned(command: Command) -> list[dict[str, Any]]:
    """Return runs of IMP-C from the dense network down to the second least density.

    A level costs a whole training, and below that IMP-C has long lost its accuracy.
    """
    return [
        {**command.common, "method": "imp-c", "density": min(upper(command)), "seed": seed}
        for seed in command.seeds
    ]


def fixed(
    command: Command, names: Iterable[str], densities: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Return runs at fixed densities, each trained for as long as growth takes to there."""
    chosen = command.densities if densities is None else densities
    lengths = {density: budget(command, density) for density in chosen}
    return [
        {
            **command.common, **FIXED[name], **_moves(command, name), "density": density,
            **lengths[density], "seed": seed,
        }
        for name in names
        for density in chosen
        for seed in command.seeds
    ]  # fmt: skip


def upper(command: Command) -> tuple[float, ...]:
    """Return the densities without the least, for what is compared at few densities."""
    return command.densities[1:] or command.densities


def budget(command: Command, density: float) -> dict[str, int | None]:
    """Return the setting that makes a training as long as growth to a density is.

    Growth from ρ_init to ρ takes ⌈ln(ρ/ρ_init) / ln(1+γ)⌉ steps, one rough training more than that,
    and the extensive one, in whose unit the length is told: ``epochs`` or ``iterations``. Both are
    None where runs exist already.

    Raises
    ------
    SystemExit
        If rough training has no fixed length.
    """
    if command.from_runs is not None:
        return {"epochs": None, "iterations": None}
    from pwmpr.running import resolve

    common = dict(command.common)
    settings = resolve(common.pop("recipe"), **common)
    if isinstance(settings.rough_epochs, str):
        raise SystemExit(
            f"{command.name} trains fixed densities as long as growth takes; expected rough "
            f"trainings of a fixed length, not rough_epochs={settings.rough_epochs}. Remedy: --set "
            "rough_epochs=10."
        )
    ratio = math.log(density / settings.start_density) / math.log(1 + settings.growth_ratio)
    rough = settings.rough_epochs * (max(0, math.ceil(ratio - 1e-9)) + 1)
    if settings.iterations is None:
        return {"epochs": rough + (settings.epochs or 0)}
    return {"iterations": rough * batches(settings) + settings.iterations}


def batches(settings: Settings) -> int:
    """Return the number of batches in an epoch of a recipe's training data."""
    from pwmpr.data.batches import number_of_batches
    from pwmpr.data.parts import prepare_parts

    train = prepare_parts(settings, None, None, None).train
    return number_of_batches(len(train), settings.batch)


def at_set_densities(study: Study) -> Study:
    """Return a study without the growing runs that stopped by themselves."""
    return study.where(lambda runs: ~runs["method"].isin(RULES) | runs["density"].notna())


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


def kind(runs: pd.DataFrame) -> pd.Series:
    """Return by what name figures know each run: static training by its start masks."""
    return runs["method"].where(runs["method"] != "static", runs["start"])


def _moves(command: Command, name: str) -> dict[str, Any]:
    """Return what makes a method move weights at all where a training is short.

    GSE's 1,000 steps between moves are longer than the 60% of a digits training in which it moves.
    """
    short = name == "gse-grabo" and command.recipe == "digits"
    return {"update_every": "epoch"} if short else {}
