"""Random walks follow their step probabilities, checked by enumerating all walks."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.stats import chisquare

from pwmpr.starts.walks import Options, walk

# Node 0 leads to 1 (two taps, of 1 and 2) and, by an identity arc of 1, to 2; 1 leads to 2 or 3.
NODE = np.array([0, 0, 0, 1, 1, 2])
MASS = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 5.0])
FOLLOWING = np.array([1, 1, 2, 2, 3, 3])
POSITION = np.array([10, 11, -1, 12, 13, 14])
EXPECTED = {
    (10, 12, 14): 1 / 4 * 3 / 4,
    (10, 13): 1 / 4 * 1 / 4,
    (11, 12, 14): 2 / 4 * 3 / 4,
    (11, 13): 2 / 4 * 1 / 4,
    (-1, 14): 1 / 4,
}


def options(shuffle: int = 0) -> Options:
    order = np.random.default_rng(shuffle).permutation(len(NODE))
    return Options.grouped(5, NODE[order], MASS[order], FOLLOWING[order], POSITION[order])


def paths_of(count: int, seed: int) -> Counter[tuple[int, ...]]:
    ends = np.array([False, False, False, True, False])
    done = walk(options(), np.zeros(count, dtype=int), ends, np.random.default_rng(seed))
    assert done.complete.all()
    order = np.lexsort((done.step, done.walk))
    cuts = np.searchsorted(done.walk[order], np.arange(1, count))
    return Counter(tuple(path.tolist()) for path in np.split(done.position[order], cuts))


def test_walk_probabilities_by_enumeration() -> None:
    count = 20_000
    seen = paths_of(count, seed=1)
    assert set(seen) == set(EXPECTED)
    expected = [count * probability for probability in EXPECTED.values()]
    assert chisquare([seen[path] for path in EXPECTED], expected).pvalue > 1e-3


def test_same_seed_same_walks() -> None:
    assert paths_of(50, seed=4) == paths_of(50, seed=4)


def test_a_dead_end_is_told_from_an_arrival() -> None:
    ends = np.array([False, False, False, True, False])
    done = walk(options(), np.array([4, 0, 3]), ends, np.random.default_rng(0))
    assert done.complete.tolist() == [False, True, True]  # node 4 leads nowhere; 3 is an end


def test_options_of_mass_zero_are_never_taken() -> None:
    mass = np.array([1.0, 0.0])
    only = Options.grouped(3, np.array([0, 0]), mass, np.array([1, 2]), np.array([0, 1]))
    drawn = only.draw(np.zeros(1000, dtype=int), np.random.default_rng(0))
    assert (only.following[drawn] == 1).all()
    assert only.draw(np.array([1]), np.random.default_rng(0)).tolist() == [-1]
