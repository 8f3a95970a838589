"""Start masks: exact counts, the laws of PHEW's walks, and refusals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

from pwmpr.starts import initial_masks, start_rules
from pwmpr.starts.network import network
from pwmpr.starts.walks import walk
from topograph.errors import TopographError


class Bottleneck(nn.Module):
    """Two inputs, a residual block of width 2 with a bottleneck of 1, one output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1, bias=False)
        self.down = nn.Conv2d(2, 1, 1, bias=False)
        self.up = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.head = nn.Linear(2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.up(self.down(x).relu())
        return self.head(x.relu().mean((2, 3)))


def bottleneck() -> Bottleneck:
    torch.manual_seed(5)
    return Bottleneck()


def walk_probabilities(model: Bottleneck) -> dict[tuple[str, ...], float]:
    """All forward walks from input 0, by hand: names of the weights crossed -> probability."""
    stem, down, up = (
        layer.weight.detach().abs().double() for layer in (model.stem, model.down, model.up)
    )
    expected: dict[tuple[str, ...], float] = {}
    for a in range(2):  # from input 0 to stream channel a
        p_stem = float(stem[a, 0] / stem[:, 0].sum())
        onward = float(down[0, a]) + 1.0  # the bottleneck's edge, and the identity of mass 1
        expected[f"stem{a}0", f"head{a}"] = p_stem / onward
        p_down = p_stem * float(down[0, a]) / onward
        for b in range(2):
            for tap in range(9):
                p_up = float(up[b, 0].reshape(-1)[tap] / up.sum())
                expected[f"stem{a}0", f"down{a}", f"up{b}tap{tap}", f"head{b}"] = p_down * p_up
    return expected


def test_walks_through_a_residual_bottleneck_follow_enumeration() -> None:
    model = bottleneck()
    seen = network(model, torch.zeros(1, 2, 4, 4))
    names = {
        **{
            seen.first["stem.weight"] + 2 * a + i: f"stem{a}{i}" for a in range(2) for i in range(2)
        },
        **{seen.first["down.weight"] + a: f"down{a}" for a in range(2)},
        **{
            seen.first["up.weight"] + 9 * b + tap: f"up{b}tap{tap}"
            for b in range(2)
            for tap in range(9)
        },
        **{seen.first["head.weight"] + b: f"head{b}" for b in range(2)},
    }
    at_end = np.zeros(seen.n_nodes, dtype=bool)
    at_end[seen.outputs] = True
    count = 40_000
    starts = np.full(count, seen.inputs[0])
    done = walk(seen.forward, starts, at_end, np.random.default_rng(2))
    assert done.complete.all()
    crossed = done.position >= 0  # identity arcs cross no weight
    order = np.lexsort((done.step[crossed], done.walk[crossed]))
    walks, positions = done.walk[crossed][order], done.position[crossed][order]
    paths = np.split(positions, np.searchsorted(walks, np.arange(1, count)))
    counted = Counter(tuple(names[int(p)] for p in path) for path in paths)
    expected = walk_probabilities(model)
    assert sum(expected.values()) == pytest.approx(1)
    assert set(counted) <= set(expected)
    assert min(expected.values()) * count > 5  # enough of every path for the test of fit
    observed = [counted[path] for path in expected]
    wanted = [count * probability for probability in expected.values()]
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_backward_walks_mirror_forward_ones() -> None:
    model = bottleneck()
    seen = network(model, torch.zeros(1, 2, 4, 4))
    up, down = model.up.weight.detach().abs(), model.down.weight.detach().abs()
    head = model.head.weight.detach().abs()[0]
    at_end = np.zeros(seen.n_nodes, dtype=bool)
    at_end[seen.inputs] = True
    count = 40_000
    starts = np.full(count, seen.outputs[0])
    done = walk(seen.backward, starts, at_end, np.random.default_rng(3))
    through = np.isin(done.position, seen.first["down.weight"] + np.arange(2))
    # From the output to stream channel b ∝ head, then into the bottleneck ∝ Σ_taps up[b] against 1.
    into = up.sum((1, 2, 3))
    expected = float((head / head.sum() * into / (into + 1)).sum())
    assert through.sum() / count == pytest.approx(expected, abs=0.01)
    from_first = done.position[through] == seen.first["down.weight"]
    assert from_first.mean() == pytest.approx(float(down[0, 0] / down.sum()), abs=0.02)


def chain() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4)
    )


