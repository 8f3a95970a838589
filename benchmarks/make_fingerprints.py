"""Which names and shapes do the networks of torchvision and timm have? Makes the shipped table.

    python benchmarks/make_fingerprints.py            # writes topograph/inspection/data/

Every classifier that the installed torchvision and timm list is built without memory for its
weights (on the meta device). Networks with the same tensors share a line. Run it again when
either package has new networks; the versions are written into the table.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import inspect
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from topograph.inspection.fingerprints import fingerprint

#: Spec, shapes, classifiers with the usual number of classes, and stems.
Network = tuple[str, dict[str, tuple[int, ...]], list[list], list[str]]

OUT = Path(__file__).parents[1] / "topograph/inspection/data/fingerprints.json.gz"


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network without memory for its weights; small tensors may be real."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # it computes with tensors while it is built
        hook = register_module_parameter_registration_hook(
            lambda module, name, value: nn.Parameter(value.to("meta"), value.requires_grad)
        )
        try:
            return build()
        finally:
            hook.remove()


def torchvision_networks() -> Iterator[Network]:
    """Yield spec, shapes, classifiers and stems; the ends are told by building two sizes."""
    from torchvision import models

    for name in models.list_models(module=models):
        network = inspect.getmodule(models.get_model_builder(name))
        options: list[dict[str, object]] = [{}]
        if hasattr(network, "GoogLeNetOutputs") or hasattr(network, "InceptionOutputs"):
            # Their own initialisation takes long, and all of it is replaced by the checkpoint.
            options = [{"init_weights": False}, {"init_weights": False, "aux_logits": False}]
        for option in options:
            model = built(partial(models.get_model, name, weights=None, **option))
            other = built(partial(models.get_model, name, weights=None, num_classes=7, **option))
            here, there = shapes(model), shapes(other)
            ends = [key.rpartition(".")[0] for key in here if here[key] != there[key]]
            stem = next(
                (
                    key
                    for key, module in model.named_modules()
                    if isinstance(module, nn.Conv2d) and module.in_channels == 3
                ),
                "",
            )
            call = ", ".join(f"{key}={value!r}" for key, value in option.items())
            spec = f"torchvision:{name}({call})" if call else f"torchvision:{name}"
            modules = sorted(set(ends), key=ends.index, reverse=True)  # auxiliary heads come first
            yield spec, here, [[m, 1000] for m in modules], [stem] * bool(stem)


def timm_networks() -> Iterator[Network]:
    """Yield spec, shapes, classifiers and stems, which timm says itself."""
    import timm

    def listed(value: object) -> list[str]:
        return [] if not value else [value] if isinstance(value, str) else list(value)

    for name in timm.list_models():
        try:
            models = [built(partial(timm.create_model, name, pretrained=False))]
            if not models[0].num_classes:  # trained without a head, and often given one
                with contextlib.suppress(Exception):  # some cannot have one
                    models.append(built(partial(timm.create_model, name, num_classes=10)))
        except Exception as error:
            print(f"left out: timm:{name} ({type(error).__name__}: {str(error)[:100]})")
            continue
        for model in models:
            about, here = model.pretrained_cfg, shapes(model)
            ends = [m for m in listed(about.get("classifier")) if f"{m}.weight" in here]
            stems = [m for m in listed(about.get("first_conv")) if f"{m}.weight" in here]
            yield f"timm:{name}", here, [[m, models[0].num_classes] for m in ends], stems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    started = time.perf_counter()
    warnings.simplefilter("ignore")
    sources: list[Callable[[], Iterator]] = [torchvision_networks, timm_networks]
    networks = [network for source in sources for network in source()]
    classifiers = sorted({module for _, _, ends, _ in networks for module, _ in ends})
    stems = sorted({module for _, _, _, first in networks for module in first})
    prints: dict[str, list] = {}
    for spec, here, ends, first in networks:
        key = fingerprint(here, set(classifiers), set(stems))
        widths = [[module, here[f"{module}.weight"][1] / 3] for module in first]
        entry = prints.setdefault(key, [[], ends, widths])
        entry[0].append(spec)
    for entry in prints.values():  # torchvision's first, then the plainest name
        entry[0].sort(key=lambda spec: (not spec.startswith("torchvision"), len(spec), spec))
    versions = {name: sys.modules[name].__version__ for name in ("torch", "torchvision", "timm")}
    held = {"made_with": versions, "classifiers": classifiers, "stems": stems, "prints": prints}
    text = json.dumps(held, separators=(",", ":"), sort_keys=True)
    options.out.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(
        f"{len(networks)} networks, {len(prints)} fingerprints, "
        f"{options.out.stat().st_size / 1000:.0f} kB, {time.perf_counter() - started:.0f} s: "
        f"{options.out}"
    )


if __name__ == "__main__":
    main()
