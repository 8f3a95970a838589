"""How PWMPR grows a small network whose weights are all 1 (P, Fig. 2).

A forward pass on an input of ones gives every node its complexity, the total weight of paths that
lead to it; a backward pass from the outputs its generality, the total weight of paths that leave
it. The score of a missing edge is the complexity of its source times the generality of its target:
the path weight that an edge of weight 1 would add there. New edges are drawn in proportion. All
numbers come from topograph and pwmpr; nothing is trained.

    python analyses/growth_illustration.py --seeds 3
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import style
import torch
from command import Command, parse
from finding import AGREES, DISAGREES, Finding, table
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from present import percent, present
from scipy import stats
from torch import nn

import pwmpr
import topograph as tg
from pwmpr.growth import GrowthStep, select

NAME = "growth_illustration"
SIZES = (3, 3, 3, 2)
#: Edges that the network starts with, by layer: source and target within their groups.
EDGES = (
    ((0, 0), (0, 1), (1, 1), (2, 1), (2, 2)),
    ((0, 0), (1, 0), (1, 1), (2, 2)),
    ((0, 0), (1, 0), (1, 1), (2, 1)),
)
FRACTION = 0.25
#: Growth steps of one edge by which sampling is compared with the probabilities.
DRAWS = 5_000
ORANGE = style.named("pwmpr")[1]
CAPTION = (
    "One growth step of PWMPR on a network whose weights are all 1. (a) Forward pass: the number "
    "in a node is its complexity, the number of paths from the inputs. (b) Backward pass: its "
    "generality, the number of paths to the outputs. (c) Missing edges, the wider and darker the "
    "more probable: complexity of the source times generality of the target, over the sum of all; "
    "in per cent. (d) The edges drawn, with weight 0 until they are trained."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv, recipe="none", seeds=(0,))
    model, masks = network()
    frame = numbers(command, model, masks)
    return present(
        command,
        frame,
        draw(frame),
        caption=CAPTION,
        findings=findings(frame),
        tables=[table_of(frame)],
        facts={"sizes": SIZES, "fraction": FRACTION, "draws": DRAWS, "seed": command.seeds[0]},
    )


def network() -> tuple[nn.Sequential, pwmpr.Masks]:
    """Return the network, every weight 1, and the masks of its edges."""
    pairs = list(pairwise(SIZES))
    model = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairs))
    held = {}
    for number, (weight, edges) in enumerate(zip(model.parameters(), EDGES, strict=True)):
        mask = torch.zeros_like(weight, dtype=torch.bool)  # (target, source)
        for source, target in edges:
            mask[target, source] = True
        held[f"{number}.weight"] = mask
        nn.init.ones_(weight)
    return model, pwmpr.Masks(held)


def example() -> torch.Tensor:
    """Return an input of the network."""
    return torch.ones(1, SIZES[0])


def numbers(command: Command, model: nn.Module, masks: pwmpr.Masks) -> pd.DataFrame:
    """Return a row an edge that there is or could be."""
    graph = tg.capture(model, example(), masks=masks)
    sums = tg.path_sums(graph)
    complexity, generality = np.exp(sums.log_complexity), np.exp(sums.log_generality)
    scores = tg.path_flow(model, example(), masks=masks).scores
    grown = pwmpr.grow(
        model, masks, fraction=FRACTION, rule="pwmpr", example_input=example(),
        seed=command.seeds[0],
    )  # fmt: skip
    groups = [graph.nodes(name) for name in graph.groups]
    rows = []
    for layer, name in enumerate(masks):
        for target, source in np.ndindex(*masks[name].shape):
            before = groups[layer].start + source
            after = groups[layer + 1].start + target
            rows.append(
                {
                    "layer": layer, "source": source, "target": target,
                    "present": bool(masks[name][target, source]),
                    "complexity": complexity[before], "generality": generality[after],
                    "score": complexity[before] * generality[after],
                    "relative_score": float(scores[name][target, source]),
                    "drawn": bool(grown[name][target, source] & ~masks[name][target, source]),
                    "node_generality": generality[before], "end_complexity": complexity[after],
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows)
    missing = frame["score"].where(~frame["present"], 0)
    return frame.assign(probability=missing / missing.sum())


def draw(frame: pd.DataFrame) -> Figure:
    """Draw the two passes, the probabilities and the step."""
    style.use_style()
    figure, panels = plt.subplots(1, 4, figsize=(13, 4.0), layout="constrained")
    complexity, generality = of_nodes(frame)
    heads = (
        "forward: complexity", "backward: generality", "probability, new edge (%)", "after growth",
    )  # fmt: skip
    for number, (axes, head, letter) in enumerate(zip(panels, heads, "abcd", strict=True)):
        faint = number >= 2
        for row in frame[frame["present"]].itertuples():
            line(axes, row, color="#BBBBBB" if faint else "#333333", linewidth=1.3)
        if number == 2:
            for row in frame[frame["probability"] > 0].sort_values("probability").itertuples():
                missing(axes, row, float(frame["probability"].max()))
        if number == 3:
            for row in frame[frame["drawn"]].itertuples():
                line(axes, row, color=ORANGE, linewidth=2.6)
        values = (complexity, generality, {}, {})[number]
        for layer, size in enumerate(SIZES):
            for node in range(size):
                x, y = place(layer, node)
                axes.plot(
                    x, y, "o", markersize=22 if values else 12, markerfacecolor="white",
                    markeredgecolor="#333333", zorder=3,
                )  # fmt: skip
                if values:
                    axes.text(x, y, f"{values[layer, node]:g}", ha="center", va="center", zorder=4)
        axes.set_axis_off()
        axes.set_xlim(-0.35, len(SIZES) - 0.65)
        axes.set_ylim(-0.45, max(SIZES) - 0.65)
        style.letter(axes, letter, head)
    ways = ("inputs → outputs", "inputs ← outputs")
    for axes, text in zip(panels[:2], ways, strict=True):
        axes.text(0.5, 0, text, ha="center", transform=axes.transAxes, color="#555555")
    panels[3].plot([], [], color=ORANGE, linewidth=2.6, label="new edge, weight 0")
    panels[3].plot([], [], color="#BBBBBB", linewidth=1.3, label="edge, weight 1")
    panels[3].legend(loc="lower center", fontsize=9, ncols=2, columnspacing=1)
    style.title(figure, f"One step of PWMPR: {int(frame['drawn'].sum())} new edges")
    return figure


def of_nodes(frame: pd.DataFrame) -> tuple[dict[tuple[int, int], float], ...]:
    """Return complexity and generality by layer and node."""
    complexity: dict[tuple[int, int], float] = {}
    generality: dict[tuple[int, int], float] = {}
    for row in frame.itertuples():
        complexity[row.layer, row.source] = round(row.complexity, 6)
        complexity[row.layer + 1, row.target] = round(row.end_complexity, 6)
        generality[row.layer, row.source] = round(row.node_generality, 6)
        generality[row.layer + 1, row.target] = round(row.generality, 6)
    return complexity, generality


def place(layer: int, node: int) -> tuple[float, float]:
    """Return where a node stands."""
    return float(layer), max(SIZES) - 1 - node - (max(SIZES) - SIZES[layer]) / 2


def line(axes: Axes, row: object, **how: object) -> None:
    """Draw an edge."""
    ends = (place(row.layer, row.source), place(row.layer + 1, row.target))  # type: ignore[attr-defined]
    axes.plot(*zip(*ends, strict=True), zorder=1, **how)


def missing(axes: Axes, row: object, largest: float) -> None:
    """Draw a missing edge as wide and dark as it is probable, and its probability."""
    part = row.probability / largest  # type: ignore[attr-defined]
    line(axes, row, color=ORANGE, linewidth=0.8 + 4 * part, alpha=0.25 + 0.75 * part)
    (a, b), (c, d) = (place(row.layer, row.source), place(row.layer + 1, row.target))  # type: ignore[attr-defined]
    at = 0.26  # near the source, where edges of one layer do not cross
    axes.text(
        a + at * (c - a), b + at * (d - b), f"{row.probability * 100:.0f}",  # type: ignore[attr-defined]
        fontsize=8.5, ha="center", va="center", zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
    )  # fmt: skip


def table_of(frame: pd.DataFrame) -> str:
    """Return the missing edges, the most probable first."""
    order = frame[~frame["present"]].sort_values("probability", ascending=False, kind="stable")
    rows = [
        {
            "layer": row.layer + 1,
            "from": row.source + 1,
            "to": row.target + 1,
            "complexity of source": f"{row.complexity:g}",
            "generality of target": f"{row.generality:g}",
            "score": f"{row.score:g}",
            "probability": percent(row.probability),
            "drawn": "yes" if row.drawn else "",
        }
        for row in order.itertuples()
    ]
    return table(pd.DataFrame(rows))


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Check a score against the path weight that an edge adds, and draws against probabilities."""
    model, masks = network()  # growth has set the weights of the edges drawn to 0
    total = np.exp(tg.path_sums(tg.capture(model, example(), masks=masks)).log_total)
    worst = 0.0
    for row in frame[~frame["present"]].itertuples():
        name = list(masks)[row.layer]
        more = torch.zeros_like(masks[name])
        more[row.target, row.source] = True
        with_it = pwmpr.Masks({**dict(masks), name: masks[name] | more})
        after = np.exp(tg.path_sums(tg.capture(model, example(), masks=with_it)).log_total)
        worst = max(worst, abs(after - total - row.score))
    drawn = Counter(_draws(model, masks))
    left = frame[(~frame["present"]) & (frame["probability"] > 0)]
    keys = left[["layer", "source", "target"]].itertuples(index=False, name=None)
    seen = np.array([drawn[key] for key in keys])
    p_value = float(stats.chisquare(seen, DRAWS * left["probability"].to_numpy()).pvalue)
    return [
        Finding(
            "a missing edge's score is the path weight that an edge of weight 1 adds",
            f"largest difference over {int((~frame['present']).sum())} missing edges {worst:.1g} "
            f"of {total:.0f} paths",
            AGREES if worst < 1e-6 else DISAGREES,
        ),
        Finding(
            "new edges are drawn in proportion to their scores",
            f"{DRAWS} steps of one edge, χ² test of the counts: p = {p_value:.2f} (agrees: above "
            "0.01)",
            AGREES if p_value > 0.01 and seen.sum() == DRAWS else DISAGREES,
        ),
    ]


def _draws(model: nn.Module, masks: pwmpr.Masks) -> list[tuple[int, int, int]]:
    """Return the edges of many independent growth steps of one edge each."""
    scores = tg.path_flow(model, example(), masks=masks).scores
    generator = np.random.default_rng(0)
    names = list(masks)
    found = []
    for _ in range(DRAWS):
        step = GrowthStep(model=model, masks=masks, generator=generator, scores=scores)
        for name, positions in select("pwmpr", step, 1).items():
            for position in positions.tolist():
                target, source = divmod(position, masks[name].shape[1])
                found.append((names.index(name), source, target))
    return found


if __name__ == "__main__":
    print(main())
