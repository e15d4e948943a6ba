"""ImageNet weights from the Hugging Face hub or a local file, in their publisher's names.

A file must fit the module exactly: every variable has its tensors, every tensor is used or is one
the layout declares as not needed, and the shapes agree. Nothing is assigned otherwise.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from huggingface_hub import hf_hub_download

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.checkpoint_files import (
    FILE_SUFFIXES,
    CheckpointFile,
    open_checkpoint,
)
from hqnn_jax.backbones.checkpoint_layout import CheckpointLayout, ImageNormalization, TensorSource
from hqnn_jax.config.names import BACKBONES
from hqnn_jax.errors import PretrainedWeightsError, reason_of

_WEIGHTS_FILE = "model.safetensors"
_CONFIG_FILE = "config.json"
_HUB_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_MAX_LISTED = 8
# PyTorch's and Keras' names.
_VARIANCES = ("running_var", "moving_variance")


def pretrained_source(name: str, pretrained: str) -> str:
    """Return the file or repository that `model.backbone.pretrained` means for a backbone.

    Args:
        name: name of the backbone in a configuration.
        pretrained: `hub`, a repository (`owner/name`) or the path of a file.

    Raises:
        PretrainedWeightsError: the hub has no weights of this backbone.
    """
    if pretrained != "hub":
        return pretrained
    repository = BACKBONES[name].hub
    if repository is None:
        others = ", ".join(other for other, record in BACKBONES.items() if record.hub)
        raise PretrainedWeightsError(
            f"model.backbone.pretrained: the hub has no weights of {name} (but of {others}); give "
            "the path of a .safetensors or Keras .h5 file"
        )
    return repository


def load_pretrained(module: Backbone, source: str | Path) -> ImageNormalization:
    """Replace all parameters and batch statistics of `module` by those of a file.

    Args:
        module: a backbone that has `layouts`. Changed in place; the tensors are cast to the
            dtype of the variables they replace. May be abstract (`nnx.eval_shape`), which saves
            the seconds that random initial values cost.
        source: a safetensors file in the names of torchvision, timm or Keras, an .h5 file of Keras
            Applications, or a Hugging Face hub repository (`owner/name`) with a
            `model.safetensors`, which is downloaded once into the hub's own cache.

    Returns:
        The normalisation of the images the weights were trained on; see
        `pretrained_normalization`.

    Raises:
        PretrainedWeightsError: the file cannot be had or read, or does not fit. In the latter
            case the message lists the missing, extra and misshapen tensors, and the module is
            unchanged.
    """
    layouts = module.layouts
    if not layouts:
        raise PretrainedWeightsError(
            f"{type(module).__name__} has no pretrained weights (available for: "
            f"{_names(_architectures())}); train it from scratch"
        )
    file = _locate(source)
    with open_checkpoint(file) as checkpoint:
        layout = _detect(checkpoint.shapes, layouts) or layouts[0]
        matches = _match(module, layout, checkpoint, source)
        values = [_value(checkpoint, variable, origin, source) for variable, origin in matches]
    stated = _statement(file, checkpoint.metadata)
    refusal = layout.adapt(module, stated.architecture)
    if refusal is not None:
        raise PretrainedWeightsError(f"{source}: {refusal}")
    for (variable, _), value in zip(matches, values, strict=True):
        variable.set_value(value)
    return stated.normalization or layout.normalization


def pretrained_normalization(source: str | Path) -> ImageNormalization:
    """Return the normalisation of the images the weights of `source` were trained on.

    From the file's metadata (`mean`, `std` as JSON lists), else from the `config.json` that timm
    puts beside it, else what the publisher whose tensor names it has used.

    Raises:
        PretrainedWeightsError: the file cannot be had or read, or has nobody's tensor names.
    """
    file = _locate(source)
    with open_checkpoint(file) as checkpoint:
        stated = _statement(file, checkpoint.metadata).normalization
    if stated is not None:
        return stated
    known = _architectures()
    layout = _detect(checkpoint.shapes, [layout for one in known for layout in one.layouts])
    if layout is None:
        raise PretrainedWeightsError(
            f"{source}: tensor names of none of {_names(known)} (of torchvision, timm or Keras); "
            f"it has {_abridge(sorted(checkpoint.shapes)) or 'no tensors'}; give another file"
        )
    return layout.normalization


def _architectures() -> tuple[type[Backbone], ...]:
    """The classes of all backbones that have pretrained weights."""
    factories = [pkgutil.resolve_name(r.factory) for r in BACKBONES.values() if r.pretrained]
    return tuple(dict.fromkeys(getattr(factory, "func", factory) for factory in factories))


def _names(architectures: Iterable[type[Backbone]]) -> str:
    return ", ".join(sorted(architecture.__name__ for architecture in architectures))


def _locate(source: str | Path) -> Path:
    """The local file of `source`, downloaded from the hub if it is a repository."""
    file = Path(source)
    if file.is_file():
        return file
    is_repository = isinstance(source, str) and _HUB_REPOSITORY.fullmatch(source)
    if not is_repository or file.suffix in FILE_SUFFIXES:
        raise PretrainedWeightsError(
            f"{source}: no such file; expected a .safetensors or Keras .h5 file, or a Hugging Face "
            "hub repository (owner/name), correct the path"
        )
    try:
        # timm's config.json carries mean and std; the hub's cache puts both files in one folder.
        hf_hub_download(str(source), _CONFIG_FILE)
        return Path(hf_hub_download(str(source), _WEIGHTS_FILE))
    # The hub lets through the errors of whichever HTTP library it uses; they share no base class.
    except Exception as error:
        raise PretrainedWeightsError(
            f"{source}: {_WEIGHTS_FILE} could not be had from the Hugging Face hub "
            f"({reason_of(error)}); check the name and the network, or download the file "
            "elsewhere and give its path instead"
        ) from error


def _detect(
    names: Mapping[str, Any], layouts: Iterable[CheckpointLayout]
) -> CheckpointLayout | None:
    """The layout whose telling tensor is there."""
    return next((layout for layout in layouts if layout.telling in names), None)


def _match(
    module: nnx.Module, layout: CheckpointLayout, checkpoint: CheckpointFile, source: str | Path
) -> list[tuple[Any, TensorSource]]:
    """The module's variables and their tensors, once all names and shapes are known to agree."""
    matches = [
        (variable, layout.source(path, variable.shape))
        for path, variable in nnx.iter_graph(module)
        if isinstance(variable, nnx.Param | nnx.BatchStat)
    ]
    expected = {name: shape for _, origin in matches for name, shape in origin.shapes.items()}
    shapes = checkpoint.shapes
    head = frozenset() if layout.head & expected.keys() else layout.head
    problems = {
        "missing": sorted(expected.keys() - shapes.keys()),
        "not expected": [
            name
            for name in sorted(shapes.keys() - expected.keys() - head)
            if not layout.unused.fullmatch(name)
        ],
        "wrong shape": [
            f"{name} {list(shapes[name])} instead of {list(expected[name])}"
            for name in sorted(expected.keys() & shapes.keys())
            if shapes[name] != expected[name]
        ],
    }
    if any(problems.values()):
        listing = "; ".join(
            f"{kind}: {_abridge(names)}" for kind, names in problems.items() if names
        )
        raise PretrainedWeightsError(
            f"{source}: does not fit {type(module).__name__}: {listing}; "
            "give weights of this architecture"
        )
    return matches


