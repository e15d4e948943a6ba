"""Writing atomically, and the environment a run records."""

import errno
import os

import numpy as np
import pytest

from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import write_arrays, write_atomically
from hqnn_jax.runs.folder import RunFolder, describe_environment, environment_changes


def test_a_failed_write_keeps_the_old_file_and_leaves_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match=r"metrics\.json: cannot write: No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(RunFolderError, match="cannot write: No such file"):
        write_atomically(tmp_path / "absent" / "file", b"")


def test_arrays_survive(tmp_path):
    folder = RunFolder(tmp_path)
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.float32([0.5])}
    write_arrays(folder.predictions, arrays)
    with np.load(folder.predictions) as stored:
        for name, values in arrays.items():
            np.testing.assert_array_equal(stored[name], values)


def test_environment_names_versions_device_and_commit():
    environment = describe_environment()
    assert environment["versions"].keys() >= {"jax", "flax", "optax", "pennylane"}
    assert environment["device_count"] >= 1
    assert 1 <= environment["usable_cores"] <= environment["cpu_count"]
    assert environment["processor"]
    commit = environment["git_commit"]
    assert commit is None or len(commit.removesuffix("+dirty")) == 40


def test_only_what_changes_rounding_is_another_environment():
    here = describe_environment()
    assert environment_changes(here, here) == []
    assert environment_changes(here | {"git_commit": "0", "cpu_count": 77}, here) == []
    # As earlier versions wrote it.
    assert environment_changes({"device": here["device"]}, here) == []
    old = here | {"device": "TPU v9", "versions": here["versions"] | {"jaxlib": "0.0.1"}}
    assert environment_changes(old, here) == [
        ("device", "TPU v9", here["device"]),
        ("versions.jaxlib", "0.0.1", here["versions"]["jaxlib"]),
    ]
