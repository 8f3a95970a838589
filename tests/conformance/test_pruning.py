"""Do IMP, IMP-C, gradual and one-shot magnitude pruning remove, rewind and count as published?"""

from __future__ import annotations

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
from pwmpr.pruning import cubic_density, prune
from topograph.errors import TopographError

SIZE = 12 * 16 + 16 * 16 + 16 * 4


def network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(),
        nn.Linear(16, 4),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(160, 12, generator=torch.Generator().manual_seed(0))
    return x, (x[:, :3].sum(1) > 0).long() + 2 * (x[:, 3] > 0).long()


def quick(data, out, method, **settings):
    options = {"density": 0.3, "epochs": 2, "batch": 16, "precision": "fp32", "lr": 0.05}
    return pwmpr.run(
        model=network(), train=data, validation=data, test=data, method=method, out=out,
        **options | settings,
    )  # fmt: skip


# the function


@given(density=st.floats(0.05, 1), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 50))
def test_prune_is_global_and_exact(density, fraction, seed):
    model = network()
    masks = pwmpr.initial_masks(model, density, "random", seed=seed)
    gone = int(fraction * masks.count * (1 + 1e-12))
    if not 0 < gone < masks.count:
        return
    left = prune(model, masks, fraction)
    assert left.count == masks.count - gone
    assert left.union(masks) == masks
    weights = {n: p.detach().abs() for n, p in model.named_parameters() if n in masks}
    smallest_left = min(float(weights[n][left[n]].min()) for n in masks if left[n].any())
    dropped = {n: masks[n] & ~left[n] for n in masks}
    largest_gone = max(float(weights[n][dropped[n]].max()) for n in masks if dropped[n].any())
    assert smallest_left >= largest_gone


def test_ties_and_zeros_among_kept_weights():
    model = nn.Linear(6, 1, bias=False)
    model.weight.data = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0, 9.0]])
    masks = Masks({"weight": torch.tensor([[1, 1, 1, 1, 1, 0]])})
    assert prune(model, masks, count=3)["weight"].tolist() == [[0, 1, 1, 0, 0, 0]]
    assert prune(model, masks, count=1)["weight"].tolist() == [[1, 1, 1, 0, 1, 0]]


