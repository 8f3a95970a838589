"""What a report about a network costs beside weightwatcher's analysis of the same one.

The two answer different questions (inspect: the graph of the connections and its paths;
weightwatcher: the spectra of the weight matrices), so nothing but what they looked at can be
compared: the layers. Random weights, a part of them kept.

    python benchmarks/inspection.py    # a minute
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging

import torch
from side_by_side import Case, Way, compare
from torch import nn

import topograph as tg
from pwmpr.models import build


def masked(model: nn.Module, density: float) -> nn.Module:
    """Set all but a part of every weight to zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(torch.rand_like(weight) < density)
    return model.eval()


def by_inspect(given: tuple[nn.Module, torch.Tensor]) -> int:
    tg.forget(given[0])
    report = tg.inspect(given[0], example_input=given[1])
    return len(report.layers)


def by_inspect_again(given: tuple[nn.Module, torch.Tensor]) -> int:
    """Inspect a network whose trace is there; not so in the first of the calls."""
    return len(tg.inspect(given[0], example_input=given[1]).layers)


def by_weightwatcher(given: tuple[nn.Module, torch.Tensor]) -> int:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        import weightwatcher

        logging.disable(logging.CRITICAL)
        return len(weightwatcher.WeightWatcher(model=given[0]).analyze())


def agreement(found: int, expected: int) -> str:
    return f"{found} of {expected} layers"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    models = {
        "MLP 784-300-100-10": (
            nn.Sequential(
                nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
            ),
            torch.zeros(1, 784),
        ),
        "ResNet-20 (CIFAR)": (build("resnet20"), torch.zeros(1, 3, 32, 32)),
    }
    cases = []
    for name, (model, example) in models.items():
        size = sum(weight.numel() for weight in model.parameters() if weight.ndim > 1)
        given = (masked(model, 0.2), example)
        cases.append(Case(name, size, lambda given=given: given))
    small = (nn.Sequential(nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 60)), torch.zeros(1, 60))
    compare(
        cases,
        [
            Way("inspect", by_inspect),
            Way("inspect, traced before", by_inspect_again),
            Way("weightwatcher", by_weightwatcher, "weightwatcher"),
        ],
        lambda: small,
        agreement,
        unit="weights",
    )


if __name__ == "__main__":
    main()
