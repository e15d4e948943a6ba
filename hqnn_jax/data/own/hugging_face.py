"""A set of Hugging Face's `datasets`: `hf:NAME` of the hub, `hf:NAME:SUBSET`, or `hf:FOLDER`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from hqnn_jax.config import DatasetConfig
from hqnn_jax.config.dataset import CardConfig
from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.found import Found, FoundImages
from hqnn_jax.data.own.encoded import Keys, only_one, parts_of, read_encoded
from hqnn_jax.data.own.own_set import OwnSet, classes_of, prepared_pool, require_classes
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import ConfigurationError, DataError
from hqnn_jax.text import one_line

_LOOKED_AT = 256
"""Images that are looked at to see whether a set is grey."""
_SAVED = ("dataset_info.json", "dataset_dict.json")
_LABELS = ("label", "labels")


def load(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the images of a set; see `find`.

    Raises:
        ConfigurationError, DataError: as `find`, and an image that cannot be read.
    """
    return prepared_pool(find(config, progress), config, progress)


def find(config: DatasetConfig, progress: Progress | None) -> OwnSet:
    """Return the images of a set on the hub, saved on disk, or in a folder that `datasets` reads.

    Raises:
        ConfigurationError: the package `datasets` is not installed.
        DataError: a set that cannot be loaded, or not of images and classes.
    """
    where = f"dataset {config.name}"
    name, _, subset = config.name.partition(":")[2].partition(":")
    if progress is not None:
        progress(f"loading {config.name}", 0, 0)
    loaded = _loaded(name, subset, where)
    parts = parts_of({split: len(rows) for split, rows in loaded.items()}, where)
    first = loaded[next(iter(parts.values()))]
    keys = _keys(first.features, where)
    # As bytes, so that all files are decoded in one way.
    tables = {
        part: loaded[split].cast_column(keys.image, _undecoded()) for part, split in parts.items()
    }
    class_names, labels = _labels([table[keys.label] for table in tables.values()],
                                  first.features[keys.label], where)  # fmt: skip
    part_sizes = {part: len(table) for part, table in tables.items()}
    file_mode = _file_mode(tables, keys)

    def read(part: str, resolution: int) -> Iterator[Found]:
        for number, row in enumerate(tables[part]):
            file = Path(f"{config.name}/{parts[part]}/{number}")
            yield read_encoded(_content(row[keys.image], file), file, file_mode, resolution)

    files = [f"{part}/{k}" for part, size in part_sizes.items() for k in range(size)]
    return OwnSet(
        found=FoundImages(
            name="hf",
            where=Path(config.name),
            files=tuple(files),
            part_sizes=part_sizes,
            num_channels=1 if file_mode == "L" else 3,
            digest=_digest(tables),
            read=read,
        ),
        class_names=class_names,
        labels=labels,
        card=_card(name, first.info),
    )


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigurationError(
            "dataset.name: hf:NAME needs the package datasets; install it with "
            "`pip install hqnn-jax[huggingface]`"
        ) from error
    return datasets


def _undecoded() -> Any:
    return _library().Image(decode=False)


def _loaded(name: str, subset: str, where: str) -> Mapping[str, Any]:
    """Return split -> table."""
    library, folder = _library(), Path(name).expanduser()
    library.disable_progress_bars()
    # A hub that cannot be reached is told once, at the end.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        if any((folder / file).is_file() for file in _SAVED):
            found = library.load_from_disk(str(folder))
        else:
            found = library.load_dataset(str(folder) if folder.is_dir() else name, subset or None)
    except MemoryError:
        raise
    except Exception as error:  # no network, no such set, damaged files: of many kinds
        raise DataError(
            f"{where}: cannot be loaded ({type(error).__name__}: {one_line(error, 200)}); expected "
            "a set of the hub (hf:NAME or hf:NAME:SUBSET) or a folder"
        ) from error
    return found if isinstance(found, Mapping) else {"train": found}


def _keys(features: Mapping[str, Any], where: str) -> Keys:
    library = _library()
    images = [name for name, feature in features.items() if isinstance(feature, library.Image)]
    labels = [name for name, feature in features.items() if isinstance(feature, library.ClassLabel)]
    labels = labels or [name for name in _LABELS if name in features]
    return Keys(only_one("image", images, where), only_one("class label", labels, where))


def _labels(
    columns: Sequence[Sequence[Any]], feature: Any, where: str
) -> tuple[tuple[str, ...], np.ndarray]:
    values = [value for column in columns for value in column]
    if any(value is None for value in values):
        raise DataError(f"{where}: {sum(v is None for v in values):,} images have no label; "
                        "expected one for each image")  # fmt: skip
    if hasattr(feature, "names"):
        names, labels = tuple(feature.names), np.array(values, np.int32)
    else:
        names, labels = classes_of([str(value) for value in values])
    require_classes(names, where)
    return names, labels


def _content(value: Mapping[str, Any], file: Path) -> bytes:
    content, path = value["bytes"], value["path"]
    if content is None and path is not None:
        with contextlib.suppress(OSError):
            content = Path(path).read_bytes()
    if content is None:
        raise DataError(f"{file}: the image ({path}) cannot be read; load the set again")
    return bytes(content)


def _file_mode(tables: Mapping[str, Any], keys: Keys) -> str:
    """Return L if all images that are looked at are grey, else RGB."""
    for table in tables.values():
        for number in np.unique(np.linspace(0, len(table) - 1, _LOOKED_AT).astype(int)).tolist():
            content = _content(table[number][keys.image], Path(str(number)))
            try:
                with PIL.Image.open(io.BytesIO(content)) as image:
                    grey = image.mode in ("1", "L", "LA", "I;16")
            except Exception:  # told, with its number, when it is decoded
                return "RGB"
            if not grey:
                return "RGB"
    return "L"


def _digest(tables: Mapping[str, Any]) -> str:
    described = "".join(f"{part} {table._fingerprint}\n" for part, table in tables.items())
    return hashlib.sha256(described.encode()).hexdigest()


def _card(name: str, info: Any) -> CardConfig:
    return CardConfig(
        name=Path(name).name if Path(name).expanduser().is_dir() else name,
        licence=one_line(info.license) or None,
        citation=one_line(info.citation) or None,
        url=info.homepage or None,
        description=one_line(info.description, 500) or None,
    )
