"""evolution: every row agrees with what the files of its snapshot say when read by hand."""

from __future__ import annotations

import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import igraph
import numpy as np
import pytest
import torch
from torch import nn

import topograph as tg
from topograph.distance import graph_distance
from topograph.timeline import PATH_COLUMNS, evolution

pwmpr = pytest.importorskip("pwmpr")

WIDTHS = [64, 100, 100, 100, 10]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("runs") / "grown"
    return pwmpr.run(
        "digits", out=out, density=0.09, rough_epochs=1, epochs=1, threads=1, progress=False
    )


@pytest.fixture(scope="module")
def frame(grown: Any) -> Any:
    return evolution(grown.folder)


def by_hand(masks: Any) -> igraph.Graph:
    """Return the MLP's graph of kept weights, node after node, layer after layer."""
    starts = np.cumsum([0, *WIDTHS])
    edges = [
        (int(starts[k] + i), int(starts[k + 1] + j))
        for k, mask in enumerate(masks.values())
        for j, i in np.argwhere(mask.numpy())
    ]
    return igraph.Graph(int(starts[-1]), edges)


def test_a_row_a_snapshot_in_order_of_time(grown: Any, frame: Any) -> None:
    assert len(frame) == len(grown.snapshots) > 3
    assert frame["snapshot"].tolist() == list(range(len(frame)))
    assert frame["density"].tolist() == [snapshot.density for snapshot in grown.snapshots]
    assert frame["step"].is_monotonic_increasing
    assert set(frame["method"]) == {"pwmpr"}


def test_connectivity_is_that_of_the_masks(grown: Any, frame: Any) -> None:
    hidden = slice(WIDTHS[0], -WIDTHS[-1])
    for row, snapshot in zip(frame.itertuples(), grown.snapshots, strict=True):
        graph = by_hand(snapshot.masks)
        shells = np.array(graph.coreness())
        degrees = np.array(graph.degree())[hidden]
        assert (row.k_max, row.k_max_nodes) == (shells.max(), (shells == shells.max()).sum())
        assert (row.isolated, row.dormant) == ((degrees == 0).sum(), (degrees <= 10).sum())
        assert (row.degree_mean, row.degree_max) == (pytest.approx(degrees.mean()), degrees.max())
        assert row.effective_density <= row.density + 1e-12
        assert row.dead >= row.isolated


def test_path_measures_are_those_of_the_weights_training_ended_with(grown: Any, frame: Any) -> None:
    for row, snapshot in zip(frame.itertuples(), grown.snapshots, strict=True):
        held = snapshot.weights
        layers = [(held[n] * m).abs().double() for n, m in snapshot.masks.items()]
        forward = [torch.ones(WIDTHS[0], dtype=torch.float64)]
        for layer in layers:
            forward.append(layer @ forward[-1])
        backward = [torch.ones(WIDTHS[-1], dtype=torch.float64)]
        for layer in reversed(layers):
            backward.insert(0, layer.T @ backward[0])
        assert row.log10_paths == pytest.approx(math.log10(forward[-1].sum()), rel=1e-6)
        through = [a * b for a, b in zip(forward, backward, strict=True)][1:-1]
        sizes = [_fewest(part.numpy()) for part in through]
        assert row.average_tau_core_ratio == pytest.approx(np.mean(sizes) / 100)
        assert row.tau_core == _fewest(torch.cat(through).numpy())


def _fewest(values: np.ndarray) -> int:
    """Return how few of the values hold 90% of their sum."""
    held = np.cumsum(np.sort(values)[::-1])
    return int((held < 0.9 * held[-1] * (1 - 1e-9)).sum()) + 1


def test_overlap_and_exploration_are_those_of_the_sets_of_kept_weights(
    grown: Any, frame: Any
) -> None:
    sets = [
        {(n, *map(int, at)) for n, m in s.masks.items() for at in np.argwhere(m.numpy())}
        for s in grown.snapshots
    ]
    total = sum(a * b for a, b in pairwise(WIDTHS))
    assert math.isnan(frame["jaccard_previous"][0])
    for k, kept in enumerate(sets):
        assert frame["kept"][k] == len(kept)
        assert frame["explored"][k] == pytest.approx(len(set().union(*sets[: k + 1])) / total)
        assert frame["jaccard_first"][k] == pytest.approx(len(sets[0] & kept) / len(sets[0] | kept))
        if k:
            before = sets[k - 1]
            overlap = len(before & kept) / len(before | kept)
            assert frame["jaccard_previous"][k] == pytest.approx(overlap)


def test_accuracy_is_that_of_the_weights_looked_at(grown: Any, frame: Any) -> None:
    # The last snapshot is trained roughly and then in full; its weights are the rough ones'.
    for k, accuracy in enumerate(frame["val_accuracy"]):
        rows = grown.history[grown.history["cycle"] == k]
        rough = rows[rows["phase"] == "rough"]
        assert accuracy == (rough if len(rough) else rows)["val_accuracy"].iloc[-1]


