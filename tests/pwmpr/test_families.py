"""Are VGG, ResNet, ViT, GPT and Boltzmann machine what the papers describe, and do they run?"""

from __future__ import annotations

import math

import pytest
import torch

import pwmpr
import topograph as tg
from pwmpr import models
from pwmpr.models.attention import DropPath
from pwmpr.scope import weights_in_scope
from topograph.errors import TopographError


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("resnet18", {}, 11_689_512),  # torchvision's tables: 11.7, 21.8, 25.6, 44.5 M
        ("resnet34", {}, 21_797_672),
        ("resnet50", {}, 25_557_032),
        ("resnet101", {}, 44_549_160),
        ("vgg16", {"size": 224, "hidden": (4096, 4096), "classes": 1000}, 138_361_768),
        ("pooled-convnet", {}, 94_538),  # S, Table 5
        ("mlp-3072-1024-512-10", {}, 3_676_682),
        ("resnet110", {}, 1_727_962),  # Idelbayev: 1.7 M
    ],
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(name, options, count):
    with torch.device("meta"):
        assert parameters(models.build(name, **options)) == count


def test_the_vit_has_p_s_size_and_keeps_what_p_keeps_dense():
    net = models.build("vit")
    assert round(parameters(net) / 1e6, 1) == 2.8  # P, Table 2
    scope = weights_in_scope(net)
    outside = {
        name for name, p in net.named_parameters() if name.endswith(".weight") and p.ndim > 1
    } - set(scope)
    blocks = range(9)
    assert outside == {"patches.weight", "head.weight"} | {
        f"blocks.{block}.attention.{part}.weight" for block in blocks for part in ("query", "key")
    }
    assert len(scope) == 9 * 4  # value, output, fc1, fc2


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("resnet18", {"size": 32, "classes": 7}, (3, 32, 32)),
        ("resnet50", {"size": 64, "classes": 7, "channels": 1}, (1, 64, 64)),
        ("vgg11", {"classes": 7}, (3, 32, 32)),
        ("vit", {"size": 16, "classes": 7, "depth": 2, "width": 24, "heads": 4}, (3, 16, 16)),
        ("pooled-convnet", {"classes": 7}, (3, 20, 20)),
    ],
)
def test_networks_by_name_take_images_and_give_logits(name, options, shape):
    net = models.build(name, **options)
    assert net(torch.randn(3, *shape)).shape == (3, 7)


def test_shortcuts_and_the_last_layer_of_the_four_stage_network_stay_dense():
    net = models.build("resnet50", size=32)
    scope = weights_in_scope(net)
    assert "layer2.0.conv2.weight" in scope
    assert not {name for name in scope if "downsample" in name or name == "fc.weight"}


def test_small_images_get_a_stem_that_keeps_their_resolution():
    assert models.build("resnet18", size=64).conv1.kernel_size == (3, 3)
    assert models.build("resnet18", size=224).conv1.kernel_size == (7, 7)
    assert models.build("resnet18", size=224, stem="small").conv1.kernel_size == (3, 3)


def test_a_token_of_the_decoder_sees_no_later_one():
    torch.manual_seed(0)
    net = models.build("gpt", vocabulary=20, context=8, depth=2, width=16, heads=2).eval()
    tokens = torch.randint(0, 20, (1, 8))
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] + 1) % 20
    with torch.no_grad():
        one, two = net(tokens), net(changed)
    assert torch.equal(one[:, :5], two[:, :5])
    assert not torch.allclose(one[:, 5:], two[:, 5:])


def test_stochastic_depth_leaves_out_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    layer = DropPath(0.25)
    out = layer.train()(torch.ones(4000, 3))
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert bool((out == out[:, :1]).all())
    assert float(out.mean()) == pytest.approx(1, abs=0.04)
    assert torch.equal(layer.eval()(torch.ones(2, 3)), torch.ones(2, 3))


# The Boltzmann machine


