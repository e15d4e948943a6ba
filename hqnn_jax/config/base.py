"""What every section of a configuration shares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hqnn_jax.config.yaml_text import dump_yaml
from hqnn_jax.text import did_you_mean

T = TypeVar("T")
PathT = TypeVar("PathT", str, Path)
_FLOAT32_SMALLEST, _FLOAT32_LARGEST = 2.0**-126, (2 - 2**-23) * 2.0**127


def _in_float32(value: float) -> float:
    if value != 0 and not _FLOAT32_SMALLEST <= value <= _FLOAT32_LARGEST:
        raise ValueError(
            f"expected a number that float32 can hold: {_FLOAT32_SMALLEST:.3g} to "
            f"{_FLOAT32_LARGEST:.3g}"
        )
    return value


# Training counts in float32 and int32: what these cannot hold would be 0, 1 or infinite there.
Positive = Annotated[float, Field(gt=0.0), AfterValidator(_in_float32)]
NotNegative = Annotated[float, Field(ge=0.0), AfterValidator(_in_float32)]
Probability = Annotated[float, Field(ge=0.0, le=1 - 2**-24)]
Patience = Annotated[int, Field(ge=1, lt=2**31)]
Width = Annotated[int, Field(ge=1, le=65536)]


def _possible_name(value: PathT) -> PathT:
    name = str(value)
    if "\0" in name:
        raise ValueError("no path holds the character NUL")
    if len(name.encode()) >= 4096 or any(len(part.encode()) > 255 for part in name.split("/")):
        raise ValueError("a path or the name of a file in it is too long")
    return value


AnyPath = Annotated[Path, AfterValidator(_possible_name)]
PathOrName = Annotated[str, AfterValidator(_possible_name)]


class ConfigSection(BaseModel):
    """A frozen section that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    def to_yaml(self) -> str:
        """Return the resolved section as YAML that is read as the same again; see `added`."""
        return dump_yaml(self.model_dump(mode="json"))


def added(default: Any) -> Any:
    """Return the default of a key that came when there were stored results without it.

    It is left out of what is written while it has its default: hashes of cells, descriptions of
    checkpoints and stored configurations then are those without the key.
    """
    return Field(default, exclude_if=lambda value: value == default)


def import_path(value: str) -> str:
    """Return `value` if it can be an import path, `package.module:name`."""
    module, separator, name = value.partition(":")
    if not (separator and name.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        raise ValueError("expected the import path of a function, package.module:function")
    return value


def known_or_own(value: str, names: Sequence[str]) -> str:
    """Return `value` if it is one of `names`, or the import path of a part of the user's own."""
    return value if ":" in value else known(value, names)


def known(value: str, names: Sequence[str]) -> str:
    """Return `value` if it is one of `names`; the ValueError names the closest one."""
    if value not in names:
        raise ValueError(f"{did_you_mean(value, names)}expected one of: {', '.join(names)}")
    return value


def known_part(value: T, names: Sequence[str]) -> T:
    """Return `value` as `known` does, or unchanged where it is no name (null)."""
    if isinstance(value, str):
        known(value, names)
    return value
