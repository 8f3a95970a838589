"""Where a forward failed, in words: the module, its class, and the line."""

from __future__ import annotations

import linecache
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

_TORCH = str(Path(torch.__file__).parent) + os.sep
_HERE = str(Path(__file__).parent) + os.sep


def place_of_failure(model: nn.Module, run: Callable[[], Any]) -> tuple[Exception | None, str]:
    """Run something and return what it raised, and where in ``model`` that was.

    Parameters
    ----------
    model
        The module whose parts are named.
    run
        What to run.

    Returns
    -------
    tuple
        The exception and words for the place; None and ``""`` if nothing was raised.
    """
    from torch.nn.modules import module as modules

    names = {id(module): name for name, module in model.named_modules()}
    inside: list[nn.Module] = []
    handles = [
        modules.register_module_forward_pre_hook(lambda module, _: inside.append(module)),
        # Not called where a forward raises, so that the innermost module stays last.
        modules.register_module_forward_hook(lambda module, args, output: _left(inside, module)),
    ]
    try:
        run()
    except Exception as error:
        words = [line for line in (_module(inside, names), line_of(error)) if line]
        return error, ", ".join(words)
    finally:
        for handle in handles:
            handle.remove()
    return None, ""


def _left(inside: list[nn.Module], module: nn.Module) -> None:
    while inside and inside.pop() is not module:
        pass  # what raised, and was caught by the model


def _module(inside: list[nn.Module], names: dict[int, str]) -> str:
    known = [module for module in inside if id(module) in names]
    if not known:
        return ""
    name, kind = names[id(known[-1])], type(known[-1]).__name__
    return f'in module "{name}" ({kind})' if name else f"in the forward of {kind}"


def line_of(error: BaseException) -> str:
    """Return the last line of the model's own code that an exception came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_TORCH, _HERE))
    ]
    if not frames:
        return ""
    last = frames[-1]
    code = linecache.getline(last.filename, last.lineno or 0).strip()
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return f"at {where}: `{code}`" if code else f"at {where}"


def first_line(error: BaseException) -> str:
    """Return an exception's class and the first line of what it says."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:300]}"
