"""The rules of dynamic sparse training at fixed density: SET, RigL, SNFS, momentum, DSR."""

from __future__ import annotations

import math

import numpy as np

from pwmpr.counts import exact_floor
from pwmpr.rewiring.dropping import below, drop_counts, smallest, smallest_of_each_sign
from pwmpr.rewiring.registry import register
from pwmpr.rewiring.regrowing import missing_after, shared, strongest, uniformly
from pwmpr.rewiring.step import Rewiring, RewiringStep

#: SNFS: at most this part of a layer's free positions is grown at once.
_MOST = 0.99


@register("set")
def evolve(step: RewiringStep) -> Rewiring:
    """SET: drop the smallest positive and the smallest negative weights, grow uniformly.

    Fraction ζ = 0.3 of each sign per layer, once an epoch, to the end. Positions just dropped may
    be drawn again and then start at 0. Source: Mocanu et al. 2018.
    """
    dropped = smallest_of_each_sign(step.weights(), step.masks, step.fraction)
    counts = {name: len(index) for name, index in dropped.items()}
    free = missing_after(step.masks, dropped)
    return step.change(dropped, uniformly(free, counts, step.generator))


@register("set-magnitude")
def evolve_by_magnitude(step: RewiringStep) -> Rewiring:
    """SET as later papers have it: drop the smallest |θ|, grow uniformly, cosine schedule.

    Source: Evci et al. 2020 (their SET baseline); S with random regrowth.
    """
    counts = drop_counts(step.masks, step.fraction)
    dropped = smallest(step.weights(), step.masks, counts)
    free = missing_after(step.masks, dropped)
    return step.change(dropped, uniformly(free, counts, step.generator))


@register("rigl", needs=("gradients",))
def rigl(step: RewiringStep) -> Rewiring:
    """RigL: drop the smallest |θ|, grow the largest |dense gradient| of the present batch.

    Per layer, among all positions not kept, those just dropped included: such weights keep value
    and momentum. ΔT = 100, α = 0.3, T_end = 75%, ERK; the optimiser step is skipped on update
    steps. Source: Evci et al. 2020, "Rigging the lottery", ICML, and the authors' code.
    """
    counts = drop_counts(step.masks, step.fraction)
    dropped = smallest(step.weights(), step.masks, counts)
    free = missing_after(step.masks, dropped)
    grown = strongest(step.gradient_magnitudes(), free, counts)
    return step.change(dropped, grown, keeps_regrown=True)


@register("rigl-itop", needs=("gradients",))
def rigl_itop(step: RewiringStep) -> Rewiring:
    """RigL-ITOP: RigL with rare updates (ΔT = 1,500 to 4,000) to the very end, no step skipped.

    A run reports the exploration rate R_s. Source: Liu et al. 2021, "Do we actually need dense
    over-parameterization? In-time over-parameterization in sparse training", ICML.
    """
    return rigl(step)


@register("momentum", needs=("momentum",))
def momentum(step: RewiringStep) -> Rewiring:
    """Momentum: drop the smallest |θ|, grow the largest |v|, v ← βv + (1−β)g; per layer.

    SNFS's criterion without its redistribution over layers. Source: S, section 3.2.
    """
    counts = drop_counts(step.masks, step.fraction)
    dropped = smallest(step.weights(), step.masks, counts)
    free = missing_after(step.masks, dropped)
    return step.change(dropped, strongest(step.momentum_magnitudes(), free, counts))


@register("snfs", needs=("momentum",))
def sparse_momentum(step: RewiringStep) -> Rewiring:
    """SNFS: drop the smallest |θ|, share growth by mean |momentum|, grow the largest |momentum|.

    ⌈α n_l⌉ weights are dropped in layer l. What was dropped in all is shared among layers in
    proportion to their mean |momentum| over kept weights (before the drop), at most 99% of a
    layer's free positions each; what does not fit is offered again. All decisions see the dense
    momentum. At least one weight survives in every layer. Source: Dettmers & Zettlemoyer 2019,
    "Sparse networks from scratch: faster training without losing performance", Algorithm 1.
    """
    masks, magnitudes = step.masks, step.momentum_magnitudes()
    means = {
        name: float(magnitudes[name][mask].double().mean()) if mask.any() else 0.0
        for name, mask in masks.items()
    }
    total = math.fsum(means.values())
    share = {name: mean / total if total else 0.0 for name, mean in means.items()}
    counts = {}
    for name, kept in masks.counts.items():
        fraction, missing = step.fraction, 1 - masks.densities[name]
        if missing < 0.2 and share[name] > 1 / len(masks):
            # Nearly dense layers that matter are not emptied (the authors' code).
            fraction = min(missing, fraction)
        counts[name] = min(math.ceil(fraction * kept - 1e-9), max(kept - 1, 0))
    dropped = smallest(step.weights(), masks, counts)
    free = missing_after(masks, dropped)
    places = {name: int(flags.sum()) for name, flags in free.items()}
    room = {name: exact_floor(_MOST, number) for name, number in places.items()}
    moved = sum(counts.values())
    if sum(room.values()) < moved:
        room = places
    return step.change(dropped, strongest(magnitudes, free, shared(moved, share, room)))


@register("dsr")
def reparameterize(step: RewiringStep) -> Rewiring:
    """DSR: drop |θ| below one adaptive threshold, share growth by what survived, grow uniformly.

    The threshold halves when more than 1.1 N_p weights were dropped and doubles when fewer than
    0.9 N_p were, with N_p = ⌊α · kept⌋ (decision: the paper fixes N_p per network). Growth never
    takes a position dropped this round, unless no other is left. Source: Mostafa & Wang 2019,
    Algorithm 1.
    """
    masks = step.masks
    dropped = below(step.weights(), masks, step.threshold)
    moved = sum(len(index) for index in dropped.values())
    wanted = exact_floor(step.fraction, masks.count)
    threshold = step.threshold
    if moved > 1.1 * wanted:
        threshold /= 2
    elif moved < 0.9 * wanted:
        threshold *= 2
    free = {name: ~mask for name, mask in masks.items()}
    if sum(int(flags.sum()) for flags in free.values()) < moved:
        free = missing_after(masks, dropped)
    room = {name: int(flags.sum()) for name, flags in free.items()}
    survivors = {name: float(kept - len(dropped[name])) for name, kept in masks.counts.items()}
    counts = shared(moved, survivors, room)
    grown: dict[str, np.ndarray] = uniformly(free, counts, step.generator)
    return step.change(dropped, grown, threshold=threshold)
