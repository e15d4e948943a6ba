"""The drawn cells: reproducible, of any resolution, neither trivial nor hopeless to classify."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hqnn_jax.config import SyntheticConfig
from hqnn_jax.data.synthetic_cells import CELL_TYPES, draw_cells, synthetic_cells
from hqnn_jax.errors import ConfigurationError

SMALL = SyntheticConfig(train_images=43, validation_images=9, test_images=17)


def test_shapes_classes_and_origin():
    dataset = synthetic_cells(SMALL, 28)
    assert dataset.train.images.shape == (43, 28, 28, 3)
    assert dataset.validation.images.shape == (9, 28, 28, 3)
    assert len(dataset.test) == 17
    assert dataset.name == "synthetic_cells"
    assert dataset.synthetic
    assert "immature granulocytes" in dataset.class_names
    assert "drawn" in dataset.licence
    for split in dataset.splits().values():
        counts = np.bincount(split.labels, minlength=8)
        assert counts.max() - counts.min() <= 1
        assert (np.diff(split.labels) != 1).any(), "the order must not give the label away"


def test_seed_decides_everything():
    first = synthetic_cells(SMALL, 28)
    assert first.fingerprint == synthetic_cells(SMALL, 28).fingerprint
    other = synthetic_cells(SMALL.model_copy(update={"seed": 1}), 28)
    assert first.fingerprint != other.fingerprint


def test_no_image_occurs_twice():
    dataset = synthetic_cells(SMALL, 28)
    every = np.concatenate(
        [split.images.reshape(len(split), -1) for split in dataset.splits().values()]
    )
    assert len(np.unique(every, axis=0)) == 43 + 9 + 17


def test_same_drawing_at_another_resolution():
    kind = CELL_TYPES[5]
    small = draw_cells(np.random.default_rng(0), kind, 4, 32, noise=0.0)
    large = draw_cells(np.random.default_rng(0), kind, 4, 96, noise=0.0)
    assert large.shape == (4, 96, 96, 3)
    reduced = large.reshape(4, 32, 3, 32, 3, 3).mean(axis=(2, 4))
    assert np.abs(reduced - small).mean() < 4


def test_noise_has_the_asked_strength():
    kind = CELL_TYPES[7]
    clean = draw_cells(np.random.default_rng(0), kind, 8, 28, noise=0.0).astype(float)
    noisy = draw_cells(np.random.default_rng(0), kind, 8, 28, noise=0.05).astype(float)
    unclipped = (clean > 40) & (clean < 215)
    assert (noisy - clean)[unclipped].std() / 255 == pytest.approx(0.05, rel=0.1)


def test_morphology_is_ordered_as_in_the_textbook():
    def darkness(name):
        kind = next(kind for kind in CELL_TYPES if kind.name == name)
        images = draw_cells(np.random.default_rng(1), kind, 64, 28, noise=0.0) / 255.0
        return (images[..., 1] < 0.45).mean()

    assert darkness("platelet") < darkness("neutrophil") < darkness("immature granulocytes")
    assert darkness("erythroblast") < darkness("lymphocyte")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_linear_classifier_learns_something_but_not_everything():
    dataset = synthetic_cells(SyntheticConfig(), 28)

    def pixels(split):
        return split.images.reshape(len(split), -1).astype(np.float32) / 255 - 0.5

    model = LogisticRegression(C=0.3, max_iter=60)
    model.fit(pixels(dataset.train), dataset.train.labels)
    assert 0.3 < model.score(pixels(dataset.test), dataset.test.labels) < 0.9


def test_more_images_than_fit_into_memory_are_refused_before_they_are_drawn():
    config = SyntheticConfig(train_images=2**31 - 1)
    with pytest.raises(ConfigurationError, match=r"2,147,484,847 images .* GB are free; ask for"):
        synthetic_cells(config, 512)
