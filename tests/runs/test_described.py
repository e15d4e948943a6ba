"""What is printed of a run agrees with what its configuration builds."""

import re

import jax
import pytest
from flax import nnx

from hqnn_jax.config.loading import load_config
from hqnn_jax.experiments import hqcnn2025, hqnn2026, lean2025, radhi2025
from hqnn_jax.experiments.paper import CONFIGS, PaperRequest
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.runs.described import describe_data, describe_network, describe_training
from hqnn_jax.runs.summary import published_figures

ARMS = (
    *hqnn2026.PBC,
    *hqcnn2025._arms("bloodmnist", "BloodMNIST")[:2],
    *lean2025.ARMS[:3],
    radhi2025.PUBLISHED_ARM,
    *radhi2025.ARMS,
)


@pytest.fixture(params=ARMS, ids=lambda arm: arm.name)
def config(request, tmp_path):
    return request.param.resolve(PaperRequest(tmp_path))


def _built(config):
    """Return the model on a few backbone features."""
    return HybridNetwork(
        config.model, backbone=None, num_features=12, num_classes=8, key=jax.random.key(0)
    )


def test_the_printed_layers_are_the_models(config):
    text, model = describe_network(config.model), _built(config)
    linears = [
        *model.processor.linears,
        *([model.projection] if model.projection is not None else []),
        *([model.readout] if model.readout is not None else []),
        *model.classifier.linears,
    ]
    widths = [int(width) for width in re.findall(r"Linear (\d+)", text)]
    assert widths == [linear.out_features for linear in linears]
    norms = len(model.processor.norms) + len(model.classifier.norms)
    assert len(re.findall(r"\bnorm\b", text)) == norms + (model.angle_norm is not None)
    assert ("(π/2)·tanh" in text) == (config.model.feature_scaling != "none")
    middle = 0
    if model.middle is not None:
        middle = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model.middle, nnx.Param)))
    printed = re.search(r"(\d+) weights[),]", text)
    assert (int(printed[1]) if printed else 0) == middle


def test_the_reading_of_hqnn2026_is_what_runs():
    def text(*overrides):
        return describe_network(load_config(CONFIGS / "hqnn2026_pbc.yaml", overrides).model)

    assert text() == (
        "resnet50 at 224 px, ImageNet weights, frozen → Linear 64, norm, ReLU, dropout 0.3 → "
        "Linear 4 → norm → (π/2)·tanh → circuit hqnn2026 (4 qubits, 2 layers, 24 weights) → "
        "Linear 32, ReLU → logits"
    )
    assert "matched layer (4 → 3 → 4, tanh, 24 weights)" in text("model.middle=matched")
    assert "matched" not in text("model.middle=none")
    assert "tanh" not in text("model.feature_scaling=none")
    assert "Linear 5 →" in text("model.circuit.num_qubits=5")
    assert "Linear 128, norm, ReLU, dropout 0.3" in text("model.processor.widths=[128]")


def test_training_is_described_from_the_configuration():
    def text(*overrides):
        return describe_training(
            load_config(CONFIGS / "hqcnn2025_bloodmnist_binary.yaml", overrides)
        )

    ours = text()
    assert ours.startswith("adam, 10 epochs, batches of 64; ")
    for part in ("on a cosine", "decay 0.99", "8 flips and turns", "quarter turns"):
        assert part in ours
    plain = text(
        "training.schedule.name=constant",
        "training.average_decay=0",
        "evaluation.test_time_augmentation=none",
        "evaluation.checkpoint=last",
    )
    assert plain.endswith("evaluated: last epoch, 1 view of an image")
    assert "average" not in plain
    assert "constant" in plain


def test_the_readings_of_radhi2025_follow_its_configuration():
    config = load_config(CONFIGS / "radhi2025_bloodmnist.yaml")
    readings = " ".join(radhi2025.readings())
    jitter = config.training.augmentation
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert f"{name} ±{getattr(jitter, name):g}" in readings
    assert "times 0.5 after 5 epochs" in readings
    assert config.training.schedule.factor == 0.5
    assert config.training.schedule.patience == 5
    # Seen with the last epoch, like the published model.
    resolved = radhi2025.PUBLISHED_ARM.resolve(PaperRequest(CONFIGS))
    assert resolved.evaluation.checkpoint == "last"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ((), "pbc at 224 px; stratified split 70 / 10 / 20 %, seed 0"),
        (
            ("dataset.split.test=0.3", "dataset.split.seed=4", "dataset.images_per_class=50"),
            "pbc at 224 px; 50 images of each class; stratified split 60 / 10 / 30 %, seed 4",
        ),
        (
            ("dataset.label_map={young: [ig], old: [neutrophil]}",),
            "pbc at 224 px; classes young, old; stratified split 70 / 10 / 20 %, seed 0",
        ),
        (
            ("dataset={name: bloodmnist, positive_labels: [1, 2]}",),
            "bloodmnist at 28 px; labels 1, 2 against the rest; official split",
        ),
    ],
)
def test_data_are_described_from_the_configuration(overrides, text):
    config = load_config(CONFIGS / "hqnn2026_pbc.yaml", overrides)
    assert describe_data(config.dataset) == text


def test_weights_are_named_without_their_folder():
    def text(pretrained):
        override = f"model.backbone.pretrained={pretrained}"
        return describe_network(load_config(CONFIGS / "hqnn2026_pbc.yaml", (override,)).model)

    assert "px, weights mine.safetensors, frozen" in text("/somewhere/else/mine.safetensors")
    assert "px, weights owner/name, frozen" in text("owner/name")


def test_the_report_of_a_run_says_what_ran_beside_the_published_figures():
    config = load_config(CONFIGS / "hqnn2026_pbc.yaml", ("model.processor.widths=[48]",))
    published = published_figures(config)
    assert published.figures == hqnn2026.PUBLISHED["quantum"].figures
    assert published.notes[-1].startswith(
        "What ran: pbc at 224 px; stratified split 70 / 10 / 20 %"
    )
    assert "→ Linear 48, norm, ReLU, dropout 0.3 → Linear 4 → norm →" in published.notes[-1]
    assert published_figures(load_config(CONFIGS / "quickstart.yaml", ())) is None
