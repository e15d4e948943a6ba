"""A trained model on another dataset: class maps, metrics, the command line and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import experiment
from hqnn_jax.config import CrossDatasetConfig, DatasetConfig, EvaluationConfig
from hqnn_jax.config.loading import load_section
from hqnn_jax.data.dataset import Split, make_dataset
from hqnn_jax.errors import ConfigurationError, DataError, RunFolderError
from hqnn_jax.evaluation import cross_dataset
from hqnn_jax.evaluation.cross_dataset import (
    LEFT_OUT,
    OtherDataset,
    cross_metrics,
    map_classes,
    prediction_arrays,
    restricted,
    without_repetition,
)
from hqnn_jax.runs.finished import load_run
from tests.command_line import call

OURS = ("basophil", "eosinophil", "lymphocyte", "monocyte")
THEIRS = ("BAND", "EOSINOPHIL", "MONOCYTE", "SEGMENTED", "SMUDGE")
CLASS_MAP = {"MONOCYTE": "monocyte", "BAND": "basophil", "SEGMENTED": "basophil"}


def make(class_names, labels, *, channels=3, size=6, seed=0, name="synthetic_cells"):
    """A dataset of noise with these labels per split, in the order train, validation, test."""
    rng = np.random.default_rng(seed)
    return make_dataset(
        {
            split: Split(
                rng.integers(0, 256, (len(some), size, size, channels), dtype=np.uint8),
                np.asarray(some, np.int32),
            )
            for split, some in zip(("train", "validation", "test"), labels, strict=True)
        },
        name=name,
        class_names=class_names,
        licence="none",
        citation="nobody",
        synthetic=True,
    )


@pytest.fixture
def ours():
    return make(OURS, ([0, 1, 2, 3, 0], [3, 1], [2, 0]))


@pytest.fixture
def theirs():
    return make(THEIRS, ([0, 2, 4, 3], [1, 2, 2], [3, 0, 3, 4, 4]), seed=1)


@pytest.fixture
def load(monkeypatch, ours):
    """Return `load(dataset, class_map)`, as if the dataset were the one that is configured."""

    def load(dataset, class_map):
        monkeypatch.setattr(cross_dataset, "load_dataset", lambda config: dataset)
        config = CrossDatasetConfig(dataset=DatasetConfig(), class_map=class_map)
        return OtherDataset.load(config, ours, DatasetConfig())

    return load


def test_classes_are_mapped_by_name():
    labels = map_classes(CLASS_MAP, THEIRS, OURS, "here")
    np.testing.assert_array_equal(labels, [0, LEFT_OUT, 3, 0, LEFT_OUT])


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        ({"monocyte": "monocyte"}, r"here: class_map: 'monocyte' .* mean 'MONOCYTE'\?"),
        ({"BAND": "Bassophil"}, r"here: class_map\.BAND: 'Bassophil' .* mean 'basophil'\?"),
        ({"BAND": "xyz"}, r"class_map\.BAND: 'xyz' is no class of the model; expected one of: bas"),
        ({"BAND": "basophil", "SEGMENTED": "basophil"}, r"at least two classes of the model"),
    ],
)
def test_wrong_class_maps_are_refused(class_map, message):
    with pytest.raises(ConfigurationError, match=message):
        map_classes(class_map, THEIRS, OURS, "here")


def test_images_of_mapped_classes_are_taken_from_every_split(load, theirs):
    other = load(theirs, CLASS_MAP)
    selected = other.selected()
    np.testing.assert_array_equal(selected["train"], [0, 1, 3])
    np.testing.assert_array_equal(selected["validation"], [1, 2])
    np.testing.assert_array_equal(selected["test"], [0, 1, 2])
    np.testing.assert_array_equal(other.their_labels(), [0, 2, 3, 2, 2, 3, 0, 3])
    assert other.counts() == {"BAND": 2, "MONOCYTE": 3, "SEGMENTED": 3}
    assert other.counts(mapped=False) == {"EOSINOPHIL": 1, "SMUDGE": 3}


def test_other_images_are_refused_with_a_reason(load, theirs):
    grey = make(THEIRS, ([0, 2, 3], [0], [2]), channels=1)
    with pytest.raises(ConfigurationError, match=r"1 channel \(grey\), .* 3 \(colour\)"):
        load(grey, CLASS_MAP)
    empty = make(THEIRS, ([0, 2], [0], [2]))
    with pytest.raises(DataError, match="no image of class 'SEGMENTED'"):
        load(empty, CLASS_MAP)


def test_the_other_dataset_is_looked_for_where_ours_was(monkeypatch, ours, theirs, tmp_path):
    places = []

    def load_dataset(config):
        places.append(config.data_dir)
        return theirs

    monkeypatch.setattr(cross_dataset, "load_dataset", load_dataset)
    for own in (None, tmp_path / "own"):
        config = CrossDatasetConfig(dataset=DatasetConfig(data_dir=own), class_map=CLASS_MAP)
        OtherDataset.load(config, ours, DatasetConfig(data_dir=tmp_path))
    assert places == [tmp_path, tmp_path / "own"]


def test_restricted_probabilities_are_conditional():
    probabilities = np.array([[0.2, 0.5, 0.0, 0.3], [0.0, 1.0, 0.0, 0.0]], np.float32)
    found = restricted(probabilities, np.array([0, 3]))
    np.testing.assert_allclose(found, [[0.4, 0.6], [0.5, 0.5]], rtol=1e-6)


def test_metrics_are_those_of_both_readings(load, ours, theirs, predict):
    other = load(theirs, CLASS_MAP)
    labels = np.array([0, 3, 0, 3, 3, 0, 0, 0])
    probabilities = np.stack([predict(np.random.default_rng(s), labels, 4, 0.7) for s in (0, 1)])
    options = EvaluationConfig(bootstrap_samples=100)
    found = cross_metrics(other, probabilities, ours, [5, 6], options)
    opened, closed = [], []
    for entry, values in zip(found["seeds"], probabilities, strict=True):
        answers = values.argmax(1)
        opened.append(np.mean(answers == labels))
        assert entry["open"]["accuracy"] == pytest.approx(opened[-1])
        recalls = [np.mean(answers[labels == k] == k) for k in (0, 3)]
        assert [e["recall"] for e in entry["open"]["per_class"]] == pytest.approx(recalls)
        assert [e["support"] for e in entry["open"]["per_class"]] == [5, 3]
        among = np.where(values[:, 0] >= values[:, 3], 0, 3)
        closed.append(np.mean(among == labels))
        assert entry["closed"]["accuracy"] == pytest.approx(closed[-1])
        f1 = sklearn_metrics.f1_score(labels, among, average="macro")
        assert entry["closed"]["macro_f1"] == pytest.approx(f1)
        confusion = np.array(entry["open"]["confusion_matrix"])
        assert confusion.shape == (3, 4)
        for row, theirs_label in enumerate((0, 2, 3)):
            expected = np.bincount(answers[other.their_labels() == theirs_label], minlength=4)
            np.testing.assert_array_equal(confusion[row], expected)
    assert [entry["seed"] for entry in found["seeds"]] == [5, 6]
    assert found["open"]["accuracy"] == pytest.approx(np.mean(opened))
    assert found["closed"]["accuracy"] == pytest.approx(np.mean(closed))
    deviation = found["open"]["standard_deviation"]["accuracy"]
    assert deviation == pytest.approx(np.std(opened, ddof=1))
    low, high = found["open"]["intervals"]["accuracy"]
    assert low <= found["open"]["accuracy"] <= high
    assert found["class_names"] == ["BAND", "MONOCYTE", "SEGMENTED"]
    assert found["left_out"] == {"EOSINOPHIL": 1, "SMUDGE": 3}
    assert found["trained_on"] == 0
    json.dumps(found)


def test_images_the_model_was_trained_on_are_counted(load, ours, predict):
    identity = {name: name for name in OURS[1:]}
    other = load(ours, identity)
    labels = other.class_labels[other.their_labels()]
    probabilities = predict(np.random.default_rng(0), labels, 4)[None]
    found = cross_metrics(other, probabilities, ours, [0], EvaluationConfig(bootstrap_samples=100))
    assert found["trained_on"] == 3


def test_predictions_say_which_image_they_are_of(load, theirs):
    other = load(theirs, CLASS_MAP)
    found = prediction_arrays(other, np.zeros((1, 8, 4)), [0])
    splits = theirs.splits()
    for split, position, label in zip(
        found["splits"], found["positions"], found["their_labels"], strict=True
    ):
        assert splits[str(split)].labels[position] == label
    np.testing.assert_array_equal(found["labels"], [0, 3, 0, 3, 3, 0, 0, 0])


def test_a_dataset_is_evaluated_once_by_its_latest_class_map(tmp_path):
    first = CrossDatasetConfig(dataset=DatasetConfig(), class_map={"a": "b"})
    moved = DatasetConfig(data_dir=tmp_path)
    second = CrossDatasetConfig(dataset=moved, class_map={"a": "c"})
    third = CrossDatasetConfig(dataset=DatasetConfig(resolution=30), class_map={"a": "b"})
    assert without_repetition([first, third, second]) == (second, third)


def test_the_shipped_class_map_fits_the_real_sets(shared_data, tmp_path, monkeypatch):
    """PBC's class names are those of its folders."""
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path))
    path = Path(experiment.__file__).parent / "configs" / "cross" / "pbc_to_blood_cell_images.yaml"
    overrides = ["dataset.resolution=28", f"dataset.data_dir={shared_data}"]
    config = load_section(path, overrides, CrossDatasetConfig)
    names = sorted(f.name for f in (shared_data / "pbc" / "PBC_dataset_normal_DIB").iterdir())
    pbc = make(tuple(names), ([0, 1], [2], [3]), name="pbc")
    other = OtherDataset.load(config, pbc, DatasetConfig())
    counts = other.counts()
    assert set(counts) == {"EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"}
    assert min(counts.values()) >= 330  # TRAIN and TEST of the copy at hand
    assert other.counts(mapped=False) == {}
    ours = [names[label] for label in other.class_labels]
    assert [name.upper() for name in ours] == list(other.dataset.class_names)


