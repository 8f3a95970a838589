"""Masked weights, gradients and optimiser state stay zero; active weights are untouched."""

import copy
import pickle

import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.nn.utils import parametrize

from pwmpr.masks import Masks
from topograph.errors import TopographError

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "sgd nesterov": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=5e-3, nesterov=True),
    "sgd one by one": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=5e-3, foreach=False),
    "sgd fused": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=5e-3, fused=True),
    "adam": lambda p: optim.Adam(p, 1e-2, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1),
    "adamw fused": lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1, fused=True),
    "nadam": lambda p: optim.NAdam(p, 1e-2, weight_decay=0.1),
    "radam": lambda p: optim.RAdam(p, 1e-2, weight_decay=0.1),
    "adamax": lambda p: optim.Adamax(p, 1e-2, weight_decay=0.1),
    "adagrad": lambda p: optim.Adagrad(p, 1e-2, initial_accumulator_value=0.1),
    "adadelta": lambda p: optim.Adadelta(p, 1e-2, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, 1e-2, momentum=0.9, centered=True, weight_decay=0.1),
    "rprop": lambda p: optim.Rprop(p, 1e-2),
    "asgd": lambda p: optim.ASGD(p, 1e-2, weight_decay=0.1),
}


class Times(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def some_masks(seed=0, density=0.3):
    generator = torch.Generator().manual_seed(seed)
    names = {"0.weight": (4, 2, 3, 3), "3.weight": (8, 64), "5.weight": (3, 8)}
    return Masks({n: torch.rand(s, generator=generator) < density for n, s in names.items()})


def batches(number):
    generator = torch.Generator().manual_seed(1)
    for _ in range(number):
        yield (
            torch.randn(8, 2, 6, 6, generator=generator),
            torch.randint(0, 3, (8,), generator=generator),
        )


def train(model, optimizer, number=5):
    for x, y in batches(number):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def elementwise_state(optimizer, parameter):
    state = optimizer.state[parameter].items()
    return {k: v for k, v in state if torch.is_tensor(v) and v.shape == parameter.shape}


def assert_masked(model, optimizer, masks, start=None):
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        parameter = parameters[name]
        assert (parameter[~mask] == 0).all()
        assert parameter.grad is None or (parameter.grad[~mask] == 0).all()
        for key, value in elementwise_state(optimizer, parameter).items():
            assert (value[~mask] == (start or {}).get(key, 0)).all(), key


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_masked_weights_gradients_and_state_stay_zero_and_active_ones_are_bitwise_right(kind):
    masks = some_masks()
    model, reference = network(), network()
    for name, mask in masks.items():
        module = reference.get_submodule(name.removesuffix(".weight"))
        parametrize.register_parametrization(module, "weight", Times(mask.float()))
    optimizer = OPTIMIZERS[kind](model.parameters())
    masks.attach(model, optimizer)
    train(model, optimizer)
    train(reference, OPTIMIZERS[kind](reference.parameters()))

    # What a weight whose gradient was always 0 has in Adagrad, Rprop and Adamax.
    start = {"sum": 0.1, "step_size": 1e-2, "exp_inf": 1e-8}
    assert_masked(model, optimizer, masks, start)
    for name, mask in masks.items():
        module, prefix = reference, name.removesuffix(".weight")
        original = module.get_submodule(prefix).parametrizations.weight.original
        assert torch.equal(model.get_parameter(name)[mask], original[mask])
    assert torch.equal(model[3].bias, reference[3].bias)
    assert not torch.equal(model[3].bias, network()[3].bias)


def test_adam_without_epsilon_divides_zero_by_zero_at_masked_weights_only_for_a_moment():
    model, masks = network(), some_masks()
    optimizer = optim.Adam(model.parameters(), 1e-2, eps=0)
    masks.attach(model, optimizer)
    train(model, optimizer)
    assert_masked(model, optimizer, masks)


class Noisy(optim.SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(torch.ones_like(p))
        return loss


def test_an_optimiser_that_moves_every_weight_is_masked_after_its_step():
    model, masks = network(), some_masks()
    optimizer = Noisy(model.parameters(), 0.1, momentum=0.9)
    masks.attach(model, optimizer)
    train(model, optimizer)
    assert_masked(model, optimizer, masks)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.1, momentum=0.9),
        lambda p: optim.LBFGS(p, 0.1, max_iter=3),
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_gradients_of_a_closure_are_masked_inside_the_step(make, by_name):
    model, masks = network(), some_masks()
    optimizer = make(model.parameters())
    masks.attach(model, optimizer)
    for x, y in batches(3):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        assert loss.item() > 0
        assert_masked(model, optimizer, masks)


def test_under_a_gradient_scaler_and_a_scheduler():
    model, masks = network(), some_masks()
    optimizer = optim.AdamW(model.parameters(), 1e-2)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    masks.attach(model, optimizer)
    for x, y in batches(3):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
    assert_masked(model, optimizer, masks)


def test_infinite_gradients_of_masked_weights_become_zero():
    model = nn.Linear(2, 1, bias=False)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    Masks({"weight": torch.tensor([[True, False]])}).attach(model, optimizer)
    start = model.weight[0, 0].item()
    model.weight.grad = torch.tensor([[1.0, float("inf")]])
    optimizer.step()
    assert model.weight.tolist() == [[pytest.approx(start - 0.1), 0.0]]
    model.weight.grad = torch.tensor([[1.0, float("nan")]])
    optimizer.step()
    assert model.weight[0, 1] == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_precision_and_memory_layout(dtype, layout):
    model, masks = nn.Conv2d(3, 4, 3).to(dtype).to(memory_format=layout), None
    generator = torch.Generator().manual_seed(0)
    masks = Masks({"weight": torch.rand(4, 3, 3, 3, generator=generator) < 0.3})
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    masks.attach(model, optimizer)
    before = model.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 3, 5, 5, dtype=dtype)).square().mean().backward()
        optimizer.step()
    assert_masked(model, optimizer, masks)
    assert (model.weight[masks["weight"]] != before[masks["weight"]]).all()


