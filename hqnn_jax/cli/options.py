"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from hqnn_jax.cli.completion import config_file, key_of
from hqnn_jax.errors import ConfigurationError

ConfigFile = Annotated[
    Path,
    typer.Argument(help="YAML file, e.g. configs/quickstart.yaml.", autocompletion=config_file()),
]

TrainedName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Folder of a finished run or of a model, a name of `list`, or hf://user/name.",
    ),
]
Risk = Annotated[float, typer.Option(help="Largest share of errors among what is not rejected.")]
Coverage = Annotated[float, typer.Option(help="Share of images whose set holds the true class.")]
Crop = Annotated[
    float | None, typer.Option(help="Share of each image's middle to use; default: all of it.")
]
DataDir = Annotated[Path | None, typer.Option(help="Folder with datasets, if not where it was.")]


def require_shares(**shares: float | None) -> None:
    """Refuse options, by their names, that are no numbers between 0 and 1.

    Raises:
        ConfigurationError: naming the first.
    """
    for name, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise ConfigurationError(f"--{name}: expected a number between 0 and 1, got {share}")


def key_values(told: str, section: type[BaseModel]) -> Any:
    """Return the argument of changed keys of a section; `told` is its help."""
    return typer.Argument(metavar="KEY=VALUE", help=told, autocompletion=key_of(section))


def shipped_file(told: str, folder: str) -> Any:
    """Return the option of a YAML file, of which there are some in a folder of `configs`."""
    return typer.Option(help=told, autocompletion=config_file(folder))
