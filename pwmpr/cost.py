"""What training has cost in floating-point operations, counted on kept weights.

Nominal numbers: masked dense kernels do not get faster by them. Measured seconds stand beside
them in every history and are never mixed in.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from topograph.errors import TopographError

# Forward, gradient of the activations, gradient of the weights: one forward's worth each.
FORWARD_AND_BACKWARD = 3


@dataclass(frozen=True)
class Operator:
    """One operator of the forward pass that multiplies and adds.

    Attributes
    ----------
    name
        The ATen operator, e.g. ``"convolution"``.
    parameter
        Name of the weight that it applies; None where two activations are multiplied.
    flops
        Multiplications plus additions per sample with every weight kept (2 per MAC).
    weights
        Number of elements of that parameter (0 without one).
    """

    name: str
    parameter: str | None
    flops: int
    weights: int


class _Recorder(TorchDispatchMode):
    """Lists the multiplying operators of a forward pass with the parameter that each applies.

    Every tensor is *data* (computed from the input), or stands for a parameter (computed from
    parameters alone: a view, a masked copy), or neither. All tensors seen are kept alive, so no
    id is ever used twice.
    """

    def __init__(self, parameters: Mapping[str, Tensor], example: object, samples: int) -> None:
        super().__init__()
        self.parameters = parameters
        self.parameter_of = {id(tensor): name for name, tensor in parameters.items()}
        self.data = {id(leaf) for leaf in tree_leaves(example) if isinstance(leaf, Tensor)}
        self.alive: list[object] = []
        self.samples = samples
        self.operators: list[Operator] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        names = [self.parameter_of[id(leaf)] for leaf in operands if id(leaf) in self.parameter_of]
        largest = max(names, key=lambda name: self.parameters[name].numel(), default=None)
        is_data = any(id(leaf) in self.data for leaf in operands)
        if is_data and func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
            weights = 0 if largest is None else self.parameters[largest].numel()
            name = func._overloadpacket.__name__
            self.operators.append(Operator(name, largest, flops // self.samples, weights))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.alive.append(leaf)
                if is_data:
                    self.data.add(id(leaf))
                elif largest is not None:
                    self.parameter_of[id(leaf)] = largest
        return out


def operator_costs(model: nn.Module, example_input: Any) -> tuple[Operator, ...]:
    """Return every multiplying operator of one forward pass, in order of execution.

    The model runs once in evaluation mode without gradients; its mode and buffers are left as
    they were. A weight that is used twice is listed twice. Normalisation, activations, pooling,
    biases and embedding look-ups are not counted (P, appendix B); a matrix product of two
    activations (attention) is counted, with no parameter.

    Parameters
    ----------
    model
        Any module; its weights may be read by modules or by functions.
    example_input
        A tensor, or a tuple of positional arguments; the first tensor's first dimension is the
        number of samples.

    Raises
    ------
    TopographError
        If the input holds no tensor.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> [(o.parameter, o.flops) for o in operator_costs(model, torch.zeros(1, 4))]
    [('0.weight', 24), ('2.weight', 12)]
    """
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    if not tensors:
        raise TopographError(
            f"example_input is {type(example_input).__name__}; expected a tensor or a tuple "
            "holding one",
            "pass a batch of one sample as the model takes it",
        )
    modes = [(module, module.training) for module in model.modules()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    recorder = _Recorder(dict(model.named_parameters()), inputs, max(1, tensors[0].shape[0]))
    try:
        model.eval()
        # Fused attention kernels hide their products; the plain ones show them.
        torch.backends.mha.set_fastpath_enabled(False)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(recorder)
            model(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, training in modes:
            module.training = training
    return tuple(recorder.operators)


def forward_flops(operators: tuple[Operator, ...], kept: Mapping[str, int] | None = None) -> int:
    """Return multiplications plus additions of one sample's forward pass on kept weights.

    Parameters
    ----------
    operators
        From `operator_costs`.
    kept
        Parameter name -> number of kept weights; parameters not named are dense.

    Examples
    --------
    >>> model = nn.Linear(4, 3)
    >>> operators = operator_costs(model, torch.zeros(1, 4))
    >>> forward_flops(operators), forward_flops(operators, {"weight": 6})
    (24, 12)
    """
    total = 0
    for operator in operators:
        part = operator.flops
        if kept is not None and operator.parameter is not None and operator.parameter in kept:
            # flops = 2 · (uses of each weight) · weights, so this division leaves no remainder.
            part = part * kept[operator.parameter] // operator.weights
        total += part
    return total


class Ledger:
    """The running account of a run's floating-point operations, by kind.

    - ``training``: forward and backward of training batches, 3 f_S a sample, with f_S the forward
      FLOPs on kept weights;
    - ``scoring``: passes on the sparse network that only decide about masks (PWMPR: one of batch
      1 a growth step), 3 f_S a sample;
    - ``dense_gradient``: passes that treat the network as dense (GG: one batch a growth step),
      3 f_D a sample; and what it costs to compute a training batch's weight gradients for all
      weights instead of the kept ones (RigL, SNFS), f_D − f_S a sample, so that such a step is
      2 f_S + f_D in all.

    Evaluation on validation and test data is not training and is left out, for every method.

    Parameters
    ----------
    operators
        From `operator_costs`.
    masked
        Names of the masked parameters; a warning names those that no operator applies.
    """

    def __init__(self, operators: tuple[Operator, ...], masked: tuple[str, ...] = ()) -> None:
        self.operators = operators
        self.spent = {"training": 0, "scoring": 0, "dense_gradient": 0}
        self.dense_forward = forward_flops(operators)
        self.sparse_forward = self.dense_forward
        seen = {operator.parameter for operator in operators}
        if missing := [name for name in masked if name not in seen]:
            warnings.warn(
                f"the FLOPs of {', '.join(missing)} are not counted: no operator that the ledger "
                "knows applies them in the forward pass",
                stacklevel=2,
            )

    @property
    def total(self) -> int:
        """FLOPs so far, all kinds together."""
        return sum(self.spent.values())

    def keep(self, kept: Mapping[str, int]) -> None:
        """Take the number of kept weights per parameter; what is added from now on has them."""
        self.sparse_forward = forward_flops(self.operators, kept)

    def add_training(self, samples: int) -> None:
        """Count forward and backward of training samples on the kept weights."""
        self.spent["training"] += FORWARD_AND_BACKWARD * self.sparse_forward * samples

    def add_scoring(self, samples: int = 1) -> None:
        """Count a pass on the sparse network that only decides about masks."""
        self.spent["scoring"] += FORWARD_AND_BACKWARD * self.sparse_forward * samples

    def add_dense_gradient(self, samples: int) -> None:
        """Count a forward and backward pass that treats the network as dense."""
        self.spent["dense_gradient"] += FORWARD_AND_BACKWARD * self.dense_forward * samples

    def add_dense_weight_gradient(self, samples: int) -> None:
        """Count the gradients of missing weights in a training pass that is counted already."""
        self.spent["dense_gradient"] += (self.dense_forward - self.sparse_forward) * samples

    def dense_training(self, samples: int) -> int:
        """Return the FLOPs of training the dense network on ``samples`` samples in all."""
        return FORWARD_AND_BACKWARD * self.dense_forward * samples

    def state_dict(self) -> dict[str, int]:
        """Return what was spent, as plain integers."""
        return dict(self.spent)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take up an account where it was left."""
        self.spent = {kind: int(state.get(kind, 0)) for kind in self.spent}
