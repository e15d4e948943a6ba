"""TFDS builder for the MedMNIST 2D sets, without TensorFlow (ArrayRecord files).

Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10:41 (2023).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from hqnn_jax.config import MEDMNIST_NAMES
from hqnn_jax.data.dataset import SPLIT_NAMES, Progress
from hqnn_jax.data.medmnist_file import (
    ArchivedSplit,
    MedMnistSource,
    check_md5,
    download,
    medmnist_source,
    read_splits,
    remove_unfinished_downloads,
)
from hqnn_jax.data.prepared import (
    Prepared,
    Storage,
    image_features,
    is_prepared,
    open_builder,
    prepare,
    read_prepared,
)
from hqnn_jax.data.record_writing import InOrderBuilder, SplitExamples
from hqnn_jax.data.unfinished import remove_all_unfinished

CITATION = (
    "Yang, J. et al. MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical "
    "image classification. Scientific Data 10, 41 (2023). doi:10.1038/s41597-022-01721-8"
)
_RESOLUTIONS = (28, 64, 128, 224)


@dataclasses.dataclass(eq=False)
class MedMnistConfig(tfds.core.BuilderConfig):
    """One MedMNIST set at one resolution, as a TFDS configuration."""

    source: MedMnistSource | None = None


def medmnist_config(source: MedMnistSource) -> MedMnistConfig:
    """Return the TFDS configuration of a source.

    Its name carries the MD5, so a file that is published anew is prepared anew.
    """
    return MedMnistConfig(name=f"{source.name}_{source.resolution}_{source.md5[:8]}", source=source)


class MedMnist(InOrderBuilder):
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
            features=image_features(
                (side, side, channels), self.source.class_names, multilabel=self.source.multilabel
            ),
            # Predictions are compared with other people's by position: keep the official order.
            disable_shuffling=True,
            license=self.source.licence,
            citation=CITATION,
            homepage="https://medmnist.com",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, SplitExamples]:
        path = Path(dl_manager.manual_dir) / self.source.file_name
        check_md5(path, self.source)
        splits = read_splits(path, self.source)
        return {
            name: SplitExamples(len(split), self._generate_examples(split))
            for name, split in splits.items()
        }

    def _generate_examples(self, split: ArchivedSplit) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(split.images(), split.labels, strict=True)):
            stored = label.astype("uint8") if self.source.multilabel else int(label)
            yield index, {"image": image, "label": stored}


def load_medmnist(
    source: MedMnistSource,
    *,
    data_dir: Path,
    prepared_dir: Path,
    storage: Storage = "device",
    progress: Progress | None = None,
) -> Prepared:
    """Return the images of a MedMNIST set, preparing (and downloading) it where needed.

    A file that is present in `data_dir` is checked even if a prepared copy exists: what is asked
    for is that file. A prepared copy is never overwritten.

    Args:
        source: the set and its resolution.
        data_dir: existing folder with the official `.npz` files; downloads go there.
        prepared_dir: TFDS root for the prepared ArrayRecord files.
        storage: see `read_prepared`.
        progress: told about downloads and preparation.

    Returns:
        The parts train, validation and test, in the official order.

    Raises:
        DataError: the file is damaged or cannot be had, or the prepared copy cannot be used.
    """
    config = medmnist_config(source)
    config = MedMnist.builder_configs.get(config.name, config)

    def make_builder() -> MedMnist:
        return MedMnist(data_dir=prepared_dir, config=config)

    path = data_dir / source.file_name
    folder = prepared_dir / MedMnist.name / config.name
    remove_all_unfinished(prepared_dir)
    prepared = is_prepared(open_builder(make_builder, folder))
    if path.exists():
        remove_unfinished_downloads(data_dir, source)
        check_md5(path, source)
    elif not prepared:
        download(source, data_dir, progress)
    what = f"preparing {source.file_name}"
    if progress is not None and not prepared:
        progress(what, 0, 1)
    builder = prepare(make_builder, folder, data_dir, progress)
    if progress is not None and not prepared:
        progress(what, 1, 1)
    return read_prepared(builder, SPLIT_NAMES, storage=storage)
