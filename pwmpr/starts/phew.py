"""Which weights biased random walks keep: PHEW, on any architecture.

Walks run on the captured graph, so residual sums, grouped convolutions, concatenations and pooled
features are walked as they are: at a residual sum a walk takes either branch, the identity with
mass 1, as an edge of that weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pwmpr.masks import Masks
from pwmpr.scope import parameters_named
from pwmpr.starts.network import Network, positions_of
from pwmpr.starts.network import network as walks_view
from pwmpr.starts.walks import Walks, walk
from topograph.capturing.trace import ExampleInput
from topograph.errors import TopographError

#: Walks in a batch: enough to keep NumPy busy, few enough to waste little when the target is near.
_LEAST, _MOST = 64, 8192
#: Batches in a row that may find nothing new before the target is given up.
_PATIENCE = 200


def phew_positions(
    network: Network,
    shapes: Mapping[str, tuple[int, ...]],
    count: int,
    rng: np.random.Generator,
    kept_already: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Walk until exactly ``count`` different weights in scope have been walked over.

    Walks go alternately forward from the inputs and backward from the outputs, start nodes taken
    in turn. Weights that walks cross outside the scope stay dense and are not counted; the last
    walk is cut. A walk that ends before the other side crosses no path and is left out.

    Parameters
    ----------
    network
        The walks' view of the model.
    shapes
        Parameter name to shape, for the weights in scope.
    count
        How many weights to keep.
    rng
        Source of the walks.
    kept_already
        Parameter name to flat flags of weights that do not count any more.

    Returns
    -------
    dict
        Parameter name to flat positions, ascending.

    Raises
    ------
    TopographError
        If walks cannot reach so many weights.

    References
    ----------
    Patil & Dovrolis 2021, "PHEW: Constructing sparse networks that learn fast and generalize well
    without training data", ICML.
    """
    open_positions = np.zeros(network.size, dtype=bool)
    for name, shape in shapes.items():
        numbers = positions_of(network, name, shape)
        if numbers is not None:
            open_positions[numbers] = True if kept_already is None else ~kept_already[name]
    kept: list[np.ndarray] = []
    missing, walked, idle = count, 0, 0
    yielded = 64.0  # new weights a pair of walks, as the last batch had it
    while missing > 0:
        if idle >= _PATIENCE:
            raise _out_of_reach(count - missing, count, walked)
        pairs = int(np.clip(missing / max(yielded, 1e-3), _LEAST, _MOST))
        visits = _visits(network, pairs, walked, rng)
        walked += pairs
        visits = visits[visits >= 0]
        visits = visits[open_positions[visits]]
        _, earliest = np.unique(visits, return_index=True)
        new = visits[np.sort(earliest)][:missing]
        open_positions[new] = False
        kept.append(new)
        missing -= len(new)
        yielded = len(new) / pairs
        idle = 0 if len(new) else idle + 1
    return _by_name(network, shapes, np.concatenate(kept) if kept else np.zeros(0, np.int64))


def more_positions(
    model: nn.Module,
    masks: Masks,
    count: int,
    example_input: ExampleInput,
    rng: np.random.Generator,
    initial: Mapping[str, Tensor] | None = None,
) -> dict[str, np.ndarray]:
    """Walk on until exactly ``count`` different missing weights have been walked over.

    Parameters
    ----------
    model
        Its kept weights as they are now; its missing ones may be 0.
    masks
        The weights kept so far.
    count
        How many to find.
    example_input
        An input of the model.
    rng
        Source of the walks.
    initial
        Parameter name to the weights whose magnitudes missing ones have. None: the model's own.

    Returns
    -------
    dict
        Parameter name to flat positions, ascending.

    Raises
    ------
    TopographError
        If walks cannot reach so many missing weights, or a shape differs.
    """
    parameters = parameters_named(model, masks.shapes)
    before = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            if initial is not None:
                kept = masks[name].to(parameter.device)
                missing = initial[name].to(parameter.device, parameter.dtype)
                parameter.data = torch.where(kept, parameter.data, missing)
        seen = walks_view(model, example_input)
    finally:
        for name, parameter in parameters.items():
            parameter.data = before[name]
    kept_already = {name: mask.reshape(-1).numpy() for name, mask in masks.items()}
    return phew_positions(seen, masks.shapes, count, rng, kept_already)


def _visits(network: Network, pairs: int, walked: int, rng: np.random.Generator) -> np.ndarray:
    """Return the positions visited by so many forward and backward walks, in walking order."""
    turn = np.arange(walked, walked + pairs)
    directions = (
        (network.forward, network.inputs, network.outputs),
        (network.backward, network.outputs, network.inputs),
    )
    order, positions = [], []
    for first, (options, starts, ends) in enumerate(directions):
        at_end = np.zeros(network.n_nodes, dtype=bool)
        at_end[ends] = True
        walks: Walks = walk(options, starts[turn % len(starts)], at_end, rng)
        whole = walks.complete[walks.walk]
        # Forward and backward walks take turns: walk 2t forward, 2t + 1 backward.
        order.append(np.stack([2 * walks.walk[whole] + first, walks.step[whole]]))
        positions.append(walks.position[whole])
    sequence = np.concatenate(order, axis=1)
    return np.concatenate(positions)[np.lexsort((sequence[1], sequence[0]))]


def _by_name(
    network: Network, shapes: Mapping[str, tuple[int, ...]], positions: np.ndarray
) -> dict[str, np.ndarray]:
    found = {}
    for name, shape in shapes.items():
        numbers = positions_of(network, name, shape)
        if numbers is None:
            found[name] = np.zeros(0, dtype=np.int64)
            continue
        inside = positions[(positions >= numbers.start) & (positions < numbers.stop)]
        found[name] = np.sort(inside - numbers.start)
    return found


def _out_of_reach(found: int, count: int, walked: int) -> TopographError:
    return TopographError(
        f"PHEW walked over {found} weights in {2 * walked} walks and no longer finds new ones; "
        f"expected to keep {count}",
        "ask for a lower density (weights that are 0 or lie on no path are never walked over), "
        'or start with rule="erk"',
    )
