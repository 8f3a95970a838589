"""What a value of a declared type is, given in Python or as text on a command line."""

from __future__ import annotations

import json
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any

from topograph.errors import TopographError


def of_type(value: Any, name: str, hint: Any) -> Any:
    """Return a value as its setting's type, lists as tuples and whole numbers as floats."""
    for kind in _kinds(hint):
        origin = typing.get_origin(kind) or kind
        if origin is tuple and isinstance(value, list | tuple):
            member = typing.get_args(kind)[0]
            return tuple(of_type(part, name, member) for part in value)
        if isinstance(value, bool):
            if origin is bool:
                return value
            continue
        if origin is float and isinstance(value, numbers.Real):
            return float(value)
        if origin is int and isinstance(value, numbers.Integral):
            return int(value)
        if origin is Mapping and isinstance(value, Mapping):
            return dict(value)
        if type(value) is origin or (kind is type(None) and value is None):
            return value
        if origin is str and hasattr(value, "__fspath__"):
            return str(value)
    raise TopographError(f"{name} is {value!r}; expected {in_words(hint)}", "pass such a value")


def from_text(text: str, name: str, hint: Any) -> object:
    """Return the value of a declared type that a text stands for.

    Lists are separated by commas, mappings are JSON, ``none`` is None.

    Raises
    ------
    TopographError
        If the text is no value of the type.

    Examples
    --------
    >>> from_text("0.5,0.75", "drops", tuple[float, ...]), from_text("none", "lr", float | None)
    ((0.5, 0.75), None)
    """
    kinds = _kinds(hint)
    if type(None) in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        try:
            if kind is bool and text.lower() in ("true", "yes", "1", "false", "no", "0"):
                return text.lower() in ("true", "yes", "1")
            if kind in (int, float):
                return kind(text)
            if typing.get_origin(kind) is tuple:
                member = typing.get_args(kind)[0]
                return tuple(member(part) for part in text.split(",") if part)
            if kind is str:
                return text
            if typing.get_origin(kind) is not None:
                value = json.loads(text)
                if isinstance(value, dict):
                    return value
        except ValueError:
            continue
    raise TopographError(f"{name} is {text!r}; expected {in_words(hint)}", "write such a value")


def in_words(hint: Any) -> str:
    """Return what a declared type is called in a message."""
    words = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        type(None): "None",
    }
    parts = []
    for kind in _kinds(hint):
        if typing.get_origin(kind) is tuple:
            parts.append("a list (of " + in_words(typing.get_args(kind)[0]) + ")")
        else:
            parts.append(words.get(kind, "a mapping"))
    return " or ".join(parts)


def _kinds(hint: Any) -> list[Any]:
    """Return the alternatives of a type hint, numbers before text."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    kinds = list(typing.get_args(hint)) if union else [hint]
    return sorted(kinds, key=lambda kind: kind is str)
