"""The lock files: the same versions with and without digests, no host, no torch."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements", "requirements-dev")


def _pins(path: Path) -> list[str]:
    """Return the lines that pin a version, without the continuation of a digest's line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removesuffix(" \\") for line in lines if not line.startswith(" ")]


@pytest.mark.parametrize("name", LOCKS)
def test_the_hashed_lock_pins_the_same_versions(name):
    pins = _pins(ROOT / f"{name}.lock")
    assert len(pins) > 100
    assert _pins(ROOT / f"{name}-hashed.lock") == pins


@pytest.mark.parametrize("name", LOCKS)
def test_every_version_has_a_digest(name):
    entries = re.split(r"\n(?=\S)", (ROOT / f"{name}-hashed.lock").read_text(encoding="utf-8"))
    assert not [e for e in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", e)]


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.lock")), ids=lambda p: p.name)
def test_no_lock_names_a_host_or_torch(path):
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^torch", text, re.MULTILINE)
