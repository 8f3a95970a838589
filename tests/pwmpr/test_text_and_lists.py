"""Are text windows, picture lists, tables of labels and strong augmentations what they say?"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

import pwmpr
from pwmpr.data import pictures, read_data, read_text
from pwmpr.data.batches import number_of_batches
from pwmpr.data.dataset import Split
from pwmpr.data.lists import PictureList, centred, random_part
from pwmpr.data.streaming import PictureBatches
from pwmpr.data.strong import AUGMENTATIONS, REPEATS, erase, mix
from pwmpr.data.text import as_text, python_source
from pwmpr.settings import Settings
from tests.topograph.vision import declare_operators
from topograph.errors import TopographError


def same(one, two):
    pairs = [(a, b) for p, q in zip(one, two, strict=True) for a, b in zip(p, q, strict=True)]
    return all(torch.equal(a, b) for a, b in pairs)


# Text


def test_windows_tile_the_text_and_targets_are_the_next_characters():
    text = as_text("t", "".join(chr(97 + i % 7) for i in range(500)), context=9)
    back = "".join(text.characters[i] for i in text.train.tokens.tolist())
    assert back == "".join(chr(97 + i % 7) for i in range(450))
    x = torch.cat([text.train[i][0] for i in range(len(text.train))])
    y = torch.cat([text.train[i][1] for i in range(len(text.train))])
    assert torch.equal(x[1:], y[:-1])
    assert len(text.train) == 449 // 9


def test_validation_is_one_stretch_behind_the_training_text_and_before_the_test():
    text = as_text("t", "".join(chr(97 + i % 26) for i in range(1000)), context=5)
    split = text.split_validation(0.1, seed=3)
    joined = torch.cat([split.train.tokens, split.validation.tokens, split.test.tokens])
    whole = torch.cat([text.train.tokens, text.test.tokens])
    assert torch.equal(joined, whole)
    assert len(split.validation.tokens) == 90


def test_the_embedded_text_is_python_s_own_and_always_the_same():
    one, two = python_source(32), python_source(32)
    assert one.digest == two.digest
    assert "import" in "".join(one.characters[i] for i in one.train.tokens[:20_000].tolist())


def test_texts_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "short.txt").write_text("ab")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(TopographError, match="a longer text"):
        read_text(tmp_path / "short.txt")
    with pytest.raises(TopographError, match="UTF-8"):
        read_text(tmp_path / "bytes.txt")
    with pytest.raises(TopographError, match="UTF-8"):
        read_text(tmp_path / "missing.txt")
    with pytest.raises(TopographError, match="text file"):
        pwmpr.run("text-gpt", data="text", out=tmp_path / "run")


# Tables of labels


def save(path, seed, side=12):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    return pixels


def tiny_imagenet(root):
    """A TinyImageNet of two classes as it is distributed."""
    for number, name in enumerate(("n01443537", "n01629819")):
        for index in range(6):
            save(root / "train" / name / "images" / f"{name}_{index}.JPEG", 10 * number + index)
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    rows = []
    for index in range(4):
        save(root / "val" / "images" / f"val_{index}.JPEG", 100 + index)
        rows.append(f"val_{index}.JPEG\t{('n01629819', 'n01443537')[index % 2]}\t0\t0\t9\t9")
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    for index in range(2):
        save(root / "test" / "images" / f"test_{index}.JPEG", 200 + index)
    return root


def test_tiny_imagenet_is_read_as_it_is_distributed(tmp_path):
    data = read_data(tiny_imagenet(tmp_path / "tiny-imagenet-200"))
    assert (len(data.train), len(data.test), data.validation) == (12, 4, None)
    assert data.test.labels.tolist() == [1, 0, 1, 0]
    assert data.title == "tiny-imagenet-200"  # JPEG from the start: no copies


def test_imagenet_with_its_table_is_read_as_it_is_distributed(tmp_path):
    root = tmp_path / "imagenet"
    inner = root / "ILSVRC" / "Data" / "CLS-LOC"
    for number, name in enumerate(("n01440764", "n01443537")):
        for index in range(3):
            save(inner / "train" / name / f"{name}_{index}.JPEG", 10 * number + index)
    save(inner / "val" / "ILSVRC2012_val_00000001.JPEG", 50)
    save(inner / "val" / "ILSVRC2012_val_00000002.JPEG", 51)
    (root / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4 \n"
        "ILSVRC2012_val_00000001,n01443537 1 2 3 4 n01443537 5 6 7 8 \n"
    )
    data = read_data(root)
    assert data.test.labels.tolist() == [1, 0]


def test_a_table_that_names_an_unknown_class_is_refused(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn999\t0\t0\t1\t1\n")
    with pytest.raises(TopographError, match="'n999'"):
        read_data(root)


# Pictures on disk


def test_pictures_beyond_memory_are_decoded_while_training_goes_on(tmp_path, monkeypatch):
    root = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    held = read_data(root, image_size=8)
    monkeypatch.setattr(pictures, "MEMORY_LIMIT", 100)
    (tmp_path / "other").mkdir()
    root.rename(tmp_path / "other" / "tiny")
    listed = read_data(tmp_path / "other" / "tiny", image_size=8)
    assert isinstance(listed.train, PictureList)
    assert isinstance(held.train, Split)
    assert listed.shape == (3, 8, 8)
    assert torch.equal(listed.train.labels, held.train.labels)
    run = pwmpr.run(
        "imagenet-resnet50", data_dir=tmp_path / "other" / "tiny", model="pooled-convnet",
        image_size=24, method="static", density=0.5, epochs=1, batch=4, validation=0.25,
        start="uniform", threads=1, out=tmp_path / "run",
    )  # fmt: skip
    assert run.history["step"].iloc[-1] == 2  # nine pictures: two batches of four
    assert 0 <= run.accuracy <= 1


def test_batches_of_listed_pictures_depend_on_seed_and_epoch_alone(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny")
    paths = tuple(sorted((root / "train").rglob("*.JPEG")))
    listed = PictureList(paths, torch.arange(len(paths)) % 2, 8)
    mean, std = listed.statistics()
    made = [
        PictureBatches(listed, mean, std, seed=seed, augment="resized-crop-flip", threads=threads)
        for seed, threads in ((0, 1), (0, 5), (1, 2))
    ]
    one, two, other = (list(batches.epoch(2, 5)) for batches in made)
    assert same(one, two)
    assert not torch.equal(one[0][0], other[0][0])
    late = list(made[0].epoch(2, 5, start=1))
    assert torch.equal(late[0][0], one[1][0])
    plain = torch.cat([x for x, _ in made[0].in_order(5)])
    expected = torch.stack([centred(path, 8) for path in paths]).float()
    torch.testing.assert_close(plain, (expected - mean.view(-1, 1, 1)) / std.view(-1, 1, 1))


def test_random_parts_mirror_and_cover_what_they_are_told(tmp_path):
    path = tmp_path / "ramp.png"
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], 24, 0).repeat(3, 2)
    Image.fromarray(ramp).save(path)
    whole = random_part(path, 24, [1.0, 0.5, 0.0, 0.0, 0.0])
    assert torch.equal(whole.permute(1, 2, 0), torch.from_numpy(ramp))
    mirrored = random_part(path, 24, [1.0, 0.5, 0.0, 0.0, 0.9])
    assert torch.equal(mirrored, whole.flip(2))
    small = random_part(path, 24, [0.0, 0.5, 0.999, 0.0, 0.0])
    assert int(small.min()) > 120  # the right end of the ramp


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xffnothing")
    with pytest.raises(TopographError, match=r"bad\.jpg"):
        centred(tmp_path / "bad.jpg", 8)


# Strong augmentation


def test_erased_rectangles_are_noise_and_the_rest_is_untouched():
    draws = torch.Generator().manual_seed(0)
    images = torch.full((400, 3, 16, 16), 7.0)
    out = erase(images, draws)
    changed = (out != images).any(1).flatten(1)
    share = float(changed.any(1).float().mean())
    assert 0.18 < share < 0.32
    areas = changed.sum(1)[changed.any(1)] / 256
    assert float(areas.max()) <= 0.5
    assert bool((images == 7).all())


def test_mixed_targets_are_the_parts_that_are_shown():
    classes, seen = 3, set()
    for seed in range(40):
        draws = torch.Generator().manual_seed(seed)
        labels = torch.tensor([0, 1, 2, 1])
        x = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 20, 20).clone()
        y = torch.eye(classes)[labels]
        mixed, targets = mix(x, y, draws)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        for image, target in zip(mixed, targets, strict=True):
            # Pixels hold the class: their mean is the expected class of the target.
            assert float(image.mean()) == pytest.approx(float(target @ torch.arange(3.0)), abs=1e-5)
        whole = mixed.unique()
        seen.add("cut" if bool(((whole % 1) == 0).all()) and not torch.equal(mixed, x) else
                 "same" if torch.equal(mixed, x) else "mixed")  # fmt: skip
    assert seen == {"cut", "mixed", "same"}


@pytest.fixture
def vision():
    declare_operators()
    try:
        importlib.import_module("torchvision.transforms.v2")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision cannot be imported here ({error})")


def test_strong_batches_repeat_images_and_soften_targets(vision):
    from pwmpr.data.strong import StrongBatches

    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8)
    split = Split(images, torch.arange(12) % 4)
    made = [
        StrongBatches(split, torch.full((3,), 128.0), torch.full((3,), 60.0), classes=4, seed=seed)
        for seed in (0, 0, 1)
    ]
    one, two, other = (list(batches.epoch(0, 6)) for batches in made)
    assert len(one) == number_of_batches(12, 6)
    assert same(one, two)
    assert not torch.equal(one[0][0], other[0][0])
    late = list(made[0].epoch(0, 6, start=1))
    assert torch.equal(late[0][0], one[1][0])
    targets = torch.cat([y for _, y in one])
    torch.testing.assert_close(targets.sum(1), torch.ones(12))
    assert float(targets.min()) >= 0.1 / 4 - 1e-6
    assert REPEATS == 3
    plain, labels = next(made[0].in_order(12))
    torch.testing.assert_close(plain, (images.float() - 128) / 60)
    assert torch.equal(labels, split.labels)


def test_augmentations_that_do_not_fit_the_data_are_refused(tmp_path):
    images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    split = Split(images, torch.arange(8) % 2)
    options = {"model": torch.nn.Linear(2, 2), "epochs": 1, "method": "static", "density": 0.5}
    with pytest.raises(TopographError, match="crop-flip, strong"):
        pwmpr.run(train=split, augment="resized-crop-flip", out=tmp_path / "a", **options)
    pair = (torch.randn(8, 2), torch.arange(8) % 2)
    with pytest.raises(TopographError, match="scaling is 'unit'"):
        pwmpr.run(train=pair, scaling="unit", out=tmp_path / "b", **options)
    assert "strong" in AUGMENTATIONS
    assert Settings().augment == "none"
