"""What surrounds every command: ends that are told in one line, and exit codes."""

import io
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from hqnn_jax.cli.command_line import Command, Commands, print_error, run_command_line
from hqnn_jax.errors import ConfigurationError, HqnnError


@pytest.fixture
def end(monkeypatch, capsys):
    """Return `end(function, *arguments) -> (exit code, standard output, standard error)`."""

    def end(function, *arguments):
        app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False)
        app.command("do", cls=Command)(function)
        app.command("other", cls=Command)(lambda: None)
        monkeypatch.setattr(sys, "argv", ["experiment", "do", *map(str, arguments)])
        try:
            code = run_command_line(app)
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return end


def raising(error):
    def do() -> None:
        raise error

    return do


def test_nothing_is_said_where_nothing_is_wrong(end):
    assert end(lambda: print("done")) == (0, "done\n", "")


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (HqnnError("a\nb\tc\udcff\x1b[31m"), 1, r"a\nb\tc\udcff\x1b[31m"),
        (ConfigurationError("a: b"), 2, "a: b"),
        (KeyboardInterrupt(), 1, "stopped at once; what was written before is kept"),
        (MemoryError(), 1, "out of memory; lower"),
        (MemoryError("Unable to allocate 2.14 PiB"), 1, "(Unable to allocate 2.14 PiB); lower"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 bytes\nBuffers:\n1"), 1, "9 bytes); lower what"),
    ],
)
def test_ends_of_users_are_one_line(end, error, code, expected):
    got, out, err = end(raising(error))
    assert (got, out) == (code, "")
    assert err.startswith("error: ")
    assert expected in err
    assert len(err.splitlines()) == 1


def test_memory_that_jax_cannot_have_is_one_line(end):
    import jax.numpy as jnp

    code, _, err = end(lambda: print(jnp.zeros((2**22, 2**24)).sum()))
    assert code == 1
    assert err.startswith("error: out of memory (")
    assert "training.batch_size" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("error", [RuntimeError("a shape is wrong"), ValueError("x"), KeyError(1)])
def test_mistakes_of_the_program_keep_their_traceback(end, error):
    with pytest.raises(type(error)):
        end(raising(error))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 300, "File name too long"),
        ("a\udcff", r"a\udcff: the name is not text in UTF-8"),
    ],
)
def test_names_that_no_file_can_have_are_refused_first(end, tmp_path, name, expected):
    def do(paths: list[Path]) -> None:
        raise AssertionError("started")

    code, _, err = end(do, tmp_path, tmp_path / name)
    assert code == 2
    assert expected in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--cores=nan", "expected a number"),
        ("--cores=inf", "--cores"),
        ("\udcff", "UTF-8"),
    ],
)
def test_arguments_that_mean_nothing_are_refused_first(end, argument, expected):
    def do(
        texts: Annotated[list[str] | None, typer.Argument()] = None,
        cores: Annotated[float, typer.Option()] = 1.0,
    ) -> None:
        raise AssertionError("started")

    code, _, err = end(do, argument)
    assert code == 2
    assert expected in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_whatever_is_printed_can_be_printed(end, monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    code, _, err = end(lambda: print("95 %–100 %, \udcff, 😀"))
    assert (code, err) == (0, "")
    stream.flush()
    assert rb"\udcff" in stream.buffer.getvalue()


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("Zürich – 😀 'a  b'", "Zürich – 😀 'a  b'"),
        ("a\r\nb\u2028\x85\x00", r"a\r\nb\u2028\x85\x00"),
    ],
)
def test_an_error_is_one_line_that_keeps_what_can_be_read(message, printed, capsys):
    print_error(message)
    assert capsys.readouterr().err == f"error: {printed}\n"
