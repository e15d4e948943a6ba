"""What `metrics.json` has to hold for all who read it: checked once, where it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
from pydantic import AfterValidator, Field

from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.label_metrics import EACH_LABEL, LABEL_METRICS
from hqnn_jax.evaluation.metrics import BOOTSTRAP, CLASS_METRICS, METRICS
from hqnn_jax.files import read_json, unexpected
from hqnn_jax.runs.folder import RunFolder


class _Stored(pydantic.BaseModel):
    # Later versions may say more.
    model_config = pydantic.ConfigDict(extra="allow", strict=True)


def _having(*names: str) -> Any:
    def check(found: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        return found

    return AfterValidator(check)


# The bounds refuse NaN, infinity, and integers too large for a float.
_Figure = Annotated[float, Field(ge=-1e18, le=1e18)]
_Interval = Annotated[list[_Figure], Field(min_length=2, max_length=2)] | None
_Matrix = list[list[_Figure]]
_Deviations = Annotated[dict[str, _Figure | None], _having(*METRICS)]


class _Class(_Stored):
    label: str = Field(alias="class")
    precision: _Figure
    recall: _Figure
    f1: _Figure
    accuracy: _Figure
    roc_auc: _Figure | None
    support: _Figure
    intervals: Annotated[dict[str, _Interval], _having(*CLASS_METRICS)]


class _Figures(_Stored):
    intervals: Annotated[dict[str, _Interval], _having(*METRICS)]
    per_class: list[_Class]
    confusion_matrix: _Matrix
    standard_deviation: _Deviations | None = None


if TYPE_CHECKING:
    _Split = _Figures
else:
    _Split = pydantic.create_model(
        "_Split",
        __base__=_Figures,
        **{
            name: (_Figure if metric.always else _Figure | None, ...)
            for name, metric in METRICS.items()
        },
    )


class _Time(_Stored):
    compile_s: _Figure
    train_s: _Figure
    epoch_s: _Figure


class _Seed(_Stored):
    seed: int
    train: _Split
    validation: _Split
    test: _Split
    time: _Time
    best_epoch: int


class _Parameters(_Stored):
    backbone: _Figure
    circuit: _Figure
    classical: _Figure
    total: _Figure


class _Shared(_Stored):
    first: str
    second: str
    images: _Figure
    different_labels: _Figure


class _Dataset(_Stored):
    name: str
    synthetic: bool
    class_names: Annotated[list[str], Field(min_length=2)]
    counts: dict[str, _Figure]
    fingerprint: str
    shared_images: list[_Shared]
    licence: str
    citation: str
    warnings: list[str] = []


class _OpenClass(_Stored):
    label: str = Field(alias="class")
    recall: _Figure
    support: _Figure
    intervals: Annotated[dict[str, _Interval], _having("recall")]


class _Open(_Stored):
    accuracy: _Figure
    intervals: Annotated[dict[str, _Interval], _having("accuracy")]
    per_class: list[_OpenClass]
    confusion_matrix: _Matrix
    standard_deviation: Annotated[dict[str, _Figure | None], _having("accuracy")] | None = None


class _Mapping(_Stored):
    class_map: dict[str, str]


class _Cross(_Stored):
    name: str
    synthetic: bool
    resolution: _Figure
    fingerprint: str
    licence: str
    citation: str
    warnings: list[str]
    class_names: list[str]
    model_class_names: list[str]
    counts: dict[str, _Figure]
    left_out: dict[str, _Figure]
    trained_on: _Figure
    config: _Mapping
    open: _Open
    closed: _Split
    seeds: Annotated[list[Any], Field(min_length=1)]


class _Label(_Stored):
    label: str = Field(alias="class")
    support: _Figure
    intervals: Annotated[dict[str, _Interval], _having(*EACH_LABEL)]


class _LabelFigures(_Stored):
    images: _Figure
    intervals: Annotated[dict[str, _Interval], _having(*LABEL_METRICS)]
    per_class: list[_Label]


class _LabelSeed(_Stored):
    seed: int
    test: _LabelFigures
    time: _Time
    best_epoch: int


def _finished(status: str) -> str:
    if status != "finished":
        raise ValueError("the run is not finished")
    return status


class _Metrics(_Stored):
    status: Annotated[str, AfterValidator(_finished)]
    train: _Split
    validation: _Split
    test: _Split
    parameters: _Parameters
    time: _Time
    seeds: Annotated[list[_Seed], Field(min_length=1)]
    dataset: _Dataset
    cross_datasets: list[_Cross] = []

    @pydantic.model_validator(mode="after")
    def _agreeing(self) -> _Metrics:
        wrong = self._disagreement()
        if wrong is not None:
            raise ValueError(wrong)
        return self

    def _disagreement(self) -> str | None:
        names = self.dataset.class_names
        several = len(self.seeds) > 1
        for split in SPLIT_NAMES:
            figures: _Split = getattr(self, split)
            if [entry.label for entry in figures.per_class] != names:
                return f"{split}.per_class: expected the classes of the dataset"
            if not _has_shape(figures.confusion_matrix, len(names), len(names)):
                return f"{split}.confusion_matrix: expected a row and a column per class"
            if several and figures.standard_deviation is None:
                return f"{split}: lacks standard_deviation, of several seeds"
        for index, other in enumerate(self.cross_datasets):
            wrong = _cross_disagreement(other, several)
            if wrong is not None:
                return f"cross_datasets.{index}.{wrong}"
        return None


class _LabelMetrics(_Stored):
    """Of a run on a set of several labels an image."""

    status: Annotated[str, AfterValidator(_finished)]
    train: _LabelFigures
    validation: _LabelFigures
    test: _LabelFigures
    parameters: _Parameters
    time: _Time
    seeds: Annotated[list[_LabelSeed], Field(min_length=1)]
    dataset: _Dataset


def _cross_disagreement(other: _Cross, several: bool) -> str | None:
    labels = [entry.label for entry in other.open.per_class]
    if labels != [entry.label for entry in other.closed.per_class]:
        return "open.per_class: expected the classes of closed.per_class"
    if not set(labels) <= set(other.config.class_map.values()):
        return "config.class_map: expected the classes of open.per_class"
    if not _has_shape(
        other.open.confusion_matrix, len(other.class_names), len(other.model_class_names)
    ):
        return "open.confusion_matrix: expected a row per class there, a column per class here"
    deviations = (other.open.standard_deviation, other.closed.standard_deviation)
    if several and None in deviations:
        return "standard_deviation: expected for several seeds"
    return None


def _has_shape(matrix: Sequence[Sequence[Any]], rows: int, columns: int) -> bool:
    return len(matrix) == rows and all(len(row) == columns for row in matrix)


def interval_method(figures: Mapping[str, Any], metric: str) -> str:
    """Return how an interval was made when the run was evaluated; `figures` are those of a split.

    Runs that were evaluated before the methods were recorded have bootstrap intervals only.
    """
    return str(figures.get("interval_methods", {}).get(metric, BOOTSTRAP))


def several_labels(metrics: Mapping[str, Any]) -> bool:
    """Return whether `metrics.json` is that of a run on a set of several labels an image."""
    dataset = metrics.get("dataset")
    return isinstance(dataset, dict) and dataset.get("task") == "multilabel"


def read_metrics(files: RunFolder, *, any_task: bool = False) -> dict[str, Any]:
    """Read and check the `metrics.json` of a finished run.

    Args:
        files: its folder.
        any_task: whether the run may be on a set of several labels an image.

    Raises:
        RunFolderError: if `files` is no folder, the run has not finished or is of another task, or
            the file is missing, damaged or lacks an entry.
    """
    if not files.path.is_dir():
        raise RunFolderError(f"{files.path}: no such folder; expected the folder of a finished run")
    if files.was_trained() and files.metrics.exists():
        advice = f"delete it, then evaluate the run again with {files.how_to_resume()}"
    elif files.was_trained():
        advice = f"the run has not finished; go on with {files.how_to_resume()}"
    else:
        advice = "expected the folder of a finished run, or run it again"
    found = read_json(files.metrics, RunFolderError, advice)
    labels = several_labels(found)
    if labels and not any_task:
        raise RunFolderError(
            f"{files.path}: a run on a set of several labels an image; expected one of one class "
            "an image"
        )
    wrong = unexpected(found, _LabelMetrics if labels else _Metrics)
    if wrong is not None:
        raise RunFolderError(f"{files.metrics}: {wrong}; {advice}")
    return found
