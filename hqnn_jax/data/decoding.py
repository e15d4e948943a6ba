"""One image file as a uint8 array of the set's channels and resolution, saying what was changed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from hqnn_jax.data.colour_profiles import check_colour_space, to_srgb
from hqnn_jax.data.deep_images import note_deep_colours, to_8_bits
from hqnn_jax.errors import DataError, reason_of

RASTER_FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
"""What is opened, by content, whatever the file's name: Pillow would hand others to programs."""

_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION = 274
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""From the orientation that EXIF or TIFF gives to upright."""


def decode_image(
    path: Path, *, file_mode: str, resolution: int | None, content: bytes | None = None
) -> tuple[UInt8[np.ndarray, "height width channels"], tuple[str, ...]]:
    """Return an image file as an array, and what was done to it that was not to be expected.

    What a file says about the meaning of its pixels is honoured alike in every format, or the file
    is refused:

    - the orientation tag of EXIF or TIFF: the image is turned upright;
    - which value is white, palettes, YCbCr and CMYK: converted by Pillow;
    - 1 to 16 bits per value, interleaved or in planes: scaled to 8 bits, so that 65535 becomes 255
      (Pillow reads 16-bit colour PNGs as v // 256, at most one level away);
    - colour profiles: converted to sRGB (see `colour_profiles`).

    The image is converted to RGB, or to grey for a set of grey images, then resized as a whole to
    a square with Pillow's BILINEAR filter (low-pass filtered when shrinking): the aspect ratio is
    not kept. An opaque alpha channel is dropped, a transparent image laid on white. Of several
    frames or pages the first is used.

    Args:
        path: a JPEG, PNG, TIFF or BMP file.
        file_mode: Pillow mode of the set's files: RGB, RGBA or L. It decides the channels (L: 1,
            else 3); a file of another mode is converted and that is told.
        resolution: side of the result in pixels; None keeps the size of the file.
        content: of the file, where it is no file on disk; `path` then only names it in messages.

    Returns:
        The image, and one phrase such as "grey, converted to RGB" for each conversion.

    Raises:
        DataError: a file that is unreadable, truncated, of another format, of more than Pillow's
            178,956,970 pixels, or whose pixels mean what is not supported.
    """
    notes: list[str] = []
    try:
        source = path if content is None else io.BytesIO(content)
        with PIL.Image.open(source, formats=RASTER_FORMATS) as image:
            shown = _upright_srgb(path, image, notes, content)
            pixels, converted = as_pixels(shown, file_mode=file_mode, resolution=resolution)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow and tifffile: of any kind on a damaged file
        raise unreadable(path, error) from error
    return pixels, (*notes, *converted)


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error that says that a file is no image, as Pillow found."""
    return DataError(
        f"{path}: not a readable image ({reason_of(error)}); expected a complete "
        f"{', '.join(RASTER_FORMATS[:-1])} or {RASTER_FORMATS[-1]} file; get it again, or "
        "remove it"
    )


def as_pixels(
    image: PIL.Image.Image, *, file_mode: str, resolution: int | None
) -> tuple[UInt8[np.ndarray, "height width channels"], tuple[str, ...]]:
    """Return an upright image of 8 bits per value as `decode_image` does; arguments as there."""
    notes: list[str] = []
    converted = _to_mode(image, file_mode, notes)
    if resolution is not None and converted.size != (resolution, resolution):
        converted = converted.resize((resolution, resolution), PIL.Image.Resampling.BILINEAR)
    pixels = np.asarray(converted, np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1), tuple(notes)


def _upright_srgb(
    path: Path, image: PIL.Image.Image, notes: list[str], content: bytes | None
) -> PIL.Image.Image:
    """Return the image as it is to be looked at, with 8 bits per value."""
    if getattr(image, "n_frames", 1) > 1:
        notes.append("with several frames, only the first used")
    note_deep_colours(image, notes)
    # Of TIFF files it is lost when the pixels are read, of PNG files not known before.
    orientation = _orientation(image, notes) if image.format == "TIFF" else None
    shown, as_stored = to_8_bits(path, image, notes, content)
    check_colour_space(path, image)
    if orientation is None:
        orientation = _orientation(image, notes)
    profile = image.info.get("icc_profile")
    if as_stored and orientation in _TURNS:
        shown = shown.transpose(_TURNS[orientation])
    return to_srgb(path, shown, profile, notes)


def _orientation(image: PIL.Image.Image, notes: list[str]) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # Pillow, of any kind on damaged EXIF data around sound pixels
        notes.append("with damaged EXIF data: not turned upright if they say so")
        return 1


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
    return image
