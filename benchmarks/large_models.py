"""How long does the structure of a model take that is larger than memory, and how much memory?

Every model is built on the meta device in a process of its own, with no weights, and laid out with
``topograph.structure``. Prints nodes, dense edges, parameters, seconds from the import of topograph
to the result (wall clock and processor; the libraries that define the models are imported before)
and the peak memory of the whole process. A model whose library is missing is left out.

    python benchmarks/large_models.py
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Built = tuple[nn.Module, Any]
TOKENS = {"input_ids": torch.zeros(1, 8, dtype=torch.long)}
IMAGE = torch.zeros(1, 3, 224, 224)


def llama_7b() -> Built:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(use_cache=False)), TOKENS


def gpt2_xl() -> Built:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=1600, n_layer=48, n_head=25, use_cache=False)
    return GPT2LMHeadModel(config), TOKENS


def vit_l() -> Built:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    )
    config.num_labels = 1000
    return ViTForImageClassification(config), IMAGE


def resnet_50() -> Built:
    from torchvision.models import resnet50

    return resnet50(), IMAGE


MODELS: dict[str, tuple[str, Callable[[], Built]]] = {
    "Llama-7B": ("transformers", llama_7b),
    "GPT-2 XL": ("transformers", gpt2_xl),
    "ViT-L/16, 224×224": ("transformers", vit_l),
    "ResNet-50, 224×224": ("torchvision", resnet_50),
}


def stub_torchvision() -> None:
    """Declare two operators that a torchvision built for CUDA cannot load beside a CPU torch."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    globals()["_library"] = library  # the definitions live as long as it does


def measure(name: str) -> dict[str, float]:
    if not torch.cuda.is_available() and importlib.util.find_spec("torchvision"):
        stub_torchvision()
    with torch.device("meta"):
        model, example = MODELS[name][1]()
    wall, processor = time.perf_counter(), time.process_time()
    import topograph as tg

    made = tg.structure(model, example)
    return {
        "nodes": made.n_nodes,
        "edges": made.n_edges,
        "parameters": made.parameters,
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, help="measure one, in this process, as JSON")
    one = parser.parse_args().model
    if one:
        print(json.dumps(measure(one)))
        return
    print("| model | nodes | dense edges | parameters | wall s | processor s | peak GiB |")
    print("|---|---|---|---|---|---|---|")
    for name, (library, _) in MODELS.items():
        if importlib.util.find_spec(library) is None:
            print(f"| {name} | {library} is not installed | | | | | |")
            continue
        command = [sys.executable, __file__, "--model", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {name} | {found['nodes']:,} | {found['edges']:,} | {found['parameters']:,} | "
            f"{found['wall']:.1f} | {found['processor']:.1f} | {found['memory']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
