"""Fixtures shared by the whole suite."""

import gc
import importlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_SHARED = Path(
    os.environ.get("HQNN_TEST_DATA", Path(__file__).resolve().parent.parent.parent / "shared")
)

# Many tests compile the same small programs, in processes of their own too: a third of the suite's
# time. All of them share JAX's own cache, which lives as long as the session.
_CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}
_made: list[str] = []
# Not in a hook: a folder's conftest.py may import JAX before any is called. Workers inherit it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _made.append(tempfile.mkdtemp(prefix="hqnn_jax_compiled_"))
    os.environ.update(_CACHE | {"JAX_COMPILATION_CACHE_DIR": _made[0]})

# A tenth of the time of lowering: which line each operation comes from, which nobody reads here.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")


# Compiling was most of the suite's time, and a third of that LLVM's last optimisations; programs of
# a few images run for milliseconds without them. Not level 0: its training programs hold NaN, and
# differ from run to run. `XLA_FLAGS=--xla_backend_optimization_level=3 python -m pytest` has all.
_LEVEL = "--xla_backend_optimization_level"
_FLAGS = os.environ.get("XLA_FLAGS", "")
if _LEVEL not in _FLAGS:
    os.environ["XLA_FLAGS"] = f"{_FLAGS} {_LEVEL}=1".strip()


@pytest.fixture(scope="session")
def as_users() -> dict[str, str]:
    """The environment of a process whose programs are optimised as a user's are."""
    flags = os.environ["XLA_FLAGS"].replace(f"{_LEVEL}=1", "").strip()
    return {**os.environ, "XLA_FLAGS": flags}


# Under jaxtyping's import hook, whatever the project imports is compiled anew from its text instead
# of read from Python's own cache: ten seconds for the libraries, in every worker.
for _library in (
    "flax.nnx",
    "matplotlib.pyplot",
    "optax",
    "orbax.checkpoint",
    "pandas",
    "pennylane",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "skimage.feature",
    "skimage.measure",
    "tensorflow_datasets",
):
    importlib.import_module(_library)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Spare the garbage collector what JAX keeps of the files before.

    Traced programs are millions of objects that stay; every full collection visited all of them,
    up to half of a file's time towards the end of the session.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_unconfigure() -> None:
    """Remove it, in the process that made it."""
    for folder in _made:
        shutil.rmtree(folder, ignore_errors=True)


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
