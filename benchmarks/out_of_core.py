"""How much memory and time does a network need whose graph does not fit into memory?

A synthetic decoder: an embedding, blocks of four projections (value and output, up and down, each
pair added to the residual stream), and a head, at 50% density, written as one safetensors file a
layer (bfloat16, as large models come). The state dict is turned into memory-mapped blocks, layer
by layer, then measured: degree, isolation, path shares and τ-core over the whole graph, k-shells
in windows of layers. Each stage runs in a process of its own, and states its time, the largest
memory of its own ("private") and the largest with the mapped pages that the system had not taken
back ("resident").

    python benchmarks/out_of_core.py                              # 0.24 B parameters
    python benchmarks/out_of_core.py --blocks 31 --vocabulary 32000       # 1.1 B
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

DENSITY = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--inner", type=int, default=5632)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--window", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="also in memory, as layered_graph")
    given = parser.parse_args()
    sizes = layer_sizes(given.width, given.inner, given.blocks, given.vocabulary)
    parameters = sum(a * b for a, b in pairwise(sizes.values()))
    print(f"{parameters:,} parameters, {sum(sizes.values()):,} nodes, density {DENSITY}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sizes.json").write_text(json.dumps(sizes))
        stage("write the state dict", write_state, place, sizes)
        stage("map its blocks", map_blocks, place, sizes)
        used = sum(path.stat().st_size for path in (place / "graph").iterdir())
        print(
            f"{'':24} {used / 1e9:.2f} GB on disk, {used / parameters / DENSITY:.2f} bytes an edge"
        )
        stage("degree, isolation", degrees, place)
        stage("path shares, τ-core", shares, place)
        stage(f"k-shell, {given.window} at a time", shells, place, given.window)
        if given.memory:
            stage("all in memory", in_memory, place)
    edges = parameters * DENSITY
    for name, n in (("1.1 B", 1.1e9), ("7 B", 6.7e9)):
        factor = n * DENSITY / edges
        print(f"{name}: {factor:.1f} times the edges, so {used * factor / 1e9:.1f} GB on disk")


def layer_sizes(width: int, inner: int, blocks: int, vocabulary: int) -> dict[str, int]:
    sizes = {"tokens": vocabulary, "embed": width}
    for k in range(blocks):
        sizes |= {f"{k}.v": width, f"{k}.o": width, f"{k}.up": inner, f"{k}.down": width}
    return sizes | {"head": vocabulary}


def write_state(place: Path, sizes: dict[str, int]) -> str:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    for name, (n_in, n_out) in zip(list(sizes)[1:], pairwise(sizes.values()), strict=True):
        weight = torch.empty(n_out, n_in).normal_(0, n_in**-0.5, generator=generator)
        # Columns of unequal luck, so that degrees and shells differ.
        luck = torch.rand(n_in, generator=generator) * 0.4 - 0.2 + DENSITY
        weight[torch.rand(n_out, n_in, generator=generator) >= luck] = 0
        save_file({f"{name}.weight": weight.bfloat16()}, place / f"{name}.safetensors")
    return ""


def map_blocks(place: Path, sizes: dict[str, int]) -> str:
    from safetensors import safe_open

    from topograph.graph.mapped import map_graph

    def layers() -> Iterator[tuple[str, str, Any]]:
        for source, target in pairwise(sizes):
            with safe_open(place / f"{target}.safetensors", framework="pt") as file:
                yield source, target, file.get_tensor(f"{target}.weight")

    # The residual stream: what the output and down projections are added to.
    stream = [name for name in sizes if name.endswith(("embed", ".o", ".down"))]
    carried = [(a, b, sp.eye_array(sizes[a], format="csr")) for a, b in pairwise(stream)]
    graph = map_graph(place / "graph", sizes, layers(), identity=carried)
    return f"{graph.n_edges:,} edges"


def degrees(place: Path) -> str:
    import topograph as tg
    from topograph.graph.mapped import open_graph

    graph = open_graph(place / "graph")
    total = tg.degree(graph)
    return f"mean {total.mean():.0f}, largest {total.max()}, {(total == 0).sum()} isolated"


def shares(place: Path) -> str:
    import topograph as tg
    from topograph.graph.mapped import open_graph

    graph = open_graph(place / "graph")
    sums = tg.path_sums(graph)
    hidden = sums.share[graph.groups["embed"].start : graph.groups["head"].start]
    falling = np.sort(hidden)[::-1].cumsum()
    core = int(np.searchsorted(falling, 0.9 * falling[-1])) + 1
    return f"log10 R {sums.log_total / np.log(10):.1f}, τ-core {core} of {len(hidden)}"


def shells(place: Path, width: int) -> str:
    from topograph.graph.mapped import open_graph
    from topograph.shellwindows import k_shell_windows

    return repr(k_shell_windows(open_graph(place / "graph"), width))


def in_memory(place: Path) -> str:
    import topograph as tg
    from topograph.graph.mapped import open_graph

    mapped = open_graph(place / "graph")
    sizes = {name: group.size for name, group in mapped.groups.items()}
    graph = tg.layered_graph(
        sizes,
        [(b.source, b.target, b.matrix) for b in mapped.weight_blocks],
        identity=[(b.source, b.target, b.matrix) for b in mapped.identity_blocks],
    )
    same = np.allclose(tg.path_centrality(graph), tg.path_centrality(mapped), rtol=1e-12, atol=0)
    core = tg.k_shell(graph)
    return f"shares agree: {same}; k_max {core.max()}"


def stage(name: str, work: Callable[..., str], *arguments: Any) -> None:
    """Run one stage in a fresh process and print what it needed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=watched, args=(there, work, arguments))
    process.start()
    seconds, private, resident, said = here.recv()
    process.join()
    print(
        f"{name:24} {seconds:7.1f} s, private {private / 1e9:5.2f} GB, "
        f"resident {resident / 1e9:5.2f} GB  {said}",
        flush=True,
    )


def watched(pipe: Any, work: Callable[..., str], arguments: tuple[Any, ...]) -> None:
    import scipy.sparse.csgraph  # noqa: F401  (its import is no part of the work)

    peak = [0, 0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for k, field in enumerate(("RssAnon:", "VmRSS:")):
                peak[k] = max(peak[k], status(field))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    said = work(*arguments)
    seconds = time.perf_counter() - started
    over.set()
    watcher.join()
    pipe.send((seconds, *peak, said))


def status(field: str) -> int:
    """Return a size in bytes that Linux states of this process."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("memory is read from /proc, which only Linux has")
    main()
