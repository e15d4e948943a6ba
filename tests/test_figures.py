"""The accuracies the README states, measured again on real data; minutes each, hence slow."""

import json

import numpy as np
import pytest

from tests.command_line import call
from tests.test_config import CONFIGS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture
def test_accuracy(tmp_path, monkeypatch, shared_data):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HQNN_DATA_DIR", str(shared_data))

    def test_accuracy(name: str, *overrides: str) -> float:
        out = tmp_path / name
        arguments = ["run", CONFIGS / f"{name}.yaml", *overrides, "--out", out]
        code, _, err = call(*arguments)
        assert code == 0, err
        return json.loads((out / "metrics.json").read_text())["test"]["accuracy"]

    return test_accuracy


def test_quickstart_is_learned_but_not_at_once(test_accuracy, tmp_path):
    assert test_accuracy("quickstart") > 0.95
    first = (tmp_path / "quickstart" / "history.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["validation_accuracy"] < 0.9


def test_compact_hybrid_passes_the_published_accuracy(test_accuracy):
    assert test_accuracy("bloodmnist_compact") >= 0.9658


def test_hqcnn2025_on_eight_classes(test_accuracy):
    assert test_accuracy("hqcnn2025_bloodmnist") > 0.90


def test_hqcnn2025_on_the_binary_task(test_accuracy):
    assert test_accuracy("hqcnn2025_bloodmnist_binary") > 0.99


def test_frozen_features_with_the_papers_head(test_accuracy, shared_weights):
    weights = shared_weights / "tf_efficientnet_b0.safetensors"
    override = f"model.backbone.pretrained={weights}"
    assert test_accuracy("radhi2025_bloodmnist_frozen", override) > 0.87


def test_hqcnn2025_on_the_femurs_passes_the_published_accuracy(test_accuracy):
    assert test_accuracy("hqcnn2025_organamnist_binary", "seeds=3") >= 0.9884


def test_lean2025_hybrid(test_accuracy, tmp_path):
    assert test_accuracy("lean2025_medical_mnist") >= 0.995
    metrics = json.loads((tmp_path / "lean2025_medical_mnist" / "metrics.json").read_text())
    assert metrics["parameters"]["total"] <= 45_000


def test_hqnn2026_learns_from_frozen_resnet_features(test_accuracy, shared_weights):
    weights = shared_weights / "resnet50_v1.safetensors"
    accuracy = test_accuracy(
        "hqnn2026_pbc", "model.backbone.name=resnet50_v1", f"model.backbone.pretrained={weights}"
    )
    assert accuracy > 0.70  # 1,100 of the 17,092 images; guessing gives 0.23


def test_equilibrium_propagation_comes_close_to_backpropagation(monkeypatch, tmp_path, shared_data):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HQNN_DATA_DIR", str(shared_data))
    out = tmp_path / "aml2026"
    code, _, err = call("paper", "aml2026", "--out", out)
    assert code == 0, err
    cells = json.loads((out / "results.json").read_text())["cells"]
    accuracy = {cell["arm"]: np.mean(cell["accuracies"]) for cell in cells if cell["size"] == 250}
    assert accuracy["equilibrium_propagation"] > accuracy["dense"] - 0.03
    assert accuracy["dense"] > 0.85
