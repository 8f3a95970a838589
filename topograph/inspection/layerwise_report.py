"""What a report looks like where no graph is known: the layers, one by one."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from torch import Tensor

from topograph.capturing.coverage import Coverage
from topograph.inspection.charts import degree_svg, shell_svg
from topograph.inspection.layerwise import measure_layers
from topograph.inspection.page import style
from topograph.inspection.report import Report
from topograph.inspection.verdicts import percent

#: How a user gives the network that weights belong to.
HOW = (
    'give the network: model=module, model="torchvision:resnet50", '
    'model="package.module:callable" (--model on the command line)'
)
_ROWS = 400


@dataclass(frozen=True, eq=False, repr=False)
class LayerwiseReport(Report):
    """A report on weights whose network is not known.

    It has all that a :class:`topograph.inspection.report.Report` has; ``graph`` is None, numbers
    that need one are NaN, and the nodes are the rows and columns of each weight. The layer frame
    has the columns ``rows``, ``columns``, ``isolated_rows`` and ``isolated_columns`` besides.
    """

    graph: None  # type: ignore[assignment]

    @property
    def coverage_lines(self) -> tuple[str, ...]:
        """That no graph is known, why, and how to give one."""
        count = self.coverage.total
        these = "this weight" if count == 1 else f"these {count:,} weights"
        first = f"No graph is known for {these}, so each is looked at alone; for paths, {HOW}."
        return (first, *(f"{note.rstrip('.')}." for note in self.coverage.notes))

    def _page(self) -> str:
        title = escape(f"{self.title} – topograph")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{title}</title><style>body{{margin:0}}@media(prefers-color-scheme:dark)"
            f"{{body{{background:#12171d}}}}</style></head><body>{self._repr_html_()}</body></html>"
        )

    def _repr_html_(self) -> str:
        first, *rest = self.coverage_lines
        items = "".join(f"<li>{escape(text)}</li>" for text in (*rest, *self.verdicts))
        charts = [
            (degree_svg(self.nodes), "Connections of a row or column: part with at least so many."),
            (shell_svg(self.nodes), "Rows and columns by their k-shell inside their layer."),
        ]
        figures = "".join(
            f"<figure>{svg}<figcaption>{text}</figcaption></figure>" for svg, text in charts if svg
        )
        about = "".join(
            f"<tr><td>{escape(str(key))}</td><td style='text-align:left;white-space:normal'>"
            f"<code>{escape(_text(value))}</code></td></tr>"
            for key, value in self.provenance.items()
        )
        return (
            f'{style()}<div class="tg"><h1>{escape(self.title)}</h1>'
            f'<p class="soft">{escape(self.subtitle)}</p>'
            f"<p><b>Coverage.</b> {escape(first)}</p><ul>{items}</ul>"
            f"<h2>Layers</h2>{_table(self.layers)}"
            f'<h2>Distributions</h2><div class="charts">{figures}</div>'
            f"<details><summary>Provenance</summary><table><tbody>{about}</tbody></table></details>"
            "</div>"
        )

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.subtitle}", *self.coverage_lines, *self.verdicts]
        wrapped = [textwrap.fill(line, 110, subsequent_indent="  ") for line in lines]
        shown = self.layers.loc[
            :,
            [
                "layer",
                "shape",
                "kept",
                "density",
                "isolated_rows",
                "isolated_columns",
                "degree_mean",
                "k_shell_max",
            ],
        ]
        if len(shown):
            wrapped.append(shown.head(12).to_string(index=False, float_format="{:.3g}".format))
        if len(shown) > 12:
            wrapped.append(f"… and {len(shown) - 12:,} more in report.layers")
        return "\n".join(wrapped)

    __repr__ = __str__


def layerwise_report(
    state: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    tau: float,
    title: str,
    provenance: dict[str, Any],
    remarks: tuple[str, ...] = (),
) -> LayerwiseReport:
    """Report on weights alone.

    Parameters
    ----------
    state, masks, tau
        As in :func:`topograph.inspection.layerwise.measure_layers`.
    title, provenance
        What they are called and where they come from.
    remarks
        What else a reader should know, sentences without a full stop.
    """
    found = measure_layers(state, masks, tau)
    summary = found.summary
    count = len(found.layers)
    return LayerwiseReport(
        title,
        f"{len(state):,} tensors, {summary['parameters']:,} parameters, no graph known",
        Coverage(0, count, notes=remarks),
        summary,
        found.layers,
        found.nodes,
        _verdicts(summary, found.layers, found.infinite),
        provenance,
        None,
    )


def _verdicts(summary: dict[str, Any], layers: pd.DataFrame, infinite: int) -> tuple[str, ...]:
    if layers.empty:
        return ("No tensor has two dimensions, so there are no connections to look at.",)
    kept, weights = summary["kept"], summary["weights"]
    sentences = []
    if kept == weights:
        sentences.append(f"Dense: all {weights:,} weights are kept.")
    else:
        least = layers.loc[layers["density"].idxmin()]
        sentences.append(
            f"Density {percent(summary['density'])}: {kept:,} of {weights:,} weights are kept; "
            f"least in {least['layer']}, {percent(least['density'])}."
        )
    alone = layers[layers["isolated"] > 0].sort_values("isolated", ascending=False, kind="stable")
    if len(alone):
        where = ", ".join(
            f"{r.isolated_rows:,} of {r.rows:,} rows and {r.isolated_columns:,} of {r.columns:,} "
            f"columns of {r.layer}"
            for r in alone.head(3).itertuples()
        )
        sentences.append(
            f"{summary['isolated']:,} rows and columns have no connection at all: {where}"
            + (f" and {len(alone) - 3} layers more." if len(alone) > 3 else ".")
        )
    if infinite:
        sentences.append(f"{infinite:,} weights are NaN or infinite.")
    return tuple(sentences)


def _table(layers: pd.DataFrame) -> str:
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            "layer", "shape", "kept", "density", "rows", "isolated", "columns", "isolated",
            "mean degree", "innermost shell",
        )
    )  # fmt: skip
    rows = "".join(
        f"<tr><td>{escape(r.layer)}</td><td>{escape(r.shape)}</td><td>{r.kept:,}</td>"
        f"<td>{percent(r.density)}<i class='bar' style='--part:{100 * r.density:.1f}%'></i></td>"
        f"<td>{r.rows:,}</td><td>{r.isolated_rows or ''}</td><td>{r.columns:,}</td>"
        f"<td>{r.isolated_columns or ''}</td><td>{r.degree_mean:,.1f}</td>"
        f"<td>{'' if r.k_shell_max < 0 else f'{r.k_shell_max:,}'}</td></tr>"
        for r in layers.head(_ROWS).itertuples()
    )
    more = len(layers) - _ROWS
    note = f'<p class="soft">and {more:,} more: report.layers has them all</p>' if more > 0 else ""
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f'</div>{note}<p class="soft">Rows: the first dimension of a weight, what it leads to in '
        "PyTorch's layers; columns: the second, where it comes from. A kernel's taps are one "
        "connection. Shells are those inside the layer.</p>"
    )


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    return str(value)
