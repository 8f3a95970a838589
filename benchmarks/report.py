"""How long it takes from a checkpoint file to a report, phase by phase, and how large it gets.

Every row is a process of its own that imports, reads, traces, measures and writes the HTML, as
``topograph inspect FILE --html`` does; beside it plain ``torch.load`` of the same file, import of
torch included. Processor seconds, the shortest of a few runs. Weights are random.

    python benchmarks/report.py    # a minute or two; ResNet-50 and ViT-B need torchvision
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORKS = {
    "ResNet-20 (CIFAR)": "pwmpr:resnet20",
    "ResNet-50": "torchvision:resnet50",
    "ViT-B/16": "torchvision:vit_b_16",
}
PHASES = ("import", "model", "example", "trace", "graph", "influence", "paths", "measures",
          "html")  # fmt: skip


def stub() -> None:
    """Define the operators that torchvision misses beside a CPU build of torch, if it does."""
    import torch

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:  # "operator torchvision::nms does not exist"
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        stub.kept = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            stub.kept.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def write(spec: str, path: Path) -> None:
    import torch

    from topograph.inspection.builders import build_model

    if not spec.startswith("pwmpr:"):
        stub()
    torch.manual_seed(0)
    model = build_model(spec)
    for weight in model.parameters():  # some heads begin at 0, and no path would lead on
        if weight.dim() > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.02)
    torch.save(model.state_dict(), path)


def inspect(spec: str, path: Path, html: Path) -> dict[str, float]:
    """Return seconds by phase of one report; a phase is the time inside what it is called by."""
    seconds = dict.fromkeys(PHASES, 0.0)
    begin = time.process_time()
    if not spec.startswith("pwmpr:"):
        stub()
    import topograph.cli
    import topograph.inspection.inspector as inspector

    seconds["import"] = time.process_time() - begin
    phases = {
        "model": "find_subject",
        "example": "guess_example",
        "trace": "trace",
        "graph": "capture",
        "influence": "check_influence",
        "paths": "path_flow",
        "measures": "measure",
    }
    for phase, name in phases.items():
        called = getattr(inspector, name)

        def timed(*args, phase=phase, called=called, **options):
            start = time.process_time()
            try:
                return called(*args, **options)
            finally:
                seconds[phase] += time.process_time() - start

        setattr(inspector, name, timed)
    saved = inspector.Report.save

    def save(report, where):
        start = time.process_time()
        saved(report, where)
        seconds["html"] += time.process_time() - start
        return where

    inspector.Report.save = save
    words = ["inspect", str(path), "--model", spec, "--html", str(html)]
    assert topograph.cli.main(words) == 0
    return seconds


def timed_process(*words: str) -> tuple[float, str]:
    """Return the processor seconds of a process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def row(name: str, spec: str, folder: Path, repeats: int) -> str:
    path, html = folder / "weights.pt", folder / "report.html"
    timed_process(__file__, "--write", spec, str(path))
    load = f"import torch; torch.load({str(path)!r}, weights_only=True)"
    plain = min(timed_process("-c", load)[0] for _ in range(repeats))
    whole, said = min(
        timed_process(__file__, "--one", spec, str(path), str(html)) for _ in range(repeats)
    )
    seconds = json.loads(said.splitlines()[-1])
    cells = [f"{whole:.1f}", *(f"{seconds[phase]:.2f}" for phase in PHASES), f"{plain:.1f}"]
    return f"| {name} | {' | '.join(cells)} | {html.stat().st_size / 1000:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", nargs=2, metavar=("SPEC", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, metavar=("SPEC", "FILE", "HTML"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write[0], Path(options.write[1]))
    elif options.one:
        spec, path, html = options.one
        print(json.dumps(inspect(spec, Path(path), Path(html))))
    else:
        print(f"| network | all | {' | '.join(PHASES)} | torch.load | HTML, kB |")
        print("|---" * (len(PHASES) + 4) + "|")
        with tempfile.TemporaryDirectory() as folder:
            for name, spec in NETWORKS.items():
                try:
                    print(row(name, spec, Path(folder), options.repeats), flush=True)
                except subprocess.CalledProcessError as error:
                    print(f"| {name} | not run: {error.stderr.strip().splitlines()[-1]} |")


if __name__ == "__main__":
    main()
