"""A ResNet's tensors in the names of torchvision and Keras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hqnn_jax.backbones.checkpoint_layout import CAFFE, IMAGENET
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.errors import PretrainedWeightsError
from tests.backbones.published import (
    NORM,
    abstract,
    evaluate,
    images,
    load,
    random_tensors,
    tensors_of,
    variables,
)


def reference_resnet(tensors, x, depth):
    """ResNet logits computed from tensors in torchvision's names and layout."""

    def conv(x, name, stride, padding):
        return lax.conv_general_dilated(
            x, tensors[f"{name}.weight"], (stride, stride), [(padding, padding)] * 2
        )

    def norm(x, name):
        scale, bias, mean, var = (
            tensors[f"{name}.{leaf}"][:, None, None]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    x = jnp.maximum(norm(conv(x.transpose(0, 3, 1, 2), "conv1", 2, 3), "bn1"), 0)
    x = lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 2, 2), [(0, 0)] * 2 + [(1, 1)] * 2
    )
    for layer, count in enumerate({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth], 1):
        for index in range(count):
            block, stride = f"layer{layer}.{index}", 2 if layer > 1 and index == 0 else 1
            if depth == 18:
                branch = [(1, stride, 1), (2, 1, 1)]
            else:
                branch = [(1, 1, 0), (2, stride, 1), (3, 1, 0)]
            hidden = x
            for number, step, padding in branch:
                hidden = norm(
                    conv(hidden, f"{block}.conv{number}", step, padding), f"{block}.bn{number}"
                )
                hidden = jnp.maximum(hidden, 0) if number < len(branch) else hidden
            if f"{block}.downsample.0.weight" in tensors:
                x = norm(conv(x, f"{block}.downsample.0", stride, 0), f"{block}.downsample.1")
            x = jnp.maximum(x + hidden, 0)
    return x.mean((2, 3)) @ tensors["fc.weight"].T + tensors["fc.bias"]


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_computes_what_torchvision_names_say(tmp_path, depth):
    module = abstract(ResNet, depth=depth, num_classes=5)
    tensors = random_tensors(tensors_of(module, 0))
    assert load(module, tmp_path, tensors) == IMAGENET
    x = images(37, 50)
    expected = jax.jit(reference_resnet, static_argnums=2)(tensors, x, depth)
    np.testing.assert_allclose(evaluate(module, x), expected, rtol=1e-3, atol=1e-4)


def keras_resnet50(tensors, generator):
    """The same network in Keras' names: with convolution biases, for BGR images."""
    layers = [("conv1", "bn1", "conv1_conv", "conv1_bn")]
    for stage, count in enumerate((3, 4, 6, 3), 2):
        for block in range(1, count + 1):
            torch, keras = f"layer{stage - 1}.{block - 1}", f"conv{stage}_block{block}"
            if block == 1:
                layers.append((f"{torch}.downsample.0", f"{torch}.downsample.1",
                               f"{keras}_0_conv", f"{keras}_0_bn"))  # fmt: skip
            for k in (1, 2, 3):
                layers.append((f"{torch}.conv{k}", f"{torch}.bn{k}",
                               f"{keras}_{k}_conv", f"{keras}_{k}_bn"))  # fmt: skip
    renamed = {"predictions/kernel": tensors["fc.weight"].T, "predictions/bias": tensors["fc.bias"]}
    for conv, norm, keras_conv, keras_norm in layers:
        kernel = tensors[f"{conv}.weight"].transpose(2, 3, 1, 0)
        bias = generator.normal(size=kernel.shape[-1]).astype(np.float32)
        renamed[f"{keras_conv}/kernel"] = kernel[:, :, ::-1] if conv == "conv1" else kernel
        renamed[f"{keras_conv}/bias"] = bias
        for leaf, keras_leaf in NORM.items():
            shift = bias if leaf == "running_mean" else 0
            renamed[f"{keras_norm}/{keras_leaf}"] = tensors[f"{norm}.{leaf}"] + shift
    return renamed


def test_keras_resnet50_is_the_same_network(tmp_path):
    expected, module = (abstract(ResNet, depth=50, variant="v1", num_classes=3) for _ in range(2))
    tensors = random_tensors(tensors_of(expected, 0))
    load(expected, tmp_path, tensors)
    renamed = keras_resnet50(tensors, np.random.default_rng(1))
    assert load(module, tmp_path, renamed) == CAFFE
    loaded = variables(module)
    for path, value in variables(expected).items():
        np.testing.assert_allclose(loaded[path], value, atol=1e-6, err_msg=str(path))


@pytest.fixture(scope="module")
def resnet50():
    return {variant: abstract(ResNet, depth=50, variant=variant) for variant in ("v1", "v1.5")}


@pytest.mark.parametrize(
    ("variant", "architecture", "refused"),
    [
        ("v1.5", "resnet50 v1 (stride in the first 1x1 convolution)", "resnet50_v1"),
        ("v1.5", "resnet50_v1", "resnet50_v1"),
        ("v1", "resnet50", "resnet50"),
        ("v1", "resnet50 v1", None),
        ("v1.5", "resnet50 v1.5", None),
        ("v1.5", "resnet50", None),
        ("v1", "my network", None),
    ],
)
def test_weights_with_strides_elsewhere_are_refused(resnet50, variant, architecture, refused):
    refusal = ResNet.layouts[0].adapt(resnet50[variant], architecture)
    if refused is None:
        assert refusal is None
    else:
        assert refusal.endswith(f"choose the backbone {refused}")


def test_keras_resnet50_does_not_fit_the_other_strides(tmp_path):
    module = abstract(ResNet, depth=50)
    tensors = {name: np.ones(shape, np.float32) for name, shape in tensors_of(module, 1).items()}
    with pytest.raises(PretrainedWeightsError, match=r"safetensors: .*the backbone resnet50_v1"):
        load(module, tmp_path, tensors)
    assert isinstance(module.stem.kernel.get_value(), jax.ShapeDtypeStruct)
