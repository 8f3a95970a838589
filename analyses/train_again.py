"""Train one run of a kept study again, and lay the two side by side.

    python analyses/train_again.py docs/data/fashion-mnist-mlp --data-dir DIR
    python analyses/train_again.py docs/data/fashion-mnist-mlp --data-dir DIR --where "seed == 1"
    python analyses/train_again.py docs/data/fashion-mnist-mlp --data-dir DIR --run NAME

Without a name or a query the run that took least time is trained. The settings are the kept ones,
all of them. On one kind of processor with the same versions every number comes out the same; on
another one roundings differ, and accuracies come out as near as two seeds are. Counts of weights
and floating-point operations follow from the settings wherever they are trained, unless a rule
stops by the accuracy that it sees. Exit status 1 where they differ.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from finding import table
from study import Study, having, read, settings_of

import topograph as tg

#: Columns of a history that follow from the settings, and those that training has measured.
COUNTED = ["phase", "cycle", "epoch", "step", "count", "lr", "flops"]
MEASURED = ["train_loss", "val_loss", "val_accuracy"]


def main(argv: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        prog="analyses/train_again.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=Path, help="a kept study, or a folder of finished runs")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the data")
    parser.add_argument("--run", metavar="NAME", help="which run, by its name")
    parser.add_argument("--where", metavar="QUERY", help='which, e.g. "seed == 0"')
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to keep the new run in")
    given = parser.parse_args(argv)
    study = read(given.study)
    one = Study(study.runs.loc[[chosen(study.runs, given.run, given.where)]], study.source)
    name = str(one.runs.index[0])
    print(f"training {name}, which took {one.runs['seconds'].iloc[0]:.0f} s")
    if given.out is not None:
        return trained(one, given.data_dir, given.out)
    with tempfile.TemporaryDirectory() as folder:
        return trained(one, given.data_dir, Path(folder) / name)


def chosen(runs: pd.DataFrame, name: str | None, query: str | None) -> str:
    """Return the name of the run that is meant: of several, the one that took least time."""
    if name is not None:
        if name not in runs.index:
            raise SystemExit(
                f"there is no run {name!r} among {len(runs)}; expected e.g. {runs.index[0]}. "
                "Remedy: choose by --where."
            )
        return name
    found = having(runs, query) if query else runs
    return str(found["seconds"].astype(float).idxmin())


def trained(one: Study, data_dir: Path | None, out: Path) -> Path:
    """Train, say what came of it, and return the folder of the new run.

    Raises
    ------
    SystemExit
        If it cannot be trained, and with status 1 where what follows from the settings differs.
    """
    import pwmpr

    held = {name: one.runs[name].iloc[0] for name in settings_of(one.runs)}
    held["data_dir"] = None if data_dir is None else str(data_dir)
    try:
        result = pwmpr.run(held.pop("recipe"), out=out, **held)
    except tg.TopographError as error:
        raise SystemExit(str(error)) from None
    row, again = one.runs.iloc[0], result.history
    before = one.source.history([str(row.name)])
    told = {
        "weights": (f"{before['count'].iloc[-1]:,}", f"{again['count'].iloc[-1]:,}"),
        "density": (f"{row['final_density']:.4%}", f"{result.density:.4%}"),
        "epochs": (str(len(before)), str(len(again))),
        "cost (× dense)": (f"{row['cost']:.6f}", f"{result.cost:.6f}"),
        "test accuracy (%)": (f"{row['accuracy'] * 100:.2f}", f"{result.accuracy * 100:.2f}"),
    }
    print(table(pd.DataFrame([{"": what, "kept": a, "again": b} for what, (a, b) in told.items()])))
    common = slice(0, min(len(before), len(again)))
    counted = len(before) == len(again) and all(same(before[c], again[c]) for c in COUNTED)
    bits = counted and all(same(before[c], again[c]) for c in MEASURED)
    apart = (before["val_accuracy"][common] - again["val_accuracy"][common]).abs()
    print(
        "every number of every epoch is the same"
        if bits
        else f"validation accuracies of an epoch differ by up to {apart.max() * 100:.2f} points, "
        f"{apart.mean() * 100:.2f} on average; in the last epoch by {apart.iloc[-1] * 100:.2f}"
    )
    if not counted:
        raise SystemExit(
            f"{row.name} trained again has other counts of weights, steps or operations than the "
            "kept one. Where its rule does not stop by accuracy, that is an error of this version."
        )
    return out


def same(one: pd.Series, other: pd.Series) -> bool:
    """Return whether two columns hold the same values."""
    return bool((one.astype(other.dtype).to_numpy() == other.to_numpy()).all())


if __name__ == "__main__":
    main()
