"""Files that matter: written atomically, and kept where the user's machine keeps such things."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from hqnn_jax.errors import RunFolderError


def cache_dir() -> Path:
    """Return the folder of derived files: $HQNN_CACHE_DIR, else a per-user cache folder."""
    default = platformdirs.user_cache_dir("hqnn_jax")
    return Path(os.environ.get("HQNN_CACHE_DIR") or default).expanduser()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the complete new one.

    **Raises:** `RunFolderError` if the folder is read-only or the disk is full.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise RunFolderError(
            f"{path}: cannot write: {error.strerror or error}; free space or make the folder "
            "writable (or choose another --out)"
        ) from error
