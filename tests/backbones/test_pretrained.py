"""Loading ImageNet weights: the published network is reproduced, a misfit is refused whole."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from hqnn_jax.backbones import pretrained
from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.backbones.checkpoint_layout import CAFFE, IMAGENET, ImageNormalization
from hqnn_jax.backbones.cnn import FiveLayerCNN
from hqnn_jax.backbones.efficientnet import EfficientNetB0
from hqnn_jax.backbones.pretrained import (
    load_pretrained,
    pretrained_normalization,
    pretrained_source,
)
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.config import PRETRAINED_NAMES, BackboneConfig
from hqnn_jax.config.names import BACKBONES
from hqnn_jax.errors import PretrainedWeightsError
from hqnn_jax.training.step import Preprocessing

NETWORKS = {
    "tf_efficientnet_b0": partial(EfficientNetB0, num_classes=1000),
    "resnet50_v1": partial(ResNet, depth=50, variant="v1", epsilon=1.001e-5, num_classes=1000),
}


def build(num_classes, dtype=jnp.float32):
    """EfficientNet-B0 filled with ones, without the compilation that random values cost."""
    abstract = nnx.eval_shape(
        lambda: EfficientNetB0(num_classes=num_classes, dtype=dtype, rngs=nnx.Rngs(0))
    )
    graph, state = nnx.split(abstract)
    return nnx.merge(
        graph, jax.tree.map(lambda leaf: jnp.asarray(np.ones(leaf.shape, leaf.dtype)), state)
    )


@pytest.fixture
def backbone():
    return build(None)


def variables(module):
    """The values of parameters and statistics by path."""
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(module))}


def timm_name(path):
    """What timm calls the variable of EfficientNetB0 at `path`."""
    (name,) = EfficientNetB0.layouts[0].source(path, (1,)).shapes
    return name


@pytest.fixture(scope="module")
def tensors():
    """A checkpoint in timm's names and layout, with random values."""
    generator = np.random.default_rng(7)
    checkpoint = {}
    for path, value in variables(build(None)).items():
        shape = np.array(value.shape)
        shape = shape[[3, 2, 0, 1]] if value.ndim == 4 else shape[::-1]
        name = timm_name(path)
        checkpoint[name] = generator.normal(size=shape).astype(np.float32)
        if path[-1] == "var":
            checkpoint[name] = np.abs(checkpoint[name])
    return checkpoint


def write(folder, tensors, metadata=None):
    file = folder / "weights.safetensors"
    save_file(tensors, file, metadata=metadata)
    return file


def refusal(module, source):
    """The message of the refusal; the module must not have changed."""
    before = variables(module)
    with pytest.raises(PretrainedWeightsError) as caught:
        load_pretrained(module, source)
    np.testing.assert_equal(variables(module), before)
    message = str(caught.value)
    assert "\n" not in message
    return message


def published_and_our_logits(shared_weights, name, dtype):
    module = nnx.eval_shape(lambda: NETWORKS[name](dtype=dtype, rngs=nnx.Rngs(0)))
    normalization = load_pretrained(module, shared_weights / f"{name}.safetensors")
    module.eval()
    reference = np.load(shared_weights / "reference_outputs.npz")
    pictures = jnp.stack([reference["china_image"], reference["flower_image"]]) / 255
    normalized = (pictures - jnp.array(normalization.mean)) / jnp.array(normalization.std)
    graph, state = nnx.split(module)
    logits = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, normalized)
    assert logits.dtype == jnp.float32
    return np.stack(
        [reference[f"{picture}_{name}_logits"] for picture in ("china", "flower")]
    ), logits


