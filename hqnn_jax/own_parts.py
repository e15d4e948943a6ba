"""Parts of the user's own, which a configuration names by their import path.

A mistake in them is told in one line, as any other in a configuration: what is called here is
somebody else's code.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from hqnn_jax.errors import ConfigurationError
from hqnn_jax.text import one_line


def is_own(name: str) -> bool:
    """Return whether a name is an import path, `package.module:name`."""
    return ":" in name


def import_own(key: str, name: str, expected: str) -> Any:
    """Import a part.

    Args:
        key: of the configuration, for messages.
        name: `package.module:name`, importable from the current folder.
        expected: what it should be, for messages: `a function that returns a circuit`.

    Raises:
        ConfigurationError: if there is no such module or no such name in it, the module raises, or
            what it names cannot be called.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{key}: cannot import {attribute!r} from {module!r}: {one_line(error)}; "
            "expected `package.module:function` importable from the current folder"
        ) from error
    # Somebody else's code.
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{key}: cannot import {attribute!r} from {module!r}: the module raised "
            f"{type(error).__name__}: {one_line(error)}; expected a module that can be imported"
        ) from error
    if not callable(found):
        raise ConfigurationError(
            f"{key}: {attribute!r} in {module!r} is {type(found).__name__}; expected {expected}"
        )
    return found


def import_function(key: str, name: str, *arguments: str) -> Any:
    """Import a function that is called with so many positional arguments.

    Raises:
        ConfigurationError: as `import_own`, and where it cannot be called so.
    """
    expected = f"a function of ({', '.join(arguments)})"
    function = import_own(key, name, expected)
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"{key}: {name!r}: {one_line(error)}; expected {expected}"
        ) from error
    except ValueError:  # some functions of C tell nothing of their arguments
        pass
    return function


@contextlib.contextmanager
def blamed_on(key: str, name: str, expected: str) -> Iterator[None]:
    """Tell what a part raises in the block in one line.

    Raises:
        ConfigurationError: for whatever the block raises.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{key}: {name!r} raised {type(error).__name__}: {one_line(error, 300)}; expected "
            f"{expected}"
        ) from error


def require_floats(
    found: Any, shape: tuple[int | None, ...], what: str, given: str, expected: str
) -> None:
    """Check what a part returns when it is traced.

    Args:
        found: what it returned.
        shape: what its shape is to be; None for an axis of any length.
        what: the key and the part, for messages.
        given: what it was called with.
        expected: see `import_own`.

    Raises:
        ConfigurationError: if it is no array of floating-point numbers of this shape.
    """
    returned, dtype = getattr(found, "shape", None), str(getattr(found, "dtype", ""))
    fits = returned is not None and len(returned) == len(shape)
    fits = fits and all(b in (None, a) for a, b in zip(returned or (), shape, strict=True))
    if not fits or "float" not in dtype:
        kind = f"{dtype} of shape {returned}" if dtype else type(found).__name__
        raise ConfigurationError(f"{what} returned {kind} for {given}; expected {expected}")


def source_digest(name: str) -> str:
    """Return a digest of the text of the module that a part is in, empty where it has none.

    What is computed with a part and stored must not be taken for that of a later version of it.
    """
    module = sys.modules.get(name.partition(":")[0])
    try:
        return hashlib.sha256(inspect.getsource(module).encode()).hexdigest() if module else ""
    except (OSError, TypeError):
        return ""
