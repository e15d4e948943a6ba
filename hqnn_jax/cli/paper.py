"""`paper`: every run that a paper's tables and figures need, and one report of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hqnn_jax.cli.command_line import print_error
from hqnn_jax.cli.completion import one_of
from hqnn_jax.cli.configs import find_config
from hqnn_jax.cli.options import key_values, shipped_file
from hqnn_jax.config import PAPER_NAMES, Config
from hqnn_jax.config.evaluation import require_paper
from hqnn_jax.config.loading import require_known_keys

NAME = "paper"
HELP = f"""Reproduce a paper: every run its tables and figures need, and one report of them.

Papers: {", ".join(PAPER_NAMES)}.

Examples:

    python -m experiment paper hqcnn2025 dataset.data_dir=DATA

    python -m experiment paper lean2025 --small

    python -m experiment paper lean2025 --arms cnn,hybrid

    python -m experiment paper aml2026 --config configs/papers/aml2026_aml_cytomorphology.yaml

The same command goes on where an earlier one was stopped; finished runs are kept. KEY=VALUE changes
a key in every run. --small takes a minute or two and trains on synthetic cells.
"""


def command(
    name: Annotated[str, typer.Argument(help="Which paper.", autocompletion=one_of(PAPER_NAMES))],
    overrides: Annotated[list[str] | None, key_values("Keys changed in every run.", Config)] = None,
    small: Annotated[bool, typer.Option("--small", help="A minute, on synthetic cells.")] = False,
    config: Annotated[
        Path | None, shipped_file("Another table of aml2026, e.g. in configs/papers.", "papers/")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Only these arms, comma-separated; default: all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report and the runs; default: runs/NAME.")
    ] = None,
) -> None:
    """Run what is missing, write the report and print where it is."""
    require_paper(name)
    config = config and find_config(config)
    if name != "aml2026":  # whose table has a configuration of its own
        require_known_keys(overrides or [], Config)
    from hqnn_jax.experiments.paper import PaperRequest, reproduce

    out = out or Path("runs") / (f"{name}-small" if small else name)
    chosen = tuple(arm.strip() for arm in arms.split(",")) if arms else ()
    request = PaperRequest(out, tuple(overrides or ()), small, config, chosen)
    report, failed = reproduce(name, request)
    print(f"report: {report}")
    for arm, reason in failed.items():
        print_error(f"{arm}: {reason}")
    if failed:
        raise typer.Exit(1)
