"""How much path weight runs through every channel, and how much would a new weight add."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from topograph.capturing.plan import Plan, check_opaque, plan
from topograph.capturing.trace import ExampleInput, trace
from topograph.capturing.weights import Binding, Masks, Operator
from topograph.check import check_choice
from topograph.errors import TopographError
from topograph.flow.blockfloat import ZERO_EXPONENT, BlockFloat, added, aligned, normalised, shift_
from topograph.flow.precision import exact_arithmetic
from topograph.flow.replay import replay
from topograph.flow.shares import at_nodes, of_tokens, shares
from topograph.flow.tape import Tape

if TYPE_CHECKING:
    from topograph.capturing.layout import Layout

# Up to so many multiplications a sample, float64 costs milliseconds more than float32.
_CHEAP = 500_000_000

# How far the total taken forward may be from the total taken backward, relative: rounding keeps
# below a tenth of this at a thousand layers. Further apart, something underflowed on the way.
_AGREEMENT = {torch.float32: 1e-5, torch.float64: 1e-9}


@dataclass(frozen=True, eq=False)
class PathFlow:
    """Path weight in a model's tensors, made by :func:`path_flow`.

    Attributes
    ----------
    scores
        Parameter name to a tensor of the parameter's shape, on its device: the PWMP score
        S(i, j) = φ(i) ψ(j) of every weight position, present or missing, summed over the places
        it is used at, times one factor for all parameters that brings the largest near 1
        (``log S = log(scores) + log_scale``). Adding a weight w raises R by w S for w > 0. Weights
        that no path runs through (query and key projections, gates) have no entry. Empty with
        ``scores=False``.
    share
        Group name to the float64 shares C/R of its nodes, 0 to 1, summed over positions.
    passed
        Name of a use of a weight (as in ``graph.operators``) to the part of R on paths over it,
        Σ S |θ| / R.
    log_total
        log R, natural; -inf where no path is left.
    log_scale
        log of the factor taken out of the scores.
    inputs, outputs, hidden
        Names of the groups that paths start from, end in, and run through between.
    offsets
        Group name to the id of its first node in the channel graph.
    dtype
        The type of number that was computed with.
    """

    scores: Mapping[str, Tensor] = field(repr=False)
    share: Mapping[str, Tensor] = field(repr=False)
    passed: Mapping[str, float] = field(repr=False)
    log_total: float
    log_scale: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    hidden: tuple[str, ...] = field(repr=False)
    offsets: Mapping[str, int] = field(repr=False)
    dtype: torch.dtype


def path_flow(
    model: nn.Module,
    example_input: ExampleInput,
    masks: Masks | None = None,
    norm: str = "identity",
    dtype: torch.dtype | None = None,
    weights: Mapping[str, Tensor] | None = None,
    opaque: str = "group",
    tokens: str = "merge",
    scores: bool = True,
) -> PathFlow:
    """Sum path weights through a model's tensors: the tensor path.

    The model is made linear: weights |θ ⊙ m|, no bias, activations and gates passed through,
    maxima as means. One forward pass of one all-ones sample gives the complexity φ of every
    element, one backward pass of the summed outputs (R, the total) its generality ψ; the gradient
    with respect to |θ ⊙ m| is the score S. Each tensor carries its own power of two, so nothing
    overflows at any depth. The model is not changed.

    Parameters
    ----------
    model
        Any ``nn.Module`` with a fixed operator graph; computed where its weights are.
    example_input
        A tensor, tuple of positional or dict of keyword arguments with a batch dimension; only
        shapes and types matter.
    masks
        Parameter name to bool tensor of the parameter's shape, True = kept. For others the mask is
        found in the model (``torch.nn.utils.prune``, parametrisations) or is where the weight is
        not 0.
    norm
        ``"identity"``: normalisation is transparent; ``"scale"``: it multiplies by |γ|/√(var + ε).
    dtype
        ``torch.float64`` or ``torch.float32``. By default float64, except for models of more than
        5e8 multiplications a sample and no float64 weights, which are computed in float32 (shares
        within 3e-6) and again in float64 if float32 does not hold their range.
    weights
        Values of parameters and buffers by name, for a model that does not hold them, as in
        :func:`topograph.capture`. They are read one at a time with ``scores=False``.
    opaque
        What becomes of operators without a rule, or whose reads depend on the data: ``"group"``,
        an even average of all that they may depend on, or ``"refuse"``.
    tokens
        The groups of ``share``: ``"merge"`` or ``"split"``, as in :func:`topograph.capture`.
    scores
        Whether scores are wanted: all |θ| are held in ``dtype`` meanwhile, and as many scores.
        Without, each |θ| is made where it is needed, once forward and once backward, and memory
        holds one layer and the activations.

    Returns
    -------
    PathFlow
        Scores by parameter, shares by group, and log R.

    Raises
    ------
    TopographError
        If the model cannot be captured, a path meets an opaque operator that is to be refused, a
        mask does not fit, or the path weights of one tensor span more than the range of the type.

    References
    ----------
    The growth paper, eq. 4 and 5, Algorithm 1 and appendix A.3; SynFlow (Tanaka et al. 2020) for
    the all-ones pass.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> with torch.no_grad():
    ...     _ = model[0].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 2.0]]))
    ...     _ = model[2].weight.copy_(torch.tensor([[3.0, -1.0]]))
    >>> flow = path_flow(model, torch.zeros(1, 2))
    >>> round(math.exp(flow.log_total), 6)      # R = 3 + 3 + 2
    8.0
    >>> flow.share["0"].tolist()                # the hidden neurons' parts of R
    [0.75, 0.25]
    >>> (flow.scores["0.weight"] * math.exp(flow.log_scale)).tolist()
    [[3.0, 3.0], [1.0, 1.0]]
    """
    if dtype not in (None, torch.float32, torch.float64):
        raise TopographError(
            f"dtype is {dtype!r}; expected torch.float64, torch.float32 or None",
            "leave dtype out: the model's size decides",
        )
    prepared = _prepare(model, example_input, masks, norm, weights, opaque, tokens)
    for attempt in _types(prepared[0], dtype):
        flow = _flow(*prepared, attempt, scores)
        if flow is not None:
            return flow
    raise TopographError(
        "the path weights in one tensor of the model span more than the range of "
        f"{attempt}, so sums of them come out wrong",
        "pass dtype=torch.float64"
        if attempt is torch.float32
        else "look for weights that are many powers of ten larger or smaller than their neighbours",
    )


def lying_on_paths(
    model: nn.Module,
    example_input: ExampleInput,
    masks: Masks | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return group name to a bool tensor: whether a chain of kept weights passes each node.

    The chain joins the node to both an input and an output, whatever the weights' values: it is
    what carries path weight when every kept weight is 1. Weights are read as in
    :func:`path_flow` without scores.
    """
    prepared = _prepare(model, example_input, masks, "identity", weights, "group", "merge")
    for attempt in _types(prepared[0], None):
        flow = _flow(*prepared, attempt, scores=False, ones=True)
        if flow is not None:
            return {name: share > 0 for name, share in flow.share.items()}
    raise TopographError(
        "the numbers of paths in one tensor of the model span more than the range of float64",
        "pass masks that keep more weights",
    )


