"""Who is connected: one unit is moved, and the graph says whose inputs move with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from tests.topograph.models import NETS
from topograph.capturing.layout import Layout, layout
from topograph.capturing.trace import Trace, shape_of, trace
from topograph.capturing.weights import Binding
from topograph.errors import TopographError
from topograph.influence import Expected, check_influence


def prepared(name: str, granularity: str) -> tuple[Trace, Binding, Layout]:
    make, shape = NETS[name]
    torch.manual_seed(0)
    model: nn.Module = make().eval()
    traced = trace(model, torch.zeros(shape))
    binding = Binding(traced, model)
    return traced, binding, layout(traced, binding, granularity)


@pytest.mark.parametrize("granularity", ["channel", "unit"])
@pytest.mark.parametrize("name", NETS)
def test_linearised_networks_move_as_their_graphs_say(name: str, granularity: str) -> None:
    traced, binding, wires = prepared(name, granularity)
    assert check_influence(traced, binding, wires, units=60) == min(60, wires.n_nodes)


class Intervention(fx.Interpreter):
    """The network as it is, each weighted operator's result held fast, one value moved."""

    def __init__(self, traced: Trace, binding: Binding, site: Any, moved: Tensor) -> None:
        super().__init__(fx.GraphModule(nn.Module(), traced.graph))
        self.traced, self.binding = traced, binding
        self.site, self.moved = site, moved
        self.signals = {op.node: op.signal for op in binding.operators}
        self.seen: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "output":
            return None
        if not self.traced.varies(n):
            value = self.binding.value(n)
            return (
                value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
            )
        if n in self.signals or n in self.traced.inputs:
            if n in self.signals:
                self.seen[n] = self.env[self.signals[n]]
            generator = torch.Generator().manual_seed(len(n.name))
            value = torch.rand(shape_of(n), generator=generator, dtype=torch.float64) + 0.1
        else:
            value = super().run_node(n)
        return value + 10 * self.moved if n is self.site else value


@pytest.mark.parametrize("granularity", ["channel", "unit"])
@pytest.mark.parametrize("name", [name for name in NETS if name != "squeeze-excite"])
def test_real_networks_move_as_their_graphs_say(name: str, granularity: str) -> None:
    """Nothing here knows the rules of paths; a gate, which they leave out, would move others."""
    traced, binding, wires = prepared(name, granularity)
    expected = Expected(wires)
    generator = np.random.default_rng(0)
    still = Intervention(traced, binding, None, torch.zeros(()))
    still.run(*(None for node in traced.graph.nodes if node.op == "placeholder"))
    for group in wires.groups.values():
        if group.kind == "output":
            continue
        site = wires.sites[group.name]
        for local in generator.permutation(group.size)[:3]:
            moved = (site.index == int(local)).double()
            other = Intervention(traced, binding, site.node, moved)
            other.run(*(None for node in traced.graph.nodes if node.op == "placeholder"))
            for wiring, surely, perhaps in expected.of(group.start + int(local)):
                node = wiring.operator.node
                changed = wiring.form.signal((other.seen[node] - still.seen[node]).abs() > 1e-9)
                found = changed.any(-1) if granularity == "channel" else changed
                assert np.array_equal(found.numpy().reshape(-1), surely), wiring.operator.name
                assert np.array_equal(surely, perhaps)


def test_a_wrong_graph_is_found_out() -> None:
    traced, binding, wires = prepared("shufflenet", "channel")
    wrong = list(wires.operators)
    wrong[3] = dataclasses.replace(wrong[3], sources=np.roll(wrong[3].sources, 1, axis=-1))
    with pytest.raises(TopographError, match="not what the graph says"):
        check_influence(
            traced, binding, dataclasses.replace(wires, operators=tuple(wrong)), units=40
        )


def test_a_lost_residual_is_found_out() -> None:
    traced, binding, wires = prepared("resnet-a", "channel")
    wrong = dataclasses.replace(wires, identity=wires.identity[1:])
    with pytest.raises(TopographError, match="not what the graph says"):
        check_influence(traced, binding, wrong, units=range(wires.n_nodes))
