"""What weights an ONNX model holds, as PyTorch's layers would have them."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from topograph.errors import TopographError
from topograph.inspection.readers.limits import check_memory, first_line


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """Return the weights of an ONNX model by name; its operators are not followed.

    A matrix that a MatMul or Gemm applies from the right is transposed, so that its rows are what
    it leads to, as in ``torch.nn.Linear``. A weight whose name was made up by an exporter
    (``onnx::…``, ``val_3``) is called after the operator that uses it.
    """
    try:
        onnx = importlib.import_module("onnx")
        helper = importlib.import_module("onnx.numpy_helper")
    except ImportError:
        raise TopographError(
            f"{path} is an ONNX model, and onnx is not installed",
            "pip install onnx, or pass the PyTorch weights",
        ) from None
    check_memory(path, 2 * path.stat().st_size)
    try:
        # Not load_external_data: a model may name any file of the machine.
        graph = onnx.load_model(path, load_external_data=False).graph
    except Exception as error:  # protobuf raises classes of its own
        raise TopographError(
            f"{path} is no ONNX model or a damaged one ({first_line(error)})", "copy it again"
        ) from None
    stored = {tensor.name: tensor for tensor in graph.initializer}
    stored |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant" and node.output
        for attribute in node.attribute
        if attribute.name == "value"
    }
    uses = _uses(graph, stored)
    held: dict[str, np.ndarray] = {}
    for name, tensor in stored.items():
        if name not in uses and tensor.name != name:
            continue  # a constant that is no weight
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise TopographError(
                f"{path} keeps {name} in another file, which is not read",
                "save it whole: onnx.save(onnx.load(path), new, save_as_external_data=False)",
            )
        try:
            value = helper.to_array(tensor)
        except Exception as error:  # a damaged tensor raises whatever NumPy does
            raise TopographError(
                f"{path} has a damaged tensor {name!r} ({first_line(error)})", "copy it again"
            ) from None
        if value.dtype.kind not in "fiub":  # bfloat16 and float8, which NumPy has not
            value = value.astype(np.float32)
        label, transposed = uses.get(name, (name, False))
        held[label] = value.T if transposed and value.ndim == 2 else value
    return held


def _uses(graph: Any, stored: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return what to call every weight, and whether it is applied from the right."""
    taken: Counter[str] = Counter()
    uses: dict[str, tuple[str, bool]] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name not in stored or name in uses or node.op_type in ("Constant", "Identity"):
                continue
            if node.op_type not in ("MatMul", "Gemm") and not node.op_type.startswith("Conv"):
                continue
            flags = {a.name: a.i for a in node.attribute if a.name in ("transB", "transA")}
            transposed = position == 1 and (
                node.op_type == "MatMul" or (node.op_type == "Gemm" and not flags.get("transB"))
            )
            label = name
            if "::" in name or name.startswith(("val_", "_val")) or name.isdigit():
                scope = node.name.strip("/").rpartition("/")[0].replace("/", ".") or node.name
                label = f"{scope}.{'weight' if position == 1 else 'bias'}"
                taken[label] += 1
                label += f"_{taken[label]}" if taken[label] > 1 else ""
            uses[name] = (label, transposed)
    return uses
