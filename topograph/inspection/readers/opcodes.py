"""What a pickle says, worked out without calling anything that it names.

A pickle is a program for a stack machine. This is such a machine, with one difference: a name in
the file is looked up in a table that the caller hands over, never imported. What the table holds
are plain values and functions of this package; a name that it lacks stands for nothing, and is
reported when the pickle ends. So the invariant is: whatever bytes are read, only code of this
package runs.

Time and memory are bounded too: by a number of instructions, and by how much the functions in the
table may be handed over again and again (a pickle may refer to one large object many times).
"""

from __future__ import annotations

import mmap
import pickletools
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

#: A pickle of more instructions is refused; a tensor takes about 40.
OPCODE_LIMIT = 5_000_000

#: Containers within containers beyond this depth are refused.
DEPTH_LIMIT = 100

#: Integers beyond this are no keys: Python hashes whole numbers modulo 2**61 - 1, and many keys of
#: one hash take quadratic time.
_KEY_LIMIT = 1 << 60

_MARK = object()

_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "numpy.core": "numpy._core"}


class PickleError(ValueError):
    """A pickle that breaks the format's rules or goes beyond a limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a name in the table stands for if the pickle may call it."""

    apply: Callable[..., Any]
    makes_tensor: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """What stands for a name that is not in the table, and for all that would be made with it."""


class Standin:
    """A value that is not complete before the pickle hands over its state."""

    def set_state(self, state: Any) -> None:
        """Take the state in."""
        raise NotImplementedError

    def value(self) -> Any:
        """Return what stands for it in the result."""
        return self


