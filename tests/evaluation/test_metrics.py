"""Metrics against scikit-learn and MedMNIST's own evaluator."""

import contextlib
import io
import json

import numpy as np
import pytest
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from hqnn_jax.errors import DataError, TrainingError
from hqnn_jax.evaluation import metrics
from hqnn_jax.evaluation.metrics import METRICS, Metric, compute_metrics, mean_over_seeds

NAMES = ["alpha", "beta", "gamma", "delta"]


def _evaluator():
    # Without torch, importing medmnist prints a line about its requirements.
    with contextlib.redirect_stdout(io.StringIO()):
        from medmnist import evaluator
    return evaluator


@pytest.fixture
def imbalanced(predict):
    rng = np.random.default_rng(1)
    labels = rng.choice(4, size=700, p=[0.7, 0.2, 0.07, 0.03]).astype(np.int32)
    return predict(rng, labels, 4, strength=1.2), labels


@pytest.fixture
def binary(predict):
    rng = np.random.default_rng(2)
    labels = (rng.random(400) < 0.27).astype(np.uint8)
    return predict(rng, labels, 2, strength=0.8), labels


def test_every_figure_agrees_with_scikit_learn(imbalanced):
    probabilities, labels = imbalanced
    predicted = probabilities.argmax(axis=1)
    result = compute_metrics(probabilities, labels, NAMES, bootstrap_samples=100)

    assert result["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert result["macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    weighted = sk.f1_score(labels, predicted, average="weighted")
    assert result["weighted_f1"] == pytest.approx(weighted)
    assert result["macro_f1"] != pytest.approx(weighted, abs=0.01)
    assert result["cohen_kappa"] == pytest.approx(sk.cohen_kappa_score(labels, predicted))
    area = sk.roc_auc_score(
        labels, probabilities / probabilities.sum(1, keepdims=True), multi_class="ovr"
    )
    assert result["roc_auc"] == pytest.approx(area)
    matrix = sk.confusion_matrix(labels, predicted)
    assert result["confusion_matrix"] == matrix.tolist()
    assert not np.array_equal(matrix, matrix.T)

    report = sk.classification_report(labels, predicted, target_names=NAMES, output_dict=True)
    assert [entry["class"] for entry in result["per_class"]] == NAMES
    for c, entry in enumerate(result["per_class"]):
        expected = report[entry["class"]]
        assert entry["precision"] == pytest.approx(expected["precision"])
        assert entry["recall"] == pytest.approx(expected["recall"])
        assert entry["f1"] == pytest.approx(expected["f1-score"])
        assert entry["support"] == expected["support"]
        one_vs_rest = sk.accuracy_score(labels == c, predicted == c)
        assert entry["accuracy"] == pytest.approx(one_vs_rest)


@pytest.mark.parametrize(
    ("case", "task"), [("imbalanced", "multi-class"), ("binary", "binary-class")]
)
def test_accuracy_and_auc_agree_with_medmnist(case, task, request):
    probabilities, labels = request.getfixturevalue(case)
    evaluator = _evaluator()
    result = compute_metrics(
        probabilities, labels, NAMES[: probabilities.shape[1]], bootstrap_samples=100
    )
    column = labels[:, None]
    assert result["accuracy"] == pytest.approx(evaluator.getACC(column, probabilities, task))
    assert result["roc_auc"] == pytest.approx(evaluator.getAUC(column, probabilities, task))


def test_real_test_labels_agree_with_the_official_evaluator(shared_data, predict):
    with np.load(shared_data / "bloodmnist.npz") as arrays:
        labels = arrays["test_labels"].ravel()
    probabilities = predict(np.random.default_rng(0), labels, 8)
    result = compute_metrics(probabilities, labels, list("abcdefgh"), bootstrap_samples=100)
    with contextlib.redirect_stdout(io.StringIO()):
        official = _evaluator().Evaluator("bloodmnist", "test", root=str(shared_data))
    auc, accuracy = official.evaluate(probabilities)
    assert result["accuracy"] == pytest.approx(accuracy)
    assert result["roc_auc"] == pytest.approx(auc)


def test_calibration_error_of_a_case_worked_by_hand():
    probabilities = np.array([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.55, 0.45]])
    labels = np.array([0, 1, 1, 0])
    result = compute_metrics(
        probabilities, labels, ["no", "yes"], calibration_bins=5, bootstrap_samples=100
    )
    # Bins (0.4, 0.6]: 0.6 and 0.55, both right; (0.6, 0.8]: 0.8, right; (0.8, 1]: 0.9, wrong.
    expected = (abs(2 - 1.15) + abs(1 - 0.8) + abs(0 - 0.9)) / 4
    assert result["expected_calibration_error"] == pytest.approx(expected)


