"""How every measure of a network changes over a run: one table, a row a snapshot."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topograph.capturing import capture
from topograph.change import jaccard, mask_changes, rank_correlation
from topograph.check import check_fraction, check_positive
from topograph.core import average_tau_core_ratio, tau_core
from topograph.degrees import degree
from topograph.distance import graph_distance
from topograph.errors import TopographError
from topograph.flow import path_flow
from topograph.graph.layered import LayeredGraph
from topograph.graph.scaled import IntArray
from topograph.inspection.matching import holding, match
from topograph.inspection.runs import Run, open_run
from topograph.inspection.wrappings import unwrap
from topograph.powerlaws import fit_power_law
from topograph.reach import dead_nodes, effective_density
from topograph.shellsummary import k_shell_summary

if TYPE_CHECKING:
    import pandas as pd

    from topograph.inspection.builders import ModelSpec

#: Columns that need weights; NaN in rows of snapshots whose weights were not kept.
PATH_COLUMNS = ("log10_paths", "tau_core", "tau_core_part", "average_tau_core_ratio")


def evolution(
    run: Any,
    model: ModelSpec | None = None,
    example_input: Any = None,
    *,
    tau: float = 0.9,
    dormant: float = 10,
    xmin: int | None = None,
    replicas: int = 0,
    distances: bool = False,
    also: Mapping[str, Callable[[LayeredGraph], float]] | None = None,
) -> pd.DataFrame:
    """Measure every snapshot of a run.

    A snapshot is the network between two changes of its masks. Connectivity is that of its channel
    graph, path measures are those of the tensor path at the end of its training.

    Parameters
    ----------
    run
        The folder of a run, finished or not, or the result of one.
    model
        For a run with a model of one's own class, opened from its folder: such a model. It holds
        each snapshot's weights while it is looked at and its own afterwards.
    example_input
        A batch of one sample; by default zeros of the shape that the run wrote down.
    tau
        Part of the path weight that the τ-core holds, in (0, 1].
    dormant
        Largest degree of a dormant node, at least 0.
    xmin
        Where the tail of the power law begins; by default where it fits best.
    replicas
        Size of the bootstrap behind ``power_law_p``; 0 leaves it NaN.
    distances
        Whether ``graph_distance`` to the snapshot before is computed: it takes the cube of a
        layer's width in time.
    also
        Further columns: name to a function of the layered graph.

    Returns
    -------
    pandas.DataFrame
        A row a snapshot, in order of time:

        ``recipe``, ``method``, ``seed``
            Of the run.
        ``snapshot``, ``step``, ``epoch``
            Number of topology changes before it; steps and epochs of the run when it began.
        ``density``, ``kept``, ``val_accuracy``
            Kept weights over all in scope, their number; accuracy at the end of its training, NaN
            where no epoch ended with it.
        ``log10_paths``, ``tau_core``, ``tau_core_part``, ``average_tau_core_ratio``
            Total path weight; size of the τ-core (rule ``"mass"``, hidden units) and that over
            the number of hidden units; see :func:`topograph.average_tau_core_ratio`. NaN where
            the weights were not kept.
        ``k_max``, ``k_max_nodes``
            Largest shell and size of the core.
        ``isolated``, ``dead``, ``dormant``
            Numbers of hidden nodes.
        ``effective_density``
            Of the weights in the graph.
        ``degree_mean``, ``degree_max``
            Of hidden nodes.
        ``power_law_alpha``, ``power_law_xmin``, ``power_law_D``, ``power_law_p``
            Fit to the degrees of hidden nodes; NaN where there is none.
        ``jaccard_previous``, ``jaccard_first``
            Overlap of the masks with those of the snapshot before and of the first.
        ``rank_correlation``
            Kendall's τ-b of the hidden nodes' degrees with those of the snapshot before.
        ``explored``
            Part of all weights that have been there up to this snapshot.
        ``graph_distance``
            From the snapshot before, if asked for.

    Raises
    ------
    TopographError
        If ``run`` is no run, its files are broken, or no model or input is known for it.

    References
    ----------
    The growth paper, figures 6 and 8; the survival paper, figures 4 to 20; each measure's own.

    Examples
    --------
    >>> import pwmpr, tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = pwmpr.run("digits", out=f"{place}/a", density=0.07, rough_epochs=1, epochs=1,
    ...                     progress=False)
    ...     frame = evolution(run)
    >>> frame["density"].round(3).tolist(), frame["jaccard_first"].round(2).tolist()
    ([0.05, 0.062, 0.07], [1.0, 0.8, 0.71])
    """
    import pandas as pd

    tau = check_fraction(tau, "tau")
    dormant = check_positive(dormant, "dormant", zero=True)
    opened = _open(run)
    own = getattr(run, "model", None)
    module = own if own is not None and model is None else opened.model(model)
    example = _example(opened, example_input)
    place = next(module.parameters(), None)
    if place is not None and hasattr(example, "to"):
        example = example.to(place.device)
    changes = mask_changes(snapshot.masks for snapshot in opened.snapshots)
    rows: list[dict[str, Any]] = []
    first: Any = None
    before: tuple[LayeredGraph, IntArray] | None = None
    for number, (snapshot, accuracy, change) in enumerate(
        zip(opened.snapshots, opened.accuracies(), changes, strict=True)
    ):
        masks = snapshot.masks
        first = masks if first is None else first
        graph, paths = _look(opened, number, module, example, masks, tau)
        degrees = degree(graph)[_hidden(graph)]
        row = {
            "recipe": opened.settings.get("recipe"),
            "method": opened.settings.get("method"),
            "seed": opened.settings.get("seed"),
            "snapshot": snapshot.cycle,
            "step": snapshot.step,
            "epoch": snapshot.epoch,
            "density": snapshot.density,
            "kept": snapshot.count,
            "val_accuracy": accuracy,
            **paths,
            **_connectivity(graph, degrees, dormant),
            **_power_law(degrees, xmin, replicas),
            "jaccard_previous": change.jaccard,
            "jaccard_first": jaccard(first, masks),
            "rank_correlation": rank_correlation(before[1], degrees) if before else math.nan,
            "explored": change.explored,
        }
        if distances:
            row["graph_distance"] = graph_distance(before[0], graph) if before else math.nan
        rows.append(row | {name: measure(graph) for name, measure in (also or {}).items()})
        before = graph, degrees
    return pd.DataFrame(rows)


def _open(run: Any) -> Run:
    path = getattr(run, "folder", run)
    if isinstance(path, (str, os.PathLike)):
        return open_run(Path(path).expanduser())
    raise TopographError(
        f"run is a {type(run).__name__}; expected the folder of a run or the result of one",
        "pass what pwmpr.run returned, or the folder that it wrote",
    )


def _example(run: Run, given: Any) -> Any:
    example = run.example if given is None else given
    if example is None:
        raise TopographError(
            f"the run in {run.folder.path} does not say what shape its inputs have",
            "pass a batch of one sample as example_input",
        )
    return example


def _look(
    run: Run, number: int, module: Any, example: Any, masks: Any, tau: float
) -> tuple[LayeredGraph, dict[str, float]]:
    """Return a snapshot's graph and its path measures."""
    state = run.weights(number)
    if state is None:
        # Connections need the masks alone; whatever weights the model has stand for kept ones.
        return capture(module, example, masks=masks), dict.fromkeys(PATH_COLUMNS, math.nan)
    matched = match(module, unwrap(state, str(run.folder.path)), str(run.folder.path))
    with holding(module, matched.state):
        graph = capture(module, example, masks=masks)
        flow = path_flow(module, example, masks=masks)
    core = len(tau_core(flow, tau))
    n_hidden = sum(len(flow.share[name]) for name in flow.hidden)
    values = (
        flow.log_total / math.log(10),
        core,
        core / n_hidden if n_hidden else math.nan,
        average_tau_core_ratio(flow, tau),
    )
    return graph, dict(zip(PATH_COLUMNS, values, strict=True))


def _hidden(graph: LayeredGraph) -> IntArray:
    ids = [np.arange(graph.n_nodes)[graph.nodes(name)] for name in graph.hidden]
    return np.concatenate([np.empty(0, np.int64), *ids])


def _connectivity(graph: LayeredGraph, degrees: IntArray, dormant: float) -> dict[str, float]:
    shells = k_shell_summary(graph)
    return {
        "k_max": shells.k_max,
        "k_max_nodes": len(shells.core),
        "isolated": int((degrees == 0).sum()),
        "dead": int(np.isin(dead_nodes(graph), _hidden(graph)).sum()),
        "dormant": int((degrees <= dormant).sum()),
        "effective_density": effective_density(graph),
        "degree_mean": float(degrees.mean()) if len(degrees) else math.nan,
        "degree_max": int(degrees.max(initial=0)),
    }


def _power_law(degrees: IntArray, xmin: int | None, replicas: int) -> dict[str, float]:
    fit = fit_power_law(degrees, xmin, replicas)
    return {
        "power_law_alpha": fit.alpha,
        "power_law_xmin": math.nan if fit.xmin is None else float(fit.xmin),
        "power_law_D": fit.D,
        "power_law_p": fit.p_value,
    }
