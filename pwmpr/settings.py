"""Every setting of a run, with its default, its allowed values and its meaning."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pwmpr.values import of_type
from topograph.check import check_choice, check_fraction, check_integer, check_positive
from topograph.errors import TopographError


@dataclass(frozen=True)
class Settings:
    """The settings of one run; a recipe is a set of these, and any can be given to `pwmpr.run`.

    Attributes
    ----------
    recipe
        Name of the recipe; ``"custom"`` for a model and data of one's own.
    method
        How the network gets sparse; see `pwmpr.methods`.
    seed
        Decides initial weights, start masks, validation split, order, augmentation and growth.
    model
        Name for `pwmpr.models.build`, e.g. ``"resnet32"``, ``"mlp-784-300-100-10"``.
    model_options
        Keyword arguments for it, e.g. ``{"shortcut": "B"}``.
    data
        Name of the data set; ``"digits"`` is embedded, others are read from ``data_dir``.
    data_dir
        Folder of the data.
    image_size
        Side in pixels to which encoded pictures are scaled and cropped; None takes them as they
        are.
    validation
        Part of the training data held out for validation, in [0, 1).
    augment
        ``"none"``; ``"crop-flip"`` (random crop after 4 pixels of padding, horizontal flip);
        ``"strong"`` (Lee et al. 2021: AutoAugment, erasing, Mixup, CutMix, label smoothing; needs
        torchvision); ``"resized-crop-flip"`` for pictures that are decoded while training goes on.
    scaling
        ``"standard"``: images have mean 0 and deviation 1 in every channel; ``"unit"``: 0 to 1, the
        largest value that occurs in training.
    context
        Characters of one sample, where the data are text.
    objective
        ``"cross-entropy"``, or ``"contrastive-divergence"`` for a Boltzmann machine.
    density
        Final density. None: growth stops at the plateau. A number: growth goes exactly there, its
        last step cut, and no plateau stops it. Methods without growth need a number.
    max_density
        Where growth ends if no plateau is found.
    start
        Rule of the start masks: ``"phew"``, ``"erk"``, ``"snip"``, …; see `pwmpr.initial_masks`.
    start_density
        Density that growth starts from (P, Table 2).
    growth_ratio
        γ: each step adds ⌊γ · kept⌋ weights (P uses 0.25).
    rough_epochs
        Epochs of training before each growth step, or ``"early-stop"``.
    patience
        With ``"early-stop"``: epochs without a lower validation loss that end rough training.
    plateau_reference
        What 95% refers to in the stop rule: ``"asymptote"`` (P0 + A) or ``"gain"`` (A).
    extensive
        False leaves out the extensive training at the end; ``iterations`` or ``epochs`` then only
        measures what dense training would cost, and caps early-stopped rough training.
    iterations, epochs
        Length of extensive training (and of dense training, which cost is measured against), in
        optimiser steps or in epochs; one of the two.
    batch
        Samples in a training batch.
    optimizer
        ``"sgd"`` or ``"adamw"``.
    lr, momentum, nesterov, weight_decay
        Of the optimiser; momentum and nesterov are SGD's.
    optimizer_state
        Whether the optimiser has state for the ``"kept"`` weights alone (less memory; below a
        density of about 0.2 less time) or a ``"dense"`` one; the weights come out the same.
        ``"auto"``: kept on the CPU, dense elsewhere.
    kernels
        How linear layers compute: ``"masked"`` by dense kernels; ``"sparse"`` with their kept
        weights alone; a number, or one by parameter name: sparse below that density; ``"auto"``:
        sparse below the density at which a timing at the start of the run finds each layer to
        break even. Sparse layers compute in float32 and round otherwise than masked ones.
    schedule
        Learning rate of extensive training: ``"step"``, ``"cosine"`` or ``"constant"``. Rough
        training stays at the initial rate.
    drops
        Fractions of the training at which ``"step"`` multiplies the rate by ``drop_factor``.
    drop_factor
        See ``drops``.
    warmup
        Optimiser steps at the start of a run over which the rate rises linearly.
    dense
        Glob patterns of weights that stay dense, beside the model's own ``dense_weights``.
    precision
        ``"auto"`` (bfloat16 autocast where the processor has it), ``"bf16"`` or ``"fp32"``.
    threads
        CPU threads; None takes PyTorch's present number. The same number gives the same bits.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
    checkpoint_epochs
        Epochs between checkpoints.
    weight_snapshots
        Whether the weights are kept beside the masks at the end of every rough training.
    update_every
        ΔT, optimiser steps between changes of the masks in methods that move or prune weights
        while they train, or ``"epoch"``. Each method has its own default for this and the next
        ones; see `pwmpr.methods`.
    update_fraction
        Part of the kept weights that an update drops (α, ζ), or that a pruning level removes.
    update_anneal
        How that part falls until ``update_end``: ``"cosine"`` or ``"constant"``.
    update_end
        T_end, as a fraction of the training: later no weights move.
    update_skips_step
        Whether the optimiser step falls away when weights move (as in RigL's own code).
    switch_method, switch_at
        A method of dynamic sparse training that takes over at this fraction of the training.
    threshold
        Threshold on |θ| at the start, of DSR and STR.
    threshold_decay
        Weight decay of STR's thresholds (it raises them); None takes ``weight_decay``.
    gamma
        GSE's candidates per kept weight.
    rewind
        Steps into the first training to whose weights iterative pruning rewinds; 0 = initial ones.
    """

    recipe: str = "custom"
    method: str = "pwmpr"
    seed: int = 0
    model: str = ""
    model_options: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    data_dir: str | None = None
    image_size: int | None = None
    validation: float = 0.1
    augment: str = "none"
    scaling: str = "standard"
    context: int = 64
    objective: str = "cross-entropy"
    density: float | None = None
    max_density: float = 1.0
    start: str = "phew"
    start_density: float = 0.05
    growth_ratio: float = 0.25
    rough_epochs: int | str = 10
    patience: int = 3
    plateau_reference: str = "asymptote"
    extensive: bool = True
    iterations: int | None = None
    epochs: int | None = None
    batch: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    optimizer_state: str = "auto"
    kernels: str | float | Mapping[str, float] = "masked"
    schedule: str = "step"
    drops: tuple[float, ...] = (2 / 3, 5 / 6)
    drop_factor: float = 0.1
    warmup: int = 0
    dense: tuple[str, ...] = ()
    precision: str = "auto"
    threads: int | None = None
    device: str = "auto"
    checkpoint_epochs: int = 1
    weight_snapshots: bool = True
    update_every: int | str = 100
    update_fraction: float = 0.3
    update_anneal: str = "cosine"
    update_end: float = 0.75
    update_skips_step: bool = False
    switch_method: str | None = None
    switch_at: float = 0.5
    threshold: float = 1e-3
    threshold_decay: float | None = None
    gamma: float = 1.0
    rewind: int = 0

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(Settings)
        for name, hint in hints.items():
            object.__setattr__(self, name, of_type(getattr(self, name), name, hint))
        check_integer(self.seed, "seed")
        if not 0 <= self.validation < 1:
            raise TopographError(
                f"validation is {self.validation}; expected a fraction in [0, 1)",
                "pass e.g. validation=0.1",
            )
        for name in ("density", "max_density", "start_density"):
            if getattr(self, name) is not None:
                check_fraction(getattr(self, name), name)
        for name in ("growth_ratio", "lr", "drop_factor"):
            check_positive(getattr(self, name), name)
        for name in ("momentum", "weight_decay"):
            check_positive(getattr(self, name), name, zero=True)
        for name in ("patience", "batch", "checkpoint_epochs"):
            check_integer(getattr(self, name), name, least=1)
        for name in ("image_size", "iterations", "epochs", "threads"):
            if getattr(self, name) is not None:
                check_integer(getattr(self, name), name, least=1)
        check_integer(self.warmup, "warmup")
        if self.rough_epochs != "early-stop":
            rough = self.rough_epochs
            if isinstance(rough, str):
                raise TopographError(
                    f'rough_epochs is {rough!r}; expected a number of epochs or "early-stop"',
                    "pass e.g. rough_epochs=10",
                )
            check_integer(rough, "rough_epochs", least=1)
        if self.update_every != "epoch":
            every = self.update_every
            if isinstance(every, str):
                raise TopographError(
                    f'update_every is {every!r}; expected a number of steps or "epoch"',
                    "pass e.g. update_every=100",
                )
            check_integer(every, "update_every", least=1)
        for name in ("update_fraction", "update_end", "switch_at"):
            check_fraction(getattr(self, name), name)
        if self.update_fraction == 1:
            raise TopographError(
                "update_fraction is 1.0; expected less than all of the kept weights",
                "pass e.g. update_fraction=0.3",
            )
        for name in ("threshold", "gamma"):
            check_positive(getattr(self, name), name)
        if self.threshold_decay is not None:
            check_positive(self.threshold_decay, "threshold_decay", zero=True)
        check_integer(self.rewind, "rewind")
        check_choice(self.update_anneal, "update_anneal", ("cosine", "constant"))
        for fraction in self.drops:
            check_fraction(fraction, "a member of drops")
        augmentations = ("none", "crop-flip", "strong", "resized-crop-flip")
        check_choice(self.augment, "augment", augmentations)
        check_choice(self.scaling, "scaling", ("standard", "unit"))
        check_choice(self.objective, "objective", ("cross-entropy", "contrastive-divergence"))
        check_integer(self.context, "context", least=1)
        check_choice(self.optimizer, "optimizer", ("sgd", "adamw"))
        check_choice(self.optimizer_state, "optimizer_state", ("auto", "kept", "dense"))
        if isinstance(self.kernels, str):
            check_choice(self.kernels, "kernels", ("masked", "sparse", "auto"))
        elif isinstance(self.kernels, Mapping):
            for name, density in self.kernels.items():
                if density != 0:
                    check_fraction(density, f"kernels of {name!r}")
        else:
            check_fraction(self.kernels, "kernels")
        if self.kernels != "masked" and self.optimizer_state == "dense":
            raise TopographError(
                f'kernels is {self.kernels!r} with optimizer_state="dense"; sparse layers have '
                "gradients of kept weights alone",
                'pass optimizer_state="kept", or kernels="masked"',
            )
        check_choice(self.schedule, "schedule", ("step", "cosine", "constant"))
        check_choice(self.precision, "precision", ("auto", "bf16", "fp32"))
        check_choice(self.plateau_reference, "plateau_reference", ("asymptote", "gain"))
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise TopographError(
                f"nesterov is True with optimizer={self.optimizer!r}, momentum={self.momentum}; "
                "expected SGD with momentum",
                'pass optimizer="sgd" and a momentum above 0, or nesterov=False',
            )
        if self.iterations is not None and self.epochs is not None:
            raise TopographError(
                f"iterations is {self.iterations} and epochs is {self.epochs}; expected one of "
                "them",
                "leave one out",
            )

    def with_changes(self, **changes: object) -> Settings:
        """Return these settings with some changed; epochs replace iterations and back.

        Raises
        ------
        TopographError
            If a name is no setting (the nearest one is named) or a value is not allowed.
        """
        for name in changes:
            check_setting(name)
        if changes.get("epochs") is not None and changes.get("iterations") is None:
            changes["iterations"] = None
        elif changes.get("iterations") is not None and changes.get("epochs") is None:
            changes["epochs"] = None
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as plain values for JSON."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings that `to_dict` wrote."""
        return cls().with_changes(**values)

    @property
    def name(self) -> str:
        """What a run with these settings is called: the same name for the same settings."""
        return f"{self.recipe}-{self.method}-s{self.seed}-{self.digest()}"

    def digest(self) -> str:
        """Return eight hexadecimal digits that stand for all settings.

        Where data lie and on what machine they are trained does not count.
        """
        values = self.to_dict()
        for name in ("data_dir", "threads", "device", "checkpoint_epochs"):
            del values[name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


NAMES = tuple(setting.name for setting in dataclasses.fields(Settings))


def check_setting(name: str) -> str:
    """Return ``name`` if it is a setting; otherwise say which is nearest."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        raise TopographError(
            f"{name!r} is no setting of a run",
            f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(NAMES)}",
        )
    return name
