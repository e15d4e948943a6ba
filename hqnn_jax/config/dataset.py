"""Which images, from where, split how, and as which classification task."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hqnn_jax.config.base import AnyPath, ConfigSection, added
from hqnn_jax.config.names import (
    DATASETS,
    PREFIXED_DATASETS,
    DatasetRecord,
    TaskName,
    dataset_record,
)
from hqnn_jax.files import cache_dir
from hqnn_jax.text import did_you_mean

_MEDMNIST_RESOLUTIONS = (28, 64, 128, 224)

_PREFIXED = re.compile(rf"({'|'.join(PREFIXED_DATASETS)}):.+")
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

NumImages = Annotated[int, Field(ge=8, lt=2**31)]
SplitMethod = Literal["official", "stratified", "grouped"]


class CardConfig(ConfigSection):
    """Where images of one's own come from, as reports say it; null: not given."""

    name: Annotated[str, Field(min_length=1)] | None = None
    licence: str | None = None
    citation: str | None = None
    url: str | None = None
    description: str | None = None


class SyntheticConfig(ConfigSection):
    """How many synthetic cells are drawn, and how hard they are to tell apart."""

    train_images: NumImages = 2400
    validation_images: NumImages = 400
    test_images: NumImages = 800
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.06
    seed: Annotated[int, Field(ge=0)] = 0


class SplitConfig(ConfigSection):
    """How images are divided into training, validation and test."""

    method: SplitMethod | None = None
    """`official`: as published; `stratified`: the same share of every class; `grouped`: likewise,
    but images of one patient or source image stay together. Null: official where there is one,
    else stratified; of images of one's own grouped where groups are given."""
    file: AnyPath | None = added(None)
    """A split that is taken as it is: the `splits.json` of a run, or a CSV file with the columns
    path and split."""
    group: str | None = added(None)
    """Column of a table that says which images belong together; null for `group`."""
    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of all images; where an official split has no validation part, of its training part."""
    test: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of all images; not with an official split."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Below 2^32, where the seeds of scikit-learn end."""

    @model_validator(mode="after")
    def _something_is_left(self) -> SplitConfig:
        if self.validation + self.test >= 1.0:
            raise ValueError("validation and test leave no image for training")
        return self

    @model_validator(mode="after")
    def _one_way(self) -> SplitConfig:
        if self.file is not None and self.method is not None:
            raise ValueError("file and method both say how images are divided; give one")
        return self


