"""Which weights of a model may be masked.

The weights of linear and convolution modules are; biases, normalisation parameters and embeddings
never are. A model can declare, in an attribute ``dense_weights``, further weights that stay dense
(a residual network its shortcut convolutions and its last linear layer, say).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from topograph.errors import TopographError


def weights_in_scope(model: nn.Module, dense: Iterable[str] = ()) -> dict[str, nn.Parameter]:
    """Return the weights of a model that masks may cover, in the order of its modules.

    In scope is the parameter ``weight`` of every ``nn.Linear`` and ``nn.Conv*`` module (transposed
    convolutions and subclasses too). A weight that is tied to several modules is listed once, under
    the first one's name. The fused ``in_proj_weight`` of ``nn.MultiheadAttention`` holds query and
    key and so stays out; its ``out_proj.weight`` is in.

    Parameters
    ----------
    model : nn.Module
    dense : iterable of str
        Glob patterns of weights that stay dense, beside those in ``model.dense_weights``. A pattern
        is compared with the parameter's name (``"layer1.0.conv1.weight"``) and with its module's
        (``"layer1.0.conv1"``).

    Returns
    -------
    dict
        Parameter name -> parameter.

    Raises
    ------
    TopographError
        If a pattern matches no parameter, if nothing is left in scope, or if a weight in scope is
        computed from other parameters (``torch.nn.utils.prune``, parametrizations, weight norm) or
        has no shape yet (lazy modules).

    Notes
    -----
    Source: P, section 5 (conv and linear weights are grown; shortcuts, the last linear layer,
    embeddings, query and key stay dense).

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    >>> list(weights_in_scope(model))
    ['0.weight', '3.weight']
    >>> list(weights_in_scope(model, dense=["3"]))
    ['0.weight']
    """
    if not isinstance(model, nn.Module):
        raise TopographError(
            f"model is a {type(model).__name__}; expected an nn.Module", "pass the model itself"
        )
    patterns = [*_as_patterns(getattr(model, "dense_weights", ())), *_as_patterns(dense)]
    names_of = _names_by_parameter(model)
    unmatched = set(patterns)
    for name, _ in model.named_parameters(remove_duplicate=False):
        unmatched -= {pattern for pattern in unmatched if _matches(name, pattern)}
    weights: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, _ConvNd)):
            continue
        name = f"{module_name}.weight" if module_name else "weight"
        # The parameter behind a pruned or parametrized weight goes by another name.
        unmatched -= {pattern for pattern in unmatched if _matches(name, pattern)}
        weight = module._parameters.get("weight")
        aliases = [name] if weight is None else names_of[id(weight)]
        if any(_matches(alias, pattern) for alias in aliases for pattern in patterns):
            continue
        if weight is None:
            raise TopographError(
                f"{name!r} is computed from {sorted(module.state_dict())}, not a plain parameter; "
                "masks need plain parameters",
                "make it permanent first (torch.nn.utils.prune.remove, "
                "parametrize.remove_parametrizations, remove_weight_norm), or keep the layer dense",
            )
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise TopographError(
                f"{name!r} has no shape yet (lazy module); expected a shaped weight",
                "run one batch through the model first",
            )
        if id(weight) not in seen:
            seen.add(id(weight))
            weights[name] = weight
    if unmatched:
        raise TopographError(
            f"dense pattern {min(unmatched)!r} matches no parameter of {type(model).__name__}",
            f"use names as in {', '.join(list(weights)[:3]) or 'model.named_parameters()'}",
        )
    if not weights:
        raise TopographError(
            f"{type(model).__name__} has no weight in scope; expected a linear or convolution "
            "weight that is not kept dense",
            "pass a model with nn.Linear or nn.Conv modules, or fewer dense patterns",
        )
    return weights


def parameters_named(
    model: nn.Module, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, nn.Parameter]:
    """Return the model's parameters of these names, checked to have these shapes.

    Parameters
    ----------
    model : nn.Module
    shapes : mapping
        Parameter name (any of a tied parameter's names) -> shape.

    Raises
    ------
    TopographError
        If a name is no plain floating-point parameter of the model, or a shape differs.
    """
    known = dict(model.named_parameters(remove_duplicate=False))
    found = {}
    for name, shape in shapes.items():
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
            hint = f"the nearest name is {near[0]!r}" if near else "see model.named_parameters()"
            raise TopographError(
                f"{name!r} is no parameter of {type(model).__name__}",
                f"{hint}; a wrapped model (DataParallel, torch.compile) is passed unwrapped",
            )
        parameter = known[name]
        if tuple(parameter.shape) != tuple(shape):
            raise TopographError(
                f"the mask of {name!r} has shape {tuple(shape)}; expected {tuple(parameter.shape)}",
                "build the masks for this model",
            )
        if not parameter.dtype.is_floating_point:
            raise TopographError(
                f"{name!r} has dtype {parameter.dtype}; expected a real floating-point weight",
                "mask weights of linear and convolution layers only",
            )
        found[name] = parameter
    return found


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that hold NaN or infinity.

    Raises
    ------
    TopographError
        Naming the first weight with a value that is not finite.
    """
    for name, weight in weights.items():
        # The sum is finite only if every element is; a sum that overflows is looked at again.
        if not torch.isfinite(weight.detach().sum()) and not torch.isfinite(weight).all():
            bad = int((~torch.isfinite(weight)).sum())
            raise TopographError(
                f"{name!r} holds {bad} values that are NaN or infinite; expected finite weights",
                "go back to a checkpoint from before training diverged",
            )


def _as_patterns(patterns: object) -> list[str]:
    if isinstance(patterns, str):
        return [patterns]
    if isinstance(patterns, Iterable):
        listed = list(patterns)
        if all(isinstance(pattern, str) for pattern in listed):
            return listed
    raise TopographError(
        f"dense is {patterns!r}; expected glob patterns of parameter names",
        'pass e.g. dense=["fc", "*.downsample.*"]',
    )


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(".")[0], pattern)


def _names_by_parameter(model: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return names
