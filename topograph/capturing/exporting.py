"""Which exporter reads a model: the most general first, then those that see one input only.

1. ``torch.export``, non-strict: runs the Python of the forward on tensors without values.
2. The same, of the tensors of whatever the model returns.
3. ``torch.export``, strict: reads the bytecode of the forward, NumPy in it too.
4. The operators that the forward takes for the values of this one input (:mod:`.by_values`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from topograph.capturing.calling import Leaves, shapes_of
from topograph.capturing.failing import first_line, line_of, place_of_failure
from topograph.capturing.hollow import stand_in
from topograph.capturing.products import PRODUCTS
from topograph.capturing.recurrence import RECURRENCE
from topograph.capturing.undisturbed import quiet, undisturbed
from topograph.errors import TopographError


@dataclass(frozen=True, eq=False)
class Exported:
    """A model as a functional graph.

    Attributes
    ----------
    program
        The graph and its signature.
    prefix
        What stands in the program before the model's own names.
    by_values
        Whether the graph holds for the values of this input and of today's weights only.
    notes
        What a reader of a result should know.
    """

    program: torch.export.ExportedProgram
    prefix: str = ""
    by_values: bool = False
    notes: tuple[str, ...] = ()


def exported(
    model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], valued: bool = True
) -> Exported:
    """Return a model as a functional graph, by the first exporter that can read it.

    Parameters
    ----------
    model
        Any module; it is left as it was.
    arguments, keywords
        One sample.
    valued
        Whether the model's weights have values, so that it can be run.

    Raises
    ------
    TopographError
        If the model does not run on the sample, or no exporter can read it: names the module and
        the line that stood in the way.
    """
    try:
        return Exported(_export(model, arguments, keywords))
    except Exception as error:
        first = error
    if valued:
        _check_runs(model, arguments, keywords)
    leaves = Leaves(model)
    for strict in (False, True):
        try:
            return Exported(_export(leaves, arguments, keywords, strict), Leaves.PREFIX)
        except Exception:
            continue
    if not valued:
        raise _refusal(model, arguments, keywords, first, valued) from first
    try:
        return _export_by_values(leaves, arguments, keywords, first)
    except TopographError:
        raise
    except Exception:
        raise _refusal(model, arguments, keywords, first, valued) from first


def _export(
    model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], strict: bool = False
) -> torch.export.ExportedProgram:
    # Without no_grad some models appear as a higher-order operator; without
    # run_decompositions in-place writes on views would be lost to a reader of the graph.
    with undisturbed(model), quiet(), torch.no_grad():
        arguments, keywords = stand_in(model, (arguments, keywords))
        program = torch.export.export(model, arguments, keywords or None, strict=strict)
        return program.run_decompositions({**PRODUCTS, **RECURRENCE})


def _export_by_values(
    leaves: Leaves, arguments: tuple[Any, ...], keywords: dict[str, Any], why: Exception
) -> Exported:
    from topograph.capturing.by_values import Recorded, tensors_in

    with undisturbed(leaves), quiet(), torch.no_grad():
        recorded = Recorded(leaves, arguments, keywords)
        tensors = tuple(tensors_in(arguments, keywords))
        program = _export(recorded, tensors, {})
    return Exported(program, Leaves.PREFIX * 2, by_values=True, notes=(_note(leaves, why),))


def _note(leaves: Leaves, why: Exception) -> str:
    line = line_of(why)
    return (
        f"traced for this input only: {type(leaves.inner).__name__} decides by the values of "
        f"tensors" + (f" ({line})" if line else "")
    )


def _check_runs(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Tell a model that does not run on the example from one that cannot be exported."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}  # may be written to
    with undisturbed(model), quiet(), torch.no_grad():
        error, place = place_of_failure(
            model, lambda: functional_call(model, buffers, arguments, keywords)
        )
    if error is not None:
        raise TopographError(
            f"{type(model).__name__} does not run on example_input of shape "
            f"{shapes_of(arguments, keywords)}: {first_line(error)} ({place})",
            "pass an example of the shape and type that the model takes, batch dimension first",
        ) from error


def _refusal(
    model: nn.Module,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    first: Exception,
    valued: bool,
) -> TopographError:
    error, place = place_of_failure(model, lambda: _export(model, arguments, keywords))
    shapes = shapes_of(arguments, keywords)
    words = (
        f"runs on example_input of shape {shapes} but cannot be exported as one graph"
        if valued
        else f"holds no weights in memory, and cannot be traced on example_input of shape {shapes}"
    )
    return TopographError(
        f"{type(model).__name__} {words}: {first_line(error or first)} ({place})",
        "make the forward independent of the values of tensors (no `if tensor:`, no .item()) and "
        "return tensors, or capture the part of the model that does"
        + ("" if valued else "; or pass a model with its weights in memory"),
    )
