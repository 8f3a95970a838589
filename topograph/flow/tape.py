"""How gradients run back through linear steps when neither they nor the values fit a float.

Values and gradients carry a power of two each (:class:`~topograph.flow.blockfloat.BlockFloat`).
Every step runs under autograd by itself, on detached operands, and gradients are carried from step
to step by hand, so that they can be rescaled, and aligned where several meet, between any two.

Invariant: the steps are linear, so their Jacobians do not depend on the values. Powers of two put
into the operands or taken out of the result are no part of the Jacobian: a gradient block is the
gradient of the true result with respect to the true operand.

A weight that is given as a function is made twice, on the way there and on the way back, and is
not kept between: its step is run again before it is gone back through. So memory holds one weight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from topograph.flow.blockfloat import BlockFloat, added, aligned, normalised

Function = Callable[..., Tensor | Sequence[Tensor]]
#: Takes a key, its weight and the gradient with respect to it; returns what is kept of them.
Use = Callable[[str, Tensor, BlockFloat], BlockFloat]


@dataclass(frozen=True, eq=False)
class _Record:
    operands: tuple[BlockFloat, ...]
    leaves: tuple[Tensor, ...]
    results: tuple[BlockFloat, ...]
    tensors: tuple[Tensor, ...]
    key: str | None
    rescaling: bool
    again: Callable[[], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] | None  # leaves, tensors


@dataclass(frozen=True, eq=False)
class Gradients:
    """What :meth:`Tape.gradients` returns, all of the sum of the outputs' elements.

    Attributes
    ----------
    values
        For every block that was wanted its gradient, or None where it has no part in the sum.
    weights
        Key to the gradient with respect to the weights of that key, uses summed; or to what
        ``use`` made of it.
    passed
        Key to Σ result · gradient, of shape (1,) in float64: the part of the sum that has a
        weight of that key as a factor. (The step is linear in its weight, so that this is
        Σ weight · gradient too.)
    """

    values: list[BlockFloat | None]
    weights: dict[str, BlockFloat]
    passed: dict[str, BlockFloat]


class Tape:
    """Applies linear functions to blocks and, if it records, can take gradients afterwards.

    Parameters
    ----------
    recording
        Whether to keep what gradients need.
    frozen
        Keys of weights with respect to which no gradient is wanted.

    Examples
    --------
    >>> tape = Tape()
    >>> x = BlockFloat(torch.ones(2), 4000)
    >>> w = torch.tensor([1.0, 2.0])
    >>> (y,) = tape.apply(lambda x, w: (x * w).sum(), [x], weight=w, key="w")
    >>> found = tape.gradients([y], [x])
    >>> found.values[0].mantissa, found.weights["w"].exponent
    (tensor([1., 2.]), 4000)
    """

    def __init__(self, recording: bool = True, frozen: Collection[str] = ()) -> None:
        self._recording = recording
        self._frozen = frozenset(frozen)
        self._records: list[_Record] = []

    def apply(
        self,
        function: Function,
        operands: Sequence[BlockFloat],
        *,
        weight: Tensor | Callable[[], Tensor] | None = None,
        key: str | None = None,
        rescaling: bool = True,
    ) -> tuple[BlockFloat, ...]:
        """Return the results of a function that is linear in its operands together.

        Parameters
        ----------
        function
            Takes the operands' mantissas, then ``weight`` if there is one; returns a tensor or
            several.
        operands
            Brought to one exponent before.
        weight, key
            A tensor that the result is linear in as well, or what makes it, anew each time; its
            gradient is kept under ``key``.
        rescaling
            Whether the function may make numbers larger or smaller.
        """
        mantissas, exponent = aligned(operands)
        making = callable(weight)
        recording = self._recording and not making
        run = partial(self._run, function, mantissas, weight, key)
        leaves, tensors = run(recording)
        results = tuple(BlockFloat(tensor.detach(), exponent) for tensor in tensors)
        if rescaling:
            results = tuple(map(normalised, results))
        if self._recording:
            held = (leaves, results, tensors) if recording else ((), results, ())
            again = partial(run, True) if making else None
            self._records.append(_Record(tuple(operands), *held, key, rescaling, again))
        return results

    def _run(
        self,
        function: Function,
        mantissas: Sequence[Tensor],
        weight: Tensor | Callable[[], Tensor] | None,
        key: str | None,
        recording: bool,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the leaves, the weight last, and the results."""
        leaves = [m.detach().requires_grad_() if recording else m for m in mantissas]
        if weight is not None:
            made = (weight() if callable(weight) else weight).detach()
            leaves.append(made.requires_grad_(recording and key not in self._frozen))
        with torch.set_grad_enabled(recording):
            output = function(*leaves)
        return tuple(leaves), (output,) if isinstance(output, Tensor) else tuple(output)

    def gradients(
        self,
        outputs: Sequence[BlockFloat],
        wanted: Sequence[BlockFloat],
        use: Use | None = None,
    ) -> Gradients:
        """Return the gradients of the sum of all elements of ``outputs``; empties the tape.

        Parameters
        ----------
        outputs, wanted
            Blocks that this tape has returned or been given.
        use
            What is kept of each weight's gradient, where that is less than the gradient.
        """
        found: dict[int, BlockFloat] = {}
        weights: dict[str, BlockFloat] = {}
        passed: dict[str, BlockFloat] = {}
        lasting = {id(block) for block in wanted}
        for block in outputs:
            _collect(found, id(block), BlockFloat(torch.ones_like(block.mantissa)))
        kept = {key: found[key] for key in lasting & found.keys()}
        while self._records:
            record = self._records.pop()
            arrived = [found.pop(id(result), None) for result in record.results]
            reached = {i: gradient for i, gradient in enumerate(arrived) if gradient is not None}
            kept.update(
                (id(record.results[i]), gradient)
                for i, gradient in reached.items()
                if id(record.results[i]) in lasting
            )
            if not reached:
                continue
            mantissas, exponent = aligned(list(reached.values()))
            leaves, tensors = record.again() if record.again else (record.leaves, record.tensors)
            asked = [leaf for leaf in leaves if leaf.requires_grad]
            products = torch.autograd.grad(
                [tensors[i] for i in reached], asked, mantissas, allow_unused=True
            )
            for operand, product in zip(record.operands, products, strict=False):
                if product is not None:
                    block = BlockFloat(product, exponent)
                    _collect(found, id(operand), normalised(block) if record.rescaling else block)
            for i, gradient in reached.items() if record.key is not None else ():
                _collect(passed, record.key, _product(record.results[i], gradient))
            if len(products) > len(record.operands) and products[-1] is not None:
                assert record.key is not None  # a weight has one
                made = BlockFloat(products[-1], exponent + _power(record))
                made = made if use is None else use(record.key, leaves[-1].detach(), made)
                _collect(weights, record.key, made)
                del made
            del leaves, tensors, asked, products  # before the next weight is made
        kept.update((key, found[key]) for key in lasting & found.keys())
        return Gradients([kept.get(id(block)) for block in wanted], weights, passed)


def _product(one: BlockFloat, other: BlockFloat) -> BlockFloat:
    """Return Σ one · other, of shape (1,)."""
    total = (one.mantissa * other.mantissa).sum(dtype=torch.float64).reshape(1).cpu()
    return normalised(BlockFloat(total, one.exponent + other.exponent))


def _power(record: _Record) -> int:
    """Return the exponent that the operands were brought to (the results hold it, rescaled)."""
    return max(operand.exponent for operand in record.operands)


def _collect(sums: dict[Any, BlockFloat], key: object, block: BlockFloat) -> None:
    sums[key] = added(sums[key], block) if key in sums else block
