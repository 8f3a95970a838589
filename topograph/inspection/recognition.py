"""Which network weights without a model belong to, where their names and shapes say it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from topograph.errors import TopographError
from topograph.inspection.builders import build_model
from topograph.inspection.chains import find_chain
from topograph.inspection.fingerprints import Shapes, recognise
from topograph.inspection.matching import Match, match
from topograph.inspection.parametrised import assemble
from topograph.inspection.wrappings import Weights


@dataclass(frozen=True)
class Recognition:
    """A network that fits weights one to one.

    Attributes
    ----------
    model
        The network, built here.
    matched
        The weights under its names.
    name
        What to call it: a spec for :func:`topograph.inspection.builders.build_model`, or what was
        inferred.
    remarks
        How it was recognised and under which assumption.
    """

    model: nn.Module
    matched: Match
    name: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Unrecognised:
    """Why no network could be put to weights.

    Attributes
    ----------
    reasons
        Sentences without a full stop.
    """

    reasons: tuple[str, ...] = ()


def recognise_weights(weights: Weights, origin: str) -> Recognition | Unrecognised:
    """Find the network that weights belong to.

    In this order: the table of torchvision's and timm's, pwmpr's own networks, a chain of linear
    layers. Whatever is found has to fit one to one: every parameter has a tensor, every matrix
    and kernel has a place.
    """
    whole = assemble(weights.state)
    shapes = {name: tuple(tensor.shape) for name, tensor in whole.state.items()}
    reasons: list[str] = []
    for spec, remarks in _names(shapes, reasons):
        try:
            model = build_model(spec)
        except TopographError as error:
            package = spec.partition(":")[0]
            reasons.append(
                f"the names and shapes are those of {spec}, which cannot be built here: "
                f"install {package} to see its graph"
                if "cannot be imported" in error.problem
                else f"the names and shapes are those of {spec}, which cannot be built here "
                f"({error.problem})"
            )
            continue
        found = _fitting(model, weights, origin)
        if found is not None:
            return Recognition(model, found, spec, remarks)
    chain = find_chain(shapes)
    if chain is not None:
        model = chain.build()
        found = _fitting(model, weights, origin)
        if found is not None:
            sizes = "-".join(map(str, chain.sizes))
            remark = (
                f"The graph is inferred from shapes: a chain of {len(chain.names)} linear layers, "
                f"{sizes}, the only order in which they fit together; that they follow one "
                "another with nothing but activations and normalisation between them is assumed"
            )
            return Recognition(model, found, f"a chain {sizes}, inferred", (remark,))
    return Unrecognised(tuple(reasons))


def _names(shapes: Shapes, reasons: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield specs of networks to try, with what to say of each."""
    found = recognise(shapes)
    count = found.tensors if found is not None else 0
    specs = (found.spec, *found.others) if found is not None else ()
    for spec in specs:
        source, _, name = spec.partition(":")
        remarks = [f"Recognised as {source}'s {name} {_by(count)}"]
        others = [other for other in specs if other != spec]
        if others:
            more = f" and {len(others) - 4} more" if len(others) > 4 else ""
            remarks.append(
                f"{', '.join(others[:4])}{more} {'has' if len(others) == 1 else 'have'} the same "
                "tensors, and may differ in what has no weights, such as padding and pooling"
            )
        yield spec, tuple(remarks)
    own = _own(shapes)
    if own is not None:
        yield f"pwmpr:{own}", (f"Recognised as pwmpr's {own} {_by(len(shapes))}",)


def _by(count: int) -> str:
    return f"by the names and shapes of its {count} tensors"


def _own(shapes: Shapes) -> str | None:
    try:
        own = importlib.import_module("pwmpr.models.recognise").recognise
    except ImportError:
        return None
    found: str | None = own(_inside(shapes))
    return found


def _inside(shapes: Shapes) -> Shapes:
    """Return names without the parts that all of them begin with (``module.``, ``model.``)."""
    while shapes:
        first = next(iter(shapes)).partition(".")[0] + "."
        if any(not name.startswith(first) or name == first for name in shapes):
            break
        rest = {name.removeprefix(first): shape for name, shape in shapes.items()}
        if any(name in ("weight", "bias") for name in rest):
            break
        shapes = rest
    return shapes


def _fitting(model: nn.Module, weights: Weights, origin: str) -> Match | None:
    try:
        found = match(model, weights, origin)
    except TopographError:
        return None
    return None if found.unused else found
