"""How a report looks as HTML: static, self-contained, without scripts, in light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from topograph.inspection.charts import concentration_svg, degree_svg, shell_svg, spark_svg
from topograph.inspection.drawing import network_svg
from topograph.inspection.verdicts import percent

if TYPE_CHECKING:
    from topograph.inspection.report import Report

_LIGHT = (
    "--ink:#1c2430;--soft:#5a6675;--line:#d6dce3;--paper:#fff;--tile:#f4f6f9;"
    "--core:#1f5f9e;--live:#a9c8e6;--end:#9aa5b1;--edge:#4f7fae;--skip:#9a7fb5;--mark:#b4501c"
)
_DARK = (
    "--ink:#e4e9ef;--soft:#9aa7b5;--line:#37414d;--paper:#12171d;--tile:#1b222a;"
    "--core:#79b4ec;--live:#2f5577;--end:#66727e;--edge:#5b8fc2;--skip:#a58bc4;--mark:#f0955a"
)
_STYLE = """
.tg{color:var(--ink);background:var(--paper);font:14px/1.5 system-ui,sans-serif;max-width:1040px;
margin:0 auto;padding:20px}
.tg h1{font-size:22px;margin:0;overflow-wrap:anywhere}.tg h2{font-size:16px;margin:26px 0 8px}
.tg p,.tg ul{margin:6px 0}.tg ul{padding-left:20px}.tg .soft,.tg figcaption{color:var(--soft)}
.tg figcaption{font-size:12.5px}.tg figure{margin:0}
.tg .tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:8px;
margin:16px 0}
.tg .tile{background:var(--tile);border-radius:6px;padding:8px 12px}
.tg .tile b{display:block;font-size:20px;font-weight:600}
.tg .tile span{color:var(--soft);font-size:12.5px}
.tg svg{display:block;max-width:100%;font:11px system-ui,sans-serif}
.tg .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:14px}
.tg svg text{fill:var(--ink)}.tg svg .tick,.tg svg .label{fill:var(--soft)}
.tg .dead{fill:none;stroke:var(--end);stroke-dasharray:2 2}.tg .live{fill:var(--live)}
.tg .end{fill:var(--end)}.tg .core,.tg .dot,.tg .column{fill:var(--core)}
.tg .edge,.tg .skip{fill:none;stroke:var(--edge);opacity:.75}.tg .skip{stroke:var(--skip)}
.tg .mark{fill:var(--mark)}
.tg svg .note{fill:var(--mark);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.tg .axis{fill:none;stroke:var(--soft)}.tg .curve{fill:none;stroke:var(--core);stroke-width:2}
.tg .flat,.tg .guide{fill:none;stroke:var(--soft);stroke-dasharray:3 3;opacity:.7}
.tg .wide{overflow-x:auto}
.tg table{border-collapse:collapse;font-size:12.5px;width:100%;font-variant-numeric:tabular-nums}
.tg th,.tg td{padding:3px 6px;text-align:right;border-bottom:1px solid var(--line);
white-space:nowrap;background:none;color:inherit}
.tg th{font-weight:600;color:var(--soft);vertical-align:bottom}
.tg td:first-child,.tg th:first-child{text-align:left}
.tg .bar{display:inline-block;width:40px;height:8px;border-radius:2px;margin-left:6px;
background:linear-gradient(var(--core),var(--core)) 0/var(--part) 100% no-repeat var(--tile)}
.tg .spark{width:84px;height:19px}.tg .spark polygon{fill:var(--live);stroke:var(--core)}
.tg .low{color:var(--mark);font-weight:600}.tg summary{cursor:pointer;color:var(--soft)}
.tg code{font:12.5px ui-monospace,monospace;overflow-wrap:anywhere}
"""
_ROWS = 400  # a table of more rows says so and points to the frame


def style() -> str:
    """Return the report's style sheet; nothing in it reaches beyond the class ``tg``."""
    dark = 'body[data-jp-theme-light="false"] .tg,body.vscode-dark .tg'
    return (
        f"<style>.tg{{{_LIGHT}}}@media(prefers-color-scheme:dark){{.tg{{{_DARK}}}}}"
        f'body[data-jp-theme-light="true"] .tg,body.vscode-light .tg{{{_LIGHT}}}'
        f"{dark}{{{_DARK}}}{_STYLE}</style>"
    )


def fragment(report: Report) -> str:
    """Return the report as one HTML element with its style, for a notebook."""
    parts = [
        style(),
        '<div class="tg">',
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="soft">{escape(report.subtitle)}</p>',
        _coverage(report),
        "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in report.verdicts) + "</ul>",
        _tiles(report.summary),
        "<h2>The network by depth</h2><figure>",
        network_svg(report.graph, report.layers, report.nodes),
        f"<figcaption>{_caption(report.summary)}</figcaption></figure>",
        _charts(report),
        "<h2>Layers</h2>",
        _table(report.layers, report.nodes),
        _top_nodes(report.nodes),
        _provenance(report.provenance),
        "</div>",
    ]
    return "".join(parts)


def page(report: Report) -> str:
    """Return the report as a complete HTML document."""
    title = escape(f"{report.title} – topograph")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>body{{margin:0}}@media(prefers-color-scheme:dark)"
        f"{{body{{background:#12171d}}}}</style></head><body>{fragment(report)}</body></html>"
    )


def _coverage(report: Report) -> str:
    first, *rest = report.coverage_lines
    items = "".join(f"<li>{escape(line)}</li>" for line in rest)
    return f"<p><b>Coverage.</b> {escape(first)}</p>" + (f"<ul>{items}</ul>" if items else "")


