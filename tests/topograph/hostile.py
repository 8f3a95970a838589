"""Files that were made to do harm, written byte by byte and the same every time."""

from __future__ import annotations

import copyreg
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

#: Sizes that no machine holds.
HUGE = 2**44


# Pickles, instruction by instruction.


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(value: int) -> bytes:
    raw = pickle.encode_long(value)
    return b"\x8a" + bytes([len(raw)]) + raw


def items(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def sizes(values: Sequence[int]) -> bytes:
    return items(*map(whole, values))


def mapping(**parts: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in parts.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def call(module: str, what: str, *arguments: bytes) -> bytes:
    return name(module, what) + items(*arguments) + b"R"


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    return items(text("storage"), name("torch", kind), text(key), text("cpu"), whole(count)) + b"Q"


def old_storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    return (
        items(text("storage"), name("torch", kind), text(key), text("cpu"), whole(count), b"N")
        + b"Q"
    )


def tensor(
    held: bytes, shape: Sequence[int], stride: Sequence[int], offset: int = 0, more: bytes = b""
) -> bytes:
    hooks = call("collections", "OrderedDict")
    return call(
        "torch._utils",
        "_rebuild_tensor_v2",
        held,
        whole(offset),
        sizes(shape),
        sizes(stride),
        b"\x89",
        hooks,
        more,
    )


# Files.


_OLD = [
    pickle.dumps(0x1950A86A20F9469CFC6C, 2),
    pickle.dumps(1001, 2),
    pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2),
]

#: How long the part of an old file is that is always the same.
OLD_HEAD = len(b"".join(_OLD))


def zipped(
    body: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> bytes:
    """A file of torch.save since 1.6."""
    parts = {"a/data.pkl": body, "a/version": b"3\n", "a/byteorder": b"little"}
    parts |= {f"a/data/{key}": data for key, data in (storages or {}).items()}
    return archive(parts, method)


def pickle_of(content: bytes) -> bytes | None:
    """The pickle in a file of torch.save since 1.6, if it can be had."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as held:
            return held.read(next(key for key in held.namelist() if key.endswith("data.pkl")))
    except (zipfile.BadZipFile, StopIteration, RuntimeError, NotImplementedError, OSError):
        return None


def archive(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as made:
        for key, data in parts.items():
            made.writestr(zipfile.ZipInfo(key), data, compress_type=method)
    return held.getvalue()


def old(body: bytes, storages: dict[str, tuple[int, bytes]] | None = None) -> bytes:
    """A file of torch.save before 1.6; storages as (number of elements, bytes)."""
    held = storages or {}
    head = [*_OLD, body, pickle.dumps(list(held), 2)]
    return b"".join(head) + b"".join(struct.pack("<q", n) + data for n, data in held.values())


def safetensors(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def span(shape: Sequence[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def honest(new: bool = True) -> bytes:
    """A checkpoint as scripts write them."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with torch.no_grad():
        for number, value in enumerate(net.state_dict().values()):
            value.fill_(number)
    held = io.BytesIO()
    state = {"state_dict": net.state_dict(), "epoch": 3, "best": np.float64(0.5)}
    torch.save(state, held, _use_new_zipfile_serialization=new)
    return held.getvalue()


class _Reduced:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts


def executing(canary: Path) -> dict[str, bytes]:
    """Pickles that make a folder, or worse, where they are unpickled in full."""
    made = str(canary)
    code = f"import os; os.mkdir({made!r})"
    path, script = text(made), text(code)
    run = call("builtins", "exec", script)
    long = "mkdir" + "\u200b" * 3
    bodies = {
        "os.system": call("os", "system", text(f"mkdir {made}")),
        "posix.system": call("posix", "system", text(f"mkdir {made}")),
        "os.mkdir": call("os", "mkdir", path),
        "exec": run,
        "eval": call("builtins", "eval", text(f"__import__('os').mkdir({made!r})")),
        "exec of Python 2": call("__builtin__", "exec", script),
        "compile": call("builtins", "compile", script, text("x"), text("exec")),
        "nested": call("builtins", "list", call("builtins", "map", run, b"]")),
        "subprocess": call("subprocess", "Popen", b"](" + text("mkdir") + path + b"e"),
        "getattr": call(
            "builtins", "getattr", call("builtins", "__import__", text("os")), text("mkdir")
        )
        + b"("
        + path
        + b"tR",
        "inst": b"(" + path + b"ios\nmkdir\n",
        "obj": b"(" + name("os", "mkdir") + path + b"o",
        "newobj": name("os", "mkdir") + items(path) + b"\x81",
        "newobj with keywords": name("os", "mkdir") + items(path) + b"}\x92",
        "stack global": b"\x80\x04" + text("os") + text("mkdir") + b"\x93" + items(path) + b"R",
        "name with odd letters": text("os") + text(long) + b"\x93" + items(path) + b"R",
        "name with a path": b"\x80\x04"
        + text("torch")
        + text("serialization.os.mkdir")
        + b"\x93"
        + items(path)
        + b"R",
        "build": name("argparse", "Namespace")
        + b")\x81"
        + mapping(__class__=name("os", "mkdir"))
        + b"b",
        "build of a class": name("argparse", "Namespace")
        + items(b"N", mapping(__init__=name("builtins", "exec")))
        + b"b",
        "setstate": call("torch._utils", "_rebuild_parameter", run, b"\x89", b"N"),
        "torch.hub": call("torch.hub", "load", text("a/b"), text("c")),
        "torch.load": call("torch.serialization", "load", path),
        "torch.compile": call("torch", "compile", run),
        "importlib": call("importlib", "import_module", text("antigravity")),
        "numpy runstring": call("numpy.testing._private.utils", "runstring", script, b"}"),
        "pickle in a pickle": call("_pickle", "loads", b"C\x04cos\n"),
        "reconstructor": call(
            "copy_reg", "_reconstructor", name("os", "_wrap_close"), name("os", "X"), b"N"
        ),
        "from another type": call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            name("builtins", "exec"),
            name("torch", "Tensor"),
            items(script),
            b"N",
        ),
        "harmless call within a call": call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            name("_codecs", "encode"),
            name("torch", "Tensor"),
            items(script),
            b"N",
        ),
        "persistent id": items(text("module"), name("os", "mkdir"), path, path) + b"Q",
        "persistent text": b"P" + made.encode() + b"\n",
        "extension 1": b"\x82\x01" + items(path) + b"R",
        "extension 4": b"\x84" + struct.pack("<i", 77_777) + items(path) + b"R",
        "file written": call("builtins", "open", path, text("w")),
        "temporary folder": call("tempfile", "mkdtemp", b"N", b"N", path),
        "default factory": call("collections", "defaultdict", name("os", "getpid")),
        "wrapper subclass": call(
            "torch._utils", "_rebuild_wrapper_subclass", name("os", "mkdir"), path
        ),
        "shared object": call("ctypes", "CDLL", path),
    }
    beside = {key: mapping(state_dict=mapping(), extra=body) for key, body in bodies.items()}
    files = {f"zip: {key}": zipped(program(body)) for key, body in beside.items()}
    files |= {f"old: {key}": old(program(body)) for key, body in beside.items()}
    files["plain pickle"] = program(run)
    files["plain pickle, protocol 4"] = b"\x80\x04" + run + b"."
    files["old: magic number that runs"] = program(run) + old(program(b"}"))[14:]
    files["old: keys that run"] = old(program(b"}"))[:-10] + program(run)
    copied = {"state_dict": {"w": torch.ones(2)}, "extra": _Reduced(exec, (code,))}
    for new in (True, False):
        held = io.BytesIO()
        torch.save(copied, held, _use_new_zipfile_serialization=new)
        files[f"torch.save of a reduced object, {'zip' if new else 'old'}"] = held.getvalue()
    files["exported program"] = archive(
        {
            "m/archive_format": b"pt2",
            "m/models/model.json": b"{}",
            "m/data/sample_inputs/model.pt": zipped(program(run)),
        }
    )
    files["TorchScript"] = archive({"m/constants.pkl": program(run), "m/code/a.py": code.encode()})
    files["npy of objects"] = npy("|O", (1,), program(run))
    files["npz of objects"] = archive({"w.npy": npy("|O", (1,), program(run))})
    assert copyreg is not None
    return files


