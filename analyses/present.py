"""What an analysis leaves: picture, numbers, settings, and what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import style
from command import Command
from finding import Finding, markdown
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from study import WHERE, Study, settings_of

import topograph as tg


def present(
    command: Command,
    frame: pd.DataFrame,
    figure: Figure,
    *,
    caption: str,
    study: Study | None = None,
    findings: Sequence[Finding] = (),
    tables: Sequence[str] = (),
    facts: dict[str, object] | None = None,
) -> Path:
    """Write everything an analysis leaves into its folder and return the picture's path.

    Parameters
    ----------
    command
        What was asked for.
    frame
        The numbers behind the figure, a row a point: ``NAME.csv``.
    figure
        ``NAME.png`` and ``NAME.svg``.
    caption
        What is drawn and how to read it; first paragraph of ``NAME.md``.
    study
        The runs behind it; their settings go into ``NAME.json``.
    findings, tables
        Claims with verdicts, and Markdown tables of the numbers: ``NAME.md``.
    facts
        More for ``NAME.json``: settings of the analysis itself.
    """
    out, name = command.out, command.name
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / f"{name}.csv", index=False)
    told = {"analysis": name, "topograph": tg.__version__, **(facts or {})}
    if study is not None:
        told |= settings(study)
    (out / f"{name}.json").write_text(json.dumps(told, indent=2, default=str) + "\n")
    parts = [caption, *tables]
    if study is not None:
        parts.append(training(study))
    if findings:
        parts.append(markdown(list(findings)))
    (out / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    path = style.save(figure, out, name)
    plt.close(figure)
    return path


def settings(study: Study) -> dict[str, object]:
    """Return what the runs of a study have in common, and in what they differ."""
    common: dict[str, object] = {}
    differing: dict[str, list[object]] = {}
    for name in settings_of(study.runs):
        values = {repr(value): value for value in study.runs[name]}
        if name in WHERE:
            continue
        if len(values) == 1:
            common[name] = next(iter(values.values()))
        else:
            differing[name] = sorted(values.values(), key=repr)
    return {
        "network": sorted(set(study.runs["network"])),
        "data": sorted(set(study.runs["data_name"])),
        "settings": common,
        "differing": differing,
        "runs": list(study.runs.index),
        "seconds": round(float(study.runs["seconds"].sum()), 1),
    }


def training(study: Study) -> str:
    """Say in a line what was trained and how long it took."""
    runs = study.runs
    seconds = runs["seconds"].astype(float)
    each = f"{seconds.min():.0f} to {seconds.max():.0f} s each"
    total = seconds.sum()
    together = f"{total:.0f} s" if total < 600 else f"{total / 60:.0f} min"
    seeds = ", ".join(map(str, sorted(set(runs["seed"]))))
    recipes = ", ".join(sorted(set(runs["recipe"])))
    plural = "s" if len(runs) > 1 else ""
    return (
        f"{study.what}; recipe {recipes}; {len(runs)} run{plural}, seeds {seeds}; {each} on one "
        f"core, {together} together."
    )


def percent(value: float, digits: int = 1) -> str:
    """Return a part of one in per cent."""
    return "–" if math.isnan(value) else f"{value * 100:.{digits}f}%"


def stated(value: float) -> str:
    """Return a part of one that somebody chose, such as a density, in per cent as they wrote it."""
    return "–" if math.isnan(value) else f"{value * 100:.6g}%"
