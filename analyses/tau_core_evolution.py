"""How growth rules shape a network's paths: total path weight, τ-core, bottlenecks (P, Fig. 6).

Four rules grow the same networks from a few per cent of their weights: PWMPR, random growth (RG),
gradient growth (GG) and PWMP, which is PWMPR without its randomness. After every rough training,
just before the network grows, three numbers are taken from the tensor path (P's definition):

- total path weight magnitude product, as log10 R;
- size of the τ-core: the fewest hidden units through which τ = 90% of the path weight goes;
- average τ-core ratio: the same within each layer, over the layer's width, averaged. High means
  that no layer is a bottleneck.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/tau_core_evolution.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import style
from command import Command, parse
from grid import finished, grid, train
from matplotlib import pyplot as plt
from tqdm.auto import tqdm

import topograph as tg
from topograph.timeline import evolution

NAME = "tau_core_evolution"
METHODS = ("pwmpr", "random", "gradient", "pwmp")
TAU = 0.9
MEASURES = {
    "log10_total": "total path weight, log10 R",
    "tau_core_size": f"τ-core size (hidden units, τ = {TAU})",
    "tau_core_ratio": "average τ-core ratio (0 to 1)",
}
#: What is taken of topograph's table of a run, and what it is called in the CSV.
COLUMNS = {
    "recipe": "recipe",
    "method": "method",
    "seed": "seed",
    "snapshot": "cycle",
    "density": "density",
    "val_accuracy": "val_accuracy",
    "log10_paths": "log10_total",
    "tau_core": "tau_core_size",
    "average_tau_core_ratio": "tau_core_ratio",
}


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__.splitlines()[0], argv)
    folders = finished(command.from_runs) if command.from_runs else train_all(command)
    frame = pd.concat(
        [measure(folder) for folder in tqdm(folders, desc="measuring", unit="run")],
        ignore_index=True,
    )
    command.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(command.out / f"{NAME}.csv", index=False)
    settings = {
        "recipe": sorted(set(frame["recipe"])),
        "seeds": sorted({int(seed) for seed in frame["seed"]}),
        "tau": TAU,
        "runs": [str(folder) for folder in folders],
        "topograph": tg.__version__,
    }
    (command.out / f"{NAME}.json").write_text(json.dumps(settings, indent=2) + "\n")
    return draw(frame, command.out, " and ".join(dict.fromkeys(map(described, folders))))


def train_all(command: Command) -> list[Path]:
    settings: dict[str, object] = {"extensive": False, "density": 0.5, **command.settings}
    if command.data_dir is not None:
        settings["data_dir"] = command.data_dir
    runs = grid(command.recipe, METHODS, command.seeds, command.out / "runs", **settings)
    return train(runs, command.workers)


def measure(folder: Path) -> pd.DataFrame:
    """Return one row a snapshot of a run: density and the three measures."""
    return evolution(folder, tau=TAU)[list(COLUMNS)].rename(columns=COLUMNS)


def described(folder: Path) -> str:
    """Return in words what a run trained on which data."""
    settings = json.loads((folder / "settings.json").read_text())
    return f"{settings['model']['name']} on {settings['data']['name']}"


def draw(frame: pd.DataFrame, out: Path, what: str) -> Path:
    """Draw the three measures side by side and return the picture's path."""
    style.use_style()
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    seeds = frame["seed"].nunique()
    for axes, (measure_name, label), letter in zip(panels, MEASURES.items(), "abc", strict=True):
        for method in METHODS:
            part = frame[frame["method"] == method]
            if len(part):
                style.curve(axes, part, "density", measure_name, method)
        style.density_axis(axes, frame["density"])
        axes.set_title(f"({letter}) {label}", loc="left")
    panels[2].set_ylim(0, None)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    spread = f"mean of {seeds} seeds, band: least to largest" if seeds > 1 else "one seed"
    figure.suptitle(f"Paths while networks grow: {what} ({spread})", x=0.01, ha="left")
    return style.save(figure, out, NAME)


if __name__ == "__main__":
    print(main())
