"""How a report looks as HTML: static, self-contained, without scripts, in light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from topograph.inspection.charts import concentration_svg, degree_svg, shell_svg, spark_svg
from topograph.inspection.drawing import network_svg, thickness
from topograph.inspection.glossary import glossary_html
from topograph.inspection.strips import strips_html
from topograph.inspection.style import SCOPE, document, style
from topograph.inspection.wording import clean, number, percent, whole

if TYPE_CHECKING:
    from topograph.capturing.coverage import Coverage
    from topograph.inspection.report import Report
    from topograph.powerlaws import PowerLawFit

_ROWS = 400  # a table of more rows says so and points to the frame
_LISTED = 400  # and so does a list of names
_STEEP = 6.0  # exponents of heavy tails are 2 to 4; a bell's slope is steeper
_LONG = 34  # characters, from which on the name of a row may take several lines
_REASONS = 4  # lines of coverage before the fold


def fragment(report: Report) -> str:
    """Return the report as one HTML element with its style, for a notebook."""
    parts = [
        style(),
        f'<div class="{SCOPE}">',
        f"<h1>{text(report.title)}</h1>",
        f'<p class="soft">{text(report.subtitle)}</p>',
        _coverage(report),
        "<h2>What stands out</h2>",
        says(report.verdicts),
        tiles(_key_numbers(report.summary)),
        glossary_html(report.summary["tau"]),
        _network(report),
        _charts(report),
        "<h2>Layers</h2>",
        _table(report),
        strips_html(report.nodes),
        _top_nodes(report.nodes),
        facts("Provenance", report.provenance),
        "</div>",
    ]
    return "".join(parts)


def page(report: Report) -> str:
    """Return the report as a complete HTML document."""
    return document(f"{text(report.title)} – topograph", fragment(report))


def text(value: object) -> str:
    """Return a value as HTML shows it: nothing in it is markup, nothing steers the text."""
    return escape(clean(value))


def says(verdicts: Iterable[str]) -> str:
    """Return verdicts as a list, each rule once, under the last of the sentences that follow it."""
    rules = [(text(verdict), text(getattr(verdict, "rule", ""))) for verdict in verdicts]
    items = []
    for k, (sentence, rule) in enumerate(rules):
        last = rule and (k + 1 == len(rules) or rules[k + 1][1] != rule)
        under = f'<span class="rule">Rule: {rule}.</span>' if last else ""
        items.append(f"<li>{sentence}{under}</li>")
    return f'<ul class="says">{"".join(items)}</ul>'


def tiles(numbers: Iterable[tuple[str, str, str]]) -> str:
    """Return (number, what it is, what stands small beside it) as tiles."""
    cells = (
        f"<div><dt>{what}</dt><dd>{big}{f' <small>{small}</small>' if small else ''}</dd></div>"
        for big, what, small in numbers
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a table whose cells are HTML already; the first of a row is its heading.

    Parameters
    ----------
    head
        Of every column its heading, and what it means.
    rows
        Cells by row.
    caption
        What the table is about.
    """
    top = "".join(f'<th scope="col" title="{escape(about)}">{name}</th>' for name, about in head)
    top = top.replace(' title=""', "")
    body = "".join(
        f"<tr>{_row_head(first)}" + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    return wide(
        f"<table><caption>{caption}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table>",
        caption.partition(":")[0],
    )


def _row_head(name: str) -> str:
    long = ' class="long"' if len(name) > _LONG else ""
    return f'<th scope="row"{long}>{name}</th>'


def wide(content: str, label: str) -> str:
    """Return something that may be wider than the page, in a box that the keyboard can scroll."""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'
    )


def facts(title: str, held: Mapping[str, Any]) -> str:
    """Return names and values as a folded table."""
    rows = "".join(
        f'<tr><th scope="row">{text(key)}</th><td><code>{text(_joined(value))}</code></td></tr>'
        for key, value in held.items()
        if value not in (None, "", [], ())
    )
    return (
        f'<details class="paper"><summary>{title}</summary><table class="facts">'
        f"<caption>{title}: where the numbers come from</caption><tbody>{rows}</tbody></table>"
        "</details>"
    )


def _joined(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(str, value))
    return str(value)


def _coverage(report: Report) -> str:
    first, *rest = map(text, report.coverage_lines)
    shown, folded = rest[:_REASONS], rest[_REASONS:]
    items = "".join(f"<li>{line}</li>" for line in shown)
    return (
        f'<div class="coverage"><p><b>Coverage.</b> {first}</p>'
        + (f"<ul>{items}</ul>" if items else "")
        + _everything(report.coverage, folded)
        + "</div>"
    )


