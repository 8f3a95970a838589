"""Files made to do harm: nothing runs, nothing is taken, and the error says what to do."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.topograph import hostile
from topograph.cli import main
from topograph.errors import TopographError
from topograph.inspection.files import kind_of_file, read_file
from topograph.inspection.readers import pickles
from topograph.inspection.readers.limits import LIMIT_VARIABLE, max_bytes
from topograph.inspection.readers.names import table
from topograph.inspection.readers.opcodes import (
    DEPTH_LIMIT,
    OPCODE_LIMIT,
    Machine,
    PickleError,
    check_tree,
)
from topograph.inspection.readers.safetensors import read_safetensors
from topograph.inspection.readers.tensors import Builder
from topograph.inspection.wrappings import unwrap

NAMES = sorted(hostile.hostile_files(Path("canary")))

#: More memory than this is not taken for any of them; the largest has 30 KB.
_GROWTH = 300 * 2**20


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every file, and whether the canary was touched."""
    root = tmp_path_factory.mktemp("hostile")
    folder, canary, output = root / "files", root / "canary", root / "outcomes.json"
    folder.mkdir()
    files = hostile.hostile_files(canary)
    for number, name in enumerate(NAMES):
        (folder / f"{number:03}").write_bytes(files[name])
    (root / "honest.pt").write_bytes(hostile.honest())
    done = subprocess.run(
        [sys.executable, "-m", "tests.topograph.hostile_reader", folder, output],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), LIMIT_VARIABLE: str(2**28)},
    )
    last = done.stdout.split()[-1:]
    assert done.returncode == 0, (
        f"ended with {done.returncode} at {[NAMES[int(n)] for n in last]}: {done.stderr[-2000:]}"
    )
    found = json.loads(output.read_text())
    return {"touched": canary.exists()} | {NAMES[int(key)]: value for key, value in found.items()}


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) >= 200


@pytest.mark.parametrize("name", NAMES)
def test_it_is_refused(outcomes: dict[str, Any], name: str) -> None:
    found = outcomes[name]
    assert found["kind"] == "refused", found
    assert "Remedy: " in found["text"]
    assert found["text"].isprintable()
    assert len(found["text"]) < 1500
    assert found["grown"] < _GROWTH


def test_nothing_ran(outcomes: dict[str, Any]) -> None:
    assert not outcomes["touched"]


@pytest.mark.parametrize("kind", ["zip", "old"])
@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("os.system", "os.system"),
        ("exec of Python 2", "builtins.exec"),
        ("stack global", "os.mkdir"),
        ("inst", "os.mkdir"),
        ("torch.hub", "torch.hub.load"),
        ("extension 4", "copyreg.extension 77777"),
        ("persistent id", "os.mkdir"),
        ("reconstructor", "copyreg._reconstructor, os.X, os._wrap_close"),
        ("name with odd letters", "os.mkdir\\u200b"),
    ],
)
def test_the_refusal_names_what_would_run(
    outcomes: dict[str, Any], kind: str, what: str, named: str
) -> None:
    text = outcomes[f"{kind}: {what}"]["text"]
    assert f"would run or build {named}" in text
    assert "torch.save(model.state_dict()" in text


@pytest.mark.parametrize("name", ["zip: exec", "zip: os.system", "old: eval"])
def test_these_files_do_run_where_they_are_trusted(tmp_path: Path, name: str) -> None:
    # So that the set is not harmless by mistake.
    canary, path = tmp_path / "canary", tmp_path / "a.pt"
    path.write_bytes(hostile.hostile_files(canary)[name])
    torch.load(path, weights_only=False)
    assert canary.exists()


