"""What surrounds every command: each end that a user can cause or repair is told in one line."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from hqnn_jax.errors import ConfigurationError, HqnnError

EXIT_CODES = "Exit codes: 0 done, 1 run failed or stopped, 2 wrong usage or configuration."
_STOPPED = "stopped at once; what was written before is kept; give the same command again"
_OUT_OF_MEMORY = (
    "lower what there is of at once: training.batch_size, evaluation.batch_size, qubits, "
    "model.backbone.image_size, dataset.resolution, images, or seeds trained --together"
)


class Commands(TyperGroup):
    """The commands; Ctrl-C is an error like others, for which Typer would say nothing."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with stopped_at_once(lambda: _STOPPED):
            return super().invoke(ctx)


class Command(TyperCommand):
    """A command; arguments that are no text, number or name of a file are refused first."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        for name, given in ctx.params.items():
            for value in given if isinstance(given, list) else [given]:
                _require_possible(name, value)
        return super().invoke(ctx)


def _require_possible(name: str, value: Any) -> None:
    if isinstance(value, Path):
        _require_possible_path(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"--{name.replace('_', '-')}: expected a number, got {value}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"{value!r:.120}: expected text in UTF-8") from error


def _require_possible_path(path: Path) -> None:
    whole = os.path.abspath(path)
    try:
        whole.encode()
        path.exists()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{whole}: the name is not text in UTF-8, as those who read and write images and "
            "checkpoints need it; rename it, or choose another"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; choose another name") from error


@contextlib.contextmanager
def stopped_at_once(message: Callable[[], str]) -> Iterator[None]:
    """Turn the Ctrl-C that does not wait for a safe point into an error with this message."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise HqnnError(message()) from error


def run_command_line(app: typer.Typer) -> int:
    """Run the command that the arguments of the process name; return the exit code.

    The one line of an error goes to standard error. Anything that is a mistake of the program
    keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text that the terminal can show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _exit_code(app)
    except OSError:
        # Whoever writes files tells of them; this is what is printed, or a mistake.
        problem = _unprinted("\n")
        if problem is None:
            raise
    else:
        problem = _unprinted("")
    if problem is None:
        return code
    # Who reads no further, as `head`, need not be told.
    if problem.errno != errno.EPIPE:
        print_error(f"standard output: cannot write: {problem.strerror}; free space")
    return 1


def _exit_code(app: typer.Typer) -> int:
    try:
        app(standalone_mode=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except HqnnError as error:
        return _failed(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed(_STOPPED, 1)
    except MemoryError as error:
        return _failed(_out_of_memory(error), 1)
    except RuntimeError as error:
        # XLA has no class of its own for it.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _failed(_out_of_memory(error), 1)
    return 0


def _unprinted(more: str) -> OSError | None:
    """Write what is printed but not written yet, and more; return why it cannot be, if so."""
    if sys.stdout is None:  # closed by who started the process
        return None
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except OSError as error:
        # Python would try again when it ends, and print what it makes of the failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def print_error(message: str) -> None:
    """Print an error as one line on standard error."""
    print(f"error: {_escaped(message)}", file=sys.stderr)


def _escaped(text: str) -> str:
    """Return text with every line break and whatever else cannot be shown written as escapes."""
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def _failed(message: str, code: int) -> int:
    print_error(message)
    return code


def _out_of_memory(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return f"out of memory{f' ({first:.200})' if first else ''}; {_OUT_OF_MEMORY}"