def test_the_gradient_of_the_energies_is_contrastive_divergence():
    from pwmpr.training.objectives import contrastive_divergence

    torch.manual_seed(0)
    net = models.build("rbm", visible=5, hidden=3).double()
    v = torch.rand(4, 5, dtype=torch.float64)
    torch.manual_seed(1)
    contrastive_divergence(net(v), v).backward()
    torch.manual_seed(1)
    after = net.chain(v)
    with torch.no_grad():
        hidden = torch.sigmoid(net.hidden(v)), torch.sigmoid(net.hidden(after))
    # Hinton 2002: <v h> of the data less <v h> after k steps, with the sign of a descent.
    expected = -(hidden[0].T @ v - hidden[1].T @ after) / 4
    torch.testing.assert_close(net.hidden.weight.grad, expected)
    torch.testing.assert_close(net.visible_bias.grad, -(v - after).mean(0))
    torch.testing.assert_close(net.hidden.bias.grad, -(hidden[0] - hidden[1]).mean(0))


def test_the_free_energy_is_minus_the_log_of_the_sum_over_hidden_states():
    torch.manual_seed(0)
    net = models.build("rbm", visible=4, hidden=3)
    with torch.no_grad():
        net.visible_bias.normal_()
        v = torch.tensor([[1.0, 0, 1, 1]])
        states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        energies = v @ net.visible_bias + states @ (net.hidden(v)[0])
        free = float(net.free_energy(v)[0])
    assert free == pytest.approx(-math.log(float(energies.exp().sum())))


def test_a_sparse_boltzmann_machine_learns_to_reconstruct_digits(tmp_path):
    run = pwmpr.run("digits-rbm", epochs=12, out=tmp_path / "run")
    history = run.history
    assert history["val_loss"].iloc[-1] < 0.8 * history["val_loss"].iloc[0]
    assert history["val_accuracy"].iloc[-1] > 0.8
    assert run.masks.count == 640
    frame = tg.evolution(run)
    assert frame["k_max"].min() > 0
    again = pwmpr.run("digits-rbm", epochs=12, out=tmp_path / "again")
    assert all(torch.equal(a, b) for a, b in zip(
        run.model.parameters(), again.model.parameters(), strict=True))  # fmt: skip


# Growth on text and on images


def test_a_decoder_grows_on_embedded_text(tmp_path, monkeypatch):
    monkeypatch.setattr("pwmpr.data.text.EMBEDDED_LENGTH", 60_000)
    run = pwmpr.run(
        "text-gpt", density=0.1, epochs=3, batch=16, context=32, start_density=0.08,
        model_options={"depth": 1, "width": 16, "heads": 2}, threads=1, out=tmp_path / "run",
    )  # fmt: skip
    assert run.density == pytest.approx(0.1, abs=1e-3)
    assert run.history["val_loss"].iloc[-1] < math.log(run.model.head.out_features) - 0.5
    report = tg.inspect(tmp_path / "run")
    assert report.summary["log10_paths"] > -math.inf


def test_a_decoder_grows_on_a_text_file_and_says_what_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcd" * 400, encoding="utf-8")
    run = pwmpr.run(
        "text-gpt", data="text", data_dir=path, method="static", density=0.5, epochs=5, context=8,
        batch=16, model_options={"depth": 1, "width": 16, "heads": 2}, out=tmp_path / "run",
    )  # fmt: skip
    assert run.accuracy > 0.9  # the next of four letters in turn
    assert run.model.head.out_features == 4


def test_the_vit_of_p_grows(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(48, 3, 16, 16)
    run = pwmpr.run(
        model="vit", model_options={"size": 16, "depth": 2, "width": 24, "heads": 4, "classes": 2},
        train=(x, (x[:, 0].mean((1, 2)) > 0).long()), density=0.2, start_density=0.1,
        rough_epochs=1, epochs=1, batch=16, optimizer="adamw", lr=1e-3, out=tmp_path / "run",
    )  # fmt: skip
    assert run.masks.density == pytest.approx(0.2, abs=1e-3)
    assert all("query" not in name and "key" not in name for name in run.masks)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("vgg15", {}, "did you mean"),
        ("vgg16", {"size": 28}, "at least 32"),
        ("resnet18", {"stem": "large"}, "stem"),
        ("vit", {"size": 30, "patch": 8}, "fill the image"),
        ("vit", {"width": 10, "heads": 3}, "heads of one size"),
        ("gpt", {"width": 10, "heads": 3}, "heads of one size"),
        ("gpt", {"dropout": 1.0}, "below 1"),
        ("rbm", {"steps": 0}, "at least 1"),
        ("pooled-convnet", {"widths": (1, 2)}, "three convolutions"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_remedy(name, options, says):
    with pytest.raises(TopographError, match=says):
        models.build(name, **options)
