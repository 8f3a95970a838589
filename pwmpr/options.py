"""How the settings of a run look as options on a command line."""

from __future__ import annotations

import inspect
import typing

from pwmpr.settings import NAMES, Settings, check_setting
from pwmpr.values import from_text


def parse(name: str, text: str) -> object:
    """Return the value of a setting from its text.

    Raises
    ------
    TopographError
        If the name is no setting, or the text is no value of its type.

    Examples
    --------
    >>> parse("drops", "0.5,0.75"), parse("lr", "1e-2"), parse("density", "none")
    ((0.5, 0.75), 0.01, None)
    """
    return from_text(text, name, typing.get_type_hints(Settings)[check_setting(name)])


def descriptions() -> dict[str, str]:
    """Return what each setting means, in the words of `Settings`.

    Examples
    --------
    >>> descriptions()["batch"]
    'Samples in a training batch.'
    """
    lines = dict.fromkeys(NAMES, "")
    names: list[str] = []
    for line in inspect.cleandoc(Settings.__doc__ or "").splitlines():
        if line and not line.startswith(" "):
            names = [name for name in line.split(", ") if name in lines]
        for name in names:
            if line.startswith("    "):
                lines[name] = f"{lines[name]} {line.strip()}".strip()
    return {name: line.replace("``", "") for name, line in lines.items()}
