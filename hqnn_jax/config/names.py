"""Every part that a configuration can name, and what must be known of it before it is built.

Nothing here imports JAX, so that a wrong name is refused at once: what is built is named by its
import path, `package.module:name`. `docs/extending.md` adds a part of each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args


class BackboneRecord(NamedTuple):
    """A backbone."""

    factory: str
    """Import path of what makes one; see `hqnn_jax.backbones.Backbone`."""
    pretrained: bool = False
    """Whether ImageNet weights can be loaded; its class then has `layouts`."""
    hub: str | None = None
    """Repository of the Hugging Face hub with the usual ones; null where only files have them."""
    one_image_size: bool = False
    """Whether it flattens its maps: its factory takes the `image_size`, too."""


BACKBONES: Mapping[str, BackboneRecord] = {
    "compact": BackboneRecord("hqnn_jax.backbones.compact:CompactResNet"),
    "five_layer_cnn": BackboneRecord("hqnn_jax.backbones.cnn:FiveLayerCNN", one_image_size=True),
    "lean_cnn": BackboneRecord("hqnn_jax.backbones.lean:LeanCNN", one_image_size=True),
    "lean_hybrid": BackboneRecord(
        "hqnn_jax.backbones.lean:LeanHybridFrontEnd", one_image_size=True
    ),
    # torchvision's first weights of each, and EfficientNet-B0 as its authors trained it.
    "resnet18": BackboneRecord(
        "hqnn_jax.backbones.resnet:resnet18", pretrained=True, hub="timm/resnet18.tv_in1k"
    ),
    "resnet50": BackboneRecord(
        "hqnn_jax.backbones.resnet:resnet50", pretrained=True, hub="timm/resnet50.tv_in1k"
    ),
    "resnet50_v1": BackboneRecord("hqnn_jax.backbones.resnet:resnet50_v1", pretrained=True),
    "vgg16": BackboneRecord(
        "hqnn_jax.backbones.vgg:VGG16", pretrained=True, hub="timm/vgg16.tv_in1k"
    ),
    "efficientnet_b0": BackboneRecord(
        "hqnn_jax.backbones.efficientnet:EfficientNetB0",
        pretrained=True,
        hub="timm/tf_efficientnet_b0.in1k",
    ),
}
BACKBONE_NAMES = tuple(BACKBONES)
PRETRAINED_NAMES = tuple(name for name, record in BACKBONES.items() if record.pretrained)
"""Backbones whose ImageNet weights can be loaded."""


class MiddleRecord(NamedTuple):
    """What is between processor and classifier."""

    kind: Literal["circuit", "control", "nothing"]
    """A circuit, a classical layer with its inputs and outputs, or nothing."""
    description: str
    """For tables; `{circuit}` is the configured circuit with its size."""
    made_by: str | None = None
    """Import path: for a circuit, of the function that makes it of the configured one (null: the
    configured one); for a control, of its class, a `hqnn_jax.models.controls.Control`."""
    trained: bool = True
    """Whether a circuit's weights are trained."""


MIDDLES: Mapping[str, MiddleRecord] = {
    "quantum": MiddleRecord("circuit", "circuit {circuit}"),
    # With its random initial weights.
    "frozen": MiddleRecord("circuit", "circuit {circuit}, random and not trained", trained=False),
    "unentangled": MiddleRecord(
        "circuit",
        "circuit {circuit}, without entangling gates",
        "hqnn_jax.circuits.variants:without_entanglement",
    ),
    # Its embedding and observables around one rotation per qubit.
    "product": MiddleRecord(
        "circuit",
        "one rotation per qubit in place of the circuit {circuit}",
        "hqnn_jax.circuits.variants:product_of_rotations",
    ),
    # With as many parameters as the circuit.
    "matched": MiddleRecord(
        "control", "matched classical layer", "hqnn_jax.models.controls:MatchedLayer"
    ),
    # Trainable, with the circuit's frequencies.
    "fourier": MiddleRecord(
        "control",
        "Fourier series with the frequencies of the circuit {circuit}",
        "hqnn_jax.models.controls:FourierSeries",
    ),
    "linear": MiddleRecord("control", "linear layer", "hqnn_jax.models.controls:LinearLayer"),
    "none": MiddleRecord("nothing", "no middle layer"),
}
MIDDLE_NAMES = tuple(MIDDLES)
CIRCUIT_MIDDLES = tuple(name for name, record in MIDDLES.items() if record.kind == "circuit")
"""Middles that are circuits."""


def middle_record(name: str) -> MiddleRecord:
    """Return what is known of a middle: of one's own, that it is a classical layer."""
    return MIDDLES.get(name) or MiddleRecord("control", f"layer {name}", name)


LOSS_NAMES = ("cross_entropy",)

