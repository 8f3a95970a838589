"""What a comparison of two networks says, against numbers computed another way."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import nn

import topograph as tg
from topograph.cli import main
from topograph.inspection import Comparison, Report
from topograph.inspection.kept import Kept


def net(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def masked(model: nn.Module, density: float, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator) < density
        for name, weight in model.named_parameters()
        if weight.dim() > 1
    }


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return net(8, 20, 12, 3)


@pytest.fixture(scope="module")
def masks(model: nn.Sequential) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return masked(model, 0.4, 1), masked(model, 0.25, 2)


@pytest.fixture(scope="module")
def reports(
    model: nn.Sequential, masks: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
) -> tuple[Report, Report]:
    return tg.inspect(model, masks=masks[0]), tg.inspect(model, masks=masks[1])


@pytest.fixture(scope="module")
def change(reports: tuple[Report, Report]) -> Comparison:
    return reports[0].diff(reports[1])


class TestNumbers:
    def test_overlap_is_the_masks_jaccard(self, change: Comparison, masks: tuple) -> None:
        assert change.overlap == pytest.approx(tg.jaccard(*masks))
        for row in change.layers.itertuples():
            name = f"{row.layer}.weight"
            assert row.jaccard == pytest.approx(tg.jaccard(masks[0][name], masks[1][name]))

    def test_chance_is_what_independent_masks_share(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.random(200_000) < 0.3, rng.random(200_000) < 0.1
        one, two = Kept.of(a), Kept.of(b)
        expected = one.count * two.count / one.size
        assert one.both(two) == (a & b).sum()
        assert one.both(two) == pytest.approx(expected, rel=0.05)

    def test_ranks_are_scipys(self, change: Comparison, reports: tuple[Report, Report]) -> None:
        row = change.layers.set_index("layer").loc["2"]
        for column, name in (("share", "share_correlation"), ("degree", "degree_correlation")):
            values = [r.nodes.loc[r.nodes["group"] == "2", column].to_numpy() for r in reports]
            assert row[name] == pytest.approx(kendalltau(*values, variant="b").statistic)
        shares = [r.nodes.loc[r.nodes["group"] == "2", "share"].to_numpy() for r in reports]
        same = sum(min(p, q) for p, q in zip(*(s / s.sum() for s in shares), strict=True))
        assert row["path_overlap"] == pytest.approx(same)

    def test_changes_are_differences_of_the_reports(
        self, change: Comparison, reports: tuple[Report, Report]
    ) -> None:
        a, b = (report.layers.set_index("layer") for report in reports)
        for row in change.layers.itertuples():
            assert row.density_change == b["density"][row.layer] - a["density"][row.layer]
            assert row.dead_change == b["dead"][row.layer] - a["dead"][row.layer]
        summary = change.summary.set_index("measure")
        assert summary.loc["kept", "a"] == reports[0].summary["kept"]
        assert summary.loc["kept", "change"] == summary.loc["kept", "b"] - summary.loc["kept", "a"]

    def test_the_other_way_round_it_is_the_opposite(
        self, change: Comparison, reports: tuple[Report, Report]
    ) -> None:
        back = reports[1].diff(reports[0])
        np.testing.assert_array_equal(
            change.layers["density_change"], -back.layers["density_change"]
        )
        assert back.overlap == change.overlap
        assert back.overlap_by_chance == pytest.approx(change.overlap_by_chance)

    def test_of_itself_nothing_has_changed(self, reports: tuple[Report, Report]) -> None:
        same = reports[0].diff(reports[0])
        assert same.overlap == 1
        assert (same.layers.filter(like="_change").fillna(0) == 0).all(axis=None)
        assert np.allclose(same.layers["share_correlation"].dropna(), 1)
        assert same.notes == ()

    def test_sentences_hold_the_numbers(
        self, change: Comparison, reports: tuple[Report, Report]
    ) -> None:
        from topograph.inspection.wording import percent

        text = " ".join(change.verdicts)
        before, after = (percent(report.summary["density"]) for report in reports)
        assert f"Density falls from {before} to {after}." in change.verdicts
        assert percent(change.overlap) in text
        assert all(verdict.rule for verdict in change.verdicts)


def test_a_pruned_network_is_told_from_a_rewired_one(model: nn.Sequential) -> None:
    before, after = masked(model, 0.5, 3), masked(model, 0.5, 4)
    pruned = {name: mask & after[name] for name, mask in before.items()}
    a, b = tg.inspect(model, masks=before), tg.inspect(model, masks=pruned)
    kept = [report.summary["kept"] for report in (a, b)]
    assert any(
        verdict.startswith(f"B keeps only weights that A keeps: {kept[1]} of {kept[0]} ")
        for verdict in a.diff(b).verdicts
    )
    assert any(v.startswith("A keeps only weights that B keeps") for v in b.diff(a).verdicts)


@given(st.integers(1, 40), st.data())
def test_packed_masks_count_as_plain_ones(size: int, data: st.DataObject) -> None:
    masks = st.lists(st.booleans(), min_size=size, max_size=size)
    a, b = np.array(data.draw(masks)), np.array(data.draw(masks))
    one, two = Kept.of(a), Kept.of(b)
    assert (one.count, two.count) == (a.sum(), b.sum())
    assert one.both(two) == two.both(one) == (a & b).sum()


class TestDifferentNetworks:
    def test_what_both_have_is_compared_and_the_rest_named(self) -> None:
        torch.manual_seed(0)
        a = nn.Sequential()
        a.add_module("first", nn.Linear(6, 8))
        a.add_module("only_a", nn.Linear(8, 8))
        a.add_module("last", nn.Linear(8, 3))
        b = nn.Sequential()
        b.add_module("first", nn.Linear(6, 8))
        b.add_module("new", nn.Linear(8, 10))
        b.add_module("last", nn.Linear(10, 3))
        change = tg.inspect(a).diff(tg.inspect(b))
        held = change.layers.set_index("layer")
        assert list(held.index) == ["first", "new", "only_a", "last"]
        assert held["in"].to_dict() == {"first": "both", "new": "B", "only_a": "A", "last": "both"}
        assert held.loc["first", "jaccard"] == 1
        assert math.isnan(held.loc["last", "jaccard"])
        assert math.isnan(held.loc["new", "density_a"])
        notes = " ".join(change.notes)
        assert "only A has 1 layer: only_a" in notes
        assert "only B has 1 layer: new" in notes
        assert "1 layer with weights of other shapes" in notes
        assert "last" in notes
        assert change.verdicts[0].startswith("Different structure: 1 layer of the same name")

    def test_nothing_in_common(self, tmp_path: Path) -> None:
        a, b = nn.Sequential(), nn.Sequential()
        a.add_module("a", nn.Linear(3, 2))
        b.add_module("b", nn.Linear(4, 2))
        change = tg.inspect(a).diff(tg.inspect(b))
        assert math.isnan(change.overlap)
        assert set(change.layers["in"]) == {"A", "B"}
        change.save(tmp_path / "a.html")
        assert "Different structure" in str(change)

    def test_another_tau_is_said(self, model: nn.Sequential) -> None:
        change = tg.inspect(model, tau=0.5).diff(tg.inspect(model, tau=0.9))
        assert any(note.startswith("τ is 0.5 in A and 0.9 in B") for note in change.notes)
        assert change.layers["tau_core_ratio_change"].isna().all()

    def test_of_something_else(self, reports: tuple[Report, Report]) -> None:
        with pytest.raises(tg.TopographError, match="expected a report"):
            reports[0].diff("weights.pt")  # type: ignore[arg-type]


class TestFiles:
    def test_json_and_csv(self, change: Comparison, tmp_path: Path) -> None:
        held = json.loads(change.save(tmp_path / "a.json").read_text(encoding="utf-8"))
        assert held["schema"] == "topograph.comparison/1"
        assert held["overlap"] == change.overlap
        assert held["verdicts"][0] == {
            "sentence": str(change.verdicts[0]),
            "rule": change.verdicts[0].rule,
        }
        assert len(held["layers"]) == 3
        frame = pd.read_csv(change.save(tmp_path / "a.csv"))
        assert frame["jaccard"].tolist() == pytest.approx(change.layers["jaccard"].tolist())
        with pytest.raises(tg.TopographError, match="suffix"):
            change.save(tmp_path / "a.parquet")

    def test_the_command(
        self,
        model: nn.Sequential,
        masks: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        paths = []
        for which, kept in zip("ab", masks, strict=True):
            state = {k: v * kept[k] if k in kept else v for k, v in model.state_dict().items()}
            paths.append(tmp_path / f"{which}.pt")
            torch.save(state, paths[-1])
        (tmp_path / "mine.py").write_text(
            "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(8, 20), "
            "nn.ReLU(), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3))\n"
        )
        html, numbers = tmp_path / "c.html", tmp_path / "c.json"
        words = ["compare", *map(str, paths), "--model", "mine:build"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            assert main([*words, "--html", str(html), "--json", str(numbers)]) == 0
        out = capsys.readouterr().out
        assert "Same structure: all 3 layers" in out
        assert "Two networks compared" in html.read_text(encoding="utf-8")
        held = json.loads(numbers.read_text(encoding="utf-8"))
        assert held["overlap"] == pytest.approx(tg.jaccard(*masks))

    def test_a_missing_file_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["compare", "no.pt", "no.pt", "--model", "torch.nn:Linear(4, 3)"]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
