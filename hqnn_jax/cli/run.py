"""`run`: train a model and write its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hqnn_jax.cli.command_line import stopped_at_once
from hqnn_jax.cli.configs import find_config, new_folder
from hqnn_jax.cli.options import ConfigFile, key_values
from hqnn_jax.config import Config
from hqnn_jax.config.loading import load_config
from hqnn_jax.progress import Progress

if TYPE_CHECKING:
    from hqnn_jax.runs.folder import RunFolder

NAME = "run"
HELP = """Train a model and write its report.

Examples:

    python -m experiment run configs/quickstart.yaml

    python -m experiment run configs/bloodmnist_compact.yaml dataset.data_dir=DATA seeds=3

    python -m experiment run configs/quickstart.yaml training.epochs=2 --out runs/short

    python -m experiment run runs/short/config.yaml --out runs/short --resume

A run folder's config.yaml repeats that run. KEY=VALUE changes any key of the configuration.
Ctrl-C ends the run after the step it is in, with a checkpoint; a second one ends it at once and
keeps the last checkpoint. Both say how to go on, and exit with 1.
"""


def command(
    config: ConfigFile,
    overrides: Annotated[list[str] | None, key_values("Changed keys.", Config)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/NAME-DATE-TIME.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")
    ] = False,
) -> None:
    """Train a model, evaluate it, write the report and print a summary."""
    config = find_config(config)
    settings = load_config(config, overrides or [])
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out, the folder of the unfinished run")
    out = out or new_folder(config)
    from hqnn_jax.files import locked
    from hqnn_jax.runs.folder import RunFolder
    from hqnn_jax.runs.run import train
    from hqnn_jax.runs.summary import run_summary, write_run_report

    folder = RunFolder(out)
    with stopped_at_once(lambda: _how_to_go_on(folder)), locked(out):
        train(settings, folder, resume=resume, progress=Progress())
        write_run_report(out, settings)
    print("\n".join(run_summary(folder)))


def _how_to_go_on(folder: RunFolder) -> str:
    if not folder.config.exists():
        return f"{folder.path}: stopped at once; nothing was trained; give the same command again"
    return (
        f"{folder.path}: stopped at once; the last checkpoint is kept; go on with "
        f"{folder.how_to_resume()}"
    )
