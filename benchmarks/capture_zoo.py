"""Of how many known architectures is the graph captured, and is it right?

For every model of torchvision, timm and transformers, by name, with random weights and without a
download: whether it is captured or refused and why, nodes, edges, seconds and peak memory; and
whether the graph is right by two oracles. *Influence*: some units are moved one by one, and exactly
the weighted operators that the graph says read another value. *Collapse*: the network in which all
positions of a channel have one value has at every weighted operator the path weight of the graph.

    python benchmarks/capture_zoo.py --source torchvision
    python benchmarks/capture_zoo.py --source timm --every family      # the smallest of each family
    python benchmarks/capture_zoo.py --source transformers --most-parameters 2e8
    python benchmarks/capture_zoo.py --source timm --models 'resnet*' --limit-seconds 60

Every model is a process of its own, so that one that fails or runs out of memory is one row.
Seconds are of the processor, without imports; memory is the process's highest resident set. Rows
go to a JSON lines file as they come (``--out``); a run that was broken off goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import math
import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections import Counter, defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from zoo_models import SOURCES, Model, parameters

import topograph as tg
from topograph.capturing.layout import layout
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding
from topograph.collapse import check_collapse
from topograph.influence import check_influence

#: What may become of a model, from best to worst.
OUTCOMES = ("captured", "refused", "wrong", "crashed", "timeout", "memory", "unbuilt")

FORK = multiprocessing.get_context("fork")


def measure(model: Model, units: int) -> dict[str, Any]:
    """Build and capture one model and check its graph; a row of the result."""
    started = time.process_time()
    torch.manual_seed(0)
    try:
        module, example = model.build()
    except Exception as error:
        return {"outcome": "unbuilt", "reason": line(error)}
    module.eval()
    row: dict[str, Any] = {
        "parameters": sum(p.numel() for p in module.parameters()),
        "build_seconds": time.process_time() - started,
    }
    started = time.process_time()
    try:
        graph = tg.capture(module, example)
    except tg.TopographError as error:
        return row | {"outcome": "refused", "reason": line(error)}
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return row | {"outcome": "crashed", "reason": f"{line(error)} ({where})"}
    row["seconds"] = time.process_time() - started
    coverage = graph.coverage
    assert coverage is not None
    row |= {
        "nodes": graph.n_nodes,
        "edges": graph.n_edges,
        "modelled": coverage.modelled,
        "total": coverage.total,
        "missing": dict(Counter(reason for _, reason in coverage.missing)),
    }
    started = time.process_time()
    try:
        row |= check(module, example, graph, units)
    except Exception as error:
        return row | {"outcome": "wrong", "reason": line(error)}
    row["check_seconds"] = time.process_time() - started
    return row | {"outcome": "captured"}


def check(module: nn.Module, example: Any, graph: tg.LayeredGraph, units: int) -> dict[str, Any]:
    """Ask both oracles; a graph that is wrong is raised."""
    traced = trace(module, example)
    binding = Binding(traced, module)
    wires = layout(traced, binding)
    found = {"units": check_influence(traced, binding, wires, units=units)}
    return found | {"collapsed": check_collapse(traced, binding, wires, graph)}


def line(error: Exception) -> str:
    if isinstance(error, tg.TopographError):
        return error.problem
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


def alone(model: Model, units: int, seconds: float, gigabytes: float) -> dict[str, Any]:
    """Measure one model in a process of its own, within limits."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=child, args=(theirs, model, units, seconds, gigabytes))
    process.start()
    theirs.close()
    row: dict[str, Any] = {}
    with contextlib.suppress(EOFError):
        row = ours.recv()
    process.join()
    if process.exitcode == -signal.SIGXCPU:
        row = {"outcome": "timeout", "reason": f"more than {seconds:g} s"}
    elif not row:
        row = {
            "outcome": "memory",
            "reason": f"beyond {gigabytes:g} GiB, or killed (exit code {process.exitcode})",
        }
    return {"source": model.source, "family": model.family, "name": model.name} | row


def child(pipe: Connection, model: Model, units: int, seconds: float, gigabytes: float) -> None:
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
    try:
        row = measure(model, units)
    except MemoryError:
        os._exit(1)
    if "allocate memory" in row.get("reason", "") or "MemoryError" in row.get("reason", ""):
        row |= {"outcome": "memory"}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(row)
    pipe.close()


