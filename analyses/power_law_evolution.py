"""Whether the degrees of a rewired network come to follow a power law (S, Figs. 6 and 7).

A discrete power law is fitted to the hidden units' degrees at every snapshot looked at: exponent α,
its standard error σ, the Kolmogorov-Smirnov distance D between tail and law, and p, the part of the
synthetic data sets from the law that are farther from their own fit (bootstrap). Twice: with the
tail beginning where the law fits best, and at one degree for all, as S does at 110, three quarters
of its network's mean degree (``--xmin`` names another).

p decides by two rules. S states one (section 5.3): the power law is rejected where p < 0.95. It
cites the other (section 4.6, after Clauset et al.): a power law is plausible where p > 0.1. If the
law is true, p is evenly spread between 0 and 1, so the first rejects it 95 times of 100 and the
second 10 times. Both verdicts are given; a claim agrees where more than half of every rule's runs
pass.

What S leaves open is whether another distribution fits the same tail better: likelihood-ratio tests
against lognormal, exponential and truncated power law, at the end of training.

Without arguments it trains on scikit-learn's embedded digits, in S's setting on a small network. As
S, with a larger one:

    python analyses/power_law_evolution.py --recipe fashion-mnist-mlp-survival --data-dir DIR
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import style
from finding import AGREES, DISAGREES, Finding, deviation, difference, table, together, verdict
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from power_law_fits import (
    BEST,
    LEVEL,
    RIVALS,
    TAILS,
    Fits,
    by_method,
    compared,
    distribution,
    fit_all,
)
from present import present
from rewiring import METHODS, asked, hidden, moments, rewired, short
from study import Study

NAME = "power_law_evolution"
MEASURES = {
    "alpha": "exponent α",
    "sigma": "standard error σ of α",
    "D": "distance D",
    "p_value": "bootstrap p",
}
#: At most this p: no power law. S's own rule, and that of Clauset et al., which S cites.
STRICT, USUAL = 0.95, 0.1
OPTIONS = {
    "xmin": {
        "type": int,
        "metavar": "K",
        "help": "where the fixed tail begins (default: at 0.75 of the mean degree)",
    },
    "replicas": {
        "type": int,
        "default": 500,
        "metavar": "N",
        "help": "size of the bootstrap (default: %(default)s)",
    },
}
CAPTION = (
    "Power laws fitted to the hidden units' degrees while networks are rewired. Solid, with bands: "
    "the tail begins where the law fits best; dotted: at {xmin} connections, as S fixes it. (a) "
    "Exponent, shaded: S's 2 to 3; (b) its standard error; (c) largest distance between data and "
    "law; (d) bootstrap p, with S's bound 0.95 and the usual 0.1. (e, f) Final degrees of the "
    "first seed: part of the tail up to k (steps) and the law (dashed); thick bars: D. (g, h) "
    "Log-likelihood of the power law minus another distribution's on the same tail, a point a run: "
    "below 0 the other fits better; filled: told apart at p ≤ 0.1."
)


def main(argv: list[str] | None = None) -> Path:
    command = asked(NAME, __doc__, argv, OPTIONS)
    study = rewired(command)
    fits = fit_all(hidden(study), command.options["xmin"], command.options["replicas"])
    rivals = compared(fits, int(fits.frame["snapshot"].max()))
    return present(
        command,
        joined(fits.frame, rivals),
        draw(fits, rivals, study),
        caption=CAPTION.format(xmin=fits.fixed_xmin),
        study=study,
        findings=findings(fits.frame, rivals),
        tables=[table_of(fits.frame), table_of_rivals(rivals)],
        facts={
            "fixed_xmin": fits.fixed_xmin,
            "replicas": command.options["replicas"],
            "p_rules": {"S, section 5.3": STRICT, "Clauset et al.; S, section 4.6": USUAL},
        },
    )


def joined(frame: pd.DataFrame, rivals: pd.DataFrame) -> pd.DataFrame:
    """Put R and p of the other distributions beside the last snapshot's fits."""
    wide = rivals.pivot_table(index=["tail", "run"], columns="rival", values=["R", "p"])
    wide.columns = [f"{what}_{rival}" for what, rival in wide.columns]
    last = frame["snapshot"] == frame["snapshot"].max()
    ends = frame[last].join(wide, on=["tail", "run"])
    return pd.concat([frame[~last], ends]).sort_index().drop(columns="run")


