"""Which growth rules there are, by name.

A rule is a function ``rule(step, count) -> dict``: from what a :class:`~pwmpr.growth.GrowthStep`
knows it chooses ``count`` missing positions, and returns them as flat indices per parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from pwmpr.growth.step import GrowthStep
from topograph.check import check_choice
from topograph.errors import TopographError

Rule = Callable[[GrowthStep, int], dict[str, Tensor]]

_RULES: dict[str, Rule] = {}


def register(name: str) -> Callable[[Rule], Rule]:
    """Make a rule known by a name, as a decorator.

    Parameters
    ----------
    name : str
        The name for ``pwmpr.grow(rule=name)``, not taken yet.

    Raises
    ------
    TopographError
        If another rule has the name.

    Examples
    --------
    Grow where the layer is sparsest so far, at random in it:

    >>> from pwmpr.growth import GrowthStep, grow, register
    >>> from pwmpr.masks import Masks
    >>> from pwmpr.sampling import sample_without_replacement
    >>> import torch
    >>> @register("sparsest")
    ... def sparsest(step: GrowthStep, count: int):
    ...     weights = {
    ...         name: torch.full(shape, (1 - step.masks.densities[name]) ** 8)
    ...         for name, shape in step.masks.shapes.items()
    ...     }
    ...     return sample_without_replacement(weights, count, step.generator, step.missing())
    >>> model = torch.nn.Linear(4, 4)
    >>> grow(model, Masks({"weight": torch.eye(4)}), rule="sparsest", count=2).count
    6
    """

    def add(rule: Rule) -> Rule:
        if not isinstance(name, str) or len(name.split()) != 1 or name != name.strip():
            # A rule is also a method of the command line, which takes one word.
            raise TopographError(f"rule name is {name!r}; expected a word", 'register e.g. "mine"')
        taken = _RULES.get(name)
        # A module that is run again (a notebook cell) may register its rule again.
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            rule.__module__,
            rule.__qualname__,
        ):
            raise TopographError(f"rule {name!r} exists already", "register under another name")
        _RULES[name] = rule
        return rule

    return add


def growth_rules() -> Mapping[str, str]:
    """Return the names of the growth rules, each with the first line of its docstring.

    Examples
    --------
    >>> sorted(set(growth_rules()) & {"pwmpr", "pwmp", "random", "gradient"})
    ['gradient', 'pwmp', 'pwmpr', 'random']
    """
    lines = {name: (rule.__doc__ or name).strip() for name, rule in _RULES.items()}
    return MappingProxyType({name: text.splitlines()[0] for name, text in lines.items()})


def rule_named(name: str) -> Rule:
    """Return the rule of this name.

    Raises
    ------
    TopographError
        If there is none; the message names the nearest.
    """
    return _RULES[check_choice(name, "rule", _RULES)]
