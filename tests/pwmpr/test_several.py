"""Do several processes train one network to the result of one, and notice when they cannot?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import pwmpr
from pwmpr.data.batches import ImageBatches, ItemBatches, dealt
from pwmpr.data.dataset import Split
from pwmpr.folder import RunFolder
from pwmpr.masks import Masks
from pwmpr.training.group import Group
from topograph.errors import TopographError

# The same first part of every program: data and model as a user's script would make them.
BEGIN = """
import sys, torch, pwmpr
from torch import nn
torch.manual_seed(3)
x = torch.randn(331, 12)   # 5 batches of 64 and one of 11, which two processes share unequally
y = (x[:, :4].sum(1) > 0).long() + 2 * (x[:, 4:8].sum(1) > 0).long()
net = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 4))
options = dict(train=(x[:300], y[:300]), validation=(x[300:], y[300:]), test=(x[300:], y[300:]),
               batch=64, lr=0.05, precision="fp32", threads=1)
"""


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "program.py"
    path.write_text(BEGIN + text)
    return path


def torchrun(path: Path, *arguments: object, processes: int = 2, **options) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", str(path), *map(str, arguments),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    environment["PYTHONFAULTHANDLER"] = "1"  # a process that aborts says where
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, **options,
    )  # fmt: skip


def finished(process: subprocess.Popen, seconds: int = 300) -> str:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, err[-12000:]
    return out


METHODS = """
for name, more in {
    "pwmpr": dict(start_density=0.1, density=0.2, rough_epochs=1, epochs=2),
    "gradient": dict(start_density=0.1, density=0.2, rough_epochs=1, epochs=2),
    "rigl": dict(density=0.2, epochs=4, update_every=4),
    "gse-grabo": dict(density=0.2, epochs=4, update_every=4),
    "snfs": dict(density=0.2, epochs=3),
    "imp-c": dict(density=0.7, epochs=2),
    "str": dict(epochs=2, weight_decay=1e-3, threshold=0.01),
}.items():
    torch.manual_seed(1)
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    result = pwmpr.run(model=net, method=name, out=f"{sys.argv[1]}/{name}", **options, **more)
"""


def test_two_processes_come_to_the_result_of_one(tmp_path):
    path = program(tmp_path, METHODS)
    finished(torchrun(path, tmp_path / "two"))
    subprocess.run(
        [sys.executable, path, tmp_path / "one"], check=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    for one in sorted((tmp_path / "one").iterdir()):
        pair = [
            pwmpr.RunResult.load(folder, weights=False)
            for folder in (one, tmp_path / "two" / one.name)
        ]
        histories = [result.history for result in pair]
        for column in ("phase", "cycle", "epoch", "step", "count", "flops", "lr"):
            assert histories[0][column].tolist() == histories[1][column].tolist(), (one, column)
        for column in ("train_loss", "val_loss"):
            torch.testing.assert_close(
                torch.tensor(histories[0][column]), torch.tensor(histories[1][column]),
                rtol=1e-4, atol=1e-5,
            )  # fmt: skip
        states = [RunFolder.open(result.folder).model_state() for result in pair]
        for name, value in states[0].items():
            torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=1e-5)
        assert pair[0].masks == pair[1].masks
        assert pair[0].cost == pair[1].cost
    described = RunFolder.open(tmp_path / "two" / "pwmpr").settings()
    assert described["machine"]["processes"] == 2


LONG = """
folder = sys.argv[1]
more = dict(method="rigl", density=0.2, epochs=60, update_every=7, update_end=1.0)
if len(sys.argv) > 2:
    data = {name: options[name] for name in ("train", "validation", "test")}
    pwmpr.resume(folder, model=net, **data)
else:
    pwmpr.run(model=net, out=folder, **options, **more)
