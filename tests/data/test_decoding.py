"""One file to one array: every mode, what is told about it, and files that cannot be read."""

import numpy as np
import PIL.Image
import pytest
import tifffile

from hqnn_jax.data.decoding import decode_image
from hqnn_jax.errors import DataError

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


def _decode(path, file_mode="RGB", resolution=6):
    return decode_image(path, file_mode=file_mode, resolution=resolution)


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
    image, told = _decode(path, file_mode)
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == np.uint8
    assert told == tuple(NOTE[note] for note in notes)


def test_colour_in_a_grey_set_is_weighted_as_luminance(tmp_path):
    PIL.Image.fromarray(RGB).save(tmp_path / "image.png")
    image, told = _decode(tmp_path / "image.png", "L")
    luminance = RGB @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(image[..., 0], luminance, atol=1)
    assert told == (NOTE["colour"],)


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    PIL.Image.fromarray(np.concatenate([RGB, OPAQUE // 2], -1)).save(tmp_path / "image.png")
    image, _ = _decode(tmp_path / "image.png")
    np.testing.assert_allclose(image, RGB * (127 / 255) + 255 * (128 / 255), atol=1.5)


@pytest.mark.parametrize(
    ("mode", "phrase"), [("CMYK", "of mode CMYK, converted to RGB"), ("1", "of mode 1, ")]
)
def test_other_modes_are_converted_and_told(tmp_path, mode, phrase):
    PIL.Image.fromarray(RGB).convert(mode).save(tmp_path / "image.tiff")
    image, (told,) = _decode(tmp_path / "image.tiff")
    assert image.shape == (6, 6, 3)
    assert told.startswith(phrase)


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
    image, told = _decode(path, "L" if channels == 1 else "RGBA")
    expected = np.rint(values[..., :3] / 257) if channels > 1 else np.rint(values / 257)[..., None]
    np.testing.assert_array_equal(image, expected)
    assert told == (NOTE["deep"],)


def test_sixteen_bit_grey_png(tmp_path):
    values = np.array([[0, 128, 129, 65535]] * 4, np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / "deep.png")
    image, told = _decode(tmp_path / "deep.png", "L", resolution=4)
    assert image[0, :, 0].tolist() == [0, 0, 1, 255]
    assert told == (NOTE["deep"],)


def test_a_palette_with_a_transparent_entry(tmp_path):
    palette = PIL.Image.fromarray(GREY // 128).convert("P")
    palette.save(tmp_path / "image.png", transparency=0)
    _, told = _decode(tmp_path / "image.png")
    assert told == (NOTE["transparent"],)


def test_only_the_first_frame_is_used_and_that_is_told(tmp_path):
    first, second = PIL.Image.fromarray(RGB), PIL.Image.fromarray(RGB[::-1])
    first.save(tmp_path / "image.tiff", save_all=True, append_images=[second])
    image, told = _decode(tmp_path / "image.tiff")
    np.testing.assert_array_equal(image, RGB)
    assert told == ("with several frames, only the first used",)


def test_the_whole_image_is_squeezed_into_the_square(tmp_path):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 20:] = 200
    PIL.Image.fromarray(wide).save(tmp_path / "wide.png")
    image, told = _decode(tmp_path / "wide.png", resolution=8)
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
        _decode(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_file_with_the_name_of_an_image(tmp_path):
    (tmp_path / "image.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"image\.jpg: not a readable image"):
        _decode(tmp_path / "image.jpg")


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_of_unknown_range_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "image.tiff", np.ones((6, 6), dtype))
    with pytest.raises(DataError, match="32-bit pixel values"):
        _decode(tmp_path / "image.tiff")
