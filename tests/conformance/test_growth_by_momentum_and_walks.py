"""Do momentum growth and further PHEW walks choose what they say, in a loop and in a run?"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import pwmpr
from pwmpr.masks import Masks
from topograph.errors import TopographError


def chain(sizes: tuple[int, ...] = (8, 16, 12, 4)) -> nn.Sequential:
    torch.manual_seed(0)
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_momentum_growth_takes_the_largest_over_all_layers():
    model = chain()
    masks = pwmpr.initial_masks(model, 0.2, "random")
    generator = torch.Generator().manual_seed(1)
    momentum = {n: torch.randn(s, generator=generator) for n, s in masks.shapes.items()}
    new = pwmpr.grow(model, masks, rule="momentum", momentum=momentum, count=20)
    grown = {n: new[n] & ~masks[n] for n in masks}
    least = min(float(momentum[n][g].abs().min()) for n, g in grown.items() if g.any())
    left = max(float(momentum[n][~new[n]].abs().max()) for n in masks)
    assert new.count == masks.count + 20
    assert least >= left
    with pytest.raises(TopographError, match="SmoothedGradient"):
        pwmpr.grow(model, masks, rule="momentum", count=20)


def test_phew_growth_walks_over_initial_weights_where_none_are_kept():
    model, x = chain(), torch.zeros(1, 8)
    initial = {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() > 1}
    # Only two hidden units of the first layer can be walked through when weights are missing.
    dark = {n: w.clone() for n, w in initial.items()}
    dark["0.weight"][2:] = 0
    dark["2.weight"][:, 2:] = 0
    masks = Masks({n: torch.zeros(w.shape) + (torch.arange(w.numel()) == 0).reshape(w.shape)
                   for n, w in initial.items()})  # fmt: skip
    masks.apply_(model)
    new = pwmpr.grow(model, masks, rule="phew-grow", count=25, example_input=x, initial=dark)
    grown = {n: new[n] & ~masks[n] for n in masks}
    assert sum(int(g.sum()) for g in grown.values()) == 25
    assert not grown["0.weight"][2:].any()
    assert not grown["2.weight"][:, 2:].any()
    # Nothing in the model moves, and missing weights alone lead nowhere.
    assert all(not p.detach()[~masks[n]].any() for n, p in model.named_parameters() if n in masks)
    with pytest.raises(TopographError, match="PHEW"):
        pwmpr.grow(model, masks, rule="phew-grow", count=25, example_input=x)


def test_further_walks_prefer_strong_weights():
    model, x = chain((8, 40, 40, 4)), torch.zeros(1, 8)
    initial = {n: p.detach().clone() for n, p in model.named_parameters() if p.dim() > 1}
    masks = pwmpr.initial_masks(model, 0.1, "phew", x)
    masks.apply_(model)
    new = pwmpr.grow(model, masks, 1.0, "phew-grow", example_input=x, initial=initial)
    grown = new["2.weight"] & ~masks["2.weight"]
    size = initial["2.weight"].abs()
    assert size[grown].mean() > 1.15 * size[~new["2.weight"]].mean()


@pytest.mark.parametrize("method", ["momentum-growth", "phew-grow"])
def test_they_grow_in_a_run_to_the_exact_density(tmp_path, method):
    x = torch.randn(160, 8, generator=torch.Generator().manual_seed(0))
    data = (x, (x[:, 0] > 0).long())
    result = pwmpr.run(
        model=chain(), train=data, validation=data, method=method, start="phew", density=0.4,
        start_density=0.2, rough_epochs=1, epochs=1, batch=16, precision="fp32",
        out=tmp_path / "r",
    )  # fmt: skip
    assert result.masks.count == int(0.4 * result.masks.size)
    assert len(result.snapshots) == 5
    for before, after in zip(result.snapshots[:-1], result.snapshots[1:], strict=True):
        assert after.masks.union(before.masks) == after.masks
    dense = result.summary["flops"]["dense_gradient"]
    assert (dense > 0) == (method == "momentum-growth")
