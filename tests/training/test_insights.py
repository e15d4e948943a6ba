"""Which insights are measured, gradients among them, and all as one program over seeds."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from flax import nnx

from hqnn_jax.backbones import Backbone
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.pure import Variables
from hqnn_jax.training import insights as module
from hqnn_jax.training.insights import Insights
from hqnn_jax.training.step import Examples
from tests.training.conftest import NUM_FEATURES, examples
from tests.training.insights import ALL, CLASS_WEIGHTS, KEY, ROWS, measure


def test_gradients_are_those_of_an_explicit_loop(setup):
    config, task, variables = setup(("gradients",))
    data = examples(70, seed=1)
    found = measure(config, task, variables, data)

    def loss(params, rows):
        arrays = Variables(params, variables.batch_stats)
        outputs = task.model.apply_training(arrays, data.inputs[rows], KEY)
        return task.loss(outputs.logits, data.labels[rows], CLASS_WEIGHTS)

    rows_key, _ = jax.random.split(jax.random.split(KEY)[0])
    gradient = jax.jit(jax.grad(loss))
    gradients = []
    for batch in range(module.NUM_BATCHES):
        rows = jax.random.choice(jax.random.fold_in(rows_key, batch), ROWS, (16,), replace=False)
        gradients.append(gradient(variables.params, rows))
    assert set(found) == {
        f"gradient_{kind}/{group}"
        for kind in ("norm", "variance")
        for group in ("circuit", "classical")
    }
    for group in ("circuit", "classical"):
        flat = np.stack(
            [
                np.concatenate(
                    [
                        np.ravel(leaf)
                        for part, tree in g.items()
                        if (part == "middle") == (group == "circuit")
                        for leaf in jax.tree.leaves(tree)
                    ]
                )
                for g in gradients
            ]
        ).astype(np.float64)
        norm = np.linalg.norm(flat.mean(axis=0))
        assert found[f"gradient_norm/{group}"] == pytest.approx(norm, rel=1e-4)
        variance = np.var(flat, axis=0, ddof=1).mean()
        assert found[f"gradient_variance/{group}"] == pytest.approx(variance, rel=1e-4)


def test_minibatches_are_drawn_from_the_rows_that_are_trained_on(setup):
    config, task, variables = setup(ALL)
    data = examples(70, seed=1)
    others = np.setdiff1d(np.arange(70), ROWS)
    spoiled = data._replace(inputs=data.inputs.at[others].set(jnp.nan))
    compiled = jax.jit(Insights.of(config, task).measure)
    found = compiled(variables, data, ROWS, CLASS_WEIGHTS, KEY)
    assert compiled(variables, spoiled, ROWS, CLASS_WEIGHTS, KEY) == found
    other_key = compiled(variables, data, ROWS, CLASS_WEIGHTS, jax.random.key(6))
    for name in ("gradient_norm/classical", "gradient_variance/circuit"):
        assert np.isfinite(found[name])
        assert other_key[name] != found[name]


def test_seeds_together_are_as_one_by_one_and_every_name_is_documented(setup):
    config, task, _ = setup(ALL)
    seeds = [setup(ALL, seed=seed)[2] for seed in (0, 7, 8)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    data = [examples(70, seed=1), examples(70, seed=3), examples(70, seed=4)]
    labels = jnp.stack([d.labels for d in data])
    rows = jnp.stack([ROWS, ROWS - 3, ROWS + 2])
    keys = jax.random.split(KEY, 3)
    insights = Insights.of(config, task)
    axes = (0, Examples(None, 0), 0, None, 0)
    shared = Examples(data[0].inputs, labels)
    together = jax.jit(jax.vmap(insights.measure, axes))(stacked, shared, rows, CLASS_WEIGHTS, keys)
    alone = jax.jit(insights.measure)
    for seed in range(3):
        own = Examples(data[0].inputs, labels[seed])
        found = alone(seeds[seed], own, rows[seed], CLASS_WEIGHTS, keys[seed])
        assert found.keys() == together.keys()
        for name, value in found.items():
            assert float(together[name][seed]) == pytest.approx(float(value), rel=2e-3, abs=1e-5)
    for name in together:
        pattern = re.sub(r"\d+$", "K", re.sub("/(circuit|classical)$", "/GROUP", name))
        assert f"`{pattern}`" in Insights.__doc__
    shares = {name: value for name, value in together.items() if "/degree_" in name}
    np.testing.assert_allclose(sum(shares.values()), 1, rtol=1e-5)


def test_what_is_measured_depends_on_the_middle(setup):
    def names(config, task, variables):
        insights = Insights.of(config, task)
        arguments = (variables, examples(70, seed=1), ROWS, CLASS_WEIGHTS, KEY)
        return set(jax.eval_shape(insights.measure, *arguments))

    classical = {"gradient_norm/classical", "gradient_variance/classical"}
    assert names(*setup(ALL, middle="matched")) == classical
    chosen = ("gradients", "expressibility")
    assert names(*setup(chosen, middle="frozen")) == {*classical, "expressibility"}
    circuit = {"gradient_norm/circuit", "gradient_variance/circuit"}
    assert names(*setup(chosen)) == {*classical, *circuit, "expressibility"}
    assert names(*setup(())) == set()


class Means(Backbone):
    """A backbone of one matrix on the mean colour."""

    num_features = NUM_FEATURES

    def __init__(self):
        self.linear = nnx.Linear(3, NUM_FEATURES, rngs=nnx.Rngs(params=jax.random.key(3)))

    def feature_maps(self, images):
        return self.linear(images)

    def pool(self, maps, rngs=None):
        return maps.mean(axis=(1, 2))


def test_backbones_have_gradients_too(setup):
    config, task, variables = setup(
        ("gradients",), backbone=Means(), augmentation={"brightness": 0.5}, batch_size=60
    )
    images = jax.random.randint(KEY, (70, 8, 8, 3), 0, 256).astype(jnp.uint8)
    found = measure(config, task, variables, Examples(images, examples(70, seed=1).labels))
    # Every batch has all examples, but each its own augmentation.
    variance = found["gradient_variance/backbone"] * 20
    assert variance / found["gradient_norm/backbone"] ** 2 > 1e-3


def test_insights_that_cannot_be_had(setup, own_circuit):
    large = {"name": "composed", "num_qubits": 13, "num_layers": 1}
    config, task, _ = setup(("gradients", "entangling_capability", "fourier_spectrum"), large)
    message = (
        r"^training\.insights: entangling_capability, fourier_spectrum: expected a circuit of at "
        "most 12 qubits, got 13; leave it out$"
    )
    with pytest.raises(ConfigurationError, match=message):
        Insights.of(config, task)
    assert Insights.of(*setup(("gradients",), large)[:2]).circuit is None
    with pytest.raises(ConfigurationError, match="effective_dimension: 8 training examples"):
        Insights.of(*setup(("effective_dimension",), batch_size=2)[:2])
    no_weights = own_circuit(lambda x, w: (qml.RY(x[0], 0), qml.expval(qml.Z(0)))[-1], 1, 1, 0)
    with pytest.raises(ConfigurationError, match=r"fourier_spectrum: circuit .* has no weights"):
        Insights.of(*setup(("fourier_spectrum",), no_weights)[:2])
