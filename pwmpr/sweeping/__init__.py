"""How many runs are carried out: a plan, engines that work it off, one table at the end."""

from pwmpr.sweeping.front import sweep as sweep
from pwmpr.sweeping.outcome import Outcome as Outcome
from pwmpr.sweeping.outcome import Sweep as Sweep
from pwmpr.sweeping.plan import Task as Task
from pwmpr.sweeping.plan import grid as grid
from pwmpr.sweeping.plan import plan as plan
from pwmpr.sweeping.plan import read_plan as read_plan