def _tiles(summary: Mapping[str, Any]) -> str:
    tau = percent(summary["tau"])
    tiles = [
        (percent(summary["density"]), "density"),
        (percent(summary["effective_density"]), "effective density"),
        (_number(summary["log10_paths"], 2), "log₁₀ total path weight"),
        (f"{summary['tau_core']:,}", f"nodes carry {tau} of it (τ-core)"),
        (percent(summary["average_tau_core_ratio"]), "average τ-core ratio"),
        (f"{summary['k_max']:,}", f"innermost shell ({summary['k_max_nodes']:,} nodes)"),
        (f"{summary['dead']:,}", "hidden nodes on no path"),
        (f"{summary['isolated']:,}", "isolated hidden nodes"),
    ]
    cells = (f'<div class="tile"><b>{big}</b><span>{small}</span></div>' for big, small in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _caption(summary: Mapping[str, Any]) -> str:
    return (
        "A bar is a group of nodes, its height the root of their number. Strong: the part that "
        f"carries {percent(summary['tau'])} of the group's paths; pale: the others; hollow: on no "
        "path; grey: inputs and outputs. A line is as wide as the path weight it carries: blue "
        "over weights, violet over identities. Names appear on pointing."
    )


def _charts(report: Report) -> str:
    charts = [
        (
            concentration_svg(report.nodes, report.summary["tau"]),
            "Path weight held by the nodes that have most, largest first; dashed: all nodes alike.",
        ),
        (
            degree_svg(report.nodes),
            "Connections a node: part of the connected nodes with at least so many.",
        ),
        (shell_svg(report.nodes), "Nodes by the innermost k-shell that they belong to."),
    ]
    figures = "".join(
        f"<figure>{svg}<figcaption>{text}</figcaption></figure>" for svg, text in charts if svg
    )
    return f'<h2>Distributions</h2><div class="charts">{figures}</div>' if figures else ""


def _table(layers: pd.DataFrame, nodes: pd.DataFrame) -> str:
    head = (
        "<tr><th>layer</th><th>shape</th><th>kept</th><th>density</th><th>on no path</th>"
        "<th>nodes</th><th>dead</th><th>τ-core ratio</th><th>node shares</th><th>largest</th>"
        "<th>paths through</th><th>shell</th></tr>"
    )
    shares = {
        name: part["share"].to_numpy() for name, part in nodes.groupby("group", observed=True)
    }
    lowest = layers.loc[layers["tau_core_ratio"] > 0, "tau_core_ratio"].min()
    rows, drawn = [], set()
    points = 25 if len(layers) <= 80 else 12
    for row in layers.head(_ROWS).itertuples():
        spark = "" if row.group in drawn else spark_svg(shares[row.group], points)
        drawn.add(row.group)
        lost = row.kept - row.on_paths
        rows.append(
            f"<tr><td>{escape(row.layer)}</td><td>{escape(row.shape)}</td><td>{row.kept:,}</td>"
            f"<td>{_bar(row.density)}</td><td>{'' if not lost else f'{lost:,.0f}'}</td>"
            f"<td>{row.nodes:,}</td><td>{f'{row.dead:,}' if row.dead else ''}</td>"
            f"<td>{_bar(row.tau_core_ratio, low=row.tau_core_ratio == lowest)}</td>"
            f"<td>{spark}</td><td>{percent(row.top_share)}</td>"
            f"<td>{percent(row.path_share)}</td><td>{row.k_shell_max:,}</td></tr>"
        )
    more = len(layers) - _ROWS
    note = f'<p class="soft">and {more:,} more: report.layers has them all</p>' if more > 0 else ""
    return (
        f'<div class="wide"><table><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'{note}<p class="soft">Node shares: each node\'s part of the path weight, largest first. '
        "Largest: the part of the largest node. Paths through: the part of all path weight that "
        "passes over the layer's weights. Shell: the innermost of the layer's nodes.</p>"
    )


def _bar(part: float, low: bool = False) -> str:
    if math.isnan(part):
        return ""
    mark = ' class="low"' if low else ""
    return f'<span{mark}>{percent(part)}</span><i class="bar" style="--part:{100 * part:.1f}%"></i>'


def _top_nodes(nodes: pd.DataFrame, count: int = 20) -> str:
    hidden = nodes[nodes["hidden"] & (nodes["share"] > 0)]
    top = hidden.nlargest(count, "share", keep="first")
    if top.empty:
        return ""
    rows = "".join(
        f"<tr><td>{escape(f'{r.group}[{r.index_in_group}]')}</td><td>{percent(r.share)}</td>"
        f"<td>{r.degree_in:,}</td><td>{r.degree_out:,}</td><td>{r.k_shell:,}</td></tr>"
        for r in top.rename(columns={"index": "index_in_group"}).itertuples()
    )
    return (
        f"<details><summary>The {len(top)} hidden nodes that most path weight runs through"
        '</summary><div class="wide"><table><thead><tr><th>node</th><th>share of all paths</th>'
        "<th>degree in</th><th>degree out</th><th>shell</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _provenance(provenance: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(key))}</td><td style='text-align:left;white-space:normal'>"
        f"<code>{escape(_text(value))}</code></td></tr>"
        for key, value in provenance.items()
    )
    return f"<details><summary>Provenance</summary><table><tbody>{rows}</tbody></table></details>"


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(str, value))
    return str(value)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
