"""Shapes, parameter counts, modes and purely functional training of the backbones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hqnn_jax.backbones.cnn import FiveLayerCNN
from hqnn_jax.backbones.efficientnet import EfficientNetB0, MBConv, Stage
from hqnn_jax.errors import ConfigurationError


def parameter_count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def images(batch, size, channels=3, width=None):
    return jax.random.normal(jax.random.key(3), (batch, size, width or size, channels))


@pytest.mark.parametrize(("num_classes", "expected"), [(None, 4_007_548), (1000, 5_288_548)])
def test_efficientnet_has_the_published_parameter_count(num_classes, expected):
    module = nnx.eval_shape(lambda: EfficientNetB0(num_classes=num_classes, rngs=nnx.Rngs(0)))
    assert parameter_count(module) == expected


def test_efficientnet_takes_any_image_size_and_channel_number():
    module = nnx.eval_shape(lambda: EfficientNetB0(in_channels=1, rngs=nnx.Rngs(0)))
    for height, width in ((32, 45), (224, 224), (1, 3)):
        features = nnx.eval_shape(lambda m, x: m(x), module, jnp.zeros((2, height, width, 1)))
        assert features.shape == (2, module.num_features) == (2, 1280)


def test_cnn_has_the_published_layers():
    module = FiveLayerCNN(rngs=nnx.Rngs(0))
    kernels = 9 * (3 * 16 + 16 * 16 + 16 * 64 + 64 * 64 + 64 * 64)
    assert parameter_count(module) == kernels + 2 * (16 + 16 + 64 + 64 + 64)
    assert module.num_features == 4 * 4 * 64
    assert module(images(2, 28)).shape == (2, module.num_features)


@pytest.mark.parametrize("image_size", [16, 17, 40])
def test_cnn_counts_its_features_for_other_sizes(image_size):
    module = FiveLayerCNN(in_channels=1, image_size=image_size, rngs=nnx.Rngs(0))
    assert module(images(2, image_size, channels=1)).shape == (2, module.num_features)


def test_cnn_rejects_images_that_vanish():
    with pytest.raises(ConfigurationError, match="image_size is 15, expected at least 16"):
        FiveLayerCNN(image_size=15, rngs=nnx.Rngs(0))


def test_cnn_methods_agree():
    library, patches = (
        FiveLayerCNN(method=method, rngs=nnx.Rngs(0)) for method in ("lax", "patches")
    )
    np.testing.assert_allclose(library(images(3, 28)), patches(images(3, 28)), rtol=1e-3, atol=1e-4)


def make_step(graph, learning_rate=0.05):
    """One SGD step towards fixed targets, on pytrees only."""

    def step(params, statistics, x, targets):
        def loss(params):
            module = nnx.merge(graph, params, statistics, copy=True)
            error = module(x)[:, :5] - targets
            return jnp.square(error).mean(), nnx.state(module, nnx.BatchStat)

        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        params = jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient)
        return params, statistics, value

    return step


def test_cnn_trains_under_jit_and_records_statistics():
    module = FiveLayerCNN(image_size=16, rngs=nnx.Rngs(0))
    graph, params, statistics = nnx.split(module, nnx.Param, nnx.BatchStat)
    x, targets = images(8, 16), jnp.ones((8, 5))
    step = jax.jit(make_step(graph))
    initial, losses = statistics, []
    for _ in range(5):
        params, statistics, loss = step(params, statistics, x, targets)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    for before, after in zip(jax.tree.leaves(initial), jax.tree.leaves(statistics), strict=True):
        assert not np.allclose(before, after)
    trained = nnx.merge(graph, params, statistics)
    trained.eval()
    # In evaluation mode the features of an image do not depend on its neighbours.
    np.testing.assert_allclose(trained(x)[:2], trained(x[:2]), rtol=1e-4, atol=1e-5)


def test_cnn_training_under_vmap_over_seeds_equals_loop():
    def split(key):
        module = FiveLayerCNN(image_size=16, method="patches", rngs=nnx.Rngs(key))
        return nnx.split(module, nnx.Param, nnx.BatchStat)

    keys = jax.random.split(jax.random.key(5), 3)
    graph = split(keys[0])[0]
    states = [split(key)[1:] for key in keys]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    x, targets = images(6, 16), jnp.ones((6, 5))
    step = make_step(graph)
    together = jax.jit(jax.vmap(step, in_axes=(0, 0, None, None)))(*stacked, x, targets)
    one_by_one = [step(*state, x, targets) for state in states]
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), together, looped
    )


@pytest.mark.parametrize("expansion", [1, 6])
def test_block_gradient_reaches_every_parameter(expansion):
    stage = Stage(repeats=1, expansion=expansion, out_features=8, kernel_size=5, stride=2)
    block = MBConv(8, stage, 1, dtype=jnp.float32, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(block, nnx.Param, ...)
    x = images(3, 6, channels=8, width=9)
    weights = jax.random.normal(jax.random.key(1), x.shape)

    def loss(params):
        return (weights * nnx.merge(graph, params, rest, copy=True)(x)).sum()

    gradient = nnx.to_flat_state(jax.jit(jax.grad(loss))(params))
    assert len(gradient) == (13 if expansion == 6 else 10)
    assert [path for path, leaf in gradient if not np.any(leaf[...])] == []


def test_residual_block_adds_its_input_and_a_strided_one_does_not():
    stage = Stage(repeats=1, expansion=1, out_features=4, kernel_size=3, stride=2)
    x = images(2, 6, channels=4, width=9)
    for stride, expected in ((1, x), (2, jnp.zeros((2, 3, 5, 4)))):
        block = MBConv(4, stage, stride, dtype=jnp.float32, rngs=nnx.Rngs(0))
        block.project_norm.scale[...] = jnp.zeros(4)
        np.testing.assert_array_equal(block(x), expected)
