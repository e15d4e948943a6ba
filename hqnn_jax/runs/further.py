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

from hqnn_jax import keys
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
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.setup import Setup
from hqnn_jax.training.features import backbone_features
from hqnn_jax.training.step import Task


def load_others(setup: Setup) -> list[OtherDataset]:
    """Load the other datasets of the configuration, so that mistakes show before training.

    Raises:
        See `OtherDataset.load`.
    """
    others = []
    for config in setup.config.evaluation.cross_datasets:
        with setup.progress.task(f"loading {config.dataset.name}, to be evaluated too"):
            others.append(OtherDataset.load(config, setup.dataset, setup.config.dataset))
    return others


@dataclasses.dataclass(frozen=True)
class FurtherEvaluation:
    """The trained models of a set-up, and where results about them go."""

    setup: Setup
    folder: RunFolder
    trained: Sequence[Trained]

    @functools.cached_property
    def frozen_backbone(self) -> tuple[Model, Variables] | None:
        """The backbone that made the features; None where it is part of the models."""
        return self.setup.frozen_backbone()

    def explain(self, task: Task, probabilities: Float[np.ndarray, "images classes"]) -> None:
        """Write `explanations.npz`: why the first model classifies some test images as it does.

        Args:
            task: of the first model in training, whose circuit is differentiable.
            probabilities: of the first model for the test split.

        Half of the images are wrongly classified, as far as there are such. Of several labels an
        image there is no one answer to explain.
        """
        test, count = self.setup.dataset.test, self.setup.config.evaluation.explained_images
        if count == 0 or self.setup.dataset.multilabel:
            self.folder.explanations.unlink(missing_ok=True)
            return
        model = self.trained[0]
        predicted = probabilities.argmax(axis=1)
        shuffled = keys.shown_images().permutation(len(test))
        right, labels = (predicted == test.labels)[shuffled], test.labels[shuffled]
        chosen = np.sort(shuffled[choose_images(right, labels, count)])
        images = test.images[chosen]
        with self.setup.progress.task("explaining predictions"):
            found = explain(
                cut_at_maps(task.model, model.variables, self.frozen_backbone),
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
        options = self.setup.config.evaluation
        seeds = [model.seed for model in self.trained]
        times: Counter[str] = Counter()
        entries = []
        for other in others:
            name = other.dataset.name
            times[name] += 1
            inputs = self._inputs(other)
            total = len(self.trained) * sum(other.counts().values())
            with self.setup.progress.task(f"evaluating on {name}", total) as advance:
                probabilities = predict_other(other, inputs, self.trained, options, advance)
            path = self.folder.cross_predictions(name, times[name])
            write_arrays(path, prediction_arrays(other, probabilities, seeds))
            metrics = cross_metrics(other, probabilities, self.setup.dataset, seeds, options)
            entries.append({**metrics, "predictions": path.name})
        return entries

    def _inputs(self, other: OtherDataset) -> Mapping[str, Any]:
        """Return what the models take, per split: images, or features of the frozen backbone."""
        images = {name: split.images for name, split in other.dataset.splits().items()}
        if self.frozen_backbone is None:
            return images
        features = backbone_features(
            *self.frozen_backbone,
            self.setup.preprocessing,
            self.setup.config.model.backbone,
            {f"{other.dataset.name} {name}": array for name, array in images.items()},
            batch_size=self.setup.config.evaluation.batch_size,
            progress=self.setup.progress,
        )
        return dict(zip(images, features.values(), strict=True))
