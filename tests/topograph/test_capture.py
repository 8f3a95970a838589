"""Captured graphs against counts made by hand, and what captures leave alone."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from tests.topograph.models import Decoder, DenseNet, MobileNet, ResNet, ShuffleNet, mlp, vgg
from topograph.capturing import capture
from topograph.degrees import degree
from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph
from topograph.paths import path_sums


def sizes(graph: LayeredGraph) -> dict[str, int]:
    return {name: group.size for name, group in graph.groups.items()}


def pairs(graph: LayeredGraph, identity: bool = False) -> list[tuple[str, str]]:
    return [(b.source, b.target) for b in graph.blocks if b.identity == identity]


def dense(graph: LayeredGraph, source: str, target: str, identity: bool = False) -> np.ndarray:
    for block in graph.blocks:
        if (block.source, block.target, block.identity) == (source, target, identity):
            return block.matrix.toarray()
    raise KeyError((source, target))


def test_an_mlp_is_its_weights() -> None:
    model = mlp((4, 3, 2))
    graph = capture(model, torch.zeros(1, 4))
    assert sizes(graph) == {"input": 4, "0": 3, "2": 2}
    assert (graph.inputs, graph.outputs, graph.hidden) == (("input",), ("2",), ("0",))
    assert graph.groups["input"].shape == (4,)
    np.testing.assert_allclose(
        dense(graph, "input", "0"), model[0].weight.detach().abs(), rtol=0, atol=0
    )
    assert graph.granularity == "channel"
    assert str(graph.coverage) == "2 of 2 weighted operators modelled"


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnet_32_counted_by_hand(shortcut: str) -> None:
    graph = capture(ResNet(5, (16, 32, 64), shortcut, 10), torch.zeros(1, 3, 32, 32))
    # A block has its first convolution and one sum, which its second convolution writes into.
    assert graph.n_nodes == 3 + 16 + 5 * 2 * (16 + 32 + 64) + 10 == 1149
    edges = 3 * 16 + 10 * 16**2 + (16 * 32 + 9 * 32**2) + (32 * 64 + 9 * 64**2) + 64 * 10
    extra = 16 * 32 + 32 * 64 if shortcut == "B" else 0
    assert graph.n_edges == edges + extra
    taps = 9 * (edges - 640) + 640 + extra
    assert degree(graph, "in", weighted="taps").sum() == taps
    carried = sum(block.matrix.nnz for block in graph.identity_blocks)
    assert carried == 5 * 16 + 4 * 32 + 4 * 64 + (16 + 32 if shortcut == "A" else 0)
    assert graph.nodes("layer2.0.conv2") == graph.nodes("layer2.0")
    members = ("layer2.0.conv2", "layer2.0.shortcut.0")[: 1 if shortcut == "A" else 2]
    assert graph.groups["layer2.0"].members == members
    assert len(graph.operators) == graph.coverage.modelled == 32 + (shortcut == "B") * 2


def test_shortcut_a_slices_and_pads() -> None:
    graph = capture(ResNet(1, (4, 8, 16), "A"), torch.zeros(1, 3, 8, 8))
    padded = np.zeros((8, 4))
    padded[2:6] = np.eye(4)
    assert np.array_equal(dense(graph, "layer1.0", "layer2.0", identity=True), padded)


def test_a_flattened_map_adds_up_parallel_weights() -> None:
    model = vgg()
    graph = capture(model, torch.zeros(1, 3, 8, 8))
    assert sizes(graph) == {"input": 3, "0": 4, "4": 6, "9": 7, "12": 5}
    weight = model[9].weight.detach().abs().double().view(7, 6, 4)
    np.testing.assert_allclose(dense(graph, "4", "9"), weight.sum(2), rtol=1e-12)
    block = next(b for b in graph.blocks if b.target == "9")
    assert block.tap_counts.tolist() == [4] * 42
    assert block.n_positions == 7 * 24


def test_depthwise_edges_stay_in_their_group() -> None:
    graph = capture(MobileNet(), torch.zeros(1, 3, 8, 8))
    inner = dense(graph, "blocks.0.body.0", "blocks.0.body.3")
    assert np.array_equal(inner > 0, np.eye(8, dtype=bool))
    assert pairs(graph, identity=True) == [("blocks.0.body.6", "blocks.1")]


def test_concatenations_read_all_that_came_before() -> None:
    graph = capture(DenseNet(), torch.zeros(1, 3, 8, 8))
    before = ["stem", "layers.0.2", "layers.1.2", "layers.2.2"]
    assert [source for source, target in pairs(graph) if target == "fc"] == before
    record = next(op for op in graph.operators if op.name == "layers.2.2")
    assert record.sources == ("stem", "layers.0.2", "layers.1.2")
    assert (record.target, record.shape, record.size) == ("layers.2.2", (3, 10, 3, 3), 270)


def test_a_shuffle_is_followed_exactly() -> None:
    model = ShuffleNet(8)
    graph = capture(model, torch.zeros(1, 3, 4, 4))
    # Channels after the first block, by running the same shuffle on their names.
    names = [("stem", k) for k in range(4)] + [("blocks.0.body.3", k) for k in range(4)]
    order = torch.arange(8).view(2, 4).t().reshape(-1)
    right = [names[int(k)] for k in order][4:]
    weight = model.blocks[1].body[0].weight.detach().abs()[:, :, 0, 0]
    for column, (source, channel) in enumerate(right):
        found = dense(graph, source, "blocks.1.body.0")[:, channel]
        np.testing.assert_allclose(found, weight[:, column], rtol=1e-6)
    assert sum(b.matrix.nnz for b in graph.blocks if b.target == "blocks.1.body.0") == 16


def test_positions_that_read_different_nodes_are_averaged() -> None:
    model = Decoder()
    graph = capture(model, torch.zeros(1, 3))
    kernels = model.conv.weight.detach().abs().double().sum((2, 3))  # (8, 4)
    expected = (kernels / 4).repeat_interleave(4, dim=1)  # four units lie in each channel
    np.testing.assert_allclose(dense(graph, "fc", "conv"), expected, rtol=1e-6)
    shuffled = model.last.weight.detach().abs().double().sum((2, 3))  # (1, 2)
    expected = (shuffled / 4).repeat_interleave(4, dim=1)
    np.testing.assert_allclose(dense(graph, "conv", "last"), expected, rtol=1e-6)


class Sums(nn.Module):
    """(a(x) + b(x)) + x, then x + x."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = (self.a(x) + self.b(x)) + x
        x = x + x
        return self.last(x * torch.sigmoid(x))


