"""What groups of nodes are called: by the modules that their users know."""

from __future__ import annotations

from torch import fx

from topograph.capturing.nodes import Provisional
from topograph.capturing.trace import scope_of


def named(groups: list[Provisional]) -> dict[int, str]:
    """Name the groups: operators first, because users look these up by their modules' names."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    inputs = [group for group in groups if group.kind == "input"]

    def name(group: Provisional, wanted: str) -> None:
        chosen, number = wanted, 1
        while chosen in taken:
            number += 1
            chosen = f"{wanted}#{number}"
        taken.add(chosen)
        names[id(group)] = chosen

    for group in groups:
        if group.reading is not None:
            name(group, group.reading.operator.name)
    for group in groups:
        if group.kind == "input":
            name(group, "input" if len(inputs) == 1 else _placeholder(group.node).name)
        elif group.kind == "output":
            name(group, "output")
        elif group.kind in ("sum", "opaque"):
            name(group, scope_of(group.node)[0] or group.node.name)
    return names


def _placeholder(node: fx.Node) -> fx.Node:
    """Return the model's input that a value is, moved about."""
    while node.op != "placeholder" and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node
