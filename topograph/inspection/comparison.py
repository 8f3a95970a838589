"""What changed from one network to another: numbers, layers, masks, the order of nodes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from topograph.change import rank_correlation
from topograph.inspection.differences import Facts, mask_pairs
from topograph.inspection.kept import Kept
from topograph.inspection.saving import as_json, said, save_as, write_csv, write_text
from topograph.inspection.verdicts import Verdict
from topograph.inspection.wording import clean

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from topograph.inspection.report import Report

#: What :meth:`Comparison.to_json` writes; counted up when a field changes its name or meaning.
SCHEMA = "topograph.comparison/1"

#: Columns of a report's layers that stand beside each other, as ``…_a``, ``…_b``, ``…_change``.
_MEASURES = (
    "kept",
    "density",
    "effective_density",
    "path_share",
    "nodes",
    "dead",
    "isolated",
    "tau_core_ratio",
    "top_share",
    "degree_mean",
    "k_shell_max",
)
_OF_TAU = {"tau_core", "tau_core_part", "average_tau_core_ratio", "tau_core_ratio"}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What :meth:`Report.diff` found: A is the report asked, B the other one.

    Attributes
    ----------
    title_a, title_b
        What was compared.
    verdicts
        What has changed, as sentences; ``verdict.rule`` is the rule behind each.
    notes
        What could not be compared, and why.
    summary
        A row a number of the reports' summaries: ``measure``, ``a``, ``b``, ``change`` (b - a).
    layers
        A row a layer of either: ``layer``, ``in`` (``"both"``, ``"A"``, ``"B"``), ``shape_a``,
        ``shape_b``; ``jaccard`` (weights kept in both / in either; NaN where shapes or names
        differ) and ``jaccard_by_chance`` (what two independent masks of the same densities
        would have); of the nodes that it leads to, where both have as many: ``share_correlation``
        and ``degree_correlation`` (Kendall's τ-b of their path shares and degrees) and
        ``path_overlap`` (part of the layer's path weight that lies on the same nodes, 0 to 1);
        and ``kept``, ``density``, ``effective_density``, ``path_share``, ``nodes``, ``dead``,
        ``isolated``, ``tau_core_ratio``, ``top_share``, ``degree_mean``, ``k_shell_max``, each as
        ``…_a``, ``…_b`` and ``…_change``.
    overlap, overlap_by_chance
        The Jaccard overlap over all weights that can be compared, and what chance would give.
    provenance_a, provenance_b
        Those of the reports.
    """

    title_a: str
    title_b: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    summary: pd.DataFrame
    layers: pd.DataFrame
    overlap: float
    overlap_by_chance: float
    provenance_a: Mapping[str, Any]
    provenance_b: Mapping[str, Any]

    def save(self, path: str | Path) -> Path:
        """Write the comparison to a file, whose suffix says in which form.

        Parameters
        ----------
        path
            ``.html``: all of it, self-contained. ``.json``: all of it. ``.csv``: the layers. An
            existing file is replaced.

        Raises
        ------
        TopographError
            For another suffix, or if the file cannot be written.
        """
        path = Path(path)
        return save_as(
            path,
            {
                ".html": lambda: write_text(path, self._page()),
                ".json": lambda: write_text(path, self.to_json()),
                ".csv": lambda: write_csv(path, self.layers),
            },
        )

    def to_json(self) -> str:
        """Return the comparison as JSON; numbers that do not exist are null."""
        return as_json(
            {
                "schema": SCHEMA,
                "title_a": self.title_a,
                "title_b": self.title_b,
                "verdicts": said(self.verdicts),
                "notes": self.notes,
                "overlap": self.overlap,
                "overlap_by_chance": self.overlap_by_chance,
                "summary": self.summary.to_dict("records"),
                "layers": self.layers.to_dict("records"),
                "provenance_a": self.provenance_a,
                "provenance_b": self.provenance_b,
            }
        )

    def _page(self) -> str:
        from topograph.inspection.comparison_page import page

        return page(self)

    def _repr_html_(self) -> str:
        from topograph.inspection.comparison_page import fragment

        return fragment(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from topograph.inspection.terminal import comparison_parts

        yield from comparison_parts(self)

    def __str__(self) -> str:
        lines = [f"A: {self.title_a}", f"B: {self.title_b}", *self.verdicts]
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join(textwrap.fill(clean(line), 110, subsequent_indent="  ") for line in lines)

    __repr__ = __str__


def compare(a: Report, b: Report) -> Comparison:
    """Compare two reports; see :meth:`topograph.inspection.Report.diff`."""
    same_tau = a.summary["tau"] == b.summary["tau"]
    layers = _layers(a, b, same_tau)
    summary = _summary(a, b, same_tau)
    overlap, chance = _overlap([(one, two) for one, two in mask_pairs(a, b).values()])
    facts = Facts(a, b, summary.set_index("measure"), layers, overlap, chance, same_tau)
    return Comparison(
        f"{a.title}: {a.subtitle}",
        f"{b.title}: {b.subtitle}",
        tuple(facts.verdicts()),
        tuple(facts.notes()),
        summary,
        layers,
        overlap,
        chance,
        a.provenance,
        b.provenance,
    )


def _overlap(pairs: list[tuple[Kept, Kept]]) -> tuple[float, float]:
    """Return the Jaccard overlap of masks, and its value for independent ones of their densities.

    Independent masks that keep p and q of n weights share p q / n of them on average.
    """
    if not pairs:
        return math.nan, math.nan
    kept = sum(one.count + two.count for one, two in pairs)
    both = sum(one.both(two) for one, two in pairs)
    expected = sum(one.count * two.count / one.size for one, two in pairs if one.size)
    if not kept:
        return 1.0, 1.0
    return both / (kept - both), expected / (kept - expected)


def _summary(a: Report, b: Report, same_tau: bool) -> pd.DataFrame:
    rows = []
    for name, one in a.summary.items():
        two = b.summary.get(name)
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (one, two)):
            change = two - one if same_tau or name not in _OF_TAU else math.nan
            rows.append({"measure": name, "a": one, "b": two, "change": change})
    return pd.DataFrame(rows, columns=["measure", "a", "b", "change"])


