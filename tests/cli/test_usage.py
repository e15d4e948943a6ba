"""What every command does with arguments: help, lists, and what cannot be meant."""

import os
from pathlib import Path

import pytest

from tests.cli.calls import assert_one_error


def test_list_names_what_there_is(command):
    code, out, _ = command("list")
    assert code == 0
    for name in ("quickstart", "bloodmnist", "synthetic_cells", "strongly_entangling", "compact"):
        assert name in out


@pytest.mark.parametrize("name", ["run", "evaluate", "report"])
def test_help_shows_real_examples(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert f"python -m experiment {name}" in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["walk"],
        ["run", "configs/quickstart.yaml", "--fast"],
        ["run", "x.yaml", "--resume"],
    ],
)
def test_wrong_usage_exits_with_2(command, arguments):
    code, _, err = command(*arguments)
    assert code == 2
    assert err


def test_a_configuration_that_is_no_file_or_no_text_is_one_line(command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "binary.yaml", Path("/dev/null")):
        for arguments in (
            ["run", path],
            ["ablate", path, "qubits=2,3"],
            ["paper", "aml2026", "--config", path],
            ["hardware", tmp_path, "--config", path],
        ):
            assert_one_error(command(*arguments), 2, str(path))


def test_arguments_that_are_not_text_are_one_line(command, small, tmp_path):
    odd = "\udcff"
    assert_one_error(command("run", small, f"dataset.name={odd}"), 2, r"\udcff")
    assert_one_error(command("run", small, f"dataset.{odd}=1"), 2, r"\udcff")
    assert_one_error(command("run", small, "dataset.a\nb=1"), 2, r"dataset.a\nb")
    assert_one_error(command("ablate", small, f"qubits={odd},2"), 2, r"\udcff")
    assert_one_error(command("ablate", small, f"qu{odd}bits=3,2"), 2, r"\udcff")
    assert_one_error(command("run", small, "--out", tmp_path / odd), 2, r"\udcff", "UTF-8")
    assert_one_error(command("paper", odd), 2, r"\udcff")
    code, _, err = command(odd)
    assert (code, "Traceback" in err) == (2, False)
