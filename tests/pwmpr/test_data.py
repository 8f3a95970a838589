"""Do the readers give what is in the files, and do batches depend on seed and epoch alone?"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from pwmpr.data import ImageBatches, ItemBatches, Split, channel_statistics, read_data, read_idx
from pwmpr.data.batches import check_dataset, crop_and_flip, number_of_batches
from pwmpr.data.cifar_batches import read_batch
from pwmpr.data.layouts import open_data
from topograph.errors import TopographError

CIFAR_CLASSES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip


def random_images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def idx_bytes(values: np.ndarray) -> bytes:
    header = b"\x00\x00\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def write_idx_folder(folder: Path, *, zipped: bool, dotted: bool = False) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "train-images": random_images(20, 4, 5),
        "train-labels": random_images(20, seed=1) % 3,
        "t10k-images": random_images(6, 4, 5, seed=2),
        "t10k-labels": random_images(6, seed=3) % 3,
    }
    for name, values in arrays.items():
        kind = "idx3-ubyte" if values.ndim == 3 else "idx1-ubyte"
        path = folder / f"{name}{'.' if dotted else '-'}{kind}{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(idx_bytes(values)) if zipped else idx_bytes(values))
    return arrays


def encoded(image: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


# IDX


@pytest.mark.parametrize(
    ("below", "zipped", "dotted"),
    [("", True, False), ("", False, False), ("raw", False, True), ("MNIST/raw", True, False)],
)
def test_idx_folders_are_read_in_every_usual_form(tmp_path, below, zipped, dotted):
    arrays = write_idx_folder(tmp_path / below, zipped=zipped, dotted=dotted)
    data = read_data(tmp_path)
    assert data.shape == (1, 4, 5)
    np.testing.assert_array_equal(data.train.images[:, 0].numpy(), arrays["train-images"])
    np.testing.assert_array_equal(data.train.labels.numpy(), arrays["train-labels"])
    np.testing.assert_array_equal(data.test.images[:, 0].numpy(), arrays["t10k-images"])


def test_a_gzip_idx_file_needs_no_suffix_to_be_known(tmp_path):
    values = random_images(3, 2, 2)
    (tmp_path / "file").write_bytes(gzip.compress(idx_bytes(values)))
    np.testing.assert_array_equal(read_idx(tmp_path / "file").numpy(), values)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"PK\x03\x04 something",
        idx_bytes(random_images(3, 2, 2))[:-1],
        idx_bytes(random_images(3, 2, 2)) + b"x",
        b"\x00\x00\x0d\x01" + struct.pack(">I", 1) + b"abcd",
        b"\x00\x00\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2**31),
        gzip.compress(idx_bytes(random_images(30, 20, 20)), mtime=0)[:60],
        b"\x1f\x8b" + b"garbage" * 10,
    ],
)
def test_broken_idx_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(TopographError, match="train-images-idx3-ubyte"):
        read_idx(path)


def test_a_folder_lacking_labels_says_which_file_to_add(tmp_path):
    write_idx_folder(tmp_path, zipped=True)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(TopographError, match=r"train-labels-idx1-ubyte\.gz"):
        read_data(tmp_path)


def test_fashion_mnist_is_the_original(data_root):
    data = read_data(data_root / "fashion_mnist")
    assert (len(data.train), len(data.test), data.shape) == (60_000, 10_000, (1, 28, 28))
    assert data.name == "Fashion-MNIST"
    assert data.classes[9] == "Ankle boot"
    assert torch.bincount(data.train.labels).tolist() == [6000] * 10
    # 72.94 is the published mean of the pixels.
    assert float(channel_statistics(data.train.images)[0]) == pytest.approx(72.94, abs=0.01)


# CIFAR


def write_cifar(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir()
    images = random_images(12, 3072)
    labels = np.arange(12) % 10
    for number in range(1, 6):
        rows = slice(2 * number - 2, 2 * number)
        batch = {b"data": images[rows], b"labels": labels[rows].tolist(), b"filenames": [b"a"] * 2}
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(batch, protocol=2))
    batch = {b"data": images[10:], b"labels": labels[10:].tolist()}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=4))
    names = {b"label_names": [name.encode() for name in CIFAR_CLASSES]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    return images, labels


@pytest.mark.parametrize("inside", [True, False])
def test_cifar_batches_are_read(tmp_path, inside):
    images, labels = write_cifar(tmp_path / "cifar-10-batches-py")
    data = read_data(tmp_path / "cifar-10-batches-py" if inside else tmp_path)
    assert data.title == "CIFAR-10"
    assert list(data.classes) == CIFAR_CLASSES
    np.testing.assert_array_equal(data.train.images.flatten(1).numpy(), images[:10])
    assert data.train.labels.tolist() == labels[:10].tolist()
    np.testing.assert_array_equal(data.test.images.flatten(1).numpy(), images[10:])


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_cifar_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder)
    witness = tmp_path / "witness"
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": Touch(witness)}))
    with pytest.raises(TopographError, match=r"data_batch_3.*asks for"):
        read_data(folder)
    assert not witness.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", pickle.dumps([1]), b"cos\nsystem\n."])
def test_torn_or_foreign_cifar_files_are_refused(tmp_path, content):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(TopographError, match="data_batch_1"):
        read_batch(path)


def test_a_cifar_batch_with_more_images_than_labels_is_refused(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder)
    batch = {b"data": random_images(3, 3072), b"labels": [1, 2]}
    (folder / "data_batch_2").write_bytes(pickle.dumps(batch))
    with pytest.raises(TopographError, match="data_batch_2 lacks images"):
        read_data(folder)


# Parquet


def write_parquet(
    path: Path, images: np.ndarray, labels: list[int], kind: str = "PNG", column: str = "img"
) -> None:
    cells = [{"bytes": encoded(image, kind), "path": "x"} for image in images]
    table = pa.table({column: cells, "label": labels})
    names = '{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}'
    pq.write_table(table.replace_schema_metadata({"huggingface": names}), path)


@pytest.mark.parametrize("column", ["img", "image"])
def test_parquet_splits_are_told_by_file_name(tmp_path, column):
    train, test = random_images(5, 6, 6, 3), random_images(2, 6, 6, 3, seed=1)
    write_parquet(tmp_path / "train-00000-of-00002.parquet", train[:3], [0, 1, 0], column=column)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", train[3:], [1, 1], column=column)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", test, [0, 0], column=column)
    data = read_data(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1, 0, 1, 1]
    np.testing.assert_array_equal(data.train.images.permute(0, 2, 3, 1).numpy(), train)
    np.testing.assert_array_equal(data.test.images.permute(0, 2, 3, 1).numpy(), test)
    assert data.encoding == "PNG"


def test_jpeg_copies_are_named_as_such(tmp_path):
    write_parquet(tmp_path / "train.parquet", random_images(4, 8, 8, 3), [0, 1, 0, 1], "JPEG")
    assert "JPEG" in read_data(tmp_path).title


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "train.parquet"
    write_parquet(path, random_images(2, 4, 4, 3), [0, 1])
    assert len(read_data(tmp_path).train) == 2
    write_parquet(path, random_images(3, 4, 4, 3), [0, 1, 1])
    assert len(read_data(tmp_path).train) == 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train.parquet", b"PAR1 no parquet", "train.parquet"),
        ("other.parquet", b"PAR1", "no training file"),
    ],
)
def test_broken_parquet_files_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TopographError, match=says):
        read_data(tmp_path)


def test_parquet_without_pictures_names_its_columns(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "train.parquet")
    with pytest.raises(TopographError, match="columns text, label"):
        read_data(tmp_path)


def test_an_undecodable_row_is_named(tmp_path):
    table = pa.table({"img": [{"bytes": b"no picture", "path": "x"}], "label": [0]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(TopographError, match=r"row 0 of .*train\.parquet"):
        read_data(tmp_path)


def test_cifar10_parquet_says_that_it_is_a_jpeg_copy(data_root):
    data = read_data(data_root / "cifar10")
    assert data.title == "CIFAR-10 (JPEG copies)"
    assert (len(data.train), len(data.test), data.shape) == (50_000, 10_000, (3, 32, 32))
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    mean, std = channel_statistics(data.train.images)
    published = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    assert torch.allclose(mean / 255, published[0], atol=2e-3)
    assert torch.allclose(std / 255, published[1], atol=5e-3)


# image folders


def write_image_folder(folder: Path, images: dict[str, np.ndarray]) -> None:
    for place, pictures in images.items():
        (folder / place).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (folder / place / f"{number}.png").write_bytes(encoded(picture, "PNG"))


def test_image_folders_are_read(tmp_path):
    images = {
        "train/bee": random_images(3, 5, 5, 3),
        "train/ant": random_images(2, 5, 5, 3, seed=1),
        "val/ant": random_images(1, 5, 5, 3, seed=2),
        "test/bee": random_images(1, 5, 5, 3, seed=3),
    }
    write_image_folder(tmp_path, images)
    data = read_data(tmp_path)
    assert data.classes == ("ant", "bee")
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.validation.labels.tolist() == [0]
    assert data.test.labels.tolist() == [1]
    np.testing.assert_array_equal(data.train.images[2].permute(1, 2, 0), images["train/bee"][0])


def test_val_alone_is_the_test_split(tmp_path):
    write_image_folder(
        tmp_path, {"train/a": random_images(2, 4, 4), "val/a": random_images(1, 4, 4)}
    )
    data = read_data(tmp_path)
    assert data.validation is None
    assert len(data.test) == 1
    assert data.shape == (1, 4, 4)


def test_pictures_of_two_sizes_need_image_size(tmp_path):
    write_image_folder(
        tmp_path, {"train/a": random_images(1, 4, 6, 3), "train/b": random_images(1, 8, 8, 3)}
    )
    with pytest.raises(TopographError, match="image_size"):
        read_data(tmp_path)
    assert read_data(tmp_path, image_size=4).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"train/a/readme.txt": b"x"}, "holds no picture"),
        ({"train/a/0.png": b"x"}, r"0\.png cannot be decoded"),
    ],
)
def test_broken_image_folders_are_refused(tmp_path, files, says):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TopographError, match=says):
        read_data(tmp_path)


def test_a_held_out_class_without_training_images_is_refused(tmp_path):
    write_image_folder(
        tmp_path, {"train/a": random_images(1, 4, 4), "test/b": random_images(1, 4, 4)}
    )
    with pytest.raises(TopographError, match=r"class that .* lacks"):
        read_data(tmp_path)


# any folder


def test_unknown_folders_are_told_every_accepted_layout(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(TopographError) as error:
            read_data(folder)
        for layout in ("IDX", "cifar-10-batches-py", "Parquet", "image folders"):
            assert layout in str(error.value)
        assert str(folder) in str(error.value)


def test_a_packed_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"x")
    with pytest.raises(TopographError, match="unpack"):
        read_data(tmp_path)


def test_nothing_is_written_into_the_data_folder(tmp_path):
    write_idx_folder(tmp_path, zipped=True)
    before = sorted(tmp_path.rglob("*"))
    read_data(tmp_path).split_validation(0.1, 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_data_that_are_not_embedded_need_a_folder():
    with pytest.raises(TopographError, match="data_dir"):
        open_data("cifar10", None)


# splits and statistics


def test_the_validation_split_is_disjoint_seeded_and_exact():
    digits = open_data("digits", None)
    one, same, other = (digits.split_validation(0.1, seed) for seed in (0, 0, 1))
    assert len(one.validation) == round(0.1 * 1438)
    assert len(one.train) + len(one.validation) == 1438
    assert torch.equal(one.validation.images, same.validation.images)
    assert not torch.equal(one.validation.images, other.validation.images)
    together = torch.cat([one.train.images, one.validation.images]).flatten(1)
    assert torch.equal(together.sort(0).values, digits.train.images.flatten(1).sort(0).values)
    assert torch.equal(one.test.images, other.test.images)


@pytest.mark.parametrize("fraction", [1e-6, 0.9999])
def test_a_split_that_leaves_nothing_is_refused(fraction):
    with pytest.raises(TopographError, match="validation"):
        open_data("digits", None).split_validation(fraction, 0)


@given(seed=st.integers(0, 99), channels=st.integers(1, 4))
def test_channel_statistics_are_those_of_numpy(seed, channels):
    images = random_images(7, channels, 3, 2, seed=seed)
    mean, std = channel_statistics(torch.from_numpy(images), chunk=3)
    np.testing.assert_allclose(mean, images.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 2, 3)), rtol=1e-6)


def test_a_constant_channel_has_deviation_one():
    _, std = channel_statistics(torch.full((2, 1, 3, 3), 9, dtype=torch.uint8))
    assert std.tolist() == [1.0]


# batches


def batches(augment: str = "none", seed: int = 0, count: int = 50) -> ImageBatches:
    images = torch.from_numpy(random_images(count, 3, 8, 8))
    split = Split(images, torch.arange(count))
    mean, std = channel_statistics(images)
    return ImageBatches(split, mean, std, seed=seed, augment=augment)


def listed(iterator) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(x.clone(), y.clone()) for x, y in iterator]


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_an_epoch_is_a_function_of_seed_and_number(augment):
    source = batches(augment)
    first = listed(source.epoch(3, 16))
    torch.manual_seed(99)
    assert same(first, listed(batches(augment).epoch(3, 16)))
    assert not same(first, listed(source.epoch(4, 16)))
    assert not same(first, listed(batches(augment, seed=1).epoch(3, 16)))
    assert sorted(torch.cat([y for _, y in first]).tolist()) == list(range(50))


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_an_epoch_goes_on_from_any_batch(augment):
    source = batches(augment)
    assert same(listed(source.epoch(2, 16))[2:], listed(source.epoch(2, 16, start=2)))


def test_normalised_images_have_mean_zero_and_deviation_one():
    x = torch.cat([x for x, _ in batches(count=200).in_order(64)])
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5)


@given(
    seed=st.integers(0, 99),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 3),
)
def test_crop_and_flip_agree_with_padding_slicing_and_flipping_one_by_one(
    seed, height, width, channels
):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (4, channels, height, width), dtype=np.uint8)
    offsets, flips = rng.integers(0, 9, (4, 2)), rng.integers(0, 2, 4)
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    crops = []
    for image, (row, column), flip in zip(padded, offsets, flips, strict=True):
        crop = image[:, row : row + height, column : column + width]
        crops.append(crop[:, :, ::-1] if flip else crop)
    found = crop_and_flip(
        torch.from_numpy(images), torch.from_numpy(offsets), torch.from_numpy(flips)
    )
    np.testing.assert_array_equal(found.numpy(), np.stack(crops))


def test_augmentation_shifts_every_way_and_flips_half():
    images = torch.zeros(2000, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 4] = 200
    images[:, 0, 4, 5] = 100  # right of it: left after a flip
    mean, std = torch.zeros(1), torch.ones(1)
    source = ImageBatches(
        Split(images, torch.zeros(2000, dtype=torch.int64)), mean, std, augment="crop-flip"
    )
    x = torch.cat([x for x, _ in source.epoch(0, 500)])[:, 0]
    bright = (x == 200).flatten(1).int().argmax(1)
    assert set((bright // 9).tolist()) == set(range(9))
    flipped = torch.tensor(
        [x[i].flatten()[b - 1] == 100 for i, b in enumerate(bright.tolist()) if 0 < b % 9 < 8]
    )
    assert 0.45 < flipped.float().mean() < 0.55


@given(samples=st.integers(1, 200), batch=st.integers(1, 64))
def test_only_a_last_batch_of_one_is_left_out(samples, batch):
    sizes = [len(y) for _, y in batches(count=samples).epoch(0, batch)]
    assert len(sizes) == number_of_batches(samples, batch)
    assert samples - sum(sizes) == (1 if samples % batch == 1 and samples > batch > 1 else 0)


class Pairs:
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if not 0 <= index < 10:
            raise IndexError(index)
        return torch.full((2,), float(index)), index


@pytest.mark.parametrize(
    "dataset",
    [
        Pairs(),
        [(torch.full((2,), float(i)), i) for i in range(10)],
        TensorDataset(torch.arange(10.0).repeat(2, 1).T, torch.arange(10)),
        (np.arange(10.0, dtype=np.float32).repeat(2).reshape(10, 2), np.arange(10)),
    ],
)
def test_any_map_style_dataset_is_batched(dataset):
    source = ItemBatches(check_dataset(dataset, "train"), seed=1)
    epoch = listed(source.epoch(0, 4))
    assert [len(y) for _, y in epoch] == [4, 4, 2]
    assert all(torch.equal(x[:, 1].long(), y) for x, y in epoch)
    assert same(epoch[1:], listed(source.epoch(0, 4, start=1)))
    assert torch.cat([y for _, y in source.in_order(3)]).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (DataLoader(Pairs()), "loader.dataset"),
        ([], "empty"),
        ([1, 2], "input, target"),
        (3, "int"),
        ((torch.ones(3, 2), torch.ones(2)), "3 inputs with 2 targets"),
    ],
)
def test_what_is_no_dataset_is_refused(dataset, says):
    with pytest.raises(TopographError, match=says):
        check_dataset(dataset, "train")
