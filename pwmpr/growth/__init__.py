"""Where a growing network gets its new connections."""

from pwmpr.growth.growing import grow as grow
from pwmpr.growth.growing import select as select
from pwmpr.growth.registry import growth_rules as growth_rules
from pwmpr.growth.registry import register as register
from pwmpr.growth.step import GrowthStep as GrowthStep
