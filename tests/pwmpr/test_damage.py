"""Is damage to a run's files, memory, disk or machine said, and does the run survive it?"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

import pwmpr
import topograph as tg
from pwmpr import cli, sums
from pwmpr.training.interrupt import Interrupt
from topograph.errors import TopographError

SMALL = {
    "method": "random", "start": "random", "density": 0.06, "start_density": 0.05,
    "rough_epochs": 1, "epochs": 2, "threads": 1, "progress": False,
    "batch": 512, "model": "mlp-64-24-10", "precision": "fp32", "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pwmpr.RunResult:
    return pwmpr.run("digits", out=tmp_path_factory.mktemp("whole") / "r", **SMALL)


def assert_same(a: pwmpr.RunResult, b: pwmpr.RunResult) -> None:
    assert a.history.drop(columns="seconds").equals(b.history.drop(columns="seconds"))
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name
    assert [s.masks for s in a.snapshots] == [s.masks for s in b.snapshots]
    assert {**a.summary, "seconds": 0} == {**b.summary, "seconds": 0}


def acting_at(step: int, act: Callable[[], object]) -> Callable:
    """Return cross-entropy that does something before one of its calls under training."""
    calls = [0]

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] == step:
                act()
        return cross_entropy(output, target)

    return loss


# a finished run's files


def read_everything(folder: Path) -> None:
    result = pwmpr.load(folder)
    for snapshot in result.snapshots:
        assert snapshot.masks
        assert snapshot.weights


def test_every_file_of_a_finished_run_is_listed_as_sha256sum_lists_it(whole):
    listed = sums.read(whole.folder)
    there = {
        path.relative_to(whole.folder).as_posix()
        for path in whole.folder.rglob("*")
        if path.is_file() and path.parent.name != "checkpoints"
    }
    assert there - listed.keys() == {"SHA256SUMS", "lock"}
    assert all(sums.of_file(whole.folder / name) == digest for name, digest in listed.items())


FILES = [
    "settings.json", "metrics.jsonl", "snapshots.jsonl", "result.json", "model.safetensors",
    "masks/step-000.safetensors", "weights/step-000.safetensors", "SHA256SUMS",
]  # fmt: skip


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
@pytest.mark.parametrize("name", FILES)
def test_damage_to_any_file_of_a_finished_run_is_said(whole, name, damage):
    path = whole.folder / name
    content = path.read_bytes()
    # The last bytes of a safetensors file are weights or mask bits: any value of them is readable.
    flipped = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
    try:
        if damage == "gone":
            path.unlink()
        else:
            broken = {"flip": flipped, "cut": content[:-3], "empty": b""}
            path.write_bytes(broken[damage])
        if (name, damage) == ("result.json", "gone"):
            with pytest.raises(TopographError, match="is not finished"):
                read_everything(whole.folder)
        elif (name, damage) == ("weights/step-000.safetensors", "gone"):
            with pytest.raises(TopographError, match="has masks and no weights"):
                read_everything(whole.folder)
        else:
            said = r"not what the run wrote|cannot be read|does not list|damaged|settings\.json"
            with pytest.raises(TopographError, match=said):
                read_everything(whole.folder)
    finally:
        path.write_bytes(content)
    read_everything(whole.folder)


@pytest.mark.parametrize("name", ["model.safetensors", "snapshots.jsonl", "settings.json"])
def test_damage_is_said_by_inspect_resume_and_show(whole, name, capsys):
    path = whole.folder / name
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        with pytest.raises(TopographError, match="not what the run wrote"):
            tg.inspect(whole.folder)
        with pytest.raises(TopographError, match="not what the run wrote"):
            pwmpr.resume(whole.folder)
        if name != "model.safetensors":  # which show does not read
            assert cli.main(["show", str(whole.folder)]) == 1
            assert f"{name} is not what the run wrote" in capsys.readouterr().err
    finally:
        path.write_bytes(content)


# an unfinished run's files


def stopped(folder: Path, step: int = 9, **changes: object) -> None:
    """Leave a run that was told to end at a step."""
    with pytest.raises(SystemExit):
        pwmpr.run(
            "digits",
            out=folder,
            loss=acting_at(step, lambda: os.kill(os.getpid(), signal.SIGTERM)),
            **SMALL | changes,
        )


def test_a_torn_history_and_torn_snapshots_of_an_unfinished_run_are_written_anew(whole, tmp_path):
    stopped(tmp_path / "r")
    for name in ("metrics.jsonl", "snapshots.jsonl"):
        path = tmp_path / "r" / name
        path.write_bytes(path.read_bytes()[:-5])
    (tmp_path / "r" / "masks" / ".step-001.safetensors.1-ab.tmp").write_bytes(b"half")
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


def test_masks_that_change_on_the_disk_while_a_run_goes_on_are_said(tmp_path):
    folder = tmp_path / "r"
    stopped(folder)
    path = folder / "masks" / "step-000.safetensors"
    others = pwmpr.Masks.load(path)
    pwmpr.Masks({name: ~mask for name, mask in others.items()}).save(path)
    result = pwmpr.resume(folder, progress=False)
    with pytest.raises(TopographError, match="holds other masks than the run had"):
        _ = result.snapshots[0].masks
    assert result.snapshots[-1].masks == result.masks


def test_torn_settings_and_manifests_are_refused_by_name(tmp_path):
    stopped(tmp_path / "r")
    for name in ("settings.json", "checkpoints/manifest.json"):
        path = tmp_path / "r" / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(TopographError, match=f"{path.name} cannot be read"):
            pwmpr.resume(tmp_path / "r")
        path.write_bytes(content)


# a loss that is not finite


def test_a_signal_does_not_put_a_loss_that_is_not_finite_into_a_checkpoint(whole, tmp_path):
    calls = [0]

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value = cross_entropy(output, target)
        if torch.is_grad_enabled():
            calls[0] += 1
            if calls[0] == 9:
                os.kill(os.getpid(), signal.SIGTERM)
                return value * float("nan")
        return value

    with pytest.raises(TopographError, match="loss is nan"):
        pwmpr.run("digits", out=tmp_path / "r", loss=loss, **SMALL)
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


# memory


def too_much_at_once() -> None:
    torch.empty(2**52)


def too_much_in_python() -> None:
    bytearray(2**56)


@pytest.mark.parametrize("allocate", [too_much_at_once, too_much_in_python])
def test_memory_that_does_not_suffice_is_said_and_the_run_goes_on(whole, tmp_path, allocate):
    with pytest.raises(TopographError, match=r"memory does not suffice on cpu with batch=512"):
        pwmpr.run("digits", out=tmp_path / "r", loss=acting_at(9, allocate), **SMALL)
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


LIMITED = """
import resource, sys
import torch
import pwmpr
from pwmpr.training.trainer import Trainer
from pwmpr import cli

