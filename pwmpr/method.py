"""Which ways to a sparse network there are, by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        Which strategy of `pwmpr.training.choice` runs it.
    rule
        The growth, rewiring or pruning rule, where it has one.
    defaults
        Settings that a run takes where neither recipe nor caller states them.
    """

    name: str
    line: str
    strategy: str
    rule: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _rewiring(name: str, line: str, rule: str | None = None, **defaults: Any) -> Method:
    return Method(name, line, "rewire", rule or name, defaults)


# ΔT = 400, 50% cosine by |θ|, per-layer counts fixed, to the end of training (S, section 4).
_SURVIVAL: dict[str, Any] = {
    "start": "erk",
    "update_every": 400,
    "update_fraction": 0.5,
    "update_anneal": "cosine",
    "update_end": 1.0,
}

# ΔT = 1000, α = 0.2 cosine until 120 of 200 epochs, γ = 1 (Heddes et al. 2024).
_GUIDED: dict[str, Any] = {
    "start": "er",
    "update_every": 1000,
    "update_fraction": 0.2,
    "update_end": 0.6,
}

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
        Method(
            "momentum-growth",
            "grow: the missing weights of largest |smoothed gradient| (S, 3.2, at rising density)",
            "grow",
            "momentum",
        ),
        Method(
            "phew-grow",
            "grow: missing weights that further PHEW walks find (Patil & Dovrolis 2021)",
            "grow",
            "phew-grow",
        ),
        Method("static", "train at a fixed density from start masks that never change", "static"),
        Method("dense", "train every weight", "dense"),
        _rewiring(
            "set",
            "rewire: drop the weights nearest 0 of each sign, grow uniformly (Mocanu et al. 2018)",
            start="er",
            update_every="epoch",
            update_fraction=0.3,
            update_anneal="constant",
            update_end=1.0,
        ),
        _rewiring(
            "set-magnitude",
            "rewire: drop the smallest |θ|, grow uniformly, cosine (SET in Evci et al. 2020)",
            start="erk",
            update_every=100,
            update_fraction=0.3,
            update_end=0.75,
        ),
        _rewiring(
            "rigl",
            "rewire: drop the smallest |θ|, grow the largest |dense gradient| (Evci et al. 2020)",
            start="erk",
            update_every=100,
            update_fraction=0.3,
            update_end=0.75,
            update_skips_step=True,
        ),
        _rewiring(
            "rigl-itop",
            "rewire: RigL with rare updates to the very end; reports R_s (Liu et al. 2021)",
            start="erk",
            update_every=1500,
            update_fraction=0.5,
            update_end=1.0,
        ),
        _rewiring(
            "snfs",
            "rewire: sparse momentum, shared over layers (Dettmers & Zettlemoyer 2019)",
            start="uniform",
            update_every="epoch",
            update_fraction=0.5,
            update_end=1.0,
        ),
        _rewiring(
            "momentum",
            "rewire: drop the smallest |θ|, grow the largest |smoothed gradient| (S, 3.2)",
            **_SURVIVAL,
        ),
        _rewiring(
            "dsr",
            "rewire: one adaptive threshold, growth shared by survivors (Mostafa & Wang 2019)",
            start="uniform",
            update_every=100,
            update_fraction=0.1,
            update_anneal="constant",
            update_end=0.95,
        ),
        _rewiring(
            "gse-uniform",
            "rewire: the largest |gradient| of candidates drawn uniformly (Heddes et al. 2024)",
            **_GUIDED,
        ),
        _rewiring(
            "gse-grabo",
            "rewire: candidates drawn by Σ|activation|, Σ|output gradient| (Heddes et al. 2024)",
            **_GUIDED,
        ),
        _rewiring(
            "gse-graest",
            "rewire: candidates drawn by sketches of the gradient (Heddes et al. 2024)",
            **_GUIDED,
        ),
        _rewiring(
            "random-gradient",
            "rewire: random regrowth, gradient from half-way on (S, E)",
            "set-magnitude",
            **_SURVIVAL,
            switch_method="rigl",
        ),
        _rewiring(
            "gradient-random",
            "rewire: gradient regrowth, random from half-way on (S, E)",
            "rigl",
            **_SURVIVAL,
            switch_method="set-magnitude",
        ),
        _rewiring(
            "random-momentum",
            "rewire: random regrowth, momentum from half-way on (S, E)",
            "set-magnitude",
            **_SURVIVAL,
            switch_method="momentum",
        ),
        _rewiring(
            "momentum-random",
            "rewire: momentum regrowth, random from half-way on (S, E)",
            "momentum",
            **_SURVIVAL,
            switch_method="set-magnitude",
        ),
        _rewiring(
            "gradient-momentum",
            "rewire: gradient regrowth, momentum from half-way on (S, Table 8)",
            "rigl",
            **_SURVIVAL,
            switch_method="momentum",
        ),
        _rewiring(
            "momentum-gradient",
            "rewire: momentum regrowth, gradient from half-way on (S, Table 8)",
            "momentum",
            **_SURVIVAL,
            switch_method="rigl",
        ),
        Method(
            "imp",
            "prune: train, remove 20% by |θ|, rewind, repeat (Frankle & Carbin 2019)",
            "prune",
            "imp",
            {"update_fraction": 0.2},
        ),
        Method(
            "imp-c",
            "prune: train, remove 20% by |θ|, go on, repeat (P, A.4)",
            "prune",
            "imp-c",
            {"update_fraction": 0.2},
        ),
        Method(
            "gmp",
            "prune: remove the smallest |θ| while training, by a cubic (Zhu & Gupta 2017)",
            "gradual",
            None,
            {"update_every": 100, "update_end": 0.75},
        ),
        Method(
            "magnitude",
            "prune: train, remove the smallest |θ| at once, train again (Han et al. 2015)",
            "prune",
            "magnitude",
        ),
        Method(
            "str",
            "prune: learn one soft threshold a layer; finds its density (Kusupati et al. 2020)",
            "thresholds",
        ),
    )
}


def methods() -> dict[str, str]:
    """Return the methods that `pwmpr.run` knows: name -> one line.

    Growth and rewiring rules that were registered from outside stand at the end.

    Examples
    --------
    >>> {"pwmpr", "rigl", "static"} <= set(methods())
    True
    """
    listed = {method.name: method.line for method in METHODS.values()}
    # Without importing them: nothing is registered where their modules were never needed, and
    # they bring PyTorch with them.
    if growth := sys.modules.get("pwmpr.growth"):
        for name, line in growth.growth_rules().items():
            listed.setdefault(name, f"grow: {line}")
    if rewiring := sys.modules.get("pwmpr.rewiring"):
        for name, line in rewiring.rewiring_rules().items():
            listed.setdefault(name, f"rewire: {line}")
    return listed


def method_named(name: object) -> Method:
    """Return a method by name; every registered growth and rewiring rule is one.

    Raises
    ------
    TopographError
        If there is none of that name; the nearest is named.
    """
    if name in METHODS:
        return METHODS[str(name)]
    # Here, because rules bring PyTorch with them and lists of methods do not need it.
    from pwmpr.growth import growth_rules
    from pwmpr.rewiring import preset_named, rewiring_rules

    grown, rewired = growth_rules(), rewiring_rules()
    check_choice(name, "method", list(dict.fromkeys([*METHODS, *grown, *rewired])))
    if name in grown:
        return Method(str(name), f"grow: {grown[str(name)]}", "grow", str(name))
    preset = preset_named(str(name))
    return _rewiring(str(name), f"rewire: {preset.line}", **preset.defaults)
