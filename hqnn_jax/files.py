"""Files that matter: written atomically, read with every damage told in one line, and locked.

They are kept where the user's machine keeps such things.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs
import pydantic
from jaxtyping import jaxtyped

from hqnn_jax.errors import HqnnError, RunFolderError, reason_of
from hqnn_jax.text import one_line

_LOCK = ".lock"
_DIGEST_BYTES = hashlib.sha256().digest_size
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)


def cache_dir() -> Path:
    """Return the folder of derived files: $HQNN_CACHE_DIR, else a per-user cache folder."""
    default = platformdirs.user_cache_dir("hqnn_jax")
    return Path(os.environ.get("HQNN_CACHE_DIR") or default).expanduser()


def content_key(described: Mapping[str, Any]) -> str:
    """Return a name, 16 hexadecimal digits, for a file whose content depends on this JSON."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the complete new one.

    Its permissions are those the umask gives. A killed process leaves a temporary file beside it,
    see `remove_temporaries`.

    Raises:
        RunFolderError: if the folder is read-only or the disk is full.
    """
    temporary = temporary_of(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise RunFolderError(
            f"{path}: cannot write: {error.strerror or error}; free space or make the folder "
            "writable (or choose another --out)"
        ) from error


def temporary_of(path: Path) -> Path:
    """Return where to write a file before it takes its name, see `remove_temporaries`."""
    # Not tempfile: it makes files private whatever the umask is.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically.

    Raises:
        As `write_atomically`.
    """
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed `.npz` file atomically.

    Raises:
        As `write_atomically`.
    """
    write_atomically(path, packed(arrays))


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a compressed `.npz` file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_bytes(path: Path, error: type[HqnnError], advice: str) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        error, advice: kind and end of the message where it cannot be read: what to do then.

    Raises:
        error: if it is missing, no regular file (a pipe would never end), or unreadable.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "no regular file"
            raise error(f"{path}: is {kind}, expected a file; {advice}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise error(f"{path}: missing; {advice}") from problem
    except OSError as problem:
        raise error(
            f"{path}: cannot be read ({problem.strerror or problem}); {advice}"
        ) from problem


def read_json(
    path: Path,
    error: type[HqnnError],
    advice: str,
    expected: type[pydantic.BaseModel] | None = None,
) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path, error, advice: as in `read_bytes`.
        expected: what the object must be; what is returned is the object itself, all of it.

    Raises:
        error: as `read_bytes`, and if it is no JSON, no object or not what is expected.
    """
    content = read_bytes(path, error, advice)
    try:
        found = _json_object(content)
    except (ValueError, RecursionError) as problem:
        raise _unreadable(path, problem, error, advice) from problem
    wrong = None if expected is None else unexpected(found, expected)
    if wrong is not None:
        raise error(f"{path}: {wrong}; {advice}")
    return found


def unexpected(found: Any, expected: type[pydantic.BaseModel]) -> str | None:
    """Return the first place where parsed JSON is not what is expected; None where it is."""
    try:
        expected.model_validate(found, strict=True)
        return None
    except pydantic.ValidationError as problem:
        problems = problem.errors(include_input=False, include_url=False)
    first, place = problems[0], problems[0]["loc"]
    message = first["msg"].removeprefix("Value error, ")
    message = f"{message[0].lower()}{message[1:]}"
    if first["type"] == "missing":
        place = place[:-1]
        lacking = [p for p in problems if p["type"] == "missing" and p["loc"][:-1] == place]
        message = f"lacks {', '.join(str(p['loc'][-1]) for p in lacking)}"
    where = ".".join(map(str, place))[:80]
    return one_line(f"{where}: {message}".removeprefix(": "))


def read_json_lines(
    path: Path, error: type[HqnnError], advice: str, *, whole: bool = True
) -> list[dict[str, Any]]:
    """Return the objects in a file with one JSON object per line.

    Args:
        path, error, advice: as in `read_bytes`.
        whole: whether a last line without its end is damage; otherwise it is left out, as a killed
            process leaves such lines.

    Raises:
        error: as `read_bytes`, and if a line is no JSON or no object.
    """
    content = read_bytes(path, error, advice)
    *lines, last = content.split(b"\n")
    records = []
    for number, line in enumerate([*lines, last] if last and whole else lines, start=1):
        try:
            records.append(_json_object(line))
        except (ValueError, RecursionError) as problem:
            raise _unreadable(path, problem, error, advice, f"line {number}: ") from problem
    return records


