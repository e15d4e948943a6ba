"""Prepared files: of any size without TensorFlow, whole or not at all, by one process at a time."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.core.utils import shard_utils

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_dataset, load_pool
from hqnn_jax.data.record_writing import InOrderBuilder
from hqnn_jax.data.records import divide
from hqnn_jax.errors import DataError

THIRDS = {"method": "stratified", "validation": 0.3, "test": 0.3}


def _config(tmp_path, name="medical_mnist", **changes):
    return DatasetConfig(name=name, data_dir=tmp_path / "data", **{"resolution": 8, **changes})


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def small_shards(monkeypatch):
    """Files of a few images each."""
    monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 300)
    monkeypatch.setattr(shard_utils.ShardConfig, "max_shard_size", 2000)


@pytest.mark.parametrize("storage", ["device", "stream"])
def test_a_set_above_the_limit_of_tfds_is_prepared_in_order(
    make_set, tmp_path, monkeypatch, small_shards, storage
):
    make_set("blood_cell_images")
    config = _config(tmp_path, "blood_cell_images", storage=storage, split={"validation": 0.3})
    # Above this many bytes TFDS's own writer imports TensorFlow.
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
    large = load_dataset(config)
    assert sum(map(len, large.splits().values())) == 40
    (train,) = (tmp_path / "cache").glob("tfds/*/*/*/*train*-00000-of-*")
    assert not train.name.endswith("-00001")
    monkeypatch.undo()
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "other"))
    assert load_dataset(config).fingerprint == large.fingerprint


@pytest.mark.parametrize("name", ["blood_cell_images", "medical_mnist"])
def test_the_files_are_those_tfds_would_have_written(
    make_set, tmp_path, monkeypatch, small_shards, name
):
    make_set(name)
    load_pool(_config(tmp_path, name))
    ours = _files(tmp_path / "cache")
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "tfds's"))
    monkeypatch.setattr(
        InOrderBuilder, "_generate_splits", tfds.core.GeneratorBasedBuilder._generate_splits
    )
    load_pool(_config(tmp_path, name))
    assert sum("array_record-" in file for file in ours) > 2
    assert ours == _files(tmp_path / "tfds's")


_PEAK = """
import resource, sys
import grain, hqnn_jax.data.folder_set, sklearn.model_selection
from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_dataset

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def load(resolution, storage):
    return load_dataset(DatasetConfig(
        name="medical_mnist", data_dir=sys.argv[1], resolution=resolution, storage=storage
    ))

load(16, "stream")
before = peak()
dataset = load(512, sys.argv[2])
print(sum(split.images.nbytes for split in dataset.splits().values()), peak() - before)
"""


@pytest.mark.parametrize(("storage", "share"), [("stream", 1.0), ("device", 1.9)])
def test_a_set_is_gathered_in_memory_once_at_most(make_set, tmp_path, storage, share):
    make_set("medical_mnist", images=200)
    program = [sys.executable, "-c", _PEAK, str(tmp_path / "data"), storage]
    done = subprocess.run(program, capture_output=True, check=True, text=True)
    size, growth = map(int, done.stdout.split())
    assert size > 300e6
    assert growth < share * size


_LOAD = """
import os, resource, signal, sys, time
from pathlib import Path
from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_pool
from hqnn_jax.errors import HqnnError

def progress(what, done, total):
    PROGRESS

START
try:
    pool = load_pool(DatasetConfig(
        name="medical_mnist", data_dir=sys.argv[1], resolution=8
    ), progress)
except HqnnError as error:
    print(error)
    sys.exit(error.exit_code)
print(len(pool))
"""


def _load(tmp_path, *, progress="pass", start=""):
    program = _LOAD.replace("PROGRESS", progress.replace("\n", "\n    "))
    program = program.replace("START", start)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_full_disk_is_one_line_and_leaves_nothing(make_set, tmp_path, cache):
    make_set("medical_mnist")
    full = _load(tmp_path, start="resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))")
    printed, errors = full.communicate()
    assert full.returncode == 1, errors
    (line,) = printed.splitlines()
    assert "cannot write the prepared dataset (write() failed: File too large); free space" in line
    assert str(cache) in line
    assert "HQNN_CACHE_DIR" in line
    assert errors == ""
    assert not list(cache.rglob("*.array_record*"))
    assert len(load_pool(_config(tmp_path))) == 30


def test_what_a_killed_process_left_is_removed_by_the_next_start(make_set, tmp_path, cache):
    make_set("medical_mnist")
    make_set("pbc", images=1)
    for _ in range(2):
        killed = _load(tmp_path, progress="os.kill(os.getpid(), signal.SIGKILL)")
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
    (unfinished,) = cache.rglob("incomplete.*")
    # By the start that prepares the same set (above), and by one that prepares another.
    load_pool(_config(tmp_path, "pbc"))
    assert not unfinished.exists()
    assert len(load_pool(_config(tmp_path))) == 30


_GO_ON = """
(cache / what.split()[0]).touch()
while not (cache / "go on").exists():
    time.sleep(0.01)
