"""inspect: what a report says agrees with independent counts, and looking changes nothing."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

import topograph as tg
from topograph.errors import TopographError
from topograph.inspection.report import Report


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.conv1 = nn.Conv2d(5, 5, 3, padding=1)
        self.conv2 = nn.Conv2d(5, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.conv2(torch.relu(self.conv1(x))))
        return self.head(x.mean((2, 3)))


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def sparse_masks(model: nn.Module, density: float, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator) < density
        for name, weight in model.named_parameters()
        if weight.dim() > 1
    }


def paths(
    model: nn.Sequential, masks: dict[str, Tensor]
) -> tuple[nx.DiGraph, list[Any], list[Any]]:
    """The masked MLP as a networkx graph of (layer, index), built weight by weight."""
    graph = nx.DiGraph()
    linear = [
        (name, module) for name, module in model.named_children() if hasattr(module, "weight")
    ]
    for depth, (name, module) in enumerate(linear):
        graph.add_nodes_from((depth, i) for i in range(module.in_features))
        graph.add_nodes_from((depth + 1, j) for j in range(module.out_features))
        for j, i in masks[f"{name}.weight"].nonzero().tolist():
            weight = abs(float(module.weight[j, i].detach().double()))
            graph.add_edge((depth, i), (depth + 1, j), weight=weight)
    ends = len(linear)
    return graph, [n for n in graph if n[0] == 0], [n for n in graph if n[0] == ends]


class TestNumbers:
    def test_against_enumeration_of_paths(self) -> None:
        torch.manual_seed(1)
        model = mlp(4, 6, 5, 3)
        masks = sparse_masks(model, 0.3)
        report = tg.inspect(model, masks=masks)
        graph, inputs, outputs = paths(model, masks)
        through: dict[Any, float] = dict.fromkeys(graph, 0.0)
        on_path, total = set(), 0.0
        for start in inputs:
            for path in nx.all_simple_paths(graph, start, outputs):
                steps = list(itertools.pairwise(path))
                weight = math.prod(graph.edges[step]["weight"] for step in steps)
                total += weight
                on_path.update(steps)
                for node in path:
                    through[node] += weight
        order = sorted(graph)  # layer after layer, as node ids are
        nodes = report.nodes
        np.testing.assert_allclose(nodes["share"], [through[n] / total for n in order], rtol=1e-6)
        assert report.summary["log10_paths"] == pytest.approx(math.log10(total), rel=1e-9)
        alive = {node for edge in on_path for node in edge}
        assert nodes["dead"].tolist() == [node not in alive for node in order]
        assert nodes["degree"].tolist() == [graph.degree(node) for node in order]
        assert nodes["isolated"].tolist() == [graph.degree(node) == 0 for node in order]
        cores = nx.core_number(graph.to_undirected())
        assert nodes["k_shell"].tolist() == [cores[node] for node in order]
        assert report.layers["kept"].tolist() == [int(m.sum()) for m in masks.values()]
        found = [sum(one[0] == depth for one, _ in on_path) for depth in range(3)]
        assert report.layers["on_paths"].tolist() == found
        assert report.summary["effective_density"] == pytest.approx(len(on_path) / (24 + 30 + 15))
        # τ-core: the fewest hidden nodes that hold 90% of what hidden nodes hold
        hidden = sorted((through[n] for n in order if 0 < n[0] < 3), reverse=True)
        size = next(k for k in range(len(hidden)) if sum(hidden[:k]) >= 0.9 * sum(hidden))
        assert report.summary["tau_core"] == size == int(nodes["tau_core"].sum())

    def test_every_path_passes_each_layer_of_a_chain(self) -> None:
        report = tg.inspect(mlp(4, 6, 5, 3))
        assert report.layers["path_share"].tolist() == pytest.approx([1, 1, 1], abs=1e-6)
        assert report.layers["on_paths"].tolist() == report.layers["weights"].tolist()

    def test_convolutions_take_paths_from_the_tensor_path(self) -> None:
        model = Residual().eval()
        example = torch.zeros(1, 2, 6, 6)
        report = tg.inspect(model, example_input=example)
        assert report.summary["paths_from"] == "tensor path"
        # With magnitudes for weights, no bias and no normalisation the plain forward on ones is R.
        linear = Residual().double().eval()
        linear.norm = nn.Identity()
        with torch.no_grad():
            for name, parameter in linear.named_parameters():
                value = model.get_parameter(name).double().abs()
                parameter.copy_(value if value.dim() > 1 else torch.zeros_like(value))
            total = float(linear(torch.ones(1, 2, 6, 6, dtype=torch.float64)).sum())
        assert report.summary["log10_paths"] == pytest.approx(math.log10(total), rel=1e-9)
        graph_total = tg.path_sums(report.graph).log_total / math.log(10)
        assert report.summary["log10_paths"] < graph_total  # borders cut paths off
        by_layer = report.layers.set_index("layer")["path_share"]
        assert by_layer["stem"] == pytest.approx(1, abs=1e-6)
        assert 0 < by_layer["conv1"] < 1
        assert by_layer["conv1"] == pytest.approx(by_layer["conv2"], rel=1e-6)
        assert "tensor path" in str(report)

    def test_shares_within_a_group_are_those_of_the_flow(self) -> None:
        model, example = Residual(), torch.zeros(1, 2, 6, 6)
        report = tg.inspect(model, example_input=example)
        flow = tg.path_flow(model, example)
        for name, share in flow.share.items():
            there = report.nodes.loc[report.nodes["group"] == name, "share"]
            np.testing.assert_allclose(there, share.numpy(), rtol=1e-12)
        assert report.summary["average_tau_core_ratio"] == tg.average_tau_core_ratio(flow)

    @pytest.mark.parametrize("tau", [0.5, 0.99, 1.0])
    def test_tau_is_used_throughout(self, tau: float) -> None:
        model = mlp(6, 20, 20, 3)
        report = tg.inspect(model, tau=tau)
        core = tg.tau_core(tg.path_flow(model, torch.zeros(1, 6)), tau)
        assert report.summary["tau_core"] == len(core)
        assert f"carry {100 * tau:g}%" in " ".join(report.verdicts)


class TestMasks:
    def test_found_in_a_pruned_model_or_given_or_zeros(self) -> None:
        torch.manual_seed(0)
        pruned = mlp(5, 8, 3)
        prune.random_unstructured(pruned[0], "weight", 0.5)
        zeros = mlp(5, 8, 3)
        with torch.no_grad():
            for index in (0, 2):
                zeros[index].weight.copy_(pruned[index].weight)
                zeros[index].bias.copy_(pruned[index].bias)
        given = mlp(5, 8, 3)
        given.load_state_dict({k: v + 0.0 for k, v in zeros.state_dict().items()})
        with torch.no_grad():
            given[0].weight[given[0].weight == 0] = 9.0
        mask = pruned[0].weight_mask.bool()
        reports = [
            tg.inspect(pruned),
            tg.inspect(zeros),
            tg.inspect(given, masks={"0.weight": mask}),
            tg.inspect(dict(pruned.state_dict()), model=mlp(5, 8, 3)),
            tg.inspect({"model": given.state_dict(), "masks": {"0.weight": mask}}, model=given),
        ]
        for report in reports:
            assert report.summary["kept"] == 20 + 24
            np.testing.assert_allclose(report.nodes["share"], reports[0].nodes["share"], rtol=1e-6)

    def test_a_kept_zero_is_an_edge(self) -> None:
        model = mlp(2, 2, 1)
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        mask = torch.tensor([[True, True], [False, False]])
        report = tg.inspect(model, masks={"0.weight": mask})
        assert report.layers["kept"].tolist() == [2, 2]
        assert report.nodes["degree"].tolist() == [1, 1, 3, 1, 2]

    def test_no_path_left(self, tmp_path: Path) -> None:
        model = mlp(3, 4, 2)
        masks = {"0.weight": torch.zeros(4, 3, dtype=torch.bool)}
        report = tg.inspect(model, masks=masks)
        assert report.summary["tau_core"] == 0
        assert report.summary["dead"] == 4
        assert report.summary["dead_outputs"] == 2
        assert "No path leads from the inputs to the outputs." in report.verdicts
        assert report.summary["log10_paths"] == -math.inf
        for name in ("a.html", "a.json", "a.png"):
            assert report.save(tmp_path / name).stat().st_size > 500


class TestSubjects:
    @pytest.mark.parametrize("form", ["zip", "pickle", "safetensors", "mapping", "wrapped"])
    def test_every_form_of_one_checkpoint_gives_one_report(self, tmp_path: Path, form: str) -> None:
        torch.manual_seed(3)
        trained, fresh = Residual(), Residual()
        state = trained.state_dict()
        path = tmp_path / "weights.bin"
        checkpoint: Any = path
        if form == "safetensors":
            save_file(state, path)
        elif form == "mapping":
            checkpoint = state
        else:
            held = {"net": {f"module.{k}": v for k, v in state.items()}, "epoch": 1}
            torch.save(
                state if form != "wrapped" else held,
                path,
                _use_new_zipfile_serialization=form != "pickle",
            )
        before = {key: value.clone() for key, value in fresh.state_dict().items()}
        example = torch.zeros(1, 2, 6, 6)
        report = tg.inspect(checkpoint, model=fresh, example_input=example)
        expected = tg.inspect(trained, example_input=example)
        assert report.nodes.equals(expected.nodes)
        assert report.layers.equals(expected.layers)
        assert all(torch.equal(before[k], v) for k, v in fresh.state_dict().items())

    def test_looking_changes_nothing(self) -> None:
        model = Residual().train()
        model.stem.eval()
        model.conv1.weight.requires_grad_(False)
        model(torch.randn(2, 2, 6, 6)).sum().backward()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        grad = model.conv2.weight.grad
        random = torch.random.get_rng_state()
        parameters = [id(p) for p in model.parameters()]
        tg.inspect(model, example_input=torch.zeros(1, 2, 6, 6))
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        assert [m.training for m in model.modules()] == [True, False, True, True, True, True]
        assert [p.requires_grad for p in model.parameters()].count(False) == 1
        assert model.conv2.weight.grad is grad
        assert [id(p) for p in model.parameters()] == parameters
        assert torch.equal(random, torch.random.get_rng_state())

    def test_the_input_is_guessed_and_said(self) -> None:
        report = tg.inspect(mlp(7, 4, 2))
        assert "input 7" in report.subtitle
        assert any("guess" in note for note in report.provenance["notes"])

    def test_what_cannot_be_inspected_is_named(self, tmp_path: Path) -> None:
        state = mlp(3, 4, 2).state_dict()
        (tmp_path / "empty").mkdir()
        cases = [
            (lambda: tg.inspect(tmp_path / "none.pt"), "does not exist"),
            (lambda: tg.inspect(tmp_path / "empty"), "without weights"),
            (lambda: tg.inspect(3), "expected a module, a state dict or a path"),
            (lambda: tg.inspect(mlp(3, 2), model=mlp(3, 2)), "expected one of them"),
            (lambda: tg.inspect(state, model=mlp(3, 5, 2)), "does not fit"),
            (lambda: tg.inspect(mlp(3, 2), tau=2.0), "tau is 2.0"),
            (lambda: tg.inspect(mlp(3, 2), example_input=torch.zeros(1, 9)), "does not run"),
        ]
        for call, words in cases:
            with pytest.raises(TopographError, match=words):
                call()

    def test_weights_that_diverged_are_refused(self) -> None:
        model = mlp(3, 4, 2)
        with torch.no_grad():
            model[0].weight[0, 0] = math.nan
        with pytest.raises(TopographError, match="NaN"):
            tg.inspect(model)


@pytest.fixture(scope="module")
def published(data_root: Path) -> Report:
    path = data_root / "checkpoints" / "resnet20-12fca82f.th"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return tg.inspect(path, model="pwmpr:resnet20")


class TestPublishedCheckpoint:
    """A trained CIFAR-10 ResNet-20 (Y. Idelbayev): old pickle, module. prefixes, padded skips."""

    def test_everything_is_modelled(self, published: Report) -> None:
        coverage = published.coverage
        assert coverage.modelled == coverage.total == 20
        assert not coverage.missing
        assert coverage.verified > 0

    def test_counts(self, published: Report) -> None:
        summary = published.summary
        assert summary["parameters"] == 269_722
        # 3·16·9 + 6·16·16·9 + (16·32 + 5·32·32)·9 + (32·64 + 5·64·64)·9 + 640
        assert summary["weights"] == summary["kept"] == 268_336
        assert summary["density"] == summary["effective_density"] == 1.0
        # conv1, then two groups a block (the residual sum takes in the second convolution)
        assert summary["hidden_nodes"] == 16 + 3 * 2 * (16 + 32 + 64)
        assert summary["dead"] == summary["isolated"] == 0

    def test_total_path_weight_is_a_plain_forward_of_magnitudes(
        self, published: Report, data_root: Path
    ) -> None:
        from pwmpr.models import build

        path = data_root / "checkpoints" / "resnet20-12fca82f.th"
        held = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        model = build("resnet20").double().eval()
        with torch.no_grad():
            for name, module in model.named_modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.fill_(math.sqrt(1 + module.eps))
                    module.bias.zero_()
                elif hasattr(module, "weight"):
                    module.weight.copy_(held[f"module.{name}.weight"].abs())
                    if module.bias is not None:
                        module.bias.zero_()
            total = float(model(torch.ones(1, 3, 32, 32, dtype=torch.float64)).sum())
        assert published.summary["log10_paths"] == pytest.approx(math.log10(total), abs=1e-8)

    def test_the_page_is_small(self, published: Report) -> None:
        assert len(published._repr_html_().encode()) < 300_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import pwmpr

    out = tmp_path_factory.mktemp("runs") / "run"
    return pwmpr.run("digits", out=out, density=0.1, rough_epochs=1, epochs=1, progress=False)


class TestRunFolder:
    def test_the_folder_and_its_result_agree(self, run: Any) -> None:
        report = tg.inspect(run.folder)
        assert report.provenance["recipe"] == "digits"
        assert report.provenance["finished"] is True
        assert "guess" not in " ".join(report.provenance["notes"])
        for row in report.layers.itertuples():
            kept = (
                int(run.masks[row.parameter].sum()) if row.parameter in run.masks else row.weights
            )
            assert row.kept == kept
        again = tg.inspect(run)
        np.testing.assert_allclose(again.nodes["share"], report.nodes["share"], rtol=1e-6)

    def test_an_unfinished_run_gives_its_newest_weights(self, run: Any, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        shutil.copytree(run.folder, folder)
        for name in ("result.json", "model.safetensors"):
            (folder / name).unlink()
        report = tg.inspect(folder)
        assert "the run is not finished" in report.provenance["notes"]
        trained = [
            s
            for s in run.snapshots
            if (folder / "weights" / f"step-{s.cycle:03d}.safetensors").is_file()
        ]
        assert report.summary["kept"] == trained[-1].count
        for path in (folder / "weights").iterdir():
            path.unlink()
        with pytest.raises(TopographError, match="not written weights yet"):
            tg.inspect(folder)

    def test_a_run_of_ones_own_model_needs_it(self, run: Any, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        shutil.copytree(run.folder, folder)
        described = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        described["model"]["name"] = None
        # Settings that are changed by hand pass in the first format alone, which has no hashes.
        described["format"] = 1
        (folder / "SHA256SUMS").unlink()
        (folder / "settings.json").write_text(json.dumps(described), encoding="utf-8")
        with pytest.raises(TopographError, match="of its own class"):
            tg.inspect(folder)
        report = tg.inspect(folder, model=f"pwmpr:{run.settings.model}")
        assert report.nodes.equals(tg.inspect(run.folder).nodes)