def test_a_chain_of_sums_is_one_group() -> None:
    model = Sums()
    graph = capture(model, torch.zeros(1, 3))
    assert sizes(graph) == {"input": 3, "first": 4, "add_1": 4, "last": 2}
    assert graph.groups["add_1"].members == ("a", "b")
    assert pairs(graph, identity=True) == [("first", "add_1")]
    both = model.a.weight.detach().abs().double() + model.b.weight.detach().abs()
    np.testing.assert_allclose(dense(graph, "first", "add_1"), both)
    block = next(b for b in graph.weight_blocks if b.target == "add_1")
    assert block.parameters == ("a.weight", "b.weight")
    assert block.tap_counts.tolist() == [2] * 16
    # x + x is the same units at twice the weight, and x·σ(x) one function of them.
    np.testing.assert_allclose(
        dense(graph, "add_1", "last"), 2 * model.last.weight.detach().abs(), rtol=1e-6
    )


class Streams(nn.Module):
    """Two inputs; a sum that is returned on its way; one layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)
        self.twice = nn.Linear(4, 4)

    def forward(self, p: Tensor, q: Tensor) -> dict[str, Tensor]:
        joined = self.left(p) + self.right(q)
        return {"logits": self.twice(self.twice(joined).relu()), "features": joined}


def test_several_inputs_outputs_and_uses_of_a_layer() -> None:
    model = Streams()
    graph = capture(model, (torch.zeros(1, 3), torch.zeros(1, 2)))
    assert sizes(graph) == {"p": 3, "q": 2, "add": 4, "twice": 4, "twice#2": 4}
    assert graph.outputs == ("twice#2",)
    assert "1 returned value leads on to another" in str(graph.coverage)
    assert [op.parameter for op in graph.operators[2:]] == ["twice.weight"] * 2
    swapped = capture(model, {"q": torch.zeros(1, 2), "p": torch.zeros(1, 3)})
    assert sizes(swapped) == sizes(graph)


def test_a_part_of_a_layer_as_output_is_read_through_identity_edges() -> None:
    class Part(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, 1:]

    graph = capture(Part(2, 3), torch.zeros(1, 2))
    assert graph.outputs == ("output",)
    assert np.array_equal(dense(graph, "weight", "output", identity=True), np.eye(3)[1:])


def test_inputs_are_elements_unless_a_kernel_slides_over_them() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    graph = capture(flat, torch.zeros(1, 3, 2, 2))
    assert graph.groups["input"].size == 12
    assert graph.groups["input"].shape == (3, 2, 2)

    class LastChannel(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1)))

    assert capture(LastChannel(3, 2, 3), torch.zeros(1, 4, 4, 3)).groups["input"].size == 3
    row = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3))
    assert capture(row, torch.zeros(1, 16)).groups["input"].size == 1
    tokens = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert sizes(capture(tokens, torch.zeros(1, 6, 3))) == {"input": 3, "0": 4, "2": 2}


def test_kept_zeros_are_edges_and_exact_zeros_are_none() -> None:
    model = mlp((3, 3, 2))
    with torch.no_grad():
        model[0].weight.zero_()
        model[2].weight[0, 1] = 0
    mask = torch.tensor([[True, False, True], [True, True, True], [False, False, False]])
    graph = capture(model, torch.zeros(1, 3), masks={"0.weight": mask})
    assert graph.n_edges == 5 + 5
    assert degree(graph, "in").tolist() == [0, 0, 0, 2, 3, 0, 2, 3]
    assert path_sums(graph).log_total == -math.inf


def test_a_kept_zero_in_a_kernel_and_behind_mixed_nodes_stays() -> None:
    model = Decoder()
    with torch.no_grad():
        model.conv.weight[2, 1] = 0
    masks = {"conv.weight": torch.ones_like(model.conv.weight, dtype=torch.bool)}
    graph = capture(model, torch.zeros(1, 3), masks=masks)
    block = next(b for b in graph.blocks if b.target == "conv")
    assert block.matrix.nnz == 8 * 16
    assert np.array_equal(block.matrix.toarray()[2, 4:8], np.zeros(4))
    assert set(block.tap_counts.tolist()) == {9}
    assert capture(model, torch.zeros(1, 3)).n_edges == graph.n_edges - 4


def test_masks_are_found_in_pruned_and_parametrised_models() -> None:
    class Keep(nn.Module):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, weight: Tensor) -> Tensor:
            return weight * self.mask

    model = mlp((6, 5, 4, 3))
    prune.l1_unstructured(model[0], "weight", amount=10)
    parametrize.register_parametrization(model[2], "weight", Keep(torch.eye(4, 5) > 0))
    parametrizations.weight_norm(model[4])
    graph = capture(model, torch.zeros(1, 6))
    assert [op.kept for op in graph.operators] == [20, 4, 12]
    assert [op.parameter for op in graph.operators] == ["0.weight", "2.weight", "4.weight"]
    np.testing.assert_allclose(
        dense(graph, "2", "4"), model[4].weight.detach().abs().double(), rtol=1e-6
    )


def test_normalisation_is_transparent_or_a_scale() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([2.0, -1.0, 0.5]))
        model[1].running_var.copy_(torch.tensor([4.0, 1.0, 0.25]))
    example = torch.zeros(1, 2, 1, 1)
    weight = model[3].weight.detach().abs().double()
    np.testing.assert_allclose(dense(capture(model, example), "0", "3"), weight, rtol=1e-6)
    gain = torch.tensor([2.0, 1.0, 0.5]).double() / (torch.tensor([4.0, 1.0, 0.25]) + 1e-5).sqrt()
    scaled = dense(capture(model, example, norm="scale"), "0", "3")
    np.testing.assert_allclose(scaled, weight * gain, rtol=1e-6)


def test_a_scale_before_a_merged_sum_is_not_lost() -> None:
    torch.manual_seed(0)
    model = ResNet(1, (2, 4, 8), "B").double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(
                torch.zeros_like(parameter) if "bias" in name else torch.rand_like(parameter)
            )
    example = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    graph = capture(model, example, granularity="unit", norm="scale")
    assert math.exp(path_sums(graph).log_total) == pytest.approx(model(example).sum().item())


def test_factors_count_and_zeros_among_them_cut() -> None:
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("std", torch.tensor([2.0, 4.0, 0.5]))
            self.register_buffer("chosen", torch.tensor([1.0, 0.0, 1.0]))
            self.scale = nn.Parameter(torch.zeros(3))
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b((x + self.a(x / self.std * self.chosen) * self.scale) / 2)

    model = Factors()
    graph = capture(model, torch.zeros(1, 3))
    first = model.a.weight.detach().abs().double()
    # A learnt factor of 0 is a weight of value 0; a fixed one is no connection.
    assert dense(graph, "input", "add").tolist() == [[0.0] * 3] * 3
    assert next(b for b in graph.weight_blocks if b.target == "add").matrix.nnz == 6
    with torch.no_grad():
        model.scale.fill_(-1.0)
        model.std.fill_(2.0)
    again = capture(model, torch.zeros(1, 3))
    expected = first * torch.tensor([0.5, 0.0, 0.5])
    np.testing.assert_allclose(dense(again, "input", "add"), expected, rtol=1e-6)
    np.testing.assert_allclose(
        dense(again, "add", "b"), model.b.weight.detach().abs() / 2, rtol=1e-6
    )


def test_training_between_captures_is_seen() -> None:
    model = mlp((4, 3, 2))
    before = capture(model, torch.zeros(1, 4))
    with torch.no_grad():
        model[0].weight[1] = 0
        model[2].weight.mul_(-3)
    after = capture(model, torch.zeros(1, 4))
    assert after.n_edges == before.n_edges - 4
    np.testing.assert_allclose(dense(after, "0", "2"), 3 * dense(before, "0", "2"), rtol=1e-6)


def test_the_model_is_left_as_it_was() -> None:
    model = ResNet(1, (2, 4, 8), "B")
    prune.random_unstructured(model.fc, "weight", 0.5)
    model.train()
    model.layer2.eval()
    state = copy.deepcopy(model.state_dict())
    flags = {name: module.training for name, module in model.named_modules()}
    attributes = {name: set(module.__dict__) for name, module in model.named_modules()}
    generator = torch.random.get_rng_state()
    weight, gradients = model.fc.weight, torch.is_grad_enabled()
    for granularity in ("channel", "unit"):
        capture(
            model, torch.randn(3, 3, 8, 8, generator=torch.Generator()), granularity=granularity
        )
    assert model.fc.weight is weight
    assert torch.is_grad_enabled() is gradients
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert flags == {name: module.training for name, module in model.named_modules()}
    assert attributes == {name: set(module.__dict__) for name, module in model.named_modules()}
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_half_precision_and_frozen_weights() -> None:
    model = mlp((4, 3, 2)).to(torch.bfloat16).requires_grad_(False)
    graph = capture(model, torch.zeros(1, 4, dtype=torch.bfloat16))
    np.testing.assert_array_equal(dense(graph, "input", "0"), model[0].weight.abs().double())


class Sorting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(-1)[0]


class Unruly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Sorting()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.parametrize(
    ("model", "example", "options", "words"),
    [
        (
            mlp(),
            torch.zeros(1, 6),
            {"granularity": "channels"},
            'did you mean granularity="channel"',
        ),
        (mlp(), torch.zeros(1, 6), {"norm": "layer"}, 'expected one of "identity", "scale"'),
        ("resnet", torch.zeros(1, 6), {}, "expected a torch.nn.Module"),
        (mlp(), torch.zeros(1, 7), {}, "does not run on example_input"),
        (mlp(), torch.zeros(1, 6), {"masks": {"9.weight": torch.ones(1)}}, "no parameter"),
        (
            Unruly(),
            torch.zeros(1, 5, 3),
            {"opaque": "refuse"},
            'aten.sort.default in module "inner" \\(Sorting\\)',
        ),
        (nn.Conv2d(3, 64, 3), torch.zeros(1, 3, 99, 99), {"granularity": "unit"}, "10,000,000"),
        (nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), torch.zeros(1), {}, "does not run"),
    ],
)
def test_what_cannot_be_captured_is_refused_in_words(
    model: object, example: Tensor, options: dict, words: str
) -> None:
    with pytest.raises(TopographError, match=words):
        capture(model, example, **options)  # type: ignore[arg-type]


def test_an_output_that_no_path_reaches_is_refused() -> None:
    class Cut(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * 0)

    class Gone(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    assert path_sums(capture(Cut(2, 2), torch.zeros(1, 2))).log_total == -math.inf
    with pytest.raises(TopographError, match="no path leads"):
        capture(Gone(), torch.zeros(1, 2))
