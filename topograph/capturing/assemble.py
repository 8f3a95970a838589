"""From a layout and today's weights to the layered graph."""

from __future__ import annotations

from topograph.capturing.channel_edges import channel_blocks
from topograph.capturing.coverage import Coverage, partly_note
from topograph.capturing.edges import Groups
from topograph.capturing.unit_edges import unit_blocks
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Layout, Wiring
from topograph.errors import TopographError
from topograph.graph.blocks import Block, merge
from topograph.graph.layered import LayeredGraph
from topograph.graph.operators import OperatorRecord

#: Largest number of kept weights of a graph, at 12 bytes an edge.
EDGE_LIMIT = 1 << 30


def check_edges(layout: Layout, binding: Binding) -> None:
    """Refuse a graph that no usual memory holds, before any edge is made.

    Raises
    ------
    TopographError
        If more than ``EDGE_LIMIT`` edges might be made.
    """
    edges = most_edges(layout, binding, EDGE_LIMIT)
    if edges > EDGE_LIMIT:
        raise TopographError(
            f"the graph would have up to {edges:,} edges; expected at most {EDGE_LIMIT:,}",
            "use topograph.inspect, which looks at one weight at a time, topograph.structure for "
            "what needs no weights, or topograph.map_graph for a graph on disk",
        )


def most_edges(layout: Layout, binding: Binding, limit: int) -> int:
    """Return how many edges a graph might have; weights are read only if that may pass a limit."""
    pairs = {
        w.operator.name: w.form.groups * w.form.rows * w.form.columns for w in layout.operators
    }
    if sum(pairs.values()) <= limit:
        return sum(pairs.values())
    edges = 0
    for wiring in layout.operators:
        kept = int(binding.mask(wiring.operator).sum())
        edges += min(kept, pairs[wiring.operator.name])
    return edges


def assemble(layout: Layout, binding: Binding) -> LayeredGraph:
    """Return the graph of a layout with today's weights and masks."""
    exact = layout.granularity == "unit"
    groups = Groups(layout)
    blocks: list[Block] = []
    records = []
    for wiring in layout.operators:
        made = list((unit_blocks if exact else channel_blocks)(layout, groups, wiring, binding))
        blocks += made
        records.append(_record(groups, wiring, binding, made))
    return LayeredGraph(
        layout.groups,
        (*merge(blocks), *layout.identity),
        layout.inputs,
        layout.outputs,
        layout.granularity,
        coverage_of(layout),
        tuple(records),
    )


def coverage_of(layout: Layout) -> Coverage:
    """Return what of the network a layout models."""
    modelled = len({wiring.operator.name for wiring in layout.operators})
    total = modelled + len(layout.missing)
    notes = (*layout.notes, *([partly_note(layout.partly)] if layout.partly else []))
    return Coverage(modelled, total, layout.missing, 0, notes, layout.opaque, layout.partly)


def _record(groups: Groups, wiring: Wiring, binding: Binding, made: list[Block]) -> OperatorRecord:
    op = wiring.operator
    kept = op.readdress(binding.mask(op))
    return OperatorRecord(
        op.name,
        op.parameter,
        wiring.form.kind,
        tuple(kept.shape),
        tuple(block.source for block in made),
        groups.of(wiring.targets)[0].name,
        int(kept.sum()),
        kept.numel(),
    )
