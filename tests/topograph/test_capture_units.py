"""The unit graph gives what plain PyTorch gives: R as the output, S as autograd's gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from tests.topograph.random_nets import Net, Spec, build, specs
from topograph.capturing import capture
from topograph.capturing.forms import Form
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.graph.layered import LayeredGraph
from topograph.paths import path_sums


def scores(model: nn.Module, example: Tensor, graph: LayeredGraph) -> dict[str, np.ndarray]:
    """Return Σ φ(i) ψ(j) over the positions of every weight, from the unit graph alone."""
    traced = trace(model, example)
    binding = Binding(traced, model)
    wires = layout(traced, binding, "unit", "scale")
    sums = path_sums(graph)
    phi, psi = np.exp(sums.log_complexity), np.exp(sums.log_generality)
    read = np.append(np.concatenate([phi, wires.mixing @ phi]), 0)  # -1 reads nothing
    found = {}
    for wiring in wires.operators:
        form, places = wiring.form, wiring.form.places()
        source = read[wiring.sources] * (1 if wiring.gain is None else wiring.gain)
        target = psi[wiring.targets] * (1 if wiring.factor is None else wiring.factor)
        source = np.where(places >= 0, source[:, :, places], 0)
        target = target.reshape(form.groups, form.rows, -1)
        found[wiring.operator.parameter] = np.einsum("gctp,grp->grct", source, target)
    return found


def check(net: Net, example: Tensor, masks: dict[str, Tensor]) -> None:
    output = net(example).sum()
    weights = [p for name, p in net.named_parameters() if name in masks]
    gradients = torch.autograd.grad(output, weights)
    graph = capture(net, example, masks=masks, granularity="unit", norm="scale")
    total = path_sums(graph).log_total
    if output.item() == 0:
        assert total == -math.inf
        return
    assert math.exp(total) == pytest.approx(output.item(), rel=1e-6)
    found = scores(net, example, graph)
    traced = trace(net, example)
    for op in Binding(traced, net).operators:
        name = op.parameter
        gradient = gradients[list(masks).index(name)]
        expected = Form.of(op).weight(gradient).numpy()
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-9 * expected.max())


@settings(max_examples=30)
@given(specs())
def test_unit_graph_is_plain_autograd(spec: Spec) -> None:
    net, masks = build(spec)
    check(net, torch.ones(1, *spec.shape, dtype=torch.float64), masks)