def limit(trainer, real=Trainer._asked_to_end):
    if trainer.progress.step == 8:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))
        trainer.held = [torch.zeros(2**18) for _ in range(10_000)]
    return real(trainer)

Trainer._asked_to_end = limit
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_may_take_no_more_memory_ends_with_status_1(whole, tmp_path):
    """Under RLIMIT_AS, through the command line."""
    flags = [f"--{name}={value}" for name, value in SMALL.items() if name != "progress"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "run", "digits", "--quiet", "--out", "r", *flags],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "memory does not suffice" in done.stderr
    assert "Traceback" not in done.stderr
    assert_same(pwmpr.resume(tmp_path / "r"), whole)


# the disk


@contextlib.contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """Mount a file system of a size, where one may (as root, on Linux)."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted; RLIMIT_FSIZE stands in, in test_running.py")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_really_full_disk_ends_the_run_and_room_lets_it_go_on(whole, tmp_path):
    with small_disk(tmp_path / "disk", 2**20):
        filler, folder = tmp_path / "disk" / "filler", tmp_path / "disk" / "r"

        def fill() -> None:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

        with pytest.raises(TopographError, match=r"cannot be written.*resume|cannot be written"):
            pwmpr.run("digits", out=folder, loss=acting_at(9, fill), **SMALL)
        with pytest.raises(TopographError, match="cannot be written"):
            pwmpr.resume(folder)
        filler.unlink()
        assert_same(pwmpr.resume(folder), whole)


def in_a_child(act: Callable[[], object], user: int | None) -> int:
    """Return the exit status of a forked process, under another user if one is given."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            if user is not None:
                os.setuid(user)
            act()
            code = 0
        except TopographError as error:
            code = 1 if "cannot be written (" in str(error) else 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_folder_that_may_not_be_written_any_more_ends_the_run_with_an_error(whole):
    """As root, which may write everywhere, the run is another user's."""
    user = 65534 if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory() as made:
        folder, checkpoints = Path(made, "r"), Path(made, "r", "checkpoints")
        if user is not None:
            os.chown(made, user, -1)

        def run() -> None:
            loss = acting_at(9, lambda: checkpoints.chmod(0o500))
            pwmpr.run("digits", out=folder, loss=loss, **SMALL)

        assert in_a_child(run, user) == 1
        checkpoints.chmod(0o700)
        assert_same(pwmpr.resume(folder), whole)