def npy(kind: str, shape: Sequence[int], data: bytes) -> bytes:
    size = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    head = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': ({size}), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def claiming() -> dict[str, bytes]:
    """Files that ask for more than they hold, or more than there is."""
    four = bytes(16)
    plain = tensor(storage("0", 4), (4,), (1,))
    typed = {
        f"{key} called": zipped(program(mapping(w=body)), {"0": four})
        for key, body in {
            "legacy tensor class": call("torch", "FloatTensor", whole(HUGE)),
            "untyped storage": call("torch.storage", "UntypedStorage", whole(HUGE)),
            "bytearray": call("builtins", "bytearray", whole(HUGE)),
            "list of a number": call("builtins", "list", whole(HUGE)),
            "range": call("builtins", "list", call("builtins", "range", whole(HUGE))),
            "numpy zeros": call("numpy", "zeros", whole(HUGE)),
            "numpy reconstruct": call(
                "numpy.core.multiarray",
                "_reconstruct",
                name("numpy", "ndarray"),
                sizes((HUGE,)),
                b"C\x01b",
            ),
            "meta tensor": call(
                "torch._utils",
                "_rebuild_meta_tensor_no_storage",
                name("torch", "float32"),
                sizes((HUGE,)),
                sizes((1,)),
                b"\x89",
            ),
            "quantised tensor": call(
                "torch._utils",
                "_rebuild_qtensor",
                storage("0", 16, "QInt8Storage"),
                whole(0),
                sizes((2**20, 2**20)),
                sizes((0, 0)),
                items(name("torch", "per_tensor_affine"), b"G" + struct.pack(">d", 1.0), whole(0)),
                b"\x89",
                call("collections", "OrderedDict"),
            ),
            "complex from text": call("builtins", "complex", text("1" * 50)),
        }.items()
    }
    indices = tensor(storage("0", 2, "LongStorage"), (2, 1), (1, 1))
    values = tensor(storage("1", 1), (1,), (1,))
    layout = call("torch.serialization", "_get_layout", text("torch.sparse_coo"))

    def coo(shape: Sequence[int], place: int = 0) -> bytes:
        body = call(
            "torch._utils",
            "_rebuild_sparse_tensor",
            layout,
            items(indices, values, sizes(shape), b"\x89"),
        )
        return zipped(program(mapping(w=body)), {"0": struct.pack("<2q", place, 0), "1": four[:4]})

    views = {
        "stride 0": tensor(storage("0", 4), (10**6, 10**6), (0, 0)),
        "expanded": tensor(storage("0", 4), (HUGE, 4), (0, 1)),
        "beyond the storage": tensor(storage("0", 4), (5,), (1,)),
        "stride beyond": tensor(storage("0", 4), (2, 2), (2**40, 1)),
        "offset beyond": tensor(storage("0", 4), (4,), (1,), offset=1),
        "huge offset": tensor(storage("0", 4), (4,), (1,), offset=2**62),
        "negative offset": tensor(storage("0", 4), (4,), (1,), offset=-1),
        "negative size": tensor(storage("0", 4), (-4,), (1,)),
        "negative stride": tensor(storage("0", 4), (4,), (-1,)),
        "sizes that overflow": tensor(storage("0", 4), (2**32, 2**32), (0, 0)),
        "sizes that multiply to no float": tensor(storage("0", 4), (2**47,) * 60, (0,) * 60),
        "too many dimensions": tensor(storage("0", 4), (1,) * 1000, (1,) * 1000),
        "fewer strides": tensor(storage("0", 4), (2, 2), (1,)),
        "size that is no number": call(
            "torch._utils", "_rebuild_tensor_v2", storage("0", 4), b"N", b"]", b"]"
        ),
        "storage that is a list": call(
            "torch._utils", "_rebuild_tensor_v2", b"]", whole(0), sizes((4,)), sizes((1,))
        ),
        "storage longer than its member": tensor(storage("0", HUGE), (4,), (1,)),
        "storage that is not there": tensor(storage("9", 4), (4,), (1,)),
        "storage in another folder": tensor(storage("../../a", 4), (4,), (1,)),
        "storage of two lengths": b"](" + plain + tensor(storage("0", 3), (3,), (1,)) + b"e",
        "storage of no type": tensor(
            items(text("storage"), b"N", text("0"), text("cpu"), whole(4)) + b"Q", (4,), (1,)
        ),
    }
    files = typed | {
        f"tensor: {key}": zipped(program(mapping(w=body)), {"0": four})
        for key, body in views.items()
    }
    many = b"".join(tensor(storage("0", 4), (10**4, 10**4), (0, 0)) for _ in range(2000))
    files["many views of one storage"] = zipped(program(b"](" + many + b"e"), {"0": four})
    files["sparse, dense size"] = coo((2**20, 2**20))
    files["sparse, index beyond"] = coo((2, 2), place=7)
    files["sparse, negative index"] = coo((2, 2), place=-1)
    files["old: storage that is not there"] = old(
        program(mapping(w=tensor(old_storage("0", HUGE), (4,), (1,)))), {"0": (HUGE, four)}
    )
    files["old: view"] = old(
        program(mapping(w=tensor(old_storage("0", 4), (10**6, 10**6), (0, 0)))), {"0": (4, four)}
    )
    files["old: storage listed twice"] = old(
        program(mapping(w=tensor(old_storage("0", 4), (4,), (1,)))), {"0": (4, four)}
    ).replace(pickle.dumps(["0"], 2), pickle.dumps(["0", "0"], 2))
    files["old: keys that are lists"] = old(program(b"}")).replace(
        pickle.dumps([], 2), pickle.dumps([[1]], 2)
    )
    return files


