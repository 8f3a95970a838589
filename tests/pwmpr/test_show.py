"""Does `pwmpr show` say of a run what its files hold, finished or not, and draw it?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import pwmpr
from pwmpr.cli import main
from pwmpr.plateau import fit_plateau
from pwmpr.recipe import recipe_settings
from pwmpr.settings import Settings
from pwmpr.showing.deviations import deviations, differing
from pwmpr.showing.picture import run_figure
from pwmpr.showing.pictures import MOST, runs_figure
from pwmpr.showing.recorded import Recorded, read_all
from pwmpr.showing.side_by_side import labels
from topograph.errors import TopographError

QUICK = {"model": "mlp-64-20-10", "epochs": 3, "rough_epochs": 1, "batch": 256}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with a run that grows, one that prunes, one at a fixed density and a dense one."""
    folder = tmp_path_factory.mktemp("show") / "runs"
    grow = {"start": "random", "start_density": 0.1, "density": 0.3}
    pwmpr.run("digits", method="random", out=folder / "grown", **grow, **QUICK)
    pwmpr.run("digits", method="imp-c", density=0.5, out=folder / "pruned", **QUICK)
    pwmpr.run("digits", method="rigl", density=0.2, out=folder / "rigl", **QUICK)
    pwmpr.run("digits", method="dense", out=folder / "whole", **QUICK)
    return folder


def stopped(run: Path, to: Path, rows: int, torn: bytes = b"") -> Path:
    """Return a copy of a run as it was after some epochs, its next row perhaps half written."""
    shutil.copytree(run, to)
    (to / "result.json").unlink()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (to / "metrics.jsonl").write_bytes(b"".join(lines[:rows]) + torn)
    return to


