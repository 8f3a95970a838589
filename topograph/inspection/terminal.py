"""How a report and a comparison look on a terminal: tables as wide as it is, in its colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from topograph.inspection.wording import clean, count, number, percent, whole

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from topograph.inspection.comparison import Comparison
    from topograph.inspection.report import Report
    from topograph.inspection.verdicts import Verdict

_COVERAGE = 4  # lines
_NAME = 28  # columns that a name gets before the other columns do
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
    summary = list(comparison.summary.itertuples())
    yield Text("")
    yield _Fitted(
        ("", [row.measure for row in summary]),
        [
            ("A", [as_number(row.a) for row in summary], 0),
            ("B", [as_number(row.b) for row in summary], 0),
            ("B - A", [as_number(row.change) for row in summary], 1),
        ],
    )
    both = comparison.layers[comparison.layers["in"] == "both"]
    if top <= 0 or both.empty:
        return
    change = both["tau_core_ratio_change"].abs().fillna(0)
    shown = both.loc[change.sort_values(ascending=False, kind="stable").index].head(top)
    rows = list(shown.itertuples())
    yield Text("")
    yield _text(_heading("Layers whose τ-core ratio changes most", len(rows), len(both)))
    yield _Fitted(
        ("layer", [clean(row.layer) for row in rows]),
        [
            ("density A", [percent(row.density_a) for row in rows], 1),
            ("density B", [percent(row.density_b) for row in rows], 1),
            ("overlap", [percent(row.jaccard) for row in rows], 0),
            ("τ-core A", [percent(row.tau_core_ratio_a) for row in rows], 0),
            ("τ-core B", [percent(row.tau_core_ratio_b) for row in rows], 0),
            ("dead A", [as_number(row.dead_a) for row in rows], 2),
            ("dead B", [as_number(row.dead_b) for row in rows], 2),
            ("rank τ-b", [number(row.share_correlation) for row in rows], 3),
        ],
    )


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
        (f"τ-core ({percent(summary['tau'])})", f"{whole(summary['tau_core'])} nodes"),
        ("average τ-core ratio", percent(summary["average_tau_core_ratio"])),
        ("innermost k-shell", f"{whole(summary['k_max'])} ({whole(summary['k_max_nodes'])} nodes)"),
        ("dead, isolated", f"{whole(summary['dead'])}, {whole(summary['isolated'])}"),
        ("nodes, edges", f"{whole(summary['nodes'])}, {whole(summary['edges'])}"),
    ]
    shown = [(name, said) for name, said in pairs if not said.startswith("–")]
    for two in (shown[k : k + 2] for k in range(0, len(shown), 2)):
        cells = [
            Text(text, style)
            for pair in two
            for text, style in zip(pair, ("dim", "bold"), strict=True)
        ]
        grid.add_row(*cells)
    return grid


def _layers(layers: pd.DataFrame, top: int) -> Iterator[RenderableType]:
    """Yield the layers that stand out: those with dead nodes first, then by τ-core ratio."""
    order = layers.assign(
        living=1 - layers["dead"].fillna(0) / layers["nodes"],
        ratio=layers["tau_core_ratio"].fillna(2.0),
    ).sort_values(["living", "ratio"], kind="stable")
    shown = order.head(top)
    if shown.empty:
        return
    yield _text(
        _heading(
            "Layers that stand out: dead nodes, then lowest τ-core ratio", len(shown), len(layers)
        )
    )
    rows = list(shown.itertuples())
    yield _Fitted(
        ("layer", [clean(row.layer) for row in rows]),
        [
            ("density", [percent(row.density) for row in rows], 1),
            ("effective", [percent(row.effective_density) for row in rows], 3),
            ("nodes", [whole(row.nodes) for row in rows], 2),
            (
                "dead",
                [Text(whole(row.dead), "bold red" if row.dead > 0 else "") for row in rows],
                0,
            ),
            ("isol.", [whole(row.isolated) for row in rows], 5),
            ("τ-core", [percent(row.tau_core_ratio) for row in rows], 0),
            ("top share", [percent(row.top_share) for row in rows], 4),
            ("path share", [percent(row.path_share) for row in rows], 2),
            ("k-shell", [whole(row.k_shell_max) for row in rows], 3),
        ],
    )


def _nodes(nodes: pd.DataFrame, top: int) -> Iterator[RenderableType]:
    hidden = nodes[nodes["hidden"] & (nodes["share"] > 0)]
    shown = hidden.nlargest(top, "share", keep="first").to_dict("records")
    if not shown:
        return
    yield Text("")
    yield _text(_heading("Hidden nodes that most paths run through", len(shown), len(hidden)))
    yield _Fitted(
        ("node", [f"{clean(row['group'])}[{row['index']}]" for row in shown]),
        [
            ("share of all paths", [percent(row["share"]) for row in shown], 0),
            ("degree in", [f"{row['degree_in']:,}" for row in shown], 1),
            ("out", [f"{row['degree_out']:,}" for row in shown], 1),
            ("k-shell", [whole(row["k_shell"]) for row in shown], 2),
        ],
    )


def _heading(title: str, shown: int, of: int) -> str:
    return f"{title} ({shown} of {of:,})" if shown < of else title


@dataclass(frozen=True)
class _Fitted:
    """A table that leaves out its least important columns where the terminal is narrow.

    Numbers are never cut, and names are folded, so that they can still be copied.

    Attributes
    ----------
    first
        Heading and names of the rows.
    rest
        Heading, cells and rank of the other columns; those of high rank go first.
    """

    first: tuple[str, list[str]]
    rest: list[tuple[str, list[Any], int]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heading, names = self.first
        # What is known of no row says nothing.
        columns = [each for each in self.rest if any(str(cell) != "–" for cell in each[1])]
        known = [name for name, *_ in columns]
        names_wide = min(_NAME, max(map(len, [heading, *names])))
        while len(columns) > 1 and names_wide + sum(map(_room, columns)) > options.max_width:
            columns.remove(max(reversed(columns), key=lambda column: column[2]))
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, show_edge=False)
        table.add_column(heading, overflow="fold")
        for name, *_ in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for k, name in enumerate(names):
            table.add_row(Text(name), *(cells[k] for _, cells, _ in columns))
        yield table
        if len(columns) < len(known):
            left = ", ".join(name for name in known if name not in {c[0] for c in columns})
            yield Text(f"A wider terminal also shows: {left}", "dim")


def _room(column: tuple[str, list[Any], int]) -> int:
    """Return how many characters a column takes, with what parts it from the one before."""
    return 3 + max(len(text) for text in (column[0], *map(str, column[1])))