def test_a_model_moved_to_another_precision_after_attaching():
    model, masks = network(), some_masks()
    optimizer = optim.SGD(model.parameters(), 0.1)
    masks.attach(model, optimizer)
    train(model, optimizer, 1)
    model.double()
    for x, y in batches(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x.double()), y).backward()
        optimizer.step()
    assert_masked(model, optimizer, masks)


def test_update_starts_new_weights_at_zero_with_fresh_state_and_keeps_the_rest():
    model, old = network(), some_masks(0)
    optimizer = OPTIMIZERS["adagrad"](model.parameters())
    handle = old.attach(model, optimizer)
    train(model, optimizer)
    new = some_masks(1)
    before = {n: model.get_parameter(n).detach().clone() for n in new}
    state = {n: optimizer.state[model.get_parameter(n)]["sum"].clone() for n in new}
    handle.update(new)

    assert handle.masks is new
    for name in new:
        stay = old[name] & new[name]
        weight = model.get_parameter(name)
        accumulated = optimizer.state[weight]["sum"]
        assert torch.equal(weight[stay], before[name][stay])
        assert torch.equal(accumulated[stay], state[name][stay])
        assert (weight[~stay] == 0).all()
        assert (accumulated[~stay] == 0.1).all()
    train(model, optimizer)
    assert_masked(model, optimizer, new, {"sum": 0.1})
    for name in new:
        fresh = new[name] & ~old[name]
        assert (model.get_parameter(name)[fresh] != 0).any()


def test_a_grown_weight_has_no_momentum_from_the_past():
    model = nn.Linear(1, 2, bias=False)
    optimizer = optim.SGD(model.parameters(), 1.0, momentum=0.5)
    handle = Masks({"weight": torch.tensor([[True], [False]])}).attach(model, optimizer)
    for _ in range(3):
        model.weight.grad = torch.ones(2, 1)
        optimizer.step()
    handle.update(Masks({"weight": torch.ones(2, 1)}))
    model.weight.grad = torch.ones(2, 1)
    optimizer.step()
    assert model.weight[1].item() == -1.0


def test_weights_written_from_outside_are_masked_before_the_next_step():
    model, masks = network(), some_masks()
    optimizer = OPTIMIZERS["sgd nesterov"](model.parameters())
    masks.attach(model, optimizer)
    train(model, optimizer)
    model.load_state_dict(network().state_dict())
    train(model, optimizer, 1)
    assert_masked(model, optimizer, masks)


def test_loaded_optimiser_state_is_masked():
    dense = network()
    trained = OPTIMIZERS["sgd nesterov"](dense.parameters())
    train(dense, trained)
    model, masks = network(), some_masks()
    optimizer = OPTIMIZERS["sgd nesterov"](model.parameters())
    masks.attach(model, optimizer)
    optimizer.load_state_dict(copy.deepcopy(trained.state_dict()))
    train(model, optimizer, 1)
    assert_masked(model, optimizer, masks)


