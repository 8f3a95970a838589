"""How the nodes of a layer are drawn one by one, as far as there is room: strips of columns."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
import pandas as pd

from topograph.inspection.wording import clean, count, percent

_TALL, _FOOT = 30, 8  # of the columns, and below them of the marks
_MOST, _LEAST = 128, 24  # columns a strip
_BUDGET = 9000  # columns of all strips together; each takes some five characters twice
_GROUPS = 250


def strips_html(nodes: pd.DataFrame) -> str:
    """Return a fold for every group of nodes with its strips, all in one fold; "" without any.

    A strip has at most 128 columns, fewer where there are many groups. Where a group has more
    nodes than that, a column stands for several neighbours and shows the largest, and heights are
    rounded to a thirtieth of the tallest.
    """
    groups = [
        (str(name), part)
        for name, part in nodes.groupby("group", observed=True, sort=False)
        if len(part) > 1
    ]
    if not groups or nodes["share"].isna().all():
        return ""
    shown = groups[:_GROUPS]
    columns = max(_LEAST, min(_MOST, _BUDGET // len(shown)))
    more = (
        f" The first {_GROUPS} of {len(groups):,} layers; report.nodes has all."
        if len(groups) > _GROUPS
        else ""
    )
    about = (
        "Left in the order of their index, right the largest first; the tallest column is the "
        f"layer's largest node. At most {columns} columns: of a larger layer each shows the "
        "largest of a few neighbours, rounded. Marks below, left: filled where a node lies on no "
        f"path (dead), framed where one has no connection at all (isolated).{more}"
    )
    return (
        f'<details class="screen"><summary>Nodes, layer by layer: {count(len(groups), "strip")}'
        f'</summary><p class="soft">{about}</p>'
        + "".join(_fold(name, part, columns) for name, part in shown)
        + "</details>"
    )


def _fold(name: str, part: pd.DataFrame, columns: int) -> str:
    share = part["share"].to_numpy(dtype=np.float64)
    dead, isolated = part["dead"].to_numpy(), part["isolated"].to_numpy()
    total = share.sum()
    facts = [count(len(part), "node")]
    if total > 0:
        top = int(share.argmax())
        facts.append(
            f"the largest, [{part['index'].to_numpy()[top]}], has {percent(share[top] / total)}"
        )
    else:
        facts.append("no path weight")
    facts += [
        f"{here.sum():,} {word}"
        for here, word in ((dead, "dead"), (isolated, "isolated"))
        if here.any()
    ]
    label = escape(clean(name))
    marks = _marks(dead, columns, "gone") + _marks(isolated, columns, "alone")
    return (
        f"<details><summary>{label}: {'; '.join(facts)}</summary>"
        f'<div class="strips">{_strip(share, columns, "by index", marks)}'
        f"{_strip(np.sort(share)[::-1], columns, 'largest first', '')}</div></details>"
    )


def _strip(share: np.ndarray, columns: int, order: str, marks: str) -> str:
    heights = _largest(share, columns)
    tallest = heights.max()
    # What is not 0 shows.
    tall = np.ceil(_TALL * heights / tallest).astype(int) if tallest > 0 else 0 * heights
    path = "".join(_steps(tall.astype(int)))
    return (
        f'<figure><svg viewBox="0 0 {len(heights)} {_TALL + _FOOT}" preserveAspectRatio="none" '
        f'role="img"><title>Node shares {order}</title><path class="column" '
        f'd="M0 {_TALL}{path}V{_TALL}z"/>{marks}</svg>'
        f"<figcaption>{order}</figcaption></figure>"
    )


def _steps(tall: np.ndarray) -> Iterator[str]:
    """Yield an outline in steps: down or up to a height, then along for as long as it stays."""
    changes = np.flatnonzero(np.diff(tall)) + 1
    before = 0
    for start, stop in zip([0, *changes], [*changes, len(tall)], strict=True):
        yield f"v{before - tall[start]}h{stop - start}"
        before = tall[start]


def _marks(here: np.ndarray, columns: int, kind: str) -> str:
    at = np.flatnonzero(_largest(here.astype(float), columns))
    if not len(at):
        return ""
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    path = "".join(f"M{run[0]} {_TALL + 2}h{len(run)}v{_FOOT - 3}h-{len(run)}z" for run in runs)
    stroke = ' vector-effect="non-scaling-stroke"' if kind == "alone" else ""
    return f'<path class="{kind}" d="{path}"{stroke}/>'


def _largest(values: np.ndarray, columns: int) -> np.ndarray:
    """Return the largest value of each of so many parts of nearly equal length.

    Examples
    --------
    >>> _largest(np.array([1.0, 5.0, 2.0, 3.0]), 2).tolist()
    [5.0, 3.0]
    """
    parts = min(columns, len(values))
    starts = np.arange(parts) * len(values) // parts
    return np.asarray(np.maximum.reduceat(values, starts))
