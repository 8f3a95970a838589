"""What an inspection found: one object that prints, draws, saves and shows itself in a notebook."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph
from topograph.inspection.verdicts import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from topograph.capturing.coverage import Coverage


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What :func:`topograph.inspect` found about one network.

    Attributes
    ----------
    title, subtitle
        What was looked at.
    coverage
        What of the network the graph models, what not and why; units verified by influence.
    summary
        Numbers by name: ``parameters``, ``weights`` and ``kept`` (of the layers in the graph),
        ``density``, ``effective_density``, ``layers``, ``groups``, ``nodes``, ``hidden_nodes``,
        ``edges``, ``log10_paths`` (total path weight), ``paths_from`` (where path measures are
        taken from: the ``"tensor path"``), ``tau``, ``tau_core`` (its nodes; rule mass, hidden
        nodes), ``tau_core_part`` (of the hidden nodes), ``average_tau_core_ratio``, ``k_max``,
        ``k_max_nodes``, ``isolated`` and ``dead`` (hidden nodes), ``dead_inputs``,
        ``dead_outputs``.
    layers
        A row a weighted operator: ``layer``, ``parameter``, ``kind``, ``shape``, ``source`` and
        ``group`` (where it leads from and to), ``weights``, ``kept``, ``density``, ``on_paths``
        (kept weights on a path), ``path_share`` (part of all path weight that passes over it);
        and of the group that it leads to: ``nodes``, ``dead``, ``isolated``, ``tau_core_ratio``,
        ``in_tau_core``, ``top_share`` (the largest node's part), ``degree_mean``,
        ``k_shell_max``.
    nodes
        A row a node: ``node`` (its id), ``group``, ``index``, ``hidden``, ``degree``,
        ``degree_in``, ``degree_out``, ``k_shell``, ``share`` (of all path weight), ``tau_core``,
        ``dead``, ``isolated``.
    verdicts
        What the numbers say, as sentences.
    provenance
        File, hash, model, input, settings, versions.
    graph
        The layered graph; connectivity is measured on it.
    """

    title: str
    subtitle: str
    coverage: Coverage
    summary: dict[str, Any]
    layers: pd.DataFrame
    nodes: pd.DataFrame
    verdicts: tuple[str, ...]
    provenance: dict[str, Any]
    graph: LayeredGraph

    @property
    def coverage_lines(self) -> tuple[str, ...]:
        """What the graph models, in one sentence, and each thing that it does not in another."""
        sources = (
            f"path measures are taken from the {self.summary['paths_from']}, connectivity from "
            "the graph"
        )
        coverage = self.coverage
        checked = f", {coverage.verified} units verified by influence" if coverage.verified else ""
        first = (
            f"{coverage.modelled} of {coverage.total} weighted operators are in the graph"
            f"{checked}; {sources}."
        )
        missing = [f"Not modelled: {name}: {reason}." for name, reason in coverage.missing]
        opaque = [f"{line[0].upper()}{line[1:]}." for line in coverage.opaque_lines()]
        notes = [f"{note.rstrip('.')}." for note in coverage.notes]
        return (first, *opaque, *missing, *notes)

    def figure(self) -> Figure:
        """Return a matplotlib figure of the layers and the distributions."""
        from topograph.inspection.figure import draw

        return draw(self)

    def save(self, path: str | Path) -> Path:
        """Write the report to a file, whose suffix says in which form.

        Parameters
        ----------
        path
            ``.html``: the whole report, self-contained. ``.json``: all but nodes and graph.
            ``.csv``: the layer frame. ``.parquet``: the node frame. ``.png``, ``.svg``, ``.pdf``:
            the figure. An existing file is replaced.

        Returns
        -------
        pathlib.Path
            The file written.

        Raises
        ------
        TopographError
            For another suffix, or if the file cannot be written.
        """
        path = Path(path)
        writers = {
            ".html": lambda: path.write_text(self._page(), encoding="utf-8"),
            ".json": lambda: path.write_text(self.to_json(), encoding="utf-8"),
            ".csv": lambda: self.layers.to_csv(path, index=False),
            ".parquet": lambda: self.nodes.to_parquet(path, index=False),
            **dict.fromkeys((".png", ".svg", ".pdf"), lambda: self._save_figure(path)),
        }
        if path.suffix.lower() not in writers:
            raise TopographError(
                f"{path} has the suffix {path.suffix!r}; expected one of {', '.join(writers)}",
                'write e.g. report.save("report.html")',
            )
        try:
            writers[path.suffix.lower()]()
        except OSError as error:
            raise TopographError(
                f"{path} cannot be written ({error.strerror or error})",
                "name a file in a folder that exists and may be written to",
            ) from error
        return path

    def to_json(self) -> str:
        """Return all but nodes and graph as JSON; numbers that do not exist are null."""
        coverage = self.coverage
        held = {
            "title": self.title,
            "verdicts": list(self.verdicts),
            "coverage": asdict(coverage),
            "summary": self.summary,
            "layers": self.layers.to_dict("records"),
            "provenance": self.provenance,
        }
        return json.dumps(_plain(held), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _page(self) -> str:
        from topograph.inspection.page import page

        return page(self)

    def _save_figure(self, path: Path) -> None:
        self.figure().savefig(path, dpi=150)

    def _repr_html_(self) -> str:
        from topograph.inspection.page import fragment

        return fragment(self)

    def __str__(self) -> str:
        s = self.summary
        lines = [f"{self.title}: {self.subtitle}", *self.coverage_lines[:3]]
        if len(self.coverage_lines) > 3:
            lines.append(f"… and {len(self.coverage_lines) - 3} more in report.coverage")
        lines += self.verdicts
        lines.append(
            f"log10 of the total path weight {s['log10_paths']:.3f}, average τ-core ratio "
            f"{percent(s['average_tau_core_ratio'])}, k_max {s['k_max']:,}, {s['nodes']:,} nodes, "
            f"{s['edges']:,} edges"
        )
        wrapped = (textwrap.fill(line, 110, subsequent_indent="  ") for line in lines)
        return "\n".join(wrapped)

    __repr__ = __str__


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
