"""Does a run's folder keep what was written, whatever happens to the process or the disk?"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pwmpr.files import replacing, write
from pwmpr.folder import RunFolder
from pwmpr.masks import Masks
from pwmpr.tensors import compress, expand, read_state, write_state
from topograph.errors import TopographError


@pytest.fixture
def folder(tmp_path) -> Iterator[RunFolder]:
    made = RunFolder.create(tmp_path / "run")
    made.write_settings({"settings": {"seed": 1}})
    yield made
    made.close()


# files


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    def fail_half_way() -> None:
        with replacing(path) as file:
            file.write(b"new, half of")
            raise ZeroDivisionError

    path = tmp_path / "file"
    write(path, b"old")
    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@contextlib.contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Let no file grow past a size, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_when_a_checkpoint_does_not_fit_the_last_one_stays_and_the_space_is_said(folder):
    folder.checkpoints.save({"number": 0})
    with no_room_beyond(50_000), pytest.raises(TopographError, match=r"cannot be written.*free"):
        folder.checkpoints.save({"number": 1, "weights": torch.zeros(100_000)})
    assert folder.checkpoints.load() == {"number": 0}
    assert not list(folder.path.rglob("*.tmp"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(TopographError, match="nowhere"):
        write(tmp_path / "nowhere" / "file", b"x")


# folder


def test_a_folder_holds_one_run(folder):
    with pytest.raises(TopographError, match="unfinished run"):
        RunFolder.create(folder.path)
    folder.write_result({"density": 1.0})
    with pytest.raises(TopographError, match="a finished run"):
        RunFolder.create(folder.path)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(TopographError, match=r"settings\.json"):
        RunFolder.open(tmp_path)
    with pytest.raises(TopographError, match="is no folder"):
        RunFolder.open(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(TopographError, match="cannot be made"):
        RunFolder.create(tmp_path / "file" / "run")


def test_an_unfinished_run_has_no_result(folder):
    assert not folder.finished
    with pytest.raises(TopographError, match="resume"):
        folder.result()


def test_history_is_on_the_disk_row_by_row_and_a_torn_line_is_left_out(folder):
    folder.add_history({"epoch": 1})
    folder.add_history({"epoch": 2})
    path = folder.path / "metrics.jsonl"
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2]
    with path.open("a") as file:
        file.write('{"epoch": 3, "den')
    assert RunFolder.open(folder.path).history() == [{"epoch": 1}, {"epoch": 2}]
    folder.set_history([{"epoch": 1}])
    folder.add_history({"epoch": 2})
    assert folder.history() == [{"epoch": 1}, {"epoch": 2}]


def test_a_second_process_cannot_write_the_same_run(folder):
    fcntl = pytest.importorskip("fcntl")
    held = (folder.path / "lock").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)  # locks belong to open files, so this stands for another
    with pytest.raises(TopographError, match="another process"):
        folder.lock()
    held.close()
    folder.lock()
    with pytest.raises(TopographError, match="another process"):
        RunFolder.open(folder.path).lock()
    folder.close()
    second = RunFolder.open(folder.path)
    second.lock()
    second.close()


@pytest.mark.parametrize("existed", [True, False])
def test_a_run_that_could_not_begin_leaves_no_trace(tmp_path, existed):
    path = tmp_path / "run"
    if existed:
        path.mkdir()
        (path / "mine.txt").write_text("kept")
    folder = RunFolder.create(path)
    folder.write_settings({})
    folder.add_history({"epoch": 1})
    folder.discard()
    left = sorted(file.name for file in path.rglob("*")) if path.exists() else None
    assert left == (["mine.txt"] if existed else None)


# checkpoints


def state(number: int) -> dict:
    return {"number": number, "weights": torch.arange(1000.0) + number, "nested": {"list": [1, 2]}}


def test_the_last_two_checkpoints_are_kept(folder):
    assert folder.checkpoints.load() is None
    for number in range(4):
        folder.checkpoints.save(state(number))
    files = sorted(path.name for path in (folder.path / "checkpoints").iterdir())
    assert files == ["000002.pt", "000003.pt", "manifest.json"]
    loaded = folder.checkpoints.load()
    assert loaded["number"] == 3
    assert torch.equal(loaded["weights"], state(3)["weights"])


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(folder, damage):
    folder.checkpoints.save(state(0))
    folder.checkpoints.save(state(1))
    path = folder.path / "checkpoints" / "000001.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        broken = {"flip": bytes(content), "truncate": bytes(content[:-9]), "empty": b""}
        path.write_bytes(broken[damage])
    with pytest.warns(UserWarning, match=r"000001\.pt is damaged"):
        assert folder.checkpoints.load()["number"] == 0


def test_when_no_checkpoint_is_whole_that_is_said(folder):
    folder.checkpoints.save(state(0))
    (folder.path / "checkpoints" / "000000.pt").write_bytes(b"x")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(TopographError, match="none of"):
        folder.checkpoints.load()


def test_a_checkpoint_that_would_run_code_is_not_loaded(folder, tmp_path):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "witness",)

    folder.checkpoints.save({"evil": Touch()})
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(TopographError, match="none of"):
        folder.checkpoints.load()
    assert not (tmp_path / "witness").exists()


def test_leftovers_of_killed_writers_are_removed(folder):
    folder.checkpoints.save(state(0))
    places = ["checkpoints/.000001.pt.123-abc.tmp", "masks/.step-000.safetensors.123-abc.tmp"]
    for place in [*places, ".result.json.123-abc.tmp"]:
        (folder.path / place).write_bytes(b"half")
    folder.lock()
    assert not list(folder.path.rglob("*.tmp"))
    assert folder.checkpoints.load() is not None


# weights


def test_weights_are_kept_as_their_kept_values(folder):
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5))
    masks = Masks({"0.weight": torch.rand(5, 6) < 0.3})
    masks.apply_(model)
    short = compress(model.state_dict(), masks)
    assert short["0.weight"].shape == (masks.count,)
    folder.write_weights(2, model.state_dict(), masks)
    whole = folder.weights(2, masks)
    assert whole.keys() == model.state_dict().keys()
    assert all(torch.equal(whole[name], value) for name, value in model.state_dict().items())
    assert expand(short, masks)["1.num_batches_tracked"].dtype == torch.int64
    with pytest.raises(TopographError, match="weight_snapshots"):
        folder.weights(3, masks)


def test_tied_and_channels_last_weights_are_written_whole(tmp_path):
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    write_state(tmp_path / "s", {"a": weight, "b": weight, "c": weight[1:]})
    read = read_state(tmp_path / "s")
    assert torch.equal(read["a"], weight)
    assert torch.equal(read["b"], weight)
    assert torch.equal(read["c"], weight[1:])
    (tmp_path / "s").write_bytes(b"x" * 20)
    with pytest.raises(TopographError, match="cannot be read"):
        read_state(tmp_path / "s")
