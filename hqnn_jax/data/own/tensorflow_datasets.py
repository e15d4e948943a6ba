"""A set of TensorFlow Datasets, read without TensorFlow: `tfds:NAME`."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hqnn_jax.config import DatasetConfig
from hqnn_jax.config.dataset import CardConfig
from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.found import Found, FoundImages
from hqnn_jax.data.own.encoded import Keys, only_one, parts_of, read_encoded
from hqnn_jax.data.own.own_set import OwnSet, prepared_pool, require_classes
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import DataError, reason_of
from hqnn_jax.text import one_line

_EXAMPLES_AT_ONCE = 256


def load(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the images of a set; see `find`.

    Raises:
        DataError: as `find`, and an image that cannot be read.
    """
    return prepared_pool(find(config, progress), config, progress)


def find(config: DatasetConfig, progress: Progress | None) -> OwnSet:
    """Return the images of a set that is prepared in `dataset.data_dir`, or that TFDS prepares.

    Without `dataset.data_dir` TFDS's own folder is taken.

    Raises:
        DataError: a set that is not known, not prepared and cannot be, or not of images and
            classes.
    """
    name = config.name.partition(":")[2]
    where = f"dataset {config.name}"
    builder = _prepared(name, config.data_dir, where, progress)
    keys = _keys(builder, where)
    classes = _classes(builder.info.features[keys.label], where)
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    parts = parts_of(sizes, where)
    sources = {part: _source(builder, split, keys, where) for part, split in parts.items()}
    labels = np.concatenate([_labels(source, keys, where) for source in sources.values()])
    grey = builder.info.features[keys.image].shape[-1] == 1
    folder = Path(builder.data_dir)

    def read(part: str, resolution: int) -> Iterator[Found]:
        for number, example in enumerate(_examples(sources[part], where)):
            file = folder / f"{parts[part]}/{number}"
            yield read_encoded(example[keys.image], file, "L" if grey else "RGB", resolution)

    part_sizes = {part: sizes[split] for part, split in parts.items()}
    files = [f"{part}/{k}" for part, size in part_sizes.items() for k in range(size)]
    return OwnSet(
        found=FoundImages(
            name="tfds",
            where=folder,
            files=tuple(files),
            part_sizes=part_sizes,
            num_channels=1 if grey else 3,
            digest=_digest(folder),
            read=read,
        ),
        class_names=classes,
        labels=labels,
        card=_card(name, builder.info),
    )


def _prepared(
    name: str, data_dir: Path | None, where: str, progress: Progress | None
) -> tfds.core.DatasetBuilder:
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else data_dir.expanduser())
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        raise DataError(
            f"{where}: not known to TFDS, and not prepared in "
            f"{data_dir or tfds.core.constants.DATA_DIR} ({one_line(error, 120)}); set "
            "dataset.data_dir to the folder it was prepared in"
        ) from error
    if builder.is_prepared():
        return builder
    if progress is not None:
        progress(f"preparing {name} with TFDS", 0, 0)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            builder.download_and_prepare(file_format="array_record")
    except MemoryError:
        raise
    except Exception as error:  # no network, no TensorFlow, no room: of many kinds
        raise DataError(
            f"{where}: TFDS cannot prepare it ({type(error).__name__}: {one_line(error, 200)}); "
            "prepare it elsewhere with file_format='array_record', and set dataset.data_dir"
        ) from error
    return builder


def _keys(builder: tfds.core.DatasetBuilder, where: str) -> Keys:
    if builder.info.supervised_keys is not None:
        return Keys(*builder.info.supervised_keys[:2])
    features: Mapping[str, Any] = builder.info.features
    images = [
        name
        for name, feature in features.items()
        if isinstance(feature, tfds.features.Image) or len(feature.shape or ()) == 3
    ]
    labels = [
        name for name, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)
    ]
    return Keys(only_one("image", images, where), only_one("class label", labels, where))


def _classes(feature: Any, where: str) -> tuple[str, ...]:
    if not isinstance(feature, tfds.features.ClassLabel):
        raise DataError(f"{where}: its label is {type(feature).__name__}; expected a class")
    require_classes(feature.names, where)
    return tuple(feature.names)


def _source(builder: tfds.core.DatasetBuilder, split: str, keys: Keys, where: str) -> Any:
    feature = builder.info.features[keys.image]
    # As bytes, so that all files are decoded in one way.
    decoders = None
    if isinstance(feature, tfds.features.Image):
        decoders = {keys.image: tfds.decode.SkipDecoding()}
    try:
        return builder.as_data_source(split, decoders=decoders)
    except MemoryError:
        raise
    except Exception as error:  # another file format, damaged files: of many kinds
        raise DataError(
            f"{where}: split {split} cannot be read ({reason_of(error)[:200]}); expected a set "
            "prepared with file_format='array_record'"
        ) from error


def _examples(source: Sequence[Any], where: str) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(source), _EXAMPLES_AT_ONCE):
        numbers = list(range(start, min(start + _EXAMPLES_AT_ONCE, len(source))))
        try:
            yield from source.__getitems__(numbers)  # type: ignore[attr-defined]
        except MemoryError:
            raise
        except Exception as error:  # ArrayRecord, TFDS and protobuf: of many kinds
            raise DataError(
                f"{where}: example {start} or one after it is damaged ({type(error).__name__}); "
                "prepare the set again"
            ) from error


def _labels(source: Sequence[Any], keys: Keys, where: str) -> np.ndarray:
    return np.array([int(example[keys.label]) for example in _examples(source, where)], np.int32)


def _digest(folder: Path) -> str:
    """Return a digest over name, size and time of change of the prepared files."""
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape"))
    for file in sorted(folder.iterdir()):
        status = file.stat()
        digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _card(name: str, info: tfds.core.DatasetInfo) -> CardConfig:
    licence = info.redistribution_info.license if info.redistribution_info else None
    return CardConfig(
        name=name,
        licence=one_line(licence) if licence else None,
        citation=one_line(info.citation) if info.citation else None,
        url=info.homepage or None,
    )
