"""Predicting with a loaded model: arrays, files, sets, rejections, explanations."""

import dataclasses

import jax
import numpy as np
import PIL.Image
import pytest
from scipy import special

from hqnn_jax import load
from hqnn_jax.config import DatasetConfig, SyntheticConfig
from hqnn_jax.data.synthetic_cells import synthetic_cells
from hqnn_jax.errors import DataError
from hqnn_jax.trained.pictures import as_stored, centre, find_images, read_batches


@pytest.fixture(scope="module")
def model():
    return load("quickstart")


@pytest.fixture(scope="module")
def cells():
    """Other cells than those the model was trained on."""
    size = SyntheticConfig(train_images=8, validation_images=8, test_images=32, seed=7)
    return synthetic_cells(size, DatasetConfig().resolution).test


@pytest.fixture(scope="module")
def files(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    for number, image in enumerate(cells.images[:8]):
        PIL.Image.fromarray(image).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def with_record(model, **changes):
    return dataclasses.replace(model, record=model.record.model_copy(update=changes))


def test_arrays_are_predicted(model, cells):
    found = model.predict(cells.images)
    assert found.probabilities.shape == (len(found), len(model.class_names)) == (32, 8)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (found.labels == cells.labels).mean() > 0.9
    assert found.names == tuple(model.class_names[label] for label in found.labels)
    np.testing.assert_array_equal(found.confidence, found.probabilities.max(axis=1))


def test_batches_do_not_matter(model, cells):
    whole = model.predict(cells.images).probabilities
    parts = model.predict(cells.images[:13], batch_size=8).probabilities
    np.testing.assert_allclose(parts, whole[:13], atol=1e-5)
    assert len(model.predict(cells.images[:0])) == len(model.predict([])) == 0


def test_files_are_predicted_as_their_pixels(model, cells, files):
    expected = model.predict(cells.images[:8]).probabilities
    found = model.predict(list(map(str, files))).probabilities
    np.testing.assert_array_equal(found, expected)
    for files_of_one in (files[3], str(files[3])):
        alone = model.predict(files_of_one).probabilities
        np.testing.assert_allclose(alone, expected[3:4], atol=1e-5)


def test_the_function_is_pure_and_can_be_compiled(model, cells):
    images = cells.images[:4]
    found = jax.jit(model.function())(model.variables, images)
    np.testing.assert_allclose(found, model.predict(images).probabilities, atol=1e-5)


def test_temperature_changes_no_class(model, cells):
    plain = model.predict(cells.images)
    hot = with_record(model, temperature=5.0).predict(cells.images)
    np.testing.assert_array_equal(hot.labels, plain.labels)
    assert (hot.confidence < plain.confidence).all()


def test_more_coverage_gives_larger_sets_and_less_risk_more_rejections(model, cells):
    loose = model.predict(cells.images, coverage=0.5, risk=0.2)
    strict = model.predict(cells.images, coverage=0.999, risk=0.02)
    none = model.predict(cells.images, risk=1e-6)
    assert (loose.sets <= strict.sets).all()
    assert strict.sets.sum() > loose.sets.sum() >= len(cells.images)
    assert (loose.rejected <= strict.rejected).all()
    assert none.rejected.all()
    assert all(name in names for name, names in zip(loose.names, loose.set_names, strict=True))


def test_of_several_labels_each_is_there_or_not(model, cells):
    images = cells.images[:8]
    found = with_record(model, task="multilabel", temperature=1.0).predict(images)
    logits = special.logit(found.probabilities.astype(float))
    expected = special.softmax(logits / model.temperature, axis=1)
    np.testing.assert_allclose(expected, model.predict(images).probabilities, atol=1e-4)
    np.testing.assert_array_equal(found.answers, logits > 0)
    surest = np.maximum(found.probabilities, 1 - found.probabilities).min(axis=1)
    np.testing.assert_allclose(found.confidence, surest)
    assert found.names == tuple(
        " | ".join(name for name, there in zip(model.class_names, row, strict=True) if there)
        for row in found.answers
    )
    assert (found.answers <= found.sets).all()


def test_averaged_views_make_an_image_and_its_mirror_one(model, cells):
    averaged = with_record(model, views="dihedral")
    images = cells.images[:8]
    found = averaged.predict(images).probabilities
    mirrored = averaged.predict(images[:, :, ::-1]).probabilities
    np.testing.assert_allclose(mirrored, found, atol=1e-5)
    assert np.abs(model.predict(images).probabilities - found).max() > 1e-4


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (np.zeros((28, 28, 3), np.uint8), "uint8[28, 28, 3]"),
        (np.zeros((2, 28, 28, 3), np.float32), "float32[2, 28, 28, 3]"),
        (np.zeros((2, 5, 28, 28, 3), np.uint8), "uint8[2, 5, 28, 28, 3]"),
        (np.zeros((2, 3, 28, 28), np.uint8), "uint8[2, 3, 28, 28]"),
        (np.zeros((2, 0, 28, 3), np.uint8), "of no size"),
        ([1, 2], "int64[2]"),
    ],
)
def test_other_arrays_are_told(model, images, got):
    with pytest.raises(DataError) as told:
        model.predict(images)
    assert got in str(told.value)


