"""Does GSE draw its candidates by the right signals and grow only among them?"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import pwmpr
from pwmpr.masks import Masks
from pwmpr.rewiring import rewire
from pwmpr.rewiring.guided import candidates
from pwmpr.rewiring.signals import Signals, layer_signals
from topograph.errors import TopographError


class Net(nn.Module):
    """A strided, a grouped and a linear layer, with activations that work in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 2, groups=2, dilation=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu_(self.first(x))
        x = functional.relu_(self.second(x))
        return self.head(x.mean((2, 3)))


def by_hand(model: Net, batch, sign) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """f and g by unfolding, patch after patch; ``sign(name, sample, patch)``, None: magnitudes."""
    x, y = batch
    a = model.first(x)
    b = model.second(functional.relu(a))
    c = model.head(functional.relu(b).mean((2, 3)))
    deltas = torch.autograd.grad(functional.cross_entropy(c, y), (a, b, c))
    unfolded = {
        "first.weight": functional.unfold(x, 3, padding=1, stride=2),
        "second.weight": functional.unfold(functional.relu(a), 2, dilation=2),
        "head.weight": functional.relu(b).mean((2, 3))[:, :, None],
    }
    groups = {"first.weight": 1, "second.weight": 2, "head.weight": 1}
    found = {}
    for (name, patches), delta in zip(unfolded.items(), deltas, strict=True):
        delta = delta.reshape(*delta.shape[:2], -1)
        f, g = torch.zeros(patches.shape[1]), torch.zeros(delta.shape[1])
        for i, p in itertools.product(range(len(x)), range(patches.shape[2])):
            s = 1.0 if sign is None else sign(name, i, p)
            f += s * (patches[i, :, p].abs() if sign is None else patches[i, :, p]).detach()
            g += s * (delta[i, :, p].abs() if sign is None else delta[i, :, p])
        found[name] = f.abs().reshape(groups[name], -1).numpy(), g.abs().numpy()
    return found


def batch(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 2, 9, 9, generator=generator), torch.arange(n) % 3


def test_grabo_sums_magnitudes_over_all_samples_and_patches():
    model, pair = Net(), batch()
    masks = pwmpr.initial_masks(model, 1.0, "random")
    found = layer_signals(model, masks, None, pair)
    for name, (f, g) in by_hand(model, pair, None).items():
        assert np.allclose(found[name].inputs, f, rtol=1e-5)
        assert np.allclose(found[name].outputs, g, rtol=1e-4, atol=1e-7)


def test_graest_sketches_with_one_sign_a_patch_shared_by_both_sides():
    model, pair = Net(), batch()
    masks = pwmpr.initial_masks(model, 1.0, "random")
    found = layer_signals(model, masks, None, pair, np.random.default_rng(7))
    generator = np.random.default_rng(7)
    shapes = {"first.weight": (5, 1, 5, 5), "second.weight": (5, 1, 3, 3), "head.weight": (5,)}
    drawn = {n: (generator.integers(0, 2, s) * 2 - 1).reshape(5, -1) for n, s in shapes.items()}
    expected = by_hand(model, pair, lambda name, i, p: float(drawn[name][i, p]))
    for name, (f, g) in expected.items():
        assert np.allclose(found[name].inputs, f, rtol=1e-4, atol=1e-5)
        assert np.allclose(found[name].outputs, g, rtol=1e-4, atol=1e-6)
    # Every patch counts, not the first alone.
    first = by_hand(model, pair, lambda name, i, p: float(drawn[name][i, p]) if p == 0 else 0.0)
    assert not np.allclose(found["first.weight"].inputs, first["first.weight"][0], rtol=1e-2)


def test_a_sketch_estimates_the_gradient():
    torch.manual_seed(0)
    model = nn.Linear(4, 3, bias=False)
    x = torch.randn(16, 4) + torch.tensor([0.0, 3.0, -3.0, 0.5])
    masks = Masks.dense(model)
    target = torch.randn(16, 3)

    def loss(net, pair):
        return functional.mse_loss(net(pair), target, reduction="sum")

    model.zero_grad()
    loss(model, x).backward()
    products = []
    generator = np.random.default_rng(0)
    for _ in range(4000):
        found = layer_signals(model, masks, loss, x, generator)["weight"]
        products.append((found.outputs[:, None] * found.inputs[0]) ** 2)
    # E[(s·δ)²(s·h)²] = |δ|²|h|² + 2 (δ·h)² − 2 Σ δ²h²: it grows with the gradient's square.
    h, delta = x.double(), 2 * (model(x) - target).detach().double()
    second = (delta.square().sum(0)[:, None] * h.square().sum(0)
              + 2 * model.weight.grad.double().square()
              - 2 * delta.square().T @ h.square())  # fmt: skip
    assert np.allclose(np.mean(products, 0), second.numpy(), rtol=0.2)


