"""One image file as a uint8 array of the set's channels and resolution, saying what was changed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import tifffile
from jaxtyping import UInt8

from hqnn_jax.errors import DataError

_UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow on a damaged PNG
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    PIL.Image.DecompressionBombError,
    tifffile.TiffFileError,
)
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


def decode_image(
    path: Path, *, file_mode: str, resolution: int | None
) -> tuple[UInt8[np.ndarray, "height width channels"], tuple[str, ...]]:
    """Return an image file as an array, and what was done to it that was not to be expected.

    The image is converted to RGB, or to grey for a set of grey images, then resized as a whole to
    a square with Pillow's BILINEAR filter (low-pass filtered when shrinking): the aspect ratio is
    not kept. An opaque alpha channel is dropped, a transparent image laid on white; 16-bit values
    are rounded from v / 257, so that 65535 becomes 255 (Pillow reads 16-bit colour PNGs as
    v // 256, at most one level away).

    Args:
        path: a JPEG, PNG, TIFF or BMP file.
        file_mode: Pillow mode of the set's files: RGB, RGBA or L. It decides the channels (L: 1,
            else 3); a file of another mode is converted and that is told.
        resolution: side of the result in pixels; None keeps the size of the file.

    Returns:
        The image, and one phrase such as "grey, converted to RGB" for each conversion.

    Raises:
        DataError: a file that is unreadable, truncated, or has neither 8 nor 16 bits per value.
    """
    notes: list[str] = []
    try:
        with PIL.Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                notes.append("with several frames, only the first used")
            converted = _to_mode(_to_8_bits(path, image, notes), file_mode, notes)
    except DataError:
        raise
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: not a readable image ({reason}); expected a complete JPEG, PNG, TIFF or BMP "
            "file; get it again, or remove it"
        ) from None
    if resolution is not None and converted.size != (resolution, resolution):
        converted = converted.resize((resolution, resolution), PIL.Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1), tuple(notes)


def _to_8_bits(path: Path, image: PIL.Image.Image, notes: list[str]) -> PIL.Image.Image:
    """Return the image with 8 bits per value; Pillow would drop bits of some without a word."""
    if image.mode in ("I", "F"):
        raise DataError(
            f"{path}: 32-bit pixel values (mode {image.mode}), whose range is not known; expected "
            "8 or 16 bits per value; convert the file"
        )
    sixteen = image.mode.startswith("I;16") or ";16" in str(getattr(image, "tile", ""))
    if not sixteen:
        return image
    notes.append("with 16 bits per value, scaled to 8")
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
    elif image.format == "TIFF":
        values = tifffile.imread(path, key=0)
    else:
        return image
    if values.dtype.kind + str(values.itemsize) != "u2" or values.shape[2:] not in ((), (3,), (4,)):
        raise DataError(
            f"{path}: found {values.dtype} values of shape {list(values.shape)}; expected 16-bit "
            "grey, RGB or RGBA; convert the file"
        )
    return PIL.Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _to_mode(image: PIL.Image.Image, file_mode: str, notes: list[str]) -> PIL.Image.Image:
    target = "L" if file_mode == "L" else "RGB"
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        if np.asarray(with_alpha.getchannel("A")).min() < 255:
            notes.append("with transparency, laid on white")
            white = PIL.Image.new("RGBA", with_alpha.size, "white")
            image = PIL.Image.alpha_composite(white, with_alpha).convert("RGB")
        else:
            if file_mode != "RGBA":
                notes.append("with an opaque alpha channel, which was dropped")
            # By channel: Pillow's own conversion of LA to L or RGBA to RGB does the same.
            image = image.convert("L" if image.mode in ("LA", "La") else "RGB")
    if image.mode != target:
        kind = {"L": "grey", "RGB": "in colour"}.get(image.mode, f"of mode {image.mode}")
        notes.append(f"{kind}, converted to {'grey' if target == 'L' else 'RGB'}")
        return image.convert(target)
    image.load()  # reads the pixels here, where a truncated file is told
    return image