def chosen(arguments: argparse.Namespace) -> list[Model]:
    """Return the models that are asked for, the smallest first."""
    sources = [arguments.source] if arguments.source else list(SOURCES)
    models = [model for source in sources for model in SOURCES[source]()]
    models = [m for m in models if fnmatch.fnmatch(m.name, arguments.models)]
    size = parameters(models, arguments.out.with_suffix(".parameters.json"))
    models = [
        m for m in models if (size[f"{m.source}:{m.name}"] or math.inf) <= arguments.most_parameters
    ]
    models.sort(key=lambda m: size[f"{m.source}:{m.name}"] or math.inf)
    if arguments.every == "family":
        models = list({(m.source, m.family): m for m in reversed(models)}.values())[::-1]
    return models


def table(rows: list[dict[str, Any]]) -> str:
    """Return the numbers per family, and per source below."""
    lines = []
    columns = ("seconds", "peak_mb", "nodes", "edges")
    heads = f"{'captured':>10}{'refused':>9}{'wrong':>7}{'failed':>8}"
    heads += f"{'median s':>10}{'most s':>8}{'most MB':>9}{'most nodes':>12}{'most edges':>14}"
    for source in sorted({row["source"] for row in rows}):
        families = defaultdict(list)
        for row in rows:
            if row["source"] == source:
                families[row["family"]].append(row)
        width = max(len(family) for family in families) + 2
        lines.append(f"\n{source:<{width}}{heads}")
        whole = [row for members in families.values() for row in members]
        for family, members in [*sorted(families.items()), ("all", whole)]:
            count = Counter(row["outcome"] for row in members)
            built = len(members) - count["unbuilt"]
            failed = built - count["captured"] - count["refused"] - count["wrong"]
            done = [row for row in members if "edges" in row]
            text = f"{family:<{width}}{count['captured']:>6}/{built:<3}{count['refused']:>9}"
            text += f"{count['wrong']:>7}{failed:>8}"
            if done:
                seconds = sorted(row["seconds"] for row in done)
                most = {name: max(row.get(name, 0) for row in done) for name in columns}
                text += f"{seconds[len(seconds) // 2]:>10.1f}{most['seconds']:>8.1f}"
                text += f"{most['peak_mb']:>9.0f}{most['nodes']:>12,}{most['edges']:>14,}"
            lines.append(text)
        reasons = Counter(
            (row["outcome"], row.get("reason", "")) for row in whole if row["outcome"] != "captured"
        )
        lines += [f"  {count:>4} {what}: {why}" for (what, why), count in reasons.most_common(40)]
    return "\n".join(lines)


def read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(text) for text in path.read_text().splitlines() if text.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", choices=list(SOURCES), help="all of them by default")
    parser.add_argument("--models", default="*", metavar="PATTERN", help="names, e.g. 'resnet*'")
    parser.add_argument("--every", choices=("model", "family"), default="model")
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="for one model")
    parser.add_argument("--limit-gb", type=float, default=4.0, help="for one model")
    parser.add_argument("--most-parameters", type=float, default=math.inf, help="of a model")
    parser.add_argument("--units", type=int, default=8, help="moved by the influence oracle")
    parser.add_argument("--out", type=Path, default=Path("outputs/capture_zoo.jsonl"))
    parser.add_argument("--again", action="store_true", help="measure what is not captured anew")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    models = chosen(arguments)
    wanted = {(model.source, model.name) for model in models}
    rows = {(row["source"], row["name"]): row for row in read(arguments.out)}
    # Imports and the first export of a process are paid once, before the processes are forked.
    tg.capture(nn.Linear(2, 2), torch.zeros(1, 2))
    for model in models:
        key = model.source, model.name
        known = rows.get(key)
        if known and not (arguments.again and known["outcome"] != "captured"):
            continue
        row = alone(model, arguments.units, arguments.limit_seconds, arguments.limit_gb)
        rows[key] = row
        with arguments.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        detail = row.get("reason") or f"{row['seconds']:.1f} s, {row['peak_mb']:.0f} MB"
        print(f"{model.name:<50}{row['outcome']:<10}{detail[:160]}", flush=True)
    print(table([row for key, row in rows.items() if key in wanted]))


if __name__ == "__main__":
    main()
