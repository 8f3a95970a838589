"""How numbers are drawn in a report: small SVG charts without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from topograph.inspection.wording import percent

if TYPE_CHECKING:
    from topograph.powerlaws import PowerLawFit

_W, _H, _LEFT, _RIGHT, _TOP, _BOTTOM = 310, 190, 62, 12, 10, 36


def concentration_svg(nodes: pd.DataFrame, tau: float) -> str:
    """Return the curve of path weight held against the number of hidden nodes, largest first."""
    share, held = concentration(nodes)
    if not len(held):
        return ""
    at = int(np.searchsorted(held, tau * (1 - 1e-12)))
    x, y = share[at], held[at]
    step = max(1, len(held) // 120)
    keep = sorted({*range(0, len(held), step), at, len(held) - 1})
    points = [(0.0, 0.0), *((share[k], held[k]) for k in keep)]
    frame = _Frame((0, 1), (0, 1), "part of hidden nodes", "path weight held")
    return frame.draw(
        f'<path class="flat" d="{frame.line([(0, 0), (1, 1)])}"/>'
        f'<path class="curve" d="{frame.line(points)}"/>'
        f'<path class="guide" d="{frame.line([(0, y), (x, y), (x, 0)])}"/>'
        f'<circle class="dot" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="4"/>'
        f'<text class="note" x="{frame.x(1) - 4:.1f}" y="{frame.y(0) - 8:.1f}" '
        f'text-anchor="end">{percent(x)} hold {percent(tau)}</text>',
        "How the path weight concentrates on nodes",
        f"The hidden nodes that carry most, {percent(x)} of all, hold {percent(tau)}",
    )


def concentration(nodes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return part of the hidden nodes, and the path weight that they hold, largest first."""
    share = np.sort(nodes.loc[nodes["hidden"], "share"].to_numpy())[::-1]
    if not share.sum() > 0:
        return np.empty(0), np.empty(0)
    return np.arange(1, len(share) + 1) / len(share), np.cumsum(share) / share.sum()


def degree_svg(nodes: pd.DataFrame, fit: PowerLawFit) -> str:
    """Return the distribution of degrees on logarithmic axes, with the power law if there is one.

    The curve says which part of the connected nodes has at least so many connections.
    """
    degrees, part = degree_distribution(nodes)
    if len(degrees) < 2:
        return ""
    logs = np.log10([degrees, part]).T
    low, high = logs[0][0], max(logs[-1][0], logs[0][0] + 0.1)
    bottom = float(logs[:, 1].min())
    frame = _Frame((low, high), (bottom, 0), "degree", "nodes of at least this", log=True)
    content = f'<path class="curve" d="{frame.line(_thinned(logs))}"/>'
    text = "Part of the connected nodes that has at least so many connections"
    if fit.ok:
        law = np.log10(fit.fitted_ccdf()).T
        law = law[law[:, 1] >= bottom]
        content += f'<path class="law" d="{frame.line(_thinned(law))}"/>'
        text += f"; dashed: a power law of exponent {fit.alpha:.2f} from {fit.xmin:,} on"
    return frame.draw(content, "Distribution of degrees", text)


def _thinned(points: np.ndarray, most: int = 120) -> list[tuple[float, float]]:
    at = np.unique(np.linspace(0, len(points) - 1, min(most, len(points))).astype(int))
    return [(float(x), float(y)) for x, y in points[at]]


