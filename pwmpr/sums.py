"""Whether the files of a finished run are those that it wrote.

``SHA256SUMS`` in a run's folder has a line for each, as ``sha256sum`` writes and checks them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from topograph.errors import TopographError

NAME = "SHA256SUMS"
REMEDY = "restore the file from a copy, or start the run again in another folder"
_LINE = re.compile(r"([0-9a-f]{64})  ([\w./-]+)")


def of_bytes(content: bytes) -> str:
    """Return the SHA-256 of some content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_text(sums: Mapping[str, str]) -> str:
    r"""Return the content of ``SHA256SUMS``.

    Parameters
    ----------
    sums
        Path below the run's folder -> SHA-256.

    Examples
    --------
    >>> to_text({"result.json": of_bytes(b"")})[-27:]
    '5991b7852b855  result.json\n'
    """
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def read(folder: Path) -> dict[str, str]:
    """Return what ``SHA256SUMS`` says, path -> SHA-256.

    Raises
    ------
    TopographError
        If it is missing, or a line is none of its lines.
    """
    path = folder / NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TopographError(f"{path} cannot be read ({error})", REMEDY) from None
    sums = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise TopographError(
                f"line {number} of {path} is damaged; expected a SHA-256 and a name", REMEDY
            )
        sums[found[2]] = found[1]
    return sums


def check(folder: Path, name: str) -> None:
    """Refuse a file that is not what the run wrote.

    Raises
    ------
    TopographError
        If it is missing, is not listed, or has another hash than the listed one.
    """
    listed, path = read(folder).get(name), folder / name
    if listed is None:
        raise TopographError(f"{folder / NAME} does not list {name}; expected a line", REMEDY)
    try:
        digest = of_file(path)
    except OSError as error:
        raise TopographError(f"{path} cannot be read ({error.strerror})", REMEDY) from None
    if digest != listed:
        raise TopographError(
            f"{path} is not what the run wrote: its SHA-256 is {digest[:12]}…; expected "
            f"{listed[:12]}…, as in {NAME}",
            REMEDY,
        )
