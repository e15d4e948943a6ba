"""`export`: a trained model in a format that others read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hqnn_jax.cli.completion import one_of
from hqnn_jax.cli.options import TrainedName
from hqnn_jax.config.names import ENGINE_NAMES
from hqnn_jax.errors import ConfigurationError, RunFolderError
from hqnn_jax.exporting.suffixes import SUFFIXES
from hqnn_jax.text import did_you_mean

NAME = "export"
HELP = """Write a trained model in a format that others read.

Examples:

    python -m experiment export runs/short --to stablehlo

    python -m experiment export quickstart --to onnx --out quickstart.onnx

    python -m experiment export hf://user/name --to openqasm3

stablehlo is the whole model as one program for JAX alone (`jax.export.deserialize`), onnx the same
for ONNX Runtime and its like (extra `onnx`); both take uint8 images, any number of them, and return
calibrated probabilities. openqasm3 is the trained circuit, its features being inputs (extra
`qiskit`). What takes images is compared with the model on random ones before it is written. Beside
the file, FILE.json names input, output, classes and versions.
"""


def command(
    model: TrainedName,
    to: Annotated[
        str, typer.Option(help=f"One of {', '.join(SUFFIXES)}.", autocompletion=one_of(SUFFIXES))
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: the model's name, here.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Engine of the circuit in the program; default: the model's.",
            autocompletion=one_of(ENGINE_NAMES),
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Export, check, write the file and its description, and say what was written."""
    for option, given, names in (("--to", to, SUFFIXES), ("--engine", engine, ENGINE_NAMES)):
        if given is not None and given not in names:
            raise ConfigurationError(
                f"{option}: no '{given}'; {did_you_mean(given, list(names))}expected one of: "
                f"{', '.join(names)}"
            )
    file = out or Path(f"{_name(model)}{SUFFIXES[to]}")
    beside = file.with_name(f"{file.name}.json")
    _require_new(file, beside, force)
    from hqnn_jax.exporting.formats import describe, export_model
    from hqnn_jax.files import write_atomically, write_json
    from hqnn_jax.trained.sources import load

    loaded = load(model)
    exported = export_model(loaded, to, engine)
    write_atomically(file, exported.content)
    write_json(beside, describe(loaded, to, exported))
    print(f"{file}: {len(exported.content) / 2**20:.2f} MiB; {beside} says what it takes")
    if exported.difference is not None:
        print(f"largest difference from the model on random images: {exported.difference:.2g}")


def _name(model: str) -> str:
    return Path(model).resolve().name or "model"


def _require_new(file: Path, beside: Path, force: bool) -> None:
    """Refuse to write where there is something, or where nothing can be written."""
    for path in (file, beside):
        if path.is_dir():
            raise RunFolderError(f"{path}: is a folder; expected a file to write, name it in --out")
        if path.exists() and not force:
            raise RunFolderError(
                f"{path}: is there already; choose another --out, or overwrite it with --force"
            )
    if not file.parent.is_dir():
        raise RunFolderError(f"{file.parent}: no such folder; make it, or choose another --out")