def growing() -> dict[str, bytes]:
    """Pickles that are small and take for ever, or all of the stack."""
    deep = b")" + b"\x85" * 100_000
    doubled = b"]" + b"".join(b"q\x00](h\x00h\x00e" for _ in range(64))
    bodies = {
        "deep key": b"}" + deep + b"K\x01s",
        "deep tuple": mapping(w=deep),
        "deep list": b"]" * 50_000 + b"a" * 49_999,
        "doubled 64 times": mapping(model=doubled),
        "dictionaries doubled": b"}"
        + b"".join(b"q\x00}(" + text("a") + b"h\x00" + text("b") + b"h\x00u" for _ in range(64)),
        "holds itself": b"}q\x00" + text("model") + b"h\x00s",
        "list that holds itself": b"]q\x00h\x00a",
        "key that is a list": b"}]K\x01s",
        "keys of one hash": b"}("
        + b"".join(whole(k * (2**61 - 1)) + b"N" for k in range(1, 20_000))
        + b"u",
        "one text encoded again and again": b"]("
        + text("x" * 500_000)
        + b"q\x00"
        + b"".join(name("_codecs", "encode") + b"(h\x00tR" for _ in range(20_000))
        + b"e",
        "memo of a far place": b"}r\xff\xff\xff\xffj\xff\xff\xff\xff0",
        "memo that is empty": b"h\x07",
        "text of 4 GiB": b"X\xff\xff\xff\xffabc",
        "bytes of 2**63": b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 1),
        "number of 2 GiB": b"\x8b\xff\xff\xff\x7f1",
        "number of many digits": b"I" + b"9" * 100_000 + b"\n",
        "nothing on the stack": b"0000",
        "mark alone": b"(",
        "end of no list": b"t",
        "key without value": b"}(" + text("a") + b"u",
        "items for a number": b"K\x01K\x02a",
        "call of a number": b"K\x01)R",
        "out-of-band buffer": b"\x97",
        "values left on the stack": b"}" * 10,
        "text that is no UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
    }
    files = {f"pickle: {key}": zipped(program(body)) for key, body in bodies.items()}
    files["old pickle: deep key"] = old(program(bodies["deep key"]))
    files["old pickle: doubled"] = old(program(bodies["doubled 64 times"]))
    files["pickle without its end"] = zipped(b"\x80\x02}")
    files["pickle of no bytes"] = zipped(b"")
    files["pickle of an unknown instruction"] = zipped(b"\x80\x02\xff.")
    kind = call("numpy", "dtype", text("f8"), b"\x89", b"\x88")
    state = items(whole(3), text("<"), b"N", b"N", b"N", whole(1 << 40), whole(8), whole(63))
    fields = items(whole(3), text("|"), b"N", items(text("a")), b"}", whole(8), whole(8), whole(0))
    scalars = {
        "of objects": call("numpy", "dtype", text("O8"), b"\x89", b"\x88"),
        "of a size of its own": kind + state + b"b",
        "with fields": kind + fields + b"b",
    }
    for key, made in scalars.items():
        body = call("numpy.core.multiarray", "scalar", made, b"U\x04abcd")
        files[f"numpy scalar {key}"] = zipped(program(mapping(w=body)))
    return files


