"""Weights without a model: recognised by names and shapes, inferred, or taken layer by layer."""

from __future__ import annotations

import importlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import topograph as tg
from pwmpr.models import build, convnet, imagenet_resnet, mlp, pooled_convnet, resnet, vgg
from pwmpr.models.recognise import recognise as recognise_own
from tests.topograph.vision import declare_operators
from topograph.inspection.builders import build_model
from topograph.inspection.chains import find_chain
from topograph.inspection.finding import find_subject
from topograph.inspection.fingerprints import recognise
from topograph.inspection.subject import Bare, Subject


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def zoo(package: str) -> Any:
    """A package of networks, or skip where it is not installed or does not import."""
    declare_operators()
    try:
        return importlib.import_module(package)
    except Exception as error:
        pytest.skip(f"{package} does not import here ({type(error).__name__})")


@pytest.mark.filterwarnings("ignore")
class TestPublished:
    @pytest.mark.parametrize(
        ("name", "classes", "prefix"),
        [
            ("resnet18", 1000, ""),
            ("resnet18", 12, "module."),
            ("squeezenet1_1", 10, "model.encoder."),
            ("shufflenet_v2_x0_5", 1000, ""),
            ("mnasnet0_5", 5, "backbone."),
        ],
    )
    def test_torchvision(self, name: str, classes: int, prefix: str) -> None:
        models = zoo("torchvision.models")
        model = models.get_model(name, weights=None, num_classes=classes)
        state = {prefix + key: value for key, value in model.state_dict().items()}
        found = find_subject({"state_dict": state, "epoch": 1})
        assert isinstance(found, Subject)
        options = "" if classes == 1000 else f"(num_classes={classes})"
        assert found.provenance["model"] == f"torchvision:{name}{options}"
        assert shapes(found.model) == shapes(model)
        assert all(torch.equal(found.state[key], v) for key, v in model.state_dict().items())
        assert f"Recognised as torchvision's {name}" in found.remarks[0]

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("vit_tiny_patch16_224", {"num_classes": 7}),
            ("mobilenetv3_small_050", {"num_classes": 3, "in_chans": 1}),
            ("resnet10t", {"in_chans": 2}),
            ("vit_base_patch16_siglip_224", {"num_classes": 4}),  # trained without a head
        ],
    )
    def test_timm_with_other_classes_and_channels(self, name: str, options: dict[str, int]) -> None:
        timm = zoo("timm")
        with torch.device("meta"):
            expected = shapes(timm.create_model(name, **options))
        found = recognise(expected)
        assert found is not None
        wanted = ", ".join(f"{key}={value}" for key, value in options.items())
        assert f"timm:{name}({wanted})" in (found.spec, *found.others)

    def test_networks_with_the_same_tensors_are_named(self) -> None:
        models = zoo("torchvision.models")
        with torch.device("meta"):
            found = recognise(shapes(models.resnet50()))
        assert found is not None
        assert found.spec == "torchvision:resnet50"
        assert "timm:resnet50" in found.others

    def test_one_other_name_or_shape_is_another_network(self) -> None:
        models = zoo("torchvision.models")
        with torch.device("meta"):
            held = shapes(models.resnet18())
        assert recognise(held | {"layer1.0.conv1.weight": (65, 64, 3, 3)}) is None
        assert recognise(held | {"extra.weight": (2, 2)}) is None
        assert recognise({k: v for k, v in held.items() if k != "bn1.running_mean"}) is None
        assert recognise({k: v for k, v in held.items() if "num_batches" not in k}) is not None

    def test_a_package_that_is_not_there_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        models = zoo("torchvision.models")
        state = models.squeezenet1_1().state_dict()
        for package in ("torchvision", "timm"):
            monkeypatch.setitem(__import__("sys").modules, package, None)
            monkeypatch.setitem(__import__("sys").modules, f"{package}.models", None)
        report = tg.inspect(state)
        assert report.coverage.modelled == 0
        assert "install torchvision" in str(report)
        assert "squeezenet1_1" in str(report)


