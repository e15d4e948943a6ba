"""Arrays of an `.npz` archive that may not fit into memory, read in order."""

from __future__ import annotations

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import UInt8

from hqnn_jax.data.records import images_per_read
from hqnn_jax.errors import DataError

ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,  # zipfile, of a method it does not know
    RuntimeError,  # zipfile, of an archive that claims to be encrypted
    UnicodeDecodeError,
    SyntaxError,  # NumPy, of the header of an array
    struct.error,
)


class ArrayHeader(NamedTuple):
    """What an array in an archive is, before its values are read."""

    shape: tuple[int, ...]
    dtype: np.dtype


@contextlib.contextmanager
def open_array(
    path: Path, name: str, expected: str, again: str
) -> Iterator[tuple[IO[bytes], ArrayHeader]]:
    """Open an array of an archive at its first value.

    NumPy would read all of it, and some of the sets do not fit into memory.

    Args:
        path: the archive.
        name: the array.
        expected: what a message says where there is no such array.
        again: how to get the file again, for the message where it is damaged.

    Raises:
        DataError: no such array, one of Python objects or of columns, or a damaged archive.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, in_columns, dtype = read(file)
            if dtype.hasobject:
                raise DataError(f"{path}: {name} of mixed size; expected one array of equal images")
            if in_columns and len(shape) > 1:
                raise DataError(f"{path}: {name} lies in columns; expected rows (C order)")
            yield file, ArrayHeader(shape, dtype)
    except KeyError:
        raise DataError(f"{path}: array {name} is missing; {expected}") from None
    except (*ARCHIVE_ERRORS, ValueError) as error:
        raise damaged(path, again) from error


def stream_images(
    path: Path, name: str, image_shape: tuple[int, int, int], number: int, again: str
) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
    """Yield the images of an array in order, in the memory of a few of them.

    Args:
        path: the archive.
        name: the array, uint8 and of the right shape.
        image_shape: height, width, channels.
        number: of its images.
        again: as for `open_array`.

    Raises:
        DataError: a damaged archive (told by its checksum, at the latest after the last image).
    """
    step = images_per_read(image_shape)
    size = math.prod(image_shape)
    with open_array(path, name, "", again) as (file, _):
        for start in range(0, number, step):
            count = min(step, number - start)
            content = file.read(count * size)
            if len(content) < count * size:
                raise damaged(path, again)
            yield from np.frombuffer(content, np.uint8).reshape(count, *image_shape)
        if file.read(1):  # reaching the end compares the checksum
            raise damaged(path, again)


def damaged(path: Path, again: str) -> DataError:
    """Return the error that says that an archive is not whole."""
    return DataError(f"{path}: corrupt or truncated; expected an .npz archive; {again}")