def test_other_sizes_and_channels_are_converted_as_files_are(files, tmp_path, model):
    large = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    grey = large[..., :1]
    opaque = np.concatenate([large, np.full_like(grey, 255)], axis=-1)
    for array in (large, grey, opaque):
        PIL.Image.fromarray(array[0].squeeze()).save(tmp_path / "one.png")
        read = model.read(tmp_path / "one.png")
        assert read.shape == (28, 28, 3)
        np.testing.assert_array_equal(model.stored(array)[0], read)
    assert as_stored(large, file_mode="L", resolution=28).shape == (2, 28, 28, 1)
    assert as_stored(large[:0], file_mode="RGB", resolution=28).shape == (0, 28, 28, 3)


def test_the_middle_of_an_image_can_be_cut_out(model, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert centre(image, 0.5).tolist() == image[15:45, 25:55].tolist()
    assert centre(image[None], 1e-6).shape == (1, 1, 1, 3)
    PIL.Image.fromarray(image).save(tmp_path / "one.png")
    PIL.Image.fromarray(image[15:45, 25:55]).save(tmp_path / "middle.png")
    cut = model.read(tmp_path / "middle.png")
    np.testing.assert_array_equal(model.read(tmp_path / "one.png", crop=0.5), cut)
    np.testing.assert_array_equal(model.stored(image[None], crop=0.5)[0], cut)
    found = model.predict(tmp_path / "one.png", crop=0.5).probabilities
    np.testing.assert_array_equal(found, model.predict(cut[None]).probabilities)


def test_an_unreadable_file_is_told(model, files, tmp_path):
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:60])
    with pytest.raises(DataError, match=r"broken.png: not a readable image"):
        model.predict([*files, tmp_path / "broken.png"])


def test_images_are_found_once_and_in_order(tmp_path, monkeypatch):
    for name in ("b/2.png", "b/1.JPG", "b/deep/3.tif", "b/.hidden/4.png", "a.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "odd[1].png").write_text("")
    monkeypatch.chdir(tmp_path)
    names = [path.as_posix() for path in find_images(["a.png", "b", "b/2.png", "missing.png"])]
    assert names == ["a.png", "b/1.JPG", "b/2.png", "b/deep/3.tif", "missing.png"]
    assert find_images(["*.txt", "odd[1].png"]) == find_images(["notes.txt", "odd[1].png"])
    assert [path.name for path in find_images(["**/*.png"])] == ["a.png", "2.png", "odd[1].png"]
    assert find_images(["*.jpg"]) == []


def test_no_more_is_read_than_two_batches_ahead(tmp_path):
    read = []

    def one(path):
        read.append(path)
        if path.name == "3":
            raise DataError("3: broken")
        return np.zeros((2, 2, 1), np.uint8)

    paths = [tmp_path / str(number) for number in range(10)]
    seen = []
    for batch in read_batches(paths, one, 4):
        seen += [path.name for path in batch.paths]
        assert len(batch.images) == len(batch.paths)
        assert len(read) <= len(seen) + 1 + 4
        assert [str(error) for error in batch.unreadable] == ["3: broken"] * (len(seen) == 3)
    assert seen == [str(number) for number in range(10) if number != 3]
