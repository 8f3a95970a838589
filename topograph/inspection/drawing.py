"""How a layered network is drawn: columns by depth, a bar a layer, arcs for skips."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from topograph.graph.layered import LayeredGraph
from topograph.inspection.verdicts import bottlenecks
from topograph.inspection.wording import clean, percent, shortened
from topograph.paths import path_sums

WIDTH, TOP, BODY, FOOT = 1080, 14, 210, 54
_ARCS = 90  # most room above the bars for what skips over them
_MARGIN = 34
_STEP = 6.0  # least distance of two columns; a deeper network is wider than the page
_SINGLE = 300  # of more links, those alike are drawn as one, and do not tell their shares
_WIDEST = 7.0  # line, in pixels
_MOST_IN_ONE = 0.8  # of the bars, in what a label stands for
_FAINT = 4.0  # decades of path share between that and the finest


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

    @property
    def middle(self) -> float:
        """Where its middle is, from left."""
        return self.x + self.width / 2


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
    divided = _Divided(graph)
    into: dict[str, float] = dict.fromkeys(graph.groups, 0.0)
    found: list[Link] = []
    for (source, target), rows in layers.groupby(["source", "group"], sort=False):
        share = float(rows["path_share"].fillna(0.0).sum())
        into[str(target)] += share
        sources = [name for name in str(source).split(" + ") if name in graph.groups]
        parts = divided.parts([(name, str(target), False) for name in sources])
        rough = len(sources) > 1
        found += [
            Link(name, str(target), share * part, False, rough)
            for name, part in zip(sources, parts, strict=True)
        ]
    through = nodes.groupby("group", observed=False)["share"].sum()
    arriving: dict[str, list[str]] = {}
    for block in graph.identity_blocks:
        arriving.setdefault(block.target, []).append(block.source)
    for target, sources in arriving.items():
        rest = max(0.0, float(through[target]) - into[target])
        parts = divided.parts([(name, target, True) for name in sources])
        found += [
            Link(name, target, rest * part, True, len(sources) > 1)
            for name, part in zip(sources, parts, strict=True)
        ]
    return found


class _Divided:
    """How the graph's paths divide over blocks, Σ φ(u) |θ(u, v)| ψ(v); computed if asked."""

    def __init__(self, graph: LayeredGraph) -> None:
        self._graph = graph
        self._blocks = {(b.source, b.target, b.identity): b for b in graph.blocks}
        self._sums: Any = None

    def parts(self, pairs: list[tuple[str, str, bool]]) -> list[float]:
        """Return the part of each block in what they carry together."""
        if len(pairs) == 1:
            return [1.0]
        shares = [self._share(pair) for pair in pairs]
        whole = sum(shares) or 1.0
        return [share / whole for share in shares]

    def _share(self, pair: tuple[str, str, bool]) -> float:
        if pair not in self._blocks:
            return 0.0
        if self._sums is None:
            self._sums = path_sums(self._graph)
        sums, block = self._sums, self._blocks[pair]
        if not math.isfinite(sums.log_total):
            return 0.0
        before = sums.log_complexity[self._graph.nodes(block.source)]
        after = sums.log_generality[self._graph.nodes(block.target)]
        if not (np.isfinite(before).any() and np.isfinite(after).any()):
            return 0.0
        # Scaled by the largest, so that nothing overflows; what is lost is far below a line.
        held = np.exp(after - after.max()) @ (abs(block.matrix) @ np.exp(before - before.max()))
        if not held > 0:
            return 0.0
        return math.exp(min(0.0, math.log(held) + before.max() + after.max() - sums.log_total))


def network_svg(
    graph: LayeredGraph, layers: pd.DataFrame, nodes: pd.DataFrame, summary: dict[str, Any]
) -> tuple[str, float]:
    """Return the drawing as an SVG element, and how wide the line of all paths is in it.

    Its colours are the page's CSS variables.
    """
    bars, width = _bars(graph, layers, nodes, summary)
    # Where columns are close, arcs must not run into one another.
    widest = min(_WIDEST, max(2.0, next(iter(bars.values())).width))
    centres = np.sort([bar.middle for bar in bars.values()])
    drawn = [_link(bars, centres, link, widest) for link in links(graph, layers, nodes)]
    above = max((room for *_, room in drawn), default=0)
    height = above + TOP + BODY + FOOT
    skips = sum(link.identity for *_, link, _ in drawn)
    text = (
        f"{len(bars)} groups of nodes by their depth from the input, left, to the output, right; "
        f"{len(drawn) - skips} connections over weights and {skips} over identities"
    )
    parts = [
        f'<svg viewBox="0 {-above} {width:.0f} {height}" width="{width:.0f}" height="{height}" ',
        f'role="img" class="net"><title>The network by depth</title><desc>{text}.</desc>',
        *_paths(drawn),
        *map(_bar, bars.values()),
        *_marks(bars, width, layers, summary),
        *_labels(bars, width),
    ]
    return "".join(parts) + "</svg>", widest


