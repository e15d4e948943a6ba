"""Which pixels decide: Grad-CAM and integrated gradients of a class logit, through the circuit too.

The functions take any function to logits. One that is a `jax.tree_util.Partial` is passed to the
compiled code with what it is bound to as arguments, so that weights do not become constants of the
program. Only reverse mode is used: depthwise convolutions have no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Float32, Int, Integer

from hqnn_jax.models.pure import Model, Variables

INTEGRATION_STEPS = 64
"""Points on the path of integrated gradients. Attributions add up within some 2 % for the small
networks, 10 to 40 % for a ResNet-50, whose gradient along the path is rough; the report says it."""
_IMAGES_AT_ONCE = 8  # bounds the memory of the gradient of a large network


def grad_cam(
    logits_from_maps: Callable[..., Float[Array, "batch num_classes"]],
    maps: Float[Array, "batch height width channels"],
    labels: Int[Array, "batch"],
) -> Float[Array, "batch height width"]:
    """Return the Grad-CAM of one class per image (Selvaraju et al., arXiv 1610.02391, eq. 1 and 2).

    `ReLU(sum_k a_k A_k)`, where `a_k` is the mean over positions of the gradient of the class logit
    with respect to channel k. Where the ReLU leaves nothing, no position speaks for the class.

    Args:
        logits_from_maps: from feature maps to logits, each image on its own (evaluation mode).
        maps: feature maps A of the last convolutional stage.
        labels: the class explained for each image.

    Returns:
        The maps, not negative, in logits times a common positive factor; float32 at least.
    """
    return _grad_cam(_as_tree(logits_from_maps), maps, labels)


@jax.jit
def _grad_cam(logits_from_maps: Partial, maps: Array, labels: Array) -> Array:
    gradients = jax.grad(lambda x: _chosen(logits_from_maps(x), labels).sum())(maps)
    dtype = jnp.promote_types(maps.dtype, jnp.float32)
    weights = gradients.astype(dtype).mean((1, 2))
    # Elementwise: a matrix product could be rounded to TF32 on GPU.
    return jax.nn.relu((maps.astype(dtype) * weights[:, None, None]).sum(-1))


def integrated_gradients(
    logits: Callable[..., Float[Array, "batch num_classes"]],
    images: Float[Array, "batch height width channels"],
    baselines: Float[Array, "batch height width channels"],
    labels: Int[Array, "batch"],
    *,
    steps: int = INTEGRATION_STEPS,
) -> Float[Array, "batch height width channels"]:
    """Return the integrated gradients of one class per image (Sundararajan et al., 1703.01365).

    `(x - x') times the mean gradient on the straight path from x' to x` (eq. 1), by the midpoint
    rule. They add up to `logit(x) - logit(x')` (completeness, proposition 1) but for the error of
    the rule, which is zero for a linear function. Any affine normalisation of the channels gives
    the same attributions.

    Args:
        logits: from images to logits, each image on its own (evaluation mode).
        images: x, as the network takes them.
        baselines: x', see `mean_colour`.
        labels: the class explained for each image.
        steps: midpoints; the network is differentiated once at each.

    Returns:
        Attributions in logits: positive where a pixel speaks for the class.
    """
    function = _as_tree(logits)
    total = jnp.zeros_like(images)
    # Not a loop inside one program: XLA's CPU convolutions lose their fast path there.
    for step in range(steps):
        position = (step + 0.5) / steps
        total = _add_path_gradient(function, images, baselines, labels, position, total)
    return (images - baselines) * total / steps


@jax.jit
def _add_path_gradient(
    logits: Partial,
    images: Array,
    baselines: Array,
    labels: Array,
    position: Array,
    total: Array,
) -> Array:
    point = baselines + position * (images - baselines)
    return total + jax.grad(lambda x: _chosen(logits(x), labels).sum())(point)


def mean_colour(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Return the baseline of each image: the same image size filled with its mean colour.

    An image of one colour shows nothing, and unlike black it lies within the data: stained cells
    are dark on a bright field, and against black every pixel of the empty field would get a share.
    """
    return jnp.broadcast_to(images.mean((1, 2), keepdims=True), images.shape)


def _chosen(logits: Array, labels: Array) -> Array:
    return jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def _as_tree(function: Callable[..., Any]) -> Partial:
    return function if isinstance(function, Partial) else Partial(function)


class Classifier(NamedTuple):
    """A classifier cut at the feature maps of its backbone; see `cut_at_maps`."""

    maps: Partial
    """From normalised images `[batch, height, width, channels]` to feature maps."""
    logits_from_maps: Partial
    """From feature maps to logits, all that is behind the last convolutional stage."""


