"""Does a run hand its rule what the paper says, and carry out what the rule answers?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

import pwmpr
from pwmpr.gradients import dense_gradients
from pwmpr.rewiring import Rewiring, RewiringStep, drop_fraction, registry
from pwmpr.training.trainer import Trainer

STEPS = 40  # 4 epochs of 10 batches


def network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
    )


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(160, 12, generator=torch.Generator().manual_seed(0))
    return x, (x[:, :3].sum(1) > 0).long() + 2 * (x[:, 3] > 0).long()


def run(data, out, method, **settings):
    options = {"density": 0.3, "epochs": 4, "batch": 16, "precision": "fp32", "lr": 0.05}
    return pwmpr.run(
        model=network(), train=data, validation=data, test=data, method=method, out=out,
        **options | settings,
    )  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What a rule saw at one update, copied."""

    step: RewiringStep
    change: Rewiring
    weights: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]
    momentum: dict[str, torch.Tensor]
    dense: dict[str, torch.Tensor]


@pytest.fixture
def watched(monkeypatch):
    """Let a method's rule note what it sees."""

    def watch(name: str) -> list[Seen]:
        preset, seen = registry._PRESETS[name], []

        def rule(step: RewiringStep) -> Rewiring:
            change = preset.rule(step)
            found: list[dict[str, torch.Tensor]] = [
                {n: value.clone() for n, value in (values or {}).items()}
                for values in (step.gradients, step.momentum)
            ]
            dense = dense_gradients(step.model, step.masks, step.loss, step.batch)
            seen.append(Seen(step, change, step.weights(), *found, dense))
            return change

        monkeypatch.setitem(registry._PRESETS, name, replace(preset, rule=rule))
        return seen

    return watch


def test_the_fraction_falls_by_a_cosine_until_three_quarters_of_training(tmp_path, data, watched):
    seen = watched("set-magnitude")
    result = run(data, tmp_path / "r", "set-magnitude", update_every=4)
    # T_end = 30 of 40 steps.
    expected = [drop_fraction(t, 30, 0.3) for t in range(4, 30, 4)]
    assert [one.step.fraction for one in seen] == pytest.approx(expected)
    assert max(s.step for s in result.snapshots) < 30


