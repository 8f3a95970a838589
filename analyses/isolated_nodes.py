"""Where to start: nodes that sparse start masks isolate, against density (P, Fig. 8a).

Each of P's networks is given PHEW masks at densities from 0.1% up. A node (a channel, or a feature
of a token) is isolated if no weight leads in and none out; it can never be reached by a gradient,
so growth has to start where there are none. Beside PHEW stand the random start masks ER, ERK and
uniform, on the first network. Nothing is trained and no data are read.

    python analyses/isolated_nodes.py
    python analyses/isolated_nodes.py --recipe tinyimagenet-vit --densities 0.01 0.02 0.05
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import style
import torch
from command import Command, parse
from finding import AGREES, DISAGREES, Finding, mean_and_spread, table
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from present import percent, present
from torch import nn
from tqdm.auto import tqdm

import pwmpr
import topograph as tg
from pwmpr import models
from pwmpr.running import resolve

NAME = "isolated_nodes"
ALL = "all"
DENSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
RULES = ("phew", "erk", "er", "uniform")
#: A network with more weights is given masks of the first seed alone.
LARGE = 10_000_000


@dataclass(frozen=True)
class Subject:
    """A network of P's with the pictures that it takes.

    Attributes
    ----------
    recipe
        Its recipe, which knows the density that growth starts from.
    name
        In print.
    side, classes
        Pixels of a picture's side, and classes.
    look
        Colour, marker and dashes.
    """

    recipe: str
    name: str
    side: int
    classes: int
    look: tuple[str, str, str]

    def build(self, seed: int) -> nn.Module:
        """Return the network with initial weights."""
        settings = resolve(self.recipe)
        held = {"size": self.side, "classes": self.classes}
        takes = models.options(settings.model)
        torch.manual_seed(seed)
        return models.build(settings.model, **{k: v for k, v in held.items() if k in takes})

    @property
    def start(self) -> float:
        """The density that growth starts from (P, Table 2)."""
        return resolve(self.recipe).start_density


SUBJECTS = (
    Subject("cifar10-resnet32", "ResNet-32", 32, 10, ("#1B1B1B", "o", "-")),
    Subject("cifar100-resnet56", "ResNet-56", 32, 100, ("#7A3E9D", "s", "--")),
    Subject("tinyimagenet-resnet18", "ResNet-18", 64, 200, ("#4D7C0F", "^", "-")),
    Subject("tinyimagenet-vit", "ViT", 64, 200, ("#C0392B", "D", "-.")),
    Subject("imagenet-resnet50", "ResNet-50", 224, 1000, ("#2E86AB", "v", ":")),
)
CAPTION = (
    "Part of hidden nodes (channels; in the ViT features) that a start mask isolates: no weight in "
    "and none out. (a) PHEW masks in P's networks; a ring marks the density that growth starts "
    "from. (b) PHEW beside random start masks, in the network named. A start is low enough to "
    "explore and high enough to lose no node where its ring lies on zero."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv, recipe=ALL, densities=DENSITIES)
    subjects = chosen(command)
    frame = numbers(command, subjects)
    return present(
        command,
        frame,
        draw(frame, subjects),
        caption=CAPTION,
        findings=findings(frame, subjects),
        tables=[table_of(frame)],
        facts={"rules": RULES, "seeds": command.seeds, "densities": command.densities},
    )


def chosen(command: Command) -> list[Subject]:
    """Return the networks that were asked for."""
    if command.from_runs is not None:
        raise SystemExit(f"{NAME} needs no runs. Remedy: leave out --from-runs.")
    names = [subject.recipe for subject in SUBJECTS]
    if command.recipe not in (ALL, *names):
        raise SystemExit(f"--recipe {command.recipe}: expected {', '.join(names)}, or {ALL}.")
    return [s for s in SUBJECTS if command.recipe in (ALL, s.recipe)]


def numbers(command: Command, subjects: list[Subject]) -> pd.DataFrame:
    """Return a row a network, rule, density and seed."""
    wanted = [(subject, "phew") for subject in subjects]
    wanted += [(subjects[0], rule) for rule in RULES[1:]]
    rows = []
    for subject, rule in tqdm(wanted, desc="masks", unit="network"):
        densities = sorted({*command.densities, *([subject.start] if rule == "phew" else [])})
        for seed in command.seeds:
            model = subject.build(seed)
            size = sum(parameter.numel() for parameter in model.parameters())
            if size > LARGE and seed != command.seeds[0]:
                continue
            example = torch.zeros(1, 3, subject.side, subject.side)
            for density in densities:
                masks = pwmpr.initial_masks(
                    model, density=density, rule=rule, example_input=example, seed=seed
                )
                rows.append(
                    {
                        "recipe": subject.recipe, "network": subject.name, "rule": rule,
                        "seed": seed, "asked": density, "density": masks.density,
                        **isolated(model, example, masks),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def isolated(model: nn.Module, example: torch.Tensor, masks: pwmpr.Masks) -> dict[str, float]:
    """Return the number of hidden nodes and of isolated ones among them."""
    graph = tg.capture(model, example, masks=masks)
    hidden = np.zeros(graph.n_nodes, dtype=bool)
    for group in graph.hidden:
        hidden[graph.nodes(group)] = True
    count = int(hidden[tg.isolated_nodes(graph)].sum())
    nodes = int(hidden.sum())
    return {"nodes": nodes, "isolated": count, "part": count / nodes}


def draw(frame: pd.DataFrame, subjects: list[Subject]) -> Figure:
    """Draw the part of isolated nodes by network, and by rule."""
    style.use_style()
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained", sharey=True)
    phew = frame[frame["rule"] == "phew"]
    for number, subject in enumerate(subjects):
        of = phew[phew["recipe"] == subject.recipe]
        colour, marker, dashes = subject.look
        style.curve(
            panels[0], of, "asked", "part", "phew", label=subject.name, colour=colour,
            marker=marker, dashes=dashes,
        )  # fmt: skip
        at = of.loc[of["asked"] == subject.start, "part"].mean()
        panels[0].plot(
            subject.start,
            at,
            "o",
            markersize=9 + 4 * number,
            fillstyle="none",
            color=colour,
            zorder=4,
        )
    style.letter(panels[0], "a", "PHEW, by network (ring: growth starts here)")
    first = frame[frame["recipe"] == subjects[0].recipe]
    for rule in RULES:
        of = first[first["rule"] == rule]
        style.curve(
            panels[1],
            of,
            "asked",
            "part",
            rule,
            label=style.named(rule)[0].replace(" (static)", ""),
        )
    style.letter(panels[1], "b", f"{subjects[0].name}, by start masks")
    for axes in panels:
        style.density_axis(axes, frame["asked"])
        axes.legend(loc="upper right")
    style.percent_axis(panels[0], "isolated hidden nodes")
    seeds = frame["seed"].nunique()
    spread = f"mean of {seeds} seeds, band: least to largest" if seeds > 1 else "one seed"
    style.title(figure, f"Where to start: isolated nodes of start masks ({spread})")
    return figure


def table_of(frame: pd.DataFrame) -> str:
    """Return the part of isolated nodes, a row a network and rule, a column a density."""
    rows = []
    for (network, rule), part in frame.groupby(["network", "rule"], sort=False):
        row: dict[str, object] = {
            "network": network,
            "masks": style.named(rule)[0].replace(" (static)", ""),
            "hidden nodes": int(part["nodes"].iloc[0]),
            "seeds": part["seed"].nunique(),
        }
        for density, at in part.groupby("asked"):
            row[f"isolated at {density * 100:g}% (%)"] = mean_and_spread(at["part"], 100)
        rows.append(row)
    return table(pd.DataFrame(rows).fillna("–"))


def findings(frame: pd.DataFrame, subjects: list[Subject]) -> list[Finding]:
    """Say whether P's start densities isolate no node."""
    found = []
    for subject in subjects:
        at = frame[
            (frame["recipe"] == subject.recipe)
            & (frame["rule"] == "phew")
            & (frame["asked"] == subject.start)
        ]
        counts = at["isolated"]
        found.append(
            Finding(
                f"PHEW isolates no node of {subject.name} at {subject.start * 100:g}%",
                f"{counts.min()} to {counts.max()} of {at['nodes'].iloc[0]} hidden nodes "
                f"(at most {percent(at['part'].max(), 2)}), seeds: {len(at)}",
                AGREES if counts.max() == 0 else DISAGREES,
            )
        )
    return found


if __name__ == "__main__":
    print(main())
