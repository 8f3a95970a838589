"""Where biased random walks through a weighted network go, many walks at a time.

A step from a node takes one of its *options*: a weight position, with probability ∝ |θ|, or a
fixed arc (a residual stream's identity, a pooled value), ∝ its coefficient. Drawing a weight
position ∝ |θ| at once is the same law as PHEW's two draws, first the next unit with
P(o) ∝ Σ_taps |θ[o, i]| and then a tap with P ∝ |θ[o, i, tap]|.

Options of one node lie side by side, so one running sum over all options and one binary search a
step move every walk, whatever the architecture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Options:
    """What a walk can do next, for every node, in one direction.

    Attributes
    ----------
    start
        (n_nodes + 1,): options of node v are ``start[v]`` to ``start[v + 1]``.
    cumulative
        (n_options + 1,): running sum of the options' masses, from 0.
    following
        (n_options,): the node that an option leads to.
    position
        (n_options,): the weight position that it uses, or -1 for a fixed arc.
    """

    start: np.ndarray
    cumulative: np.ndarray
    following: np.ndarray
    position: np.ndarray

    @classmethod
    def grouped(
        cls,
        n_nodes: int,
        node: np.ndarray,
        mass: np.ndarray,
        following: np.ndarray,
        position: np.ndarray,
    ) -> Options:
        """Sort options by the node that they leave from, leaving out those of mass 0."""
        keep = np.flatnonzero(mass > 0)
        order = keep[np.argsort(node[keep], kind="stable")]
        start = np.zeros(n_nodes + 1, dtype=np.int64)
        np.cumsum(np.bincount(node[order], minlength=n_nodes), out=start[1:])
        cumulative = np.zeros(len(order) + 1)
        np.cumsum(mass[order], dtype=np.float64, out=cumulative[1:])
        return cls(start, cumulative, following[order], position[order])

    def draw(self, nodes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one option for each node, or -1 where a node has none."""
        first, last = self.start[nodes], self.start[nodes + 1]
        low, high = self.cumulative[first], self.cumulative[last]
        target = low + rng.random(len(nodes)) * (high - low)
        drawn = np.searchsorted(self.cumulative, target, side="right") - 1
        return np.where(last > first, np.clip(drawn, first, last - 1), -1)


@dataclass(frozen=True)
class Walks:
    """The weight positions that a batch of walks went through.

    Attributes
    ----------
    walk, step
        For every visit, the walk's number in the batch and the step in the walk.
    position
        The weight position, or -1 where the step was a fixed arc.
    complete
        For every walk, whether it reached an end node.
    """

    walk: np.ndarray
    step: np.ndarray
    position: np.ndarray
    complete: np.ndarray


def walk(options: Options, starts: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> Walks:
    """Walk from each start until an end node, or a node with no way on.

    Parameters
    ----------
    options
        The options of the direction walked in.
    starts
        (n_walks,) node ids.
    ends
        (n_nodes,) bool: where walks stop. (The graph is acyclic, so every walk ends.)
    rng
        Source of the steps.
    """
    walking = np.arange(len(starts))
    nodes = np.asarray(starts)
    complete = ends[nodes].copy()
    walking, nodes = walking[~complete], nodes[~complete]
    visits: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    step = 0
    while len(walking):
        drawn = options.draw(nodes, rng)
        alive = drawn >= 0
        walking, drawn = walking[alive], drawn[alive]
        visits.append((walking, np.full(len(walking), step), options.position[drawn]))
        nodes = options.following[drawn]
        arrived = ends[nodes]
        complete[walking[arrived]] = True
        walking, nodes = walking[~arrived], nodes[~arrived]
        step += 1
    if not visits:
        none = np.zeros(0, dtype=np.int64)
        return Walks(none, none, none, complete)
    joined = [np.concatenate(parts) for parts in zip(*visits, strict=True)]
    return Walks(joined[0], joined[1], joined[2], complete)
