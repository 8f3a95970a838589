"""Keep the tables about finished runs as small Parquet files.

    python analyses/keep.py outputs/runs docs/data/fashion-mnist-mlp --recipe fashion-mnist-mlp

The kept study takes the place of the runs in every analysis: ``--from-runs docs/data/…``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from kept import keep
from measured import Measured, finished


def main(argv: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        prog="analyses/keep.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, help="folder of finished runs")
    parser.add_argument("out", type=Path, help="folder of the kept study")
    parser.add_argument(
        "--where", default="", metavar="QUERY", help="e.g. \"recipe == 'digits' and epochs == 100\""
    )
    parser.add_argument(
        "--snapshots",
        default="",
        metavar="QUERY",
        help="runs whose snapshots are measured (default: all); 'False' for none",
    )
    parser.add_argument(
        "--nodes",
        default="",
        metavar="QUERY",
        help='those among them whose nodes are kept, e.g. "density == 0.05" (default: all)',
    )
    given = parser.parse_args(argv)
    folders = {folder.name: folder for folder in finished(given.runs)}
    runs = Measured(list(folders.values())).runs
    runs = chosen(runs, given.where)
    looked = chosen(runs, given.snapshots)
    with_nodes = chosen(looked, given.nodes)
    measured = Measured([folders[name] for name in runs.index])
    keep(measured, given.out, looked.index, with_nodes.index)
    size = sum(file.stat().st_size for file in given.out.glob("*.parquet"))
    print(
        f"{len(runs)} runs, snapshots of {len(looked)}, nodes of {len(with_nodes)}; "
        f"{size / 1e6:.2f} MB"
    )
    return given.out


def chosen(runs: pd.DataFrame, query: str) -> pd.DataFrame:
    """Return the runs that a query names: none for "False", all for an empty one."""
    if query == "False":
        return runs.iloc[:0]
    return runs.query(query) if query else runs


if __name__ == "__main__":
    print(main())