class Machine:
    """Reads the pickles of one stream, one after the other.

    Parameters
    ----------
    stream
        Where to read; after :meth:`run` it stands behind the pickle's end.
    table
        Full name to value or :class:`Call`.
    persistent
        What a persistent id (in files of torch: a storage) stands for.
    spare
        How many bytes or items may be handed to calls in all, beside what is read.

    Attributes
    ----------
    unknown
        Names that the pickles asked for and that are not in the table.
    """

    def __init__(
        self,
        stream: IO[bytes] | mmap.mmap,
        table: Mapping[str, Any],
        persistent: Callable[[Any], Any],
        spare: int,
    ) -> None:
        self._stream = stream
        self._table = table
        self._persistent = persistent
        self._spare = spare
        self._left = OPCODE_LIMIT
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.unknown: set[str] = set()

    def run(self) -> Any:
        """Return what the next pickle of the stream holds.

        Raises
        ------
        PickleError
            If it is damaged, asks for what this machine does not do, or goes beyond a limit.
        """
        self._stack, self._memo = [], {}
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], self._stream)):
            self._left -= 1
            if self._left < 0:
                raise PickleError(f"more than {OPCODE_LIMIT:,} instructions")
            if opcode.name == "STOP":
                break
            name = opcode.name
            if name in _PUSHED:
                self._stack.append(argument)
            elif name in _STRINGS:
                self._stack.append(_decoded(str(argument)))
            else:
                do = _DO.get(name)
                if do is None:
                    raise PickleError(f"the instruction {name}, which checkpoints do without")
                do(self, argument)
        result = self._pop()
        return result.value() if isinstance(result, Standin) else result

    # The stack.

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("an instruction without its operand")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("an instruction without its operand")
        return self._stack[-1]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        items: list[Any] = []
        while True:
            if not self._stack:
                raise PickleError("the end of a list without its beginning")
            item = self._stack.pop()
            if item is _MARK:
                items.reverse()
                return items
            items.append(item)

    # Containers.

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(plain_key(item) for item in items)
        elif not isinstance(target, Unknown):
            raise PickleError(f"items added to a {type(target).__name__}")

    def _update(self, items: list[Any]) -> None:
        target = self._top()
        if len(items) % 2:
            raise PickleError("a key without its value")
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[plain_key(key)] = value
        elif not isinstance(target, Unknown):
            raise PickleError(f"items set in a {type(target).__name__}")

    def _dict(self, items: list[Any]) -> None:
        self._push({})
        self._update(items)

    # Names, and what is made with them.

    def _name(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleError("a name that is no text")
        full = f"{_OLD_MODULES.get(module, module)}.{name}"
        if full.startswith("numpy.core."):
            full = "numpy._core." + full.removeprefix("numpy.core.")
        if full in self._table:
            return self._table[full]
        if len(self.unknown) < 1000:
            self.unknown.add(full)
        return Unknown()

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push(self._name(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push(self._name(module, name))

    def _extension(self, code: int) -> None:
        self._push(self._name("copyreg", f"extension {code}"))

    def _call(self, target: Any, arguments: Any) -> None:
        if isinstance(target, Unknown) or isinstance(arguments, Unknown):
            self._push(Unknown())
            return
        if type(arguments) is not tuple:
            raise PickleError(f"a call with a {type(arguments).__name__} for arguments")
        if not isinstance(target, Call):
            raise PickleError(f"a call of a {type(target).__name__}")
        if any(isinstance(value, Unknown) for value in arguments):
            self._push(Unknown())
            return
        self._spend(sum(len(v) for v in arguments if isinstance(v, _SIZED)))
        self._push(target.apply(*arguments))

    def _spend(self, amount: int) -> None:
        self._spare -= amount
        if self._spare < 0:
            raise PickleError("one large object handed over again and again")

    def _reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _new_with_keywords(self) -> None:
        keywords, arguments = self._pop(), self._pop()
        target = self._pop()
        if keywords != {} and not isinstance(target, Unknown):
            raise PickleError("a call with keywords")
        self._call(target, arguments)

    def _inst(self, argument: str) -> None:
        arguments = tuple(self._since_mark())
        module, _, name = argument.partition(" ")
        self._call(self._name(module, name), arguments)

    def _obj(self) -> None:
        items = self._since_mark()
        if not items:
            raise PickleError("an object without its class")
        self._call(items[0], tuple(items[1:]))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Unknown) or isinstance(state, Unknown):
            return
        if isinstance(target, Standin):
            self._spend(sum(len(v) for v in state if isinstance(v, _SIZED)) if state else 0)
            target.set_state(state)
            self._stack[-1] = target.value()
        elif isinstance(target, Namespace) and isinstance(state, dict):
            self._spend(len(state))
            vars(target).update((key, value) for key, value in state.items() if type(key) is str)
        elif not isinstance(target, OrderedDict):  # whose state is torch's version bookkeeping
            raise PickleError(f"a state for a {type(target).__name__}")

    def _persistent_id(self, identity: Any) -> None:
        unknown = isinstance(identity, Unknown) or (
            isinstance(identity, tuple) and any(isinstance(part, Unknown) for part in identity)
        )
        self._push(Unknown() if unknown else self._persistent(identity))

    # The memo.

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise PickleError(f"a reference to object {index}, which is not there yet")
        found = self._memo[index]
        self._push(found.value() if isinstance(found, Standin) else found)


def check_tree(held: Any) -> None:
    """Check that containers form a tree that can be walked: finite, not deep, not too large.

    A pickle may refer to one container from many places, so that a few bytes unfold into more
    paths than there are atoms, and from within itself, so that they never end.

    Raises
    ------
    PickleError
        If a container holds itself, is more than :data:`DEPTH_LIMIT` deep, or more than
        :data:`OPCODE_LIMIT` values are met when every path is walked.

    Examples
    --------
    >>> check_tree({"model": {"weight": [1, 2]}})
    """
    # Per container: (values met below it, depth); None while it is being walked.
    seen: dict[int, tuple[int, int] | None] = {}
    todo = [held] if isinstance(held, _CONTAINERS) else []
    while todo:
        value = todo[-1]
        items = _items(value)
        children = [item for item in items if isinstance(item, _CONTAINERS)]
        if id(value) not in seen:
            seen[id(value)] = None
            for child in children:
                if id(child) not in seen:
                    todo.append(child)
                elif seen[id(child)] is None:
                    raise PickleError("a container that holds itself")
            continue
        todo.pop()
        if seen[id(value)] is not None:
            continue
        below = [seen[id(child)] or (0, 0) for child in children]
        size = len(items) + sum(count for count, _ in below)
        depth = 1 + max((deep for _, deep in below), default=0)
        if size > OPCODE_LIMIT or depth > DEPTH_LIMIT:
            raise PickleError(
                f"containers nested more than {DEPTH_LIMIT} deep"
                if depth > DEPTH_LIMIT
                else f"containers that unfold to more than {OPCODE_LIMIT:,} values"
            )
        seen[id(value)] = size, depth


def _items(container: Any) -> Collection[Any]:
    if isinstance(container, Namespace):
        return vars(container).values()
    return container.values() if isinstance(container, dict) else container


def _decoded(text: str) -> str | bytes:
    """Return what Python 2 wrote as a string, read as Latin-1: its text, or else its bytes."""
    raw = text.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def plain_key(value: Any, inside: bool = False) -> Any:
    """Return a value that is quick to hash and cannot recurse, or refuse it as a key."""
    if type(value) in (str, bytes, bool, float, type(None)) or isinstance(value, Unknown):
        return value
    if type(value) is int and -_KEY_LIMIT < value < _KEY_LIMIT:
        return value
    if type(value) is tuple and not inside and len(value) <= 8:
        return tuple(plain_key(item, inside=True) for item in value)
    raise PickleError(f"a key that is a {type(value).__name__}")


def _set(machine: Machine) -> set[Any]:
    return {plain_key(item) for item in machine._since_mark()}


_CONTAINERS = (dict, list, tuple, Namespace)

_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)

#: Instructions that push what stands behind them in the file.
_PUSHED = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)
_STRINGS = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))

