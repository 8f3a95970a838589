"""Every way that training scripts wrap, prefix, prune and normalise weights; and what fits what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import topograph as tg
from topograph.errors import TopographError
from topograph.inspection.finding import find_subject
from topograph.inspection.matching import match, place_masks
from topograph.inspection.parametrised import assemble
from topograph.inspection.wrappings import Weights, unwrap


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def same(one: Any, two: Any) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


class TestWrapped:
    @pytest.mark.parametrize("new", [True, False], ids=["zip", "old pickle"])
    @pytest.mark.parametrize(
        ("wrap", "note"),
        [
            (lambda s: {"model": s, "ema": {k: v + 1 for k, v in s.items()}}, "'model' is taken"),
            (lambda s: {"ema": {k: v + 1 for k, v in s.items()}, "state_dict": s}, "not 'ema'"),
            (lambda s: {"model_ema": {"module": s}, "optimizer": {}}, "'model_ema' > 'module'"),
            (lambda s: {"student": s, "teacher": {k: v + 1 for k, v in s.items()}}, "'teacher'"),
            (
                lambda s: {
                    "state_dict": {f"model.{k}": v for k, v in s.items()},
                    "pytorch-lightning_version": "2.5.0",
                    "hyper_parameters": {"lr": 0.1},
                    "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4)}}}],
                },
                "written by Lightning 2.5.0",
            ),
        ],
    )
    def test_training_checkpoints(
        self, tmp_path: Path, wrap: Callable[[Any], Any], note: str, new: bool
    ) -> None:
        state = dict(net().state_dict())
        torch.save(wrap(state), tmp_path / "a.ckpt", _use_new_zipfile_serialization=new)
        found = find_subject(tmp_path / "a.ckpt", model=net())
        assert same(found.state, state)
        assert any(note in text for text in found.notes), found.notes

    def test_parts_side_by_side_keep_their_names(self) -> None:
        held = {"encoder": {"fc.weight": torch.ones(2, 3)}, "head": {"fc.weight": torch.ones(1, 2)}}
        assert sorted(unwrap(held).state) == ["encoder.fc.weight", "head.fc.weight"]

    @pytest.mark.parametrize(
        "layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr]
    )
    @pytest.mark.filterwarnings("ignore")
    def test_sparse_layouts_in_a_file(self, tmp_path: Path, layout: torch.layout) -> None:
        torch.manual_seed(0)
        dense = torch.rand(4, 6) * (torch.rand(4, 6) < 0.3)
        blocks = {"blocksize": (2, 2)} if layout == torch.sparse_bsr else {}
        torch.save({"w": dense.to_sparse(layout=layout, **blocks)}, tmp_path / "a.pt")
        report = tg.inspect(tmp_path / "a.pt")
        stored = (dense != 0).reshape(2, 2, 3, 2).any(dim=3).any(dim=1)  # blocks of 2 × 2
        kept = 4 * int(stored.sum()) if blocks else int((dense != 0).sum())
        assert report.summary["kept"] == kept

    @pytest.mark.parametrize(
        "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64]
    )
    def test_precisions(self, tmp_path: Path, dtype: torch.dtype) -> None:
        state = {name: value.to(dtype) for name, value in net().state_dict().items()}
        torch.save(state, tmp_path / "a.pt")
        found = find_subject(tmp_path / "a.pt", model=net())
        assert found.state["0.weight"].dtype == torch.float32
        assert torch.equal(found.state["0.weight"], state["0.weight"].float())
        assert tg.inspect({"w.weight": torch.eye(3).to(dtype)}).summary["kept"] == 3


class TestPrefixes:
    @pytest.mark.parametrize(
        "rename",
        [
            "module.module.{}",
            "_orig_mod.module.{}",
            "model._orig_mod.backbone.{}",
            "module.encoder.module.model.{}",
            "student.backbone.{}",
        ],
    )
    def test_any_nesting_and_repetition(self, rename: str) -> None:
        state = dict(net().state_dict())
        held = {rename.format(key): value for key, value in state.items()}
        held |= {"criterion.weight": torch.ones(2)}
        assert same(match(net(), Weights(held)).state, state)

    def test_the_model_may_be_the_one_with_a_prefix(self) -> None:
        class Task(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.backbone = net()

        state = dict(net().state_dict())
        found = match(Task(), Weights(state)).state
        assert same({k.removeprefix("backbone."): v for k, v in found.items()}, state)

    def test_the_first_names_may_be_missing(self) -> None:
        # The prefix is where most names agree, whatever the first ones are.
        state = {f"x.y.{key}": value for key, value in net().state_dict().items()}
        del state["x.y.1.running_mean"], state["x.y.1.running_var"]
        found = match(net(), Weights(state))
        assert "1.running_mean" not in found.state
        assert any("2 buffers: 1.running_mean" in note for note in found.notes)


def normed(old: bool) -> tuple[nn.Module, Tensor]:
    """A layer under weight norm whose length is not that of its direction; its weight."""
    layer = nn.Conv2d(3, 5, 2)
    if old:
        nn.utils.weight_norm(layer)
        length = layer.weight_g
    else:
        parametrizations.weight_norm(layer)
        length = layer.parametrizations.weight.original0
    with torch.no_grad():
        length.mul_(torch.rand_like(length) + 0.5)
        layer(torch.zeros(1, 3, 4, 4))
    return layer, layer.weight.detach().clone()


@pytest.mark.filterwarnings("ignore")
class TestParts:
    @pytest.mark.parametrize("old", [True, False])
    def test_weight_norm_on_either_side(self, old: bool) -> None:
        layer, weight = normed(old)
        found = match(nn.Conv2d(3, 5, 2), Weights(dict(layer.state_dict())))
        torch.testing.assert_close(found.state["weight"], weight)
        plain = {"weight": weight, "bias": layer.bias.detach()}
        other, _ = normed(old)
        other.load_state_dict(dict(match(other, Weights(plain)).state))
        other(torch.zeros(1, 3, 4, 4))
        torch.testing.assert_close(other.weight, weight)

    @pytest.mark.parametrize("old", [True, False])
    @pytest.mark.parametrize("make", [lambda: nn.Linear(4, 6), lambda: nn.Conv2d(3, 5, 2)])
    def test_spectral_norm(self, old: bool, make: Callable[[], nn.Module]) -> None:
        layer = (nn.utils.spectral_norm if old else parametrizations.spectral_norm)(make())
        example = torch.ones(1, 4) if isinstance(layer, nn.Linear) else torch.ones(1, 3, 4, 4)
        for _ in range(20):
            layer(example)
        layer.eval()(example)
        found = match(make(), Weights(dict(layer.state_dict())))
        torch.testing.assert_close(found.state["weight"], layer.weight.detach(), rtol=1e-4, atol=0)

    def test_a_masking_parametrisation(self) -> None:
        class Mask(nn.Module):
            def __init__(self, mask: Tensor) -> None:
                super().__init__()
                self.register_buffer("mask", mask)

            def forward(self, weight: Tensor) -> Tensor:
                return weight * self.mask

        layer, mask = nn.Linear(3, 2), torch.tensor([[1.0, 0, 1], [0, 0, 1]])
        original = layer.weight.detach().clone()
        parametrize.register_parametrization(layer, "weight", Mask(mask))
        found = match(nn.Linear(3, 2), Weights(dict(layer.state_dict())))
        assert torch.equal(found.state["weight"], original)
        assert torch.equal(found.masks["weight"], mask.bool())
        # And back: a plain file for the model that has the parametrisation.
        back = match(layer, Weights({"weight": original + 1, "bias": torch.zeros(2)})).state
        assert torch.equal(back["parametrizations.weight.original"], original + 1)

    @pytest.mark.parametrize(
        "name", ["conv1.mask", "conv1.weight_mask", "masks.conv1.weight", "mask.conv1"]
    )
    @pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
    def test_masks_as_tensors_of_their_own(self, name: str, dtype: torch.dtype) -> None:
        mask = torch.eye(3).to(dtype)
        held = {"conv1.weight": torch.ones(3, 3), name: mask}
        found = assemble(held)
        assert list(found.state) == ["conv1.weight"]
        assert torch.equal(found.masks["conv1.weight"], mask.bool())

    def test_what_is_no_mask_stays(self) -> None:
        held = {"a.weight": torch.ones(2, 2), "a.mask": torch.full((2, 2), 0.5)}
        assert set(assemble(held).state) == set(held)
        # Two halves of a gate are no length and direction.
        gate = {"a.weight_g": torch.ones(3, 2), "a.weight_v": torch.ones(3, 2)}
        assert set(assemble(gate).state) == set(gate)
        # A module's own buffer of that name is the module's.
        mask = {"a.weight": torch.ones(2, 2), "a.mask": torch.ones(2, 2)}
        assert set(assemble(mask, keep={"a.mask"}).state) == set(mask)

    def test_pruned_on_the_models_side(self) -> None:
        model = net()
        prune.random_unstructured(model[3], "weight", 0.5)
        state = {key: value + 1 for key, value in net().state_dict().items()}
        found = match(model, Weights(state))
        assert torch.equal(found.state["3.weight_orig"], state["3.weight"])
        assert "3.weight_mask" not in found.state  # the model's own stays
        report = tg.inspect(state, model=model, example_input=torch.zeros(1, 1, 4, 4))
        assert report.layers.set_index("layer").loc["3", "kept"] == 16

    @pytest.mark.parametrize(
        "key", ["conv.weight", "conv", "conv.mask", "module.conv.weight_mask", "model.conv"]
    )
    def test_masks_given_apart_go_by_any_of_their_names(self, key: str) -> None:
        mask = torch.ones(1, dtype=torch.bool)
        assert list(place_masks(["conv.weight", "conv.bias"], {key: mask})) == ["conv.weight"]

    def test_masks_from_a_file(self, tmp_path: Path) -> None:
        model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        masks = {"module.0": torch.eye(3, 4), "module.1": torch.eye(2, 3)}
        torch.save({"masks": masks, "step": 3}, tmp_path / "masks.pt")
        report = tg.inspect(model, masks=tmp_path / "masks.pt")
        assert report.layers["kept"].tolist() == [3, 2]


class TestFitting:
    def test_other_classes_are_said(self) -> None:
        state = dict(net().state_dict())
        state |= {"3.weight": torch.ones(100, 16), "3.bias": torch.ones(100)}
        with pytest.raises(TopographError, match=r"has 100 classes, the model 2 \(3\).*=100"):
            match(net(), Weights(state))

    def test_the_nearest_names_are_said(self) -> None:
        state = dict(net().state_dict())
        state["head.weight"] = state.pop("3.weight")
        with pytest.raises(TopographError, match=r"3\.weight \(nearest: head\.weight\)"):
            match(net(), Weights(state))

    def test_a_tied_weight_may_be_left_out(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed = nn.Embedding(5, 3)
                self.lm_head = nn.Linear(3, 5, bias=False)
                self.lm_head.weight = self.embed.weight

        value = torch.rand(5, 3)
        for name in ("embed.weight", "lm_head.weight"):
            found = match(Tied(), Weights({name: value})).state
            assert torch.equal(found["lm_head.weight"], value)
            assert torch.equal(found["embed.weight"], value)

    def test_buffers_may_be_left_out_and_weights_not(self) -> None:
        model = net()
        model.register_buffer("position_ids", torch.arange(4))
        model.register_buffer("table", torch.ones(3))
        state = dict(net().state_dict())
        del state["1.num_batches_tracked"]
        found = match(model, Weights(state))
        assert any("1 buffers: table" in note for note in found.notes)
        del state["1.bias"]
        with pytest.raises(TopographError, match=r"1 missing: 1\.bias"):
            match(model, Weights(state))

    def test_what_the_model_has_no_place_for_stands_in_the_coverage(self) -> None:
        state = {**net().state_dict(), "aux.weight": torch.ones(2, 3), "scale": torch.ones(3)}
        report = tg.inspect(state, model=net(), example_input=torch.zeros(1, 1, 4, 4))
        assert "1 weight that the model has no place for (aux.weight)" in report.coverage.notes[0]
        assert any("2 tensors: aux.weight, scale" in note for note in report.provenance["notes"])

    def test_quantised_weights_are_refused(self) -> None:
        state = dict(net().state_dict())
        state["3.weight"] = torch.ones(2, 16, dtype=torch.int8)
        with pytest.raises(TopographError, match=r"stored as torch\.int8, quantised"):
            match(net(), Weights(state))
