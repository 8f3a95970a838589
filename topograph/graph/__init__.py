"""The weighted layered DAG that every measure of topograph is taken on."""

from topograph.graph.layered import Block, Group, LayeredGraph, layered_graph

__all__ = ["Block", "Group", "LayeredGraph", "layered_graph"]
