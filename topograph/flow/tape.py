"""How gradients run back through linear steps when neither they nor the values fit a float.

Values and gradients carry a power of two each (:class:`~topograph.flow.blockfloat.BlockFloat`).
Every step runs under autograd by itself, on detached operands, and gradients are carried from step
to step by hand, so that they can be rescaled, and aligned where several meet, between any two.

Invariant: the steps are linear, so their Jacobians do not depend on the values. Powers of two put
into the operands or taken out of the result are no part of the Jacobian: a gradient block is the
gradient of the true result with respect to the true operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topograph.flow.blockfloat import BlockFloat, added, aligned, normalised

Function = Callable[..., Tensor | Sequence[Tensor]]


@dataclass(frozen=True, eq=False)
class _Record:
    operands: tuple[BlockFloat, ...]
    leaves: tuple[Tensor, ...]
    results: tuple[BlockFloat, ...]
    tensors: tuple[Tensor, ...]
    key: str | None
    rescaling: bool


class Tape:
    """Applies linear functions to blocks and, if it records, can take gradients afterwards.

    Parameters
    ----------
    recording
        Whether to keep what gradients need.

    Examples
    --------
    >>> tape = Tape()
    >>> x = BlockFloat(torch.ones(2), 4000)
    >>> w = torch.tensor([1.0, 2.0])
    >>> (y,) = tape.apply(lambda x, w: (x * w).sum(), [x], weight=w, key="w")
    >>> values, weights = tape.gradients([y], [x])
    >>> values[0].mantissa, weights["w"].exponent
    (tensor([1., 2.]), 4000)
    """

    def __init__(self, recording: bool = True) -> None:
        self._recording = recording
        self._records: list[_Record] = []

    def apply(
        self,
        function: Function,
        operands: Sequence[BlockFloat],
        *,
        weight: Tensor | None = None,
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
            A tensor that the result is linear in as well; its gradient is kept under ``key``.
        rescaling
            Whether the function may make numbers larger or smaller.
        """
        mantissas, exponent = aligned(operands)
        recording = self._recording
        leaves = [m.detach().requires_grad_() for m in mantissas] if recording else mantissas
        if weight is not None:
            leaves = [*leaves, weight.detach().requires_grad_() if recording else weight]
        with torch.set_grad_enabled(recording):
            output = function(*leaves)
        tensors = (output,) if isinstance(output, Tensor) else tuple(output)
        results = tuple(BlockFloat(tensor.detach(), exponent) for tensor in tensors)
        if rescaling:
            results = tuple(map(normalised, results))
        if recording:
            self._records.append(
                _Record(tuple(operands), tuple(leaves), results, tensors, key, rescaling)
            )
        return results

    def gradients(
        self, outputs: Sequence[BlockFloat], wanted: Sequence[BlockFloat]
    ) -> tuple[list[BlockFloat | None], dict[str, BlockFloat]]:
        """Return the gradients of the sum of all elements of ``outputs``; empties the tape.

        Returns
        -------
        list
            For every block of ``wanted`` its gradient, or None where it has no part in the sum.
        dict
            Key to the gradient with respect to the weights of that key, uses summed.
        """
        found: dict[int, BlockFloat] = {}
        weights: dict[str, BlockFloat] = {}
        lasting = {id(block) for block in wanted}
        for block in outputs:
            _collect(found, id(block), BlockFloat(torch.ones_like(block.mantissa)))
        kept = {key: found[key] for key in lasting & found.keys()}
        while self._records:
            record = self._records.pop()
            arrived = [found.pop(id(result), None) for result in record.results]
            used = [i for i, gradient in enumerate(arrived) if gradient is not None]
            kept.update(
                (id(record.results[i]), gradient)
                for i, gradient in enumerate(arrived)
                if gradient is not None and id(record.results[i]) in lasting
            )
            if not used:
                continue
            mantissas, exponent = aligned([g for g in arrived if g is not None])
            products = torch.autograd.grad(
                [record.tensors[i] for i in used], record.leaves, mantissas, allow_unused=True
            )
            for operand, product in zip(record.operands, products, strict=False):
                if product is not None:
                    block = BlockFloat(product, exponent)
                    _collect(found, id(operand), normalised(block) if record.rescaling else block)
            if record.key is not None and products[-1] is not None:
                _collect(weights, record.key, BlockFloat(products[-1], exponent + _power(record)))
        kept.update((key, found[key]) for key in lasting & found.keys())
        return [kept.get(id(block)) for block in wanted], weights


def _power(record: _Record) -> int:
    """Return the exponent that the operands were brought to (the results hold it, rescaled)."""
    return max(operand.exponent for operand in record.operands)


def _collect(sums: dict[Any, BlockFloat], key: object, block: BlockFloat) -> None:
    sums[key] = added(sums[key], block) if key in sums else block
