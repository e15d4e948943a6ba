"""A VGG-16's tensors in the names of torchvision, timm and Keras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hqnn_jax.backbones import vgg
from hqnn_jax.backbones.checkpoint_layout import CAFFE, IMAGENET
from hqnn_jax.backbones.vgg import VGG16
from tests.backbones.published import (
    abstract,
    evaluate,
    images,
    load,
    random_tensors,
    tensors_of,
    variables,
)

VGG_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@pytest.fixture
def narrow_vgg(monkeypatch):
    """Return `make()`: a VGG-16 with few channels, abstract."""
    widths = ((3, 4), (5, 4), (6, 5, 4), (4, 5, 6), (6, 5, 7))
    monkeypatch.setattr(vgg, "STAGES", widths)
    monkeypatch.setattr(vgg, "_HIDDEN_FEATURES", 9)
    return lambda: abstract(VGG16, num_classes=5)


def reference_vgg(tensors, x):
    """VGG-16 logits from tensors in torchvision's names; maps of 7x7 pixels before the head."""
    x = x.transpose(0, 3, 1, 2)
    for index in VGG_CONVOLUTIONS:
        if index in (5, 10, 17, 24):
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = lax.conv_general_dilated(x, tensors[f"features.{index}.weight"], (1, 1), [(1, 1)] * 2)
        x = jnp.maximum(x + tensors[f"features.{index}.bias"][:, None, None], 0)
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = x.reshape(len(x), -1)
    for index in (0, 3, 6):
        x = x @ tensors[f"classifier.{index}.weight"].T + tensors[f"classifier.{index}.bias"]
        x = jnp.maximum(x, 0) if index < 6 else x
    return x


def test_vgg_computes_what_torchvision_names_say(tmp_path, narrow_vgg):
    module = narrow_vgg()
    tensors = random_tensors(tensors_of(module, 0))
    assert load(module, tmp_path, tensors) == IMAGENET
    x = images(224, 239)
    np.testing.assert_allclose(
        evaluate(module, x), jax.jit(reference_vgg)(tensors, x), rtol=1e-3, atol=1e-5
    )


def test_timm_and_keras_vgg_are_the_same_network(tmp_path, narrow_vgg):
    expected, from_timm, from_keras = (narrow_vgg() for _ in range(3))
    tensors = random_tensors(tensors_of(expected, 0))
    load(expected, tmp_path, tensors)
    timm = {name: value for name, value in tensors.items() if name.startswith("features")}
    keras = {}
    blocks = [f"block{b}_conv{c}" for b, count in enumerate((2, 2, 3, 3, 3), 1)
              for c in range(1, count + 1)]  # fmt: skip
    for index, name in zip(VGG_CONVOLUTIONS, blocks, strict=True):
        kernel = tensors[f"features.{index}.weight"].transpose(2, 3, 1, 0)
        keras[f"{name}/kernel"] = kernel[:, :, ::-1] if index == 0 else kernel
        keras[f"{name}/bias"] = tensors[f"features.{index}.bias"]
    for index, timm_name, keras_name in (
        (0, "pre_logits.fc1", "fc1"), (3, "pre_logits.fc2", "fc2"), (6, "head.fc", "predictions"),
    ):  # fmt: skip
        weight, bias = tensors[f"classifier.{index}.weight"], tensors[f"classifier.{index}.bias"]
        side = {0: 7, 3: 1}.get(index)
        maps = weight.reshape(len(weight), -1, side, side) if side else weight
        timm |= {f"{timm_name}.weight": maps, f"{timm_name}.bias": bias}
        if index == 0:  # Keras flattens rows, columns, channels
            weight = maps.transpose(0, 2, 3, 1).reshape(len(weight), -1)
        keras |= {f"{keras_name}/kernel": weight.T, f"{keras_name}/bias": bias}
    assert load(from_timm, tmp_path, timm) == IMAGENET
    assert load(from_keras, tmp_path, keras) == CAFFE
    for module in (from_timm, from_keras):
        jax.tree.map(np.testing.assert_array_equal, variables(module), variables(expected))
