"""What went wrong: the one error class of topograph and pwmpr."""

from __future__ import annotations


class TopographError(ValueError):
    """A value that cannot be used, with what was expected and what to do about it.

    Every public function of topograph and pwmpr raises this class (and no other) for bad input.
    The message holds the value, the expectation and the remedy.

    Examples
    --------
    >>> print(TopographError("tau is 2.0; expected a number in (0, 1]", "pass e.g. tau=0.9"))
    tau is 2.0; expected a number in (0, 1]. Remedy: pass e.g. tau=0.9.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem.rstrip(".")
        self.remedy = remedy.rstrip(".")
        message = f"{self.problem}."
        if self.remedy:
            message += f" Remedy: {self.remedy}."
        super().__init__(message)

    def __reduce__(self) -> tuple[type[TopographError], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)
