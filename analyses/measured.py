"""Tables about runs, taken from the runs' own folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

import topograph as tg

#: Snapshots of a run at which every node is looked at: the first of them, where most changes, and
#: the others evenly spread up to the last.
LOOKS = 25
AT_FIRST = 3


class Measured:
    """What folders of finished runs hold, and what topograph finds in them.

    Parameters
    ----------
    folders
        Of finished runs; their names tell them apart.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = {f.name: f for f in sorted(folders, key=lambda f: f.name)}
        if len(self._folders) < len(folders):
            raise SystemExit(
                "two folders of runs have the same name; expected each run once. "
                "Remedy: pass a folder that holds each run once."
            )
        self._looked: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run; see `study.Study.runs`."""
        return table_of_runs(self.described)

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """Settings and plain results of every run, by its name."""
        return {name: described(folder) for name, folder in self._folders.items()}

    def history(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row an epoch of some runs."""
        from pwmpr.result import RunResult

        tables = [
            RunResult.load(self._folders[name], weights=False).history.assign(run=name)
            for name in names
        ]
        return pd.concat(tables, ignore_index=True)

    def snapshots(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row a snapshot of some runs."""
        return _joined(look[0] for look in self._look(names))

    def nodes(self, names: Iterable[str]) -> pd.DataFrame:
        """Return a row a node of some snapshots of some runs."""
        return _joined(look[1] for look in self._look(names))

    def _look(self, names: Iterable[str]) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
        names = list(names)
        waiting = [name for name in names if name not in self._looked]
        for name in tqdm(waiting, desc="measuring", unit="run", disable=None if waiting else True):
            self._looked[name] = look(self._folders[name], name)
        return [self._looked[name] for name in names]


def _joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    held = list(tables)
    return pd.concat(held, ignore_index=True) if held else pd.DataFrame()


def finished(path: Path) -> list[Path]:
    """Return the folders of finished runs in ``path``, in the order of their names."""
    folders = sorted((file.parent for file in path.glob("**/result.json")), key=lambda f: f.name)
    if not folders:
        raise SystemExit(
            f"{path} holds no finished run; expected folders with a result.json, or the "
            "runs.parquet of a kept study. Remedy: pass the folder that holds the run folders."
        )
    return folders


def described(folder: Path) -> dict[str, Any]:
    """Return a finished run's settings and plain results."""
    opened = json.loads((folder / "settings.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    stopping = result["stopping"] or {}
    return {
        "settings": opened["settings"],
        "network": opened["model"]["name"],
        "data_name": result["data"],
        "final_density": result["density"],
        "accuracy": result["accuracy"],
        "cost": result["cost"],
        **{f"flops_{kind}": value for kind, value in result["flops"].items()},
        "dense_flops": result["dense_flops"],
        "seconds": sum(result["seconds"].values()),
        **{name: stopping.get(name) for name in ("onset", "p0", "gain", "beta", "r2", "stopped")},
    }


def table_of_runs(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a row a run, the settings spread over columns of their own."""
    table = pd.DataFrame(
        [
            {**row["settings"], **{k: v for k, v in row.items() if k != "settings"}}
            for row in rows.values()
        ],
        index=pd.Index(list(rows), name="run"),
    )
    # Settings keep what JSON holds: None is no number, and integers stay integers.
    for name in next(iter(rows.values()))["settings"] if rows else ():
        table[name] = pd.Series(
            [row["settings"].get(name) for row in rows.values()], index=table.index, dtype=object
        )
    return table


def looked_at(count: int) -> set[int]:
    """Return at which of ``count`` snapshots every node is looked at: at most `LOOKS`."""
    even = min(LOOKS - AT_FIRST + 1, count)
    return {*range(min(AT_FIRST, count)), *np.linspace(0, count - 1, even).round().astype(int)}


def look(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the snapshots of a run, and the nodes of `LOOKS` of them."""
    from pwmpr.result import RunResult

    snapshots = RunResult.load(folder, weights=False).snapshots
    chosen = looked_at(len(snapshots))
    tables: list[pd.DataFrame] = []
    seen = 0

    def nodes(graph: tg.LayeredGraph) -> float:
        nonlocal seen
        if seen in chosen:
            now = snapshots[seen]
            tables.append(
                nodes_of(graph).assign(snapshot=now.cycle, step=now.step, epoch=now.epoch)
            )
        seen += 1
        return 0.0

    measured = tg.evolution(folder, also={"nodes": nodes}).drop(columns="nodes")
    return measured.assign(run=name), pd.concat(tables, ignore_index=True).assign(run=name)


def nodes_of(graph: tg.LayeredGraph) -> pd.DataFrame:
    """Return every node's place, degrees, two-step paths and shell."""
    incoming, outgoing = tg.degree(graph, "in"), tg.degree(graph, "out")
    shell, onward = tg.k_shell(graph), two_steps(graph, outgoing)
    ids = np.arange(graph.n_nodes)
    rows = []
    for number, group in enumerate(graph.groups):
        of = ids[graph.nodes(group)]
        rows.append(
            pd.DataFrame(
                {
                    "group": number,
                    "node": np.arange(len(of)),
                    "in_degree": incoming[of],
                    "out_degree": outgoing[of],
                    "two_steps": onward[of],
                    "shell": shell[of],
                    "hidden": group in graph.hidden,
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def two_steps(graph: tg.LayeredGraph, outgoing: np.ndarray) -> np.ndarray:
    """Return the number of paths of two edges that begin at every node, by node id."""
    paths = np.zeros(graph.n_nodes, np.int64)
    for block in graph.weight_blocks:
        matrix = block.matrix  # (targets, sources)
        edges = np.repeat(outgoing[graph.nodes(block.target)], np.diff(matrix.indptr))
        onward = np.bincount(matrix.indices, weights=edges, minlength=matrix.shape[1])
        paths[graph.nodes(block.source)] += onward.astype(np.int64)
    return paths
