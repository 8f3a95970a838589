"""In which settings runs differ from their recipe, and from one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pwmpr.method import method_named
from pwmpr.recipe import recipe_settings, stated_by
from pwmpr.settings import Settings
from topograph.errors import TopographError

#: Settings that say where a run was trained and not what.
WHERE = ("data_dir", "device", "threads", "precision", "checkpoint_epochs", "optimizer_state")


def expected(recipe: str, method: str) -> dict[str, Any]:
    """Return the settings that a run of a recipe by a method has if nothing else is said.

    Raises
    ------
    TopographError
        If there is no such recipe or method.
    """
    own = recipe == Settings().recipe
    base = Settings() if own else recipe_settings(recipe)
    stated = () if own else stated_by(recipe)
    defaults = method_named(method).defaults
    open_to_method = {name: value for name, value in defaults.items() if name not in stated}
    return base.with_changes(method=method, **open_to_method).to_dict()


def deviations(settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs from the recipe, as name to (the recipe's value, the run's).

    Settings that a method brings with it, and those that say where a run was trained, are none.

    Examples
    --------
    >>> deviations(Settings(lr=0.5).to_dict())
    {'lr': (0.1, 0.5)}
    """
    method = str(settings["method"])
    try:
        usual = expected(str(settings["recipe"]), method)
        recipe = str(settings["recipe"])
        own = Settings() if recipe == Settings().recipe else recipe_settings(recipe)
    except TopographError:  # a recipe or method of another version, or of the user's own program
        usual, own = Settings().to_dict(), Settings()
    found: dict[str, tuple[Any, Any]] = {}
    if method != own.method:
        found["method"] = own.method, method
    found |= {
        name: (usual.get(name), value)
        for name, value in settings.items()
        if name not in (*WHERE, "recipe", "method") and usual.get(name) != value
    }
    return found


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings that tell runs apart, but for those that follow from the method.

    Examples
    --------
    >>> differing([Settings(seed=s, method=m).to_dict() for s, m in ((0, "rigl"), (1, "rigl"))])
    ['seed']
    """
    names = dict.fromkeys(name for settings in runs for name in settings)
    stated = {name for settings in runs for name in deviations(settings)}
    always = {"recipe", "method", "seed"}
    return [
        name
        for name in names
        if name not in WHERE
        and (name in always or name in stated)
        and len({repr(settings.get(name)) for settings in runs}) > 1
    ]


def as_text(value: Any) -> str:
    """Return a setting's value in few characters.

    Examples
    --------
    >>> as_text([0.6666666666666666, 0.8333333333333334]), as_text(None), as_text(True)
    ('0.6667, 0.8333', 'none', 'yes')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(as_text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {as_text(held)}" for name, held in value.items()) or "none"
    return str(value) if value != "" else "own"
