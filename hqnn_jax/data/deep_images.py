"""Images whose values have not 8 bits, as 8 bits: rounded from v · 255 / (2^bits - 1).

Pillow would drop bits of some without a word, reads 16-bit colour TIFF files with separate planes
as noise, takes signed values for unsigned ones, and leaves 16-bit negatives (white is 0) as they
are.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import tifffile

from hqnn_jax.errors import DataError

_BITS, _COMPRESSION, _PHOTOMETRIC, _SUBSAMPLING, _SAMPLE_FORMAT = 258, 259, 262, 530, 339
_WHITE_IS_ZERO, _RGB, _YCBCR = 0, 2, 6
_UNCOMPRESSED = 1
_UNSIGNED = (1, 4)  # 4: not said
_IGNORED_EXTRA, _PREMULTIPLIED = 0, 1


def to_8_bits(
    path: Path, image: PIL.Image.Image, notes: list[str], content: bytes | None = None
) -> tuple[PIL.Image.Image, bool]:
    """Return the image with 8 bits per value.

    Args:
        path: the file.
        image: opened by Pillow; its pixels may have been read.
        notes: told about 16 bits.
        content: of the file, where it is no file on disk.

    Returns:
        The image, and whether it still lies as it is stored: Pillow turns TIFF files upright (see
        `decoding`) when it reads their pixels, but not all pixels are read by Pillow.

    Raises:
        DataError: signed, floating-point or 32-bit values, and 16-bit ones of a kind that is not
            supported.
    """
    if image.mode in ("I", "F"):
        raise DataError(
            f"{path}: signed, floating-point or 32-bit pixel values (mode {image.mode}), whose "
            "range is not known; expected 8 or 16 bits per value; convert the file"
        )
    if image.format == "TIFF":
        return _tiff(path, image, notes, content)
    image.load()  # reads the pixels here, where a truncated file is told
    if image.mode.startswith("I;16"):
        notes.append("with 16 bits per value, scaled to 8")
        return _scaled(np.asarray(image), 16), True
    return image, True


def note_deep_colours(image: PIL.Image.Image, notes: list[str]) -> None:
    """Note a 16-bit colour PNG file; Pillow forgets about it when it has read the pixels."""
    if (
        image.format == "PNG"
        and ";16" in str(getattr(image, "tile", ""))
        and not image.mode.startswith("I;16")
    ):
        notes.append("with 16 bits per value, scaled to 8")


def _tiff(
    path: Path, image: PIL.Image.Image, notes: list[str], content: bytes | None
) -> tuple[PIL.Image.Image, bool]:
    tags = image.tag_v2  # type: ignore[attr-defined]  # of TiffImageFile
    if not set(tags.get(_SAMPLE_FORMAT, (1,))) <= set(_UNSIGNED):
        raise DataError(
            f"{path}: signed or floating-point pixel values, whose range is not known; expected 8 "
            "or 16 bits per value, unsigned; convert the file"
        )
    photometric = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO)
    subsampled = tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1)
    if photometric == _YCBCR and tags.get(_COMPRESSION) == _UNCOMPRESSED and subsampled:
        raise DataError(
            f"{path}: uncompressed YCbCr values with subsampled colours, which are not supported; "
            "convert the file to RGB"
        )
    bits = max(tags.get(_BITS, (1,)))
    if bits <= 8:
        image.load()
        return image, False
    notes.append(f"with {bits} bits per value, scaled to 8")
    if image.mode.startswith("I;16"):
        image.load()  # first: the shape may change
        grey = _scaled(np.asarray(image), bits)
        if photometric == _WHITE_IS_ZERO:
            grey = grey.point(lambda value: 255 - value)
        return grey, False
    if photometric != _RGB or bits != 16:
        raise DataError(
            f"{path}: {bits} bits per value with photometric interpretation {photometric}; "
            "expected 16-bit grey or RGB; convert the file"
        )
    return _scaled(_deep_colours(path, content), bits), True


def _deep_colours(path: Path, content: bytes | None) -> np.ndarray:
    """Read 16-bit RGB or RGBA values, interleaved or in planes: uint16 [height, width, 3 or 4]."""
    with tifffile.TiffFile(path if content is None else io.BytesIO(content)) as file:
        page = file.pages.first
        extra = tuple(int(kind) for kind in page.extrasamples)
        values = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            values = np.moveaxis(values, 0, -1)
    if values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] < 3:
        raise DataError(
            f"{path}: found {values.dtype} values of shape {list(values.shape)}; expected 16-bit "
            "grey, RGB or RGBA; convert the file"
        )
    if _PREMULTIPLIED in extra[:1]:
        raise DataError(
            f"{path}: 16-bit colours multiplied by alpha, which are not supported; convert the "
            "file to RGB"
        )
    has_alpha = values.shape[2] > 3 and _IGNORED_EXTRA not in extra[:1]
    return values[..., : 4 if has_alpha else 3]


def _scaled(values: np.ndarray, bits: int) -> PIL.Image.Image:
    white = 2**bits - 1
    return PIL.Image.fromarray(
        ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)
    )
