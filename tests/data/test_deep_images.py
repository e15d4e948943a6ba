"""Values that a byte does not hold: scaled exactly, upright or negative, or refused."""

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile

from hqnn_jax.errors import DataError
from tests.data.pictures import DEEP, FOUR, NOTE, RAMP, decode


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_exactly_not_cut(tmp_path, byteorder, channels):
    values = np.linspace(0, 65535, 36 * channels).round().astype(np.uint16)
    values = values.reshape((6, 6) if channels == 1 else (6, 6, channels))
    if channels == 4:
        values[..., 3] = 65535
    path = tmp_path / "deep.tiff"
    photometric = "minisblack" if channels == 1 else "rgb"
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(path, values, byteorder=byteorder, photometric=photometric, **extra)
    image, told = decode(path, "L" if channels == 1 else "RGBA")
    expected = np.rint(values[..., :3] / 257) if channels > 1 else np.rint(values / 257)[..., None]
    np.testing.assert_array_equal(image, expected)
    assert told == (NOTE["deep"],)


def test_sixteen_bit_grey_png(tmp_path):
    values = np.array([[0, 128, 129, 65535]] * 4, np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / "deep.png")
    image, told = decode(tmp_path / "deep.png", "L", resolution=4)
    assert image[0, :, 0].tolist() == [0, 0, 1, 255]
    assert told == (NOTE["deep"],)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_unknown_range_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "image.tiff", np.ones((6, 6), dtype))
    with pytest.raises(DataError, match="32-bit"):
        decode(tmp_path / "image.tiff")


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 1}, {"compression": "zlib"}])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bit_planes_are_those_of_the_interleaved_file(tmp_path, byteorder, options, alpha):
    values = np.concatenate([DEEP, np.full((40, 60, 1), 65535, np.uint16)], -1) if alpha else DEEP
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    path = tmp_path / "planes.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(values, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        byteorder=byteorder,
        **options,
        **extra,
    )
    image, told = decode(path, "RGBA", resolution=None)
    np.testing.assert_array_equal(image, np.rint(DEEP / 257))
    assert told == (NOTE["deep"],)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_negative_is_white_where_it_is_zero(tmp_path, dtype):
    values = (RAMP * 27).astype(np.uint16) if dtype == np.uint16 else (RAMP % 256).astype(dtype)
    tifffile.imwrite(tmp_path / "negative.tif", values, photometric="miniswhite")
    image, _ = decode(tmp_path / "negative.tif", "L", resolution=None)
    expected = 255 - np.rint(values / (257 if dtype == np.uint16 else 1))
    np.testing.assert_array_equal(image[..., 0], expected)


def test_twelve_bits_reach_white(tmp_path):
    # Two values in three bytes; tifffile writes none without a package we do not need.
    values = np.array([[0, 2048, 4095, 1000]] * 4)
    packed = bytearray()
    for first, second in values.reshape(-1, 2).tolist():
        packed += bytes([first >> 4, (first & 15) << 4 | second >> 8, second & 255])
    path = tmp_path / "12.tif"
    tifffile.imwrite(path, np.zeros((4, 6), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[0]
        offset = page.dataoffsets[0]
        page.tags["ImageWidth"].overwrite(4)
        page.tags["BitsPerSample"].overwrite(12)
    content = bytearray(path.read_bytes())
    content[offset : offset + 24] = packed
    path.write_bytes(content)
    image, told = decode(path, "L", resolution=None)
    np.testing.assert_array_equal(image[..., 0], np.rint(values * 255 / 4095))
    assert told == ("with 12 bits per value, scaled to 8",)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (RAMP.astype(np.int8), {"photometric": "minisblack"}, "signed"),
        (RAMP.astype(np.int16), {"photometric": "minisblack"}, "signed"),
        (RAMP.astype(np.uint32), {"photometric": "minisblack"}, "32-bit"),
        (RAMP.astype(np.float16), {"photometric": "minisblack"}, "not a readable image"),
        (DEEP.astype(np.float32), {"photometric": "rgb"}, "not a readable image"),
        (FOUR.astype(np.uint16), {"photometric": "separated"}, "photometric interpretation 5"),
        (DEEP, {"photometric": "ycbcr"}, "not a readable image"),
        (DEEP, {"photometric": "cielab"}, "image"),
        (
            FOUR.astype(np.uint16),
            {"photometric": "rgb", "extrasamples": ["assocalpha"]},
            "multiplied by alpha",
        ),
    ],
)
def test_values_that_are_not_understood_are_refused(tmp_path, values, options, message):
    tifffile.imwrite(tmp_path / "image.tif", values, **options)
    with pytest.raises(DataError, match=message) as caught:
        decode(tmp_path / "image.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_channel_that_is_no_alpha_is_left_out(tmp_path, dtype):
    four = np.concatenate([DEEP >> 8, np.zeros((40, 60, 1), np.uint16)], -1).astype(np.uint8)
    values = four * np.uint16(257) if dtype == np.uint16 else four
    tifffile.imwrite(
        tmp_path / "image.tif", values, photometric="rgb", extrasamples=["unspecified"]
    )
    image, _ = decode(tmp_path / "image.tif", resolution=None)
    np.testing.assert_array_equal(image, four[..., :3])
