"""What of a run is in a checkpoint: everything that decides the future.

Of masked weights and of their optimiser state the kept values alone are written, and of masks their
bits, so that a checkpoint of a sparse network is small.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from pwmpr.masks import Masks
from pwmpr.tensors import compress, expand
from pwmpr.training.progress import Progress
from pwmpr.training.schedule import Stage
from topograph.errors import TopographError

if TYPE_CHECKING:
    from pwmpr.training.trainer import Trainer


def collect(trainer: Trainer) -> dict[str, Any]:
    """Return the state of a run as tensors and plain values."""
    device = trainer.machine.device
    cuda = device.startswith("cuda")
    return {
        "progress": asdict(trainer.progress),
        "stage": None if trainer.stage is None else trainer.stage.to_dict(),
        "model": compress(trainer.model.state_dict(), trainer.masks),
        "optimizer": trainer.optimizer.state_dict(),
        "masks": trainer.masks.state_dict(),
        "kernels": trainer.kernels.state_dict(),
        "loss_sum": trainer.group.total(trainer.loss_sum),
        "history": trainer.history,
        "snapshots": trainer.snapshots,
        "ledger": trainer.ledger.state_dict(),
        "sparse_forward": trainer.ledger.sparse_forward,
        "strategy": trainer.strategy.state_dict(),
        "generator": torch.get_rng_state(),
        "cuda_generator": torch.cuda.get_rng_state(device) if cuda else None,
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put a run into a state that `collect` returned.

    Raises
    ------
    TopographError
        If the model is not the one of the run.
    """
    trainer.progress = Progress(**state["progress"])
    trainer.stage = None if state["stage"] is None else Stage(**state["stage"])
    trainer.history, trainer.snapshots = state["history"], state["snapshots"]
    trainer.folder.set_history(trainer.history)
    trainer.folder.set_snapshots(trainer.snapshots)
    trainer.ledger.load_state_dict(state["ledger"])
    trainer.kernels.load_state_dict(state["kernels"])
    trainer.strategy.load_state_dict(state.get("strategy", {}))
    masks = Masks.from_state_dict(state["masks"])
    try:
        trainer.model.load_state_dict(expand(state["model"], masks))
    except RuntimeError as error:
        raise TopographError(
            f"the checkpoint in {trainer.folder.path} does not fit the model ({error})",
            "resume with the model that the run was started with",
        ) from None
    trainer.put_on(masks)
    # What a step costs need not follow from the masks: learned thresholds keep fewer weights.
    trainer.ledger.sparse_forward = state.get("sparse_forward", trainer.ledger.sparse_forward)
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.group.first:
        trainer.loss_sum.copy_(state["loss_sum"])
    torch.set_rng_state(state["generator"])
    if state["cuda_generator"] is not None and trainer.machine.device.startswith("cuda"):
        torch.cuda.set_rng_state(state["cuda_generator"], trainer.machine.device)
