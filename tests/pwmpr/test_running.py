"""Does a run give the same result every time, whole or in parts, by recipe or with an own net?"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pwmpr
from pwmpr.data import read_digits
from pwmpr.recipe import recipe_settings
from pwmpr.settings import Settings
from topograph.errors import TopographError

QUICK = {"method": "random", "start": "random", "rough_epochs": 1, "epochs": 2}


def assert_same(a: pwmpr.RunResult, b: pwmpr.RunResult) -> None:
    histories = (result.history.drop(columns="seconds") for result in (a, b))
    pd.testing.assert_frame_equal(*histories)
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name
    assert a.masks == b.masks
    assert [s.masks for s in a.snapshots] == [s.masks for s in b.snapshots]
    assert (a.accuracy, a.cost, a.density) == (b.accuracy, b.cost, b.density)
    assert a.stopping == b.stopping


# a recipe


@pytest.mark.parametrize("method", ["random", "gradient"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path, method):
    settings = QUICK | {"method": method, "density": 0.08}
    one = pwmpr.run("digits", out=tmp_path / "1", **settings)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002
    two = pwmpr.run("digits", out=tmp_path / "2", **settings)
    assert_same(one, two)
    other = pwmpr.run("digits", out=tmp_path / "3", seed=1, **settings)
    assert other.masks != one.masks
    assert other.masks.count == one.masks.count


def test_a_run_disturbs_neither_generators_nor_threads(tmp_path):
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    result = pwmpr.run("digits", density=0.08, out=tmp_path / "r", **QUICK)
    pwmpr.load(result.folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_result_is_what_its_folder_says(tmp_path):
    result = pwmpr.run("digits", out=tmp_path / "r", **QUICK)
    loaded = pwmpr.load(tmp_path / "r")
    assert_same(result, loaded)
    assert loaded.settings == result.settings
    columns = [
        "phase", "cycle", "epoch", "step", "density", "train_loss", "val_accuracy", "flops",
        "seconds",
    ]  # fmt: skip
    assert list(result.history)[:9] == columns
    history = result.history
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert history["val_accuracy"].between(0, 1).all()
    assert history["seconds"].is_monotonic_increasing
    assert set(history["phase"]) == {"rough", "extensive"}
    digits = read_digits().test
    mean, std = (torch.tensor(value) for value in _statistics(tmp_path / "r"))
    output = result.model((digits.images.float() - mean) / std)
    assert result.accuracy == float((output.argmax(1) == digits.labels).double().mean())


def _statistics(folder: Path) -> tuple[list[float], list[float]]:
    from pwmpr.folder import RunFolder

    data = RunFolder.open(folder).settings()["data"]
    return data["mean"], data["std"]


def test_a_result_shows_its_numbers_as_text_and_html(tmp_path):
    result = pwmpr.run("digits", density=0.08, out=tmp_path / "<r>", **QUICK)
    text, page = repr(result), result._repr_html_()
    for shown in (text, page):
        assert f"{result.accuracy:.2%} on test data" in shown
        assert "digits, method random, seed 0" in shown
    assert "&lt;r&gt;" in page
    assert "<r>" not in page


def test_training_learns_the_digits(tmp_path):
    result = pwmpr.run("digits", method="dense", epochs=15, out=tmp_path / "r")
    assert result.accuracy > 0.94


def test_folders_are_named_by_settings_and_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = QUICK | {"density": 0.06}
    folders = [pwmpr.run("digits", **quick).folder for _ in range(2)]
    folders.append(pwmpr.run("digits", lr=0.05, **quick).folder)
    assert all(folder.parent.resolve() == tmp_path / "runs" for folder in folders)
    assert folders[1].name == folders[0].name + "-2"
    assert folders[2].name.startswith("digits-random-s0-")
    assert len(set(folders)) == 3


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    pwmpr.run("digits", density=0.06, out=tmp_path / "r", **QUICK)
    with pytest.raises(TopographError, match=r"finished run.*pwmpr\.resume"):
        pwmpr.run("digits", density=0.06, out=tmp_path / "r", **QUICK)


# resuming


class Killed(BaseException):
    pass


@pytest.mark.parametrize("saves", [1, 2, 3, 5, 8])
def test_a_run_stopped_after_any_checkpoint_goes_on_to_the_same_bits(tmp_path, monkeypatch, saves):
    from pwmpr.checkpoints import Checkpoints

    settings = QUICK | {"method": "gradient", "density": 0.08}
    whole = pwmpr.run("digits", out=tmp_path / "whole", **settings)
    save, count = Checkpoints.save, [0]

    def save_and_die(self: Checkpoints, state: dict) -> None:
        save(self, state)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            pwmpr.run("digits", out=tmp_path / "r", **settings)
    assert_same(pwmpr.resume(tmp_path / "r"), whole)
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


def test_a_killed_process_is_resumed_to_the_same_bits(tmp_path):
    settings = QUICK | {"density": 0.3, "epochs": 150, "start_density": 0.05}
    whole = pwmpr.run("digits", out=tmp_path / "whole", **settings)
    code = (
        "import sys, pwmpr\n"
        "if sys.argv[2] == 'run': pwmpr.run('digits', out=sys.argv[1], threads=1, "
        f"**{settings!r})\n"
        "else: pwmpr.resume(sys.argv[1])"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    rng, kills = random.Random(0), 0
    for _ in range(2):
        begun = (tmp_path / "r" / "checkpoints" / "manifest.json").exists()
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "r"), "resume" if begun else "run"],
            env=environment,
        )
        manifest = tmp_path / "r" / "checkpoints" / "manifest.json"
        before = manifest.stat().st_mtime_ns if begun else 0
        while child.poll() is None:
            if manifest.exists() and manifest.stat().st_mtime_ns > before:
                time.sleep(rng.uniform(0.02, 0.25))
                child.send_signal(signal.SIGKILL)
                kills += child.wait() == -signal.SIGKILL
                break
            time.sleep(0.005)
    assert kills >= 1
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path, monkeypatch):
    from pwmpr.folder import RunFolder
    from pwmpr.training.trainer import Trainer

    settings = QUICK | {"density": 0.06}
    whole = pwmpr.run("digits", out=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "discard", lambda folder: None)  # what kill -9 leaves
        patch.setattr(Trainer, "_save", lambda trainer: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            pwmpr.run("digits", out=tmp_path / "r", **settings)
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


# a model and data of one's own


def own_data(count: int = 96, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, 6, 6, generator=generator)
    return TensorDataset(x, (x.mean((1, 2, 3)) > 0).long())


def own_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(),
        nn.Linear(6 * 16, 2),
    )  # fmt: skip


OWN = QUICK | {"batch": 16, "density": 0.4, "start_density": 0.2}


def test_an_own_model_and_datasets_are_trained_in_place(tmp_path):
    model = own_model()
    result = pwmpr.run(
        model=model, train=own_data(), validation=own_data(32, 1), test=own_data(32, 2),
        out=tmp_path / "r", **OWN,
    )  # fmt: skip
    assert result.model is model
    assert result.summary["accuracy_on"] == "test"
    assert result.masks.count == int(0.4 * result.masks.size)
    assert model[0].weight.is_contiguous()
    loaded = pwmpr.load(tmp_path / "r", model=own_model())
    assert_same(result, loaded)
    assert pwmpr.load(tmp_path / "r").model is None


def test_dropout_goes_on_where_it_was_after_an_interrupt(tmp_path):
    from pwmpr.training.objectives import cross_entropy

    calls = [0]

    def terminate(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls[0] += torch.is_grad_enabled()
        if calls[0] == 8:
            calls[0] += 1
            os.kill(os.getpid(), signal.SIGTERM)
        return cross_entropy(output, target)

    whole = pwmpr.run(model=own_model(), train=own_data(), out=tmp_path / "whole", **OWN)
    with pytest.raises(SystemExit):
        pwmpr.run(model=own_model(), train=own_data(), loss=terminate, out=tmp_path / "r", **OWN)
    with pytest.raises(TopographError, match="model="):
        pwmpr.resume(tmp_path / "r")
    with pytest.raises(TopographError, match="train="):
        pwmpr.resume(tmp_path / "r", model=own_model())
    with pytest.raises(TopographError, match="data that the run was started with"):
        pwmpr.resume(tmp_path / "r", model=own_model(), train=own_data(64))
    with pytest.raises(TopographError, match="does not fit the model"):
        pwmpr.resume(tmp_path / "r", model=nn.Sequential(*own_model()[:5], nn.Linear(96, 3)),
                     train=own_data())  # fmt: skip
    assert_same(pwmpr.resume(tmp_path / "r", model=own_model(), train=own_data()), whole)


def test_a_recipes_data_train_an_own_model_and_the_other_way_round(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert pwmpr.run("digits", model=model, density=0.3, out=tmp_path / "a", **QUICK).model is model
    digits = read_digits()
    result = pwmpr.run(
        "digits", train=digits.train, test=digits.test, model="mlp-64-12-10", density=0.2,
        out=tmp_path / "b", **QUICK,
    )  # fmt: skip
    assert result.model.sizes == (64, 12, 10)
    assert result.summary["accuracy_on"] == "test"


def test_an_own_loss_is_what_is_minimised(tmp_path):
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    result = pwmpr.run(
        model=nn.Linear(4, 1), train=(x, x @ torch.ones(4, 1)), loss=nn.functional.mse_loss,
        method="dense", epochs=40, lr=0.05, batch=16, out=tmp_path / "r",
    )  # fmt: skip
    assert result.history["val_loss"].iloc[-1] < 1e-3
    assert np.isnan(result.accuracy)
    assert np.isnan(pwmpr.load(tmp_path / "r", model=nn.Linear(4, 1)).accuracy)


def test_a_residual_network_grows_in_bfloat16_and_channels_last(tmp_path):
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(images, torch.arange(40) % 3)
    result = pwmpr.run(
        model=pwmpr.models.build("resnet8", classes=3), train=data, batch=20, precision="bf16",
        density=0.08, **{**QUICK, "epochs": 1}, out=tmp_path / "r",
    )  # fmt: skip
    assert result.density == pytest.approx(0.08, abs=1e-4)
    assert all(parameter.dtype == torch.float32 for parameter in result.model.parameters())
    assert result.model.conv1.weight.is_contiguous()
    assert "linear.weight" not in result.masks


def test_a_registered_rule_is_a_method_and_its_passes_are_counted(tmp_path):
    from pwmpr.growth import GrowthStep, register
    from pwmpr.sampling import sample_without_replacement

    @register("by-gradient")
    def by_gradient(step: GrowthStep, count: int) -> dict[str, torch.Tensor]:
        """Sample in proportion to the gradient."""
        scores = step.gradient_magnitudes()
        return sample_without_replacement(scores, count, step.generator, step.missing())

    result = pwmpr.run(
        "digits", density=0.08, out=tmp_path / "r", **QUICK | {"method": "by-gradient"}
    )
    growth = len(result.snapshots) - 1
    assert growth == 3
    flops_of_a_batch = 3 * 2 * result.masks.size * result.settings.batch
    assert result.summary["flops"]["dense_gradient"] == growth * flops_of_a_batch


# what goes wrong


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("digit",), 'did you mean recipe="digits"'),
        ((), "train is None"),
        (("cifar10-resnet32",), "data_dir is None"),
    ],
)
def test_what_to_run_must_be_said(arguments, says, tmp_path):
    with pytest.raises(TopographError, match=says):
        pwmpr.run(*arguments, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"growth": 0.3}, "did you mean 'growth_ratio'"),
        ({"method": "pwpmr"}, 'did you mean method="pwmpr"'),
        ({"lr": "fast"}, "a number"),
        ({"lr": -1}, "above 0"),
        ({"density": 1.5}, "density is 1.5"),
        ({"rough_epochs": "soon"}, "early-stop"),
        ({"drops": [0.5, 2]}, "drops"),
        ({"optimizer": "adam"}, 'did you mean optimizer="adamw"'),
        ({"iterations": 5, "epochs": 5}, "one of them"),
        ({"validation": 1.0}, r"fraction in \[0, 1\)"),
        ({"validation": 0}, "validation"),
        ({"method": "static"}, "density is None"),
        ({"start_density": 0.5, "density": 0.2}, "growth removes nothing"),
        ({"model": "mlp-10-10"}, "cannot take a sample of shape"),
        ({"model": "mlp-64-5"}, "5 outputs for 10 classes"),
        ({"model": "vgg"}, "expected one of"),
        ({"nesterov": True, "momentum": 0.0}, "SGD with momentum"),
        ({"train": [], "epochs": 1}, "empty"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_left_behind(settings, says, tmp_path):
    with pytest.raises(TopographError, match=says):
        pwmpr.run("digits", out=tmp_path / "r", **{"start": "random"} | settings)
    assert not (tmp_path / "r").exists()


def test_an_own_model_needs_a_length_of_training(tmp_path):
    with pytest.raises(TopographError, match="epochs=30"):
        pwmpr.run(model=nn.Linear(3, 2), train=[(torch.ones(3), 0)] * 8, out=tmp_path / "r")


# settings and recipes


def test_the_papers_settings_are_the_recipes():
    settings = recipe_settings("cifar10-resnet32")
    expected = {
        "model": "resnet32", "iterations": 30_000, "batch": 128, "optimizer": "sgd", "lr": 0.1,
        "momentum": 0.9, "weight_decay": 1e-4, "start": "phew", "start_density": 0.05,
        "growth_ratio": 0.25, "rough_epochs": 10, "validation": 0.1, "augment": "crop-flip",
    }  # fmt: skip
    assert {name: getattr(settings, name) for name in expected} == expected


def test_every_recipe_has_a_line_and_settings_that_survive_json():
    for name, line in pwmpr.recipes().items():
        settings = recipe_settings(name)
        assert line
        assert Settings.from_dict(settings.to_dict()) == settings


def test_the_digest_names_what_decides_the_result():
    settings = recipe_settings("digits")
    assert settings.with_changes(threads=2, data_dir="x").digest() == settings.digest()
    digests = {settings.with_changes(seed=k).digest() for k in range(5)}
    assert len(digests) == 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 2


def test_epochs_replace_a_recipes_iterations():
    assert recipe_settings("cifar10-resnet32").with_changes(epochs=3).iterations is None
    assert recipe_settings("digits").with_changes(iterations=3).epochs is None


def test_fashion_mnist_and_cifar_recipes_run_on_the_real_files(data_root, tmp_path):
    for recipe, folder, iterations in (
        ("fashion-mnist-mlp", "fashion_mnist", 40),
        ("cifar10-resnet32", "cifar10", 1),
    ):
        model = {} if recipe.startswith("fashion") else {"model": "resnet8"}
        result = pwmpr.run(
            recipe, data_dir=data_root / folder, method="static", density=0.3, start="random",
            iterations=iterations, validation=0.01, out=tmp_path / recipe, **model,
        )  # fmt: skip
        assert result.summary["steps"] == iterations
        assert 0.05 < result.accuracy < 1
        assert ("JPEG" in repr(result)) == (folder == "cifar10")


# another version, a full disk, a damaged history


def stopped_run(folder: Path, monkeypatch: pytest.MonkeyPatch, saves: int = 2) -> None:
    from pwmpr.checkpoints import Checkpoints

    save, count = Checkpoints.save, [0]

    def save_and_die(self: Checkpoints, state: dict) -> None:
        save(self, state)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            pwmpr.run("digits", out=folder, density=0.08, **QUICK)


def test_a_run_that_goes_on_with_another_version_says_so(tmp_path, monkeypatch):
    import json

    whole = pwmpr.run("digits", out=tmp_path / "whole", density=0.08, **QUICK)
    stopped_run(tmp_path / "r", monkeypatch)
    path = tmp_path / "r" / "settings.json"
    described = json.loads(path.read_text())
    described["versions"]["torch"] = "2.10.0"
    path.write_text(json.dumps(described))
    with pytest.warns(UserWarning, match=r"begun with torch 2\.10\.0 \(now"):
        resumed = pwmpr.resume(tmp_path / "r")
    assert_same(resumed, whole)


@pytest.mark.parametrize("room", [200, 900, 4_000, 9_000])
def test_a_full_disk_ends_the_run_with_an_error_and_room_lets_it_go_on(tmp_path, room):
    """No file may grow past ``room`` bytes: rows, masks and checkpoints meet it in turn."""
    resource = pytest.importorskip("resource")
    whole = pwmpr.run("digits", out=tmp_path / "whole", density=0.08, **QUICK)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(TopographError, match=r"cannot be written"):
            pwmpr.run("digits", out=tmp_path / "r", density=0.08, **QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if (tmp_path / "r" / "settings.json").exists():
        assert_same(pwmpr.resume(tmp_path / "r"), whole)
    else:  # nothing had been trained, and nothing was left behind
        assert not (tmp_path / "r").exists()


def test_a_history_that_cannot_grow_is_a_stated_error_and_resume_goes_on(tmp_path, monkeypatch):
    import errno

    from pwmpr.folder import RunFolder

    class Full:
        def write(self, content: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None: ...

    whole = pwmpr.run("digits", out=tmp_path / "whole", density=0.08, **QUICK)
    add, rows = RunFolder.add_history, [0]

    def third_fails(folder: RunFolder, row: dict) -> None:
        rows[0] += 1
        if rows[0] == 3:
            folder._metrics.close()
            folder._metrics = Full()
        add(folder, row)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_history", third_fails)
        with pytest.raises(TopographError, match=r"metrics\.jsonl cannot be written.*No space"):
            pwmpr.run("digits", out=tmp_path / "r", density=0.08, **QUICK)
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


def test_a_damaged_history_is_never_a_shorter_one(tmp_path):
    result = pwmpr.run("digits", out=tmp_path / "r", density=0.08, **QUICK)
    path = result.folder / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    # As a run of format 1 is left: without hashes.
    (result.folder / "SHA256SUMS").unlink()
    settings = result.folder / "settings.json"
    settings.write_text(settings.read_text().replace('"format": 2', '"format": 1'))
    path.write_bytes(b"\n".join(lines)[:-1])
    with pytest.raises(TopographError, match=r"has \d+ whole lines; expected"):
        pwmpr.load(result.folder)
    lines[1] = lines[1][:20]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(TopographError, match=r"line 2 of .*metrics\.jsonl cannot be read"):
        pwmpr.load(result.folder)
