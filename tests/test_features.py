"""The 20 hand-made features: against pictures whose values are known, and on real cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hqnn_jax.backbones.features import FEATURE_NAMES, cell_mask, image_features
from hqnn_jax.errors import DataError


def features_of(image: np.ndarray) -> dict[str, float]:
    """Return the features of one grey picture of uint8 by name."""
    (row,) = image_features(image[None, :, :, None])
    return dict(zip(FEATURE_NAMES, row, strict=True))


def disc(size: int, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1


@pytest.fixture
def smear():
    """A dark ellipse, a grey ring next to it and a light background, 64 x 48."""
    image = np.full((64, 64), 220, np.uint8)
    image[disc(64, (20, 30), (16, 12)) & ~disc(64, (20, 30), (9, 6))] = 150
    image[disc(64, (40, 30), (12, 8))] = 60
    return image[:, :48]


def test_there_are_twenty_in_the_papers_order():
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 20
    assert FEATURE_NAMES[:5] == ("mean", "standard deviation", "minimum", "maximum", "median")
    assert FEATURE_NAMES[-1] == "frequency centroid"


def test_intensity_is_that_of_the_grey_image():
    image = np.zeros((8, 10), np.uint8)
    image[2:, :] = 51
    image[3, 4] = 255
    found = features_of(image)
    grey = image / 255
    assert found["mean"] == pytest.approx(grey.mean())
    assert found["standard deviation"] == pytest.approx(grey.std())
    assert (found["minimum"], found["maximum"], found["median"]) == (0, 1, pytest.approx(0.2))


def test_colours_count_by_luminance():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[..., 1] = 255
    assert image_features(image)[0, 0] == pytest.approx(0.7154)


def test_texture_of_a_chessboard():
    # Neighbours to the side differ by all 31 levels, diagonal ones not at all.
    board = np.indices((16, 16)).sum(axis=0) % 2 * 255
    found = features_of(board.astype(np.uint8))
    assert found["GLCM contrast"] == pytest.approx(31**2 / 2)
    assert found["GLCM dissimilarity"] == pytest.approx(31 / 2)
    assert found["GLCM homogeneity"] == pytest.approx((1 + 1 / (1 + 31**2)) / 2)
    assert found["GLCM correlation"] == pytest.approx(0, abs=0.01)
    assert found["GLCM energy"] == pytest.approx(0.5**0.5, abs=1e-3)


def test_shape_is_that_of_the_dark_cell_and_not_of_its_neighbour(smear):
    found = features_of(smear)
    assert found["area"] == pytest.approx(np.pi * 12 * 8 / smear.size, rel=0.02)
    assert found["eccentricity"] == pytest.approx((1 - (8 / 12) ** 2) ** 0.5, abs=0.03)
    assert found["solidity"] > 0.92
    assert found["perimeter"] == pytest.approx(63.5 / smear.size**0.5, rel=0.05)
    mask = cell_mask(smear / 255)
    assert mask[40, 30]
    assert not mask[8, 30]


def test_a_horseshoe_is_less_solid():
    image = np.full((64, 64), 230, np.uint8)
    image[disc(64, (32, 30), (20, 20)) & ~disc(64, (32, 30), (12, 12))] = 40
    image[32:] = 140
    # Half a ring of radii 20 and 12 in half a disc.
    assert features_of(image)["solidity"] == pytest.approx(1 - (12 / 20) ** 2, abs=0.05)


def test_edges_of_a_step():
    image = np.zeros((32, 32), np.uint8)
    image[:, 20:] = 255
    found = features_of(image)
    # Sobel: strength 1/sqrt(2) of an axis-parallel step, on the two columns beside it.
    assert found["edge density"] == pytest.approx(2 / 32)
    assert found["mean edge strength"] == pytest.approx(2 / 32 / 2**0.5)
    share = 2 / 32
    deviation = (share * (1 - share) / 2) ** 0.5
    assert found["edge standard deviation"] == pytest.approx(deviation)


@pytest.mark.parametrize(("cycles", "low", "high"), [(3, 1, 0), (12, 0, 0), (20, 0, 1)])
def test_frequencies_of_a_wave(cycles, low, high):
    wave = 127 + 100 * np.sin(2 * np.pi * cycles * np.arange(64) / 64)
    found = features_of(np.broadcast_to(np.round(wave), (32, 64)).astype(np.uint8))
    assert found["frequency centroid"] == pytest.approx(cycles / 64, abs=1e-3)
    assert found["low-frequency energy"] == pytest.approx(low, abs=1e-3)
    assert found["high-frequency energy"] == pytest.approx(high, abs=1e-3)


def test_a_quarter_turn_changes_nothing(smear):
    for turned in (np.rot90(smear), smear.T):
        np.testing.assert_allclose(
            list(features_of(turned).values()), list(features_of(smear).values()), rtol=1e-9
        )


@pytest.mark.parametrize("value", [0, 117, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_image_has_defined_values(value, channels):
    (row,) = image_features(np.full((1, 16, 16, channels), value, np.uint8))
    found = dict(zip(FEATURE_NAMES, row, strict=True))
    assert found["mean"] == pytest.approx(value / 255)
    assert found["GLCM energy"] == found["GLCM homogeneity"] == found["GLCM correlation"] == 1
    absent = [*FEATURE_NAMES[10:], "standard deviation", "GLCM contrast", "GLCM dissimilarity"]
    np.testing.assert_allclose([found[name] for name in absent], 0, atol=1e-12)


@given(hnp.arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 128, 255])))
@settings(max_examples=40, deadline=None)
def test_always_finite(image):
    assert np.isfinite(list(features_of(image).values())).all()


def test_rows_do_not_depend_on_the_other_images(smear):
    images = np.stack([smear, smear[::-1] // 2, np.full_like(smear, 9)])[..., None]
    together = image_features(images)
    alone = np.concatenate([image_features(image[None]) for image in images])
    np.testing.assert_array_equal(together, alone)
    assert image_features(images[:0]).shape == (0, 20)


@pytest.mark.parametrize("shape", [(1, 16, 16, 4), (1, 7, 16, 1)])
def test_other_images_are_refused(shape):
    with pytest.raises(DataError, match=r"expected at least 8x8 pixels and 1 or 3 channels"):
        image_features(np.zeros(shape, np.uint8))


def test_real_cells_are_found(shared_data):
    # Nuclei of neutrophils are smaller, longer and more lobed than those of immature cells.
    means = {}
    for name in ("ig", "neutrophil"):
        files = sorted((shared_data / "pbc" / "PBC_dataset_normal_DIB" / name).glob("*.jpg"))[:40]
        images = [np.asarray(Image.open(file).convert("RGB").resize((64, 64))) for file in files]
        means[name] = dict(
            zip(FEATURE_NAMES, image_features(np.stack(images)).mean(axis=0), strict=True)
        )
    assert means["ig"]["area"] > 1.4 * means["neutrophil"]["area"]
    assert means["ig"]["eccentricity"] < means["neutrophil"]["eccentricity"]
    assert means["ig"]["solidity"] > means["neutrophil"]["solidity"]
    # Red cells cover about half of the image; none of them may be taken for the cell.
    assert means["ig"]["area"] < 0.15
