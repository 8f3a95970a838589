"""The channel graph is the network with every kernel summed to one weight, on a 1×1 input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.topograph.random_nets import Spec, build, collapse, specs
from topograph.capturing import capture
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.paths import path_sums


@settings(max_examples=20)
@given(specs())
def test_channel_graph_is_the_collapsed_network(spec: Spec) -> None:
    net, masks = build(spec)
    small = collapse(spec, net)
    example = torch.ones(1, *spec.shape, dtype=torch.float64)
    graph = capture(net, example, masks=masks, norm="scale")
    sums = path_sums(graph)
    output = small(torch.ones(1, spec.shape[0], 1, 1, dtype=torch.float64)).sum()
    if output.item() == 0:
        assert sums.log_total == -math.inf
        return
    assert math.exp(sums.log_total) == pytest.approx(output.item(), rel=1e-9)

    weights = {name: p for name, p in small.named_parameters() if name in masks}
    gradients = dict(zip(weights, torch.autograd.grad(output, weights.values()), strict=True))
    binding = Binding(trace(net, example), net)
    wires = layout(trace(net, example), binding, norm="scale")
    phi, psi = np.exp(sums.log_complexity), np.exp(sums.log_generality)
    read = np.append(np.concatenate([phi, wires.mixing @ phi]), 0)
    for wiring in wires.operators:
        form = wiring.form
        source = read[wiring.sources] * (1 if wiring.gain is None else wiring.gain)
        target = psi[wiring.targets] * (1 if wiring.factor is None else wiring.factor)
        scores = target.reshape(form.groups, form.rows, 1) * source[:, None]
        expected = gradients[wiring.operator.parameter]
        if wiring.operator.name == "fc" and spec.head == "flatten":
            expected = expected.repeat_interleave(net.pixels, 1)
        if wiring.operator.kind == "conv_transpose":
            expected = expected.transpose(0, 1)
        np.testing.assert_allclose(scores.reshape(expected.shape), expected, rtol=1e-9)
