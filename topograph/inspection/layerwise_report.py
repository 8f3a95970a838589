"""What a report looks like where no graph is known: the layers, one by one."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from topograph.capturing.coverage import Coverage
from topograph.errors import TopographError
from topograph.inspection.charts import degree_svg, shell_svg
from topograph.inspection.layerwise import measure_layers
from topograph.inspection.page import bar, facts, law, says, table, text
from topograph.inspection.report import Report
from topograph.inspection.style import SCOPE, document, style
from topograph.inspection.verdicts import Verdict
from topograph.inspection.wording import clean, percent

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from topograph.inspection.comparison import Comparison

#: How a user gives the network that weights belong to.
HOW = (
    'give the network: model=module, model="torchvision:resnet50", '
    'model="package.module:callable" (--model on the command line)'
)
_ROWS = 400
_COLUMNS = (
    "layer",
    "shape",
    "kept",
    "density",
    "isolated_rows",
    "isolated_columns",
    "degree_mean",
    "k_shell_max",
)


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

    def diff(self, other: Report) -> Comparison:
        """Refuse: nodes of layers that are looked at one by one have no place in a network."""
        raise TopographError(
            "the network of these weights is not known, so there are no paths and nodes to compare",
            HOW,
        )

    def _page(self) -> str:
        return document(f"{text(self.title)} – topograph", self._repr_html_())

    def _repr_html_(self) -> str:
        first, *rest = map(text, self.coverage_lines)
        items = "".join(f"<li>{line}</li>" for line in rest)
        charts = [
            (
                degree_svg(self.nodes, self.degree_fit),
                "Connections of a row or column: part with at least so many. "
                + law(self.degree_fit),
            ),
            (shell_svg(self.nodes), "Rows and columns by their k-shell inside their layer."),
        ]
        figures = "".join(
            f"<figure>{svg}<figcaption>{text(words)}</figcaption></figure>"
            for svg, words in charts
            if svg
        )
        return (
            f'{style()}<div class="{SCOPE}"><h1>{text(self.title)}</h1>'
            f'<p class="soft">{text(self.subtitle)}</p>'
            f'<div class="coverage"><p><b>Coverage.</b> {first}</p>'
            + (f"<ul>{items}</ul>" if items else "")
            + f"</div><h2>What stands out</h2>{says(self.verdicts)}"
            f"<h2>Layers</h2>{_table(self.layers)}"
            + (f'<h2>Distributions</h2><div class="charts">{figures}</div>' if figures else "")
            + f"{facts('Provenance', self.provenance)}</div>"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield from (Text(clean(line)) for line in self._sentences())
        yield Text(self._shown(), no_wrap=True, overflow="ellipsis")

    def __str__(self) -> str:
        lines = (textwrap.fill(clean(x), 110, subsequent_indent="  ") for x in self._sentences())
        return "\n".join(filter(None, [*lines, self._shown()]))

    def _sentences(self) -> tuple[str, ...]:
        return (f"{self.title}: {self.subtitle}", *self.coverage_lines, *self.verdicts)

    def _shown(self, most: int = 12) -> str:
        """Return the first layers as text in columns."""
        if self.layers.empty:
            return ""
        frame = self.layers.loc[:, list(_COLUMNS)].head(most)
        frame = frame.assign(layer=frame["layer"].map(clean))
        more = len(self.layers) - most
        shown = frame.to_string(index=False, float_format="{:.3g}".format)
        return shown + (f"\n… and {more:,} more in report.layers" if more > 0 else "")

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
        found.masks,
    )


def _verdicts(summary: dict[str, Any], layers: pd.DataFrame, infinite: int) -> tuple[Verdict, ...]:
    if layers.empty:
        return (Verdict("No tensor has two dimensions, so there are no connections to look at."),)
    kept, weights = summary["kept"], summary["weights"]
    rule = "density = kept weights / all weights of matrices and kernels"
    found = []
    if kept == weights:
        found.append(Verdict(f"Dense: all {weights:,} weights are kept.", rule))
    else:
        least = layers.loc[layers["density"].idxmin()]
        found.append(
            Verdict(
                f"Density {percent(summary['density'])}: {kept:,} of {weights:,} weights are kept; "
                f"least in {least['layer']}, {percent(least['density'])}.",
                rule,
            )
        )
    alone = layers[layers["isolated"] > 0].sort_values("isolated", ascending=False, kind="stable")
    if len(alone):
        where = ", ".join(
            f"{r.isolated_rows:,} of {r.rows:,} rows and {r.isolated_columns:,} of {r.columns:,} "
            f"columns of {r.layer}"
            for r in alone.head(3).itertuples()
        )
        more = f" and {len(alone) - 3} layers more" if len(alone) > 3 else ""
        count = f"{summary['isolated']:,} rows and columns"
        found.append(
            Verdict(
                f"{count} have no connection at all: {where}{more}.",
                "a row or column of a weight without a kept entry",
            )
        )
    if infinite:
        rule = "weights that are no finite number"
        found.append(Verdict(f"{infinite:,} weights are NaN or infinite.", rule))
    return tuple(found)


_HEAD = (
    ("layer", ""),
    ("shape", "of the weight"),
    ("weights kept", "weights that are neither masked nor exactly 0"),
    ("density", "kept / all weights"),
    ("rows (isolated)", "the first dimension: what the layer leads to"),
    ("columns (isolated)", "the second dimension: where it comes from"),
    ("mean degree", "connections of a row or column"),
    ("innermost shell", "k-shell inside the layer"),
)


def _table(layers: pd.DataFrame) -> str:
    rows = [
        [
            text(r.layer),
            text(r.shape),
            f"{r.kept:,}",
            bar(r.density),
            f"{r.rows:,}" + (f" ({r.isolated_rows:,})" if r.isolated_rows else ""),
            f"{r.columns:,}" + (f" ({r.isolated_columns:,})" if r.isolated_columns else ""),
            f"{r.degree_mean:,.1f}",
            "" if r.k_shell_max < 0 else f"{r.k_shell_max:,}",
        ]
        for r in layers.head(_ROWS).itertuples()
    ]
    more = len(layers) - _ROWS
    note = f"; {more:,} more in report.layers" if more > 0 else ""
    caption = (
        "Layers one by one: rows are the first dimension of a weight, what it leads to in "
        f"PyTorch's layers, columns the second. A kernel's taps are one connection{note}"
    )
    return table(_HEAD, rows, caption)
