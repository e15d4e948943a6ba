"""docs/circuit_layer.md does what it says: every example trains."""

import importlib.util
import re
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[1] / "docs" / "circuit_layer.md").read_text()
FIRST, *SECTIONS = re.split(r"^## ", GUIDE, flags=re.M)
NEEDS = {"Equinox": "equinox", "PyTorch": "torch"}
"""Libraries that nothing here depends on."""


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.fixture(scope="module")
def shared():
    """The names that every example begins with."""
    names = {}
    for block in blocks(FIRST):
        exec(block, names)
    return names


def test_every_library_has_an_example():
    titles = [section.partition("\n")[0] for section in SECTIONS]
    assert titles == ["Optax alone", "Flax NNX", "Flax Linen", "Equinox", "PyTorch"]


FAST = ("Optax alone", "Flax NNX")


def marked():
    for section in SECTIONS:
        title = section.partition("\n")[0]
        yield pytest.param(section, id=title, marks=[] if title in FAST else [pytest.mark.slow])


@pytest.mark.parametrize("section", list(marked()))
def test_the_example_trains(section, shared):
    title = section.partition("\n")[0]
    needed = NEEDS.get(title)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    (block,) = blocks(section)
    exec(block, dict(shared))