def _value(
    checkpoint: CheckpointFile, variable: Any, origin: TensorSource, source: str | Path
) -> jnp.ndarray:
    """The value of a variable, in its dtype.

    Arranged on the host: on the device every shape would compile its own transposition.
    """
    tensors = []
    for name in origin.shapes:
        tensor = checkpoint.read(name).astype(variable.dtype)
        wrong = implausible(name, tensor)
        if wrong is not None:
            raise PretrainedWeightsError(f"{source}: {name}: {wrong}; download the weights again")
        tensors.append(tensor)
    return jnp.asarray(origin.convert(*tensors))


def implausible(name: str, tensor: np.ndarray) -> str | None:
    """Why no training leaves such a tensor; None if one may.

    A variance of zero is that of a channel that is always off, unless all are.
    """
    if not np.isfinite(tensor.astype(np.float32)).all():
        return "has values that are not finite"
    if name.endswith(_VARIANCES) and ((tensor < 0).any() or not tensor.any()):
        return "is no variance: negative somewhere, or zero everywhere"
    return None


class _Statement(NamedTuple):
    """What the weights' publisher says about them."""

    normalization: ImageNormalization | None
    architecture: str | None


def _statement(file: Path, metadata: Mapping[str, str]) -> _Statement:
    """From the file's metadata, else from the `config.json` that timm puts beside its weights."""
    config_file = file.parent / _CONFIG_FILE
    try:
        if "mean" in metadata and "std" in metadata:
            where = file
            architecture = metadata.get("architecture")
            mean, std = json.loads(metadata["mean"]), json.loads(metadata["std"])
        elif config_file.is_file():
            where = config_file
            config = json.loads(config_file.read_text())
            architecture = config.get("architecture")
            mean, std = config["pretrained_cfg"]["mean"], config["pretrained_cfg"]["std"]
        else:
            return _Statement(None, metadata.get("architecture"))
        normalization = ImageNormalization(tuple(map(float, mean)), tuple(map(float, std)))
        if len(normalization.mean) != len(normalization.std):
            raise ValueError(f"{len(mean)} means and {len(std)} deviations")
        if not np.isfinite((*normalization.mean, *normalization.std)).all():
            raise ValueError("not finite")
        if min(normalization.std, default=0) <= 0:
            raise ValueError(f"a deviation of {min(normalization.std, default=0):g}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PretrainedWeightsError(
            f"{where}: mean and std cannot be read ({reason_of(error)}); expected JSON lists "
            "of one number per channel, deviations above 0; repair or remove the entry"
        ) from error
    return _Statement(normalization, architecture)


def _abridge(names: list[str]) -> str:
    listed = ", ".join(names[:_MAX_LISTED])
    return listed if len(names) <= _MAX_LISTED else f"{listed} and {len(names) - _MAX_LISTED} more"