_DO: dict[str, Callable[[Machine, Any], Any]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "MARK": lambda m, _: m._push(_MARK),
    "POP": lambda m, _: m._stack.pop() if m._stack else m._pop(),
    "POP_MARK": lambda m, _: m._since_mark(),
    "DUP": lambda m, _: m._push(m._top()),
    "NONE": lambda m, _: m._push(None),
    "NEWTRUE": lambda m, _: m._push(True),
    "NEWFALSE": lambda m, _: m._push(False),
    "EMPTY_LIST": lambda m, _: m._push([]),
    "EMPTY_TUPLE": lambda m, _: m._push(()),
    "EMPTY_DICT": lambda m, _: m._push({}),
    "EMPTY_SET": lambda m, _: m._push(set()),
    "LIST": lambda m, _: m._push(m._since_mark()),
    "TUPLE": lambda m, _: m._push(tuple(m._since_mark())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "DICT": lambda m, _: m._dict(m._since_mark()),
    "FROZENSET": lambda m, _: m._push(frozenset(_set(m))),
    "APPEND": lambda m, _: m._extend([m._pop()]),
    "APPENDS": lambda m, _: m._extend(m._since_mark()),
    "ADDITEMS": lambda m, _: m._extend(m._since_mark()),
    "SETITEM": lambda m, _: m._update([m._pop(), m._pop()][::-1]),
    "SETITEMS": lambda m, _: m._update(m._since_mark()),
    "GLOBAL": lambda m, argument: m._global(argument),
    "STACK_GLOBAL": lambda m, _: m._stack_global(),
    "EXT1": lambda m, argument: m._extension(argument),
    "EXT2": lambda m, argument: m._extension(argument),
    "EXT4": lambda m, argument: m._extension(argument),
    "REDUCE": lambda m, _: m._reduce(),
    "NEWOBJ": lambda m, _: m._reduce(),
    "NEWOBJ_EX": lambda m, _: m._new_with_keywords(),
    "INST": lambda m, argument: m._inst(argument),
    "OBJ": lambda m, _: m._obj(),
    "BUILD": lambda m, _: m._build(),
    "PERSID": lambda m, argument: m._persistent_id(argument),
    "BINPERSID": lambda m, _: m._persistent_id(m._pop()),
    "PUT": lambda m, argument: m._put(argument),
    "BINPUT": lambda m, argument: m._put(argument),
    "LONG_BINPUT": lambda m, argument: m._put(argument),
    "MEMOIZE": lambda m, _: m._put(len(m._memo)),
    "GET": lambda m, argument: m._get(argument),
    "BINGET": lambda m, argument: m._get(argument),
    "LONG_BINGET": lambda m, argument: m._get(argument),
}
