"""The growth paper's figures are drawn from small runs, and their numbers are the runs' own."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pwmpr
from pwmpr.sweeping.plan import plan as tasks_of

ANALYSES = str(Path(__file__).resolve().parents[2] / "analyses")
SMALL = ["--seeds", "0", "--densities", "0.07", "0.1", "--workers", "2"]
SHORT = ["--set", "epochs=1", "--set", "rough_epochs=1"]
DRAWN = (
    "growth_timing",
    "growth_methods",
    "sparsity_methods",
    "cost",
    "stopping_point",
    "growth_ratio",
    "density_table",
)


@pytest.fixture(scope="module", autouse=True)
def on_path() -> Any:
    sys.path.insert(0, ANALYSES)
    yield
    sys.path.remove(ANALYSES)


def script(name: str) -> Any:
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run that any of the scripts needs, each trained once."""
    folder = tmp_path_factory.mktemp("paper") / "runs"
    wanted: dict[str, dict[str, Any]] = {}
    for name in DRAWN:
        command = script("command").parse(name, "text", [*SMALL, *SHORT])
        for run in script(name).plan(command):
            wanted.setdefault(tasks_of([run])[0].name, run)
    found = pwmpr.sweep(list(wanted.values()), engine="local", workers=2, out=folder)
    assert not found.failed
    return folder


@pytest.fixture(scope="module")
def out(runs: Path) -> Path:
    """What every script leaves when it has trained (that is, found) its runs."""
    for name in DRAWN:
        picture = script(name).main(
            [*SMALL, *SHORT, "--runs", str(runs), "--out", str(runs.parent / name)]
        )
        assert picture == runs.parent / name / f"{name}.png"
    return runs.parent


def numbers(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / name / f"{name}.csv")


