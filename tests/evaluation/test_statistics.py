"""The weighted metrics are those of the repeated samples; the intervals cover."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics as sk

from hqnn_jax.evaluation import statistics
from hqnn_jax.evaluation.metrics import compute_metrics


@given(
    seed=st.integers(0, 2**31 - 1), num_classes=st.integers(2, 5), digits=st.sampled_from([1, 6])
)
@settings(max_examples=30, deadline=None)
def test_counts_mean_repeated_samples(seed, num_classes, digits):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, 40)])
    # One digit makes many ties between and within the classes.
    probabilities = rng.dirichlet(np.ones(num_classes), len(labels)).round(digits)
    counts = rng.integers(0, 4, size=(3, len(labels)))
    counts[:, :num_classes] += 1

    areas = statistics.roc_auc(probabilities, labels, counts)
    errors = statistics.expected_calibration_error(probabilities, labels, counts, num_bins=7)
    for resample, area, error in zip(counts, areas, errors, strict=True):
        p, y = np.repeat(probabilities, resample, axis=0), np.repeat(labels, resample)
        classes = [1] if num_classes == 2 else range(num_classes)
        assert area == pytest.approx(np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in classes]))
        repeated = statistics.expected_calibration_error(p, y, np.ones((1, len(y))), num_bins=7)
        assert error == pytest.approx(repeated[0])


def test_confusion_metrics_agree_with_scikit_learn_for_every_matrix_of_a_stack():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 3, 60), rng.integers(0, 4, 60)) for _ in range(5)]
    stack = np.stack([sk.confusion_matrix(y, p, labels=range(4)) for y, p in pairs])
    result = statistics.confusion_metrics(stack)
    for number, (labels, predicted) in enumerate(pairs):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            labels, predicted, labels=range(4), zero_division=0
        )
        np.testing.assert_allclose(result["precision"][number], precision)
        np.testing.assert_allclose(result["recall"][number], recall)
        np.testing.assert_allclose(result["f1"][number], f1)
        kappa = sk.cohen_kappa_score(labels, predicted)
        assert result["cohen_kappa"][number] == pytest.approx(kappa)
        weighted = sk.f1_score(labels, predicted, average="weighted")
        assert result["weighted_f1"][number] == pytest.approx(weighted)


def test_intervals_agree_with_a_bootstrap_done_sample_by_sample(predict):
    rng = np.random.default_rng(3)
    labels = rng.choice(3, size=150, p=[0.6, 0.3, 0.1])
    probabilities = predict(rng, labels, 3, strength=1.0)
    result = compute_metrics(probabilities, labels, list("abc"), bootstrap_samples=4000)
    slow = {"macro_f1": [], "cohen_kappa": [], "roc_auc": []}
    for _ in range(800):
        chosen = rng.integers(0, 150, 150)
        y, p = labels[chosen], probabilities[chosen]
        slow["macro_f1"].append(sk.f1_score(y, p.argmax(1), average="macro"))
        slow["cohen_kappa"].append(sk.cohen_kappa_score(y, p.argmax(1)))
        areas = [sk.roc_auc_score(y == c, p[:, c]) for c in range(3)]
        slow["roc_auc"].append(np.mean(areas))
    for name, values in slow.items():
        expected = np.quantile(values, [0.025, 0.975])
        width = expected[1] - expected[0]
        np.testing.assert_allclose(result["intervals"][name], expected, atol=0.12 * width)


def test_intervals_cover_the_truth_about_95_times_in_100():
    """Two normal score distributions one standard deviation apart have AUC = Phi(1 / sqrt 2)."""
    rng = np.random.default_rng(11)
    true_area, true_accuracy = norm.cdf(1 / np.sqrt(2)), norm.cdf(0.5)
    covered = {"roc_auc": 0, "accuracy": 0}
    trials, samples = 200, 240
    for trial in range(trials):
        labels = rng.permutation(np.arange(samples) % 2)
        score = norm.cdf(rng.normal(labels - 0.5))
        probabilities = np.stack([1 - score, score], axis=1)
        confusion = sk.confusion_matrix(labels, probabilities.argmax(axis=1))
        areas = functools.partial(statistics.roc_auc, probabilities, labels)
        drawn = statistics.bootstrap(
            confusion, of_confusion={}, of_samples={"roc_auc": areas}, num_resamples=200, seed=trial
        )
        for name, truth in (("roc_auc", true_area), ("accuracy", true_accuracy)):
            lower, upper = statistics.percentile_interval(drawn[name])
            covered[name] += lower <= truth <= upper
    for count in covered.values():
        # 95 % of 200 with more than three standard deviations of slack on either side.
        assert 178 <= count <= 199


def test_resamples_without_a_class_leave_it_out():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    labels = np.array([0, 1, 1, 2])
    counts = np.array([[1, 1, 1, 0], [0, 2, 1, 0]])
    first, second = statistics.roc_auc(probabilities, labels, counts)
    kept = [sk.roc_auc_score(labels[:3] == c, probabilities[:3, c]) for c in (0, 1)]
    assert first == pytest.approx(np.mean(kept))
    assert np.isnan(second)
    assert statistics.percentile_interval(np.array([second])) is None


def test_percentile_interval_ignores_undefined_resamples():
    values = np.append(np.linspace(0, 1, 1001), [np.nan, np.nan])
    assert statistics.percentile_interval(values) == pytest.approx([0.025, 0.975])
    assert statistics.percentile_interval(values, level=0.5) == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize(("count", "total"), [(32, 32), (0, 7), (3, 3421), (3012, 3421), (1, 2)])
def test_wilson_interval_is_the_textbook_formula(count, total):
    z, share = norm.ppf(0.95), count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    found = statistics.wilson_interval(count, total, level=0.9)
    assert found == pytest.approx([centre - half, centre + half], abs=1e-12)
    assert 0 <= found[0] <= share <= found[1] <= 1


def test_nothing_has_no_proportion():
    assert statistics.wilson_interval(0, 0) is None


def test_mcnemar_is_that_of_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar

    for first, second in [
        (0, 0),
        (0, 7),
        (5, 19),
        (12, 12),
        (13, 12),
        (40, 40),
        (3, 60),
        (200, 170),
    ]:
        table = np.array([[0, first], [second, 0]])
        exact = mcnemar(table, exact=True).pvalue
        assert statistics.mcnemar(first, second) == pytest.approx(exact)
        if first + second >= 25:
            # Corrected, a difference of 0 would be one of -1 there.
            corrected = mcnemar(table, exact=False, correction=first != second).pvalue
            found = statistics.mcnemar(first, second, exact_below=25)
            assert found == pytest.approx(corrected)
