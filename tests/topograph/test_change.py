from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from topograph.change import (
    exploration_rate,
    jaccard,
    jaccard_matrix,
    mask_changes,
    rank_correlation,
    rank_correlation_matrix,
)
from topograph.errors import TopographError

shapes = {"conv.weight": (3, 2, 2), "fc.weight": (4, 5), "bias": (3,)}


def masks_of(shape_of: dict[str, tuple[int, ...]]) -> st.SearchStrategy[dict[str, np.ndarray]]:
    return st.fixed_dictionaries(
        {name: arrays.arrays(bool, shape) for name, shape in shape_of.items()}
    )


def positions(masks: dict[str, np.ndarray]) -> set[tuple[str, tuple[int, ...]]]:
    """Return the kept weights of masks, one by one."""
    return {
        (name, tuple(index)) for name, mask in masks.items() for index in np.argwhere(mask).tolist()
    }


@given(masks_of(shapes), masks_of(shapes))
def test_overlap_is_that_of_the_sets(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    first, second = positions(a), positions(b)
    expected = len(first & second) / len(first | second) if first | second else 1.0
    assert jaccard(a, b) == expected
    assert jaccard(dict(reversed(b.items())), a) == expected


def test_tensors_masks_and_single_arrays_are_read() -> None:
    torch = pytest.importorskip("torch")
    pwmpr = pytest.importorskip("pwmpr.masks")
    a = {"w": torch.tensor([[True, True], [False, True]])}
    b = {"w": torch.tensor([[True, False], [True, True]])}
    assert (
        jaccard(a, b) == jaccard(pwmpr.Masks(a), pwmpr.Masks(b)) == jaccard(a["w"], b["w"]) == 0.5
    )
    assert jaccard([[2.5, -1], [0, 1]], [[1, 0], [1, 1]]) == 0.5


def test_empty_masks_overlap_in_full() -> None:
    assert jaccard([0, 0], [0, 0]) == 1
    assert jaccard([0, 0], [0, 1]) == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"w": [1, 0]}, {"v": [1, 0]}),
        ({"w": [1, 0]}, {"w": [1, 0], "v": [1]}),
        ({"w": [1, 0]}, {"w": [[1, 0]]}),
        ([1, 0, 1], [1, 0]),
    ],
)
def test_masks_of_other_shapes_are_refused(a: object, b: object) -> None:
    for call in (lambda: jaccard(a, b), lambda: list(mask_changes([a, b]))):
        with pytest.raises(TopographError, match="expected the same parameters and shapes"):
            call()


@pytest.mark.parametrize("mask", [None, "abc", [[1, 0], [1]], object(), {"w": "abc"}])
def test_what_is_no_mask_is_refused(mask: object) -> None:
    with pytest.raises(TopographError, match="expected a mask"):
        jaccard(mask, mask)


series = st.lists(masks_of(shapes), min_size=1, max_size=5)


@given(series)
def test_every_update_is_logged_as_the_sets_change(snapshots: list[dict[str, np.ndarray]]) -> None:
    sets = [positions(masks) for masks in snapshots]
    size = sum(math.prod(shape) for shape in shapes.values())
    changes = list(mask_changes(snapshots))
    assert len(changes) == len(sets)
    for k, change in enumerate(changes):
        before = sets[k - 1] if k else set()
        assert change.step == k
        assert change.active == len(sets[k])
        assert change.kept == len(sets[k] & before)
        assert change.grown == len(sets[k] - before)
        assert change.pruned == len(before - sets[k])
        assert change.explored == len(set().union(*sets[: k + 1])) / size
        if k:
            assert change.jaccard == jaccard(snapshots[k - 1], snapshots[k])
        else:
            assert math.isnan(change.jaccard)
    assert exploration_rate(snapshots) == changes[-1].explored
    matrix = jaccard_matrix(snapshots)
    assert (matrix == matrix.T).all()
    for i, j in combinations(range(len(snapshots)), 2):
        assert matrix[i, j] == jaccard(snapshots[i], snapshots[j])


def test_masks_that_change_in_place_are_followed() -> None:
    def training() -> Iterator[dict[str, np.ndarray]]:
        mask = np.array([True, True, False, False])
        for k in range(3):
            yield {"w": mask}
            mask[k], mask[k + 2 if k < 2 else 0] = False, True

    changes = list(mask_changes(training()))
    assert [change.kept for change in changes] == [0, 1, 1]
    assert [change.explored for change in changes] == [0.5, 0.75, 1.0]


def test_no_snapshot_explores_nothing() -> None:
    assert math.isnan(exploration_rate([]))
    assert jaccard_matrix([]).shape == (0, 0)


def tau_b(a: list[int], b: list[int]) -> float:
    """Return Kendall's τ-b over all pairs, by its definition."""
    pairs = list(combinations(range(len(a)), 2))
    order = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    agreement = sum(x * y for x, y in order)
    untied_a = sum(x != 0 for x, _ in order)
    untied_b = sum(y != 0 for _, y in order)
    return float(agreement / math.sqrt(untied_a * untied_b)) if untied_a and untied_b else math.nan


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25))
def test_rank_correlation_is_tau_b_over_all_pairs(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    expected = tau_b(a, b)
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert rank_correlation(b, a) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_rank_correlation_of_special_sequences() -> None:
    degrees = np.array([5, 3, 9, 9, 0])
    assert rank_correlation(degrees, degrees) == pytest.approx(1)
    assert rank_correlation(degrees, -degrees) == pytest.approx(-1)
    assert rank_correlation(degrees, degrees**2 + 1) == pytest.approx(1)
    assert math.isnan(rank_correlation(degrees, np.full(5, 7)))
    assert math.isnan(rank_correlation([], []))


def test_rank_correlations_of_a_series() -> None:
    rng = np.random.default_rng(0)
    snapshots = [rng.integers(0, 6, 20) for _ in range(4)]
    matrix = rank_correlation_matrix(snapshots)
    for i in range(4):
        for j in range(4):
            expected = tau_b(snapshots[i].tolist(), snapshots[j].tolist())
            assert matrix[i, j] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("a", "b"), [([1, 2], [1, 2, 3]), ([1, math.nan], [1, 2]), ([[1, 2]], [[1, 2]]), ("ab", "ab")]
)
def test_sequences_that_do_not_fit_are_refused(a: object, b: object) -> None:
    with pytest.raises(TopographError, match="expected"):
        rank_correlation(a, b)
