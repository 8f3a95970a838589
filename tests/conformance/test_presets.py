"""Does every method come with the settings that its paper states, and keep its density exactly?"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch import nn

import pwmpr
from pwmpr.method import METHODS, method_named
from pwmpr.recipe import RECIPES, recipe_settings
from pwmpr.settings import Settings
from pwmpr.training.schedule import Stage, learning_rate

# S, section 4: ERK, every 400 batches, half of the weights at first, by a cosine to the end.
SURVIVAL = ("erk", 400, 0.5, "cosine", 1.0, False)
# start, ΔT, α, anneal, T_end as a part of training, whether an update takes the place of a step
PUBLISHED = {
    "set": ("er", "epoch", 0.3, "constant", 1.0, False),
    "set-magnitude": ("erk", 100, 0.3, "cosine", 0.75, False),
    "rigl": ("erk", 100, 0.3, "cosine", 0.75, True),
    "rigl-itop": ("erk", 1500, 0.5, "cosine", 1.0, False),
    "snfs": ("uniform", "epoch", 0.5, "cosine", 1.0, False),
    "dsr": ("uniform", 100, 0.1, "constant", 0.95, False),
    "gse-uniform": ("er", 1000, 0.2, "cosine", 0.6, False),
    "gse-grabo": ("er", 1000, 0.2, "cosine", 0.6, False),
    "gse-graest": ("er", 1000, 0.2, "cosine", 0.6, False),
    "momentum": SURVIVAL,
    **{
        f"{first}-{then}": SURVIVAL
        for first, then in itertools.permutations(("random", "gradient", "momentum"), 2)
    },
}


def test_rewiring_methods_have_the_settings_of_their_papers():
    rewiring = {name for name, method in METHODS.items() if method.strategy == "rewire"}
    assert rewiring == set(PUBLISHED)
    for name, stated in PUBLISHED.items():
        found = Settings().with_changes(**method_named(name).defaults)
        assert stated == (
            found.start, found.update_every, found.update_fraction, found.update_anneal,
            found.update_end, found.update_skips_step,
        ), name  # fmt: skip
        assert found.switch_at == 0.5


def test_growth_and_pruning_have_the_settings_of_their_papers():
    plain = Settings()
    assert (plain.growth_ratio, plain.start, plain.patience) == (0.25, "phew", 3)
    assert (plain.threshold, plain.gamma) == (1e-3, 1.0)
    for name in ("imp", "imp-c"):
        assert dict(METHODS[name].defaults) == {"update_fraction": 0.2}
    assert dict(METHODS["gmp"].defaults) == {"update_every": 100, "update_end": 0.75}


# data, network, ρ_init, iterations, batch, optimiser, rate (P, Table 2)
TABLE_2 = {
    "cifar10-resnet32": ("cifar10", "resnet32", 0.05, 30_000, 128, "sgd", 0.1),
    "cifar100-resnet56": ("cifar100", "resnet56", 0.05, 30_000, 128, "sgd", 0.1),
    "tinyimagenet-resnet18": ("tiny-imagenet", "resnet18", 0.02, 70_000, 128, "sgd", 0.2),
    "tinyimagenet-vit": ("tiny-imagenet", "vit", 0.05, 70_000, 256, "adamw", 3e-3),
    "imagenet-resnet50": ("imagenet", "resnet50", 0.02, 500_000, 256, "sgd", 0.1),
}


@pytest.mark.parametrize("name", TABLE_2)
def test_recipes_have_the_settings_of_the_growth_paper(name):
    found = recipe_settings(name)
    assert TABLE_2[name] == (
        found.data, found.model, found.start_density, found.iterations, found.batch,
        found.optimizer, found.lr,
    )  # fmt: skip
    assert (found.start, found.growth_ratio, found.validation) == ("phew", 0.25, 0.1)
    if found.optimizer == "sgd":
        stage = Stage("extensive", 9, found.iterations)
        rates = [
            learning_rate(found, stage, -(-found.iterations * twelfth // 12), 10**6) / found.lr
            for twelfth in (0, 7, 8, 9, 10, 11)
        ]
        assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    else:
        assert found.schedule == "cosine"
        assert found.warmup > 0


def test_recipes_have_the_settings_of_the_survival_paper():
    names = [name for name in RECIPES if name.endswith("-survival") and name != "digits-survival"]
    assert len(names) == 5
    for name in names:
        found = recipe_settings(name)
        assert (
            found.start, found.update_every, found.update_fraction, found.update_anneal,
            found.update_end, found.update_skips_step,
        ) == SURVIVAL  # fmt: skip
        assert found.density == 0.05
        assert (found.batch, found.epochs, found.weight_decay) == (128, 300, 5e-4)
        assert (found.optimizer, found.lr) == ("sgd", 0.1)
        assert (found.momentum, found.nesterov) == (0.9, True)
        assert (found.schedule, found.drops, found.drop_factor) == ("step", (0.5, 0.75), 0.1)


def plain_network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))


def convolutional_network() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"str"}))
@given(
    build=st.sampled_from([plain_network, convolutional_network]),
    density=st.sampled_from([0.35, 0.5, 0.777, 0.9]),
    seed=st.integers(0, 9),
)
@limits(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # a run each
def test_the_density_is_exact_after_every_update(tmp_path_factory, method, build, density, seed):
    torch.manual_seed(seed)
    model, x = build(), torch.randn(48, 6)
    data = x, torch.arange(48) % 3
    more = {"update_every": 2} if METHODS[method].strategy in ("rewire", "gradual") else {}
    if METHODS[method].strategy == "grow":
        more = {"start_density": 0.3, "rough_epochs": 1, "start": "random"}
    elif METHODS[method].strategy in ("static", "rewire"):
        more["start"] = "random"
    result = pwmpr.run(
        model=model, train=data, validation=data, method=method, density=density, seed=seed,
        epochs=3, batch=12, precision="fp32", lr=0.05, out=tmp_path_factory.mktemp("r") / "run",
        **more,
    )  # fmt: skip
    size, counts = result.masks.size, [snapshot.masks.count for snapshot in result.snapshots]
    end = size if method == "dense" else math.floor(size * density + 1e-9)
    assert counts[-1] == end
    for name, mask in result.masks.items():
        assert not result.model.get_parameter(name)[~mask].any()
    if METHODS[method].strategy in ("static", "rewire"):
        assert set(counts) == {end}
    if METHODS[method].strategy == "grow":
        expected = [math.floor(size * 0.3 + 1e-9)]
        while expected[-1] < end:
            expected.append(min(end, expected[-1] + expected[-1] // 4))
        assert counts == expected
    if METHODS[method].strategy == "rewire":
        assert len(counts) > 1
