"""How a layered network is drawn: columns by depth, a bar a layer, arcs for skips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from topograph.graph.layered import LayeredGraph
from topograph.inspection.verdicts import percent
from topograph.paths import path_sums

WIDTH, TOP, BODY, FOOT = 960, 14, 210, 54
_ARCS = 90  # most room above the bars for what skips over them
_MARGIN = 34


@dataclass(frozen=True)
class Bar:
    """One group of nodes in the drawing; lengths in pixels, parts between 0 and 1."""

    name: str
    kind: str
    size: int
    x: float
    y: float
    width: float
    height: float
    core: float
    dead: float
    title: str


@dataclass(frozen=True)
class Link:
    """The edges between two groups; ``share`` is the part of all path weight that they carry.

    ``rough`` tells shares that the graph says, which knows no borders, from those of the layers.
    """

    source: str
    target: str
    share: float
    identity: bool
    rough: bool = False


def depths(graph: LayeredGraph) -> dict[str, int]:
    """Return each group's depth: the number of edges on the longest way to it from an input.

    Examples
    --------
    >>> from topograph.graph import layered_graph
    >>> one = [[1.0]]
    >>> depths(layered_graph({"x": 1, "h": 1, "y": 1}, [("x", "h", one), ("h", "y", one),
    ...                                                 ("x", "y", one)]))
    {'x': 0, 'h': 1, 'y': 2}
    """
    depth = dict.fromkeys(graph.groups, 0)
    order = {name: k for k, name in enumerate(graph.groups)}
    for block in sorted(graph.blocks, key=lambda block: order[block.target]):
        depth[block.target] = max(depth[block.target], depth[block.source] + 1)
    return depth


def links(graph: LayeredGraph, layers: pd.DataFrame, nodes: pd.DataFrame) -> list[Link]:
    """Return the links of the drawing with the path weight that runs through each.

    What an operator carries from several groups is divided as the graph's paths divide. What of a
    group's path weight does not come in over weights comes in over its identity edges.
    """
    by_pair = _block_shares(graph)
    into: dict[str, float] = dict.fromkeys(graph.groups, 0.0)
    found = []
    for (source, target), rows in layers.groupby(["source", "group"], sort=False):
        share = float(rows["path_share"].fillna(0.0).sum())
        into[str(target)] += share
        sources = [name for name in str(source).split(" + ") if name in graph.groups]
        parts = [by_pair.get((name, str(target), False), 0.0) for name in sources]
        whole = sum(parts) or 1.0
        rough = len(sources) > 1
        found += [
            Link(name, str(target), share * part / whole, False, rough)
            for name, part in zip(sources, parts, strict=True)
        ]
    through = nodes.groupby("group", observed=False)["share"].sum()
    for target in graph.groups:
        blocks = [block for block in graph.identity_blocks if block.target == target]
        rest = max(0.0, float(through[target]) - into[target])
        parts = [by_pair[block.source, target, True] for block in blocks]
        whole = sum(parts) or 1.0
        found += [
            Link(block.source, target, rest * part / whole, True, len(blocks) > 1)
            for block, part in zip(blocks, parts, strict=True)
        ]
    return found


def _block_shares(graph: LayeredGraph) -> dict[tuple[str, str, bool], float]:
    """Return the part of all the graph's path weight on each block: Σ φ(u) |θ(u, v)| ψ(v) / R."""
    sums = path_sums(graph)
    shares = {}
    for block in graph.blocks:
        edges = block.matrix.tocoo()
        targets, sources = edges.coords
        with np.errstate(divide="ignore"):
            logs = np.log(np.abs(edges.data))
        logs += sums.log_complexity[graph.nodes(block.source)][sources]
        logs += sums.log_generality[graph.nodes(block.target)][targets]
        share = np.exp(logs - sums.log_total).sum() if math.isfinite(sums.log_total) else 0.0
        shares[block.source, block.target, block.identity] = float(share)
    return shares


def network_svg(graph: LayeredGraph, layers: pd.DataFrame, nodes: pd.DataFrame) -> str:
    """Return the drawing as an SVG element whose colours are the page's CSS variables."""
    bars = _bars(graph, layers, nodes)
    drawn = [_link(bars, link) for link in links(graph, layers, nodes)]
    above = max((room for _, room in drawn), default=0)
    parts = [
        (
            f'<svg viewBox="0 {-above} {WIDTH} {above + TOP + BODY + FOOT}" role="img" class="net" '
            f'aria-label="The network by depth: {len(bars)} groups of nodes">'
        )
    ]
    parts += [path for path, _ in drawn]
    parts += [_bar(bar) for bar in bars.values()]
    parts += _marks(bars)
    parts += _labels(bars)
    return "".join(parts) + "</svg>"


