"""What users call the parameters of a model, whatever they are stored as."""

from __future__ import annotations

#: Suffixes of the tensors that stand in for a weight, each with one that must be there beside it.
_PAIRS = (("_orig", "_mask"), ("_mask", "_orig"), ("_g", "_v"), ("_v", "_g"))


def public_name(name: str, known: set[str]) -> str:
    """Return a parameter's name as users write it.

    Parameters
    ----------
    name
        A name in the model's state: ``conv.weight_orig``,
        ``conv.parametrizations.weight.original0``, ``conv.weight_g``.
    known
        All names of parameters and buffers in the model.

    Examples
    --------
    >>> public_name("conv.weight_orig", {"conv.weight_orig", "conv.weight_mask"})
    'conv.weight'
    >>> public_name("fc.parametrizations.weight.original", set())
    'fc.weight'
    """
    head, parametrised, tail = name.rpartition("parametrizations.")
    if parametrised and ".original" in tail:
        return head + tail[: tail.index(".original")]
    for suffix, partner in _PAIRS:
        base = name.removesuffix(suffix)
        if base != name and base + partner in known:
            return base
    return name
