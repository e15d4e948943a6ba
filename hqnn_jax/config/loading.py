"""Reading a configuration from YAML and the command line, with one-line errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import pydantic
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from hqnn_jax import commands
from hqnn_jax.config import Config
from hqnn_jax.config.yaml_text import MAX_DEPTH, parse_yaml
from hqnn_jax.errors import ConfigurationError, HqnnError
from hqnn_jax.files import read_bytes
from hqnn_jax.text import closest

SectionT = TypeVar("SectionT", bound=BaseModel)


_MAX_BYTES = 2**18
"""Size of a configuration file; the largest that is shipped has a fiftieth of it."""


def _apply_override(data: dict[str, Any], override: str) -> tuple[str, ...]:
    key, separator, text = override.partition("=")
    path = tuple(key.strip().split("."))
    where = f"override {override!r:.120}"
    if not separator or not all(path) or len(path) > MAX_DEPTH:
        raise ConfigurationError(f"{where}: expected key=value, for example training.epochs=20")
    node = data
    for part in path[:-1]:
        child = node.get(part)
        if child is None:
            child = node[part] = {}
        if not isinstance(child, dict):
            raise ConfigurationError(f"{where}: {part!r:.80} is a value, not a section")
        node = child
    node[path[-1]] = parse_yaml(text, where)
    return path


def all_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a section, those of its sections included."""
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += all_keys(kind, f"{prefix}{name}.")
    return keys


def _closest_key(key: str, keys: Sequence[str]) -> str:
    near = closest(key, keys)
    if near is None:
        by_last = {name.rpartition(".")[2]: name for name in keys[::-1]}
        near = by_last.get(closest(key.rpartition(".")[2], by_last) or "")
    return "" if near is None else f"; the closest valid key is {near!r}"


def _how_to_write(problem: ErrorDetails) -> str:
    """Say how a value is written that YAML takes for something else."""
    given = problem["input"]
    if problem["type"] == "bool_type" and isinstance(given, str):
        return "; write true or false"
    if problem["type"] == "string_type" and not isinstance(given, dict | list | None):
        return "; write it in quotes"
    return ""


def _related(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def describe_problem(
    problems: Sequence[ErrorDetails], where: str, overridden: set[str], schema: type[BaseModel]
) -> str:
    """Return one line for the first problem, and how many there are.

    `overridden` are the keys given on the command line, which is then named instead of `where`.
    """
    first, keys = problems[0], all_keys(schema)
    valid = set(keys)
    parts: list[str] = []
    # Below a valid leaf, pydantic's location continues with union branches and indices.
    for part in map(str, first["loc"]):
        if parts and ".".join(parts) in valid and ".".join([*parts, part]) not in valid:
            if first["type"] == "extra_forbidden":
                parts.append(part)
            break
        parts.append(part)
    key = ".".join(parts) or "(top level)"
    source = "command line" if any(_related(key, o) for o in overridden) else where
    if first["type"] == "extra_forbidden":
        text = f"{source}: unknown key {key!r:.120}{_closest_key(key, keys)}"
    elif first["type"] == "missing":
        text = f"{source}: missing key {key!r}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        given = json.dumps(first["input"], default=str)
        got = f"; got {given}" if len(given) < 80 else ""
        text = f"{source}: {key:.120}: {message:.500}{got}{_how_to_write(first)}"
    more = len(problems) - 1
    return text + (f" (and {more} more problem{'s' * (more > 1)})" if more else "")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read, override and validate the configuration of a run; see `load_section`."""
    data = read_yaml(path)
    if "ablation" in data:
        raise ConfigurationError(
            f"{path}: holds an ablation, not a run; start it with "
            f"{commands.written('ablate', path)}"
        )
    return validated(data, overrides, Config, str(path))


def load_section(path: Path, overrides: Sequence[str], schema: type[SectionT]) -> SectionT:
    """Read, override and validate a configuration file of any schema.

    Args:
        path: a YAML file, for example `configs/quickstart.yaml` or a run's `config.yaml`.
        overrides: `section.key=value` strings; the value is read as YAML.
        schema: what the file holds.

    Returns:
        The validated, frozen configuration.

    Raises:
        ConfigurationError: one line naming the file, the key, what was expected and the closest
            valid key.
    """
    return validated(read_yaml(path), overrides, schema, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the sections of a YAML file.

    Raises:
        ConfigurationError: if it cannot be read or holds no sections.
    """
    data = parse_yaml(_read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: expected sections (dataset, model, …), got {data!r:.60}")
    return data


def _read_text(path: Path) -> str:
    advice = f"{commands.written('list')} names the shipped configurations"
    with contextlib.suppress(OSError):  # told by read_bytes
        if path.stat().st_size > _MAX_BYTES:
            size = f"has more than {_MAX_BYTES // 1024} KiB"
            raise ConfigurationError(f"{path}: {size}, expected a configuration; {advice}")
    content = read_bytes(path, ConfigurationError, advice)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not text in UTF-8; save it as such") from error


def validated(
    data: dict[str, Any], overrides: Sequence[str], schema: type[SectionT], where: str
) -> SectionT:
    """Override what was read and validate it; `where` names it in errors. `data` is changed."""
    overridden = {".".join(_apply_override(data, override)) for override in overrides}
    try:
        # JSON mode: strict about types, yet lists become tuples and strings become paths.
        return schema.model_validate_json(json.dumps(data), strict=True)
    except pydantic.ValidationError as error:
        message = describe_problem(error.errors(), where, overridden, schema)
        raise ConfigurationError(message) from error


def require_known_keys(overrides: Sequence[str], schema: type[BaseModel]) -> None:
    """Refuse keys on the command line that no configuration of this schema has.

    Raises:
        ConfigurationError: as `load_section`.
    """
    data: dict[str, Any] = {}
    overridden = {".".join(_apply_override(data, override)) for override in overrides}
    try:
        schema.model_validate_json(json.dumps(data), strict=True)
    except pydantic.ValidationError as error:
        unknown = [e for e in error.errors() if e["type"] == "extra_forbidden"]
        if unknown:
            message = describe_problem(unknown, "command line", overridden, schema)
            raise ConfigurationError(message) from error


def require_same(stored: Any, given: Any, error: type[HqnnError], what: str, advice: str) -> None:
    """Raise `error` where two nested dictionaries differ, naming the first difference.

    Args:
        stored: what is there.
        given: what is to be like it.
        error: what is raised.
        what: where `stored` is, and what is wrong where they differ.
        advice: what to do then.
    """
    difference = first_difference(stored, given)
    if difference is not None:
        key, old, new = difference
        raise error(f"{what}: {key} is {old!r} there, {new!r} here; {advice}")


def first_difference(old: Any, new: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Return the dotted key and both values where two nested dictionaries first differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            prefix = f"{key}.{name}" if key else name
            found = first_difference(old.get(name), new.get(name), prefix)
            if found is not None:
                return found
        return None
    return None if old == new else (key, old, new)
