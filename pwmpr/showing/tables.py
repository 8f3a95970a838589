"""How one run looks on a terminal: where it stands, its settings, phases, growth and plateau."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pwmpr.showing.deviations import as_text, deviations
from pwmpr.showing.recorded import Recorded
from pwmpr.showing.wording import density, duration, flops, percent, verdict

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_WIDE = 110  # columns of what is not written to a terminal
_MOST = 40  # rows of the growth table; beyond, the middle is left out


def console() -> Console:
    """Return a console for standard output: control codes on a terminal only."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found = Console(highlight=False, markup=False, emoji=False, width=_WIDE)
    return found


def run_parts(run: Recorded) -> Iterator[RenderableType]:
    """Yield the tables of a run, for `rich.console.Console.print`."""
    yield from _settings(run)
    if run.history:
        yield ""
        yield heading("Phases")
        yield _phases(run)
    if len(run.stages) > 1:
        yield ""
        yield heading("Levels: a row a pruning" if _falls(run) else "Growth: a row a cycle")
        yield _cycles(run)
    if run.stopping is not None:
        yield ""
        yield from _plateau(run)


def state_lines(run: Recorded) -> list[str]:
    """Return in lines where an unfinished run stands and how it goes on."""
    settings = run.settings
    lines = [
        f"run       {settings['recipe']}, method {settings['method']}, seed {settings['seed']}",
    ]
    state = "before its first epoch"
    if run.history:
        last = run.history[-1]
        accuracy = run.stages[-1].accuracy
        state = (
            f"{last['phase']} cycle {last['cycle']}, epoch {last['epoch']}, density "
            f"{density(last['density'])}, validation accuracy {percent(accuracy)}"
        )
    lines.append(f"state     unfinished: {state}")
    if run.written is not None:
        lines.append(f"written   {duration(run.written)} ago")
    return [*lines, f"go on     {way_on(run)}"]


def way_on(run: Recorded) -> str:
    """Return what a user does so that an unfinished run goes on."""
    wanted = []
    if not run.settings.get("model", True):
        wanted.append("model=…")
    if not run.settings.get("data", True):
        wanted.append("train=…")
    if wanted:
        return f"pwmpr.resume({str(run.path)!r}, {', '.join(wanted)}) in Python"
    return f"pwmpr resume {run.path}"


def heading(text: str) -> RenderableType:
    """Return what stands above a table; its width does not depend on the table's."""
    from rich.text import Text

    return Text(text, style="bold")


def plain_table(columns: Sequence[tuple[str, str]]) -> Table:
    """Return an empty table; columns are pairs of a heading and ``"left"`` or ``"right"``."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for name, side in columns:
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    return table


def _settings(run: Recorded) -> Iterator[RenderableType]:
    found = deviations(run.settings)
    if not found:
        yield f"Settings are those of the recipe {run.settings['recipe']}."
        return
    yield heading("Settings that differ from the recipe")
    table = plain_table([("setting", "left"), ("recipe", "left"), ("this run", "left")])
    for name, (usual, here) in found.items():
        table.add_row(name, as_text(usual), as_text(here))
    yield table


def _phases(run: Recorded) -> Table:
    dense = run.dense_flops
    columns = [("phase", "left"), ("epochs", "right"), ("steps", "right"), ("density", "left"),
               ("FLOPs", "right")]  # fmt: skip
    columns += [("× dense", "right")] if dense else []
    columns += [("share", "right"), ("seconds", "right"), ("share", "right")]
    table = plain_table(columns)
    phases = run.phases
    flops_all = sum(phase.flops for phase in phases) or 1.0
    seconds_all = sum(phase.seconds for phase in phases) or 1.0

    def row(name: str, epochs: int, steps: int, where: str, cost: float, time: float) -> list[str]:
        cells = [name, f"{epochs:,}", f"{steps:,}", where, flops(cost)]
        cells += [f"{cost / dense:.3g}"] if dense else []
        return [*cells, f"{cost / flops_all:.0%}", f"{time:,.1f}", f"{time / seconds_all:.0%}"]

    for phase in phases:
        low, high = density(phase.density_from), density(phase.density_to)
        where = low if low == high else f"{low} to {high}"
        name = phase.name if phase.stages == 1 else f"{phase.name}, {phase.stages} cycles"
        table.add_row(*row(name, phase.epochs, phase.steps, where, phase.flops, phase.seconds))
    if len(phases) > 1:
        low, high = density(phases[0].density_from), density(phases[-1].density_to)
        where = low if low == high else f"{low} to {high}"
        table.add_section()
        epochs, steps = sum(p.epochs for p in phases), sum(p.steps for p in phases)
        table.add_row(*row("all", epochs, steps, where, flops_all, seconds_all))
    return table


def _cycles(run: Recorded) -> Table:
    stages = run.stages
    loss = run.measure == "val_loss"
    before = "loss" if loss else "accuracy"
    what = f"{before} before {'pruning' if _falls(run) else 'growth'}"
    columns = [("cycle", "right"), ("phase", "left"), ("epochs", "right"), ("density", "right"),
               (what, "right"), ("gain", "right")]  # fmt: skip
    table = plain_table(columns)
    left_out = len(stages) - _MOST
    previous: float | None = None
    for place, stage in enumerate(stages):
        value = stage.loss if loss else stage.accuracy
        gain = ""
        if previous is not None:
            change = value - previous
            gain = f"{change:+.4g}" if loss else f"{100 * change:+.2f} points"
        previous = value
        if left_out > 0 and _MOST // 2 <= place < _MOST // 2 + left_out:
            if place == _MOST // 2:
                table.add_row("…", f"{left_out} rows", "", "", "", "")
            continue
        shown = f"{value:.4g}" if loss else percent(value)
        epochs = f"{stage.epochs:,}" + ("" if stage.over else " so far")
        table.add_row(str(stage.cycle), stage.phase, epochs, density(stage.density_to), shown, gain)
    return table


def _falls(run: Recorded) -> bool:
    return run.stages[-1].density_to < run.stages[0].density_to


def _plateau(run: Recorded) -> Iterator[RenderableType]:
    fit = run.stopping
    if fit is None:
        return
    yield heading("Plateau fit: accuracy = P0 + A (1 - exp(-β · density))")
    if fit.ok:
        yield (
            f"P0 {fit.p0:.4g}, A {fit.gain:.4g}, β {fit.beta:.4g}; asymptote "
            f"{percent(fit.asymptote)}; onset at density {density(fit.onset)}; R² {fit.r2:.3f}; "
            f"{_points(fit.points)}"
        )
        if fit.asymptote > 1:
            yield "No accuracy reaches that asymptote: the points do not settle the curve yet."
    growing = not run.finished and all(phase.name == "rough" for phase in run.phases)
    stated: Any = run.settings.get("density")
    yield verdict(fit, stated, finished=not growing)


def _points(count: int) -> str:
    return f"{count} point" if count == 1 else f"{count} points"
