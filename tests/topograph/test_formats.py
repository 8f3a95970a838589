"""Every container that weights come in, made for real and told by its content."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import topograph as tg
from tests.topograph.vision import declare_operators
from topograph.errors import TopographError
from topograph.inspection.files import kind_of_file, read_file
from topograph.inspection.finding import find_subject
from topograph.inspection.subject import Bare, Subject


def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def same(one: Any, two: Any) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def sharded(folder: Path, suffix: str, index: bool = True) -> dict[str, Tensor]:
    """Write a net in two shards; return its tensors."""
    state = dict(net().state_dict())
    names = sorted(state)
    parts = [names[:3], names[3:]]
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    files = [f"{stem}-{k:05d}-of-00002{suffix}" for k in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        tensors = {name: state[name] for name in part}
        if suffix == ".safetensors":
            save_file(tensors, folder / file)
        else:
            torch.save(tensors, folder / file)
    if index:
        weight_map = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return state


class TestKinds:
    @pytest.mark.parametrize("low", [2, 3, 4, 5])
    def test_a_safetensors_length_that_looks_like_a_pickle(self, tmp_path: Path, low: int) -> None:
        # A header of 0x0280, 0x0380, … bytes begins with the two bytes of a pickle.
        length = 0x80 + (low << 8)
        header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
        text = json.dumps(header).encode().ljust(length)
        path = tmp_path / "a.safetensors"
        path.write_bytes(struct.pack("<Q", length) + text + struct.pack("<2f", 1.0, 2.0))
        assert kind_of_file(path) == "safetensors"
        assert read_file(path)["w"].tolist() == [1.0, 2.0]

    def test_packed_and_foreign_files_say_what_to_do(self, tmp_path: Path) -> None:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("w.pt"))
        keras = io.BytesIO()
        with zipfile.ZipFile(keras, "w") as archive:
            archive.writestr("model.weights.h5", b"\x89HDF")
        cases = [
            (gzip.compress(b"x" * 100, mtime=0), "gzip archive.*gunzip"),
            (b"BZh91AY" + bytes(30), "bzip2"),
            (tar.getvalue(), "tar archive.*unpack"),
            (b"\x81\xa6params\x81\xa5Dense" + bytes(20), "msgpack file .Flax.*safetensors"),
            (b"\xde\x00\x12\xa6params" + bytes(20), "msgpack"),
            (b"\x1c\x00\x00\x00TFL3" + bytes(30), "TensorFlow Lite"),
            (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5.*convert"),
            (keras.getvalue(), "Keras model.*ONNX"),
            (b'{"weight_map": {}}', "JSON file"),
        ]
        for content, words in cases:
            path = tmp_path / "a.pt"
            path.write_bytes(content)
            with pytest.raises(TopographError, match=words):
                kind_of_file(path)

    def test_torchscript_is_refused_with_a_remedy(self, tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript itself is deprecated
            torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "a.pt")
        with pytest.raises(TopographError, match=r"TorchScript program.*m\.state_dict\(\)"):
            tg.inspect(tmp_path / "a.pt")


class TestNumpy:
    def test_npz_and_npy(self, tmp_path: Path) -> None:
        one, two = np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(4.0).reshape(2, 2))
        np.savez(tmp_path / "a.npz", **{"a.weight": one, "b.weight": two})
        np.savez_compressed(tmp_path / "b.npz", **{"a.weight": one, "b.weight": two})
        np.save(tmp_path / "a.npy", two)
        for name in ("a.npz", "b.npz"):
            held = read_file(tmp_path / name)
            assert held["a.weight"].tolist() == one.tolist()
            assert held["b.weight"].tolist() == two.tolist()
        assert read_file(tmp_path / "a.npy").tolist() == two.tolist()
        assert tg.inspect(tmp_path / "a.npy").summary["weights"] == 4

    def test_objects_and_lying_headers_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", w=np.array([{}], dtype=object))
        with pytest.raises(TopographError, match="Python objects"):
            read_file(tmp_path / "a.npz")
        np.save(tmp_path / "a.npy", np.zeros(5))
        forged = (tmp_path / "a.npy").read_bytes().replace(b"(5,), }   ", b"(5000,), }")
        (tmp_path / "a.npy").write_bytes(forged)
        with pytest.raises(TopographError, match="claims an array of 40,000 bytes"):
            read_file(tmp_path / "a.npy")

    @pytest.mark.parametrize("new", [True, False], ids=["zip", "old pickle"])
    def test_arrays_in_a_pickle(self, tmp_path: Path, new: bool) -> None:
        weight = np.arange(6, dtype=np.float32).reshape(2, 3)
        held = {"params": {"fc": {"weight": weight, "bias": np.asfortranarray(np.ones(2))}}}
        torch.save(held, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        subject = find_subject(tmp_path / "a.pt")
        assert isinstance(subject, Subject)  # one linear layer
        assert subject.state["fc.weight"].tolist() == weight.tolist()
        torch.save({"w": np.array([len], dtype=object)}, tmp_path / "b.pt")
        with pytest.raises(TopographError, match=r"builtins\.len|no numbers"):
            read_file(tmp_path / "b.pt")


class TestShards:
    @pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
    def test_the_folder_the_index_and_any_shard_are_the_whole(
        self, tmp_path: Path, suffix: str
    ) -> None:
        state = sharded(tmp_path, suffix)
        for path in (tmp_path, *tmp_path.iterdir()):
            subject = find_subject(path, model=net())
            assert same(subject.state, state)
            assert len(subject.provenance["shards"]) == 2

    def test_shards_without_an_index_go_by_their_numbers(self, tmp_path: Path) -> None:
        state = sharded(tmp_path, ".safetensors", index=False)
        found = find_subject(tmp_path / "model-00002-of-00002.safetensors", model=net())
        assert same(found.state, state)

    def test_a_missing_shard_is_named(self, tmp_path: Path) -> None:
        sharded(tmp_path, ".safetensors")
        (tmp_path / "model-00001-of-00002.safetensors").unlink()
        with pytest.raises(TopographError, match=r"00001-of-00002.* is not beside"):
            tg.inspect(tmp_path)

    @pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "..", ""])
    def test_an_index_leads_nowhere_else(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        save_file({"w": torch.ones(2, 2)}, tmp_path / "secret.safetensors")
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(TopographError, match="expected files beside it"):
            tg.inspect(folder)


class TestFolders:
    def test_the_one_file_with_weights_is_taken(self, tmp_path: Path) -> None:
        torch.save(net().state_dict(), tmp_path / "epoch_90.pth")
        torch.save({}, tmp_path / "optimizer.pt")
        (tmp_path / "README.md").write_text("a model")
        assert same(find_subject(tmp_path, model=net()).state, dict(net().state_dict()))

    def test_safetensors_go_before_pickles(self, tmp_path: Path) -> None:
        save_file(net().state_dict(), tmp_path / "model.safetensors")
        (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
        found = find_subject(tmp_path, model=net())
        assert any("pytorch_model.bin" in note for note in found.notes)

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["a.pt", "b.pt"], "several files with weights .a.pt, b.pt"),
            (["saved_model.pb"], "TensorFlow or Keras"),
            (["flax_model.msgpack"], "Flax"),
            (["notes.txt"], "without weights"),
        ],
    )
    def test_what_is_unclear_is_refused(self, tmp_path: Path, names: list[str], words: str) -> None:
        for name in names:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(TopographError, match=words):
            tg.inspect(tmp_path)


def transformers() -> Any:
    """The package, or skip where it is not installed or does not import."""
    declare_operators()
    try:
        library = importlib.import_module("transformers")
        library.BertModel  # noqa: B018
    except Exception as error:
        pytest.skip(f"transformers does not import here ({type(error).__name__})")
    return library


@pytest.mark.filterwarnings("ignore")
class TestTransformers:
    tokens = torch.zeros(1, 6, dtype=torch.long)

    def written(self, folder: Path, tied: bool = False, **options: Any) -> nn.Module:
        library = transformers()
        config = library.LlamaConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=24,
            vocab_size=40,
            tie_word_embeddings=tied,
            use_cache=False,
        )
        torch.manual_seed(0)
        model: nn.Module = library.LlamaForCausalLM(config).eval()
        model.save_pretrained(folder, **options)
        return model

    @pytest.mark.parametrize("tied", [False, True])
    def test_a_folder_is_its_own_network(
        self, tmp_path: Path, tied: bool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        model = self.written(tmp_path, tied)
        capfd.readouterr()
        found = find_subject(tmp_path)
        assert capfd.readouterr().err == ""
        assert isinstance(found, Subject)
        assert type(found.model) is type(model)
        assert same(dict(found.model.state_dict()), dict(model.state_dict()))
        report = tg.inspect(tmp_path, example_input=self.tokens)
        assert any("LlamaForCausalLM" in note for note in report.coverage.notes)
        expected = tg.inspect(model, example_input=self.tokens)
        assert report.summary["log10_paths"] == pytest.approx(expected.summary["log10_paths"])

    def test_shards_of_a_folder(self, tmp_path: Path) -> None:
        model = self.written(tmp_path, max_shard_size="4KB")
        shards = sorted(tmp_path.glob("model-*.safetensors"))
        assert len(shards) > 1
        for path in (tmp_path, shards[0], tmp_path / "model.safetensors.index.json"):
            found = find_subject(path)
            assert isinstance(found, Subject)
            assert same(dict(found.model.state_dict()), dict(model.state_dict()))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"auto_map": {"AutoModel": "modeling.Net"}}, "auto_map.*nothing in a folder"),
            ({"text_config": {"trust_remote_code": True}}, "trust_remote_code"),
            ({"architectures": ["Trainer"]}, "no model of the installed transformers"),
            ({"architectures": ["AutoModel"]}, "no model of the installed transformers"),
            ({"architectures": ["os.system"]}, "expected a class of transformers"),
            ({"num_hidden_layers": 10**9}, "1,000,000,000 layers"),
            ({"hidden_size": 2**20}, "describes [0-9,]+ parameters|cannot be built"),
            ({"quantization_config": {"bits": 4}}, "quantised"),
            ({"intermediate_size": 25}, "does not fit|cannot be loaded"),
            ({"num_hidden_layers": 2}, "weights are missing"),
        ],
    )
    def test_a_config_that_asks_for_more_is_refused(
        self, tmp_path: Path, change: dict[str, Any], words: str
    ) -> None:
        self.written(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(TopographError, match=words):
            tg.inspect(tmp_path)
        # The file by itself can be looked at all the same, and says why no more.
        report = tg.inspect(tmp_path / "model.safetensors")
        assert report.coverage.modelled == 0
        assert report.summary["weights"] > 0
        assert any("left out of account" in note for note in report.coverage.notes)

    def test_an_adapter_is_merged_into_the_model_that_is_given(self, tmp_path: Path) -> None:
        library = transformers()
        peft = pytest.importorskip("peft")
        model = self.written(tmp_path / "base")
        adapted = peft.get_peft_model(
            self.written(tmp_path / "base"),
            peft.LoraConfig(r=2, lora_alpha=3, target_modules=["down_proj", "up_proj"]),
        )
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_B" in name:
                    parameter.normal_()
        adapted.save_pretrained(tmp_path / "adapter")
        with pytest.raises(TopographError, match=r"holds an adapter.*merge"):
            tg.inspect(tmp_path / "adapter")
        found = find_subject(tmp_path / "adapter", model=model)
        merged = adapted.merge_and_unload().state_dict()
        assert len(found.state) == 2
        for name, value in found.state.items():
            torch.testing.assert_close(value, merged[name])
        before = library.LlamaForCausalLM.from_pretrained(tmp_path / "base")
        assert same(dict(model.state_dict()), dict(before.state_dict()))

    def test_another_adapter_is_refused(self, tmp_path: Path) -> None:
        save_file({"x.lora_A.weight": torch.ones(1, 2)}, tmp_path / "adapter_model.safetensors")
        (tmp_path / "adapter_config.json").write_text('{"peft_type": "IA3"}')
        with pytest.raises(TopographError, match="kind IA3; expected a plain LoRA"):
            tg.inspect(tmp_path, model=nn.Linear(2, 2))


class TestOnnx:
    def model(self) -> tuple[Any, dict[str, np.ndarray]]:
        onnx = pytest.importorskip("onnx")
        rng = np.random.default_rng(0)
        weights = {
            "first": rng.normal(size=(5, 8)).astype(np.float32),  # (in, out): MatMul
            "onnx::Gemm_7": rng.normal(size=(4, 8)).astype(np.float32),  # transB: (out, in)
            "kernel": rng.normal(size=(3, 2, 1, 1)).astype(np.float32),
        }
        make = onnx.helper.make_node
        nodes = [
            make("MatMul", ["x", "first"], ["h"], name="/fc1/MatMul"),
            make("Relu", ["h"], ["r"]),
            make("Gemm", ["r", "onnx::Gemm_7"], ["y"], name="/head/fc2/Gemm", transB=1),
            make("Conv", ["i", "kernel"], ["o"], name="/conv/Conv"),
        ]
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            nodes,
            "g",
            [info("x", 1, [1, 5]), info("i", 1, [1, 2, 4, 4])],
            [info("y", 1, [1, 4]), info("o", 1, [1, 3, 4, 4])],
            [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        return onnx.helper.make_model(graph), weights

    def test_weights_as_layers_have_them(self, tmp_path: Path) -> None:
        model, weights = self.model()
        path = tmp_path / "net.bin"
        path.write_bytes(model.SerializeToString())
        assert kind_of_file(path) == "onnx"
        held = read_file(path)
        np.testing.assert_array_equal(held["first"], weights["first"].T)
        np.testing.assert_array_equal(held["head.fc2.weight"], weights["onnx::Gemm_7"])
        np.testing.assert_array_equal(held["kernel"], weights["kernel"])
        report = tg.inspect(path)
        assert report.layers["shape"].tolist() == ["8×5", "4×8", "3×2×1×1"]
        assert "No graph is known" in str(report)

    def test_damaged_and_outside_weights_are_refused(self, tmp_path: Path) -> None:
        model, _ = self.model()
        path = tmp_path / "a.onnx"
        path.write_bytes(model.SerializeToString()[:-40])
        with pytest.raises(TopographError, match="damaged"):
            read_file(path)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(TopographError, match="in another file, which is not read"):
            read_file(path)


def test_a_file_of_weights_is_never_an_error(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3), "step": torch.tensor(1)}, tmp_path / "a.pt")
    found = find_subject(tmp_path / "a.pt")
    assert isinstance(found, Bare)
    report = tg.inspect(tmp_path / "a.pt")
    assert len(report.layers) == 0
    for suffix in (".html", ".json", ".csv", ".parquet"):
        assert report.save(tmp_path / f"r{suffix}").stat().st_size > 0
