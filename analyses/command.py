"""The command line that all analyses share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Where runs lie unless the caller says otherwise: analyses that need the same run share it.
RUNS = Path("outputs") / "runs"


@dataclass(frozen=True)
class Command:
    """What an analysis was asked for.

    Attributes
    ----------
    name
        The analysis, and the name of the files that it leaves.
    title
        What it shows, in one line.
    recipe, data_dir
        What to train, and where its data lie; ``digits`` needs no folder. ``recipe`` is ``None``
        where runs that exist are drawn and the caller named none.
    seeds
        One run a method and seed.
    densities
        Densities at which networks are trained to the end.
    out
        Folder of figures and numbers.
    runs
        Folder of the runs that are trained.
    from_runs
        Folder with runs to draw from instead of training, or ``None``.
    workers
        Runs at a time, one thread each.
    settings
        Further settings of the recipe; with ``from_runs``, those that runs must have.
    options
        What an analysis asks for beside this, e.g. thresholds.
    """

    name: str
    title: str
    recipe: str | None
    data_dir: Path | None
    seeds: tuple[int, ...]
    densities: tuple[float, ...]
    out: Path
    runs: Path
    from_runs: Path | None
    workers: int
    settings: dict[str, object]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def common(self) -> dict[str, object]:
        """Recipe, data folder and settings that every run of a plan begins with."""
        where = {} if self.data_dir is None else {"data_dir": str(self.data_dir)}
        return {"recipe": self.recipe, **where, **self.settings}


def parse(
    name: str,
    text: str,
    argv: list[str] | None = None,
    *,
    recipe: str = "digits",
    seeds: Sequence[int] = (0, 1, 2),
    densities: Sequence[float] = (0.1, 0.2, 0.4),
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Command:
    """Read the command line of the analysis called ``name``, whose docstring is ``text``.

    ``options`` are an analysis' own: name to what argparse is told about it.
    """
    title = text.strip().splitlines()[0]
    parser = argparse.ArgumentParser(
        prog=f"analyses/{name}.py",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", help=f"what to train (default: {recipe})")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the recipe's data")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds), metavar="SEED")
    parser.add_argument(
        "--densities",
        type=float,
        nargs="+",
        default=list(densities),
        metavar="D",
        help="where networks are trained to the end, 0 to 1 (default: "
        + (" ".join(map(str, densities)) or "the recipe's")
        + ")",
    )
    parser.add_argument("--out", type=Path, default=Path("outputs") / name, metavar="DIR")
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="DIR",
        help=f"where the runs lie that are trained (default: {RUNS}, or --out's runs/)",
    )
    parser.add_argument(
        "--from-runs",
        type=Path,
        metavar="DIR",
        help="draw from these instead of training: a folder of runs, or a study of docs/data",
    )
    parser.add_argument("--workers", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting of the recipe; with --from-runs, what the runs must have",
    )
    for option, told in (options or {}).items():
        parser.add_argument(f"--{option}", **told)
    given = parser.parse_args(argv)
    settings = {}
    for pair in given.set:
        key, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--set {pair}: expected NAME=VALUE, e.g. --set rough_epochs=5")
        settings[key.replace("-", "_")] = _value(value)
    for density in given.densities:
        if not 0 < density <= 1:
            parser.error(f"--densities {density}: expected numbers above 0 and up to 1")
    default_out = given.out == parser.get_default("out")
    return Command(
        name=name,
        title=title,
        recipe=given.recipe or (None if given.from_runs else recipe),
        data_dir=given.data_dir,
        seeds=tuple(dict.fromkeys(given.seeds)),
        densities=tuple(sorted(set(given.densities))),
        out=given.out,
        runs=given.runs or (RUNS if default_out else given.out / "runs"),
        from_runs=given.from_runs,
        workers=max(1, given.workers),
        settings=settings,
        options={option: getattr(given, option.replace("-", "_")) for option in options or {}},
    )


def _value(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)
