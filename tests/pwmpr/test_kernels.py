"""Sparse linear layers give what masked dense ones give, and leave the model as it was."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.nn import functional as F

from pwmpr.breakeven import break_even
from pwmpr.kernels import Pattern, SparseLayers, eligible_layers, sparse_linear, why_not
from pwmpr.masks import Masks
from topograph.errors import TopographError

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@given(
    outputs=st.integers(1, 30),
    inputs=st.integers(1, 40),
    leading=st.lists(st.integers(1, 5), max_size=3),
    density=st.floats(0, 1),
    bias=st.booleans(),
    turned=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 999),
)
@settings(max_examples=150, deadline=None)
def test_values_and_gradients_are_those_of_the_masked_dense_layer(
    outputs, inputs, leading, density, bias, turned, dtype, seed
):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    mask = torch.rand(outputs, inputs, generator=generator) < density
    mask[-1, -1] = True
    x = normal(*leading, inputs).requires_grad_()
    weight = normal(inputs, outputs).T if turned else normal(outputs, inputs)
    weight = weight.requires_grad_()
    offset = normal(outputs).requires_grad_() if bias else None
    leaves = [leaf for leaf in (x, weight, offset) if leaf is not None]
    out = sparse_linear(x, weight, offset, Pattern(weight, mask))
    expected = F.linear(x, weight * mask, offset)
    # Float tolerance: sums of up to 150 products in another order.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=10 * tolerance)
    assert out.is_contiguous()
    grad = normal(*out.shape)
    found = torch.autograd.grad(out, leaves, grad)
    wanted = torch.autograd.grad(expected, leaves, grad)
    for a, b in zip(found, wanted, strict=True):
        dense = a.to_dense() if a.layout == torch.sparse_coo else a
        torch.testing.assert_close(dense, b, rtol=tolerance, atol=10 * tolerance)
    assert not found[1].to_dense()[~mask].any()


def masks_for(model, density=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    names = [n for n, p in model.named_parameters() if n.endswith("weight") and p.dim() > 1]
    return Masks(
        {n: torch.rand(model.get_parameter(n).shape, generator=generator) < density for n in names}
    )


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32), nn.ReLU(),
        nn.Linear(32, 5, bias=False),
    )  # fmt: skip


class Block(nn.Module):
    """Attention, whose projections are not called as modules, beside layers that are."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.up, self.down = nn.Linear(16, 48), nn.Linear(48, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(x).flatten(0, 1).view(len(x), -1, 5).mean(1)


