"""What a checkpoint in several files holds: an index, or shards numbered by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topograph.errors import TopographError
from topograph.inspection.readers.limits import DIRECTORY_LIMIT, check_memory, open_file

#: A configuration longer than this is refused.
CONFIG_LIMIT = 10_000_000

#: An index of shards longer than this is refused.
INDEX_LIMIT = DIRECTORY_LIMIT

_NUMBERED = re.compile(r"^(.*)-(\d{1,6})-of-(\d{1,6})(\.\w+)$")


def shards_of(path: Path) -> tuple[Path, ...]:
    """Return the files that a file is read together with, in order; itself alone if it is whole.

    Parameters
    ----------
    path
        An index (JSON with a ``weight_map``), or a file named ``…-00001-of-00003.…``.

    Raises
    ------
    TopographError
        If the index is damaged or leads out of its folder, or a shard is not there.
    """
    if path.name.endswith(".json"):
        return _listed(path)
    mark = _NUMBERED.match(path.name)
    if mark is None:
        return (path,)
    stem, _, count, suffix = mark.groups()
    index = path.with_name(f"{stem}{suffix}.index.json")
    if index.is_file():
        found = _listed(index)
        return found if path in found else (path,)
    total = int(count)
    if total > 10_000:
        raise TopographError(
            f"{path} is one of {total:,} shards; expected at most 10,000", "pass a single file"
        )
    width = len(mark[2])
    names = [f"{stem}-{number:0{width}d}-of-{count}{suffix}" for number in range(1, total + 1)]
    return _there(path, names)


def read_shards(paths: tuple[Path, ...], read: Callable[[Path], Any]) -> dict[str, Any]:
    """Return what several files hold together; a name in two of them is an error."""
    check_memory(paths[0], sum(path.stat().st_size for path in paths))
    held: dict[str, Any] = {}
    for path in paths:
        part = read(path)
        if not isinstance(part, dict):
            raise TopographError(
                f"{path} holds a {type(part).__name__}; expected a part of a state dict",
                "pass the folder that save_pretrained wrote",
            )
        twice = held.keys() & part.keys()
        if twice:
            raise TopographError(
                f"{path} holds {min(map(str, twice))!r} a second time", "save the weights again"
            )
        held |= part
    return held


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """Return the object that a JSON file holds; refuse one that is too long or no object."""
    with open_file(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise TopographError(
            f"{path} has more than {limit:,} bytes; expected at most that", "write it again"
        )
    try:
        held = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TopographError(
            f"{path} is no valid JSON ({type(error).__name__})", "copy it again"
        ) from None
    if not isinstance(held, dict):
        raise TopographError(f"{path} holds no JSON object", "write it again")
    return held


def _listed(index: Path) -> tuple[Path, ...]:
    held = read_json(index, INDEX_LIMIT).get("weight_map")
    if not isinstance(held, dict) or not held:
        raise TopographError(
            f"{index} has no weight_map; expected an index of shards",
            "pass the index that save_pretrained wrote, or the weights themselves",
        )
    # A name that leads elsewhere would have another file read than the user pointed at.
    for name in held.values():
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
            raise TopographError(
                f"{index} names {str(name)[:80]!r}; expected files beside it",
                "write the index again",
            )
    names = list(dict.fromkeys(held.values()))
    return _there(index, names)


def _there(path: Path, names: list[str]) -> tuple[Path, ...]:
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TopographError(
            f"{path} belongs to {len(names)} shards, of which {', '.join(missing[:3])}{more} "
            f"{'is' if len(missing) == 1 else 'are'} not beside it",
            "copy all of them into one folder",
        )
    return tuple(path.with_name(name) for name in names)
