"""Images and labels that a function of the user's own returns.

The function, `package.module:function` importable from the current folder, takes no arguments and
returns either a mapping of arrays, named as in an `.npz` file (see `arrays`) and with `licence` and
`citation` if it likes; or a `hqnn_jax.data.ImagePool`, which may say anything a pool can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.config.dataset import CardConfig
from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.leakage import image_digests
from hqnn_jax.data.own.arrays import arrays_in_memory, find_in_arrays
from hqnn_jax.data.own.own_set import OwnSet, provenance
from hqnn_jax.data.pool import ImagePool, part_numbers
from hqnn_jax.errors import DataError, HqnnError
from hqnn_jax.own_parts import import_own
from hqnn_jax.text import one_line

_EXPECTED = "expected a mapping with the arrays images and labels, or a hqnn_jax.data.ImagePool"


def load(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the images that the function `dataset.name` returns.

    Raises:
        ConfigurationError: no such function.
        DataError: one that fails, or returns something else.
    """
    where = f"dataset.name {config.name!r}"
    function = import_own("dataset.name", config.name, "a function that returns images and labels")
    if progress is not None:
        progress(f"calling {config.name}", 0, 0)
    try:
        returned = function()
    except (HqnnError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # somebody else's code
        raise DataError(
            f"{where}: raised {type(error).__name__}: {one_line(error, 200)}; {_EXPECTED}"
        ) from error
    if isinstance(returned, ImagePool):
        card = {} if config.card is None else config.card.model_dump(exclude_none=True)
        return dataclasses.replace(_checked(returned, where), **card)
    if not isinstance(returned, Mapping) or not all(isinstance(name, str) for name in returned):
        raise DataError(f"{where}: returned {type(returned).__name__}; {_EXPECTED}")
    said = {key: str(returned[key]) for key in CardConfig.model_fields if key in returned}
    arrays = {key: value for key, value in returned.items() if key not in said}
    source = arrays_in_memory(arrays, where)
    own = find_in_arrays(source, config, Path(config.name), "")
    return _pool(own, config, CardConfig(**said))


def _pool(own: OwnSet, config: DatasetConfig, card: CardConfig) -> ImagePool:
    found = own.found
    images = np.stack(
        [image for part in found.part_sizes for image, _ in found.read(part, config.resolution)]
    )
    return ImagePool(
        images=images,
        labels=own.labels,
        class_names=own.class_names,
        digests=image_digests(images),
        **part_numbers(found.part_sizes),
        files=found.files,
        groups=own.groups,
        weights=own.weights,
        headers=found.headers,
        **provenance(config, card),
    )


def _checked(pool: ImagePool, where: str) -> ImagePool:
    """Return the pool, with images of its own, if what belongs to each is there for all of them."""
    number = len(pool.images)
    for name in ("labels", "digests", "parts", "files", "groups", "weights"):
        values: Any = getattr(pool, name)
        if values is not None and len(values) != number:
            raise DataError(
                f"{where}: its pool has {number:,} images but {len(values):,} {name}; expected one "
                "for each image"
            )
    # The caller rearranges them.
    own = pool.images.copy() if isinstance(pool.images, np.ndarray) else pool.images
    return dataclasses.replace(pool, images=own)
