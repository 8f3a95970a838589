"""Do SNIP, GraSP and SynFlow score and keep what their papers say?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

import pwmpr
from pwmpr.masks import Masks
from pwmpr.starts.saliency import grasp_scores, snip_scores
from pwmpr.starts.synflow import synaptic_saliency, synflow_positions
from topograph.errors import TopographError


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.Tanh(),
        nn.Flatten(), nn.Linear(24, 3),
    ).double()  # fmt: skip


def samples(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 2, 5, 5, generator=generator, dtype=torch.float64)
    return x, torch.arange(n) % 3


def mlp(sizes: tuple[int, ...] = (6, 8, 7, 5, 3)) -> nn.Sequential:
    torch.manual_seed(2)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*[part for one in layers for part in (one, nn.ReLU())][:-1])


def top(scores: dict[str, torch.Tensor], count: int) -> Masks:
    """Brute force: sort everything, ties to the lower position."""
    flat = torch.cat([s.reshape(-1) for s in scores.values()]).numpy()
    keep = np.zeros(len(flat), dtype=bool)
    keep[np.argsort(-flat, kind="stable")[:count]] = True
    parts = torch.from_numpy(keep).split([s.numel() for s in scores.values()])
    return Masks({n: p.reshape(s.shape) for (n, s), p in zip(scores.items(), parts, strict=True)})


def test_snip_is_the_gradient_of_the_mask():
    model, (x, y) = convolutional(), samples()
    names = tuple(Masks.dense(model))
    found = snip_scores(model, names, None, (x, y))
    weights = dict(model.named_parameters())
    gates = {n: torch.ones_like(weights[n], requires_grad=True) for n in names}
    output = functional_call(model, {n: weights[n].detach() * gates[n] for n in names}, (x,))
    functional.cross_entropy(output, y).backward()
    for name in names:
        assert torch.allclose(found[name], gates[name].grad.abs(), rtol=1e-10)
    masks = pwmpr.initial_masks(model, 0.2, "snip", batch=(x, y))
    assert masks == top(found, int(0.2 * masks.size))


def test_grasp_is_theta_times_the_change_of_the_gradient_along_itself():
    model, (x, y) = convolutional(), samples()
    names = tuple(Masks.dense(model))
    found = grasp_scores(model.eval(), names, None, (x, y))  # scored in training mode all the same
    weights = {n: p.detach().clone() for n, p in model.named_parameters() if n in names}

    def gradient(at: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        at = {n: w.clone().requires_grad_(True) for n, w in at.items()}
        output = functional_call(model.train(), at, (x,)) / 200
        loss = functional.cross_entropy(output, y)
        return dict(zip(at, torch.autograd.grad(loss, list(at.values())), strict=True))

    g, step = gradient(weights), 1e-2
    ahead = gradient({n: w + step * g[n] for n, w in weights.items()})
    behind = gradient({n: w - step * g[n] for n, w in weights.items()})
    for name in names:
        expected = weights[name] * (ahead[name] - behind[name]) / (2 * step)
        assert torch.allclose(found[name], expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    masks = pwmpr.initial_masks(model, 0.3, "grasp", batch=(x, y))
    assert masks == top(found, int(0.3 * masks.size))
    kept = torch.cat([found[n][masks[n]] for n in names])
    gone = torch.cat([found[n][~masks[n]] for n in names])
    assert kept.min() >= gone.max()
    assert gone.min() < 0 < kept.max()


@pytest.mark.parametrize("rule", ["snip", "grasp", "synflow"])
@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_model_as_it_was(rule, training):
    model, batch = convolutional().train(training), samples()
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    chance = torch.get_rng_state()
    masks = pwmpr.initial_masks(model, 0.25, rule, example_input=batch[0][:1], batch=batch)
    assert masks.count == int(0.25 * masks.size)
    assert all(torch.equal(state[n], value) for n, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [training] * 9
    assert not model[0].weight.requires_grad
    assert torch.equal(model[3].weight.grad, torch.ones_like(model[3].weight))
    assert model[7].weight.grad is None
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_loss_of_ones_own_is_used():
    model, (x, _) = mlp(), (torch.randn(5, 6), None)
    own = pwmpr.initial_masks(model, 0.3, "snip", loss=lambda m, b: m(b)[:, 0].sum(), batch=x)
    # Only the first output counts, so weights into the others have no saliency.
    assert not own["6.weight"][1:].any()


@pytest.mark.parametrize("rule", ["snip", "grasp"])
def test_a_batch_is_asked_for(rule):
    with pytest.raises(TopographError, match="batch is None"):
        pwmpr.initial_masks(mlp(), 0.3, rule)


def test_synflow_asks_for_an_input():
    with pytest.raises(TopographError, match="example_input"):
        pwmpr.initial_masks(mlp(), 0.3, "synflow")


# SynFlow


def linear_gradients(model: nn.Module, masks: Masks, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """|∂R/∂θ · θ| by autograd on the network of absolute weights, ReLU and biases left out."""
    weights = {n: (p.detach().abs() * masks[n]).double().requires_grad_(True)
               for n, p in model.named_parameters() if n in masks}  # fmt: skip
    value = torch.ones_like(x[:1], dtype=torch.float64)
    for weight in weights.values():
        value = value @ weight.T
    found = torch.autograd.grad(value.sum(), list(weights.values()))
    return {n: w.detach() * g for (n, w), g in zip(weights.items(), found, strict=True)}


def test_synaptic_flow_is_conserved_at_every_unit_and_layer():
    model = mlp()
    masks = pwmpr.initial_masks(model, 0.6, "random", seed=1)
    scores = synaptic_saliency(model, masks, torch.zeros(1, 6))
    expected = linear_gradients(model, masks, torch.zeros(1, 6))
    factor = next(iter(expected.values())).sum() / next(iter(scores.values())).sum()
    for name in masks:
        assert torch.allclose(scores[name].double() * factor, expected[name], rtol=1e-9)
    for into, out_of in itertools.pairwise(scores.values()):
        assert torch.allclose(into.sum(1), out_of.sum(0), rtol=1e-9)
    sums = [float(score.sum()) for score in scores.values()]
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-9)


def test_synflow_prunes_in_a_hundred_rounds_with_scores_drawn_anew():
    model, x = mlp(), torch.zeros(1, 6)
    size = 6 * 8 + 8 * 7 + 7 * 5 + 5 * 3
    count = size // 10
    masks = Masks.dense(model)
    for k in range(1, 101):
        left = count if k == 100 else int(np.ceil(size * (count / size) ** (k / 100)))
        scores = linear_gradients(model, masks, x)
        scores = {n: torch.where(masks[n], s, -1.0) for n, s in scores.items()}
        masks = top(scores, min(left, masks.count))
    found = pwmpr.initial_masks(model, count / size, "synflow", example_input=x)
    assert found == masks
    assert all(number > 0 for number in found.counts.values())


def test_one_round_collapses_a_layer_where_a_hundred_do_not():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40), nn.Linear(40, 2))
    shapes = Masks.dense(model).shapes
    x = torch.zeros(1, 40)
    with torch.no_grad():  # the wide layers' single weights carry little each
        model[2].weight.mul_(100)
    once = synflow_positions(model, x, shapes, 30, rounds=1)
    often = synflow_positions(model, x, shapes, 30, rounds=100)
    assert min(len(index) for index in once.values()) == 0
    assert min(len(index) for index in often.values()) > 0


def test_synflow_does_not_overflow_in_a_deep_network():
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(6, 6, bias=False) for _ in range(300)])
    with torch.no_grad():
        for one in model:
            one.weight.mul_(20)
    # R is about 30^300; float64 ends at 1e308.
    masks = Masks.dense(model)
    scores = synaptic_saliency(model, masks, torch.zeros(1, 6))
    sums = [float(score.sum()) for score in scores.values()]
    assert sums == pytest.approx([sums[0]] * 300, rel=1e-6)


# in a run


@pytest.mark.parametrize(
    ("start", "kind", "passes"),
    [
        ("snip", "dense_gradient", 16),
        ("grasp", "dense_gradient", 3 * 40),
        ("synflow", "scoring", 100),
    ],
)
def test_a_run_starts_by_score_and_its_account_shows_the_passes(tmp_path, start, kind, passes):
    x = torch.randn(160, 6, generator=torch.Generator().manual_seed(0))
    data = (x, torch.arange(160) % 4)
    model = mlp((6, 12, 12, 4))
    result = pwmpr.run(
        model=model, train=data, validation=data, method="static", start=start, density=0.25,
        epochs=1, batch=16, precision="fp32", out=tmp_path / "r",
    )  # fmt: skip
    assert result.masks.count == result.masks.size // 4
    forward = 2 * (6 * 12 + 12 * 12 + 12 * 4)
    assert result.summary["flops"][kind] == 3 * forward * passes
