"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from hqnn_jax.cli.completion import config_file, key_of

TrainedName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Folder of a finished run or of a model, a name of `list`, or hf://user/name.",
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder with datasets, if not where it was.")]


def key_values(told: str, section: type[BaseModel]) -> Any:
    """Return the argument of changed keys of a section; `told` is its help."""
    return typer.Argument(metavar="KEY=VALUE", help=told, autocompletion=key_of(section))


def shipped_file(told: str, folder: str) -> Any:
    """Return the option of a YAML file, of which there are some in a folder of `configs`."""
    return typer.Option(help=told, autocompletion=config_file(folder))
