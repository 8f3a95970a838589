"""Which ways to a sparse network there are, by name."""

from __future__ import annotations

from dataclasses import dataclass

from topograph.check import check_choice


@dataclass(frozen=True)
class Method:
    """One way to a sparse network.

    Attributes
    ----------
    name
        For ``pwmpr.run(method=…)``.
    line
        What it does, in one line with its source.
    strategy
        Which strategy of `pwmpr.training.strategies` runs it.
    rule
        The growth rule, where it has one.
    """

    name: str
    line: str
    strategy: str
    rule: str | None = None


METHODS = {
    method.name: method
    for method in (
        Method(
            "pwmpr",
            "grow: sample missing weights in proportion to their PWMP score (P, Algorithm 1)",
            "grow",
            "pwmpr",
        ),
        Method(
            "pwmp",
            "grow: the missing weights of highest PWMP score, without sampling (P, 6)",
            "grow",
            "pwmp",
        ),
        Method("random", "grow: missing weights uniformly at random (RG; P, 5)", "grow", "random"),
        Method(
            "gradient",
            "grow: the missing weights of largest |gradient| on one batch (GG; P, 5)",
            "grow",
            "gradient",
        ),
        Method("static", "train at a fixed density from start masks that never change", "static"),
        Method("dense", "train every weight", "dense"),
    )
}


def methods() -> dict[str, str]:
    """Return the methods that `pwmpr.run` knows: name -> one line.

    Examples
    --------
    >>> "pwmpr" in methods()
    True
    """
    return {method.name: method.line for method in METHODS.values()}


def method_named(name: object) -> Method:
    """Return a method by name; every registered growth rule is one.

    Raises
    ------
    TopographError
        If there is none of that name; the nearest is named.
    """
    if name in METHODS:
        return METHODS[str(name)]
    # Here, because rules bring PyTorch with them and lists of methods do not need it.
    from pwmpr.growth import growth_rules

    rules = growth_rules()
    check_choice(name, "method", [*METHODS, *(rule for rule in rules if rule not in METHODS)])
    return Method(str(name), f"grow: {rules[str(name)]}", "grow", str(name))
