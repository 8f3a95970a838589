"""Does the trainer follow its schedule, keep masks and momentum right, and stop as it says?"""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import pwmpr
from pwmpr import models
from pwmpr.data import ItemBatches
from pwmpr.recipe import recipe_settings
from pwmpr.settings import Settings
from pwmpr.training.evaluate import evaluate
from pwmpr.training.interrupt import Interrupt
from pwmpr.training.machine import choose_machine, keep_freed_memory
from pwmpr.training.objectives import OBJECTIVES, cross_entropy
from pwmpr.training.schedule import Stage, learning_rate
from topograph.errors import TopographError

TINY = {"start": "random", "rough_epochs": 1, "epochs": 2, "batch": 128, "model": "mlp-64-24-10"}


def rates(settings: Settings, stage: Stage, before: int = 0) -> list[float]:
    return [learning_rate(settings, stage, step, before + step) for step in range(stage.steps)]


# schedule


def test_the_paper_drops_the_rate_at_20k_and_25k_of_30k():
    settings = recipe_settings("cifar10-resnet32")
    stage = Stage("extensive", 7, 30_000)
    at = {step: learning_rate(settings, stage, step, step) for step in range(30_000)}
    assert at[19_999] == pytest.approx(0.1)
    assert at[20_000] == at[24_999] == pytest.approx(0.01)
    assert at[25_000] == at[29_999] == pytest.approx(0.001)


@given(steps=st.integers(1, 50), schedule=st.sampled_from(["step", "cosine", "constant"]))
def test_rates_never_rise_without_warmup_and_start_at_lr(steps, schedule):
    found = rates(Settings(schedule=schedule, lr=0.2), Stage("extensive", 0, steps))
    assert found[0] == pytest.approx(0.2)
    assert all(a >= b > 0 for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_rough_training_stays_at_the_initial_rate(schedule):
    found = rates(Settings(schedule=schedule, lr=0.2), Stage("rough", 3, 40), before=1000)
    assert set(found) == {0.2}


def test_warmup_rises_once_and_cosine_falls_from_its_end():
    settings = Settings(schedule="cosine", lr=1.0, warmup=10)
    found = rates(settings, Stage("extensive", 0, 30))
    assert found[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert found[10] == pytest.approx(1.0)
    assert found[20] == pytest.approx(0.5)
    assert rates(settings, Stage("extensive", 0, 30), before=500)[0] == pytest.approx(1.0)
    rough = rates(settings, Stage("rough", 0, 15))
    assert rough == pytest.approx([min(1.0, k / 10) for k in range(1, 16)])


# evaluation


def test_evaluation_is_the_mean_over_samples_in_evaluation_mode():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.9), torch.nn.Linear(3, 4)
    )
    x, y = torch.randn(1100, 3), torch.randint(0, 4, (1100,))
    machine = choose_machine(Settings(precision="fp32", device="cpu"), model)
    data = ItemBatches(torch.utils.data.TensorDataset(x, y))
    score = evaluate(model.train(), data, OBJECTIVES["cross-entropy"], machine)
    assert model.training
    output = model.eval()(x).detach()
    assert score.loss == pytest.approx(float(F.cross_entropy(output, y)), rel=1e-6)
    assert score.accuracy == pytest.approx(float((output.argmax(1) == y).float().mean()))


def test_cross_entropy_takes_classes_first_or_last():
    logits, target = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    expected = F.cross_entropy(logits.transpose(1, 2), target)
    assert torch.allclose(cross_entropy(logits, target), expected)
    assert torch.allclose(cross_entropy(logits.transpose(1, 2), target), expected)


# machine


def test_the_machine_is_what_the_settings_ask_for():
    net = models.build("resnet8")
    machine = choose_machine(Settings(device="cpu", precision="bf16", threads=1), net)
    assert (machine.device, machine.precision, machine.threads) == ("cpu", "bf16", 1)
    machine.lay_out(net)
    assert net.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    with machine.autocast():
        assert net(torch.randn(2, 3, 8, 8)).dtype == torch.bfloat16
    plain = choose_machine(Settings(device="cpu", precision="fp32"), models.mlp([2, 2]))
    assert not plain.channels_last
    assert keep_freed_memory() in ("default", "glibc, thresholds raised")


