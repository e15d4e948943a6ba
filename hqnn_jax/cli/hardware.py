"""`hardware`: a trained circuit on a quantum backend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hqnn_jax.cli.configs import find_config
from hqnn_jax.cli.options import DataDir, key_values, shipped_file
from hqnn_jax.config.hardware import MITIGATION_NAMES, HardwareConfig
from hqnn_jax.config.loading import load_section, validated
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.hardware_evaluation.folder import HardwareFolder
from hqnn_jax.progress import Progress
from hqnn_jax.reporting import formatting

if TYPE_CHECKING:
    from hqnn_jax.hardware_evaluation.results import HardwareResults

NAME = "hardware"
HELP = f"""Evaluate a trained circuit on a quantum backend, and compare it with simulation.

Examples:

    python -m experiment hardware runs/short

    python -m experiment hardware runs/short --dry-run backend=fake_sherbrooke shots=10000

    python -m experiment hardware runs/short images.count=64 mitigation=[readout,readout+zne]

    python -m experiment hardware runs/short --config configs/hardware/fine_tuning.yaml

    python -m experiment hardware runs/short --resume

Backends: statevector, aer, aer:DEVICE, the fake devices of qiskit-ibm-runtime (fake_sherbrooke and
others), or a device of your IBM Quantum account, which is the one that Qiskit has saved. Everything
classical runs here, the circuit there, all images in one job. An arm of mitigation is one of
{", ".join(MITIGATION_NAMES)}, or several joined by +. Jobs outlive this
command: --resume collects them, sends failed ones again and none twice. Needs the extra qiskit:
python -m pip install "hqnn-jax[qiskit]".
"""


@dataclass(frozen=True)
class HardwareRequest:
    """Which settings and which folder a command asks for.

    Attributes:
        run: folder with the trained circuit.
        config: file of settings, None for the defaults or, on resuming, those of the folder.
        overrides: KEY=VALUE.
        out: folder of the evaluation; None for `RUN/hardware/BACKEND`.
    """

    run: Path
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    out: Path | None = None

    def settings(self, *, resume: bool) -> tuple[HardwareConfig, HardwareFolder]:
        """Return the settings and the folder of the evaluation.

        Raises:
            ConfigurationError: for settings that cannot be used, or where the one folder to resume
                cannot be told.
        """
        given = self.config is not None or bool(self.overrides)
        if not (resume and not given):
            settings = self._given_settings()
            return settings, HardwareFolder(self.out or self._default_folder(settings))
        folder = HardwareFolder(self.out or self._only_folder())
        if not folder.is_begun:
            raise ConfigurationError(
                f"{folder.path}: nothing to resume; leave out --resume to start an evaluation"
            )
        return folder.stored_settings(), folder

    def _given_settings(self) -> HardwareConfig:
        if self.config is not None:
            return load_section(find_config(self.config), self.overrides, HardwareConfig)
        return validated({}, self.overrides, HardwareConfig, "hardware")

    def _default_folder(self, settings: HardwareConfig) -> Path:
        return self.run / "hardware" / settings.backend.replace(":", "-")

    def _only_folder(self) -> Path:
        found = sorted(path.parent for path in (self.run / "hardware").glob("*/hardware.yaml"))
        if len(found) != 1:
            names = ", ".join(map(str, found)) or "none"
            raise ConfigurationError(
                f"{self.run}: --resume needs --out where there is not one evaluation; found {names}"
            )
        return found[0]


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run with a circuit.")],
    overrides: Annotated[list[str] | None, key_values("Changed settings.", HardwareConfig)] = None,
    config: Annotated[
        Path | None, shipped_file("YAML file of settings, e.g. in configs/hardware.", "hardware/")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: RUN/hardware/BACKEND.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Collect the jobs of the evaluation in --out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the results of a device's jobs.")
    ] = True,
    data_dir: DataDir = None,
) -> None:
    """Evaluate, and print what came of it, or what would be sent."""
    request = HardwareRequest(run, config, tuple(overrides or ()), out)
    settings, folder = request.settings(resume=resume and not dry_run)
    from hqnn_jax.experiments.hardware import evaluate, prepare
    from hqnn_jax.hardware_evaluation.planned import costs

    prepared = functools.partial(prepare, run, settings, folder, Progress(), data_dir)
    if dry_run:
        print("\n".join(line for cost in costs(prepared()) for line in _plan_lines(cost)))
        return
    results = evaluate(prepared, settings, folder, resume=resume, wait=wait)
    if results is None:
        print(f"jobs are sent; collect them with --resume --out {folder.path}")
        return
    print("\n".join(_summary(results)))
    print(f"report: {folder.report}")


def _summary(results: HardwareResults) -> list[str]:
    """Return a line for each arm."""
    lines = []
    for model in results.record()["models"]:
        for arm in model["arms"]:
            line = (
                f"{model['name']}, {arm['label']}: accuracy "
                f"{formatting.percent(arm['accuracy'])} % "
                f"({formatting.interval(arm['intervals']['accuracy'])})"
            )
            if arm["agreement"] is not None:
                line += f", agrees with exact {formatting.percent(arm['agreement']['share'])} %"
            lines.append(line)
    return lines


def _plan_lines(cost: dict[str, Any]) -> Sequence[str]:
    seconds = cost["qpu_seconds"]
    time = "not known" if seconds is None else f"about {formatting.duration(seconds)}"
    return (
        f"{cost['model']} on {cost['backend']}, mitigation: {cost['mitigation']}",
        f"  circuit: depth {cost['depth']}, two-qubit depth {cost['two_qubit_depth']}, "
        f"{cost['num_two_qubit_gates']} two-qubit gates, {cost['num_swaps']} SWAPs inserted",
        f"  {formatting.count(cost['samples'])} samples in {cost['bases']} bases: "
        f"{formatting.count(cost['circuits'])} circuits of {formatting.count(cost['shots'])} "
        f"shots, {formatting.count(cost['total_shots'])} shots in {cost['jobs']} jobs",
        f"  QPU time: {time}",
    )
