"""How settings, a model and data become a trainer, and a trained network a summary."""

from __future__ import annotations

import dataclasses
import math
import platform
from typing import Any

import torch
from torch import Tensor, nn

import pwmpr
from pwmpr import models
from pwmpr.cost import Ledger, Operator, operator_costs
from pwmpr.data.batches import Batches, OwnTargets
from pwmpr.data.dataset import Dataset
from pwmpr.data.parts import Parts
from pwmpr.data.text import Text
from pwmpr.folder import RunFolder
from pwmpr.method import method_named
from pwmpr.scope import weights_in_scope
from pwmpr.seeds import derive
from pwmpr.settings import Settings
from pwmpr.training.choice import strategy_for
from pwmpr.training.group import Group
from pwmpr.training.machine import Machine
from pwmpr.training.objectives import OBJECTIVES, Loss
from pwmpr.training.trainer import Trainer
from topograph.errors import TopographError

FORMAT = 2  # of the run folder


def model_options(settings: Settings, known: Dataset | Text | None) -> dict[str, Any]:
    """Return the options of the model named in the settings, with what the data decide filled in.

    Parameters
    ----------
    settings
        ``model`` and ``model_options``; the latter win.
    known
        Decides classes, channels, size, vocabulary … where the network takes them.
    """
    if not settings.model:
        return {}
    fitting: dict[str, Any] = {}
    if known is not None:
        fitting = known.options
    accepted = models.options(settings.model)
    return {k: v for k, v in fitting.items() if k in accepted} | dict(settings.model_options)


def build_model(settings: Settings, options: dict[str, Any]) -> nn.Module:
    """Return the model named in the settings, its initial weights a function of the seed."""
    if not settings.model:
        raise TopographError(
            "model is None and the settings name none; expected a network to train",
            "pass model=, or a recipe such as pwmpr.run('digits')",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(settings.seed, "init"))
        return models.build(settings.model, **options)


def assemble(
    settings: Settings,
    model: nn.Module,
    parts: Parts,
    loss: Loss | None,
    folder: RunFolder,
    machine: Machine,
    group: Group | None = None,
) -> Trainer:
    """Return a trainer; the model is moved to the machine.

    Raises
    ------
    TopographError
        If the model does not take the data's samples, or has too few outputs.
    """
    machine.lay_out(model)
    objective = OBJECTIVES[settings.objective]
    if loss is not None:
        objective = dataclasses.replace(objective, loss=loss)
    train = batches(parts, parts.train, settings, machine.device)
    example, _ = next(iter(train.in_order(1)))
    operators = _operators(model, example)
    if parts.known is not None:
        _check_outputs(model, example, parts.known.outputs)
    return Trainer(
        settings=settings,
        model=model,
        train=train,
        validation=batches(parts, parts.validation, settings, machine.device),
        objective=objective,
        strategy=strategy_for(method_named(settings.method)),
        machine=machine,
        ledger=Ledger(operators, tuple(weights_in_scope(model, settings.dense))),
        folder=folder,
        example_input=example,
        group=group,
    )


def batches(parts: Parts, part: Any, settings: Settings, device: str) -> Batches:
    """Return the batches of a part of the data, with the targets that the objective asks for."""
    made = parts.batches(part, settings, device)
    return OwnTargets(made) if OBJECTIVES[settings.objective].own_targets else made


def describe(trainer: Trainer, options: dict[str, Any], parts: Parts) -> dict[str, Any]:
    """Return the content of settings.json."""
    model, example = trainer.model, trainer.example_input
    tensor = isinstance(example, Tensor)
    return {
        "format": FORMAT,
        "settings": trainer.settings.to_dict(),
        "model": {
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "name": trainer.settings.model or None,
            "options": options,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "input_shape": list(example.shape[1:]) if tensor else None,
            "input_dtype": str(example.dtype).removeprefix("torch.") if tensor else None,
        },
        "data": parts.description,
        "machine": trainer.machine.to_dict() | {"processes": trainer.group.size},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions that a run's bits may depend on."""
    return {
        "topograph": pwmpr.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def finish(trainer: Trainer, parts: Parts) -> dict[str, Any]:
    """Test the trained network, write it and the outcome; return the outcome.

    The weights are those after the last step: no epoch is picked by its validation accuracy.
    """
    model, ledger = trainer.model, trainer.ledger
    part, on = (parts.validation, "validation") if parts.test is None else (parts.test, "test")
    held_out = batches(parts, part, trainer.settings, trainer.machine.device)
    # The checkpoint after the last step is there: a run that ends here is tested by its resume.
    score = trainer.score(held_out, trainer.leave_if_asked)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model.eval()
    trainer.folder.write_model(model.state_dict())
    dense = ledger.dense_training(_samples_of_full_training(trainer))
    fit = trainer.strategy.stopping(trainer)
    stopping = None if fit is None else dataclasses.asdict(fit)
    summary = {
        "data": parts.description["name"],
        "density": trainer.masks.density,
        "count": trainer.masks.count,
        "accuracy": _json(score.accuracy),
        "accuracy_on": on,
        "loss": _json(score.loss),
        "cost": ledger.total / dense,
        "flops": ledger.state_dict(),
        "dense_flops": dense,
        "seconds": trainer.progress.seconds,
        "epochs": trainer.progress.epoch,
        "steps": trainer.progress.step,
        **trainer.strategy.outcome(trainer),
        "kernels": trainer.kernels.state_dict(),
        "stopping": stopping and {name: _json(value) for name, value in stopping.items()},
    }
    trainer.folder.write_result(summary)
    return summary


def _operators(model: nn.Module, example: Any) -> tuple[Operator, ...]:
    try:
        return operator_costs(model, example)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shape = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise TopographError(
            f"{type(model).__name__} cannot take a sample of shape {shape} ({error})",
            "pass a model that fits the data",
        ) from error


def _check_outputs(model: nn.Module, example: Any, classes: int) -> None:
    training = model.training
    with torch.no_grad():
        shape = model.eval()(example).shape
    model.train(training)
    outputs = shape[1] if len(shape) == 2 else shape[-1]
    if outputs < classes:
        raise TopographError(
            f"{type(model).__name__} has {outputs} outputs for {classes} classes",
            f"pass a model with {classes} outputs",
        )


def _samples_of_full_training(trainer: Trainer) -> int:
    batch = trainer.settings.batch
    batches = trainer.train.count(batch)
    epochs, rest = divmod(trainer.full_steps, batches)
    return epochs * min(trainer.train.samples, batches * batch) + rest * batch


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN and infinity become None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
