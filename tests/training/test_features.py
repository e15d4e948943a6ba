"""The cache of frozen features: read when nothing changed, never when something did."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.config import BackboneConfig
from hqnn_jax.files import write_cached
from hqnn_jax.models.pure import Model
from hqnn_jax.progress import Progress
from hqnn_jax.training.features import backbone_features
from hqnn_jax.training.step import Preprocessing

CONFIG = BackboneConfig(name="five_layer_cnn", image_size=16)
IMAGES = {
    "train": np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8),
    "test": np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8),
}


class Recorder(Progress):
    """Progress that remembers its lines."""

    def __init__(self):
        super().__init__(terminal=False)
        self.lines = []

    def line(self, text):
        self.lines.append(text)


@pytest.fixture
def extract(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path))

    def extract(images=IMAGES, key=0, **changes):
        config = CONFIG.model_copy(update=changes)
        backbone = build_backbone(config, in_channels=3, key=jax.random.key(key))
        model, variables = Model.split(backbone)
        progress = Recorder()
        features = backbone_features(
            model,
            variables,
            Preprocessing.for_backbone(config, 3),
            config,
            images,
            batch_size=4,
            progress=progress,
        )
        computed = sum("compiling" in line for line in progress.lines) > 0
        return features, computed, (model, variables), progress.lines

    return extract


def test_features_are_those_of_the_backbone_and_are_read_again(extract):
    features, computed, (model, variables), _ = extract()
    assert computed
    preprocessing = Preprocessing.for_backbone(CONFIG, 3)
    for name, images in IMAGES.items():
        expected = model.apply(variables, preprocessing(jnp.asarray(images)))
        np.testing.assert_allclose(features[name], expected, rtol=1e-4, atol=1e-4)
    again, computed, _, lines = extract()
    assert not computed
    assert sum("read from the cache" in line for line in lines) == 2
    for name in IMAGES:
        np.testing.assert_array_equal(again[name], features[name])


def test_other_weights_images_or_settings_are_computed_anew(extract):
    extract()
    assert extract(key=1)[1]
    assert extract(image_size=20)[1]
    assert extract(normalisation="imagenet")[1]
    changed = {name: images.copy() for name, images in IMAGES.items()}
    changed["test"][2, 3, 4, 1] ^= 1
    _, computed, _, lines = extract(images=changed)
    assert computed
    assert sum("read from the cache" in line for line in lines) == 1  # train is unchanged


def truncated(content):
    return content[:100]


def one_exponent_bit_flipped(content):
    # The last float before the checksum.
    position = len(content) - 33
    return content[:position] + bytes([content[position] ^ 0x20]) + content[position + 1 :]


def all_of_them_zero(content):
    replaced = io.BytesIO()
    np.save(replaced, np.zeros_like(np.load(io.BytesIO(content))))
    return replaced.getvalue()


def of_an_earlier_version(content):
    return content[:-32]


@pytest.mark.parametrize(
    "damage", [truncated, one_exponent_bit_flipped, all_of_them_zero, of_an_earlier_version]
)
def test_a_damaged_cache_file_is_replaced(extract, tmp_path, damage):
    features, _, _, _ = extract()
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(damage(path.read_bytes()))
    again, computed, _, lines = extract()
    assert computed
    assert sum("damaged feature cache" in line for line in lines) == 2
    for name in IMAGES:
        np.testing.assert_array_equal(again[name], features[name])
    assert not extract()[1]


@pytest.mark.parametrize(
    "others",
    [np.zeros((5, 4), np.float64), np.zeros((4, 4), np.float32), np.zeros(5, np.float32),
     np.full((5, 4), np.nan, np.float32)],
)  # fmt: skip
def test_other_arrays_are_no_features_although_their_checksum_is_right(extract, tmp_path, others):
    features, _, _, _ = extract()
    for path in (tmp_path / "features").iterdir():
        write_cached(path, others)
    again, computed, _, _ = extract()
    assert computed
    for name in IMAGES:
        np.testing.assert_array_equal(again[name], features[name])
    assert not extract()[1]


def test_leftovers_of_killed_processes_are_removed(extract, tmp_path):
    (tmp_path / "features").mkdir()
    leftover = tmp_path / "features" / ".a.npy.0123abcd.tmp"
    leftover.touch()
    extract()
    assert not leftover.exists()
    assert len(list((tmp_path / "features").iterdir())) == len(IMAGES)
