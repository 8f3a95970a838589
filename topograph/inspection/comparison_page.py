"""How a comparison looks as HTML: as a report does."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from topograph.inspection.charts import pair_svg
from topograph.inspection.page import facts, says, table, text
from topograph.inspection.style import SCOPE, document, style
from topograph.inspection.terminal import as_number
from topograph.inspection.wording import number, percent

if TYPE_CHECKING:
    from topograph.inspection.comparison import Comparison

_ROWS = 400
_PARTS = {"density", "effective_density", "tau_core_part", "average_tau_core_ratio", "tau"}


def fragment(comparison: Comparison) -> str:
    """Return the comparison as one HTML element with its style, for a notebook."""
    notes = "".join(f"<li>{text(note)}</li>" for note in comparison.notes)
    covered = (
        f'<div class="coverage"><p><b>Not compared, or with care.</b></p><ul>{notes}</ul></div>'
        if notes
        else ""
    )
    return "".join(
        [
            style(),
            f'<div class="{SCOPE}"><h1>Two networks compared</h1>',
            f'<p class="soft"><b>A</b> {text(comparison.title_a)}</p>',
            f'<p class="soft"><b>B</b> {text(comparison.title_b)}</p>',
            covered,
            "<h2>What has changed</h2>",
            says(comparison.verdicts),
            _charts(comparison.layers),
            "<h2>Numbers</h2>",
            _summary(comparison.summary),
            "<h2>Layers</h2>",
            _layers(comparison.layers),
            facts("Provenance of A", comparison.provenance_a),
            facts("Provenance of B", comparison.provenance_b),
            "</div>",
        ]
    )


def page(comparison: Comparison) -> str:
    """Return the comparison as a complete HTML document."""
    names = f"{comparison.title_a.partition(':')[0]} and {comparison.title_b.partition(':')[0]}"
    return document(f"{text(names)} compared – topograph", fragment(comparison))


def _charts(layers: pd.DataFrame) -> str:
    charts = []
    for name, label in (("density", "density"), ("tau_core_ratio", "τ-core ratio")):
        drawn = pair_svg(_values(layers, f"{name}_a"), _values(layers, f"{name}_b"), label)
        charts.append((f"{label}; dashed: A, full: B.", drawn))
    overlap, chance = _values(layers, "jaccard"), _values(layers, "jaccard_by_chance")
    charts.append(
        (
            "Overlap of the kept weights (Jaccard); dashed: what chance would give.",
            pair_svg(chance, overlap, "overlap", "by chance", "found"),
        )
    )
    figures = "".join(
        f"<figure>{svg}<figcaption>{escape(words[0].upper() + words[1:])}</figcaption></figure>"
        for words, svg in charts
        if svg
    )
    return f'<h2>Layer by layer</h2><div class="charts">{figures}</div>' if figures else ""


def _values(layers: pd.DataFrame, column: str) -> np.ndarray:
    return layers[column].to_numpy(dtype=np.float64)


def _summary(summary: pd.DataFrame) -> str:
    head = (("measure", ""), ("A", ""), ("B", ""), ("B − A", ""))
    rows = []
    for row in summary.itertuples():
        form = percent if row.measure in _PARTS else as_number
        rows.append(
            (text(row.measure.replace("_", " ")), form(row.a), form(row.b), as_number(row.change))
        )
    return table(head, rows, "Numbers: of the two networks, and their difference")


def _layers(layers: pd.DataFrame) -> str:
    head = (
        ("layer", ""), ("in", "A, B or both"), ("shape", "of the weight"),
        ("density A", ""), ("B", ""),
        ("overlap", "weights kept in both / in either"), ("by chance", "of independent masks"),
        ("effective A", "kept weights on a path / all weights"), ("B", ""),
        ("τ-core ratio A", ""), ("B", ""), ("dead A", "nodes on no path"), ("B", ""),
        ("share τ-b", "rank correlation of the nodes' path shares"),
        ("degree τ-b", "rank correlation of the nodes' degrees"),
    )  # fmt: skip
    rows = []
    for row in layers.head(_ROWS).rename(columns={"in": "held"}).itertuples():
        same = row.shape_a == row.shape_b
        shape = (
            row.shape_a if same else " → ".join(str(s or "–") for s in (row.shape_a, row.shape_b))
        )
        rows.append(
            (
                text(row.layer), row.held, text(shape),
                percent(row.density_a), percent(row.density_b),
                percent(row.jaccard), percent(row.jaccard_by_chance),
                percent(row.effective_density_a), percent(row.effective_density_b),
                percent(row.tau_core_ratio_a), percent(row.tau_core_ratio_b),
                as_number(row.dead_a), as_number(row.dead_b),
                number(row.share_correlation), number(row.degree_correlation),
            )
        )  # fmt: skip
    more = len(layers) - _ROWS
    note = (
        f'<p class="soft">and {more:,} more: comparison.layers has them all</p>' if more > 0 else ""
    )
    return table(head, rows, "Layers: those of the same name beside one another") + note
