"""Products of several tensors written with the ones that have a rule: matmul, bmm, mul and sums.

Each function computes the same values as the operator of its name. Letters of an einsum that both
operands and the result have become the batch of a ``bmm``: weights of their own for every head,
expert or group are then groups of one weighted operator.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def einsum(equation: str, tensors: Sequence[Tensor], *, path: Any = None) -> Tensor:
    """Contract the operands two at a time, from the left (or along ``path``)."""
    inputs, result = _letters(equation, tensors)
    waiting = [_alone(tensor, own) for tensor, own in zip(tensors, inputs, strict=True)]
    pairs = [0, 1] * (len(waiting) - 1) if path is None else list(path)
    while len(waiting) > 1:
        i, j = sorted(pairs[:2])
        pairs = pairs[2:]
        right, left = waiting.pop(j), waiting.pop(i)
        later = set(result).union(*(own for _, own in waiting))
        waiting.append(_pair(left, right, later))
    tensor, own = _summed(*waiting[0], set(result))
    return tensor.permute([own.index(letter) for letter in result])


Operand = tuple[Tensor, str]


def _letters(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """Return a letter for every axis of the operands and of the result; ``...`` written out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    rests = [
        tensor.dim() - len(term.replace("...", "")) if "..." in term else 0
        for term, tensor in zip(terms, tensors, strict=True)
    ]
    rest = free[: max(rests, default=0)]
    inputs = [
        term.replace("...", "".join(rest[len(rest) - count :]))
        for term, count in zip(terms, rests, strict=True)
    ]
    if not arrow:
        named = left.replace("...", "").replace(",", "")
        once = sorted(letter for letter in set(named) if named.count(letter) == 1)
        return inputs, "".join([*rest, *once])
    return inputs, right.replace("...", "".join(rest))


def _alone(tensor: Tensor, letters: str) -> Operand:
    """Take the diagonal where one letter stands for two axes."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            tensor = tensor.diagonal(0, first, second)
            kept = [own for k, own in enumerate(letters) if k not in (first, second)]
            letters = "".join([*kept, letter])
    return tensor, letters


def _summed(tensor: Tensor, letters: str, needed: set[str]) -> Operand:
    """Sum over the axes that nothing else needs."""
    axes = [axis for axis, letter in enumerate(letters) if letter not in needed]
    if not axes:
        return tensor, letters
    return tensor.sum(axes), "".join(letter for letter in letters if letter in needed)


def _pair(left: Operand, right: Operand, later: set[str]) -> Operand:
    """Multiply two operands and sum over the letters that only they have."""
    one, own = _summed(*left, later | set(right[1]))
    other, theirs = _summed(*right, later | set(own))
    sizes = dict(zip(theirs, other.shape, strict=True))
    for letter, size in zip(own, one.shape, strict=True):
        sizes[letter] = max(size, sizes.get(letter, 1))
    shared = [letter for letter in own if letter in theirs]
    summed = [letter for letter in shared if letter not in later]
    batch = [letter for letter in shared if letter in later]
    first = [letter for letter in own if letter not in shared]
    second = [letter for letter in theirs if letter not in shared]
    letters = "".join([*batch, *first, *second])
    if not summed:
        product = _aligned(one, own, letters) * _aligned(other, theirs, letters)
        return product, letters
    matrices = [
        _matrices(one, own, [batch, first, summed], sizes),
        _matrices(other, theirs, [batch, summed, second], sizes),
    ]
    product = torch.bmm(*matrices) if batch else torch.mm(matrices[0][0], matrices[1][0])
    return product.reshape([sizes[letter] for letter in letters]), letters


def _aligned(tensor: Tensor, own: str, letters: str) -> Tensor:
    """Return a tensor with an axis for each letter, of size 1 where it has none."""
    order = [letter for letter in letters if letter in own]
    tensor = tensor.permute([own.index(letter) for letter in order])
    for axis, letter in enumerate(letters):
        if letter not in own:
            tensor = tensor.unsqueeze(axis)
    return tensor


def _matrices(
    tensor: Tensor, own: str, parts: Sequence[Sequence[str]], sizes: dict[str, int]
) -> Tensor:
    """Return a tensor as (batch, rows, columns), each axis the letters of one part."""
    letters = [letter for part in parts for letter in part]
    tensor = tensor.permute([own.index(letter) for letter in letters])
    tensor = tensor.expand([sizes[letter] for letter in letters])
    return tensor.reshape([math.prod(sizes[letter] for letter in part) for part in parts])


def tensordot(one: Tensor, other: Tensor, dims_self: list[int], dims_other: list[int]) -> Tensor:
    """Sum over pairs of axes."""
    names = iter(string.ascii_letters)
    own = [next(names) for _ in range(one.dim())]
    theirs = [next(names) for _ in range(other.dim())]
    for a, b in zip(dims_self, dims_other, strict=True):
        theirs[b] = own[a]
    kept = [letter for letter in (*own, *theirs) if not (letter in own and letter in theirs)]
    return einsum(f"{''.join(own)},{''.join(theirs)}->{''.join(kept)}", [one, other])


def inner(one: Tensor, other: Tensor) -> Tensor:
    """Sum over the last axes."""
    if one.dim() == 0 or other.dim() == 0:
        return one * other
    return tensordot(one, other, [one.dim() - 1], [other.dim() - 1])


def outer(one: Tensor, other: Tensor) -> Tensor:
    """Multiply every element of one with every element of the other."""
    return one[:, None] * other


def mv(matrix: Tensor, vector: Tensor) -> Tensor:
    """Multiply a matrix and a vector (or two vectors)."""
    return torch.matmul(matrix, vector)


def bilinear(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply all pairs of elements; the pairs are the columns of a linear layer.

    So either activation carries paths with the other at 1, and a weight is one edge.
    """
    pairs = one.unsqueeze(-1) * other.unsqueeze(-2)
    return torch.nn.functional.linear(pairs.flatten(-2), weight.flatten(1), bias)


