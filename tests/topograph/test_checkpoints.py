"""Checkpoints: read without running anything, found in every wrapping, matched to models."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from topograph.errors import TopographError
from topograph.inspection.builders import build_model
from topograph.inspection.examples import guess_example
from topograph.inspection.files import kind_of_file, read_file
from topograph.inspection.matching import holding, match
from topograph.inspection.wrappings import Weights, unwrap


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


class Touch:
    """A pickle that creates a file when it is unpickled in full."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class TestFiles:
    @pytest.mark.parametrize("new", [True, False], ids=["zip", "old pickle"])
    @pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".jpg"])
    def test_torch_files_are_told_by_content(self, tmp_path: Path, new: bool, suffix: str) -> None:
        path = tmp_path / f"weights{suffix}"
        state = net().state_dict()
        torch.save(state, path, _use_new_zipfile_serialization=new)
        assert kind_of_file(path) == ("zip" if new else "pickle")
        assert same(read_file(path), dict(state))

    def test_safetensors_under_any_name(self, tmp_path: Path) -> None:
        state = net().state_dict()
        save_file(state, tmp_path / "model.pth")
        assert kind_of_file(tmp_path / "model.pth") == "safetensors"
        assert same(read_file(tmp_path / "model.pth"), dict(state))

    @pytest.mark.parametrize("new", [True, False])
    def test_plain_values_beside_the_weights_are_read(self, tmp_path: Path, new: bool) -> None:
        held = {
            "state_dict": net().state_dict(),
            "args": argparse.Namespace(lr=0.1, out=pathlib.PosixPath("/tmp")),
            "best": np.float64(0.5),
            "epoch": 3,
        }
        torch.save(held, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        read = read_file(tmp_path / "a.pt")
        assert read["args"].lr == 0.1
        assert read["best"] == 0.5

    @pytest.mark.parametrize("new", [True, False], ids=["zip", "old pickle"])
    def test_code_in_a_pickle_does_not_run(self, tmp_path: Path, new: bool) -> None:
        mark, path = tmp_path / "was-run", tmp_path / "a.pt"
        held = {"state_dict": net().state_dict(), "extra": Touch(mark)}
        torch.save(held, path, _use_new_zipfile_serialization=new)
        with pytest.raises(TopographError, match=r"posix\.mkdir.*state_dict\(\)"):
            read_file(path)
        assert not mark.exists()

    @pytest.mark.parametrize("new", [True, False], ids=["zip", "old pickle"])
    def test_a_whole_module_is_refused_by_name(self, tmp_path: Path, new: bool) -> None:
        torch.save(net(), tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(TopographError, match=r"torch\.nn\.modules.*nothing in a file is exec"):
            read_file(tmp_path / "a.pt")

    def test_a_plain_pickle_does_not_run(self, tmp_path: Path) -> None:
        mark, path = tmp_path / "was-run", tmp_path / "a.pkl"
        path.write_bytes(pickle.dumps(Touch(mark)))
        with pytest.raises(TopographError):
            read_file(path)
        assert not mark.exists()

    def test_an_exported_program_needs_trust(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pt2"
        example = torch.zeros(2, 3)
        model = nn.Linear(3, 2).eval()
        torch.export.save(torch.export.export(model, (example,)), path)
        with pytest.raises(TopographError, match="trust=True"):
            read_file(path)
        assert torch.equal(read_file(path, trust=True)(example), model(example))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "empty"),
            (b"<html>404</html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"GGUF" + bytes(60), "GGUF"),
            (b"hello, this is a text file", "expected a PyTorch checkpoint"),
            (b"PK\x03\x04" + bytes(40), "damaged or incomplete zip"),
            (b"\x80\x02" + bytes(40), "damaged"),
            (struct.pack("<Q", 10) + b"{" + bytes(20), "safetensors header"),
        ],
    )
    def test_other_files_are_named(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(TopographError, match=words):
            read_file(tmp_path / "a.pt")

    @pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors"])
    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
    def test_cut_files_are_refused(self, tmp_path: Path, kind: str, part: float) -> None:
        state, path = net().state_dict(), tmp_path / "a.pt"
        if kind == "safetensors":
            save_file(state, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
        whole = path.read_bytes()
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(TopographError):
            read_file(path)

    def test_sizes_are_checked_against_the_file(self, tmp_path: Path) -> None:
        # The old format allocates what the pickle claims before it reads.
        path = tmp_path / "a.pt"
        torch.save({"w": torch.zeros(300)}, path, _use_new_zipfile_serialization=False)
        forged = path.read_bytes().replace(
            b"M" + struct.pack("<H", 300), b"\x8a\x05" + (2**35).to_bytes(5, "little")
        )
        assert len(forged) > path.stat().st_size
        path.write_bytes(forged)
        with pytest.raises(TopographError, match=r"claims to hold|damaged"):
            read_file(path)
        header = {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
        with pytest.raises(TopographError, match="beyond its end"):
            read_file(path)

    def test_a_zip_bomb_is_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", pickle.dumps({}, 2))
            archive.writestr("a/data/0", bytes(10_000_000))
        with pytest.raises(TopographError, match="claims to unpack to 10,"):
            read_file(tmp_path / "a.pt")


class TestWrappings:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda s: s,
            lambda s: {"state_dict": s, "epoch": 1},
            lambda s: {"model": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
            lambda s: {"net": s, "acc": 91.2},
            lambda s: {"checkpoint": {"model_state_dict": s}},
            lambda s: {"ema": s, "step": torch.tensor(4)},
            lambda s: {"whatever": s, "note": "text"},
        ],
    )
    def test_the_state_dict_is_found(self, wrap: Any) -> None:
        state = dict(net().state_dict())
        assert same(dict(unwrap(wrap(state)).state), state)

    def test_masks_beside_the_weights(self) -> None:
        mask = torch.tensor([[True, False]])
        found = unwrap({"model": {"fc.weight": torch.ones(1, 2)}, "masks": {"fc.weight": mask}})
        assert torch.equal(found.masks["fc.weight"], mask)

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
    @pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
    def test_sparse_tensors_keep_their_stored_zeros(self, layout: torch.layout) -> None:
        dense = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
        sparse = dense.to_sparse(layout=layout)
        sparse.values()[1] = 0.0
        found = unwrap({"weight": sparse})
        assert found.state["weight"].tolist() == [[1, 0, 0], [0, 0, 3]]
        assert found.masks["weight"].tolist() == [[True, True, False], [False, False, True]]

    @pytest.mark.parametrize("held", [[1, 2], 3.0, {}, {"epoch": 3}, {"model": {}}])
    def test_nothing_there_is_said(self, held: Any) -> None:
        with pytest.raises(TopographError, match="state_dict"):
            unwrap(held)


class TestMatching:
    @pytest.mark.parametrize(
        "rename",
        [
            "{}",
            "module.{}",
            "_orig_mod.{}",
            "model.{}",
            "net.module.{}",
            "module.backbone.{}",
        ],
    )
    def test_prefixes_are_left_out_of_account(self, rename: str) -> None:
        model, other = net(), net()
        state = {rename.format(key): value for key, value in other.state_dict().items()}
        assert same(dict(match(model, Weights(state)).state), dict(other.state_dict()))

    def test_a_wrapped_model_takes_a_plain_state(self) -> None:
        model = nn.DataParallel(net())
        state = net().state_dict()
        matched = match(model, Weights(state)).state
        assert set(matched) == set(model.state_dict())

    def test_other_modules_of_a_training_class_are_left_out(self) -> None:
        state = {f"model.{key}": value for key, value in net().state_dict().items()}
        state["loss.weight"] = torch.ones(2)
        matched = match(net(), Weights(state))
        assert any("1 tensors outside" in note for note in matched.notes)

    def test_pruned_pairs_become_weight_and_mask(self) -> None:
        pruned = net()
        prune.random_unstructured(pruned[3], "weight", 0.5)
        matched = match(net(), Weights(dict(pruned.state_dict())))
        assert torch.equal(matched.masks["3.weight"], pruned[3].weight_mask.bool())
        assert torch.equal(matched.state["3.weight"], pruned[3].weight_orig)

    def test_half_precision_becomes_the_models_type(self) -> None:
        state = {key: value.half() for key, value in net().state_dict().items()}
        assert match(net(), Weights(state)).state["0.weight"].dtype == torch.float32

    def test_what_does_not_fit_is_listed(self) -> None:
        state = dict(net().state_dict())
        state["3.weight"] = torch.ones(5, 16)
        del state["0.bias"]
        state["head.weight"] = torch.ones(1)
        with pytest.raises(TopographError) as caught:
            match(net(), Weights(state))
        for words in ("1 missing: 0.bias", "1 unexpected: head.weight", "(5, 16) there, (2, 16)"):
            assert words in str(caught.value)

    def test_the_models_own_values_come_back(self) -> None:
        model = net()
        model[3].weight = nn.Parameter(model[3].weight.detach())
        before = {key: value.clone() for key, value in model.state_dict().items()}
        weight = model[0].weight
        state = match(model, Weights(dict(net().state_dict()))).state
        with contextlib.suppress(KeyError), holding(model, state):
            assert torch.equal(model[0].weight, state["0.weight"])
            assert model[0].weight is weight
            raise KeyError
        assert same(dict(model.state_dict()), before)

    def test_tied_weights_stay_tied(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        state = {key: value + 1 for key, value in model.state_dict().items()}
        with holding(model, state):
            assert model[0].weight is model[1].weight
            assert torch.equal(model[0].weight, state["1.weight"])


class TestModels:
    @pytest.mark.parametrize(
        "spec",
        [
            "torch.nn:Linear(3, 2)",
            "torch.nn:Linear(in_features=3, out_features=2)",
            lambda: nn.Linear(3, 2),
        ],
    )
    def test_names_and_callables(self, spec: Any) -> None:
        before = torch.random.get_rng_state()
        assert build_model(spec).weight.shape == (2, 3)
        assert torch.equal(before, torch.random.get_rng_state())

    def test_a_module_is_itself(self) -> None:
        model = net()
        assert build_model(model) is model

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ("resnet20", "with a colon"),
            ("no_such_package:net", "cannot be imported"),
            ("torch.nn:NoSuchNet", "has no NoSuchNet"),
            ("torch.nn:Linear", "failed"),
            ("torch.nn:Linear(open('x'))", "literals"),
            ("torch:zeros(3)", "expected a torch.nn.Module"),
            (3, "expected a module"),
        ],
    )
    def test_wrong_ones_are_named(self, spec: Any, words: str) -> None:
        with pytest.raises(TopographError, match=words):
            build_model(spec)


class TestExamples:
    @pytest.mark.parametrize(
        ("model", "shape"),
        [
            (nn.Linear(7, 2), (1, 7)),
            (nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (1, 12)),
            (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 2)), None),
            (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 2)), None),
            (nn.Sequential(nn.Conv2d(3, 4, 7, 2), nn.AdaptiveAvgPool2d(1)), (1, 3, 224, 224)),
            (nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1)), (1, 1, 28, 28)),
            (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), (1, 16)),
            (nn.LSTM(5, 3), (1, 8, 5)),
            (nn.Conv1d(2, 3, 5), (1, 2, 128)),
        ],
    )
    def test_a_fitting_input_is_guessed(self, model: nn.Module, shape: Any) -> None:
        model.train()
        example = guess_example(model)
        assert shape in (None, tuple(example.shape))
        model.eval()
        model(example)  # runs

    def test_layers_may_be_listed_in_another_order_than_they_run(self) -> None:
        class Late(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.blocks = nn.ModuleList(nn.Conv2d(8 * k, 8, 3) for k in range(1, 6))
                self.stem = nn.Conv2d(3, 8, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.blocks[0](self.stem(x))

        assert tuple(guess_example(Late()).shape) == (1, 3, 32, 32)

    def test_nothing_is_changed_by_guessing(self) -> None:
        model = net().train()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        guess_example(nn.Sequential(model[0], model[1]).train())
        assert same(dict(model.state_dict()), before)
        assert model.training

    def test_failure_says_how_to_go_on(self) -> None:
        with pytest.raises(TopographError, match="--input-size"):
            guess_example(nn.Bilinear(3, 4, 5))
