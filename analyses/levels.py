"""What iterative pruning reaches at every density, and down to which one it stays good."""

from __future__ import annotations

import numpy as np
import pandas as pd
from curves import ends
from finding import TOLERANCE
from study import Study


def pruning(study: Study) -> pd.DataFrame:
    """Return the end of every level of every seed's longest IMP-C run; no row without one."""
    table = ends(study)
    table = table[table["kind"] == "imp-c"]
    longest = table.sort_values("cycle").groupby("seed")["run"].last()
    return table[table["run"].isin(longest)].reset_index(drop=True)


def keeps(levels: pd.DataFrame, last: pd.DataFrame) -> pd.DataFrame:
    """Return, by seed, the lowest density from which on a method stays near the dense accuracy.

    The dense accuracy of a seed is that of IMP-C before it prunes.
    """
    rows = []
    for seed, curve in levels.groupby("seed"):
        good = curve.loc[curve["density"].idxmax(), "val_accuracy"] - TOLERANCE
        own = last[(last["kind"] == "pwmpr") & (last["seed"] == seed)]
        for kind, part in (("imp-c", curve), ("pwmpr", own.assign(density=own["asked"]))):
            if part.empty:
                continue
            ordered = part.sort_values("density", ascending=False)
            held = ordered["val_accuracy"].ge(good).cummin()
            density = ordered.loc[held, "density"].min() if held.any() else np.nan
            rows.append(
                {
                    "kind": kind, "seed": seed, "beyond": bool(np.isnan(density)),
                    "lowest": 1.0 if np.isnan(density) else density,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
