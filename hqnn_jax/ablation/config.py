"""Which arms an ablation compares, against which reference, and by which metric."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticKnownError

from hqnn_jax.config import Config
from hqnn_jax.config.base import ConfigSection

Settings = dict[str, JsonValue]
"""Named axis or configuration key -> value."""


def _compared(metric: Any) -> Any:
    # Only a metric that is given needs it: what is wrong elsewhere need not wait for scikit-learn.
    from hqnn_jax.evaluation.metrics import COMPARED_METRICS

    if metric not in COMPARED_METRICS:
        *names, last = map(repr, COMPARED_METRICS)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(names)} or {last}"})
    return metric


class AblationConfig(ConfigSection):
    """Arms of an ablation: a design over named axes, or a list of arms.

    An axis is one of `hqnn_jax.ablation.axes.AXES` or any configuration key.
    """

    design: Literal["grid", "one_at_a_time"] = "grid"
    """`grid`: all combinations; `one_at_a_time`: the first values, and each other value of one axis
    with the first values of all others."""
    axes: dict[str, tuple[JsonValue, ...] | dict[str, Settings]] = Field(default={})
    """Axis -> its values, or label -> the settings that make up that value."""
    arms: dict[str, Settings] = Field(default={})
    """Label -> settings; instead of axes."""
    reference: str | Settings | None = None
    """The arm all others are compared with: its label, or its value on some axes (then each arm is
    compared with the one that agrees with it on all other axes); null for the first arm."""
    metric: Annotated[str, BeforeValidator(_compared), Field(validate_default=False)] = "accuracy"
    """What is compared, on the test split."""
    tests: bool = True
    """Whether differences are tested; it takes at least two seeds."""
    level: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Confidence level of all intervals; tests are at 1 - level."""

    @model_validator(mode="after")
    def _axes_or_arms(self) -> AblationConfig:
        if bool(self.axes) == bool(self.arms):
            raise ValueError("expected axes or arms, one of them and not empty")
        empty = [name for name, values in self.axes.items() if not values]
        if empty:
            raise ValueError(f"axes.{empty[0]}: expected at least one value")
        return self


class AblationFile(Config):
    """A run's configuration with the ablation that varies it."""

    ablation: AblationConfig

    def base(self) -> Config:
        """Return the configuration every arm starts from."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude={"ablation"})
        return Config.model_validate(data)
