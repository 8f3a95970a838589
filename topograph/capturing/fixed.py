"""What multiplying by a constant that is no parameter does: a fixed mixture (blurs, DCT, filters).

Nothing of it is learnt, so it has no nodes and no connections; like a pooling it says in which
proportions what follows reads what came before. Coefficients count by their magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx

from topograph.capturing.forms import Form
from topograph.capturing.rules import Call, apply_weight
from topograph.capturing.weights import Operator


@dataclass(frozen=True)
class FixedMap:
    """The product of a signal with a constant matrix or kernel.

    Parameters
    ----------
    operator
        The constant, as if it were a weight.
    """

    operator: Operator

    def __call__(self, call: Call, tensor: Tensor) -> Tensor:
        """Return the product with the magnitudes of the constant."""
        return apply_weight(self.operator, call, tensor, self.magnitude(call).to(tensor))

    def magnitude(self, call: Call) -> Tensor:
        """Return the magnitudes of the constant as the operator takes it."""
        value: Tensor = call.constant(self.operator.operand)
        return value.detach().abs().double()

    @property
    def form(self) -> Form:
        """How constant, signal and result lie in the common form."""
        return Form.of(self.operator)


def fixed_map(node: fx.Node, kind: str, signal: fx.Node, operand: fx.Node) -> FixedMap:
    """Return the rule of an operator whose ``operand`` is constant and no parameter."""
    return FixedMap(Operator(node.name, node.name, kind, node, signal, operand, operand, ()))