RUN = """
dataset: &ours
  name: synthetic_cells
  resolution: 28
  synthetic: {train_images: 64, validation_images: 24, test_images: 40}
model:
  backbone: {name: five_layer_cnn, image_size: 16}
  processor: {widths: [8]}
  middle: none
training: {epochs: 1, batch_size: 16}
evaluation:
  bootstrap_samples: 100
  batch_size: 8
  explained_images: 3
  cross_datasets:
    - dataset: *ours
      class_map: {platelet: platelet, basophil: basophil, erythroblast: erythroblast,
                  eosinophil: eosinophil, lymphocyte: lymphocyte, monocyte: monocyte,
                  neutrophil: neutrophil, immature granulocytes: immature granulocytes}
"""
OTHER = """
dataset:
  name: synthetic_cells
  resolution: 20
  synthetic: {train_images: 24, validation_images: 16, test_images: 16, seed: 5, noise: 0.2}
class_map: {eosinophil: eosinophil, neutrophil: monocyte}
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return `command(*arguments) -> (exit code, standard output, standard error)`."""
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "other.yaml").write_text(OTHER)
    return call


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def check_own_dataset(run):
    """The same dataset as another one must give the predictions of its splits again."""
    own, cross = arrays(run / "predictions.npz"), arrays(run / "cross_synthetic_cells.npz")
    splits = ("train", "validation", "test")
    for kind, axis in (("probabilities", 1), ("labels", 0)):
        pooled = np.concatenate([own[f"{split}_{kind}"] for split in splits], axis=axis)
        np.testing.assert_allclose(cross[kind], pooled, atol=1e-6)
    entry = json.loads((run / "metrics.json").read_text())["cross_datasets"][0]
    right = cross["probabilities"].argmax(-1) == cross["labels"]
    assert entry["open"]["accuracy"] == entry["closed"]["accuracy"] == pytest.approx(right.mean())
    assert entry["trained_on"] == 64


