"""What a finished run leaves to predict with: the model of one of its seeds, in `model/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

import hqnn_jax
from hqnn_jax.config import ModelConfig
from hqnn_jax.config.names import TaskName
from hqnn_jax.evaluation import statistics
from hqnn_jax.evaluation.answers import answered, confidence, single_answers, truth
from hqnn_jax.evaluation.calibration import (
    fit_temperature,
    negative_log_likelihood,
    tempered,
    tempered_labels,
)
from hqnn_jax.evaluation.conformal import prediction_sets
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.runs.chosen import Chosen
from hqnn_jax.runs.model_card import model_card
from hqnn_jax.runs.setup import Setup, evaluated_model
from hqnn_jax.trained.folder import write_model
from hqnn_jax.trained.layout import COVERAGE, RISK
from hqnn_jax.trained.record import (
    FORMAT,
    CheckpointRecord,
    ImagesRecord,
    ModelRecord,
    TrainedOnRecord,
)
from hqnn_jax.trained.validation import ValidationScores
from hqnn_jax.training.checkpoints import rank


def leave_model(
    folder: Path,
    chosen: Sequence[Chosen],
    probabilities: Mapping[str, Float[np.ndarray, "seeds _ classes"]],
    metrics: Mapping[str, Any],
    frozen_backbone: tuple[Model, Variables] | None,
) -> None:
    """Write the model of the seed with the highest validation accuracy, and its card.

    Args:
        folder: where it is written; that of the run is to be held.
        chosen: the evaluated checkpoint of each seed.
        probabilities: per split, what they predict.
        metrics: what `metrics.json` will say.
        frozen_backbone: what made the features that the models are fed; None where they are fed
            images.

    Raises:
        RunFolderError: if it cannot be written.
    """
    splits = chosen[0].stage.setup.dataset.splits()
    labels = {name: splits[name].labels for name in ("validation", "test")}
    several = labels["test"].ndim == 2
    task = "multilabel" if several else chosen[0].stage.setup.config.dataset.task_name
    index = _best(probabilities["validation"], labels["validation"])
    each = chosen[index]
    own = {name: probabilities[name][index].astype(np.float64) for name in labels}
    temperature = fit_temperature(*single_answers(own["validation"], labels["validation"]))
    scale = tempered_labels if several else tempered
    calibrated = {name: np.asarray(scale(own[name], temperature)) for name in labels}
    scores = ValidationScores.of(calibrated["validation"], labels["validation"], task)
    bins = each.stage.setup.config.evaluation.calibration_bins
    record = _record(
        each,
        [one.seed for one in chosen],
        task,
        temperature,
        {
            "accuracy": float(metrics["seeds"][index]["test"]["accuracy"]),
            **_calibration(own["test"], labels["test"], bins, "before"),
            **_calibration(calibrated["test"], labels["test"], bins, "after"),
            **_uncertainty(calibrated["test"], labels["test"], task, scores),
        },
        frozen_backbone,
    )
    card = model_card(record, each.stage.setup.config, metrics, index)
    write_model(folder, record, _whole(each.state.evaluated, frozen_backbone), scores, card)


def _best(
    probabilities: Float[np.ndarray, "seeds images classes"],
    labels: Integer[np.ndarray, "images *labels"],
) -> int:
    """Return the position of the seed that is best by the rule for epochs; see `rank`."""

    def ranked(seed: int) -> tuple[float, ...]:
        own, true = single_answers(probabilities[seed], labels)
        # Of several labels an image most are absent: there the loss alone decides.
        accuracy = 0.0 if labels.ndim == 2 else float((own.argmax(axis=1) == true).mean())
        loss = negative_log_likelihood(own, true)
        return rank({"validation_accuracy": accuracy, "validation_loss": loss, "step": float(seed)})

    return max(range(len(probabilities)), key=ranked)


def _calibration(
    probabilities: Float[np.ndarray, "images classes"],
    labels: Integer[np.ndarray, "images *labels"],
    bins: int,
    when: str,
) -> dict[str, float]:
    found, true = single_answers(probabilities, labels)
    once = np.ones((1, len(true)))
    error = statistics.expected_calibration_error(found, true, once, num_bins=bins)
    return {
        f"negative_log_likelihood_{when}": negative_log_likelihood(found, true),
        f"calibration_error_{when}": float(error[0]),
    }


def _uncertainty(
    probabilities: Float[np.ndarray, "images classes"],
    labels: Integer[np.ndarray, "images *labels"],
    task: TaskName,
    scores: ValidationScores,
) -> dict[str, float]:
    """Return how sets and rejections that the validation split chose do on the test split."""
    true, answers = truth(labels, probabilities.shape[1]), answered(probabilities, task)
    sets = prediction_sets(probabilities, answers, scores.least_probability(COVERAGE))
    found = {
        "set_coverage": float((sets | ~true).all(axis=1).mean()),
        "set_size": float(sets.sum(axis=1).mean()),
    }
    threshold = scores.confidence_threshold(RISK)
    kept = np.zeros(len(labels), bool)
    if threshold is not None:
        kept = confidence(probabilities, task) >= threshold
    if kept.any():
        found["risk_of_kept"] = float((answers != true).any(axis=1)[kept].mean())
    return {**found, "kept": float(kept.mean())}


def _record(
    chosen: Chosen,
    seeds: Sequence[int],
    task: TaskName,
    temperature: float,
    figures: Mapping[str, float],
    frozen_backbone: tuple[Model, Variables] | None,
) -> ModelRecord:
    setup = chosen.stage.setup
    dataset, evaluation = setup.dataset, setup.config.evaluation
    preprocessing = setup.preprocessing
    resolution, _, channels = dataset.test.images.shape[1:]
    return ModelRecord(
        format=FORMAT,
        hqnn_jax=hqnn_jax.__version__,
        task=task,
        class_names=dataset.class_names,
        model=_without_origin(evaluated_model(setup.config)),
        backbone_variant=_variant(chosen, frozen_backbone),
        images=ImagesRecord(
            resolution=resolution,
            channels=channels,
            network_channels=preprocessing.in_channels,
            mean=preprocessing.normalization.mean,
            deviation=preprocessing.normalization.std,
        ),
        views=evaluation.test_time_augmentation,
        shots=evaluation.shots,
        temperature=temperature,
        trained_on=_trained_on(setup),
        origin=CheckpointRecord(
            seed=chosen.seed,
            seeds=tuple(seeds),
            checkpoint=evaluation.checkpoint,
            epoch=chosen.epoch,
        ),
        figures=dict(figures),
        files={},
    )


def _trained_on(setup: Setup) -> TrainedOnRecord:
    dataset = setup.dataset
    return TrainedOnRecord(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        synthetic=dataset.synthetic,
        licence=dataset.licence,
        citation=dataset.citation,
        url=dataset.url,
        description=dataset.description,
        counts={name: len(split) for name, split in dataset.splits().items()},
    )


def _without_origin(config: ModelConfig) -> ModelConfig:
    """Return a model whose weights come from nowhere else, at its final size."""
    backbone = config.backbone.model_copy(update={"pretrained": None, "from_run": None})
    circuit = config.circuit.model_copy(update={"growth": None})
    return config.model_copy(update={"backbone": backbone, "circuit": circuit})


def _variant(chosen: Chosen, frozen_backbone: tuple[Model, Variables] | None) -> str | None:
    """Return whose arithmetic the backbone follows, where that is a choice; see EfficientNetB0."""
    if frozen_backbone is None:
        backbone = chosen.stage.task.model.module(chosen.state.evaluated).backbone
    else:
        backbone = frozen_backbone[0].module(frozen_backbone[1])
    return backbone.variant if hasattr(backbone, "set_variant") else None


def _whole(variables: Variables, frozen_backbone: tuple[Model, Variables] | None) -> Variables:
    """Return the variables of the network from images to logits."""
    if frozen_backbone is None:
        return variables
    backbone = frozen_backbone[1]
    return Variables(
        {**variables.params, "backbone": backbone.params},
        {**variables.batch_stats, "backbone": backbone.batch_stats},
    )
