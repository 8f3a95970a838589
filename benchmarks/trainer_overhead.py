"""What does the trainer cost beside a bare loop that does the same mathematics?

Both train a network at 10% density on the same batches (forward, backward, gradients times masks,
SGD with momentum, one thread) and evaluate it once on the validation data. The trainer also draws
start masks, keeps account and history and writes checkpoints. They take turns in one process; the
shortest processor time of each counts. The weights of both must agree bit for bit.

    python benchmarks/trainer_overhead.py --data-dir DIR [--rounds 3] [--profile]

DIR holds ``fashion_mnist`` (IDX files) and ``cifar10`` (Parquet files).
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pwmpr.data.parts import Parts, prepare_parts
from pwmpr.folder import RunFolder
from pwmpr.running import resolve
from pwmpr.settings import Settings
from pwmpr.training.assembly import assemble, build_model, model_options
from pwmpr.training.machine import choose_machine
from pwmpr.training.optimizers import build_optimizer
from pwmpr.training.trainer import Trainer

# recipe, its data's folder, training steps, settings
CASES: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "MLP 784-300-100-10": ("fashion-mnist-mlp", "fashion_mnist", 400, {}),
    "ResNet-20": ("cifar10-resnet32", "cifar10", 30, {"model": "resnet20", "validation": 0.02}),
}
EVALUATION_BATCH = 512
State = dict[str, Tensor]


_READ: dict[str, Parts] = {}


def parts_of(name: str, settings: Settings) -> Parts:
    """Return the data of a case, which are read once."""
    if name not in _READ:
        _READ[name] = prepare_parts(settings, None, None, None)
    return _READ[name]


def prepared(name: str, data: Path, folder: Path) -> tuple[Trainer, Any]:
    """Return a trainer that has not begun, and the data."""
    recipe, where, steps, more = CASES[name]
    settings = resolve(
        recipe, method="static", start="erk", density=0.1, schedule="constant", threads=1,
        iterations=steps, epochs=None, data_dir=str(data / where), **more,
    )  # fmt: skip
    parts = parts_of(name, settings)
    model = build_model(settings, model_options(settings, parts.known))
    machine = choose_machine(settings, model)
    settings = dataclasses.replace(
        settings,
        precision=machine.precision,
        threads=1,
        device=machine.device,
        optimizer_state=machine.optimizer_state(settings),
    )
    return assemble(settings, model, parts, None, RunFolder.create(folder), machine), machine


def by_trainer(name: str, data: Path, folder: Path) -> tuple[float, State]:
    trainer, machine = prepared(name, data, folder)
    with machine.active():
        began = time.process_time()
        trainer.run()
        seconds = time.process_time() - began
    return seconds, trainer.model.state_dict()


def by_hand(name: str, data: Path, folder: Path) -> tuple[float, State]:
    trainer, machine = prepared(name, data, folder)
    settings, model = trainer.settings, trainer.model
    with machine.active():
        masks = trainer.strategy.start(trainer)
        masks.apply_(model)
        optimizer = build_optimizer(settings, model)
        gates = [(model.get_parameter(n), mask.float()) for n, mask in masks.items()]
        for weight, gate in gates:  # products are fast between equal layouts alone
            gate.data = torch.empty_like(weight).copy_(gate)
        step = epoch = 0
        steps = settings.iterations or 0
        began = time.process_time()
        while step < steps:
            model.train()
            for x, y in trainer.train.epoch(epoch, settings.batch):
                if step == steps:
                    break
                with machine.autocast():
                    loss = torch.nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                for weight, gate in gates:
                    assert weight.grad is not None
                    weight.grad.mul_(gate)
                optimizer.step()
                step += 1
            model.eval()
            hits, total = 0, 0.0
            with torch.no_grad():
                for x, y in trainer.validation.in_order(EVALUATION_BATCH):
                    with machine.autocast():
                        output = model(x)
                        total += float(torch.nn.functional.cross_entropy(output, y)) * len(y)
                    hits += int((output.argmax(1) == y).sum())
            epoch += 1
        seconds = time.process_time() - began
    return seconds, model.state_dict()


WAYS: dict[str, Callable[[str, Path, Path], tuple[float, State]]] = {
    "bare loop": by_hand,
    "trainer": by_trainer,
}


def profile(name: str, data: Path, folder: Path) -> None:
    """Print the functions in which the trainer itself spends its time."""
    trainer, machine = prepared(name, data, folder)
    profiler = cProfile.Profile(time.process_time)
    with machine.active():
        profiler.runcall(trainer.run)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | steps | bare loop s | trainer s | ratio | same bits |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (_, _, steps, _) in CASES.items():
            best, states = dict.fromkeys(WAYS, float("inf")), {}
            for turn in range(chosen.rounds):
                for way, function in WAYS.items():
                    folder = Path(scratch) / f"{name}-{way}-{turn}"
                    seconds, states[way] = function(name, chosen.data_dir, folder)
                    best[way] = min(best[way], seconds)
            bare, ours = states["bare loop"], states["trainer"]
            same = all(torch.equal(ours[key], value) for key, value in bare.items())
            ratio = best["trainer"] / best["bare loop"]
            times = " | ".join(f"{seconds:.2f}" for seconds in best.values())
            print(f"| {name} | {steps} | {times} | {ratio:.2f} | {'yes' if same else 'no'} |")
            if chosen.profile:
                profile(name, chosen.data_dir, Path(scratch) / f"{name}-profile")


if __name__ == "__main__":
    main()