def test_threads_and_random_state_are_put_back():
    machine = choose_machine(Settings(device="cpu", threads=2), models.mlp([2, 2]))
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with machine.active():
        assert torch.get_num_threads() == 2
        torch.manual_seed(1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", ["tpu", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(TopographError, match="device"):
        choose_machine(Settings(device=device), models.mlp([2, 2]))


# growth


def test_growth_adds_a_quarter_each_time_and_keeps_what_it_had(tmp_path):
    result = pwmpr.run("digits", method="random", max_density=0.2, out=tmp_path / "r", **TINY)
    counts = [snapshot.count for snapshot in result.snapshots]
    size = result.masks.size
    assert counts[0] == math.floor(0.05 * size)
    limit = math.floor(0.2 * size)
    for before, after in itertools.pairwise(counts):
        assert after == min(limit, before + math.floor(before * 0.25))
    for before, after in itertools.pairwise(result.snapshots):
        assert after.masks.union(before.masks) == after.masks
    assert len(counts) == 1 + result.history["cycle"].max()


@pytest.mark.parametrize("density", [0.05, 0.11, 0.3])
def test_a_given_density_is_met_exactly_and_no_plateau_stops_before(tmp_path, density):
    result = pwmpr.run("digits", method="random", density=density, out=tmp_path / "r", **TINY)
    assert result.masks.count == math.floor(density * result.masks.size)
    assert result.density == result.masks.density
    assert (result.model.state_dict()["fc1.weight"] != 0).sum() <= result.masks.counts["fc1.weight"]


@pytest.mark.parametrize("method", ["random", "gradient"])
def test_after_growth_kept_weights_keep_value_and_momentum_and_new_ones_start_at_zero(
    tmp_path, monkeypatch, method
):
    from pwmpr.training.trainer import Trainer

    seen = []
    change = Trainer.change_masks

    def watched(trainer: Trainer, masks: pwmpr.Masks) -> None:
        before = trainer.masks
        weight = trainer.model.fc1.weight
        momentum = trainer.optimizer.state[weight]["momentum_buffer"]
        was = weight.detach().clone(), momentum.clone()
        change(trainer, masks)
        old, new = before["fc1.weight"], masks["fc1.weight"]
        for tensor, earlier in zip((weight.detach(), momentum), was, strict=True):
            assert torch.equal(tensor[old], earlier[old])
            assert not tensor[new & ~old].any()
            assert not tensor[~new].any()
        assert was[1][old].any()
        seen.append(int((new & ~old).sum()))

    monkeypatch.setattr(Trainer, "change_masks", watched)
    settings = TINY | {"optimizer_state": "dense"}
    pwmpr.run("digits", method=method, density=0.1, out=tmp_path / "r", **settings)
    assert len(seen) >= 2
    assert sum(seen) > 0


def test_masked_weights_are_zero_in_every_snapshot_and_at_the_end(tmp_path):
    result = pwmpr.run("digits", method="gradient", density=0.1, out=tmp_path / "r", **TINY)
    for snapshot in result.snapshots:
        weights = snapshot.weights
        for name, mask in snapshot.masks.items():
            assert not weights[name][~mask].any()
            assert weights[name][mask].any()
    state = result.model.state_dict()
    assert all(not state[name][~mask].any() for name, mask in result.masks.items())


def test_early_stopping_ends_rough_training_three_epochs_after_the_best(tmp_path):
    settings = TINY | {"rough_epochs": "early-stop", "epochs": 40, "lr": 0.3}
    result = pwmpr.run(
        "digits", method="random", density=0.0625, out=tmp_path / "r", extensive=False, **settings
    )
    for _, rows in result.history.groupby("cycle"):
        losses = rows["val_loss"].tolist()
        best = losses.index(min(losses))
        assert len(losses) - 1 - best == 3
        assert all(
            min(losses[k + 1 : k + 4]) < min(losses[: k + 1]) for k in range(len(losses) - 4)
        )


def test_without_extensive_training_the_run_ends_where_growth_does(tmp_path):
    result = pwmpr.run(
        "digits", method="random", density=0.08, extensive=False, out=tmp_path / "r", **TINY
    )
    assert set(result.history["phase"]) == {"rough"}
    assert result.density == pytest.approx(0.08, abs=1e-3)


def test_the_plateau_stops_growth_and_the_fit_is_the_one_of_the_history(tmp_path):
    result = pwmpr.run("digits", epochs=2, out=tmp_path / "r")
    rough = result.history[result.history["phase"] == "rough"].groupby("cycle").tail(1)
    assert len(rough) >= 5
    fit = pwmpr.fit_plateau(rough["density"], rough["val_accuracy"])
    assert fit == result.stopping
    assert fit.stopped
    assert result.density >= fit.onset
    shorter = pwmpr.fit_plateau(rough["density"][:-1], rough["val_accuracy"][:-1])
    assert not shorter.stopped
    assert result.density < 0.3
    # A scoring pass takes one sample forward and backward on the weights kept before the growth.
    counts = [snapshot.count for snapshot in result.snapshots][:-1]
    assert result.summary["flops"]["scoring"] == sum(6 * count for count in counts)


def test_without_a_plateau_growth_goes_on_to_the_limit(tmp_path):
    result = pwmpr.run("digits", method="random", max_density=0.09, out=tmp_path / "r", **TINY)
    assert not result.stopping.stopped  # four points are too few
    assert result.masks.count == math.floor(0.09 * result.masks.size)


def test_growth_that_would_have_to_shrink_is_refused(tmp_path):
    with pytest.raises(TopographError, match="growth removes nothing"):
        pwmpr.run("digits", method="random", density=0.01, out=tmp_path / "r", **TINY)
    assert not (tmp_path / "r").exists()


# cost


def test_cost_is_what_the_kept_weights_of_an_mlp_say(tmp_path):
    result = pwmpr.run("digits", method="gradient", density=0.1, out=tmp_path / "r", **TINY)
    samples = 1150
    spent = sum(2 * 3 * row["count"] * samples for _, row in result.history.iterrows())
    assert result.summary["flops"]["training"] == spent
    steps = len(result.snapshots) - 1
    assert result.summary["flops"]["dense_gradient"] == steps * 128 * 6 * result.masks.size
    dense = 2 * samples * 6 * result.masks.size
    assert result.cost == pytest.approx((spent + steps * 128 * 6 * result.masks.size) / dense)
    assert result.history["flops"].is_monotonic_increasing


def test_dense_training_costs_one_and_static_training_its_density(tmp_path):
    dense = pwmpr.run("digits", method="dense", out=tmp_path / "d", **TINY)
    assert dense.cost == 1
    static = pwmpr.run("digits", method="static", density=0.5, out=tmp_path / "s", **TINY)
    assert static.cost == pytest.approx(0.5)
    assert static.stopping is None
    assert len(static.snapshots) == 1
    assert all(
        torch.equal(value, static.model.state_dict()[name])
        for name, value in static.snapshots[0].weights.items()
    )


# what goes wrong


def counting_loss(at: int, action: Callable) -> Callable:
    """Return cross-entropy that acts at one of its calls under training."""
    calls = [0]

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value = cross_entropy(output, target)
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] == at:
                return action(value)
        return value

    return loss


