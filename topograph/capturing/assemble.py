"""From a layout and today's weights to the layered graph."""

from __future__ import annotations

from topograph.capturing.channel_edges import channel_blocks
from topograph.capturing.coverage import Coverage, partly_note
from topograph.capturing.edges import Groups
from topograph.capturing.unit_edges import unit_blocks
from topograph.capturing.weights import Binding
from topograph.capturing.wiring import Layout, Wiring
from topograph.graph.blocks import Block, merge
from topograph.graph.layered import LayeredGraph
from topograph.graph.operators import OperatorRecord


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
    total = len(layout.operators) + len(layout.missing)
    notes = (*layout.notes, *([partly_note(layout.partly)] if layout.partly else []))
    return LayeredGraph(
        layout.groups,
        (*merge(blocks), *layout.identity),
        layout.inputs,
        layout.outputs,
        layout.granularity,
        Coverage(len(layout.operators), total, layout.missing, 0, notes, layout.partly),
        tuple(records),
    )


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
