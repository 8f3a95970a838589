"""Do TensorBoard, W&B and an object of one's own get what a run's history holds?"""

from __future__ import annotations

import json
import time
import warnings

import pytest

import pwmpr
from topograph.errors import TopographError

QUICK = {"method": "static", "start": "random", "density": 0.1, "epochs": 3, "model": "mlp-64-9-10"}


class Own:
    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.rows, self.seen, self.closed = fails_at, [], {}, 0

    def settings(self, values) -> None:
        self.seen = dict(values)

    def row(self, values) -> None:
        if len(self.rows) + 1 == self.fails_at:
            raise ConnectionError("gone")
        self.rows.append(dict(values))

    def close(self) -> None:
        self.closed += 1


def test_an_own_object_gets_settings_rows_and_the_end(tmp_path):
    own = Own()
    result = pwmpr.run("digits", out=tmp_path / "r", log_to=own, **QUICK)
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    assert own.rows == [json.loads(line) for line in lines]
    assert own.seen == result.settings.to_dict()
    assert own.closed == 1


def test_a_log_that_fails_is_left_out_with_one_warning_and_the_run_goes_on(tmp_path):
    bad, good = Own(fails_at=2), Own()
    with pytest.warns(UserWarning, match=r"Own 0 failed.*ConnectionError: gone") as caught:
        result = pwmpr.run("digits", out=tmp_path / "r", log_to=[bad, good], **QUICK)
    assert len(caught) == 1
    assert len(bad.rows) == 1
    assert len(good.rows) == len(result.history) == 3


@pytest.mark.parametrize(
    ("log_to", "says"),
    [("tensorbord", 'did you mean log_to="tensorboard"'), ([3], "settings, row and close")],
)
def test_what_is_no_log_is_refused_before_anything_is_left_behind(tmp_path, log_to, says):
    with pytest.raises(TopographError, match=says):
        pwmpr.run("digits", out=tmp_path / "r", log_to=log_to, **QUICK)
    assert not (tmp_path / "r").exists()


def test_tensorboard_holds_the_history(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        result = pwmpr.run("digits", out=tmp_path / "r", log_to="tensorboard", **QUICK)
        events = EventAccumulator(str(tmp_path / "r" / "tensorboard")).Reload()
        found = events.Scalars("val_accuracy")
    assert [event.step for event in found] == result.history["step"].tolist()
    assert [event.value for event in found] == pytest.approx(result.history["val_accuracy"])


def test_tensorboard_shows_rows_that_come_again_after_a_kill_once(tmp_path):
    """A run is cut back to an earlier checkpoint, as a kill leaves it, and goes on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        from pwmpr.logs.on_tensorboard import TensorBoard

        result = pwmpr.run("digits", out=tmp_path / "r", log_to="tensorboard", **QUICK)
        rows = result.history.to_dict("records")
        again = TensorBoard(tmp_path / "r")
        again.settings(result.settings.to_dict())
        for row in rows[1:]:
            again.row({**row, "seconds": row["seconds"] + 100})
        again.close()
        events = EventAccumulator(str(tmp_path / "r" / "tensorboard")).Reload()
        steps = [event.step for event in events.Scalars("val_accuracy")]
        seconds = [event.value for event in events.Scalars("seconds")]
        texts = events.Tensors("settings/text_summary")
    assert steps == result.history["step"].tolist()
    assert seconds[0] < 100 < min(seconds[1:])
    assert len(texts) == 1
    assert b"mlp-64-9-10" in texts[0].tensor_proto.string_val[0]


def test_wandb_takes_the_history_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("wandb")
        pwmpr.run("digits", out=tmp_path / "r", log_to="wandb", **QUICK)
    files = list((tmp_path / "r" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 1
    end = time.monotonic() + 60  # another process of wandb's writes it, in its own time
    while b"val_accuracy" not in files[0].read_bytes():
        assert time.monotonic() < end, f"{files[0]} holds no val_accuracy"
        time.sleep(0.1)