@pytest.mark.parametrize("name", NETWORKS)
def test_published_logits_are_reproduced(shared_weights, name):
    expected, logits = published_and_our_logits(shared_weights, name, jnp.float32)
    assert expected[0].argmax() == 698
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_sees_the_same_classes(shared_weights, name):
    expected, logits = published_and_our_logits(shared_weights, name, jnp.bfloat16)
    for ours, theirs in zip(logits, expected, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.99
        assert ours.argmax() == theirs.argmax()


def test_file_of_resnet50_v1_states_its_normalization_and_refuses_other_strides(shared_weights):
    file = shared_weights / "resnet50_v1.safetensors"
    stated = pretrained_normalization(file)
    np.testing.assert_allclose(stated.mean, CAFFE.mean, atol=1e-5)
    np.testing.assert_allclose(stated.std, CAFFE.std, atol=1e-7)
    module = nnx.eval_shape(lambda: ResNet(depth=50, rngs=nnx.Rngs(0)))
    with pytest.raises(PretrainedWeightsError, match="choose the backbone resnet50_v1"):
        load_pretrained(module, file)


def test_classifier_of_the_checkpoint_is_ignored_without_head(shared_weights, backbone):
    with_head = build(1000)
    for module in (backbone, with_head):
        load_pretrained(module, shared_weights / "tf_efficientnet_b0.safetensors")
    np.testing.assert_array_equal(backbone.head_conv.kernel, with_head.head_conv.kernel)


def test_every_variable_is_replaced(tmp_path, tensors, backbone):
    load_pretrained(backbone, str(write(tmp_path, tensors)))
    loaded = variables(backbone)
    assert len(loaded) == len(tensors)
    for path, value in loaded.items():
        tensor = tensors[timm_name(path)]
        expected = tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
        np.testing.assert_array_equal(value, expected)


def test_abstract_module_becomes_concrete(tmp_path, tensors):
    abstract = nnx.eval_shape(lambda: EfficientNetB0(rngs=nnx.Rngs(0)))
    load_pretrained(abstract, write(tmp_path, tensors))
    np.testing.assert_array_equal(abstract.head_norm.mean[...], tensors["bn2.running_mean"])


def test_half_precision_checkpoints_become_float32(tmp_path, tensors, backbone):
    load_pretrained(
        backbone, write(tmp_path, {k: v.astype(np.float16) for k, v in tensors.items()})
    )
    assert backbone.stem_conv.kernel.dtype == jnp.float32


def test_batch_counters_of_pytorch_are_ignored(tmp_path, tensors, backbone):
    counters = {
        name.replace("running_mean", "num_batches_tracked"): np.array(5)
        for name in tensors
        if name.endswith("running_mean")
    }
    assert len(counters) == 49
    load_pretrained(backbone, write(tmp_path, tensors | counters))


def test_missing_extra_and_misshapen_tensors_are_listed_together(tmp_path, tensors, backbone):
    changed = dict(tensors)
    del changed["blocks.2.1.conv_pwl.weight"], changed["bn2.running_var"]
    changed["blocks.9.0.conv_pw.weight"] = np.zeros((2, 3), np.float32)
    changed["conv_stem.weight"] = np.zeros((32, 1, 3, 3), np.float32)
    message = refusal(backbone, write(tmp_path, changed))
    assert "missing: blocks.2.1.conv_pwl.weight, bn2.running_var;" in message
    assert "not expected: blocks.9.0.conv_pw.weight;" in message
    assert "wrong shape: conv_stem.weight [32, 1, 3, 3] instead of [32, 3, 3, 3];" in message


def test_transposed_kernel_is_a_wrong_shape(tmp_path, tensors, backbone):
    changed = tensors | {"conv_head.weight": tensors["conv_head.weight"].swapaxes(0, 1).copy()}
    assert "[320, 1280, 1, 1] instead of [1280, 320, 1, 1]" in refusal(
        backbone, write(tmp_path, changed)
    )


def test_very_long_lists_are_abridged(tmp_path, backbone):
    message = refusal(backbone, write(tmp_path, {"layer1.weight": np.zeros(3, np.float32)}))
    assert "and 301 more" in message
    assert "not expected: layer1.weight;" in message


def test_classifier_is_required_where_the_module_has_one(tmp_path, tensors):
    module = build(1000)
    message = refusal(module, write(tmp_path, tensors))
    assert "missing: classifier.bias, classifier.weight;" in message


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG not safetensors at all", b"\xff" * 64], ids=["empty", "png", "ones"]
)
def test_file_of_another_kind_is_refused(tmp_path, backbone, content):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    assert "cannot be read as safetensors" in refusal(backbone, file)


def test_truncated_file_is_refused(tmp_path, tensors, backbone):
    file = write(tmp_path, tensors)
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be read as safetensors" in refusal(backbone, file)


@pytest.mark.parametrize("name", ["nowhere.safetensors", "weights/nowhere.safetensors"])
def test_missing_file_is_refused(backbone, name):
    assert f"{name}: no such file" in refusal(backbone, name)


def test_unreachable_hub_says_how_to_give_a_file(backbone, monkeypatch):
    def offline(repository, file):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(pretrained, "hf_hub_download", offline)
    message = refusal(backbone, "timm/tf_efficientnet_b0.in1k")
    assert "no network" in message
    assert "give its path instead" in message