def archives() -> dict[str, bytes]:
    """Zip archives that are not what they say."""
    body = program(mapping(w=tensor(storage("0", 4), (4,), (1,))))
    good = zipped(body, {"0": bytes(16)})
    end = good.rfind(b"PK\x05\x06")
    directory = int.from_bytes(good[end + 16 : end + 20], "little")
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as made:
        made.writestr(zipfile.ZipInfo("a/data.pkl"), body)
        made.writestr(zipfile.ZipInfo("b/data.pkl"), body)
    same = archive({"a/data.pkl": body, "a/data.pkX": program(b"}")}).replace(b".pkX", b".pkl")
    longer = bytearray(good)
    longer[end + 12 : end + 16] = struct.pack("<I", 2**31)
    where = good.index(b"a/data/0", directory) - 46
    sized = bytearray(good)
    sized[where + 20 : where + 28] = struct.pack("<2I", 2**31, 2**31)
    overlapping = bytearray(good)
    overlapping[where + 42 : where + 46] = bytes(4)
    crossed = bytearray(good)
    crossed[where + 20 : where + 28] = struct.pack("<2I", 400, 400)
    encrypted = bytearray(good)
    first = directory + 8
    encrypted[first : first + 2] = b"\x01\x00"
    method = bytearray(good)
    method[directory + 10 : directory + 12] = struct.pack("<H", 99)
    bomb = zipped(body, {"0": bytes(20_000_000)}, zipfile.ZIP_DEFLATED)
    return {
        "zip bomb": bomb,
        "zip bomb in the pickle": zipped(bytes(30_000_000), None, zipfile.ZIP_DEFLATED),
        "bzip2 bomb": zipped(body, {"0": bytes(20_000_000)}, zipfile.ZIP_BZIP2),
        "deflated, size that lies": zipped(body, {"0": bytes(4000)}, zipfile.ZIP_DEFLATED).replace(
            struct.pack("<I", 4000), struct.pack("<I", 100)
        ),
        "two pickles": twice.getvalue(),
        "one name twice": same,
        "directory beyond the end": bytes(longer),
        "member beyond the end": bytes(sized),
        "members that overlap": bytes(overlapping),
        "member into the directory": bytes(crossed),
        "encrypted": bytes(encrypted),
        "unknown compression": bytes(method),
        "no pickle": archive({"a/readme": b"hello"}),
        "nothing": archive({}),
        "first bytes alone": b"PK\x03\x04",
        "many members": archive({f"a/{k}": b"" for k in range(3000)}),
        "wrong checksum of the pickle": good.replace(
            struct.pack("<I", zlib.crc32(body)), struct.pack("<I", 7)
        ),
    }


