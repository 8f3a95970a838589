"""With which connections a sparse network starts."""

from pwmpr.starts.initial import initial_masks, start_rules

__all__ = ["initial_masks", "start_rules"]
