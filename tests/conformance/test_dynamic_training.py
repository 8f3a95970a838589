"""Do SET, RigL, SNFS, momentum and DSR do what their papers and authors' codes say?"""

from __future__ import annotations

import itertools
import math
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pwmpr
from pwmpr.masks import Masks
from pwmpr.rewiring import SmoothedGradient, drop_fraction, rewire, rewiring_rules
from topograph.errors import TopographError


def layer(values: list[float]) -> nn.Linear:
    """A layer of one output; weights of value 0 are the missing ones."""
    model = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([values]))
    return model


def kept(masks: Masks, name: str = "weight") -> list[int]:
    return torch.nonzero(masks[name].reshape(-1)).reshape(-1).tolist()


def network(seed: int, sizes: tuple[int, ...] = (7, 9, 6, 4)) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*[part for one in layers for part in (one, nn.ReLU())][:-1])


def trained(model: nn.Module, masks: Masks, steps: int = 3):
    """The model after some steps of SGD with momentum, its gradients of one more pass dense."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    handle = masks.attach(model, optimizer)
    first = next(iter(model.parameters()))
    for step in range(steps + 1):
        optimizer.zero_grad()
        model(torch.randn(16, first.shape[1])).square().mean().backward()
        if step < steps:
            optimizer.step()
    return optimizer, handle


# all rules


@given(
    rule=st.sampled_from(sorted(set(rewiring_rules()) - {"shuffle"})),
    density=st.floats(0.05, 1.0),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_density_is_exact_and_nothing_is_changed_before_it_is_applied(
    rule, density, fraction, seed
):
    model = network(seed)
    masks = pwmpr.initial_masks(model, density, "random", seed=seed)
    masks.apply_(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    smoothed = {n: torch.randn(s, generator=None) for n, s in masks.shapes.items()}
    batch = torch.randn(8, 7), torch.randint(0, 4, (8,))
    change = rewire(
        model, masks, rule, fraction, momentum=smoothed, batch=batch, threshold=0.1, seed=seed
    )
    assert change.masks.count == masks.count
    assert change.survivors.union(masks) == masks
    assert change.survivors.union(change.masks) == change.masks
    assert change.moved == masks.count - change.survivors.count
    assert all(torch.equal(state[n], value) for n, value in model.state_dict().items())
    if rule not in ("snfs", "dsr") and not rule.startswith("gse"):
        assert change.masks.counts == masks.counts


@pytest.mark.parametrize("rule", ["set", "set-magnitude", "rigl", "momentum", "snfs", "dsr"])
def test_new_weights_start_at_zero_with_zero_momentum_and_others_go_on(rule):
    model = network(0)
    masks = pwmpr.initial_masks(model, 0.4, "random", seed=3)
    optimizer, handle = trained(model, masks)
    names = list(masks)
    parameters = dict(model.named_parameters())
    before = {n: parameters[n].detach().clone() for n in names}
    inertia = {n: optimizer.state[parameters[n]]["momentum_buffer"].clone() for n in names}
    gradients = {n: parameters[n].grad.clone() for n in names}
    change = rewire(model, masks, rule, 0.4, gradients=gradients, momentum=gradients, threshold=0.1)
    assert change.moved > 0
    change.apply_(handle)
    for name in names:
        stays = change.survivors[name]
        if change.keeps_regrown:
            stays = masks[name] & change.masks[name]
        buffer = optimizer.state[parameters[name]]["momentum_buffer"]
        assert torch.equal(parameters[name], before[name] * stays)
        assert torch.equal(buffer, inertia[name] * stays)


def test_same_seed_same_draw_and_another_seed_another():
    model = network(1)
    masks = pwmpr.initial_masks(model, 0.3, "random")
    one, two, other = (rewire(model, masks, "set", 0.5, seed=s).masks for s in (1, 1, 2))
    assert one == two != other


def test_the_cosine_of_the_drop_fraction():
    assert drop_fraction(0, 750, 0.3) == pytest.approx(0.3)
    assert drop_fraction(375, 750, 0.3) == pytest.approx(0.15)
    assert drop_fraction(250, 750, 0.3) == pytest.approx(0.15 * (1 + math.cos(math.pi / 3)))
    assert drop_fraction(750, 750, 0.3) == 0
    assert drop_fraction(749, 750, 0.3, "constant") == 0.3


def test_what_a_rule_needs_is_asked_for():
    model, masks = layer([1.0, 0.0]), Masks({"weight": torch.tensor([[1, 0]])})
    with pytest.raises(TopographError, match="SmoothedGradient"):
        rewire(model, masks, "momentum")
    with pytest.raises(TopographError, match="batch is None"):
        rewire(model, masks, "rigl")
    with pytest.raises(TopographError, match="rigl"):
        rewire(model, masks, "rigle")
    with pytest.raises(TopographError, match="fraction"):
        rewire(model, masks, "set", 1.0)


# SET: two signs


def test_set_drops_the_smallest_of_each_sign_and_not_of_all():
    # 10 positive weights 1 … 10, five negative ones -0.01 … -0.05; ζ = 0.4: 4 and 2.
    values = [float(k) for k in range(1, 11)] + [-k / 100 for k in range(1, 6)] + [0.0] * 10
    masks = Masks({"weight": torch.tensor([[v != 0 for v in values]])})
    change = rewire(layer(values), masks, "set", 0.4)
    assert kept(change.survivors) == [4, 5, 6, 7, 8, 9, 12, 13, 14]
    by_magnitude = rewire(layer(values), masks, "set-magnitude", 0.4)
    assert kept(by_magnitude.survivors) == list(range(1, 10))


def test_strong_negative_weights_are_not_small():
    values = [-9.0, 1.0, 2.0, -3.0, 0.0]
    masks = Masks({"weight": torch.tensor([[v != 0 for v in values]])})
    change = rewire(layer(values), masks, "set-magnitude", 0.5)
    assert kept(change.survivors) == [0, 3]


def test_set_drops_weights_of_value_zero_whatever_the_fraction():
    values = [1.0, 0.0, 2.0, 0.0, -1.0, 3.0, 0.0]
    masks = Masks({"weight": torch.tensor([[1, 1, 1, 1, 1, 1, 0]])})
    change = rewire(layer(values), masks, "set", 0.1)
    assert kept(change.survivors) == [0, 2, 4, 5]


def test_set_regrows_uniformly_over_all_positions_not_kept():
    values = [1.0, 2.0, 3.0, 4.0] + [0.0] * 4
    masks = Masks({"weight": torch.tensor([[v != 0 for v in values]])})
    drawn = np.zeros(8)
    for seed in range(1200):
        change = rewire(layer(values), masks, "set", 0.5, seed=seed)
        drawn[kept(change.masks)] += 1
    assert (drawn[2:4] == 1200).all()
    # Two of the six free places (two of them just dropped): a third each; 5 sigma is 0.07.
    assert drawn[[0, 1, 4, 5, 6, 7]] / 1200 == pytest.approx(np.full(6, 1 / 3), abs=0.07)


# RigL


def test_rigl_regrows_what_it_just_dropped_with_value_and_momentum():
    model = layer([5.0, 0.1, 3.0, 0.2, 0.0, 0.0])
    masks = Masks({"weight": torch.tensor([[1, 1, 1, 1, 0, 0]])})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    handle = masks.attach(model, optimizer)
    optimizer.state[model.weight]["momentum_buffer"] = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0, 0]])
    # Dropped: 1 and 3. Largest gradients among those not kept: 3 (just dropped) and 5.
    gradients = {"weight": torch.tensor([[9.0, 1.0, 9.0, -7.0, 2.0, 6.0]])}
    change = rewire(model, masks, "rigl", 0.5, gradients=gradients)
    assert kept(change.survivors) == [0, 2]
    assert kept(change.masks) == [0, 2, 3, 5]
    change.apply_(handle)
    assert torch.equal(model.weight, torch.tensor([[5.0, 0, 3.0, 0.2, 0, 0]]))
    buffer = optimizer.state[model.weight]["momentum_buffer"]
    assert torch.equal(buffer, torch.tensor([[1.0, 0, 3.0, 4.0, 0, 0]]))


def test_rigl_gives_ties_to_the_lower_position_and_leaves_dense_layers():
    model = nn.Sequential(layer([1.0, 1.0, 1.0, 0, 0, 0]), layer([1.0]))
    masks = Masks({"0.weight": torch.tensor([[1, 1, 1, 0, 0, 0]]), "1.weight": torch.ones(1, 1)})
    gradients = {"0.weight": torch.tensor([[0, 0, 0, 2.0, 2.0, 2.0]]), "1.weight": torch.ones(1, 1)}
    change = rewire(model, masks, "rigl", 0.7, gradients=gradients)
    assert kept(change.survivors, "0.weight") == [2]
    assert kept(change.masks, "0.weight") == [2, 3, 4]
    assert kept(change.masks, "1.weight") == [0]


def test_rigl_takes_the_gradient_that_missing_weights_would_have():
    model = network(3)
    masks = pwmpr.initial_masks(model, 0.3, "random", seed=1)
    masks.apply_(model)
    x, y = torch.randn(8, 7), torch.randint(0, 4, (8,))
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    gradients = {name: dict(model.named_parameters())[name].grad for name in masks}
    given = rewire(model, masks, "rigl", 0.5, gradients=gradients)
    assert rewire(model, masks, "rigl", 0.5, batch=(x, y)).masks == given.masks
    for name in masks:
        new = torch.nonzero((given.masks[name] & ~given.survivors[name]).reshape(-1))
        free = ~given.survivors[name].reshape(-1)
        size = gradients[name].abs().reshape(-1)
        left = free & ~given.masks[name].reshape(-1)
        assert size[new].min() >= size[left].max()


# SNFS


def two_layers(first: list[float], second: list[float]) -> tuple[nn.Module, Masks]:
    model = nn.ModuleDict({"a": layer(first), "b": layer(second)})
    masks = {f"{n}.weight": torch.tensor([[v != 0 for v in values]])
             for n, values in (("a", first), ("b", second))}  # fmt: skip
    return model, Masks(masks)


def test_snfs_shares_growth_by_mean_momentum_of_kept_weights():
    model, masks = two_layers([1.0, 2, 3, 4] + [0.0] * 36, [1.0, 2, 3, 4] + [0.0] * 36)
    momentum = {
        # Mean over kept weights: 3 and 1. What stands at missing ones does not count for shares.
        "a.weight": torch.cat([torch.full((4,), -3.0), torch.linspace(0, 9, 36)])[None],
        "b.weight": torch.cat([torch.full((4,), 1.0), torch.linspace(90, 0, 36)])[None],
    }
    change = rewire(model, masks, "snfs", 0.5, momentum=momentum)
    assert change.survivors.counts == {"a.weight": 2, "b.weight": 2}
    assert change.masks.counts == {"a.weight": 2 + 3, "b.weight": 2 + 1}
    assert kept(change.masks, "a.weight") == [2, 3, 37, 38, 39]
    assert kept(change.masks, "b.weight") == [2, 3, 4]


def test_snfs_offers_again_what_does_not_fit_into_99_percent_of_a_layer():
    model, masks = two_layers([1.0] * 6 + [0.0] * 4, [1.0] * 100 + [0.0] * 100)
    momentum = {"a.weight": torch.full((1, 10), 1e6), "b.weight": torch.ones(1, 200)}
    change = rewire(model, masks, "snfs", 0.5, momentum=momentum)
    # 53 moved; a could take 4 + 3 places, of which 99% are 6; the rest goes to b.
    assert change.moved == 53
    assert change.masks.counts == {"a.weight": 3 + 6, "b.weight": 50 + 47}


def test_snfs_shares_by_the_mean_and_not_by_the_sum():
    model, masks = two_layers([1.0] * 5 + [0.0] * 35, [1.0] * 11 + [0.0] * 29)
    momentum = {"a.weight": torch.full((1, 40), 3.0), "b.weight": torch.full((1, 40), 1.0)}
    change = rewire(model, masks, "snfs", 0.5, momentum=momentum)
    # ⌈2.5⌉ + ⌈5.5⌉ = 9 moved. Means 3 : 1, that is 6.75 and 2.25; sums 15 : 11.
    assert change.survivors.counts == {"a.weight": 2, "b.weight": 5}
    assert change.masks.counts == {"a.weight": 2 + 7, "b.weight": 5 + 2}


def test_snfs_offers_again_in_proportion_to_the_shares_of_the_others():
    parts = {"a": (6, 10, 1e6), "b": (20, 100, 3.0), "c": (20, 400, 1.0)}
    model = nn.ModuleDict({n: layer([1.0] * k + [0.0] * (s - k)) for n, (k, s, _) in parts.items()})
    masks = Masks({f"{n}.weight": model[n].weight != 0 for n in parts})
    momentum = {f"{n}.weight": torch.full((1, s), m) for n, (_, s, m) in parts.items()}
    change = rewire(model, masks, "snfs", 0.5, momentum=momentum)
    # 3 + 10 + 10 moved. a takes 99% of its 4 + 3 free places, 6; b and c share 17 by 3 : 1.
    assert change.masks.counts == {"a.weight": 3 + 6, "b.weight": 10 + 13, "c.weight": 10 + 4}


def test_snfs_leaves_the_only_weight_of_a_layer():
    model, masks = two_layers([1.0] + [0.0] * 9, [1.0] * 10 + [0.0] * 30)
    momentum = {n: torch.ones(s) for n, s in masks.shapes.items()}
    change = rewire(model, masks, "snfs", 0.5, momentum=momentum)
    assert change.survivors.counts == {"a.weight": 1, "b.weight": 5}


def test_snfs_does_not_empty_nearly_dense_layers_of_large_momentum():
    model, masks = two_layers([1.0] * 9 + [0.0], [1.0] * 10 + [0.0] * 30)
    for large, survivors in (("a.weight", {"a.weight": 8, "b.weight": 5}),
                             ("b.weight", {"a.weight": 4, "b.weight": 5})):  # fmt: skip
        momentum = {n: torch.full(s, 3.0 if n == large else 1.0) for n, s in masks.shapes.items()}
        change = rewire(model, masks, "snfs", 0.5, momentum=momentum)
        # a misses a tenth: ⌈0.1 · 9⌉ weights go if its share is above the mean, else ⌈0.5 · 9⌉.
        assert change.survivors.counts == survivors


# momentum


def test_the_smoothed_gradient_is_dense_and_follows_its_recursion():
    torch.manual_seed(0)
    model = network(0)
    masks = pwmpr.initial_masks(model, 0.2, "random", seed=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    masks.attach(model, optimizer)
    smoothed, gradients = SmoothedGradient(0.8), []
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(16, 7)).square().mean().backward()
        gradients.append(model[0].weight.grad.clone())
        smoothed.observe(model, masks)
        optimizer.step()
    expected = sum(0.2 * 0.8 ** (3 - k) * g for k, g in enumerate(gradients))
    assert torch.allclose(smoothed.values["0.weight"], expected, atol=1e-7)
    assert (smoothed.values["0.weight"][~masks["0.weight"]] != 0).any()


def test_momentum_regrows_the_largest_v_per_layer():
    model, masks = two_layers([1.0, 2, 0, 0, 0], [1.0, 2, 3, 4, 0, 0])
    momentum = {
        "a.weight": torch.tensor([[0.0, 0, 1, -5, 2]]),
        "b.weight": torch.tensor([[0.0, 50, 0, 0, 100, -200]]),
    }
    change = rewire(model, masks, "momentum", 0.5, momentum=momentum)
    assert kept(change.masks, "a.weight") == [1, 3]
    assert kept(change.masks, "b.weight") == [2, 3, 4, 5]


# DSR


@pytest.mark.parametrize(
    ("threshold", "dropped", "following"),
    [
        (0.055, 5, 0.11),  # fewer than 0.9 · 10
        (0.085, 8, 0.17),
        (0.095, 9, 0.095),
        (0.115, 11, 0.115),
        (0.125, 12, 0.0625),  # more than 1.1 · 10
        (0.505, 50, 0.2525),
    ],
)
def test_dsr_moves_its_threshold(threshold, dropped, following):
    model = layer([k / 100 for k in range(1, 101)] + [0.0] * 100)
    masks = Masks({"weight": torch.cat([torch.ones(1, 100), torch.zeros(1, 100)], 1)})
    change = rewire(model, masks, "dsr", 0.1, threshold=threshold)
    assert change.moved == dropped
    assert change.threshold == pytest.approx(following)


@pytest.mark.parametrize(("dropped", "factor"), [(89, 2), (90, 1), (110, 1), (111, 0.5)])
def test_dsr_s_threshold_is_right_between_90_and_110_percent(dropped, factor):
    model = layer([k / 1000 for k in range(1, 1001)] + [0.0] * 200)
    masks = Masks({"weight": torch.cat([torch.ones(1, 1000), torch.zeros(1, 200)], 1)})
    threshold = (dropped + 0.5) / 1000
    change = rewire(model, masks, "dsr", 0.1, threshold=threshold)
    assert change.moved == dropped
    assert change.threshold == pytest.approx(factor * threshold)


def test_dsr_shares_growth_by_survivors_and_takes_no_place_just_left():
    model, masks = two_layers(
        [0.001] * 10 + [1.0] * 30 + [0.0] * 60, [0.001] * 10 + [1.0] * 10 + [0.0] * 80
    )
    change = rewire(model, masks, "dsr", 0.3, threshold=0.01)
    # 20 dropped; survivors 30 : 10.
    assert change.masks.counts == {"a.weight": 30 + 15, "b.weight": 10 + 5}
    for name in masks:
        assert not (change.masks[name] & masks[name] & ~change.survivors[name]).any()


def test_dsr_keeps_the_largest_weight_of_a_layer_below_the_threshold():
    model, masks = two_layers([0.001, 0.003, 0.002, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0])
    change = rewire(model, masks, "dsr", 0.3, threshold=0.5)
    assert kept(change.survivors, "a.weight") == [1]


# in a run


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(160, 12, generator=generator)
    return x, (x[:, :3].sum(1) > 0).long() + 2 * (x[:, 3] > 0).long()


def own_network() -> nn.Module:
    return network(5, (12, 16, 16, 4))


def quick(data, out, method, **settings):
    options = {"density": 0.3, "epochs": 4, "batch": 16, "precision": "fp32", "lr": 0.05}
    return pwmpr.run(
        model=own_network(), train=data, validation=data, test=data, method=method, out=out,
        **options | settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("set", {}),
        ("set-magnitude", {"update_every": 5}),
        ("rigl", {"update_every": 5}),
        ("rigl-itop", {"update_every": 8}),
        ("snfs", {}),
        ("momentum", {"update_every": 7}),
        ("dsr", {"update_every": 5, "threshold": 0.05}),
        ("random-gradient", {"update_every": 6}),
        ("momentum-random", {"update_every": 6}),
        ("gradient-momentum", {"update_every": 6}),
        ("momentum-gradient", {"update_every": 6}),
    ],
)
def test_every_method_keeps_its_density_at_every_update(tmp_path, data, method, settings):
    result = quick(data, tmp_path / "r", method, **settings)
    counts = {snapshot.masks.count for snapshot in result.snapshots}
    assert len(result.snapshots) > 2
    assert counts == {result.masks.count}
    assert result.density == pytest.approx(0.3, abs=1 / result.masks.size)
    weights = result.model.state_dict()
    assert all(not weights[n][~result.masks[n]].any() for n in result.masks)
    assert 0.3 < result.summary["exploration_rate"] <= 1
    rate = pwmpr.rewiring.exploration_rate(s.masks for s in result.snapshots)
    assert result.summary["exploration_rate"] == rate


def test_a_rigl_cycle_costs_what_its_formula_says(tmp_path, data):
    # Validation on other data: 160 training samples are 10 batches of 16; ΔT = 4 optimiser steps
    # and one update make cycles of 5 batches.
    result = quick(
        data, tmp_path / "r", "rigl", update_every=4, update_end=1.0, update_fraction=0.001,
        epochs=2, start="uniform",
    )  # fmt: skip
    flops = result.summary["flops"]
    sparse = flops["training"] / (3 * 20 * 16)
    dense = result.summary["dense_flops"] / (3 * 20 * 16)
    cycle = 3 * sparse * 4 + 2 * sparse + dense
    assert sum(flops.values()) == pytest.approx(4 * 16 * cycle)


@pytest.mark.parametrize(("method", "dense_part"), [("set", 0), ("snfs", 1)])
def test_set_and_snfs_cost_what_their_formulas_say(tmp_path, data, method, dense_part):
    # With α next to 0, layer counts and so f_S stay.
    result = quick(data, tmp_path / "r", method, update_fraction=1e-6)
    samples = 4 * 160
    flops, dense = result.summary["flops"], result.summary["dense_flops"] / (3 * samples)
    sparse = quick(data, tmp_path / "s", "static", start="uniform" if dense_part else "er")
    forward = sparse.summary["flops"]["training"] / (3 * samples)
    per_step = 2 * forward + dense if dense_part else 3 * forward
    assert sum(flops.values()) / samples == pytest.approx(per_step, rel=0.02)


def test_rigl_leaves_the_optimiser_step_out_when_it_updates(tmp_path, data):
    # All steps are updates but the first: weights move in one step of two.
    one = quick(data, tmp_path / "1", "rigl", update_every=1, update_end=1.0, epochs=1,
                iterations=None, momentum=0.0)  # fmt: skip
    steps = [snapshot.step for snapshot in one.snapshots]
    assert steps == [0, 1, 3, 5, 7, 9][: len(steps)]
    both = quick(data, tmp_path / "2", "rigl", update_every=1, update_end=1.0, epochs=1,
                 update_skips_step=False)  # fmt: skip
    assert [snapshot.step for snapshot in both.snapshots][:4] == [0, 1, 2, 3]


def test_the_rule_switches_half_way(tmp_path, data):
    found = {}
    mixes = {"random": "set-magnitude", "gradient": "rigl", "momentum": "momentum"}
    pairs = list(itertools.permutations(mixes, 2))
    for method in (*mixes.values(), *("-".join(pair) for pair in pairs)):
        found[method] = quick(
            data, tmp_path / method, method, update_every=8, update_fraction=0.5, update_end=1.0,
            update_skips_step=False, update_anneal="cosine",
        )  # fmt: skip
    # Updates at 8, 16 of 40 steps come before the switch, 24 and 32 after it.
    for first, then in pairs:
        mixed = found[f"{first}-{then}"]
        same = [a.masks == b.masks for a, b in
                zip(mixed.snapshots, found[mixes[first]].snapshots, strict=False)]  # fmt: skip
        assert same[:3] == [True] * 3
        assert not all(same[3:])
        assert mixed.settings.switch_method == mixes[then]


@pytest.mark.parametrize("method", ["momentum", "dsr", "rigl"])
def test_a_run_that_is_stopped_goes_on_to_the_same_masks(tmp_path, data, method):
    settings = {"update_every": 3, "threshold": 0.05}
    whole = quick(data, tmp_path / "whole", method, **settings)
    calls = 0

    def stopping(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return nn.functional.cross_entropy(output, target)

    with pytest.raises(SystemExit):
        quick(data, tmp_path / "part", method, loss=stopping, **settings)
    rest = pwmpr.resume(
        tmp_path / "part", model=own_network(), train=data, validation=data, test=data,
        loss=nn.functional.cross_entropy,
    )  # fmt: skip
    assert [s.masks for s in rest.snapshots] == [s.masks for s in whole.snapshots]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
