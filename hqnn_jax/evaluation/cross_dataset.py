"""A trained model on another dataset, through a declared map of class names.

All images of the mapped classes are evaluated, whatever split they belong to there, since the model
was trained on none of these splits (byte-identical images it was trained on all the same are
counted). Two questions are answered. *Open*: does the model, which may answer any of its
classes, give the mapped one? *Closed*: does it, if told that only the mapped classes occur?
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pydantic
from jaxtyping import Array, Float, Int, Key, Shaped

from hqnn_jax.config import CrossDatasetConfig, DatasetConfig, EvaluationConfig
from hqnn_jax.data.dataset import ImageDataset
from hqnn_jax.data.leakage import image_digests
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.data.records import take
from hqnn_jax.errors import ConfigurationError, DataError, RunFolderError
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds
from hqnn_jax.models.pure import Variables
from hqnn_jax.text import did_you_mean, one_line
from hqnn_jax.training.prediction import Predictor, averaged_over_views
from hqnn_jax.training.step import Task

LEFT_OUT = -1
"""Label of images whose class is not in the class map."""


def map_classes(
    class_map: Mapping[str, str], their_names: Sequence[str], our_names: Sequence[str], where: str
) -> Int[np.ndarray, " their_classes"]:
    """Return the model's label of each of their classes, `LEFT_OUT` for those not mapped.

    Args:
        class_map: their class name -> the model's class name.
        their_names, our_names: class names of the other dataset and of the model.
        where: what the message of an error begins with.

    Raises:
        ConfigurationError: for an unknown name, with the closest one, or where fewer than two of
            the model's classes are left, so that there is nothing to tell apart.
    """
    labels = np.full(len(their_names), LEFT_OUT)
    for theirs, ours in class_map.items():
        _require_known(theirs, their_names, f"{where}: class_map", "the other dataset")
        _require_known(ours, our_names, f"{where}: class_map.{theirs}", "the model")
        labels[their_names.index(theirs)] = our_names.index(ours)
    if len(set(class_map.values())) < 2:
        raise ConfigurationError(
            f"{where}: class_map: expected at least two classes of the model, got only "
            f"{next(iter(class_map.values()))!r}; map more classes"
        )
    return labels


def _require_known(name: str, names: Sequence[str], where: str, owner: str) -> None:
    if name in names:
        return
    # Names of different sets often differ in case only.
    hint = did_you_mean(name, names, any_case=True)
    raise ConfigurationError(
        f"{where}: {name!r} is no class of {owner}; {hint}expected one of: {', '.join(names)}"
    )


@dataclass(frozen=True, eq=False)
class OtherDataset:
    """A dataset the model was not trained on, with the model's label of each of its classes."""

    config: CrossDatasetConfig
    dataset: ImageDataset
    class_labels: Int[np.ndarray, " their_classes"]
    """The model's label of their class k at position k, or `LEFT_OUT`."""

    @classmethod
    def load(
        cls, config: CrossDatasetConfig, ours: ImageDataset, dataset_config: DatasetConfig
    ) -> OtherDataset:
        """Load the dataset and check that the model can be evaluated on it.

        Args:
            config: the other dataset; without a `data_dir` it is looked for where ours was.
            ours, dataset_config: what the model is trained on.

        Raises:
            ConfigurationError: for unknown classes or another number of channels.
            DataError: where it cannot be read or has no image of a mapped class.
        """
        source = config.dataset
        where = f"evaluation on {source.name}"
        if source.data_dir is None:
            source = source.model_copy(update={"data_dir": dataset_config.data_dir})
        dataset = load_dataset(source)
        class_labels = map_classes(config.class_map, dataset.class_names, ours.class_names, where)
        channels, expected = (d.train.images.shape[-1] for d in (dataset, ours))
        if channels != expected:
            kinds = {1: "grey", 3: "colour"}
            raise ConfigurationError(
                f"{where}: its images have {channels} channel{'s' * (channels > 1)} "
                f"({kinds.get(channels, 'other')}), those of {ours.name} {expected} "
                f"({kinds.get(expected, 'other')}); choose a dataset of the same kind"
            )
        other = cls(config, dataset, class_labels)
        for name, count in other.counts().items():
            if count == 0:
                raise DataError(f"{where}: no image of class {name!r}; remove it from class_map")
        return other

    def selected(self) -> dict[str, Int[np.ndarray, " _"]]:
        """Return, per split, the positions of the images whose class is mapped."""
        return {
            name: np.flatnonzero(self.class_labels[split.labels] != LEFT_OUT)
            for name, split in self.dataset.splits().items()
        }

    def their_labels(self) -> Int[np.ndarray, " images"]:
        """Return the labels in the other dataset of the selected images, split after split."""
        splits = self.dataset.splits()
        return np.concatenate([splits[name].labels[i] for name, i in self.selected().items()])

    def counts(self, *, mapped: bool = True) -> dict[str, int]:
        """Return the number of images of each mapped class (or of each left out), by its name."""
        labels = np.concatenate([split.labels for split in self.dataset.splits().values()])
        counts = np.bincount(labels, minlength=self.dataset.num_classes).tolist()
        return {
            self.dataset.class_names[k]: counts[k]
            for k in np.flatnonzero((self.class_labels != LEFT_OUT) == mapped).tolist()
        }


