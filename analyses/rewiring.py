"""S's runs: one network rewired by three regrow rules, and its nodes over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import style
from command import Command, parse
from finding import Finding, difference, verdict
from study import Study, gather

RECIPE = "digits-survival"
SEEDS = (0, 1, 2, 3, 4)
METHODS = tuple(style.REGROW)
RANDOM, *OTHERS = METHODS
#: Parts of training at which S draws distributions, beside the start and the first updates.
PARTS = (0.25, 0.5, 0.75, 1.0)


def asked(
    name: str,
    text: str,
    argv: list[str] | None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    densities: Sequence[float] = (),
) -> Command:
    """Read the command line of an analysis of S's runs.

    An analysis without ``densities`` of its own shows networks of one: the recipe's, or the one
    that ``--densities`` names.
    """
    command = parse(
        name, text, argv, recipe=RECIPE, seeds=SEEDS, densities=densities, options=options
    )
    if densities or not command.densities:
        return command
    if len(command.densities) > 1:
        raise SystemExit(
            f"--densities names {len(command.densities)} densities; {name} shows networks of one. "
            "Remedy: call it once a density, each with --out."
        )
    return replace(command, settings={**command.settings, "density": command.densities[0]})


def plan(command: Command) -> list[dict[str, object]]:
    """Return one run a regrow rule and seed, in the setting of the recipe."""
    return [{**command.common, "method": m, "seed": s} for m in METHODS for s in command.seeds]


def rewired(command: Command) -> Study:
    """Return the runs of the three regrow rules."""
    return gather(command, plan(command), varies=())


def nodes(study: Study) -> pd.DataFrame:
    """Return a row a node of every snapshot looked at, with ``degree``, ``rule``, ``epochs``."""
    table = study.nodes
    return timed(study, table.assign(degree=table["in_degree"] + table["out_degree"]))


def hidden(study: Study) -> pd.DataFrame:
    """Return of :func:`nodes` the hidden ones."""
    table = nodes(study)
    return table[table["hidden"]]


def snapshots(study: Study) -> pd.DataFrame:
    """Return a row a snapshot, with ``rule`` and ``epochs``."""
    return timed(study, study.snapshots)


def timed(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Put beside every row its rule's name in style.py and the epochs that had passed."""
    ends = study.history.groupby("run")[["epoch", "step"]].max()
    steps = table["run"].map(ends["step"] / ends["epoch"])
    return table.assign(rule=table["method"].map(style.REGROW), epochs=table["step"] / steps)


def moments(table: pd.DataFrame) -> dict[int, str]:
    """Return the snapshots at which distributions are drawn: number -> when that was.

    The start, the first updates, and the quarters of training; of those that were looked at, the
    nearest.
    """
    looked = sorted(table["snapshot"].unique())
    epochs = table.groupby("snapshot")["epochs"].mean()
    wanted = [0, min(2, looked[-1]), *(part * looked[-1] for part in PARTS)]
    chosen = {min(looked, key=lambda at, to=to: abs(at - to)) for to in wanted}
    told = {}
    for at in sorted(chosen):
        if at == 0:
            told[at] = "start"
        elif at == looked[-1]:
            told[at] = "end"
        elif at <= 2:
            told[at] = f"{at} update{'s' if at > 1 else ''} (epoch {epochs[at]:.2g})"
        else:
            told[at] = f"epoch {epochs[at]:.0f}"
    return told


def first_and_last(table: pd.DataFrame) -> dict[str, int]:
    """Return two snapshots, after the first updates and at the end, by what they are called."""
    told = list(moments(table))
    if len(told) < 3:
        return {"at the end": told[-1]}
    return {f"after {told[1]} updates": told[1], "at the end": told[-1]}


def against_random(
    frame: pd.DataFrame,
    column: str,
    claim: str,
    expected: int,
    *,
    scale: float = 1.0,
    digits: int = 2,
    unit: str = "",
    gap_unit: str | None = None,
) -> list[Finding]:
    """Compare gradient and momentum regrowth with random regrowth, paired by seed.

    Parameters
    ----------
    frame
        A row a run, with ``method``, ``seed`` and ``column``.
    claim
        With ``{rule}`` where the rule's name belongs.
    expected
        Sign of rule minus random by the claim; 0: no difference.
    unit, gap_unit
        What follows values, and what follows differences where that is something else.
    """
    means = frame.groupby("method")[column].mean() * scale
    found = []
    for method in OTHERS:
        if method not in means.index or RANDOM not in means.index:
            continue
        gap = difference(frame, column, "method", method, RANDOM, ["seed"])
        text = (
            f"{means[method]:.{digits}f} against {means[RANDOM]:.{digits}f}{unit}, difference "
            f"{gap.text(scale, digits, unit if gap_unit is None else gap_unit)}"
        )
        found.append(Finding(claim.format(rule=short(method)), text, verdict(gap, expected)))
    return found


def there(frame: pd.DataFrame) -> list[str]:
    """Return the presets of which there are runs, in one order."""
    return [method for method in METHODS if (frame["method"] == method).any()]


def short(method: str) -> str:
    """Return a regrow rule's name in a word: random, gradient, momentum."""
    return style.named(style.REGROW[method])[0].split(" ")[0]
