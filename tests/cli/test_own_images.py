"""Runs on images of a user's own: grades, and several labels an image (drawn for the purpose)."""

import json

import numpy as np
import PIL.Image
import pytest

from tests.cli.calls import SMALLEST, assert_one_error, predictions
from tests.command_line import call
from tests.trained.parity import assert_predicts_as_evaluated


@pytest.fixture
def squares(tmp_path):
    """Grey squares whose brightness is a grade, in a table with groups and weights."""
    rng = np.random.default_rng(0)
    rows = ["path,label,group,weight"]
    for number in range(96):
        grade = number % 3
        pixels = np.clip(rng.normal(60 + 60 * grade, 15, (16, 16)), 0, 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{grade},p{number // 6},{1 + grade}")
    (tmp_path / "squares.csv").write_text("\n".join(rows))
    return tmp_path / "squares.csv"


@pytest.fixture
def corners(tmp_path):
    """Pictures with any of two bright corners, laid out as ChestMNIST."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, size in (("train", 80), ("val", 24), ("test", 30)):
        labels = rng.integers(0, 2, (size, 2)).astype(np.uint8)
        pixels = rng.integers(0, 80, (size, 16, 16), np.uint8)
        pixels[:, :8, :8] += 150 * labels[:, 0, None, None]
        pixels[:, 8:, 8:] += 150 * labels[:, 1, None, None]
        arrays |= {f"{part}_images": pixels, f"{part}_labels": labels}
    np.savez(tmp_path / "corners.npz", class_names=np.array(["upper <l>", "lower"]), **arrays)
    return tmp_path / "corners.npz"


def write(path, dataset):
    path.write_text(f"dataset: {dataset}\n{SMALLEST}")
    return path


def test_a_run_on_classes_in_an_order(squares, tmp_path):
    dataset = f"{{name: table, path: {squares}, resolution: 16, task: ordinal}}"
    config = write(tmp_path / "own.yaml", dataset)
    card = "dataset.card={name: Our <squares>, licence: CC0, citation: 'Us (2026)'}"
    code, out, err = call("run", config, card, "--out", tmp_path / "run")
    assert code == 0, err
    assert "quadratic kappa" in out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert -1 <= metrics["test"]["quadratic_kappa"] <= 1
    assert (metrics["dataset"]["name"], metrics["dataset"]["licence"]) == ("Our <squares>", "CC0")
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Quadratic kappa" in report
    assert "Our &lt;squares&gt;" in report
    assert "Us (2026)" in report
    assert "Acevedo" not in report
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert all(text in card for text in ("Quadratic kappa", "Our &lt;squares>", "Us (2026)"))
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())["files"]
    patients = [{int(file[:-4]) // 6 for file in files} for files in splits.values()]
    assert sum(map(len, patients)) == 16
    # The split can be taken to another run.
    stored = f"dataset.split.file={tmp_path / 'run' / 'splits.json'}"
    code, out, err = call("data", "inspect", config, stored, "--out", tmp_path / "found")
    assert code == 0, err
    found = json.loads((tmp_path / "found" / "inspection.json").read_text())
    assert {name: sum(found["counts"][name]) for name in splits} == metrics["dataset"]["counts"]


def test_an_order_that_nobody_knows(squares, tmp_path):
    squares.write_text(squares.read_text().replace(".png,0,", ".png,none,"))
    dataset = f"{{name: table, path: {squares}, resolution: 16, task: ordinal}}"
    config = write(tmp_path / "own.yaml", dataset)
    assert_one_error(
        call("data", "inspect", config, "--out", tmp_path / "found"),
        2, "the order of the classes 1, 2, none is not known", "dataset.label_map",
    )  # fmt: skip


def test_a_run_on_images_with_several_labels(corners, tmp_path):
    dataset = f"{{name: npz, path: {corners}, resolution: 16, task: multilabel}}"
    config = write(tmp_path / "own.yaml", dataset)
    weighted = "training.class_weights=inverse_frequency"
    code, out, err = call("run", config, weighted, "seeds=2", "--out", tmp_path / "run")
    assert code == 0, err
    assert "test       macro ROC-AUC 0." in out
    found = predictions(tmp_path / "run")
    assert found["test_probabilities"].shape == (2, 30, 2)
    with np.load(corners) as given:
        np.testing.assert_array_equal(found["test_labels"], given["test_labels"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["dataset"]["task"] == "multilabel"
    assert metrics["test"]["standard_deviation"]["macro_roc_auc"] >= 0
    assert metrics["test"]["per_class"][0]["support"] == found["test_labels"][:, 0].sum()
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Test metrics by label" in report
    assert "upper &lt;l&gt;" in report
    assert "by validation loss" in report
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert 0 < json.loads(history[0])["train_accuracy"] < 1
    before = found["test_probabilities"]
    assert assert_predicts_as_evaluated(tmp_path / "run").task == "multilabel"
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert all(text in card for text in ("All labels right", "upper &lt;l>", "all true labels"))
    # The images may lie elsewhere by now.
    (tmp_path / "elsewhere").mkdir()
    corners.rename(tmp_path / "elsewhere" / corners.name)
    assert call("evaluate", tmp_path / "run", "--data-dir", tmp_path / "elsewhere")[0] == 0
    np.testing.assert_array_equal(predictions(tmp_path / "run")["test_probabilities"], before)
    refused = "a run on a set of several labels an image"
    assert_one_error(call("report", tmp_path / "run", tmp_path / "run"), 1, refused)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.label_noise=0.1", "training.label_noise: is for one class an image"),
        ("training.contrastive_weight=1", "training.contrastive_weight: is for one class"),
        ("dataset.images_per_class=9", "images_per_class: is for one class an image"),
    ],
)
def test_what_is_for_one_class_an_image(corners, tmp_path, override, message):
    dataset = f"{{name: npz, path: {corners}, resolution: 16, task: multilabel}}"
    config = write(tmp_path / "own.yaml", dataset)
    assert_one_error(call("run", config, override), 2, message)


def test_no_ablation_of_several_labels_an_image(corners, tmp_path):
    dataset = f"{{name: npz, path: {corners}, resolution: 16, task: multilabel}}"
    config = write(tmp_path / "study.yaml", dataset)
    config.write_text(
        f"{config.read_text()}seeds: 2\nablation: {{axes: {{middle: [quantum, none]}}}}\n"
    )
    assert_one_error(
        call("ablate", config, "--out", tmp_path / "study"), 2, "has several labels an image"
    )
