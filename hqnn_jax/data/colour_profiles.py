"""What the numbers of an image file mean as colours, where the file says so itself: sRGB or not.

Networks see numbers, and files of one set that mean different colours by the same numbers would be
told apart by that. So an embedded ICC profile (JPEG, PNG, TIFF) is honoured by conversion to sRGB
with LittleCMS; one that is sRGB within rounding changes nothing. What cannot be honoured is
refused: a profile that cannot be read, one in a BMP file (Pillow does not read it), and a PNG file
that gives another gamma or other primaries than sRGB's without a profile.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageCms

from hqnn_jax.errors import DataError

_COLOUR_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
_SAME_LEVELS = 3
"""Two descriptions of sRGB differ by at most this much, of 255; Adobe RGB from sRGB by 80."""
_SRGB_GAMMA = 0.45455
_SRGB_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_BMP_PROFILES = (b"DEBM", b"KNIL")  # embedded and linked


def to_srgb(
    path: Path, image: PIL.Image.Image, profile: bytes | None, notes: list[str]
) -> PIL.Image.Image:
    """Return the image in sRGB; grey stays grey, and alpha stays.

    Args:
        path: the file, for messages.
        image: of a mode with 8 bits per value.
        profile: the ICC profile that came with the file.
        notes: told about a conversion, or a profile that does not fit the image.

    Raises:
        DataError: a profile that cannot be read.
    """
    if not profile or image.mode == "1":
        return image
    mode = {"LA": "L", "La": "L", "CMYK": "CMYK", "L": "L"}.get(image.mode, "RGB")
    try:
        transform = _transform(profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: its colour profile cannot be read ({' '.join(str(error).split())}); save the "
            "file anew in sRGB, or without the profile"
        ) from None
    if isinstance(transform, str):
        if transform == "other":
            notes.append("with a colour profile for another kind of image, which was ignored")
        return image
    notes.append("with a colour profile, converted to sRGB")
    return _converted(image, mode, transform)


def _converted(
    image: PIL.Image.Image, mode: str, transform: ImageCms.ImageCmsTransform
) -> PIL.Image.Image:
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    colours = transform.apply(image.convert(mode))
    if mode == "L":
        colours = colours.convert("L")  # from three equal channels: exactly the same values
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


@functools.lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | str:
    """Return the way from a profile to sRGB, or `sRGB` where that changes nothing, or `other`."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() != _COLOUR_SPACES[mode]:
        return "other"
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "CMYK":
        return transform
    ticks = np.linspace(0, 255, 18).astype(np.uint8)
    colours = np.stack(np.meshgrid(ticks, ticks, ticks), -1).reshape(1, -1, 3)
    if mode == "L":
        colours = np.repeat(ticks[None, :, None], 3, -1)
    before = PIL.Image.fromarray(colours).convert(mode)
    after = np.asarray(transform.apply(before)).astype(int)
    return "sRGB" if np.abs(after - colours).max() <= _SAME_LEVELS else transform


def check_colour_space(path: Path, image: PIL.Image.Image) -> None:
    """Refuse a file that says, other than by an ICC profile Pillow reads, that it is not sRGB.

    Args:
        path: the file.
        image: opened, its pixels not necessarily read.

    Raises:
        DataError: a PNG file of another gamma or primaries, a BMP file with a profile.
    """
    if image.format == "PNG":
        _check_png(path, image)
    elif image.format == "BMP":
        with path.open("rb") as file:
            header = file.read(74)
        if int.from_bytes(header[14:18], "little") >= 108 and header[70:74] in _BMP_PROFILES:
            raise DataError(
                f"{path}: a BMP file with a colour profile, which is not read; save the file anew "
                "in sRGB"
            )


def _check_png(path: Path, image: PIL.Image.Image) -> None:
    if "icc_profile" in image.info or "srgb" in image.info:
        return  # they take precedence
    gamma = image.info.get("gamma", _SRGB_GAMMA)
    primaries = image.info.get("chromaticity", _SRGB_CHROMATICITY)
    if abs(gamma / _SRGB_GAMMA - 1) > 0.05:
        what = f"gamma {gamma:g} instead of {_SRGB_GAMMA:g}"
    elif max(abs(a - b) for a, b in zip(primaries, _SRGB_CHROMATICITY, strict=True)) > 0.02:
        what = f"primaries {list(primaries)}"
    else:
        return
    raise DataError(f"{path}: colours that are not sRGB ({what}); save the file anew in sRGB")
