"""How a run is put together, carried out, resumed and loaded."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from pwmpr import recipefile
from pwmpr.data.parts import Parts, prepare_parts
from pwmpr.folder import RunFolder
from pwmpr.logs import Log, Logs, open_logs
from pwmpr.method import method_named
from pwmpr.readonly import ReadOnlyFolder
from pwmpr.recipe import recipe_settings, stated_by
from pwmpr.result import RunResult
from pwmpr.settings import Settings
from pwmpr.training.assembly import assemble, build_model, describe, finish, model_options
from pwmpr.training.begun import refuse_missing_device, say_other_machine, say_other_versions
from pwmpr.training.display import Display
from pwmpr.training.group import Group, is_several, join
from pwmpr.training.machine import choose_machine, find_device
from pwmpr.training.memory import stating
from pwmpr.training.objectives import Loss
from topograph.errors import TopographError


def run(
    recipe: str | None = None,
    *,
    model: nn.Module | str | None = None,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    loss: Loss | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
    log_to: str | Log | Iterable[str | Log] = (),
    **settings: Any,
) -> RunResult:
    """Train one network from start masks to its final density, and keep everything.

    Parameters
    ----------
    recipe : str, optional
        A recipe by name (`pwmpr.recipes`), or a YAML file of settings (``"mine.yaml"``), whose
        ``recipe`` names the one that it starts from; what is said here wins. Without one,
        ``model``, ``train`` and ``epochs`` (or ``iterations``) are needed.
    model : nn.Module or str, optional
        A network of one's own, trained in place; or a name for `pwmpr.models.build`.
    train, validation, test : optional
        Map-style data sets of (input, target) pairs, or pairs of tensors. Without ``validation``,
        a tenth of the training data (``validation=0.2``: a fifth) is held out by the seed; without
        ``test``, accuracy is that on the validation data.
    loss : callable, optional
        ``loss(output, target)``, a scalar; that of the setting ``objective`` by default.
    out : str or Path, optional
        The run's folder, new. By default ``runs/<recipe>-<method>-s<seed>-<hash of the settings>``,
        with a number behind it if that exists.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal and in a notebook.
    log_to : optional
        ``"tensorboard"``, ``"wandb"``, an object with the methods of `pwmpr.logs.Log`, or several
        of them: they get the settings and every row of the history beside ``metrics.jsonl``.
    settings
        Any other setting of `pwmpr.settings.Settings`: ``method``, ``seed``, ``density``,
        ``data_dir``, ``epochs``, ``batch``, ``lr``, ``device``, …

    Returns
    -------
    RunResult
        History, density, accuracy, cost, stopping, snapshots, model, masks.

    Raises
    ------
    TopographError
        For an unknown recipe or setting (the nearest name is given), data that cannot be read, a
        model that does not fit the data, a loss that is not finite, a folder that holds a run.

    Notes
    -----
    The same settings, data and number of threads give the same result, bit for bit, on a CPU. The
    weights at the end are the result: no epoch is picked by its validation accuracy.

    Examples
    --------
    >>> import tempfile, torch
    >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = run(model=torch.nn.Linear(8, 2), train=(x, (x[:, 0] > 0).long()),
    ...                  method="random", density=0.5, start="random", start_density=0.25,
    ...                  rough_epochs=1, epochs=2, batch=16, out=folder + "/run")
    >>> result.density, len(result.history)
    (0.5, 7)
    """
    if isinstance(model, str):
        settings["model"] = model
        model = None
    if isinstance(validation, numbers.Real):
        settings["validation"] = validation
        validation = None
    if model is not None:
        settings["model"] = ""
    if train is not None:
        settings["data"] = ""
    wanted = resolve(recipe, **settings)
    parts = prepare_parts(wanted, train, validation, test)
    group = joined(wanted)
    path = Path(group.told(str(free_folder(wanted) if out is None else out))).expanduser()
    folder = _made(path, group)
    return _carry_out(wanted, model, parts, loss, folder, progress, log_to, group, resumed=False)


def resolve(recipe: str | None = None, **settings: Any) -> Settings:
    """Return all settings of a run: the caller's before the recipe's before the method's.

    Raises
    ------
    TopographError
        For an unknown recipe, method or setting, and for values that are not allowed.

    Examples
    --------
    >>> resolve("digits", method="rigl", density=0.1).start
    'erk'
    """
    if recipefile.is_file(recipe):
        settings = recipefile.read(str(recipe)) | settings
        recipe = settings.pop("recipe", None)
        if recipe == Settings().recipe:
            recipe = None
    wanted = recipe_settings(recipe) if recipe is not None else Settings()
    wanted = wanted.with_changes(**settings)
    stated = {*settings, *(stated_by(recipe) if recipe is not None else ())}
    open_to_method = {
        name: value
        for name, value in method_named(wanted.method).defaults.items()
        if name not in stated
    }
    wanted = wanted.with_changes(**open_to_method)
    if wanted.switch_method is not None and method_named(wanted.method).strategy != "rewire":
        raise TopographError(
            f"switch_method is {wanted.switch_method!r} with method={wanted.method!r}; expected a "
            "method of dynamic sparse training, which another can take over from",
            'pass e.g. method="set-magnitude", or leave switch_method out',
        )
    return wanted


def resume(
    folder: str | Path,
    *,
    model: nn.Module | None = None,
    train: Any = None,
    validation: Any = None,
    test: Any = None,
    loss: Loss | None = None,
    progress: bool | None = None,
    log_to: str | Log | Iterable[str | Log] = (),
) -> RunResult:
    """Go on where a run stopped, to the result that it would have had.

    Parameters
    ----------
    folder : str or Path
        The folder of a run. A finished one is loaded.
    model, train, validation, test, loss : optional
        What the run was started with, if they were one's own.
    progress, log_to : optional
        As in `run`.

    Returns
    -------
    RunResult
        The same, bit for bit, as without the stop (on a CPU, with the same number of threads).

    Raises
    ------
    TopographError
        If the folder holds no run, another process is writing it, no checkpoint is whole, or
        model, data or kind of device are not those of the run.

    Warns
    -----
    UserWarning
        If torch, Python or this package have another version than when the run began, or it goes
        on with another processor, card or number of processes: its bits may differ.
    """
    opened = RunFolder.open(folder)
    if opened.finished:
        return RunResult.load(folder, model)
    described = opened.settings()
    settings = Settings.from_dict(described["settings"])
    if not settings.model and model is None:
        raise TopographError(
            f"the run in {opened.path} trains a model of its own "
            f"({described['model']['class']}), which is not in the folder",
            "pass the same model, freshly made, as model=",
        )
    if not settings.data and train is None:
        raise TopographError(
            f"the run in {opened.path} trains on data of its own, which are not in the folder",
            "pass the same data sets as train=, validation=, test=",
        )
    parts = prepare_parts(settings, train, validation, test)
    if parts.description != described["data"]:
        raise TopographError(
            f"the data are {parts.description}; the run in {opened.path} has {described['data']}",
            "resume with the data that the run was started with",
        )
    say_other_versions(opened.path, described.get("versions", {}))
    refuse_missing_device(opened.path, settings.device, described.get("machine", {}))
    group = joined(settings)
    if not group.first:
        opened = ReadOnlyFolder(opened.path)
    return _carry_out(settings, model, parts, loss, opened, progress, log_to, group, resumed=True)


def load(folder: str | Path, model: nn.Module | None = None) -> RunResult:
    """Return the result of a finished run; see `RunResult.load`."""
    return RunResult.load(folder, model)


def _carry_out(
    settings: Settings,
    model: nn.Module | None,
    parts: Parts,
    loss: Loss | None,
    folder: RunFolder,
    progress: bool | None,
    log_to: str | Log | Iterable[str | Log],
    group: Group,
    *,
    resumed: bool,
) -> RunResult:
    display, logs = Display(progress if group.first else False), Logs()
    try:
        if settings.iterations is None and settings.epochs is None:
            raise TopographError(
                "epochs and iterations are None; expected the length of the extensive training",
                "pass e.g. epochs=30",
            )
        folder.lock()
        begun_on = folder.settings().get("machine", {}) if resumed else {}
        options = model_options(settings, parts.known)
        model = model or build_model(settings, options)
        machine = choose_machine(settings, model)
        settings = dataclasses.replace(
            settings,
            precision=machine.precision,
            threads=machine.threads,
            device=machine.device,
            optimizer_state=machine.optimizer_state(settings),
        )
        with machine.active(), group.guard(folder.path), stating(settings, folder.path):
            trainer = assemble(settings, model, parts, loss, folder, machine, group)
            trainer.progress_bar = display
            if group.first:
                trainer.logs = logs = open_logs(log_to, folder.path)
                logs.settings(settings.to_dict())
            if not resumed:
                folder.write_settings(describe(trainer, options, parts))
            elif group.first:
                say_other_machine(folder.path, begun_on, trainer)
            with trainer.interrupt.watching():
                trainer.run()
                summary = group.told(finish(trainer, parts))
                group.wait()
                if trainer.interrupt.requested:  # the result is written: a resume loads it
                    trainer.interrupt.leave()
    except BaseException:
        if not resumed and not folder.checkpoints:
            folder.discard()
        raise
    finally:
        logs.close()
        display.close()
        folder.close()
    return RunResult.gather(folder, settings, summary, model)


def joined(settings: Settings) -> Group:
    """Return the group of processes that this one is in.

    Raises
    ------
    TopographError
        If there are several and a setting needs one alone.
    """
    if is_several() and settings.kernels != "masked":
        raise TopographError(
            f"kernels is {settings.kernels!r} in a run of several processes, whose gradients are "
            "averaged as dense tensors",
            'pass kernels="masked"',
        )
    return join(find_device(settings.device))


def _made(path: Path, group: Group) -> RunFolder:
    """Return a new folder, which process 0 makes; where it cannot, all say why."""
    refusal: tuple[str, str] | None = None
    folder: RunFolder = ReadOnlyFolder(path)
    if group.first:
        try:
            folder = RunFolder.create(path)
        except TopographError as error:
            refusal = error.problem, error.remedy
    refusal = group.told(refusal)
    if refusal is not None:
        raise TopographError(*refusal)
    return folder


def free_folder(settings: Settings) -> Path:
    """Return where a run goes that names no folder: under ``runs/``, by its settings."""
    path, number = Path("runs") / settings.name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{settings.name}-{number}"
    return path
