"""What the numbers of a report say, as sentences with the numbers and the rule behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from topograph.inspection.wording import count, percent

#: A layer is called a bottleneck where so small a part of its nodes carries τ of its paths …
NARROW = 0.25
#: … and that is so much below the average over layers.
BELOW_AVERAGE = 0.6
#: So many layers are named in sentences of their own; the others are counted.
_NAMED = 3


class Verdict(str):
    """A sentence that says what was found, and the rule by which it was.

    A string, so that it prints, joins and compares as its sentence.

    Attributes
    ----------
    rule
        What makes the sentence true, in words.
    """

    rule: str

    def __new__(cls, sentence: str, rule: str = "") -> Verdict:
        """Return the sentence, with its rule."""
        made = super().__new__(cls, sentence)
        made.rule = rule
        return made


def verdicts(summary: dict[str, Any], layers: pd.DataFrame) -> tuple[Verdict, ...]:
    """Return the sentences that open a report, the most general first.

    Parameters
    ----------
    summary, layers
        As in :class:`topograph.inspection.measures.Measures`. What is NaN is not spoken of.
    """
    return tuple(
        verdict
        for part in (_density, _spread, _cut, _concentration, _bottleneck, _dead, _ends, _shells)
        for verdict in part(summary, layers)
    )


def _density(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    kept, weights = summary["kept"], summary["weights"]
    rule = "density = kept weights / all weights of the layers in the graph"
    if kept == weights:
        yield Verdict(
            f"Dense: all {weights:,} weights are kept, so degrees and shells only tell its widths; "
            "path shares still tell its weights.",
            rule,
        )
        return
    text = f"Density {percent(summary['density'])}: {kept:,} of {weights:,} weights are kept"
    effective = summary["effective_density"]
    rule += "; a weight lies on a path if kept weights join it to an input and to an output"
    if effective < summary["density"] * (1 - 1e-12):
        lost = percent(1 - effective / summary["density"])
        yield Verdict(f"{text}; {lost} of these lie on no path from an input to an output.", rule)
    elif math.isfinite(effective):
        yield Verdict(f"{text}, and all of them lie on a path from an input to an output.", rule)
    else:
        yield Verdict(f"{text}.", rule)


def _spread(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    known = layers[layers["density"].notna()]
    if summary["kept"] == summary["weights"] or len(known) < 2:
        return
    low, high = known.loc[known["density"].idxmin()], known.loc[known["density"].idxmax()]
    if 0 < low["density"] < 0.9 * high["density"]:
        yield Verdict(
            f"The sparsest layer, {low['layer']}, keeps {percent(low['density'])} of its weights, "
            f"the densest, {high['layer']}, {percent(high['density'])}.",
            "density of every layer by itself",
        )


def _cut(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    """Name the layers without any weight: the first thing to know about a network without paths."""
    for row in layers[(layers["kept"] == 0) & (layers["weights"] > 0)].head(_NAMED).itertuples():
        yield Verdict(
            f"{row.layer} keeps none of its {row.weights:,} weights: nothing leads through it.",
            "a layer whose every weight is masked or exactly 0",
        )
    if summary["log10_paths"] == -math.inf:
        rule = "the sum over all input-to-output paths of the product of their weights' magnitudes"
        if summary["effective_density"] > 0:
            yield Verdict("Every path from an input to an output runs over a weight of 0.", rule)
        else:
            yield Verdict("No path leads from the inputs to the outputs.", rule)


def _concentration(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    if not math.isfinite(summary["log10_paths"]) or not summary["hidden_nodes"]:
        return
    yield Verdict(
        f"{summary['tau_core']:,} of {summary['hidden_nodes']:,} hidden nodes "
        f"({percent(summary['tau_core_part'])}) carry {percent(summary['tau'])} of the path "
        f"weight; in a layer it takes {percent(summary['average_tau_core_ratio'])} of the nodes "
        "on average.",
        "τ-core, rule mass: the fewest nodes whose path weights add up to "
        f"{percent(summary['tau'])} of the sum over all hidden nodes",
    )


def bottlenecks(summary: dict[str, Any], layers: pd.DataFrame) -> pd.DataFrame:
    """Return a row a group that is a bottleneck, the narrowest first; see the rule's numbers."""
    known = _by_ratio(layers)
    ratio = known["tau_core_ratio"]
    average = BELOW_AVERAGE * summary["average_tau_core_ratio"]
    return known[(ratio <= NARROW) & (ratio <= average)]


