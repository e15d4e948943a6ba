"""Models that are not simply what was trained, each left by a run of its own."""

import numpy as np
import pytest

from hqnn_jax.errors import HqnnError
from hqnn_jax.trained.record import ModelRecord, read_record
from hqnn_jax.trained.structure import build_structure
from hqnn_jax.trained.zoo import ZOO
from tests.command_line import call
from tests.small_runs import small_run
from tests.trained.parity import assert_predicts_as_evaluated

REST = """
training: {epochs: 2, batch_size: 16}
evaluation: {bootstrap_samples: 100, explained_images: 0}
"""
GROWN = (
    "model.circuit.growth.maximum=3",
    "model.circuit.growth.patience=1",
    "model.circuit.growth.min_improvement=1000",
    "training.epochs=4",
    "evaluation.checkpoint=last",
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return `run(*changed keys) -> folder of the finished run`."""
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "small.yaml").write_text(small_run((32, 16, 24), REST))

    def run(*changed):
        code, _, err = call("run", tmp_path / "small.yaml", *changed, "--out", tmp_path / "run")
        assert code == 0, err
        return tmp_path / "run"

    return run


@pytest.mark.slow
def test_an_efficientnet_keeps_the_arithmetic_of_its_weights():
    record = read_record(ZOO / "quickstart")
    backbone = record.model.backbone.model_copy(update={"name": "efficientnet_b0"})
    model = record.model.model_copy(update={"backbone": backbone})

    paddings = []
    for variant in (None, "tensorflow", "torch"):
        changed = record.model_copy(update={"model": model, "backbone_variant": variant})
        network, variables = build_structure(changed, shots=None)
        paddings.append(network.module(variables).backbone.stem_conv.padding)
    assert paddings == ["SAME", "SAME", 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        ["evaluation.test_time_augmentation=dihedral", "training.average_decay=0.9"],
        ["model.circuit.noise.one_qubit=0.01", "evaluation.noise.one_qubit=0.1"],
        GROWN,
        ["model.middle=frozen", "model.backbone.frozen=true", "seeds=2"],
        ["model.middle=none", "model.feature_scaling=none", "model.feature_selection=all"],
    ],
    ids=["views", "noise", "grown", "frozen", "plain"],
)
def test_it_predicts_as_it_was_evaluated(run, changed):
    model = assert_predicts_as_evaluated(run(*changed))
    assert model.config.circuit.growth is None
    assert model.config.circuit.num_layers == (3 if changed is GROWN else 1)


@pytest.mark.slow
def test_with_shots_it_predicts_about_as_it_was_evaluated(run):
    model = assert_predicts_as_evaluated(run("evaluation.shots=4096"), atol=0.05)
    images = np.zeros((4, 28, 28, 3), np.uint8)
    images[:] = np.arange(4)[:, None, None, None] * 60
    first, again = (model.predict(images).probabilities for _ in range(2))
    np.testing.assert_array_equal(first, again)
    model.explain(images, np.zeros(4, int), steps=2)


@pytest.mark.slow
def test_a_grey_set_behind_a_pretrained_network(run, shared_data, shared_weights):
    weights = shared_weights / "tf_efficientnet_b0.safetensors"
    folder = run(
        "dataset.name=breastmnist",
        f"dataset.data_dir={shared_data}",
        "model.backbone.name=efficientnet_b0",
        "model.backbone.image_size=32",
        f"model.backbone.pretrained={weights}",
        "model.backbone.normalisation=imagenet",
        "model.backbone.frozen=true",
    )
    model = assert_predicts_as_evaluated(folder, atol=1e-4)
    assert (model.channels, model.record.images.network_channels) == (1, 3)
    assert model.record.backbone_variant == "tensorflow"
    stored = "".join(path.read_text() for path in (folder / "model").glob("*.[my][da]*"))
    assert str(shared_weights) not in stored


def test_a_record_refuses_what_it_does_not_know():
    record = read_record(ZOO / "quickstart").model_dump(mode="json")
    for wrong in ({"task": "regression"}, {"temperature": 0.0}, {"surprise": 1}):
        with pytest.raises((HqnnError, ValueError)):
            ModelRecord.model_validate({**record, **wrong})