def _json_object(content: bytes) -> dict[str, Any]:
    text = content.decode()
    parsed = json.loads(text)
    if not isinstance(parsed, dict):
        raise ValueError(f"expected an object in braces, got {text[:40]!r}")
    if "\\ud" in text.lower():
        # Half a surrogate pair is valid JSON, but no text that could be shown or written.
        json.dumps(parsed, ensure_ascii=False).encode()
    return parsed


def read_arrays(
    path: Path,
    error: type[HqnnError],
    advice: str,
    expected: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays in an `.npz` file by name; nothing in it is unpickled.

    Args:
        path, error, advice: as in `read_bytes`.
        expected: name -> type of an array the file must have, `Float[np.ndarray, "rows columns"]`
            say; sizes of the same name must agree. It may have others.

    Raises:
        error: as `read_bytes`, and if it is damaged or lacks what is expected.
    """
    content = read_bytes(path, error, advice)
    try:
        # Every member is read to its end first, which checks its sum.
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            arrays = {
                name.removesuffix(".npy"): _parse_array(members.read(name))
                for name in members.namelist()
            }
    # zipfile, its decompressors and NumPy's parser of headers raise many kinds for damaged bytes.
    except Exception as problem:
        raise _unreadable(path, problem, error, advice) from problem
    wrong = _difference(arrays, expected or {})
    if wrong is not None:
        raise error(f"{path}: {wrong}; {advice}")
    return arrays


def write_cached(path: Path, array: np.ndarray) -> None:
    """Write an array that can be computed again, as an `.npy` file with a checksum at its end.

    Raises:
        As `write_atomically` and `locked`, whose folder is that of the file.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    try:
        with locked(path.parent, wait=True):
            write_atomically(path, content + hashlib.sha256(content).digest())
    except RunFolderError as error:
        raise RunFolderError(
            f"{error}; HQNN_CACHE_DIR names the folder of derived files"
        ) from error


def read_cached(path: Path) -> np.ndarray | None:
    """Return what `write_cached` has written; None if it is missing, or not exactly that."""
    try:
        stored = path.read_bytes()
        content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
        return _parse_array(content) if hashlib.sha256(content).digest() == digest else None
    except (OSError, ValueError):
        return None


def _parse_array(content: bytes) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def _difference(arrays: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> str | None:
    missing = [name for name in expected if name not in arrays]
    if missing:
        return f"lacks {', '.join(missing)}"
    # Within one context, an axis has the same size wherever it is named.
    with jaxtyped("context"):
        for name, kind in expected.items():
            array = arrays[name]
            if not isinstance(array, kind):
                wanted = f"{kind.__name__.partition('[')[0].lower()} ({kind.dim_str})"
                shape = " ".join(map(str, array.shape))
                return f"{name}: expected {wanted}, got {array.dtype} ({shape})"
    return None


def _unreadable(
    path: Path, problem: Exception, error: type[HqnnError], advice: str, where: str = ""
) -> HqnnError:
    return error(f"{path}: cannot be read ({where}{reason_of(problem)[:200]}); {advice}")


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process, and remove what killed processes have left half-written.

    The folder is made where there is none, and removed again if it stays empty. The operating
    system releases the lock when a process dies, however it dies. A thread may hold a folder
    more than once. Reading needs no lock.

    Args:
        folder: the folder; folders in it are not held.
        wait: wait until it is free.

    Raises:
        RunFolderError: if another process or thread holds the folder, or it cannot be made or
            written to.
    """
    lock = filelock.FileLock(folder / _LOCK, is_singleton=True)
    outermost = not lock.is_locked
    with contextlib.ExitStack() as held:
        try:
            new = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock.acquire(blocking=wait))
            if outermost:
                remove_temporaries(folder)
        except filelock.Timeout as error:
            raise RunFolderError(
                f"{folder}: another process is working in this folder; wait for it or choose "
                "another --out"
            ) from error
        except OSError as error:
            raise RunFolderError(
                f"{folder}: cannot create the folder or write to it: {error.strerror or error}; "
                "choose a writable --out"
            ) from error
        if outermost:
            held.callback(_remove_lock, folder, new)
        yield


def _remove_lock(folder: Path, new: bool) -> None:
    # Whoever waits for the file that is gone sees that it is, and makes a new one.
    with contextlib.suppress(OSError):
        (folder / _LOCK).unlink()
        if new:
            folder.rmdir()


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary files that killed processes have left in a folder.

    To be called only where nobody else writes: for folders inside a `locked` one.

    Raises:
        OSError: if one cannot be removed.
    """
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def contents(folder: Path) -> set[Path]:
    """Return what is in a folder but the lock and temporary files; nothing if it is missing."""
    if not folder.exists():
        return set()
    return {
        path
        for path in folder.iterdir()
        if path.name != _LOCK and not _TEMPORARY.fullmatch(path.name)
    }
