"""`ablate`: arms over many seeds, compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hqnn_jax.ablation.axes import AXES
from hqnn_jax.cli.completion import config_file, key_of
from hqnn_jax.cli.configs import find_config
from hqnn_jax.config import MIDDLE_NAMES, Config
from hqnn_jax.progress import Progress

NAME = "ablate"
HELP = f"""Compare arms over many seeds, with intervals, tests and a verdict.

Examples:

    python -m experiment ablate configs/ablation_bloodmnist.yaml

    python -m experiment ablate configs/quickstart.yaml middle=quantum,matched,none seeds=10

    python -m experiment ablate configs/quickstart.yaml qubits=2,4 layers=1,2,3 seeds=5

    python -m experiment ablate configs/ablation_bloodmnist.yaml --ray auto --together 5

AXIS=V1,V2,… is one of {", ".join(AXES)}, or any key of the configuration; the first arm is the
reference unless ablation.reference names another. KEY=VALUE changes a key in every arm. All seeds
of an arm are trained in one program. The same command goes on where an earlier one was stopped, and
several processes may share the work. Middles: {", ".join(MIDDLE_NAMES)}.
"""


def command(
    config: Annotated[
        Path,
        typer.Argument(help="YAML file, of an ablation or of a run.", autocompletion=config_file()),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AXIS=V1,V2 | KEY=VALUE",
            help="Axes, and changed keys.",
            autocompletion=key_of(Config, AXES),
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of cells and report; default: runs/NAME.")
    ] = None,
    together: Annotated[
        int | None,
        typer.Option(min=1, help="Seeds in one program; kept in --out. Default: what fits."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on Ray: auto, local, host:port, ray://…"),
    ] = None,
    ray_cpus: Annotated[float, typer.Option(min=0.0, help="CPU cores of a Ray task.")] = 1.0,
    ray_gpus: Annotated[float, typer.Option(min=0.0, help="GPUs of a Ray task.")] = 0.0,
) -> None:
    """Compute what is missing, write the report and print the verdicts."""
    from hqnn_jax.ablation.file import load_ablation
    from hqnn_jax.ablation.plan import Plan

    name = config.stem
    plan = Plan.of(name, load_ablation(find_config(config), arguments or []))
    from hqnn_jax.ablation.cluster import Resources
    from hqnn_jax.ablation.run import RayRequest, run_ablation

    request = RayRequest(ray, Resources(ray_cpus, ray_gpus)) if ray else None
    out = out or Path("runs") / name
    for verdict in run_ablation(plan, out, Progress(), together=together, ray=request).verdicts:
        print(verdict)
    print(f"report: {out / 'report.html'}")
