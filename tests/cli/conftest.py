"""A small run, finished and not, and a way to call the command line."""

import os
import subprocess

import pytest

from tests.cli.calls import PYTHON, ROOT, SMALL
from tests.command_line import call


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def command():
    """Return `command(*arguments) -> (exit code, standard output, standard error)`."""
    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of two seeds that no test changes, and its standard output and error."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(SMALL)
    done = subprocess.run(
        [
            *PYTHON,
            "run",
            folder / "small.yaml",
            "seeds=2",
            "evaluation.explained_images=2",
            "--out",
            folder / "run",
        ],
        cwd=ROOT,
        env={**os.environ, "HQNN_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", done