def told(runs: Path, run: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's settings and result."""
    opened = json.loads((runs / run / "settings.json").read_text())
    return opened["settings"], json.loads((runs / run / "result.json").read_text())


@pytest.mark.parametrize("name", DRAWN)
def test_everything_is_left_and_drawn_again_alike(out: Path, runs: Path, name: str) -> None:
    for suffix in ("png", "svg", "csv", "json", "md"):
        assert (out / name / f"{name}.{suffix}").stat().st_size > 100
    count = len(list(runs.iterdir()))
    again = out / "again" / name
    script(name).main([*SHORT, "--from-runs", str(runs), "--out", str(again)])
    pd.testing.assert_frame_equal(pd.read_csv(again / f"{name}.csv"), numbers(out, name))
    assert len(list(runs.iterdir())) == count  # nothing is trained where runs are drawn


def test_a_kept_study_gives_the_same_numbers(out: Path, runs: Path, tmp_path: Path) -> None:
    kept, measured = script("kept"), script("measured")
    names = set(numbers(out, "cost")["run"])
    held = measured.Measured([runs / name for name in sorted(names)])
    kept.keep(held, tmp_path, sorted(names), sorted(names), sorted(names)[:1])
    again = tmp_path / "cost"
    script("cost").main([*SHORT, "--from-runs", str(tmp_path), "--out", str(again)])
    pd.testing.assert_frame_equal(
        pd.read_csv(again / "cost.csv").sort_values(["run", "cycle"], ignore_index=True),
        numbers(out, "cost").sort_values(["run", "cycle"], ignore_index=True),
    )


def test_fixed_densities_are_trained_for_what_growth_takes(out: Path) -> None:
    frame = numbers(out, "density_table")
    grown = frame[frame["kind"] == "pwmpr"].set_index("asked")["epochs"]
    others = frame[~frame["kind"].isin(["pwmpr", "random", "gradient", "pwmp", "dense"])]
    assert set(others["kind"]) == {"rigl", "phew", "erk", "dsr", "snfs", "gse-grabo"}
    assert (others["epochs"] == others["asked"].map(grown)).all()
    assert set(others.loc[others["kind"] == "dsr", "asked"]) == {0.1}


def test_budgets_follow_the_recipe_and_not_numbers_typed_in() -> None:
    budgets, parse = script("budgets"), script("command").parse
    fashion = parse("x", "x", ["--recipe", "fashion-mnist-mlp"])
    assert [budgets.as_long(fashion, d)["epochs"] for d in (0.01, 0.05, 0.2)] == [65, 100, 130]
    slower = parse("x", "x", ["--recipe", "fashion-mnist-mlp", "--set", "growth_ratio=0.12"])
    assert budgets.as_long(slower, 0.05) == {"epochs": 5 * 22 + 40}
    counted = parse("x", "x", ["--recipe", "digits", "--set", "iterations=500"])
    # 3 epochs a rough training, 18 batches of 64 an epoch, 0.05 · 1.25^4 ≥ 0.1.
    assert budgets.as_long(counted, 0.1) == {"iterations": 3 * (4 + 1) * 18 + 500}
    with pytest.raises(SystemExit, match="--set rough_epochs=10"):
        budgets.as_long(parse("x", "x", ["--set", "rough_epochs=early-stop"]), 0.2)


def test_methods_have_the_accuracy_of_their_runs(out: Path, runs: Path) -> None:
    frame = numbers(out, "density_table")
    for row in frame.itertuples():
        settings, result = told(runs, row.run)
        assert row.accuracy == pytest.approx(result["accuracy"])
        assert row.kind in (settings["method"], settings["start"])
        assert row.density == pytest.approx(result["density"])
    text = (out / "density_table" / "density_table.md").read_text()
    erk = frame[(frame["kind"] == "erk") & (frame["asked"] == 0.1)]["accuracy"].iloc[0]
    assert f"{erk * 100:.2f}" in text


def test_cost_is_the_ledgers(out: Path, runs: Path) -> None:
    frame = numbers(out, "cost")
    for run, part in frame.groupby("run"):
        _, result = told(runs, str(run))
        ledger = sum(result["flops"].values()) / result["dense_flops"]
        assert part["cost"].max() == pytest.approx(ledger) == pytest.approx(result["cost"])
    pruned = frame[frame["kind"] == "imp-c"].sort_values("cycle")
    assert pruned["cost"].iloc[0] == pytest.approx(1)
    # Every level is a full training at its own density.
    assert np.diff(pruned["cost"]) == pytest.approx(pruned["density"].iloc[1:], rel=1e-3)
    assert pruned["density"].iloc[-1] == pytest.approx(0.1, rel=1e-3)


def test_onset_is_that_of_the_stop_rule(out: Path, runs: Path) -> None:
    frame = numbers(out, "stopping_point")
    rough = frame[frame["stage"] == "before growth"]
    assert set(rough["reference"]) == {"asymptote", "gain"}
    for (run, reference), part in rough.groupby(["run", "reference"]):
        fit = pwmpr.fit_plateau(part["density"], part["val_accuracy"], reference)
        _, result = told(runs, run)
        assert fit.ok
        assert part["onset"].iloc[0] == pytest.approx(fit.onset)
        assert fit.onset == pytest.approx(result["stopping"]["onset"])
        assert len(part) == result["stopping"]["points"]


def test_rough_trainings_have_their_lengths(out: Path) -> None:
    frame = numbers(out, "growth_timing")
    rough = frame[frame["stage"] == "before growth"]
    assert set(frame["schedule"]) == {"1 epoch", "early stop"}
    one = rough[(rough["schedule"] == "1 epoch") & (rough["kind"] == "pwmpr")]
    assert one["batches"].nunique() == 1
    assert one["batches"].iloc[0] > 10
    assert (one["batches_so_far"] == one["batches"] * (one["cycle"] + 1)).all()
    assert one["density"].max() == pytest.approx(0.1, rel=1e-3)  # the longest run's
    assert list(one["cycle"]) == [0, 1, 2, 3, 4]


def test_smaller_ratios_take_more_steps(out: Path) -> None:
    frame = numbers(out, "growth_ratio")
    rough = frame[frame["stage"] == "before growth"]
    steps = rough.groupby("growth_ratio")["cycle"].max()
    assert list(steps.index) == [0.06, 0.12, 0.25]
    assert steps.is_monotonic_decreasing
    assert steps[0.25] == 4


def test_one_seed_tells_nothing(out: Path) -> None:
    text = (out / "growth_methods" / "growth_methods.md").read_text()
    assert "cannot be told" in text
    assert "**agrees**" not in text
    assert "**does not agree**" not in text


def test_runs_that_differ_without_a_choice_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--set rough_epochs="):
        script("growth_methods").main(["--from-runs", str(runs), "--out", str(tmp_path)])


def test_as_good_needs_a_narrow_interval() -> None:
    finding = script("finding")
    for mean, error, expected in (
        (-0.001, 0.0005, finding.AGREES),  # a deficit, but a small one for sure
        (0.0, 0.01, finding.OPEN),
        (-0.02, 0.001, finding.DISAGREES),
        (0.03, 0.001, finding.AGREES),
        (-0.02, 0.01, finding.OPEN),
    ):
        gap = finding.Difference(mean, error, 3)
        assert finding.as_good("x", "y", gap).verdict == expected
    assert finding.as_good("x", "y", finding.Difference(0.1, np.nan, 1)).verdict == finding.OPEN
    within = finding.verdict_within
    assert within(pd.Series([1.4, 1.6]), 1, 2) == finding.AGREES
    assert within(pd.Series([3.0, 4.0]), 1, 2) == finding.DISAGREES
    assert within(pd.Series([1.4, 4.0]), 1, 2) == within(pd.Series([1.4]), 1, 2) == finding.OPEN


def test_illustration_counts_paths(tmp_path: Path) -> None:
    figure = script("growth_illustration")
    figure.main(["--out", str(tmp_path)])
    frame = pd.read_csv(tmp_path / "growth_illustration.csv")
    layers = [
        np.zeros((figure.SIZES[n + 1], figure.SIZES[n]), dtype=int)
        for n in range(len(figure.EDGES))
    ]
    for matrix, edges in zip(layers, figure.EDGES, strict=True):
        for source, target in edges:
            matrix[target, source] = 1
    from_inputs, to_outputs = [np.ones(figure.SIZES[0])], [np.ones(figure.SIZES[-1])]
    for matrix in layers:
        from_inputs.append(matrix @ from_inputs[-1])
    for matrix in reversed(layers):
        to_outputs.insert(0, to_outputs[0] @ matrix)
    for row in frame.itertuples():
        score = from_inputs[row.layer][row.source] * to_outputs[row.layer + 1][row.target]
        assert row.score == pytest.approx(score)
        assert row.present == bool(layers[row.layer][row.target, row.source])
    ratio = frame["relative_score"] / frame["score"]
    assert ratio.std() == pytest.approx(0, abs=1e-9)  # the tensor path says the same
    assert frame["probability"].sum() == pytest.approx(1)
    assert frame.loc[frame["present"], "probability"].sum() == 0
    assert frame["drawn"].sum() == int(figure.FRACTION * frame["present"].sum())
    text = (tmp_path / "growth_illustration.md").read_text()
    assert text.count("**agrees**") == 2


def test_isolated_nodes_are_those_without_an_edge(tmp_path: Path) -> None:
    figure = script("isolated_nodes")
    small = ["--seeds", "0", "--recipe", "cifar10-resnet32", "--densities", "0.002", "0.05"]
    figure.main([*small, "--out", str(tmp_path)])
    frame = pd.read_csv(tmp_path / "isolated_nodes.csv").set_index(["rule", "asked"])
    assert frame.loc[("phew", 0.05), "isolated"] == 0
    assert 0.2 < frame.loc[("phew", 0.002), "part"] < 0.8
    assert set(frame["nodes"]) == {1136}
    # Of the inner layers of blocks, which no residual sum joins, the masks alone tell.
    subject = figure.SUBJECTS[0]
    model = subject.build(0)
    example = figure.torch.zeros(1, 3, 32, 32)
    masks = pwmpr.initial_masks(model, density=0.002, rule="uniform", example_input=example, seed=0)
    graph = figure.tg.capture(model, example, masks=masks)
    isolated = set(figure.tg.isolated_nodes(graph))
    for block in ("layer1.0", "layer2.1", "layer3.4"):
        into = masks[f"{block}.conv1.weight"].flatten(1).any(1)
        out_of = masks[f"{block}.conv2.weight"].transpose(0, 1).flatten(1).any(1)
        first = graph.nodes(f"{block}.conv1").start
        expected = {first + int(n) for n in (~(into | out_of)).nonzero().flatten()}
        assert expected == isolated & set(range(first, first + len(into)))
        assert expected


def test_sources_are_joined_into_one_study(out: Path, runs: Path, tmp_path: Path) -> None:
    keeping, study = script("keep"), script("study")
    whole, first, both = tmp_path / "whole", tmp_path / "first", tmp_path / "both"
    where = ["--where", "method in ['pwmpr', 'rigl']", "--snapshots", "method == 'rigl'"]
    keeping.main([str(runs), str(whole), *where, "--nodes", "False"])
    keeping.main([str(runs), str(first), "--where", "method == 'rigl'", "--nodes", "False"])
    keeping.main([str(first), str(runs), str(both), *where, "--nodes", "False"])
    keeping.main([str(both), str(first), str(both), *where, "--nodes", "False"])  # into itself
    one, other = study.read(whole), study.read(both)
    assert {"pwmpr", "rigl"} == set(one.runs["method"])
    for table in ("runs", "history"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table))
    looked = [
        study_.where(lambda runs: runs["method"] == "rigl").snapshots for study_ in (one, other)
    ]
    pd.testing.assert_frame_equal(*looked)
    assert set(one.runs["data_dir"]) == {None}
    with pytest.raises(SystemExit, match="no run has \"method == 'none'\""):
        keeping.main([str(runs), str(tmp_path / "none"), "--where", "method == 'none'"])


