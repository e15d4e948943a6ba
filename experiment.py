"""The command line: `python -m experiment --help`. The installed script `hqnn` is the same."""

import sys

from hqnn_jax.cli import main, process

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(process())
