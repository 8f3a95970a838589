"""topograph: what a network's graph looks like."""

from topograph.errors import TopographError as TopographError
from topograph.graph.layered import layered_graph as layered_graph
