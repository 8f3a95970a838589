"""Networks whose graph, or whose weights, are larger than memory have a report all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import topograph as tg
from tests.topograph.models import MobileNet, ResNet, ShuffleNet, SqueezeExcite, mlp, vgg
from tests.topograph.vision import declare_operators
from topograph.cli import main
from topograph.errors import TopographError
from topograph.inspection import inspector
from topograph.inspection.large_report import LargeReport
from topograph.inspection.layerwise_report import LayerwiseReport
from topograph.inspection.report import Report

SHELLS = ["k_shell", "k_shell_max", "k_shell_mean", "k_max", "k_max_nodes"]
IMAGE = torch.zeros(1, 3, 16, 16)


class Gated(nn.Module):
    """Two weights between the same two layers, of which an edge may be in either or in both."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 8)
        self.gate, self.up = nn.Linear(8, 14), nn.Linear(8, 14)
        self.down = nn.Linear(14, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        for _ in range(2):
            x = x + self.down(self.gate(x) * self.up(x))
        return x @ self.table.weight.T


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "mlp": lambda: (mlp((9, 12, 11, 4)), torch.zeros(1, 9)),
    "resnet": lambda: (ResNet(shortcut="B"), IMAGE),
    "mobile": lambda: (MobileNet(), IMAGE),
    "shuffle": lambda: (ShuffleNet(), IMAGE),
    "squeeze": lambda: (SqueezeExcite(), IMAGE),
    "flattened": lambda: (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 6)),
        IMAGE,
    ),
    "gated": lambda: (Gated(), torch.zeros(1, 5, dtype=torch.long)),
}


def pruned(model: nn.Module, kept: float) -> nn.Module:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) < kept)
    return model.eval()


def assert_same(large: Report, ordinary: Report, shells: bool) -> None:
    """All that both know is the same; what only one of them knows is NaN in the other."""
    left = [] if shells else SHELLS
    for name, value in ordinary.summary.items():
        if name not in left:
            assert large.summary[name] == pytest.approx(value, nan_ok=True), name
    for found, expected in ((large.layers, ordinary.layers), (large.nodes, ordinary.nodes)):
        found, expected = (each.drop(columns=left, errors="ignore") for each in (found, expected))
        # Of two weights in one block the ordinary report does not know the part on paths.
        known = ["on_paths", "effective_density"]
        if set(known) <= set(expected):
            unknown = expected["on_paths"].isna()
            found.loc[unknown, known] = float("nan")
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-9)
    assert large.masks.keys() == ordinary.masks.keys()
    assert [m.count for m in large.masks.values()] == [m.count for m in ordinary.masks.values()]


@pytest.mark.parametrize("kept", [1.0, 0.3])
@pytest.mark.parametrize("name", MODELS)
def test_a_graph_beyond_the_limit_is_counted_weight_by_weight(
    name: str, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, example = MODELS[name]()
    pruned(model, kept)
    ordinary = tg.inspect(model, example_input=example)
    monkeypatch.setattr(inspector, "EDGE_LIMIT", 3)
    large = tg.inspect(model, example_input=example)
    assert isinstance(large, LargeReport)
    assert large.graph is None
    whole = large.summary["edges"] == tg.structure(model, example).n_edges
    assert whole or kept < 1
    assert_same(large, ordinary, shells=whole)
    first = large.coverage_lines[0]
    assert f"{large.summary['edges']:,} edges) is larger than memory" in first
    assert ("no k-shells" in first) == (not whole)
    assert large.nodes["k_shell"].isna().all() == (not whole)


def test_kept_weights_of_zero_keep_nodes_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pruned(mlp((6, 8, 7, 3)), 0.4)
    masks = {
        name: torch.rand_like(value) < 0.5
        for name, value in model.named_parameters()
        if value.dim() > 1
    }
    ordinary = tg.inspect(model, masks=masks)
    monkeypatch.setattr(inspector, "EDGE_LIMIT", 3)
    large = tg.inspect(model, masks=masks)
    assert (ordinary.nodes["share"] == 0).sum() > ordinary.nodes["dead"].sum()
    assert_same(large, ordinary, shells=False)


def test_a_large_report_is_shown_saved_and_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = tg.inspect(mlp((6, 8, 7, 3)))
    monkeypatch.setattr(inspector, "EDGE_LIMIT", 3)
    report = tg.inspect(pruned(mlp((6, 8, 7, 3)), 0.5))
    for suffix in (".html", ".json", ".csv", ".parquet", ".svg"):
        assert report.save(tmp_path / f"report{suffix}").stat().st_size > 100
    page = (tmp_path / "report.html").read_text()
    assert "larger than memory" in page
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)
    held = json.loads((tmp_path / "report.json").read_text())
    assert held["summary"]["k_max"] is None
    assert held["summary"]["density"] == report.summary["density"]
    assert "larger than memory" in str(report)
    change = before.diff(report)
    assert change.overlap == pytest.approx(report.summary["density"])


