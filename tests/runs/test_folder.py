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


RECORD = {"seed": 0, "epoch": 1, "train_loss": 1.5, "train_accuracy": 0.5, "validation_loss": 2,
          "validation_accuracy": 0.25, "seconds": 0.5}  # fmt: skip


def test_history_is_read_up_to_a_half_written_line(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_history() == []
    records = [RECORD, RECORD | {"seed": 1}]
    for record in records:
        folder.append_history(record)
    with folder.history.open("a") as file:
        file.write('{"seed": 2, "ep')
    assert folder.read_history() == records
    assert folder.read_history(1) == records[1:]
    with pytest.raises(RunFolderError, match=r"history\.jsonl: cannot be read \(line 3"):
        folder.read_history(finished=True)


@pytest.mark.parametrize("line", ["[]", "3", "null", '"text"', "{}", "\ud800", "{", ""])
def test_a_damaged_line_of_the_history_is_told(tmp_path, line):
    folder = RunFolder(tmp_path)
    folder.append_history(RECORD)
    content = folder.history.read_bytes() + line.encode(errors="surrogatepass") + b"\n"
    folder.history.write_bytes(content)
    folder.append_history(RECORD)
    for finished in (False, True):
        with pytest.raises(RunFolderError, match=r"history\.jsonl: .*line 2.*; restore it") as told:
            folder.read_history(finished=finished)
        assert "\n" not in str(told.value)
    assert folder.history.read_bytes().startswith(content)


@pytest.mark.parametrize("change", [{"seed": "0"}, {"epoch": 1.5}, {"validation_loss": None}])
def test_figures_of_the_history_are_numbers(tmp_path, change):
    folder = RunFolder(tmp_path)
    folder.append_history(RECORD | change)
    with pytest.raises(RunFolderError, match=f"line 1: {next(iter(change))}: expected a number"):
        folder.read_history()
