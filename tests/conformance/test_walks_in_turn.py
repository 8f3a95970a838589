"""Do PHEW's walks start in turn, go both ways alternately, and end at the exact count?

Networks in which every walk has one way only, so that the walks are known beforehand.
"""

from __future__ import annotations

import torch
from torch import nn

import pwmpr
from pwmpr.masks import Masks


def only(positions: torch.Tensor) -> nn.Linear:
    """A layer whose weights are 0 but at (k, positions[k])."""
    layer = nn.Linear(len(positions), len(positions), bias=False)
    layer.weight.data = torch.zeros_like(layer.weight)
    layer.weight.data[torch.arange(len(positions)), positions] = 1.0
    return layer


def kept(masks: Masks, name: str) -> set[tuple[int, int]]:
    return {(int(o), int(i)) for o, i in masks[name].nonzero()}


def walked(model: nn.Module, count: int, width: int) -> Masks:
    size = sum(p.numel() for p in model.parameters())
    return pwmpr.initial_masks(model, count / size, "phew", torch.zeros(1, width))


def test_walks_alternate_and_start_units_are_taken_in_turn():
    # Output k reads input 9 - k: walks forward come from the inputs 0, 1, …, walks backward from
    # the outputs 0, 1, …, in turns.
    model = nn.Sequential(only(torch.arange(10).flip(0)))
    turns = [(9, 0), (0, 9), (8, 1), (1, 8), (7, 2), (2, 7)]
    for count in (1, 2, 3, 6):
        assert kept(walked(model, count, 10), "0.weight") == set(turns[:count])


def test_starts_go_on_in_turn_over_many_walks():
    # 225 pairs of walks over 300 × 300 equal weights, in several batches: hardly any weight is
    # walked over twice, so that all of the first 220 units have been starts, on either side.
    model = nn.Sequential(nn.Linear(300, 300, bias=False))
    nn.init.ones_(model[0].weight)
    mask = walked(model, 450, 300)["0.weight"]
    assert mask[:220].any(1).all()
    assert mask[:, :220].any(0).all()


def test_the_last_walk_is_cut_in_its_own_direction():
    model = nn.Sequential(only(torch.arange(4).flip(0)), only(torch.arange(4)))
    # Forward from input 0: over (3, 0), then (3, 3). Backward from output 0: (0, 0), then (0, 3).
    masks = walked(model, 1, 4)
    assert (kept(masks, "0.weight"), kept(masks, "1.weight")) == ({(3, 0)}, set())
    masks = walked(model, 3, 4)
    assert (kept(masks, "0.weight"), kept(masks, "1.weight")) == ({(3, 0)}, {(3, 3), (0, 0)})
    masks = walked(model, 4, 4)
    assert kept(masks, "0.weight") == {(3, 0), (0, 3)}
