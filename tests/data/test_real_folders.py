"""The four folder sets on the files at hand; skipped where they are absent."""

import numpy as np
import pytest

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_dataset, load_pool
from hqnn_jax.errors import DataError


def _config(shared_data, name, **changes):
    return DatasetConfig(name=name, data_dir=shared_data, resolution=28, **changes)


def test_pbc(shared_data):
    dataset = load_dataset(_config(shared_data, "pbc"))
    assert dataset.class_names[3] == "ig"
    counts = sum(np.bincount(split.labels) for split in dataset.splits().values())
    assert counts.tolist() == [100, 100, 100, 250, 100, 100, 250, 100]
    assert dataset.train.images.shape == (770, 28, 28, 3)
    assert dataset.warnings == ("1,100 of the 17,092 published images are present",)
    assert dataset.licence == "CC BY 4.0"
    assert "Acevedo" in dataset.citation
    # Stained cells: bright, more red than green.
    mean = dataset.train.images.mean(axis=(0, 1, 2))
    assert 150 < mean[1] < mean[0] < 256


def test_pbc_as_the_task_of_aml2026(shared_data):
    dataset = load_dataset(
        _config(
            shared_data,
            "pbc",
            label_map={"mature": ("neutrophil",), "immature": ("ig",)},
            images_per_class=200,
        )
    )
    assert dataset.class_names == ("mature", "immature")
    assert [np.bincount(split.labels).tolist() for split in dataset.splits().values()] == [
        [140, 140],
        [20, 20],
        [40, 40],
    ]
    for name, split in dataset.splits().items():
        for file, label in zip(dataset.files[name], split.labels, strict=True):
            assert file.startswith(("neutrophil/", "ig/")[label])


def test_blood_cell_images_keep_their_test_part(shared_data):
    dataset = load_dataset(_config(shared_data, "blood_cell_images"))
    assert np.bincount(dataset.train.labels).tolist() == [225] * 4
    assert np.bincount(dataset.validation.labels).tolist() == [25] * 4
    assert np.bincount(dataset.test.labels).tolist() == [80] * 4
    assert all(file.startswith("TEST/") for file in dataset.files["test"])
    assert all(file.startswith("TRAIN/") for file in dataset.files["validation"])
    assert "1,320 of the 12,444 published images are present" in dataset.warnings


def test_aml_cytomorphology_is_refused_unless_the_task_needs_only_what_is_there(shared_data):
    with pytest.raises(DataError, match=r"BAS: class folder missing, like 9 more.*EOS, LYT, MON"):
        load_pool(_config(shared_data, "aml_cytomorphology"))
    pool = load_pool(
        _config(
            shared_data,
            "aml_cytomorphology",
            label_map={"other": ("LYT", "NGS", "MON", "EOS"), "malignant": ("MYO",)},
        )
    )
    assert np.bincount(pool.labels).tolist() == [12, 3]
    # RGBA is the published mode: no warning.
    assert pool.warnings == ("15 of the 17,902 published images are present",)
    assert pool.images.shape == (15, 28, 28, 3)


def test_medical_mnist_is_grey_and_its_copies_stay_together(shared_data):
    dataset = load_dataset(_config(shared_data, "medical_mnist"))
    assert dataset.train.images.shape[1:] == (28, 28, 1)
    counts = sum(np.bincount(split.labels) for split in dataset.splits().values())
    assert counts.tolist() == [1500] * 6
    assert dataset.warnings == (
        "9,000 of the 58,954 published images are present",
        "18 images equal another one of the set byte for byte, 0 of them with another label",
    )
    assert [pair.images for pair in dataset.shared_images] == [0, 0, 0]