def cut_at_maps(
    model: Model,
    variables: Variables,
    frozen_backbone: tuple[Model, Variables] | None = None,
) -> Classifier:
    """Cut a hybrid classifier at its backbone's feature maps.

    Args:
        model, variables: of a `HybridNetwork`.
        frozen_backbone: the backbone that made the features, where the classifier has none.
    """
    if frozen_backbone is None:
        module = model.module(variables)
        frozen_backbone = Model.split(module.backbone)
        module.backbone = None
        model, variables = Model.split(module)
    backbone, backbone_variables = frozen_backbone
    return Classifier(
        Partial(_Maps(backbone), backbone_variables),
        Partial(_LogitsFromMaps(backbone, model), backbone_variables, variables),
    )


# Dataclasses and not closures, so that equal functions are compiled once.
@dataclasses.dataclass(frozen=True)
class _Maps:
    backbone: Model

    def __call__(self, variables: Variables, images: Array) -> Array:
        return self.backbone.module(variables).feature_maps(images)


@dataclasses.dataclass(frozen=True)
class _LogitsFromMaps:
    backbone: Model
    rest: Model

    def __call__(
        self, backbone_variables: Variables, rest_variables: Variables, maps: Array
    ) -> Array:
        features = self.backbone.module(backbone_variables).pool(maps)
        return self.rest.apply(rest_variables, features)


def _composed(classifier: Classifier, images: Array) -> Array:
    return classifier.logits_from_maps(classifier.maps(images))


class Explanations(NamedTuple):
    """Why a classifier gives some images one class each, on the host."""

    cams: Float32[np.ndarray, "images map_height map_width"]
    """Grad-CAM at the resolution of the feature maps, not negative."""
    logit_differences: Float32[np.ndarray, " images"]
    """Logit of the image minus logit of its baseline: what the attributions should add up to."""
    attributions: Float32[np.ndarray, "images size size"]
    """Integrated gradients in logits, summed over the channels."""


def explain(
    classifier: Classifier,
    images: Float[Array, "batch size size channels"],
    labels: Int[Array, "batch"],
    *,
    steps: int = INTEGRATION_STEPS,
) -> Explanations:
    """Return Grad-CAM and integrated gradients of one class per image.

    Args:
        classifier: see `cut_at_maps`.
        images: as the network takes them, resized and normalised.
        labels: the class explained for each image; usually the predicted one.
        steps: see `integrated_gradients`. The baseline is the image's mean colour.
    """
    count = images.shape[0]
    size = min(count, _IMAGES_AT_ONCE)
    parts = []
    for start in range(0, count, size):
        # The last batch repeats the last image, so that there is one shape to compile.
        batch = np.minimum(np.arange(start, start + size), count - 1)
        parts.append(_explain_batch(classifier, images[batch], labels[batch], steps))
    arrays = (np.concatenate(values)[:count] for values in zip(*parts, strict=True))
    return Explanations(*(array.astype(np.float32) for array in arrays))


def _explain_batch(classifier: Classifier, images: Array, labels: Array, steps: int) -> list[Array]:
    baselines = mean_colour(images)
    logits = Partial(_composed, classifier)
    attributions = integrated_gradients(logits, images, baselines, labels, steps=steps)
    return [*_cams_and_differences(classifier, images, baselines, labels), attributions.sum(-1)]


@jax.jit
def _cams_and_differences(
    classifier: Classifier, images: Array, baselines: Array, labels: Array
) -> tuple[Array, Array]:
    maps = classifier.maps(images)
    cams = grad_cam(classifier.logits_from_maps, maps, labels)
    at_images = _chosen(classifier.logits_from_maps(maps), labels)
    at_baselines = _chosen(_composed(classifier, baselines), labels)
    return cams, at_images - at_baselines


def choose_images(
    right: Bool[np.ndarray, " images"], labels: Integer[np.ndarray, " images"], count: int
) -> Int[np.ndarray, " chosen"]:
    """Choose images to explain: half of them wrongly classified, as far as there are such.

    Within the right and the wrong ones the classes take turns, in the order of the images.

    Args:
        right: whether the image is classified rightly.
        labels: its true class.
        count: how many to choose at most.

    Returns:
        Positions in ascending order.
    """
    wrong_ones, right_ones = (_classes_in_turn(np.flatnonzero(k), labels) for k in (~right, right))
    num_wrong = min(len(wrong_ones), max(count // 2, count - len(right_ones)))
    return np.sort(np.concatenate([wrong_ones[:num_wrong], right_ones[: count - num_wrong]]))


def _classes_in_turn(positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    seen: dict[int, int] = {}
    turns = []
    for label in labels[positions].tolist():
        turns.append(seen.get(label, 0))
        seen[label] = turns[-1] + 1
    return positions[np.argsort(np.asarray(turns, int), kind="stable")]
