"""What is evaluated of trained models beside their own splits: explanations and other datasets."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hqnn_jax.evaluation.cross_dataset import (
    OtherDataset,
    Trained,
    cross_metrics,
    predict_other,
    prediction_arrays,
)
from hqnn_jax.evaluation.interpretability import choose_images, cut_at_maps, explain
from hqnn_jax.files import write_arrays
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.setup import Study
from hqnn_jax.training.features import backbone_features
from hqnn_jax.training.step import Task


def load_others(study: Study, progress: Progress) -> list[OtherDataset]:
    """Load the other datasets of the configuration, so that mistakes show before training.

    Raises:
        See `OtherDataset.load`.
    """
    others = []
    for config in study.config.evaluation.cross_datasets:
        with progress.task(f"loading {config.dataset.name}, to be evaluated too"):
            others.append(OtherDataset.load(config, study.dataset, study.config.dataset))
    return others


@dataclasses.dataclass(frozen=True)
class FurtherEvaluation:
    """The trained models of a study, and where results about them go."""

    study: Study
    folder: RunFolder
    trained: Sequence[Trained]
    progress: Progress

    @functools.cached_property
    def _frozen_backbone(self) -> tuple[Model, Variables] | None:
        return self.study.frozen_backbone()

    def explain(self, task: Task, probabilities: Float[np.ndarray, "images classes"]) -> None:
        """Write `explanations.npz`: why the first model classifies some test images as it does.

        Args:
            task: of the first model in training, whose circuit is differentiable.
            probabilities: of the first model for the test split.

        Half of the images are wrongly classified, as far as there are such.
        """
        test, count = self.study.dataset.test, self.study.config.evaluation.explained_images
        if count == 0:
            self.folder.explanations.unlink(missing_ok=True)
            return
        model = self.trained[0]
        predicted = probabilities.argmax(axis=1)
        shuffled = np.random.default_rng(0).permutation(len(test))
        right, labels = (predicted == test.labels)[shuffled], test.labels[shuffled]
        chosen = np.sort(shuffled[choose_images(right, labels, count)])
        images = test.images[chosen]
        with self.progress.task("explaining predictions"):
            found = explain(
                cut_at_maps(task.model, model.variables, self._frozen_backbone),
                jax.jit(task.preprocessing)(jnp.asarray(images)),
                jnp.asarray(predicted[chosen]),
            )
        write_arrays(
            self.folder.explanations,
            {
                "images": images,
                "indices": chosen,
                "labels": test.labels[chosen],
                "predicted": predicted[chosen],
                **found._asdict(),
            },
        )

    def on_others(self, others: Sequence[OtherDataset]) -> list[dict[str, Any]]:
        """Evaluate every model on other datasets; write and return what is found.

        Returns:
            One entry per dataset, see `cross_metrics`; `predictions` is the name of the file beside
            it.
        """
        options = self.study.config.evaluation
        seeds = [model.seed for model in self.trained]
        times: Counter[str] = Counter()
        entries = []
        for other in others:
            name = other.dataset.name
            times[name] += 1
            inputs = self._inputs(other)
            total = len(self.trained) * sum(other.counts().values())
            with self.progress.task(f"evaluating on {name}", total) as advance:
                probabilities = predict_other(other, inputs, self.trained, options, advance)
            path = self.folder.cross_predictions(name, times[name])
            write_arrays(path, prediction_arrays(other, probabilities, seeds))
            metrics = cross_metrics(other, probabilities, self.study.dataset, seeds, options)
            entries.append({**metrics, "predictions": path.name})
        return entries

    def _inputs(self, other: OtherDataset) -> Mapping[str, Any]:
        """Return what the models take, per split: images, or features of the frozen backbone."""
        images = {name: split.images for name, split in other.dataset.splits().items()}
        if self._frozen_backbone is None:
            return images
        features = backbone_features(
            *self._frozen_backbone,
            self.study.preprocessing,
            self.study.config.model.backbone,
            {f"{other.dataset.name} {name}": array for name, array in images.items()},
            batch_size=self.study.config.evaluation.batch_size,
            progress=self.progress,
        )
        return dict(zip(images, features.values(), strict=True))
