"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest

_SHARED = Path(
    os.environ.get("HQNN_TEST_DATA", Path(__file__).resolve().parent.parent.parent / "shared")
)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"real data not at hand: {folder} does not exist (set HQNN_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real datasets; the test is skipped where it is absent."""
    return _existing(_SHARED / "data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Folder with ImageNet weights and reference outputs; skipped where it is absent."""
    return _existing(_SHARED / "weights")
