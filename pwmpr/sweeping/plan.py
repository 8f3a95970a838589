"""Which runs a sweep consists of, and in which folder each lies.

A run's folder is named by its settings, so a plan that is read again means the same folders: what
is finished stays, what was stopped goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pwmpr.running import resolve
from pwmpr.settings import check_setting
from topograph.errors import TopographError

#: What a run of a plan may hold beside the settings of `pwmpr.settings.Settings`.
OWN = ("recipe", "out")


@dataclass(frozen=True)
class Task:
    """One run of a sweep.

    Attributes
    ----------
    recipe
        Name of the recipe.
    settings
        What is stated beside it.
    folder
        Where the run lies.
    """

    recipe: str
    settings: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name


def grid(recipe: str, **settings: Any) -> list[dict[str, Any]]:
    """Return a run for every combination of settings that are given as lists.

    Parameters
    ----------
    recipe
        Name of the recipe.
    settings
        Settings; a list (or range) stands for one run each. A setting that is itself a list of
        numbers (``drops``) is given as a tuple.

    Examples
    --------
    >>> runs = grid("digits", method=["pwmpr", "random"], seed=range(3), epochs=5)
    >>> len(runs), runs[0]
    (6, {'recipe': 'digits', 'method': 'pwmpr', 'seed': 0, 'epochs': 5})
    """
    several = {k: list(v) for k, v in settings.items() if isinstance(v, list | range)}
    fixed = {k: v for k, v in settings.items() if k not in several}
    return [
        {"recipe": recipe, **dict(zip(several, values, strict=True)), **fixed}
        for values in itertools.product(*several.values())
    ]


def plan(runs: Iterable[Mapping[str, Any]], out: str | Path = "runs") -> tuple[Task, ...]:
    """Return the tasks of some runs, their settings checked and their folders named.

    Parameters
    ----------
    runs
        Mappings with ``recipe`` and any settings of `pwmpr.run`; ``out`` names a folder of one's
        own for a run.
    out
        The folder that the runs' folders lie in.

    Raises
    ------
    TopographError
        If there is no run, a run has no recipe, a setting is unknown or not allowed, or two runs
        are the same.

    Examples
    --------
    >>> [task.recipe for task in plan(grid("digits", seed=[0, 1]))]
    ['digits', 'digits']
    """
    tasks: dict[Path, Task] = {}
    for number, run in enumerate(runs, start=1):
        if not isinstance(run, Mapping) or not isinstance(run.get("recipe"), str):
            raise TopographError(
                f"run {number} of the sweep is {run!r}; expected a mapping with a recipe",
                'write e.g. {"recipe": "digits", "method": "rigl", "density": 0.1, "seed": 0}',
            )
        stated = {name: value for name, value in run.items() if name not in OWN}
        for name in stated:
            check_setting(name)
        settings = resolve(run["recipe"], **stated)
        folder = Path(run.get("out") or Path(out) / settings.name).expanduser()
        if folder in tasks:
            raise TopographError(
                f"run {number} of the sweep is the same as an earlier one ({folder})",
                "leave one out, or give it another seed or another out",
            )
        tasks[folder] = Task(run["recipe"], stated, folder)
    if not tasks:
        raise TopographError("the sweep has no run; expected at least one", "add a run")
    return tuple(tasks.values())


def read_plan(path: str | Path) -> tuple[Task, ...]:
    """Return the tasks that a YAML or JSON file describes.

    The file holds ``recipe``, ``out`` (by default the file's name beside it), ``settings`` for all
    runs, ``grid`` (setting → list of values: every combination is a run), and ``runs`` (a list of
    runs that say what differs). Without ``grid`` and ``runs`` it is one run.

    Raises
    ------
    TopographError
        If the file cannot be read or holds something else.
    """
    path = Path(path).expanduser()
    content = _mapping(path)
    known = ("recipe", "out", "settings", "grid", "runs")
    for key in content:
        if key not in known:
            raise TopographError(
                f"{path} has the key {key!r}; expected {', '.join(known)}",
                "put settings of all runs under settings:",
            )
    common = _part(content, "settings", Mapping, path)
    crossed = _part(content, "grid", Mapping, path)
    for name, values in crossed.items():
        if not isinstance(values, list):
            raise TopographError(
                f"grid: {name} in {path} is {values!r}; expected a list of values",
                f"write {name}: [{values}], or put it under settings:",
            )
    listed: Sequence[Any] = _part(content, "runs", list, path) or [{}]
    base = {"recipe": content["recipe"]} if "recipe" in content else {}
    runs = []
    for run in listed:
        if not isinstance(run, Mapping):
            raise TopographError(
                f"runs in {path} holds {run!r}; expected mappings", "write e.g. - {method: rigl}"
            )
        for values in itertools.product(*crossed.values()):
            chosen = dict(zip(crossed, values, strict=True))
            runs.append({**base, **_tuples(common), **_tuples(chosen), **_tuples(run)})
    return plan(runs, content.get("out") or path.with_suffix(""))


def _mapping(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TopographError(
            f"{path} cannot be read as YAML ({' '.join(str(error).split())})",
            "pass a plan file; see the docs on many runs",
        ) from None
    if not isinstance(content, Mapping):
        raise TopographError(
            f"{path} holds a {type(content).__name__}; expected keys such as recipe and grid",
            "write e.g. recipe: digits",
        )
    return content


def _part(content: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    value = content.get(key)
    if value is None:
        return kind() if kind is list else {}
    if not isinstance(value, kind):
        words = "a list" if kind is list else "a mapping"
        raise TopographError(f"{key} in {path} is {value!r}; expected {words}", "see the docs")
    return value


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
