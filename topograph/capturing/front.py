"""The public way in: the layered graph of a model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from topograph.capturing.assemble import assemble, check_edges
from topograph.capturing.layout import layout
from topograph.capturing.plan import check_opaque, plan
from topograph.capturing.trace import ExampleInput, trace
from topograph.capturing.unit_edges import check_size
from topograph.capturing.weights import Binding, Masks
from topograph.check import check_choice
from topograph.graph.layered import LayeredGraph


def capture(
    model: nn.Module,
    example_input: ExampleInput,
    masks: Masks | None = None,
    granularity: str = "channel",
    norm: str = "identity",
    weights: Mapping[str, Tensor] | None = None,
    opaque: str = "group",
    tokens: str = "merge",
) -> LayeredGraph:
    """Turn a PyTorch model into the layered graph of its weights.

    The model's operators are traced once for a shape of input and followed with node ids; no code
    is made for any architecture. The model is not copied, changed or left in another mode.

    Parameters
    ----------
    model
        Any ``nn.Module`` with a fixed operator graph.
    example_input
        A tensor, a tuple of positional or a dict of keyword arguments, with a batch dimension of
        which the first sample is used. Only shapes and types matter.
    masks
        Parameter name to bool tensor of the parameter's shape, True = kept. A kept weight of value
        0 is an edge. For parameters that are not named the mask is found in the model
        (``torch.nn.utils.prune``, a parametrisation's ``mask``) or is where the weight is not 0.
    granularity
        ``"channel"``: a node for every channel or feature; the edge from c to k weighs Σ |θ| over
        the kernel taps between them. ``"unit"``: a node for every position as well, and every tap
        at every position an edge.
    norm
        ``"identity"``: normalisation is transparent; ``"scale"``: it multiplies what flows into
        a channel by |γ|/√(var + ε) (layer, group and RMS norms: by |γ|). Constants that the model
        itself multiplies activations by, learnt (layer scale) or not, count in both.
    weights
        Values of parameters and buffers by name, for a model that does not hold them (built on the
        meta device or under a fake tensor mode); others go before those in the model. Any mapping:
        each is read when it is used, and dropped
        (:class:`~topograph.capturing.lazy.LazyTensors`).
    opaque
        ``"group"``: an operator without a rule, or whose reads depend on the data, is an even
        average of all that it may depend on, and is listed in ``coverage.opaque``; ``"refuse"``:
        it is an error.
    tokens
        At channel granularity, where the positions of an activation read different nodes (a class
        token beside patches, tokens mixed by a linear layer): ``"merge"``: a feature is one node,
        which reads the mean over positions; ``"split"``: positions that read differently are
        groups of their own, as they are at unit granularity. Convolutions always read the mean.

    Returns
    -------
    LayeredGraph
        With ``coverage`` (what was modelled) and ``operators`` (a record for every weight).

    Raises
    ------
    TopographError
        For an argument of the wrong kind, a model that does not run on the example, an operator
        that is opaque (with ``opaque="refuse"``), masks that do not fit, NaN weights, or a graph
        beyond the limit of edges.

    References
    ----------
    The growth paper, section 3 and appendix A.3.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    >>> graph = capture(model, torch.zeros(1, 1, 4, 4))
    >>> [(name, group.size) for name, group in graph.groups.items()]
    [('input', 1), ('0', 2), ('3', 3)]
    >>> graph.n_edges
    8
    >>> print(graph.coverage)
    2 of 2 weighted operators modelled
    """
    check_choice(granularity, "granularity", ("channel", "unit"))
    check_choice(norm, "norm", ("identity", "scale"))
    traced = trace(model, example_input)
    check_opaque(plan(traced, norm), opaque)
    binding = Binding(traced, model, masks, weights)
    if granularity == "unit":
        check_size(plan(traced, norm), binding)
    made = layout(traced, binding, granularity, norm, tokens)
    if granularity == "channel":
        check_edges(made, binding)
    return assemble(made, binding)
