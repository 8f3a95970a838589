"""The figures of S are drawn from a few small runs, and their numbers are those of topograph."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import topograph as tg
from topograph.capturing import capture
from topograph.inspection.runs import open_run

NAMES = (
    "degree_evolution",
    "power_law_evolution",
    "input_heatmap",
    "dormant_neurons",
    "kshell_evolution",
    "rank_correlation",
    "accuracy_tables",
    "learning_rate_steps",
)
#: Those that draw more than the plain runs of the three rules.
WITH_OTHERS = ("accuracy_tables", "learning_rate_steps")
#: What makes a script quick, beside `SMALL`.
OWN = {
    "power_law_evolution": ("--replicas", "20"),
    "dormant_neurons": ("--thresholds", "5", "12"),
    "accuracy_tables": ("--densities", "0.1"),
}
#: Six epochs hold six updates.
SMALL = ("--seeds", "0", "--set", "epochs=6", "--workers", "1")


def draw(name: str, *arguments: str) -> Path:
    """Draw a figure as its script does and return the folder of what it left."""
    picture = importlib.import_module(name).main([*arguments, *OWN.get(name, ())])
    assert picture.name == f"{name}.png"
    return picture.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything drawn once, from runs that all scripts share."""
    folder = tmp_path_factory.mktemp("survival")
    for name in NAMES:
        draw(name, *SMALL, "--runs", str(folder / "runs"), "--out", str(folder / name))
    return folder


@pytest.fixture(scope="module")
def kept(place: Path) -> Path:
    """The runs of the three rules as a kept study."""
    where = "density == 0.1 and method != 'dense' and schedule == 'step' and switch_method.isna()"
    importlib.import_module("keep").main(
        [str(place / "runs"), str(place / "kept"), "--where", where]
    )
    return place / "kept"