def _bars(
    graph: LayeredGraph, layers: pd.DataFrame, nodes: pd.DataFrame, summary: dict[str, Any]
) -> tuple[dict[str, Bar], float]:
    """Return the bars by group, and the width of the drawing."""
    depth = depths(graph)
    last = max(depth.values())
    step = max(_STEP, min(170.0, (WIDTH - 2 * _MARGIN) / max(last, 1)))
    whole = max(float(WIDTH), step * last + 2 * _MARGIN)
    left = (whole - step * last) / 2
    width = max(3.0, min(26.0, 0.55 * step))
    columns: dict[int, list[str]] = {}
    for name, at in depth.items():
        columns.setdefault(at, []).append(name)
    # Heights go with the root of the width, so that 3 and 2,048 nodes fit one picture.
    tallest = max(
        sum(math.sqrt(graph.groups[name].size) for name in names) for names in columns.values()
    )
    ratio = dict(zip(layers["group"], layers["tau_core_ratio"], strict=True))
    dead = nodes.groupby("group", observed=False)["dead"].mean()
    tau = percent(summary["tau"])
    bars = {}
    for at, names in columns.items():
        # Many beside one another give way to one another.
        gap = min(8.0, 0.4 * BODY / len(names)) if len(names) > 1 else 0.0
        room = BODY - gap * (len(names) - 1)
        heights = [
            max(min(4.0, room / len(names)), room * math.sqrt(graph.groups[name].size) / tallest)
            for name in names
        ]
        heights = [height * min(1.0, room / sum(heights)) for height in heights]
        y = TOP + (BODY - sum(heights) - gap * (len(names) - 1)) / 2
        for name, height in zip(names, heights, strict=True):
            group = graph.groups[name]
            core = ratio.get(name, math.nan)
            title = f"{name}: {group.size:,} nodes, {percent(dead[name])} on no path"
            if not math.isnan(core):
                title += f", {percent(core)} of them carry {tau} of its paths"
            x = left + step * at - width / 2
            bars[name] = Bar(
                name, group.kind, group.size, x, y, width, height, core, float(dead[name]), title
            )
            y += height + gap
    return bars, whole


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
        f'height="{height:.1f}" rx="{min(2.0, bar.width / 4):.0f}"/>'
        for kind, y, height in parts
        if height > 0
    )
    return f"<g><title>{escape(clean(bar.title))}</title>{''.join(drawn)}</g>"


def thickness(share: float, widest: float = _WIDEST) -> float:
    """Return how wide a line is, in pixels: by the logarithm of the part of the paths it carries.

    Examples
    --------
    >>> thickness(1.0), thickness(0.01), thickness(1e-9)
    (7.0, 4.0, 1.0)
    """
    if not share > 0:
        return 1.0
    return round(1.0 + (widest - 1.0) * min(1.0, max(0.0, 1 + math.log10(share) / _FAINT)), 1)


def _link(
    bars: dict[str, Bar], centres: np.ndarray, link: Link, widest: float
) -> tuple[str, float, Link, int]:
    """Return a link's path and thickness, the link, and the room that it takes above the bars."""
    one, two = bars[link.source], bars[link.target]
    thick = thickness(link.share, widest)
    x0, x1 = one.x + one.width, two.x
    y0, y1 = one.y + one.height / 2, two.y + two.height / 2
    first, last = np.searchsorted(centres, (x0, x1))
    if first == last:
        middle = (x0 + x1) / 2
        path = f"M{x0:.0f} {y0:.0f}C{middle:.0f} {y0:.0f} {middle:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"
        return path, thick, link, 0
    # A skip passes over what lies between, the longer the higher.
    x0, x1 = one.middle, two.middle
    under = min(bar.y for bar in bars.values() if x0 - 1 <= bar.middle <= x1 + 1)
    y0, y1 = one.y, two.y
    # A cubic rises to three quarters of the way to its control points.
    crest = max(-4 / 3 * _ARCS, under - 12 - 0.4 * (x1 - x0))
    room = max(0, math.ceil(thick - (y0 + y1 + 6 * crest) / 8))
    path = f"M{x0:.0f} {y0:.0f}C{x0:.0f} {crest:.0f} {x1:.0f} {crest:.0f} {x1:.0f} {y1:.0f}"
    return path, thick, link, room


