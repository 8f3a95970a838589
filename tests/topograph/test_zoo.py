"""Published architectures as their packages write them: captured, and right by both oracles.

All others are in benchmarks/capture_zoo.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from tests.topograph.vision import declare_operators
from topograph.capturing import capture
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.collapse import check_collapse
from topograph.influence import check_influence

missing = [name for name in ("torchvision", "timm") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(missing), reason=f"not installed: {', '.join(missing)} (the extra zoo holds them)"
)

MODELS = [
    "torchvision:squeezenet1_1",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:mobilenet_v3_small",
    "timm:test_resnet",
    "timm:test_nfnet",
    "timm:test_byobnet",
    "timm:test_convnext2",
    "timm:test_mambaout",
    "timm:test_vit",
    "timm:efficientvit_b0",
    "timm:levit_128s",
]

PACKAGES = {"torchvision": "torchvision.models", "timm": "timm"}


def build(spec: str) -> tuple[nn.Module, torch.Tensor]:
    declare_operators()
    source, name = spec.split(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages, about themselves
        package: Any = importlib.import_module(PACKAGES[source])
        if source == "torchvision":
            return package.get_model(name, weights=None).eval(), torch.zeros(1, 3, 224, 224)
        model = package.create_model(name).eval()
    return model, torch.zeros(1, *model.default_cfg["input_size"])


def calls(model: nn.Module, example: torch.Tensor) -> int:
    """Return how often a convolution or linear layer is called in a forward."""
    called = []
    handles = [
        module.register_forward_hook(lambda *_: called.append(1))
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    with torch.no_grad():
        model(example)
    for handle in handles:
        handle.remove()
    return len(called)


@pytest.mark.parametrize("spec", MODELS)
def test_published_architectures(spec: str) -> None:
    torch.manual_seed(0)
    model, example = build(spec)
    graph = capture(model, example)
    coverage = graph.coverage
    assert coverage is not None
    assert coverage.total == calls(model, example)
    reasons = {reason for _, reason in coverage.missing}
    assert reasons <= {"gate", "query or key of an attention"}
    traced = trace(model, example)
    binding = Binding(traced, model)
    wires = layout(traced, binding)
    assert check_influence(traced, binding, wires, units=8) == 8
    assert check_collapse(traced, binding, wires, graph) == coverage.modelled
