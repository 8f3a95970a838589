"""Does STR compute, learn and leave behind what its paper says?"""

from __future__ import annotations

import copy
import os
import signal

import pytest
import torch
from torch import nn

import pwmpr
from pwmpr.pruning import learn_thresholds, soft_threshold
from topograph.errors import TopographError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3))


def test_gradients_of_weights_and_thresholds_are_those_of_the_paper():
    weight = torch.tensor([1.5, -0.2, 0.4, -2.0, 0.05], dtype=torch.float64, requires_grad=True)
    s = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    (soft_threshold(weight, s) * upstream).sum().backward()
    sigma = 1 / (1 + torch.e)
    above = torch.tensor([1.0, 0, 1.0, 1.0, 0], dtype=torch.float64)  # |θ| over 0.269
    assert torch.allclose(weight.grad, upstream * above)
    # ∂/∂s: −σ'(s) Σ sign(θ) upstream over weights above: 1 + 3 − 4.
    assert float(s.grad) == pytest.approx(-sigma * (1 - sigma) * (1 + 3 - 4), abs=1e-12)
    (soft_threshold(weight, s) * torch.tensor([1.0, 1, 1, 0, 0])).sum().backward()
    assert float(s.grad) == pytest.approx(-sigma * (1 - sigma) * 2)


def test_decay_of_the_thresholds_lowers_the_density():
    model = network()
    thresholds = learn_thresholds(model, initial=-8.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    x, y = torch.randn(32, 2, 5, 5), torch.arange(32) % 3
    densities = [thresholds.masks().density]
    for _ in range(4):
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        densities.append(thresholds.masks().density)
    assert densities[0] > 0.99
    assert densities == sorted(densities, reverse=True)
    assert densities[-1] < 0.8
    assert len({float(part.s.detach()) for part in thresholds.parts.values()}) == 2  # one a layer


def test_hardening_leaves_a_plain_network_that_computes_the_same():
    model = network()
    keys = list(model.state_dict())
    thresholds = learn_thresholds(model, initial=-3.0)
    x = torch.randn(4, 2, 5, 5)
    before = model(x)
    masks = thresholds.harden()
    assert torch.equal(model(x), before)
    assert sorted(model.state_dict()) == sorted(keys)
    for name, mask in masks.items():
        assert torch.equal(model.state_dict()[name] != 0, mask)
        assert 0 < int(mask.sum()) < mask.numel()
    masks.attach(model, torch.optim.SGD(model.parameters(), lr=0.1))  # trains on as usual


def test_layers_that_stay_dense_and_tied_ones():
    model = network()
    thresholds = learn_thresholds(model, dense=["3"])
    assert list(thresholds.parts) == ["0.weight"]
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(TopographError, match="several modules"):
        learn_thresholds(tied)


def test_nothing_above_a_threshold_is_an_error_that_changes_nothing():
    model = network()
    thresholds = learn_thresholds(model, initial=20.0)
    with torch.no_grad():
        for part in ("0", "3"):
            model.get_submodule(part).parametrizations.weight.original.mul_(0.1)
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(TopographError, match="empty mask"):
        thresholds.harden()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# in a run


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(96, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(96) % 3


def quick(out, **settings):
    options = {"epochs": 3, "batch": 16, "precision": "fp32", "lr": 0.05, "schedule": "constant",
               "threshold": 0.01, "threshold_decay": 0.05, "weight_decay": 1e-3}  # fmt: skip
    return pwmpr.run(model=network(), train=data(), validation=data(), test=data(), method="str",
                     out=out, **options | settings)  # fmt: skip


def test_a_run_does_the_same_steps_as_the_parametrization(tmp_path):
    steps = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            steps.append(target.clone())
        return nn.functional.cross_entropy(output, target)

    seen: list[torch.Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled():
                seen.append(x.clone())
            return self.net(x)

    model = Watched()
    result = pwmpr.run(
        model=model, train=data(), validation=data(), method="str", epochs=3, batch=16,
        precision="fp32", lr=0.05, schedule="constant", threshold=0.01, weight_decay=1e-3,
        threshold_decay=1e-3, loss=loss, out=tmp_path / "r",
    )  # fmt: skip
    own = network()
    learn_thresholds(own, initial=float(torch.logit(torch.tensor(0.01))))
    optimizer = torch.optim.SGD(own.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    inputs = [x for x in seen if len(x) == 16][-18:]
    assert len(steps) == len(inputs) == 18
    for x, y in zip(inputs, steps, strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(own(x), y).backward()
        optimizer.step()
    for index in (0, 3):
        assert torch.allclose(result.model.net[index].weight, own[index].weight, atol=1e-6)


def test_a_run_finds_a_density_and_its_history_shows_it(tmp_path):
    result = quick(tmp_path / "r")
    densities = list(result.history["density"])
    assert densities == sorted(densities, reverse=True)
    assert 0.02 < result.density < 0.95
    assert result.density == densities[-1]
    weights = result.model.state_dict()
    assert all(torch.equal(weights[n] != 0, mask) for n, mask in result.masks.items())
    with pytest.raises(TopographError, match="finds its own density"):
        quick(tmp_path / "d", density=0.1)


def test_a_stopped_run_goes_on_with_its_thresholds(tmp_path):
    whole, calls = quick(tmp_path / "whole"), 0

    def stopping(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return nn.functional.cross_entropy(output, target)

    with pytest.raises(SystemExit):
        quick(tmp_path / "part", loss=stopping)
    rest = pwmpr.resume(tmp_path / "part", model=network(), train=data(), validation=data(),
                        test=data(), loss=nn.functional.cross_entropy)  # fmt: skip
    assert rest.masks == whole.masks
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
