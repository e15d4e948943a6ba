"""Images as they are found, before they are prepared: what every source of them is reduced to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from hqnn_jax.data.headers import Headers

Found = tuple[UInt8[np.ndarray, "height width channels"], tuple[str, ...]]
"""An image, and what was done to it that was not to be expected, one phrase for each."""


@dataclass(frozen=True, eq=False)
class FoundImages:
    """The images of a set in their order, part after part, to be read one after the other."""

    name: str
    """Of its folder among the prepared sets, and of what is told while it is prepared."""
    where: Path
    """Folder or file, for messages."""
    files: tuple[str, ...]
    """What each image is: its path below `where`, or `part/position`."""
    part_sizes: dict[str, int]
    """Part -> its number of images, in the order of `files`."""
    num_channels: int
    """1 (grey) or 3."""
    digest: str
    """SHA-256 (hex) over what would be different if any image were."""
    read: Callable[[str, int], Iterator[Found]]
    """Of a part and a resolution: the images of the part in order, at that resolution.

    It raises `DataError` for an image that cannot be read.
    """
    headers: Headers | None = None
    """Kind and size of each image, where they are known before all are read."""
    labels: Int32[np.ndarray, " num_images"] | None = None
    """What is stored with each image; None where labels are kept apart from the images."""
    class_names: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    instructions: str = ""
    """How to get the files."""

    def files_of(self, part: str) -> tuple[str, ...]:
        """Return what the images of a part are, in order."""
        start = 0
        for name, size in self.part_sizes.items():
            if name == part:
                return self.files[start : start + size]
            start += size
        raise KeyError(part)
