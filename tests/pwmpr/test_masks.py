"""Masks count exactly, cannot be changed from outside, and survive the disk or are refused."""

import copy
import json
import pickle
from fractions import Fraction

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

from pwmpr.counts import exact_floor, kept_at
from pwmpr.masks import Masks
from topograph.errors import TopographError

shapes = npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)
bools = st.dictionaries(
    st.text(min_size=1, max_size=5), npst.arrays(np.bool_, shapes), min_size=1, max_size=4
).filter(lambda masks: any(mask.any() for mask in masks.values()))


def small():
    return Masks({"a": torch.eye(3), "b": torch.tensor([[True, False, True]])})


@given(bools)
def test_what_goes_in_comes_out_and_is_counted(given_masks):
    masks = Masks({name: torch.from_numpy(mask) for name, mask in given_masks.items()})
    assert list(masks) == list(given_masks)
    for name, mask in given_masks.items():
        assert masks[name].dtype == torch.bool
        assert np.array_equal(masks[name].numpy(), mask)
        assert masks.counts[name] == mask.sum()
        assert masks.densities[name] == mask.sum() / mask.size
        assert masks.shapes[name] == mask.shape
    assert masks.count == sum(mask.sum() for mask in given_masks.values())
    assert masks.size == sum(mask.size for mask in given_masks.values())
    assert masks.density == masks.count / masks.size
    assert kept_at(masks.density, masks.size) == masks.count


@given(bools, st.data())
def test_union_added_and_with_added_are_set_operations(given_masks, data):
    other = {n: data.draw(npst.arrays(np.bool_, m.shape)) for n, m in given_masks.items()}
    masks = Masks({n: torch.from_numpy(m) for n, m in given_masks.items()})
    union = masks.union(Masks({n: torch.from_numpy(other[n] | given_masks[n]) for n in other}))
    added = union.added(masks)
    for name, index in added.items():
        expected = np.flatnonzero(other[name] & ~given_masks[name])
        assert index.tolist() == expected.tolist()
    assert masks.with_added(added) == union
    assert masks.with_added(added).digest() == union.digest()


def test_nothing_outside_changes_a_mask():
    source = torch.eye(3, dtype=torch.bool)
    masks = Masks({"a": source})
    source[0, 1] = True
    masks["a"][0, 1] = True
    masks.counts["a"] = 9
    assert masks.count == 3
    assert masks["a"].equal(torch.eye(3, dtype=torch.bool))
    with pytest.raises(TopographError, match="immutable"):
        masks.size = 3
    with pytest.raises(TypeError):
        masks["a"] = source


def test_equality_ignores_order_and_sees_bits_names_and_shapes():
    masks = small()
    turned = Masks({"b": masks["b"], "a": masks["a"]})
    assert masks == turned
    assert masks.digest() == turned.digest()
    assert hash(masks) == hash(turned)
    assert len({masks, turned}) == 1
    for other in (
        Masks({"a": masks["a"]}),
        Masks({"a": masks["a"], "c": masks["b"]}),
        Masks({"a": masks["a"], "b": masks["b"].T}),
        Masks({"a": masks["a"], "b": torch.ones(1, 3)}),
    ):
        assert masks != other
        assert masks.digest() != other.digest()
    assert masks != {"a": masks["a"]}


def test_copies_and_pickles_are_equal():
    masks = small()
    for twin in (copy.deepcopy(masks), copy.copy(masks), pickle.loads(pickle.dumps(masks))):
        assert twin == masks
        assert twin.count == 5
    assert repr(masks) == "Masks(5 of 12 weights kept, density 0.4167, in 2 parameters)"


def test_masks_of_a_model():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight[1] = 0
    assert Masks.dense(model).density == 1
    assert Masks.from_model(model).counts == {"0.weight": 6, "1.weight": 3}
    assert Masks.from_model(model, ["0.weight"]).counts == {"0.weight": 6}
    masks = Masks({"0.weight": torch.eye(3)})
    before = model[0].weight.detach().clone()
    bias = model[0].bias.detach().clone()
    masks.apply_(model)
    assert torch.equal(model[0].weight, before * torch.eye(3))
    assert torch.equal(model[0].bias, bias)
    assert isinstance(model[0].weight, nn.Parameter)


