"""What has changed from one report to another, in sentences with the rule behind each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from topograph.inspection.kept import Kept
from topograph.inspection.verdicts import Verdict
from topograph.inspection.wording import count, number, patterns, percent

if TYPE_CHECKING:
    from topograph.inspection.report import Report


def mask_pairs(a: Report, b: Report) -> dict[str, tuple[Kept, Kept]]:
    """Return the masks of the parameters that layers of both use in the same shape."""
    used = set(a.layers["parameter"]) & set(b.layers["parameter"])
    return {
        name: (mask, b.masks[name])
        for name, mask in a.masks.items()
        if name in used and name in b.masks and mask.shape == b.masks[name].shape
    }


@dataclass(frozen=True)
class Facts:
    """What the sentences of a comparison are made of."""

    a: Report
    b: Report
    summary: pd.DataFrame
    layers: pd.DataFrame
    overlap: float
    chance: float
    same_tau: bool

    def verdicts(self) -> Iterator[Verdict]:
        """Say what has changed."""
        for part in (
            self._files,
            self._structure,
            self._density,
            self._masks,
            self._paths,
            self._concentration,
            self._dead,
            self._order,
        ):
            yield from part()

    def notes(self) -> Iterator[str]:
        """Say what could not be compared, and why."""
        if not self.same_tau:
            yield (
                f"τ is {self.a.summary['tau']:g} in A and {self.b.summary['tau']:g} in B: changes "
                "of τ-cores are left out; inspect both with the same tau"
            )
        for which, held in (("A", "A"), ("B", "B")):
            names = self.layers.loc[self.layers["in"] == held, "layer"]
            if len(names):
                yield f"only {which} has {count(len(names), 'layer')}: {patterns(names)}"
        both = self._both()
        other = both[both["shape_a"] != both["shape_b"]]
        if len(other):
            yield (
                f"{count(len(other), 'layer')} with weights of other shapes, whose masks and nodes "
                f"are not compared: {patterns(other['layer'])}"
            )
        silent = both[(both["shape_a"] == both["shape_b"]) & both["jaccard"].isna()]
        if len(silent):
            yield (
                f"the masks of {count(len(silent), 'layer')} are not known in both: "
                f"{patterns(silent['layer'])}"
            )
        if self.overlap < 1:
            yield (
                "weights and nodes are compared by position; of networks trained from different "
                "starts, topograph.graph_distance matches the nodes first"
            )

    def _both(self) -> pd.DataFrame:
        return self.layers[self.layers["in"] == "both"]

    def _files(self) -> Iterator[Verdict]:
        one, two = (report.provenance.get("sha256") for report in (self.a, self.b))
        if one and one == two:
            yield Verdict("Both files are the same, byte for byte.", "equal SHA-256 of the files")

    def _structure(self) -> Iterator[Verdict]:
        both = self._both()
        same = int((both["shape_a"] == both["shape_b"]).sum())
        rule = "layers go together by name"
        if same == len(self.layers):
            yield Verdict(f"Same structure: all {count(same, 'layer')} have equal shapes.", rule)
        else:
            only = [int((self.layers["in"] == which).sum()) for which in ("A", "B")]
            yield Verdict(
                f"Different structure: {count(same, 'layer')} of the same name and shape, "
                f"{len(both) - same:,} of another shape, {only[0]:,} only in A, {only[1]:,} only "
                "in B.",
                rule,
            )

    def _density(self) -> Iterator[Verdict]:
        whole = "all weights of the layers in the graph"
        yield from self._changed("density", "Density", percent, f"kept weights / {whole}")
        yield from self._changed(
            "effective_density",
            "Effective density",
            percent,
            f"kept weights on a path from an input to an output / {whole}",
        )

    def _changed(self, name: str, words: str, form: Any, rule: str) -> Iterator[Verdict]:
        row = self.summary.loc[name]
        if not (math.isfinite(row["a"]) and math.isfinite(row["b"])):
            return
        before, after = form(row["a"]), form(row["b"])
        if before == after:
            yield Verdict(f"{words}: {before} in both.", rule)
        else:
            verb = "rises" if row["b"] > row["a"] else "falls"
            yield Verdict(f"{words} {verb} from {before} to {after}.", rule)

    def _masks(self) -> Iterator[Verdict]:
        if math.isnan(self.overlap):
            return
        rule = "Jaccard overlap: weights kept in both / weights kept in either"
        if self.overlap == 1:
            yield Verdict("Both keep exactly the same weights.", rule)
            return
        pairs = mask_pairs(self.a, self.b).values()
        kept = [sum(pair[k].count for pair in pairs) for k in (0, 1)]
        both = sum(one.both(two) for one, two in pairs)
        for k, (few, many) in enumerate((("B", "A"), ("A", "B"))):
            if both == kept[1 - k]:
                yield Verdict(
                    f"{few} keeps only weights that {many} keeps: {both:,} of {kept[k]:,} "
                    f"({percent(both / kept[k])}).",
                    rule,
                )
                return
        yield Verdict(
            f"Of the weights that either keeps, {percent(self.overlap)} are kept in both; "
            f"independent masks of these densities would share {percent(self.chance)}.",
            rule,
        )
        known = self._both().dropna(subset=["jaccard"])
        if len(known) > 1:
            row = known.loc[known["jaccard"].idxmin()]
            yield Verdict(
                f"The least overlap is in {row['layer']}: {percent(row['jaccard'])} (by chance "
                f"{percent(row['jaccard_by_chance'])}).",
                rule,
            )

    def _paths(self) -> Iterator[Verdict]:
        yield from self._changed(
            "log10_paths",
            "log₁₀ of the total path weight",
            lambda value: number(value, 2),
            "the sum over all paths of the product of their weights' magnitudes",
        )

    def _concentration(self) -> Iterator[Verdict]:
        if not self.same_tau:
            return
        tau = percent(self.a.summary["tau"])
        rule = f"τ-core ratio: the part of a layer's nodes that hold {tau} of its paths"
        yield from self._changed("average_tau_core_ratio", "Average τ-core ratio", percent, rule)
        known = self._both().dropna(subset=["tau_core_ratio_change"])
        known = known[known["tau_core_ratio_change"] != 0]
        if len(known):
            row = known.loc[known["tau_core_ratio_change"].abs().idxmax()]
            yield Verdict(
                f"It changes most in {row['layer']}: {percent(row['tau_core_ratio_a'])} to "
                f"{percent(row['tau_core_ratio_b'])}.",
                rule,
            )

    def _dead(self) -> Iterator[Verdict]:
        row = self.summary.loc["dead"]
        rule = "dead: no chain of kept weights joins the node to both an input and an output"
        if not (row["a"] > 0 or row["b"] > 0):
            return
        text = f"Hidden nodes on no path: {row['a']:,.0f} in A, {row['b']:,.0f} in B"
        both = self._both()
        change = both["dead_change"]
        if len(both) and change.abs().max() > 0:
            most = both.loc[change.abs().idxmax()]
            text += (
                f"; the largest change is in {most['layer']}, {most['dead_a']:,.0f} to "
                f"{most['dead_b']:,.0f} of {most['nodes_b']:,.0f}"
            )
        yield Verdict(f"{text}.", rule)

    def _order(self) -> Iterator[Verdict]:
        words_of = {"share_correlation": "path shares", "degree_correlation": "degrees"}
        for column, words in words_of.items():
            known = self._both().dropna(subset=[column])
            if known.empty:
                continue
            low, middle = known.loc[known[column].idxmin()], known[column].median()
            yield Verdict(
                f"Order of the nodes by {words}: Kendall's τ-b {middle:.2f} (median of "
                f"{count(len(known), 'layer')}), lowest {low[column]:.2f} in {low['layer']}.",
                "τ-b within a layer: 1 the same order, 0 none in common, -1 reversed",
            )
