"""What a report says where the graph is larger than memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from topograph.inspection.report import Report


@dataclass(frozen=True, eq=False, repr=False)
class LargeReport(Report):
    """A report on a network whose graph would not fit into memory.

    It has all that a :class:`topograph.inspection.report.Report` has, counted from one weight at a
    time; ``graph`` is None, no unit is checked by influence, and k-shells are NaN unless every
    connection that there could be is there.
    """

    graph: None  # type: ignore[assignment]

    @property
    def coverage_lines(self) -> tuple[str, ...]:
        """As for any report, and after the first sentence what was not computed and why."""
        first, *rest = super().coverage_lines
        shells = " and no k-shells are known" if math.isnan(self.summary["k_max"]) else ""
        large = (
            f"The graph ({self.summary['edges']:,} edges) is larger than memory, so weights were "
            f"looked at one at a time: the graph is not drawn, units are not checked by "
            f"influence{shells}."
        )
        return (large, first, *rest)
