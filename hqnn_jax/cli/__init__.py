"""The command line: a module per command, with its options, its help and what it prints."""

from __future__ import annotations

import os
import signal
import sys


def process() -> int:
    """Be the process that a user has started: `main`, with every Ctrl-C told in one line."""
    try:
        return main()
    except KeyboardInterrupt:
        # Only imports are interrupted here: all else is told by those who know what is kept.
        print("error: stopped before anything began", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        # Python would print a traceback for one more Ctrl-C while it cleans up.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command that the arguments of the process name; return the exit code."""
    # As `python -m` does: circuits of the user's own are found whichever way this was started.
    if sys.path[0] not in ("", os.getcwd()):
        sys.path.insert(0, os.getcwd())
    # Here, so that the name of this package costs nothing and a Ctrl-C meanwhile is caught.
    from hqnn_jax.cli.app import app
    from hqnn_jax.cli.command_line import run_command_line
    from hqnn_jax.malloc import keep_large_buffers

    keep_large_buffers()
    return run_command_line(app)