class TestWhatIsNoFile:
    def refused(self, path: Path, words: str) -> None:
        with pytest.raises(TopographError, match=words):
            kind_of_file(path)
        for read in (read_file, pickles.read_old, pickles.read_zip, read_safetensors):
            with pytest.raises(TopographError, match=words):
                read(path)

    def test_a_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.pt")
        self.refused(tmp_path / "a.pt", "no regular file")

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random"])
    def test_a_device_behind_a_link(self, tmp_path: Path, device: str) -> None:
        (tmp_path / "a.pt").symlink_to(device)
        self.refused(tmp_path / "a.pt", "no regular file")

    def test_a_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("a.pt")
            self.refused(Path("a.pt"), "cannot be opened")

    def test_a_folder_a_link_to_nothing_and_to_itself(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "no regular file")
        (tmp_path / "nothing").symlink_to("gone")
        (tmp_path / "round").symlink_to("round")
        self.refused(tmp_path / "nothing", "cannot be opened")
        self.refused(tmp_path / "round", "cannot be opened")

    def test_a_link_to_a_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.pt").write_bytes(hostile.honest())
        (tmp_path / "b.pt").symlink_to("a.pt")
        assert read_file(tmp_path / "b.pt")["epoch"] == 3

    def test_a_file_that_changes_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.pt"
        path.write_bytes(hostile.honest())
        whole = pickles.check_memory

        def written(*arguments: Any) -> None:
            os.utime(path, (1, 1))
            whole(*arguments)

        monkeypatch.setattr(pickles, "check_memory", written)
        with pytest.raises(TopographError, match="changed while it was read"):
            read_file(path)


