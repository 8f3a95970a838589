"""The replay of a trace: values given, weights replaced, and gradients step by step."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from topograph.capturing.plan import Plan, plan
from topograph.capturing.trace import trace
from topograph.capturing.weights import Binding, Operator
from topograph.flow import path_flow
from topograph.flow.blockfloat import BlockFloat, added, aligned, normalised, shifted
from topograph.flow.replay import replay
from topograph.flow.tape import Tape

DOUBLE = torch.float64


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.second = nn.Conv2d(2, 2, 3, padding=1)
        self.fc = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x + self.second(x).tanh()
        return self.fc(x.mean((2, 3)))


def prepared(model: nn.Module, example: Tensor) -> tuple[Plan, Binding]:
    traced = trace(model, example)
    return plan(traced), Binding(traced, model)


def value(block: BlockFloat) -> Tensor:
    return block.mantissa * 2.0**block.exponent


def test_the_values_are_those_of_the_model_made_linear() -> None:
    model = Block()
    steps, binding = prepared(model, torch.zeros(1, 1, 4, 4))
    sites = [op.node for op in steps.operators]
    found = replay(steps, binding, keep=sites)
    linear = Block().double()
    with torch.no_grad():
        for name, weight in linear.named_parameters():
            weight.copy_(weight.abs() if name.endswith("weight") else 0 * weight)
        first = linear.first(torch.ones(1, 1, 4, 4, dtype=DOUBLE))
        second = linear.second(first)
        last = linear.fc((first + second).mean((2, 3)))
    for node, expected in zip(sites, (first, second, last), strict=True):
        torch.testing.assert_close(value(found[node]), expected)
    assert set(found) == {*sites, *steps.inputs, *steps.outputs}


def test_given_values_stand_in_the_place_of_computed_ones() -> None:
    """One unit set to 1 and all else to 0 shows what it influences."""
    steps, binding = prepared(Block(), torch.zeros(1, 1, 4, 4))
    first, second, last = steps.operators
    silent = {
        op.node: torch.zeros(op.node.meta["val"].shape, dtype=DOUBLE) for op in (first, second)
    }
    silent[first.node][0, 1, 2, 2] = 1
    found = replay(steps, binding, given=silent, keep=[second.signal, last.signal])
    assert value(found[second.signal]).nonzero().tolist() == [[0, 1, 2, 2]]
    assert value(found[last.signal]).tolist() == [[0, pytest.approx(1 / 16)]]
    zero = torch.zeros(1, 1, 4, 4)
    found = replay(steps, binding, given={steps.inputs[0]: zero})
    assert not value(found[steps.outputs[0]]).any()


def test_weighted_operators_can_be_replaced() -> None:
    steps, binding = prepared(Block(), torch.zeros(1, 1, 4, 4))
    seen = []

    def constant(op: Operator, signal: Tensor) -> Tensor:
        seen.append((op.name, tuple(signal.shape)))
        return signal.new_ones(op.node.meta["val"].shape)

    found = replay(steps, binding, weighted=constant)
    assert seen == [("first", (1, 1, 4, 4)), ("second", (1, 2, 4, 4)), ("fc", (1, 2))]
    assert value(found[steps.outputs[0]]).tolist() == [[1, 1, 1]]


def test_only_what_the_outputs_need_is_planned() -> None:
    class Wasteful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.used(x)
            rank = torch.argsort(self.unused(x)).sum()  # no path has to pass the sort
            return x * torch.sigmoid(rank.float())

    steps, _ = prepared(Wasteful(), torch.zeros(1, 2))
    assert [op.name for op in steps.operators] == ["used"]


def test_a_plan_is_made_once_and_goes_with_its_model() -> None:
    model, example = Block(), torch.zeros(1, 1, 4, 4)
    traced = trace(model, example)
    assert plan(traced) is plan(traced)
    assert plan(traced, "scale") is not plan(traced)
    path_flow(model, example)
    left = weakref.ref(traced)
    del model, traced
    for _ in range(3):  # what a first round sets free may free more
        gc.collect()
    assert left() is None


@settings(max_examples=50)
@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=4), st.integers(0, 1000))
def test_blocks_add_up_like_numbers(exponents: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    blocks = [normalised(BlockFloat(torch.rand(3, dtype=DOUBLE), e)) for e in exponents]
    total = blocks[0]
    for block in blocks[1:]:
        total = added(total, block)
    mantissas, exponent = aligned(blocks)
    together = BlockFloat(torch.stack(mantissas).sum(0), exponent)
    assert total.log_sum() == pytest.approx(together.log_sum(), abs=1e-12)
    largest = max(math.log(float(b.mantissa.sum())) + b.exponent * math.log(2) for b in blocks)
    assert largest - 1e-9 <= total.log_sum() <= largest + math.log(len(blocks)) + 1e-9


def test_shifts_are_exact_and_end_in_zero() -> None:
    values = torch.tensor([1.0, 3.0, 0.0])
    assert torch.equal(shifted(shifted(values, 100), -100), values)
    assert shifted(values, -149).tolist()[0] > 0
    assert not shifted(values, -200).any()
    zero = normalised(BlockFloat(torch.zeros(2), 7))
    assert zero.log_sum() == -math.inf
    assert added(zero, BlockFloat(torch.ones(2), -5000)).log_sum() == pytest.approx(
        math.log(2) * -4999
    )


def test_gradients_meet_at_their_own_exponents() -> None:
    tape = Tape()
    x = BlockFloat(torch.ones(2, dtype=DOUBLE))

    def times(factor: float, block: BlockFloat, rounds: int) -> BlockFloat:
        for _ in range(rounds):
            (block,) = tape.apply(lambda t: t * factor, [block])
        return block

    strong, weak = times(1e200, x, 10), times(1e-200, x, 10)
    (both,) = tape.apply(torch.add, [strong, weak])
    (outer,) = tape.apply(lambda t: t.sum(), [times(1e-200, both, 20)])
    (at_x, at_weak, nowhere) = tape.gradients(
        [outer], [x, weak, BlockFloat(torch.ones(1, dtype=DOUBLE))]
    ).values
    assert nowhere is None
    assert at_x is not None
    assert at_weak is not None
    assert at_x.log_sum() / math.log(10) == pytest.approx(2000 - 4000 + math.log10(2))
    assert at_weak.log_sum() / math.log(10) == pytest.approx(-4000 + math.log10(2))