@pytest.mark.parametrize("rule", start_rules())
@pytest.mark.parametrize("density", [0.05, 1 / 3, 0.9, 1.0])
def test_counts_are_exact_and_seeded(rule: str, density: float) -> None:
    example = torch.zeros(1, 8)
    batch = torch.linspace(-1, 1, 48).reshape(6, 8), torch.arange(6) % 4
    size = 8 * 16 + 16 * 12 + 12 * 4
    masks = initial_masks(chain(), density, rule, example, seed=3, batch=batch)
    assert masks.count == int(density * size + 1e-9)
    assert masks == initial_masks(chain(), density, rule, example, seed=3, batch=batch)
    if density < 1 and rule not in ("snip", "grasp", "synflow"):  # these leave nothing to chance
        assert masks != initial_masks(chain(), density, rule, example, seed=4)


def test_every_weight_that_phew_keeps_but_the_last_walk_s_is_on_a_path() -> None:
    model = chain()
    masks = initial_masks(model, 0.1, "phew", torch.zeros(1, 8), seed=0)
    reach_in = torch.ones(8, dtype=torch.bool)
    stray = 0
    for name in masks:
        kept = masks[name]
        stray += int((kept & ~reach_in[None]).sum())
        reach_in = (kept & reach_in[None]).any(1)
    assert stray <= 2  # only the last walk may be cut


def test_phew_prefers_strong_paths() -> None:
    model = chain()
    masks = initial_masks(model, 0.2, "phew", torch.zeros(1, 8))
    weight = model[2].weight.detach().abs()
    assert weight[masks["2.weight"]].mean() > 1.2 * weight[~masks["2.weight"]].mean()


def test_dense_layers_are_walked_through_and_not_counted() -> None:
    model = chain()
    masks = initial_masks(model, 0.1, "phew", torch.zeros(1, 8), dense=["4"])
    assert list(masks) == ["0.weight", "2.weight"]
    assert masks.count == (8 * 16 + 16 * 12) // 10


def test_pooled_and_flattened_features_are_walked_through() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 9, 6),
        nn.Unflatten(1, (2, 3)),
        nn.AvgPool1d(3),
        nn.Flatten(),
        nn.Linear(2, 2),
    )
    masks = initial_masks(model, 0.5, "phew", torch.zeros(1, 1, 6, 6))
    assert masks.count == (36 + 216 + 4) // 2
    assert all(masks.counts.values())


def test_a_density_that_walks_cannot_reach_is_refused() -> None:
    model = chain()
    with torch.no_grad():
        model[2].weight[:6] = 0
    with pytest.raises(TopographError, match="no longer finds new ones"):
        initial_masks(model, 1.0, "phew", torch.zeros(1, 8))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"density": 0.0}, "expected a number in \\(0, 1\\]"),
        ({"density": 1.5}, "expected a number in \\(0, 1\\]"),
        ({"density": 0.001}, "keeps none"),
        ({"rule": "phe"}, 'did you mean rule="phew"'),
        ({"rule": "phew"}, "needs an example_input"),
        ({"rule": "erk", "seed": -1}, "expected a whole number"),
        ({"rule": "erk", "dense": ["nine"]}, "matches no parameter"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(TopographError, match=words):
        initial_masks(chain(), **arguments)  # type: ignore[arg-type]


def test_nan_weights_are_refused() -> None:
    model = chain()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(TopographError, match="NaN"):
        initial_masks(model, 0.1, "erk")


def test_the_model_is_not_changed() -> None:
    model = chain()
    before = [parameter.clone() for parameter in model.parameters()]
    initial_masks(model, 0.1, "phew", torch.zeros(1, 8))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