class TestLimits:
    def test_the_variable_sets_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.pt"
        torch.save({"w": torch.zeros(1).expand(1000, 1000)}, path)
        assert read_file(path)["w"].shape == (1000, 1000)
        monkeypatch.setenv(LIMIT_VARIABLE, "3999999")
        with pytest.raises(TopographError, match=r"4,000,000 bytes.*at most 3,999,999.*MAX_BYTES"):
            read_file(path)
        monkeypatch.setenv(LIMIT_VARIABLE, "4000000")
        assert read_file(path)["w"].shape == (1000, 1000)

    @pytest.mark.parametrize("value", ["", "much", "-1", "0", "1e9", "٣x"])
    def test_a_value_that_is_none(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(LIMIT_VARIABLE, value)
        with pytest.raises(TopographError, match=LIMIT_VARIABLE):
            max_bytes()

    def test_without_it_most_of_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        assert 0 < max_bytes() <= there

    def test_a_file_with_holes_takes_no_time(self, tmp_path: Path) -> None:
        with (tmp_path / "a.pt").open("wb") as stream:
            stream.write(b"\x80\x02")
            stream.truncate(2**43)
        with pytest.raises(TopographError, match=r"8,192\.0 GiB; expected at most"):
            read_file(tmp_path / "a.pt")

    def test_a_sparse_tensor_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(LIMIT_VARIABLE, str(2**30))
        big = torch.sparse_coo_tensor(
            torch.zeros(2, 1, dtype=torch.long), [1.0], (2**20, 2**20), check_invariants=True
        )
        with pytest.raises(TopographError, match="too large to be laid out"):
            unwrap({"w": big})

    def test_wrappings_without_end(self) -> None:
        held: dict[str, Any] = {"w": torch.ones(1)}
        round_and_round: dict[str, Any] = {"net": held}
        held["model"] = round_and_round
        with pytest.raises(TopographError, match="nested more than"):
            unwrap(round_and_round)


class TestTerminal:
    def test_one_line_and_no_control_characters(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wild = "\x1b]0;owned\x07\x1b[2J\r\nfc\u202e"
        path = tmp_path / "a.pt"
        path.write_bytes(
            hostile.zipped(
                hostile.program(hostile.text("os\n" + wild) + hostile.text("x" * 10_000) + b"\x93")
            )
        )
        assert main(["inspect", str(path), "--model", "torch.nn:Linear(3, 2)"]) == 1
        out, said = capsys.readouterr()
        assert out == ""
        assert said.count("\n") == 1
        assert said[:-1].isprintable()
        assert "Traceback" not in said
        assert len(said) < 2000

    def test_names_in_errors_are_spelt_out(self) -> None:
        error = TopographError("a\x1b[2Jb\u202ec\ud800", "d\x07")
        assert str(error) == "a\\x1b[2Jb\\u202ec\\ud800. Remedy: d\\x07."
        assert len(str(TopographError("x" * 10**6))) < 5000


def same(one: Any, two: Any) -> bool:
    """Whether two things that were read are the same, tensors by value and type."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        two = (two.dequantize() if two.is_quantized else two).detach()
        if one.layout != torch.strided:
            one, two = one.to_dense(), two.to_dense()
        return one.dtype == two.dtype and torch.equal(
            one, two.detach().resolve_conj().resolve_neg()
        )
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, argparse.Namespace):
        return same(vars(one), vars(two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


KINDS = ("state dict", "training", "types", "parameters", "views", "bits", "sparse", "quantised")


def held_by_checkpoints() -> dict[str, Any]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    base = torch.arange(24.0)
    types = [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16]
    types += [torch.int64, torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fn]
    types += [torch.uint16, torch.uint32, torch.uint64]
    scales = torch.tensor([0.5, 0.25])
    return {
        "state dict": net.state_dict(),
        "training": {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": 3,
            "best": np.float64(0.5),
            "history": [{"loss": 0.1, "step": 10**12}, {"loss": float("inf"), "done": True}],
            "name": "a – b",
            "nothing": None,
            "kinds": Counter("aab"),
            "shape": torch.Size([1, 2]),
            "seen": {1, 2},
            "ordered": OrderedDict(b=1, a=(2.5, -1)),
            "raw": b"\x00\xff",
            "complex": 1 + 2j,
        },
        "types": {str(t): torch.tensor([1, 0, 1]).to(t) for t in types},
        "parameters": {"w": nn.Parameter(base), "b": nn.Parameter(base[:2], requires_grad=False)},
        "views": {
            "whole": base,
            "row": base[3:9],
            "turned": base.view(4, 6).T,
            "steps": base[::5],
            "expanded": base[:1].expand(7, 3),
            "none": base[:0],
            "scalar": base[4],
            "permuted": base.view(2, 3, 4).permute(2, 0, 1),
        },
        "bits": {
            "conj": torch.tensor([1 + 2j, 3j]).conj(),
            "neg": torch.tensor([1 + 2j, 3j]).conj().imag,
        },
        "sparse": {
            "coo": torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse(),
            "csr": torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse_csr(),
            "csc": torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse_csc(),
            "bsr": torch.eye(4).to_sparse_bsr((2, 2)),
        },
        "quantised": {
            "tensor": torch.quantize_per_tensor(base, 0.1, 3, torch.quint8),
            "signed": torch.quantize_per_tensor(base, 0.1, 0, torch.qint8),
            "channels": torch.quantize_per_channel(
                base.view(2, 12), scales, torch.tensor([0, 3]), 0, torch.qint8
            ),
        },
    }


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantize", "ignore:.*TypedStorage")
@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("what", KINDS)
def test_honest_files_are_read_as_torch_reads_them(tmp_path: Path, what: str, new: bool) -> None:
    path = tmp_path / "a.pt"
    held = held_by_checkpoints()[what]
    torch.save(held, path, _use_new_zipfile_serialization=new)
    read = read_file(path)
    assert same(read, held)
    if what == "types" and not new:
        return  # torch does not read its own old files of the newer types
    scalar = np.float64(0).__reduce__()[0]
    numbers = [np.dtype, type(np.dtype("float64")), (scalar, "numpy._core.multiarray.scalar")]
    with torch.serialization.safe_globals(numbers):
        assert same(read, torch.load(path, weights_only=True))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    held = {
        "w": torch.arange(3.0),
        "args": argparse.Namespace(lr=0.1, out=PurePosixPath("/tmp/a")),
        "array": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">i4"),
        "number": np.float32(2.5),
        "flag": np.bool_(True),
        "sets": ({1, "a"}, frozenset({2})),
        "bytes": b"\x00abc",
        "counts": defaultdict(list, a=[1]),
    }
    if protocol == 5:  # whose arrays may be buffers outside the pickle
        held = {key: value for key, value in held.items() if not isinstance(value, np.ndarray)}
    for new in (True, False):
        path = tmp_path / "a.pt"
        torch.save(held, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        read = read_file(path)
        assert same(read, held)
        assert "out" in vars(read["args"])


def test_tensors_that_share_a_storage_share_it_still(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    for new in (True, False):
        torch.save(
            {"a": base, "b": base[2:]}, tmp_path / "a.pt", _use_new_zipfile_serialization=new
        )
        read = read_file(tmp_path / "a.pt")
        read["a"][2] = 7.0
        assert read["b"][0] == 7.0
        # The file itself is never written to.
        assert read_file(tmp_path / "a.pt")["a"][2] == 2.0


def test_strings_of_python_2_are_text(tmp_path: Path) -> None:
    held = io.BytesIO()
    torch.save({"w": torch.ones(2)}, held, _use_new_zipfile_serialization=False)
    text = hostile.text("w")
    assert text in held.getvalue()
    (tmp_path / "a.pt").write_bytes(held.getvalue().replace(text, b"U\x01w"))
    assert list(read_file(tmp_path / "a.pt")) == ["w"]


def test_files_of_the_other_byte_order(tmp_path: Path) -> None:
    body = hostile.program(hostile.mapping(w=hostile.tensor(hostile.storage("0", 2), (2,), (1,))))
    parts = {
        "a/data.pkl": body,
        "a/byteorder": b"big",
        "a/data/0": np.array([1, 2], ">f4").tobytes(),
    }
    (tmp_path / "a.pt").write_bytes(hostile.archive(parts))
    assert read_file(tmp_path / "a.pt")["w"].tolist() == [1, 2]


def test_a_compressed_archive_is_read(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(1000.0)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as stored,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert torch.equal(read_file(tmp_path / "b.pt")["w"], torch.arange(1000.0))


def test_a_whole_module_names_its_classes(tmp_path: Path) -> None:
    for new in (True, False):
        torch.save(nn.Linear(2, 2), tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(TopographError, match=r"torch\.nn\.modules\.linear\.Linear"):
            read_file(tmp_path / "a.pt")


KEYS = st.one_of(st.text(), st.binary(), st.integers(-(2**50), 2**50), st.booleans(), st.none())
PLAIN = st.recursive(
    st.one_of(KEYS, st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(KEYS, inner),
        st.tuples(inner, inner),
        st.sets(KEYS),
        st.frozensets(KEYS),
        st.builds(bytearray, st.binary()),
        st.builds(OrderedDict, st.dictionaries(KEYS, inner)),
        st.builds(lambda value: [value, value], inner),
    ),
    max_leaves=20,
)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=150, deadline=None)
def test_plain_values_are_what_python_pickled(value: Any, protocol: int) -> None:
    builder = Builder()
    stream = io.BytesIO(pickle.dumps(value, protocol) + b"rest")
    machine = Machine(stream, table(builder), builder.storage, spare=1 << 20)
    assert machine.run() == value
    assert machine.unknown == set()
    assert stream.read() == b"rest"


@given(st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=30))
def test_trees_within_the_limits_pass(tree: Any) -> None:
    check_tree(tree)
    for held in (tree, {"model": tree, "again": tree}):
        check_tree([held, held])


def test_depth_and_unfolded_size_are_bounded_where_the_limits_say() -> None:
    deep: Any = []
    for _ in range(DEPTH_LIMIT - 1):
        deep = [deep]
    check_tree(deep)
    with pytest.raises(PickleError, match="deep"):
        check_tree([deep])
    wide: Any = [None] * (OPCODE_LIMIT // 2 - 1)
    check_tree([wide, wide])
    with pytest.raises(PickleError, match="unfold"):
        check_tree([wide, wide, wide])


@pytest.mark.parametrize("count", [100])
def test_mutations_find_nothing(count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.replay", str(count)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