def _prepare(
    model: nn.Module,
    example_input: ExampleInput,
    masks: Masks | None,
    norm: str,
    weights: Mapping[str, Tensor] | None,
    opaque: str,
    tokens: str,
) -> tuple[Plan, Binding, Layout]:
    # The layout is built on this package's plans, so it is imported when it is first needed.
    from topograph.capturing.layout import layout

    check_choice(norm, "norm", ("identity", "scale"))
    traced = trace(model, example_input)
    steps = plan(traced, norm)
    check_opaque(steps, opaque)
    binding = Binding(traced, model, masks, weights)
    return steps, binding, layout(traced, binding, norm=norm, tokens=tokens)


def _types(steps: Plan, dtype: torch.dtype | None) -> list[torch.dtype]:
    """Return the types to try in order."""
    if dtype is not None:
        return [dtype]
    weights = [op.leaf.meta["val"] for op in steps.operators]
    if any(weight.device.type == "mps" for weight in weights):
        return [torch.float32]  # the only one there
    if steps.multiply_adds <= _CHEAP or any(weight.dtype == torch.float64 for weight in weights):
        return [torch.float64]
    return [torch.float32, torch.float64]


def _flow(
    steps: Plan,
    binding: Binding,
    groups: Layout,
    dtype: torch.dtype,
    scores: bool,
    ones: bool = False,
) -> PathFlow | None:
    """Return the flow computed in ``dtype``, or None if that does not hold its range.

    With ``ones``, every kept weight is 1.
    """
    nodes = list(dict.fromkeys([*steps.inputs, *(site.node for site in groups.sites.values())]))
    leaves: dict[fx.Node, Tensor] = {}
    tables = {op.name: op for op in steps.operators if op.kind == "embedding"}

    def leaf(op: Operator) -> Tensor:
        if op.leaf in leaves:
            return leaves[op.leaf]
        made = (binding.mask(op) if ones else binding.magnitude(op)).to(dtype)
        if scores:
            leaves[op.leaf] = made
        return made

    def rows(name: str, weight: Tensor, gradient: BlockFloat) -> BlockFloat:
        return of_tokens(tables[name], weight, gradient)

    def tokens(op: Operator) -> BlockFloat:
        found = back.weights[op.name]
        return of_tokens(op, leaf(op), found) if scores else found

    # Without scores the one gradient of a weight that is wanted is that of a vocabulary's rows.
    frozen = () if scores else [op.name for op in steps.operators if op.name not in tables]
    tape = Tape(frozen=frozen)
    with exact_arithmetic():
        values = replay(
            steps, binding, leaf=leaf, keep=nodes, tape=tape, again=not scores, dtype=dtype
        )
        nodes = [node for node in nodes if node in values]
        outputs = [values[node] for node in steps.outputs]
        total = _sum(outputs, dtype)
        wanted = [values[node] for node in nodes]
        back = tape.gradients(outputs, wanted, None if scores else rows)
        gradients = at_nodes(nodes, back.values)
        from_inputs = _sum(
            [
                BlockFloat(
                    values[node].mantissa * gradients[node].mantissa,
                    values[node].exponent + gradients[node].exponent,
                )
                for node in steps.inputs
                if node in gradients
            ],
            dtype,
        )
        if not _agree(total, from_inputs, _AGREEMENT[dtype]):
            return None
        if not float(total.mantissa) and not ones and _connected(steps, binding, dtype):
            return None
        held = _scores(steps, back.weights, leaves) if scores else ({}, 0)
        if held is None:
            return None
        share = shares(groups, values, gradients, tokens, total)
    return PathFlow(
        scores=held[0],
        share=share,
        passed={op.name: _part(back.passed.get(op.name), total) for op in steps.operators},
        log_total=total.log_sum(),
        log_scale=held[1] * math.log(2),
        inputs=groups.inputs,
        outputs=groups.outputs,
        hidden=groups.hidden,
        offsets={name: group.start for name, group in groups.groups.items()},
        dtype=dtype,
    )


