"""What the names in a checkpoint's pickle stand for.

Only what torch writes for tensors, and plain values that training scripts put beside them. None of
these is the class or function of that name: each is a value, or a function of this package that
checks what it is given. Classes of users never belong here.
"""

from __future__ import annotations

import functools
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch

from topograph.inspection.readers.opcodes import Call, PickleError, Standin, plain_key
from topograph.inspection.readers.tensors import Builder, StorageType

#: Names of storage classes by what they hold.
_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
    "QInt8": torch.qint8,
    "QUInt8": torch.quint8,
    "QInt32": torch.qint32,
    "Untyped": torch.uint8,
}

#: Kinds of numbers of NumPy that are read.
_NUMBERS = frozenset(
    ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16")
)

#: Dictionaries that Lightning stores hyperparameters in.
_DICTIONARIES = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)


def table(builder: Builder) -> dict[str, Any]:
    """Return what the names stand for, tensors being made by ``builder``."""

    def tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
        metadata = rest[2] if len(rest) > 2 else None
        return builder.strided(storage, offset, shape, stride, metadata=metadata)

    def typed(
        storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, *rest: Any
    ) -> Any:
        if not rest or not isinstance(rest[0], torch.dtype):
            raise PickleError("a tensor without its type")
        metadata = rest[1] if len(rest) > 1 else None
        return builder.strided(storage, offset, shape, stride, rest[0], metadata)

    def quantised(storage: Any, offset: Any, shape: Any, stride: Any, how: Any, *_rest: Any) -> Any:
        return builder.quantised(storage, offset, shape, stride, how)

    made: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_tensor_v3": typed,
        "torch._utils._rebuild_qtensor": quantised,
        "torch._utils._rebuild_sparse_tensor": builder.sparse,
        "torch._utils._rebuild_meta_tensor_no_storage": _without_values,
    }
    return _plain() | {name: Call(function, makes_tensor=True) for name, function in made.items()}


@functools.cache
def _plain() -> dict[str, Any]:
    values: dict[str, Any] = {
        f"torch.{name}": value
        for name, value in vars(torch).items()
        if isinstance(value, (torch.dtype, torch.layout, torch.qscheme))
    }
    for name, dtype in _STORAGES.items():
        values[f"torch.{name}Storage"] = StorageType(dtype)
        values[f"torch.storage.{name}Storage"] = StorageType(dtype)
    # Only ever handed over, as the class of a tensor.
    values["torch.Tensor"] = values["torch._tensor.Tensor"] = torch.Tensor
    for name in ("Parameter", "Buffer"):
        values[f"torch.nn.parameter.{name}"] = Call(lambda data, *_: data)
    values["numpy.ndarray"] = np.ndarray
    functions = {
        "torch._utils._rebuild_parameter": lambda data, *_: data,
        "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        "torch._tensor._rebuild_from_type_v2": _of_type,
        "torch.serialization._get_layout": _layout,
        "torch.Size": lambda sizes=(): tuple(_list(sizes)),
        "torch.device": lambda *words: ":".join(map(str, words)),
        "collections.OrderedDict": lambda items=(): OrderedDict(_pairs(items)),
        "collections.Counter": lambda items=(): Counter(_pairs(items)),
        "collections.defaultdict": lambda _factory=None, items=(): _pairs(items),
        **{name: lambda items=(): _pairs(items) for name in ("builtins.dict", *_DICTIONARIES)},
        "builtins.list": lambda items=(): list(_list(items)),
        "builtins.tuple": lambda items=(): tuple(_list(items)),
        "builtins.set": lambda items=(): {plain_key(item) for item in _list(items)},
        "builtins.frozenset": lambda items=(): frozenset(plain_key(item) for item in _list(items)),
        "builtins.int": _number(int),
        "builtins.float": _number(float),
        "builtins.bool": _number(bool),
        "builtins.complex": lambda real, imaginary=0.0: complex(_real(real), _real(imaginary)),
        "builtins.bytes": lambda: b"",  # which protocol 2 has no other way to write
        "builtins.bytearray": lambda data=b"", *_: bytearray(_bytes(data)),
        "_codecs.encode": lambda text, *_: _bytes(text),
        "argparse.Namespace": Namespace,
        **{
            f"{module}.{name}": lambda *parts: PurePosixPath(*map(_path_part, parts))
            for module in ("pathlib", "pathlib._local")
            for name in ("PosixPath", "PurePosixPath")
        },
        "numpy.dtype": lambda code, *_: NumberType(code),
        "numpy._core.multiarray.scalar": _scalar,
        "numpy._core.multiarray._reconstruct": lambda *_: Array(),
    }
    return values | {name: Call(function) for name, function in functions.items()}


