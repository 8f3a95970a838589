"""A binding names the weights as their user does and finds their masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from topograph.capturing.masks import found_masks
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.errors import TopographError


def bind(model: nn.Module, *shape: int, masks: dict[str, Tensor] | None = None) -> Binding:
    return Binding(trace(model, torch.zeros(shape)), model, masks)


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_names_kinds_and_magnitudes() -> None:
    model = chain()
    binding = bind(model, 1, 4)
    assert [(op.name, op.parameter, op.kind) for op in binding.operators] == [
        ("0", "0.weight", "linear"),
        ("2", "2.weight", "linear"),
    ]
    assert torch.equal(binding.magnitude(binding.operators[0]), model[0].weight.detach().abs())


def test_masks_are_given_or_exact_zeros() -> None:
    model = chain()
    with torch.no_grad():
        model[2].weight[0, 1] = 0
    given = {"0.weight": torch.rand(3, 4) < 0.5}
    first, second = (binding := bind(model, 1, 4, masks=given)).operators
    assert torch.equal(binding.mask(first), given["0.weight"])
    assert binding.mask(second).tolist() == [[True, False, True], [True, True, True]]
    kept = binding.magnitude(first)
    assert torch.equal(kept, model[0].weight.detach().abs() * given["0.weight"])


def test_pruned_weights_keep_their_name_and_zeros_stay_kept() -> None:
    model = chain()
    prune.random_unstructured(model[0], "weight", 0.5)
    with torch.no_grad():
        kept = model[0].weight_mask.nonzero()[0]
        model[0].weight_orig[tuple(kept)] = 0  # freshly grown: kept, and 0
    binding = bind(model, 1, 4)
    op = binding.operators[0]
    assert op.parameter == "0.weight"
    assert torch.equal(binding.mask(op), model[0].weight_mask.bool())
    assert set(found_masks(model)) == {"0.weight"}
    given = {"0.weight_orig": torch.ones(3, 4, dtype=torch.bool)}
    assert bind(model, 1, 4, masks=given).mask(op).all()


def test_a_parametrisation_s_mask_is_found() -> None:
    class Masked(nn.Module):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, weight: Tensor) -> Tensor:
            return weight * self.mask

    model = chain()
    mask = torch.rand(3, 4) < 0.5
    parametrize.register_parametrization(model[0], "weight", Masked(mask))
    binding = bind(model, 1, 4)
    assert binding.operators[0].parameter == "0.weight"
    assert torch.equal(binding.mask(binding.operators[0]), mask)


def test_weight_norm_is_seen_through() -> None:
    model = chain()
    parametrizations.weight_norm(model[0])
    binding = bind(model, 1, 4)
    op = binding.operators[0]
    assert op.parameter == "0.weight"
    torch.testing.assert_close(binding.weight(op), model[0].weight.detach())


def test_slices_and_transposes_lead_back_to_the_parameter() -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = nn.Parameter(torch.randn(6, 4))
            self.back = nn.Parameter(torch.randn(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.both.chunk(2)
            return (F.linear(x, a) + x @ b.t()) @ self.back

    model = Fused()
    binding = bind(model, 1, 4)
    assert [(op.name, op.parameter) for op in binding.operators] == [
        ("both", "both"),
        ("both#2", "both"),
        ("back", "back"),
    ]
    positions = torch.arange(24).view(6, 4)
    taken = [op.readdress(positions) for op in binding.operators[:2]]
    assert torch.equal(taken[0], positions[:3])
    assert torch.equal(taken[1], positions[3:].t())


def test_a_tied_weight_is_one_parameter_used_twice() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu())

    operators = bind(Tied(), 1, 3).operators
    assert len({op.leaf for op in operators}) == 1
    assert [(op.name, op.parameter) for op in operators] == [("a", "a.weight"), ("b", "a.weight")]


def test_today_s_weights_are_read_at_binding() -> None:
    model = chain()
    made = trace(model, torch.zeros(1, 4))
    with torch.no_grad():
        model[0].weight.fill_(7)
    binding = Binding(made, model)
    assert bool((binding.weight(binding.operators[0]) == 7).all())


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({"nine.weight": torch.ones(3, 4)}, "no parameter of the model"),
        ({"0.weight": torch.ones(4, 3)}, "expected \\(3, 4\\)"),
        ({"0.weight": torch.full((3, 4), 0.5)}, "other than 0 and 1"),
        ({"0.weight": [1, 0]}, "expected a bool tensor"),
    ],
)
def test_bad_masks_are_refused(masks: dict[str, Tensor], words: str) -> None:
    with pytest.raises(TopographError, match=words):
        bind(chain(), 1, 4, masks=masks)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_weights_are_refused_by_name(value: float) -> None:
    model = chain()
    with torch.no_grad():
        model[2].weight[0, 0] = value
    with pytest.raises(TopographError, match="holds NaN or infinite"):
        bind(model, 1, 4)
