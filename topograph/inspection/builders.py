"""Which model a user means by ``"torchvision:resnet50"``, ``"transformers:gpt2"`` or a callable."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from topograph.errors import TopographError
from topograph.inspection.transformer_models import transformers_model

ModelSpec = nn.Module | Callable[[], nn.Module] | str

_FORMS = (
    '"pwmpr:resnet32", "torchvision:resnet50", "timm:resnet50", "transformers:gpt2" or '
    '"package.module:callable"'
)


def build_model(spec: ModelSpec) -> nn.Module:
    """Return the model that ``spec`` names.

    Parameters
    ----------
    spec
        A module (returned as it is), a callable without required arguments that returns one, or
        ``"source:name"``: a network of pwmpr, torchvision or timm by its name there, a class or
        model type of transformers, or a callable by its import path; each may be followed by
        literal arguments, ``"pwmpr:resnet20(shortcut='B', classes=100)"``, which for transformers
        are those of the configuration. Weights are random; PyTorch's random state is left as it
        was.

    Raises
    ------
    TopographError
        If the name is unknown, its package is not installed, or no module comes out.

    Examples
    --------
    >>> build_model(lambda: nn.Linear(3, 2))
    Linear(in_features=3, out_features=2, bias=True)
    >>> build_model("torch.nn:Linear(3, 2, bias=False)")
    Linear(in_features=3, out_features=2, bias=False)
    """
    if isinstance(spec, nn.Module):
        return spec
    if isinstance(spec, str):
        call: Callable[[], Any] = _by_name(spec)
    elif callable(spec):
        call = spec
    else:
        raise TopographError(
            f"model is a {type(spec).__name__}; expected a module, a callable or a name",
            f"pass e.g. {_FORMS}",
        )
    with torch.random.fork_rng(devices=[]):
        try:
            built = call()
        except TopographError:
            raise
        except Exception as error:
            raise TopographError(
                f"building the model {spec!r} failed ({type(error).__name__}: {error})",
                "pass a callable that needs no argument, e.g. lambda: Net(width=64)",
            ) from error
    if not isinstance(built, nn.Module):
        raise TopographError(
            f"model {spec!r} gave a {type(built).__name__}; expected a torch.nn.Module",
            f"pass e.g. {_FORMS}",
        )
    return built


def _by_name(spec: str) -> Callable[[], Any]:
    source, colon, call = spec.partition(":")
    name, arguments, keywords = _literal_call(call, spec)
    if not colon or not source or not name:
        raise TopographError(
            f'model is "{spec}"; expected a source and a name with a colon between them',
            f"write e.g. {_FORMS}",
        )
    if source == "pwmpr":
        build = _attribute("pwmpr.models", "build", spec)
        return lambda: build(name, *arguments, **keywords)
    if source == "torchvision":
        get_model = _attribute("torchvision.models", "get_model", spec)
        return lambda: get_model(name, weights=None, **keywords)
    if source == "timm":
        create_model = _attribute("timm", "create_model", spec)
        return lambda: create_model(name, pretrained=False, **keywords)
    if source == "transformers":
        if arguments:
            raise TopographError(
                f'model "{spec}" gives settings without their names',
                'write e.g. "transformers:GPT2LMHeadModel(n_layer=2)"',
            )
        return lambda: transformers_model(name, keywords, spec)
    found = _attribute(source, name, spec)
    return lambda: found(*arguments, **keywords)


def _literal_call(text: str, spec: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Take ``name(1, width=2)`` apart; arguments are literals, so nothing is evaluated."""
    name, bracket, _ = text.partition("(")
    if not bracket:
        return name, [], {}
    try:
        call = ast.parse("f" + text[len(name) :], mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("not one pair of brackets")
        arguments = [ast.literal_eval(argument) for argument in call.args]
        keywords = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords if k.arg}
    except (SyntaxError, ValueError) as error:
        raise TopographError(
            f'model "{spec}" has arguments that are no literals ({error})',
            "write them as in \"pwmpr:resnet20(shortcut='B', classes=100)\"",
        ) from None
    return name, arguments, keywords


def _attribute(module: str, path: str, spec: str) -> Any:
    try:
        value: Any = importlib.import_module(module)
    except Exception as error:  # whatever the module raises while it is imported
        raise TopographError(
            f'model "{spec}" needs {module}, which cannot be imported '
            f"({type(error).__name__}: {error})",
            "install it, or mend the name",
        ) from error
    for part in path.split("."):
        if not hasattr(value, part):
            raise TopographError(f'model "{spec}": {module} has no {path}', f"write e.g. {_FORMS}")
        value = getattr(value, part)
    if not callable(value):
        raise TopographError(
            f'model "{spec}" names a {type(value).__name__}, which cannot be called',
            "name a class or a function that returns the model",
        )
    return value
