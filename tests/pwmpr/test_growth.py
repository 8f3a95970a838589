"""Growth adds exactly as many weights as asked, where its rule says, and touches nothing else."""

import copy
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional as F

from pwmpr.growth import GrowthStep, grow, growth_rules, register, select
from pwmpr.masks import Masks
from topograph.errors import TopographError


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


SHAPES = {"0.weight": (8, 6), "2.weight": (8, 8), "4.weight": (3, 8)}


def some_masks(kept=40, seed=0):
    size = sum(a * b for a, b in SHAPES.values())
    flat = torch.zeros(size, dtype=torch.bool)
    flat[torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:kept]] = True
    parts = torch.split(flat, [a * b for a, b in SHAPES.values()])
    return Masks({n: p.reshape(s) for (n, s), p in zip(SHAPES.items(), parts, strict=True)})


def path_scores(model, masks):
    """S as the gradient of R by plain autograd: |θ|, no bias, no activation, ones as input."""
    weights = {
        n: (model.get_parameter(n).detach().abs() * masks[n]).requires_grad_() for n in masks
    }
    x = torch.ones(6)
    for weight in weights.values():
        x = weight @ x
    return dict(zip(weights, torch.autograd.grad(x.sum(), weights.values()), strict=True))


def added(new, old):
    return {(n, i) for n, index in new.added(old).items() for i in index.tolist()}


@given(
    st.integers(1, 136),
    st.sampled_from([0.01, 0.06, 0.12, 0.25, 0.29, 0.3, 1.0, 2.0]),
    st.sampled_from(["random", "pwmpr", "pwmp"]),
    st.integers(0, 2**40),
)
def test_counts_are_exact_and_the_old_masks_are_kept(kept, fraction, rule, seed):
    masks, model = some_masks(kept), network()
    before, digest = copy.deepcopy(model.state_dict()), masks.digest()
    wanted = int(round(fraction * 100) * kept // 100)
    if not 0 < wanted <= masks.size - kept:
        return
    scores = path_scores(model, masks)
    new = grow(model, masks, fraction, rule, scores=scores, seed=seed)
    assert new.count == kept + wanted
    assert new.union(masks) == new
    assert masks.digest() == digest
    assert new == grow(model, masks, fraction, rule, scores=scores, seed=seed)
    for name, weight in model.state_dict().items():
        expected = before[name].clone()
        if name in SHAPES:
            expected[new[name] & ~masks[name]] = 0
        assert torch.equal(weight, expected)


@pytest.mark.parametrize("rule", ["random", "pwmpr"])
def test_seeds_decide_and_every_step_draws_anew(rule):
    model, masks = network(), some_masks()
    scores = {n: torch.ones(s) for n, s in SHAPES.items()}
    one, other = (grow(model, masks, 0.25, rule, scores=scores, seed=s) for s in (1, 2))
    assert one != other
    generator = np.random.default_rng(1)
    first = grow(model, masks, 0.25, rule, scores=scores, generator=generator)
    second = grow(model, masks, 0.25, rule, scores=scores, generator=generator)
    assert first != second
    assert first == grow(
        model, masks, 0.25, rule, scores=scores, generator=np.random.default_rng(1)
    )
    # The same seed at two sizes: not one stream cut at two places.
    layer, eye = nn.Linear(16, 16), torch.eye(16)
    small, large = Masks({"weight": eye}), Masks({"weight": eye + eye.roll(1, 0)})
    scores = {"weight": torch.ones(16, 16)}
    grown = [added(grow(layer, m, count=20, rule=rule, scores=scores), m) for m in (small, large)]
    assert len(grown[0] & grown[1]) < 10


def tiny(kept):
    return Masks({"a": torch.tensor(kept[:2]), "b": torch.tensor([kept[2:]])})


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(2))
        self.b = nn.Parameter(torch.ones(1, 4))