def draw(fits: Fits, rivals: pd.DataFrame, study: Study) -> Figure:
    """Draw the four numbers over training, data and law at the end, and the other laws."""
    style.use_style()
    figure, panels = plt.subplots(2, 4, figsize=(12.5, 6.6), layout="constrained")
    for axes, (measure, label), which in zip(panels[0], MEASURES.items(), "abcd", strict=True):
        course(axes, fits.frame, measure)
        style.letter(axes, which, label)
    panels[0, 0].axhspan(2, 3, color="#999999", alpha=0.35, linewidth=0)
    for axes in panels[0, :2]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    panels[0, 0].set_yticks([2, 3, 5, 10, 20], ["2", "3", "5", "10", "20"])
    panels[0, 2].set_ylim(0, None)
    for bound in (STRICT, USUAL):
        panels[0, 3].axhline(bound, color="#444444", linestyle=(0, (4, 3)), linewidth=1)
        panels[0, 3].annotate(
            f"{bound}", (1, bound), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            fontsize=9,
        )  # fmt: skip
    panels[0, 3].set_ylim(-0.02, 1.08)
    for axes, tail, which in zip(panels[1, :2], TAILS, "ef", strict=True):
        distances(axes, fits, tail)
        style.letter(axes, which, f"data and law, {tail}")
    panels[1, 0].set_ylabel("part of the tail with at most k")
    for axes, tail, which in zip(panels[1, 2:], TAILS, "gh", strict=True):
        against(axes, rivals[rivals["tail"] == tail])
        style.letter(axes, which, f"against others, {tail}")
    panels[1, 2].set_ylabel("log-likelihood ratio R\n(above 0: power law)")
    style.legend_below(figure, panels[0, 0])
    style.title(figure, f"Power laws under rewiring: {study.what} ({study.spread})")
    return figure


def course(axes: Axes, frame: pd.DataFrame, measure: str) -> None:
    """Draw a fitted number over training, of the two tails."""
    for method, part in by_method(frame):
        rule = style.REGROW[method]
        style.curve(axes, part[part["tail"] == BEST], "epochs", measure, rule)
        fixed = part[part["tail"] != BEST].groupby("epochs")[measure].mean().dropna()
        axes.plot(fixed.index, fixed, color=style.named(rule)[1], linestyle=":", linewidth=1.8)
    axes.set_xlabel("epoch")


def distances(axes: Axes, fits: Fits, tail: str) -> None:
    """Draw each rule's tail, its law, and where they are farthest apart, of the first seed."""
    frame = fits.frame
    last = frame["snapshot"].max()
    ends = frame[(frame["snapshot"] == last) & (frame["seed"] == frame["seed"].min())]
    for method, part in by_method(ends):
        fit = fits.of[tail, str(part["run"].iloc[0]), int(last)]
        if not fit.ok:
            continue
        _, colour, _ = style.named(style.REGROW[method])
        degrees, data, law = distribution(fit)
        axes.step(degrees, data, where="post", color=colour)
        axes.plot(degrees, law, color=colour, linestyle="--", linewidth=1.2)
        at = int(np.abs(data - law).argmax())
        axes.plot(
            [degrees[at]] * 2, [data[at], law[at]], color=colour, linewidth=5, alpha=0.6,
            solid_capstyle="butt",
        )  # fmt: skip
    axes.set_ylim(0, 1.03)
    style.count_axis(axes, "degree k")


def against(axes: Axes, rivals: pd.DataFrame) -> None:
    """Draw a point a run for every other distribution."""
    for place, name in enumerate(RIVALS):
        for shift, method in zip((-0.22, 0, 0.22), METHODS, strict=True):
            of = rivals[(rivals["rival"] == name) & (rivals["method"] == method)]
            _, colour, marker = style.named(style.REGROW[method])
            told = (of["p"] <= LEVEL).to_numpy()
            for chosen, face in ((told, colour), (~told, "white")):
                axes.scatter(
                    np.full(chosen.sum(), place + shift), of["R"][chosen], s=26, marker=marker,
                    facecolor=face, edgecolor=colour, linewidth=1.2, zorder=3,
                )  # fmt: skip
    axes.axhline(0, color="#444444", linewidth=1)
    names = [name.replace("truncated power law", "truncated") for name in RIVALS.values()]
    axes.set_xticks(range(len(RIVALS)), names, fontsize=9)
    axes.set_xlim(-0.5, len(RIVALS) - 0.5)


def table_of(frame: pd.DataFrame) -> str:
    """Return the means of the fitted numbers at the moments that S draws, as Markdown."""
    rows = []
    names = {"α": "alpha", "σ": "sigma", "D": "D", "p": "p_value"}
    for tail in TAILS:
        for method, part in by_method(frame[frame["tail"] == tail]):
            for at, when in moments(frame).items():
                of = part[part["snapshot"] == at]
                row: dict[str, object] = {"tail": tail, "regrowth": short(method), "when": when}
                row |= {name: float(of[column].mean()) for name, column in names.items()}
                row["xmin"] = whole(of["xmin"].median())
                row["units in the tail"] = whole(of["n_tail"].median())
                row["p ≥ 0.95"] = f"{(of['p_value'] >= STRICT).sum()} of {len(of)}"
                row["p > 0.1"] = f"{(of['p_value'] > USUAL).sum()} of {len(of)}"
                rows.append(row)
    return table(pd.DataFrame(rows), digits=2)


def whole(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}"


