"""How connections move at a fixed density: dynamic sparse training."""

from pwmpr.rewiring.dropping import below as below
from pwmpr.rewiring.dropping import drop_counts as drop_counts
from pwmpr.rewiring.dropping import smallest as smallest
from pwmpr.rewiring.dropping import smallest_of_each_sign as smallest_of_each_sign
from pwmpr.rewiring.exploration import exploration_rate as exploration_rate
from pwmpr.rewiring.front import rewire as rewire
from pwmpr.rewiring.momentum import SmoothedGradient as SmoothedGradient
from pwmpr.rewiring.registry import preset_named as preset_named
from pwmpr.rewiring.registry import register as register
from pwmpr.rewiring.registry import rewiring_rules as rewiring_rules
from pwmpr.rewiring.regrowing import missing_after as missing_after
from pwmpr.rewiring.regrowing import shared as shared
from pwmpr.rewiring.regrowing import strongest as strongest
from pwmpr.rewiring.regrowing import uniformly as uniformly
from pwmpr.rewiring.schedule import drop_fraction as drop_fraction
from pwmpr.rewiring.schedule import is_due as is_due
from pwmpr.rewiring.step import Rewiring as Rewiring
from pwmpr.rewiring.step import RewiringStep as RewiringStep
