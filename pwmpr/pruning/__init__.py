"""Which weights a trained network does without."""

from pwmpr.pruning.magnitude import prune as prune
from pwmpr.pruning.schedule import cubic_density as cubic_density
