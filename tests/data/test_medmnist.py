"""The TFDS builder and the checks of its source file, on small files of our own making."""

import contextlib
import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from hqnn_jax.config import MEDMNIST_NAMES
from hqnn_jax.data import npz_file
from hqnn_jax.data.medmnist import MedMnist, load_medmnist
from hqnn_jax.data.medmnist_file import (
    MedMnistSource,
    check_md5,
    checked_labels,
    download,
    medmnist_source,
    read_splits,
)
from hqnn_jax.errors import DataError

SIZES = {"train": 7, "val": 3, "test": 5}


def _arrays(side=4, channels=3):
    rng = np.random.default_rng(0)
    shape = (side, side, channels) if channels > 1 else (side, side)
    arrays = {}
    for prefix, size in SIZES.items():
        arrays[f"{prefix}_images"] = rng.integers(0, 256, (size, *shape), np.uint8)
        arrays[f"{prefix}_labels"] = rng.integers(0, 3, (size, 1)).astype(np.uint8)
    return arrays


def _source(path, channels=3):
    """Describe the file at `path` as if it were published there."""
    return MedMnistSource(
        name="tiny",
        resolution=4,
        url=path.as_uri(),
        md5=hashlib.md5(path.read_bytes()).hexdigest(),
        class_names=("a", "b", "c"),
        num_channels=channels,
        licence="CC0",
    )


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "server" / "published.npz"
    path.parent.mkdir()
    np.savez(path, **_arrays())
    return path


@pytest.fixture
def folders(tmp_path):
    """The keyword arguments of `load_medmnist` that name folders."""
    (tmp_path / "data").mkdir()
    return {"data_dir": tmp_path / "data", "prepared_dir": tmp_path / "tfds"}


