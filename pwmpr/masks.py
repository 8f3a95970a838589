"""Which weights of a network are kept: `Masks`.

A mask is held as packed bits, eight weights to a byte, that nothing outside can reach: reading one
unpacks a fresh bool tensor. Fifty snapshots of a network of 25 M weights are 160 MB.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pwmpr import maskfile
from pwmpr.attach import Attached
from pwmpr.scope import parameters_named, weights_in_scope
from topograph.errors import TopographError


class Masks(Mapping[str, Tensor]):
    """The kept weights of a network: an immutable mapping parameter name -> bool tensor.

    Parameters
    ----------
    masks : mapping
        Parameter name -> tensor (or array) of the parameter's shape: bool, or numbers that are all
        0 or 1. True is kept. The values are copied.

    Attributes
    ----------
    count : int
        Kept weights.
    size : int
        All weights in scope.
    density : float
        ``count / size``.
    counts, densities, shapes : dict
        The same per parameter name.

    Raises
    ------
    TopographError
        If the mapping is empty, a value is not 0 or 1, or no weight at all is kept.

    Notes
    -----
    Reading ``masks[name]`` gives a fresh CPU tensor, so changing it changes nothing. Two masks are
    equal if they have the same names, shapes and bits, in any order; the order of the names is the
    order in which ties between layers are broken.

    Examples
    --------
    >>> masks = Masks({"a.weight": torch.eye(3), "b.weight": torch.tensor([[True, False, True]])})
    >>> masks
    Masks(5 of 12 weights kept, density 0.4167, in 2 parameters)
    >>> masks.counts
    {'a.weight': 3, 'b.weight': 2}
    >>> masks["b.weight"]
    tensor([[ True, False,  True]])
    """

    __slots__ = ("_bits", "_counts", "_shapes")
    _bits: dict[str, NDArray[np.uint8]]
    _shapes: dict[str, tuple[int, ...]]
    _counts: dict[str, int]

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        if not isinstance(masks, Mapping):
            raise TopographError(
                f"masks is a {type(masks).__name__}; expected a mapping parameter name -> tensor",
                'pass e.g. Masks({"fc.weight": mask})',
            )
        bits, shapes = {}, {}
        for name, mask in masks.items():
            if not isinstance(name, str):
                raise TopographError(
                    f"mask name {name!r} is a {type(name).__name__}; expected a parameter name",
                    "use the names of model.named_parameters()",
                )
            kept = _checked_bool(name, mask)
            bits[name] = np.packbits(kept.reshape(-1))
            shapes[name] = kept.shape
        self._set(bits, shapes)

    def _set(self, bits: dict[str, NDArray[np.uint8]], shapes: dict[str, tuple[int, ...]]) -> None:
        for packed in bits.values():
            packed.setflags(write=False)
        counts = {name: int(np.bitwise_count(p).sum(dtype=np.int64)) for name, p in bits.items()}
        if not bits:
            raise TopographError(
                "masks is empty; expected a mask for at least one parameter",
                "name the weights to mask, e.g. Masks.dense(model)",
            )
        if not any(counts.values()):
            raise TopographError(
                f"empty mask: none of {sum(map(math.prod, shapes.values()))} weights is kept; "
                "expected at least one",
                "raise the density",
            )
        object.__setattr__(self, "_bits", bits)
        object.__setattr__(self, "_shapes", shapes)
        object.__setattr__(self, "_counts", counts)

    @classmethod
    def _packed(
        cls, bits: dict[str, NDArray[np.uint8]], shapes: dict[str, tuple[int, ...]]
    ) -> Masks:
        masks = cls.__new__(cls)
        masks._set(bits, shapes)
        return masks

    @classmethod
    def dense(cls, model: nn.Module, names: Iterable[str] | None = None) -> Masks:
        """Return masks that keep every weight of these parameters (all in scope by default)."""
        weights = _named_or_in_scope(model, names)
        return cls({n: torch.ones(w.shape, dtype=torch.bool) for n, w in weights.items()})

    @classmethod
    def from_model(cls, model: nn.Module, names: Iterable[str] | None = None) -> Masks:
        """Return the masks that a model's exact zeros tell (of all weights in scope by default)."""
        weights = _named_or_in_scope(model, names)
        return cls({n: (w.detach() != 0).cpu() for n, w in weights.items()})

    def __setattr__(self, name: str, value: object) -> None:
        raise TopographError(
            f"Masks are immutable; {name!r} cannot be set", "build new masks: Masks({...})"
        )

    def __getstate__(self) -> tuple[object, object]:
        return self._bits, self._shapes

    def __setstate__(
        self, state: tuple[dict[str, NDArray[np.uint8]], dict[str, tuple[int, ...]]]
    ) -> None:
        self._set(*state)

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        flat = np.unpackbits(self._bits[name], count=math.prod(shape)).view(np.bool_)
        return torch.from_numpy(flat).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def __contains__(self, name: object) -> bool:
        return name in self._bits

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return self._shapes == other._shapes and all(
            np.array_equal(packed, other._bits[name]) for name, packed in self._bits.items()
        )

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return (
            f"Masks({self.count:,} of {self.size:,} weights kept, density {self.density:.4g}, "
            f"in {len(self)} parameters)"
        )

    @property
    def count(self) -> int:
        """Number of kept weights."""
        return sum(self._counts.values())

    @property
    def size(self) -> int:
        """Number of weights, kept or not."""
        return sum(math.prod(shape) for shape in self._shapes.values())

    @property
    def density(self) -> float:
        """Kept weights over all weights in scope."""
        return self.count / self.size

    @property
    def counts(self) -> dict[str, int]:
        """Kept weights by parameter name."""
        return dict(self._counts)

    @property
    def densities(self) -> dict[str, float]:
        """Density by parameter name (0 for a parameter with no weights)."""
        return {n: self._counts[n] / max(math.prod(s), 1) for n, s in self._shapes.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by parameter name."""
        return dict(self._shapes)

    def apply_(self, model: nn.Module) -> None:
        """Set the model's masked weights to 0, in place.

        Raises
        ------
        TopographError
            If a name is no parameter of the model or a shape differs.
        """
        with torch.no_grad():
            for name, parameter in parameters_named(model, self._shapes).items():
                parameter.masked_fill_(~self[name].to(parameter.device), 0)

    def attach(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, state: str = "dense"
    ) -> Attached:
        """Keep the model's masked weights at 0 while this optimiser trains it.

        ``state="kept"`` steps the kept weights alone and has optimiser state for no others: the
        same weights, less memory and time below a density of about 0.2. See
        :class:`pwmpr.attach.Attached`.
        """
        return Attached(self, model, optimizer, state)

    def added(self, other: Masks) -> dict[str, Tensor]:
        """Return, per parameter, the flat indices kept here and not in ``other``, ascending."""
        self._check_same_layout(other)
        added = {}
        for name, packed in self._bits.items():
            size = math.prod(self._shapes[name])
            fresh = np.unpackbits(packed & ~other._bits[name], count=size)
            added[name] = torch.from_numpy(np.flatnonzero(fresh).astype(np.int64))
        return added

    def union(self, other: Masks) -> Masks:
        """Return the masks that keep what either keeps."""
        self._check_same_layout(other)
        bits = {name: packed | other._bits[name] for name, packed in self._bits.items()}
        return Masks._packed(bits, dict(self._shapes))

    def with_added(self, indices: Mapping[str, Tensor]) -> Masks:
        """Return the masks that also keep these positions.

        Parameters
        ----------
        indices : mapping
            Parameter name -> flat indices (int64), each missing so far and given once.

        Raises
        ------
        TopographError
            If a name is unknown, or an index is out of range, repeated or kept already.
        """
        bits = dict(self._bits)
        for name, index in indices.items():
            if name not in bits:
                raise TopographError(
                    f"{name!r} has no mask; expected one of {', '.join(list(bits)[:4])}, ...",
                    "add positions to masked parameters only",
                )
            flat = torch.as_tensor(index, dtype=torch.int64).cpu().numpy().reshape(-1)
            size = math.prod(self._shapes[name])
            if flat.size and not (flat.min() >= 0 and flat.max() < size):
                raise TopographError(
                    f"indices of {name!r} reach from {flat.min()} to {flat.max()}; "
                    f"expected 0 to {size - 1}",
                    "pass flat row-major positions",
                )
            kept = np.unpackbits(bits[name], count=size)
            before = self._counts[name]
            kept[flat] = 1
            bits[name] = np.packbits(kept)
            if int(np.bitwise_count(bits[name]).sum(dtype=np.int64)) != before + flat.size:
                raise TopographError(
                    f"indices of {name!r} repeat each other or name kept weights; "
                    "expected missing positions, each once",
                    "choose among ~masks[name]",
                )
        return Masks._packed(bits, dict(self._shapes))

    def digest(self) -> str:
        """Return the SHA-256 of names, shapes and bits as 64 hexadecimal digits.

        Masks that are equal have the same digest, on every machine.
        """
        sha = hashlib.sha256()
        for name in sorted(self._bits):
            sha.update(json.dumps([name, self._shapes[name]]).encode())
            sha.update(self._bits[name].tobytes())
        return sha.hexdigest()

    def state_dict(self) -> dict[str, tuple[tuple[int, ...], Tensor]]:
        """Return parameter name -> (shape, packed bits as a uint8 vector), for checkpoints."""
        return {
            name: (self._shapes[name], torch.from_numpy(packed.copy()))
            for name, packed in self._bits.items()
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, tuple[tuple[int, ...], Tensor]]) -> Masks:
        """Return the masks that `state_dict` told.

        Examples
        --------
        >>> masks = Masks({"weight": torch.eye(3)})
        >>> Masks.from_state_dict(masks.state_dict()) == masks
        True
        """
        bits, shapes = {}, {}
        for name, (shape, packed) in state.items():
            bits[name], shapes[name] = packed.cpu().numpy().copy(), tuple(shape)
        return cls._packed(bits, shapes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the masks to a safetensors file, all or nothing.

        The file appears under its name only when it is complete and on the disk; what was there
        before stays until then.

        Raises
        ------
        TopographError
            If the file cannot be written.
        """
        maskfile.write(Path(path), self._bits, self._shapes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Masks:
        """Read masks that :meth:`save` wrote.

        Raises
        ------
        TopographError
            If the file is missing, torn, or no mask file.
        """
        return cls._packed(*maskfile.read(Path(path)))

    def _check_same_layout(self, other: object) -> None:
        if not isinstance(other, Masks) or self._shapes != other._shapes:
            raise TopographError(
                f"{other!r} does not cover the same parameters as {self!r}",
                "compare masks of one model and one scope",
            )


def _checked_bool(name: str, mask: object) -> NDArray[np.bool_]:
    try:
        tensor = torch.as_tensor(mask).detach().cpu()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TopographError(
            f"the mask of {name!r} is a {type(mask).__name__}; expected a bool tensor",
            "pass a tensor of the parameter's shape",
        ) from error
    if tensor.dtype != torch.bool:
        kept = tensor == 1
        if tensor.is_complex() or not bool((kept | (tensor == 0)).all()):
            bad = tensor[~(kept | (tensor == 0))].flatten()[:1].tolist() or [tensor.dtype]
            raise TopographError(
                f"the mask of {name!r} holds {bad[0]}; expected True and False, or 0 and 1",
                "pass a bool tensor, e.g. weight != 0",
            )
        tensor = kept
    array: NDArray[np.bool_] = tensor.contiguous().numpy()
    return array


def _named_or_in_scope(model: nn.Module, names: Iterable[str] | None) -> dict[str, nn.Parameter]:
    if names is None:
        return weights_in_scope(model)
    known = dict(model.named_parameters(remove_duplicate=False))
    return parameters_named(model, {n: tuple(known[n].shape) if n in known else () for n in names})
