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
from pwmpr.settings import Settings

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
