"""Kind and size of image files, read from their headers: whether a set is grey is known by all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Int, Int32

from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.decoding import RASTER_FORMATS, unreadable
from hqnn_jax.errors import DataError, RunFolderError
from hqnn_jax.files import cache_dir, read_cached, write_cached

MODES = (
    "1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F", "P", "PA", "RGB", "RGBA", "RGBa",
    "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
)  # fmt: skip
"""Pillow's modes. A header is kept as the position of its mode here; `len(MODES)` is any other."""
_GREY = frozenset(("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F"))
_FILES_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Headers:
    """Kind and size of every file of a set."""

    rows: Int32[np.ndarray, "num_files 3"]
    """Position of the mode in `MODES`, width and height in pixels."""

    def select(self, indices: Int[np.ndarray, " num_selected"]) -> Headers:
        """Return the headers of some files."""
        return Headers(self.rows[indices])

    def modes(self) -> dict[str, int]:
        """Return how many files have each mode, the most frequent first."""
        names = (*MODES, "other")
        counts = Counter(names[number] for number in self.rows[:, 0].tolist())
        return dict(counts.most_common())

    def file_mode(self) -> str:
        """Return what the files are taken for: L if all are grey, RGBA if all are, else RGB."""
        modes = self.modes().keys()
        if modes <= _GREY:
            return "L"
        return "RGBA" if modes == {"RGBA"} else "RGB"

    def sizes(self) -> dict[tuple[int, int], int]:
        """Return how many files have each width and height, the most frequent first."""
        return dict(Counter(map(tuple, self.rows[:, 1:].tolist())).most_common())


def read_headers(
    root: Path, files: Sequence[str], digest: str, progress: Progress | None = None
) -> Headers:
    """Read the header of every file; what was read is kept in `$HQNN_CACHE_DIR/image_headers`.

    Args:
        root: the folder their paths begin in.
        files: the paths.
        digest: hexadecimal, over what would be different if any file were.
        progress: told about the files read.

    Raises:
        DataError: a file that is no image, or a cache folder that cannot be written.
    """
    path = cache_dir() / "image_headers" / f"{digest}.npy"
    kept = read_cached(path)
    if kept is not None and kept.shape == (len(files), 3) and kept.dtype == np.int32:
        return Headers(kept)
    found: list[tuple[int, int, int] | DataError] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), _FILES_AT_ONCE):
            some = [root / file for file in files[start : start + _FILES_AT_ONCE]]
            found += threads.map(_header, some)
            if progress is not None:
                progress("reading the headers of the images", len(found), len(files))
    wrong = [header for header in found if isinstance(header, DataError)]
    if wrong:
        more = f"; {len(wrong) - 1:,} more files are no images either" if len(wrong) > 1 else ""
        raise DataError(f"{wrong[0]}{more}")
    rows = np.array(found, np.int32)
    try:
        write_cached(path, rows)
    except RunFolderError as error:
        raise DataError(
            f"{path.parent}: cannot keep the headers of the images; free space, or set "
            "HQNN_CACHE_DIR to a folder that can be written and has room"
        ) from error
    return Headers(rows)


def _header(path: Path) -> tuple[int, int, int] | DataError:
    try:
        with PIL.Image.open(path, formats=RASTER_FORMATS) as image:
            mode = MODES.index(image.mode) if image.mode in MODES else len(MODES)
            return mode, *image.size
    except MemoryError:
        raise
    except Exception as error:  # Pillow: of any kind on a damaged file
        return unreadable(path, error)
