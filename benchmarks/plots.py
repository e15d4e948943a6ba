"""The figure of a benchmark."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from hqnn_jax.benchmarks.measure import GRADIENT
from hqnn_jax.benchmarks.summary import first_result
from hqnn_jax.reporting.style import PALETTE, ReportFigure, plain_axes

Record = dict[str, Any]
_MARKERS = "osD^vP*X<>"


def figure(document: Record) -> ReportFigure:
    """Draw steady time and time to the first result of every contender, one line a row.

    Args:
        document: what `hqnn_jax.benchmarks.command` writes.
    """
    rows = document["rows"]
    timed = [c for row in rows for c in row["contenders"] if c["status"] == "timed"]
    names = {c["name"]: c["kind"] for c in timed}
    drawn = ReportFigure(12.0, 1.6 + 0.42 * max(len(rows), 3))
    left, right = drawn.subplots(1, 2, sharey=True)
    for number, (name, kind) in enumerate(names.items()):
        style: dict[str, Any] = {
            "linestyle": "none",
            "color": PALETTE[number % len(PALETTE)],
            "marker": _MARKERS[number % len(_MARKERS)],
            "markersize": 8,
            "label": name,
        }
        # Engines are filled, peers are not.
        style["markerfacecolor"] = style["color"] if kind == "engine" else "none"
        found = [
            (line, contender)
            for line, row in enumerate(rows)
            for contender in row["contenders"]
            if contender["name"] == name and contender["status"] == "timed"
        ]
        lines = [line for line, _ in found]
        gradients = [contender[GRADIENT] for _, contender in found]
        left.plot([1e3 * g["median_s"] for g in gradients], lines, **style)
        for line, g in zip(lines, gradients, strict=True):
            span = [1e3 * g["lower_quartile_s"], 1e3 * g["upper_quartile_s"]]
            left.plot(span, [line, line], color=style["color"], linewidth=1.2)
        right.plot([first_result(contender) for _, contender in found], lines, **style)
    left.set_yticks(range(len(rows)), [f"{r['circuit']}, batch {r['batch']}" for r in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    _finish(left, "value and gradient, ms (median, quartiles)")
    _finish(right, "definition to first value and gradient, s")
    drawn.legend(
        *left.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9
    )
    machine = document["machine"]
    device = machine["accelerator"]["kind"] if machine["accelerator"] else machine["processor"]
    drawn.suptitle(f"float32 on {device}, {machine['cores']} CPU cores; filled: this project")
    return drawn


def _finish(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    plain_axes(axes, label, "")
