"""Groups of copies are kept, and damaged ones are not believed."""

import numpy as np
import pytest

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data import source_images
from hqnn_jax.data.folder_listing import list_images
from hqnn_jax.data.folder_sources import FOLDER_SOURCES
from hqnn_jax.data.loading import load_pool
from hqnn_jax.data.source_images import find_landmarks, source_groups
from hqnn_jax.errors import DataError


@pytest.fixture
def listing(make_set, tmp_path):
    make_set("blood_cell_images", images=2)
    source = FOLDER_SOURCES["blood_cell_images"]
    return list_images(source, tmp_path / "data", source.class_names)


@pytest.mark.parametrize("side", [1, 2, 12])
def test_an_image_without_room_for_landmarks_has_none(side):
    assert len(find_landmarks(np.full((side, side, 3), 200, np.uint8))) == 0


def test_groups_are_kept_and_found_anew_where_they_are_damaged(listing, cache, monkeypatch):
    expected = source_groups(listing)
    assert len(np.unique(expected)) == len(listing.files) == 16
    looked_at = []
    find = source_images.find_landmarks
    monkeypatch.setattr(
        source_images, "find_landmarks", lambda image: looked_at.append(1) or find(image)
    )
    np.testing.assert_array_equal(source_groups(listing), expected)
    assert not looked_at
    (kept,) = cache.glob("source_images/*.npy")
    content = kept.read_bytes()
    flipped = bytearray(content)
    flipped[-60] ^= 2
    for damaged in (b"", content[:-1], content[:50], bytes(len(content)), bytes(flipped)):
        kept.write_bytes(damaged)
        looked_at.clear()
        np.testing.assert_array_equal(source_groups(listing), expected)
        assert len(looked_at) == 16
        assert kept.read_bytes() == content


def test_a_cache_that_cannot_keep_them_is_one_line(listing, cache):
    cache.mkdir()
    (cache / "source_images").write_text("in the way")
    with pytest.raises(DataError, match="HQNN_CACHE_DIR") as caught:
        source_groups(listing)
    assert "\n" not in str(caught.value)


def test_a_pool_has_the_groups_it_was_asked_for(listing, tmp_path):
    config = DatasetConfig(
        name="blood_cell_images",
        data_dir=tmp_path / "data",
        resolution=8,
        split={"method": "grouped", "validation": 0.3, "test": 0.3},
    )
    np.testing.assert_array_equal(load_pool(config).groups, source_groups(listing))
