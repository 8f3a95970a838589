"""How a network is trained: the one loop that every method runs in."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pwmpr.attach import Attached
from pwmpr.cost import Ledger
from pwmpr.data.batches import Batches
from pwmpr.folder import RunFolder
from pwmpr.logs import Logs
from pwmpr.masks import Masks
from pwmpr.seeds import derive
from pwmpr.settings import Settings
from pwmpr.training.evaluate import Score, evaluate
from pwmpr.training.group import ASK_EVERY, Group
from pwmpr.training.interrupt import Interrupt
from pwmpr.training.kernels import LinearKernels
from pwmpr.training.machine import Machine
from pwmpr.training.objectives import Objective
from pwmpr.training.optimizers import build_optimizer
from pwmpr.training.progress import Progress
from pwmpr.training.schedule import Stage, learning_rate
from pwmpr.training.state import collect, restore
from pwmpr.training.strategies import Strategy
from topograph.errors import TopographError

# Steps between looks at whether the loss is finite: looking waits for the device.
FINITE_EVERY = 50


class Trainer:
    """A run under way: model, masks, optimiser, data, account and history.

    Parameters
    ----------
    settings
        All settings, resolved.
    model
        Trained in place.
    train, validation
        Batches to train on and to evaluate after every epoch.
    objective
        What is minimised, and what counts as right.
    strategy
        What happens to the masks.
    machine
        Where and how it computes.
    ledger
        The account of FLOPs.
    folder
        Where everything is written.
    example_input
        One sample as the model takes it, on the device.
    group
        The processes that train together.
    progress_bar
        Called with (step, description) after every step.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        model: nn.Module,
        train: Batches,
        validation: Batches,
        objective: Objective,
        strategy: Strategy,
        machine: Machine,
        ledger: Ledger,
        folder: RunFolder,
        example_input: Any,
        group: Group | None = None,
        progress_bar: Callable[[Trainer], None] = lambda trainer: None,
    ) -> None:
        self.settings = settings
        self.model = model
        self.train = train
        self.validation = validation
        self.objective = objective
        self.loss = objective.loss
        self.strategy = strategy
        self.machine = machine
        self.ledger = ledger
        self.folder = folder
        self.example_input = example_input
        self.group = group or Group()
        self.network = self.group.wrap(model)
        self.progress_bar = progress_bar
        self.logs = Logs()
        self.progress = Progress()
        self.history: list[dict[str, Any]] = []
        self.snapshots: list[dict[str, Any]] = []
        self.stage: Stage | None = None
        self.optimizer = build_optimizer(settings, model)
        self.kernels = LinearKernels(settings.kernels)
        self.attached: Attached
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=machine.device)
        self.interrupt = Interrupt()

    @property
    def masks(self) -> Masks:
        """The masks at work."""
        return self.attached.masks

    @property
    def full_steps(self) -> int:
        """Optimiser steps of extensive (and of full dense) training."""
        if self.settings.iterations is not None:
            return self.settings.iterations
        return (self.settings.epochs or 1) * self.train.count(self.settings.batch)

    @property
    def samples(self) -> int:
        """Samples in the batch of this step, those of all processes together."""
        now, batch = self.progress, self.settings.batch
        return min(batch, self.train.samples - now.batch * batch)

    def whole(self, batch: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
        """Return the whole batch of this step, of which ``batch`` is what is dealt to us."""
        if self.group.size == 1:
            return batch
        now = self.progress
        return next(iter(self.train.epoch(now.epoch, self.settings.batch, start=now.batch)))

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises
        ------
        TopographError
            If the loss stops being finite, or a file cannot be written.
        KeyboardInterrupt, SystemExit
            After SIGINT or SIGTERM, with a checkpoint written.
        """
        with self.group.guard(self.folder.path):
            checkpoint = self.folder.checkpoints.load()
            if checkpoint is None:
                self._begin()
            else:
                restore(self, checkpoint)
            while self.stage is not None:
                while not self._stage_is_over():
                    self._epoch()
                self._next_stage()
        if self.group.any(self.interrupt.requested):  # it came after the last step
            self.interrupt.leave()

    def _begin(self) -> None:
        torch.manual_seed(derive(self.settings.seed, "global"))
        started = time.perf_counter()
        self.put_on(self.group.agree(self.strategy.start(self)))
        self.kernels.start(self)
        self.stage = self.strategy.first(self)
        self._record_snapshot()
        self.progress.seconds["topology"] += time.perf_counter() - started
        self.folder.set_history([])
        self._save()

    def put_on(self, masks: Masks) -> None:
        """Attach the first masks, or those of a checkpoint."""
        state = self.settings.optimizer_state
        self.attached = masks.attach(self.model, self.optimizer, state)
        self.ledger.keep(masks.counts)

    def change_masks(self, masks: Masks, through: Masks | None = None) -> None:
        """Go on with other masks: kept weights keep value and momentum, new ones start at zero.

        Parameters
        ----------
        masks
            Of the same parameters.
        through
            Masks to pass through: a weight outside them starts at zero even if it was kept before.
        """
        if through is not None:
            self.attached.update(self.group.agree(through))
        self.attached.update(self.group.agree(masks))
        self.group.check_same(self.masks, self.model)
        self.ledger.keep(masks.counts)
        self.progress.snapshot += 1
        self._record_snapshot()

    def rewind(self, state: dict[str, Tensor]) -> None:
        """Go back to earlier weights and buffers, with an optimiser that remembers nothing.

        Parameters
        ----------
        state
            A state dict of the model. The masks stay at work.
        """
        self.model.load_state_dict(state)
        self.optimizer.state.clear()

    def _record_snapshot(self) -> None:
        index = self.progress.snapshot
        self.folder.write_masks(index, self.masks)
        row: dict[str, Any] = {
            "index": index,
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "density": self.masks.density,
            "count": self.masks.count,
            "digest": self.masks.digest(),
        }
        if self.kernels.used:
            row["sparse_layers"] = list(self.kernels.layers(self).names)
        self.snapshots.append(row)
        self.folder.set_snapshots(self.snapshots)

    # one epoch

    def computing(self, *, dense: bool = False) -> AbstractContextManager[None]:
        """Return the context in which the model runs: some linear layers sparse, or none.

        Parameters
        ----------
        dense
            Whether the gradients of missing weights are wanted, which sparse layers do not have.
        """
        if dense or not self.kernels.used:
            return nullcontext()
        return self.kernels.layers(self).computing()

    def _epoch(self) -> None:
        """Train on the rest of the present epoch, evaluate, write it down."""
        stage, now, settings = self._stage, self.progress, self.settings
        started = time.perf_counter()
        self.model.train()
        share = (self.group.rank, self.group.size)
        batches = self.train.epoch(now.epoch, settings.batch, start=now.batch, share=share)
        if now.stage_step == stage.steps:  # it was interrupted while it was evaluated
            batches = iter(())
        for x, y in batches:
            if now.stage_step == stage.steps:
                break
            lr = learning_rate(settings, stage, now.stage_step, now.step)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            dense = self.strategy.needs_dense_gradients(self)
            with self.machine.autocast(), self.computing(dense=dense):
                loss = self.loss(self.network(x), y)
            mine = self.group.share(self.samples)
            self.optimizer.zero_grad()
            if self.group.size > 1:
                # Gradients are averaged over processes, each of which has a mean over its samples.
                (loss * (mine * self.group.size / self.samples)).backward()
            else:
                loss.backward()
            if not self.strategy.before_step(self, (x, y)):
                self.optimizer.step()
            self.ledger.add_training(self.samples)
            self.loss_sum += loss.detach() * mine
            now.samples += self.samples
            now.step += 1
            now.stage_step += 1
            now.batch += 1
            if now.step % FINITE_EVERY == 0:
                self._check_finite()
            self.progress_bar(self)
            if self._asked_to_end():
                now.seconds["training"] += time.perf_counter() - started
                self._check_finite()  # what is not finite takes no good checkpoint's place
                self._save()
                self.interrupt.leave()
        train_loss = self._check_finite() / now.samples
        trained = time.perf_counter()
        now.seconds["training"] += trained - started
        score = self.score(self.validation, self._leave_evaluation)
        now.seconds["evaluation"] += time.perf_counter() - trained
        self._end_epoch(train_loss, score)

    def _asked_to_end(self) -> bool:
        """Whether a signal came; several processes ask one another now and then."""
        if self.group.size == 1:
            return self.interrupt.requested
        return self.progress.step % ASK_EVERY == 0 and self.group.any(self.interrupt.requested)

    def score(self, batches: Batches, between: Callable[[], None] = lambda: None) -> Score:
        """Return how well the network does; ``between`` is called after every batch."""
        with self.computing():
            return evaluate(self.model, batches, self.objective, self.machine, self.group, between)

    def leave_if_asked(self) -> None:
        """End the run, if a signal asked for it; the last checkpoint must hold all that matters."""
        if self.interrupt.requested and self.group.size == 1:
            self.interrupt.leave()

    def _leave_evaluation(self) -> None:
        """End the run during an evaluation; it is evaluated again when the run goes on."""
        if self.interrupt.requested and self.group.size == 1:
            # All batches of the epoch are trained on, and the epoch is not over yet.
            self._save()
            self.interrupt.leave()

    def _end_epoch(self, train_loss: float, score: Score) -> None:
        stage, now = self._stage, self.progress
        now.epoch += 1
        now.stage_epoch += 1
        now.batch = now.samples = 0
        self.loss_sum.zero_()
        now.epochs_since_best += 1
        if score.loss < now.best_loss:
            now.best_loss, now.epochs_since_best = score.loss, 0
        kept = self.strategy.kept(self)
        row = {
            "phase": stage.phase,
            "cycle": stage.cycle,
            "epoch": now.epoch,
            "step": now.step,
            "density": kept.density,
            "count": kept.count,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": train_loss,
            "val_loss": score.loss,
            "val_accuracy": score.accuracy,
            "flops": self.ledger.total,
            "seconds": round(sum(now.seconds.values()), 3),
            "device": self.machine.device,
            "precision": self.machine.precision,
            "threads": self.machine.threads,
        }
        self.history.append(row)
        self.folder.add_history(row)
        self.logs.row(row)
        self.strategy.after_epoch(self)
        if now.epoch % self.settings.checkpoint_epochs == 0 or self._stage_is_over():
            self._save()

    def _check_finite(self) -> float:
        """Return the epoch's summed loss, once it is known to be finite."""
        total = float(self.group.total(self.loss_sum))
        lr = self.optimizer.param_groups[0]["lr"]
        if not math.isfinite(total):
            raise TopographError(
                f"the training loss is {total} by step {self.progress.step} (learning rate {lr:g}, "
                f"density {self.masks.density:.3g}, {self.machine.precision})",
                "lower lr, or pass warmup= or precision='fp32'; the checkpoint of the last good "
                f"epoch is in {self.folder.path}",
            )
        return total

    # stages

    @property
    def _stage(self) -> Stage:
        if self.stage is None:
            raise TopographError("the run is over", "start another run")
        return self.stage

    def _stage_is_over(self) -> bool:
        """Return whether a whole epoch has ended and the stage with it."""
        stage, now = self._stage, self.progress
        stale = stage.patience is not None and now.epochs_since_best >= stage.patience
        return now.batch == 0 and (now.stage_step >= stage.steps or stale)

    def _next_stage(self) -> None:
        """Keep the weights, let the strategy change the masks, begin the next stage."""
        started = time.perf_counter()
        if self._stage.phase == "rough" and self.settings.weight_snapshots:
            state = self.model.state_dict()
            self.folder.write_weights(self.progress.snapshot, state, self.masks)
        self.stage = self.strategy.next(self)
        now = self.progress
        now.stage_step = 0 if self.stage is None else self.stage.begin
        now.stage_epoch = now.epochs_since_best = 0
        now.best_loss = math.inf
        now.seconds["topology"] += time.perf_counter() - started
        self._save()

    def _save(self) -> None:
        self.group.settle(self.model)
        self.group.check_same(self.masks, self.model)
        self.folder.checkpoints.save(collect(self))