def test_rigl_sees_the_dense_gradient_of_the_present_batch(tmp_path, data, watched):
    seen = watched("rigl")
    run(data, tmp_path / "r", "rigl", update_every=6)
    assert len(seen) == 4
    for one in seen:
        for name, gradient in one.gradients.items():
            assert gradient[~one.step.masks[name]].any()
            assert torch.allclose(gradient, one.dense[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("skips", [True, False])
def test_an_update_takes_the_place_of_an_optimiser_step(tmp_path, data, watched, skips):
    seen = watched("rigl")
    # The last of 6 steps is an update.
    result = run(
        data, tmp_path / "r", "rigl", epochs=None, iterations=6, update_every=5,
        update_end=1.0, update_fraction=0.9, update_skips_step=skips,
    )  # fmt: skip
    (last,) = seen
    state = result.model.state_dict()
    for name, mask in result.masks.items():
        # What was dropped and is grown again at once has its value, what is new has none.
        after = last.weights[name] * mask
        if skips:
            assert torch.equal(state[name], after)
            regrown = mask & last.step.masks[name] & ~last.change.survivors[name]
            assert after[regrown].all()
        else:
            assert (state[name] != after)[mask].any()


@pytest.mark.parametrize("method", ["rigl", "set", "set-magnitude", "momentum"])
def test_only_rigl_gives_back_the_value_of_what_it_regrows(tmp_path, data, watched, method):
    seen = watched(method)
    result = run(
        data, tmp_path / "r", method, lr=1e-12, weight_decay=0.0, update_every=25,
        update_fraction=0.9, update_end=0.7, update_anneal="constant", update_skips_step=False,
    )  # fmt: skip
    (last,) = seen
    again = 0
    for name, mask in result.masks.items():
        survivors = last.change.survivors[name]
        regrown = mask & last.step.masks[name] & ~survivors
        again += int(regrown.sum())
        stays = survivors | regrown if method == "rigl" else survivors
        value = result.model.state_dict()[name]
        assert torch.allclose(value, last.weights[name] * stays, atol=1e-8)
    assert again > 0


@pytest.mark.parametrize("beta", [0.9, 0.6])
@pytest.mark.parametrize("method", ["momentum", "snfs"])
def test_the_smoothed_gradient_of_a_run_is_that_of_its_steps(tmp_path, data, watched, method, beta):
    seen = watched(method)
    run(
        data, tmp_path / "r", method, momentum=beta, update_every=1, epochs=1, update_end=1.0,
        update_fraction=0.1,
    )  # fmt: skip
    assert len(seen) == 9
    for before, now in itertools.pairwise(seen):
        for name, value in now.momentum.items():
            expected = beta * before.momentum[name] + (1 - beta) * now.gradients[name]
            assert torch.allclose(value, expected, rtol=1e-5, atol=1e-8)
        assert any(value[~now.step.masks[name]].any() for name, value in now.momentum.items())


def test_dsr_takes_the_threshold_on_to_the_next_update(tmp_path, data, watched):
    seen = watched("dsr")
    run(data, tmp_path / "r", "dsr", lr=1e-12, threshold=1e-6, update_every=5)
    thresholds = [one.step.threshold for one in seen]
    assert thresholds == pytest.approx([1e-6 * 2**k for k in range(len(seen))])
    assert len(seen) > 4


def test_guided_exploration_draws_as_many_candidates_as_gamma_says(tmp_path, data, watched):
    seen = watched("gse-uniform")
    run(data, tmp_path / "r", "gse-uniform", gamma=2.5, update_every=15)
    assert [one.step.gamma for one in seen] == [2.5]


@pytest.mark.parametrize("method", ["rigl", "set-magnitude"])
def test_the_exploration_rate_counts_whatever_was_kept(tmp_path, data, watched, method):
    seen = watched(method)
    result = run(data, tmp_path / "r", method, update_every=5)
    ever = seen[0].step.masks
    for one in seen:
        ever = ever.union(one.change.masks)
    assert result.summary["exploration_rate"] == ever.density > 0.3


def test_grasp_looks_at_ten_samples_of_every_class(tmp_path):
    x = torch.randn(160, 12, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0] * 100 + [1] * 30 + [2] * 20 + [3] * 10)
    looked: list[list[int]] = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        looked.append(target.bincount(minlength=4).tolist())
        return nn.functional.cross_entropy(output, target)

    run((x, y), tmp_path / "r", "static", start="grasp", epochs=1, loss=loss)
    assert [10, 10, 10, 10] in looked


def test_a_rewound_optimiser_remembers_nothing(tmp_path, data, monkeypatch):
    remembered: list[int] = []
    rewind = Trainer.rewind

    def rewinding(trainer: Trainer, state: dict[str, Any]) -> None:
        assert trainer.optimizer.state
        rewind(trainer, state)
        remembered.append(sum(len(held) for held in trainer.optimizer.state.values()))

    monkeypatch.setattr(Trainer, "rewind", rewinding)
    run(data, tmp_path / "r", "imp", density=0.7, epochs=1)
    assert remembered == [0, 0]


@pytest.mark.parametrize("method", ["pwmpr", "pwmp", "gradient", "random"])
def test_growth_pays_for_one_pass_a_step(tmp_path, data, method):
    # From 10 to 20% by a quarter: 4 steps.
    result = run(
        data, tmp_path / "r", method, start="uniform", start_density=0.1, density=0.2,
        rough_epochs=1, epochs=1,
    )  # fmt: skip
    counts = [snapshot.masks.count for snapshot in result.snapshots]
    size, flops = result.masks.size, result.summary["flops"]
    expected = [size // 10]
    while expected[-1] < int(0.2 * size):
        expected.append(min(int(0.2 * size), expected[-1] * 5 // 4))
    assert counts == expected
    passes = 3 * 2 * sum(counts[:-1])  # one sample on the kept weights before each step
    assert flops["scoring"] == (passes if method in ("pwmpr", "pwmp") else 0)
    dense = 3 * 2 * size * 16 * (len(counts) - 1)  # one batch, all weights
    assert flops["dense_gradient"] == (dense if method == "gradient" else 0)
