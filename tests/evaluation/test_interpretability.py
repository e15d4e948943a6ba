"""Grad-CAM and integrated gradients, on networks whose answer is known and on every backbone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.config import BACKBONE_NAMES, BackboneConfig, ModelConfig
from hqnn_jax.evaluation import interpretability
from hqnn_jax.evaluation.interpretability import (
    choose_images,
    cut_at_maps,
    explain,
    grad_cam,
    integrated_gradients,
    mean_colour,
)
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.pure import Model

# The sizes at which each network leaves maps of more than one position, and the slow to compile.
SIZES = {"compact": 20, "five_layer_cnn": 20, "lean_cnn": 32, "lean_hybrid": 32}
HEAVY = {"resnet18", "resnet50", "resnet50_v1", "vgg16", "efficientnet_b0"}


def draw(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def region_logits(maps):
    """Class 0 reads channel 0 in rows 0-1 and columns 3-5, class 1 channel 1 in the last row."""
    first = maps[:, :2, 3:6, 0].sum((1, 2))
    second = 2.0 * maps[:, -1, :, 1].sum(1) - maps[:, -1, :, 0].sum(1)
    return jnp.stack([first, second], axis=-1)


def test_grad_cam_is_the_formula_on_a_linear_network():
    """The gradient of a sum over a region is known, so the map can be written down."""
    maps = draw(3, 4, 7, 2)
    labels = jnp.array([0, 1, 1])
    cams = np.asarray(grad_cam(region_logits, maps, labels))
    maps = np.asarray(maps)
    weights = {0: (6 / 28, 0.0), 1: (-7 / 28, 14 / 28)}
    for image, label in enumerate(labels.tolist()):
        first, second = weights[label]
        expected = first * maps[image, ..., 0] + second * maps[image, ..., 1]
        np.testing.assert_allclose(cams[image], np.maximum(expected, 0), atol=1e-6)


def test_grad_cam_points_at_the_object_of_the_class():
    """Channel k lights up where object k is; the class that counts it is explained by its place."""
    maps = np.zeros((2, 5, 8, 2), np.float32)
    maps[:, 1, 6, 0] = 3.0
    maps[:, 4, 2, 1] = 2.0

    def logits(maps):
        return jax.nn.relu(maps).mean((1, 2)) @ jnp.array([[1.0, -1.0], [-0.5, 2.0]])

    cams = np.asarray(grad_cam(logits, jnp.asarray(maps), jnp.array([0, 1])))
    for cam, place in zip(cams, [(1, 6), (4, 2)], strict=True):
        assert np.unravel_index(cam.argmax(), cam.shape) == place
        assert np.count_nonzero(cam) == 1


def test_grad_cam_is_zero_where_nothing_speaks_for_the_class():
    cams = grad_cam(lambda maps: -maps.sum((1, 2)), jnp.abs(draw(2, 3, 4, 2)), jnp.array([0, 1]))
    np.testing.assert_array_equal(cams, 0.0)


def test_integrated_gradients_of_a_linear_function_are_exact():
    images, kernel = draw(3, 4, 6, 2), draw(4, 6, 2, 5, seed=1)
    baselines = draw(3, 4, 6, 2, seed=2)
    labels = jnp.array([4, 0, 2])

    def logits(images):
        return jnp.einsum("bhwc,hwck->bk", images, kernel) + 3.0

    found = integrated_gradients(logits, images, baselines, labels, steps=1)
    expected = (images - baselines) * jnp.moveaxis(kernel, -1, 0)[labels]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_integrated_gradients_of_a_square_follow_the_path():
    """x² from x' gives (x - x')(x + x'), the mean gradient times the way; midpoints are exact."""
    images, baselines = draw(2, 3, 5, 1), draw(2, 3, 5, 1, seed=1)

    def logits(images):
        return jnp.stack([(images**2).sum((1, 2, 3)), images.sum((1, 2, 3))], axis=-1)

    found = integrated_gradients(logits, images, baselines, jnp.array([0, 0]), steps=3)
    np.testing.assert_allclose(found, images**2 - baselines**2, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_are_complete():
    """Behind a circuit-like function they add up to the difference of the logits."""
    images, baselines = 2.0 * draw(2, 4, 3, 2), draw(2, 4, 3, 2, seed=1)
    kernel, labels = draw(4, 3, 2, 3, seed=2), jnp.array([2, 0])

    def logits(images):
        return jnp.cos(jnp.tanh(jnp.einsum("bhwc,hwck->bk", images, kernel)) @ draw(3, 3, seed=3))

    found = integrated_gradients(logits, images, baselines, labels).sum((1, 2, 3))
    difference = (logits(images) - logits(baselines))[jnp.arange(2), labels]
    np.testing.assert_allclose(found, difference, atol=1e-3)


def test_the_baseline_is_the_mean_colour_of_each_image():
    images = draw(2, 3, 4, 2)
    baselines = np.asarray(mean_colour(images))
    assert baselines.shape == images.shape
    for image, baseline in zip(np.asarray(images), baselines, strict=True):
        np.testing.assert_allclose(baseline - image.reshape(-1, 2).mean(0), 0, atol=1e-6)


def make_classifier(name, size, *, middle="quantum", channels=3):
    """Return a backbone and a function from backbone (or None) to the classifier behind it."""
    config = ModelConfig(
        backbone=BackboneConfig(name=name, image_size=size),
        processor={"widths": [8]},
        middle=middle,
        circuit={"name": "radhi2025", "num_qubits": 4, "num_layers": 2},
        feature_scaling="standardised_tanh",
    )
    backbone = build_backbone(config.backbone, in_channels=channels, key=jax.random.key(1))
    num_features = backbone.num_features

    def classifier(backbone):
        return HybridNetwork(
            config,
            backbone=backbone,
            num_features=num_features,
            num_classes=4,
            key=jax.random.key(2),
        )

    return backbone, classifier


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in HEAVY)) for n in BACKBONE_NAMES]
)
def test_every_backbone_is_explained(name):
    """The cut network has the logits of the whole, and attributions add up to their difference."""
    size, channels = SIZES.get(name, 64), 1 if name.startswith("lean") else 3
    # The circuit is differentiated once; compiling it behind every backbone would take long.
    middle = "quantum" if name == "five_layer_cnn" else "none"
    backbone, classifier = make_classifier(name, size, middle=middle, channels=channels)
    model, variables = Model.split(classifier(backbone))
    images, labels = draw(2, size, size, channels, seed=3), np.array([3, 1])
    both = jnp.concatenate([images, mean_colour(images)])
    logits = np.asarray(jax.jit(model.apply)(variables, both)).reshape(2, 2, 4)
    differences = (logits[0] - logits[1])[np.arange(2), labels]
    steps = 64 if name in HEAVY else 256
    found = explain(cut_at_maps(model, variables), images, jnp.asarray(labels), steps=steps)
    assert found.cams.shape[1] > 1
    assert found.cams.shape[2] > 1
    assert (found.cams >= 0).all()
    assert found.attributions.shape == (2, size, size)
    np.testing.assert_allclose(found.logit_differences, differences, rtol=1e-3, atol=1e-5)
    assert np.abs(differences).min() > 0
    gap = np.abs(found.attributions.sum((1, 2)) - differences)
    assert gap.max() < (0.2 if name in HEAVY else 0.02) * np.abs(differences).max()


