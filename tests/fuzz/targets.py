"""What is fuzzed: from bytes to a reader, and what must never come of it.

Every target reads the bytes as a file (or as the pickle within one), finds the weights, fits them
to a small model and reads every value. A :class:`TopographError` is a good end; any other
exception, a signal, a name looked up by :mod:`pickle`, or anything that touches the system is a
finding.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.topograph import hostile
from topograph.errors import TopographError
from topograph.inspection.files import read_file
from topograph.inspection.matching import match
from topograph.inspection.readers.limits import LIMIT_VARIABLE
from topograph.inspection.readers.shards import read_shards, shards_of
from topograph.inspection.wrappings import unwrap

#: What the tensors of a fuzzed file may take.
LIMIT = 1 << 26

#: Events of Python's audit hooks that reading a file never causes.
_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen"),
    *("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod"),
    *("socket.connect", "socket.bind", "ctypes.dlopen", "pickle.find_class", "shutil.rmtree"),
    *("os.putenv", "os.unsetenv", "tempfile.mkdtemp", "tempfile.mkstemp", "webbrowser.open"),
)

_armed = False


class Executed(BaseException):
    """Something ran that no file may cause to run."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    writing = event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
    if _armed and (event in _FORBIDDEN or writing):
        raise Executed(f"{event} {arguments!r}")


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Raise :class:`Executed` where the body touches the system."""
    global _armed
    _armed = True
    try:
        yield
    finally:
        _armed = False


sys.addaudithook(_watch)
os.environ[LIMIT_VARIABLE] = str(LIMIT)

_MODEL = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
_MADE = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
_FOLDER = Path(_MADE.name)


def use(path: Path, read: Callable[[Path], Any] = read_file) -> None:
    """Read a file and look at every value in it, as an inspection does."""
    with contextlib.suppress(TopographError), watched():
        weights = unwrap(read(path), path.name)
        total = 0
        for value in (*weights.state.values(), *weights.masks.values()):
            total += value.numel() * value.element_size()
            torch.view_as_real(value).sum() if value.is_complex() else value.double().sum()
        # Twice: a mask is laid out beside every sparse tensor.
        if total > 2 * LIMIT:
            raise AssertionError(f"{total:,} bytes of tensors; expected at most {LIMIT:,}")
        match(_MODEL, weights)


def _file(content: bytes, name: str = "a.pt") -> Path:
    path = _FOLDER / name
    path.write_bytes(content)
    return path


def whole_file(content: bytes) -> None:
    """Any bytes, whatever their beginning says they are."""
    use(_file(content))


def zip_pickle(content: bytes) -> None:
    """The pickle within an archive that is in order."""
    held = {"0": bytes(range(64)), "1": bytes(16)}
    use(_file(hostile.zipped(content, held)))


def old_pickle(content: bytes) -> None:
    """What follows the magic number of an old file."""
    head = hostile.old(b"")[: hostile.OLD_HEAD]
    use(_file(head + content))


def safetensors_header(content: bytes) -> None:
    """The header of a safetensors file."""
    use(_file(hostile.safetensors(content, bytes(64))))


def index(content: bytes) -> None:
    """An index of shards, one of which is there."""
    _file(hostile.safetensors({"w": hostile.span((4,), 0, 16)}, bytes(16)), "shard.safetensors")
    path = _file(content, "model.safetensors.index.json")
    use(path, lambda path: read_shards(shards_of(path), read_file))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "file": whole_file,
    "zip": zip_pickle,
    "old": old_pickle,
    "safetensors": safetensors_header,
    "index": index,
}


def seeds(target: str) -> list[bytes]:
    """Return what the fuzzing of a target begins with: the hostile set, and files in order."""
    files = hostile.hostile_files(Path("/nonexistent/canary"))
    small = {key: content for key, content in files.items() if len(content) <= 20_000}
    good = [hostile.honest(new) for new in (True, False)]
    if target == "file":
        return [*good, *small.values()]
    if target == "zip":
        found = [hostile.pickle_of(c) for c in (*small.values(), good[0]) if c[:2] == b"PK"]
        return [body for body in found if body is not None]
    if target == "old":
        head = hostile.old(b"")[: hostile.OLD_HEAD]
        return [c[len(head) :] for c in (*small.values(), good[1]) if c.startswith(head[:15])]
    if target == "safetensors":
        return [c[8:] for key, c in small.items() if key.startswith("safetensors:")]
    named = ["shard.safetensors", "../shard.safetensors", "/etc/passwd", "", "..", "\x00", 3, []]
    return [json.dumps({"weight_map": {"w": name}}).encode() for name in named]
