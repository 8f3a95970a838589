"""How values and rows are written as JSON, and what is read of a file that was torn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from topograph.errors import TopographError


def of_values(values: Mapping[str, Any]) -> bytes:
    r"""Return the content of a file of values.

    Examples
    --------
    >>> of_values({"density": 0.05})
    b'{\n  "density": 0.05\n}\n'
    """
    return (json.dumps(values, indent=2) + "\n").encode()


def of_row(row: Mapping[str, Any]) -> bytes:
    r"""Return the line of a row.

    Examples
    --------
    >>> of_row({"epoch": 1})
    b'{"epoch": 1}\n'
    """
    return (json.dumps(row) + "\n").encode()


def of_rows(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the content of a file of rows, a line each."""
    return b"".join(map(of_row, rows))


def read_values(path: Path) -> dict[str, Any]:
    """Return the values in a file.

    Raises
    ------
    TopographError
        If it cannot be read whole.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise TopographError(
            f"{path} cannot be read ({error})", "restore the file, or start the run again"
        ) from None
    return values


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows in a file, none where there is no file; a last line without end is left out.

    Raises
    ------
    TopographError
        If another line is damaged.
    """
    if not path.is_file():
        return []
    rows = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what has no end was torn by a kill
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
        except ValueError as error:
            raise TopographError(
                f"line {number} of {path} cannot be read ({error})",
                "restore the file; in an unfinished run, pwmpr resume writes it anew",
            ) from None
        rows.append(row)
    return rows
