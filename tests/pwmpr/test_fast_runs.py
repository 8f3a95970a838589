"""Runs with kept optimiser state and sparse linear layers: the same training, the same promises."""

import json
import math
import os
import signal

import pytest
import torch

import pwmpr
from pwmpr.breakeven import BreakEven
from pwmpr.training import kernels as run_kernels
from pwmpr.training.objectives import cross_entropy
from topograph.errors import TopographError

TINY = {
    "start": "random",
    "rough_epochs": 1,
    "epochs": 2,
    "batch": 64,
    "model": "mlp-64-48-48-10",
    "precision": "fp32",
    "progress": False,
}


def digits(folder, **settings):
    return pwmpr.run("digits", out=folder, **TINY | settings)


def snapshot_rows(result):
    lines = (result.folder / "snapshots.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def seen_losses(result):
    return torch.tensor(result.history[["train_loss", "val_loss"]].to_numpy())


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("random", {"density": 0.09}),
        ("pwmpr", {"density": 0.09, "optimizer": "adamw", "lr": 1e-3}),
        ("gradient", {"density": 0.09}),
        ("momentum-growth", {"density": 0.09}),
        ("static", {"density": 0.1}),
        ("set", {"density": 0.1}),
        ("rigl", {"density": 0.1, "update_every": 7}),
        ("snfs", {"density": 0.1}),
        ("gse-grabo", {"density": 0.1, "update_every": 7}),
        ("gmp", {"density": 0.3, "update_every": 7}),
        ("imp", {"density": 0.6, "epochs": 1}),
    ],
)
def test_every_kind_of_method_trains_as_with_masks(tmp_path, method, settings):
    masked = digits(tmp_path / "m", method=method, optimizer_state="dense", **settings)
    sparse = digits(tmp_path / "s", method=method, kernels="sparse", **settings)
    assert sparse.masks.count == masked.masks.count
    assert len(sparse.snapshots) == len(masked.snapshots)
    assert sparse.summary["flops"] == masked.summary["flops"]
    # Float tolerance. Rounding can only decide between two positions where they are all but equal.
    torch.testing.assert_close(seen_losses(sparse), seen_losses(masked), rtol=5e-3, atol=1e-3)
    overlap = [
        pwmpr.Masks.from_state_dict(a.masks.state_dict()).union(b.masks).count / a.masks.count
        for a, b in zip(sparse.snapshots, masked.snapshots, strict=True)
    ]
    assert max(overlap) < 1.02
    state = sparse.model.state_dict()
    assert list(state) == list(masked.model.state_dict())
    assert all(not state[name][~mask].any() for name, mask in sparse.masks.items())
    assert all("forward" not in vars(module) for module in sparse.model.modules())


def test_which_layers_compute_sparsely_is_written_down(tmp_path):
    result = digits(tmp_path / "r", method="random", density=0.09, kernels=0.07)
    rows = snapshot_rows(result)
    for row, snapshot in zip(rows, result.snapshots, strict=True):
        few = [name for name, density in snapshot.masks.densities.items() if density < 0.07]
        assert row["sparse_layers"] == few
    assert len(rows[0]["sparse_layers"]) > len(rows[-1]["sparse_layers"]) == 0
    assert result.summary["kernels"] == {"below": 0.07, "measured": {}}


def killed_at(step):
    calls = [0]

    def loss(output, target):
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] == step:
                os.kill(os.getpid(), signal.SIGTERM)
        return cross_entropy(output, target)

    return loss


def assert_same(a, b):
    assert a.history.drop(columns="seconds").equals(b.history.drop(columns="seconds"))
    assert [s.masks for s in a.snapshots] == [s.masks for s in b.snapshots]
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("method", "kernels"), [("random", "masked"), ("random", 0.07), ("rigl", "sparse")]
)
def test_a_run_twice_and_a_resumed_run_are_bit_for_bit_the_same(tmp_path, method, kernels):
    settings = {"method": method, "density": 0.09, "kernels": kernels, "update_every": 7}
    whole = digits(tmp_path / "whole", **settings)
    assert_same(digits(tmp_path / "again", **settings), whole)
    for step in (5, 31):
        with pytest.raises(SystemExit):
            digits(tmp_path / f"r{step}", loss=killed_at(step), **settings)
        assert_same(pwmpr.resume(tmp_path / f"r{step}", progress=False), whole)


