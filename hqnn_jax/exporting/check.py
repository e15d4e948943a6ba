"""Whether an exported program says what the model says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hqnn_jax.errors import ExportError
from hqnn_jax.trained.model import TrainedModel

TOLERANCE = 1e-4
"""Largest difference of a probability: what other orders of the same sums in float32 may make."""


def largest_difference(
    model: TrainedModel,
    program: Callable[[np.ndarray], np.ndarray],
    what: str,
    batches: Sequence[int] = (5,),
) -> float:
    """Return by how much probabilities differ at most, for some random images.

    Args:
        model: the model.
        program: what was made of it, from uint8 images to probabilities.
        what: the format, for the message.
        batches: how many images at once.

    Raises:
        ExportError: if the difference is more than `TOLERANCE`.
    """
    side, difference = model.resolution, 0.0
    shape = (max(batches), side, side, model.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = np.asarray(model.predict(images).probabilities)
    for batch in batches:
        found = np.asarray(program(images[:batch]))
        if found.shape != (batch, len(model.class_names)) or not np.all(np.isfinite(found)):
            raise ExportError(
                f"{what}: the exported program gives {list(found.shape)} for a batch of {batch}, "
                f"or numbers that are not finite; expected probabilities "
                f"[{batch}, {len(model.class_names)}]; nothing is written"
            )
        difference = max(difference, float(np.abs(found - expected[:batch]).max()))
    if difference > TOLERANCE:
        raise ExportError(
            f"{what}: probabilities of the exported program differ by up to {difference:.2g} from "
            f"the model's on random images, more than {TOLERANCE:g}; nothing is written"
        )
    return difference
