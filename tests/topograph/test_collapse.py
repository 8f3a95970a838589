"""How much: the channel graph has the path weight of the network with one value a channel."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from tests.topograph.models import NETS
from tests.topograph.random_nets import Spec, build, specs
from tests.topograph.test_capture_attention import CASES
from topograph.capturing import capture, sums
from topograph.capturing.layout import layout
from topograph.capturing.signals import Signal
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.collapse import check_collapse
from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph

ALL = {**{name: (make, torch.zeros(shape)) for name, (make, shape) in NETS.items()}, **CASES}


def prepared(name: str) -> tuple[Any, ...]:
    make, example = ALL[name]
    torch.manual_seed(0)
    model: nn.Module = make().eval()
    traced = trace(model, example)
    binding = Binding(traced, model)
    return traced, binding, layout(traced, binding), capture(model, example)


@pytest.mark.parametrize("name", ALL)
def test_graphs_have_the_path_weight_of_their_collapsed_networks(name: str) -> None:
    traced, binding, wires, graph = prepared(name)
    assert check_collapse(traced, binding, wires, graph) == len(wires.operators)


@settings(max_examples=20)
@given(specs())
def test_so_have_random_networks(spec: Spec) -> None:
    net, masks = build(spec)
    example = torch.zeros(1, *spec.shape, dtype=torch.float64)
    traced = trace(net, example)
    binding = Binding(traced, net, masks)
    graph = capture(net, example, masks=masks)
    assert check_collapse(traced, binding, layout(traced, binding), graph) > 0


def test_a_rule_that_loses_a_factor_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factor of a scaled residual branch is dropped where the sum is made."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.one(x)
            return self.two(x + 0.5 * x)

    model, example = Scaled(), torch.zeros(1, 3, 4, 4)
    traced = trace(model, example)
    binding = Binding(traced, model)
    assert check_collapse(traced, binding, layout(traced, binding), capture(model, example)) == 2

    whole = sums._as_one

    def broken(terms: Any) -> Signal | None:
        found = whole(terms)
        return None if found is None else Signal(found.ids)

    monkeypatch.setattr(sums, "_as_one", broken)
    other = Scaled()
    traced = trace(other, example)
    binding = Binding(traced, other)
    with pytest.raises(TopographError, match='what "two" reads differs'):
        check_collapse(traced, binding, layout(traced, binding), capture(other, example))


def _halved(graph: LayeredGraph) -> LayeredGraph:
    block = graph.blocks[1]
    less = dataclasses.replace(block, matrix=block.matrix * 0.5)
    return dataclasses.replace(graph, blocks=(graph.blocks[0], less, *graph.blocks[2:]))


@pytest.mark.parametrize("name", ["resnet-a", "densenet", "vit", "decoder"])
def test_wrong_wires_and_wrong_weights_are_found_out(name: str) -> None:
    traced, binding, wires, graph = prepared(name)
    with pytest.raises(TopographError, match="differs"):
        check_collapse(traced, binding, wires, _halved(graph))
    wrong = list(wires.operators)
    wrong[2] = dataclasses.replace(wrong[2], sources=np.roll(wrong[2].sources, 1, axis=-1))
    with pytest.raises(TopographError, match="differs"):
        check_collapse(traced, binding, dataclasses.replace(wires, operators=tuple(wrong)), graph)


def test_units_are_refused() -> None:
    traced, binding, _, graph = prepared("mlp")
    with pytest.raises(TopographError, match='granularity "unit"'):
        check_collapse(traced, binding, layout(traced, binding, "unit"), graph)
