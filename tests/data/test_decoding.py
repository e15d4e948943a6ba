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
    with pytest.raises(DataError, match="32-bit"):
        _decode(tmp_path / "image.tiff")


# What a file says about the meaning of its pixels.

RAMP = np.arange(40 * 60).reshape(40, 60)
DEEP = np.stack([RAMP * 27, RAMP[::-1] * 27, RAMP[:, ::-1] * 27], -1).astype(np.uint16)
QUARTERS = np.kron([[1, 2], [3, 4]], np.ones((16, 24), int))
QUARTERS = np.array([[0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [9] * 3], np.uint8)[QUARTERS]


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
    found, told = _decode(path, resolution=None)
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
    expected, _ = _decode(tmp_path / "8.tif", resolution=None)
    found, told = _decode(tmp_path / "16.tif", resolution=None)
    np.testing.assert_array_equal(found, expected)
    assert NOTE["deep"] in told


def test_damaged_exif_data_are_told(tmp_path):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path, exif=b"Exif\0\0nothing of the kind")
    image, told = _decode(path)
    np.testing.assert_array_equal(image, RGB)
    assert told == ("with damaged EXIF data: not turned upright if they say so",)


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
    image, told = _decode(path, "RGBA", resolution=None)
    np.testing.assert_array_equal(image, np.rint(DEEP / 257))
    assert told == (NOTE["deep"],)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_negative_is_white_where_it_is_zero(tmp_path, dtype):
    values = (RAMP * 27).astype(np.uint16) if dtype == np.uint16 else (RAMP % 256).astype(dtype)
    tifffile.imwrite(tmp_path / "negative.tif", values, photometric="miniswhite")
    image, _ = _decode(tmp_path / "negative.tif", "L", resolution=None)
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
    image, told = _decode(path, "L", resolution=None)
    np.testing.assert_array_equal(image[..., 0], np.rint(values * 255 / 4095))
    assert told == ("with 12 bits per value, scaled to 8",)


