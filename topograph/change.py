"""How a network's connections change over training: overlap, turnover, exploration, rank order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topograph.errors import TopographError
from topograph.graph.scaled import FloatArray


@dataclass(frozen=True)
class MaskChange:
    """What one update of the masks did.

    Attributes
    ----------
    step
        Number of the snapshot, from 0 on.
    kept, grown, pruned
        Weights that were there before and still are, are new, and are gone. At step 0 all
        weights are new.
    jaccard
        Overlap with the snapshot before, 0 to 1; NaN at step 0.
    explored
        Part of all weights that have been there in this or an earlier snapshot, 0 to 1.
    """

    step: int
    kept: int
    grown: int
    pruned: int
    jaccard: float
    explored: float

    @property
    def active(self) -> int:
        """Number of weights in this snapshot."""
        return self.kept + self.grown


def jaccard(masks_a: Any, masks_b: Any) -> float:
    """Return how much two masks overlap: |A ∩ B| / |A ∪ B|, 0 to 1.

    Over all weights of all parameters together. 1 where neither mask keeps any.

    Parameters
    ----------
    masks_a, masks_b
        Two mappings from the same parameter names to masks of the same shapes, or two masks:
        arrays or tensors in which what is not 0 is kept.

    Raises
    ------
    TopographError
        If names or shapes differ.

    References
    ----------
    Jaccard 1912, "The distribution of the flora in the alpine zone".

    Examples
    --------
    >>> jaccard({"w": [[1, 1, 0]]}, {"w": [[0, 1, 1]]})
    0.3333333333333333
    """
    return _jaccard(_read(masks_a, "masks_a"), _read(masks_b, "masks_b"))


def jaccard_matrix(snapshots: Iterable[Any]) -> FloatArray:
    """Return the overlap of every two masks of a series, float64 of shape (n, n).

    Parameters
    ----------
    snapshots
        Masks as in :func:`jaccard`; all are held in memory, eight weights a byte.

    Examples
    --------
    >>> jaccard_matrix([[1, 1, 0], [0, 1, 1], [0, 1, 0]]).round(2).tolist()
    [[1.0, 0.33, 0.5], [0.33, 1.0, 0.5], [0.5, 0.5, 1.0]]
    """
    masks = [_read(mask, f"snapshots[{k}]") for k, mask in enumerate(snapshots)]
    result = np.eye(len(masks))
    for i, first in enumerate(masks):
        for j, second in enumerate(masks[:i]):
            result[i, j] = result[j, i] = _jaccard(first, second)
    return result


def mask_changes(snapshots: Iterable[Any]) -> Iterator[MaskChange]:
    """Yield what every update did to the masks: kept, grown, pruned, overlap, exploration.

    Reads one snapshot after another and holds no more than three at a time.

    Parameters
    ----------
    snapshots
        Masks in order of time, as in :func:`jaccard`.

    Raises
    ------
    TopographError
        If names or shapes differ.

    References
    ----------
    Overlap: the survival paper, appendix I. Exploration: Liu et al. 2021, "Do we actually need
    dense over-parameterization? In-time over-parameterization in sparse training" (their R_s).

    Examples
    --------
    >>> for change in mask_changes([[1, 1, 0, 0], [0, 1, 1, 0]]):
    ...     print(change.kept, change.grown, change.pruned, change.jaccard, change.explored)
    0 2 0 nan 0.5
    1 1 1 0.3333333333333333 0.75
    """
    before: _Bits | None = None
    for step, snapshot in enumerate(snapshots):
        now = _read(snapshot, f"snapshots[{step}]")
        if before is None:
            ever, kept, pruned, overlap = now.bits, 0, 0, float("nan")
        else:
            overlap = _jaccard(before, now)
            kept = _ones(before.bits & now.bits)
            pruned = _ones(before.bits) - kept
            ever = ever | now.bits
        explored = _ones(ever) / now.size if now.size else float("nan")
        yield MaskChange(step, kept, _ones(now.bits) - kept, pruned, overlap, explored)
        before = now


def exploration_rate(snapshots: Iterable[Any]) -> float:
    """Return the part of all weights that has been there in any snapshot, 0 to 1 (ITOP's R_s).

    NaN where there is no snapshot.

    Parameters
    ----------
    snapshots
        Masks in order of time, as in :func:`jaccard`.

    References
    ----------
    Liu et al. 2021, "Do we actually need dense over-parameterization? In-time
    over-parameterization in sparse training".

    Examples
    --------
    >>> exploration_rate([[1, 1, 0, 0], [0, 1, 1, 0]])
    0.75
    """
    explored = float("nan")
    for change in mask_changes(snapshots):
        explored = change.explored
    return explored


def rank_correlation(degrees_a: Any, degrees_b: Any) -> float:
    """Return Kendall's τ-b of two degree sequences, -1 to 1.

    Over all pairs of nodes, those in the same order minus those in opposite order, over the
    geometric mean of the numbers of pairs that are not tied in the one and in the other. NaN where
    all of one sequence is tied, or there are fewer than two nodes.

    Parameters
    ----------
    degrees_a, degrees_b
        Numbers of the same nodes at two times, of one shape (n,).

    Raises
    ------
    TopographError
        If the sequences differ in length or are no numbers.

    References
    ----------
    Kendall 1945, "The treatment of ties in ranking problems"; the survival paper, figure 20.

    Examples
    --------
    >>> rank_correlation([1, 2, 3, 3], [1, 3, 2, 2])
    0.2
    """
    from scipy.stats import kendalltau

    a, b = _sequence(degrees_a, "degrees_a"), _sequence(degrees_b, "degrees_b")
    if len(a) != len(b):
        raise TopographError(
            f"degrees_a has {len(a)} entries and degrees_b {len(b)}; expected the same nodes in "
            "both",
            "take both from graphs of one network",
        )
    if len(a) < 2 or (a == a[0]).all() or (b == b[0]).all():
        return float("nan")
    return float(kendalltau(a, b, variant="b").statistic)


def rank_correlation_matrix(snapshots: Sequence[Any]) -> FloatArray:
    """Return Kendall's τ-b of every two degree sequences of a series, float64 of shape (n, n).

    Parameters
    ----------
    snapshots
        Degree sequences of the same nodes, in order of time.

    References
    ----------
    The survival paper, figure 20.

    Examples
    --------
    >>> rank_correlation_matrix([[1, 2, 3], [1, 2, 3], [3, 2, 1]]).tolist()
    [[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    result = np.empty((len(snapshots), len(snapshots)))
    for i, first in enumerate(snapshots):
        for j, second in enumerate(snapshots[: i + 1]):
            result[i, j] = result[j, i] = rank_correlation(first, second)
    return result


@dataclass(frozen=True, eq=False)
class _Bits:
    """Masks as packed bits, parameter after parameter in the order of their names.

    Every parameter begins a byte; the bits that fill up its last one are 0.
    """

    shapes: dict[str, tuple[int, ...]]
    bits: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())


def _read(masks: Any, name: str) -> _Bits:
    """Return masks as bits; a single mask goes by the empty name."""
    each = (
        {str(key): _mask(masks[key], f"{name}[{key!r}]") for key in masks}
        if isinstance(masks, Mapping)
        else {"": _mask(masks, name)}
    )
    names = sorted(each)
    packed = [np.packbits(each[key], axis=None) for key in names]
    bits = np.concatenate([np.empty(0, np.uint8), *packed])
    return _Bits({key: each[key].shape for key in names}, bits)


def _ones(bits: NDArray[np.uint8]) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def _jaccard(a: _Bits, b: _Bits) -> float:
    if a.shapes != b.shapes:
        names = sorted(
            name
            for name in a.shapes.keys() | b.shapes.keys()
            if a.shapes.get(name) != b.shapes.get(name)
        )
        one = names[0]
        raise TopographError(
            f"the masks differ in {', '.join(map(repr, names[:5]))} (the shape of {one!r} is "
            f"{a.shapes.get(one)} and {b.shapes.get(one)}); expected the same parameters and "
            "shapes",
            "take both masks from one model",
        )
    either = _ones(a.bits | b.bits)
    return _ones(a.bits & b.bits) / either if either else 1.0


def _mask(given: Any, name: str) -> NDArray[np.bool_]:
    mask = _array(given)
    if mask is None or mask.dtype.kind not in "biuf":
        raise TopographError(
            f"{name} is a {type(given).__name__}; expected a mask (an array or a tensor in which "
            "what is not 0 is kept) or a mapping from parameter names to masks",
            "pass e.g. a model's masks by parameter name",
        )
    return mask != 0


def _sequence(given: Any, name: str) -> NDArray[Any]:
    numbers = _array(given)
    if (
        numbers is None
        or numbers.ndim != 1
        or numbers.dtype.kind not in "biuf"
        or not np.isfinite(numbers).all()
    ):
        raise TopographError(
            f"{name} is no sequence of finite numbers; expected one number a node, of shape (n,)",
            "pass e.g. topograph.degree(graph)",
        )
    return numbers


def _array(given: Any) -> NDArray[Any] | None:
    """Return an array or a tensor of any device as an array, or ``None``."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError):
        return None