def _everything(coverage: Coverage, folded: list[str]) -> str:
    """Return all that the graph leaves out by name, in a fold, where lines stand for several."""
    names = [f"{text(name)}: {text(reason)}" for name, reason in coverage.missing]
    names += [f"{text(module or name)}: {text(why)}" for name, module, why in coverage.opaque]
    names += [
        f"{text(name)}: {left:,} of {rows:,} rows are queries, keys or gates"
        for name, left, rows in coverage.partly
    ]
    every = [*folded, *names, *map(text, coverage.notes)]
    if len(every) <= _REASONS and not folded:
        return ""
    more = len(every) - _LISTED
    items = "".join(f"<li>{line}</li>" for line in every[:_LISTED])
    items += f"<li>and {more:,} more: report.coverage has them all</li>" if more > 0 else ""
    return (
        f"<details><summary>All of it by name ({len(every):,})</summary><ul>{items}</ul></details>"
    )


def _key_numbers(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what the tiles show; a number that is not known has none."""
    tau = percent(summary["tau"])
    of = f"of {whole(summary['hidden_nodes'])}"
    shell = f"of {whole(summary['k_max_nodes'])} nodes"
    shown = [
        ("density", percent, "density", ""),
        ("effective_density", percent, "effective density", ""),
        ("log10_paths", number, "log₁₀ total path weight", ""),
        ("tau_core", whole, f"nodes carry {tau} of it (τ-core)", of),
        ("average_tau_core_ratio", percent, "average τ-core ratio", ""),
        ("k_max", whole, "innermost k-shell", shell),
        ("dead", whole, "hidden nodes on no path (dead)", of),
        ("isolated", whole, "isolated hidden nodes", of),
    ]
    return [
        (form(summary[name]), what, small)
        for name, form, what, small in shown
        if not math.isnan(summary[name])
    ]


_TRIANGLE = (
    '<svg width="12" height="10" aria-hidden="true"><path class="mark" d="M6 0l-5 9h10z"/></svg>'
)


def _network(report: Report) -> str:
    if report.graph is None:
        return ""
    drawing, widest = network_svg(report.graph, report.layers, report.nodes, report.summary)
    tau = percent(report.summary["tau"])
    keys = [
        (_box("core"), f"nodes that carry {tau} of the layer's paths"),
        (_box("live"), "the others"),
        (_box("dead"), "nodes on no path"),
        (_box("end"), "inputs and outputs"),
        (_line("edge", 1.0, widest), "connections over weights, all of the paths"),
        (_line("edge", 1e-2, widest), "1% of them"),
        (_line("edge", 1e-4, widest), "0.01% or less"),
        (_line("edge none", 0.0, widest), "none"),
        (_line("skip", 0.1, widest), "identity (residual)"),
        (_TRIANGLE, "bottleneck"),
    ]
    legend = "".join(f"<li>{drawn}{words}</li>" for drawn, words in keys)
    return (
        f"<h2>The network by depth</h2><figure>{wide(drawing, 'The network by depth')}"
        f'<ul class="legend">{legend}</ul><figcaption>From the inputs, left, to the outputs, '
        "right. A bar is a layer's group of nodes, its height the root of their number. The width "
        "of a line goes with the logarithm of the part of all path weight that it carries; arcs "
        "pass over layers. Names and numbers appear on pointing.</figcaption></figure>"
    )


def _box(kind: str) -> str:
    return (
        f'<svg width="14" height="10" aria-hidden="true"><rect class="{kind}" x="1" y="1" '
        'width="12" height="8"/></svg>'
    )


def _line(kind: str, share: float, widest: float) -> str:
    return (
        f'<svg width="24" height="10" aria-hidden="true"><path class="{kind}" d="M0 5h24" '
        f'stroke-width="{thickness(share, widest)}"/></svg>'
    )


def _charts(report: Report) -> str:
    nodes, summary = report.nodes, report.summary
    charts = [
        (
            concentration_svg(nodes, summary["tau"]),
            "Path weight held by the nodes that have most, largest first; dashed: all nodes alike.",
        ),
        (
            degree_svg(nodes, report.degree_fit),
            "Degrees: part of the connected nodes with at least so many connections. "
            + law(report.degree_fit),
        ),
        (shell_svg(nodes), "Nodes by the innermost k-shell that they belong to."),
    ]
    figures = "".join(
        f"<figure>{svg}<figcaption>{escape(words)}</figcaption></figure>"
        for svg, words in charts
        if svg
    )
    return f'<h2>Distributions</h2><div class="charts">{figures}</div>' if figures else ""


def law(fit: PowerLawFit) -> str:
    """Return what a fit of a power law says, in a sentence or two."""
    if not fit.ok:
        return f"No power law fitted: {fit.reason.rstrip('.')}."
    steep = (
        " So large an exponent tells of a typical degree, not of a heavy tail."
        if fit.alpha > _STEEP
        else ""
    )
    said = (
        f"Dashed: the closest power law, α {fit.alpha:.2f} ± {fit.sigma:.2f}, from degree "
        f"{fit.xmin:,} on ({fit.n_tail:,} of {fit.n:,} nodes; distance D {fit.D:.3f}).{steep}"
    )
    if math.isnan(fit.p_value):
        return said + " Whether it holds takes a bootstrap: report.power_law().p_value."
    return said + f" Bootstrap p {fit.p_value:.3g}, {fit.replicas:,} replicas."


_HEAD = (
    ("layer", ""),
    ("shape", "of the weight"),
    ("weights kept", "weights that are neither masked nor exactly 0"),
    ("density", "kept / all weights"),
    ("effective", "kept weights on a path / all weights"),
    ("nodes", "that the layer leads to"),
    ("dead / isolated", "nodes on no path / without any connection"),
    ("τ-core ratio", "part of the nodes that hold τ of the layer's paths"),
    ("node shares", "path weight of the nodes, largest first"),
    ("top share", "of the layer's path weight that its largest node carries"),
    ("path share", "part of all path weight that passes over the layer's weights"),
    ("k-shell max / mean", "of the layer's nodes"),
)


def _table(report: Report) -> str:
    layers, nodes = report.layers, report.nodes
    shares = {
        name: part["share"].to_numpy() for name, part in nodes.groupby("group", observed=True)
    }
    lowest = layers.loc[layers["tau_core_ratio"] > 0, "tau_core_ratio"].min()
    rows, drawn = [], set()
    points = 25 if len(layers) <= 80 else 12
    for row in layers.head(_ROWS).itertuples():
        spark = "" if row.group in drawn else spark_svg(shares[row.group], points)
        drawn.add(row.group)
        dead = f"{whole(row.dead)} / {whole(row.isolated)}"
        dead = dead if row.dead > 0 or row.isolated > 0 else ""
        lost = row.effective_density < row.density * (1 - 1e-12)
        rows.append(
            (
                text(row.layer),
                text(row.shape),
                f"{row.kept:,}",
                bar(row.density),
                f'<span class="low">{percent(row.effective_density)}</span>'
                if lost
                else percent(row.effective_density),
                f"{row.nodes:,}",
                f'<span class="low">{dead}</span>' if row.dead > 0 else dead,
                bar(row.tau_core_ratio, low=row.tau_core_ratio == lowest),
                spark,
                percent(row.top_share),
                percent(row.path_share),
                f"{whole(row.k_shell_max)} / {number(row.k_shell_mean, 0)}",
            )
        )
    more = len(layers) - _ROWS
    note = f'<p class="soft">and {more:,} more: report.layers has them all</p>' if more > 0 else ""
    caption = (
        "Layers: a row for each weighted operator, in order. Marked: the lowest τ-core ratio, dead "
        "nodes, and weights lost to no path."
    )
    return table(_HEAD, rows, caption) + note


def bar(part: float, low: bool = False) -> str:
    """Return a part as a percentage with a bar beside it; a dash where it is not known."""
    if math.isnan(part):
        return "–"
    mark = ' class="low"' if low else ""
    return f'<span{mark}>{percent(part)}</span><i class="bar" style="--part:{100 * part:.0f}%"></i>'


def _top_nodes(nodes: pd.DataFrame, most: int = 20) -> str:
    hidden = nodes[nodes["hidden"] & (nodes["share"] > 0)]
    top = hidden.nlargest(most, "share", keep="first")
    if top.empty:
        return ""
    rows = (
        (
            text(f"{r.group}[{r.at}]"),
            percent(r.share),
            f"{r.degree_in:,}",
            f"{r.degree_out:,}",
            whole(r.k_shell),
        )
        for r in top.rename(columns={"index": "at"}).itertuples()
    )
    title = f"The {len(top)} hidden nodes that most path weight runs through"
    head = (("node", ""), ("share of all paths", ""), ("degree in", ""), ("degree out", ""),
            ("k-shell", ""))  # fmt: skip
    return f"<details><summary>{title}</summary>{table(head, rows, title)}</details>"
