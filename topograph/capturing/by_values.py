"""What a forward does for one input's values: for models that no exporter can read.

The forward is run on real numbers and its operators are recorded, whatever they were decided by.
Whole numbers and truth values that come from activations (choices, places, masks) are frozen at
what they were. The recorded program decides nothing any more, so it is exported as any other model
is: made functional, with what is written into views in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx import traceback
from torch.utils import _pytree as pytree

from topograph.capturing.packed import ONE_SAMPLE
from topograph.errors import TopographError

aten = torch.ops.aten

#: Operators whose result has as many elements as a mask has true ones.
_SELECTING = (aten.index, aten.index_put, aten.index_put_, aten.masked_select)

# Constants are told from functions of inputs and weights by moving those by up to so many of the
# smallest steps of their type.
_STEPS = 16


class Recorded(nn.Module):
    """What a module did for one input, as a module over the same parameters.

    Parameters
    ----------
    model
        A module that runs on the arguments and returns tensors in plain containers; held as
        ``inner``.
    arguments, keywords
        One sample.

    Raises
    ------
    TopographError
        If activations leave torch and come back as other numbers (through NumPy, say): what these
        depend on is lost.
    """

    def __init__(
        self, model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        super().__init__()
        self.inner = model
        self.names = tuple(_state(model))
        program = _record(model, _state(model), arguments, keywords)
        _check_constants(model, arguments, keywords, program)
        _freeze(program, [*_state(model).values(), *tensors_in(arguments, keywords)])
        self.program = program

    def forward(self, *inputs: Tensor) -> Any:
        """Run the program on today's parameters and the tensors among the arguments."""
        state = {**dict(self.inner.named_parameters()), **dict(self.inner.named_buffers())}
        with traceback.preserve_node_meta():  # the modules' names
            run = fx.Interpreter(self.program)
            return run.run(*(state[name] for name in self.names), *inputs)


