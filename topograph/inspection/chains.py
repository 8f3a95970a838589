"""Whether weights alone can only be a chain of linear layers, and which."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

#: Names of matrices that are no layer of a chain.
_OTHER = re.compile(r"emb|lora|attn|attention|\bwte\b|\bwpe\b|token|rnn|lstm|gru", re.IGNORECASE)


@dataclass(frozen=True)
class Chain:
    """Linear layers one after another.

    Attributes
    ----------
    names
        Of the layers, from the input on.
    sizes
        Units of the input and of every layer's output.
    biased
        Names of the layers that have a bias.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    biased: frozenset[str] = frozenset()

    def build(self) -> nn.Module:
        """Return the layers as a module that has the checkpoint's names."""
        root = LinearChain(self.names)
        for name, width_in, width_out in zip(
            self.names, self.sizes[:-1], self.sizes[1:], strict=True
        ):
            *path, leaf = name.split(".")
            parent: nn.Module = root
            for part in path:
                if part not in parent._modules:
                    parent.add_module(part, nn.Module())
                parent = parent.get_submodule(part)
            parent.add_module(leaf, nn.Linear(width_in, width_out, bias=name in self.biased))
        return root


class LinearChain(nn.Module):
    """Applies layers in order; what lies between them changes no path."""

    def __init__(self, order: Sequence[str]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's output: (…, sizes[0]) -> (…, sizes[-1])."""
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


def find_chain(shapes: Mapping[str, tuple[int, ...]]) -> Chain | None:
    """Return the chain of linear layers that names and shapes allow if it is the only one.

    The rule: every tensor of two dimensions and more is a matrix called ``….weight``; every other
    belongs to a module of its own or to a layer, with one value a unit of some layer (a bias, a
    normalisation); and there is exactly one order of the layers in which each takes what the one
    before gives. Layers of equal shape may stand in numbered order (``fc1``, ``fc2``;
    ``layers.0``, ``layers.2``): they have to differ in one number alone.

    Parameters
    ----------
    shapes
        Name to shape.

    Examples
    --------
    >>> find_chain({"b.weight": (10, 30), "a.weight": (30, 64), "a.bias": (30,)}).names
    ('a', 'b')
    >>> find_chain({"up.weight": (8, 4), "down.weight": (4, 8)}) is None  # either may be first
    True
    """
    matrices = {name: shape for name, shape in shapes.items() if len(shape) > 1}
    layers = {name.removesuffix(".weight"): shape for name, shape in matrices.items()}
    if not layers or any(
        len(shape) != 2 or not name.endswith(".weight") or _OTHER.search(name) or min(shape) < 1
        for name, shape in matrices.items()
    ):
        return None
    widths = {shape[0] for shape in layers.values()} | {shape[1] for shape in layers.values()}
    if any(len(shape) == 1 and shape[0] not in widths for shape in shapes.values()):
        return None
    edges = [(shape[1], shape[0]) for shape in layers.values()]
    trails = _trails(edges)
    numbered = _numbered(layers)
    if len(trails) != 1:
        # Several orders fit by size; numbers in the names decide if they give one of them.
        if not trails or numbered is None or not _fits([layers[name] for name in numbered]):
            return None
        order = numbered
    else:
        by_shape: dict[tuple[int, int], list[str]] = defaultdict(list)
        for name, shape in layers.items():
            by_shape[(shape[1], shape[0])].append(name)
        ranked = {key: _numbered(dict.fromkeys(names, ())) for key, names in by_shape.items()}
        if any(names is None for names in ranked.values()):
            return None
        queues = {key: iter(names or ()) for key, names in ranked.items()}
        order = [next(queues[edge]) for edge in next(iter(trails))]
    biased = frozenset(name for name in order if shapes.get(f"{name}.bias") == layers[name][:1])
    sizes = (layers[order[0]][1], *(layers[name][0] for name in order))
    return Chain(tuple(order), sizes, biased)


def _fits(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether each layer takes what the one before gives."""
    return all(one[0] == two[1] for one, two in itertools.pairwise(shapes))


def _trails(edges: Sequence[tuple[int, int]], most: int = 2) -> set[tuple[tuple[int, int], ...]]:
    """Return the ways to use every edge once, head to tail, as sequences of sizes; at most two.

    That is: Eulerian trails of the multigraph whose nodes are sizes. Edges of equal ends are
    exchangeable, so a trail is told by its sizes.
    """
    left: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for tail, head in edges:
        left[tail][head] += 1
    balance: dict[int, int] = defaultdict(int)
    for tail, head in edges:
        balance[tail] += 1
        balance[head] -= 1
    if any(abs(value) > 1 for value in balance.values()):
        return set()
    starts = [size for size, value in balance.items() if value == 1]
    if not starts:
        starts = [size for size in balance if left[size]]
    found: set[tuple[tuple[int, int], ...]] = set()
    steps = 0
    for start in starts:
        # Depth first without recursion: a step is (size reached, sizes still to try from it).
        trail: list[tuple[int, int]] = []
        stack = [(start, [size for size, count in left[start].items() if count])]
        while stack and len(found) < most and steps < 100_000:
            steps += 1
            here, tries = stack[-1]
            if len(trail) == len(edges):
                found.add(tuple(trail))
                tries.clear()
            if tries:
                there = tries.pop()
                left[here][there] -= 1
                trail.append((here, there))
                stack.append((there, [size for size, count in left[there].items() if count]))
                continue
            stack.pop()
            if trail:
                tail, head = trail.pop()
                left[tail][head] += 1
    return found


def _numbered(layers: Mapping[str, object]) -> list[str] | None:
    """Return names in the order of the one number that they differ in; None if not so."""
    names = list(layers)
    if len(names) == 1:
        return names
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(split) for split in parts}) != 1:
        return None
    differ = [k for k in range(len(parts[0])) if len({split[k] for split in parts}) > 1]
    if len(differ) != 1 or differ[0] % 2 == 0:
        return None
    at = differ[0]
    return [name for _, name in sorted(zip((int(s[at]) for s in parts), names, strict=True))]