def test_with_auto_a_resumed_run_goes_by_the_timing_of_its_start(tmp_path, monkeypatch):
    slow, quick = (
        {
            n: BreakEven(64, 1.0, (0.1, 2.0), below)
            for n in ("fc1.weight", "fc2.weight", "fc3.weight")
        }
        for below in (0.01, 0.075)
    )
    settings = {"method": "random", "density": 0.09, "kernels": "auto"}
    monkeypatch.setattr(run_kernels, "break_even", lambda *_: quick)
    whole = digits(tmp_path / "whole", **settings)
    assert whole.summary["kernels"]["below"] == dict.fromkeys(quick, 0.075)
    assert whole.summary["kernels"]["measured"]["fc1.weight"]["masked"] == 1.0
    rows = snapshot_rows(whole)
    assert rows[0]["sparse_layers"]
    assert not rows[-1]["sparse_layers"]
    with pytest.raises(SystemExit):
        digits(tmp_path / "r", loss=killed_at(30), **settings)
    monkeypatch.setattr(run_kernels, "break_even", lambda *_: slow)  # a busier machine by now
    assert_same(pwmpr.resume(tmp_path / "r", progress=False), whole)
    # Whoever states the measured densities repeats the run on any machine.
    below = whole.summary["kernels"]["below"]
    assert_same(digits(tmp_path / "stated", **settings | {"kernels": below}), whole)


def test_auto_times_the_layers_for_real(tmp_path):
    result = digits(tmp_path / "r", method="static", density=0.1, kernels="auto", epochs=1)
    measured = result.summary["kernels"]["measured"]
    assert set(measured) == {"fc1.weight", "fc2.weight", "fc3.weight"}
    assert all(timed["rows"] == 64 and timed["masked"] > 0 for timed in measured.values())


def test_convolutions_stay_masked_beside_sparse_linear_layers(tmp_path):
    settings = {"model": "convnet", "method": "static", "density": 0.1, "epochs": 1}
    masked = digits(tmp_path / "m", **settings)
    sparse = digits(tmp_path / "s", kernels="sparse", **settings)
    torch.testing.assert_close(seen_losses(sparse), seen_losses(masked), rtol=1e-3, atol=1e-4)
    (row,) = snapshot_rows(sparse)
    linear = [name for name in masked.masks if masked.model.state_dict()[name].dim() == 2]
    assert row["sparse_layers"] == linear
    assert linear


def test_checkpoints_hold_kept_values_alone(tmp_path):
    sizes = {}
    for state in ("kept", "dense"):
        folder = tmp_path / state
        settings = {"model": "mlp-64-1000-10", "density": 0.02, "optimizer_state": state}
        with pytest.raises(SystemExit):
            digits(folder, method="static", loss=killed_at(3), **settings)
        sizes[state] = max(path.stat().st_size for path in (folder / "checkpoints").glob("*.pt"))
    weights = 4 * 64 * 1000
    assert sizes["dense"] > weights > 2 * sizes["kept"]


def test_state_is_kept_on_the_cpu_unless_said_otherwise(tmp_path):
    result = digits(tmp_path / "r", method="static", density=0.1, epochs=1)
    stated = json.loads((tmp_path / "r/settings.json").read_text())["settings"]
    assert stated["optimizer_state"] == "kept"
    assert stated["kernels"] == "masked"
    assert math.isfinite(result.accuracy)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kernels": "fast"}, "kernels"),
        ({"kernels": 1.5}, "kernels"),
        ({"kernels": {"fc1.weight": 2}}, "kernels"),
        ({"optimizer_state": "sparse"}, "optimizer_state"),
        ({"kernels": "sparse", "optimizer_state": "dense"}, "gradients of kept weights alone"),
    ],
)
def test_settings_that_cannot_be(settings, words, tmp_path):
    with pytest.raises(TopographError, match=words):
        digits(tmp_path / "r", method="static", density=0.1, **settings)
