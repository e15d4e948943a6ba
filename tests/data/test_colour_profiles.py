"""What a file says about its colours: converted to sRGB, or refused."""

import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile

from hqnn_jax.errors import DataError
from tests.data.pictures import GREY, NOTE, RGB, SMOOTH, decode, matrix_profile


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_profile_is_honoured_alike_in_every_format(tmp_path, suffix):
    images = []
    for profile in (None, matrix_profile(), matrix_profile(swapped=True)):
        path = tmp_path / f"image.{suffix}"
        quality = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
        PIL.Image.fromarray(SMOOTH).save(path, icc_profile=profile, **quality)
        images.append(decode(path, resolution=None))
    (plain, told), (same, told_same), (swapped, told_swapped) = images
    assert told == told_same == ()
    np.testing.assert_array_equal(plain, same)
    np.testing.assert_allclose(swapped[..., [1, 0, 2]].astype(int), plain, atol=3)
    assert told_swapped == ("with a colour profile, converted to sRGB",)


def test_a_profile_keeps_alpha_and_reaches_deep_and_palette_images(tmp_path):
    profile = matrix_profile(swapped=True)
    expected = SMOOTH[..., [1, 0, 2]]
    half = np.full((*SMOOTH.shape[:2], 1), 255, np.uint8)
    half[:20] = 0
    path = tmp_path / "image.png"
    PIL.Image.fromarray(np.concatenate([SMOOTH, half], -1)).save(path, icc_profile=profile)
    image, told = decode(path, resolution=None)
    assert told == ("with a colour profile, converted to sRGB", NOTE["transparent"])
    assert image[:20].min() == 255
    np.testing.assert_allclose(image[20:].astype(int), expected[20:], atol=1)

    path = tmp_path / "deep.tif"
    tag = (34675, "B", len(profile), profile, True)
    tifffile.imwrite(path, SMOOTH * np.uint16(257), photometric="rgb", extratags=[tag])
    image, told = decode(path, resolution=None)
    assert told == (NOTE["deep"], "with a colour profile, converted to sRGB")
    np.testing.assert_allclose(image.astype(int), expected, atol=1)

    path = tmp_path / "palette.png"
    palette = PIL.Image.fromarray(SMOOTH // 64 * 64).convert(
        "P", palette=PIL.Image.Palette.ADAPTIVE
    )
    palette.save(path, icc_profile=profile)
    image, _ = decode(path, resolution=None)
    before = np.asarray(palette.convert("RGB"))
    np.testing.assert_allclose(image.astype(int), before[..., [1, 0, 2]], atol=1)


def test_a_profile_for_another_kind_of_image_is_ignored_and_told(tmp_path):
    path = tmp_path / "grey.jpg"
    PIL.Image.fromarray(GREY).save(path, icc_profile=matrix_profile(swapped=True))
    plain = tmp_path / "plain.jpg"
    PIL.Image.fromarray(GREY).save(plain)
    image, told = decode(path, "L")
    np.testing.assert_array_equal(image, decode(plain, "L")[0])
    assert told == ("with a colour profile for another kind of image, which was ignored",)


@pytest.mark.parametrize("content", [b"no profile", matrix_profile()[:300]])
def test_a_damaged_profile_is_refused(tmp_path, content):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path, icc_profile=content)
    with pytest.raises(DataError, match="colour profile cannot be read") as caught:
        decode(path)
    assert "\n" not in str(caught.value)


def _chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


ADOBE_PRIMARIES = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


@pytest.mark.parametrize(
    ("chunks", "refused"),
    [
        ([(b"gAMA", struct.pack(">I", 45455))], None),
        ([(b"gAMA", struct.pack(">I", 100000))], "gamma 1 instead"),
        ([(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100000))], None),
        ([(b"cHRM", struct.pack(">8I", *SRGB_PRIMARIES))], None),
        ([(b"cHRM", struct.pack(">8I", *ADOBE_PRIMARIES))], "primaries"),
    ],
)
def test_a_png_that_is_not_srgb_without_a_profile_is_refused(tmp_path, chunks, refused):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path)
    content = path.read_bytes()
    added = b"".join(_chunk(*chunk) for chunk in chunks)
    path.write_bytes(content[:33] + added + content[33:])
    if refused is None:
        np.testing.assert_array_equal(decode(path)[0], RGB)
    else:
        with pytest.raises(DataError, match=refused):
            decode(path)


def test_a_bmp_with_a_profile_is_refused(tmp_path):
    path = tmp_path / "image.bmp"
    PIL.Image.fromarray(RGB).save(path)
    content = path.read_bytes()
    # The header of version 5, whose colours are described by a profile at the end.
    header = struct.pack("<I", 124) + content[18:54] + struct.pack("<4I", 0, 0, 0, 0)
    header += b"DEBM" + bytes(124 - len(header) - 4)
    start = struct.pack("<2sIHHI", b"BM", len(content) + 84, 0, 0, 138)
    path.write_bytes(start + header + content[54:])
    with pytest.raises(DataError, match="BMP file with a colour profile"):
        decode(path)
