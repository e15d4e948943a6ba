"""`report`: the page of a finished run again, or several runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NAME = "report"
HELP = """Write the report of a finished run again, or compare several runs on one page.

Examples:

    python -m experiment report runs/short

    python -m experiment report runs/quantum runs/matched --out comparison.html
"""


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option(help="Page to write when several runs are compared.")] = Path(
        "comparison.html"
    ),
) -> None:
    """Write the page and print where it is."""
    from hqnn_jax.files import locked
    from hqnn_jax.runs.finished import load_run
    from hqnn_jax.runs.side_by_side import compare_runs
    from hqnn_jax.runs.summary import write_run_report

    if len(runs) > 1:
        print(compare_runs(runs, out))
        return
    config = load_run(runs[0]).config
    with locked(runs[0]):
        print(write_run_report(runs[0], config))
