"""From a PyTorch model to the layered graph."""

from topograph.capture.front import capture as capture

__all__ = ["capture"]