def table_of_rivals(rivals: pd.DataFrame) -> str:
    """Return which distribution the final degrees favour, runs counted, as Markdown."""
    rows = []
    for tail in TAILS:
        for name, printed in RIVALS.items():
            chosen = rivals[(rivals["tail"] == tail) & (rivals["rival"] == name)]
            for method, part in by_method(chosen):
                favours = part["favours"]
                told: dict[str, object] = {
                    "tail": tail,
                    "other distribution": printed,
                    "regrowth": short(method),
                    "mean R": float(part["R"].mean()),
                    "runs for the power law": int((favours == "power_law").sum()),
                    "runs for the other": int((favours == name).sum()),
                    "not told apart": int((favours == "neither").sum()),
                }
                rows.append(told)
    return table(pd.DataFrame(rows), digits=1)


def findings(frame: pd.DataFrame, rivals: pd.DataFrame) -> list[Finding]:
    """Test what S says of the end and of the way there, then what it leaves open."""
    found: list[Finding] = []
    for tail in TAILS:
        of = frame[(frame["tail"] == tail) & frame["alpha"].notna()]
        last = of[of["snapshot"] == frame["snapshot"].max()]
        if last.empty:
            continue
        for bound, rule in (
            (STRICT, "S's rule: not rejected where p ≥ 0.95"),
            (USUAL, "usual rule: plausible where p > 0.1"),
        ):
            claim = f"final degrees follow a power law, whatever the rule ({tail} tail; {rule})"
            found.append(plausible(claim, last, bound))
        start = of[of["snapshot"] == 0]
        if len(start):
            claim = f"degrees before training follow none ({tail} tail; usual rule)"
            found.append(implausible(claim, start))
        found += [exponent(tail, last), *trends(tail, of)]
    return found + [opened(tail, rivals[rivals["tail"] == tail]) for tail in TAILS]


def plausible(claim: str, last: pd.DataFrame, bound: float) -> Finding:
    """Say whether more than half of every rule's runs pass a bound of p."""
    texts, verdicts = [], []
    for method, part in by_method(last):
        p = part["p_value"]
        passed = p >= bound if bound == STRICT else p > bound
        texts.append(f"{short(method)}: p = {p.mean():.2f}, {passed.sum()} of {len(p)} runs pass")
        verdicts.append(AGREES if passed.mean() > 0.5 else DISAGREES)
    return Finding(claim, "; ".join(texts), together(verdicts))


def implausible(claim: str, start: pd.DataFrame) -> Finding:
    """Say whether the usual rule rejects the degrees that all rules start from."""
    p = start.groupby("seed")["p_value"].first()
    rejected = (p <= USUAL).sum()
    text = f"p = {p.mean():.2f}; {rejected} of {len(p)} networks are rejected"
    return Finding(claim, text, AGREES if rejected > len(p) / 2 else DISAGREES)


def exponent(tail: str, last: pd.DataFrame) -> Finding:
    """Test whether α lies between 2 and 3 at the end: its distance from 2.5 against a half."""
    texts, verdicts = [], []
    for method, part in by_method(last):
        alpha = part["alpha"]
        texts.append(f"{short(method)}: {alpha.mean():.2f} ({alpha.min():.2f}–{alpha.max():.2f})")
        verdicts.append(verdict(deviation((alpha - 2.5).abs(), 0.5), -1))
    return Finding(f"2 < α < 3 at the end ({tail} tail)", "; ".join(texts), together(verdicts))


def trends(tail: str, of: pd.DataFrame) -> list[Finding]:
    """Test whether D and σ decrease and p rises from the start to the last quarter of training."""
    parts = pd.concat(
        [
            of[of["snapshot"] == 0].assign(part="start"),
            of[of["snapshot"] > 0.75 * of["snapshot"].max()].assign(part="late"),
        ]
    )
    claims = {"D": ("D decreases", -1), "sigma": ("σ decreases", -1), "p_value": ("p rises", 1)}
    means = parts.groupby(["method", "seed", "part"])[list(claims)].mean().reset_index()
    found = []
    for column, (claim, expected) in claims.items():
        texts, verdicts = [], []
        for method, part in by_method(means):
            gap = difference(part, column, "part", "late", "start", ["seed"])
            if not gap.pairs:
                continue
            at = part.groupby("part")[column].mean()
            texts.append(
                f"{short(method)}: {at['start']:.2f} to {at['late']:.2f}, {gap.text(digits=2)}"
            )
            verdicts.append(verdict(gap, expected))
        if texts:
            full = f"{claim} during training ({tail} tail; start to last quarter)"
            found.append(Finding(full, "; ".join(texts), together(verdicts)))
    return found


def opened(tail: str, rivals: pd.DataFrame) -> Finding:
    """Say whether a power law fits the final degrees better than a lognormal."""
    texts, verdicts = [], []
    for method, part in by_method(rivals[rivals["rival"] == "lognormal"]):
        gap = deviation(part["R"])
        wins = part["favours"].value_counts()
        texts.append(
            f"{short(method)}: R = {gap.text(digits=1)}, runs for the power law "
            f"{wins.get('power_law', 0)}, for the lognormal {wins.get('lognormal', 0)}"
        )
        verdicts.append(verdict(gap, 1))
    return Finding(
        f"(left open by S) a power law fits final degrees better than a lognormal ({tail} tail)",
        "; ".join(texts),
        together(verdicts),
    )


if __name__ == "__main__":
    print(main())
