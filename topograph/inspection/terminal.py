"""How a report and a comparison look on a terminal: tables as wide as it is, in its colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from topograph.inspection.wording import clean, count, number, percent

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from topograph.inspection.comparison import Comparison
    from topograph.inspection.report import Report
    from topograph.inspection.verdicts import Verdict

_COVERAGE = 4  # lines
_WIDE = 110  # columns of what is not written to a terminal


def console(**options: Any) -> Console:
    """Return a console for standard output: in colour on a terminal only, and not by NO_COLOR."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False, **options)
    if not found.is_terminal:
        found = Console(highlight=False, markup=False, emoji=False, width=_WIDE, **options)
    return found


def report_parts(report: Report, top: int = 10) -> Iterator[RenderableType]:
    """Yield what is shown of a report, for :class:`rich.console.Console`.

    Parameters
    ----------
    report
        The report.
    top
        Rows of each table: the layers that stand out most, the nodes that most paths run through.
    """
    yield _text(report.title, "bold")
    yield _text(report.subtitle, "dim")
    first, *rest = report.coverage_lines
    yield Text("")
    yield _text(f"Coverage: {first}")
    yield from (_text(f"  {line}") for line in rest[:_COVERAGE])
    if len(rest) > _COVERAGE:
        yield _text(f"  … and {count(len(rest) - _COVERAGE, 'more line')}: report.coverage", "dim")
    yield Text("")
    yield from _said(report.verdicts)
    yield Text("")
    yield _key_numbers(report.summary)
    yield Text("")
    if top > 0:
        yield from _layers(report.layers, top)
        yield from _nodes(report.nodes, top)


def comparison_parts(comparison: Comparison, top: int = 10) -> Iterator[RenderableType]:
    """Yield what is shown of a comparison, for :class:`rich.console.Console`."""
    yield _text(f"A  {comparison.title_a}", "bold")
    yield _text(f"B  {comparison.title_b}", "bold")
    yield Text("")
    yield from _said(comparison.verdicts)
    yield from (_text(f"Note: {note}") for note in comparison.notes)
    table = _table("", "A", "B", "B - A")
    for row in comparison.summary.itertuples():
        table.add_row(row.measure, *map(as_number, (row.a, row.b, row.change)))
    yield Text("")
    yield table
    shown = comparison.layers[comparison.layers["in"] == "both"]
    if top > 0 and len(shown):
        order = shown["tau_core_ratio_change"].abs().fillna(0).sort_values(
            ascending=False, kind="stable"
        )  # fmt: skip
        table = _table("layer", "density A", "B", "overlap", "τ-core ratio A", "B", "dead A", "B",
                       "rank τ-b")  # fmt: skip
        for row in shown.loc[order.index].head(top).itertuples():
            table.add_row(
                clean(row.layer),
                percent(row.density_a),
                percent(row.density_b),
                percent(row.jaccard),
                percent(row.tau_core_ratio_a),
                percent(row.tau_core_ratio_b),
                f"{row.dead_a:,.0f}",
                f"{row.dead_b:,.0f}",
                number(row.share_correlation),
            )
        yield Text("")
        yield _text(_heading("Layers whose τ-core ratio changes most", len(table.rows), len(shown)))
        yield table


def as_number(value: float) -> str:
    """Return a number as whole as it is, with at most four significant digits after the point."""
    if pd.isna(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"


def _text(text: str, style: str = "") -> Text:
    return Text(clean(text), style=style)


def _said(verdicts: tuple[Verdict, ...]) -> Iterator[RenderableType]:
    """Yield verdicts beside their bullets, and each rule under the last of its sentences."""
    grid = Table.grid(padding=(0, 1))
    for k, verdict in enumerate(verdicts):
        words = _text(verdict)
        rule = getattr(verdict, "rule", "")
        last = k + 1 == len(verdicts) or getattr(verdicts[k + 1], "rule", "") != rule
        if rule and last:
            words.append(f"\nRule: {clean(rule)}.", style="dim")
        grid.add_row("•", words)
    yield grid


def _key_numbers(summary: dict[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    pairs = [
        ("density", percent(summary["density"])),
        ("effective density", percent(summary["effective_density"])),
        ("log10 total path weight", number(summary["log10_paths"])),
        (f"τ-core ({percent(summary['tau'])})", count(summary["tau_core"], "node")),
        ("average τ-core ratio", percent(summary["average_tau_core_ratio"])),
        ("innermost k-shell", f"{summary['k_max']:,} ({count(summary['k_max_nodes'], 'node')})"),
        ("dead, isolated", f"{summary['dead']:,}, {summary['isolated']:,}"),
        ("nodes, edges", f"{summary['nodes']:,}, {summary['edges']:,}"),
    ]
    for left, right in zip(pairs[::2], pairs[1::2], strict=True):
        grid.add_row(
            Text(left[0], "dim"), Text(left[1], "bold"), Text(right[0], "dim"),
            Text(right[1], "bold"),
        )  # fmt: skip
    return grid


def _layers(layers: pd.DataFrame, top: int) -> Iterator[RenderableType]:
    """Yield the layers that stand out: those with dead nodes first, then by τ-core ratio."""
    order = layers.assign(
        living=1 - layers["dead"] / layers["nodes"],
        ratio=layers["tau_core_ratio"].fillna(2.0),
    ).sort_values(["living", "ratio"], kind="stable")
    table = _table(
        "layer", "density", "effective", "nodes", "dead", "isol.", "τ-core", "top share",
        "path share", "k-shell",
    )  # fmt: skip
    for row in order.head(top).itertuples():
        table.add_row(
            clean(row.layer),
            percent(row.density),
            percent(row.effective_density),
            f"{row.nodes:,}",
            Text(f"{row.dead:,}", "bold red" if row.dead else ""),
            f"{row.isolated:,}",
            percent(row.tau_core_ratio),
            percent(row.top_share),
            percent(row.path_share),
            f"{row.k_shell_max:,}",
        )
    if table.rows:
        yield _text(_heading("Layers that stand out: dead nodes, then lowest τ-core ratio",
                             len(table.rows), len(layers)))  # fmt: skip
        yield table


def _nodes(nodes: pd.DataFrame, top: int) -> Iterator[RenderableType]:
    hidden = nodes[nodes["hidden"] & (nodes["share"] > 0)]
    table = _table("node", "share of all paths", "degree in", "out", "k-shell")
    for row in hidden.nlargest(top, "share", keep="first").itertuples(name=None):
        held = dict(zip(nodes.columns, row[1:], strict=True))
        table.add_row(
            f"{clean(held['group'])}[{held['index']}]",
            percent(held["share"]),
            f"{held['degree_in']:,}",
            f"{held['degree_out']:,}",
            f"{held['k_shell']:,}",
        )
    if table.rows:
        yield Text("")
        yield _text(
            _heading("Hidden nodes that most paths run through", len(table.rows), len(hidden))
        )
        yield table


def _heading(title: str, shown: int, of: int) -> str:
    return f"{title} ({shown} of {of:,})" if shown < of else title


def _table(first: str, *rest: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
    # A name is folded rather than cut: it must stay one that can be copied.
    table.add_column(first, overflow="fold", min_width=12)
    for name in rest:
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    return table
