"""Which models the capture zoo holds: by source and family, built by name with random weights.

A :class:`Zoo` lists the names of one source and builds any of them, with an example input, without
a download. To add models, append a :class:`Model` to the list of its source.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from zoo_small import SMALL

from topograph.inspection.builders import build_model
from topograph.inspection.examples import guess_example
from topograph.inspection.transformer_models import HEADS

Built = tuple[nn.Module, Any]


@dataclass(frozen=True)
class Model:
    """One model of the zoo; ``build`` returns the module and its example input."""

    source: str
    family: str
    name: str
    build: Callable[[], Built]


def stub_torchvision() -> None:
    """Declare the two operators that torchvision's CUDA wheel cannot load beside a CPU torch.

    For measuring only: the models do not use them, but the package does not import without.
    """
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)


_LIBRARIES: list[Any] = []  # operators go when their library is collected


def torchvision_models() -> Iterator[Model]:
    """Every classifier of torchvision; the family is the module that it is written in."""
    stub_torchvision()
    zoo = importlib.import_module("torchvision.models")
    sizes = {"inception_v3": 299}
    for name in zoo.list_models(module=zoo):
        entry = zoo.get_model_builder(name)

        def build(entry: Any = entry, name: str = name) -> Built:
            plain = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            model = entry(weights=None, **plain)
            size = sizes.get(name, 224)
            return model, torch.zeros(1, 3, size, size)

        yield Model("torchvision", entry.__module__.rsplit(".", 1)[-1], name, build)


def timm_models() -> Iterator[Model]:
    """Every model of timm; the family is the module that it is written in."""
    stub_torchvision()
    timm = importlib.import_module("timm")
    for family in timm.list_modules():
        for name in timm.list_models(module=family):

            def build(name: str = name) -> Built:
                model = timm.create_model(name, pretrained=False)
                return model, torch.zeros(1, *model.default_cfg["input_size"])

            yield Model("timm", family, name, build)


def transformers_models() -> Iterator[Model]:
    """Every model type of transformers by default, and some of them small; the type is the family.

    Which head a type gets and what it takes are what ``tg.inspect`` would choose.
    """
    stub_torchvision()  # transformers imports torchvision where it is installed
    tables = importlib.import_module("transformers.models.auto.modeling_auto")
    known = set().union(*(getattr(tables, f"{head}_MAPPING_NAMES", {}) for head in HEADS))
    for family in [kind for kind in tables.CONFIG_MAPPING_NAMES if kind in known]:
        for small in (True, False) if family in SMALL else (False,):
            settings = ", ".join(f"{k}={v!r}" for k, v in SMALL[family].items()) if small else ""

            def build(spec: str = f"transformers:{family}({settings})") -> Built:
                model = build_model(spec).eval()
                if next(model.parameters()).is_meta:  # built to be counted
                    return model, None
                return model, guess_example(model)

            yield Model("transformers", family, f"{family} small" if small else family, build)


SOURCES: dict[str, Callable[[], Iterator[Model]]] = {
    "torchvision": torchvision_models,
    "timm": timm_models,
    "transformers": transformers_models,
}


def parameters(models: list[Model], cache: Path) -> dict[str, int]:
    """Return every model's number of parameters, built without memory; cached in a JSON file.

    0 where a model cannot be built without.
    """
    known: dict[str, int] = json.loads(cache.read_text()) if cache.is_file() else {}
    fresh = [model for model in models if f"{model.source}:{model.name}" not in known]
    for model in fresh:
        try:
            with torch.device("meta"):
                built, _ = model.build()
            count = sum(parameter.numel() for parameter in built.parameters())
        except Exception:
            count = 0
        known[f"{model.source}:{model.name}"] = count
    if fresh:
        cache.write_text(json.dumps(known, indent=0, sort_keys=True))
    return known
