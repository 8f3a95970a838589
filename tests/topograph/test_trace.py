"""The trace reads a model and leaves it as it was."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from topograph.capturing.trace import forget, place_of, trace
from topograph.errors import TopographError


class Net(nn.Module):
    """Normalisation, a residual sum, a counter that the forward writes, an in-place operator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x = F.relu(self.norm(self.conv(x)), inplace=True)
        x += self.again(x)
        return self.head(self.drop(x.mean((2, 3))))


def test_the_model_is_left_exactly_as_it_was() -> None:
    model = Net()
    model.norm.eval()  # a frozen norm inside a training model
    prune.random_unstructured(model.again, "weight", 0.5)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    pruned, flags = model.again.weight, [module.training for module in model.modules()]
    random = torch.random.get_rng_state()
    trace(model, torch.randn(1, 3, 8, 8))
    assert [module.training for module in model.modules()] == flags
    assert model.again.weight is pruned
    assert model.calls == 0
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.random.set_rng_state(random)


def test_random_state_is_kept() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    model = Net()
    torch.random.set_rng_state(before)
    trace(model, torch.zeros(1, 3, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_trace_is_kept_until_the_structure_changes() -> None:
    model = Net()
    example = torch.zeros(1, 3, 8, 8)
    first = trace(model, example)
    with torch.no_grad():
        model.head.weight.mul_(2)  # training changes no structure
    model.eval()
    assert trace(model, example) is first
    assert trace(model, torch.zeros(1, 3, 10, 10)) is not first
    model.conv.stride = (2, 2)
    assert trace(model, example) is not first


def test_a_replaced_layer_or_new_hook_is_seen() -> None:
    model = Net()
    example = torch.zeros(1, 3, 8, 8)
    first = trace(model, example)
    model.head = nn.Linear(4, 5)
    second = trace(model, example)
    assert second is not first
    model.head.register_forward_hook(lambda module, args, output: output * 2)
    assert trace(model, example) is not second


def test_forget_and_collection_free_the_trace() -> None:
    model = Net()
    example = torch.zeros(1, 3, 8, 8)
    first = trace(model, example)
    forget(model)
    assert trace(model, example) is not first
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_only_the_first_sample_is_used() -> None:
    made = trace(Net(), torch.zeros(7, 3, 8, 8))
    assert [tuple(example.shape) for example in made.examples] == [(1, 3, 8, 8)]


def test_constants_are_told_from_activations() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))
            self.scale = torch.tensor(2.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight * self.scale) + 1

    made = trace(Scaled(), torch.zeros(1, 4))
    varying = [node.name for node in made.graph.nodes if made.varies(node)]
    assert "mul" not in varying
    assert {"linear", "add"} <= set(varying)
    assert made.outputs[0].name == "add"
    assert "aten.add" in place_of(made.outputs[0])


def test_keyword_and_tuple_inputs() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, *, b: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sum": a + b, "constant": torch.ones(1)}

    made = trace(Two(), {"a": torch.zeros(1, 2), "b": torch.zeros(1, 2)})
    assert len(made.inputs) == 2
    assert len(made.outputs) == 1  # a constant is no output of the network


@pytest.mark.parametrize(
    ("model", "example", "words"),
    [
        ("resnet", torch.zeros(1, 3), "expected a torch.nn.Module"),
        (Net(), "x", "expected a tensor"),
        (Net(), (), "holds no tensor"),
        (Net(), torch.zeros(0, 3, 8, 8), "at least one sample"),
        (Net(), torch.zeros(1, 5, 8, 8), "does not run on example_input of shape \\(1, 5, 8, 8\\)"),
    ],
)
def test_bad_input_is_refused_in_words(model: object, example: object, words: str) -> None:
    with pytest.raises(TopographError, match=words) as caught:
        trace(model, example)  # type: ignore[arg-type]
    assert "Remedy:" in str(caught.value)


def test_a_failing_model_is_left_in_its_mode() -> None:
    model = Net().train()
    with pytest.raises(TopographError):
        trace(model, torch.zeros(1, 5, 8, 8))
    assert all(module.training for module in model.modules())


def test_a_deep_copy_has_its_own_trace() -> None:
    model = Net()
    example = torch.zeros(1, 3, 8, 8)
    assert trace(copy.deepcopy(model), example) is not trace(model, example)