TaskName = Literal["multiclass", "ordinal", "multilabel"]
"""One class an image; one of several grades in an order; or any number of labels an image."""


class DatasetRecord(NamedTuple):
    """A set of images."""

    kind: Literal["synthetic", "medmnist", "folder", "own"]
    """Drawn here; published by MedMNIST; image files, one folder per class, that a person has to
    download (then `hqnn_jax.data.folder_sources` says more); or a user's own."""
    official_split: bool = False
    """Whether it is published with a test split."""
    grouped: bool = False
    """Whether it is known, or found out, which images belong together."""
    task: TaskName = "multiclass"
    """What is learned of it, unless `dataset.task` says otherwise."""
    loaded_by: str = ""
    """Of an own set: import path of the function that makes a `hqnn_jax.data.pool.ImagePool` of
    the section `dataset` (and a `Progress`)."""
    path: str = ""
    """Of an own set: what `dataset.path` is, in words; empty where it has none."""


_MEDMNIST = DatasetRecord("medmnist", official_split=True)
DATASETS: Mapping[str, DatasetRecord] = {
    "synthetic_cells": DatasetRecord("synthetic", official_split=True),
    "bloodmnist": _MEDMNIST,
    "breastmnist": _MEDMNIST,
    "chestmnist": _MEDMNIST._replace(task="multilabel"),
    "dermamnist": _MEDMNIST,
    "octmnist": _MEDMNIST,
    "organamnist": _MEDMNIST,
    "organcmnist": _MEDMNIST,
    "organsmnist": _MEDMNIST,
    "pathmnist": _MEDMNIST,
    "pneumoniamnist": _MEDMNIST,
    "retinamnist": _MEDMNIST,
    "tissuemnist": _MEDMNIST,
    "pbc": DatasetRecord("folder"),
    "blood_cell_images": DatasetRecord("folder", official_split=True, grouped=True),
    "aml_cytomorphology": DatasetRecord("folder"),
    "medical_mnist": DatasetRecord("folder"),
    "image_folder": DatasetRecord(
        "own",
        loaded_by="hqnn_jax.data.own.image_folder:load",
        path="a folder with one folder of images per class, or with train/, validation/ and test/",
    ),
    "table": DatasetRecord(
        "own",
        loaded_by="hqnn_jax.data.own.table:load",
        path="a CSV or Parquet file with the columns path and label",
    ),
    "npz": DatasetRecord(
        "own",
        loaded_by="hqnn_jax.data.own.arrays:load_file",
        path="an .npz file with images and labels",
    ),
}
DATASET_NAMES = tuple(DATASETS)
MEDMNIST_NAMES = tuple(name for name, record in DATASETS.items() if record.kind == "medmnist")
FOLDER_NAMES = tuple(name for name, record in DATASETS.items() if record.kind == "folder")
PREFIXED_DATASETS: Mapping[str, DatasetRecord] = {
    "tfds": DatasetRecord("own", loaded_by="hqnn_jax.data.own.tensorflow_datasets:load"),
    "hf": DatasetRecord("own", loaded_by="hqnn_jax.data.own.hugging_face:load"),
}
"""Sets of TensorFlow Datasets and of Hugging Face, named `tfds:NAME` and `hf:NAME`."""
_OF_A_FUNCTION = DatasetRecord("own", loaded_by="hqnn_jax.data.own.function:load")


def dataset_record(name: str) -> DatasetRecord:
    """Return what is known of a set of `DATASETS`, of `PREFIXED_DATASETS`, or of a function."""
    prefix = name.partition(":")[0]
    return DATASETS.get(name) or PREFIXED_DATASETS.get(prefix, _OF_A_FUNCTION)


CIRCUIT_NAMES = (
    "radhi2025",
    "hqnn2026",
    "aml2026",
    "hqcnn2025",
    "lean2025",
    "strongly_entangling",
    "composed",
)
EngineName = Literal["auto", "pennylane", "statevector", "unitary", "pauli_transfer"]
ENGINE_NAMES: tuple[str, ...] = get_args(EngineName)
"""`auto`, and the modules of `hqnn_jax.circuits.engines` in order of preference where estimated
times are equal."""

EMBEDDING_NAMES = ("angle_x", "angle_y", "angle_z", "iqp", "zz", "amplitude")
ANSATZ_NAMES = (
    "strongly_entangling",
    "basic_entangler",
    "real_amplitudes",
    "efficient_su2",
    "brickwork",
    "hardware_efficient",
    "tree",
    "qcnn",
)
ENTANGLEMENT_NAMES = ("none", "linear", "reverse_linear", "ring", "full")
MEASUREMENT_NAMES = ("z", "z_first", "xyz", "zz", "parity", "probabilities")

PAPER_NAMES = ("radhi2025", "hqnn2026", "aml2026", "hqcnn2025", "lean2025")
