"""What the numbers of a report say, as sentences with the numbers and the rule behind them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

#: A layer is called a bottleneck where so small a part of its nodes carries τ of its paths …
_NARROW = 0.25
#: … and that is so much below the average over layers.
_BELOW_AVERAGE = 0.6


def verdicts(summary: dict[str, Any], layers: pd.DataFrame) -> tuple[str, ...]:
    """Return the sentences that open a report, the most general first.

    Parameters
    ----------
    summary, layers
        As in :class:`topograph.inspection.measures.Measures`.
    """
    return tuple(
        sentence
        for sentence in (
            _density(summary),
            _concentration(summary),
            _bottleneck(summary, layers),
            _dead(summary, layers),
            _ends(summary),
            _shells(summary),
        )
        if sentence
    )


def _density(summary: dict[str, Any]) -> str:
    kept, weights = summary["kept"], summary["weights"]
    if kept == weights:
        return (
            f"Dense: all {weights:,} weights are kept, so degrees and shells only tell its widths; "
            "path shares still tell its weights."
        )
    text = f"Density {percent(summary['density'])}: {kept:,} of {weights:,} weights are kept"
    effective = summary["effective_density"]
    if effective < summary["density"] * (1 - 1e-12):
        lost = percent(1 - effective / summary["density"])
        return f"{text}; {lost} of these lie on no path from an input to an output."
    return f"{text}, and all of them lie on a path from an input to an output."


def _concentration(summary: dict[str, Any]) -> str:
    if not math.isfinite(summary["log10_paths"]):
        return "No path leads from the inputs to the outputs."
    if not summary["hidden_nodes"]:
        return ""
    return (
        f"{summary['tau_core']:,} of {summary['hidden_nodes']:,} hidden nodes "
        f"({percent(summary['tau_core_part'])}) carry {percent(summary['tau'])} of the path weight "
        f"(τ-core, rule mass); in a layer it takes {percent(summary['average_tau_core_ratio'])} of "
        "the nodes on average."
    )


def _bottleneck(summary: dict[str, Any], layers: pd.DataFrame) -> str:
    known = layers.drop_duplicates("group")
    known = known[(known["tau_core_ratio"] > 0) & (known["nodes"] > 1)]
    if len(known) < 2:
        return ""
    worst = known.loc[known["tau_core_ratio"].idxmin()]
    few = round(worst["tau_core_ratio"] * worst["nodes"])
    average = summary["average_tau_core_ratio"]
    narrow = worst["tau_core_ratio"] <= _NARROW and (
        worst["tau_core_ratio"] <= _BELOW_AVERAGE * average
    )
    start = "Bottleneck" if narrow else "Narrowest layer"
    return (
        f"{start}: {worst['group']}, where {few:,} of {worst['nodes']:,} nodes carry "
        f"{percent(summary['tau'])} of the paths"
        + (f", the largest alone {percent(worst['top_share'])}." if narrow else ".")
    )


def _dead(summary: dict[str, Any], layers: pd.DataFrame) -> str:
    if not summary["dead"]:
        return "" if summary["kept"] == summary["weights"] else "Every hidden node lies on a path."
    rows = layers.drop_duplicates("group").sort_values("dead", ascending=False, kind="stable")
    rows = rows[rows["dead"] > 0].head(3)
    where = ", ".join(f"{r.dead:,} of {r.nodes:,} in {r.group}" for r in rows.itertuples())
    noun = "node lies" if summary["dead"] == 1 else "nodes lie"
    text = f"{summary['dead']:,} hidden {noun} on no path" + (f": {where}" if where else "")
    if summary["isolated"]:
        verb = "has" if summary["isolated"] == 1 else "have"
        text += f"; {summary['isolated']:,} of these {verb} no connection at all"
    return f"{text}."


def _ends(summary: dict[str, Any]) -> str:
    parts = [
        f"{summary[f'dead_{what}s']:,} {what}{'' if summary[f'dead_{what}s'] == 1 else 's'}"
        for what in ("input", "output")
        if summary[f"dead_{what}s"]
    ]
    if not parts:
        return ""
    verb = "lies" if parts[0].startswith("1 ") and len(parts) == 1 else "lie"
    return f"{' and '.join(parts)} of the network {verb} on no path."


def _shells(summary: dict[str, Any]) -> str:
    if summary["kept"] == summary["weights"] or not summary["k_max"]:
        return ""
    return (
        f"Innermost shell: {summary['k_max_nodes']:,} of {summary['nodes']:,} nodes with at least "
        f"{summary['k_max']:,} connections each among themselves."
    )


def percent(value: float) -> str:
    """Return a part as a percentage of three significant digits.

    Examples
    --------
    >>> percent(0.0512), percent(1.0), percent(0.00031)
    ('5.12%', '100%', '0.031%')
    """
    if not math.isfinite(value):
        return "–"
    number = 100 * value
    if number and abs(number) < 0.001:
        return f"{number:.1g}%"
    digits = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    text = f"{number:.{min(digits, 3)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"
