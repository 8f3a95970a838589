"""Recurrent layers and cells written out step by step, so that a weight is used at every step.

Each function computes the same values as the operator of its name. Gates are written as the second
half of a gated linear unit: paths run through the first half, whatever it is at the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten

#: Largest number of steps (of all layers and directions together) that are written out. A recurrent
#: layer with more stays one operator.
STEP_LIMIT = 128

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Weights:
    """The weights of one layer in one direction; biases and the projection may be missing."""

    ih: Tensor
    hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    hr: Tensor | None = None


#: (what the input gives, state, weights) to the next state, of which the first part is the output.
Cell = Callable[[Tensor, State, Weights], State]


def _gated(value: Tensor, gate: Tensor) -> Tensor:
    """Return value · σ(gate)."""
    return functional.glu(torch.cat([value, gate], -1), -1)


def _lstm(given: Tensor, state: State, weights: Weights) -> State:
    hidden, memory = state
    sums = given + functional.linear(hidden, weights.hh, weights.b_hh)
    enter, keep, candidate, leave = sums.chunk(4, -1)
    memory = _gated(memory, keep) + _gated(candidate.tanh(), enter)
    hidden = _gated(memory.tanh(), leave)
    if weights.hr is not None:
        hidden = functional.linear(hidden, weights.hr)
    return hidden, memory


def _gru(given: Tensor, state: State, weights: Weights) -> State:
    (hidden,) = state
    own = functional.linear(hidden, weights.hh, weights.b_hh)
    size = hidden.shape[-1]
    gates = given[..., : 2 * size] + own[..., : 2 * size]
    reset, update = gates.chunk(2, -1)
    candidate = (given[..., 2 * size :] + _gated(own[..., 2 * size :], reset)).tanh()
    return (_gated(candidate, -update) + _gated(hidden, update),)


def _plain(function: Callable[[Tensor], Tensor]) -> Cell:
    def cell(given: Tensor, state: State, weights: Weights) -> State:
        return (function(given + functional.linear(state[0], weights.hh, weights.b_hh)),)

    return cell


def _run(
    cell: Cell, sequence: Tensor, state: State, weights: Weights, backward: bool
) -> tuple[Tensor, State]:
    """Return all outputs (steps, batch, features) and the last state."""
    given = functional.linear(sequence, weights.ih, weights.b_ih)
    steps = range(len(sequence))
    outputs = []
    for t in reversed(steps) if backward else steps:
        state = cell(given[t], state, weights)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backward else outputs), state


def _layer(
    cell: Cell,
    sequence: Tensor,
    initial: Sequence[Tensor],
    parameters: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """Run all layers and directions of a recurrent layer."""
    directions = 2 if bidirectional else 1
    runs = layers * directions
    length = sequence.shape[1] if batch_first else sequence.shape[0]
    if length * runs > STEP_LIMIT or (train and dropout):
        return NotImplemented
    if batch_first:
        sequence = sequence.transpose(0, 1)
    weights = _weights(parameters, runs, has_biases)
    last: list[State] = []
    for _ in range(layers):
        outputs = []
        for direction in range(directions):
            state = tuple(part[len(last)] for part in initial)
            output, state = _run(cell, sequence, state, next(weights), direction == 1)
            outputs.append(output)
            last.append(state)
        sequence = torch.cat(outputs, -1) if bidirectional else outputs[0]
    if batch_first:
        sequence = sequence.transpose(0, 1)
    return (sequence, *(torch.stack(parts) for parts in zip(*last, strict=True)))


def _weights(parameters: Sequence[Tensor], runs: int, has_biases: bool) -> Iterator[Weights]:
    """Yield the weights of every layer and direction."""
    each = len(parameters) // runs
    for run in range(runs):
        own = parameters[run * each : (run + 1) * each]
        biases = own[2:4] if has_biases else (None, None)
        projection = own[-1] if each in (3, 5) else None
        yield Weights(own[0], own[1], biases[0], biases[1], projection)


def _many(cell: Cell, sequence: Tensor, initial: Sequence[Tensor], *rest: Any) -> Any:
    return _layer(cell, sequence, initial, *rest)


def _one(cell: Cell, sequence: Tensor, initial: Tensor, *rest: Any) -> Any:
    return _layer(cell, sequence, [initial], *rest)


def _single(
    cell: Cell,
    given: Tensor,
    state: Any,
    ih: Tensor,
    hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Any:
    """Run one cell once."""
    parts = tuple(state) if isinstance(state, (tuple, list)) else (state,)
    weights = Weights(ih, hh, b_ih, b_hh)
    after = cell(functional.linear(given, ih, b_ih), parts, weights)
    return after if isinstance(state, (tuple, list)) else after[0]


#: Operator to the function that writes it out.
RECURRENCE: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: partial(_many, _lstm),
    aten.gru.input: partial(_one, _gru),
    aten.rnn_tanh.input: partial(_one, _plain(torch.tanh)),
    aten.rnn_relu.input: partial(_one, _plain(torch.relu)),
    aten.lstm_cell.default: partial(_single, _lstm),
    aten.gru_cell.default: partial(_single, _gru),
    aten.rnn_tanh_cell.default: partial(_single, _plain(torch.tanh)),
    aten.rnn_relu_cell.default: partial(_single, _plain(torch.relu)),
}
