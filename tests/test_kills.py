"""Killed at any write, a command goes on to the same result when it is given again."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import call
from tests.kills import KilledError, Killer
from tests.small_runs import small_run

TINY = small_run(
    (32, 16, 16),
    """
training: {epochs: 2, batch_size: 16}
evaluation: {bootstrap_samples: 100, explained_images: 2}
""",
    processor="{widths: [4]}",
)


@pytest.fixture(scope="module")
def killer():
    return Killer()


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Return `command(*arguments) -> (exit code, standard output, standard error)`."""
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "tiny.yaml").write_text(TINY)
    return call


@pytest.fixture
def whole(command, killer, tmp_path):
    """A run that was never stopped, and the number of changes it makes."""
    with killer.killing(tmp_path / "whole", 0):
        code, _, err = command("run", tmp_path / "tiny.yaml", "--out", tmp_path / "whole")
    assert code == 0, err
    return tmp_path / "whole", killer.count


def check_same(folder: Path, whole: Path) -> None:
    names = {
        kind: {p.relative_to(run).as_posix() for p in run.rglob("*") if "/d/" not in p.as_posix()}
        for kind, run in (("found", folder), ("expected", whole))
    }
    # A process killed at its very end leaves its lock.
    assert names["found"] - {".lock"} == names["expected"]
    for name in ("predictions.npz", "explanations.npz"):
        with np.load(folder / name) as found, np.load(whole / name) as expected:
            for key in expected:
                np.testing.assert_array_equal(found[key], expected[key], err_msg=f"{name} {key}")


def some(count: int, all_of_them: bool) -> list[int]:
    """Return at which of `count` changes to kill: the first and last ones, and some between."""
    if all_of_them:
        return list(range(1, count + 1))
    return [2, 5, count // 2, count - 2]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_write_goes_on(command, killer, whole, tmp_path, every):
    expected, count = whole
    arguments = ("run", tmp_path / "tiny.yaml", "--out", tmp_path / "run")
    assert count > 40
    for at in some(count, every):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        with killer.killing(tmp_path / "run", at), pytest.raises(KilledError):
            command(*arguments)
        code, _, err = command(*arguments)
        if code != 0 and "--resume" in err:
            code, _, err = command(*arguments, "--resume")
        assert code == 0 or (at == count and "holds a finished run" in err), (at, err)
        check_same(tmp_path / "run", expected)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_evaluation_killed_at_any_write_goes_on(command, killer, whole, tmp_path, every):
    expected, _ = whole
    folder = tmp_path / "run"
    shutil.copytree(expected, folder)
    with killer.killing(folder, 0):
        assert command("evaluate", folder)[0] == 0
    count = killer.count
    assert count > 8
    for at in list(range(1, count + 1)) if every else [count // 2]:
        with killer.killing(folder, at), pytest.raises(KilledError):
            command("evaluate", folder)
        # What is there in between can be seen.
        assert command("report", folder)[0] == 0
        code, _, err = command("evaluate", folder)
        assert code == 0, (at, err)
        check_same(folder, expected)