def degree_distribution(nodes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct positive degrees, and the part of connected nodes with at least each."""
    degree = nodes["degree"].to_numpy()
    degree = degree[degree > 0]
    values, counts = np.unique(degree, return_counts=True)
    return values, np.cumsum(counts[::-1])[::-1] / max(len(degree), 1)


def shell_svg(nodes: pd.DataFrame) -> str:
    """Return how many nodes each k-shell holds."""
    shells = nodes["k_shell"].to_numpy()
    if np.isnan(shells).any():
        return ""
    most = int(shells.max(initial=0))
    if not most:
        return ""
    width = math.ceil((most + 1) / 30)
    counts = np.bincount(shells // width, minlength=most // width + 1)
    reach = (-0.5, len(counts) * width - 0.5)
    frame = _Frame(reach, (0, float(counts.max())), "k-shell", "nodes", whole=True)
    bars = []
    for k, count in enumerate(counts):
        left, right = frame.x(k * width - 0.5), frame.x((k + 1) * width - 0.5)
        upto = k * width + width - 1
        span = f"shell {k * width}" if width == 1 else f"shells {k * width} to {upto}"
        bars.append(
            f'<rect class="column" x="{left + 0.5:.1f}" y="{frame.y(count):.1f}" '
            f'width="{max(0.8, right - left - 1):.1f}" height="{frame.y(0) - frame.y(count):.1f}">'
            f"<title>{span}: {count:,} nodes</title></rect>"
        )
    text = f"How many nodes each shell holds, from shell 0 to shell {most:,}"
    return frame.draw("".join(bars), "Nodes by k-shell", text)


def pair_svg(
    first: np.ndarray, second: np.ndarray, label: str, dashed: str = "A", full: str = "B"
) -> str:
    """Return two series of the layers, in order: a dashed line and a full one."""
    known = np.isfinite(first) | np.isfinite(second)
    if known.sum() < 2:
        return ""
    frame = _Frame((0, len(first) - 1), (0, 1), "layer, in order", label, whole_x=True)
    lines = "".join(
        f'<path class="{kind}" d="{frame.line(run)}"/>'
        for kind, values in (("law", first), ("curve", second))
        for run in _runs(values)
    )
    text = f"Over {len(first)} layers; dashed: {dashed}, full: {full}"
    return frame.draw(lines, f"{label}, layer by layer", text)


def _runs(values: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the points of a series, parted where one is not known."""
    at = np.flatnonzero(np.isfinite(values))
    parts = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if len(at) else []
    # A point alone is drawn as a short line.
    return [
        [(float(k), float(values[k])) for k in part]
        if len(part) > 1
        else [(part[0] - 0.3, float(values[part[0]])), (part[0] + 0.3, float(values[part[0]]))]
        for part in parts
    ]


def spark_svg(share: np.ndarray, points: int = 25) -> str:
    """Return a group's node shares, largest first, as a line without axes; "" without any."""
    ordered = np.sort(share)[::-1]
    if not len(ordered) or not ordered[0] > 0:
        return ""
    at = np.unique(np.linspace(0, len(ordered) - 1, points).round().astype(int))
    corners = [
        (96 * (k / max(len(ordered) - 1, 1)), 18 - 17 * float(ordered[k] / ordered[0])) for k in at
    ]
    line = " ".join(f"{x:.0f},{y:.1f}" for x, y in corners)
    return (
        '<svg class="spark" viewBox="0 0 96 19" aria-hidden="true">'
        f'<polygon points="0,18 {line} 96,18"/></svg>'
    )


class _Frame:
    """The plot area of one chart: scales, axes, ticks."""

    def __init__(
        self,
        across: tuple[float, float],
        up: tuple[float, float],
        x_label: str,
        y_label: str,
        log: bool = False,
        whole: bool = False,
        whole_x: bool = False,
    ) -> None:
        self.across, self.up, self.log = across, up, log
        self.whole_x, self.whole_y = whole or whole_x, whole
        self.x_label, self.y_label = x_label, y_label

    def x(self, value: float) -> float:
        low, high = self.across
        return _LEFT + (_W - _LEFT - _RIGHT) * (value - low) / ((high - low) or 1.0)

    def y(self, value: float) -> float:
        low, high = self.up
        return _H - _BOTTOM - (_H - _TOP - _BOTTOM) * (value - low) / ((high - low) or 1.0)

    def line(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def draw(self, content: str, title: str, text: str) -> str:
        base = self.y(self.up[0])
        parts = [
            f'<svg viewBox="0 0 {_W} {_H}" role="img" class="chart">',
            f"<title>{title}</title><desc>{text}.</desc>",
            f'<path class="axis" d="M{_LEFT} {_TOP}V{base:.1f}H{_W - _RIGHT}"/>',
        ]
        parts += [
            f'<text class="tick" x="{self.x(value):.1f}" y="{base + 13:.1f}" '
            f'text-anchor="middle">{self._label(value)}</text>'
            for value in self._ticks(*self.across, self.whole_x)
        ]
        parts += [
            f'<text class="tick" x="{_LEFT - 5}" y="{self.y(value) + 3.5:.1f}" '
            f'text-anchor="end">{self._label(value)}</text>'
            for value in self._ticks(*self.up, self.whole_y)
        ]
        middle = (_LEFT + _W - _RIGHT) / 2
        parts.append(
            f'<text class="tick" x="{middle:.0f}" y="{_H - 6}" text-anchor="middle">'
            f"{self.x_label}</text>"
            f'<text class="tick" transform="translate(10 {(_TOP + base) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{self.y_label}</text>'
        )
        return "".join(parts) + content + "</svg>"

    def _ticks(self, low: float, high: float, whole: bool) -> list[float]:
        ticks = round_values(low, high, self.log)
        return [tick for tick in ticks if tick == round(tick)] if whole else ticks

    def _label(self, value: float) -> str:
        if self.log:
            value = 10**value
        return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def round_values(low: float, high: float, log: bool = False) -> list[float]:
    """Return round values between two ends: decades, or 1, 2, 5 times a power of ten."""
    if log:
        decades = [float(k) for k in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
        if len(decades) >= 2:
            return decades[:: math.ceil(len(decades) / 5)]
        fine = [
            math.log10(m * 10.0**k)
            for k in range(math.floor(low), math.ceil(high) + 1)
            for m in (1, 2, 5)
        ]
        inside = [value for value in fine if low - 1e-9 <= value <= high + 1e-9]
        return inside if len(inside) >= 2 else [low, high]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.99)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]
