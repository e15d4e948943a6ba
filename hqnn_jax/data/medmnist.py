"""TFDS builder for the MedMNIST 2D sets, without TensorFlow (ArrayRecord files).

Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10:41 (2023).
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hqnn_jax.config import MEDMNIST_NAMES
from hqnn_jax.data.dataset import SPLIT_NAMES, Progress, Split
from hqnn_jax.data.medmnist_file import (
    MedMnistSource,
    check_md5,
    download,
    medmnist_source,
    read_splits,
)
from hqnn_jax.errors import DataError

CITATION = (
    "Yang, J. et al. MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical "
    "image classification. Scientific Data 10, 41 (2023). doi:10.1038/s41597-022-01721-8"
)
_RESOLUTIONS = (28, 64, 128, 224)
_RECORDS_PER_READ = 4096


@dataclasses.dataclass(eq=False)
class MedMnistConfig(tfds.core.BuilderConfig):
    """One MedMNIST set at one resolution, as a TFDS configuration."""

    source: MedMnistSource | None = None


def medmnist_config(source: MedMnistSource) -> MedMnistConfig:
    """Return the TFDS configuration of a source.

    Its name carries the MD5, so a file that is published anew is prepared anew.
    """
    return MedMnistConfig(name=f"{source.name}_{source.resolution}_{source.md5[:8]}", source=source)


class MedMnist(tfds.core.GeneratorBasedBuilder):
    """MedMNIST 2D: features `image` uint8 [resolution, resolution, channels] and `label`.

    The official file is expected in the `manual_dir` of the download configuration.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012  (declared so by TFDS)
        medmnist_config(medmnist_source(name, resolution))
        for name in MEDMNIST_NAMES
        for resolution in _RESOLUTIONS
    ]
    # TFDS would look for a checksum file beside this module (the MD5 is checked here instead), with
    # importlib_resources, which it does not declare as a dependency for Python 3.9 and later.
    code_path = None
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the official .npz file (see medmnist.INFO) into the folder."

    @property
    def source(self) -> MedMnistSource:
        """The official file this builder prepares."""
        source: MedMnistSource = self.builder_config.source
        return source

    def _info(self) -> tfds.core.DatasetInfo:
        side, channels = self.source.resolution, self.source.num_channels
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.source.name} at {side} x {side} pixels, from {self.source.url}",
            features=tfds.features.FeaturesDict(
                {
                    # As bytes: features.Image would need TensorFlow to encode an array.
                    "image": tfds.features.Tensor(
                        shape=(side, side, channels),
                        dtype=np.uint8,
                        encoding=tfds.features.Encoding.BYTES,
                    ),
                    "label": tfds.features.ClassLabel(names=list(self.source.class_names)),
                }
            ),
            # Predictions are compared with other people's by position: keep the official order.
            disable_shuffling=True,
            license=self.source.licence,
            citation=CITATION,
            homepage="https://medmnist.com",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        path = Path(dl_manager.manual_dir) / self.source.file_name
        check_md5(path, self.source)
        splits = read_splits(path, self.source)
        return {name: self._generate_examples(split) for name, split in splits.items()}

    def _generate_examples(self, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            yield index, {"image": image, "label": int(label)}


def load_medmnist(
    source: MedMnistSource, *, data_dir: Path, prepared_dir: Path, progress: Progress | None = None
) -> dict[str, Split]:
    """Return the three splits of a MedMNIST set, preparing (and downloading) it where needed.

    A file that is present in `data_dir` is checked even if a prepared copy exists: what is asked
    for is that file. A prepared copy is never overwritten.

    Args:
        source: the set and its resolution.
        data_dir: existing folder with the official `.npz` files; downloads go there.
        prepared_dir: TFDS root for the prepared ArrayRecord files.
        progress: told about downloads and preparation.

    Raises:
        DataError: the file is damaged or cannot be had, or the prepared copy cannot be used.
    """
    builder = _builder(source, prepared_dir)
    path = data_dir / source.file_name
    prepared = _is_prepared(builder)
    if path.exists():
        check_md5(path, source)
    elif not prepared:
        download(source, data_dir, progress)
    if not prepared:
        _prepare(builder, data_dir, progress)
        builder = _builder(source, prepared_dir)
    return {name: _read_prepared(builder, name) for name in SPLIT_NAMES}


def _builder(source: MedMnistSource, prepared_dir: Path) -> MedMnist:
    config = medmnist_config(source)
    return MedMnist(data_dir=prepared_dir, config=MedMnist.builder_configs.get(config.name, config))


def _is_prepared(builder: MedMnist) -> bool:
    # builder.is_prepared() logs a warning where there is nothing yet.
    return (Path(builder.data_dir) / "dataset_info.json").is_file()


def _prepare(builder: MedMnist, data_dir: Path, progress: Progress | None) -> None:
    what = f"preparing {builder.source.file_name}"
    if progress is not None:
        progress(what, 0, 1)
    try:
        # TFDS prints what it does and draws its own bars.
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            builder.download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(manual_dir=data_dir),
            )
    except OSError as error:
        # TFDS writes to a folder of its own and renames it at the end; where another process was
        # faster the rename fails, and that process's copy is as good as ours.
        if not _is_prepared(builder):
            raise DataError(
                f"{builder.data_dir}: cannot write the prepared dataset ({error}); set "
                "HQNN_CACHE_DIR to a folder that can be written and has room"
            ) from None
    if progress is not None:
        progress(what, 1, 1)


def _read_prepared(builder: MedMnist, split: str) -> Split:
    try:
        records = builder.as_data_source(split)
        images = np.empty((len(records), *builder.info.features["image"].shape), np.uint8)
        labels = np.empty(len(records), np.int32)
        # Reading in batches is several times faster than one record at a time; a few batches
        # rather than one keep the memory near that of the arrays.
        for start in range(0, len(records), _RECORDS_PER_READ):
            batch = range(start, min(start + _RECORDS_PER_READ, len(records)))
            for index, example in zip(batch, records.__getitems__(batch), strict=True):
                images[index] = example["image"]
                labels[index] = example["label"]
    except (OSError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{builder.data_dir}: the prepared {split} split is damaged "
            f"({type(error).__name__}); delete this folder and run again"
        ) from None
    return Split(images=images, labels=labels)
