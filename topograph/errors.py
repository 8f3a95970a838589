"""What went wrong: the one error class of topograph and pwmpr."""

from __future__ import annotations

#: Longer messages are cut: names in them may come from a file, and be of any length.
_LENGTH = 4000


class TopographError(ValueError):
    """A value that cannot be used, with what was expected and what to do about it.

    Every public function of topograph and pwmpr raises this class (and no other) for bad input.
    The message holds the value, the expectation and the remedy; control characters in it, which
    names from a file may hold, are spelt out.

    Examples
    --------
    >>> print(TopographError("tau is 2.0; expected a number in (0, 1]", "pass e.g. tau=0.9"))
    tau is 2.0; expected a number in (0, 1]. Remedy: pass e.g. tau=0.9.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = printable(problem).rstrip(".")
        self.remedy = printable(remedy).rstrip(".")
        message = f"{self.problem}."
        if self.remedy:
            message += f" Remedy: {self.remedy}."
        super().__init__(message)

    def __reduce__(self) -> tuple[type[TopographError], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


def printable(text: str) -> str:
    """Return text that does nothing to a terminal: what is not printable is spelt out.

    Examples
    --------
    >>> print(printable("fc" + chr(0x202E)).encode("ascii").decode())
    fc...202e
    """
    cut = text if len(text) <= _LENGTH else text[:_LENGTH] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
