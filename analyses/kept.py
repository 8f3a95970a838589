"""Tables about runs, kept as small Parquet files so that a figure can be drawn without the runs.

A kept study is a folder with ``runs.parquet`` (a row a run; settings as JSON), ``history.parquet``,
``snapshots.parquet`` and ``nodes.parquet``, the last perhaps of a part of the runs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from measured import Measured, table_of_runs

TABLES = ("history", "snapshots", "nodes")


def is_kept(path: Path) -> bool:
    """Return whether a folder is a kept study."""
    return (path / "runs.parquet").is_file()


class Kept:
    """The tables of a kept study.

    Parameters
    ----------
    path
        Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run; see `study.Study.runs`."""
        return table_of_runs(self.described)

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """Settings and plain results of every run, by its name."""
        table = pd.read_parquet(self.path / "runs.parquet")
        rows: dict[str, dict[str, Any]] = {}
        for name, row in table.iterrows():
            values = {key: None if pd.isna(value) else value for key, value in row.items()}
            rows[str(name)] = {**values, "settings": json.loads(row["settings"])}
        return rows

    def history(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row an epoch of some runs."""
        return self._part("history", names)

    def snapshots(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row a snapshot of some runs."""
        return self._part("snapshots", names)

    def nodes(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row a node of some snapshots of some runs."""
        return self._part("nodes", names)

    def _part(self, table: str, names: Iterable[str]) -> pd.DataFrame:
        wanted = list(names)
        if not wanted:
            return pd.DataFrame()
        file = self.path / f"{table}.parquet"
        if not file.is_file():
            raise SystemExit(
                f"{self.path} keeps no {table}. Remedy: draw from the folders of the runs."
            )
        whole = pd.read_parquet(file, filters=[("run", "in", wanted)])
        missing = sorted(set(wanted) - set(whole["run"].astype(str)))
        if missing:
            raise SystemExit(
                f"{self.path / table}.parquet does not hold the run {missing[0]}"
                + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
                + ". Remedy: draw from the folders of the runs, or choose others with --set."
            )
        order = {name: number for number, name in enumerate(wanted)}
        whole["run"] = whole["run"].astype(str)
        return whole.sort_values(
            "run", key=lambda c: c.map(order), kind="stable", ignore_index=True
        )


class Joined:
    """The tables of several sources; of a run that several hold, those of the first.

    Parameters
    ----------
    sources
        Kept studies and folders of runs.
    """

    def __init__(self, sources: Sequence[Kept | Measured]) -> None:
        self._holder: dict[str, Kept | Measured] = {}
        for source in sources:
            for name in source.described:
                self._holder.setdefault(name, source)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run; see `study.Study.runs`."""
        return table_of_runs(self.described)

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """Settings and plain results of every run, by its name."""
        return {name: source.described[name] for name, source in self._holder.items()}

    def history(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row an epoch of some runs."""
        return self._parts("history", names)

    def snapshots(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row a snapshot of some runs."""
        return self._parts("snapshots", names)

    def nodes(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row a node of some snapshots of some runs."""
        return self._parts("nodes", names)

    def _parts(self, table: str, names: Iterable[str]) -> pd.DataFrame:
        asked: dict[Kept | Measured, list[str]] = {}
        for name in names:
            asked.setdefault(self._holder[name], []).append(name)
        parts = [getattr(source, table)(wanted) for source, wanted in asked.items()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def keep(
    source: Kept | Measured | Joined,
    path: Path,
    runs: Iterable[str],
    with_snapshots: Iterable[str],
    with_nodes: Iterable[str],
) -> None:
    """Write a study of runs into a folder.

    Parameters
    ----------
    source
        What holds the runs.
    path
        The folder; a study that it keeps already is replaced when the new one is whole.
    runs
        Names of the runs that are kept, in any order.
    with_snapshots, with_nodes
        Names of the runs whose snapshots are measured, and of those among them whose nodes are
        kept.
    """
    names = sorted(runs)
    tables = {
        "history": source.history(names),
        "snapshots": source.snapshots(sorted(with_snapshots)),
        "nodes": source.nodes(sorted(with_nodes)),
    }
    rows = [_told(source.described[name]) for name in names]
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        new = Path(place)
        pd.DataFrame(rows, index=pd.Index(names, name="run")).to_parquet(
            new / "runs.parquet", compression="zstd"
        )
        for name, table in tables.items():
            if not table.empty:
                _small(table).to_parquet(new / f"{name}.parquet", compression="zstd", index=False)
        for name in ("runs", *TABLES):
            file = f"{name}.parquet"
            if (new / file).exists():
                (new / file).replace(path / file)
            else:
                (path / file).unlink(missing_ok=True)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a run's row with its settings as JSON, without where somebody's data lay."""
    settings = dict(row["settings"])
    if settings.get("data_dir"):
        settings["data_dir"] = Path(settings["data_dir"]).name
    return {**row, "settings": json.dumps(settings)}


def _small(table: pd.DataFrame) -> pd.DataFrame:
    """Return the same values in as few bytes as hold them."""
    small = {}
    for name, column in table.items():
        if column.dtype == object:
            small[name] = column.astype("category")
        elif pd.api.types.is_integer_dtype(column):
            small[name] = pd.to_numeric(column, downcast="integer")
        else:
            small[name] = column
    return pd.DataFrame(small)
