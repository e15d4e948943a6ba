"""ImageNet weights in safetensors files, with the tensor names of their publisher.

A checkpoint must fit the module exactly: every variable has its tensor, every tensor is used or
is one the layout declares as not needed, and the shapes agree. Nothing is assigned otherwise.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError, safe_open

from hqnn_jax.backbones.efficientnet import EfficientNetB0, block_positions
from hqnn_jax.errors import PretrainedWeightsError

TF_EFFICIENTNET_B0_REPOSITORY = "timm/tf_efficientnet_b0.in1k"
"""ImageNet-1k weights of the paper's authors, on the Hugging Face hub."""

_WEIGHTS_FILE = "model.safetensors"
_CONFIG_FILE = "config.json"
_HUB_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_MAX_LISTED = 8

VariablePath = tuple[Any, ...]
"""Where a variable is in a module, such as `("blocks", 3, "expand_conv", "kernel")`."""


@dataclass(frozen=True)
class ImageNormalization:
    """What a pretrained network expects: `(image - mean) / std` per channel, image in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class CheckpointLayout:
    """How the variables of one architecture are named in its publisher's checkpoints."""

    tensor_name: Callable[[VariablePath], str]
    head_tensors: frozenset[str]  # not needed by a backbone without classifier
    normalization: ImageNormalization  # the publisher's, for files that do not say


_TIMM_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_TIMM_TOP_LEVEL = {
    "stem_conv": "conv_stem",
    "stem_norm": "bn1",
    "head_conv": "conv_head",
    "head_norm": "bn2",
    "classifier": "classifier",
}
_TIMM_SQUEEZE_EXCITATION = {"reduce": "se.conv_reduce", "expand": "se.conv_expand"}
# timm numbers the layers of a block in order, so the names depend on whether it expands.
_TIMM_EXPANDING_BLOCK = {
    "expand_conv": "conv_pw",
    "expand_norm": "bn1",
    "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn2",
    "project_conv": "conv_pwl",
    "project_norm": "bn3",
}
_TIMM_PLAIN_BLOCK = {
    "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn1",
    "project_conv": "conv_pw",
    "project_norm": "bn2",
}


def efficientnet_b0_tensor_name(path: VariablePath) -> str:
    """The name timm's `tf_efficientnet_b0` gives to the variable of EfficientNetB0 at `path`."""
    leaf = _TIMM_LEAVES[path[-1]]
    if path[0] != "blocks":
        return f"{_TIMM_TOP_LEVEL[path[0]]}.{leaf}"
    stage, index = block_positions()[path[1]]
    if path[2] == "squeeze_excitation":
        layer = _TIMM_SQUEEZE_EXCITATION[path[3]]
    else:
        names = _TIMM_PLAIN_BLOCK if stage == 0 else _TIMM_EXPANDING_BLOCK
        layer = names[path[2]]
    return f"blocks.{stage}.{index}.{layer}.{leaf}"


_LAYOUTS: Mapping[type[nnx.Module], CheckpointLayout] = {
    EfficientNetB0: CheckpointLayout(
        tensor_name=efficientnet_b0_tensor_name,
        head_tensors=frozenset({"classifier.weight", "classifier.bias"}),
        normalization=ImageNormalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ),
}


def load_pretrained(module: nnx.Module, source: str | Path) -> ImageNormalization:
    """Replace all parameters and batch statistics of `module` by those of a checkpoint.

    Args:
        module: a backbone with a known checkpoint layout (EfficientNetB0). Changed in place; the
            tensors are cast to the dtype of the variables they replace. May be abstract
            (`nnx.eval_shape`), which saves the seconds that random initial values cost.
        source: a safetensors file, or a Hugging Face hub repository (`owner/name`) with a
            `model.safetensors`, which is downloaded once into the hub's own cache.

    Returns:
        The normalisation of the images the weights were trained on: from the file's metadata
        (`mean`, `std` as JSON lists), else from the `config.json` that timm puts beside it, else
        what the architecture's publisher used.

    Raises:
        PretrainedWeightsError: the file cannot be had or read, or does not fit. In the latter
            case the message lists the missing, extra and misshapen tensors, and the module is
            unchanged.
    """
    layout = _LAYOUTS.get(type(module))
    if layout is None:
        known = ", ".join(sorted(architecture.__name__ for architecture in _LAYOUTS))
        raise PretrainedWeightsError(
            f"{type(module).__name__} has no pretrained weights (available for: {known}); "
            "train it from scratch"
        )
    file = _locate(source)
    try:
        with safe_open(str(file), framework="flax") as checkpoint:
            metadata = checkpoint.metadata() or {}
            names = checkpoint.keys()
            shapes = {name: tuple(checkpoint.get_slice(name).get_shape()) for name in names}
            variables = _match(module, layout, shapes, source)
            tensors = {name: checkpoint.get_tensor(name) for name in variables}
    except (SafetensorError, OSError) as error:
        raise PretrainedWeightsError(
            f"{source}: cannot be read as safetensors ({_one_line(error)}); "
            "expected an undamaged .safetensors file, download it again"
        ) from error
    normalization = _normalization(file, metadata) or layout.normalization
    for name, variable in variables.items():
        # On the host: on the device every shape would compile its own transposition.
        value = _from_publisher_layout(np.asarray(tensors[name]))
        variable.set_value(jnp.asarray(value.astype(variable.dtype)))
    return normalization