class DatasetConfig(ConfigSection):
    """Which images, from where, and as which classification task."""

    name: str = "synthetic_cells"
    """One of `DATASETS`, `tfds:NAME`, `hf:NAME`, or `package.module:function` of your own."""
    path: AnyPath | None = added(None)
    """Folder or file of `image_folder`, `table` or `npz`."""
    card: CardConfig | None = added(None)
    """Provenance of images of one's own."""
    task: TaskName | None = added(None)
    """What is learned; null for what the set is published for, else `multiclass`."""
    group_pattern: str | None = added(None)
    """Regular expression that finds the patient in the path of an image below an `image_folder`:
    its first group."""
    data_dir: AnyPath | None = None
    """Folder with datasets; default: $HQNN_DATA_DIR, else a per-user cache folder."""
    resolution: Annotated[int, Field(ge=8, le=512)] = 28
    """Side of the stored images in pixels. MedMNIST publishes each set at 28, 64, 128 and 224; sets
    of image files are resized to it once, when they are prepared."""
    positive_labels: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] | None = None
    """Binary task: these labels become class 1, all others class 0. Null keeps the classes."""
    label_map: dict[str, tuple[str, ...]] | None = None
    """New class -> the dataset's classes it is made of, in the order of the new labels; images of
    classes that are not named are left out. Null keeps the classes."""
    images_per_class: Annotated[int, Field(ge=2)] | None = None
    """Keep this many images of each class (after `label_map`), drawn with `split.seed` before the
    split; null keeps all. Not with an official split."""
    split: SplitConfig = SplitConfig()
    storage: Literal["auto", "device", "stream"] = "auto"
    """`device`: all images on the device; `stream`: read with Grain while training, for sets
    larger than memory; `auto`: stream where the images would take more than a quarter of it."""
    synthetic: SyntheticConfig = SyntheticConfig()

    @field_validator("name")
    @classmethod
    def _known_name(cls, value: str) -> str:
        if value in DATASETS or _PREFIXED.fullmatch(value) or _FUNCTION.fullmatch(value):
            return value
        prefixed = ", ".join(f"{prefix}:NAME" for prefix in PREFIXED_DATASETS)
        raise ValueError(
            f"{did_you_mean(value, DATASETS)}expected one of: {', '.join(DATASETS)}; or "
            f"{prefixed}, or package.module:function of your own"
        )

    @field_validator("group_pattern")
    @classmethod
    def _pattern_with_a_group(cls, value: str | None) -> str | None:
        try:
            if value is not None and not re.compile(value).groups:
                raise ValueError("expected a group in parentheses, such as patient_(\\d+)")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _published_resolution(self) -> DatasetConfig:
        if self.record.kind == "medmnist" and self.resolution not in _MEDMNIST_RESOLUTIONS:
            sizes = ", ".join(map(str, _MEDMNIST_RESOLUTIONS))
            raise ValueError(f"resolution: {self.name} is published at {sizes} pixels")
        return self

    @model_validator(mode="after")
    def _possible_task(self) -> DatasetConfig:
        published = self.record.kind != "own"
        if published and (self.task_name == "multilabel") != (self.record.task == "multilabel"):
            raise ValueError(f"task: {self.name} is a set of the task {self.record.task}")
        if self.task_name == "multilabel":
            if self.name == "image_folder" or _PREFIXED.fullmatch(self.name):
                raise ValueError(
                    f"task: an image of {self.name} has one class; for several labels an image use "
                    "table, npz or a function of your own"
                )
            for key in ("positive_labels", "label_map", "images_per_class"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key}: is for one class an image, not for multilabel")
        if self.task == "ordinal" and self.positive_labels is not None:
            raise ValueError("positive_labels: makes two classes, which are in no order")
        return self

    @model_validator(mode="after")
    def _one_task(self) -> DatasetConfig:
        if self.label_map is None:
            return self
        if self.positive_labels is not None:
            raise ValueError("label_map and positive_labels both define the classes; give one")
        members = [name for names in self.label_map.values() for name in names]
        if len(self.label_map) < 2 or not all(self.label_map.values()):
            raise ValueError("label_map: expected at least two classes, each of at least one")
        twice = sorted({name for name in members if members.count(name) > 1})
        if twice:
            raise ValueError(f"label_map: {twice[0]} is in two classes")
        return self

    @model_validator(mode="after")
    def _keys_of_own_sets(self) -> DatasetConfig:
        record = self.record
        if record.path and self.path is None:
            raise ValueError(f"path: {self.name} needs dataset.path, {record.path}")
        if self.path is not None and not record.path:
            where = "" if record.kind == "own" else "; its files are looked for in dataset.data_dir"
            raise ValueError(f"path: {self.name} takes none{where}")
        if self.card is not None and record.kind != "own":
            raise ValueError(
                f"card: {self.name} has its published licence and citation; a card is for images "
                "of your own (image_folder, table, npz)"
            )
        if self.group_pattern is not None and self.name != "image_folder":
            raise ValueError(f"group_pattern: is for image_folder, not for {self.name}")
        if self.split.group is not None and self.name != "table":
            raise ValueError(f"split.group: is a column of a table; {self.name} has none")
        return self

    @model_validator(mode="after")
    def _possible_split(self) -> DatasetConfig:
        known = self.record.kind != "own"  # what one's own has is known when it is read
        if known and self.split.method == "official" and not self.record.official_split:
            raise ValueError(f"split.method: {self.name} has no official split; use stratified")
        if known and self.split.method == "grouped" and not self.record.grouped:
            raise ValueError(
                f"split.method: {self.name} names neither patients nor source images to be grouped "
                "by; use stratified"
            )
        if self.images_per_class is not None and self.split_method == "official":
            raise ValueError(
                "images_per_class needs a split of its own, not the official one: set "
                "split.method to stratified"
            )
        return self

    @property
    def record(self) -> DatasetRecord:
        """What is known of the set."""
        return dataset_record(self.name)

    @property
    def title(self) -> str:
        """What reports call the set."""
        if self.card is not None and self.card.name is not None:
            return self.card.name
        # By its name only: where it lies is nobody's business.
        if self.path is not None:
            return self.resolved_path().resolve().name
        _, prefix, place = self.name.partition("hf:")
        return Path(place).name if prefix and place[:1] in ("/", "~", ".") else self.name

    @property
    def task_name(self) -> TaskName:
        """What is learned, where `task` leaves it open too."""
        return self.task or self.record.task

    @property
    def split_method(self) -> SplitMethod | None:
        """How images are divided; None where only the images of one's own say it."""
        if self.split.file is not None:
            return "official"
        if self.split.method is not None or self.record.kind == "own":
            return self.split.method
        return "official" if self.record.official_split else "stratified"

    def with_data_in(self, folder: Path | None) -> DatasetConfig:
        """Return this with its data in another folder, or itself for None."""
        if folder is None:
            return self
        path = None if self.path is None else folder / self.path.name
        return self.model_copy(update={"data_dir": folder, "path": path})

    def resolved_path(self) -> Path:
        """Return the folder or file of images of one's own."""
        assert self.path is not None, f"{self.name} takes no path"
        return self.path.expanduser()

    def resolved_data_dir(self) -> Path:
        """Return the folder datasets are read from and downloaded to."""
        if self.data_dir is not None:
            return self.data_dir.expanduser()
        return Path(os.environ.get("HQNN_DATA_DIR") or cache_dir() / "data").expanduser()
