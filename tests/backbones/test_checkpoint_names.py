"""Tensor names of torchvision, timm and Keras: every variable gets the tensor that is meant.

The names are written down here a second time, in the order in which the publishers' own code makes
the layers; a ResNet and a VGG are evaluated a second time from these tensors.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from safetensors.numpy import load_file, save_file

from hqnn_jax.backbones import vgg
from hqnn_jax.backbones.checkpoint_layout import CAFFE, IMAGENET
from hqnn_jax.backbones.efficientnet import EfficientNetB0
from hqnn_jax.backbones.pretrained import load_pretrained
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.backbones.vgg import VGG16
from hqnn_jax.errors import PretrainedWeightsError

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
        "running_var": "moving_variance"}  # fmt: skip
VGG_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def abstract(architecture, **options):
    return nnx.eval_shape(lambda: architecture(**options, rngs=nnx.Rngs(0)))


def tensors_of(module, publisher):
    """Shapes by name that the publisher's files must have for `module`."""
    layout = module.layouts[publisher]
    shapes = {}
    for path, variable in nnx.iter_graph(module):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            shapes |= layout.source(path, variable.shape).shapes
    return shapes


def random_tensors(shapes, seed=0):
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) or 1
        value = generator.normal(size=shape) / np.sqrt(fan_in if len(shape) > 1 else 10)
        tensors[name] = (1 + np.abs(value) if "var" in name else value).astype(np.float32)
    return tensors


def load(module, folder, tensors, **metadata):
    file = folder / "weights.safetensors"
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(contiguous, file, metadata=metadata or None)
    normalization = load_pretrained(module, file)
    module.eval()
    return normalization


def variables(module):
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(module))}


def evaluate(module, images):
    graph, state = nnx.split(module)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images)


def images(height, width, channels=3):
    return jax.random.normal(jax.random.key(1), (2, height, width, channels))


# The shapes of real files.


@pytest.mark.parametrize(
    ("make", "publisher", "count", "spots"),
    [
        (
            partial(abstract, ResNet, depth=18, num_classes=1000), 0, 102,
            {"conv1.weight": (64, 3, 7, 7), "layer2.0.downsample.0.weight": (128, 64, 1, 1),
             "layer4.1.bn2.running_var": (512,), "fc.weight": (1000, 512)},
        ),
        (
            partial(abstract, ResNet, depth=50, num_classes=1000), 0, 267,
            {"layer1.0.downsample.1.running_mean": (256,), "layer3.5.conv3.weight":
             (1024, 256, 1, 1), "layer4.2.conv2.weight": (512, 512, 3, 3), "fc.bias": (1000,)},
        ),
        (
            partial(abstract, ResNet, depth=50, variant="v1", num_classes=1000), 1, 320,
            {"conv1_conv/kernel": (7, 7, 3, 64), "conv1_conv/bias": (64,),
             "conv2_block1_0_conv/kernel": (1, 1, 64, 256), "conv3_block4_2_bn/gamma": (128,),
             "conv5_block3_3_bn/moving_variance": (2048,), "predictions/kernel": (2048, 1000)},
        ),
        (
            partial(abstract, VGG16, num_classes=1000), 0, 32,
            {"features.0.weight": (64, 3, 3, 3), "features.28.bias": (512,),
             "classifier.0.weight": (4096, 25088), "classifier.3.weight": (4096, 4096),
             "classifier.6.weight": (1000, 4096)},
        ),
        (
            partial(abstract, VGG16, num_classes=1000), 1, 32,
            {"features.26.weight": (512, 512, 3, 3), "pre_logits.fc1.weight": (4096, 512, 7, 7),
             "pre_logits.fc2.weight": (4096, 4096, 1, 1), "head.fc.weight": (1000, 4096)},
        ),
        (
            partial(abstract, VGG16, num_classes=1000), 2, 32,
            {"block1_conv1/kernel": (3, 3, 3, 64), "block5_conv3/bias": (512,),
             "fc1/kernel": (25088, 4096), "predictions/bias": (1000,)},
        ),
        (
            partial(abstract, EfficientNetB0, num_classes=1000), 1, 311,
            {"features.0.0.weight": (32, 3, 3, 3), "features.1.0.block.1.fc1.weight": (8, 32, 1, 1),
             "features.6.3.block.1.0.weight": (1152, 1, 5, 5), "features.8.1.running_mean": (1280,),
             "classifier.1.weight": (1000, 1280)},
        ),
        (
            partial(abstract, EfficientNetB0, num_classes=1000), 2, 311,
            {"stem_conv/kernel": (3, 3, 3, 32), "block1a_dwconv/depthwise_kernel": (3, 3, 32, 1),
             "block2b_se_reduce/bias": (6,), "block6d_expand_bn/gamma": (1152,),
             "block7a_project_conv/kernel": (1, 1, 1152, 320), "top_bn/beta": (1280,)},
        ),
    ],
    ids=["resnet18", "resnet50", "resnet50-keras", "vgg16", "vgg16-timm", "vgg16-keras",
         "efficientnet-torchvision", "efficientnet-keras"],
)  # fmt: skip
def test_files_have_the_tensors_of_their_publisher(make, publisher, count, spots):
    shapes = tensors_of(make(), publisher)
    assert len(shapes) == count
    assert spots.items() <= shapes.items()


# ResNet


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


# VGG


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


# EfficientNet

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
