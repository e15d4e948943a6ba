"""The command line: `python -m experiment --help`."""

from __future__ import annotations

import datetime
import functools
import inspect
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hqnn_jax.ablation.axes import AXES
from hqnn_jax.cli import help as command_help
from hqnn_jax.cli.command_line import (
    EXIT_CODES,
    Command,
    Commands,
    print_error,
    run_command_line,
    stopped_at_once,
)
from hqnn_jax.config import (
    ANSATZ_NAMES,
    BACKBONE_NAMES,
    CIRCUIT_NAMES,
    DATASET_NAMES,
    EMBEDDING_NAMES,
    ENTANGLEMENT_NAMES,
    MEASUREMENT_NAMES,
    MIDDLE_NAMES,
    PAPER_NAMES,
    Config,
    CrossDatasetConfig,
)
from hqnn_jax.config.loading import load_config, load_section
from hqnn_jax.malloc import keep_large_buffers
from hqnn_jax.progress import Progress

if TYPE_CHECKING:
    from hqnn_jax.runs.folder import RunFolder

CONFIGS = Path(__file__).resolve().parent / "configs"

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Hybrid quantum-classical image classifiers: train, evaluate, report.",
    epilog=EXIT_CODES,
)
command = functools.partial(app.command, cls=Command)


@command("run", help=command_help.RUN_HELP)
def run_command(
    config: Annotated[Path, typer.Argument(help="YAML file, e.g. configs/quickstart.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changed keys.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/NAME-DATE-TIME.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")
    ] = False,
) -> None:
    """Train a model and write its report."""
    settings = load_config(config, overrides or [])
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out, the folder of the unfinished run")
    if out is None:
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        # A stored configuration is always called config.yaml; its folder has the name.
        name = config.resolve().parent.name if config.name == "config.yaml" else config.stem
        out = Path("runs") / f"{name}-{now}"
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


@command("evaluate", help=command_help.EVALUATE_HELP)
def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with datasets, if not where it was.")
    ] = None,
    cross: Annotated[
        list[Path] | None, typer.Option(help="YAML file of another dataset; may be repeated.")
    ] = None,
) -> None:
    """Evaluate the stored checkpoints of a finished run again, also on other datasets."""
    from hqnn_jax.files import locked
    from hqnn_jax.runs.folder import RunFolder
    from hqnn_jax.runs.further import load_others
    from hqnn_jax.runs.run import evaluate
    from hqnn_jax.runs.setup import Study
    from hqnn_jax.runs.stages import Stages
    from hqnn_jax.runs.stored_metrics import read_metrics
    from hqnn_jax.runs.summary import run_summary, write_run_report

    folder = RunFolder(run)
    # Predictions are made anew, and so may be missing or damaged.
    metrics = read_metrics(folder)
    settings = _evaluated_again(folder, metrics, data_dir, cross or [])
    progress = Progress()
    with locked(run):
        for note in folder.note_environment("evaluate"):
            progress.line(note)
        study = Study.load(settings, progress)
        evaluate(
            Stages(study, progress),
            folder,
            progress=progress,
            compile_seconds=metrics["time"]["compile_s"],
            others=load_others(study, progress),
        )
        write_run_report(run, settings)
    print("\n".join(run_summary(folder)))


def _evaluated_again(
    folder: RunFolder, metrics: Mapping[str, Any], data_dir: Path | None, cross: Sequence[Path]
) -> Config:
    """Return the configuration of a finished run with all other datasets it is evaluated on."""
    from hqnn_jax.evaluation.cross_dataset import stored_configs, without_repetition

    config = load_config(folder.config)
    others = without_repetition(
        [
            *config.evaluation.cross_datasets,
            *stored_configs(metrics, str(folder.metrics)),
            *(load_section(path, [], CrossDatasetConfig) for path in cross),
        ]
    )
    dataset = config.dataset
    if data_dir is not None:
        moved = {"data_dir": data_dir}
        dataset = dataset.model_copy(update=moved)
        others = tuple(
            other.model_copy(update={"dataset": other.dataset.model_copy(update=moved)})
            for other in others
        )
    evaluation = config.evaluation.model_copy(update={"cross_datasets": others})
    return config.model_copy(update={"dataset": dataset, "evaluation": evaluation})


@command("report", help=command_help.REPORT_HELP)
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option(help="Page to write when several runs are compared.")] = Path(
        "comparison.html"
    ),
) -> None:
    """Write the report of a finished run again, or compare several runs on one page."""
    from hqnn_jax.files import locked
    from hqnn_jax.runs.finished import load_run
    from hqnn_jax.runs.report import compare_runs
    from hqnn_jax.runs.summary import write_run_report

    if len(runs) > 1:
        print(compare_runs(runs, out))
        return
    config = load_run(runs[0]).config
    with locked(runs[0]):
        print(write_run_report(runs[0], config))


