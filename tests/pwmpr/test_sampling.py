"""Samples follow the law of successive drawing; the largest are the largest; counts are exact."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from pwmpr.sampling import (
    best,
    largest,
    positions,
    probes,
    sample_uniformly,
    sample_without_replacement,
)
from topograph.errors import TopographError


def set_probabilities(weights, count):
    """P(set) under drawing one after the other ∝ weight, by enumeration of every ordered draw."""
    total = Counter()
    for order in permutations([i for i, w in enumerate(weights) if w > 0], count):
        left, probability = sum(weights), 1.0
        for i in order:
            probability *= weights[i] / left
            left -= weights[i]
        total[frozenset(order)] += probability
    return total


def layered(weights, split, dtype=torch.float32):
    flat = torch.tensor(weights, dtype=dtype)
    return {"a": flat[:split], "b": flat[split:].reshape(1, -1)}


def drawn_set(drawn, split):
    return frozenset(drawn["a"].tolist()) | {split + i for i in drawn["b"].tolist()}


def p_value(weights, count, draws, draw):
    """Chi-square of drawn sets against the enumerated law; rare sets are pooled."""
    law = set_probabilities(weights, count)
    assert sum(law.values()) == pytest.approx(1)
    seen = Counter(draw() for _ in range(draws))
    assert set(seen) <= set(law)
    common = [s for s, p in law.items() if p * draws >= 5]
    observed = [seen[s] for s in common]
    expected = [law[s] * draws for s in common]
    rest = sum(p for s, p in law.items() if s not in common) * draws
    if rest > 0:
        observed.append(draws - sum(observed))
        expected.append(rest)
    return chisquare(observed, np.array(expected) * draws / sum(expected)).pvalue


@pytest.fixture
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(positions, "CHUNK", 2)
    monkeypatch.setattr(best, "SLACK", 0)


@pytest.fixture
def short_spans(monkeypatch):
    # Too few clocks ring in the first span, so that most draws need several.
    monkeypatch.setattr(probes, "with_margin", lambda count, step: 0.4 * count)


WEIGHTS = [5.0, 0.0, 3.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sample_follows_the_law_of_successive_drawing(count, dtype):
    rng = np.random.default_rng(count)
    weights = layered(WEIGHTS, 2, dtype)
    p = p_value(
        WEIGHTS,
        count,
        4000,
        lambda: drawn_set(sample_without_replacement(weights, count, rng), 2),
    )
    assert p > 1e-3


@pytest.mark.parametrize("variant", ["tiny_chunks", "short_spans"])
def test_law_is_the_same_in_tiny_chunks_and_in_several_spans(variant, request):
    request.getfixturevalue(variant)
    rng = np.random.default_rng(7)
    weights = layered(WEIGHTS, 2)
    for count in (2, 3):
        p = p_value(
            WEIGHTS,
            count,
            3000,
            lambda count=count: drawn_set(sample_without_replacement(weights, count, rng), 2),
        )
        assert p > 1e-3


def test_law_holds_for_weights_that_no_product_of_floats_could_carry():
    weights = [1e300, 5e-300, 2e-300, 1e-300, 5e-324]
    rng = np.random.default_rng(3)
    tensors = layered(weights, 1, torch.float64)
    seen = Counter(drawn_set(sample_without_replacement(tensors, 2, rng), 1) for _ in range(3000))
    observed = [seen[frozenset({0, i})] for i in (1, 2, 3)]
    assert sum(observed) == 3000
    assert chisquare(observed, np.array([5, 2, 1]) / 8 * 3000).pvalue > 1e-3


def test_many_weak_positions_do_not_beat_one_strong_position():
    # 24-bit random numbers alone are 0 once in 2^24 draws, and 0 would win over any weight.
    weights = {"a": torch.full((4_000_000,), 1e-13)}
    weights["a"][3_999_999] = 1.0
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert sample_without_replacement(weights, 1, rng)["a"].tolist() == [3_999_999]


def test_inclusion_frequencies_of_a_large_draw_match_numpy():
    # 200 of 1,000: compared by the mean weight drawn, with numpy's own successive sampling.
    rng = np.random.default_rng(5)
    weight = rng.lognormal(0, 2, 1000)
    scores = {"a": torch.from_numpy(weight)}
    ours = [weight[sample_without_replacement(scores, 200, rng)["a"]].sum() for _ in range(300)]
    theirs = [
        weight[rng.choice(1000, 200, replace=False, p=weight / weight.sum())].sum()
        for _ in range(300)
    ]
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(300)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def test_zeros_are_drawn_uniformly_and_only_when_positives_run_out():
    weights = {"a": torch.tensor([0.0, 2.0, 0.0]), "b": torch.tensor([0.0, 1.0, 0.0])}
    free = {"a": torch.tensor([True, True, True]), "b": torch.tensor([False, True, True])}
    rng = np.random.default_rng(0)
    seen = Counter()
    for _ in range(1500):
        drawn = drawn_set(sample_without_replacement(weights, 3, rng, free), 3)
        assert {1, 4} < drawn
        seen.update(drawn - {1, 4})
    assert set(seen) == {0, 2, 5}
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_uniform_sample_is_uniform_over_sets():
    free = {"a": torch.tensor([True, False, True]), "b": torch.tensor([[True, True, True]])}
    rng = np.random.default_rng(0)
    seen = Counter(drawn_set(sample_uniformly(free, 2, rng), 3) for _ in range(3000))
    assert len(seen) == 10
    assert 1 not in frozenset().union(*seen)
    assert chisquare(list(seen.values())).pvalue > 1e-3


@st.composite
def layers(draw):
    number = draw(st.integers(1, 4))
    weight = st.sampled_from([0.0, 0.0, 1e-30, 0.5, 0.5, 1.0, 3.0, 1e30])
    names = [f"layer{i}" for i in range(number)]
    rows = {
        name: draw(st.lists(st.tuples(weight, st.booleans()), min_size=0, max_size=12))
        for name in names
    }
    weights = {n: torch.tensor([w for w, _ in r], dtype=torch.float32) for n, r in rows.items()}
    free = {n: torch.tensor([f for _, f in r], dtype=torch.bool) for n, r in rows.items()}
    total = int(sum(f.sum() for f in free.values()))
    return weights, free, draw(st.integers(0, total)), draw(st.integers(0, 2**32))


@given(layers())
def test_counts_are_exact_and_positives_come_first(case):
    weights, free, count, seed = case
    drawn = sample_without_replacement(weights, count, np.random.default_rng(seed), free)
    again = sample_without_replacement(weights, count, np.random.default_rng(seed), free)
    assert list(drawn) == list(weights)
    zeros = positives = 0
    for name, index in drawn.items():
        assert index.dtype == torch.int64
        assert torch.equal(index, again[name])
        assert torch.equal(index, index.unique())
        assert free[name][index].all()
        zeros += int((weights[name][index] == 0).sum())
        positives += int((weights[name][index] > 0).sum())
    assert zeros + positives == count
    reachable = sum(int(((weights[n] > 0) & free[n]).sum()) for n in weights)
    assert positives == min(count, reachable)


@given(layers())
def test_largest_agrees_with_sorting(case):
    weights, free, count, _ = case
    flat = torch.cat([weights[n] for n in weights]).double().numpy()
    ok = torch.cat([free[n] for n in weights]).numpy()
    order = [i for i in np.lexsort((np.arange(flat.size), -flat)) if ok[i]][:count]
    old = positions.CHUNK, best.SLACK
    try:
        for positions.CHUNK, best.SLACK in (old, (3, 0)):
            chosen = largest(weights, count, free)
            start, found = 0, []
            for name, index in chosen.items():
                found += (index + start).tolist()
                start += weights[name].numel()
            assert found == sorted(order)
    finally:
        positions.CHUNK, best.SLACK = old


def test_largest_compares_exactly_across_precisions():
    just_above = 1.0 + 1e-12
    weights = {
        "half": torch.tensor([1.0, 0.5], dtype=torch.float16),
        "double": torch.tensor([just_above, 1.0 - 1e-12], dtype=torch.float64),
        "single": torch.tensor([1.0, 1.0]),
    }
    chosen = largest(weights, 3)
    assert {n: i.tolist() for n, i in chosen.items()} == {
        "half": [0],
        "double": [0],
        "single": [0],
    }


def test_a_threshold_of_another_precision_drops_nothing(tiny_chunks):
    below = 1.0 - 1e-12
    weights = {"double": torch.full((9,), below, dtype=torch.float64), "single": torch.ones(1)}
    assert [i.tolist() for i in largest(weights, 1).values()] == [[], [0]]


def test_more_positions_than_2_to_the_24():
    weight = torch.full((2**24 + 1000,), 1e-9)
    weight[-3:] = 1.0
    scores = {"small": torch.ones(4), "huge": weight}
    drawn = sample_without_replacement(scores, 5000, np.random.default_rng(0))
    assert drawn["small"].tolist() == [0, 1, 2, 3]
    assert drawn["huge"].numel() == 4996
    assert drawn["huge"][-3:].tolist() == [2**24 + 997, 2**24 + 998, 2**24 + 999]
    # The rest is spread evenly: each quarter has about a quarter.
    quarters = torch.histc(drawn["huge"].float(), 4, 0, 2**24)
    assert chisquare(quarters.numpy(), quarters.numpy().sum() / np.full(4, 4.0)).pvalue > 1e-3
    assert [i.numel() for i in largest(scores, 7).values()] == [4, 3]


def test_memory_layout_does_not_matter():
    weight = torch.rand(6, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    last = weight.to(memory_format=torch.channels_last)
    a = sample_without_replacement({"w": weight}, 40, np.random.default_rng(1))
    b = sample_without_replacement({"w": last}, 40, np.random.default_rng(1))
    assert torch.equal(a["w"], b["w"])


RNG = np.random.default_rng(0)
ONES = {"a": torch.ones(3)}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample_without_replacement({}, 1, RNG), "no layer"),
        (lambda: sample_without_replacement({"a": [1.0]}, 1, RNG), "list"),
        (lambda: sample_without_replacement({"a": torch.tensor([-1.0])}, 1, RNG), "nonnegative"),
        (lambda: sample_without_replacement({"a": torch.tensor([1.0, np.nan])}, 1, RNG), "nan"),
        (lambda: sample_without_replacement({"a": torch.tensor([1.0, np.inf])}, 1, RNG), "inf"),
        (lambda: sample_without_replacement({"a": torch.ones(2).cfloat()}, 1, RNG), "complex"),
        (lambda: sample_without_replacement(ONES, 4, RNG), "at most the 3"),
        (lambda: sample_without_replacement(ONES, -1, RNG), "count is -1"),
        (lambda: sample_without_replacement(ONES, 1.5, RNG), "count is 1.5"),
        (lambda: sample_without_replacement(ONES, 1, 0), "numpy.random.Generator"),
        (lambda: sample_without_replacement(ONES, 1, RNG, {"a": torch.ones(3)}), "torch.bool"),
        (lambda: sample_without_replacement(ONES, 1, RNG, {"b": torch.ones(3)}), "NoneType"),
        (lambda: largest({"a": torch.tensor([np.nan])}, 1), "nan"),
        (lambda: sample_uniformly({"a": torch.ones(3)}, 1, RNG), "torch.bool"),
        (lambda: sample_uniformly({"a": torch.zeros(3, dtype=torch.bool)}, 1, RNG), "the 0"),
    ],
)
def test_bad_input_is_refused_with_the_value(call, words):
    with pytest.raises(TopographError, match="Remedy") as caught:
        call()
    assert words in str(caught.value)