def test_an_absent_class_has_defined_figures(predict):
    rng = np.random.default_rng(5)
    labels = np.repeat([0, 1, 3], [30, 20, 10])
    probabilities = predict(rng, labels, 4)
    result = compute_metrics(probabilities, labels, NAMES, bootstrap_samples=100)
    absent = result["per_class"][2]
    assert (absent["recall"], absent["f1"], absent["support"]) == (0.0, 0.0, 0)
    assert absent["roc_auc"] is None
    present = [sk.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 3)]
    assert result["roc_auc"] == pytest.approx(np.mean(present))
    mean_f1 = np.mean([entry["f1"] for entry in result["per_class"]])
    assert result["macro_f1"] == pytest.approx(mean_f1)


def test_all_right_is_not_certain():
    """32 of 32 were printed as 100.0 (100.0-100.0)."""
    labels = np.arange(32) % 4
    result = compute_metrics(np.eye(4)[labels], labels, NAMES, bootstrap_samples=100)
    assert result["accuracy"] == 1.0
    lower, upper = result["intervals"]["accuracy"]
    assert (lower, upper) == pytest.approx((0.8928, 1.0), abs=5e-5)
    assert result["interval_methods"]["accuracy"] == "Wilson"
    assert result["interval_methods"]["macro_f1"] == "bootstrap"
    # Its resamples are all right too, so the bootstrap knows no bound.
    for name in ("macro_f1", "weighted_f1", "cohen_kappa", "roc_auc"):
        assert result[name] == 1.0
        assert result["intervals"][name] is None


def test_intervals_of_proportions_are_those_of_statsmodels(imbalanced):
    probabilities, labels = imbalanced
    predicted = probabilities.argmax(axis=1)
    result = compute_metrics(probabilities, labels, NAMES, bootstrap_samples=100)

    def wilson(count, total):
        return pytest.approx(proportion_confint(int(count), int(total), method="wilson"))

    right = predicted == labels
    assert result["intervals"]["accuracy"] == wilson(right.sum(), len(labels))
    for c, entry in enumerate(result["per_class"]):
        of_class, guessed = labels == c, predicted == c
        assert entry["intervals"]["recall"] == wilson(right[of_class].sum(), of_class.sum())
        assert entry["intervals"]["precision"] == wilson(right[guessed].sum(), guessed.sum())


def test_a_class_that_a_resample_lacks_is_missing_and_not_wrong():
    labels = np.repeat([0, 1, 2], [40, 40, 1])  # the last is in 63 of 100 resamples
    result = compute_metrics(np.eye(3)[labels], labels, NAMES[:3], bootstrap_samples=400)
    # All resamples are equal; counted as 0, the class would have drawn the bound to 2/3.
    assert result["intervals"]["macro_f1"] is None
    assert result["per_class"][2]["intervals"]["f1"] is None
    assert result["per_class"][2]["intervals"]["recall"] == pytest.approx([0.2065, 1.0], abs=5e-5)


def test_a_missing_class_does_not_widen_the_interval_of_the_others():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [60, 60, 1])
    probabilities = np.eye(3)[np.where(rng.random(121) < 0.1, 1 - labels % 2, labels)]
    probabilities[-1] = [0, 0, 1]
    lower, _ = compute_metrics(probabilities, labels, NAMES[:3], bootstrap_samples=400)[
        "intervals"
    ]["macro_f1"]
    assert lower > 0.8  # 0.93 in the mean; two thirds of that where the third class counted as 0


def test_nothing_counted_has_no_interval_and_the_auc_says_its_classes(predict):
    labels = np.repeat([0, 1, 3], [30, 20, 10])
    probabilities = predict(np.random.default_rng(5), labels, 4)
    probabilities[:, 2] = 0.0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    result = compute_metrics(probabilities, labels, NAMES, bootstrap_samples=100)
    absent = result["per_class"][2]["intervals"]
    assert absent == {"precision": None, "recall": None, "f1": None}
    assert result["roc_auc_classes"] == 3
    assert result["intervals"]["macro_f1"][0] <= result["macro_f1"]
    assert result["macro_f1"] <= result["intervals"]["macro_f1"][1]


def test_a_single_class_leaves_auc_and_kappa_undefined():
    probabilities = np.tile([[0.3, 0.7]], (6, 1))
    result = compute_metrics(probabilities, np.ones(6, int), ["a", "b"], bootstrap_samples=100)
    assert result["accuracy"] == 1.0
    assert result["roc_auc"] is None
    assert result["roc_auc_classes"] == 0
    assert result["cohen_kappa"] is None
    assert result["intervals"]["roc_auc"] is None
    assert result["intervals"]["cohen_kappa"] is None
    json.dumps(result, allow_nan=False)


