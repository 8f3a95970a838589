"""What does a report take on a checkpoint whose graph, or whose weights, are larger than memory?

Writes a checkpoint of random weights, shard by shard, into a temporary folder as save_pretrained
would, in bfloat16, and inspects it in a process of its own with ``TOPOGRAPH_MAX_BYTES`` at 1 GiB,
so that its weights are read one at a time. Prints the wall clock from the start of the process to
the HTML on disk, and the peak memory of the process. ``MALLOC_MMAP_THRESHOLD_`` keeps glibc from
holding on to freed weights (``--keep`` leaves its setting as it is). *flow* is
``path_flow(scores=False)`` alone.

    python benchmarks/large_inspection.py [--model gpt2-xl] [--part flow]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from large_models import stub_torchvision

LIMIT = 1 << 30
SHARD = 400_000_000  # weights


def configuration(name: str) -> Any:
    from transformers import GPT2Config, LlamaConfig

    if name == "gpt2-xl":
        config: Any = GPT2Config(n_embd=1600, n_layer=48, n_head=25)
        config.architectures = ["GPT2LMHeadModel"]
    elif name == "gpt2":
        config = GPT2Config()
        config.architectures = ["GPT2LMHeadModel"]
    else:
        config = LlamaConfig()
        config.architectures = ["LlamaForCausalLM"]
    return config


def write(name: str, folder: Path) -> int:
    """Write random weights under the names that the network has; return how many."""
    import transformers
    from safetensors.torch import save_file

    config = configuration(name)
    with torch.device("meta"):
        model = getattr(transformers, config.architectures[0])(config)
    config.save_pretrained(folder)
    where: dict[str, str] = {}
    held: dict[str, torch.Tensor] = {}
    count = files = 0

    def flush() -> None:
        nonlocal files
        files += 1
        file = f"model-{files:05d}.safetensors"
        save_file(held, folder / file)
        where.update(dict.fromkeys(held, file))
        held.clear()

    for key, parameter in model.named_parameters():  # tied ones once
        held[key] = torch.empty(parameter.shape, dtype=torch.bfloat16).normal_(std=0.02)
        count += parameter.numel()
        if sum(value.numel() for value in held.values()) > SHARD:
            flush()
    flush()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return count


def measure(folder: Path, part: str) -> None:
    import topograph as tg

    if part == "flow":
        from topograph.inspection.finding import find_subject
        from topograph.inspection.subject import Subject

        subject = find_subject(folder)
        assert isinstance(subject, Subject)
        tokens = torch.zeros(1, 16, dtype=torch.long)
        flow = tg.path_flow(subject.model, tokens, weights=subject.weights, scores=False)
        found = {"log10 R": flow.log_total / 2.302585}
    else:
        report = tg.inspect(folder)
        report.save(folder / "report.html")
        found = {name: report.summary[name] for name in ("nodes", "edges", "kept", "log10_paths")}
    found["processor s"] = time.process_time()
    found["peak GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("gpt2", "gpt2-xl", "llama-7b"), default="gpt2-xl")
    parser.add_argument("--part", choices=("report", "flow"), default="report")
    parser.add_argument("--keep", action="store_true", help="leave the allocator as it is")
    parser.add_argument("--folder", type=Path, help="where to write it (default: temporary)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        stub_torchvision()
    if options.measure:
        measure(options.measure, options.part)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        count = write(options.model, folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{options.model}: {count:,} weights, {size / 2**30:.2f} GiB", flush=True)
        environment = os.environ | {"TOPOGRAPH_MAX_BYTES": str(LIMIT)}
        if not options.keep:
            environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
        command = [sys.executable, __file__, "--measure", name, "--part", options.part]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        wall = time.perf_counter() - start
        print(f"{options.part}: {wall:.1f} s wall, {done.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    main()
