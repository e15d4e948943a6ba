"""The command line, called in this process."""

import contextlib
import io
import sys

import experiment


def call(*arguments: object) -> tuple[int, str, str]:
    """Run a command; returns its exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    previous, sys.argv = sys.argv, ["experiment", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = experiment.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = previous
    return code, out.getvalue(), err.getvalue()
