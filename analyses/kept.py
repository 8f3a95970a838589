"""Tables about runs, kept as small Parquet files so that a figure can be drawn without the runs.

A kept study is a folder with ``runs.parquet`` (a row a run; settings as JSON), ``history.parquet``,
``snapshots.parquet`` and ``nodes.parquet``, the last perhaps of a part of the runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
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
        table = pd.read_parquet(self.path / "runs.parquet")
        rows: dict[str, dict[str, Any]] = {}
        for name, row in table.iterrows():
            values = {key: None if pd.isna(value) else value for key, value in row.items()}
            rows[str(name)] = {**values, "settings": json.loads(row["settings"])}
        return table_of_runs(rows)

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


def keep(
    measured: Measured, path: Path, with_snapshots: Iterable[str], with_nodes: Iterable[str]
) -> None:
    """Write a study of runs into a folder.

    Parameters
    ----------
    measured
        The runs.
    path
        The folder.
    with_snapshots, with_nodes
        Names of the runs whose snapshots are measured, and of those among them whose nodes are
        kept.
    """
    path.mkdir(parents=True, exist_ok=True)
    names = list(measured.runs.index)
    measured.plain_runs.to_parquet(path / "runs.parquet", compression="zstd")
    tables = {
        "history": measured.history(names),
        "snapshots": measured.snapshots(with_snapshots),
        "nodes": measured.nodes(with_nodes),
    }
    for name, table in tables.items():
        if table.empty:
            (path / f"{name}.parquet").unlink(missing_ok=True)
            continue
        _small(table).to_parquet(path / f"{name}.parquet", compression="zstd", index=False)


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