def test_a_target_cuts_the_step_and_refusals_say_why():
    model = network()
    masks = Masks.dense(model)
    assert prune(model, masks, 0.5, target=0.9).count == int(0.9 * SIZE)
    half = prune(model, masks, target=0.5, count=SIZE)
    assert half.count == SIZE // 2
    assert prune(model, half, target=0.5) is half
    with pytest.raises(TopographError, match="adds nothing"):
        prune(model, half, target=0.6)
    with pytest.raises(TopographError, match="expected one to be left"):
        prune(model, half, count=SIZE // 2)
    with pytest.raises(TopographError, match="is 0"):
        prune(model, half, 1e-6)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(TopographError, match="NaN"):
        prune(model, masks)


def test_the_cubic_of_gradual_pruning():
    assert cubic_density(0, 80, 0.2) == 1
    assert cubic_density(20, 80, 0.2) == pytest.approx(0.2 + 0.8 * 0.75**3)
    assert cubic_density(80, 80, 0.2) == cubic_density(99, 80, 0.2) == 0.2


# runs


@pytest.mark.parametrize("method", ["imp", "imp-c"])
def test_levels_keep_80_percent_of_what_is_left_and_end_exactly(tmp_path, data, method):
    result = quick(data, tmp_path / "r", method)
    counts, expected = [s.count for s in result.snapshots], [SIZE]
    while expected[-1] > int(0.3 * SIZE):
        expected.append(max(int(0.3 * SIZE), expected[-1] - expected[-1] // 5))
    assert counts == expected
    assert [s.step for s in result.snapshots] == [20 * k for k in range(len(counts))]
    for before, after in zip(result.snapshots[:-1], result.snapshots[1:], strict=True):
        assert after.masks.union(before.masks) == before.masks
    # Every level trains in full: the account is the sum over levels of 3 f of its masks.
    forward = sum(2 * count for count in counts)
    assert result.summary["flops"]["training"] == 3 * forward * 2 * 160


class Recorder:
    """A loss that keeps the weights it is called with, at the step numbers asked for."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.model, self.steps, self.calls = network(), steps, 0
        self.seen: dict[int, dict[str, torch.Tensor]] = {}

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            if self.calls in self.steps:
                state = self.model.state_dict()
                self.seen[self.calls] = {n: v.clone() for n, v in state.items()}
            self.calls += 1
        return nn.functional.cross_entropy(output, target)


def recorded(data, out, method, steps, **settings):
    loss = Recorder(steps)
    options = {"density": 0.5, "epochs": 2, "batch": 16, "precision": "fp32", "lr": 0.05}
    result = pwmpr.run(
        model=loss.model, train=data, validation=data, test=data, method=method, out=out,
        loss=loss, **options | settings,
    )  # fmt: skip
    return result, loss.seen


@pytest.mark.parametrize("rewind", [0, 7])
def test_imp_rewinds_weights_and_schedule(tmp_path, data, rewind):
    # Steps of the first training: 0 to 19; the second begins at call 20.
    result, seen = recorded(data, tmp_path / "r", "imp", (rewind, 20), rewind=rewind)
    masks = result.snapshots[1].masks
    for name, value in seen[rewind].items():
        if "running" in name or "tracked" in name:  # one forward pass on, at either time
            continue
        expected = value * masks[name] if name in masks else value
        assert torch.equal(seen[20][name], expected), name
    assert int(seen[20]["1.num_batches_tracked"]) == int(seen[rewind]["1.num_batches_tracked"])
    assert [s.step for s in result.snapshots][:3] == [0, 20, 20 + 20 - rewind]


def test_imp_c_goes_on_from_where_it_is(tmp_path, data):
    result, seen = recorded(data, tmp_path / "r", "imp-c", (0, 19, 20))
    masks = result.snapshots[1].masks
    assert not torch.equal(seen[20]["0.weight"], seen[0]["0.weight"] * masks["0.weight"])
    moved = (seen[20]["0.weight"] - seen[19]["0.weight"] * masks["0.weight"]).abs().max()
    assert moved < (seen[20]["0.weight"] - seen[0]["0.weight"] * masks["0.weight"]).abs().max()


def test_one_shot_pruning_and_gradual_pruning_end_at_the_density(tmp_path, data):
    once = quick(data, tmp_path / "once", "magnitude")
    assert [s.count for s in once.snapshots] == [SIZE, int(0.3 * SIZE)]
    # 40 steps, T = 30; every 11 steps, and at T.
    gradual = quick(data, tmp_path / "gmp", "gmp", epochs=4, update_every=11)
    assert [s.step for s in gradual.snapshots] == [0, 11, 22, 30]
    final = int(0.3 * SIZE)
    expected = [
        max(final, round(SIZE * cubic_density(s.step, 30, final / SIZE))) for s in gradual.snapshots
    ]
    assert [s.count for s in gradual.snapshots] == expected
    assert gradual.masks.count == final
    assert np.all(np.diff(expected) < 0)


def test_pruning_asks_for_a_density_and_a_rewind_within_the_training(tmp_path, data):
    with pytest.raises(TopographError, match="density"):
        quick(data, tmp_path / "r", "imp", density=None)
    with pytest.raises(TopographError, match="rewind"):
        quick(data, tmp_path / "r", "imp", rewind=20)


def test_a_stopped_imp_rewinds_to_the_same_weights(tmp_path, data):
    whole = quick(data, tmp_path / "whole", "imp", rewind=3)
    calls = 0

    def stopping(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 26:
            os.kill(os.getpid(), signal.SIGTERM)
        return nn.functional.cross_entropy(output, target)

    with pytest.raises(SystemExit):
        quick(data, tmp_path / "part", "imp", rewind=3, loss=stopping)
    rest = pwmpr.resume(
        tmp_path / "part", model=network(), train=data, validation=data, test=data,
        loss=nn.functional.cross_entropy,
    )  # fmt: skip
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
