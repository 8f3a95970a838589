"""How linear layers compute with their kept weights alone, in time that goes with their density.

`SparseLayers` lets the eligible layers of a model do so within a ``with`` block; the model is what
it was before and after. `pwmpr.breakeven` says below which density that is the faster way.
"""

from pwmpr.kernels.layers import SparseLayers, eligible_layers, why_not
from pwmpr.kernels.linear import sparse_linear
from pwmpr.kernels.pattern import Pattern

__all__ = ["Pattern", "SparseLayers", "eligible_layers", "sparse_linear", "why_not"]
