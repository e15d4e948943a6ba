"""Files that matter: written atomically, and kept where the user's machine keeps such things."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically.

    **Raises:** as `write_atomically`.
    """
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed `.npz` file atomically.

    **Raises:** as `write_atomically`.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