def _layers(a: Report, b: Report, same_tau: bool) -> pd.DataFrame:
    one, two = a.layers.set_index("layer"), b.layers.set_index("layer")
    # In A's order; what only B has comes after what it follows in B.
    names = list(one.index)
    for before, name in zip([None, *two.index], two.index, strict=False):
        if name not in one.index:
            names.insert(names.index(before) + 1 if before in names else len(names), name)
    masks = mask_pairs(a, b)
    groups = _by_group(a, b)
    rows = []
    for name in names:
        first = one.loc[name] if name in one.index else None
        second = two.loc[name] if name in two.index else None
        row: dict[str, Any] = {
            "layer": name,
            "in": "both"
            if first is not None and second is not None
            else "B"
            if first is None
            else "A",
            "shape_a": None if first is None else first["shape"],
            "shape_b": None if second is None else second["shape"],
        }
        pair = None
        if first is not None and second is not None and first["parameter"] == second["parameter"]:
            pair = masks.get(str(first["parameter"]))
        row["jaccard"], row["jaccard_by_chance"] = _overlap([pair] if pair else [])
        alike = first is not None and second is not None and first["group"] == second["group"]
        row |= groups.get(str(first["group"]) if alike and first is not None else "", _UNKNOWN)
        for measure in _MEASURES:
            before = math.nan if first is None else float(first[measure])
            after = math.nan if second is None else float(second[measure])
            change = after - before if same_tau or measure not in _OF_TAU else math.nan
            row |= {f"{measure}_a": before, f"{measure}_b": after, f"{measure}_change": change}
        rows.append(row)
    return pd.DataFrame(rows)


_UNKNOWN = dict.fromkeys(("share_correlation", "degree_correlation", "path_overlap"), math.nan)


def _by_group(a: Report, b: Report) -> dict[str, dict[str, float]]:
    """Return how alike the nodes are of every group that both have in the same size."""
    one = {str(name): part for name, part in a.nodes.groupby("group", observed=True)}
    two = {str(name): part for name, part in b.nodes.groupby("group", observed=True)}
    found = {}
    for name, first in one.items():
        second = two.get(name)
        if second is None or len(first) != len(second):
            continue
        shares = first["share"].to_numpy(), second["share"].to_numpy()
        totals = [share.sum() for share in shares]
        overlap = math.nan
        if min(totals) > 0:
            overlap = float(np.minimum(shares[0] / totals[0], shares[1] / totals[1]).sum())
        found[name] = {
            "share_correlation": rank_correlation(*shares)
            if np.isfinite(totals).all()
            else math.nan,
            "degree_correlation": rank_correlation(
                first["degree"].to_numpy(), second["degree"].to_numpy()
            ),
            "path_overlap": overlap,
        }
    return found