def _scaled(tensor: Tensor, factor: Any) -> Tensor:
    return tensor if factor == 1 else tensor * factor


def _plus(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return β · added + α · product of the two matrices (nothing is added where β is 0)."""

    def plus(added: Tensor, one: Tensor, other: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        result = _scaled(product(one, other), alpha)
        return result if beta == 0 else _scaled(added, beta) + result

    return plus


def _sum_of_products(one: Tensor, other: Tensor) -> Tensor:
    return einsum("bij,bjk->ik", [one, other])


def addcmul(added: Tensor, one: Tensor, other: Tensor, *, value: Any = 1) -> Tensor:
    """Add a product."""
    return added + _scaled(one * other, value)


def addcdiv(added: Tensor, one: Tensor, other: Tensor, *, value: Any = 1) -> Tensor:
    """Add a quotient."""
    return added + _scaled(one / other, value)


def lerp(start: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Go from one tensor to another: both as parts that add to 1."""
    return start * (1 - weight) + end * weight


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Look up all words and add them up (mode 0) or average them (1, 2), where all are one bag."""
    if len(offsets) != 1 + include_last_offset or padding_idx not in (None, -1):
        return NotImplemented
    rows = torch.nn.functional.embedding(indices, weight)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    bag = (rows.sum(0), rows.mean(0), rows.amax(0))[mode].unsqueeze(0)
    counts = offsets.new_zeros(0)
    return bag, counts, counts, counts


#: Operator to the function that writes it out.
PRODUCTS: dict[Any, Callable[..., Any]] = {
    aten.einsum.default: einsum,
    aten.tensordot.default: tensordot,
    aten.inner.default: inner,
    aten.outer.default: outer,
    aten.ger.default: outer,
    aten.mv.default: mv,
    aten.dot.default: mv,
    aten.vdot.default: mv,
    aten.bilinear.default: bilinear,
    aten.baddbmm.default: _plus(torch.bmm),
    aten.addbmm.default: _plus(_sum_of_products),
    aten.addmv.default: _plus(mv),
    aten.addr.default: _plus(outer),
    aten.addcmul.default: addcmul,
    aten.addcdiv.default: addcdiv,
    aten.embedding_bag.default: embedding_bag,
    aten.embedding_bag.padding_idx: embedding_bag,
    aten.lerp.Scalar: lerp,
    aten.lerp.Tensor: lerp,
}
