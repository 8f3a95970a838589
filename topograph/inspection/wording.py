"""How names and numbers are said: safely, shortly, and many of a kind in one line."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

#: Categories of characters that steer a terminal or the direction of text, or cannot be encoded.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def clean(text: object) -> str:
    r"""Return a text whose control characters are spelled out, as names in a file may hold any.

    Examples
    --------
    >>> clean("conv\x1b[31m1"), clean("a\u202eb"), clean("café")
    ('conv\\x1b[31m1', 'a\\u202eb', 'café')
    """
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _UNSEEN
        else char
        for char in str(text)
    )


def percent(value: float) -> str:
    """Return a part as a percentage of three significant digits.

    Only what is whole is called 100%, and only nothing is called 0%.

    Examples
    --------
    >>> percent(0.0512), percent(1.0), percent(0.00031), percent(0.99998)
    ('5.12%', '100%', '0.031%', '99.998%')
    """
    if not math.isfinite(value):
        return "–"
    number = 100 * value
    if number and abs(number) < 0.001:
        return f"{number:.1g}%"
    digits = min(3, max(0, 2 - math.floor(math.log10(abs(number))))) if number else 0
    if number < 100 and round(number, digits) == 100:
        digits = 3
        if round(number, digits) == 100:
            return ">99.999%"
    text = f"{number:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def number(value: float, digits: int = 2) -> str:
    """Return a number of so many digits after the point; a dash where there is none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def whole(value: float) -> str:
    """Return a whole number; a dash where it is not known (NaN, or below 0).

    Examples
    --------
    >>> whole(2048), whole(float("nan"))
    ('2,048', '–')
    """
    return f"{int(value):,}" if value >= 0 else "–"


def count(many: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1, "layer"), count(2000, "layer")
    ('1 layer', '2,000 layers')
    """
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def shortened(name: str, most: int) -> str:
    """Return a name of at most so many characters; its end tells more than its beginning.

    Examples
    --------
    >>> shortened("encoder.layers.3.mlp", 12)
    '…ayers.3.mlp'
    """
    return name if len(name) <= most else "…" + name[1 - most :]


def pattern(name: str) -> str:
    """Return a dotted name with a star for every number in it, runs of stars as one.

    Examples
    --------
    >>> pattern("blocks.3.0.se.fc1"), pattern("encoder.layer_7.mlp.0"), pattern("conv1")
    ('blocks.*.se.fc1', 'encoder.layer_*.mlp.*', 'conv1')
    """
    parts = [re.sub(r"(^|(?<=_))\d+$", "*", part) for part in name.split(".")]
    merged = [part for k, part in enumerate(parts) if k == 0 or (part, parts[k - 1]) != ("*", "*")]
    return ".".join(merged)


def patterns(names: Iterable[str], most: int = 3) -> str:
    """Return what the names have in common, as at most so many patterns.

    Examples
    --------
    >>> patterns(["h.0.q", "h.1.q", "h.0.k", "head"])
    'h.*.q, h.0.k, head'
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(pattern(name), []).append(name)
    # A star that stands for one name alone would say less than the name.
    shown = [held[0] if len(held) == 1 else key for key, held in found.items()]
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "")


def grouped_reasons(missing: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line for every reason why operators are not modelled, with what it holds for.

    Examples
    --------
    >>> grouped_reasons([("b.0.fc", "gate"), ("b.1.fc", "gate"), ("head", "no path")])
    ['2 operators (gate): b.*.fc', '1 operator (no path): head']
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in missing:
        by_reason.setdefault(reason, []).append(name)
    return [
        f"{count(len(names), 'operator')} ({reason}): {patterns(names)}"
        for reason, names in by_reason.items()
    ]


def grouped_notes(notes: Iterable[object]) -> list[str]:
    """Return notes that differ in the numbers of their names alone as one, with how many.

    Examples
    --------
    >>> grouped_notes(["8 of 12 nodes of h.0.qkv are left out", "8 of 12 nodes of h.1.qkv are left "
    ...                "out", "merged tokens"])
    ['8 of 12 nodes of h.*.qkv are left out (2 such)', 'merged tokens']
    """
    kinds: dict[str, list[str]] = {}
    for note in map(str, notes):
        words = [pattern(word) if "." in word[:-1] else word for word in note.split()]
        kinds.setdefault(" ".join(words), []).append(note)
    return [
        held[0].rstrip(".") if len(held) == 1 else f"{kind.rstrip('.')} ({len(held)} such)"
        for kind, held in kinds.items()
    ]
