"""`predict` and what a run leaves for it, also where something is wrong."""

import csv
import io
import json
import shutil

import numpy as np
import PIL.Image
import pytest

from hqnn_jax import load
from hqnn_jax.config.loading import load_config
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.evaluation.calibration import fit_temperature
from tests.cli.calls import assert_one_error, predictions
from tests.trained.parity import assert_predicts_as_evaluated


@pytest.fixture(scope="module")
def model(finished):
    return load(finished[0])


@pytest.fixture(scope="module")
def test_split(finished):
    return load_dataset(load_config(finished[0] / "config.yaml").dataset).test


@pytest.fixture
def images(test_split, tmp_path):
    """A folder of 6 test images."""
    for number in range(6):
        path = tmp_path / "images" / ("a" if number < 3 else "b") / f"{number % 3}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(test_split.images[number]).save(path)
    return tmp_path / "images"


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def best_seed(run):
    seeds = json.loads((run / "metrics.json").read_text())["seeds"]
    accuracies = [seed["validation"]["accuracy"] for seed in seeds]
    return int(np.argmax(accuracies)), len(set(accuracies)) == 1


def test_a_run_leaves_the_model_of_its_best_seed(finished, model):
    run, _ = finished
    index, equal = best_seed(run)
    origin = model.record.origin
    assert origin.seeds == (0, 1)
    assert equal or origin.seed == index
    stored = predictions(run)
    own = stored["validation_probabilities"][origin.seed]
    assert model.temperature == pytest.approx(
        fit_temperature(own, stored["validation_labels"]), rel=1e-4
    )
    np.testing.assert_array_equal(
        model.validation.correct, own.argmax(axis=1) == stored["validation_labels"]
    )
    assert_predicts_as_evaluated(run)


def test_its_card_has_the_figures_of_that_seed_and_of_all(finished, model):
    run, _ = finished
    card = (run / "model" / "README.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    own = metrics["seeds"][model.record.origin.seed]["test"]["accuracy"]
    assert f"{100 * own:.2f} (" in card
    assert f"{100 * metrics['test']['accuracy']:.2f} ± " in card
    assert "best by validation accuracy" in card
    assert str(run) not in card + (run / "model" / "model.yaml").read_text()


def test_a_folder_is_predicted_as_csv(finished, model, images, command, tmp_path):
    run, _ = finished
    out = tmp_path / "predictions.csv"
    code, printed, err = command("predict", run, images, "--out", out, "--batch-size", 4)
    assert (code, printed) == (0, "")
    found = rows(out.read_text())
    assert [row["path"] for row in found] == [
        str(images / folder / f"{number}.png") for folder in "ab" for number in range(3)
    ]
    expected = model.predict([row["path"] for row in found])
    for row, name, probabilities in zip(found, expected.names, expected.probabilities, strict=True):
        assert row["predicted"] == name
        assert name in row["set"].split(" | ")
        assert row["rejected"] in ("yes", "no")
        stated = [float(row[f"probability: {name}"]) for name in model.class_names]
        np.testing.assert_allclose(stated, probabilities, atol=1e-5)
        assert float(row["confidence"]) == max(stated)
    # 24 validation images do not support a risk of 5 %.
    assert {row["rejected"] for row in found} == {"yes"}
    assert "every prediction is rejected" in err
    assert_one_error(command("predict", run, images, "--out", out), 1, "exists", "--force")
    assert command("predict", run, images, "--out", out, "--force")[0] == 0


def test_a_pattern_is_predicted_and_explained(images, command, tmp_path):
    maps = tmp_path / "maps"
    code, out, err = command("predict", "quickstart", f"{images}/*/0.png", "--explain", maps)
    assert code == 0, err
    names = [row["heat_map"] for row in rows(out)]
    assert sorted(path.name for path in maps.iterdir()) == sorted(names)
    assert len(set(names)) == 2
    with PIL.Image.open(maps / names[0]) as picture:
        assert picture.format == "PNG"
    again = command("predict", "quickstart", images, "--explain", maps)
    assert_one_error(again, 1, str(maps), "not empty")


def test_what_cannot_be_read_is_told_and_the_rest_predicted(images, command, tmp_path):
    (images / "a" / "0.png").write_bytes(b"\x89PNG broken")
    PIL.Image.new("I;16", (9, 12)).save(images / "a" / "1.png")
    result = command("predict", "quickstart", images, images / "absent.png")
    assert_one_error(result, 1, "2 of 7 images could not be read", "5 images predicted")
    told = [line for line in result[2].splitlines() if line.startswith("not predicted: ")]
    assert ["a/0.png" in told[0], "absent.png" in told[1]] == [True, True]
    assert len(rows(result[1])) == 5
    out = tmp_path / "none.csv"
    result = command("predict", "quickstart", images / "a" / "0.png", "--out", out)
    assert_one_error(result, 1, "1 of 1 image could not be read")
    assert not out.exists()


def test_wrong_words_are_told_before_anything_is_loaded(finished, command, tmp_path):
    (tmp_path / "empty").mkdir()
    run = finished[0]
    assert_one_error(command("predict", run, tmp_path / "empty"), 2, "no image found")
    assert_one_error(command("predict", run, f"{tmp_path}/*.png"), 2, "no image found")
    assert_one_error(
        command("predict", run, "x.png", "--risk", "0"), 2, "--risk", "between 0 and 1"
    )
    for option in ("--coverage", "--crop"):
        assert_one_error(command("predict", run, "x.png", option, "1"), 2, option)
    assert_one_error(command("predict", "quikstart", "x.png"), 1, "did you mean 'quickstart'")


def test_a_run_of_before_gets_its_model_by_evaluation(finished, command, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    shutil.rmtree(run / "model")
    refused = command("predict", run, run / "absent.png")
    assert_one_error(refused, 1, f"`python -m experiment evaluate {run}` writes it")
    assert command("evaluate", run)[0] == 0
    for path in (finished[0] / "model").iterdir():
        assert (run / "model" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_list_names_what_can_be_predicted_with(command):
    _, out, _ = command("list")
    (line,) = (
        line for line in out.splitlines() if line.startswith("  quickstart ") and "%" in line
    )
    assert "synthetic_cells (synthetic), 8 classes at 28 px" in line
