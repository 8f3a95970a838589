"""Stored tensors are listed without being read, and read one at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from topograph.capturing.lazy import LazyTensors, open_weights
from topograph.errors import TopographError


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "a.weight": torch.randn(3, 4),
        "a.bias": torch.randn(3).half(),
        "b.weight": torch.randn(2, 3).bfloat16(),
    }


def sharded(folder: Path) -> dict[str, Tensor]:
    state = tensors()
    where = {name: f"model-{k}.safetensors" for k, name in enumerate(state)}
    for name, file in where.items():
        save_file({name: state[name]}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return state


def test_nothing_is_read_before_it_is_asked_for() -> None:
    read: list[str] = []
    state = tensors()

    def one(name: str) -> Tensor:
        read.append(name)
        return state[name]

    lazy = LazyTensors({k: (tuple(v.shape), v.dtype) for k, v in state.items()}, one)
    assert list(lazy) == list(state)
    assert "a.bias" in lazy
    assert "c" not in lazy
    assert lazy.shape("b.weight") == (2, 3)
    assert lazy.dtype("a.bias") == torch.float16
    assert read == []
    assert lazy["a.weight"] is state["a.weight"]
    assert lazy["a.weight"] is state["a.weight"]
    assert read == ["a.weight", "a.weight"]  # and not kept


def test_a_shape_that_was_not_listed_is_refused() -> None:
    lazy = LazyTensors({"w": ((2, 2), torch.float32)}, lambda name: torch.zeros(2, 3))
    with pytest.raises(TopographError, match=r"\(2, 3\); expected \(2, 2\)"):
        lazy["w"]


def test_renamed_tensors_are_the_same() -> None:
    state = tensors()
    lazy = LazyTensors({k: (tuple(v.shape), v.dtype) for k, v in state.items()}, state.__getitem__)
    other = lazy.renamed({"model.a.weight": "a.weight"})
    assert list(other) == ["model.a.weight"]
    assert other["model.a.weight"] is state["a.weight"]


@pytest.mark.parametrize("given", ["folder", "index", "file"])
def test_safetensors_are_opened_whole_and_sharded(tmp_path: Path, given: str) -> None:
    if given == "file":
        state = tensors()
        save_file(state, tmp_path / "model.safetensors")
        path = tmp_path / "model.safetensors"
    else:
        state = sharded(tmp_path)
        path = tmp_path / "model.safetensors.index.json" if given == "index" else tmp_path
    lazy = open_weights(path)
    assert set(lazy) == set(state)
    for name, value in state.items():
        assert lazy.shape(name) == tuple(value.shape)
        assert lazy.dtype(name) == value.dtype
        assert torch.equal(lazy[name], value)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopographError, match="no safetensors file at"):
        open_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(TopographError, match="no readable safetensors file"):
        open_weights(tmp_path)
    (tmp_path / "m.safetensors.index.json").write_text("[]")
    with pytest.raises(TopographError, match='expected a "weight_map"'):
        open_weights(tmp_path)


def test_an_index_leads_nowhere_but_to_its_own_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    save_file(tensors(), outside)
    inside = tmp_path / "folder"
    inside.mkdir()
    index = {"weight_map": {"a.weight": "../outside.safetensors"}}
    (inside / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TopographError, match="no safetensors file at"):
        open_weights(inside)
