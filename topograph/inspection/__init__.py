"""What there is to know about a checkpoint: readers, measures, and the report."""

from topograph.inspection.comparison import Comparison as Comparison
from topograph.inspection.inspector import inspect as inspect
from topograph.inspection.report import Report as Report
