"""Silence for what Orbax prints beside the error it raises, which becomes one line for the user.

Where one of many arrays cannot be read, it abandons the tasks that read the others. When Python
destroys them, asyncio logs each with a traceback, and so does the interpreter. What TensorStore has
read for them afterwards finds their event loop closed, which the interpreter reports, too.
"""

from __future__ import annotations

import functools
import logging
import sys
import traceback
from types import TracebackType
from typing import Any

_PACKAGE = "/orbax/"


@functools.cache
def silence_orbax() -> None:
    """Silence Orbax's own log, and abandoned tasks of its code; everything else is still shown."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_is_of_others)
    shown = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)
        of_orbax = code is not None and _is_of_orbax(code.co_filename)
        # A callback from C++ has no object.
        late = unraisable.object is None and str(unraisable.exc_value) == "Event loop is closed"
        if not (of_orbax or late):
            shown(unraisable)

    sys.unraisablehook = hook


def _is_of_others(record: logging.LogRecord) -> bool:
    # asyncio names the file of a task's coroutine in the message.
    trace = record.exc_info[2] if isinstance(record.exc_info, tuple) else None
    return not _is_of_orbax(record.getMessage()) and not _passes_orbax(trace)


def _passes_orbax(trace: TracebackType | None) -> bool:
    return any(_is_of_orbax(frame.filename) for frame in traceback.extract_tb(trace))


def _is_of_orbax(text: str) -> bool:
    return _PACKAGE in text.replace("\\", "/")
