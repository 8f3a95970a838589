"""What groups of nodes are called: by the modules that their users know."""

from __future__ import annotations

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
            name(group, "input" if len(inputs) == 1 else group.node.name)
        elif group.kind == "output":
            name(group, "output")
        elif group.kind in ("sum", "opaque"):
            name(group, scope_of(group.node)[0] or group.node.name)
    return names