def _paths(drawn: list[tuple[str, float, Link, int]]) -> Iterable[str]:
    """Yield the links' elements, the widest first, so that fine lines lie above."""
    ordered = sorted(drawn, key=lambda each: -each[1])
    if len(ordered) > _SINGLE:
        alike: dict[tuple[str, float], list[str]] = {}
        for path, thick, link, _ in ordered:
            alike.setdefault((_kind(link), round(thick)), []).append(path)
        for (kind, thick), paths in alike.items():
            yield f'<path class="{kind}" stroke-width="{thick}" d="{"".join(paths)}"/>'
        return
    for path, thick, link, _ in ordered:
        about = "about " if link.rough else ""
        what = "identity" if link.identity else "weights"
        ends = clean(f"{link.source} to {link.target}")
        yield (
            f'<path class="{_kind(link)}" d="{path}" stroke-width="{thick}"><title>'
            f"{escape(ends)} ({what}): {about}{percent(link.share)} of all paths</title></path>"
        )


def _kind(link: Link) -> str:
    return ("skip" if link.identity else "edge") + ("" if link.share > 0 else " none")


def _marks(
    bars: dict[str, Bar], width: float, layers: pd.DataFrame, summary: dict[str, Any]
) -> list[str]:
    """Mark every bottleneck by a triangle, and name the narrowest group."""
    known = [bar for bar in bars.values() if bar.core > 0 and bar.size > 1]
    if len(known) < 2:
        return []
    narrow = [bars[name] for name in bottlenecks(summary, layers)["group"] if name in bars]
    top = TOP + BODY + 10
    marks = [f'<path class="mark" d="M{bar.middle:.1f} {top}l-5 9h10z"/>' for bar in narrow[1:]]
    bar = narrow[0] if narrow else min(known, key=lambda bar: bar.core)
    x = bar.middle
    anchor = "start" if x < width / 2 else "end"
    # Written clear of the marks of other bottlenecks.
    free = not any(0 < abs(other.middle - x) < 280 for other in narrow)
    label = "bottleneck" if narrow else "narrowest, no bottleneck"
    note = (
        f'<text class="note" x="{x + (9 if anchor == "start" else -9):.1f}" '
        f'y="{top + 9 if free else TOP + BODY + 4:.0f}" text-anchor="{anchor}">'
        f"{label}: {escape(shortened(clean(bar.name), 40))}, {percent(bar.core)} of its "
        "nodes</text>"
    )
    return [
        *marks,
        f'<path class="{"mark" if narrow else "hint"}" d="M{x:.1f} {top}l-5 9h10z"/>',
        note,
    ]


def _labels(bars: dict[str, Bar], width: float) -> list[str]:
    """Name the columns; where they are many, where a new part of the network begins."""
    ordered = sorted(bars.values(), key=lambda bar: (bar.x, bar.y))
    heads = headings([bar.name for bar in ordered])
    labels, right, before = [], -math.inf, ""
    for bar, head in zip(ordered, heads, strict=True):
        text = shortened(clean(head), 24)
        x, half = bar.middle, 3.3 * len(text)
        x = min(max(x, half), width - half)
        if head == before or x - half < right:
            continue
        before, right = head, x + half + 6
        labels.append(
            f'<text class="label" x="{x:.1f}" y="{TOP + BODY + 40}" text-anchor="middle">'
            f"{escape(text)}</text>"
        )
    return labels


def headings(names: list[str], most: int = 9) -> list[str]:
    """Return what to call each of many layers in a row: its name, or the part that it is in.

    Where there are more names than ``most``, as many of their first components as it takes that
    no part holds nearly all of them; numbers keep the component before them.

    Examples
    --------
    >>> headings(["x", "h.0.q", "h.0.k", "h.1.q", "h.1.k", "h.1.v"], most=3)
    ['x', 'h.0', 'h.0', 'h.1', 'h.1', 'h.1']
    """
    if len(names) <= most:
        return names
    parts = [name.partition("#")[0].split(".") for name in names]
    for depth in range(1, max(map(len, parts)) + 1):
        held = Counter(tuple(part[:depth]) for part in parts)
        if held.most_common(1)[0][1] <= _MOST_IN_ONE * len(parts):
            break
    # What all have before it says nothing; a bare number would say too little.
    ends = [part[:depth] for part in parts]
    return [".".join(end[-2:] if end[-1].isdigit() else end[-1:]) for end in ends]
