"""What an inspection found: one object that prints, draws, saves and shows itself in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from topograph.errors import TopographError
from topograph.graph.layered import LayeredGraph
from topograph.inspection.kept import Kept
from topograph.inspection.saving import as_json, said, save_as, write_csv, write_text
from topograph.inspection.verdicts import Verdict
from topograph.inspection.wording import (
    clean,
    count,
    grouped_notes,
    grouped_reasons,
    number,
    percent,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions, RenderResult

    from topograph.capturing.coverage import Coverage
    from topograph.inspection.comparison import Comparison
    from topograph.powerlaws import PowerLawFit

#: What :meth:`Report.to_json` writes; counted up when a field changes its name or meaning.
SCHEMA = "topograph.report/1"


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
        (kept weights on a path), ``effective_density`` (those, of all weights), ``path_share``
        (part of all path weight that passes over it); and of the group that it leads to:
        ``nodes``, ``dead``, ``isolated``, ``tau_core_ratio``, ``in_tau_core``, ``top_share`` (the
        largest node's part), ``degree_mean``, ``k_shell_max``, ``k_shell_mean``.
    nodes
        A row a node: ``node`` (its id), ``group``, ``index``, ``hidden``, ``degree``,
        ``degree_in``, ``degree_out``, ``k_shell``, ``share`` (of all path weight), ``tau_core``,
        ``dead``, ``isolated``.
    verdicts
        What the numbers say, as sentences; ``verdict.rule`` is the rule behind each.
    provenance
        File, hash, model, input, settings, versions. No time: the same input gives the same bytes.
    graph
        The layered graph; connectivity is measured on it.
    masks
        Which weights are kept, by parameter name, packed; empty where that is not known.
    """

    title: str
    subtitle: str
    coverage: Coverage
    summary: dict[str, Any]
    layers: pd.DataFrame
    nodes: pd.DataFrame
    verdicts: tuple[Verdict, ...]
    provenance: dict[str, Any]
    graph: LayeredGraph
    masks: Mapping[str, Kept] = field(default_factory=dict)

    @property
    def coverage_lines(self) -> tuple[str, ...]:
        """What the graph models, in one sentence, and what it does not, a line a reason."""
        coverage = self.coverage
        checked = f", {coverage.verified} units verified by influence" if coverage.verified else ""
        source = self.summary["paths_from"]
        sources = (
            f"; path measures are taken from the {source}, connectivity from the graph"
            if source
            else ""
        )
        first = (
            f"{coverage.modelled} of {coverage.total} weighted operators are in the graph"
            f"{checked}{sources}."
        )
        missing = [f"Not modelled: {line}." for line in grouped_reasons(coverage.missing)]
        opaque = [f"{line[0].upper()}{line[1:]}." for line in coverage.opaque_lines()]
        notes = [f"{note}." for note in grouped_notes(coverage.notes)]
        return tuple(map(clean, (first, *opaque, *missing, *notes)))

    @cached_property
    def degree_fit(self) -> PowerLawFit:
        """The power law fitted to the nodes' degrees, without the slow p-value."""
        return self.power_law(replicas=0)

    def power_law(self, replicas: int = 2500, seed: int = 0) -> PowerLawFit:
        """Fit a power law to the degrees of all nodes, and test it by a bootstrap.

        Parameters
        ----------
        replicas, seed
            Of the bootstrap: the p-value's error is about 1 / (2 √replicas), its time goes with
            the replicas.

        See Also
        --------
        topograph.fit_power_law
        """
        from topograph.powerlaws import fit_power_law

        return fit_power_law(self.nodes["degree"].to_numpy(), replicas=replicas, seed=seed)

    def diff(self, other: Report) -> Comparison:
        """Compare this network with another: what of it ``other`` has changed.

        Layers go together by name. Where the networks differ in structure, what both have is
        compared, and the rest is named.

        Parameters
        ----------
        other
            The report of the other network: the later one, as differences are its numbers less
            these.

        Raises
        ------
        TopographError
            If ``other`` is no report.

        Examples
        --------
        >>> import topograph as tg
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> before = tg.inspect(net)
        >>> _ = net[0].weight.data[:2].zero_()
        >>> change = before.diff(tg.inspect(net))
        >>> change.layers["jaccard"].round(2).tolist()
        [0.33, 1.0]
        """
        from topograph.inspection.comparison import compare

        if not isinstance(other, Report):
            raise TopographError(
                f"other is a {type(other).__name__}; expected a report",
                "pass the result of topograph.inspect",
            )
        return compare(self, other)

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
            ".html": lambda: write_text(path, self._page()),
            ".json": lambda: write_text(path, self.to_json()),
            ".csv": lambda: write_csv(path, self.layers),
            ".parquet": lambda: self.nodes.to_parquet(path, index=False),
            **dict.fromkeys((".png", ".svg", ".pdf"), lambda: self._save_figure(path)),
        }
        return save_as(path, writers)

    def to_json(self) -> str:
        """Return all but nodes and graph as JSON; numbers that do not exist are null.

        The fields are listed in the page "Read a report" of the documentation; ``schema`` names
        their version.
        """
        fit = self.degree_fit
        held = {
            "schema": SCHEMA,
            "title": self.title,
            "subtitle": self.subtitle,
            "verdicts": said(self.verdicts),
            "coverage": asdict(self.coverage),
            "summary": self.summary,
            "degrees": {
                name: getattr(fit, name)
                for name in ("ok", "reason", "alpha", "xmin", "sigma", "D", "n", "n_tail")
            },
            "layers": self.layers.to_dict("records"),
            "provenance": self.provenance,
        }
        return as_json(held)

    def _page(self) -> str:
        from topograph.inspection.page import page

        return page(self)

    def _save_figure(self, path: Path) -> None:
        self.figure().savefig(path, dpi=150)

    def _repr_html_(self) -> str:
        from topograph.inspection.page import fragment

        return fragment(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from topograph.inspection.terminal import report_parts

        yield from report_parts(self)

    def __str__(self) -> str:
        s = self.summary
        lines = [f"{self.title}: {self.subtitle}", *self.coverage_lines[:4]]
        if len(self.coverage_lines) > 4:
            lines.append(f"… and {count(len(self.coverage_lines) - 4, 'more line')} of coverage")
        lines += self.verdicts
        lines.append(
            f"log10 of the total path weight {number(s['log10_paths'], 3)}, average τ-core ratio "
            f"{percent(s['average_tau_core_ratio'])}, k_max {whole(s['k_max'])}, "
            f"{s['nodes']:,} nodes, {s['edges']:,} edges"
        )
        wrapped = (textwrap.fill(clean(line), 110, subsequent_indent="  ") for line in lines)
        return "\n".join(wrapped)

    __repr__ = __str__