def test_the_result_is_json_and_depends_on_the_seed_only_in_its_intervals(imbalanced):
    first = compute_metrics(*imbalanced, NAMES, bootstrap_samples=200, seed=0)
    again = compute_metrics(*imbalanced, NAMES, bootstrap_samples=200, seed=0)
    other = compute_metrics(*imbalanced, NAMES, bootstrap_samples=200, seed=1)
    assert json.loads(json.dumps(first, allow_nan=False)) == again
    assert first["intervals"] != other["intervals"]
    for name in METRICS:
        assert first[name] == other[name]
    for entry in first["per_class"]:
        for name, (lower, upper) in entry["intervals"].items():
            assert lower <= entry[name] <= upper


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_the_classes_is_rejected(label):
    probabilities = np.full((3, 4), 0.25)
    with pytest.raises(DataError, match=rf"{label} is outside 0\.\.3"):
        compute_metrics(probabilities, np.array([0, 1, label]), NAMES)


def test_unusable_input_is_rejected():
    with pytest.raises(DataError, match="empty"):
        compute_metrics(np.zeros((0, 4)), np.zeros(0, int), NAMES)
    with pytest.raises(TrainingError, match="diverged"):
        compute_metrics(np.full((2, 4), np.nan), np.array([0, 1]), NAMES)
    with pytest.raises(ValueError, match="softmax"):
        compute_metrics(np.eye(4) * 9.0, np.arange(4), NAMES)
    with pytest.raises(ValueError, match="shape"):
        compute_metrics(np.full((2, 3), 1 / 3), np.array([0, 1]), NAMES)


def test_mean_over_seeds_averages_every_number(imbalanced, predict):
    probabilities, labels = imbalanced
    others = [predict(np.random.default_rng(s), labels, 4, strength=1.0) for s in (8, 9)]
    per_seed = [
        compute_metrics(p, labels, NAMES, bootstrap_samples=100) for p in (probabilities, *others)
    ]
    mean = mean_over_seeds(per_seed)
    assert set(mean) == {*per_seed[0], "standard_deviation"}
    for name in METRICS:
        values = [metrics[name] for metrics in per_seed]
        assert mean[name] == pytest.approx(np.mean(values))
        assert mean["standard_deviation"][name] == pytest.approx(np.std(values, ddof=1))
    assert mean["per_class"][3]["class"] == "delta"
    recalls = [metrics["per_class"][3]["recall"] for metrics in per_seed]
    assert mean["per_class"][3]["recall"] == pytest.approx(np.mean(recalls))
    assert mean["per_class"][3]["support"] == per_seed[0]["per_class"][3]["support"]
    matrices = np.array([metrics["confusion_matrix"] for metrics in per_seed])
    np.testing.assert_allclose(mean["confusion_matrix"], matrices.mean(axis=0))
    uppers = [metrics["intervals"]["accuracy"][1] for metrics in per_seed]
    assert mean["intervals"]["accuracy"][1] == pytest.approx(np.mean(uppers))


def test_mean_of_one_seed_is_that_seed(imbalanced):
    metrics = compute_metrics(*imbalanced, NAMES, bootstrap_samples=100)
    assert mean_over_seeds([metrics]) == metrics


def test_seeds_that_do_not_belong_together_are_rejected(imbalanced):
    metrics = compute_metrics(*imbalanced, NAMES, bootstrap_samples=100)
    renamed = compute_metrics(*imbalanced, ["other", *NAMES[1:]], bootstrap_samples=100)
    with pytest.raises(ValueError, match="class: expected the same"):
        mean_over_seeds([metrics, renamed])
    with pytest.raises(ValueError, match="at least one seed"):
        mean_over_seeds([])


def balanced_accuracy(confusion):
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return (hits / confusion.sum(axis=-1)).mean(axis=-1)


def brier(split, counts):
    gaps = np.square(split.probabilities - np.eye(3)[split.labels]).sum(axis=1)
    return counts @ gaps / counts.sum(axis=1)


def test_a_metric_in_the_table_has_its_value_and_interval(predict, monkeypatch):
    more = {
        "balanced_accuracy": Metric("Balanced accuracy", of_confusion=balanced_accuracy),
        "brier": Metric("Brier score", of_samples=brier, higher_is_better=False),
    }
    monkeypatch.setattr(metrics, "METRICS", {**METRICS, **more})
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 120)
    result = compute_metrics(predict(rng, labels, 3), labels, list("abc"), bootstrap_samples=200)
    recalls = [entry["recall"] for entry in result["per_class"]]
    assert result["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    for name in more:
        low, high = result["intervals"][name]
        assert low < result[name] < high
    assert "brier" in mean_over_seeds([result, result])["standard_deviation"]
