"""The command line that all analyses share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """What an analysis was asked for.

    Attributes
    ----------
    recipe, data_dir
        What to train, and where its data lie; ``digits`` needs no folder.
    seeds
        One run a method and seed.
    out
        Folder of figures, numbers and runs.
    from_runs
        Folder with runs to draw from instead of training, or ``None``.
    workers
        Runs at a time, one thread each.
    settings
        Further settings of the recipe, as given on the command line.
    """

    recipe: str
    data_dir: Path | None
    seeds: tuple[int, ...]
    out: Path
    from_runs: Path | None
    workers: int
    settings: dict[str, object]


def parse(name: str, description: str, argv: list[str] | None = None) -> Command:
    """Read the command line of the analysis called ``name``."""
    parser = argparse.ArgumentParser(prog=f"analyses/{name}.py", description=description)
    parser.add_argument("--recipe", default="digits", help="what to train (default: digits)")
    parser.add_argument("--data-dir", type=Path, help="folder of the recipe's data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--out", type=Path, default=Path("outputs") / name, metavar="DIR")
    parser.add_argument("--from-runs", type=Path, metavar="DIR", help="draw from these runs")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting of the recipe"
    )
    given = parser.parse_args(argv)
    settings = {}
    for pair in given.set:
        key, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--set {pair}: expected NAME=VALUE, e.g. --set rough_epochs=5")
        settings[key.replace("-", "_")] = _number(value)
    return Command(
        given.recipe,
        given.data_dir,
        tuple(dict.fromkeys(given.seeds)),
        given.out,
        given.from_runs,
        max(1, given.workers),
        settings,
    )


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)
