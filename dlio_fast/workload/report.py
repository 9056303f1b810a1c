"""Pictures of what was measured; needs matplotlib."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError

COLORS = ("#1f5fa8", "#d9730d", "#2f8f5b", "#8a4fa3")


def plot_throughput(
    path: str | os.PathLike[str], series: Mapping[str, Mapping[str, Any]], title: str, subtitle: str = ""
) -> Path:
    """Draw throughput over time, a line for each series, and save the picture.

    Parameters
    ----------
    path : str or path-like
        Where to; the suffix (``.png``, ``.svg``, ``.pdf``) says the kind. Missing folders are made.
    series : mapping of str to mapping
        Label -> what :meth:`dlio_fast.workload.metrics.Progress.series` returned, or the ``series`` of a run.
    title, subtitle : str

    Returns
    -------
    pathlib.Path
        Where the picture is.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("pictures need matplotlib: pip install dlio-fast[report]") from error

    figure = Figure(figsize=(9, 5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for color, (label, one) in zip(COLORS * len(series), series.items(), strict=False):
        if not one["seconds"]:
            continue
        edges, rates = [0.0, *one["seconds"]], one["gb_per_second"]
        average = sum(rates) / len(rates)
        axes.stairs(rates, edges, color=color, linewidth=2, baseline=None)
        axes.hlines(average, 0, edges[-1], color=color, linestyle=(0, (5, 3)), linewidth=1)
        axes.plot([], [], color=color, linewidth=5, label=f"{label}: {average:.2f} GB/s")
    axes.set_xlim(0, max((one["seconds"][-1] for one in series.values() if one["seconds"]), default=1))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time since the first batch was asked for (s)")
    axes.set_ylabel("throughput (GB/s, 10⁹ bytes)")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, title="averages (dashed)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes.set_title(subtitle, loc="left", fontsize=9, color="#555555")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    return target
