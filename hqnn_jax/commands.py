"""How commands are written, for messages that say which one goes on, repairs or shows something."""

from __future__ import annotations

import sys
from pathlib import Path


def program() -> str:
    """Return what commands begin with: the installed script's name where that is what runs."""
    return "hqnn" if Path(sys.argv[0]).stem == "hqnn" else "python -m experiment"


def written(*words: str | Path) -> str:
    """Return a command in backquotes, `run`, `runs/a/config.yaml` say being its words."""
    return f"`{' '.join([program(), *map(str, words)])}`"