def _by_ratio(layers: pd.DataFrame) -> pd.DataFrame:
    known = layers.drop_duplicates("group")
    known = known[(known["tau_core_ratio"] > 0) & (known["nodes"] > 1)]
    return known.sort_values("tau_core_ratio", kind="stable")


def _bottleneck(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    known = _by_ratio(layers)
    if len(known) < 2:
        return
    tau = percent(summary["tau"])
    rule = (
        f"a bottleneck: at most {percent(NARROW)} of the nodes carry {tau} of the layer's paths, "
        f"and at most {BELOW_AVERAGE} times the average over layers"
    )
    found = bottlenecks(summary, layers)
    for row in found.head(_NAMED).itertuples():
        few = round(row.tau_core_ratio * row.nodes)
        yield Verdict(
            f"Bottleneck: {row.group}, where {few:,} of {row.nodes:,} nodes carry {tau} of the "
            f"paths, the largest alone {percent(row.top_share)}.",
            rule,
        )
    if len(found) > _NAMED:
        yield Verdict(f"{count(len(found) - _NAMED, 'more layer')} are bottlenecks too.", rule)
    if found.empty:
        row = next(known.head(1).itertuples())
        yield Verdict(
            f"No bottleneck: the narrowest layer, {row.group}, still spreads {tau} of the paths "
            f"over {round(row.tau_core_ratio * row.nodes):,} of {row.nodes:,} nodes.",
            rule,
        )


def _dead(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    rule = (
        "dead: no chain of kept weights joins the node to both an input and an output, whatever "
        "the weights' values; isolated: no kept weight at all, in or out (an identity may still "
        "carry paths through it)"
    )
    alone = count(summary["isolated"], "hidden node")
    alone = f"{alone} {'has' if summary['isolated'] == 1 else 'have'} no connection at all"
    if not summary["dead"]:
        if summary["kept"] != summary["weights"]:
            yield Verdict("Every hidden node lies on a path.", rule)
        if summary["isolated"]:
            yield Verdict(f"{alone}, only identities.", rule)
        return
    if summary["dead"] == summary["hidden_nodes"] > 1:
        yield Verdict(f"None of the {summary['dead']:,} hidden nodes lies on a path.", rule)
        return
    text = count(summary["dead"], "hidden node")
    text = f"{text} {'lies' if summary['dead'] == 1 else 'lie'} on no path"
    if summary["isolated"]:
        text += f"; {alone}"
    yield Verdict(f"{text}.", rule)
    rows = layers.drop_duplicates("group").sort_values("dead", ascending=False, kind="stable")
    rows = rows[rows["dead"] > 0]
    for row in rows.head(_NAMED).itertuples():
        noun = _NOUNS.get(row.kind, "nodes")
        verb = "lies" if row.dead == 1 else "lie"
        yield Verdict(f"{row.group}: {row.dead:,} of {row.nodes:,} {noun} {verb} on no path.", rule)
    if len(rows) > _NAMED:
        more = rows.iloc[_NAMED:]
        verb = "has" if len(more) == 1 else "have"
        yield Verdict(
            f"{count(len(more), 'more layer')} {verb} {more['dead'].sum():,} dead nodes together.",
            rule,
        )


_NOUNS = {"conv": "channels", "conv_transpose": "channels", "linear": "neurons"}


def _ends(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    parts = [
        count(summary[f"dead_{what}s"], what)
        for what in ("input", "output")
        if summary[f"dead_{what}s"]
    ]
    if parts:
        verb = "lies" if parts[0].startswith("1 ") and len(parts) == 1 else "lie"
        yield Verdict(
            f"{' and '.join(parts)} of the network {verb} on no path.",
            "an input that reaches no output, an output that no input reaches",
        )


def _shells(summary: dict[str, Any], layers: pd.DataFrame) -> Iterator[Verdict]:
    if summary["kept"] == summary["weights"] or not summary["k_max"] > 0:
        return
    yield Verdict(
        f"Innermost shell: {summary['k_max_nodes']:,} of {summary['nodes']:,} nodes with at least "
        f"{summary['k_max']:,} connections each among themselves.",
        "k-shell: nodes of fewer than k connections are taken away until none is left; the last k "
        "that leaves any",
    )
