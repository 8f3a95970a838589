"""What must hold for any captured model, whatever its operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from topograph.capturing import capture
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.flow import PathFlow, path_flow
from topograph.graph.layered import LayeredGraph
from topograph.influence import check_influence
from topograph.paths import path_sums


class Written(nn.Module):
    """A forward written as a function of the module and its inputs, with named parts."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def weight(*shape: int) -> nn.Parameter:
    """Return a random weight."""
    return nn.Parameter(torch.randn(*shape))


def prove(model: nn.Module, example: Any) -> tuple[LayeredGraph, PathFlow]:
    """Check both granularities against the tensor path and by influence.

    Returns
    -------
    graph, flow
        At channel granularity, and of the tensor path.
    """
    model.eval()
    flow = path_flow(model, example)
    units = capture(model, example, granularity="unit")
    assert path_sums(units).log_total == pytest.approx(flow.log_total, rel=1e-9, abs=1e-9)
    traced = trace(model, example)
    binding = Binding(traced, model)
    for granularity in ("unit", "channel"):
        wires = layout(traced, binding, granularity)
        assert check_influence(traced, binding, wires, units=24) > 0
    return capture(model, example), flow


def against_autograd(
    model: nn.Module, example: Any, total: Tensor, weights: dict[str, Tensor]
) -> LayeredGraph:
    """Check R and every score against a linear network written by hand.

    Parameters
    ----------
    total
        The sum of that network's outputs, for inputs of 1 and magnitudes for weights.
    weights
        Parameter name to the leaf that stands for it in ``total``.
    """
    graph, flow = prove(model, example)
    assert math.exp(flow.log_total) == pytest.approx(total.item(), rel=1e-6)
    gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    for name, gradient in zip(weights, gradients, strict=True):
        found = flow.scores[name].double() * math.exp(flow.log_scale)
        expected = torch.zeros_like(found) if gradient is None else gradient
        torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-9)
    return graph