def _locate(source: str | Path) -> Path:
    """The local file of `source`, downloaded from the hub if it is a repository."""
    file = Path(source)
    if file.is_file():
        return file
    is_repository = isinstance(source, str) and _HUB_REPOSITORY.fullmatch(source)
    if not is_repository or file.suffix == ".safetensors":
        raise PretrainedWeightsError(
            f"{source}: no such file; expected a .safetensors file or a Hugging Face hub "
            "repository (owner/name), correct the path"
        )
    try:
        # timm's config.json carries mean and std; the hub's cache puts both files in one folder.
        hf_hub_download(str(source), _CONFIG_FILE)
        return Path(hf_hub_download(str(source), _WEIGHTS_FILE))
    # The hub lets through the errors of whichever HTTP library it uses; they share no base class.
    except Exception as error:
        raise PretrainedWeightsError(
            f"{source}: {_WEIGHTS_FILE} could not be had from the Hugging Face hub "
            f"({_one_line(error)}); check the name and the network, or download the file "
            "elsewhere and give its path instead"
        ) from error


def _match(
    module: nnx.Module,
    layout: CheckpointLayout,
    shapes: Mapping[str, tuple[int, ...]],
    source: str | Path,
) -> dict[str, Any]:
    """The module's variables by tensor name, once all names and shapes are known to agree."""
    variables = {
        layout.tensor_name(path): variable
        for path, variable in nnx.iter_graph(module)
        if isinstance(variable, nnx.Param | nnx.BatchStat)
    }
    not_needed = {
        # PyTorch counts the batches of each normalisation; it means nothing in evaluation.
        name.removesuffix("running_mean") + "num_batches_tracked"
        for name in variables
        if name.endswith(".running_mean")
    }
    if not layout.head_tensors & variables.keys():
        not_needed |= layout.head_tensors
    misshapen = []
    for name in sorted(variables.keys() & shapes.keys()):
        expected = _publisher_shape(variables[name].shape)
        if shapes[name] != expected:
            misshapen.append(f"{name} {list(shapes[name])} instead of {list(expected)}")
    problems = {
        "missing": sorted(variables.keys() - shapes.keys()),
        "not expected": sorted(shapes.keys() - variables.keys() - not_needed),
        "wrong shape": misshapen,
    }
    if any(problems.values()):
        listing = "; ".join(
            f"{kind}: {_abridge(names)}" for kind, names in problems.items() if names
        )
        raise PretrainedWeightsError(
            f"{source}: does not fit {type(module).__name__}: {listing}; "
            "give a checkpoint of this architecture"
        )
    return variables


def _from_publisher_layout(tensor: np.ndarray) -> np.ndarray:
    """PyTorch's `out in height width` and `out in` to JAX's `height width in out` and `in out`."""
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)
    return tensor.T


def _publisher_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `_from_publisher_layout` turns into `shape`."""
    if len(shape) == 4:
        height, width, in_features, out_features = shape
        return out_features, in_features, height, width
    return shape[::-1]


def _normalization(file: Path, metadata: Mapping[str, str]) -> ImageNormalization | None:
    """Mean and std as the checkpoint's publisher states them, in the file or beside it."""
    config_file = file.parent / _CONFIG_FILE
    try:
        if "mean" in metadata and "std" in metadata:
            where = file
            mean, std = json.loads(metadata["mean"]), json.loads(metadata["std"])
        elif config_file.is_file():
            where = config_file
            config = json.loads(config_file.read_text())["pretrained_cfg"]
            mean, std = config["mean"], config["std"]
        else:
            return None
        return ImageNormalization(tuple(map(float, mean)), tuple(map(float, std)))
    except (ValueError, KeyError, TypeError) as error:
        raise PretrainedWeightsError(
            f"{where}: mean and std cannot be read ({_one_line(error)}); expected JSON lists "
            "of one number per channel, repair or remove the entry"
        ) from error


def _abridge(names: list[str]) -> str:
    listed = ", ".join(names[:_MAX_LISTED])
    return listed if len(names) <= _MAX_LISTED else f"{listed} and {len(names) - _MAX_LISTED} more"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
