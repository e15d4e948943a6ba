"""Images that stay on disk: the same as in memory, in a fraction of it."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data import prepared
from hqnn_jax.data.dataset import Split
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.data.records import RecordImages, chunks, take
from hqnn_jax.data.streaming import stream_batches
from hqnn_jax.errors import DataError


@pytest.fixture
def load(make_set, tmp_path):
    """Load a small set of two official parts as `load(storage)`."""
    make_set("blood_cell_images", images=10)

    def load(storage):
        config = DatasetConfig(
            name="blood_cell_images",
            data_dir=tmp_path / "data",
            resolution=8,
            storage=storage,
            split={"validation": 0.3},
        )
        return load_dataset(config)

    return load


def test_images_on_disk_are_those_in_memory(load):
    memory, disk = load("device"), load("stream")
    assert (memory.streams, disk.streams) == (False, True)
    assert memory.fingerprint == disk.fingerprint
    assert memory.files == disk.files
    assert memory.shared_images == disk.shared_images
    for name, split in disk.splits().items():
        images, expected = split.images, memory.splits()[name].images
        assert isinstance(images, RecordImages)
        assert (images.shape, images.dtype, images.ndim) == (expected.shape, np.uint8, 4)
        assert images.nbytes == expected.nbytes
        np.testing.assert_array_equal(images[:], expected)


@pytest.mark.parametrize(
    "indices",
    [
        3,
        -1,
        np.int64(2),
        slice(2, 9, 3),
        slice(5, 5),
        np.array([7, 0, 7, 20]),
        np.arange(28) % 3 == 1,
    ],
)
def test_indexing_is_that_of_an_array(load, indices):
    images = load("stream").train.images
    expected = load("device").train.images
    np.testing.assert_array_equal(images[indices], expected[indices])


def test_a_selection_of_a_selection_reads_nothing_until_it_is_indexed(load, tmp_path, cache):
    images, expected = load("stream").train.images, load("device").train.images
    order = np.array([9, 4, 4, 0])
    chosen = take(take(images, order), np.array([3, 0]))
    assert isinstance(chosen, RecordImages)
    np.testing.assert_array_equal(chosen[:], expected[[0, 9]])
    np.testing.assert_array_equal(np.concatenate(list(chunks(images))), expected)
    np.testing.assert_array_equal(np.stack(list(chosen)), expected[[0, 9]])


def test_reading_everything_by_mistake_is_refused(load):
    images = load("stream").test.images
    with pytest.raises(TypeError, match="kept on disk"):
        np.asarray(images)
    with pytest.raises(IndexError):
        images[len(images)]


def test_a_damaged_file_is_named_when_it_is_read(load, cache):
    load("stream")
    (record,) = cache.glob("tfds/*/**/*test.array_record*")
    record.write_bytes(b"\0" * 200)
    with pytest.raises(DataError, match="delete this folder"):
        load("stream")


@pytest.mark.parametrize(("share_of_memory", "streams"), [(3.9, True), (4.1, False)])
def test_auto_streams_above_a_quarter_of_memory(load, monkeypatch, share_of_memory, streams):
    size = 80 * 8 * 8 * 3
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": int(size * share_of_memory)}
    monkeypatch.setattr(prepared.os, "sysconf", pages.__getitem__)
    assert load("auto").streams == streams


def test_batches_are_those_of_the_order_whatever_is_read_ahead(load):
    split, memory = load("stream").train, load("device").train
    order = np.random.default_rng(0).permutation(len(split))
    batches = list(stream_batches(split, order, 5))
    assert len(batches) == len(split) // 5
    for step, (images, labels) in enumerate(batches):
        chosen = order[step * 5 : (step + 1) * 5]
        np.testing.assert_array_equal(images, memory.images[chosen])
        np.testing.assert_array_equal(labels, memory.labels[chosen])
        assert labels.dtype == np.int32
    later = list(stream_batches(memory, order, 5, start_step=3))
    for (images, labels), (expected, expected_labels) in zip(later, batches[3:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, expected_labels)


def test_weights_come_with_their_images():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    split = Split(images, np.arange(10, dtype=np.int32), np.arange(10, dtype=np.float32))
    order = np.random.default_rng(0).permutation(10)
    for pixels, labels, weights in stream_batches(split, order, 5):
        np.testing.assert_array_equal(pixels.ravel(), labels)
        np.testing.assert_array_equal(weights, labels)
        assert weights.dtype == np.float32


@pytest.mark.parametrize(("images", "start_step"), [(4, 0), (10, 2)])
def test_nothing_is_left_to_stream(images, start_step):
    split = Split(np.zeros((10, 2, 2, 1), np.uint8), np.zeros(10, np.int32))
    assert list(stream_batches(split, np.arange(images), 5, start_step=start_step)) == []


def test_an_abandoned_stream_leaves_no_thread(load):
    split = load("stream").train
    before = threading.active_count()
    batches = stream_batches(split, np.arange(len(split)), 2)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    for thread in threading.enumerate():
        if "grain" in thread.name:
            thread.join(timeout=10)
    assert threading.active_count() <= before


def test_an_error_while_reading_ahead_reaches_the_caller(load, cache):
    split = load("stream").train

    class Broken:
        def __getitem__(self, indices):
            raise DataError("record 7 is damaged")

    with pytest.raises(DataError, match="record 7 is damaged"):
        list(stream_batches(_Unchecked(Broken(), split.labels), np.arange(10), 5))


class _Unchecked(Split):
    """A split whose images are not checked to be an array."""

    def __init__(self, images, labels):
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)


_MEMORY_PROGRAM = """
import resource, sys
import numpy as np
from pathlib import Path
import PIL.Image
from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.data.streaming import stream_batches

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

import grain, hqnn_jax.data.folder_set, sklearn.model_selection
config = DatasetConfig(name="medical_mnist", data_dir=sys.argv[1], resolution=512, storage="stream")
load_dataset(config)
before = peak()
dataset = load_dataset(config)
count = 0
for _ in range(3):
    for images, labels in stream_batches(dataset.train, np.arange(len(dataset.train)), 8):
        count += len(images)
size = sum(split.images.nbytes for split in dataset.splits().values())
print(size, peak() - before, count)
"""


def test_streaming_takes_a_fraction_of_the_memory_of_the_set(make_set, tmp_path):
    make_set("medical_mnist", images=70)
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY_PROGRAM, str(tmp_path / "data")],
        capture_output=True,
        check=True,
        text=True,
    )
    size, growth, count = map(int, done.stdout.split())
    assert size > 100e6
    assert count > 800
    assert growth < size / 2