"""


def test_two_processes_at_once_prepare_one_copy(make_set, tmp_path, cache):
    make_set("medical_mnist")
    make_set("pbc", images=1)
    progress = f"cache = Path({str(tmp_path)!r})\n{_GO_ON}"
    processes = []
    for sign in ("preparing", "waiting"):
        processes.append(_load(tmp_path, progress=progress))
        while not (tmp_path / sign).exists():
            assert processes[-1].poll() is None, processes[-1].communicate()
            os.sched_yield()
    # A third one leaves alone what the first is writing.
    load_pool(_config(tmp_path, "pbc"))
    assert list(cache.rglob("incomplete.*"))
    (tmp_path / "go on").touch()
    for process in processes:
        assert process.communicate() == ("30\n", "")
    assert not list(cache.rglob("incomplete.*"))
    assert len(list(cache.glob("tfds/medical*/folder_set/*/dataset_info.json"))) == 1


def test_a_folder_that_is_no_complete_copy_is_not_taken_for_one(make_set, tmp_path, cache):
    make_set("medical_mnist")
    expected = load_pool(_config(tmp_path)).digests
    (info,) = cache.glob("tfds/*/*/*/dataset_info.json")
    info.unlink()
    assert load_pool(_config(tmp_path)).digests == expected


def _try(load):
    """Return the message of the error it raises, or what it returns."""
    try:
        return None, load()
    except DataError as error:
        return str(error), None


def test_a_cache_folder_whose_name_is_not_utf_8_is_refused(make_set, tmp_path, monkeypatch):
    make_set("medical_mnist")
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / os.fsdecode(b"caf\xe9")))
    with pytest.raises(DataError, match=r"caf\\udce9.*not UTF-8.*HQNN_CACHE_DIR"):
        load_pool(_config(tmp_path))


def _damages(content):
    yield "emptied", b""
    yield "cut off", content[: len(content) // 2]
    yield "zeros", bytes(len(content))
    for position in range(0, len(content), max(1, len(content) // 60)):
        for flipped in (1, 0x80):
            changed = bytearray(content)
            changed[position] ^= flipped
            yield f"byte {position} ^ {flipped}", bytes(changed)


@pytest.mark.parametrize(
    "file", ["dataset_info.json", "metadata.json", "features.json", "label.labels.txt", "record"]
)
def test_a_damaged_prepared_file_is_one_line_or_makes_no_difference(
    make_set, tmp_path, cache, monkeypatch, file
):
    root = make_set("medical_mnist", images=2)
    # A conversion, so that the metadata have something to say.
    (root / "Hand" / "x.txt").touch()
    expected = load_pool(_config(tmp_path))
    (path,) = cache.rglob("*array_record*" if file == "record" else file)
    content = path.read_bytes()
    for what, damaged in _damages(content):
        path.write_bytes(damaged)
        message, found = _try(lambda: load_pool(_config(tmp_path)))
        if message is not None:
            assert "\n" not in message, what
            assert "delete this folder" in message, what
        else:
            assert found.digests == expected.digests, what
            np.testing.assert_array_equal(found.labels, expected.labels)
            assert found.class_names == expected.class_names
        assert path.read_bytes() == damaged, what


def test_metadata_that_count_no_conversions_are_refused(make_set, tmp_path, cache):
    make_set("medical_mnist", images=2)
    load_pool(_config(tmp_path))
    (path,) = cache.rglob("metadata.json")
    for conversions in ([], {"phrase": 3}, {"phrase": ["1", "file"]}, None):
        path.write_text(json.dumps({"conversions": conversions}))
        with pytest.raises(DataError, match="delete this folder"):
            load_pool(_config(tmp_path))


@pytest.mark.parametrize("seed", range(5))
def test_images_are_divided_where_they_lie(seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (50, 2, 3, 1), np.uint8)
    expected = images.copy()
    order = rng.permutation(50)[: rng.integers(1, 51)]
    cuts = np.sort(rng.integers(0, len(order), 2))
    parts = dict(zip("abc", np.split(order, cuts), strict=True))
    for name, part in divide(images, parts).items():
        np.testing.assert_array_equal(part, expected[parts[name]])
        assert len(part) == 0 or np.shares_memory(part, images)
