"""From configuration to dataset: tasks, folders, and the real files where they are at hand."""

import numpy as np
import pytest

from hqnn_jax.config import DatasetConfig, SyntheticConfig
from hqnn_jax.data.leakage import SharedImages
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.errors import ConfigurationError, DataError

SMALL = SyntheticConfig(train_images=32, validation_images=8, test_images=24)


def _synthetic(**changes):
    return load_dataset(DatasetConfig(name="synthetic_cells", synthetic=SMALL, **changes))


def test_synthetic_cells_need_no_file_and_honour_the_resolution():
    assert _synthetic(resolution=64).test.images.shape == (24, 64, 64, 3)


def test_positive_labels_make_a_binary_task():
    many, two = _synthetic(), _synthetic(positive_labels=(1, 0))
    assert two.class_names == ("other", "basophil or eosinophil")
    np.testing.assert_array_equal(two.test.labels, many.test.labels < 2)
    np.testing.assert_array_equal(two.test.images, many.test.images)
    assert two.test.labels.dtype == np.int32
    assert two.fingerprint != many.fingerprint


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((1, 8), "8 is not a label of synthetic_cells; expected numbers from 0 to 7"),
        ((), "expected between 1 and 7 of the 8 labels"),
        (range(8), "found 8"),
    ],
)
def test_positive_labels_that_make_no_binary_task(labels, message):
    with pytest.raises(ConfigurationError, match=message):
        _synthetic(positive_labels=tuple(labels))


@pytest.mark.parametrize("through", ["configuration", "environment"])
def test_a_missing_dataset_folder_is_not_made(tmp_path, monkeypatch, through):
    missing = tmp_path / "typo"
    if through == "environment":
        monkeypatch.setenv("HQNN_DATA_DIR", str(missing))
    config = DatasetConfig(
        name="bloodmnist", data_dir=missing if through == "configuration" else None
    )
    with pytest.raises(DataError, match=r"typo: dataset folder does not exist.*data_dir") as caught:
        load_dataset(config)
    assert "\n" not in str(caught.value)
    assert not missing.exists()


def test_bloodmnist_is_the_official_file_in_the_official_order(shared_data, cache):
    config = DatasetConfig(name="bloodmnist", data_dir=shared_data)
    dataset = load_dataset(config)
    with np.load(shared_data / "bloodmnist.npz") as archive:
        for name, prefix in (("train", "train"), ("validation", "val"), ("test", "test")):
            split = dataset.splits()[name]
            np.testing.assert_array_equal(split.images, archive[f"{prefix}_images"])
            np.testing.assert_array_equal(split.labels, archive[f"{prefix}_labels"][:, 0])
    sizes = {name: len(split) for name, split in dataset.splits().items()}
    assert sizes == {"train": 11959, "validation": 1712, "test": 3421}
    counts = np.bincount(dataset.test.labels).tolist()
    assert counts == [244, 624, 311, 579, 243, 284, 666, 470]
    assert dataset.class_names[3] == "immature granulocytes"
    assert dataset.licence == "CC BY 4.0"
    assert not dataset.synthetic
    assert SharedImages("train", "test", images=5, different_labels=1) in dataset.shared_images
    assert dataset.warnings == (
        "17 images equal another one of the set byte for byte, 1 of them with another label",
    )
    assert list(cache.glob("tfds/med_mnist/*/*/*.array_record*"))
    # The second time it comes from the prepared copy.
    assert load_dataset(config).fingerprint == dataset.fingerprint


def test_bloodmnist_as_the_binary_task_of_hqcnn2025(shared_data):
    dataset = load_dataset(
        DatasetConfig(name="bloodmnist", data_dir=shared_data, positive_labels=(1, 2))
    )
    assert dataset.class_names == ("other", "eosinophil or erythroblast")
    assert np.bincount(dataset.test.labels).tolist() == [3421 - 935, 935]
    with pytest.raises(ConfigurationError, match="8 is not a label of bloodmnist"):
        load_dataset(DatasetConfig(name="bloodmnist", data_dir=shared_data, positive_labels=(8,)))


def test_organamnist_is_grey_with_one_channel(shared_data):
    dataset = load_dataset(DatasetConfig(name="organamnist", data_dir=shared_data))
    assert dataset.train.images.shape == (34561, 28, 28, 1)
    assert len(dataset.validation) == 6491
    assert np.bincount(dataset.test.labels).tolist() == [
        *(1036, 784, 793, 785, 2064, 1965, 3285, 1747, 1813, 1622, 1884)
    ]
    assert dataset.files is None
    binary = load_dataset(
        DatasetConfig(name="organamnist", data_dir=shared_data, positive_labels=(1, 2))
    )
    assert np.bincount(binary.test.labels).tolist() == [17778 - 1577, 1577]
    with np.load(shared_data / "organamnist.npz") as archive:
        np.testing.assert_array_equal(dataset.test.images[..., 0], archive["test_images"])