class NumberType(Standin):
    """What stands for a ``numpy.dtype``, of numbers alone."""

    def __init__(self, code: Any) -> None:
        if code not in _NUMBERS:
            raise PickleError(f"NumPy values of the type {str(code)[:20]!r}, which are no numbers")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Take the byte order; whatever else NumPy would take from a state is refused."""
        if type(state) is not tuple or len(state) not in (8, 9) or state[2:5] != (None,) * 3:
            raise PickleError("a NumPy type with fields")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])
        elif state[1] not in ("|", "="):
            raise PickleError("a NumPy type without its byte order")


class Array(Standin):
    """What stands for a NumPy array until its state comes."""

    def __init__(self) -> None:
        self._array: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Take the shape, the type and the bytes."""
        if type(state) is not tuple or len(state) != 5:
            raise PickleError("a NumPy array without its parts")
        _, shape, kind, by_columns, data = state
        if not isinstance(kind, NumberType) or type(shape) is not tuple or len(shape) > 32:
            raise PickleError("a NumPy array that holds no numbers")
        if not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
            raise PickleError("a NumPy array without its shape")
        flat = np.frombuffer(_bytes(data), kind.dtype)
        self._array = flat.reshape(shape, order="F" if by_columns is True else "C")

    def value(self) -> Any:
        """Return the array, or this while there is none."""
        return self if self._array is None else self._array


def _without_values(*_: Any) -> Any:
    raise PickleError("a tensor on the meta device, which has a shape and no values")


def _of_type(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    # Another call than of a tensor would get by the machine's account of what is handed over.
    if not isinstance(function, Call) or not function.makes_tensor or type(arguments) is not tuple:
        raise PickleError("a tensor without its parts")
    return function.apply(*arguments)


def _layout(name: Any) -> torch.layout:
    found = _plain().get(name) if type(name) is str else None
    if not isinstance(found, torch.layout):
        raise PickleError("a tensor of a layout that is not known")
    return found


def _scalar(kind: Any, data: Any) -> Any:
    if not isinstance(kind, NumberType):
        raise PickleError("a NumPy value that is no number")
    (number,) = np.frombuffer(_bytes(data), kind.dtype)
    return number


def _number(make: type) -> Any:
    def number(value: Any = 0) -> Any:
        return make(_real(value))

    return number


def _real(value: Any) -> int | float:
    if type(value) not in (int, float, bool):
        raise PickleError(f"a number that is a {type(value).__name__}")
    number: int | float = value
    return number


def _list(items: Any) -> Any:
    if type(items) not in (list, tuple, set, frozenset):
        raise PickleError(f"items that are a {type(items).__name__}")
    return items


def _pairs(items: Any) -> dict[Any, Any]:
    if isinstance(items, dict):
        return dict(items)
    pairs = _list(items)
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise PickleError("a dictionary of what are no pairs")
    return {plain_key(key): value for key, value in pairs}


def _bytes(data: Any) -> bytes:
    if type(data) is str:  # protocol 2 has no bytes; they are written as Latin-1
        return data.encode("latin-1")
    if type(data) not in (bytes, bytearray):
        raise PickleError(f"bytes that are a {type(data).__name__}")
    return bytes(data)


def _path_part(part: Any) -> str:
    if type(part) is not str:
        raise PickleError("a path that is no text")
    return part
