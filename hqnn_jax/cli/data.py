"""`data inspect`: a dataset before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hqnn_jax import commands
from hqnn_jax.cli.command_line import Command
from hqnn_jax.cli.configs import find_config, new_folder
from hqnn_jax.cli.options import ConfigFile, key_values
from hqnn_jax.config import Config
from hqnn_jax.config.loading import load_config
from hqnn_jax.errors import DataError
from hqnn_jax.progress import Progress

NAME = "data"
HELP = "Look at a dataset before anything is trained on it."
INSPECT_HELP = """Count and show what a run would be trained on; nothing is trained.

Examples:

    python -m experiment data inspect configs/quickstart.yaml

    python -m experiment data inspect configs/quickstart.yaml \\
        dataset.name=image_folder dataset.path=FOLDER

Images of each class and split, their sizes, images that are there twice or on both sides of a
split, classes with few images, and a contact sheet: a page, a PNG and JSON in --out. Exits with 1
where the images cannot be trained on.
"""


def inspect(
    config: ConfigFile,
    overrides: Annotated[list[str] | None, key_values("Changed keys.", Config)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: runs/NAME-inspect-DATE-TIME.")
    ] = None,
) -> None:
    """Inspect, print a table and say where the page is."""
    config = find_config(config)
    settings = load_config(config, overrides or [])
    from hqnn_jax.inspection.findings import inspect_dataset
    from hqnn_jax.inspection.report import inspection_lines, write_inspection

    with Progress().tasks() as report:
        findings = inspect_dataset(settings.dataset, report)
    page = write_inspection(out or new_folder(config, "-inspect"), findings)
    print("\n".join(inspection_lines(findings)))
    print(f"page: {page}")
    if findings.problem:
        raise DataError(findings.problem)


def commands_of_data() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help=HELP,
    )
    text = INSPECT_HELP.replace("python -m experiment", commands.program())
    group.command("inspect", cls=Command, help=text)(inspect)
    return group
