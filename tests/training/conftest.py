"""A small task on features, so that training itself is tested without convolutions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.backbones.checkpoint_layout import ImageNormalization
from hqnn_jax.config import ModelConfig, TrainingConfig
from hqnn_jax.models.classifier import HybridClassifier
from hqnn_jax.models.groups import parameter_groups
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.program import TrainingData
from hqnn_jax.training.state import TrainState, initial_state
from hqnn_jax.training.step import Examples, Preprocessing, Task

NUM_FEATURES, NUM_CLASSES = 5, 3
MODEL = {
    "backbone": {"name": "compact"},
    "processor": {"widths": [7], "dropout": 0.1},
    "circuit": {"name": "radhi2025", "num_qubits": 4, "num_layers": 2},
}


@dataclasses.dataclass(frozen=True)
class SmallStudy:
    task: Task
    state: TrainState
    data: TrainingData


def examples(count: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, NUM_CLASSES, count).astype(np.int32)
    centres = np.array([[2, 0, 0, 0, -1], [0, 2, 0, 1, 0], [0, 0, 2, 0, 1]], np.float32)
    inputs = centres[labels] + rng.normal(0, 0.5, (count, NUM_FEATURES)).astype(np.float32)
    return Examples(jnp.asarray(inputs), jnp.asarray(labels))


@pytest.fixture
def small_study():
    """Return `make(seed=0, **training)`: a task on 70 examples of 5 features in 3 classes."""

    def make(seed: int = 0, **training) -> SmallStudy:
        options = TrainingConfig(**{"epochs": 3, "batch_size": 16, **training})
        module = HybridClassifier(
            ModelConfig(**MODEL),
            backbone=None,
            num_features=NUM_FEATURES,
            num_classes=NUM_CLASSES,
            key=jax.random.key(seed),
        )
        model, variables = Model.split(module)
        steps = 70 // options.batch_size
        labels = parameter_groups(variables.params, "quantum")
        task = Task(
            model=model,
            preprocessing=Preprocessing(28, 3, ImageNormalization((0.5,), (0.5,))),
            training=options,
            optimizer=make_optimizer(options, labels, steps),
            plateau=make_plateau(options),
            schedule=make_schedule(options, steps),
            steps_per_epoch=steps,
        )
        state = initial_state(
            variables,
            task.optimizer,
            task.plateau,
            jax.random.key(seed + 1),
            keep_average=options.average_decay > 0,
        )
        data = TrainingData(
            examples(70, seed=1),
            jnp.arange(70),
            examples(23, seed=2),
            jnp.asarray([1.0, 2.0, 0.5]),
        )
        return SmallStudy(task, state, data)

    return make


def plain_leaves(tree) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree by path, random keys as their data."""
    return {
        jax.tree_util.keystr(path): np.asarray(
            jax.random.key_data(leaf)
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def assert_same(left, right) -> None:
    """Assert that two pytrees are equal bit for bit."""
    left, right = plain_leaves(left), plain_leaves(right)
    assert left.keys() == right.keys()
    for path, leaf in left.items():
        np.testing.assert_array_equal(leaf, right[path], err_msg=path)


def norm_of_difference(left: Variables, right: Variables) -> float:
    """Return the Euclidean distance between two sets of parameters."""
    differences = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), left.params, right.params)
    return float(jnp.sqrt(sum(jax.tree.leaves(differences))))
