"""Which rules of moving connections there are, by name.

A rule is a function ``rule(step) -> Rewiring``: from what a
:class:`~pwmpr.rewiring.RewiringStep` knows it drops some kept positions and grows as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pwmpr.rewiring.step import Rewiring, RewiringStep
from topograph.check import check_choice
from topograph.errors import TopographError

Rule = Callable[[RewiringStep], Rewiring]
_NEEDS = ("gradients", "momentum", "pass")


@dataclass(frozen=True)
class Preset:
    """A rule under its name.

    Attributes
    ----------
    rule
        The function.
    line
        What it does, in one line.
    needs
        What must be there when it is called: ``"gradients"`` (the dense gradient of the present
        batch), ``"momentum"`` (the dense gradient smoothed over all steps), ``"pass"`` (the rule
        takes a batch through the network itself, on kept weights and candidates).
    defaults
        Settings of `pwmpr.run` that it takes unless others are given.
    """

    rule: Rule
    line: str
    needs: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


_PRESETS: dict[str, Preset] = {}


def register(name: str, *, needs: tuple[str, ...] = (), **defaults: Any) -> Callable[[Rule], Rule]:
    """Make a rule known by a name, as a decorator; it is a method of `pwmpr.run` from then on.

    Parameters
    ----------
    name : str
        The name for ``rewire(rule=name)`` and ``run(method=name)``, not taken yet.
    needs : tuple of str
        ``"gradients"``, ``"momentum"``, ``"pass"``; see `Preset`.
    defaults
        Settings that a run takes unless others are given, e.g. ``update_every=400``.

    Raises
    ------
    TopographError
        If another rule has the name, or a need is unknown.

    Examples
    --------
    Move the smallest weights to random places:

    >>> from pwmpr.rewiring import RewiringStep, drop_counts, missing_after, register, rewire
    >>> from pwmpr.rewiring import smallest, uniformly
    >>> from pwmpr.masks import Masks
    >>> import torch
    >>> @register("shuffle", update_every=50)
    ... def shuffle(step: RewiringStep):
    ...     counts = drop_counts(step.masks, step.fraction)
    ...     dropped = smallest(step.weights(), step.masks, counts)
    ...     free = missing_after(step.masks, dropped)
    ...     return step.change(dropped, uniformly(free, counts, step.generator))
    >>> rewire(torch.nn.Linear(4, 4), Masks({"weight": torch.eye(4)}), "shuffle", 0.5).moved
    2
    """
    for need in needs:
        check_choice(need, "a member of needs", _NEEDS)

    def add(rule: Rule) -> Rule:
        if not isinstance(name, str) or not name:
            raise TopographError(f"rule name is {name!r}; expected a word", 'register e.g. "mine"')
        taken = _PRESETS.get(name)
        # A module that is run again (a notebook cell) may register its rule again.
        if taken is not None and (taken.rule.__module__, taken.rule.__qualname__) != (
            rule.__module__,
            rule.__qualname__,
        ):
            raise TopographError(f"rule {name!r} exists already", "register under another name")
        line = (rule.__doc__ or name).strip().splitlines()[0]
        _PRESETS[name] = Preset(rule, line, needs, MappingProxyType(dict(defaults)))
        return rule

    return add


def rewiring_rules() -> Mapping[str, str]:
    """Return the names of the rules, each with the first line of its docstring.

    Examples
    --------
    >>> {"set", "rigl", "snfs", "dsr", "momentum"} <= set(rewiring_rules())
    True
    """
    return MappingProxyType({name: preset.line for name, preset in _PRESETS.items()})


def preset_named(name: str) -> Preset:
    """Return the rule of this name, with its needs and defaults.

    Raises
    ------
    TopographError
        If there is none; the message names the nearest.
    """
    return _PRESETS[check_choice(name, "rule", _PRESETS)]
