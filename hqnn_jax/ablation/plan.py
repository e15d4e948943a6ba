"""The plan of an ablation: every arm with its configuration and reference, checked beforehand."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic
from pydantic import JsonValue  # noqa: F401 - the run-time check of Settings looks it up here

from hqnn_jax.ablation.axes import settings_of, updated, written
from hqnn_jax.ablation.config import AblationConfig, AblationFile, Settings
from hqnn_jax.config import Config
from hqnn_jax.config.loading import describe_problem
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.files import content_key

FORMAT = 1
"""Raised whenever cells written before would not be what the same configuration gives now."""
_NOT_OF_A_CELL: Any = {
    "dataset": {"data_dir": True, "card": True},
    "evaluation": {
        "paper": True,
        "metrics": True,
        "bootstrap_samples": True,
        "explained_images": True,
        "cross_datasets": True,
    },
    "seed": True,
    "seeds": True,
}
"""Keys on which what a cell stores does not depend."""


@dataclass(frozen=True)
class Arm:
    """One arm of an ablation.

    Attributes:
        name: unique and fit for a file name.
        label: how tables call it.
        settings: axis -> its value as written in tables; empty for arms that were listed.
        config: the whole configuration of its runs.
        reference: name of the arm it is compared with, None for a reference.
    """

    name: str
    label: str
    settings: Mapping[str, str]
    config: Config
    reference: str | None = None

    # Cached: the weights a backbone starts from are read to be hashed.
    @functools.cached_property
    def key(self) -> str:
        """Name of its cells: a hash of the configuration and of the weights it starts from."""
        return _hash(self.config.model_dump(mode="json", exclude=_NOT_OF_A_CELL), self.config)

    @functools.cached_property
    def training_key(self) -> str:
        """Arms of one training key are the same model, evaluated under different conditions."""
        excluded = {**_NOT_OF_A_CELL, "evaluation": {"noise": True, "shots": True}}
        return _hash(self.config.model_dump(mode="json", exclude=excluded), self.config)


@dataclass(frozen=True)
class Plan:
    """All arms of an ablation, ready to run.

    Attributes:
        name: of the study.
        file: the configuration.
        axes: axis -> its values as written in tables.
        arms: in order, references among them.
    """

    name: str
    file: AblationFile
    axes: Mapping[str, tuple[str, ...]]
    arms: tuple[Arm, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every arm."""
        return self.file.seed_values()

    @classmethod
    def of(cls, name: str, file: AblationFile) -> Plan:
        """Lay out the arms and check each of them; nothing runs.

        Raises:
            ConfigurationError: one line: an axis, a value or a reference that does not exist, two
                arms that are the same, too few seeds for tests, a model that cannot be built (for
                example a circuit no classical layer matches).
        """
        ablation = file.ablation
        arms, axes = _listed_arms(file) if ablation.arms else _arms_of_axes(file)
        if ablation.tests and file.seeds < 2:
            raise ConfigurationError(
                f"ablation: tests need at least 2 seeds, got seeds={file.seeds}; set seeds=10, or "
                "ablation.tests=false for means alone"
            )
        _require_different(arms)
        _require_one_class(arms)
        arms = _with_references(arms, ablation, axes)
        _check_models(arms)
        return cls(name, file, axes, tuple(arms))


def _listed_arms(file: AblationFile) -> tuple[list[Arm], dict[str, tuple[str, ...]]]:
    listed = file.ablation.arms.items()
    return [_arm(file, label, {}, _resolved(settings)) for label, settings in listed], {}


def _arms_of_axes(file: AblationFile) -> tuple[list[Arm], dict[str, tuple[str, ...]]]:
    axes = {axis: _values(axis, values) for axis, values in file.ablation.axes.items()}
    arms = []
    for chosen in _combinations(axes, file.ablation):
        labels = dict(zip(axes, chosen, strict=True))
        settings: Settings = {}
        for axis, label in labels.items():
            settings.update(axes[axis][label])
        # The names of middles speak for themselves.
        label = ", ".join(v if axis == "middle" else f"{axis} {v}" for axis, v in labels.items())
        arms.append(_arm(file, label, labels, settings))
    return arms, {axis: tuple(values) for axis, values in axes.items()}


def _values(axis: str, values: Any) -> dict[str, Settings]:
    """Return the values of an axis as written -> settings."""
    if isinstance(values, Mapping):
        return {label: _resolved(settings) for label, settings in values.items()}
    found: dict[str, Settings] = {}
    for value in values:
        label = written(value)
        if label in found:
            raise ConfigurationError(f"ablation: axis {axis} has the value {label} twice")
        found[label] = settings_of(axis, value)
    return found


def _resolved(settings: Settings) -> Settings:
    """Return settings of axes and keys as those of keys alone."""
    return {k: v for axis, value in settings.items() for k, v in settings_of(axis, value).items()}


def _combinations(
    axes: Mapping[str, Mapping[str, Settings]], ablation: AblationConfig
) -> list[tuple[str, ...]]:
    if ablation.design == "grid":
        return list(itertools.product(*axes.values()))
    base = tuple(next(iter(values)) for values in axes.values())
    others = [
        (*base[:place], value, *base[place + 1 :])
        for place, values in enumerate(axes.values())
        for value in list(values)[1:]
    ]
    return [base, *others]


