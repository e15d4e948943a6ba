"""Finding a configuration: in the current folder, else among those of the package."""

from __future__ import annotations

import datetime
from pathlib import Path

from hqnn_jax import commands
from hqnn_jax.config.shipped import shipped, shipped_name, shipped_names
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.progress import Progress
from hqnn_jax.text import closest


def find_config(path: Path) -> Path:
    """Return where a configuration is; one that is taken from the package is told.

    Raises:
        ConfigurationError: if it is neither here nor shipped, naming the shipped one most like it.
    """
    if path.exists():
        return path
    found = shipped(path)
    if found is None:
        listing = f"{commands.written('list')} names the shipped configurations"
        raise ConfigurationError(f"{path}: missing; {_like(path)}{listing}")
    Progress().line(f"{path}: not in this folder, taken from the package: {found}")
    return found


def new_folder(config: Path, what: str = "") -> Path:
    """Return the folder in `runs` for what is made of a configuration now."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    # A stored configuration is always called config.yaml; its folder has the name.
    name = config.resolve().parent.name if config.name == "config.yaml" else config.stem
    return Path("runs") / f"{name}{what}-{now}"


def _like(path: Path) -> str:
    names = {name: name for name in shipped_names()}
    names |= {name.rpartition("/")[2]: name for name in names}
    given = path.with_suffix("").name if path.is_absolute() else shipped_name(path)
    near = closest(given, names)
    return "" if near is None else f"did you mean configs/{names[near]}.yaml? "
