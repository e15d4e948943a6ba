"""`evaluate`: the stored checkpoints of a finished run again, also on other datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hqnn_jax.cli.configs import find_config
from hqnn_jax.cli.options import DataDir, shipped_file
from hqnn_jax.config import Config, CrossDatasetConfig
from hqnn_jax.config.loading import load_config, load_section
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.progress import Progress

if TYPE_CHECKING:
    from hqnn_jax.runs.folder import RunFolder

NAME = "evaluate"
HELP = """Evaluate the stored checkpoints of a finished run again, also on other datasets.

Examples:

    python -m experiment evaluate runs/short --data-dir DATA

    python -m experiment evaluate runs/pbc --cross configs/cross/pbc_to_blood_cell_images.yaml

A file for --cross names a dataset and which of its classes is which class of the model; its keys
are those of evaluation.cross_datasets. What a run was evaluated on stays part of its evaluation.
"""


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data_dir: DataDir = None,
    cross: Annotated[
        list[Path] | None,
        shipped_file("YAML file of another dataset; may be repeated.", "cross/"),
    ] = None,
) -> None:
    """Evaluate, write the report and print a summary."""
    others = [load_section(find_config(path), [], CrossDatasetConfig) for path in cross or []]
    from hqnn_jax.files import locked
    from hqnn_jax.runs.folder import RunFolder
    from hqnn_jax.runs.further import load_others
    from hqnn_jax.runs.run import evaluate
    from hqnn_jax.runs.setup import load_setup
    from hqnn_jax.runs.stages import Stages
    from hqnn_jax.runs.stored_metrics import read_metrics
    from hqnn_jax.runs.summary import run_summary, write_run_report

    folder = RunFolder(run)
    # Predictions are made anew, and so may be missing or damaged.
    metrics = read_metrics(folder, any_task=True)
    settings = _evaluated_again(folder, metrics, others).with_data_in(data_dir)
    progress = Progress()
    with locked(run):
        for note in folder.note_environment("evaluate"):
            progress.line(note)
        setup = load_setup(settings, progress)
        evaluate(
            Stages(setup),
            folder,
            compile_seconds=metrics["time"]["compile_s"],
            others=load_others(setup),
        )
        write_run_report(run, settings)
    print("\n".join(run_summary(folder)))


def _evaluated_again(
    folder: RunFolder, metrics: Mapping[str, Any], others: Sequence[CrossDatasetConfig]
) -> Config:
    """Return the configuration of a finished run with all other datasets it is evaluated on."""
    from hqnn_jax.evaluation.cross_dataset import stored_configs, without_repetition

    config = load_config(folder.config)
    all_others = without_repetition(
        [
            *config.evaluation.cross_datasets,
            *stored_configs(metrics, str(folder.metrics)),
            *others,
        ]
    )
    if all_others and config.dataset.task_name == "multilabel":
        raise ConfigurationError(
            f"{folder.path}: a run on a set of several labels an image; no other dataset can be "
            "mapped to them: leave out --cross"
        )
    evaluation = config.evaluation.model_copy(update={"cross_datasets": all_others})
    return config.model_copy(update={"evaluation": evaluation})
