"""Packed sequences of one sample: what packs, reads and unpacks them, as operators on the sample.

The packed form of one sequence of T steps is its T steps, one in each batch; a recurrent layer that
reads it is the layer that reads the sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten


def _pack(value: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    (length,) = lengths.tolist()
    steps = (value[0] if batch_first else value[:, 0])[:length]
    return steps, torch.ones(length, dtype=torch.int64)


def _pad(
    data: Tensor, batch_sizes: Tensor, batch_first: bool, padding: float, total_length: int
) -> tuple[Tensor, Tensor]:
    length = data.shape[0]
    missing = max(total_length - length, 0)
    padded = functional.pad(data, (0, 0) * (data.dim() - 1) + (0, missing), value=padding)
    return padded.unsqueeze(0 if batch_first else 1), torch.tensor([length])


def _reading(of_sequence: Any) -> Callable[..., Any]:
    """Return what reads packed data, by the operator that reads a sequence."""

    def read(data: Tensor, batch_sizes: Tensor, state: Any, weights: Any, *options: Any) -> Any:
        result, *states = of_sequence(data.unsqueeze(1), state, weights, *options, False)
        return (result.squeeze(1), *states)

    return read


#: Operator to what does the same for one sample.
ONE_SAMPLE: dict[Any, Callable[..., Any]] = {
    aten._pack_padded_sequence.default: _pack,
    aten._pad_packed_sequence.default: _pad,
    aten.lstm.data: _reading(aten.lstm.input),
    aten.gru.data: _reading(aten.gru.input),
    aten.rnn_tanh.data: _reading(aten.rnn_tanh.input),
    aten.rnn_relu.data: _reading(aten.rnn_relu.input),
}
