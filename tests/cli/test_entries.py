"""Both ways in, `hqnn` and `python -m experiment`, in a folder with files of the user's own."""

import os
import re
import signal
import subprocess
import sys

import pytest

import hqnn_jax.cli
from hqnn_jax.cli.completion import config_file, key_of, one_of, several_of
from hqnn_jax.config import Config
from tests.cli.calls import PYTHON, SMALL

SCRIPT = """
import sys
from hqnn_jax.cli import process
sys.exit(process())
"""
"""What installers write for `hqnn`."""


@pytest.fixture
def hqnn(tmp_path):
    script = tmp_path / "bin" / "hqnn"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    return (sys.executable, script)


@pytest.fixture
def own(tmp_path):
    """A folder whose modules have the names of the product's."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "experiment.py").write_text("print('my experiment')")
    for name in ("experiments", "benchmarks", "configs"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('my {name}')")
    (folder / "configs" / "quickstart.yaml").write_text(SMALL)
    return folder


def call(program, *arguments, cwd, **variables):
    return subprocess.run(
        [*program, *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_files_of_the_same_names_do_not_matter(hqnn, own):
    done = call(hqnn, "run", "configs/quickstart.yaml", "training.epohcs=1", cwd=own)
    assert done.returncode == 2
    assert done.stderr.startswith("error: command line: unknown key 'training.epohcs'")
    done = call(hqnn, "list", cwd=own)
    assert done.returncode == 0, done.stderr
    assert "papers (hqnn paper NAME)" in done.stdout
    assert "my experiment" in call(PYTHON, "--version", cwd=own).stdout  # as the README says
    (own / "experiment.py").unlink()
    assert call(PYTHON, "--version", cwd=own).stdout.startswith("hqnn_jax ")


@pytest.mark.parametrize("entry", ["hqnn", pytest.param("module", marks=pytest.mark.slow)])
def test_circuits_of_the_users_own_are_found(entry, hqnn, own):
    program = hqnn if entry == "hqnn" else PYTHON
    (own / "experiment.py").unlink()
    (own / "my_circuits.py").write_text("raise ValueError('mine, and broken')")
    own_circuit = "model.circuit.name=my_circuits:ring"
    done = call(program, "run", "configs/quickstart.yaml", own_circuit, cwd=own)
    assert done.returncode == 2
    assert "mine, and broken" in done.stderr


def test_messages_and_help_name_the_program_that_runs(hqnn, tmp_path):
    done = call(hqnn, "run", "absent.yaml", cwd=tmp_path)
    assert "`hqnn list` names the shipped configurations" in done.stderr
    text = " ".join(call(hqnn, "run", "--help", cwd=tmp_path).stdout.split())
    assert "hqnn run configs/quickstart.yaml" in text
    assert "python -m experiment" not in text


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("hqnn hard", ["hardware"]),
        ("hqnn paper lean", ["lean2025"]),
        ("hqnn run configs/quick", ["configs/quickstart.yaml"]),
        ("hqnn ablate a.yaml entang", ["entanglement="]),
    ],
)
def test_a_shell_completes_words(hqnn, tmp_path, words, offered):
    done = call(
        hqnn,
        cwd=tmp_path,
        _HQNN_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert done.stdout.split() == offered, done.stderr


def test_words_that_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "other.yaml").write_text("")
    assert one_of(("ab", "b"))("a") == ["ab"]
    assert several_of(("ab", "ac", "b"))("b,a") == ["b,ab", "b,ac"]
    assert key_of(Config)("training.epo") == ["training.epochs="]
    assert config_file()("m") == ["mine.yaml", "more/"]
    assert config_file()("more/") == ["more/other.yaml"]
    assert all(name.startswith("configs/hardware/") for name in config_file("hardware/")("c"))


def test_a_ctrl_c_before_anything_is_imported_is_one_line(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(hqnn_jax.cli, "main", interrupted)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert hqnn_jax.cli.process() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert re.fullmatch(r"error: stopped .*\n", capsys.readouterr().err)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("argument", ["--version", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_line(argument, unbuffered, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PYTHON, argument],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: standard output: cannot write: .*\n", done.stderr)