def check_explanations(run, count):
    own, found = arrays(run / "predictions.npz"), arrays(run / "explanations.npz")
    assert len(found["indices"]) == count
    np.testing.assert_array_equal(found["labels"], own["test_labels"][found["indices"]])
    predicted = own["test_probabilities"][0, found["indices"]].argmax(-1)
    np.testing.assert_array_equal(found["predicted"], predicted)
    sums = found["attributions"].sum((1, 2))
    gap = np.abs(sums - found["logit_differences"]).max()
    assert gap <= 0.1 * np.abs(found["logit_differences"]).max()


def test_a_run_is_evaluated_on_other_datasets_and_explained(command, tmp_path):
    run = tmp_path / "run"
    code, _, err = command("run", tmp_path / "run.yaml", "--out", run)
    assert code == 0, err
    check_own_dataset(run)
    check_explanations(run, 3)
    first = arrays(run / "cross_synthetic_cells.npz")
    code, out, err = command("evaluate", run, "--cross", tmp_path / "other.yaml")
    assert code == 0, err
    assert out.count("on synthetic_cells: accuracy") == 2
    np.testing.assert_array_equal(
        arrays(run / "cross_synthetic_cells.npz")["probabilities"], first["probabilities"]
    )
    entries = json.loads((run / "metrics.json").read_text())["cross_datasets"]
    assert [entry["predictions"] for entry in entries] == [
        "cross_synthetic_cells.npz",
        "cross_synthetic_cells_2.npz",
    ]
    stored = arrays(run / "cross_synthetic_cells_2.npz")
    assert set(stored["labels"].tolist()) == {1, 5}
    right = stored["probabilities"].argmax(-1) == stored["labels"]
    assert entries[1]["open"]["accuracy"] == pytest.approx(right.mean())
    assert sum(entries[1]["counts"].values()) == right.size
    page = (run / "report.html").read_text()
    assert page.count("On another dataset: synthetic_cells") == 2
    assert 'alt="Explained predictions"' in page
    assert "64 of these images are, byte for byte, in the training split" in page
    content = (run / "explanations.npz").read_bytes()
    (run / "explanations.npz").write_bytes(content[:100])
    with pytest.raises(RunFolderError, match=r"explanations\.npz: cannot be read"):
        load_run(run)
    (run / "explanations.npz").unlink()  # as a run of an earlier version leaves it
    assert load_run(run).explanations is None


def test_a_frozen_backbone_is_evaluated_and_explained_too(command, tmp_path):
    run = tmp_path / "run"
    arguments = ["model.backbone.frozen=true", "evaluation.explained_images=2", "--out", run]
    code, _, err = command("run", tmp_path / "run.yaml", *arguments)
    assert code == 0, err
    check_own_dataset(run)
    check_explanations(run, 2)


def test_mistakes_show_before_training(command, tmp_path):
    run = tmp_path / "run"
    (tmp_path / "run.yaml").write_text(RUN.replace("platelet: platelet", "Platelets: platelet"))
    code, _, err = command("run", tmp_path / "run.yaml", "--out", run)
    assert code == 2
    assert "class_map: 'Platelets' is no class of the other dataset" in err
    assert "did you mean 'platelet'?" in err
    assert not (run / "history.jsonl").exists()
    assert not (run / "checkpoints").exists()
