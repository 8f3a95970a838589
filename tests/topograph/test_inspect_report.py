"""The report as a thing to look at and to keep: text, HTML, files, figure."""

from __future__ import annotations

import itertools
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import topograph as tg
from topograph.errors import TopographError
from topograph.inspection.drawing import depths
from topograph.inspection.report import Report
from topograph.inspection.wording import percent

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects tags and text, and checks that every element is closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def deep() -> nn.Sequential:
    sizes = [6, *[10] * 30, 4]
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3)
    )
    masks = {
        f"{k}.weight": torch.rand(model[k].weight.shape) < density
        for k, density in ((0, 0.15), (2, 0.1), (4, 0.2))
    }
    return tg.inspect(model, masks=masks)


class TestText:
    def test_a_few_plain_lines(self, report: Report) -> None:
        lines = str(report).splitlines()
        assert 6 <= len(lines) <= 18
        assert repr(report) == str(report)
        assert "3 of 3 weighted operators" in lines[1]

    def test_every_number_in_a_verdict_is_in_the_summary(self, report: Report) -> None:
        summary, text = report.summary, " ".join(report.verdicts)
        assert f"{summary['kept']} of {summary['weights']}" in text
        assert f"{summary['tau_core']} of {summary['hidden_nodes']} hidden nodes" in text
        assert f"{summary['dead']} hidden nodes lie on no path" in text
        for row in report.layers.drop_duplicates("group").nlargest(1, "dead").itertuples():
            assert f"{row.group}: {row.dead} of {row.nodes} neurons lie on no path." in text

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.0, "0%"), (1.0, "100%"), (0.9999, "99.99%"),
         (0.9999999, ">99.999%"), (0.123456, "12.3%"), (math.nan, "–"),
         (0.00001, "0.001%"), (2e-9, "2e-07%")],
    )  # fmt: skip
    def test_percent(self, value: float, text: str) -> None:
        assert percent(value) == text


class TestPage:
    def test_it_is_whole_and_runs_and_loads_nothing(self, report: Report, tmp_path: Path) -> None:
        source = report.save(tmp_path / "a.html").read_text(encoding="utf-8")
        page = Page(source)
        names = {tag for tag, _ in page.tags}
        assert not names & {"script", "iframe", "object", "link", "img", "base", "form"}
        assert "http:" not in source
        assert "https:" not in source
        assert "url(" not in source
        assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
        assert "prefers-color-scheme:dark" in source

    def test_coverage_comes_first_and_every_layer_has_a_row(self, report: Report) -> None:
        page = Page(report._repr_html_())
        text = " ".join(page.words)
        assert text.index("weighted operators") < text.index("Density")
        for name in report.layers["layer"]:
            assert name in page.words
        for sentence in report.verdicts:
            assert sentence in text

    def test_names_are_escaped(self) -> None:
        evil = "<img src=x onerror=1>&'"
        model = nn.Sequential()
        model.add_module(evil, nn.Linear(4, 3))
        model.add_module("b", nn.Linear(3, 2))
        page = Page(tg.inspect(model)._repr_html_())
        assert "img" not in {tag for tag, _ in page.tags}
        assert any(evil in word for word in page.words)

    def test_bars_reflect_the_widths_and_lie_inside(self) -> None:
        page = Page(tg.inspect(deep())._repr_html_())
        net = next(attrs for tag, attrs in page.tags if tag == "svg" and attrs["class"] == "net")
        left, top, width, height = map(float, str(net["viewbox"]).split())
        bars = [
            attrs
            for tag, attrs in page.tags
            if tag == "rect" and attrs.get("class") in ("live", "end") and "rx" in attrs
        ]
        assert len(bars) == 32
        for bar in bars:
            x, y = float(str(bar["x"])), float(str(bar["y"]))
            assert left <= x
            assert x + float(str(bar["width"])) <= left + width
            assert top <= y
            assert y + float(str(bar["height"])) <= top + height
        heights = [float(str(bar["height"])) for bar in bars]
        assert heights[1] / heights[0] == pytest.approx(math.sqrt(10 / 6), rel=0.02)

    def test_columns_follow_the_longest_way(self) -> None:
        one = np.ones((1, 1))
        graph = tg.layered_graph(
            dict.fromkeys("abcd", 1),
            [("a", "b", one), ("b", "c", one), ("c", "d", one), ("a", "c", one)],
            identity=[("a", "d", one)],
        )
        assert depths(graph) == {"a": 0, "b": 1, "c": 2, "d": 3}