# signals and workers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_a_worker_does_not_inherit_the_handler(how, kind):
    interrupt = Interrupt()
    with interrupt.watching():
        if how == "forked":
            ready, tell = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(tell, b"x")
                while True:
                    signal.pause()
            os.read(ready, 1)
            os.close(ready)
            os.close(tell)
            os.kill(pid, kind)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            program = "import signal; print(flush=True); signal.pause()"
            with subprocess.Popen(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as worker:
                worker.stdout.readline()
                worker.send_signal(kind)
                status = worker.wait()
        assert status == -kind
        assert not interrupt.requested


# another machine


def test_a_run_keeps_its_number_of_threads_wherever_it_goes_on(tmp_path):
    two = SMALL | {"threads": 2}
    whole = pwmpr.run("digits", out=tmp_path / "whole", **two)
    stopped(tmp_path / "r", threads=2)
    assert torch.get_num_threads() == 1
    resumed = pwmpr.resume(tmp_path / "r")
    assert set(resumed.history["threads"]) == {2}
    assert_same(resumed, whole)


def change_settings(folder: Path, part: str, name: str, value: object) -> None:
    path = folder / "settings.json"
    described = json.loads(path.read_text())
    described[part][name] = value
    path.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("part", "name", "value", "says"),
    [
        ("machine", "name", "Other processor", r"begun on Other processor \(now .*other bits"),
        ("machine", "processes", 2, r"processes 2 \(now 1\).*other bits"),
        ("settings", "threads", 2, r"threads 1 \(now 2\).*other bits"),
        ("versions", "python", "3.0", r"begun with python 3\.0 \(now .*other bits"),
    ],
)
def test_going_on_elsewhere_says_what_follows(whole, tmp_path, part, name, value, says):
    stopped(tmp_path / "r")
    change_settings(tmp_path / "r", part, name, value)
    with pytest.warns(UserWarning, match=says):
        resumed = pwmpr.resume(tmp_path / "r")
    if part != "settings":  # it is the same machine all the same
        assert_same(resumed, whole)


def test_going_on_where_all_is_the_same_says_nothing(whole, tmp_path):
    stopped(tmp_path / "r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(pwmpr.resume(tmp_path / "r"), whole)


def test_a_run_whose_device_is_not_here_is_refused_and_stays(whole, tmp_path):
    stopped(tmp_path / "r")
    change_settings(tmp_path / "r", "settings", "device", "cuda:99")
    with pytest.raises(TopographError, match=r"begun on cuda:99.*not here.*such a device"):
        pwmpr.resume(tmp_path / "r")
    change_settings(tmp_path / "r", "settings", "device", "cpu")
    assert_same(pwmpr.resume(tmp_path / "r"), whole)
