"""Which depths a family of networks comes in."""

from __future__ import annotations

from collections.abc import Collection

from topograph.errors import TopographError


def check_depth(depth: object, known: Collection[int]) -> int:
    """Return ``depth`` if the family has it; otherwise say which ones there are."""
    if isinstance(depth, int) and not isinstance(depth, bool) and depth in set(known):
        return depth
    listed = ", ".join(map(str, known))
    raise TopographError(f"depth is {depth!r}; expected one of {listed}", "pass one of them")