class Trained(NamedTuple):
    """A trained model that is evaluated: its seed, static structure and variables.

    `key` is what shots are drawn with, None where the circuit's values are exact.
    """

    seed: int
    task: Task
    variables: Variables
    key: Key[Array, ""] | None = None


def predict_other(
    other: OtherDataset,
    inputs: Mapping[str, Shaped[Any, "_ *shape"]],
    trained: Sequence[Trained],
    options: EvaluationConfig,
    advance: Callable[[int], None],
) -> Float[np.ndarray, "seeds images classes"]:
    """Return the probabilities of every model for the selected images, split after split.

    Args:
        inputs: per split, images (in memory or on disk) or features of a frozen backbone.
        trained: the models; those with the same task share a compiled program.
        options: batch size and test-time augmentation.
        advance: told how many images each finished batch held.
    """
    selected = other.selected()
    size = min(options.batch_size, max(map(len, selected.values())))
    predictors: dict[int, Predictor] = {}
    stacked = []
    for model in trained:
        if id(model.task) not in predictors:
            predict = averaged_over_views(model.task.predict, options.test_time_augmentation)
            like = next(iter(inputs.values()))
            predictors[id(model.task)] = Predictor.compile(
                predict, model.variables, like, size, model.key
            )
        outputs = [
            predictors[id(model.task)](
                model.variables, take(inputs[name], positions), advance, model.key
            )
            for name, positions in selected.items()
            if len(positions)
        ]
        stacked.append(np.concatenate(outputs))
    return np.stack(stacked)


def restricted(
    probabilities: Float[np.ndarray, "images classes"], kept: Int[np.ndarray, " kept"]
) -> Float[np.ndarray, "images kept"]:
    """Return the probabilities given that the class is one of `kept`: divided by their sum.

    Where all of them are zero (they underflowed), the model says nothing: all become equal.
    """
    chosen = probabilities[:, kept].astype(np.float64)
    total = chosen.sum(axis=1, keepdims=True)
    return np.divide(chosen, total, out=np.full_like(chosen, 1 / len(kept)), where=total > 0)


def cross_metrics(
    other: OtherDataset,
    probabilities: Float[np.ndarray, "seeds images classes"],
    ours: ImageDataset,
    seeds: Sequence[int],
    options: EvaluationConfig,
) -> dict[str, Any]:
    """Return what `metrics.json` says about the evaluation on another dataset.

    Args:
        other: the dataset.
        probabilities: of its selected images, over the model's classes.
        ours: the dataset of the model.
        seeds: one per row of `probabilities`.
        options: bootstrap samples and calibration bins.

    Returns:
        JSON types: what the dataset is; `open` (`accuracy` over all classes of the model,
        `per_class` with the `recall` of the mapped ones, `confusion_matrix` with counts, their
        class first, the model's second) and `closed` (`compute_metrics` over the mapped classes),
        means over seeds with `intervals` (see `compute_metrics`) and, for several seeds,
        `standard_deviation`; `seeds` with the same of each.
    """
    per_seed = [
        {"seed": seed, **_of_one_seed(other, values, ours.class_names, seed, options)}
        for seed, values in zip(seeds, probabilities, strict=True)
    ]
    means = {
        kind: mean_over_seeds([figures[kind] for figures in per_seed])
        for kind in ("open", "closed")
    }
    return {
        **_description(other, ours),
        "open": _only_open(means["open"]),
        "closed": means["closed"],
        "seeds": [{**figures, "open": _only_open(figures["open"])} for figures in per_seed],
    }


