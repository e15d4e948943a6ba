"""Choice of a part of a circuit by its name."""

from collections.abc import Mapping
from typing import TypeVar

from hqnn_jax.errors import CircuitError
from hqnn_jax.text import closest

T = TypeVar("T")


def chosen(kind: str, name: str, options: Mapping[str, T]) -> T:
    """Return the option of that name.

    Args:
        kind: what is chosen, for the message.
        name: what was given.
        options: the options by name.

    Raises:
        CircuitError: there is none; the message lists the names and the closest one.
    """
    if name not in options:
        raise CircuitError(
            f"{kind}: no {kind} {name!r}; expected one of {', '.join(options)}. Did you mean "
            f"{closest(str(name), options, cutoff=0.0)!r}?"
        )
    return options[name]
