"""The runs behind a figure: trained now, or read from folders of runs or from a kept study."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from command import Command
from kept import Kept, is_kept
from measured import Measured, finished

#: Settings that say where a run was trained and not what comes out.
WHERE = ("data_dir", "device", "threads", "checkpoint_epochs")


@dataclass(frozen=True)
class Study:
    """Some runs, and the tables about them.

    Attributes
    ----------
    runs
        A row a run, by its name: every setting under its own name (``density`` is the density
        asked for), then ``final_density``, ``accuracy`` (of the test data, 0 to 1), ``cost``
        (over dense training, nominal), ``flops_training``, ``flops_scoring``,
        ``flops_dense_gradient``, ``dense_flops``, ``seconds``, ``data_name``, ``network`` and the
        stopping rule's ``onset``, ``p0``, ``gain``, ``beta``, ``r2``, ``stopped``.
    source
        Where the tables come from.
    """

    runs: pd.DataFrame
    source: Kept | Measured = field(repr=False)

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Study:
        """Return the study of some folders of finished runs."""
        measured = Measured(folders)
        return cls(measured.runs, measured)

    @property
    def history(self) -> pd.DataFrame:
        """A row an epoch of every run (see `pwmpr.RunResult.history`), with ``run``."""
        return self._with_settings(self.source.history(self.runs.index))

    @property
    def snapshots(self) -> pd.DataFrame:
        """A row a snapshot of every run (see `topograph.evolution`), with ``run``."""
        return self._with_settings(self.source.snapshots(self.runs.index))

    @property
    def nodes(self) -> pd.DataFrame:
        """A row a node of some snapshots of every run.

        ``run``, ``snapshot``, ``step``, ``epoch``, ``group`` (number of the group, inputs 0),
        ``node`` (its number within the group), ``in_degree``, ``out_degree``, ``two_steps`` (paths
        of two edges that begin at it), ``shell``, ``hidden``.
        """
        return self._with_settings(self.source.nodes(self.runs.index))

    @property
    def what(self) -> str:
        """Which network on which data, in words."""
        pairs = self.runs[["network", "data_name"]].drop_duplicates()
        return " and ".join(
            f"{network} on {data}" for network, data in pairs.itertuples(index=False)
        )

    @property
    def seeds(self) -> int:
        """Number of different seeds."""
        return int(self.runs["seed"].nunique())

    @property
    def mean_of(self) -> str:
        """What a line without a band means, for captions."""
        return f"mean of {self.seeds} seeds" if self.seeds > 1 else "one seed"

    @property
    def spread(self) -> str:
        """What a line and a band mean, for captions."""
        return self.mean_of + ("; bands and bars: least to largest" if self.seeds > 1 else "")

    def where(self, condition: Callable[[pd.DataFrame], Any]) -> Study:
        """Return the runs for which ``condition``, called with `runs`, is true."""
        return Study(self.runs[condition(self.runs)], self.source)

    def _with_settings(self, table: pd.DataFrame) -> pd.DataFrame:
        """Put the settings in which the runs differ beside every row."""
        chosen = ["method", "seed"]
        for name in self.runs:
            column = self.runs[name].map(repr)
            if name not in table and name not in chosen and column.nunique() > 1:
                chosen.append(name)
        table = table.drop(columns=[c for c in chosen if c in table])
        return table.join(self.runs[chosen], on="run")


def gather(
    command: Command,
    plan: Sequence[Mapping[str, Any]],
    varies: Collection[str] | Mapping[str, Collection[str]],
) -> Study:
    """Train the runs of a plan, each only once, or find runs like these in ``from_runs``.

    Parameters
    ----------
    command
        What was asked for.
    plan
        Settings of the runs. With ``from_runs`` they say which methods are wanted, and with which
        values of settings in which runs may not differ.
    varies
        Settings in which the runs of one figure may differ, beside the seed; by method where
        methods vary in different ones. Where runs of one method in ``from_runs`` differ in another
        setting, those are taken that have what ``--set`` says, else what the plan says, else what
        their recipe says.
    """
    if command.from_runs is not None:
        return choose(read(command.from_runs), command, plan, varies)
    import pwmpr

    found = pwmpr.sweep(plan, engine="local", workers=command.workers, out=command.runs)
    if found.failed:
        raise SystemExit(
            f"{len(found.failed)} of {len(found)} runs have no result; the first: "
            f"{found.failed[0].folder}: {found.failed[0].error}"
        )
    return Study.of(found.folders)


def read(path: Path) -> Study:
    """Read a kept study, or a folder with finished runs."""
    if is_kept(path):
        kept = Kept(path)
        return Study(kept.runs, kept)
    return Study.of(finished(path))


def choose(
    study: Study,
    command: Command,
    plan: Sequence[Mapping[str, Any]],
    varies: Collection[str] | Mapping[str, Collection[str]],
) -> Study:
    """Return, of every method of a plan, the runs that differ in nothing but what may vary."""
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for run in plan:
        by_method.setdefault(str(run["method"]), []).append(run)
    every = study.runs
    if command.recipe is not None:
        every = every[every["recipe"] == command.recipe]
    for name in command.settings:
        if name not in every:
            raise SystemExit(f"--set {name}: no setting of a run; expected e.g. rough_epochs")
    parts = [
        _alike(
            every[every["method"] == method],
            command,
            wanted,
            set(varies.get(method, ()) if isinstance(varies, Mapping) else varies),
        )
        for method, wanted in by_method.items()
    ]
    runs = every[every.index.isin({name for part in parts for name in part.index})]
    missing = set(by_method) - set(runs["method"])
    if runs.empty:
        raise SystemExit(
            f"{command.from_runs} holds no run that {command.name} needs; expected the methods "
            f"{', '.join(sorted(missing))}. Remedy: pass another folder, or leave out --from-runs."
        )
    if missing:
        print(f"not in {command.from_runs}, so not drawn: {', '.join(sorted(missing))}")
    return Study(runs, study.source)


def _alike(
    runs: pd.DataFrame, command: Command, wanted: list[Mapping[str, Any]], varies: set[str]
) -> pd.DataFrame:
    """Return the runs of one method that differ in nothing but what may vary."""
    from pwmpr.running import resolve

    for name, value in command.settings.items():
        # Where a plan says otherwise than --set, the figure derives that setting.
        if all(repr(run.get(name)) == repr(value) for run in wanted):
            runs = runs[runs[name].map(lambda held, value=value: held == value)]
    stated = {
        name: wanted[0][name]
        for name in wanted[0]
        if name not in varies | {"recipe", "seed", *WHERE}
        and len({repr(run.get(name)) for run in wanted}) == 1
    }
    for name in settings_of(runs):
        if name in varies or name in ("seed", *WHERE) or runs[name].map(repr).nunique() <= 1:
            continue
        own = {recipe: getattr(resolve(recipe, **stated), name) for recipe in set(runs["recipe"])}
        same = [
            repr(_plain(a)) == repr(_plain(own[recipe]))
            for a, recipe in zip(runs[name], runs["recipe"], strict=True)
        ]
        if not any(same):
            values = ", ".join(sorted({str(value) for value in runs[name]}))
            raise SystemExit(
                f"the runs of {wanted[0]['method']} in {command.from_runs} differ in {name} "
                f"({values}), and none has what its recipe says. Remedy: choose with "
                f"--set {name}=VALUE."
            )
        runs = runs[same]
    return runs


def having(runs: pd.DataFrame, query: str) -> pd.DataFrame:
    """Return the rows of a table of runs that a query names, e.g. "seed == 0".

    Raises
    ------
    SystemExit
        If it is no query, or names none.
    """
    hint = "expected one on their columns, e.g. \"method == 'rigl' and density == 0.05\""
    try:
        found = runs.query(query)
    except Exception as error:  # pandas and Python raise many kinds
        raise SystemExit(f"the query {query!r} cannot be read ({error}); {hint}") from None
    if found.empty:
        raise SystemExit(f"no run has {query!r}; {hint}")
    return found


def settings_of(runs: pd.DataFrame) -> list[str]:
    """Return the columns of a table of runs that are settings."""
    from pwmpr.settings import NAMES

    return [name for name in NAMES if name in runs]


def _plain(value: Any) -> Any:
    """Return a setting as JSON gives it back."""
    return json.loads(json.dumps(value, default=list))
