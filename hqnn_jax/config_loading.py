"""Reading a configuration from YAML and the command line, with one-line errors."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import pydantic
import yaml
from pydantic import BaseModel

from hqnn_jax.config import Config
from hqnn_jax.errors import ConfigurationError

SectionT = TypeVar("SectionT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-3` as a number (YAML 1.1 asks for `1.0e-3`)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML; `where` names it in the `ConfigurationError`."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise ConfigurationError(f"{where}: not valid YAML: {detail}") from error


def _apply_override(data: dict[str, Any], override: str) -> tuple[str, ...]:
    key, separator, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not separator or not all(path):
        raise ConfigurationError(
            f"override {override!r}: expected key=value, for example training.epochs=20"
        )
    node = data
    for part in path[:-1]:
        child = node.get(part)
        if child is None:
            child = node[part] = {}
        if not isinstance(child, dict):
            raise ConfigurationError(f"override {override!r}: {part!r} is a value, not a section")
        node = child
    node[path[-1]] = parse_yaml(text, f"override {override!r}")
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
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if not close:
        last = key.rpartition(".")[2]
        by_last = {name.rpartition(".")[2]: name for name in keys[::-1]}
        close = [by_last[m] for m in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
    return f"; the closest valid key is {close[0]!r}" if close else ""


def _related(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def describe_problem(
    error: pydantic.ValidationError, where: str, overridden: set[str], schema: type[BaseModel]
) -> str:
    """Return one line for the first problem, and how many there are.

    `overridden` are the keys given on the command line, which is then named instead of `where`.
    """
    first, keys = error.errors()[0], all_keys(schema)
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
        text = f"{source}: unknown key {key!r}{_closest_key(key, keys)}"
    elif first["type"] == "missing":
        text = f"{source}: missing key {key!r}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        given = json.dumps(first["input"], default=str)
        got = f"; got {given}" if len(given) < 80 else ""
        text = f"{source}: {key}: {message}{got}"
    more = error.error_count() - 1
    return text + (f" (and {more} more problem{'s' * (more > 1)})" if more else "")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read, override and validate the configuration of a run; see `load_section`."""
    data = read_yaml(path)
    if "ablation" in data:
        raise ConfigurationError(
            f"{path}: holds an ablation, not a run; start it with `python -m experiment ablate "
            f"{path}`"
        )
    return validated(data, overrides, Config, str(path))


def load_section(path: Path, overrides: Sequence[str], schema: type[SectionT]) -> SectionT:
    """Read, override and validate a configuration file of any schema.

    **Arguments:**

    - `path`: a YAML file, for example `configs/quickstart.yaml` or a run's `config.yaml`.
    - `overrides`: `section.key=value` strings; the value is read as YAML.
    - `schema`: what the file holds.

    **Returns:** the validated, frozen configuration.

    **Raises:** `ConfigurationError`, one line naming the file, the key, what was expected and
    the closest valid key.
    """
    return validated(read_yaml(path), overrides, schema, str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the sections of a YAML file.

    **Raises:** `ConfigurationError` if it cannot be read or holds no sections.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigurationError(
            f"{path}: cannot read the configuration: {reason}; "
            "`python -m experiment list` names the shipped ones"
        ) from error
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: expected sections (dataset, model, …), got {data!r:.60}")
    return data


def validated(
    data: dict[str, Any], overrides: Sequence[str], schema: type[SectionT], where: str
) -> SectionT:
    """Override what was read and validate it; `where` names it in errors. `data` is changed."""
    overridden = {".".join(_apply_override(data, override)) for override in overrides}
    try:
        # JSON mode: strict about types, yet lists become tuples and strings become paths.
        return schema.model_validate_json(json.dumps(data, default=str), strict=True)
    except pydantic.ValidationError as error:
        raise ConfigurationError(describe_problem(error, where, overridden, schema)) from error


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
