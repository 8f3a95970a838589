"""How a run's settings are read from a YAML file, and printed so that they can be read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pwmpr.settings import Settings, check_setting
from topograph.errors import TopographError

ENDINGS = (".yaml", ".yml")


def is_file(recipe: object) -> bool:
    """Whether a recipe is named by a YAML file.

    Examples
    --------
    >>> is_file("mine.yaml"), is_file("digits")
    (True, False)
    """
    return isinstance(recipe, str | Path) and Path(recipe).suffix in ENDINGS


def read(path: str | Path) -> dict[str, Any]:
    """Return the settings in a YAML file; ``recipe`` among them names the one to start from.

    Raises
    ------
    TopographError
        If the file cannot be read, or holds what is no setting (the nearest one is named).
    """
    import yaml

    path = Path(path).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TopographError(
            f"{path} cannot be read as YAML ({' '.join(str(error).split())})",
            "pass a file of settings, e.g. one that pwmpr run digits --print-settings printed",
        ) from None
    if not isinstance(content, dict):
        raise TopographError(
            f"{path} holds a {type(content).__name__}; expected settings, name: value",
            "write e.g. recipe: digits",
        )
    for name in content:
        check_setting(str(name))
    return content


def as_text(settings: Settings) -> str:
    """Return all settings as YAML.

    Examples
    --------
    >>> as_text(Settings(lr=0.5)).splitlines()[:2]
    ['recipe: custom', 'method: pwmpr']
    """
    import yaml

    text: str = yaml.safe_dump(settings.to_dict(), sort_keys=False)
    return text
