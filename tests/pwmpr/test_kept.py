"""An optimiser of kept weights alone gives them the values of masked training, bit by bit."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.nn import functional as F

from pwmpr.kernels import SparseLayers
from pwmpr.masks import Masks
from topograph.errors import TopographError

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "sgd momentum": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=5e-3),
    "sgd nesterov": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=5e-3, nesterov=True),
    "sgd dampening": lambda p: optim.SGD(p, 0.1, 0.9, dampening=0.5, weight_decay=5e-3),
    "sgd maximize": lambda p: optim.SGD(p, 1e-3, 0.9, maximize=True),
    "sgd foreach": lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=5e-3, foreach=True),
    "adam": lambda p: optim.Adam(p, 1e-2, weight_decay=0.1),
    "adam amsgrad": lambda p: optim.Adam(p, 1e-2, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1),
    "adamw amsgrad": lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1, amsgrad=True, foreach=True),
    "nadam": lambda p: optim.NAdam(p, 1e-2, weight_decay=0.1),
    "radam": lambda p: optim.RAdam(p, 1e-2, weight_decay=0.1),
    "adamax": lambda p: optim.Adamax(p, 1e-2, weight_decay=0.1),
    "adagrad": lambda p: optim.Adagrad(p, 1e-2, initial_accumulator_value=0.1),
    "adadelta": lambda p: optim.Adadelta(p, 1e-2, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, 1e-2, momentum=0.9, centered=True),
    "rprop": lambda p: optim.Rprop(p, 1e-2),
    "asgd": lambda p: optim.ASGD(p, 1e-2, weight_decay=0.1),
}
SHAPES = {"0.weight": (4, 2, 3, 3), "3.weight": (8, 64), "5.weight": (3, 8)}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def some_masks(seed=0, density=0.3):
    generator = torch.Generator().manual_seed(seed)
    return Masks({n: torch.rand(s, generator=generator) < density for n, s in SHAPES.items()})


def batches(number, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        yield (
            torch.randn(8, 2, 6, 6, generator=generator),
            torch.randint(0, 3, (8,), generator=generator),
        )


def train(model, optimizer, number=5, seed=1):
    for x, y in batches(number, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def assert_same(model, other):
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def attached(kind, masks, state, model=None):
    model = network() if model is None else model
    optimizer = OPTIMIZERS[kind](model.parameters())
    return model, optimizer, masks.attach(model, optimizer, state=state)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_bit_by_bit_the_weights_of_masked_training_through_changes_of_the_masks(kind):
    # Random masks one after the other: kept, grown and dropped weights at once, then all of them,
    # then few again.
    course = [some_masks(k, density) for k, density in enumerate((0.1, 0.3, 0.3, 1.0, 0.2))]
    kept, kept_optimizer, kept_handle = attached(kind, course[0], "kept")
    whole, whole_optimizer, whole_handle = attached(kind, course[0], "dense")
    for step, masks in enumerate(course):
        kept_handle.update(masks)
        whole_handle.update(masks)
        train(kept, kept_optimizer, 20, seed=step)
        train(whole, whole_optimizer, 20, seed=step)
        assert_same(kept, whole)
        for name, mask in masks.items():
            a, b = kept.get_parameter(name), whole.get_parameter(name)
            assert (a[~mask] == 0).all()
            state = whole_optimizer.state[b]
            for key, value in kept_optimizer.state[a].items():
                expected = state[key]
                if torch.is_tensor(value) and expected.shape == b.shape and not mask.all():
                    expected = expected[mask]
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected)), key


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 70),
    density=st.floats(0, 1),
    kind=st.sampled_from(["sgd nesterov", "adam amsgrad", "adamw"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_of_any_shape_and_density(rows, columns, density, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    models, optimizers = [], []
    mask = torch.rand(rows, columns, generator=generator) < density
    mask[0, 0] = True
    for state in ("kept", "dense"):
        model = nn.Linear(columns, rows)
        nn.init.constant_(model.bias, 0.1)
        model.weight.data = torch.linspace(-1, 1, rows * columns).view(rows, columns)
        optimizer = OPTIMIZERS[kind](model.parameters())
        Masks({"weight": mask}).attach(model, optimizer, state=state)
        models.append(model)
        optimizers.append(optimizer)
    for _ in range(8):
        grad = torch.randn(rows, columns, generator=generator)
        for model, optimizer in zip(models, optimizers, strict=True):
            model.weight.grad = grad.clone()
            optimizer.step()
    assert torch.equal(models[0].weight, models[1].weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_precision_and_memory_layout(dtype, layout):
    masks = some_masks()
    ends = []
    for state in ("kept", "dense"):
        model = network().to(dtype).to(memory_format=layout)
        model, optimizer, _ = attached("adamw", masks, state, model)
        for x, y in batches(5):
            optimizer.zero_grad()
            F.cross_entropy(model(x.to(dtype)), y).backward()
            optimizer.step()
        ends.append(model)
    assert_same(*ends)


def test_a_model_moved_to_another_precision_and_layout_after_attaching():
    ends = []
    for state in ("kept", "dense"):
        model, optimizer, _ = attached("sgd", some_masks(), state)
        train(model, optimizer, 1)
        model.double().to(memory_format=torch.channels_last)
        for x, y in batches(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x.double()), y).backward()
            optimizer.step()
        ends.append(model)
    assert_same(*ends)


def test_grown_state_starts_at_zero_kept_state_survives_dropped_state_is_gone():
    model = nn.Linear(4, 1, bias=False)
    optimizer = optim.SGD(model.parameters(), 1.0, momentum=0.5)
    handle = Masks({"weight": torch.tensor([[1, 1, 0, 0]])}).attach(model, optimizer, state="kept")
    model.weight.grad = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    optimizer.step()
    assert optimizer.state[model.weight]["momentum_buffer"].tolist() == [1.0, 2.0]
    handle.update(Masks({"weight": torch.tensor([[0, 1, 1, 0]])}))
    assert optimizer.state[model.weight]["momentum_buffer"].tolist() == [2.0, 0.0]
    handle.update(Masks({"weight": torch.tensor([[1, 1, 1, 0]])}))
    assert optimizer.state[model.weight]["momentum_buffer"].tolist() == [0.0, 2.0, 0.0]
    assert model.weight.detach()[0, [0, 2, 3]].tolist() == [0, 0, 0]


def test_state_takes_the_memory_of_kept_weights():
    model = nn.Linear(1000, 100, bias=False)
    optimizer = optim.Adam(model.parameters(), 1e-3)
    Masks({"weight": torch.arange(100_000).view(100, 1000) % 20 == 0}).attach(
        model, optimizer, state="kept"
    )
    model(torch.ones(1, 1000)).sum().backward()
    optimizer.step()
    state = optimizer.state[model.weight]
    assert state["exp_avg"].numel() == state["exp_avg_sq"].numel() == 5000
    assert optimizer.state_dict()["state"][0]["exp_avg"].untyped_storage().nbytes() == 20_000


def test_the_optimiser_is_what_it_was_between_steps():
    model, optimizer, _ = attached("adam", some_masks(), "kept")
    parameters = list(model.parameters())
    train(model, optimizer, 2)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert all(a is b for a, b in zip(held, parameters, strict=True))
    assert set(optimizer.state) == set(parameters)
    optimizer.zero_grad()
    assert all(p.grad is None for p in parameters)


def test_several_backward_passes_before_a_step_add_up_and_clipping_counts():
    ends = []
    for state in ("kept", "dense"):
        model, optimizer, _ = attached("sgd momentum", some_masks(), state)
        for _ in range(3):
            optimizer.zero_grad()
            for x, y in batches(2):
                F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        ends.append(model)
    assert_same(*ends)


def test_under_a_gradient_scaler_a_schedule_and_an_infinite_gradient():
    ends = []
    for state in ("kept", "dense"):
        model, optimizer, _ = attached("adamw", some_masks(), state)
        schedule = optim.lr_scheduler.StepLR(optimizer, 1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for step, (x, y) in enumerate(batches(4)):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            if step == 1:
                model[3].weight.grad[0, 0] = float("inf")
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
        ends.append(model)
    assert_same(*ends)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_closure_and_one_that_fails(by_name):
    ends = []
    for state in ("kept", "dense"):
        model, optimizer, _ = attached("sgd momentum", some_masks(), state)
        for x, y in batches(3):

            def closure(model=model, optimizer=optimizer, x=x, y=y):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            def failing():
                raise RuntimeError("no data")

            with pytest.raises(RuntimeError, match="no data"):
                optimizer.step(failing)
            optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        ends.append(model)
        held = [p for group in optimizer.param_groups for p in group["params"]]
        assert all(a is b for a, b in zip(held, model.parameters(), strict=True))
    assert_same(*ends)


def test_a_step_that_fails_half_way_leaves_the_optimiser_usable():
    model, optimizer, _ = attached("sgd momentum", some_masks(), "kept")
    train(model, optimizer, 2)
    before = copy.deepcopy(model)
    optimizer.param_groups[0]["lr"] = "fast"
    with pytest.raises(TypeError):
        train(model, optimizer, 1)
    assert optimizer.state_dict()["param_groups"][0]["params"] == list(range(6))
    assert set(optimizer.state) == set(model.parameters())
    assert_same(model, before)
    optimizer.param_groups[0]["lr"] = 0.1
    train(model, optimizer, 1)


def test_weights_written_from_outside_are_masked_before_the_next_step():
    ends = []
    for state in ("kept", "dense"):
        masks = some_masks()
        model, optimizer, _ = attached("sgd nesterov", masks, state)
        train(model, optimizer)
        model.load_state_dict(network().state_dict())
        optimizer.zero_grad()
        optimizer.step()
        for name, mask in masks.items():
            assert (model.get_parameter(name)[~mask] == 0).all()
        train(model, optimizer, 1)
        ends.append(model)
    assert_same(*ends)


@pytest.mark.parametrize("kind", ["sgd nesterov", "adam amsgrad", "adagrad"])
def test_resumed_from_kept_state_and_from_state_of_all_weights(kind):
    masks = some_masks()
    model, optimizer, _ = attached(kind, masks, "kept")
    whole, whole_optimizer, _ = attached(kind, masks, "dense")
    train(model, optimizer, 4)
    train(whole, whole_optimizer, 4)
    for source in (optimizer, whole_optimizer):
        saved = copy.deepcopy((model.state_dict(), source.state_dict()))
        again, again_optimizer, _ = attached(kind, masks, "kept")
        again.load_state_dict(saved[0])
        again_optimizer.load_state_dict(saved[1])
        state = again_optimizer.state[again[3].weight]
        assert {v.numel() for v in state.values() if v.dim()} == {masks.counts["3.weight"]}
        go_on = copy.deepcopy(whole)
        goes_on = OPTIMIZERS[kind](go_on.parameters())
        masks.attach(go_on, goes_on)
        goes_on.load_state_dict(copy.deepcopy(whole_optimizer.state_dict()))
        train(again, again_optimizer, 4, seed=2)
        train(go_on, goes_on, 4, seed=2)
        assert_same(again, go_on)


def test_detaching_gives_the_optimiser_state_for_all_weights_again():
    masks = some_masks()
    model, optimizer, handle = attached("adam", masks, "kept")
    train(model, optimizer)
    kept = optimizer.state[model[3].weight]["exp_avg"]
    handle.detach()
    handle.detach()
    whole = optimizer.state[model[3].weight]["exp_avg"]
    assert torch.equal(whole[masks["3.weight"]], kept)
    assert (whole[~masks["3.weight"]] == 0).all()
    train(model, optimizer)
    assert (model[3].weight[~masks["3.weight"]] != 0).any()


def test_a_fused_optimiser_agrees_to_rounding():
    ends = []
    for state in ("kept", "dense"):
        model = network()
        optimizer = optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-3, fused=True)
        some_masks().attach(model, optimizer, state=state)
        train(model, optimizer, 20)
        ends.append(model)
    for a, b in zip(ends[0].parameters(), ends[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def lbfgs():
    model = network()
    some_masks().attach(model, optim.LBFGS(model.parameters()), state="kept")


def foreign_state():
    model, optimizer, _ = attached("adam", some_masks(0), "kept")
    train(model, optimizer, 1)
    _, again, _ = attached("adam", some_masks(1), "kept")
    again.load_state_dict(optimizer.state_dict())


def gaps():
    model = nn.Linear(4, 4)
    model.weight = nn.Parameter(torch.randn(4, 8)[:, ::2])
    Masks({"weight": torch.eye(4)}).attach(model, optim.SGD(model.parameters(), 0.1), state="kept")


def sparse_with_dense_state():
    _, _, handle = attached("sgd", some_masks(), "dense")
    handle.sparse_layers()


def sparse_gradients_with_dense_state():
    model, optimizer, _ = attached("sgd", some_masks(), "dense")
    with SparseLayers(model, some_masks()).computing():
        model(torch.ones(1, 2, 6, 6)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lbfgs, 'state is "kept" with a LBFGS'),
        (lambda: attached("sgd", some_masks(), "values"), "state"),
        (foreign_state, "the number of kept weights"),
        (gaps, "gaps or overlaps"),
        (sparse_with_dense_state, 'attach with state="kept"'),
        (sparse_gradients_with_dense_state, 'attach with state="kept"'),
    ],
)
def test_what_goes_wrong_is_said(call, words):
    with pytest.raises(TopographError, match=words):
        call()
