"""Which runs the figures of growth need, each run with the same settings in every figure.

A run's folder is named by its settings, so what two figures ask for alike is trained once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
from budgets import Length, as_long
from command import Command
from study import Study

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
    command: Command,
    names: Iterable[str],
    densities: Sequence[float] | None = None,
    budget: Callable[[Command, float], Length] = as_long,
) -> list[dict[str, Any]]:
    """Return runs at fixed densities, each trained for as long as growth takes to there.

    ``budget`` says what is as long.
    """
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


def once(runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs without those that are there already: equal budgets may be one run."""
    told: list[dict[str, Any]] = []
    for run in runs:
        if run not in told:
            told.append(run)
    return told


def upper(command: Command) -> tuple[float, ...]:
    """Return the densities without the least, for what is compared at few densities."""
    return command.densities[1:] or command.densities


def at_set_densities(study: Study) -> Study:
    """Return a study without the growing runs that stopped by themselves."""
    return study.where(lambda runs: ~runs["method"].isin(RULES) | runs["density"].notna())


def kind(runs: pd.DataFrame) -> pd.Series:
    """Return by what name figures know each run: static training by its start masks."""
    return runs["method"].where(runs["method"] != "static", runs["start"])


def _moves(command: Command, name: str) -> dict[str, Any]:
    """Return what makes a method move weights at all where a training is short.

    GSE's 1,000 steps between moves are longer than the 60% of a digits training in which it moves.
    """
    short = name == "gse-grabo" and command.recipe == "digits"
    return {"update_every": "epoch"} if short else {}