def test_pairs_are_drawn_by_f_and_g_with_replacement():
    masks = Masks({"w": torch.zeros(2, 3).index_put((torch.tensor(0), torch.tensor(0)),
                                                   torch.tensor(1.0))})  # fmt: skip
    f, g = np.array([[1.0, 2.0, 0.0]]), np.array([1.0, 3.0])
    seen = np.zeros(6)
    generator, rounds = np.random.default_rng(0), 6000
    for _ in range(rounds):
        found = candidates(masks, {"w": Signals(f, g)}, 1.0, generator)["w"]
        assert len(found) <= 1
        seen[found] += 1
    # One pair a round; position 0 is kept and so removed.
    expected = np.outer(g / 4, f[0] / 3).reshape(-1)
    expected[0] = 0
    assert seen / rounds == pytest.approx(expected, abs=0.03)
    assert not seen[[0, 2, 5]].any()
    two = [len(candidates(masks, {"w": Signals(f, g)}, 2.0, generator)["w"]) for _ in range(200)]
    assert set(two) == {0, 1, 2}  # pairs may fall together, or on kept positions


def test_grouped_layers_draw_inputs_of_the_output_s_own_group():
    masks = Masks({"w": torch.zeros(4, 2).index_put((torch.tensor(0), torch.tensor(0)),
                                                   torch.tensor(1.0))})  # fmt: skip
    f, g = np.array([[1.0, 0.0], [0.0, 1.0]]), np.ones(4)
    found = candidates(masks, {"w": Signals(f, g)}, 500.0, np.random.default_rng(0))["w"]
    assert found.tolist() == [2, 5, 7]


@pytest.mark.parametrize("rule", ["gse-uniform", "gse-grabo", "gse-graest"])
def test_k_candidates_of_largest_gradient_are_grown_and_k_smallest_dropped(rule):
    model, pair = Net(), batch()
    masks = pwmpr.initial_masks(model, 0.3, "random", seed=1)
    masks.apply_(model)
    model.zero_grad()
    functional.cross_entropy(model(pair[0]), pair[1]).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if n in masks}
    generator = np.random.default_rng(3)
    change = rewire(model, masks, rule, 0.25, gradients=gradients, batch=pair, generator=generator)
    generator = np.random.default_rng(3)
    if rule == "gse-uniform":
        signals = {n: Signals(np.ones((1, math.prod(s[1:]))), np.ones(s[0]))
                   for n, s in masks.shapes.items()}  # fmt: skip
    else:
        sketch = generator if rule == "gse-graest" else None
        signals = layer_signals(model, masks, None, pair, sketch)
    drawn = candidates(masks, signals, 1.0, generator)
    for name, kept in masks.counts.items():
        k = min(math.ceil(0.25 * kept), len(drawn[name]))
        size = gradients[name].abs().reshape(-1).numpy()[drawn[name]]
        expected = np.sort(drawn[name][np.argsort(-size, kind="stable")[:k]])
        grown = torch.nonzero((change.masks[name] & ~masks[name]).reshape(-1)).reshape(-1)
        assert grown.tolist() == expected.tolist()
        weights = dict(model.named_parameters())[name].detach().abs()
        gone = masks[name] & ~change.survivors[name]
        assert int(gone.sum()) == k
        assert k == 0 or weights[gone].max() <= weights[change.survivors[name]].min()


def test_layers_without_signals_are_named():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 3, 2)
            self.unused = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(x).mean((2, 3))

    model, pair = Odd(), batch()
    with pytest.raises(TopographError, match="ConvTranspose2d"):
        rewire(model, Masks.dense(model, ["up.weight"]), "gse-grabo", batch=pair)
    with pytest.raises(TopographError, match="did not run"):
        rewire(model, Masks.dense(model, ["unused.weight"]), "gse-grabo", batch=pair)


@pytest.mark.parametrize("method", ["gse-uniform", "gse-grabo", "gse-graest"])
def test_runs_keep_their_density_and_count_the_pass(tmp_path, method):
    x, y = batch(96)
    result = pwmpr.run(
        model=Net(), train=(x, y), validation=(x, y), method=method, density=0.4, epochs=2,
        batch=16, precision="fp32", update_every=4, update_end=1.0, out=tmp_path / "r",
    )  # fmt: skip
    assert len(result.snapshots) == 3
    assert {s.masks.count for s in result.snapshots} == {int(0.4 * result.masks.size)}
    # 12 steps, updates at 4 and 8.
    flops = result.summary["flops"]
    assert flops["scoring"] == pytest.approx(flops["training"] * 2 / 12, rel=0.2)