@contextlib.contextmanager
def _one_line_error(*parts):
    with pytest.raises(DataError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize("channels", [1, 3])
def test_roundtrip_through_the_builder_keeps_every_byte_and_the_order(tmp_path, folders, channels):
    arrays = _arrays(channels=channels)
    path = folders["data_dir"] / "tiny_4.npz"
    np.savez(path, **arrays)
    prepared = load_medmnist(_source(path, channels), **folders)
    assert prepared.part_sizes == {"train": 7, "validation": 3, "test": 5}
    images, labels = (
        np.concatenate([arrays[f"{prefix}_{what}"] for prefix in ("train", "val", "test")])
        for what in ("images", "labels")
    )
    np.testing.assert_array_equal(prepared.images, images.reshape(-1, 4, 4, channels))
    np.testing.assert_array_equal(prepared.labels, labels[:, 0])


def test_download_then_prepared_copy_without_the_file(published, folders, capfd):
    calls = []
    source = _source(published)
    first = load_medmnist(source, **folders, progress=lambda *call: calls.append(call))
    target = folders["data_dir"] / "tiny_4.npz"
    assert target.read_bytes() == published.read_bytes()
    assert [path.name for path in folders["data_dir"].iterdir()] == ["tiny_4.npz"]
    size = len(published.read_bytes())
    assert ("downloading tiny_4.npz", size, size) in calls
    assert calls[-1] == ("preparing tiny_4.npz", 1, 1)
    assert capfd.readouterr().out == ""

    target.unlink()
    published.unlink()
    again = load_medmnist(source, **folders)
    np.testing.assert_array_equal(again.images, first.images)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_are_read_from_the_archive_in_small_parts(published, monkeypatch, save):
    arrays = _arrays()
    save(published, **arrays)
    monkeypatch.setattr(npz_file, "images_per_read", lambda shape: 2)
    for prefix, split in zip(
        SIZES, read_splits(published, _source(published)).values(), strict=True
    ):
        np.testing.assert_array_equal(list(split.images()), arrays[f"{prefix}_images"])
        np.testing.assert_array_equal(split.labels, arrays[f"{prefix}_labels"][:, 0])


def test_a_bad_file_is_refused_and_the_prepared_copy_survives(published, folders):
    source = _source(published)
    load_medmnist(source, **folders)
    target = folders["data_dir"] / "tiny_4.npz"
    target.write_bytes(published.read_bytes()[:-40])
    found = hashlib.md5(target.read_bytes()).hexdigest()
    with _one_line_error(target, source.md5, found, "move it away"):
        load_medmnist(source, **folders)
    assert target.exists()
    target.unlink()
    load_medmnist(source, **folders)


def test_a_damaged_prepared_copy_says_what_to_delete(published, folders):
    source = _source(published)
    load_medmnist(source, **folders)
    (record,) = folders["prepared_dir"].glob("**/*test.array_record*")
    record.write_bytes(b"\0" * 100)
    with _one_line_error(record.parent, "is damaged", "delete this folder"):
        load_medmnist(source, **folders)


def test_no_network_says_which_file_goes_where(published, folders):
    source = replace(_source(published), url="http://127.0.0.1:9/tiny.npz")
    with _one_line_error(source.url, folders["data_dir"] / "tiny_4.npz", "download failed"):
        load_medmnist(source, **folders)
    assert not list(folders["data_dir"].iterdir())


@pytest.mark.parametrize("file_present", [False, True])
def test_what_a_killed_download_left_is_removed(published, folders, file_present):
    source = _source(published)
    (folders["data_dir"] / ".tiny_4.npz.0123abcd.tmp").write_bytes(b"half of it")
    (folders["data_dir"] / ".other.tmp").write_bytes(b"somebody else's")
    if file_present:
        shutil.copy(published, folders["data_dir"] / "tiny_4.npz")
    load_medmnist(source, **folders)
    assert {path.name for path in folders["data_dir"].iterdir()} == {"tiny_4.npz", ".other.tmp"}


def test_a_file_that_another_process_got_meanwhile_is_taken(published, folders):
    source = _source(published)
    download(source, folders["data_dir"])
    published.unlink()
    target = download(source, folders["data_dir"])
    assert hashlib.md5(target.read_bytes()).hexdigest() == source.md5


def test_a_download_with_the_wrong_md5_is_not_kept(published, folders):
    source = replace(_source(published), md5="0" * 32)
    with _one_line_error(source.url, "0" * 32, hashlib.md5(published.read_bytes()).hexdigest()):
        download(source, folders["data_dir"])
    assert not list(folders["data_dir"].iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(published, tmp_path):
    with _one_line_error("cannot be written", "dataset.data_dir"):
        download(_source(published), tmp_path / "missing")


def test_a_cache_that_cannot_be_written_is_an_error(published, folders, tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("")
    with _one_line_error("HQNN_CACHE_DIR"):
        load_medmnist(_source(published), data_dir=folders["data_dir"], prepared_dir=occupied)


def _read_all(path, source):
    return [list(split.images()) for split in read_splits(path, source).values()]


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_truncated_archive(published, keep):
    source, content = _source(published), published.read_bytes()
    published.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with _one_line_error(published, "corrupt or truncated"):
        _read_all(published, source)


def test_flipped_bytes_in_an_archive(published):
    source, content = _source(published), bytearray(published.read_bytes())
    content[400:420] = bytes(20)
    published.write_bytes(content)
    with _one_line_error(published, "corrupt or truncated"):
        _read_all(published, source)


def test_any_damage_to_an_archive_is_one_line_or_makes_no_difference(published):
    source, content = _source(published), published.read_bytes()
    expected = _read_all(published, source)
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        published.write_bytes(changed)
        with contextlib.suppress(DataError):
            for ours, theirs in zip(_read_all(published, source), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_missing_array(published):
    arrays = _arrays()
    del arrays["val_labels"]
    np.savez(published, **arrays)
    with _one_line_error(published, "val_labels is missing"):
        read_splits(published, _source(published))


def test_images_of_mixed_size_in_a_file(published):
    mixed = np.empty(2, object)
    mixed[:] = [np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)]
    np.savez(published, **{**_arrays(), "test_images": mixed})
    with _one_line_error(published, "test_images of mixed size"):
        read_splits(published, _source(published))


GOOD = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GOOD.astype(np.float32), [0, 1], "expected uint8 images, found float32"),
        (GOOD[:, :3], [0, 1], "expected images of shape [4, 4, 3], found [3, 4, 3]"),
        (GOOD[..., 0], [0, 1], "found [4, 4]"),
        (GOOD[:0], [], "the split is empty"),
        (GOOD, [0, 3], "label 3 is outside the classes 0 to 2"),
        (GOOD, [-1, 0], "label -1 is outside"),
        (GOOD, [0, 1, 2], "one whole-number label for each of 2 images"),
        (GOOD, [0.5, 1.0], "one whole-number label"),
    ],
)
def test_arrays_that_do_not_fit(published, images, labels, message):
    labels = np.array(labels) if labels else np.zeros(0, int)
    with _one_line_error("some file, test split", message):
        checked_labels(
            images.shape,
            images.dtype,
            labels,
            where="some file, test split",
            source=_source(published),
        )


def test_the_official_md5_of_the_real_files(shared_data):
    for name in ("bloodmnist", "organamnist"):
        check_md5(shared_data / f"{name}.npz", medmnist_source(name, 28))


def test_every_offered_set_is_known_at_every_resolution():
    assert set(MedMnist.builder_configs) >= {
        f"{name}_{side}_{medmnist_source(name, side).md5[:8]}"
        for name in MEDMNIST_NAMES
        for side in (28, 64, 128, 224)
    }
    assert medmnist_source("bloodmnist", 64).file_name == "bloodmnist_64.npz"
    assert len(medmnist_source("retinamnist", 28).class_names) == 5


def test_neither_torch_nor_tensorflow_is_imported_and_nothing_is_printed():
    program = (
        "import sys, hqnn_jax.data.medmnist as m; "
        "assert not {'torch', 'tensorflow', 'medmnist'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b""
