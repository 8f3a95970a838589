"""The structure of a model is its dense graph, counted without weights; and weights may be lazy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import prune

import topograph as tg
from tests.topograph.models import MobileNet, ResNet, ShuffleNet, SqueezeExcite, mlp, vgg
from topograph.capturing import assemble
from topograph.capturing.structure import structure

IMAGE = (1, 3, 16, 16)


class TinyDecoder(nn.Module):
    """Embedding tied to the head, attention, a gated block and learnt scales."""

    def __init__(self, width: int = 8, words: int = 11) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.norm = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        h = self.norm(x)
        x = x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))
        return self.head(x)


TOKENS = torch.zeros(1, 5, dtype=torch.long)

NETS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (mlp, torch.zeros(1, 6)),
    "resnet": (ResNet, torch.zeros(IMAGE)),
    "vgg": (vgg, torch.zeros(1, 3, 8, 8)),
    "mobilenet": (MobileNet, torch.zeros(IMAGE)),
    "shufflenet": (ShuffleNet, torch.zeros(IMAGE)),
    "squeeze-excite": (SqueezeExcite, torch.zeros(IMAGE)),
    "decoder": (TinyDecoder, TOKENS),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_a_structure_counts_what_a_dense_graph_has(name: str, where: str) -> None:
    make, example = NETS[name]
    torch.manual_seed(0)
    graph = tg.capture(make(), example)
    with torch.device(where):
        model = make()
    made = structure(model, example)
    assert list(made.groups.values()) == list(graph.groups.values())
    assert (made.n_nodes, made.n_edges) == (graph.n_nodes, graph.n_edges)
    assert (made.inputs, made.outputs) == (graph.inputs, graph.outputs)
    assert str(made.coverage) == str(graph.coverage)
    assert made.operators == graph.operators
    counted = {(s.source, s.target, s.identity): s.edges for s in made.spans}
    assert counted == {
        (b.source, b.target, b.identity): b.matrix.nnz for b in graph.blocks if b.matrix.nnz
    }
    for kind in ("total", "in", "out"):
        np.testing.assert_array_equal(made.degree(kind), tg.degree(graph, kind))
    np.testing.assert_array_equal(made.k_shell(), tg.k_shell(graph))
    assert made.parameters == sum(p.numel() for p in make().parameters())


def test_a_structure_is_drawn_by_layers() -> None:
    made = structure(ResNet(), torch.zeros(IMAGE))
    layers = made.to_networkx()
    assert layers.number_of_nodes() == len(made.groups)
    assert sum(c for *_, c in layers.edges(data="connections")) == made.n_edges
    assert list(made.layers["layer"]) == [record.name for record in made.operators]


def test_a_layer_beyond_memory_has_a_structure() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(10**6, 10**6), nn.ReLU(), nn.Linear(10**6, 2))
    made = structure(model, torch.zeros(1, 10**6))
    assert made.n_edges == 10**12 + 2 * 10**6
    assert made.parameters == 10**12 + 3 * 10**6 + 2


def test_a_model_under_a_fake_tensor_mode_has_a_structure() -> None:
    with FakeTensorMode():
        model = TinyDecoder()
    made = structure(model, TOKENS)
    assert made.n_edges == structure(TinyDecoder(), TOKENS).n_edges


def test_a_model_without_weights_stays_without() -> None:
    with torch.device("meta"):
        model = TinyDecoder().train()
    before = dict(model.named_parameters(remove_duplicate=False))
    structure(model, TOKENS)
    after = dict(model.named_parameters(remove_duplicate=False))
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert all(module.training for module in model.modules())


def sharded(model: nn.Module, folder: Path) -> None:
    """Save a model in two files with an index; a tied weight once."""
    state = {name: value.detach() for name, value in model.named_parameters()}
    state |= {name: value.detach() for name, value in model.named_buffers()}
    names = list(state)
    where = {name: f"model-{k % 2}.safetensors" for k, name in enumerate(names)}
    for file in set(where.values()):
        save_file({n: state[n].contiguous() for n in names if where[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "decoder"])
def test_stored_weights_give_the_graph_of_a_loaded_model(name: str, tmp_path: Path) -> None:
    make, example = NETS[name]
    torch.manual_seed(1)
    model = make()
    sharded(model, tmp_path)
    with torch.device("meta"):
        hollow = make()
    for norm in ("identity", "scale"):
        graph = tg.capture(model, example, norm=norm)
        lazy = tg.capture(hollow, example, norm=norm, weights=tg.open_weights(tmp_path))
        assert list(lazy.groups.values()) == list(graph.groups.values())
        assert lazy.operators == graph.operators
        for mine, other in zip(lazy.blocks, graph.blocks, strict=True):
            assert (mine.source, mine.target) == (other.source, other.target)
            np.testing.assert_array_equal(mine.matrix.toarray(), other.matrix.toarray())


@pytest.mark.parametrize("name", ["mobilenet", "decoder"])
def test_stored_weights_give_the_paths_of_a_loaded_model(name: str) -> None:
    make, example = NETS[name]
    torch.manual_seed(2)
    model = make()
    with torch.device("meta"):
        hollow = make()
    flow = tg.path_flow(model, example, norm="scale")
    lazy = tg.path_flow(hollow, example, norm="scale", weights=model.state_dict())
    assert lazy.log_total == flow.log_total
    assert lazy.dtype == flow.dtype
    for group, share in flow.share.items():
        torch.testing.assert_close(lazy.share[group], share, rtol=0, atol=0)
    assert list(lazy.scores) == list(flow.scores)


def test_stored_masks_of_a_pruned_model_are_found() -> None:
    def make() -> nn.Module:
        model = mlp()
        prune.l1_unstructured(model[0], "weight", 0.5)
        return model

    model = make()
    with torch.no_grad():
        model[0].weight_orig[model[0].weight_mask.bool()] = 0  # kept, and 0
    with torch.device("meta"):
        hollow = make()
    graph = tg.capture(model, torch.zeros(1, 6))
    lazy = tg.capture(hollow, torch.zeros(1, 6), weights=model.state_dict())
    assert lazy.n_edges == graph.n_edges == 15 + 20 + 12


def test_weights_are_read_one_at_a_time() -> None:
    model = mlp()
    state = {name: value.detach() for name, value in model.named_parameters()}
    alive: list[str] = []

    def read(name: str) -> Tensor:
        alive.append(name)
        return state[name].clone()

    lazy = tg.LazyTensors({k: (tuple(v.shape), v.dtype) for k, v in state.items()}, read)
    with torch.device("meta"):
        hollow = mlp()
    tg.capture(hollow, torch.zeros(1, 6), weights=lazy)
    order = [name for k, name in enumerate(alive) if k == 0 or alive[k - 1] != name]
    assert order == ["0.weight", "2.weight", "4.weight"]  # and no bias


def test_stored_weights_in_another_type_are_cast_as_loading_does() -> None:
    model = mlp()
    state = {name: value.bfloat16() for name, value in model.state_dict().items()}
    with torch.device("meta"):
        hollow = mlp()
    lazy = tg.capture(hollow, torch.zeros(1, 6), weights=state)
    model.load_state_dict(state)
    graph = tg.capture(model, torch.zeros(1, 6))
    for mine, other in zip(lazy.blocks, graph.blocks, strict=True):
        np.testing.assert_array_equal(mine.matrix.toarray(), other.matrix.toarray())


def hollow_mlp() -> nn.Module:
    with torch.device("meta"):
        return mlp()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (None, 'the parameter "0.weight" has no values'),
        ({"2.weight": torch.ones(4, 5)}, 'the parameter "0.weight" has no values'),
        ({"0.weight": torch.ones(2, 6)}, r"shape \(2, 6\); expected \(5, 6\)"),
        ({"0.weight": torch.full((5, 6), torch.nan)}, '"0.weight" holds NaN'),
    ],
)
def test_missing_and_wrong_weights_are_refused(
    weights: dict[str, Tensor] | None, words: str
) -> None:
    if weights and "0.weight" in weights:
        weights = {**mlp().state_dict(), **weights}
    with pytest.raises(tg.TopographError, match=words) as caught:
        tg.capture(hollow_mlp(), torch.zeros(1, 6), weights=weights)
    assert "Remedy:" in str(caught.value)


def test_a_model_without_weights_that_decides_by_values_is_refused() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) if self.fc(x).sum() > 0 else x

    with torch.device("meta"):
        model = Branch()
    with pytest.raises(tg.TopographError, match="Branch holds no weights in memory") as caught:
        structure(model, torch.zeros(1, 3))
    assert "test_structure.py" in str(caught.value)


def test_an_unknown_buffer_that_decides_connections_is_refused() -> None:
    class Picking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("order", torch.arange(3))
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x[:, self.order])

    with torch.device("meta"):
        model = Picking()
    with pytest.raises(tg.TopographError, match='the buffer "order" has no values'):
        structure(model, torch.zeros(1, 3))


def test_a_graph_beyond_the_limit_is_refused_by_its_kept_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assemble, "EDGE_LIMIT", 61)
    with pytest.raises(tg.TopographError, match="up to 62 edges; expected at most 61"):
        tg.capture(mlp(), torch.zeros(1, 6))
    masks = {"0.weight": torch.arange(30).reshape(5, 6) > 0}
    assert tg.capture(mlp(), torch.zeros(1, 6), masks=masks).n_edges == 61
