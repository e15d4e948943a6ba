"""Folders written before the library was rearranged are still read: see tests/pinned/before."""

from pathlib import Path

import numpy as np
import pytest

from tests.pinned.store import FOLDER
from tests.pinned.studies import command, of_this_version, text_of, unpack, working_in
from tests.trained.parity import assert_predicts_as_evaluated


@pytest.fixture
def folder(tmp_path):
    """A folder with copies of everything, which the test works in."""
    for path in (FOLDER / "before").glob("*.tar.xz"):
        unpack(path.name.removesuffix(".tar.xz"), tmp_path)
    with working_in(tmp_path):
        yield tmp_path


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        # Digits of another machine.
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5, err_msg=name)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_archives_hold_no_path_of_a_machine(folder):
    for path, content in contents(folder).items():
        for start in (b"/tmp", b"/home", b"/root", b"/work"):
            assert start not in content, path


def test_a_finished_run_is_reported_and_evaluated_again(folder):
    before = arrays(folder / "finished" / "predictions.npz")
    command("report", "finished")
    assert "synthetic_cells" in text_of(folder / "finished" / "report.html")
    command("evaluate", "finished")
    assert_close(arrays(folder / "finished" / "predictions.npz"), before)


def test_an_unfinished_run_goes_on_with_the_cached_features(folder):
    cache = contents(folder / "cache" / "features")
    history = (folder / "unfinished" / "history.jsonl").read_text()
    told = command("run", "unfinished/config.yaml", "--out", "unfinished", "--resume")
    assert told.count("read from the cache") == 3
    assert "compiling the backbone" not in told
    assert contents(folder / "cache" / "features") == cache
    assert "seed 1 epoch 5/30" in told
    assert "seed 1 epoch 4/30" not in told
    assert (folder / "unfinished" / "history.jsonl").read_text().startswith(history)
    expected = np.load(FOLDER / "before" / "unfinished_probabilities.npy")
    found = arrays(folder / "unfinished" / "predictions.npz")["test_probabilities"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)
    assert_predicts_as_evaluated(Path("unfinished"))


def test_the_cells_of_an_ablation_are_taken_as_they_are(folder):
    of_this_version(folder / "study" / "ablation.json")
    before = contents(folder / "study" / "cells")
    told = command("ablate", "study.yaml", "--out", "study")
    assert "training" not in told
    after = contents(folder / "study" / "cells")
    assert {path: content for path, content in after.items() if path.suffix == ".npz"} == before
    assert "compiling" not in told
