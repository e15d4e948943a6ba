"""Shapes, parameter counts, modes and purely functional training of the backbones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hqnn_jax.backbones import vgg
from hqnn_jax.backbones.cnn import FiveLayerCNN
from hqnn_jax.backbones.compact import CompactResNet
from hqnn_jax.backbones.efficientnet import EfficientNetB0, MBConv, StageShape
from hqnn_jax.backbones.lean import LeanCNN, LeanHybridFrontEnd
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.backbones.vgg import VGG16
from hqnn_jax.config import ModelConfig
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.groups import count_parameters, parameter_groups
from hqnn_jax.models.pure import Model


def parameter_count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def images(batch, size, channels=3, width=None):
    return jax.random.normal(jax.random.key(3), (batch, size, width or size, channels))


def abstract(architecture, **options):
    return nnx.eval_shape(lambda: architecture(**options, rngs=nnx.Rngs(0)))


def filled(module):
    """An abstract module with random values, without the compilation of its initialisers."""
    generator = np.random.default_rng(0)
    graph, params, statistics = nnx.split(module, nnx.Param, nnx.BatchStat)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(size=leaf.shape, scale=0.2), leaf.dtype), params
    )
    statistics = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), statistics)
    return nnx.merge(graph, params, statistics)


@pytest.mark.parametrize(
    ("architecture", "options", "expected"),
    [
        (EfficientNetB0, {}, 4_007_548),
        (EfficientNetB0, {"num_classes": 1000}, 5_288_548),
        (ResNet, {"depth": 18, "num_classes": 1000}, 11_689_512),
        (ResNet, {"depth": 18, "num_classes": 6}, 11_179_590),
        (ResNet, {"depth": 50, "num_classes": 1000}, 25_557_032),
        (ResNet, {"depth": 50, "variant": "v1", "num_classes": 1000}, 25_557_032),
        (VGG16, {"num_classes": 1000}, 138_357_544),
        (VGG16, {"num_classes": 6}, 134_285_126),
    ],
)
def test_published_parameter_counts(architecture, options, expected):
    assert parameter_count(abstract(architecture, **options)) == expected


PLAIN = {"middle": "none", "feature_selection": "all", "feature_scaling": "none"}
HYBRID = {
    "circuit": {"name": "lean2025", "num_qubits": 4, "num_layers": 4},
    "feature_scaling": "standardised_tanh",
}


@pytest.mark.parametrize(
    ("name", "make", "options", "expected"),
    [
        ("lean_hybrid", partial(abstract, LeanHybridFrontEnd), HYBRID, 40_974),
        ("lean_cnn", partial(abstract, LeanCNN), PLAIN, 532_030),
        ("resnet18", partial(abstract, ResNet, depth=18), PLAIN, 11_179_590),
        ("vgg16", partial(abstract, VGG16), PLAIN, 134_285_126),
    ],
    ids=["lean_hybrid", "lean_cnn", "resnet18", "vgg16"],
)
def test_whole_models_of_lean2025_have_its_parameter_counts(name, make, options, expected):
    backbone = make()
    config = ModelConfig(backbone={"name": name}, processor={"widths": []}, **options)
    module = HybridNetwork(
        config,
        backbone=backbone,
        num_features=backbone.num_features,
        num_classes=6,
        key=jax.random.key(0),
    )
    _, variables = Model.split(module)
    counts = count_parameters(variables.params, config.middle)
    assert counts["total"] == expected
    assert counts["circuit"] == (48 if name == "lean_hybrid" else 0)
    groups = parameter_groups(variables.params, config.middle)
    assert set(jax.tree.leaves(groups["backbone"])) == {"backbone"}


@pytest.mark.parametrize(
    ("architecture", "options", "size", "maps"),
    [
        (CompactResNet, {}, 28, (7, 7, 128)),
        (FiveLayerCNN, {}, 28, (8, 8, 64)),
        (LeanCNN, {"in_channels": 3}, 64, (16, 16, 32)),
        (LeanHybridFrontEnd, {"in_channels": 3}, 64, (8, 8, 64)),
        (ResNet, {"depth": 18}, 64, (2, 2, 512)),
        (ResNet, {"depth": 50, "dtype": jnp.bfloat16}, 64, (2, 2, 2048)),
        (VGG16, {"dtype": jnp.bfloat16}, 224, (14, 14, 512)),
        (EfficientNetB0, {}, 224, (7, 7, 1280)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_feature_maps_and_features_have_their_shapes(architecture, options, size, maps):
    module = abstract(architecture, **options)
    module.eval()
    x = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    found = nnx.eval_shape(lambda m, x: m.feature_maps(x), module, x)
    assert found.shape == (2, *maps)
    assert found.dtype == module.dtype
    features = nnx.eval_shape(lambda m, x: m.pool(x), module, found)
    assert (features.shape, features.dtype) == ((2, module.num_features), jnp.float32)


@pytest.mark.parametrize("architecture", [FiveLayerCNN, LeanCNN, LeanHybridFrontEnd])
def test_a_call_pools_the_feature_maps(architecture):
    module = filled(abstract(architecture, in_channels=3, image_size=16))
    module.eval()
    graph, state = nnx.split(module)

    @jax.jit
    def evaluate(state, x):
        module = nnx.merge(graph, state)
        maps = module.feature_maps(x)
        return maps, module.pool(maps), module.pool(maps.at[0].multiply(2)), module(x)

    maps, pooled, changed, features = evaluate(state, images(2, 16))
    assert float(maps.min()) == 0  # after the ReLU
    np.testing.assert_allclose(pooled, features, rtol=1e-5, atol=1e-6)
    assert not np.allclose(changed[0], pooled[0])
    np.testing.assert_allclose(changed[1], pooled[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("variant", "strides"), [("v1", [2, 1, 1]), ("v1.5", [1, 2, 1])])
def test_resnet50_variants_differ_in_where_the_stride_is(variant, strides):
    stages = abstract(ResNet, depth=50, variant=variant).stages
    assert [layer.stride for layer in stages[1][0].convolutions] == strides
    assert [layer.stride for layer in stages[1][1].convolutions] == [1, 1, 1]
    assert stages[0][0].shortcut.stride == 1
    assert stages[3][0].shortcut.stride == 2


def test_vgg_refuses_images_that_vanish():
    with pytest.raises(ConfigurationError, match=r"28x31 pixels vanish.*at least 32"):
        nnx.eval_shape(lambda m, x: m(x), abstract(VGG16), jnp.zeros((2, 28, 31, 3)))


@pytest.fixture
def narrow_vgg(monkeypatch):
    """A VGG-16 with few channels."""
    monkeypatch.setattr(vgg, "STAGES", ((3, 4), (5, 4), (6, 5, 4), (4, 5, 6), (6, 5, 7)))
    monkeypatch.setattr(vgg, "_HIDDEN_FEATURES", 24)
    return filled(abstract(VGG16))


def test_vgg_drops_features_in_training_through_the_whole_model(narrow_vgg):
    config = ModelConfig(backbone={"name": "vgg16"}, processor={"widths": []}, **PLAIN)
    model, variables = Model.split(
        HybridNetwork(
            config, backbone=narrow_vgg, num_features=24, num_classes=3, key=jax.random.key(0)
        )
    )
    x = images(2, 32)
    train = jax.jit(model.apply_training)
    one, two, again = (train(variables, x, jax.random.key(k)).representation for k in (0, 1, 0))
    evaluated = jax.jit(model.apply)(variables, x)
    assert evaluated.shape == (2, 3)
    assert np.any(one != two)
    np.testing.assert_array_equal(one, again)
    # Half of the features are dropped, of which those below zero were zero anyway.
    dropped = [float((features == 0).mean()) for features in (one, two)]
    assert all(0.5 < share < 0.95 for share in dropped)


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
    for lean in (LeanCNN, LeanHybridFrontEnd):
        with pytest.raises(ConfigurationError, match="image_size is 7, expected at least 8"):
            lean(image_size=7, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("lean", [LeanCNN, LeanHybridFrontEnd])
def test_lean_cnns_count_their_features_for_other_sizes(lean):
    module = abstract(lean, image_size=37)
    features = nnx.eval_shape(lambda m, x: m(x), module, jnp.zeros((2, 37, 37, 1)))
    assert features.shape == (2, module.num_features)


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
    step = jax.jit(step)
    one_by_one = [step(*state, x, targets) for state in states]
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), together, looped
    )


@pytest.mark.parametrize("expansion", [1, 6])
def test_block_gradient_reaches_every_parameter(expansion):
    stage = StageShape(repeats=1, expansion=expansion, out_features=8, kernel_size=5, stride=2)
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
    stage = StageShape(repeats=1, expansion=1, out_features=4, kernel_size=3, stride=2)
    x = images(2, 6, channels=4, width=9)
    for stride, expected in ((1, x), (2, jnp.zeros((2, 3, 5, 4)))):
        block = MBConv(4, stage, stride, dtype=jnp.float32, rngs=nnx.Rngs(0))
        block.project_norm.scale[...] = jnp.zeros(4)
        np.testing.assert_array_equal(block(x), expected)
