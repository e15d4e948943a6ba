"""What all HTML pages share: the templates, and how values are written in them."""

from __future__ import annotations

import jinja2

from hqnn_jax.evaluation.metrics import LABELS
from hqnn_jax.reporting import formatting


def page_environment() -> jinja2.Environment:
    """Return the environment of the templates; a missing value is an error, text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hqnn_jax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": formatting.percent,
        "interval": formatting.interval,
        "points": formatting.points,
        "duration": formatting.duration,
        "count": formatting.count,
        "inline": formatting.inline,
        "metric_name": LABELS.__getitem__,
    }
    return environment