def test_a_result_gives_the_same_and_keeps_its_own_weights(grown: Any, frame: Any) -> None:
    before = {name: value.clone() for name, value in grown.model.state_dict().items()}
    again = evolution(grown)
    assert again.equals(frame)
    assert all(torch.equal(before[n], value) for n, value in grown.model.state_dict().items())


def test_more_columns_are_there_on_request(grown: Any) -> None:
    also = {"edges": lambda graph: graph.n_edges}
    more = evolution(grown, distances=True, also=also, xmin=12, replicas=3, dormant=0)
    assert more["edges"].tolist() == more["kept"].tolist()
    assert (more["dormant"] == more["isolated"]).all()
    assert set(more["power_law_xmin"]) == {12.0}
    assert more["power_law_p"].between(0, 1).all()
    graphs = [
        tg.capture(grown.model, torch.zeros(1, 1, 8, 8), masks=snapshot.masks)
        for snapshot in grown.snapshots[:2]
    ]
    assert more["graph_distance"][1] == graph_distance(*graphs)


def test_snapshots_without_weights_have_connectivity_alone(
    grown: Any, frame: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(grown.folder, folder)
    (folder / "result.json").unlink()
    (folder / "weights" / "step-001.safetensors").unlink()
    looked = evolution(folder)
    assert looked.loc[1, list(PATH_COLUMNS)].isna().all()
    columns = [name for name in frame if name not in {*PATH_COLUMNS, "val_accuracy"}]
    assert looked[columns].equals(frame[columns])
    assert looked.loc[2, list(PATH_COLUMNS)].equals(frame.loc[2, list(PATH_COLUMNS)])


def test_masks_that_move_at_fixed_density(tmp_path: Path) -> None:
    run = pwmpr.run(
        "digits", method="set", out=tmp_path / "set", density=0.05, epochs=4, update_every=20,
        threads=1, progress=False,
    )  # fmt: skip
    looked = evolution(run)
    assert len(looked) == len(run.snapshots) > 2
    assert looked["kept"].nunique() == 1
    assert (looked["jaccard_previous"][1:] < 1).all()
    assert looked["explored"].is_monotonic_increasing
    assert looked["explored"].iloc[-1] > looked["density"].iloc[-1]
    # Only the weights at the end are kept, and only some snapshots last until an epoch ends.
    assert looked["log10_paths"].notna().tolist() == [False] * (len(looked) - 1) + [True]
    assert looked["val_accuracy"].iloc[-1] == run.history["val_accuracy"].iloc[-1]


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


def test_a_model_of_ones_own_is_asked_for(tmp_path: Path) -> None:
    x = torch.randn(60, 1, 8, 8)
    data = torch.utils.data.TensorDataset(x, torch.randint(0, 10, (60,)))
    run = pwmpr.run(
        model=Own(), train=data, validation=data, test=data, out=tmp_path / "own", density=0.5,
        start_density=0.3, rough_epochs=1, epochs=1, batch=30, threads=1, progress=False,
    )  # fmt: skip
    with pytest.raises(tg.TopographError, match=r"model of its own class.*model=Net\(\)"):
        evolution(run.folder)
    assert evolution(run.folder, model=Own()).equals(evolution(run))


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.second = nn.Conv2d(6, 5, 3, stride=2, bias=False)
        self.head = nn.Linear(5, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))
        return out


def test_paths_of_convolutions_are_counted_with_their_borders(tmp_path: Path) -> None:
    x = torch.randn(40, 1, 8, 8)
    data = torch.utils.data.TensorDataset(x, torch.randint(0, 10, (40,)))
    run = pwmpr.run(
        model=Convolutions(), train=data, validation=data, test=data, out=tmp_path / "conv",
        density=0.6, start_density=0.4, rough_epochs=1, epochs=1, batch=20, threads=1,
        progress=False,
    )  # fmt: skip
    looked = evolution(run, also={"graph_paths": lambda graph: tg.path_sums(graph).log_total})
    for row, snapshot in zip(looked.itertuples(), run.snapshots, strict=True):
        net = Convolutions()
        net.load_state_dict(snapshot.weights)
        with torch.no_grad():
            for name, weight in net.named_parameters():
                weight.mul_(snapshot.masks.get(name, torch.ones_like(weight))).abs_()
            # On magnitudes and a positive input the network is linear, and its output is R.
            total = float(net.double()(torch.ones(1, 1, 8, 8, dtype=torch.float64)).sum())
        assert row.log10_paths == pytest.approx(math.log10(total), abs=1e-5)
        assert row.log10_paths != pytest.approx(row.graph_paths / math.log(10), abs=1e-3)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("no/such/folder", "is no folder; expected the folder of a run"),
        (3, "run is a int; expected the folder of a run or the result of one"),
    ],
)
def test_what_is_no_run_is_refused(run: Any, message: str) -> None:
    with pytest.raises(tg.TopographError, match=message):
        evolution(run)
