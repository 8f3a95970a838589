"""From a PyTorch model to the layered graph."""

from topograph.capturing.front import capture as capture

__all__ = ["capture"]