def same_but_for_seconds(a: pwmpr.RunResult, b: pwmpr.RunResult) -> bool:
    weights = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return (
        a.history.drop(columns="seconds").equals(b.history.drop(columns="seconds"))
        and all(torch.equal(x, y) for x, y in weights)
        and [s.masks for s in a.snapshots] == [s.masks for s in b.snapshots]
        and {**a.summary, "seconds": 0} == {**b.summary, "seconds": 0}
    )


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_epoch(tmp_path):
    settings = TINY | {"density": 0.08, "method": "random"}
    whole = pwmpr.run("digits", out=tmp_path / "whole", **settings)
    bad = counting_loss(20, lambda value: value * math.nan)
    with pytest.raises(TopographError, match=r"loss is nan by step .* lower lr"):
        pwmpr.run("digits", out=tmp_path / "r", loss=bad, **settings)
    resumed = pwmpr.resume(tmp_path / "r")
    assert same_but_for_seconds(resumed, whole)


@pytest.mark.parametrize("at", [3, 9, 18, 19, 30])
def test_sigterm_writes_a_checkpoint_at_the_next_step_and_resume_goes_on_bit_for_bit(tmp_path, at):
    # Nine steps an epoch: within an epoch, at its last step, at a stage's last step.
    settings = TINY | {"density": 0.08, "method": "random"}
    whole = pwmpr.run("digits", out=tmp_path / "whole", **settings)

    def terminate(value: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return value

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        pwmpr.run("digits", out=tmp_path / "r", loss=counting_loss(at, terminate), **settings)
    assert left.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler
    assert same_but_for_seconds(pwmpr.resume(tmp_path / "r"), whole)


def test_an_interrupt_is_a_keyboard_interrupt_and_a_second_one_does_not_wait():
    interrupt = Interrupt()
    with interrupt.watching():
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            interrupt.leave()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
