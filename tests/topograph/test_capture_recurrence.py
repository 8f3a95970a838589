"""Recurrent nets are their steps: a weight used at every one, paths through the candidate."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.topograph.proofs import Written, against_autograd, prove
from topograph.capturing import capture
from topograph.capturing.recurrence import RECURRENCE

aten = torch.ops.aten
STEPS, FEATURES, SIZE = 4, 3, 5


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def linear_run(layer: nn.RNNBase, weights: dict[str, Tensor]) -> Tensor:
    """Return what the layer's linear network gives for ones: (steps, features).

    Gates are 1: an LSTM's memory adds up its candidates, a GRU's state too.
    """
    x = torch.ones(STEPS, layer.input_size)
    for number in range(layer.num_layers):
        outputs = []
        for suffix in ("", "_reverse") if layer.bidirectional else ("",):
            ih, hh, hr = (
                weights.get(f"rnn.weight_{kind}_l{number}{suffix}") for kind in ("ih", "hh", "hr")
            )
            rows = slice(2 * SIZE, 3 * SIZE) if layer.mode in ("LSTM", "GRU") else slice(None)
            memory = x.new_zeros(SIZE)
            hidden = x.new_zeros(SIZE if hr is None else len(hr))
            states = []
            for t in range(STEPS)[:: -1 if suffix else 1]:
                candidate = ih[rows] @ x[t] + hh[rows] @ hidden
                memory = memory + candidate if layer.mode in ("LSTM", "GRU") else candidate
                hidden = memory if hr is None else hr @ memory
                states.append(hidden)
            outputs.append(torch.stack(states[::-1] if suffix else states))
        x = torch.cat(outputs, -1)
    return x


LAYERS = {
    "rnn": lambda: nn.RNN(FEATURES, SIZE, batch_first=True),
    "relu": lambda: nn.RNN(FEATURES, SIZE, 2, nonlinearity="relu", batch_first=True),
    "lstm": lambda: nn.LSTM(FEATURES, SIZE, batch_first=True),
    "no bias": lambda: nn.LSTM(FEATURES, SIZE, 2, bias=False, batch_first=True),
    "both ways": lambda: nn.LSTM(FEATURES, SIZE, 2, batch_first=True, bidirectional=True),
    "projected": lambda: nn.LSTM(FEATURES, SIZE, 2, batch_first=True, proj_size=2),
    "gru": lambda: nn.GRU(FEATURES, SIZE, batch_first=True),
    "gru both ways": lambda: nn.GRU(FEATURES, SIZE, 2, batch_first=True, bidirectional=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_unrolled_paths_are_those_of_the_linear_recurrence(name: str) -> None:
    layer = LAYERS[name]()
    model = Written(lambda self, x: self.rnn(x)[0], rnn=layer)
    names = {n: p for n, p in model.named_parameters() if "weight" in n}
    leaves = {n: p.detach().abs().requires_grad_() for n, p in names.items()}
    total = linear_run(layer, leaves).sum()
    graph = against_autograd(model, torch.zeros(1, STEPS, FEATURES), total, leaves)
    assert graph.coverage.missing == ()
    # The first step has no state before it.
    uses = [op for op in graph.operators if op.parameter == "rnn.weight_hh_l0"]
    assert len(uses) == STEPS - 1
    assert not any(size == 0 for size in (group.size for group in graph.groups.values()))


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_a_cell_in_a_loop_is_the_layer(cell: type[nn.Module]) -> None:
    def forward(self, x: Tensor) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return state[0] if isinstance(state, tuple) else state

    looped = Written(forward, cell=cell(FEATURES, SIZE))
    layer = getattr(nn, cell.__name__.removesuffix("Cell"))(FEATURES, SIZE, batch_first=True)
    for kind in ("weight_ih", "weight_hh"):
        getattr(layer, f"{kind}_l0").data.copy_(getattr(looped.cell, kind))
    whole = Written(lambda self, x: self.rnn(x)[0][:, -1], rnn=layer)
    example = torch.zeros(1, STEPS, FEATURES)
    _, one = prove(looped, example)
    _, other = prove(whole, example)
    assert one.log_total == pytest.approx(other.log_total, rel=1e-9)


def test_gates_are_left_out_and_said() -> None:
    model = Written(lambda self, x: self.rnn(x)[0], rnn=nn.LSTM(FEATURES, SIZE, batch_first=True))
    graph = capture(model, torch.zeros(1, STEPS, FEATURES))
    assert graph.groups["rnn.weight_ih_l0"].size == SIZE
    left_out = {name: rows for name, *rows in graph.coverage.partly}
    assert left_out["rnn.weight_ih_l0"] == [15, 20]
    assert len(left_out) == 2  # once for all uses of one weight
    assert "the query, key and gate rows, 30 of 40, are left out" in str(graph.coverage)


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_written_out_gives_the_same_values(name: str) -> None:
    layer = LAYERS[name]().double()
    layer.dropout = 0.0
    x = torch.randn(2, STEPS, FEATURES, dtype=torch.float64)
    operator = {
        "LSTM": aten.lstm.input,
        "GRU": aten.gru.input,
        "RNN_TANH": aten.rnn_tanh.input,
        "RNN_RELU": aten.rnn_relu.input,
    }[layer.mode]
    runs = layer.num_layers * (2 if layer.bidirectional else 1)
    hidden = torch.randn(runs, 2, layer.proj_size or SIZE, dtype=torch.float64)
    memory = torch.randn(runs, 2, SIZE, dtype=torch.float64)
    lstm = layer.mode == "LSTM"
    found = RECURRENCE[operator](
        x,
        (hidden, memory) if lstm else hidden,
        list(layer._flat_weights),
        layer.bias,
        layer.num_layers,
        0.0,
        False,
        layer.bidirectional,
        True,
    )
    output, state = layer(x, (hidden, memory) if lstm else hidden)
    for one, other in zip(found, (output, *state) if lstm else (output, state), strict=True):
        torch.testing.assert_close(one, other)
