"""How a model is run without leaving a mark on it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run the body in evaluation mode; afterwards every module is as it was before.

    Flags are set one by one, because ``train`` may be overridden; attributes that the forward
    assigns (a pruning hook's ``weight``, caches, counters), entries of the dicts, lists and sets
    that are attributes (tables of what was computed before), and the random state are put back.
    """
    tables = ("_parameters", "_buffers", "_modules")
    modules = list(model.modules())
    before = [
        (dict(module.__dict__), {table: dict(module.__dict__[table]) for table in tables})
        for module in modules
    ]
    filled = [
        (value, value.copy())
        for attributes, _ in before
        for name, value in attributes.items()
        if name not in tables and type(value) in (dict, list, set)
    ]
    try:
        for module in modules:
            module.training = False
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, (attributes, entries) in zip(modules, before, strict=True):
            for name in [name for name in module.__dict__ if name not in attributes]:
                del module.__dict__[name]
            module.__dict__.update(attributes)
            for table, content in entries.items():
                module.__dict__[table].clear()
                module.__dict__[table].update(content)
        for value, content in filled:
            value.clear()
            (value.extend if isinstance(value, list) else value.update)(content)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence loggers, warnings and the error stream in the body, where exporters run."""
    before = logging.root.manager.disable
    try:
        logging.disable(logging.CRITICAL)
        # torch prints the graphs that it cannot finish to the error stream.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