def test_costs_of_longer_trainings_are_told_in_the_same_unit(out: Path, runs: Path) -> None:
    frame = numbers(out, "density_table")
    dense = {told(runs, run)[1]["dense_flops"] for run in frame[frame["kind"] == "dense"]["run"]}
    assert len(dense) == 1
    for row in frame[frame["kind"].isin(["rigl", "erk", "pwmpr"])].itertuples():
        flops = sum(told(runs, row.run)[1]["flops"].values())
        assert row.cost == pytest.approx(flops / min(dense))
    # A static network costs its density times its epochs over the dense network's.
    erk = frame[frame["kind"] == "erk"].iloc[0]
    epochs = frame.loc[frame["kind"] == "dense", "epochs"].iloc[0]
    assert erk["cost"] == pytest.approx(erk["density"] * erk["epochs"] / epochs, rel=0.01)


def test_a_kept_run_trained_again_has_the_same_numbers(
    out: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = script("train_again")
    query = "method == 'pwmpr' and density == 0.1"
    script("keep").main([str(runs), str(tmp_path / "kept"), "--where", query, "--nodes", "False"])
    made = again.main(
        [str(tmp_path / "kept"), "--where", "seed == 0", "--out", str(tmp_path / "r")]
    )
    assert "every number of every epoch is the same" in capsys.readouterr().out
    assert (made / "result.json").is_file()
    for wrong, told in (
        (["--run", "other"], "there is no run 'other'"),
        (["--where", "seed == 9"], "no run has 'seed == 9'"),
        (["--where", "no such"], "cannot be read"),
    ):
        with pytest.raises(SystemExit, match=told):
            again.main([str(tmp_path / "kept"), *wrong])
    # A kept history with one weight less is found.
    history = pd.read_parquet(tmp_path / "kept" / "history.parquet")
    history["count"] -= 1
    history.to_parquet(tmp_path / "kept" / "history.parquet")
    with pytest.raises(SystemExit, match="other counts"):
        again.main([str(tmp_path / "kept"), "--where", "seed == 0"])


def test_a_training_as_dear_as_growth_takes_its_operations() -> None:
    budgets, parse = script("budgets"), script("command").parse
    fashion = parse("x", "x", ["--recipe", "fashion-mnist-mlp"])
    for density, steps in ((0.01, 4), (0.05, 11), (0.2, 17)):
        passed = [0.005 * 1.25**step for step in range(steps)] + [density]
        dense_epochs = 5 * sum(passed) + 40 * density
        assert budgets.as_dear(fashion, density) == {"epochs": round(dense_epochs / density)}


def test_runs_beside_growth_at_its_cost_are_found_by_their_operations() -> None:
    study = script("study").read(Path(ANALYSES).parent / "docs" / "data" / "fashion-mnist-mlp")
    study = study.where(lambda runs: (runs["growth_ratio"] == 0.25) & (runs["rough_epochs"] == 5))
    dear = script("matching").equally_dear(study).runs
    grown = study.runs[(study.runs["method"] == "pwmpr") & study.runs["density"].notna()]
    flops = (grown["cost"] * grown["dense_flops"]).groupby(grown["density"].astype(float)).mean()
    for _, row in dear.iterrows():
        wanted = flops[row["density"]]
        assert row["cost"] * row["dense_flops"] == pytest.approx(wanted, rel=0.05)
    count = dear.groupby([script("plans").kind(dear), dear["density"].astype(float)]).size()
    # RigL at 1% costs a quarter more; PHEW was trained as long as growth alone.
    assert count.to_dict() == {
        ("erk", 0.01): 3, ("erk", 0.05): 3, ("erk", 0.2): 3, ("phew", 0.01): 3,
        ("rigl", 0.05): 3, ("rigl", 0.2): 3,
    }  # fmt: skip


def test_a_kept_study_does_not_say_where_somebodys_data_lay(tmp_path: Path) -> None:
    kept = script("kept")
    held = kept.Kept(Path(ANALYSES).parent / "docs" / "data" / "fashion-mnist-convnet")
    name = next(iter(held.described))
    held.described[name]["settings"]["data_dir"] = "/home/somebody/data/fashion"
    kept.keep(held, tmp_path, [name], [], [])
    assert kept.Kept(tmp_path).runs["data_dir"].tolist() == ["fashion"]
    assert {file.name for file in tmp_path.iterdir()} == {"runs.parquet", "history.parquet"}
