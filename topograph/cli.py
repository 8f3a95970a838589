"""What ``topograph`` does on the command line."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topograph.errors import TopographError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Words after the command's name; those of the process by default.

    Returns
    -------
    int
        0; 1 if something is wrong with a file or value, with one line on standard error that says
        what and what to do. Wrong usage exits with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    # A model of the user's own is found from where the command is given, as with python -m.
    sys.path.insert(0, str(Path.cwd()))
    # A tenth of the time would go into looking for garbage among the objects of a tracing, most
    # of which are needed to the end.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return int(options.run(options))
    except BrokenPipeError:
        # Whoever read the output has enough; what is left must not fail when flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (TopographError, OSError) as error:
        if options.debug:
            raise
        print(f"topograph: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("topograph: interrupted", file=sys.stderr)
        return 130
    finally:
        if collecting:
            gc.enable()
        sys.path.remove(str(Path.cwd()))


def _one_line(error: Exception) -> str:
    from topograph.inspection.wording import clean

    return clean(" ".join(str(error).split()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="topograph", description="What a neural network's graph looks like."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inspect = commands.add_parser(
        "inspect",
        help="report on a checkpoint",
        description="Report on a checkpoint: density, paths, bottlenecks, dead nodes, shells. "
        "Nothing in the file is executed. Of networks larger than memory one weight is looked at "
        "at a time; of safetensors beyond TOPOGRAPH_MAX_BYTES, one is read at a time.",
        epilog="example: topograph inspect resnet20.th --model pwmpr:resnet20 --html report.html",
    )
    inspect.add_argument(
        "checkpoint", help="a checkpoint file, a Hugging Face folder or that of a pwmpr run"
    )
    _add_reading(inspect)
    inspect.add_argument(
        "--masks",
        metavar="FILE",
        type=Path,
        help="a file of masks by parameter name, for weights whose masks are kept apart",
    )
    _add_writing(
        inspect,
        ("html", ".html", "the whole report"),
        ("json", ".json", "numbers, sentences and layers"),
        ("csv", ".csv", "a row a layer"),
        ("parquet", ".parquet", "a row a node"),
        ("figure", ".png, .svg or .pdf", "a drawing for print"),
    )
    inspect.set_defaults(run=_inspect)
    compare = commands.add_parser(
        "compare",
        help="say what changed from one checkpoint to another",
        description="Compare two checkpoints: density, overlap of the masks, paths, dead nodes, "
        "the order of nodes. Of networks of different structure, what both have.",
        epilog="example: topograph compare dense.pt pruned.pt --model torchvision:resnet50",
    )
    compare.add_argument("a", metavar="A", help="a checkpoint file or the folder of a pwmpr run")
    compare.add_argument("b", metavar="B", help="another; differences are its numbers less A's")
    _add_reading(compare)
    compare.add_argument("--model-b", metavar="SPEC", help="what B's weights belong to, if not A's")
    _add_writing(
        compare,
        ("html", ".html", "the whole comparison"),
        ("json", ".json", "the whole comparison"),
        ("csv", ".csv", "a row a layer"),
    )
    compare.set_defaults(run=_compare)
    return parser


def _add_reading(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        metavar="SPEC",
        help="what the weights belong to: pwmpr:resnet20, torchvision:resnet50, timm:NAME, "
        "transformers:NAME or package.module:callable, with literal arguments in brackets if it "
        "needs any",
    )
    command.add_argument(
        "--input-size",
        type=int,
        nargs="+",
        metavar="N",
        help="size of one sample, e.g. 3 32 32; guessed from the first layers if not given",
    )
    command.add_argument(
        "--tau", type=float, default=0.9, help="part of the paths that a core holds (default 0.9)"
    )
    command.add_argument(
        "--device", default="cpu", help="where the model is put, e.g. cuda (default cpu)"
    )
    command.add_argument(
        "--trust", action="store_true", help="load a .pt2 program too, which runs code in it"
    )
    command.add_argument(
        "--top", type=int, default=10, metavar="N", help="rows of each table printed (default 10)"
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks of errors")


def _add_writing(command: argparse.ArgumentParser, *forms: tuple[str, str, str]) -> None:
    group = command.add_argument_group("files to write")
    for name, suffix, what in forms:
        group.add_argument(f"--{name}", metavar="FILE", type=Path, help=f"{what} ({suffix})")
    command.set_defaults(suffixes={name: suffix for name, suffix, _ in forms})


class _Version(argparse.Action):
    """Print the version; it is looked up only when asked for."""

    def __call__(self, *_: object) -> None:
        import topograph

        print(f"topograph {topograph.__version__}")
        raise SystemExit(0)


def _targets(options: argparse.Namespace) -> list[Path]:
    """Return the files to write, once it is sure that every suffix says its form."""
    targets = []
    for name, suffix in options.suffixes.items():
        path = getattr(options, name)
        if path is None:
            continue
        if not path.suffix or path.suffix.lower() not in suffix:
            raise TopographError(
                f"--{name} is {path}; expected a name that ends in {suffix}",
                f"write e.g. --{name} {path.with_suffix(suffix.split(',')[0])}",
            )
        if not path.parent.is_dir():
            raise TopographError(
                f"--{name} is {path}, whose folder does not exist", "make the folder first"
            )
        targets.append(path)
    return targets


def _inspect(options: argparse.Namespace) -> int:
    targets = _targets(options)
    report = _report(options, options.checkpoint, options.model, options.masks)
    return _show(options, report, targets)


def _compare(options: argparse.Namespace) -> int:
    targets = _targets(options)
    a = _report(options, options.a, options.model)
    b = _report(options, options.b, options.model_b or options.model)
    return _show(options, a.diff(b), targets)


def _report(
    options: argparse.Namespace, checkpoint: str, model: str | None, masks: Path | None = None
) -> Any:
    import topograph
    from topograph.inspection.examples import example_of_size

    return topograph.inspect(
        checkpoint,
        model=model,
        example_input=example_of_size(options.input_size) if options.input_size else None,
        masks=masks,
        tau=options.tau,
        device=options.device,
        trust=options.trust,
    )


def _show(options: argparse.Namespace, found: Any, targets: list[Path]) -> int:
    from topograph.inspection.terminal import comparison_parts, console, report_parts

    out = console()
    parts = report_parts if options.command == "inspect" else comparison_parts
    for part in parts(found, options.top):
        out.print(part)
    for path in targets:
        out.print(f"written: {found.save(path)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