def test_apply_clears_nan_and_works_on_channels_last():
    conv = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    mask = torch.rand(3, 2, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.4
    kept = conv.weight.detach().clone()[mask]
    with torch.no_grad():
        conv.weight[~mask] = float("nan")
    Masks({"weight": mask}).apply_(conv)
    assert torch.equal(conv.weight[mask], kept)
    assert (conv.weight[~mask] == 0).all()


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_a_density_that_was_a_ratio_gives_its_count_back(size, count):
    count = min(count, size)
    assert kept_at(count / size, size) == count


@given(st.integers(0, 1000), st.integers(0, 10**7))
def test_a_density_in_decimals_means_the_decimals(thousandths, size):
    assert kept_at(thousandths / 1000, size) == Fraction(thousandths, 1000) * size // 1
    assert exact_floor(1 + thousandths / 1000, size) == (1000 + thousandths) * size // 1000


@given(masks=bools)
def test_a_saved_file_is_read_back(masks, tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "masks.safetensors"
    original = Masks({name: torch.from_numpy(mask) for name, mask in masks.items()})
    original.save(path)
    loaded = Masks.load(path)
    assert loaded == original
    assert list(loaded) == list(original)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_saving_replaces_the_old_file_or_leaves_it(tmp_path):
    path = tmp_path / "m.safetensors"
    first, second = small(), Masks({"a": torch.ones(2)})
    first.save(path)
    second.save(path)
    assert Masks.load(path) == second
    with pytest.raises(TopographError, match="cannot be written"):
        first.save(tmp_path / "nowhere" / "m.safetensors")
    with pytest.raises(TopographError, match="cannot be written"):
        first.save(tmp_path)


def hostile_files(folder):
    good = folder / "good"
    small().save(good)
    content = good.read_bytes()
    header = int.from_bytes(content[:8], "little")
    meta = json.loads(content[8 : 8 + header])["__metadata__"]

    def saved(name, tensors, metadata):
        safetensors.torch.save_file(tensors, folder / name, metadata=metadata)
        return folder / name

    def written(name, data):
        (folder / name).write_bytes(data)
        return folder / name

    a, b = torch.zeros(2, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8)
    full = {"a": torch.full((2,), 255, dtype=torch.uint8), "b": b}
    lying = {**meta, "shapes": json.dumps({"a": [3, 300000], "b": [1, 3]})}
    negative = {**meta, "shapes": json.dumps({"a": [-3, -3], "b": [1, 3]})}
    return {
        "torn": written("torn", content[:-1]),
        "empty": written("empty", b""),
        "pickle": written("pickle", pickle.dumps({"a": 1})),
        "huge header": written("huge", (2**60).to_bytes(8, "little") + b"{}"),
        "foreign": saved("foreign", {"a": a}, None),
        "future": saved("future", {"a": a, "b": b}, {**meta, "version": "2"}),
        "no shapes": saved("bare", {"a": a}, {"format": meta["format"], "version": "1"}),
        "bad shapes": saved("bad", {"a": a, "b": b}, {**meta, "shapes": "[1"}),
        "other names": saved("names", {"a": a, "c": b}, meta),
        "lying size": saved("size", {"a": a, "b": b}, lying),
        "negative": saved("negative", {"a": a, "b": b}, negative),
        "wrong dtype": saved("dtype", {"a": a.float(), "b": b}, meta),
        "stray bits": saved("stray", full, meta),
        "nothing kept": saved("none", {"a": a, "b": b}, meta),
        "missing": folder / "missing",
        "folder": folder,
    }


def test_files_that_are_no_masks_are_refused(tmp_path):
    for path in hostile_files(tmp_path).values():
        with pytest.raises(TopographError, match="Remedy"):
            Masks.load(path)


MODEL = nn.Linear(3, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Masks({}), "masks is empty"),
        (lambda: Masks(torch.ones(2)), "expected a mapping"),
        (lambda: Masks({0: torch.ones(2)}), "mask name 0"),
        (lambda: Masks({"a": torch.zeros(2, 2)}), "empty mask: none of 4 weights"),
        (lambda: Masks({"a": torch.tensor([0.5, 1.0])}), "holds 0.5"),
        (lambda: Masks({"a": torch.tensor([float("nan")])}), "holds nan"),
        (lambda: Masks({"a": torch.ones(2).cfloat()}), "complex"),
        (lambda: Masks({"a": "1"}), "is a str"),
        (lambda: Masks({"bias.": torch.ones(3)}).apply_(MODEL), "nearest name is 'bias'"),
        (lambda: Masks({"weight": torch.ones(3)}).apply_(MODEL), "expected (3, 3)"),
        (lambda: Masks.dense(MODEL, ["wheel"]), "'wheel' is no parameter"),
        (lambda: small().added(Masks({"a": torch.eye(3)})), "same parameters"),
        (lambda: small().with_added({"c": torch.tensor([1])}), "'c' has no mask"),
        (lambda: small().with_added({"a": torch.tensor([9])}), "expected 0 to 8"),
        (lambda: small().with_added({"a": torch.tensor([1, 1])}), "repeat"),
        (lambda: small().with_added({"a": torch.tensor([0])}), "kept"),
        (lambda: kept_at(1.5, 10), "density is 1.5"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(TopographError, match="Remedy") as caught:
        call()
    assert words in str(caught.value)


def test_equal_masks_have_equal_files(tmp_path):
    masks = Masks({"a": torch.rand(5, 7) < 0.5, "b": torch.rand(3) < 0.5})
    files = set()
    for _ in range(20):
        masks.save(tmp_path / "m")
        files.add((tmp_path / "m").read_bytes())
    assert len(files) == 1
    assert Masks.load(tmp_path / "m") == masks
