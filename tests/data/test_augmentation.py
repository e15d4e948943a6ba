"""Each random operation alone, on images whose rows, columns and channels all differ."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from hqnn_jax.config import AugmentationConfig
from hqnn_jax.data import augmentation
from hqnn_jax.data.augmentation import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    random_affine_parameters,
    random_flips,
    sample_affine,
)

# As training uses it: compiled, with the configuration static.
augment = jax.jit(augmentation.augment, static_argnames=("config", "output_size"))

EVERYTHING = AugmentationConfig(
    crop_scale=(0.5, 0.9),
    horizontal_flip=True,
    vertical_flip=True,
    rotation_degrees=15.0,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.05,
)
IDENTITY = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.fixture
def images():
    """Five different images of 6 rows, 8 columns and 3 channels."""
    return jax.random.uniform(jax.random.key(3), (5, 6, 8, 3))


def _matrices(rows, batch):
    return jnp.broadcast_to(jnp.array(rows), (batch, 2, 3))


def test_nothing_enabled_changes_nothing(images):
    result = augment(jax.random.key(0), images, AugmentationConfig())
    np.testing.assert_array_equal(result, images)


def test_same_key_same_result_and_other_key_another(images):
    first = augment(jax.random.key(1), images, EVERYTHING)
    np.testing.assert_array_equal(first, augment(jax.random.key(1), images, EVERYTHING))
    assert not np.allclose(first, augment(jax.random.key(2), images, EVERYTHING))


@pytest.mark.parametrize(
    "only",
    [
        {"crop_scale": (0.3, 0.6)},
        {"rotation_degrees": 40.0},
        {"brightness": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.5},
        {"hue": 0.3},
    ],
    ids=lambda only: next(iter(only)),
)
def test_each_operation_alone_draws_differently_for_every_image(images, only):
    copies = jnp.broadcast_to(images[:1], (16, 6, 8, 3))
    result = np.asarray(augment(jax.random.key(0), copies, AugmentationConfig(**only)))
    assert len(np.unique(result.reshape(16, -1), axis=0)) == 16
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("rotated", [False, True], ids=["exact flips", "sampled"])
@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", 2), ("vertical_flip", 1)])
def test_flips_mirror_their_own_axis_in_about_half_of_the_images(images, name, axis, rotated):
    copies = jnp.broadcast_to(images[:1], (200, 6, 8, 3))
    # The smallest rotation sends the flip through the affine path.
    config = AugmentationConfig(**{name: True}, rotation_degrees=1e-6 if rotated else 0.0)
    result = np.asarray(augment(jax.random.key(0), copies, config))
    mirrored = np.isclose(result, np.flip(copies, axis), atol=1e-4).all(axis=(1, 2, 3))
    same = np.isclose(result, copies, atol=1e-4).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130


def test_random_flips_can_be_switched_off_one_by_one(images):
    both = random_flips(jax.random.key(5), images, horizontal=False, vertical=False)
    np.testing.assert_array_equal(both, images)


def test_identity_map_returns_the_image_exactly(images):
    result = sample_affine(images, _matrices(IDENTITY, 5))
    np.testing.assert_allclose(result, images, atol=1e-6)


def test_quarter_turn_is_exact(images):
    square = images[:, :, :6]
    turned = sample_affine(square, _matrices([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]], 5))
    np.testing.assert_allclose(turned, np.rot90(square, axes=(1, 2)), atol=1e-6)


def test_shift_moves_columns_and_mirrors_beyond_the_border(images):
    moved = np.asarray(sample_affine(images, _matrices([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], 5)))
    np.testing.assert_allclose(moved[:, :, :6], images[:, :, 2:], atol=1e-6)
    np.testing.assert_allclose(moved[:, :, 6], images[:, :, 6], atol=1e-6)
    np.testing.assert_allclose(moved[:, :, 7], images[:, :, 5], atol=1e-6)


def test_every_image_has_its_own_map(images):
    maps = jnp.stack([IDENTITY, IDENTITY.at[1, 2].set(1.0)])
    result = np.asarray(sample_affine(images[:2], maps))
    np.testing.assert_allclose(result[0], images[0], atol=1e-6)
    np.testing.assert_allclose(result[1, :-1], images[1, 1:], atol=1e-6)


def test_enlarging_by_sampling_agrees_with_resize_inside(images):
    result = sample_affine(images, _matrices(IDENTITY, 5), (12, 16))
    expected = jax.image.resize(images, (5, 12, 16, 3), "linear")
    np.testing.assert_allclose(result[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5)


def test_crops_lie_inside_the_image_and_have_the_asked_area():
    config = AugmentationConfig(crop_scale=(0.2, 0.4))
    maps = np.asarray(random_affine_parameters(jax.random.key(0), 500, config, 20, 30))
    share = maps[:, [0, 1], [0, 1]]
    area = share.prod(axis=1)
    assert 0.2 <= area.min() < 0.22
    assert 0.38 < area.max() <= 0.4
    aspect = share[:, 0] * 30 / (share[:, 1] * 20)
    assert 3 / 4 - 1e-5 <= aspect.min() < 0.8
    assert 1.25 < aspect.max() <= 4 / 3 + 1e-5
    reach = np.abs(maps[:, :, 2]) + share * [15, 10]
    assert (reach <= np.array([15, 10]) + 1e-4).all()
    assert (maps[:, [0, 1], [1, 0]] == 0).all()


def test_rotation_angles_fill_their_range():
    config = AugmentationConfig(rotation_degrees=15.0)
    maps = np.asarray(random_affine_parameters(jax.random.key(0), 500, config, 28, 28))
    angles = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert -15 <= angles.min() < -14
    assert 14 < angles.max() <= 15
    np.testing.assert_allclose(np.linalg.det(maps[:, :, :2]), 1, atol=1e-5)


@pytest.mark.parametrize("config", [AugmentationConfig(horizontal_flip=True), EVERYTHING])
@pytest.mark.parametrize("size", [4, 20])
def test_output_size(images, config, size):
    result = augment(jax.random.key(0), images, config, output_size=size)
    assert result.shape == (5, size, size, 3)


def test_shrinking_with_a_rotation_is_low_pass_filtered():
    stripes = jnp.broadcast_to((jnp.arange(32) % 2).astype(jnp.float32), (2, 32, 32))[..., None]
    config = AugmentationConfig(rotation_degrees=1e-6)
    result = augment(jax.random.key(0), stripes, config, output_size=8)
    np.testing.assert_allclose(result, 0.5, atol=0.1)


def test_brightness_scales_and_clips(images):
    result = adjust_brightness(images, jnp.array([0.0, 0.5, 1.0, 1.5, 2.0]))
    factors = np.array([0.0, 0.5, 1.0, 1.5, 2.0]).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(result, np.clip(images * factors, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("adjust", "enhancer"),
    [(adjust_contrast, ImageEnhance.Contrast), (adjust_saturation, ImageEnhance.Color)],
)
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.4])
def test_contrast_and_saturation_agree_with_pillow(images, adjust, enhancer, factor):
    stored = np.asarray(jnp.round(images * 255), np.uint8)
    result = adjust(jnp.asarray(stored) / 255, jnp.full(5, factor))
    for ours, source in zip(np.asarray(result), stored, strict=True):
        expected = np.asarray(enhancer(Image.fromarray(source)).enhance(factor))
        assert np.abs(ours * 255 - expected).max() < 2  # Pillow rounds to whole numbers on the way


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.1, 0.5])
def test_hue_agrees_with_the_standard_library(images, shift):
    result = np.asarray(adjust_hue(images, jnp.full(5, shift))).reshape(-1, 3)
    for ours, pixel in zip(result, np.asarray(images).reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_third_of_a_turn_permutes_the_pure_colours():
    red, green, blue = jnp.eye(3)
    image = jnp.stack([red, green, blue]).reshape(1, 1, 3, 3)
    turned = adjust_hue(image, jnp.array([1 / 3]))[0, 0]
    np.testing.assert_allclose(turned, jnp.stack([green, blue, red]), atol=1e-5)


def test_grey_images_have_neither_saturation_nor_hue(images):
    grey = images[..., :1]
    config = AugmentationConfig(saturation=0.9, hue=0.5)
    np.testing.assert_array_equal(augment(jax.random.key(0), grey, config), grey)
    assert not np.allclose(augment(jax.random.key(0), grey, AugmentationConfig(contrast=0.9)), grey)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_dtype_is_kept(images, dtype):
    result = augment(jax.random.key(0), images.astype(dtype), EVERYTHING, output_size=16)
    assert result.dtype == dtype


def test_double_precision_is_kept(images):
    with jax.enable_x64(True):
        result = augment(jax.random.key(0), images.astype(jnp.float64), EVERYTHING)
        assert result.dtype == jnp.float64
        # Single-precision images stay so although the draws are double.
        assert augment(jax.random.key(0), images, EVERYTHING).dtype == jnp.float32


def test_to_float_maps_the_ends():
    stored = jnp.array([0, 51, 255], jnp.uint8).reshape(1, 1, 3, 1)
    result = augmentation.to_float(stored)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result.ravel(), [0, 0.2, 1], atol=1e-7)


@pytest.mark.parametrize("size", [3, 5, 17])
def test_resize_agrees_with_pillow(images, size):
    result = np.asarray(augmentation.resize(images, size))
    for ours, source in zip(result, np.asarray(images), strict=True):
        for channel in range(3):
            reference = Image.fromarray(np.ascontiguousarray(source[..., channel]))
            expected = reference.resize((size, size), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(ours[..., channel], expected, atol=1e-4)


def test_normalise_uses_one_mean_and_deviation_per_channel(images):
    result = augmentation.normalise(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    np.testing.assert_allclose(result[..., 2], (images[..., 2] - 0.406) / 0.225, rtol=1e-5)
    assert result.dtype == jnp.float32


def test_quarter_turns_are_exact_and_equally_likely():
    image = jax.random.uniform(jax.random.key(3), (6, 6, 3))
    batch = jnp.broadcast_to(image, (400, 6, 6, 3))
    turned = augment(jax.random.key(0), batch, AugmentationConfig(quarter_turns=True))
    counts = [
        int(np.all(np.asarray(turned) == np.rot90(image, k), axis=(1, 2, 3)).sum())
        for k in range(4)
    ]
    assert sum(counts) == 400
    assert min(counts) > 60


def test_quarter_turns_and_flips_give_all_eight_orientations():
    image = jax.random.uniform(jax.random.key(3), (4, 4, 1))
    batch = jnp.broadcast_to(image, (300, 4, 4, 1))
    config = AugmentationConfig(quarter_turns=True, horizontal_flip=True)
    turned = augment(jax.random.key(1), batch, config)
    assert len({view.tobytes() for view in np.asarray(turned)}) == 8
