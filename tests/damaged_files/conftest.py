"""Where files are damaged."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A folder for everything here, with a cache of its own."""
    folder = tmp_path_factory.mktemp("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(folder / "cache"))
        patch.delenv("HQNN_DATA_DIR", raising=False)
        patch.syspath_prepend(str(folder / "modules"))
        yield folder
