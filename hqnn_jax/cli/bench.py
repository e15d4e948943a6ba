"""`bench`: the circuit engines against other simulators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hqnn_jax.cli.command_line import print_error
from hqnn_jax.cli.completion import several_of
from hqnn_jax.config import CIRCUIT_NAMES, ENGINE_NAMES
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.progress import Progress

NAME = "bench"
HELP = """Time the circuit engines against other simulators, after checking that all agree.

Examples:

    python -m experiment bench

    python -m experiment bench --quick

    python -m experiment bench --circuits sel12x3,radhi2025-8x4 --batch 1,64 --peers tensorcircuit

Peers that are not installed are named and left out; they are the extra `peers` of this package.
Circuits are NAME or NAME-QUBITSxLAYERS, `sel` is short for strongly_entangling. A peer of your own
is package.module:function, which takes a Circuit and returns a function of (weights, features) for
JAX, or an object like hqnn_jax.benchmarks.contenders.EagerSimulator. End other programs first.
"""


def command(
    circuits: Annotated[
        str | None,
        typer.Option(help="Circuits, comma-separated.", autocompletion=several_of(CIRCUIT_NAMES)),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Batch sizes, comma-separated.")] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="Engines, comma-separated, or none; default: all.",
            autocompletion=several_of(ENGINE_NAMES),
        ),
    ] = None,
    peers: Annotated[
        str | None, typer.Option(help="Other simulators, comma-separated, or none; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two rows, three short rounds.")] = False,
    grid: Annotated[bool, typer.Option("--grid", help="4 to 20 qubits; takes hours.")] = False,
    floor: Annotated[
        bool, typer.Option("--floor", help="Compare with what the machine can do at best, too.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Turns of each contender; default: 9, quick 3.")
    ] = None,
    limit: Annotated[
        float, typer.Option(min=1.0, help="Seconds a contender may take to answer.")
    ] = 120.0,
    out: Annotated[
        Path | None, typer.Option(help="JSON file; default: a new one in benchmarks/results.")
    ] = None,
) -> None:
    """Measure, print a table of each row and where the results are."""
    from hqnn_jax.benchmarks.contenders import DEFAULT_ENGINES, PEERS
    from hqnn_jax.benchmarks.options import Options, Settings

    options = Options(
        circuits=_split(circuits),
        batches=_batches(batch),
        engines=_split(engines, DEFAULT_ENGINES),
        peers=_split(peers, PEERS),
        quick=quick,
        grid=grid,
        floor=floor,
        out=out,
        settings=Settings(
            rounds=rounds or (3 if quick else 9),
            turn_seconds=0.01 if quick else 0.05,
            limit_seconds=limit,
        ),
    )
    options.check()
    from hqnn_jax.benchmarks.command import run

    path, failures = run(options, Progress().line, print)
    print(f"results: {path}, {path.with_suffix('.png')}")
    for failure in failures:
        print_error(failure)
    if failures:
        raise typer.Exit(1)


def _split(text: str | None, default: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names in a comma-separated option; `none` for none at all."""
    if text is None:
        return tuple(default)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def _batches(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in _split(text))
    except ValueError:
        raise ConfigurationError(
            f"--batch {text}: expected whole numbers, for example 32,1024"
        ) from None
