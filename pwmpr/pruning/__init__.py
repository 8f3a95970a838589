"""Which weights a trained network does without."""

from pwmpr.pruning.magnitude import prune as prune
from pwmpr.pruning.schedule import cubic_density as cubic_density
from pwmpr.pruning.thresholds import Thresholds as Thresholds
from pwmpr.pruning.thresholds import learn_thresholds as learn_thresholds
from pwmpr.pruning.thresholds import soft_threshold as soft_threshold
