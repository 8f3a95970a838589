"""What is to be inspected: a model with its weights and masks, or weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from topograph.errors import TopographError
from topograph.inspection.builders import ModelSpec, build_model
from topograph.inspection.matching import Match, match, place_masks
from topograph.inspection.parametrised import assemble
from topograph.inspection.recognition import Recognition, recognise_weights
from topograph.inspection.wrappings import Weights, unwrap


@dataclass(frozen=True)
class Subject:
    """A network to be inspected.

    Attributes
    ----------
    model
        The module; never changed for good.
    state
        Values that it is to hold meanwhile, by name in the model; empty for its own.
    masks
        Masks found beside the weights, by parameter name.
    title
        What to call it.
    provenance
        Where it comes from.
    notes
        What a reader should know about how it was read.
    example
        An input that is known to fit, or None.
    built
        Whether the model was made here, and is nobody else's.
    remarks
        What a reader has to know before anything else.
    inferred
        Whether the model was found here, and none was given.
    weights
        Values by name in the model, read one at a time, for a model that holds none; or None.
    """

    model: nn.Module
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    title: str
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    example: Tensor | None = field(default=None, repr=False)
    built: bool = False
    remarks: tuple[str, ...] = ()
    inferred: bool = False
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Bare:
    """Weights whose network is not known.

    Attributes
    ----------
    state, masks
        By the names that the checkpoint gives, weights that it stores in parts put together.
    title, provenance, notes
        As in :class:`Subject`.
    reasons
        Why no network is known, where there is more to say than that none was given.
    """

    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    title: str
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def subject_of_module(module: nn.Module, model: ModelSpec | None) -> Subject:
    """Return a module as it is; a second model beside it is an error."""
    if model is not None:
        raise TopographError(
            "checkpoint is a module and model is given too; expected one of them",
            "pass the module alone, or its state_dict() with model=",
        )
    return Subject(module, {}, {}, type(module).__name__, {})


def subject_of_weights(
    held: Any,
    model: ModelSpec | None,
    origin: str,
    provenance: dict[str, Any],
    title: str = "",
) -> Subject | Bare:
    """Return the network that weights belong to: the one that is given, or one recognised.

    Parameters
    ----------
    held
        What a checkpoint holds.
    model
        The network, or None.
    origin
        What to call the checkpoint in an error.
    provenance
        Where it comes from.
    title
        What to call it in a report; the model's class if empty.

    Raises
    ------
    TopographError
        If there are no weights in it, or they do not fit the model.
    """
    weights = unwrap(held, origin)
    if model is None:
        return _unnamed(weights, origin, provenance, title)
    module = build_model(model)
    matched = match(module, weights, origin)
    named = {"model": model if isinstance(model, str) else type(module).__name__}
    return Subject(
        module,
        matched.state,
        matched.masks,
        title or type(module).__name__,
        provenance | named,
        matched.notes,
        built=not isinstance(model, nn.Module),
        remarks=_without_place(matched),
    )


def _without_place(matched: Match) -> tuple[str, ...]:
    if not matched.unused:
        return ()
    count, shown = len(matched.unused), ", ".join(matched.unused[:3])
    more = f" and {count - 3} more" if count > 3 else ""
    held = f"{count} weight{'s' * (count != 1)} that the model has no place for ({shown}{more})"
    remark = (
        f"The checkpoint holds {held}; if they are layers of the network that was trained, this is "
        "another model"
    )
    return (remark,)


def _unnamed(
    weights: Weights, origin: str, provenance: dict[str, Any], title: str
) -> Subject | Bare:
    """Return weights with the network that they are recognised to belong to, if there is one."""
    found = recognise_weights(weights, origin)
    if isinstance(found, Recognition):
        return Subject(
            found.model,
            found.matched.state,
            found.matched.masks,
            title or type(found.model).__name__,
            provenance | {"model": found.name},
            found.matched.notes,
            built=True,
            remarks=found.remarks,
            inferred=True,
        )
    whole = assemble(weights.state)
    masks = place_masks(list(whole.state), weights.masks) | whole.masks
    notes = (*weights.notes, *whole.notes)
    return Bare(whole.state, masks, title or origin, provenance, notes, found.reasons)
