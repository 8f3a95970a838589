"""Does the ledger count what the operators compute, on kept weights?"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pwmpr import models
from pwmpr.cost import Ledger, forward_flops, operator_costs
from topograph.errors import TopographError


def counted_by_torch(model: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(x)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.resnet20(), (3, 32, 32)),
        (models.build("resnet8", shortcut="B"), (3, 16, 16)),
        (models.convnet(size=8, widths=(4, 6), hidden=5), (1, 8, 8)),
        (models.mlp([64, 32, 10]), (1, 8, 8)),
        (nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=3), (6, 15, 15)),
        (nn.Conv2d(6, 4, 3, dilation=2), (6, 15, 14)),
        (nn.ConvTranspose2d(3, 5, 4, 2, 1), (3, 7, 7)),
        (nn.Conv1d(3, 5, 4), (3, 9)),
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
def test_dense_forward_flops_agree_with_torch(model, shape, samples):
    x = torch.randn(samples, *shape)
    assert forward_flops(operator_costs(model, x)) * samples == counted_by_torch(model, x)


def test_forward_and_backward_of_a_dense_net_are_three_forwards_less_the_input_gradient():
    model, x = models.resnet20(), torch.randn(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    operators = operator_costs(model, x)
    ledger = Ledger(operators)
    ledger.add_training(samples=2)
    first_layer = 2 * operators[0].flops
    assert ledger.total - first_layer == counter.get_total_flops()


@given(
    kept=st.integers(0, 48),
    size=st.integers(3, 9),
    stride=st.integers(1, 2),
)
def test_every_kept_convolution_weight_costs_two_flops_a_position(kept, size, stride):
    model = nn.Conv2d(4, 12, 1, stride)
    operators = operator_costs(model, torch.zeros(1, 4, size, size))
    positions = (-(-size // stride)) ** 2
    assert forward_flops(operators, {"weight": kept}) == 2 * kept * positions


def test_only_named_parameters_are_thinned():
    model = models.mlp([6, 5, 4])
    operators = operator_costs(model, torch.zeros(1, 6))
    assert forward_flops(operators, {"fc1.weight": 7}) == 2 * 7 + 2 * 20


class FunctionalNet(nn.Module):
    """Weights read by functions, one of them twice and through a view and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.randn(5, 5))
        self.out = nn.Parameter(torch.randn(10))
        self.register_buffer("gate", torch.ones(5, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(x, self.shared * self.gate)
        x = x @ self.shared.t()
        return x @ self.out.view(5, 2)


def test_weights_are_found_behind_views_masks_and_functions():
    operators = operator_costs(FunctionalNet(), torch.zeros(1, 5))
    assert [operator.parameter for operator in operators] == ["shared", "shared", "out"]
    assert forward_flops(operators, {"shared": 3, "out": 4}) == 2 * (3 + 3 + 4)


def test_products_of_activations_are_counted_and_never_thinned():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    operators = operator_costs(layer, torch.zeros(1, 5, 8))
    products = [operator for operator in operators if operator.parameter is None]
    assert sum(operator.flops for operator in products) == 2 * 2 * 5 * 5 * 8
    weights = 8 * 24 + 8 * 8 + 2 * 8 * 16
    assert forward_flops(operators) == 2 * 5 * weights + 2 * 2 * 5 * 5 * 8


def test_counting_leaves_the_model_as_it_was():
    model = models.build("resnet8").train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    operator_costs(model, torch.randn(1, 3, 8, 8))
    assert model.training
    assert not model.layer1.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_ledger_keeps_kinds_apart_and_survives_being_saved():
    model = models.mlp([6, 5, 4])  # 50 weights, 100 FLOPs a sample
    ledger = Ledger(operator_costs(model, torch.zeros(1, 6)))
    ledger.keep({"fc1.weight": 3, "fc2.weight": 2})
    ledger.add_training(samples=7)
    ledger.add_scoring()
    ledger.add_dense_gradient(samples=2)
    expected = {"training": 3 * 10 * 7, "scoring": 3 * 10, "dense_gradient": 3 * 100 * 2}
    assert ledger.state_dict() == expected
    assert ledger.total == sum(expected.values())
    assert ledger.dense_training(samples=10) == 3 * 100 * 10
    again = Ledger(ledger.operators)
    again.load_state_dict(ledger.state_dict())
    assert again.total == ledger.total


def test_a_masked_weight_that_no_known_operator_applies_is_named():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight

    with pytest.warns(UserWarning, match="FLOPs of weight"):
        Ledger(operator_costs(Outer(), torch.zeros(1, 3)), ("weight",))


def test_an_input_without_a_tensor_is_refused():
    with pytest.raises(TopographError, match="example_input"):
        operator_costs(models.mlp([2, 2]), "x")