def _bars(graph: LayeredGraph, layers: pd.DataFrame, nodes: pd.DataFrame) -> dict[str, Bar]:
    depth = depths(graph)
    last = max(depth.values())
    step = min(170.0, (WIDTH - 2 * _MARGIN) / max(last, 1))
    left = (WIDTH - step * last) / 2
    width = max(3.0, min(26.0, 0.55 * step))
    columns: dict[int, list[str]] = {}
    for name, at in depth.items():
        columns.setdefault(at, []).append(name)
    # Heights go with the root of the width, so that 3 and 2,048 nodes fit one picture.
    tallest = max(
        sum(math.sqrt(graph.groups[name].size) for name in names) for names in columns.values()
    )
    ratio = dict(zip(layers["group"], layers["tau_core_ratio"], strict=True))
    by_group = nodes.groupby("group", observed=False)
    dead = by_group["dead"].mean()
    bars = {}
    for at, names in columns.items():
        gap = 8.0 if len(names) > 1 else 0.0
        room = BODY - gap * (len(names) - 1)
        heights = [max(4.0, room * math.sqrt(graph.groups[name].size) / tallest) for name in names]
        y = TOP + (BODY - sum(heights) - gap * (len(names) - 1)) / 2
        for name, height in zip(names, heights, strict=True):
            group = graph.groups[name]
            core = ratio.get(name, math.nan)
            title = f"{name}: {group.size:,} nodes, {percent(dead[name])} on no path"
            if not math.isnan(core):
                title += f", {percent(core)} of them carry τ of its paths"
            x = left + step * at - width / 2
            bars[name] = Bar(
                name, group.kind, group.size, x, y, width, height, core, float(dead[name]), title
            )
            y += height + gap
    return bars


def _bar(bar: Bar) -> str:
    """Draw a bar: τ-core dark at the bottom, the rest light, dead nodes hollow at the top."""
    dead = bar.height * bar.dead
    core = 0.0 if math.isnan(bar.core) else bar.height * bar.core
    parts = [
        ("dead", bar.y, dead),
        ("end" if math.isnan(bar.core) else "live", bar.y + dead, bar.height - dead),
        ("core", bar.y + bar.height - core, core),
    ]
    drawn = (
        f'<rect class="{kind}" x="{bar.x:.1f}" y="{y:.1f}" width="{bar.width:.1f}" '
        f'height="{height:.1f}" rx="2"/>'
        for kind, y, height in parts
        if height > 0
    )
    return f"<g><title>{escape(bar.title)}</title>{''.join(drawn)}</g>"


def _link(bars: dict[str, Bar], link: Link) -> tuple[str, int]:
    """Return the path element of a link, and the room in pixels that it takes above the bars."""
    one, two = bars[link.source], bars[link.target]
    thick = 1.0 + 7.0 * min(1.0, max(0.0, link.share))
    x0, x1 = one.x + one.width, two.x
    y0, y1 = one.y + one.height / 2, two.y + two.height / 2
    room = 0
    between = any(x0 < bar.x + bar.width / 2 < x1 for bar in bars.values())
    if between:
        # A skip passes over what lies between, the longer the higher.
        x0, x1 = one.x + one.width / 2, two.x + two.width / 2
        under = [bar.y for bar in bars.values() if x0 - 1 <= bar.x + bar.width / 2 <= x1 + 1]
        y0, y1 = one.y, two.y
        # A cubic rises to three quarters of the way to its control points.
        crest = max(-4 / 3 * _ARCS, min(under) - 12 - 0.4 * (x1 - x0))
        room = max(0, math.ceil(thick - (y0 + y1 + 6 * crest) / 8))
        path = f"M{x0:.1f} {y0:.1f}C{x0:.1f} {crest:.1f} {x1:.1f} {crest:.1f} {x1:.1f} {y1:.1f}"
    else:
        middle = (x0 + x1) / 2
        path = f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    kind = "skip" if link.identity else "edge"
    about = "about " if link.rough else ""
    what = "identity" if link.identity else "weights"
    title = f"{link.source} to {link.target} ({what}): {about}{percent(link.share)} of all paths"
    element = (
        f'<path class="{kind}" d="{path}" stroke-width="{thick:.1f}">'
        f"<title>{escape(title)}</title></path>"
    )
    return element, room


def _marks(bars: dict[str, Bar]) -> list[str]:
    """Mark the narrowest hidden group by a triangle above its bar and its name in the margin."""
    known = [bar for bar in bars.values() if bar.core > 0 and bar.size > 1]
    if len(known) < 2:
        return []
    bar = min(known, key=lambda bar: bar.core)
    x, y = bar.x + bar.width / 2, TOP + BODY + 10
    anchor = "start" if x < WIDTH / 2 else "end"
    return [
        f'<path class="mark" d="M{x:.1f} {y:.1f}l-5 9h10z"/>',
        (
            f'<text class="note" x="{x + (9 if anchor == "start" else -9):.1f}" y="{y + 9:.1f}" '
            f'text-anchor="{anchor}">narrowest: {escape(_short(bar.name))}, '
            f"{percent(bar.core)} of its nodes</text>"
        ),
    ]


def _labels(bars: dict[str, Bar]) -> list[str]:
    """Name the columns; where they are many, only the first of each top-level module."""
    many = len(bars) > 9
    labels, right, before = [], -math.inf, ""
    for bar in sorted(bars.values(), key=lambda bar: (bar.x, bar.y)):
        name = bar.name.split(".")[0] if many else bar.name
        text = _short(name)
        x = bar.x + bar.width / 2
        half = 3.3 * len(text)
        if name == before or x - half < right:
            continue
        before, right = name, x + half + 6
        x = min(max(x, half), WIDTH - half)
        labels.append(
            f'<text class="label" x="{x:.1f}" y="{TOP + BODY + 40}" text-anchor="middle">'
            f"{escape(text)}</text>"
        )
    return labels


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]
