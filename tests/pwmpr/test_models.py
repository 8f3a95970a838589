"""Are the networks those of the papers, by parameter names, counts and outputs?"""

from __future__ import annotations

import pytest
import torch

from pwmpr import models
from pwmpr.scope import weights_in_scope
from topograph.errors import TopographError


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("resnet20", {}, 269_722),  # Idelbayev's README: 0.27 M, 0.46 M, 0.85 M
        ("resnet32", {}, 464_154),
        ("resnet56", {}, 853_018),
        ("resnet32", {"shortcut": "B"}, 464_154 + 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64),
        ("resnet32", {"widths": (32, 64, 128), "shortcut": "B"}, 1_860_522),  # GraSP: 1.86 M
        ("mlp-784-300-100-10", {}, 266_610),
    ],
)
def test_parameter_counts(name, options, count):
    assert parameters(models.build(name, **options)) == count


def test_the_published_resnet20_checkpoint_loads_and_classifies(data_root):
    state = torch.load(
        data_root / "checkpoints" / "resnet20-12fca82f.th", map_location="cpu", weights_only=True
    )["state_dict"]
    net = models.resnet20().eval()
    net.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    from pwmpr.data import read_data

    test = read_data(data_root / "cifar10").test
    # The checkpoint's own normalisation; 81.0% is what it reaches on these JPEG copies.
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        images = (test.images[:500].float() / 255 - mean) / std
        accuracy = (net(images).argmax(1) == test.labels[:500]).float().mean()
    assert 0.75 < accuracy < 0.87


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_shortcuts_and_the_last_layer_stay_dense(shortcut):
    net = models.build("resnet8", shortcut=shortcut)
    scope = weights_in_scope(net)
    outside = {
        name
        for name, parameter in net.named_parameters()
        if parameter.ndim > 1 and name not in scope
    }
    convolved = {f"layer{stage}.0.shortcut.0.weight" for stage in (2, 3)}
    assert outside == {"linear.weight"} | (convolved if shortcut == "B" else set())


def test_shortcut_a_takes_every_second_pixel_and_pads_channels_on_both_sides():
    net = models.build("resnet8")
    x = torch.randn(2, 16, 8, 8)
    y = net.get_submodule("layer2.0.shortcut")(x)
    assert y.shape == (2, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("resnet8", {"classes": 7, "channels": 1}, (1, 16, 16)),
        ("convnet", {"size": 8, "classes": 7}, (1, 8, 8)),
        ("mlp-12-5-7", {}, (3, 2, 2)),
        ("mlp", {"sizes": [12, 7]}, (3, 2, 2)),
    ],
)
def test_networks_by_name_take_images_and_give_logits(name, options, shape):
    net = models.build(f"pwmpr:{name}", **options)
    assert net(torch.randn(3, *shape)).shape == (3, 7)


def test_initial_weights_have_he_variance_and_come_from_the_global_generator():
    torch.manual_seed(5)
    one = models.build("resnet32")
    torch.manual_seed(5)
    two = models.build("resnet32")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    weight = one.get_parameter("layer3.2.conv1.weight")
    assert float(weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet33", {}, "6n"),
        ("resnt32", {}, 'did you mean "resnet32"'),
        ("resnet32", {"class": 3}, "its options are"),
        ("resnet32", {"shortcut": "C"}, "shortcut"),
        ("resnet32", {"widths": (16, 32)}, "three stages"),
        ("resnet32", {"widths": (64, 32, 16)}, "widths that do not fall"),
        ("mlp", {"sizes": [3]}, "at least two"),
        ("mlp-3-0-2", {}, "at least 1"),
        ("convnet", {"widths": (1,)}, "two convolutions"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_remedy(name, options, says):
    with pytest.raises(TopographError, match=says):
        models.build(name, **options)
