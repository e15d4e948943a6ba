"""What a program is trained on, from a model that is split."""

from hqnn_jax.backbones.checkpoint_layout import ImageNormalization
from hqnn_jax.config import TrainingConfig
from hqnn_jax.models.groups import parameter_groups
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.step import Preprocessing, Task


def make_task(
    model: Model,
    variables: Variables,
    options: TrainingConfig,
    *,
    middle: str = "quantum",
    steps: int,
    resolution: int = 28,
) -> Task:
    """Return the task of training a model for `steps` steps an epoch."""
    labels = parameter_groups(variables.params, middle)
    return Task(
        model=model,
        preprocessing=Preprocessing(resolution, 3, ImageNormalization((0.5,), (0.5,))),
        training=options,
        optimizer=make_optimizer(options, labels, steps),
        plateau=make_plateau(options),
        schedule=make_schedule(options, steps),
        steps_per_epoch=steps,
    )
