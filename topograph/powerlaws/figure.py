"""How a power-law fit looks: the cumulative distribution of the degrees with the law drawn in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from topograph.powerlaws.fitting import PowerLawFit

_DATA, _LAW, _SOFT = "#1f5f9e", "#b4501c", "#5a6675"


def draw(fit: PowerLawFit, axes: Any = None) -> Figure:
    """Return a figure of P(K ≥ k) over k, both on logarithmic scales, with the fitted law.

    Parameters
    ----------
    fit
        The fit; one without a law is drawn as the data alone, with the reason said.
    axes
        matplotlib axes to draw into; by default those of a new figure.
    """
    if axes is None:
        from topograph.picture import Picture

        axes = Picture(figsize=(5.5, 4), layout="constrained").subplots()
    axes.set(xlabel="degree k", ylabel="part of nodes with degree ≥ k")
    axes.spines[["top", "right"]].set_visible(False)
    if fit.n:
        axes.set(xscale="log", yscale="log")
        degrees, data = fit.ccdf()
        label = f"{fit.n} degrees above 0"
        axes.plot(degrees, data, "o", color=_DATA, markersize=4, label=label)
    if fit.ok:
        degrees, law = fit.fitted_ccdf()
        axes.plot(degrees, law, color=_LAW, linewidth=2, label=_described(fit))
        axes.axvline(fit.xmin, color=_SOFT, linestyle=":", linewidth=1)
        # The law may fall far below the last node.
        axes.set_ylim(0.5 / fit.n, 1.5)
        axes.legend(frameon=False, loc="lower left")
    else:
        axes.text(
            0.5,
            1.0,
            f"no fit: {fit.reason}",
            transform=axes.transAxes,
            ha="center",
            va="bottom",
            color=_SOFT,
            fontsize=9,
            wrap=True,
        )
    figure: Figure = axes.figure
    return figure


def _described(fit: PowerLawFit) -> str:
    lines = [
        f"α = {fit.alpha:.3g} ± {fit.sigma:.2g}",
        f"from k = {fit.xmin} on, {fit.n_tail} nodes",
        f"D = {fit.D:.3g}",
    ]
    if np.isfinite(fit.p_value):
        lines[-1] += f", p = {fit.p_value:.2g}"
    return "\n".join(lines)