def test_the_model_stays_what_it_was():
    model, masks = network(), some_masks()
    keys, modules = list(model.state_dict()), repr(model)
    parameters = list(model.parameters())
    optimizer = OPTIMIZERS["adam"](model.parameters())
    masks.attach(model, optimizer)
    train(model, optimizer)
    assert list(model.state_dict()) == keys
    assert repr(model) == modules
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert torch.equal(twin[0].weight, model[0].weight)


def test_a_resumed_run_is_bitwise_the_uninterrupted_one():
    model, masks = network(), some_masks()
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    masks.attach(model, optimizer)
    train(model, optimizer, 3)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    train(model, optimizer, 3)

    other = network()
    again = OPTIMIZERS["adamw"](other.parameters())
    masks.attach(other, again)
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    train(other, again, 3)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_detached_weights_are_free():
    model, masks = network(), some_masks()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    handle = masks.attach(model, optimizer)
    handle.detach()
    handle.detach()
    train(model, optimizer)
    assert (model[3].weight[~masks["3.weight"]] != 0).any()
    with pytest.raises(TopographError, match="detached"):
        handle.update(masks)


def test_parameters_of_two_optimisers_are_masked_by_each_its_own():
    model, masks = network(), some_masks()
    first = optim.SGD(model[0].parameters(), 0.1)
    second = optim.Adam([*model[3].parameters(), *model[5].parameters()], 0.1)
    masks.attach(model, first)
    masks.attach(model, second)
    for x, y in batches(3):
        F.cross_entropy(model(x), y).backward()
        first.step()
        second.step()
        model.zero_grad()
    for name, mask in masks.items():
        assert (model.get_parameter(name)[~mask] == 0).all()


def test_masks_that_keep_all_change_nothing():
    model, reference = network(), network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    handle = Masks.dense(model).attach(model, optimizer)
    train(model, optimizer)
    train(reference, OPTIMIZERS["adam"](reference.parameters()))
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(a, b)
    handle.update(some_masks())
    train(model, optimizer)
    assert_masked(model, optimizer, some_masks())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["sgd nesterov", "adamw", "adamw fused", "rprop"])
def test_on_a_gpu(kind):
    model, masks = network().cuda(), some_masks()
    optimizer = OPTIMIZERS[kind](model.parameters())
    handle = masks.attach(model, optimizer)
    for new in (masks, some_masks(1)):
        handle.update(new)
        for x, y in batches(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x.cuda()), y.cuda()).backward()
            optimizer.step()
        assert_masked(model, optimizer, new, {"step_size": 1e-2})


def test_a_tied_weight_has_one_mask():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = optim.SGD(model.parameters(), 0.1)
    same = {"0.weight": torch.eye(3), "1.weight": torch.eye(3)}
    Masks(same).attach(model, optimizer)
    with pytest.raises(TopographError, match="tied weight with two different masks"):
        Masks({**same, "1.weight": torch.ones(3, 3)}).attach(model, optimizer)


def embedding_step():
    model = nn.Sequential(nn.Embedding(4, 2, sparse=True), nn.Linear(2, 2))
    optimizer = optim.SGD(model.parameters(), 0.1)
    Masks({"0.weight": torch.eye(4, 2)}).attach(model, optimizer)
    model(torch.tensor([1])).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: some_masks().attach(network(), None), "expected a torch.optim.Optimizer"),
        (
            lambda: some_masks().attach(network(), optim.SGD(nn.Linear(2, 2).parameters(), 0.1)),
            "none of the 3 masked parameters",
        ),
        (
            lambda: some_masks().attach(nn.Linear(2, 2), None),
            "expected a torch.optim.Optimizer",
        ),
        (
            lambda: some_masks().attach(m := nn.Linear(2, 2), optim.SGD(m.parameters(), 0.1)),
            "'0.weight' is no parameter",
        ),
        (
            lambda: (
                some_masks()
                .attach(m := network(), optim.SGD(m.parameters(), 0.1))
                .update(Masks({"0.weight": torch.ones(4, 2, 3, 3)}))
            ),
            "covers other parameters",
        ),
        (embedding_step, "sparse=False"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(TopographError, match="Remedy") as caught:
        call()
    assert words in str(caught.value)
