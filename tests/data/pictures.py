"""Pictures that decoding is tried on, and how it is called."""

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps

from hqnn_jax.data.decoding import decode_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
GREY = RGB[..., 0]
OPAQUE = np.full((6, 6, 1), 255, np.uint8)
NOTE = {
    "grey": "grey, converted to RGB",
    "colour": "in colour, converted to grey",
    "opaque": "with an opaque alpha channel, which was dropped",
    "transparent": "with transparency, laid on white",
    "deep": "with 16 bits per value, scaled to 8",
}


def decode(path, file_mode="RGB", resolution=6):
    return decode_image(path, file_mode=file_mode, resolution=resolution)


RAMP = np.arange(40 * 60).reshape(40, 60)
DEEP = np.stack([RAMP * 27, RAMP[::-1] * 27, RAMP[:, ::-1] * 27], -1).astype(np.uint16)
QUARTERS = np.kron([[1, 2], [3, 4]], np.ones((16, 24), int))
QUARTERS = np.array([[0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [9] * 3], np.uint8)[QUARTERS]


def matrix_profile(swapped=False):
    """sRGB as LittleCMS writes it, or the same with the red and green primaries exchanged."""
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    if not swapped:
        return profile
    return profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")


SMOOTH = np.stack(np.meshgrid(np.arange(0, 240, 6), np.arange(0, 240, 6)), -1)
SMOOTH = np.concatenate([SMOOTH, SMOOTH[..., :1] // 2], -1).astype(np.uint8)
FOUR = np.stack([RAMP % 256] * 4, -1)