def _part(passed: BlockFloat | None, total: BlockFloat) -> float:
    """Return the part of R, from 0 to 1."""
    if passed is None or not float(passed.mantissa) or not float(total.mantissa):
        return 0.0
    return min(1.0, math.exp(passed.log_sum() - total.log_sum()))


def _sum(blocks: list[BlockFloat], dtype: torch.dtype) -> BlockFloat:
    """Return the sum of all elements, of shape (1,) in float64."""
    sums = [
        normalised(BlockFloat(b.mantissa.sum(dtype=torch.float64).reshape(1).cpu(), b.exponent))
        for b in blocks
    ]
    if not sums:
        return BlockFloat(torch.zeros(1, dtype=torch.float64))
    parts, exponent = aligned(sums)
    return normalised(BlockFloat(torch.stack(parts).sum(0), exponent))


def _agree(one: BlockFloat, other: BlockFloat, tolerance: float) -> bool:
    """Whether the paths summed forward and backward come to the same total."""
    (first, second), _ = aligned((one, other))
    a, b = float(first), float(second)
    return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= tolerance * max(a, b)


def _connected(steps: Plan, binding: Binding, dtype: torch.dtype) -> bool:
    """Whether there is a path at all: whether one is left when all kept weights are 1."""

    def ones(op: Operator) -> Tensor:
        return (binding.magnitude(op) != 0).to(dtype)

    values = replay(steps, binding, leaf=ones, dtype=dtype)
    return bool(float(_sum([values[node] for node in steps.outputs], dtype).mantissa))


def _scores(
    steps: Plan, uses: Mapping[str, BlockFloat], leaves: Mapping[fx.Node, Tensor]
) -> tuple[dict[str, Tensor], int] | None:
    """Return the scores without their common power of two, and that power; None if not finite."""
    found: dict[str, BlockFloat] = {}
    for op in steps.operators:
        block = uses.get(op.name)
        if block is None:
            block = BlockFloat(torch.zeros_like(leaves[op.leaf]), ZERO_EXPONENT)
        before = found.get(op.parameter)
        found[op.parameter] = block if before is None else added(before, block)
    tops: dict[str, int] = {}
    for name, block in found.items():
        top = float(block.mantissa.amax()) if block.mantissa.numel() else 0.0
        if not math.isfinite(top):
            return None
        if top > 0:
            tops[name] = math.frexp(top)[1] + block.exponent
    common = max(tops.values(), default=0)
    return {
        name: shift_(block.mantissa.contiguous(), block.exponent - common)
        for name, block in found.items()
    }, common
