"""Sets of TensorFlow Datasets and of Hugging Face, as they lie on disk."""

import io
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from hqnn_jax.data.record_writing import InOrderBuilder, SplitExamples
from hqnn_jax.errors import ConfigurationError
from tests.data.own.conftest import error_of, load

SIZES = {"train": 12, "test": 6}
PIXELS = np.random.default_rng(0).integers(0, 256, (18, 10, 8, 3), np.uint8)


def encoded(number):
    """A PNG file; every fifth is grey."""
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(PIXELS[number])
    (picture.convert("L") if number % 5 == 0 else picture).save(buffer, "png")
    return buffer.getvalue()


def expected(number):
    with PIL.Image.open(io.BytesIO(encoded(number))) as picture:
        return np.asarray(picture.convert("RGB").resize((8, 8), PIL.Image.Resampling.BILINEAR))


class OwnCells(InOrderBuilder):
    """A set of small cells."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=["sick", "well"]),
                }
            ),
            supervised_keys=("image", "label"),
            citation="Us (2026)",
            license="CC0",
            disable_shuffling=True,
        )

    def _split_generators(self, _):
        return {
            name: SplitExamples(size, self._examples(range(first, first + size)))
            for name, first, size in (("train", 0, 12), ("test", 12, 6))
        }

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, numbers):
        for number in numbers:
            yield number, {"image": io.BytesIO(encoded(number)), "label": number % 2}


def assert_right(dataset):
    assert dataset.class_names == ("sick", "well")
    assert [len(split) for split in dataset.splits().values()][2] == 6
    np.testing.assert_array_equal(dataset.test.labels, np.arange(12, 18) % 2)
    for number, image in enumerate(dataset.test.images, start=12):
        np.testing.assert_array_equal(image, expected(number))
    assert "4 images grey, converted to RGB" in str(dataset.warnings)


def test_a_set_prepared_by_tfds(tmp_path):
    OwnCells(data_dir=tmp_path).download_and_prepare(file_format="array_record")
    dataset = load("tfds:own_cells", data_dir=tmp_path)
    assert_right(dataset)
    assert (dataset.name, dataset.licence, dataset.citation) == ("own_cells", "CC0", "Us (2026)")
    assert "tensorflow" not in sys.modules


def test_a_set_that_tfds_does_not_know(tmp_path):
    message = error_of(load, "tfds:no_such_cells", data_dir=tmp_path)
    assert "dataset tfds:no_such_cells: not known to TFDS, and not prepared in" in message


def test_a_set_that_tfds_cannot_prepare_here(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(OwnCells, "download_and_prepare", no_network)
    message = error_of(load, "tfds:own_cells", data_dir=tmp_path)
    assert "cannot prepare it (ConnectionError: no route to host); prepare it elsewhere" in message


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Hugging Face's library, with nothing to be reached."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return pytest.importorskip("datasets")


def rows(hub, numbers):
    features = hub.Features(
        {
            "image": hub.Image(),
            "label": hub.ClassLabel(names=["sick", "well"]),
            "age": hub.Value("int32"),
        }
    )
    columns = {
        "image": [{"bytes": encoded(number), "path": None} for number in numbers],
        "label": [number % 2 for number in numbers],
        "age": list(numbers),
    }
    return hub.Dataset.from_dict(columns, features=features)


def test_a_set_saved_by_hugging_face(hub, tmp_path):
    saved = hub.DatasetDict({"train": rows(hub, range(12)), "test": rows(hub, range(12, 18))})
    saved.save_to_disk(tmp_path / "saved")
    dataset = load(f"hf:{tmp_path / 'saved'}")
    assert_right(dataset)
    assert dataset.name == "saved"
    assert dataset.licence.startswith("not given")
    assert load(f"hf:{tmp_path / 'saved'}").fingerprint == dataset.fingerprint


def test_sets_of_hugging_face_that_are_not_of_images_and_classes(hub, tmp_path):
    table = rows(hub, range(12))
    table.remove_columns("label").save_to_disk(tmp_path / "unlabelled")
    message = error_of(load, f"hf:{tmp_path / 'unlabelled'}")
    assert "expected one class label, found none; choose in a function of your own" in message
    table.add_column("second", table["label"]).cast_column(
        "second", table.features["label"]
    ).save_to_disk(tmp_path / "two")
    assert "found label, second" in error_of(load, f"hf:{tmp_path / 'two'}")
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded" in error_of(load, f"hf:{tmp_path / 'empty'}")


def test_without_the_library_of_hugging_face(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigurationError, match="needs the package datasets; install it with"):
        load("hf:user/cells")
