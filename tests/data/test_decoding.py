"""One file to one array: every mode, what is told about it, and files that cannot be read."""

import contextlib
import struct
import subprocess
import zlib

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile

from hqnn_jax.errors import DataError
from tests.data.pictures import (
    DEEP,
    GREY,
    NOTE,
    OPAQUE,
    QUARTERS,
    RGB,
    SMOOTH,
    decode,
    matrix_profile,
)


@pytest.mark.parametrize(
    ("pixels", "file_mode", "expected", "notes"),
    [
        (RGB, "RGB", RGB, ()),
        (GREY, "L", GREY[..., None], ()),
        (GREY, "RGB", np.stack([GREY] * 3, -1), ("grey",)),
        (np.concatenate([RGB, OPAQUE], -1), "RGBA", RGB, ()),
        (np.concatenate([RGB, OPAQUE], -1), "RGB", RGB, ("opaque",)),
        (np.concatenate([RGB, OPAQUE * 0], -1), "RGBA", RGB * 0 + 255, ("transparent",)),
        (np.stack([GREY, OPAQUE[..., 0]], -1), "L", GREY[..., None], ("opaque",)),
    ],
)
def test_modes_become_that_of_the_set_and_conversions_are_told(
    tmp_path, pixels, file_mode, expected, notes
):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(pixels).save(path)
    image, told = decode(path, file_mode)
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == np.uint8
    assert told == tuple(NOTE[note] for note in notes)