class Twice(nn.Module):
    """A layer that runs twice, whose weight a function uses as well."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x):
        x = torch.tanh(self.inner(torch.tanh(self.inner(x))))
        return self.head(x + F.linear(x, self.inner.weight) + self.inner.weight.sum())


class Convolutional(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16, 8),
            nn.ReLU(),
            nn.Linear(8, 5),
        )


MODELS = {
    "mlp": (mlp, (64,)),
    "block": (Block, (3, 16)),
    "twice": (Twice, (16,)),
    "convolutional": (Convolutional, (1, 4, 4)),
}


def made(kind):
    torch.manual_seed(0)
    return MODELS[kind][0]()


def data(kind, steps):
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(5, *MODELS[kind][1], generator=generator)
    for _ in range(steps):
        y = torch.randint(0, 5, (16,), generator=generator)
        yield centres[y] + 0.5 * torch.randn(16, *MODELS[kind][1], generator=generator), y


def losses(kind, sparse, make, changes=(), steps=50, micro=1, dtype=torch.float32):
    """Train and return the losses and the model; ``changes`` are masks for later steps."""
    model = made(kind).to(dtype)
    optimizer = make(model.parameters())
    masks = masks_for(model)
    handle = masks.attach(model, optimizer, state="kept" if sparse else "dense")
    found = []
    for step, (x, y) in enumerate(data(kind, steps)):
        if step in dict(changes):
            handle.update(masks_for(model, *dict(changes)[step]))
        x = x.to(dtype)
        optimizer.zero_grad()
        for part in range(micro):
            if sparse:
                with handle.sparse_layers().computing():
                    loss = F.cross_entropy(model(x[part::micro]), y[part::micro])
            else:
                loss = F.cross_entropy(model(x[part::micro]), y[part::micro])
            loss.backward()
        optimizer.step()
        found.append(loss.item())
    return torch.tensor(found, dtype=dtype), model, handle


# Rounding errors grow from step to step; in float64 they stay so small that an error would show.
@pytest.mark.parametrize(
    ("dtype", "first", "later"), [(torch.float64, 1e-12, 1e-8), (torch.float32, 1e-5, 5e-3)]
)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    lambda p: optim.AdamW(p, 3e-3),
], ids=["sgd", "adamw"])  # fmt: skip
def test_fifty_steps_have_the_losses_of_masked_training_to_float_tolerance(
    kind, make, dtype, first, later
):
    # Masks change on the way: other ones, denser ones, all kept (dense kernels then), few.
    changes = [(10, (0.2, 1)), (20, (0.5, 1)), (30, (1.0, 1)), (40, (0.1, 2))]
    found, model, handle = losses(kind, True, make, changes, dtype=dtype)
    expected, _, _ = losses(kind, False, make, changes, dtype=dtype)
    torch.testing.assert_close(found[:5], expected[:5], rtol=first, atol=first)
    torch.testing.assert_close(found, expected, rtol=later, atol=later)
    assert len(found.unique()) == 50
    assert handle.sparse_layers().names
    for name, mask in handle.masks.items():
        assert not model.get_parameter(name)[~mask].any()


@pytest.mark.parametrize("kind", ["mlp", "twice"])
def test_several_backward_passes_add_up(kind):
    make = lambda p: optim.SGD(p, 0.05, momentum=0.9)  # noqa: E731
    found, _, _ = losses(kind, True, make, micro=4, steps=10)
    expected, _, _ = losses(kind, False, make, micro=4, steps=10)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_same_twice_bit_for_bit():
    make = lambda p: optim.SGD(p, 0.05, momentum=0.9)  # noqa: E731
    first, model, _ = losses("mlp", True, make, steps=20)
    again, other, _ = losses("mlp", True, make, steps=20)
    assert torch.equal(first, again)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


def test_outside_of_the_block_the_model_is_what_it_was():
    model = mlp()
    masks = masks_for(model)
    masks.apply_(model)
    keys, text = list(model.state_dict()), repr(model)
    layers = SparseLayers(model, masks)
    x = torch.randn(4, 64)
    with layers.computing():
        model(x)
    with pytest.raises(ZeroDivisionError), layers.computing():
        raise ZeroDivisionError
    assert list(model.state_dict()) == keys
    assert repr(model) == text
    assert all(type(m).__name__ != "Linear" or "forward" not in vars(m) for m in model.modules())
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert torch.equal(twin.eval()(x), model.eval()(x))


def test_weights_written_from_outside_count_at_once_where_they_are_kept():
    model = nn.Linear(6, 3)
    masks = masks_for(model, 0.5)
    layers = SparseLayers(model, masks)
    for seed in range(2):
        torch.manual_seed(seed)
        nn.init.normal_(model.weight)
        x = torch.randn(2, 6)
        with layers.computing():
            found = model(x)
        torch.testing.assert_close(found, F.linear(x, model.weight * masks["weight"], model.bias))


def test_which_layers_are_eligible():
    class Own(nn.Linear):
        pass

    model = nn.ModuleDict(
        {
            "plain": nn.Linear(3, 3),
            "long": nn.Linear(3, 3).double(),
            "short": nn.Linear(3, 3).bfloat16(),
            "own": Own(3, 3),
            "first": nn.Linear(3, 3),
            "second": nn.Linear(3, 3),
            "conv": nn.Conv2d(1, 1, 3),
            "patched": nn.Linear(3, 3),
            "unmasked": nn.Linear(3, 3),
            "attention": nn.MultiheadAttention(4, 1),
        }
    )
    model["second"].weight = model["first"].weight
    model["patched"].forward = lambda x: x
    names = [n for n in model.state_dict() if n.endswith("weight") and n != "unmasked.weight"]
    masks = Masks({n: torch.ones(model.state_dict()[n].shape) for n in names})
    assert set(eligible_layers(model, masks)) == {"plain.weight", "long.weight"}


def test_which_layers_compute_sparsely():
    model = mlp()
    ones = torch.ones(5, 32)
    masks = Masks(
        {
            "0.weight": torch.rand(96, 64) < 0.1,
            "3.weight": torch.zeros(32, 96, dtype=torch.bool),
            "5.weight": ones,
        }
    )
    assert SparseLayers(model, masks).names == ("0.weight",)  # neither nothing nor everything kept
    assert SparseLayers(model, masks, below=0.01).names == ()
    assert SparseLayers(model, masks, below={"0.weight": 0.2}).names == ("0.weight",)
    assert SparseLayers(model, masks, below={"5.weight": 0.2}).names == ()


def test_an_empty_batch_and_one_that_does_not_fit():
    model = nn.Linear(6, 3)
    layers = SparseLayers(model, masks_for(model, 0.5))
    with layers.computing():
        assert model(torch.zeros(0, 6)).shape == (0, 3)
        assert model(torch.zeros(6)).shape == (3,)
        with pytest.raises(RuntimeError, match="shape"):
            model(torch.zeros(2, 5))


def test_under_autocast_it_computes_in_float32():
    model = mlp()
    masks = masks_for(model)
    masks.apply_(model)
    x = torch.randn(4, 64)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16), SparseLayers(model, masks).computing():
        found = model(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert model[0].weight.grad.layout == torch.sparse_coo


def test_a_gradient_of_the_gradient_is_refused():
    model = nn.Linear(6, 3)
    x = torch.randn(2, 6, requires_grad=True)
    with SparseLayers(model, masks_for(model, 0.5)).computing():
        out = model(x)
    with pytest.raises(TopographError, match="no gradient of its gradient"):
        torch.autograd.grad(out.sum(), x, create_graph=True)


def test_moved_layers_get_patterns_anew():
    model = nn.Linear(6, 3)
    masks = masks_for(model, 0.5)
    masks.apply_(model)
    layers = SparseLayers(model, masks)
    model.weight.data = model.weight.detach().T.contiguous().T  # column-major from now on
    x = torch.randn(2, 6)
    with layers.computing():
        found = model(x)
    torch.testing.assert_close(found, model(x))


def test_a_timing_says_what_it_measured_and_changes_nothing():
    model = Block().train()
    masks = masks_for(model)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    found = break_even(model, masks, torch.zeros(1, 3, 16), batch=8)
    assert set(found) == {"up.weight", "down.weight", "head.weight"}
    assert {timed.rows for timed in found.values()} == {24}
    for timed in found.values():
        assert 0 <= timed.below <= 1
        assert timed.masked > 0
        assert min(timed.sparse) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_other_devices_are_refused_in_words():
    assert "on the CPU, not on cuda:0" in why_not("cuda:0")
