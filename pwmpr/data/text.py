"""How text becomes samples for a language model: windows of characters, each with the next ones."""

from __future__ import annotations

import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topograph.errors import TopographError

#: Characters of the embedded text.
EMBEDDED_LENGTH = 400_000

#: Part of a text, at its end, that is kept for the test.
TEST_PART = 0.1


@dataclass(frozen=True, eq=False)
class Windows:
    """Consecutive windows of a text, without overlap.

    Attributes
    ----------
    tokens
        int64, shape (n,): character numbers.
    context
        Characters of a window.

    Examples
    --------
    >>> windows = Windows(torch.arange(8), context=3)
    >>> len(windows), windows[1]
    (2, (tensor([3, 4, 5]), tensor([4, 5, 6])))
    """

    tokens: Tensor
    context: int

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.context

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.context
        return self.tokens[start:][: self.context], self.tokens[start + 1 :][: self.context]


@dataclass(frozen=True, eq=False)
class Text:
    """A text with its splits, each one stretch of it.

    Attributes
    ----------
    name
        What it is called.
    characters
        Its distinct characters, in order of their code points; the vocabulary.
    train, validation, test
        The splits; a missing one is None.
    digest
        SHA-256 of the whole text.
    """

    name: str
    characters: str
    train: Windows
    validation: Windows | None
    test: Windows | None
    digest: str

    @property
    def title(self) -> str:
        """The name for captions."""
        return self.name

    @property
    def outputs(self) -> int:
        """How many classes a model of it tells apart."""
        return len(self.characters)

    @property
    def options(self) -> dict[str, Any]:
        """What the data decide about a network that is built for them."""
        return {"vocabulary": len(self.characters), "context": self.train.context}

    @property
    def details(self) -> dict[str, Any]:
        """What tells these data from others, as plain values."""
        return {"characters": self.characters, "context": self.train.context, "sha256": self.digest}

    def split_validation(self, fraction: float = 0.1, seed: int = 0) -> Text:
        """Return the text with the end of its training part as validation part.

        One stretch, whatever the seed: windows drawn at random would lie beside training windows.

        Raises
        ------
        TopographError
            If no whole window would be left on one side.
        """
        if self.validation is not None or fraction == 0:
            return self
        tokens, context = self.train.tokens, self.train.context
        border = len(tokens) - round(fraction * len(tokens))
        parts = Windows(tokens[:border], context), Windows(tokens[border:], context)
        if not all(map(len, parts)):
            raise TopographError(
                f"validation={fraction} of {len(tokens)} characters leaves no window of {context} "
                "characters on one side",
                "pass a longer text, a shorter context or another fraction",
            )
        return Text(self.name, self.characters, *parts, self.test, self.digest)


def read_text(path: str | Path, context: int = 64) -> Text:
    """Return a UTF-8 text file as training and test part.

    Raises
    ------
    TopographError
        If it cannot be read, is no UTF-8 text, or is too short.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopographError(
            f"{path} cannot be read as UTF-8 text ({error})", "pass the path of a text file"
        ) from None
    return as_text(path.name, text, context)


def python_source(context: int = 64) -> Text:
    """Return source text of Python's own standard library: its top-level modules, in order."""
    pieces: list[str] = []
    length = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        pieces.append(path.read_text(encoding="utf-8", errors="ignore"))
        length += len(pieces[-1])
        if length >= EMBEDDED_LENGTH:
            break
    text = "".join(pieces)[:EMBEDDED_LENGTH]
    return as_text(f"Python {sysconfig.get_python_version()} library sources", text, context)


def as_text(name: str, text: str, context: int) -> Text:
    """Return a text as numbers of its characters, its end as test part.

    Raises
    ------
    TopographError
        If training or test part would hold no whole window.
    """
    characters = "".join(sorted(set(text)))
    number = {character: index for index, character in enumerate(characters)}
    tokens = torch.tensor([number[character] for character in text], dtype=torch.int64)
    border = len(tokens) - round(TEST_PART * len(tokens))
    train, test = Windows(tokens[:border], context), Windows(tokens[border:], context)
    if not (len(train) and len(test)):
        raise TopographError(
            f"{name} has {len(text)} characters; expected at least {11 * (context + 1)}, a tenth "
            f"of which holds a window of {context}",
            "pass a longer text or a shorter context",
        )
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Text(name, characters, train, None, test, digest)
