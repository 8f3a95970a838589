"""A linear layer that multiplies by its kept weights alone, forward and backward.

With W (outputs, inputs) sparse, X (rows, inputs) and dY (rows, outputs)::

    Yᵀ = W Xᵀ            sparse times dense
    dXᵀ = Wᵀ dYᵀ         sparse times dense, by the transposed pattern
    dW = (dYᵀ X) at the kept positions alone: a dot product over the rows for each

Sparse products go along the rows of the dense operand, so it is kept feature-major, (features,
rows). Each takes time in proportion to the kept weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pwmpr.kernels.pattern import Pattern
from topograph.errors import TopographError


def sparse_linear(x: Tensor, weight: Tensor, bias: Tensor | None, pattern: Pattern) -> Tensor:
    """Return what ``torch.nn.functional.linear`` returns if weights outside the pattern are 0.

    Under autocast it computes in float32. The gradient of ``weight`` is a COO tensor of the kept
    positions (dense elements elsewhere count as 0 and get no gradient); a gradient of the gradient
    is not to be had.

    Parameters
    ----------
    x : Tensor
        (…, inputs).
    weight : Tensor
        (outputs, inputs), dense; elements outside the pattern are not read.
    bias : Tensor or None
        (outputs,).
    pattern : Pattern
        Of the weight.

    Returns
    -------
    Tensor
        (…, outputs), contiguous.

    Examples
    --------
    >>> mask = torch.tensor([[True, False, True], [False, True, False]])
    >>> weight = torch.arange(6.0).reshape(2, 3)
    >>> sparse_linear(torch.ones(1, 3), weight, None, Pattern(weight, mask))
    tensor([[2., 4.]])
    """
    out: Tensor = _SparseLinear.apply(x, weight, bias, pattern)
    return out


class _SparseLinear(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pattern: Pattern
    ) -> Tensor:
        turned = x.reshape(-1, x.shape[-1]).T.contiguous()  # (inputs, rows)
        values = pattern.values(weight)
        out = _product(pattern.matrix(values), turned)  # (outputs, rows)
        if bias is not None:
            out += bias[:, None]
        ctx.save_for_backward(turned, values)
        ctx.pattern, ctx.x_shape = pattern, x.shape
        return out.T.contiguous().view(*x.shape[:-1], len(out))

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the backward pass is itself to be differentiated
            raise TopographError(
                "a sparse linear layer has no gradient of its gradient",
                'compute such a loss outside of the sparse layers\' block (kernels="masked")',
            )
        (grad,) = grads
        turned, values = ctx.saved_tensors
        pattern: Pattern = ctx.pattern
        out = grad.reshape(-1, grad.shape[-1]).T.contiguous()  # (outputs, rows)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _product(pattern.transposed(values), out).T.contiguous().view(ctx.x_shape)
        if ctx.needs_input_grad[1]:
            sampled = torch.sparse.sampled_addmm(pattern.matrix(values), out, turned.T, beta=0)
            of_weight = pattern.gradient(sampled.values())
        if ctx.needs_input_grad[2]:
            of_bias = out.sum(1)
        return of_x, of_weight, of_bias, None


def _product(matrix: Tensor, dense: Tensor) -> Tensor:
    """Return CSR times dense, written in place: ``@`` would fill with zeros and copy besides."""
    out = dense.new_empty(matrix.shape[0], dense.shape[1])
    return torch.addmm(out, matrix, dense, beta=0, out=out)
