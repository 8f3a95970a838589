"""Keep the tables about finished runs as small Parquet files.

    python analyses/keep.py outputs/runs docs/data/fashion-mnist-mlp --where "epochs == 40"

The kept study takes the place of the runs in every analysis: ``--from-runs docs/data/…``. Several
sources are joined, and a kept study may be one of them. So runs are added to a study:

    python analyses/keep.py docs/data/fashion-mnist-mlp outputs/runs docs/data/fashion-mnist-mlp
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from kept import Joined, Kept, is_kept, keep
from measured import Measured, finished
from study import having


def main(argv: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        prog="analyses/keep.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", help="folders of finished runs, or kept studies"
    )
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
    source = Joined([opened(path) for path in given.sources])
    runs = chosen(source.runs, given.where)
    looked = chosen(runs, given.snapshots)
    with_nodes = chosen(looked, given.nodes)
    keep(source, given.out, runs.index, looked.index, with_nodes.index)
    size = sum(file.stat().st_size for file in given.out.glob("*.parquet"))
    print(
        f"{len(runs)} runs, snapshots of {len(looked)}, nodes of {len(with_nodes)}; "
        f"{size / 1e6:.2f} MB"
    )
    return given.out


def opened(path: Path) -> Kept | Measured:
    """Return a kept study, or the finished runs in a folder, each once."""
    if is_kept(path):
        return Kept(path)
    return Measured(list({folder.name: folder for folder in finished(path)}.values()))


def chosen(runs: pd.DataFrame, query: str) -> pd.DataFrame:
    """Return the runs that a query names: none for "False", all for an empty one."""
    if query == "False":
        return runs.iloc[:0]
    return having(runs, query) if query else runs


if __name__ == "__main__":
    print(main())