def headers() -> dict[str, bytes]:
    """Safetensors files whose headers lie."""
    four = bytes(16)
    entry = span((4,), 0, 16)
    twice = b'{"w":' + json.dumps(entry).encode() + b',"w":' + json.dumps(entry).encode() + b"}"
    wrong = {
        "beyond the end": {"w": span((HUGE,), 0, 4 * HUGE)},
        "overlapping": {"a": span((4,), 0, 16), "b": span((2,), 8, 16)},
        "the same bytes": {"a": entry, "b": entry},
        "gap": {"a": span((1,), 0, 4), "b": span((1,), 12, 16)},
        "shape larger than its bytes": {"w": span((1000,), 0, 16)},
        "shape that overflows": {"w": span((2**33, 2**33), 0, 16)},
        "backwards": {"w": span((4,), 16, 0)},
        "negative": {"w": span((4,), -16, 0)},
        "negative size": {"w": span((-4,), 0, 16)},
        "fraction": {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0.0, 16.0]}},
        "unknown type": {"w": span((4,), 0, 16, "F33")},
        "type that is a list": {"w": {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]}},
        "no offsets": {"w": {"dtype": "F32", "shape": [4]}},
        "three offsets": {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]}},
        "entry that is text": {"w": "F32"},
        "many dimensions": {"w": span((1,) * 2000, 0, 4)},
        "metadata that is a number": {"__metadata__": 3, "w": entry},
    }
    files = {f"safetensors: {key}": safetensors(header, four) for key, header in wrong.items()}
    return files | {
        "safetensors: one name twice": safetensors(twice, four),
        "safetensors: header that is no JSON": safetensors(b"{'w'}", four),
        "safetensors: header that is no UTF-8": safetensors(b'{"\xff":1}', four),
        "safetensors: deep header": safetensors(b'{"a":' * 50_000, four),
        "safetensors: long header": struct.pack("<Q", 2**27) + b"{" + bytes(100),
        "safetensors: header beyond the end": struct.pack("<Q", 2**62) + b"{}",
        "safetensors: number of many digits": safetensors(
            b'{"w":{"dtype":"F32","shape":[' + b"9" * 9000 + b'],"data_offsets":[0,16]}}', four
        ),
        "safetensors: bytes behind the last tensor": safetensors({"w": entry}, four + b"more"),
        "safetensors: nothing in it": safetensors({}),
    }