def _arm(file: AblationFile, label: str, axes: Mapping[str, str], keys: Settings) -> Arm:
    """Return an arm, its configuration that of the file with some keys changed."""
    # Only what the file says: defaults may depend on what an arm changes.
    data = file.model_dump(mode="json", exclude={"ablation"}, exclude_unset=True)
    try:
        config = Config.model_validate_json(json.dumps(updated(data, keys)), strict=True)
    except pydantic.ValidationError as error:
        raise ConfigurationError(
            describe_problem(error.errors(), f"ablation: arm {label!r}", set(), Config)
        ) from error
    name = re.sub(r"[^A-Za-z0-9.]+", "_", label).strip("_") or "arm"
    return Arm(name, label, axes, config)


def _require_different(arms: Sequence[Arm]) -> None:
    keys: dict[str, Arm] = {}
    names: dict[str, Arm] = {}
    for arm in arms:
        same = keys.setdefault(arm.key, arm)
        if same is not arm:
            raise ConfigurationError(
                f"ablation: the arms {same.label!r} and {arm.label!r} are the same configuration; "
                "remove one"
            )
        same = names.setdefault(arm.name.lower(), arm)
        if same is not arm:
            raise ConfigurationError(
                f"ablation: the arms {same.label!r} and {arm.label!r} have the same name "
                f"{arm.name!r}; rename one"
            )


def _require_one_class(arms: Sequence[Arm]) -> None:
    for arm in arms:
        if arm.config.dataset.task_name == "multilabel":
            raise ConfigurationError(
                f"ablation: arm {arm.label!r}: {arm.config.dataset.name} has several labels an "
                "image; expected a set of one class an image"
            )


def _with_references(
    arms: Sequence[Arm], ablation: AblationConfig, axes: Mapping[str, Sequence[str]]
) -> list[Arm]:
    """Give every arm the reference it is compared with."""
    reference = ablation.reference
    if isinstance(reference, Mapping):
        return [replace(arm, reference=_agreeing(arm, reference, arms, axes)) for arm in arms]
    labels = [arm.label for arm in arms]
    if reference is not None and reference not in labels:
        close = ", ".join(repr(label) for label in labels[:12])
        raise ConfigurationError(
            f"ablation.reference: no arm {reference!r}; expected one of: {close}"
            + ("" if len(labels) <= 12 else ", …")
        )
    base = arms[0] if reference is None else arms[labels.index(reference)]
    return [replace(arm, reference=None if arm is base else base.name) for arm in arms]


def _agreeing(
    arm: Arm, reference: Settings, arms: Sequence[Arm], axes: Mapping[str, Sequence[str]]
) -> str | None:
    """Return the arm that differs from this one only in the axes of the reference."""
    wanted = {**arm.settings, **{axis: written(value) for axis, value in reference.items()}}
    for axis in reference:
        if axis not in axes:
            raise ConfigurationError(
                f"ablation.reference: no axis {axis!r}; expected one of: {', '.join(axes)}"
            )
        if wanted[axis] not in axes[axis]:
            raise ConfigurationError(
                f"ablation.reference: axis {axis} has no value {wanted[axis]}; expected one of: "
                f"{', '.join(axes[axis])}"
            )
    found = [other for other in arms if other.settings == wanted]
    if not found:
        raise ConfigurationError(
            f"ablation.reference: no arm agrees with {arm.label!r} on all other axes; name one arm"
        )
    return None if found[0] is arm else found[0].name


def _check_models(arms: Sequence[Arm]) -> None:
    """Build every model once, without computing anything."""
    # What can be refused without JAX is refused before its import, which takes seconds.
    from hqnn_jax.runs.own_checks import check_imports
    from hqnn_jax.runs.setup import check_model

    checked = set()
    for arm in arms:
        model = arm.config.model
        described = model.model_dump_json(exclude={"backbone"})
        try:
            check_imports(arm.config)
            if described not in checked:
                check_model(model)
                checked.add(described)
        except ConfigurationError as error:
            raise ConfigurationError(f"ablation: arm {arm.label!r}: {error}") from error


def _hash(described: Mapping[str, Any], config: Config) -> str:
    weights: str | int | None = _weights(config)
    if weights is None and config.model.backbone.frozen:
        weights = config.seed  # drawn from the first seed, the same for all
    return content_key({"format": FORMAT, **described, "weights": weights})


def _weights(config: Config) -> str | None:
    """Return a digest of the files a backbone is loaded from; None where there is none here.

    For the backbone of a run it takes the place of a digest of the checkpoint. `metrics.json` has
    times in it, and is written anew by `evaluate`: cells on that backbone are then computed again,
    though its weights are the same. Hashing the checkpoint's own digests instead would mend that,
    and give the cells of every store on such a backbone another name: it is for the next `FORMAT`.
    """
    backbone = config.model.backbone
    if backbone.from_run is not None:
        paths = [backbone.from_run / name for name in ("config.yaml", "metrics.json")]
    else:
        paths = [Path(backbone.pretrained)] if backbone.pretrained is not None else []
    digest = hashlib.sha256()
    existing = [path for path in paths if path.is_file()]
    for path in existing:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest() if existing else None
