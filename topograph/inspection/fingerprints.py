"""Which published network a set of tensor names and shapes is, as far as names and shapes tell."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources

#: Ends of names that come and go with the release of a library and say nothing of the network.
PASSING = (
    "num_batches_tracked",
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "position_ids",
)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Print:
    """What the table says of one fingerprint.

    Attributes
    ----------
    specs
        Names for :func:`topograph.inspection.builders.build_model`; all have the same tensors.
    classifiers
        Modules whose number of outputs is the number of classes, with the number that the network
        has if none is asked for (0: then it has no such module).
    stems
        Modules that take the image, with the input channels of their weight per image channel.
    """

    specs: tuple[str, ...]
    classifiers: tuple[tuple[str, int], ...]
    stems: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Recognised:
    """A network that has exactly these names and shapes.

    Attributes
    ----------
    spec
        What to build: ``"torchvision:resnet50(num_classes=10)"``.
    others
        Names of networks with the same tensors.
    prefix
        What all names of its tensors begin with in the checkpoint.
    tensors
        How many tensors agree.
    """

    spec: str
    others: tuple[str, ...]
    prefix: str
    tensors: int


def fingerprint(shapes: Shapes, classifiers: Collection[str], stems: Collection[str]) -> str:
    """Return a hash of names and shapes, in whatever order they are listed.

    Parameters
    ----------
    shapes
        Name to shape.
    classifiers
        Names of modules whose outputs (the first dimension of weight and bias) are left open.
    stems
        Names of modules whose input channels (the second dimension of a kernel) are left open.

    Examples
    --------
    >>> one = {"fc.weight": (10, 4), "fc.bias": (10,)}
    >>> two = {"fc.bias": (7,), "fc.weight": (7, 4)}
    >>> fingerprint(one, {"fc"}, ()) == fingerprint(two, {"fc"}, ())
    True
    >>> fingerprint(one, (), ()) == fingerprint(two, (), ())
    False
    """
    lines = []
    for name, shape in shapes.items():
        if name.endswith(PASSING):
            continue
        module = name.rpartition(".")[0]
        sizes = [str(size) for size in shape]
        if module in classifiers and sizes:
            sizes[0] = "*"
        if module in stems and len(sizes) > 2:
            sizes[1] = "*"
        lines.append(f"{name} {' '.join(sizes)}\n")
    return hashlib.blake2b("".join(sorted(lines)).encode(), digest_size=8).hexdigest()


def recognise(shapes: Shapes) -> Recognised | None:
    """Return the network of the table that these names and shapes are of, or None.

    All names may begin with a common prefix; tensors outside it are left out of account. The
    number of classes and of image channels are read from the shapes.
    """
    table, classifiers, stems = _table()
    for prefix in _prefixes(shapes):
        inside = {k.removeprefix(prefix): v for k, v in shapes.items() if k.startswith(prefix)}
        found = table.get(fingerprint(inside, classifiers, stems))
        if found is None:
            continue
        specs = list(filter(None, (_with_sizes(spec, found, inside) for spec in found.specs)))
        if specs:
            return Recognised(specs[0], tuple(specs[1:]), prefix, len(inside))
    return None


def _prefixes(shapes: Shapes) -> list[str]:
    """Return the prefixes that at least half of the names have, the shortest first."""
    counts: dict[str, int] = {"": len(shapes)}
    for name in shapes:
        parts = name.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            prefix = ".".join(parts[:depth]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    return sorted((p for p, n in counts.items() if 2 * n >= len(shapes)), key=len)


def _with_sizes(spec: str, found: Print, shapes: Shapes) -> str | None:
    """Add the numbers of classes and of image channels to a spec, where they are not the usual.

    None where the package has no way to ask for them.
    """
    source, _, call = spec.partition(":")
    name, _, given = call.partition("(")
    options = [given.removesuffix(")")] if given else []
    for module, usual in found.classifiers[:1]:
        classes = _size(shapes, module, 0)
        if classes is not None and classes != usual:
            options.append(f"num_classes={classes}")
    for stem, per_channel in found.stems[:1]:
        channels = _size(shapes, stem, 1)
        if channels is not None and channels != 3 * per_channel:
            if source != "timm":
                return None
            options.append(f"in_chans={round(channels / per_channel)}")
    return f"{source}:{name}({', '.join(options)})" if options else f"{source}:{name}"


def _size(shapes: Shapes, module: str, dimension: int) -> int | None:
    shape = shapes.get(f"{module}.weight", ())
    return shape[dimension] if len(shape) > dimension else None


@functools.cache
def _table() -> tuple[dict[str, Print], frozenset[str], frozenset[str]]:
    """Return the shipped table (see benchmarks/make_fingerprints.py), and all open modules."""
    packed = resources.files("topograph.inspection").joinpath("data/fingerprints.json.gz")
    held = json.loads(gzip.decompress(packed.read_bytes()))
    table = {
        key: Print(tuple(specs), tuple(map(tuple, classifiers)), tuple(map(tuple, stems)))
        for key, (specs, classifiers, stems) in held["prints"].items()
    }
    return table, frozenset(held["classifiers"]), frozenset(held["stems"])
