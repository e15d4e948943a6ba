"""A small task on features, so that training itself is tested without convolutions."""

import dataclasses
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.circuits import Circuit
from hqnn_jax.config import Config, ModelConfig, TrainingConfig
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.program import TrainingData
from hqnn_jax.training.state import TrainState, initial_state
from hqnn_jax.training.step import Examples, Task
from tests.training.tasks import make_task

NUM_FEATURES, NUM_CLASSES = 5, 3
CIRCUIT = {"name": "strongly_entangling", "num_qubits": 3, "num_layers": 2}
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
        module = HybridNetwork(
            ModelConfig(**MODEL),
            backbone=None,
            num_features=NUM_FEATURES,
            num_classes=NUM_CLASSES,
            key=jax.random.key(seed),
        )
        model, variables = Model.split(module)
        steps = 70 // options.batch_size
        task = make_task(model, variables, options, steps=steps)
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


@pytest.fixture
def setup():
    """Return `make(insights, circuit, middle, seed, ...)` -> (config, task, variables)."""

    def make(names, circuit=CIRCUIT, middle="quantum", seed=0, backbone=None, **training):
        training = {"batch_size": 16, "label_smoothing": 0.1, "insights": names, **training}
        config = Config(
            model={
                "backbone": {"name": "compact"},
                "processor": {"widths": [7]},
                "circuit": circuit,
                "middle": middle,
            },
            training=training,
        )
        model, variables = Model.split(
            HybridNetwork(
                config.model,
                backbone=backbone,
                num_features=NUM_FEATURES,
                num_classes=NUM_CLASSES,
                key=jax.random.key(seed),
            )
        )
        task = make_task(model, variables, config.training, middle=middle, steps=4, resolution=8)
        return config, task, variables

    return make


@pytest.fixture
def own_circuit(monkeypatch):
    """Return `use(function, num_qubits, num_features, num_weights)` -> its configuration."""

    def use(function, num_qubits, num_features, num_weights):
        def factory(num_qubits, num_layers):
            del num_layers
            return Circuit.from_function(
                function,
                num_qubits=num_qubits,
                num_features=num_features,
                weights_shape=(num_weights,),
            )

        monkeypatch.setitem(sys.modules, "circuits_of_tests", SimpleNamespace(own=factory))
        return {"name": "circuits_of_tests:own", "num_qubits": num_qubits}

    return use


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
