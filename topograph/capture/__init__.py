"""From a PyTorch model to the layered graph."""