def test_hub_repository_is_read_with_its_normalization(tmp_path, tensors, backbone, monkeypatch):
    write(tmp_path, tensors).rename(tmp_path / "model.safetensors")
    config = {"pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3]}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def download(repository, file):
        assert repository == "timm/tf_efficientnet_b0.ap_in1k"
        return str(tmp_path / file)

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    normalization = load_pretrained(backbone, "timm/tf_efficientnet_b0.ap_in1k")
    assert normalization == ImageNormalization((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))


def test_normalization_comes_from_the_file_else_from_the_publisher(tmp_path, tensors, backbone):
    def normalization(metadata=None):
        file = write(tmp_path, tensors, metadata)
        loaded = load_pretrained(backbone, file)
        assert pretrained_normalization(file) == loaded
        return loaded

    assert normalization() == IMAGENET
    stated = {"mean": "[0.1, 0.2, 0.3]", "std": "[1, 2, 3]"}
    assert normalization(stated) == ImageNormalization((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    file = write(tmp_path, tensors, {"mean": "0.5", "std": "[1, 2, 3]"})
    assert "mean and std cannot be read" in refusal(backbone, file)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("blocks.1.0.conv_pw.weight", np.nan, "has values that are not finite"),
        ("bn2.running_mean", np.inf, "has values that are not finite"),
        ("bn2.running_var", -1.0, "is no variance"),
        ("bn2.running_var", None, "is no variance"),
    ],
)
def test_weights_no_training_leaves_are_refused_by_name(
    tmp_path, tensors, backbone, name, value, reason
):
    changed = tensors[name].copy()
    changed.flat[1 if value is not None else slice(None)] = value or 0.0
    message = refusal(backbone, write(tmp_path, tensors | {name: changed}))
    assert f"{name}: {reason}" in message


def test_a_channel_that_is_always_off_is_accepted(tmp_path, tensors, backbone):
    variance = tensors["bn2.running_var"].copy()
    variance[3] = 0.0
    load_pretrained(backbone, write(tmp_path, tensors | {"bn2.running_var": variance}))
    assert backbone.head_norm.var[...][3] == 0


@pytest.mark.parametrize(
    ("mean", "std", "reason"),
    [
        ("[0, 0, 0]", "[1, 0, 1]", "a deviation of 0"),
        ("[0, 0, 0]", "[1, -1, 1]", "a deviation of -1"),
        ("[0, NaN, 0]", "[1, 1, 1]", "not finite"),
        ("[0, 0, 0]", "[1, Infinity, 1]", "not finite"),
        ("[0, 0, 0]", "[1]", "3 means and 1 deviations"),
        ("[]", "[]", "a deviation of 0"),
        ("[" * 100_000, "[]", "recursion"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(tmp_path, backbone, mean, std, reason):
    file = write(tmp_path, {"conv_stem.weight": np.ones(3)}, {"mean": mean, "std": std})
    with pytest.raises(PretrainedWeightsError, match=reason) as caught:
        pretrained_normalization(file)
    assert "weights.safetensors: mean and std cannot be read" in str(caught.value)


def test_images_are_normalised_as_the_loaded_weights_expect(tmp_path, tensors):
    file = write(tmp_path, tensors, {"mean": "[0.1, 0.2, 0.5]", "std": "[0.5, 1, 2]"})
    config = {"name": "efficientnet_b0", "image_size": 8, "normalisation": "imagenet"}
    white = jnp.full((1, 8, 8, 3), 255, jnp.uint8)
    for changes, expected in (
        ({"pretrained": str(file)}, [1.8, 0.8, 0.25]),
        ({}, [(1 - mean) / std for mean, std in zip(IMAGENET.mean, IMAGENET.std, strict=True)]),
        ({"normalisation": "centred"}, [1, 1, 1]),
    ):
        preprocessing = Preprocessing.for_backbone(BackboneConfig(**{**config, **changes}), 3)
        np.testing.assert_allclose(preprocessing(white)[0, 3, 4], expected, rtol=1e-5)


def test_configured_backbone_has_the_weights_of_its_file(tmp_path, tensors):
    file = write(tmp_path, tensors)
    config = BackboneConfig(
        name="efficientnet_b0", pretrained=str(file), normalisation="imagenet", frozen=True
    )
    backbone = build_backbone(config, in_channels=3, key=jax.random.key(0))
    np.testing.assert_array_equal(backbone.head_norm.mean[...], tensors["bn2.running_mean"])


def test_names_of_nobody_have_no_normalization(tmp_path):
    file = write(tmp_path, {"layer": np.zeros(3, np.float32)})
    with pytest.raises(PretrainedWeightsError, match="tensor names of none of EfficientNetB0"):
        pretrained_normalization(file)


def test_hub_has_every_pretrained_backbone_but_one():
    on_hub = {name for name, record in BACKBONES.items() if record.hub is not None}
    assert on_hub | {"resnet50_v1"} == set(PRETRAINED_NAMES)
    assert pretrained_source("resnet18", "hub") == "timm/resnet18.tv_in1k"
    assert pretrained_source("resnet18", "owner/name") == "owner/name"
    with pytest.raises(PretrainedWeightsError, match=r"hub has no weights of resnet50_v1.*\.h5"):
        pretrained_source("resnet50_v1", "hub")


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_pickles_are_refused_with_the_way_out(tmp_path, backbone, suffix):
    file = tmp_path / f"resnet18-5c106cde{suffix}"
    file.write_bytes(b"PK")
    message = refusal(backbone, file)
    assert "weights_only=True" in message
    assert str(tmp_path / "resnet18-5c106cde.safetensors") in message


def test_architecture_without_published_weights_is_refused(tmp_path, tensors):
    message = refusal(FiveLayerCNN(rngs=nnx.Rngs(0)), write(tmp_path, tensors))
    assert message.startswith("FiveLayerCNN has no pretrained weights")
    assert "EfficientNetB0, ResNet, VGG16" in message