def test_a_frozen_backbone_is_explained_like_a_trained_one():
    backbone, classifier = make_classifier("five_layer_cnn", 16, middle="none")
    whole_model, whole_variables = Model.split(classifier(backbone))
    frozen = Model.split(backbone)
    head_model, head_variables = Model.split(classifier(None))
    images, labels = draw(3, 16, 16, 3, seed=3), jnp.array([0, 2, 1])
    whole = explain(cut_at_maps(whole_model, whole_variables), images, labels, steps=4)
    parts = explain(cut_at_maps(head_model, head_variables, frozen), images, labels, steps=4)
    for name, values in whole._asdict().items():
        np.testing.assert_allclose(values, parts._asdict()[name], rtol=1e-4, atol=1e-6)


def test_more_images_than_fit_at_once_are_explained_alike(monkeypatch):
    """Images are explained in batches of one shape, the last filled up."""
    monkeypatch.setattr(interpretability, "_IMAGES_AT_ONCE", 2)
    backbone, classifier = make_classifier("five_layer_cnn", 16, middle="none")
    cut = cut_at_maps(*Model.split(classifier(backbone)))
    images, labels = draw(3, 16, 16, 3, seed=3), jnp.array([0, 2, 1])
    three = explain(cut, images, labels, steps=2)
    last = explain(cut, images[1:], labels[1:], steps=2)
    for name, values in three._asdict().items():
        assert len(values) == 3
        np.testing.assert_allclose(values[1:], last._asdict()[name], rtol=1e-4, atol=1e-6)


def test_attributions_find_the_place_the_network_looks_at():
    """Only a bright patch off the diagonal changes the logit, so rows and columns stay apart."""
    images = np.full((1, 8, 8, 3), 0.2, np.float32)
    images[0, 1:3, 5:8] = 1.0

    def logits(images):
        seen = jax.nn.relu(images - 0.5).sum((1, 2, 3))
        return jnp.stack([-seen, seen], axis=-1)

    images = jnp.asarray(images)
    found = integrated_gradients(logits, images, mean_colour(images), jnp.array([1])).sum(-1)[0]
    assert np.asarray(found[1:3, 5:8]).min() > 0
    assert float(found[1:3, 5:8].sum()) == pytest.approx(0.5 * 3 * 6, rel=0.02)
    assert float(jnp.abs(found).sum() - found[1:3, 5:8].sum()) == pytest.approx(0, abs=1e-6)


def test_images_to_explain_are_half_wrong_and_of_many_classes():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 0, 1])
    right = np.array([1, 1, 1, 1, 0, 1, 0, 0, 0, 1], bool)
    # Wrong: 4 (class 1), 6 and 7 (class 2), 8 (class 0); right: 0, 1, 2 (class 0), 3, 9 (1), 5 (2).
    np.testing.assert_array_equal(choose_images(right, labels, 6), [0, 3, 4, 5, 6, 8])
    np.testing.assert_array_equal(choose_images(right, labels, 1), [0])
    np.testing.assert_array_equal(choose_images(right, labels, 99), range(10))
    np.testing.assert_array_equal(choose_images(np.ones(10, bool), labels, 3), [0, 3, 5])
    np.testing.assert_array_equal(choose_images(~np.ones(10, bool), labels, 2), [0, 3])
    assert choose_images(right, labels, 0).size == 0
