"""Which images, from where, split how, and as which classification task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hqnn_jax.config.base import AnyPath, ConfigSection, known
from hqnn_jax.config.names import DATASET_NAMES, DATASETS, DatasetRecord
from hqnn_jax.files import cache_dir

_MEDMNIST_RESOLUTIONS = (28, 64, 128, 224)

NumImages = Annotated[int, Field(ge=8, lt=2**31)]


class SyntheticConfig(ConfigSection):
    """How many synthetic cells are drawn, and how hard they are to tell apart."""

    train_images: NumImages = 2400
    validation_images: NumImages = 400
    test_images: NumImages = 800
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.06
    seed: Annotated[int, Field(ge=0)] = 0


class SplitConfig(ConfigSection):
    """How images are divided into training, validation and test."""

    method: Literal["official", "stratified", "grouped"] | None = None
    """`official`: as published; `stratified`: the same share of every class; `grouped`: likewise,
    but images of one patient or source image stay together. Null: official where there is one,
    else stratified."""
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


class DatasetConfig(ConfigSection):
    """Which images, from where, and as which classification task."""

    name: str = "synthetic_cells"
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

    _name = field_validator("name")(lambda value: known(value, DATASET_NAMES))

    @model_validator(mode="after")
    def _published_resolution(self) -> DatasetConfig:
        if self.record.kind == "medmnist" and self.resolution not in _MEDMNIST_RESOLUTIONS:
            sizes = ", ".join(map(str, _MEDMNIST_RESOLUTIONS))
            raise ValueError(f"resolution: {self.name} is published at {sizes} pixels")
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
    def _possible_split(self) -> DatasetConfig:
        if self.split.method == "official" and not self.record.official_split:
            raise ValueError(f"split.method: {self.name} has no official split; use stratified")
        if self.split.method == "grouped" and not self.record.grouped:
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
        return DATASETS[self.name]

    @property
    def split_method(self) -> Literal["official", "stratified", "grouped"]:
        """How images are divided, where `split.method` leaves it open too."""
        return self.split.method or ("official" if self.record.official_split else "stratified")

    def with_data_in(self, folder: Path | None) -> DatasetConfig:
        """Return this with another `data_dir`, or itself for None."""
        return self if folder is None else self.model_copy(update={"data_dir": folder})

    def resolved_data_dir(self) -> Path:
        """Return the folder datasets are read from and downloaded to."""
        if self.data_dir is not None:
            return self.data_dir.expanduser()
        return Path(os.environ.get("HQNN_DATA_DIR") or cache_dir() / "data").expanduser()