def numbers(place: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(place / name / f"{name}.csv")


def runs_of(place: Path) -> dict[str, Path]:
    """The folder of each regrow rule's plain run."""
    study = importlib.import_module("study")
    runs = study.read(place / "kept").runs
    return {row["method"]: place / "runs" / str(name) for name, row in runs.iterrows()}


def graph_at(folder: Path, number: int) -> tg.LayeredGraph:
    """The graph of one snapshot of a run, captured anew."""
    run = open_run(folder)
    return capture(run.model(None), run.example, masks=run.snapshots[number].masks)


def hidden_degrees(graph: tg.LayeredGraph) -> np.ndarray:
    return np.concatenate([tg.degree(graph)[graph.nodes(name)] for name in graph.hidden])


def last_snapshot(folder: Path) -> int:
    return len(open_run(folder).snapshots) - 1


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_left_and_says_what_was_found(place: Path, name: str) -> None:
    folder = place / name
    for suffix in ("png", "svg", "csv", "json"):
        assert (folder / f"{name}.{suffix}").stat().st_size > 100
    text = (folder / f"{name}.md").read_text(encoding="utf-8")
    assert "recipe digits-survival" in text
    assert "| claim | measured | verdict |" in text
    # One seed shows what was measured; only counts of runs can be judged.
    rows = text.split("| claim |")[1].splitlines()[2:]
    tests = [row for row in rows if "power law" not in row and "follow none" not in row]
    assert all("cannot be told" in row for row in tests if row)


def test_scripts_share_their_runs(place: Path) -> None:
    runs = {path.parent.name for path in (place / "runs").glob("*/result.json")}
    # Three rules; the same at a constant rate; dense; three times two switches.
    assert len(runs) == 3 + 3 + 1 + 6


def test_degrees_of_the_nodes_sum_to_the_kept_weights(kept: Path) -> None:
    nodes = pd.read_parquet(kept / "nodes.parquet")
    snapshots = pd.read_parquet(kept / "snapshots.parquet")
    sums = nodes.groupby(["run", "snapshot"], observed=True)[["in_degree", "out_degree"]].sum()
    weights = snapshots.set_index(["run", "snapshot"])["kept"]
    for column in sums:
        assert (sums[column] == weights.reindex(sums.index)).all()


def test_first_updates_are_looked_at(kept: Path) -> None:
    nodes = pd.read_parquet(kept / "nodes.parquet")
    assert {0, 1, 2} <= set(nodes["snapshot"])


def test_degree_distributions_are_the_graphs(place: Path, kept: Path) -> None:
    frame = numbers(place, "degree_evolution")
    for method, folder in runs_of(place).items():
        last = last_snapshot(folder)
        of = frame[(frame["method"] == method) & (frame["snapshot"] == last)]
        counts = of[of["layer"] == "hidden"].set_index("degree")["units"]
        degrees, units = np.unique(hidden_degrees(graph_at(folder, last)), return_counts=True)
        assert counts.index.tolist() == degrees.tolist()
        assert counts.tolist() == units.tolist()


def test_dormant_units_are_those_of_topograph(place: Path, kept: Path) -> None:
    frame = numbers(place, "dormant_neurons")
    for method, folder in runs_of(place).items():
        last = last_snapshot(folder)
        graph = graph_at(folder, last)
        inside = np.concatenate(
            [np.arange(graph.n_nodes)[graph.nodes(name)] for name in graph.hidden]
        )
        of = frame[(frame["method"] == method) & (frame["snapshot"] == last)]
        assert set(of["threshold"]) == {5, 12}
        for threshold, dormant in of[["threshold", "dormant"]].itertuples(index=False):
            assert dormant == np.isin(tg.dormant_nodes(graph, threshold), inside).sum()


def test_correlations_are_scipys(place: Path, kept: Path) -> None:
    frame = numbers(place, "rank_correlation")
    for method, folder in runs_of(place).items():
        last = last_snapshot(folder)
        pair = (frame["earlier"] == 0) & (frame["later"] == last) & (frame["method"] == method)
        a, b = (hidden_degrees(graph_at(folder, at)) for at in (0, last))
        assert frame[pair]["tau"].item() == pytest.approx(stats.kendalltau(a, b).statistic)


def test_fits_are_those_of_topograph(place: Path, kept: Path) -> None:
    frame = numbers(place, "power_law_evolution")
    fixed = int(frame[frame["tail"] == "fixed"]["xmin"].max())
    for method, folder in runs_of(place).items():
        last = last_snapshot(folder)
        degrees = hidden_degrees(graph_at(folder, last))
        for tail, xmin in (("best fit", None), ("fixed", fixed)):
            fit = tg.fit_power_law(degrees, xmin, replicas=20)
            row = frame[
                (frame["method"] == method) & (frame["snapshot"] == last) & (frame["tail"] == tail)
            ].iloc[0]
            for name in ("alpha", "sigma", "D", "p_value", "xmin", "n_tail"):
                assert row[name] == pytest.approx(getattr(fit, name)), name
            against = fit.compare(["lognormal"])["lognormal"]
            assert row["R_lognormal"] == pytest.approx(against.R)


def test_drawn_distance_is_the_fits() -> None:
    distribution = importlib.import_module("power_law_fits").distribution
    degrees = np.random.default_rng(3).zipf(2.3, 300)
    for xmin in (None, 2, 4):
        fit = tg.fit_power_law(degrees, xmin, replicas=0)
        at, data, law = distribution(fit)
        assert at[0] == fit.xmin
        assert data[-1] == pytest.approx(1)
        assert np.abs(data - law).max() == pytest.approx(fit.D)


def test_input_maps_hold_every_connection_of_the_inputs(place: Path, kept: Path) -> None:
    frame = numbers(place, "input_heatmap")
    for method, folder in runs_of(place).items():
        last = last_snapshot(folder)
        graph = graph_at(folder, last)
        first, second = graph.weight_blocks[:2]
        of = frame[(frame["method"] == method) & (frame["snapshot"] == last)]
        image = of.pivot(index="row", columns="column", values="out_degree").to_numpy()
        edges = first.matrix.toarray() != 0
        assert image.shape == (8, 8)
        assert image.ravel().tolist() == edges.sum(axis=0).tolist()
        paths = (second.matrix.toarray() != 0).astype(int) @ edges.astype(int)
        assert of.sort_values("pixel")["two_steps"].tolist() == paths.sum(axis=0).tolist()


def test_evenness_and_symmetry_of_maps() -> None:
    heatmap = importlib.import_module("input_heatmap")
    assert heatmap.gini(np.ones(16)) == pytest.approx(0)
    assert heatmap.gini(np.eye(1, 16)[0]) == pytest.approx(15 / 16)
    symmetric = np.array([[1.0, 2, 2, 1], [0, 3, 3, 0], [5, 1, 1, 5], [2, 2, 2, 2]]).ravel()
    assert heatmap.mirrored(symmetric) == pytest.approx(1)
    assert heatmap.lopsided(symmetric) == 0
    assert heatmap.lopsided(np.tile([2.0, 0, 0, 0], 4)) == pytest.approx(2)


def test_shells_add_up_to_the_network(place: Path, kept: Path) -> None:
    frame = numbers(place, "kshell_evolution")
    for method, folder in runs_of(place).items():
        last = last_snapshot(folder)
        summary = tg.k_shell_summary(graph_at(folder, last))
        row = frame[(frame["method"] == method) & (frame["snapshot"] == last)].iloc[0]
        assert (row["k_max"], row["core"]) == (summary.k_max, len(summary.core))
        assert row["crust"] == len(summary.crust) - len(summary.isolated)


def test_accuracies_are_the_runs(place: Path) -> None:
    frame = numbers(place, "accuracy_tables")
    assert frame["kind"].value_counts().to_dict() == {"mixed": 6, "pure": 3, "dense": 1}
    results = [
        json.loads(path.read_text())["accuracy"]
        for path in (place / "runs").glob("*-dense-*/result.json")
    ]
    assert frame[frame["kind"] == "dense"]["accuracy"].tolist() == results


def test_steps_of_the_rate_are_where_the_settings_say(place: Path) -> None:
    steps = importlib.import_module("learning_rate_steps")
    falls = steps.drops(numbers(place, "learning_rate_steps"))
    assert list(falls) == [4, 5]  # after half and three quarters of six epochs
    assert list(falls.values()) == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize("name", ["input_heatmap", "rank_correlation", *WITH_OTHERS])
def test_runs_and_kept_studies_give_the_same_numbers(
    place: Path, kept: Path, name: str, tmp_path: Path
) -> None:
    common = ("--recipe", "digits-survival", "--set", "epochs=6")
    tables = []
    for source in (place / "runs", kept):
        out = tmp_path / source.name
        draw(name, "--from-runs", str(source), "--out", str(out), *common)
        tables.append(pd.read_csv(out / f"{name}.csv"))
    runs, study = tables
    chosen = plain(runs) if name in WITH_OTHERS else runs
    same(chosen, study)
    drawn = numbers(place, name)
    same(plain(drawn) if name in WITH_OTHERS else drawn, study)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the runs that the kept study holds."""
    if "kind" in frame:
        return frame[frame["kind"] == "pure"]
    return frame[frame["schedule"] == "step"]


def same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    keys: Sequence[str] = [c for c in first if not pd.api.types.is_float_dtype(first[c])]
    pd.testing.assert_frame_equal(
        first.sort_values([*keys, *first.columns], ignore_index=True),
        second.sort_values([*keys, *second.columns], ignore_index=True),
        check_dtype=False,
    )


def test_several_densities_are_refused_where_one_is_drawn() -> None:
    with pytest.raises(SystemExit, match="names 2 densities; degree_evolution shows networks of"):
        draw("degree_evolution", "--densities", "0.05", "0.1")


def test_channels_are_no_pixels() -> None:
    heatmap = importlib.import_module("input_heatmap")
    with pytest.raises(SystemExit, match="have 3 inputs, which are no pixels"):
        heatmap.on_pixels(pd.DataFrame({"node": [0, 1, 2]}))


def test_a_single_input_channel_has_no_distribution() -> None:
    rewiring, study = importlib.import_module("rewiring"), importlib.import_module("study")
    degrees = importlib.import_module("degree_evolution")
    data = Path(__file__).resolve().parents[2] / "docs" / "data"
    for name, shown in (("convnet-survival", {"hidden"}), ("rbm", {"hidden", "input"})):
        every = degrees.layers(rewiring.nodes(study.read(data / f"fashion-mnist-{name}")))
        assert set(every["layer"]) == shown
