"""How what was found is written to files: by suffix, the same bytes for the same finding."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from topograph.errors import TopographError


def save_as(path: Path, writers: Mapping[str, Callable[[], object]]) -> Path:
    """Write a file by the writer of its suffix, and return its path; the suffix says the form."""
    if path.suffix.lower() not in writers:
        raise TopographError(
            f"{path} has the suffix {path.suffix!r}; expected one of {', '.join(writers)}",
            'write e.g. report.save("report.html")',
        )
    try:
        writers[path.suffix.lower()]()
    except OSError as error:
        raise TopographError(
            f"{path} cannot be written ({error.strerror or error})",
            "name a file in a folder that exists and may be written to",
        ) from error
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text; what UTF-8 has no code for is spelled out, in JSON by JSON's own escape."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as CSV."""
    frame.to_csv(path, index=False, errors="backslashreplace", lineterminator="\n")


def said(verdicts: Iterable[str]) -> list[dict[str, str]]:
    """Return verdicts with their rules, if they have any, as they stand in JSON."""
    return [
        {"sentence": str(verdict), "rule": getattr(verdict, "rule", "")} for verdict in verdicts
    ]


def as_json(held: Mapping[str, Any]) -> str:
    """Return plain values, arrays' numbers and mappings as JSON text."""
    return json.dumps(_plain(held), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
