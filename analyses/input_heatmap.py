"""Where in the image a rewired network looks, by regrow rule (S, Figs. 8, 19; RBMs: 15, 16).

Drawn is the number of connections of every input, laid out as the image is, at the start, after two
updates and at four quarters of training: a row a regrow rule, mean over the seeds. Colour images
are summed over their channels. The rows below show the first hidden layer mapped back: the number
of paths from an input over a hidden unit to the layer after it, so that a connection to a strong
unit counts more.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with larger ones, and Boltzmann machines:

    python analyses/input_heatmap.py --recipe fashion-mnist-mlp-survival --data-dir DIR
    python analyses/input_heatmap.py --recipe digits-rbm
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import style
from finding import Finding, table
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from present import present
from rewiring import METHODS, against_random, asked, moments, nodes, rewired, short, there
from study import Study

NAME = "input_heatmap"
MAPS = {
    "out_degree": "connections of an input",
    "two_steps": "paths over the first hidden layer",
}
MEASURES = {"gini": "Gini", "lopsided": "lopsided", "mirrored": "mirrored"}
CAPTION = (
    "Connections of every input, laid out as the image (axes: pixels), mean over the runs; one "
    "colour scale for all rules. The lower rows map the first hidden layer back: paths from an "
    "input over a hidden unit to the layer after it. Under each map of the upper rows: Gini "
    "coefficient of the runs' maps (0: evenly spread; 1: all on one pixel)."
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv)
    study = rewired(command)
    every = nodes(study)
    pixels = on_pixels(every[every["group"] == 0])
    shown = pixels[pixels["snapshot"].isin(list(moments(pixels)))]
    attention = spread(shown)
    return present(
        command,
        averaged(shown),
        draw(shown, attention, study),
        caption=CAPTION,
        study=study,
        findings=findings(attention),
        tables=[table_of(attention, moments(pixels), averaged(shown))],
    )


def on_pixels(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return a row a pixel, run and snapshot: inputs of one pixel's channels are summed."""
    count = int(inputs["node"].max()) + 1
    pixels = next((count // c for c in (1, 3) if math.isqrt(count // c) ** 2 * c == count), 0)
    if pixels < 16:
        raise SystemExit(
            f"the networks have {count} inputs, which are no pixels of a square image; expected a "
            "network whose inputs are pixels (convolutions have channels). Remedy: an MLP or a "
            "Boltzmann machine, e.g. --recipe digits-survival."
        )
    keys = ["run", "method", "seed", "snapshot", "epochs", "pixel"]
    told = inputs.assign(pixel=inputs["node"] % pixels)
    return told.groupby(keys)[list(MAPS)].sum().reset_index()


def averaged(shown: pd.DataFrame) -> pd.DataFrame:
    """Return the mean maps over the runs: a row a rule, moment and pixel."""
    keys = ["method", "snapshot", "epochs", "pixel"]
    maps = shown.groupby(keys)[list(MAPS)].mean().reset_index()
    side = math.isqrt(int(maps["pixel"].max()) + 1)
    return maps.assign(row=maps["pixel"] // side, column=maps["pixel"] % side)


def spread(shown: pd.DataFrame) -> pd.DataFrame:
    """Return how evenly and symmetrically each run's inputs are connected, at every moment."""
    rows = []
    for (method, seed, at), run in shown.groupby(["method", "seed", "snapshot"]):
        values = run.sort_values("pixel")["out_degree"].to_numpy(float)
        told: dict[str, object] = {"method": method, "seed": seed, "snapshot": at}
        rows.append(
            told
            | {"gini": gini(values), "lopsided": lopsided(values), "mirrored": mirrored(values)}
        )
    return pd.DataFrame(rows)


def gini(values: np.ndarray) -> float:
    """Return the Gini coefficient: 0 where all values are equal, towards 1 where one has all."""
    ordered = np.sort(values)
    total = ordered.sum()
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * (ranks * ordered).sum() / (len(ordered) * total) - 1 - 1 / len(ordered))


def mirrored(values: np.ndarray) -> float:
    """Return Pearson's correlation of a map with itself mirrored left to right."""
    side = math.isqrt(len(values))
    image = values.reshape(side, side)
    if image.std() == 0:
        return math.nan
    return float(np.corrcoef(image.ravel(), image[:, ::-1].ravel())[0, 1])


def lopsided(values: np.ndarray) -> float:
    """Return the mean difference of a map from its mirror image, over the mean of the map."""
    side = math.isqrt(len(values))
    image = values.reshape(side, side)
    return float(np.abs(image - image[:, ::-1]).mean() / image.mean())


def draw(shown: pd.DataFrame, attention: pd.DataFrame, study: Study) -> Figure:
    """Draw a row a kind of map and rule, a column a moment."""
    style.use_style()
    told = moments(shown)
    maps = averaged(shown)
    kinds = [kind for kind in MAPS if maps[kind].any()]
    rules = there(maps)
    count = len(rules)
    figure, panels = plt.subplots(
        count * len(kinds), len(told),
        figsize=(1.75 * len(told) + 1, (1.7 * count + 0.5) * len(kinds)),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    ginis = attention.groupby(["method", "snapshot"])["gini"].mean()
    for block, kind in enumerate(kinds):
        rows = panels[count * block : count * (block + 1)]
        top = float(np.quantile(maps[kind], 0.998))
        image = None
        for row, method in zip(rows, rules, strict=True):
            row[0].set_ylabel(style.named(style.REGROW[method])[0])
            for axes, (at, when) in zip(row, told.items(), strict=True):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(visible=False)
                if method == rules[0]:
                    axes.set_title(when.replace(" (", "\n("), fontsize=10)
                part = maps[(maps["method"] == method) & (maps["snapshot"] == at)]
                if part.empty:
                    continue
                grid = part.pivot(index="row", columns="column", values=kind)
                image = axes.imshow(grid, cmap="magma", vmin=0, vmax=top)
                if block == 0:
                    axes.set_xlabel(f"Gini {ginis[method, at]:.2f}", fontsize=9)
        if image is not None:
            figure.colorbar(image, ax=list(rows.ravel()), label=MAPS[kind], shrink=0.6, aspect=30)
    style.title(figure, f"Inputs under rewiring: {study.what} ({study.mean_of})")
    return figure


def table_of(attention: pd.DataFrame, told: dict[int, str], maps: pd.DataFrame) -> str:
    """Return Gini coefficient and symmetry at every moment, as Markdown."""
    rows = []
    for at, when in told.items():
        row: dict[str, object] = {"when": when}
        for column, name in MEASURES.items():
            for method in METHODS:
                part = attention[(attention["method"] == method) & (attention["snapshot"] == at)]
                row[f"{name}, {short(method)}"] = float(part[column].mean())
        for method in METHODS:
            of = maps[(maps["method"] == method) & (maps["snapshot"] == at)].sort_values("pixel")
            image = of["out_degree"].to_numpy()
            row[f"mean map mirrored, {short(method)}"] = mirrored(image) if len(image) else math.nan
        rows.append(row)
    return table(pd.DataFrame(rows), digits=2) + (
        "\n\nLopsided: mean difference of a map from its mirror image (left to right), over its "
        "mean. Mirrored: Pearson's correlation with the mirror image. Both of the runs' own maps, "
        "then the correlation of the mean map."
    )


def findings(attention: pd.DataFrame) -> list[Finding]:
    """Test whether random regrowth's inputs are more evenly and symmetrically connected.

    Symmetry has two meanings: how far a map is from its mirror image, which is small where all is
    even, and whether its pattern, however faint, is the same on both sides.
    """
    last = attention[attention["snapshot"] == attention["snapshot"].max()]
    claims = {
        "gini": ("spreads its inputs' connections more evenly (Gini", 1),
        "lopsided": ("is more symmetric (difference from the mirror image, over the mean", 1),
        "mirrored": ("has the more symmetric pattern (correlation with the mirror image", -1),
    }
    found = []
    for column, (claim, expected) in claims.items():
        text = f"random regrowth {claim}, end, {{rule}} − random)"
        found += against_random(last, column, text, expected, digits=3)
    return found


if __name__ == "__main__":
    print(main())
