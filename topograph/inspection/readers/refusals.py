"""How a pickle is refused: what it wants to run, by name, and how to make a file that is read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from topograph.errors import TopographError

#: How to make a file that can be read without running anything.
RESAVE = (
    "load the file where its code is trusted and save the weights alone: "
    'torch.save(model.state_dict(), "weights.pt"), or safetensors.torch.save_file'
)

#: Names beyond this length are cut; real ones are shorter.
_NAME = 120


def refusal(path: Path, names: Collection[str]) -> TopographError:
    """Return the error for a pickle that asks for names beyond tensors and plain values.

    Examples
    --------
    >>> print(refusal(Path("a.pt"), ["os.system"]).problem)
    a.pt is a pickle that would run or build os.system; nothing in a file is executed here
    """
    shown = [name if len(name) <= _NAME else name[:_NAME] + "…" for name in sorted(names)]
    more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
    return TopographError(
        f"{path} is a pickle that would run or build {', '.join(shown[:6])}{more}; "
        "nothing in a file is executed here",
        RESAVE,
    )
