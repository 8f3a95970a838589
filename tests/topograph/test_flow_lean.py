"""Path shares without scores: the same numbers, with one weight in memory at a time."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from tests.topograph.models import MobileNet, ResNet, SqueezeExcite, mlp
from topograph.capturing.lazy import LazyTensors
from topograph.flow import PathFlow, path_flow


class Tied(nn.Module):
    """A vocabulary read and written by one table, a recurrent weight, two orders of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.shared = nn.Linear(6, 6)
        self.last = nn.Parameter(torch.randn(6, 6))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        for _ in range(2):
            x = x + self.shared(x).relu()
        return (x @ self.last) @ self.table.weight.T


MODELS = {
    "mlp": lambda: (mlp((5, 7, 6, 3)), torch.zeros(1, 5)),
    "resnet": lambda: (ResNet(), torch.zeros(1, 3, 8, 8)),
    "mobile": lambda: (MobileNet(), torch.zeros(1, 3, 8, 8)),
    "squeeze": lambda: (SqueezeExcite(), torch.zeros(1, 3, 8, 8)),
    "tied": lambda: (Tied(), torch.zeros(1, 4, dtype=torch.long)),
}


def assert_same(one: PathFlow, other: PathFlow) -> None:
    assert one.log_total == pytest.approx(other.log_total, rel=1e-12)
    assert one.share.keys() == other.share.keys()
    for name, share in one.share.items():
        torch.testing.assert_close(share, other.share[name], rtol=1e-12, atol=0)
    assert one.passed == pytest.approx(other.passed, rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_shares_without_scores_are_those_with(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, example = MODELS[name]()
    model.eval()
    with torch.no_grad():  # zeros, so that some paths are cut
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) < 0.6)
    lean = path_flow(model, example, scores=False, dtype=dtype)
    assert_same(lean, path_flow(model, example, dtype=dtype))
    assert not lean.scores


@pytest.mark.parametrize("name", MODELS)
def test_the_part_that_passes_a_weight_is_its_scores_times_its_size(name: str) -> None:
    torch.manual_seed(1)
    model, example = MODELS[name]()
    flow = path_flow(model.eval(), example)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    held: dict[str, float] = {}
    for use, part in flow.passed.items():
        parameter = next(p for p in (f"{use.split('#')[0]}.weight", use.split("#")[0])
                         if p in parameters)  # fmt: skip
        held[parameter] = held.get(parameter, 0.0) + part
    tied = parameters.get("table.weight")
    for parameter, score in flow.scores.items():
        products = score.double() * parameters[parameter].detach().abs()
        part = float(products.sum()) * torch.exp(
            torch.tensor(flow.log_scale - flow.log_total, dtype=torch.float64)
        )
        names = [n for n in held if parameters[n] is parameters[parameter]]
        assert tied is None or names
        assert sum(held[n] for n in names) == pytest.approx(float(part), rel=1e-6)


def test_no_two_weights_are_in_memory_together() -> None:
    torch.manual_seed(0)
    loaded = mlp((30, 40, 40, 40, 40, 10))
    state = {name: value.detach() for name, value in loaded.named_parameters()}
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def read(name: str) -> Tensor:
        nonlocal most
        value = state[name].clone()
        if value.dim() > 1:
            gc.collect()
            alive.append(weakref.ref(value))
            most = max(most, sum(each() is not None for each in alive))
        return value

    table = {name: (tuple(value.shape), value.dtype) for name, value in state.items()}
    with torch.device("meta"):
        hollow = mlp((30, 40, 40, 40, 40, 10))
    lean = path_flow(hollow, torch.zeros(1, 30), weights=LazyTensors(table, read), scores=False)
    assert_same(lean, path_flow(loaded, torch.zeros(1, 30)))
    assert most == 1