def stored(model: nn.Module, folder: Path, shards: int = 3) -> Path:
    """Write a model's tensors, by turns, into the shards of a folder."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    where = {
        name: f"model-{k % shards + 1:05d}-of-{shards:05d}.safetensors"
        for k, name in enumerate(state)
    }
    for file in set(where.values()):
        save_file({n: v for n, v in state.items() if where[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def test_weights_beyond_memory_are_read_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def network() -> nn.Module:
        return mlp((30, 40, 50, 20))

    model = pruned(network(), 0.1)
    folder = stored(model, tmp_path)
    ordinary = tg.inspect(model)
    # A graph of 24 bytes an edge is within a limit that all files together are not.
    monkeypatch.setenv("TOPOGRAPH_MAX_BYTES", str(24 * ordinary.summary["edges"]))
    report = tg.inspect(folder, model=network)
    assert any("read one at a time" in line for line in report.coverage_lines)
    assert not isinstance(report, LargeReport)
    assert report.coverage.verified > 0
    assert_same(report, ordinary, shells=True)
    monkeypatch.setenv("TOPOGRAPH_MAX_BYTES", "8000")
    large = tg.inspect(folder, model=network)
    assert isinstance(large, LargeReport)
    assert_same(large, ordinary, shells=False)
    assert len(large.provenance["shards"]) == 3


def test_weights_beyond_memory_without_a_network_are_looked_at_layer_by_layer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = pruned(vgg(), 0.5)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    limit = max(value.nbytes for value in model.state_dict().values())
    monkeypatch.setenv("TOPOGRAPH_MAX_BYTES", str(limit))
    report = tg.inspect(tmp_path / "model.safetensors")
    assert isinstance(report, LayerwiseReport)
    kept = sum(int((value != 0).sum()) for value in model.parameters() if value.dim() > 1)
    assert report.summary["kept"] == kept
    assert "read one at a time" in str(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("2.weight"), r"1 missing: 2\.weight"),
        (lambda state: state.update({"2.weight": torch.ones(5, 5)}), "another shape"),
        (
            lambda state: state.update(
                {"2.weight_orig": state["2.weight"], "2.weight_mask": state.pop("2.weight") > 0}
            ),
            "stores 2.weight in parts",
        ),
    ],
)
def test_weights_beyond_memory_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Tensor]], None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    state = dict(mlp((6, 8, 7, 3)).state_dict())
    change(state)
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setenv("TOPOGRAPH_MAX_BYTES", "400")
    with pytest.raises(TopographError, match=words):
        tg.inspect(tmp_path / "model.safetensors", model=lambda: mlp((6, 8, 7, 3)))


def test_one_tensor_beyond_memory_and_a_lying_header_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(mlp((6, 8, 7, 3)).state_dict(), path)
    monkeypatch.setenv("TOPOGRAPH_MAX_BYTES", "100")
    with pytest.raises(TopographError, match="192 bytes of tensors; expected at most 100"):
        tg.inspect(path, model=lambda: mlp((6, 8, 7, 3)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(TopographError, match="beyond its end"):
        tg.inspect(path, model=lambda: mlp((6, 8, 7, 3)))


def test_a_folder_beyond_memory_is_inspected_by_its_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    declare_operators()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=60,
        tie_word_embeddings=True,
    )
    pruned(LlamaForCausalLM(config), 0.7).bfloat16().save_pretrained(
        tmp_path, max_shard_size="16KB"
    )
    ordinary = tg.inspect(tmp_path)
    monkeypatch.setenv("TOPOGRAPH_MAX_BYTES", "9000")
    large = tg.inspect(tmp_path)
    assert isinstance(large, LargeReport)
    assert_same(large, ordinary, shells=False)
    assert main(["inspect", str(tmp_path), "--html", str(tmp_path / "report.html")]) == 0
    assert "is larger than memory" in " ".join(capsys.readouterr().out.split())
