"""What a change of structure must not change: see tests/pinned."""

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pinned import store
from tests.pinned.pins import PINS
from tests.pinned.store import differences, one_line


@pytest.fixture(scope="module")
def told(as_users):
    """Return `told(*arguments)`: what `python -m tests.pinned` prints of each pin.

    A process of its own, since the suite's programs are less optimised than a user's.
    """

    @functools.cache
    def told(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "tests.pinned", *arguments],
            cwd=Path(__file__).parent.parent,
            env=as_users,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
        assert lines, done.stderr
        return lines, done.stderr

    return told


@pytest.mark.parametrize(
    "pin",
    [
        pytest.param(pin, id=pin.name, marks=[pytest.mark.slow] if pin.slow else [])
        for pin in PINS.values()
    ],
)
def test_nothing_pinned_has_changed(pin, told):
    for name in pin.needs:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    lines, errors = told(pin.name) if pin.slow else told("--fast")
    assert lines.get(pin.name) == "as accepted", lines.get(pin.name, errors)


VALUES = {"text": "5 of 7\nend", "numbers": np.array([1, np.nan, 0.1], np.float32)}


@pytest.fixture
def accepted(tmp_path, monkeypatch):
    """A pin of which `VALUES` were accepted."""
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    pin = store.Pin("some", lambda _: VALUES, numbers_vary=True)
    store.accept(pin, VALUES)
    return pin


@pytest.mark.parametrize(
    ("changed", "here", "elsewhere"),
    [
        ({}, None, None),
        ({"numbers": VALUES["numbers"] + np.float32(1e-6)}, "2 of 3 numbers differ", None),
        ({"numbers": VALUES["numbers"] + np.float32(1e-2)}, "by 0.01", "by 0.01"),
        ({"numbers": VALUES["numbers"].astype(float)}, "is float64[3]", "is float64[3]"),
        ({"text": "6 of 7\nend"}, "line 1 was '5 of 7'", None),
        ({"text": "5 in 7\nend"}, "is '5 in 7'", "is '# in #'"),
        ({"text": "5 of 7"}, "had 2 lines, has 1", "had 2 lines, has 1"),
        ({"other": "x"}, "other is new", "other is new"),
    ],
)
def test_a_change_is_told_in_one_line(accepted, monkeypatch, changed, here, elsewhere):
    for expected in (here, elsewhere):
        phrases = differences(accepted, VALUES | changed)
        assert len(phrases) == (expected is not None), phrases
        assert expected is None or expected in one_line(accepted, phrases)
        monkeypatch.setattr(store, "machine", lambda: {"processor": "another"})
    assert differences(accepted, {})[:2] == ["text is gone", "numbers is gone"]
