"""How much path weight runs through a model's tensors: the tensor path."""

from topograph.flow.tensor_path import PathFlow as PathFlow
from topograph.flow.tensor_path import path_flow as path_flow
