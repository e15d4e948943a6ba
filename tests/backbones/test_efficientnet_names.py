"""An EfficientNet's tensors in the names of timm, torchvision and Keras."""

import jax
import numpy as np
from jax import lax
from safetensors.numpy import load_file

from hqnn_jax.backbones.checkpoint_layout import IMAGENET
from hqnn_jax.backbones.efficientnet import EfficientNetB0
from tests.backbones.published import (
    NORM,
    abstract,
    images,
    load,
    random_tensors,
    tensors_of,
    variables,
)

STAGE_REPEATS = (1, 2, 2, 3, 3, 4, 1)


# The layers of a block in the order they are applied: timm, torchvision, Keras.
EXPANDING = (
    ("conv_pw", "0.0", "expand_conv"), ("bn1", "0.1", "expand_bn"), ("conv_dw", "1.0", "dwconv"),
    ("bn2", "1.1", "bn"), ("se.conv_reduce", "2.fc1", "se_reduce"),
    ("se.conv_expand", "2.fc2", "se_expand"), ("conv_pwl", "3.0", "project_conv"),
    ("bn3", "3.1", "project_bn"),
)  # fmt: skip


PLAIN = (
    ("conv_dw", "0.0", "dwconv"), ("bn1", "0.1", "bn"), ("se.conv_reduce", "1.fc1", "se_reduce"),
    ("se.conv_expand", "1.fc2", "se_expand"), ("conv_pw", "2.0", "project_conv"),
    ("bn2", "2.1", "project_bn"),
)  # fmt: skip


def efficientnet_layers():
    """(timm, torchvision, Keras) names of every layer."""
    yield "conv_stem", "features.0.0", "stem_conv"
    yield "bn1", "features.0.1", "stem_bn"
    for stage, repeats in enumerate(STAGE_REPEATS):
        for index in range(repeats):
            for timm, torchvision, keras in EXPANDING if stage else PLAIN:
                yield (
                    f"blocks.{stage}.{index}.{timm}",
                    f"features.{stage + 1}.{index}.block.{torchvision}",
                    f"block{stage + 1}{'abcd'[index]}_{keras}",
                )
    yield "conv_head", "features.8.0", "top_conv"
    yield "bn2", "features.8.1", "top_bn"
    yield "classifier", "classifier.1", "predictions"


def renamed_efficientnet(tensors):
    torchvision, keras = (
        {},
        {"normalization/mean": np.zeros(3), "normalization/count": np.zeros(())},
    )
    for timm_layer, torchvision_layer, keras_layer in efficientnet_layers():
        is_norm = f"{timm_layer}.running_mean" in tensors
        for leaf, norm_leaf in NORM.items():
            value = tensors.get(f"{timm_layer}.{leaf}")
            if value is None:
                continue
            torchvision[f"{torchvision_layer}.{leaf}"] = value
            name = norm_leaf if is_norm else {"weight": "kernel", "bias": "bias"}[leaf]
            if value.ndim == 4:
                value = value.transpose(2, 3, 1, 0)
            if keras_layer.endswith("dwconv"):
                name, value = "depthwise_kernel", value.swapaxes(2, 3)
            keras[f"{keras_layer}/{name}"] = value.T if value.ndim == 2 else value
    return torchvision, keras


def test_torchvision_and_keras_efficientnet_are_the_same_network(tmp_path, shared_weights):
    expected, from_torchvision, from_keras = (
        abstract(EfficientNetB0, num_classes=1000) for _ in range(3)
    )
    tensors = load_file(shared_weights / "tf_efficientnet_b0.safetensors")
    load(expected, tmp_path, tensors)
    torchvision, keras = renamed_efficientnet(tensors)
    assert len(torchvision) == len(tensors)
    assert load(from_torchvision, tmp_path, torchvision) == IMAGENET
    assert load(from_keras, tmp_path, keras) == IMAGENET
    for module in (from_torchvision, from_keras):
        jax.tree.map(np.testing.assert_array_equal, variables(module), variables(expected))
    assert (from_torchvision.variant, from_keras.variant) == ("torch", "tensorflow")


def test_efficientnet_computes_as_the_framework_of_its_weights(tmp_path):
    module = abstract(EfficientNetB0)
    tensors = random_tensors(tensors_of(module, 0))
    x = images(8, 9)
    stems = {}
    for architecture in ("efficientnet_b0", "tf_efficientnet_b0"):
        load(module, tmp_path, tensors, architecture=architecture)
        stems[architecture] = np.asarray(module.stem_norm(module.stem_conv(x)))
        epsilon, pads = (1e-5, [(1, 1)] * 2) if architecture[0] == "e" else (1e-3, "SAME")
        expected = lax.conv_general_dilated(
            x.transpose(0, 3, 1, 2), tensors["conv_stem.weight"], (2, 2), pads
        ).transpose(0, 2, 3, 1)
        expected = (expected - tensors["bn1.running_mean"]) * tensors["bn1.weight"] / np.sqrt(
            tensors["bn1.running_var"] + epsilon
        ) + tensors["bn1.bias"]
        np.testing.assert_allclose(stems[architecture], expected, rtol=1e-4, atol=1e-5)
    depthwise = module.blocks[3].depthwise_conv
    assert depthwise.padding == "SAME"
    module.set_variant("torch")
    assert depthwise.padding == 2  # a 5x5 kernel
