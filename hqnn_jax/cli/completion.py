"""What a shell offers for a word that is begun (`hqnn --install-completion`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel

from hqnn_jax.config.loading import all_keys
from hqnn_jax.config.shipped import shipped_names

Complete = Callable[[str], list[str]]


def one_of(names: Iterable[str]) -> Complete:
    """Offer names."""
    offered = tuple(names)
    return lambda incomplete: [name for name in offered if name.startswith(incomplete)]


def several_of(names: Iterable[str]) -> Complete:
    """Offer names after the last comma of a list of them."""
    offered = tuple(names)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in offered if name.startswith(last)]

    return complete


def key_of(section: type[BaseModel], more: Iterable[str] = ()) -> Complete:
    """Offer the keys of a configuration, and more names, each to be followed by its value."""
    return one_of(f"{name}=" for name in (*more, *all_keys(section)))


def config_file(folder: str = "") -> Complete:
    """Offer files in YAML that are here and those shipped, the latter in one folder or all."""

    def complete(incomplete: str) -> list[str]:
        before, slash, _ = incomplete.rpartition("/")
        here = sorted(Path(before + slash).glob("*")) if Path(before or ".").is_dir() else []
        files = [path.as_posix() for path in here if path.suffix == ".yaml"]
        folders = [f"{path.as_posix()}/" for path in here if path.is_dir()]
        inside = [f"configs/{name}.yaml" for name in shipped_names() if name.startswith(folder)]
        return one_of(dict.fromkeys([*files, *folders, *inside]))(incomplete)

    return complete
