"""What a run does, in words that are derived from its configuration, so that they cannot drift."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import jax
from flax import nnx

from hqnn_jax.config import Config, DatasetConfig, MlpConfig, ModelConfig
from hqnn_jax.config.names import CIRCUIT_MIDDLES, MIDDLES, middle_record
from hqnn_jax.config.training import AugmentationConfig
from hqnn_jax.models.controls import MatchedLayer
from hqnn_jax.models.middles import build_circuit
from hqnn_jax.reporting.document import Table
from hqnn_jax.reporting.formatting import count, short
from hqnn_jax.text import plural

ARROW = " → "
_TRAINED_CIRCUITS = tuple(name for name in CIRCUIT_MIDDLES if MIDDLES[name].trained)


def describe_data(dataset: DatasetConfig) -> str:
    """Return which images a run has, in which classes, and how they are divided."""
    split = dataset.split
    parts = [f"{dataset.title} at {dataset.resolution} px"]
    if dataset.positive_labels is not None:
        parts.append(f"labels {', '.join(map(str, dataset.positive_labels))} against the rest")
    if dataset.label_map is not None:
        parts.append("classes " + ", ".join(dataset.label_map))
    if dataset.images_per_class is not None:
        parts.append(f"{count(dataset.images_per_class)} images of each class")
    if split.file is not None:
        parts.append(f"split of {split.file.name}")
    elif dataset.split_method == "official":
        parts.append("official split")
    else:
        shares = (1 - split.validation - split.test, split.validation, split.test)
        divided = " / ".join(f"{short(100 * share, 3)}" for share in shares)
        method = dataset.split_method
        how = "split of its own, else" if method is None else f"{method} split"
        parts.append(f"{how} {divided} %, seed {split.seed}")
    return "; ".join(parts)


def describe_network(model: ModelConfig) -> str:
    """Return what an image passes through, from the backbone to the logits."""
    parts = (
        _backbone(model),
        *_layers(model.processor),
        *_selection(model),
        *_scaling(model),
        _middle(model),
        None if model.readout_width is None else f"Linear {model.readout_width}",
        *_layers(model.classifier),
        "logits",
    )
    return ARROW.join(part for part in parts if part)


def brief_model(model: ModelConfig) -> tuple[str, str]:
    """Return in a few words what a model is made of: its backbone and its middle."""
    circuit = model.circuit
    size = f"{circuit.name}, {circuit.num_qubits} qubits, {circuit.num_layers} layers"
    middle = middle_record(model.middle).description.format(circuit=size)
    backbone = f"{model.backbone.name} at {model.backbone.image_size} px"
    return backbone + (", frozen" if model.backbone.frozen else ""), middle


def describe_training(config: Config) -> str:
    """Return how a run is fitted and which of its parameters are evaluated, on which views."""
    training, evaluation = config.training, config.evaluation
    rates, schedule = training.learning_rate, training.schedule
    frozen = config.model.backbone.frozen
    groups = {
        **({} if frozen else {"backbone": rates.backbone}),
        **({"circuit": rates.circuit} if config.model.middle in _TRAINED_CIRCUITS else {}),
        "classical": rates.classical,
    }
    parts = [
        f"{training.optimizer}, {plural(training.epochs, 'epoch')}, batches of "
        f"{training.batch_size}",
        "learning rates " + ", ".join(f"{name} {short(rate)}" for name, rate in groups.items()),
        {
            "constant": "constant",
            "cosine": "on a cosine",
            "reduce_on_plateau": f"times {short(schedule.factor)} after {schedule.patience} epochs "
            "without a lower validation loss",
        }[schedule.name]
        + (f", {short(schedule.warmup_epochs)} of warm-up" if schedule.warmup_epochs else ""),
    ]
    if training.optimizer == "adamw":
        parts.append(f"weight decay {short(training.weight_decay)}")
    if training.loss != "cross_entropy":
        parts.append(f"loss {training.loss}")
    if training.label_smoothing:
        parts.append(f"label smoothing {short(training.label_smoothing)}")
    if training.class_weights != "none":
        parts.append(f"class weights by {training.class_weights.replace('_', ' ')}")
    if training.clip_norm is not None:
        parts.append(f"gradient norm at most {short(training.clip_norm)}")
    if training.contrastive_weight:
        parts.append(f"contrastive term of weight {short(training.contrastive_weight)}")
    if training.images_per_class is not None:
        parts.append(f"{count(training.images_per_class)} training images of each class")
    if training.label_noise:
        parts.append(f"{short(100 * training.label_noise)} % of the training labels replaced")
    parts.append(describe_augmentation(training.augmentation))
    if training.average_decay:
        parts.append(f"average of the parameters with decay {short(training.average_decay)}")
    views = "8 flips and turns" if evaluation.test_time_augmentation == "dihedral" else "1 view"
    parts.append(f"evaluated: {evaluation.checkpoint} epoch, {views} of an image")
    if evaluation.shots is not None:
        parts.append(f"{count(evaluation.shots)} shots")
    if evaluation.noise is not None:
        parts.append("with noise of its own in evaluation")
    return "; ".join(parts)


def describe_augmentation(augmentation: AugmentationConfig) -> str:
    """Return the random changes to training images."""
    smallest, largest = augmentation.crop_scale
    jitter = ("brightness", "contrast", "saturation", "hue")
    parts = [
        f"crops of {short(smallest)} to {short(largest)} of the area" if smallest < 1 else "",
        "horizontal flips" if augmentation.horizontal_flip else "",
        "vertical flips" if augmentation.vertical_flip else "",
        "quarter turns" if augmentation.quarter_turns else "",
        f"turns by ±{short(augmentation.rotation_degrees)}°"
        if augmentation.rotation_degrees
        else "",
        *(
            f"{name} ±{short(value)}" if (value := getattr(augmentation, name)) else ""
            for name in jitter
        ),
    ]
    return "augmentation: " + (", ".join(part for part in parts if part) or "none")


def what_ran(configs: Mapping[str, Config]) -> Table:
    """Return the table that says what each arm did; `configs` maps its label to what it ran."""
    return Table(
        ("Arm", "Data", "Network", "Training and evaluation"),
        tuple(
            (
                label,
                describe_data(config.dataset),
                describe_network(config.model),
                describe_training(config),
            )
            for label, config in configs.items()
        ),
        note="Written from the configuration of each run. Norm: batch normalisation.",
    )


def _backbone(model: ModelConfig) -> str:
    backbone = model.backbone
    if backbone.pretrained == "hub":
        weights = ", ImageNet weights"
    elif backbone.pretrained is not None:
        # A file by its name only: where it lies is nobody's business.
        path = PurePath(backbone.pretrained)
        weights = f", weights {path.name if path.suffix else backbone.pretrained}"
    elif backbone.from_run is not None:
        weights = f", weights of the run {backbone.from_run.name}"
    else:
        weights = ", random weights"
    frozen = ", frozen" if backbone.frozen else ""
    return f"{backbone.name} at {backbone.image_size} px{weights}{frozen}"


def _layers(mlp: MlpConfig) -> list[str]:
    norm = ", norm" if mlp.batch_norm else ""
    return [
        f"Linear {width}{norm}, ReLU" + (f", dropout {short(rate)}" if rate else "")
        for width, rate in zip(mlp.widths, mlp.dropout_rates(), strict=True)
    ]


def _selection(model: ModelConfig) -> list[str]:
    if model.feature_selection == "all":
        return []
    count = build_circuit(model.circuit).num_features
    if model.feature_selection == "projection":
        return [f"Linear {count}"]
    return [f"first {count} of {model.processor.widths[-1]} features"]


def _scaling(model: ModelConfig) -> list[str]:
    return {"none": [], "tanh": ["(π/2)·tanh"], "standardised_tanh": ["norm", "(π/2)·tanh"]}[
        model.feature_scaling
    ]


def _middle(model: ModelConfig) -> str | None:
    if model.middle == "none":
        return None
    circuit = build_circuit(model.circuit)
    sizes = f"{circuit.num_features} → {circuit.num_outputs}"
    if model.middle in CIRCUIT_MIDDLES:
        variant = "" if model.middle == "quantum" else f", {model.middle}"
        noise = "" if model.circuit.noise is None else ", noisy"
        growth = "" if model.circuit.growth is None else f", grows in {model.circuit.growth_axis}"
        qubits = plural(model.circuit.num_qubits, "qubit")
        layers = plural(model.circuit.num_layers, "layer")
        weights = f"{circuit.num_weights} weights"
        return (
            f"circuit {model.circuit.name}{variant} ({qubits}, {layers}, {weights}{noise}{growth})"
        )
    if model.middle != "matched":
        return f"{model.middle} layer ({sizes})"
    layer = nnx.eval_shape(lambda: MatchedLayer.for_circuit(circuit, rngs=nnx.Rngs(0)))
    widths = [circuit.num_features, circuit.num_outputs]
    if layer.hidden is not None:
        widths.insert(1, layer.hidden.out_features)
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    return f"matched layer ({ARROW.join(map(str, widths))}, tanh, {count} weights)"