FOUR = np.stack([RAMP % 256] * 4, -1)


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
        _decode(tmp_path / "image.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_channel_that_is_no_alpha_is_left_out(tmp_path, dtype):
    four = np.concatenate([DEEP >> 8, np.zeros((40, 60, 1), np.uint16)], -1).astype(np.uint8)
    values = four * np.uint16(257) if dtype == np.uint16 else four
    tifffile.imwrite(
        tmp_path / "image.tif", values, photometric="rgb", extrasamples=["unspecified"]
    )
    image, _ = _decode(tmp_path / "image.tif", resolution=None)
    np.testing.assert_array_equal(image, four[..., :3])


# Colour profiles.


def _matrix_profile(swapped=False):
    """sRGB as LittleCMS writes it, or the same with the red and green primaries exchanged."""
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    if not swapped:
        return profile
    return profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")


SMOOTH = np.stack(np.meshgrid(np.arange(0, 240, 6), np.arange(0, 240, 6)), -1)
SMOOTH = np.concatenate([SMOOTH, SMOOTH[..., :1] // 2], -1).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_profile_is_honoured_alike_in_every_format(tmp_path, suffix):
    images = []
    for profile in (None, _matrix_profile(), _matrix_profile(swapped=True)):
        path = tmp_path / f"image.{suffix}"
        quality = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
        PIL.Image.fromarray(SMOOTH).save(path, icc_profile=profile, **quality)
        images.append(_decode(path, resolution=None))
    (plain, told), (same, told_same), (swapped, told_swapped) = images
    assert told == told_same == ()
    np.testing.assert_array_equal(plain, same)
    np.testing.assert_allclose(swapped[..., [1, 0, 2]].astype(int), plain, atol=3)
    assert told_swapped == ("with a colour profile, converted to sRGB",)


def test_a_profile_keeps_alpha_and_reaches_deep_and_palette_images(tmp_path):
    profile = _matrix_profile(swapped=True)
    expected = SMOOTH[..., [1, 0, 2]]
    half = np.full((*SMOOTH.shape[:2], 1), 255, np.uint8)
    half[:20] = 0
    path = tmp_path / "image.png"
    PIL.Image.fromarray(np.concatenate([SMOOTH, half], -1)).save(path, icc_profile=profile)
    image, told = _decode(path, resolution=None)
    assert told == ("with a colour profile, converted to sRGB", NOTE["transparent"])
    assert image[:20].min() == 255
    np.testing.assert_allclose(image[20:].astype(int), expected[20:], atol=1)

    path = tmp_path / "deep.tif"
    tag = (34675, "B", len(profile), profile, True)
    tifffile.imwrite(path, SMOOTH * np.uint16(257), photometric="rgb", extratags=[tag])
    image, told = _decode(path, resolution=None)
    assert told == (NOTE["deep"], "with a colour profile, converted to sRGB")
    np.testing.assert_allclose(image.astype(int), expected, atol=1)

    path = tmp_path / "palette.png"
    palette = PIL.Image.fromarray(SMOOTH // 64 * 64).convert(
        "P", palette=PIL.Image.Palette.ADAPTIVE
    )
    palette.save(path, icc_profile=profile)
    image, _ = _decode(path, resolution=None)
    before = np.asarray(palette.convert("RGB"))
    np.testing.assert_allclose(image.astype(int), before[..., [1, 0, 2]], atol=1)


def test_a_profile_for_another_kind_of_image_is_ignored_and_told(tmp_path):
    path = tmp_path / "grey.jpg"
    PIL.Image.fromarray(GREY).save(path, icc_profile=_matrix_profile(swapped=True))
    plain = tmp_path / "plain.jpg"
    PIL.Image.fromarray(GREY).save(plain)
    image, told = _decode(path, "L")
    np.testing.assert_array_equal(image, _decode(plain, "L")[0])
    assert told == ("with a colour profile for another kind of image, which was ignored",)


@pytest.mark.parametrize("content", [b"no profile", _matrix_profile()[:300]])
def test_a_damaged_profile_is_refused(tmp_path, content):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path, icc_profile=content)
    with pytest.raises(DataError, match="colour profile cannot be read") as caught:
        _decode(path)
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
        np.testing.assert_array_equal(_decode(path)[0], RGB)
    else:
        with pytest.raises(DataError, match=refused):
            _decode(path)


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
        _decode(path)


# Files that are no images, or not of the documented formats.


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PPM", "EPS", "ICO", "PDF"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, monkeypatch, kind):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path, format=kind)
    monkeypatch.setattr(subprocess, "Popen", None)  # Ghostscript, for PostScript
    with pytest.raises(DataError, match="expected a complete JPEG, PNG, TIFF or BMP file"):
        _decode(path)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tif"])
def test_the_name_does_not_matter(tmp_path, suffix):
    image = PIL.Image.fromarray(RGB)
    image.save(tmp_path / f"image.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    expected, _ = _decode(tmp_path / f"image.{suffix}")
    (tmp_path / f"image.{suffix}").rename(tmp_path / "image.png")
    np.testing.assert_array_equal(_decode(tmp_path / "image.png")[0], expected)


def test_a_decompression_bomb_is_one_line(tmp_path):
    path = tmp_path / "image.png"
    PIL.Image.fromarray(RGB).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(DataError, match="decompression bomb") as caught:
        _decode(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_first_frame_of_animations_and_stereo_pairs(tmp_path, suffix):
    first, second = PIL.Image.fromarray(QUARTERS), PIL.Image.fromarray(QUARTERS[::-1])
    path = tmp_path / f"image.{suffix}"
    kind = "MPO" if suffix == "jpg" else "PNG"
    first.save(path, format=kind, save_all=True, append_images=[second])
    image, told = _decode(path, resolution=None)
    assert np.abs(image.astype(int) - QUARTERS).mean() < 5
    assert told == ("with several frames, only the first used",)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["8.jpg", "8.png", "8.tif", "8.bmp", "16.tif", "planes.tif"])
def test_any_damage_is_one_line_or_an_image(tmp_path, name):
    path = tmp_path / name
    if name.startswith("8"):
        profile = {} if name == "8.bmp" else {"icc_profile": _matrix_profile()}
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
            assert _decode(path)[0].shape == (6, 6, 3)