"""


def children(parent: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def wait_for(path: Path, rows: int) -> None:
    end = time.time() + 90
    while not (path.exists() and path.read_text().count("\n") >= rows):
        assert time.time() < end, f"{path} never had {rows} rows"
        time.sleep(0.01)


@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_whose_process_is_ended_says_so_and_goes_on_to_the_same_bits(tmp_path, signalled):
    path = program(tmp_path, LONG)
    whole = torchrun(path, tmp_path / "whole")
    finished(whole)
    broken = torchrun(path, tmp_path / "broken")
    wait_for(tmp_path / "broken" / "metrics.jsonl", 8)
    if signalled == signal.SIGKILL:
        os.kill(children(broken.pid)[-1], signal.SIGKILL)
    else:
        broken.send_signal(signal.SIGTERM)
    _, err = broken.communicate(timeout=90)
    assert broken.returncode != 0
    assert not (tmp_path / "broken" / "result.json").exists()
    if signalled == signal.SIGKILL:
        assert "has lost another one" in err or "SIGTERM" in err, err[-3000:]
    finished(torchrun(path, tmp_path / "broken", "resume"))
    one, two = (RunFolder.open(tmp_path / name).model_state() for name in ("whole", "broken"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


DIFFERENT = """
from pwmpr.training.trainer import Trainer
if {what!r} == "weights":
    change = Trainer.change_masks
    def other(trainer, *args):
        if trainer.group.rank == 1:
            with torch.no_grad():
                net[0].weight.view(-1)[trainer.masks["0.weight"].view(-1).nonzero()[0]] += 1e-3
        change(trainer, *args)
    Trainer.change_masks = other
else:
    from pwmpr.training.group import Several
    agree = Several.agree
    def other(group, masks):
        made = agree(group, masks)
        return made if group.first else made.with_added({{"0.weight": (~made["0.weight"]).view(-1).nonzero()[:1, 0]}})
    Several.agree = other
pwmpr.run(model=net, method="rigl", density=0.2, epochs=4, update_every=3, out=sys.argv[1], **options)
"""  # noqa: E501


@pytest.mark.parametrize("what", ["weights", "masks"])
def test_processes_that_differ_stop(tmp_path, what):
    path = program(tmp_path, DIFFERENT.format(what=what))
    process = torchrun(path, tmp_path / "run")
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert f"the {what} of process 1 differ from those of process 0" in err


def test_the_command_runs_under_torchrun_and_one_process_speaks(tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "pwmpr", "run", "digits", "--method", "static", "--density", "0.1", "--epochs", "1",
        "--out", str(tmp_path / "run"), "--quiet",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("accuracy") == 1
    assert (tmp_path / "run" / "result.json").exists()


def test_a_folder_that_holds_a_run_is_refused_by_all_processes(tmp_path):
    path = program(
        tmp_path,
        'more = dict(method="static", density=0.2, epochs=1)\n'
        "pwmpr.run(model=net, out=sys.argv[1], **options, **more)\n",
    )
    finished(torchrun(path, tmp_path / "run"))
    again = torchrun(path, tmp_path / "run")
    _, err = again.communicate(timeout=90)
    assert again.returncode != 0
    assert "holds a finished run" in err


# without other processes


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_what_is_dealt_is_each_sample_once(size):
    for stop in (20, 21, 22, 26):
        dealt_to = [list(range(stop))[dealt(20, stop, (rank, size))] for rank in range(size)]
        shares = [part[: len(range(rank, stop - 20, size))] for rank, part in enumerate(dealt_to)]
        assert sorted(index for part in shares for index in part) == list(range(20, stop))
        assert all(part or stop == 20 for part in dealt_to)


@pytest.mark.parametrize("kind", ["items", "images"])
def test_shares_of_a_batch_are_its_samples_with_the_same_augmentation(kind):
    images = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(23)
    if kind == "images":
        mean = torch.zeros(3)
        batches = ImageBatches(Split(images, labels), mean, mean + 1, augment="crop-flip")
    else:
        batches = ItemBatches(list(zip(images, labels, strict=True)))
    whole = list(batches.epoch(1, 6))
    parts = [list(batches.epoch(1, 6, share=(rank, 2))) for rank in range(2)]
    for (x, y), (x0, y0), (x1, y1) in zip(whole, *parts, strict=True):
        assert torch.equal(y[0::2], y0)
        assert torch.equal(y[1::2], y1)
        assert torch.equal(x[0::2], x0)
        assert torch.equal(x[1::2], x1)


def test_one_process_by_itself_needs_no_others():
    group = Group()
    masks = Masks({"weight": torch.eye(2)})
    model = nn.Linear(2, 2)
    assert group.first
    assert group.wrap(model) is model
    assert group.agree(masks) is masks
    assert group.share(5) == 5
    group.check_same(masks, model)


def test_sparse_kernels_are_refused_in_several_processes(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(TopographError, match="kernels is 'sparse'"):
        pwmpr.run("digits", method="static", density=0.1, kernels="sparse", out=tmp_path / "run")
