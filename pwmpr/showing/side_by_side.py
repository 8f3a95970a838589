"""How several runs look on a terminal: one table, what tells them apart and what they came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pwmpr.showing.deviations import as_text, differing
from pwmpr.showing.recorded import Recorded, number
from pwmpr.showing.tables import heading, plain_table
from pwmpr.showing.wording import density, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

_BESIDE = 5  # settings that have a column
_LONG = 60  # characters of a name in a legend


def runs_parts(runs: Sequence[Recorded]) -> Iterator[RenderableType]:
    """Yield a table of several runs, for `rich.console.Console.print`."""
    names = differing([run.settings for run in runs])
    same = [name for name in ("recipe", "method", "seed") if name not in names]
    title = f"{len(runs)} runs"
    if same:
        title += ", all with " + ", ".join(f"{name} {runs[0].settings[name]}" for name in same)
    # What does not fit beside the outcome stands behind the folder's name.
    beside, behind = names[:_BESIDE], names[_BESIDE:]
    columns = [("#", "right")]
    columns += [(_column(name), "left") for name in beside]
    columns += [("density", "right"), ("accuracy", "right"), ("cost", "right"),
                ("epochs", "right"), ("seconds", "right")]  # fmt: skip
    table = plain_table(columns)
    for place, run in enumerate(runs, start=1):
        own = [as_text(run.settings.get(name)) for name in beside]
        table.add_row(str(place), *own, *_outcome(run))
    yield heading(title)
    yield table
    yield ""
    yield "cost: FLOPs over those of the dense network's full training (nominal)."
    on = sorted({str(run.result["accuracy_on"]) for run in runs if run.result is not None})
    if on:
        yield f"accuracy: of the final weights, on {' or '.join(on)} data."
    if not all(run.finished for run in runs):
        yield "* not finished: accuracy on validation data so far; pwmpr show DIR says more."
    yield from _folders(runs, behind)


def _column(name: str) -> str:
    return "set density" if name == "density" else name.replace("_", " ")


def _folders(runs: Sequence[Recorded], behind: Sequence[str]) -> Iterator[RenderableType]:
    """Yield which number is which folder, what they share said once, and further settings."""
    parents = {run.path.parent for run in runs}
    shared = len(parents) == 1 and parents != {Path()}
    if shared:
        yield f"in {parents.pop()}:"
    for place, run in enumerate(runs, start=1):
        more = ", ".join(f"{name} {as_text(run.settings.get(name))}" for name in behind)
        name = run.path.name if shared else str(run.path)
        yield f"{place:>3}  {name}" + (f": {more}" if more else "")


def labels(runs: Sequence[Recorded]) -> list[str]:
    """Return a short name a run: its method and as much as tells it apart, or its folder's name."""
    names = [name for name in differing([run.settings for run in runs]) if name != "method"]
    first = [name for name in ("recipe", "density", "seed") if name in names]
    texts = [str(run.settings["method"]) for run in runs]
    for name in [*first, *(name for name in names if name not in first)]:
        if len(set(texts)) == len(texts):
            break
        said = [f"{_column(name)} {as_text(run.settings.get(name))}" for run in runs]
        texts = [f"{text}, {more}" for text, more in zip(texts, said, strict=True)]
    if len(set(texts)) < len(texts) or max(map(len, texts)) > _LONG:
        texts = [run.path.name for run in runs]
    return [
        text if run.finished else f"{text} (unfinished)"
        for text, run in zip(texts, runs, strict=True)
    ]


def _outcome(run: Recorded) -> tuple[str, ...]:
    if run.result is None:
        if not run.history:
            return "-", "-*", "-", "0", "0.0"
        last = run.history[-1]
        accuracy = percent(number(last.get("val_accuracy"))) + "*"
        return (
            density(last["density"]), accuracy, "-", f"{last['epoch']:,}", f"{last['seconds']:,.1f}"
        )  # fmt: skip
    result = run.result
    return (
        density(result["density"]),
        percent(number(result["accuracy"])),
        f"{result['cost']:.3g}",
        f"{result['epochs']:,}",
        f"{sum(result['seconds'].values()):,.1f}",
    )
