"""All commands, in the order of `--help`."""

from __future__ import annotations

from typing import Annotated

import typer

import hqnn_jax
from hqnn_jax import commands
from hqnn_jax.cli import (
    ablate,
    bench,
    data,
    evaluate,
    export,
    hardware,
    listing,
    paper,
    predict,
    push,
    report,
    run,
    serve,
)
from hqnn_jax.cli.command_line import EXIT_CODES, Command, Commands


def _version(wanted: bool) -> bool:
    if wanted:
        print(f"hqnn_jax {hqnn_jax.__version__}")
        raise typer.Exit
    return wanted


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


app = typer.Typer(
    cls=Commands,
    callback=_options,
    no_args_is_help=True,
    # A shell completes words after the name of a program, not after `python -m`.
    add_completion=commands.program() == "hqnn",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Hybrid quantum-classical image classifiers: train, evaluate, report.",
    epilog=EXIT_CODES,
)
for module in (
    run, evaluate, predict, export, serve, push, report, paper, ablate, hardware, bench, listing,
):  # fmt: skip
    text = module.HELP.replace("python -m experiment", commands.program())
    app.command(module.NAME, cls=Command, help=text)(module.command)
app.add_typer(data.commands_of_data(), name=data.NAME)
