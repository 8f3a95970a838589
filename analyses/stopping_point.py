"""Where growth stops: accuracy against density, its logistic fit and the onset (P, Fig. 8b, 9).

PWMPR grows until its stop rule ends growth: P(ρ) = P0 + A (1 − e^(−βρ)) is fitted to the
validation accuracies before each growth step, and growth stops at the first density past the onset,
the smallest density at which the fit reaches 95% of its asymptote. Beside it stands the same rule
with 95% of the gain A instead, which does not depend on where accuracy starts. Below, a run over
time: rough training and growth, then the extensive training. Networks that grew on to the densities
asked for show what stopping gives up.

Without arguments it trains on scikit-learn's embedded digits. The paper's own setting:

    python analyses/stopping_point.py --recipe cifar10-resnet32 --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import style
from command import Command, parse
from curves import ends, finals
from finding import (
    AGREES,
    DISAGREES,
    OPEN,
    Finding,
    as_good,
    difference,
    mean_and_spread,
    table,
)
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plans import grown, stopped
from present import percent, present, stated
from study import Study, gather

import pwmpr

NAME = "stopping_point"
SEEDS = (0, 1, 2, 3, 4)
#: Seeds that also grow past the onset.
BEYOND = 3
#: How dark each seed is drawn.
SHADES = (0.0, 0.35, 0.6, -0.3, -0.55)
MARKERS = "os^Dv"
#: What 95% refers to in the stop rule: P's, and the other.
REFERENCES = {"asymptote": "95% of the asymptote (P)", "gain": "95% of the gain"}
CAPTION = (
    "Where the stop rule ends PWMPR's growth. Upper row: validation accuracy before each growth "
    "step, a shade a seed, with the fitted curve and, upright, its onset: the density at which the "
    "fit reaches 95% of its asymptote (P's rule), or of its gain; then what extensive training "
    "makes of the networks where growth stopped (stars and diamonds) and of those that grew on to "
    "set densities (circles). Lower row: one run by P's rule over time, rough training and growth "
    "(a dotted line a growth step), then, shaded, the extensive training; grey is density, right "
    "axis."
)


def main(argv: list[str] | None = None) -> Path:
    command = parse(NAME, __doc__, argv, seeds=SEEDS)
    study = gather(command, plan(command), ("density", "plateau_reference"))
    own = study.where(lambda runs: runs["density"].isna())
    if own.runs.empty:
        raise SystemExit(
            f"{command.from_runs} holds no PWMPR run that stopped by itself (density None). "
            "Remedy: train some, or leave out --from-runs."
        )
    by = study.runs["plateau_reference"]
    rough = ends(own).query("phase == 'rough'").assign(stage="before growth")
    last = finals(study).assign(stage="after extensive training")
    rough["reference"], last["reference"] = rough["run"].map(by), last["run"].map(by)
    fits = fitted(rough, own)
    frame = pd.concat([rough, last], ignore_index=True).merge(fits, on="run", how="left")
    return present(
        command,
        frame.drop(columns=["fit", "reference_of_fit"]),
        draw(rough, last, fits, own),
        caption=CAPTION,
        study=study,
        findings=findings(last, fits),
        tables=[table_of(rough, last, fits)],
        facts={"level": pwmpr.plateau.LEVEL, "least_points": pwmpr.plateau.LEAST_POINTS},
    )


def plan(command: Command) -> list[dict[str, object]]:
    """Return runs that stop by themselves, and some that grow on to set densities."""
    own = stopped(command)
    if "plateau_reference" not in command.settings:
        own += stopped(command, plateau_reference="gain")
    return own + grown(command, ["pwmpr"], seeds=command.seeds[:BEYOND])


def fitted(rough: pd.DataFrame, own: Study) -> pd.DataFrame:
    """Return a row a run: the stop rule's fit to all of its rough trainings."""
    rows = []
    for run, part in rough.groupby("run", sort=False):
        reference = own.runs.loc[run, "plateau_reference"]
        fit = pwmpr.fit_plateau(part["density"], part["val_accuracy"], reference)
        rows.append(
            {
                "run": run, "reference_of_fit": reference, "fit": fit, "onset": fit.onset,
                "p0": fit.p0, "gain": fit.gain, "beta": fit.beta, "r2": fit.r2,
                "stopped": fit.stopped,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def draw(rough: pd.DataFrame, last: pd.DataFrame, fits: pd.DataFrame, own: Study) -> Figure:
    """Draw fits, what came of them, and one run over time."""
    style.use_style()
    references = [name for name in REFERENCES if name in set(rough["reference"])]
    figure, panels = plt.subplot_mosaic(
        [[*references, "outcomes"], ["time"] * (len(references) + 1)],
        figsize=(13, 7.6), layout="constrained",
    )  # fmt: skip
    letters = iter("abcd")
    looks = {seed: number for number, seed in enumerate(sorted(set(rough["seed"])))}
    for reference in references:
        axes, own_rough = panels[reference], rough[rough["reference"] == reference]
        for row in fits[fits["reference_of_fit"] == reference].itertuples():
            part = own_rough[own_rough["run"] == row.run]
            seed = int(part["seed"].iloc[0])
            colour = style.shade("pwmpr", SHADES[looks[seed] % len(SHADES)])
            one_fit(axes, part, row, colour, MARKERS[looks[seed] % len(MARKERS)], f"seed {seed}")
        few = own_rough["density"].nunique() <= 6  # so few have room for a tick each
        style.density_axis(axes, own_rough["density"], only=few)
        style.percent_axis(axes, "validation accuracy")
        style.letter(axes, next(letters), f"before growth; {REFERENCES[reference]}")
        axes.plot([], [], color="#555555", linestyle="--", linewidth=1, label="onset")
        style.legend_inside(axes)
    outcomes(panels["outcomes"], last)
    style.letter(panels["outcomes"], next(letters), "after extensive training")
    over_time(panels["time"], own, rough[rough["reference"] == references[0]], next(letters))
    seeds = rough["seed"].nunique()
    plural = "s, each drawn" if seeds > 1 else ""
    style.title(figure, f"Where growth stops: {own.what} ({seeds} seed{plural})")
    return figure


def one_fit(
    axes: Axes, part: pd.DataFrame, row: object, colour: str, marker: str, label: str
) -> None:
    """Draw one seed's accuracies, the fitted curve, and its onset."""
    axes.plot(
        part["density"], part["val_accuracy"], marker=marker, color=colour, linestyle="none",
        label=label,
    )  # fmt: skip
    fit = row.fit  # type: ignore[attr-defined]
    if fit.ok:
        at = np.geomspace(part["density"].min(), part["density"].max(), 200)
        axes.plot(at, fit.predict(at), color=colour, linewidth=1.2)
        axes.axvline(fit.onset, color=colour, linestyle="--", linewidth=1)


def outcomes(axes: Axes, last: pd.DataFrame) -> None:
    """Draw accuracy after extensive training, where growth stopped and where it went on."""
    own, beyond = last[last["asked"].isna()], last[last["asked"].notna()]
    if len(beyond):
        style.curve(
            axes, beyond, "asked", "val_accuracy", "pwmpr", label="grown on to set densities"
        )
    for (reference, words), marker, size in zip(REFERENCES.items(), "*d", (110, 55), strict=True):
        of = own[own["reference"] == reference]
        if len(of):
            axes.scatter(
                of["density"], of["val_accuracy"], marker=marker, s=size, edgecolor="black",
                color=style.shade("pwmpr", 0.0 if reference == "asymptote" else 0.5),
                linewidth=0.6, zorder=4, label=f"stopped: {words}",
            )  # fmt: skip
    style.density_axis(axes, pd.concat([own["density"], beyond["asked"]]))
    style.percent_axis(axes, "validation accuracy")
    low, high = last["val_accuracy"].min(), last["val_accuracy"].max()
    room = max(high - low, 0.001)
    axes.set_ylim(low - 0.08 * room, high + 0.42 * room)  # the legend stands above all points
    axes.legend(loc="upper left", fontsize=9)


def over_time(axes: Axes, own: Study, rough: pd.DataFrame, letter: str) -> None:
    """Draw accuracy and density of the first seed's run from beginning to end."""
    run = rough.sort_values("seed")["run"].iloc[0]
    history = own.history
    history = history[history["run"] == run]
    name, colour, _ = style.named("pwmpr")
    axes.plot(history["epoch"], history["val_accuracy"], color=colour, label=f"{name}, accuracy")
    steps = history.loc[history["cycle"].diff() > 0, "epoch"] - 1
    for step in steps:
        axes.axvline(step, color="#888888", linestyle=":", linewidth=0.8, zorder=1)
    extensive = history.loc[history["phase"] == "extensive", "epoch"]
    if len(extensive):
        axes.axvspan(extensive.min() - 1, extensive.max(), color=colour, alpha=0.08, linewidth=0)
        axes.text(
            extensive.mean(), 0.04, "extensive training", ha="center", fontsize=9,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.text(
        (history["phase"] == "rough").sum() / 2, 0.04, "rough training and growth", ha="center",
        fontsize=9, transform=axes.get_xaxis_transform(),
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
    )  # fmt: skip
    axes.set_xlim(0, history["epoch"].max())
    axes.set_xlabel("epochs")
    style.percent_axis(axes, "validation accuracy")
    right = axes.twinx()
    right.step(
        [0, *history["epoch"]], np.r_[history["density"].iloc[0], history["density"]] * 100,
        color="#777777", where="pre",
    )  # fmt: skip
    right.set_ylabel("density (% of weights kept)", color="#777777")
    right.set_ylim(0, None)
    right.grid(visible=False)
    seed = int(rough.loc[rough["run"] == run, "seed"].iloc[0])
    style.letter(axes, letter, f"over time, seed {seed}")


def table_of(rough: pd.DataFrame, last: pd.DataFrame, fits: pd.DataFrame) -> str:
    """Return a row a seed: onset, fit, and the network that came of it."""
    rows = []
    for row in fits.itertuples():
        end = last[last["run"] == row.run].iloc[0]
        rows.append(
            {
                "rule": REFERENCES[row.reference_of_fit],
                "seed": int(end["seed"]),
                "points": int((rough["run"] == row.run).sum()),
                "onset": percent(row.onset, 2),
                "stopped at density": percent(end["density"], 2),
                "asymptote (%)": row.fit.asymptote * 100,
                "r²": row.r2,
                "test accuracy (%)": end["accuracy"] * 100,
                "cost (× dense)": f"{end['cost']:.3f}",
            }
        )
    return table(pd.DataFrame(rows).sort_values(["rule", "seed"], ascending=[False, True]))


def findings(last: pd.DataFrame, fits: pd.DataFrame) -> list[Finding]:
    """Say whether seeds stop alike, and whether more growth would have helped; a rule at a time."""
    found = []
    beyond = last[last["asked"].notna()]
    far = beyond[beyond["asked"] == beyond["asked"].max()].assign(side="far")
    for reference, words in REFERENCES.items():
        stops = last[last["asked"].isna() & (last["reference"] == reference)].assign(side="own")
        if stops.empty:
            continue
        rule = words if reference == "asymptote" else f"{words}, not P's"
        onsets = fits.loc[fits["reference_of_fit"] == reference, "onset"].dropna()
        apart = int(stops["cycle"].max() - stops["cycle"].min())
        found.append(
            Finding(
                f"the onset ({rule}) is stable over seeds: they stop at one growth step or at two "
                "neighbouring ones",
                f"onset {mean_and_spread(onsets, 100)}% of weights; growth stopped "
                f"{stops['cycle'].min()} to {stops['cycle'].max()} steps after the start, at "
                f"{percent(stops['density'].min(), 2)} to {percent(stops['density'].max(), 2)}",
                OPEN if len(stops) < 2 else AGREES if apart <= 1 else DISAGREES,
            )
        )
        gap = difference(pd.concat([stops, far]), "accuracy", "side", "own", "far", ["seed"])
        if gap.pairs:
            found.append(
                as_good(
                    f"accuracy after extensive training has levelled off where growth stops "
                    f"({rule}; test, stopped − grown to {stated(float(far['asked'].iloc[0]))})",
                    gap.text(100, unit=" points"),
                    gap,
                )
            )
    return found


if __name__ == "__main__":
    print(main())
