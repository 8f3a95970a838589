"""pwmpr: how a sparse network is grown, trained and measured in cost.

Grows neural networks from a sparse start along their high-weight paths until accuracy stops rising.
Names are imported when they are first used, so that ``import pwmpr`` itself stays light.

Examples
--------
>>> import pwmpr
>>> list(pwmpr.recipes())[:3]
['digits', 'fashion-mnist-mlp', 'cifar10-resnet32']
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pwmpr import data as data
    from pwmpr import growth as growth
    from pwmpr import models as models
    from pwmpr import pruning as pruning
    from pwmpr import rewiring as rewiring
    from pwmpr import sweeping as sweeping
    from pwmpr.growth import grow as grow
    from pwmpr.masks import Masks as Masks
    from pwmpr.method import methods as methods
    from pwmpr.plateau import fit_plateau as fit_plateau
    from pwmpr.recipe import recipes as recipes
    from pwmpr.result import RunResult as RunResult
    from pwmpr.running import load as load
    from pwmpr.running import resume as resume
    from pwmpr.running import run as run
    from pwmpr.settings import Settings as Settings
    from pwmpr.starts import initial_masks as initial_masks
    from pwmpr.sweeping import sweep as sweep
    from topograph.errors import TopographError as TopographError

#: Public name to the module that defines it.
_HOMES = {
    "Masks": "pwmpr.masks",
    "RunResult": "pwmpr.result",
    "Settings": "pwmpr.settings",
    "TopographError": "topograph.errors",
    "fit_plateau": "pwmpr.plateau",
    "grow": "pwmpr.growth",
    "initial_masks": "pwmpr.starts",
    "load": "pwmpr.running",
    "methods": "pwmpr.method",
    "recipes": "pwmpr.recipe",
    "resume": "pwmpr.running",
    "run": "pwmpr.running",
    "sweep": "pwmpr.sweeping",
}

#: Modules that are used as ``pwmpr.models.build``.
_MODULES = ("data", "growth", "models", "pruning", "rewiring", "sweeping")

__all__ = [*_HOMES, "__version__"]

try:
    __version__ = version("topograph")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"pwmpr.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'pwmpr' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
