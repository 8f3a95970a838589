"""What the words of a report mean, each in one sentence."""

from __future__ import annotations

from html import escape

from topograph.inspection.wording import percent


def terms(tau: float) -> tuple[tuple[str, str], ...]:
    """Return the terms of a report with a sentence each; ``tau`` is the report's."""
    part = percent(tau)
    return (
        (
            "Node",
            (
                "one channel of a convolution, one neuron of a linear layer, or one entry of the "
                "input."
            ),
        ),
        (
            "Layer",
            ("one weighted operator; several that are added up lead to one common group of nodes."),
        ),
        ("Density", "the part of a layer's weights that are kept: not masked, not exactly 0."),
        (
            "Effective density",
            (
                "the part of a layer's weights that are kept and lie on a path from an input to "
                "an output."
            ),
        ),
        (
            "Path weight",
            (
                "the product of the magnitudes of the weights along a path from an input to an "
                "output; the total is its sum over all paths, given as a power of ten."
            ),
        ),
        (
            "Share",
            (
                "the part of all path weight that runs through a node (its path centrality), or "
                "over a layer's weights (path share)."
            ),
        ),
        ("Top share", "the part of its layer's path weight that the largest node carries."),
        (
            "τ-core ratio",
            (
                f"the part of a layer's nodes that it takes, largest first, to hold {part} of the "
                "layer's path weight: low means a bottleneck."
            ),
        ),
        ("Dead", "a node that no chain of kept weights joins to both an input and an output."),
        (
            "Isolated",
            (
                "a node without any kept weight, in or out; in a residual stream an identity may "
                "still carry paths through it, so that it is not dead."
            ),
        ),
        ("Degree", "the number of a node's connections, in and out."),
        (
            "k-shell",
            (
                "how deep in the network's core a node lies: the largest k for which it has at "
                "least k connections to nodes that have at least k themselves."
            ),
        ),
        (
            "Power law",
            (
                "degrees whose distribution falls as a power of the degree, so that a few nodes "
                "have very many; D is the largest gap between law and data."
            ),
        ),
        (
            "Identity",
            (
                "a residual connection, which hands values on without weights; it carries paths, "
                "and counts as no connection."
            ),
        ),
        (
            "Coverage",
            (
                "how many of the network's weighted operators are in the graph, and which are "
                "not: queries, keys and gates steer what flows and carry no path themselves."
            ),
        ),
        (
            "Verified by influence",
            (
                "so many nodes were changed one at a time in the network itself, and moved "
                "exactly what the graph says that they lead to."
            ),
        ),
    )


def glossary_html(tau: float) -> str:
    """Return the fold "How to read this"."""
    items = "".join(
        f"<li><dfn>{escape(term)}</dfn>: {escape(text)}</li>" for term, text in terms(tau)
    )
    return f'<details class="paper"><summary>How to read this</summary><ul>{items}</ul></details>'