def _of_one_seed(
    other: OtherDataset,
    probabilities: np.ndarray,
    our_names: Sequence[str],
    seed: int,
    options: EvaluationConfig,
) -> dict[str, Any]:
    theirs = other.their_labels()
    labels = other.class_labels[theirs]
    kept = np.unique(labels)
    settings: dict[str, Any] = {
        "calibration_bins": options.calibration_bins,
        "bootstrap_samples": options.bootstrap_samples,
        "seed": seed,
    }
    names = [our_names[label] for label in kept]
    closed = compute_metrics(
        restricted(probabilities, kept), np.searchsorted(kept, labels), names, **settings
    )
    opened = compute_metrics(probabilities, labels, our_names, **settings)
    opened["per_class"] = [opened["per_class"][label] for label in kept]
    confusion = np.zeros((len(other.class_labels), len(our_names)), int)
    np.add.at(confusion, (theirs, probabilities.argmax(axis=1)), 1)
    opened["confusion_matrix"] = confusion[other.class_labels != LEFT_OUT].tolist()
    return {"open": opened, "closed": closed}


def _only_open(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what has a meaning where most classes of the model cannot occur."""
    kept = {
        "accuracy": figures["accuracy"],
        "intervals": {"accuracy": figures["intervals"]["accuracy"]},
        "per_class": [
            {
                **{key: entry[key] for key in ("class", "recall", "support")},
                "intervals": {"recall": entry["intervals"]["recall"]},
            }
            for entry in figures["per_class"]
        ],
        "confusion_matrix": figures["confusion_matrix"],
        "interval_methods": {
            name: figures["interval_methods"][name] for name in ("accuracy", "recall")
        },
    }
    if "standard_deviation" in figures:
        kept["standard_deviation"] = {"accuracy": figures["standard_deviation"]["accuracy"]}
    return kept


def _description(other: OtherDataset, ours: ImageDataset) -> dict[str, Any]:
    dataset = other.dataset
    return {
        "name": dataset.name,
        "synthetic": dataset.synthetic,
        "resolution": dataset.train.images.shape[1],
        "fingerprint": dataset.fingerprint,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "warnings": list(dataset.warnings),
        "class_names": list(other.counts()),
        "model_class_names": list(ours.class_names),
        "counts": other.counts(),
        "left_out": other.counts(mapped=False),
        "trained_on": _images_trained_on(other, ours),
        "config": other.config.model_dump(mode="json"),
    }


def _images_trained_on(other: OtherDataset, ours: ImageDataset) -> int:
    """Count the selected images that are, byte for byte, in our training split."""
    if other.dataset.train.images.shape[1:] != ours.train.images.shape[1:]:
        return 0
    known = set(image_digests(ours.train.images))
    splits = other.dataset.splits()
    return sum(
        digest in known
        for name, positions in other.selected().items()
        for digest in image_digests(take(splits[name].images, positions))
    )


def prediction_arrays(
    other: OtherDataset,
    probabilities: Float[np.ndarray, "seeds images classes"],
    seeds: Sequence[int],
) -> dict[str, np.ndarray]:
    """Return what is stored of the predictions on another dataset.

    `seeds`; `probabilities` over the model's classes; `labels` in the model's classes;
    `their_labels`, `their_class_names`; `splits` and `positions`: where each image is there.
    """
    selected = other.selected()
    theirs = other.their_labels()
    return {
        "seeds": np.asarray(seeds),
        "probabilities": probabilities,
        "labels": other.class_labels[theirs],
        "their_labels": theirs,
        "their_class_names": np.asarray(other.dataset.class_names),
        "splits": np.repeat(np.asarray(list(selected)), [len(i) for i in selected.values()]),
        "positions": np.concatenate(list(selected.values())),
    }


def stored_configs(metrics: Mapping[str, Any], where: str) -> tuple[CrossDatasetConfig, ...]:
    """Return the other datasets a finished run was evaluated on.

    Args:
        metrics: its `metrics.json`.
        where: that file, for the message of an error.

    Raises:
        RunFolderError: for an entry that is no such configuration.
    """
    try:
        return tuple(
            CrossDatasetConfig.model_validate_json(json.dumps(entry["config"]), strict=True)
            for entry in metrics.get("cross_datasets", ())
        )
    except (pydantic.ValidationError, KeyError, TypeError) as error:
        reason = one_line(error)[:200]
        raise RunFolderError(
            f"{where}: cross_datasets: not a configuration ({reason}); run it again"
        ) from error


def without_repetition(configs: Iterable[CrossDatasetConfig]) -> tuple[CrossDatasetConfig, ...]:
    """Return each dataset once: a later entry takes the place of an earlier one of that dataset.

    Where its files are (`data_dir`) makes no difference.
    """
    unique = {
        config.dataset.model_copy(update={"data_dir": None}).model_dump_json(): config
        for config in configs
    }
    return tuple(unique.values())
