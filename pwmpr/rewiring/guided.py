"""Guided stochastic exploration: gradients are looked at for a few drawn candidates only."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pwmpr.masks import Masks
from pwmpr.rewiring.dropping import smallest
from pwmpr.rewiring.registry import register
from pwmpr.rewiring.regrowing import strongest
from pwmpr.rewiring.signals import Signals, layer_signals
from pwmpr.rewiring.step import Rewiring, RewiringStep


@register("gse-uniform")
def gse_uniform(step: RewiringStep) -> Rewiring:
    """GSE, uniform: grow the largest |gradient| among candidates drawn uniformly.

    Source: Heddes et al. 2024, "Always-sparse training by growing connections with guided
    stochastic exploration", Algorithm 1.
    """
    flat = {}
    for name, shape in step.masks.shapes.items():
        columns = math.prod(shape[1:])
        flat[name] = Signals(np.ones((1, columns)), np.ones(shape[0]))
    return _explore(step, flat)


@register("gse-grabo")
def gse_grabo(step: RewiringStep) -> Rewiring:
    """GSE, GraBo: candidates drawn by Σ |activation| and Σ |output gradient|, a gradient bound.

    Source: Heddes et al. 2024.
    """
    return _explore(step, layer_signals(step.model, step.masks, step.loss, step.batch))


@register("gse-graest")
def gse_graest(step: RewiringStep) -> Rewiring:
    """GSE, GraEst: candidates drawn by sketches |Σ s h| and |Σ s δ| with shared random signs.

    Every patch of a convolution has its sign. Source: Heddes et al. 2024.
    """
    found = layer_signals(step.model, step.masks, step.loss, step.batch, step.generator)
    return _explore(step, found)


def candidates(
    masks: Masks, signals: Mapping[str, Signals], gamma: float, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw ⌈γ|A|⌉ pairs (output ~ g, input ~ f) a layer and return the different missing ones.

    Parameters
    ----------
    masks
        A layer's kept weights A.
    signals
        f over inputs and g over outputs, on any scale; where all are 0, uniform.
    gamma
        γ > 0.
    generator
        Pairs are drawn independently, with replacement.

    Returns
    -------
    dict
        Parameter name to flat positions, ascending.
    """
    drawn = {}
    for name, kept in masks.counts.items():
        signal, number = signals[name], math.ceil(gamma * kept)
        groups, columns = signal.inputs.shape
        rows = _draw(signal.outputs[None], np.zeros(number, dtype=np.int64), generator)
        across = _draw(signal.inputs, rows * groups // len(signal.outputs), generator)
        flat = np.unique(rows * columns + across)
        drawn[name] = flat[~masks[name].reshape(-1).numpy()[flat]]
    return drawn


def _explore(step: RewiringStep, signals: Mapping[str, Signals]) -> Rewiring:
    """Grow the k candidates of largest |gradient|, drop the k smallest |θ|; per layer.

    k = min(⌈α|A|⌉, |S|), S the candidates; one weight of a layer is always left.
    """
    step.count_pass()
    masks = step.masks
    drawn = candidates(masks, signals, step.gamma, step.generator)
    counts = {
        name: min(math.ceil(step.fraction * kept - 1e-9), len(drawn[name]), max(kept - 1, 0))
        for name, kept in masks.counts.items()
    }
    free = {name: ~mask for name, mask in masks.items()}
    for name, flags in free.items():
        open_to = np.zeros(flags.numel(), dtype=bool)
        open_to[drawn[name]] = True
        flags.view(-1).numpy()[:] = open_to
    grown = strongest(step.gradient_magnitudes(), free, counts)
    return step.change(smallest(step.weights(), masks, counts), grown)


def _draw(weights: np.ndarray, which: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a column for every number in ``which``, with probability ∝ that row's weights."""
    columns = weights.shape[1]
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1.0)
    running = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    # Rows lie behind each other on one line: row q from q to q + 1.
    line = (running / running[:, -1:] + np.arange(len(weights))[:, None]).reshape(-1)
    found = np.searchsorted(line, which + generator.random(len(which)), side="right")
    return np.asarray(np.minimum(found - which * columns, columns - 1))
