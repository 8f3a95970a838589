"""Models that no exporter reads are traced for one input; what cannot be is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import topograph as tg
from topograph.capturing import capture
from topograph.capturing.trace import Trace, scope_of, trace
from topograph.capturing.weights import Binding
from topograph.errors import TopographError
from topograph.flow import path_flow


def outputs_of(made: Trace, model: nn.Module, example: Tensor) -> list[Tensor]:
    """Return what the traced graph computes of an example, with the model's weights."""
    binding = Binding(made, model)
    given = iter([example])

    class Run(fx.Interpreter):
        def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
            node = next(n for n in made.graph.nodes if n.target == target)
            return next(given) if node in made.inputs else binding.value(node)

    run = Run(nn.Module(), graph=made.graph, garbage_collect_values=False)
    with torch.no_grad():
        run.run(example, enable_io_processing=False)
    return [run.env[node] for node in made.outputs]


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 3)


class Branch(Two):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if h.sum() > -100:
            return self.b(h.relu())
        return self.b(self.a(h))


class ViewWrites(Two):
    """Writes into views, where only the base is used afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).clone()
        if h.sum() > -100:
            h[:, 1] = 0
            h[:, 2:].mul_(2)
        return self.b(h)


class Loop(Two):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        for _ in range(int(h.abs().sum().item()) % 3 + 1):
            h = F.relu(self.a(h))
        return self.b(h)


class NumpyChoice(Two):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(h * 2 if float(np.mean(h.detach().numpy())) > 100 else h)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 3)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.gate(x).softmax(-1)
        best = weight.argmax(-1)
        out = torch.zeros_like(x)
        for k, expert in enumerate(self.experts):
            rows = (best == k).nonzero().squeeze(1)
            if rows.numel():
                out[rows] = expert(x[rows]) * weight[rows, k, None]
        return out


class MaskedRows(Two):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        mask = h > 0
        mask[0, 0] = True
        kept = torch.zeros_like(h)
        kept[mask] = h[mask] + torch.masked_select(h, mask)
        if mask.sum() > 100:
            kept = kept * 2
        return self.b(kept)


class Packed(nn.Module):
    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = layer(4, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([x.shape[1] - 1] * len(x))
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        out, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True, total_length=6)
        return self.head(out[:, 2])


BY_VALUES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "branch": (Branch, (2, 4)),
    "writes on views": (ViewWrites, (2, 4)),
    "loop over .item()": (Loop, (2, 4)),
    "choice by numpy": (NumpyChoice, (2, 4)),
    "experts": (Experts, (1, 4)),
    "boolean places": (MaskedRows, (1, 4)),
    "packed lstm": (lambda: Packed(nn.LSTM), (1, 4, 4)),
    "packed gru": (lambda: Packed(nn.GRU), (1, 4, 4)),
}


@pytest.mark.parametrize("name", BY_VALUES)
def test_the_traced_graph_computes_what_the_model_does(name: str) -> None:
    torch.manual_seed(0)
    make, shape = BY_VALUES[name]
    model, example = make().train(), torch.randn(shape)
    made = trace(model, example)
    (note,) = made.notes
    assert note.startswith(f"traced for this input only: {type(model).__name__} decides")
    assert "test_fallbacks.py, line" in note
    (found,) = outputs_of(made, model, example[:1])
    torch.testing.assert_close(found, model.eval()(example[:1]))


def test_nothing_is_printed_on_the_way(capfd: pytest.CaptureFixture[str]) -> None:
    trace(Branch(), torch.randn(1, 4))
    assert tuple(capfd.readouterr()) == ("", "")


def test_adapters_are_captured() -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(chain(), peft.LoraConfig(r=2, target_modules=["0"]))
    names = reference(model)
    assert {name.split("base_model.model.")[1] for name in names} == {
        "0.base_layer.weight",
        "0.lora_A.default.weight",
        "0.lora_B.default.weight",
        "2.weight",
    }


def test_writes_on_views_count_in_the_graph() -> None:
    model = ViewWrites()
    graph = capture(model, torch.randn(1, 4))
    into_b = next(block for block in graph.blocks if block.target == "b").matrix.toarray()
    expected = model.b.weight.detach().abs().double().numpy() * [1, 0, 2, 2]
    np.testing.assert_allclose(into_b, expected)
    assert graph.coverage is not None
    assert "traced for this input only" in str(graph.coverage)


def test_an_inspection_says_that_it_holds_for_this_input_only() -> None:
    report = tg.inspect(Branch(), example_input=torch.randn(1, 4))
    assert any("traced for this input only" in note for note in report.coverage.notes)
    assert "traced for this input only" in str(report)


def test_what_was_decided_is_traced_anew_when_values_change() -> None:
    class Sign(Two):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) if x.sum() > 0 else self.b(x)

    model, example = Sign(), torch.ones(1, 4)
    assert set(capture(model, example).groups) == {"input", "a", "b"}
    assert trace(model, example) is trace(model, example.clone())
    assert set(capture(model, -example).groups) == {"input", "b"}
    before = trace(model, example)
    with torch.no_grad():
        model.a.weight.data.mul_(2)
    assert trace(model, example) is not before


def test_the_path_sums_are_those_of_the_branch_taken() -> None:
    model = Branch()
    plain = nn.Sequential(model.a, nn.ReLU(), model.b)
    example = torch.randn(1, 4)
    assert path_flow(model, example).log_total == path_flow(plain, example).log_total


def test_modules_are_named_where_values_decided() -> None:
    made = trace(Branch(), torch.randn(1, 4))
    assert [scope_of(n)[0] for n in made.graph.nodes if "linear" in n.name] == ["a", "b"]


def test_a_model_traced_by_values_is_left_as_it_was() -> None:
    class Counting(Branch):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.seen += 1
            return super().forward(F.dropout(x, 0.5, self.training))

    model = Counting().train()
    prune.random_unstructured(model.a, "weight", 0.5)
    handle = model.b.register_forward_hook(lambda module, args, output: output * 2)
    state = copy.deepcopy(model.state_dict())
    hooks = dict(model.b._forward_hooks)
    random = torch.random.get_rng_state()
    trace(model, torch.randn(1, 4, generator=torch.Generator().manual_seed(0)))
    assert model.calls == 0
    assert all(module.training for module in model.modules())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert list(model.state_dict()) == list(state)
    assert dict(model.b._forward_hooks) == hooks
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks
    handle.remove()


def test_numbers_that_come_back_from_outside_are_refused() -> None:
    class Outside(Two):
        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            back = torch.from_numpy(np.tanh(h.detach().numpy()))
            return self.b(h + back) if h.sum() > -100 else self.b(h)

    with pytest.raises(TopographError, match="Outside takes numbers out of torch"):
        trace(Outside(), torch.randn(1, 4))


def test_weights_that_come_back_from_outside_are_refused() -> None:
    class Outside(Two):
        def forward(self, x: Tensor) -> Tensor:
            weight = torch.tensor(self.a.weight.tolist())
            h = F.linear(x, weight)
            return self.b(h + x) if h.sum() > -100 else self.b(h)

    with pytest.raises(TopographError, match="Outside takes numbers out of torch"):
        trace(Outside(), torch.randn(1, 4))


def test_numpy_that_only_computes_is_read_by_the_strict_exporter() -> None:
    class Inside(Two):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.from_numpy(np.tanh(self.a(x).numpy())))

    model = Inside().requires_grad_(False)
    made = trace(model, torch.randn(1, 4))
    assert made.notes == ()
    graph = capture(model, torch.randn(1, 4))
    assert set(graph.groups) == {"input", "a", "b"}
    assert [op.parameter for op in graph.operators] == ["a.weight", "b.weight"]


@dataclass
class Answer:
    first: Tensor
    rest: list[Tensor]
    words: str = "none"


class Fields:
    def __init__(self, value: Tensor) -> None:
        self.value = value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: Answer(y, [y * 2]),
        lambda y: SimpleNamespace(value=y, inner=Answer(y, [])),
        Fields,
        lambda y: {"a": [(y, Answer(y, [y]))]},
    ],
)
def test_outputs_are_found_in_any_object_with_fields(wrap: Callable[[Tensor], Any]) -> None:
    class Returning(Two):
        def forward(self, x: Tensor) -> Any:
            return wrap(self.b(self.a(x)))

    made = trace(Returning(), torch.randn(1, 4))
    assert made.notes == ()
    assert tuple(made.outputs[0].meta["val"].shape) == (1, 3)
    assert {source.name for source in made.sources.values()} == {
        f"{layer}.{own}" for layer in "ab" for own in ("weight", "bias")
    }


def reference(model: nn.Module) -> set[str]:
    return {op.parameter for op in capture(model, torch.randn(1, 4)).operators}


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def hooked() -> nn.Module:
    model = chain()
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    return model


def reparametrised(how: Callable[[nn.Module], Any]) -> nn.Module:
    model = chain()
    how(model[0])
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("make", "prefix"),
    [
        (hooked, ""),
        (lambda: torch.compile(chain(), backend="eager"), "_orig_mod."),
        (lambda: nn.DataParallel(chain()), "module."),
        (lambda: reparametrised(parametrizations.weight_norm), ""),
        (lambda: reparametrised(parametrizations.spectral_norm), ""),
        (lambda: reparametrised(weight_norm), ""),
        (lambda: reparametrised(lambda m: prune.l1_unstructured(m, "weight", 0.5)), ""),
    ],
)
def test_wrapped_models_are_captured(make: Callable[[], nn.Module], prefix: str) -> None:
    model = make()
    example = torch.randn(1, 4)
    made = trace(model, example)
    assert made.notes == ()
    assert reference(model) == {f"{prefix}0.weight", f"{prefix}2.weight"}
    (found,) = outputs_of(made, model, example)
    torch.testing.assert_close(found, model.eval()(example))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_of_half_precision_are_captured(dtype: torch.dtype) -> None:
    model = chain().to(dtype)
    graph = capture(model, torch.randn(1, 4, dtype=dtype))
    same = capture(chain().to(dtype).double(), torch.randn(1, 4, dtype=torch.float64))
    for mine, other in zip(graph.blocks, same.blocks, strict=True):
        np.testing.assert_array_equal(mine.matrix.toarray(), other.matrix.toarray())
    assert path_flow(model, torch.randn(1, 4, dtype=dtype)).log_total > 0


def scripted_part() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4)))


def quantised() -> nn.Module:
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(chain(), {nn.Linear})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (scripted_part, 'the module "1" is a TorchScript module'),
        (lambda: torch.jit.script(chain()), "model is a TorchScript module"),
        (quantised, 'the module "0" .*Linear.* holds quantised weights'),
        (lambda: nn.Sequential(nn.LazyLinear(3)), '"0.weight" has no shape yet'),
    ],
)
def test_what_holds_no_readable_weights_is_refused(
    make: Callable[[], nn.Module], words: str
) -> None:
    with pytest.raises(TopographError, match=words) as caught:
        trace(make(), torch.zeros(1, 4))
    assert "Remedy:" in str(caught.value)


def test_a_failing_forward_is_named_by_module_class_and_line() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(7, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)  # the line that fails

    model = nn.Sequential(nn.Linear(4, 4), Inner())
    with pytest.raises(TopographError) as caught:
        trace(model, torch.zeros(1, 4))
    text = str(caught.value)
    assert 'in module "1.fc" (Linear)' in text
    assert "test_fallbacks.py" in text
    assert "return self.fc(x)" in text