def others() -> dict[str, bytes]:
    """Files cut short, of other formats, or of NumPy with headers that lie."""
    files = {
        "empty": b"",
        "one byte": b"\x80",
        "zeros": bytes(4096),
        "text": b"hello, this is a text file",
        "npy of more than it holds": npy("<f4", (HUGE,), bytes(16)),
        "npy of a size below 0": npy("<f4", (-4,), bytes(16)),
        "npy of a size beyond 64 bits": npy("<f4", (0, 2**70), b""),
        "npy header that is code": npy("<f4", (), b"").replace(b"'<f4'", b"exit()"),
        "npz of more than it holds": archive({"w.npy": npy("<f4", (2**40,), bytes(16))}),
    }
    whole_files = {
        "zip": honest(),
        "old": honest(new=False),
        "safetensors": save_safetensors({"w": torch.ones(8, 8), "b": torch.ones(8)}),
    }
    for kind, content in whole_files.items():
        for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
            files[f"{kind} cut at {part:.0%}"] = content[: int(part * len(content))]
    return files


def hostile_files(canary: Path) -> dict[str, bytes]:
    """Name to content of every file; those that run code make a folder at ``canary``."""
    return {
        **executing(canary),
        **claiming(),
        **growing(),
        **archives(),
        **headers(),
        **others(),
    }
