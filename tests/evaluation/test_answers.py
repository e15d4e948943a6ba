"""One class an image, and several labels an image: what is answered, how sure, and what holds."""

import numpy as np
import pytest
from scipy import special

from hqnn_jax.evaluation.answers import answered, confidence, single_answers, truth
from hqnn_jax.evaluation.calibration import fit_temperature, tempered_labels
from hqnn_jax.evaluation.conformal import prediction_sets
from hqnn_jax.trained.validation import ValidationScores

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.9, 0.6, 0.3], [0.1, 0.2, 0.3]])


def test_one_class_is_answered_and_any_number_of_labels():
    assert answered(PROBABILITIES, "multiclass").nonzero()[1].tolist() == [0, 0, 2]
    assert answered(PROBABILITIES, "multilabel").sum(axis=1).tolist() == [1, 2, 0]
    np.testing.assert_allclose(confidence(PROBABILITIES, "ordinal"), [0.7, 0.9, 0.3])
    np.testing.assert_allclose(confidence(PROBABILITIES, "multilabel"), [0.7, 0.6, 0.7])
    assert truth(np.array([2, 0]), 3).tolist() == [[False, False, True], [True, False, False]]
    assert truth(np.array([[1, 0, 1]]), 3).tolist() == [[True, False, True]]


def test_each_label_is_a_choice_of_two():
    labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    pairs, choices = single_answers(PROBABILITIES, labels)
    assert pairs.shape == (9, 2)
    np.testing.assert_allclose(pairs[:, 1].reshape(3, 3), PROBABILITIES)
    assert choices.tolist() == labels.ravel().tolist()
    same, classes = single_answers(PROBABILITIES, np.array([0, 1, 2]))
    assert same is PROBABILITIES
    assert classes.tolist() == [0, 1, 2]


def test_the_temperature_of_labels_is_found_and_divides_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2000, 4)) * 3
    labels = (rng.random((2000, 4)) < special.expit(logits / 2)).astype(int)
    probabilities = special.expit(logits)
    found = fit_temperature(*single_answers(probabilities, labels))
    assert found == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(tempered_labels(probabilities, 2.0), special.expit(logits / 2))


def test_the_scores_by_hand():
    scores = ValidationScores.of(
        PROBABILITIES, np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0]]), "multilabel"
    )
    np.testing.assert_allclose(scores.true_probability, [0.7, 0.3, 1])
    assert scores.correct.tolist() == [True, False, True]
    of_classes = ValidationScores.of(PROBABILITIES, np.array([0, 1, 2]), "multiclass")
    np.testing.assert_allclose(of_classes.true_probability, [0.7, 0.6, 0.3])
    assert of_classes.correct.tolist() == [True, False, True]


def test_sets_hold_all_true_labels_as_often_as_promised():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        probabilities = rng.beta(0.4, 1.2, (160, 5))
        labels = (rng.random((160, 5)) < 0.6 * probabilities + 0.1).astype(int)
        scores = ValidationScores.of(probabilities[:100], labels[:100], "multilabel")
        answers = np.zeros((60, 5), bool)  # so that the promise is kept and not exceeded
        sets = prediction_sets(probabilities[100:], answers, scores.least_probability(0.8))
        covered.append((sets | ~truth(labels[100:], 5)).all(axis=1).mean())
    spread = 4 * np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) == pytest.approx(np.ceil(101 * 0.8) / 101, abs=spread)
