"""What a change of structure must not change: see tests/pinned."""

import importlib.util

import pytest

from tests.pinned.pins import PINS
from tests.pinned.store import differences, one_line


@pytest.mark.parametrize(
    "pin",
    [
        pytest.param(pin, id=pin.name, marks=[pytest.mark.slow] if pin.slow else [])
        for pin in PINS.values()
    ],
)
def test_nothing_pinned_has_changed(pin, tmp_path):
    for name in pin.needs:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    phrases = differences(pin, pin.compute(tmp_path))
    assert not phrases, one_line(pin, phrases)