class TestOwn:
    @pytest.mark.parametrize(
        "model",
        [
            resnet(8),
            resnet(14, shortcut="B", classes=100),
            resnet(20, widths=(4, 8, 12), channels=1),
            imagenet_resnet(18, stem="small", classes=10),
            imagenet_resnet(50, classes=7, channels=1),
            vgg(11, size=64, hidden=(20, 10), classes=4),
            vgg(16),
            pooled_convnet(widths=(4, 6, 8)),
            convnet(size=16, widths=(4, 6), hidden=10, classes=3),
            mlp([12, 9, 4]),
        ],
    )
    def test_the_names_of_our_networks(self, model: nn.Module) -> None:
        name = recognise_own(shapes(model))
        assert name is not None
        again = build_model(f"pwmpr:{name}")
        assert type(again) is type(model)
        assert shapes(again) == shapes(model)

    @pytest.mark.parametrize(
        "model",
        [
            resnet(14, shortcut="B", classes=100),
            convnet(size=16, widths=(4, 6), hidden=10, classes=3),
        ],
    )
    def test_our_networks(self, model: nn.Module) -> None:
        name = recognise_own(shapes(model))
        report = tg.inspect({"net": {f"module.{k}": v for k, v in model.state_dict().items()}})
        assert report.provenance["model"] == f"pwmpr:{name}"
        assert any(f"Recognised as pwmpr's {name}" in note for note in report.coverage.notes)
        assert report.coverage.modelled == report.coverage.total > 0

    def test_a_published_resnet20(self, data_root: Path) -> None:
        path = data_root / "checkpoints" / "resnet20-12fca82f.th"
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        report = tg.inspect(path)
        assert report.provenance["model"] == "pwmpr:resnet20"
        assert report.coverage.modelled == report.coverage.total == 20
        assert report.summary["weights"] == 268_336

    def test_what_only_looks_like_ours_is_not(self) -> None:
        state = dict(build("resnet8").state_dict())
        state["layer1.0.extra.weight"] = torch.ones(2, 2)
        assert isinstance(find_subject(state), Bare)


def chain(*sizes: int) -> dict[str, tuple[int, ...]]:
    pairs = itertools.pairwise(sizes)
    return {f"layers.{2 * k}.weight": (b, a) for k, (a, b) in enumerate(pairs)}


class TestChains:
    @given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.randoms())
    @settings(max_examples=150, deadline=None)
    def test_against_every_order(self, sizes: list[int], random: Any) -> None:
        """Names without numbers: a chain is found if and only if one sequence of shapes fits."""
        layers = list(itertools.pairwise(sizes))
        letters = random.sample("abcdefgh", len(layers))
        held = {f"{x}.weight": (b, a) for x, (a, b) in zip(letters, layers, strict=True)}
        fitting = {
            order
            for order in itertools.permutations(layers)
            if all(one[1] == two[0] for one, two in itertools.pairwise(order))
        }
        found = find_chain(held)
        if len(fitting) == 1 and len(set(layers)) == len(layers):
            assert found is not None
            assert found.sizes == tuple(sizes)
            assert [held[f"{name}.weight"][::-1] for name in found.names] == layers
        else:  # several orders, or equal layers that nothing tells apart
            assert found is None

    @given(st.lists(st.integers(1, 3), min_size=2, max_size=9), st.randoms())
    @settings(max_examples=100, deadline=None)
    def test_numbers_in_names_decide(self, sizes: list[int], random: Any) -> None:
        held = list(chain(*sizes).items())
        random.shuffle(held)
        found = find_chain(dict(held))
        assert found is not None
        assert found.names == tuple(f"layers.{2 * k}" for k in range(len(sizes) - 1))
        assert found.sizes == tuple(sizes)

    @pytest.mark.parametrize(
        "held",
        [
            {"encoder.weight": (64, 784), "decoder.weight": (784, 64)},  # either may be first
            {"q.weight": (4, 4), "k.weight": (4, 4), "v.weight": (4, 4)},
            {"fc1.weight": (3, 2), "fc2.weight": (5, 4)},  # do not fit together
            {"fc1.weight": (3, 2), "conv.weight": (3, 3, 3, 3)},
            {"embedding.weight": (10, 4), "out.weight": (3, 10)},
            {"rnn.weight_ih_l0": (8, 4), "rnn.weight_hh_l0": (8, 8)},
            {"fc1.weight": (3, 2), "fc2.weight": (4, 3), "scale": (7,)},
            {"up.lora_A.weight": (2, 8), "up.lora_B.weight": (8, 2)},
            {"a.0.weight": (4, 4), "b.1.weight": (4, 4)},  # two numbers and letters differ
            {"norm.weight": (4,)},
            {},
        ],
    )
    def test_what_may_be_something_else_is_no_chain(self, held: dict[str, tuple[int, ...]]) -> None:
        assert find_chain(held) is None

    def test_the_report_is_that_of_the_network(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(),
            nn.Linear(4, 2),
        ).eval()  # fmt: skip
        with torch.no_grad():
            for layer in (model[0], model[3], model[5]):
                layer.weight.mul_(torch.rand(layer.weight.shape) < 0.6)
        found = tg.inspect(dict(model.state_dict()))
        expected = tg.inspect(model)
        for key in ("log10_paths", "density", "effective_density", "dead", "tau_core", "k_max"):
            assert found.summary[key] == pytest.approx(expected.summary[key]), key
        assert found.coverage.notes[0].startswith("The graph is inferred from shapes: a chain of 3")
        assert "assumed" in found.coverage.notes[0]