def test_colour_in_a_grey_set_is_weighted_as_luminance(tmp_path):
    PIL.Image.fromarray(RGB).save(tmp_path / "image.png")
    image, told = decode(tmp_path / "image.png", "L")
    luminance = RGB @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(image[..., 0], luminance, atol=1)
    assert told == (NOTE["colour"],)


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    PIL.Image.fromarray(np.concatenate([RGB, OPAQUE // 2], -1)).save(tmp_path / "image.png")
    image, _ = decode(tmp_path / "image.png")
    np.testing.assert_allclose(image, RGB * (127 / 255) + 255 * (128 / 255), atol=1.5)


@pytest.mark.parametrize(
    ("mode", "phrase"), [("CMYK", "of mode CMYK, converted to RGB"), ("1", "of mode 1, ")]
)
def test_other_modes_are_converted_and_told(tmp_path, mode, phrase):
    PIL.Image.fromarray(RGB).convert(mode).save(tmp_path / "image.tiff")
    image, (told,) = decode(tmp_path / "image.tiff")
    assert image.shape == (6, 6, 3)
    assert told.startswith(phrase)


def test_a_palette_with_a_transparent_entry(tmp_path):
    palette = PIL.Image.fromarray(GREY // 128).convert("P")
    palette.save(tmp_path / "image.png", transparency=0)
    _, told = decode(tmp_path / "image.png")
    assert told == (NOTE["transparent"],)


def test_only_the_first_frame_is_used_and_that_is_told(tmp_path):
    first, second = PIL.Image.fromarray(RGB), PIL.Image.fromarray(RGB[::-1])
    first.save(tmp_path / "image.tiff", save_all=True, append_images=[second])
    image, told = decode(tmp_path / "image.tiff")
    np.testing.assert_array_equal(image, RGB)
    assert told == ("with several frames, only the first used",)


def test_the_whole_image_is_squeezed_into_the_square(tmp_path):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 20:] = 200
    PIL.Image.fromarray(wide).save(tmp_path / "wide.png")
    image, told = decode(tmp_path / "wide.png", resolution=8)
    assert image.shape == (8, 8, 3)
    assert image[:, :3].max() == 0
    assert image[:, 5:].min() == 200
    assert told == ()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "bmp"])
@pytest.mark.parametrize("share", [0, 0.6])
def test_a_file_that_is_empty_or_cut_off_is_named(tmp_path, suffix, share):
    path = tmp_path / f"image.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    PIL.Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match="not a readable image") as caught:
        decode(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_file_with_the_name_of_an_image(tmp_path):
    (tmp_path / "image.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"image\.jpg: not a readable image"):
        decode(tmp_path / "image.jpg")


def _oriented(path, pixels, orientation):
    exif = PIL.Image.Exif()
    exif[274] = orientation
    image = PIL.Image.fromarray(pixels)
    if path.suffix == ".tif":
        image.save(path, tiffinfo={274: orientation})
    else:
        options = {"quality": 95} if path.suffix == ".jpg" else {}
        image.save(path, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_every_orientation_is_turned_upright_in_every_format(tmp_path, suffix, orientation):
    path = tmp_path / f"image.{suffix}"
    _oriented(path, QUARTERS, orientation)
    with PIL.Image.open(path) as image:
        expected = np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    found, told = decode(path, resolution=None)
    np.testing.assert_array_equal(found, expected)
    assert told == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("channels", "planar"), [(1, False), (3, False), (3, True)])
def test_deep_tiffs_are_turned_like_others(tmp_path, orientation, channels, planar):
    values = DEEP if channels == 3 else DEEP[..., 0]
    shallow = ((values.astype(int) + 128) // 257).astype(np.uint8)
    _oriented(tmp_path / "8.tif", shallow, orientation)
    stored = {"planarconfig": "separate"} if planar else {}
    tifffile.imwrite(
        tmp_path / "16.tif",
        np.moveaxis(values, -1, 0) if planar else values,
        photometric="rgb" if channels == 3 else "minisblack",
        extratags=[(274, "H", 1, orientation, True)],
        **stored,
    )
    expected, _ = decode(tmp_path / "8.tif", resolution=None)
    found, told = decode(tmp_path / "16.tif", resolution=None)
    np.testing.assert_array_equal(found, expected)
    assert NOTE["deep"] in told


def test_damaged_exif_data_are_told(tmp_path):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path, exif=b"Exif\0\0nothing of the kind")
    image, told = decode(path)
    np.testing.assert_array_equal(image, RGB)
    assert told == ("with damaged EXIF data: not turned upright if they say so",)


# Files that are no images, or not of the documented formats.


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM", "EPS", "ICO", "PDF"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, monkeypatch, kind):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path, format=kind)
    monkeypatch.setattr(subprocess, "Popen", None)  # Ghostscript, for PostScript
    with pytest.raises(DataError, match="expected a complete JPEG, PNG, TIFF or BMP file"):
        decode(path)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tif"])
def test_the_name_does_not_matter(tmp_path, suffix):
    image = PIL.Image.fromarray(RGB)
    image.save(tmp_path / f"image.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    expected, _ = decode(tmp_path / f"image.{suffix}")
    (tmp_path / f"image.{suffix}").rename(tmp_path / "image.png")
    np.testing.assert_array_equal(decode(tmp_path / "image.png")[0], expected)


def test_a_decompression_bomb_is_one_line(tmp_path):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(DataError, match="decompression bomb") as caught:
        decode(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_first_frame_of_animations_and_stereo_pairs(tmp_path, suffix):
    first, second = PIL.Image.fromarray(QUARTERS), PIL.Image.fromarray(QUARTERS[::-1])
    path = tmp_path / f"image.{suffix}"
    kind = "MPO" if suffix == "jpg" else "PNG"
    first.save(path, format=kind, save_all=True, append_images=[second])
    image, told = decode(path, resolution=None)
    assert np.abs(image.astype(int) - QUARTERS).mean() < 5
    assert told == ("with several frames, only the first used",)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["8.jpg", "8.png", "8.tif", "8.bmp", "16.tif", "planes.tif"])
def test_any_damage_is_one_line_or_an_image(tmp_path, name):
    path = tmp_path / name
    if name.startswith("8"):
        profile = {} if name == "8.bmp" else {"icc_profile": matrix_profile()}
        PIL.Image.fromarray(SMOOTH).save(path, **profile)
    elif name == "16.tif":
        tifffile.imwrite(path, DEEP, photometric="rgb", compression="zlib")
    else:
        planes = np.moveaxis(DEEP, -1, 0)
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    # The first bytes say the most.
    positions = [*range(min(200, len(content))), *rng.integers(0, len(content), 200).tolist()]
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            assert decode(path)[0].shape == (6, 6, 3)