class TestFiles:
    def test_json(self, report: Report, tmp_path: Path) -> None:
        held = json.loads(report.save(tmp_path / "a.json").read_text(encoding="utf-8"))
        assert held["summary"]["kept"] == report.summary["kept"]
        assert [row["layer"] for row in held["layers"]] == ["0", "2", "4"]
        assert held["layers"][2]["tau_core_ratio"] is None  # an output has none
        assert held["coverage"]["modelled"] == 3

    def test_csv_and_parquet(self, report: Report, tmp_path: Path) -> None:
        layers = pd.read_csv(report.save(tmp_path / "a.csv"), dtype={"layer": str})
        assert layers["kept"].tolist() == report.layers["kept"].tolist()
        nodes = pd.read_parquet(report.save(tmp_path / "a.parquet"))
        assert nodes["share"].tolist() == report.nodes["share"].tolist()
        assert nodes["group"].astype(str).tolist() == report.nodes["group"].astype(str).tolist()

    @pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
    def test_figures(self, report: Report, tmp_path: Path, suffix: str) -> None:
        assert report.save(tmp_path / f"a.{suffix}").stat().st_size > 5000

    @pytest.mark.parametrize("name", ["a.txt", "a", "none/a.html"])
    def test_what_cannot_be_written_is_said(
        self, report: Report, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(TopographError):
            report.save(tmp_path / name)


class TestFigure:
    def test_four_panels_with_labels(self, report: Report) -> None:
        axes = report.figure().axes
        assert len(axes) == 4
        for panel in axes:
            assert panel.get_title(loc="left")
            assert panel.get_ylabel()

    def test_labels_do_not_meet(self) -> None:
        figure = tg.inspect(deep()).figure()
        figure.draw_without_rendering()
        for panel in figure.axes:
            boxes = [
                label.get_window_extent() for label in panel.get_xticklabels() if label.get_text()
            ]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))

    def test_a_single_layer(self, tmp_path: Path) -> None:
        report = tg.inspect(nn.Linear(4, 2))
        assert math.isnan(report.summary["average_tau_core_ratio"])
        assert report.summary["tau_core"] == 0
        assert len(report.figure().axes) == 4
        Page(report.save(tmp_path / "a.html").read_text(encoding="utf-8"))


class TestDocumentation:
    """The page that explains a report names all that its files hold."""

    PAGE = Path(__file__).parents[2] / "docs" / "howto" / "read-a-report.md"

    def test_every_field_of_the_json(self, report: Report) -> None:
        words = self.PAGE.read_text(encoding="utf-8")
        held = json.loads(report.to_json())
        assert f"`{held['schema']}`" in words
        for part in (held, held["summary"], held["coverage"], held["degrees"], held["layers"][0]):
            for name in part:
                assert f"`{name}`" in words, name
        change = json.loads(report.diff(report).to_json())
        assert f"`{change['schema']}`" in words
        for name in change:
            assert f"`{name}`" in words, name
        for name in change["layers"][0]:
            stem = name.removesuffix("_a").removesuffix("_b").removesuffix("_change")
            assert f"`{name}`" in words or f"`{stem}`" in words, name

    def test_every_column_of_the_frames(self, report: Report) -> None:
        about = str(Report.__doc__)
        for name in (*report.layers.columns, *report.nodes.columns, *report.summary):
            assert f"``{name}``" in about, name


def test_a_figure_shows_itself_in_a_notebook_where_pyplot_was_never_imported(report):
    formatters = pytest.importorskip("IPython.core.formatters", reason="needs IPython")
    assert formatters.PNGFormatter()(report.figure()).startswith(b"\x89PNG")