def bipartite(kept: np.ndarray) -> Any:
    import networkx as nx

    graph = nx.Graph()
    rows, columns = kept.shape[:2]
    graph.add_nodes_from(("r", i) for i in range(rows))
    graph.add_nodes_from(("c", j) for j in range(columns))
    for i, j in itertools.product(range(rows), range(columns)):
        if kept[i, j].any():
            graph.add_edge(("r", i), ("c", j))
    return graph


class TestLayerByLayer:
    def state(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)

        def sparse(*shape: int) -> Tensor:
            dense = torch.rand(shape, generator=generator) + 0.1
            return dense * (torch.rand(shape, generator=generator) < 0.15)

        return {
            "enc.conv.weight": sparse(9, 7, 2, 2),
            "enc.bn.weight": torch.ones(9),
            "dec.q.weight": sparse(8, 12),
            "dec.k.weight": torch.ones(5, 3),
            "cls_token": torch.ones(1, 1, 4),
            "steps": torch.tensor([3, 4]),
        }

    def test_connections_against_networkx(self) -> None:
        import networkx as nx

        state = self.state()
        report = tg.inspect(state)
        assert report.layers["layer"].tolist() == ["enc.conv", "dec.q", "dec.k"]
        for row, name in zip(
            report.layers.itertuples(),
            ("enc.conv.weight", "dec.q.weight", "dec.k.weight"),
            strict=True,
        ):
            kept = state[name].numpy() != 0
            graph = bipartite(kept)
            nodes = report.nodes[report.nodes["group"].isin([row.source, row.group])]
            order = [("r", i) for i in range(kept.shape[0])]
            order += [("c", j) for j in range(kept.shape[1])]
            assert nodes["degree"].tolist() == [graph.degree(node) for node in order]
            cores = nx.core_number(graph)
            assert nodes["k_shell"].tolist() == [cores[node] for node in order]
            assert row.kept == kept.sum()
            assert row.density == pytest.approx(kept.mean())
            assert row.isolated_rows == sum(graph.degree(("r", i)) == 0 for i in range(row.rows))
            alone = sum(graph.degree(("c", j)) == 0 for j in range(row.columns))
            assert row.isolated_columns == alone
        assert report.summary["isolated"] == int((report.nodes["degree"] == 0).sum())
        assert report.summary["parameters"] == 252 + 9 + 96 + 15 + 4

    def test_masks_say_what_is_kept(self, tmp_path: Path) -> None:
        state = self.state()
        masks = {"dec.k": torch.eye(5, 3).bool()}
        torch.save(masks, tmp_path / "masks.pt")
        for wanted in (masks, tmp_path / "masks.pt"):
            report = tg.inspect(state, masks=wanted)
            assert report.layers.set_index("layer").loc["dec.k", "kept"] == 3

    def test_it_has_the_surface_of_every_report(self, tmp_path: Path) -> None:
        hostile = {"<script>alert(1)</script>.weight": torch.ones(2, 2)} | self.state()
        report = tg.inspect(hostile)
        known = tg.inspect(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
        assert set(known.summary) <= set(report.summary)
        assert set(known.layers.columns) <= set(report.layers.columns)
        assert set(known.nodes.columns) == set(report.nodes.columns)
        assert report.graph is None
        text = str(report)
        assert "No graph is known for these 4 weights" in text
        assert 'model="package.module:callable"' in text
        for suffix in (".html", ".json", ".csv", ".parquet", ".png", ".svg"):
            assert report.save(tmp_path / f"report{suffix}").stat().st_size > 100
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert page == page.replace("<script", "")
        assert page.startswith("<!doctype html>")
        held = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        assert held["summary"]["log10_paths"] is None

    def test_what_is_recognised_and_cannot_be_captured_is_looked_at_all_the_same(self) -> None:
        state = dict(build("resnet8").state_dict())
        state["conv1.weight"] = torch.full_like(state["conv1.weight"], torch.nan)
        report = tg.inspect(state)
        assert report.coverage.modelled == 0
        assert any("Its graph cannot be told here" in note for note in report.coverage.notes)
        assert any("432 weights are NaN or infinite" in text for text in report.verdicts)
