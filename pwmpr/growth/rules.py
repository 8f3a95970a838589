"""The growth rules: pwmpr, pwmp, random and gradient of the growth paper, momentum, phew-grow."""

from __future__ import annotations

from torch import Tensor

from pwmpr.growth.registry import register
from pwmpr.growth.step import GrowthStep
from pwmpr.sampling import largest, sample_uniformly, sample_without_replacement


@register("pwmpr")
def pwmpr(step: GrowthStep, count: int) -> dict[str, Tensor]:
    """PWMPR: a sample with probability ∝ path weight magnitude product.

    P(i, j) ∝ S(i, j) = φ(i) ψ(j) over all missing positions, without replacement; unreachable ones
    (S = 0) only when no other is left. Source: P, Algorithm 1.
    """
    return sample_without_replacement(step.path_scores(), count, step.generator, step.missing())


@register("pwmp")
def pwmp(step: GrowthStep, count: int) -> dict[str, Tensor]:
    """PWMP: the positions of largest path weight magnitude product.

    PWMPR without chance; ties to the lower position. Source: P, section 5 (ablation).
    """
    return largest(step.path_scores(), count, step.missing())


@register("random")
def random(step: GrowthStep, count: int) -> dict[str, Tensor]:
    """RG: positions uniformly at random.

    Source: P, A.5, after SET (Mocanu et al. 2018).
    """
    return sample_uniformly(step.missing(), count, step.generator)


@register("gradient")
def gradient(step: GrowthStep, count: int) -> dict[str, Tensor]:
    """GG: the positions of largest |dense gradient| on one batch.

    Ties to the lower position. Source: P, A.5, after RigL (Evci et al. 2020).
    """
    return largest(step.gradient_magnitudes(), count, step.missing())


@register("momentum")
def momentum(step: GrowthStep, count: int) -> dict[str, Tensor]:
    """Momentum: the positions of largest |v|, the dense gradient smoothed over steps.

    v ← βv + (1−β)g; ties to the lower position. Source: S, section 3.2, after Dettmers &
    Zettlemoyer 2019.
    """
    return largest(step.momentum_magnitudes(), count, step.missing())


@register("phew-grow")
def phew_grow(step: GrowthStep, count: int) -> dict[str, Tensor]:
    """PHEW walks: the missing positions that further biased random walks find.

    Source: Patil & Dovrolis 2021, whose masks at a higher density continue the walks of a lower.
    """
    return step.walked(count)
