"""What the command ``pwmpr`` does.

Exit status 0 when all is well; 1 with one line on stderr that says what is wrong and what to do; 2
for a command that cannot be understood; 130 or 143 after an interrupt, with a checkpoint written.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pwmpr
from pwmpr import recipefile
from pwmpr.method import methods
from pwmpr.options import descriptions, parse
from pwmpr.recipe import recipe_settings, recipes
from pwmpr.settings import NAMES
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.result import RunResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments
        What stands after ``pwmpr``; by default the process's own.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest:
        parser.error(_unknown(rest, options.command))
    try:
        status: int = options.action(options, parser)
        return status
    except TopographError as error:
        if options.debug:
            raise
        print(f"pwmpr: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"pwmpr: interrupted; {_after_interrupt(options)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="pwmpr", description="Grow sparse networks until accuracy stops rising."
    )
    parser.add_argument("--version", action="version", version=f"pwmpr {pwmpr.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        parents=[shared],
        help="train one network by a recipe",
        description="Train one network by a recipe, from start masks to its final density.",
        allow_abbrev=False,
    )
    run.add_argument("recipe", help="a YAML file of settings, or one of " + ", ".join(recipes()))
    run.add_argument(
        "--print-settings", action="store_true", help="print all settings as YAML and do nothing"
    )
    run.add_argument(
        "--log-to", action="append", default=[], metavar="NAME", help="tensorboard, wandb"
    )
    run.add_argument("--out", metavar="DIR", help="the run's folder, new (default: under runs/)")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    settings = run.add_argument_group("settings (defaults are the recipe's)")
    lines = descriptions()
    for name in NAMES:
        if name != "recipe":
            flags = [f"--{name.replace('_', '-')}"] + ([f"--{name}"] if "_" in name else [])
            settings.add_argument(
                *flags, dest=f"set_{name}", metavar="V", help=lines[name].replace("%", "%%")
            )
    run.set_defaults(action=_run)

    resume = commands.add_parser("resume", parents=[shared], help="go on with a run that stopped")
    resume.add_argument("folder", metavar="DIR")
    resume.add_argument("--quiet", action="store_true", help="no progress bar")
    resume.set_defaults(action=_resume)

    show = commands.add_parser(
        "show",
        parents=[shared],
        help="show what runs have come to, finished or not",
        description="Show what runs have come to, finished or not. Only reads, also while they "
        "are trained.",
    )
    show.add_argument(
        "folders", metavar="DIR", nargs="+", help="a run's folder, or a folder of runs"
    )
    show.add_argument("--json", action="store_true", help="print all numbers as JSON")
    show.add_argument("--figure", metavar="FILE", help="draw them: .png, .svg or .pdf")
    show.set_defaults(action=_show)

    sweep = commands.add_parser(
        "sweep",
        parents=[shared],
        help="carry out the runs of a plan file",
        description="Carry out the runs of a plan file, several at a time, each only once.",
    )
    sweep.add_argument("file", metavar="FILE", help="a YAML plan: recipe, settings, grid, runs")
    sweep.add_argument(
        "--engine", default="local", help="local (default), slurm or ray", metavar="NAME"
    )
    sweep.add_argument("--workers", type=int, metavar="N", help="runs at a time")
    sweep.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the engine, e.g. timeout_min=600, slurm_partition=gpu, gpus=0.25",
    )
    sweep.add_argument("--list", action="store_true", help="list the runs and do nothing")
    sweep.add_argument("--csv", metavar="FILE", help="write the table of the runs there")
    sweep.add_argument("--quiet", action="store_true", help="no progress bar")
    sweep.set_defaults(action=_sweep)

    for name, table, what in (
        ("recipes", recipes, "list the recipes"),
        ("methods", methods, "list the methods"),
    ):
        command = commands.add_parser(name, parents=[shared], help=what)
        command.set_defaults(action=lambda options, parser, table=table: _list(table()))
    return parser


def _after_interrupt(options: argparse.Namespace) -> str:
    """Return how what was interrupted goes on."""
    if options.command == "sweep":
        return "the same command goes on with the sweep"
    folder = getattr(options, "folder", None)
    if folder is None:
        return "nothing was changed"
    if not (Path(folder) / "settings.json").is_file():
        return "training had not begun"
    return f"pwmpr resume {folder} goes on with the run"


def _unknown(rest: list[str], command: str) -> str:
    """Return what is wrong with arguments that no option takes."""
    flags = [argument.partition("=")[0] for argument in rest if argument.startswith("--")]
    if command != "run" or not flags:
        return f"unrecognized arguments: {' '.join(rest)}"
    near = difflib.get_close_matches(flags[0].lstrip("-").replace("-", "_"), NAMES, n=1)
    hint = f"did you mean --{near[0].replace('_', '-')}?" if near else "see pwmpr run --help"
    return f"{flags[0]} is no setting of a run; {hint}"


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if not recipefile.is_file(options.recipe):
        recipe_settings(options.recipe)
    changes: dict[str, Any] = {}
    for name in NAMES:
        text = getattr(options, f"set_{name}", None)
        if text is not None:
            try:
                changes[name] = parse(name, text)
            except TopographError as error:
                parser.error(error.problem)
    from pwmpr.running import free_folder, resolve, run

    settings = resolve(options.recipe, **changes)
    text = recipefile.as_text(settings)
    if options.print_settings:
        print(text, end="")
        return 0
    options.folder = str(free_folder(settings)) if options.out is None else options.out
    if _talks(options):
        print(f"{text}\nfolder: {options.folder}\n", file=sys.stderr)
    result = run(
        options.recipe,
        out=options.folder,
        progress=_progress(options),
        log_to=options.log_to,
        **changes,
    )
    return _print(result)


def _resume(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from pwmpr.running import resume
    from pwmpr.showing.recorded import Recorded
    from pwmpr.showing.tables import state_lines

    if _talks(options):
        stopped = Recorded.read(options.folder)
        if not stopped.finished:
            lines = [line for line in state_lines(stopped) if not line.startswith("go on")]
            print("\n".join(lines), file=sys.stderr)
    return _print(resume(options.folder, progress=_progress(options)))


def _show(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from pwmpr.showing.recorded import read_all
    from pwmpr.showing.side_by_side import runs_parts
    from pwmpr.showing.tables import console, run_parts, state_lines

    runs = read_all(options.folders)
    if options.figure is not None:
        from pwmpr.showing.picture import save

        save(runs, options.figure)
    if options.json:
        values = [run.to_dict() for run in runs]
        print(json.dumps(values[0] if len(runs) == 1 else values, indent=2))
        return 0
    if len(runs) == 1:
        print(_summary(runs[0].path) if runs[0].finished else "\n".join(state_lines(runs[0])))
        print()
    screen = console()
    for part in run_parts(runs[0]) if len(runs) == 1 else runs_parts(runs):
        screen.print(part)
    if options.figure is not None:
        print(f"\nfigure    {options.figure}")
    return 0


def _summary(folder: Path) -> str:
    from pwmpr.result import RunResult

    return repr(RunResult.load(folder, weights=False))


def _sweep(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from pwmpr.sweeping import read_plan, sweep
    from pwmpr.sweeping.work import is_finished

    if options.list:
        for task in read_plan(options.file):
            print("finished" if is_finished(task.folder) else "to do   ", task.folder)
        return 0
    settings: dict[str, Any] = {}
    for text in options.option:
        name, equals, value = text.partition("=")
        if not equals:
            parser.error(f"--option is {text!r}; expected NAME=VALUE")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    found = sweep(
        options.file, options.engine, options.workers, progress=_progress(options), **settings
    )
    if options.csv:
        found.frame.to_csv(options.csv, index=False)
    if found.folders:
        from pwmpr.showing.recorded import read_all
        from pwmpr.showing.side_by_side import runs_parts
        from pwmpr.showing.tables import console

        screen = console()
        for part in runs_parts(read_all(found.folders)):
            screen.print(part)
        print()
    kept = sum(outcome.status == "kept" for outcome in found.outcomes)
    earlier = f", {kept} of them before" if kept else ""
    print(f"{len(found.folders)} of {len(found)} runs finished{earlier}")
    for outcome in found.failed:
        print(f"pwmpr: {outcome.folder}: {outcome.status}: {outcome.error}", file=sys.stderr)
    return 1 if found.failed else 0


def _talks(options: argparse.Namespace) -> bool:
    """Whether somebody looks on and wants to; of several processes one speaks."""
    return sys.stderr.isatty() and not options.quiet and os.environ.get("RANK", "0") == "0"


def _progress(options: argparse.Namespace) -> bool | None:
    return False if options.quiet else None


def _print(result: RunResult) -> int:
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        print(result)
    return 0


def _list(lines: dict[str, str]) -> int:
    """Print names and what each is: a line each, on a terminal wrapped beside the names."""
    width = max(map(len, lines)) + 2
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, line in lines.items():
        parts = textwrap.wrap(line, max(screen - width, 20)) if screen else [line]
        print(f"{name:<{width}}" + ("\n" + " " * width).join(parts))
    return 0