def tensors_in(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[Tensor]:
    """Return the tensors among arguments, also those inside containers, in order."""
    return [v for v in pytree.tree_leaves((arguments, keywords)) if isinstance(v, Tensor)]


def digest(model: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Return a hash of all values that a forward may decide by."""
    found = hashlib.blake2b(digest_size=16)
    for tensor in (*_state(model).values(), *tensors_in(arguments, keywords)):
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and copies of buffers, which a forward may write to."""
    return {
        **{name: value.detach() for name, value in model.named_parameters()},
        **{name: value.detach().clone() for name, value in model.named_buffers()},
    }


def _record(
    model: nn.Module,
    state: dict[str, Tensor],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> fx.GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    leaves, spec = pytree.tree_flatten((arguments, keywords))
    held = [isinstance(value, Tensor) for value in leaves]

    def run(*values: Tensor) -> Any:
        entries = dict(zip(state, values[: len(state)], strict=True))
        inputs = iter(values[len(state) :])
        filled = [next(inputs) if h else v for v, h in zip(leaves, held, strict=True)]
        args, kwargs = pytree.tree_unflatten(filled, spec)
        return functional_call(model, entries, args, kwargs)

    given = [value.clone() for value, h in zip(leaves, held, strict=True) if h]
    record = make_fx(
        run,
        decomposition_table=ONE_SAMPLE,
        tracing_mode="real",
        pre_dispatch=True,
        _error_on_data_dependent_ops=False,
    )
    with _scopes(model):
        program = record(*state.values(), *given)
    for node in program.graph.nodes:
        scope = (node.meta.pop("custom", None) or {}).get("scope")
        if scope is not None:
            node.meta["nn_module_stack"] = {scope[0]: scope}
    return program


@contextmanager
def _scopes(model: nn.Module) -> Iterator[None]:
    """Note the module in whose forward each operator is recorded."""
    from torch.nn.modules import module as modules

    # As seen from a Recorded, where the model is "inner".
    names = {id(module): f"inner.{name}".rstrip(".") for name, module in model.named_modules()}
    open_scopes: list[Any] = []

    def enter(module: nn.Module, _: Any) -> None:
        scope = names.get(id(module), ""), f"{type(module).__module__}.{type(module).__qualname__}"
        open_scopes.append(traceback.annotate({"scope": scope}))
        open_scopes[-1].__enter__()

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        open_scopes.pop().__exit__(None, None, None)

    handles = [
        modules.register_module_forward_pre_hook(enter),
        modules.register_module_forward_hook(leave),
    ]
    try:
        with traceback.preserve_node_meta():
            yield
    finally:
        for handle in handles:
            handle.remove()
        while open_scopes:
            open_scopes.pop().__exit__(None, None, None)


def _floating(program: fx.GraphModule) -> list[Tensor]:
    """Return the tensors with a fraction that the program holds, in the order of their use."""
    names = [node.target for node in program.graph.nodes if node.op == "get_attr"]
    held = [getattr(program, str(name)) for name in names]
    return [v for v in held if isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex())]


def _check_constants(
    model: nn.Module,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    program: fx.GraphModule,
) -> None:
    """Refuse constants that change when inputs and weights are moved by a few rounding steps."""
    before = _floating(program)
    if not before:
        return
    after: list[Tensor] = []
    for _ in range(4):  # a choice that is close may turn out otherwise
        state = {name: _moved(value) for name, value in _state(model).items()}
        args, kwargs = pytree.tree_map_only(Tensor, _moved, (arguments, keywords))
        after = _floating(_record(model, state, args, kwargs))
        if [v.shape for v in before] == [v.shape for v in after]:
            break
    if len(before) == len(after) and all(map(torch.equal, before, after)):
        return
    raise TopographError(
        f"{type(getattr(model, 'inner', model)).__name__} takes numbers out of torch in its forward"
        " and puts others made of them back, so what these depend on cannot be followed",
        "compute in torch what the forward computes in NumPy or in Python",
    )


def _moved(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value.clone()
    step = _STEPS * torch.finfo(value.dtype).eps
    return (value * (1 + step * torch.rand(value.shape, device=value.device))).to(value.dtype)


class _Values(fx.Interpreter):
    """Runs a program and keeps the values of some nodes, and truth values where they select."""

    def __init__(self, program: fx.GraphModule, wanted: set[fx.Node]) -> None:
        super().__init__(program)
        self.wanted = wanted
        self.kept: dict[fx.Node, Tensor] = {}
        self.masks: dict[tuple[fx.Node, fx.Node], Tensor] = {}  # (operator, mask)

    def run_node(self, n: fx.Node) -> Any:
        if getattr(n.target, "overloadpacket", None) in _SELECTING:
            for parent in n.all_input_nodes:
                held = self.env[parent]
                if isinstance(held, Tensor) and held.dtype == torch.bool:
                    self.masks[n, parent] = held.clone()
        value = super().run_node(n)
        if n in self.wanted and isinstance(value, Tensor):
            self.kept[n] = value.detach().clone()
        return value


def _freeze(program: fx.GraphModule, values: list[Tensor]) -> None:
    """Replace what the program decided by the values it had."""
    chosen = _decisions(program)
    run = _Values(program, chosen)
    with torch.no_grad():
        run.run(*(value.clone() for value in values))
    for (node, mask), value in run.masks.items():
        _choose(program, node, mask, value)
    for number, (node, value) in enumerate(run.kept.items()):
        name = f"decided{number}"
        program.register_buffer(name, value)
        with program.graph.inserting_after(node):
            held = program.graph.get_attr(name)
        with program.graph.inserting_after(held):
            # A copy, because the program may write into it.
            copied = program.graph.call_function(aten.clone.default, (held,))
        node.replace_all_uses_with(copied)
    for node in reversed(program.graph.nodes):
        pure = node.op == "call_function" and not _writes(node)
        if not node.users and (pure or node.op == "get_attr"):
            program.graph.erase_node(node)
    program.recompile()


def _decisions(program: fx.GraphModule) -> set[fx.Node]:
    """Return the nodes of whole numbers or truth values that come from those with a fraction."""
    fractional: set[fx.Node] = set()
    chosen: set[fx.Node] = set()
    for node in program.graph.nodes:
        value = node.meta.get("val")
        has_fraction = isinstance(value, Tensor) and (
            value.is_floating_point() or value.is_complex()
        )
        whole = isinstance(value, Tensor) and not has_fraction
        if has_fraction or any(parent in fractional for parent in node.all_input_nodes):
            fractional.add(node)
            if whole and node.op == "call_function" and not _writes(node):
                chosen.add(node)
    return chosen


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is None or bool(schema.is_mutable)


def _choose(program: fx.GraphModule, node: fx.Node, mask: fx.Node, value: Tensor) -> None:
    """Let an operator that selects by truth values select by places, whose number is fixed."""
    target: Any = node.target
    first: Any = node.args[0]
    if target.overloadpacket is aten.masked_select:
        if node.args[1] is not mask or first.meta["val"].shape != value.shape:
            return
        node.target = aten.index.Tensor
        listed: Any = [mask]
    else:
        listed = node.args[1]
    entries: list[Any] = []
    for entry in listed:
        if entry is not mask:
            entries.append(entry)
            continue
        for place in value.nonzero().unbind(1):
            name = f"places{len(list(program.buffers()))}"
            program.register_buffer(name, place.contiguous())
            with program.graph.inserting_before(node):
                entries.append(program.graph.get_attr(name))
    node.args = (first, entries, *node.args[2:])
