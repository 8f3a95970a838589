"""Which nodes a traced model has: follows node ids through it, and keeps what was found."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from topograph.capturing.coverage import missing_operators, unmodelled_values
from topograph.capturing.partition import Restart
from topograph.capturing.plan import plan
from topograph.capturing.propagation import Constants, Propagation
from topograph.capturing.settling import settle
from topograph.capturing.trace import Trace
from topograph.capturing.values import Values
from topograph.capturing.wiring import Layout as Layout
from topograph.capturing.wiring import Site as Site
from topograph.capturing.wiring import Wiring as Wiring
from topograph.check import check_choice

_KNOWN: weakref.WeakKeyDictionary[
    Trace, dict[tuple[str, str, str], tuple[Layout, dict[fx.Node, Any]]]
] = weakref.WeakKeyDictionary()


def layout(
    trace: Trace,
    binding: Values,
    granularity: str = "channel",
    norm: str = "identity",
    tokens: str = "merge",
) -> Layout:
    """Return the layout of a traced model, from a cache while its constants are the same.

    Parameters
    ----------
    trace, binding
        The model and today's constants: indices, factors and masks on activations decide which
        nodes are read. Weights do not.
    granularity
        ``"channel"``: a node for every channel or feature; ``"unit"``: for every element of every
        weighted operator's result.
    norm
        ``"identity"``: normalisations are transparent; ``"scale"``: they multiply by |γ|/√(var+ε).
    tokens
        ``"merge"``: positions that read different nodes are one node, which reads their mean;
        ``"split"``: they are nodes of their own.

    Raises
    ------
    TopographError
        If an opaque operator connects too many nodes, or no path leads to the outputs.
    """
    check_choice(granularity, "granularity", ("channel", "unit"))
    check_choice(norm, "norm", ("identity", "scale"))
    check_choice(tokens, "tokens", ("merge", "split"))
    key = granularity, norm, tokens
    known = _KNOWN.setdefault(trace, {})
    found = known.get(key)
    if found is not None and _unchanged(found[1], binding):
        return found[0]
    steps = plan(trace, norm)
    constants = Constants(trace, binding)
    partitions: dict[str, Tensor] = {}
    while True:
        try:
            propagation = Propagation(
                steps, constants, granularity == "unit", partitions, tokens == "split"
            )
            break
        except Restart as restart:
            partitions |= restart.partitions
    notes = [*trace.notes, *unmodelled_values(trace, steps)]
    made = replace(settle(propagation, missing_operators(trace, steps), notes), opaque=steps.opaque)
    known[key] = made, constants.read
    return made


def _unchanged(read: dict[fx.Node, Any], binding: Values) -> bool:
    return all(_equal(value, binding.value(node)) for node, value in read.items())


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