def test_pwmpr_samples_missing_weights_in_proportion_to_their_scores():
    masks = tiny([True, False, False, False, True, False])
    scores = {"a": torch.tensor([9.0, 4.0]), "b": torch.tensor([[2.0, 1.0, 9.0, 0.0]])}
    model, rng = Tiny(), np.random.default_rng(0)
    seen = Counter(
        frozenset(added(grow(model, masks, count=2, scores=scores, generator=rng), masks))
        for _ in range(2000)
    )
    weight = {("a", 1): 4.0, ("b", 0): 2.0, ("b", 1): 1.0}
    law = {
        frozenset(pair): sum(
            weight[x] / 7 * weight[y] / (7 - weight[x]) for x, y in (pair, pair[::-1])
        )
        for pair in combinations(weight, 2)
    }
    assert set(seen) == set(law)
    assert chisquare([seen[s] for s in law], [law[s] * 2000 for s in law]).pvalue > 1e-3


def test_random_growth_is_uniform_over_layers():
    masks = tiny([True, False, False, False, False, True])
    model, rng = Tiny(), np.random.default_rng(0)
    seen = Counter()
    for _ in range(1200):
        seen.update(added(grow(model, masks, count=1, rule="random", generator=rng), masks))
    assert len(seen) == 4
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_pwmp_takes_the_largest_scores_ties_to_the_lower_position():
    model, masks = network(), some_masks()
    scores = path_scores(model, masks)
    new = grow(model, masks, count=20, rule="pwmp", scores=scores)
    flat = torch.cat([scores[n].masked_fill(masks[n], -1).flatten() for n in masks])
    order = torch.sort(flat, descending=True, stable=True).indices[:20]
    grown = torch.cat([(new[n] & ~masks[n]).flatten() for n in masks])
    assert set(grown.nonzero().flatten().tolist()) == set(order.tolist())


@pytest.mark.parametrize("rule", ["pwmp", "gradient", "momentum"])
def test_of_equal_scores_the_first_missing_positions_grow(rule):
    model, masks = network(), some_masks()
    scores = {name: torch.ones(shape) for name, shape in masks.shapes.items()}
    new = grow(model, masks, count=20, rule=rule, scores=scores)
    missing = torch.cat([~masks[n].flatten() for n in masks])
    grown = torch.cat([(new[n] & ~masks[n]).flatten() for n in masks])
    assert grown.nonzero().flatten().tolist() == missing.nonzero().flatten()[:20].tolist()


def test_path_rules_take_their_scores_from_the_tensor_path():
    model, masks = network(), some_masks()
    masks.apply_(model)
    x = torch.randn(1, 6)
    step = GrowthStep(model, masks, np.random.default_rng(0), x)
    expected, found = path_scores(model, masks), step.path_scores()
    scale = sum(float(s.sum()) for s in found.values())
    total = sum(float(s.sum()) for s in expected.values())
    for name, score in found.items():
        assert torch.allclose(score.double() / scale, expected[name].double() / total, rtol=1e-4)
    for rule in ("pwmpr", "pwmp"):
        new = grow(model, masks, rule=rule, example_input=x)
        assert new.count == 50
        assert new == grow(model, masks, rule=rule, example_input=x, scores=found)


