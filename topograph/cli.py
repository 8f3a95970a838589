"""What ``topograph`` does on the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

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
    try:
        return _inspect(options)
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
        sys.path.remove(str(Path.cwd()))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


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
        "Nothing in the file is executed.",
    )
    inspect.add_argument("checkpoint", help="a checkpoint file or the folder of a pwmpr run")
    inspect.add_argument(
        "--model",
        metavar="SPEC",
        help="what the weights belong to: pwmpr:resnet20, torchvision:resnet50, timm:NAME, "
        "transformers:NAME or package.module:callable, with literal arguments in brackets if it "
        "needs any",
    )
    inspect.add_argument(
        "--input-size", type=int, nargs="+", metavar="N", help="of one sample, e.g. 3 32 32"
    )
    inspect.add_argument("--tau", type=float, default=0.9, help="part that a core holds (0.9)")
    for name, what in (("html", "the whole report"), ("json", "numbers and layers")):
        inspect.add_argument(f"--{name}", metavar="FILE", type=Path, help=f"write {what} there")
    for name, what in (("layers", "the layers, .csv"), ("nodes", "the nodes, .parquet")):
        inspect.add_argument(f"--{name}", metavar="FILE", type=Path, help=f"write {what}")
    inspect.add_argument("--figure", metavar="FILE", type=Path, help="draw to .png, .svg or .pdf")
    inspect.add_argument(
        "--trust", action="store_true", help="load a .pt2 program too, which runs code in it"
    )
    inspect.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


class _Version(argparse.Action):
    """Print the version; it is looked up only when asked for."""

    def __call__(self, *_: object) -> None:
        import topograph

        print(f"topograph {topograph.__version__}")
        raise SystemExit(0)


def _inspect(options: argparse.Namespace) -> int:
    targets = [
        (path, suffixes)
        for path, suffixes in (
            (options.html, (".html",)),
            (options.json, (".json",)),
            (options.layers, (".csv",)),
            (options.nodes, (".parquet",)),
            (options.figure, (".png", ".svg", ".pdf")),
        )
        if path is not None
    ]
    for path, suffixes in targets:
        if path.suffix.lower() not in suffixes:
            raise TopographError(f"{path} has the suffix {path.suffix!r}; expected {suffixes[0]}")
    import topograph
    from topograph.inspection.examples import example_of_size

    report = topograph.inspect(
        options.checkpoint,
        model=options.model,
        example_input=example_of_size(options.input_size) if options.input_size else None,
        tau=options.tau,
        trust=options.trust,
    )
    print(report)
    for path, _ in targets:
        print(f"written: {report.save(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
