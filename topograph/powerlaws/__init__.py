"""Whether a network's degrees follow a power law: fit, goodness of fit, and alternatives."""

from topograph.powerlaws.alternatives import Comparison
from topograph.powerlaws.fitting import PowerLawFit, fit_power_law

__all__ = ["Comparison", "PowerLawFit", "fit_power_law"]
