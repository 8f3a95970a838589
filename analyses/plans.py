"""Which runs the figures of growth need, each run with the same settings in every figure.

A run's folder is named by its settings, so what two figures ask for alike is trained once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
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
    "static": ("density", "epochs", "start"),
    **dict.fromkeys(("rigl", "dsr", "snfs", "gse-grabo"), ("density", "epochs")),
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
    command: Command, names: Iterable[str], densities: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Return runs at fixed densities, each trained for as many epochs as growth takes to there."""
    return [
        {
            **command.common, **FIXED[name], **_moves(command, name), "density": density,
            "epochs": budget(command, density), "seed": seed,
        }
        for name in names
        for density in (command.densities if densities is None else densities)
        for seed in command.seeds
    ]  # fmt: skip


def upper(command: Command) -> tuple[float, ...]:
    """Return the densities without the least, for what is compared at few densities."""
    return command.densities[1:] or command.densities


def budget(command: Command, density: float) -> int | None:
    """Return the epochs that growth to a density takes; None where runs exist already.

    Raises
    ------
    SystemExit
        If the recipe counts its training in steps, or rough training has no fixed length.
    """
    if command.from_runs is not None:
        return None
    from pwmpr.running import resolve

    common = dict(command.common)
    settings = resolve(common.pop("recipe"), **common)
    epochs = epochs_of_growth(vars(settings), density)
    if epochs is None:
        raise SystemExit(
            f"{command.name} gives fixed densities as many epochs as growth takes; expected a "
            f"recipe with epochs and rough_epochs, not iterations={settings.iterations} and "
            f"rough_epochs={settings.rough_epochs}. Remedy: --set epochs=85 --set rough_epochs=10."
        )
    return epochs


def epochs_of_growth(settings: Mapping[str, Any], density: float) -> int | None:
    """Return the epochs before the last growth step and of the extensive training.

    Growth from ρ_init to ρ takes ⌈ln(ρ/ρ_init) / ln(1+γ)⌉ steps, each after one rough training.
    The rough training between the last step and the extensive training, which only the stop rule
    needs, is left out. None where rough training has no fixed length or the extensive one is
    counted in steps.
    """
    rough, extensive = settings["rough_epochs"], settings["epochs"]
    if isinstance(rough, str) or extensive is None:
        return None
    ratio = math.log(density / settings["start_density"]) / math.log(1 + settings["growth_ratio"])
    return int(rough * math.ceil(ratio - 1e-9) + extensive)


def at_set_densities(study: Study) -> Study:
    """Return a study without the growing runs that stopped by themselves."""
    return study.where(lambda runs: ~runs["method"].isin(RULES) | runs["density"].notna())


def matched(study: Study) -> Study:
    """Return the runs at set densities, all of them trained for as many epochs as growth takes.

    What counts is the epochs that the study's growing runs take, or those of its recipe.
    """
    from pwmpr.running import resolve

    study = at_set_densities(study)
    runs = study.runs
    growing = runs[runs["method"].isin(RULES)]
    settings = (
        dict(growing.iloc[0])
        if len(growing)
        else vars(resolve(runs["recipe"].iloc[0], data_dir=runs["data_dir"].iloc[0]))
    )

    def fits(method: str, density: float, epochs: object) -> bool:
        if "epochs" not in VARIES.get(method, ()):
            return True
        wanted = epochs_of_growth(settings, density)
        return wanted is None or epochs == wanted

    kept = [fits(*row) for row in runs[["method", "density", "epochs"]].itertuples(index=False)]
    if not all(kept):
        print(f"trained longer or shorter than growth, so not drawn: {kept.count(False)} runs")
    return study.where(lambda table: kept)


def kind(runs: pd.DataFrame) -> pd.Series:
    """Return by what name figures know each run: static training by its start masks."""
    return runs["method"].where(runs["method"] != "static", runs["start"])


def _moves(command: Command, name: str) -> dict[str, Any]:
    """Return what makes a method move weights at all where a training is short.

    GSE's 1,000 steps between moves are longer than the 60% of a digits training in which it moves.
    """
    short = name == "gse-grabo" and command.recipe == "digits"
    return {"update_every": "epoch"} if short else {}