class Normed(nn.Module):
    """Batch norm, dropout and a weight that the loss does not depend on."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(8, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.second(self.drop(self.norm(self.first(x)).relu()))


def normed_masks():
    generator = torch.Generator().manual_seed(3)
    shapes = {"first.weight": (8, 6), "second.weight": (3, 8), "unused.weight": (3, 3)}
    return Masks({n: torch.rand(s, generator=generator) < 0.4 for n, s in shapes.items()})


def one_batch():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(16, 6, generator=generator), torch.arange(16) % 3


def test_gradient_growth_takes_the_largest_dense_gradients():
    model, masks = Normed().eval(), normed_masks()
    batch = one_batch()
    # The model still holds its dense weights: only kept ones may count.
    kept = copy.deepcopy(model)
    masks.apply_(kept)
    F.cross_entropy(kept(batch[0]), batch[1]).backward()
    gradients = {n: kept.get_parameter(n).grad for n in masks}
    gradients = {n: torch.zeros(3, 3) if g is None else g for n, g in gradients.items()}
    new = grow(model, masks, count=12, rule="gradient", batch=batch)
    chosen = torch.cat([(new[n] & ~masks[n]).flatten() for n in masks])
    size = torch.cat([gradients[n].abs().masked_fill(masks[n], -1).flatten() for n in masks])
    assert chosen.sum() == 12
    assert size[chosen].min() >= size[~chosen].max()
    own = grow(
        model,
        masks,
        count=12,
        rule="gradient",
        batch={"x": batch[0], "y": batch[1]},
        loss=lambda model, batch: 3 * F.cross_entropy(model(batch["x"]), batch["y"]),
    )
    assert own == new


def test_gradient_growth_leaves_the_model_as_it_was():
    model, masks, batch = Normed().train(), normed_masks(), one_batch()
    model.drop.eval()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    model.first.bias.requires_grad_(False)
    model.unused.weight.requires_grad_(False)
    parameters = {n: (p, p.detach().clone()) for n, p in model.named_parameters()}
    storages = {n: p.data_ptr() for n, p in model.named_parameters()}
    grads = {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
    buffers = {n: (b, b.clone()) for n, b in model.named_buffers()}
    modes = [m.training for m in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    random = torch.get_rng_state()

    def loss(model, batch):
        model.eval()
        model.train()
        return F.cross_entropy(model(batch[0]), batch[1])

    new = grow(model, masks, count=6, rule="gradient", batch=batch, loss=loss)

    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    for name, buffer in model.named_buffers():
        assert buffer is buffers[name][0]
        assert torch.equal(buffer, buffers[name][1])
    for name, parameter in model.named_parameters():
        old, value = parameters[name]
        assert parameter is old
        assert parameter.data_ptr() == storages[name]
        if name in masks:
            value[new[name] & ~masks[name]] = 0
        assert torch.equal(parameter, value)
        if grads[name] is None:
            assert parameter.grad is None
        else:
            assert torch.equal(parameter.grad, grads[name])


def test_the_last_step_is_cut_to_the_target():
    model, masks = network(), some_masks(40)
    densities = [masks.density]
    while masks.density < 0.5:
        masks = grow(model, masks, 0.25, "random", target=0.5)
        densities.append(masks.density)
    assert masks.count == 136 // 2
    assert masks.density == 0.5
    assert [round(d * 136) for d in densities] == [40, 50, 62, 68]
    assert grow(model, masks, rule="random", target=0.5) is masks
    odd = grow(model, masks, 1.0, "random", target=0.999)
    assert odd.count == int(0.999 * 136)


def test_missing_weights_may_hold_anything():
    model, masks = network(), some_masks()
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name)[~mask] = float("nan")
    new = grow(model, masks, rule="random")
    kept = [model.get_parameter(name)[mask] for name, mask in new.items()]
    assert torch.cat(kept).isfinite().all()
    batch = (torch.randn(4, 6), torch.arange(4) % 3)
    assert grow(model, masks, rule="gradient", batch=batch).count == 50


def test_growing_all_that_is_missing():
    model, masks = network(), some_masks(130)
    with pytest.warns(UserWarning, match="6 are missing: all of them"):
        full = grow(model, masks, 0.25, "random")
    assert full.density == 1
    assert full == grow(model, masks, 0.25, "random", target=1.0)
    assert grow(model, full, rule="random", target=1.0) is full
    with pytest.raises(TopographError, match="all 136 weights are kept"):
        grow(model, full, rule="random")


def test_unreachable_positions_are_used_only_in_the_end():
    masks = tiny([True, False, False, False, False, False])
    scores = {"a": torch.zeros(2), "b": torch.tensor([[0.0, 1e-20, 1e20, 0.0]])}
    for rule in ("pwmpr", "pwmp"):
        two = grow(Tiny(), masks, count=2, rule=rule, scores=scores)
        assert added(two, masks) == {("b", 1), ("b", 2)}
        three = grow(Tiny(), masks, count=3, rule=rule, scores=scores)
        assert added(three, masks) > {("b", 1), ("b", 2)}


def test_an_attached_optimiser_goes_on_with_grown_masks():
    model, masks = network(), some_masks()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    handle = masks.attach(model, optimizer)
    x, y = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3
    for _ in range(3):
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        new = grow(model, handle.masks, rule="gradient", batch=(x, y))
        fresh = new.added(handle.masks)
        handle.update(new)
        for name, index in fresh.items():
            weight = model.get_parameter(name)
            assert (weight.flatten()[index] == 0).all()
            assert (optimizer.state[weight]["momentum_buffer"].flatten()[index] == 0).all()
    assert handle.masks.count == 77
    assert Masks.from_model(model).count <= 77


@register("lowest-position")
def lowest(step, count):
    """Test rule: the first missing positions."""
    flags = torch.cat([~step.masks[n].flatten() for n in step.masks])
    left = flags.nonzero().flatten()[:count]
    first, out = 0, {}
    for name, mask in step.masks.items():
        inside = (left >= first) & (left < first + mask.numel())
        out[name] = left[inside] - first
        first += mask.numel()
    return out


@register("one-short")
def one_short(step, count):
    return lowest(step, count - 1)


@register("kept-ones")
def kept_ones(step, count):
    return {"0.weight": step.masks["0.weight"].flatten().nonzero().flatten()[:count]}


def test_a_rule_of_ones_own():
    model, masks = network(), some_masks()
    new = grow(model, masks, count=3, rule="lowest-position")
    missing = (~masks["0.weight"]).flatten().nonzero().flatten()[:3]
    assert added(new, masks) == {("0.weight", i) for i in missing.tolist()}
    assert growth_rules()["lowest-position"] == "Test rule: the first missing positions."
    step = GrowthStep(model, masks, np.random.default_rng(0))
    assert added(masks.with_added(select("lowest-position", step, 3)), masks) == added(new, masks)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(TopographError, match="chose 3 positions; expected exactly 4"):
        grow(model, masks, count=4, rule="one-short")
    with pytest.raises(TopographError, match="kept weights"):
        grow(model, masks, count=4, rule="kept-ones")
    assert all(torch.equal(before[n], w) for n, w in model.state_dict().items())
    with pytest.raises(TopographError, match="exists already"):
        register("random")(one_short)


def poisoned():
    model = network()
    with torch.no_grad():
        model[0].weight[some_masks()["0.weight"].nonzero()[0].tolist()[0]] = float("nan")
    return model


ONES = {n: torch.ones(s) for n, s in SHAPES.items()}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, k: grow(m, k, rule="gradients"), 'did you mean rule="gradient"'),
        (lambda m, k: grow(m, k), "example_input is None"),
        (lambda m, k: grow(m, k, rule="gradient"), "batch is None"),
        (lambda m, k: grow(m, k, rule="gradient", batch=3), "(inputs, labels)"),
        (
            lambda m, k: grow(m, k, rule="gradient", batch=1, loss=lambda m, b: torch.ones(1)),
            "scalar tensor with a gradient",
        ),
        (
            lambda m, k: grow(
                m, k, rule="gradient", batch=1, loss=lambda m, b: m(torch.ones(1, 6)).sum() / 0
            ),
            "not finite",
        ),
        (lambda m, k: grow(m, k, 0.0, "random"), "fraction is 0.0"),
        (lambda m, k: grow(m, k, -1, "random"), "fraction is -1"),
        (lambda m, k: grow(m, k, float("nan"), "random"), "fraction is nan"),
        (lambda m, k: grow(m, k, 0.02, "random"), "⌊0.02 · 40 kept weights⌋ is 0"),
        (lambda m, k: grow(m, k, count=0, rule="random"), "count is 0"),
        (lambda m, k: grow(m, k, count=1.5, rule="random"), "count is 1.5"),
        (lambda m, k: grow(m, k, rule="random", target=1.2), "target is 1.2"),
        (lambda m, k: grow(m, k, rule="random", target=0.1), "target is 0.1 (13 of 136"),
        (lambda m, k: grow(m, k, rule="random", seed=-1), "seed is -1"),
        (lambda m, k: grow(m, k, rule="random", generator=torch.Generator()), "numpy.random"),
        (lambda m, k: grow(m, {}, rule="random"), "masks is empty"),
        (lambda m, k: grow(nn.Linear(6, 8), k, rule="random"), "is no parameter"),
        (lambda m, k: grow(poisoned(), k, rule="random"), "NaN or infinite"),
        (lambda m, k: grow(m, k, scores={}), "no scores for '0.weight'"),
        (lambda m, k: grow(m, k, scores={**ONES, "0.weight": torch.ones(2)}), "expected (8, 6)"),
        (
            lambda m, k: grow(m, k, scores={**ONES, "0.weight": torch.full((8, 6), torch.nan)}),
            "nan",
        ),
        (
            lambda m, k: select("random", GrowthStep(m, k, np.random.default_rng(0)), 97),
            "at most the 96",
        ),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(TopographError, match="Remedy") as caught:
        call(network(), some_masks())
    assert words in str(caught.value)
