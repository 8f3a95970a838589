"""How a figure shows itself in a notebook; matplotlib's own does so only once pyplot is there."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A matplotlib figure that belongs to no window, and that a notebook shows as a picture.

    Examples
    --------
    >>> picture = Picture(figsize=(1, 1))
    >>> picture._repr_png_()[1:4]
    b'PNG'
    """

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png", dpi=100)
        return held.getvalue()