def shown(capsys, *arguments: str | Path) -> str:
    assert main(["show", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out
    return captured.out


def row_of(text: str, first: str) -> list[str]:
    """Return the cells of the only line that begins with these words."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(first)]
    return line.split()


def test_the_phases_hold_all_epochs_steps_flops_and_seconds_of_the_run(runs):
    for folder in runs.iterdir():
        run, result = Recorded.read(folder), pwmpr.load(folder)
        assert sum(phase.epochs for phase in run.phases) == len(result.history)
        assert sum(phase.steps for phase in run.phases) == result.summary["steps"]
        assert sum(phase.flops for phase in run.phases) == sum(result.summary["flops"].values())
        assert sum(p.seconds for p in run.phases) == pytest.approx(result.history["seconds"].max())
        assert [stage.density_to for stage in run.stages] == list(result.curve["density"])
        assert all(stage.over for stage in run.stages)


def test_a_grown_run_is_shown_with_settings_phases_growth_and_plateau(runs, capsys):
    result = pwmpr.load(runs / "grown")
    text = shown(capsys, runs / "grown")
    assert row_of(text, "start_density") == ["start_density", "0.05", "0.1"]
    assert ["density", "none", "0.3"] in [line.split() for line in text.splitlines()]
    rough = result.history[result.history["phase"] == "rough"]
    cells = row_of(text, "rough, ")
    assert cells[1] == str(len(rough))
    assert cells[3:8] == [str(len(rough)), str(rough["step"].max()), "0.1", "to", "0.3"]
    cost = rough["flops"].max() / result.summary["dense_flops"]
    assert f"{cost:.3g}" in cells
    ends = rough["val_accuracy"].to_list()
    growth = [line.split() for line in text.splitlines() if " rough " in line and "%" in line]
    growth = [cells for cells in growth if cells[0].isdigit()]
    assert [cells[4] for cells in growth] == [f"{end:.2%}" for end in ends]
    gains = [f"{100 * gain:+.2f}" for gain in np.diff(ends)]
    assert [cells[5] for cells in growth[1:]] == gains
    assert result.stopping is not None
    assert "Growth ended at density 0.3, as told" in text
    assert result.stopping.reason.split(";")[0] in text.replace("\n", " ")


def test_settings_that_the_method_brings_are_no_deviations():
    rigl = recipe_settings("digits").with_changes(method="rigl", density=0.1)
    brought = pwmpr.method.method_named("rigl").defaults
    run = rigl.with_changes(**brought)
    assert deviations(run.to_dict()) == {"method": ("pwmpr", "rigl"), "density": (None, 0.1)}
    other = Settings(recipe="of-another-version", lr=3.0).to_dict()
    assert deviations(other)["lr"] == (Settings().lr, 3.0)
    assert differing([run.to_dict(), recipe_settings("digits").to_dict()]) == ["method", "density"]


def test_a_run_that_prunes_is_shown_by_levels(runs, capsys):
    text = shown(capsys, runs / "pruned")
    assert "Levels: a row a pruning" in text
    assert "accuracy before pruning" in text
    assert "Plateau" not in text


def test_an_unfinished_run_is_shown_as_far_as_it_is_and_nothing_is_written(runs, tmp_path, capsys):
    folder = stopped(runs / "grown", tmp_path / "r", 4, torn=b'{"phase": "rou')
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    text = shown(capsys, folder, "--figure", tmp_path / "r.png")
    assert "unfinished: rough cycle 3, epoch 4" in text
    assert f"go on     pwmpr resume {folder}" in text
    assert row_of(text, "3  rough")[2:5] == ["1", "so", "far"]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = Recorded.read(folder)
    rows = pwmpr.load(runs / "grown").history[:3]
    assert run.stopping == fit_plateau(rows["density"], rows["val_accuracy"])
    said = json.loads(shown(capsys, folder, "--json"))
    assert (said["finished"], said["last"]["epoch"], said["stages"][-1]["over"]) == (
        False,
        4,
        False,
    )


def test_how_a_run_with_a_model_and_data_of_ones_own_goes_on_is_said_in_python(
    runs, tmp_path, capsys
):
    folder = stopped(runs / "rigl", tmp_path / "r", 1)
    described = json.loads((folder / "settings.json").read_text())
    described["settings"] |= {"model": "", "data": "", "recipe": "custom"}
    (folder / "settings.json").write_text(json.dumps(described))
    assert f"pwmpr.resume('{folder}', model=…, train=…) in Python" in shown(capsys, folder)


def test_a_folder_of_runs_and_several_folders_are_one_table(runs, tmp_path, capsys):
    part = stopped(runs / "rigl", tmp_path / "part", 2)
    text = shown(capsys, runs, part, runs / "grown")  # what is named twice is shown once
    lines = [line for line in text.splitlines() if line.strip()[:1].isdigit() and "%" in line]
    assert len(lines) == 5
    for line, name in zip(lines, ("grown", "pruned", "rigl", "whole"), strict=False):
        result = pwmpr.load(runs / name)
        cells = line.split()
        assert result.settings.method in cells
        assert f"{result.accuracy:.2%}" in cells
        assert f"{result.cost:.3g}" in cells
        assert cells[-2] == str(len(result.history))
    assert f"{Recorded.read(part).stages[-1].accuracy:.2%}*" in lines[-1].split()
    assert "* not finished" in text
    several = json.loads(shown(capsys, runs, "--json"))
    assert [one["cost"] for one in several] == [
        pwmpr.load(runs / name).cost for name in ("grown", "pruned", "rigl", "whole")
    ]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_figure_is_of_the_kind_that_its_name_says(runs, tmp_path, capsys, ending):
    for number, folders in enumerate(([runs / "grown"], [runs])):
        path = tmp_path / f"{number}.{ending}"
        assert str(path) in shown(capsys, *folders, "--figure", path)
        begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
        assert path.read_bytes().startswith(begins)
    if ending == "png":
        assert image.imread(path)[..., :3].std() > 0.05


def test_the_figure_draws_the_history_and_the_plateau(runs):
    result = pwmpr.load(runs / "grown")
    figure = result.figure()
    above, below, curve, flops, seconds = figure.axes
    x, y = above.lines[0].get_data()
    assert list(x) == list(result.history["epoch"])
    assert list(y) == list(result.history["val_accuracy"])
    assert below.lines[0].get_ydata()[-1] == result.density
    rough = result.history[result.history["phase"] == "rough"]
    assert list(curve.lines[0].get_xdata()) == list(rough["density"])
    bars = [bar.get_height() for bar in flops.patches]
    assert sum(bars) == pytest.approx(result.cost)
    assert "FLOPs" in flops.get_ylabel()
    assert seconds.get_ylabel() == "seconds"
    assert all(axes.get_xlabel() for axes in (below, curve))


@pytest.mark.parametrize("name", ["grown", "pruned", "rigl", "whole", "first"])
def test_no_texts_of_a_figure_overlap(runs, tmp_path, name):
    folder = stopped(runs / "grown", tmp_path / "r", 1) if name == "first" else runs / name
    assert_apart(run_figure(Recorded.read(folder)))


def test_no_texts_of_a_figure_of_several_runs_overlap(runs):
    several = read_all([runs])
    figure = runs_figure(several)
    assert_apart(figure)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == labels(several) == ["random", "imp-c", "rigl", "dense"]


def assert_apart(figure: Figure) -> None:
    """Assert that of all texts that are drawn none lies over another or leaves the picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = {}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                ticks[tick.label1] = low <= tick.get_loc() <= high
    found = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and ticks.get(text, True)
    ]
    assert len(found) > 10
    wide, high = canvas.get_width_height()
    for place, (name, box) in enumerate(found):
        assert box.x0 > -1, name
        assert box.y0 > -1, name
        assert box.x1 < wide + 1, name
        assert box.y1 < high + 1, name
        for other, second in found[:place]:
            assert not box.padded(-1).overlaps(second.padded(-1)), f"{name!r} over {other!r}"


def test_a_measure_without_accuracy_is_shown_by_its_loss(runs):
    run = Recorded.read(runs / "grown")
    rows = tuple({**row, "val_accuracy": float("nan")} for row in run.history)
    result = {**run.result, "accuracy": None, "stopping": None}
    lossy = Recorded(run.path, run.settings, rows, result)
    figure = run_figure(lossy)
    assert figure.axes[0].get_ylabel() == "validation loss"
    assert list(figure.axes[0].lines[0].get_ydata()) == [row["val_loss"] for row in rows]
    with pytest.raises(TopographError, match="only a loss"):
        runs_figure([run, lossy])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r: (r / "metrics.jsonl").write_text('{"phase": "rough"}\n'), "has no 'cycle'"),
        (lambda r: (r / "metrics.jsonl").write_text("nonsense\n"), "line 1 of"),
        (lambda r: (r / "settings.json").write_text("{}"), "no recipe, method and seed"),
        (lambda r: (r / "settings.json").write_text("["), "cannot be read"),
        (lambda r: (r / "settings.json").unlink(), "no folder in it does"),
    ],
)
def test_a_damaged_folder_is_said_in_one_line(runs, tmp_path, capsys, spoil, says):
    folder = stopped(runs / "rigl", tmp_path / "r", 2)
    spoil(folder)
    assert main(["show", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_finished_run_whose_history_is_short_is_refused(runs, tmp_path, capsys):
    shutil.copytree(runs / "rigl", tmp_path / "r")
    lines = (tmp_path / "r" / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "r" / "metrics.jsonl").write_bytes(lines[0])
    assert main(["show", str(tmp_path / "r")]) == 1
    assert "metrics.jsonl is not what the run w" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"), [("r.jpg", "ends in .png"), ("nowhere/r.png", "cannot be written")]
)
def test_a_figure_that_cannot_be_is_refused(runs, tmp_path, capsys, name, says):
    assert main(["show", str(runs / "rigl"), "--figure", str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err


def test_what_has_no_epoch_and_what_is_too_much_is_not_drawn(runs, tmp_path):
    new = Recorded.read(stopped(runs / "rigl", tmp_path / "new", 0))
    with pytest.raises(TopographError, match="before its first epoch"):
        run_figure(new)
    with pytest.raises(TopographError, match="no epoch of any"):
        runs_figure([new, new])
    with pytest.raises(TopographError, match=f"at most {MOST}"):
        runs_figure([Recorded.read(runs / "rigl")] * (MOST + 1))
