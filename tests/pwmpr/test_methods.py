"""Are all methods listed, do their settings yield to stated ones, do the docs' examples run?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import pwmpr
from pwmpr.growth import growth_rules
from pwmpr.method import METHODS, method_named
from pwmpr.recipe import RECIPES, recipe_settings
from pwmpr.rewiring import rewiring_rules
from pwmpr.settings import Settings
from pwmpr.starts import start_rules
from pwmpr.training.choice import STRATEGIES, strategy_for
from topograph.errors import TopographError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
PAPERS = {
    "pwmpr", "pwmp", "random", "gradient", "momentum-growth", "phew-grow", "set", "set-magnitude",
    "rigl", "rigl-itop", "snfs", "momentum", "dsr", "gse-uniform", "gse-grabo", "gse-graest",
    "random-gradient", "gradient-random", "imp", "imp-c", "gmp", "magnitude", "static", "dense",
}  # fmt: skip


def own_run(out, **settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2))
    x = torch.randn(64, 8)
    data = (x, (x[:, 0] > 0).long())
    options = {"epochs": 2, "batch": 16, "density": 0.5, "precision": "fp32"}
    return pwmpr.run(model=model, train=data, validation=data, out=out, **options | settings)


def test_every_method_of_the_papers_is_listed_and_has_a_strategy_and_a_rule():
    assert set(pwmpr.methods()) >= PAPERS
    for name in METHODS:
        method = method_named(name)
        assert method.strategy in STRATEGIES
        strategy_for(method)
        Settings().with_changes(**method.defaults)
        if method.strategy == "rewire":
            assert method.rule in rewiring_rules()
        if method.strategy == "grow":
            assert method.rule in growth_rules()


def test_the_page_names_every_method_and_start():
    text = PAGE.read_text(encoding="utf-8")
    first = text[text.index("| kind |") : text.index("| name |")]
    words = set(re.findall(r"[a-z][a-z-]*", first))
    assert words >= set(METHODS)
    assert words >= set(start_rules())


def test_a_method_s_settings_yield_to_the_caller_s(tmp_path):
    own = own_run(tmp_path / "1", method="rigl").settings
    assert (own.start, own.update_every, own.update_skips_step) == ("erk", 100, True)
    stated = own_run(tmp_path / "2", method="rigl", start="uniform", update_skips_step=False)
    assert stated.settings.start == "uniform"
    assert stated.settings.update_skips_step is False
    assert stated.settings.update_end == 0.75


def test_a_method_s_settings_yield_to_the_recipe_s():
    survival = recipe_settings("cifar10-mlp-survival")
    assert (survival.update_every, survival.update_fraction, survival.density) == (400, 0.5, 0.05)
    assert (survival.lr, survival.nesterov, survival.weight_decay) == (0.1, True, 5e-4)
    assert (survival.drops, survival.epochs, survival.batch) == ((0.5, 0.75), 300, 128)
    stated = set(RECIPES["cifar10-mlp-survival"].stated)
    assert set(METHODS["rigl"].defaults) <= stated
    assert set(METHODS["momentum"].defaults) <= stated


def test_the_survival_mlp_has_the_papers_number_of_parameters():
    model = pwmpr.models.build(recipe_settings("cifar10-mlp-survival").model)
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_676_682


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "rigll"}, "rigl"),
        ({"method": "set", "density": None}, "density"),
        ({"method": "set", "update_every": "week"}, "epoch"),
        ({"method": "set", "update_fraction": 1.0}, "update_fraction"),
        ({"method": "set", "switch_method": "rigll"}, "rigl"),
        ({"method": "random", "switch_method": "rigl"}, "switch_method"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, settings, says):
    with pytest.raises(TopographError, match=says):
        own_run(tmp_path / "r", **settings)
