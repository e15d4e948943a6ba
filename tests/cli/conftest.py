"""A small run, finished and not, and a way to call the command line."""

import os
import subprocess
import sys

import pytest

import experiment
from tests.cli.calls import PYTHON, ROOT, SMALL


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
def command(monkeypatch, capsys):
    """Return `command(*arguments) -> (exit code, standard output, standard error)`."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["experiment", *map(str, arguments)])
        try:
            code = experiment.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


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