@command("paper", help=command_help.PAPER_HELP)
def paper_command(
    name: Annotated[str, typer.Argument(help="Which paper.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Keys changed in every run.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="A minute, on synthetic cells.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="Another table of aml2026, e.g. in configs/papers.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Only these arms, comma-separated; default: all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report and the runs; default: runs/NAME.")
    ] = None,
) -> None:
    """Reproduce a paper."""
    from hqnn_jax.experiments.paper import Request, reproduce

    out = out or Path("runs") / (f"{name}-small" if small else name)
    chosen = tuple(name.strip() for name in arms.split(",")) if arms else ()
    request = Request(out, tuple(overrides or ()), small, config, chosen)
    report, failed = reproduce(name, request, Progress())
    print(f"report: {report}")
    for arm, reason in failed.items():
        print_error(f"{arm}: {reason}")
    if failed:
        raise typer.Exit(1)


@command("ablate", help=command_help.ABLATE_HELP)
def ablate_command(
    config: Annotated[Path, typer.Argument(help="YAML file, of an ablation or of a run.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="AXIS=V1,V2 | KEY=VALUE", help="Axes, and changed keys."),
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
    """Compare arms over many seeds."""
    from hqnn_jax.ablation.cluster import Resources
    from hqnn_jax.ablation.file import load_ablation
    from hqnn_jax.ablation.plan import Plan
    from hqnn_jax.ablation.run import RayRequest, run_ablation

    name = config.stem
    plan = Plan.of(name, load_ablation(config, arguments or []))
    request = RayRequest(ray, Resources(ray_cpus, ray_gpus)) if ray else None
    out = out or Path("runs") / name
    for verdict in run_ablation(plan, out, Progress(), together=together, ray=request).verdicts:
        print(verdict)
    print(f"report: {out / 'report.html'}")


@command("hardware", help=command_help.HARDWARE_HELP)
def hardware_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run with a circuit.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changed settings.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings, e.g. in configs/hardware.")
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
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with datasets, if not where it was.")
    ] = None,
) -> None:
    """Evaluate a trained circuit on a quantum backend."""
    from hqnn_jax.experiments import hardware

    request = hardware.Request(run, config, tuple(overrides or ()), out, data_dir)
    if dry_run:
        print("\n".join(hardware.dry_run(request, Progress())))
        return
    folder, results = hardware.run(request, Progress(), resume=resume, wait=wait)
    if results is None:
        print(f"jobs are sent; collect them with --resume --out {folder}")
        return
    print("\n".join(hardware.summary(results)))
    print(f"report: {folder / 'report.html'}")


@command("bench", help=command_help.BENCH_HELP)
def bench_command(
    circuits: Annotated[str | None, typer.Option(help="Circuits, comma-separated.")] = None,
    batch: Annotated[str | None, typer.Option(help="Batch sizes, comma-separated.")] = None,
    engines: Annotated[
        str | None, typer.Option(help="Engines, comma-separated, or none; default: all.")
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
    """Time the circuit engines against other simulators, after checking that all agree."""
    from hqnn_jax.benchmarks.command import Options, parse_batches, run, split
    from hqnn_jax.benchmarks.contenders import DEFAULT_ENGINES, PEERS
    from hqnn_jax.benchmarks.simulators import Settings

    options = Options(
        circuits=split(circuits),
        batches=parse_batches(batch),
        engines=split(engines, DEFAULT_ENGINES),
        peers=split(peers, PEERS),
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
    path, failures = run(options, Progress().line, print)
    print(f"results: {path}, {path.with_suffix('.png')}")
    for failure in failures:
        print_error(failure)
    if failures:
        raise typer.Exit(1)


@command("list")
def list_command() -> None:
    """List configurations, datasets, circuits and backbones."""
    from hqnn_jax.circuits import CIRCUITS

    print("configs")
    for path in sorted(CONFIGS.rglob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
        name = path.relative_to(CONFIGS).with_suffix("").as_posix()
        print(f"  {name:32} {first}")
    print("papers (python -m experiment paper NAME)")
    print("  " + ", ".join(PAPER_NAMES))
    print("datasets")
    print("  " + ", ".join(DATASET_NAMES))
    print("circuits (or package.module:function of your own)")
    for name in CIRCUIT_NAMES:
        print(f"  {name:32} {(inspect.getdoc(CIRCUITS[name]) or '').splitlines()[0]}")
    print("parts of the circuit 'composed'")
    print("  embedding: " + ", ".join(EMBEDDING_NAMES))
    print("  ansatz: " + ", ".join(ANSATZ_NAMES))
    print("  entanglement: " + ", ".join(ENTANGLEMENT_NAMES))
    print("  measurement: " + ", ".join(MEASUREMENT_NAMES))
    print("middles (model.middle)")
    print("  " + ", ".join(MIDDLE_NAMES))
    print("axes of ablations (or any key of the configuration)")
    print("  " + ", ".join(AXES))
    print("backbones")
    print("  " + ", ".join(BACKBONE_NAMES))
    print("quantum backends (python -m experiment hardware RUN backend=NAME)")
    print("  statevector, aer, aer:DEVICE, fake_DEVICE of qiskit-ibm-runtime, or your own device")


def main() -> int:
    """Run the command line; return the exit code."""
    keep_large_buffers()
    return run_command_line(app)


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        # Python would print a traceback for one more Ctrl-C while it cleans up.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
