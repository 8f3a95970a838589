"""What a run trains on, and every setting that makes it fast there.

What each of them is worth prints ``benchmarks/training_defaults.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from pwmpr.settings import Settings
from topograph.errors import TopographError

# mallopt(3) parameter numbers of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Machine:
    """Where and how a run computes; stands in the run's settings file.

    Attributes
    ----------
    device
        ``"cpu"``, ``"cuda:0"``, …
    name
        The processor or card.
    precision
        ``"bf16"`` (autocast; weights and optimiser stay float32) or ``"fp32"``.
    threads
        CPU threads; results are bit-identical at the same number only.
    channels_last
        Whether convolutions run in channels-last layout.
    allocator
        ``"glibc, thresholds raised"`` or ``"default"``.
    """

    device: str
    name: str
    precision: str
    threads: int
    channels_last: bool
    allocator: str

    def autocast(self) -> torch.autocast:
        """Return the context in which forward passes run."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16")

    def optimizer_state(self, settings: Settings) -> str:
        """Return the setting of that name with "auto" resolved.

        On a GPU, gathering every parameter costs launches of its own (not measured), so only
        sparse kernels, which need it, bring it there.
        """
        if settings.optimizer_state != "auto":
            return settings.optimizer_state
        return "kept" if self.device == "cpu" or settings.kernels != "masked" else "dense"

    def lay_out(self, model: nn.Module) -> None:
        """Move a model to the device and its weights into the fast layout, in place."""
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Use this machine's threads; leave global state and generators as they were found."""
        threads = torch.get_num_threads()
        benchmark = torch.backends.cudnn.benchmark
        devices = [self.device] if self.device.startswith("cuda") else []
        try:
            torch.set_num_threads(self.threads)
            torch.backends.cudnn.benchmark = True
            with torch.random.fork_rng(devices=devices):
                yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.benchmark = benchmark

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain values."""
        return asdict(self)


def choose_machine(settings: Settings, model: nn.Module) -> Machine:
    """Return the machine that a run's settings ask for, and raise the allocator's thresholds.

    Raises
    ------
    TopographError
        If the device is not there.
    """
    device = find_device(settings.device)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _fast_bfloat16(device) else "fp32"
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    allocator = keep_freed_memory() if device.type == "cpu" else "default"
    return Machine(
        device=str(device),
        name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        precision=precision,
        threads=settings.threads or torch.get_num_threads(),
        channels_last=convolutional,
        allocator=allocator,
    )


def keep_freed_memory() -> str:
    """Let glibc reuse large freed blocks instead of handing them back to the kernel every step.

    PyTorch frees and asks again for its large tensors at every step; by default each is a fresh
    mapping whose pages fault in one by one (up to half of the time of a step). Both thresholds
    must be raised together. Numbers do not change.

    Returns
    -------
    str
        What the allocator is now; ``"default"`` where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return "default"
    try:
        libc = ctypes.CDLL("libc.so.6")
        raised = libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(
            _M_TRIM_THRESHOLD, 2**31 - 1
        )
    except (OSError, AttributeError):
        return "default"
    return "glibc, thresholds raised" if raised else "default"


def find_device(wanted: str) -> torch.device:
    """Return the device that a setting means, on this process's card.

    Raises
    ------
    TopographError
        If there is no such device.
    """
    # torchrun says which of a node's processes this is; each has a card of its own.
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if wanted == "auto":
        return torch.device(f"cuda:{place}" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" or (wanted.startswith("cuda") and "LOCAL_RANK" in os.environ):
        wanted = f"cuda:{place}"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise TopographError(
            f'device is {wanted!r}; expected "auto", "cpu", "cuda" or "cuda:<number>"',
            'pass e.g. device="auto"',
        ) from None
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise TopographError(
                f"device is {wanted!r}, and this machine has {torch.cuda.device_count()} usable "
                "CUDA devices",
                'pass device="cpu", or install a CUDA build of PyTorch',
            )
    elif device.type != "cpu":
        raise TopographError(
            f"device is {wanted!r}; expected the CPU or a CUDA device", 'pass device="auto"'
        )
    return device


def _fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 products run in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = _capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _processor() -> str:
    return str(_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def _capabilities() -> dict[str, Any]:
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found
