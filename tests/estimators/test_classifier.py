"""The hybrid network as a classifier of scikit-learn."""

import pickle

import jaxtyping
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from hqnn_jax.errors import ConfigurationError
from hqnn_jax.estimators import HybridClassifier

SMALL = {"num_qubits": 2, "num_layers": 1, "epochs": 60, "random_state": 0}


@pytest.fixture(scope="module")
def blobs():
    features, numbers = make_blobs(90, centers=3, cluster_std=0.6, random_state=0)
    # Of very different sizes, which standardising takes away.
    return features * [1.0, 1e4], np.array(["mono", "baso", "eos"])[numbers]


@pytest.fixture(scope="module")
def fitted(blobs):
    return HybridClassifier(**SMALL).fit(*blobs)


def test_it_learns(fitted, blobs):
    features, classes = blobs
    assert fitted.classes_.tolist() == ["baso", "eos", "mono"]
    assert fitted.score(features, classes) > 0.8
    probabilities = fitted.predict_proba(features)
    assert probabilities.shape == (90, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    predicted = fitted.classes_[probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(fitted.predict(features), predicted)
    assert len(fitted.history_) == 60
    assert 1 <= fitted.best_epoch_ <= 60
    assert fitted.model_config_.circuit.num_qubits == 2


def test_it_pickles(fitted, blobs):
    features, _ = blobs
    stored = pickle.dumps(fitted)
    assert len(stored) < 50_000
    np.testing.assert_array_equal(
        pickle.loads(stored).predict_proba(features), fitted.predict_proba(features)
    )
    with pytest.raises(NotFittedError):
        clone(fitted).predict(features)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"circuit": "radhi2026"}, "HybridClassifier: circuit.name: did you mean 'radhi2025'"),
        ({"middle": "quantums"}, "HybridClassifier: middle: did you mean 'quantum'"),
        ({"epochs": 0}, "HybridClassifier: epochs: .*greater than or equal to 1"),
        ({"backbone": {"name": "compact", "frozen": True}}, "neither a frozen backbone"),
    ],
)
def test_wrong_parameters_are_one_line(parameters, message, blobs):
    with pytest.raises(ConfigurationError, match=message) as caught:
        HybridClassifier(**{**SMALL, **parameters}).fit(*blobs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 2, 2, 2, 2), "X has 5 dimensions; expected features"),
        ((4, 8, 8), "expected images as uint8, or as floating-point numbers from 0 to 1"),
    ],
)
def test_arrays_that_are_no_images(shape, message):
    with pytest.raises(ValueError, match=message):
        HybridClassifier(**SMALL).fit(np.full(shape, 7.0), [0, 1, 0, 1])


def test_one_class_is_refused(blobs):
    with pytest.raises(ValueError, match="at least two classes, got one class"):
        HybridClassifier(**SMALL).fit(blobs[0], ["same"] * 90)


@pytest.mark.slow
def test_it_learns_images():
    random = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = random.integers(0, 60, (48, 16, 16), np.uint8)
    images[labels == 1, :8] += 150
    classifier = HybridClassifier(**{**SMALL, "backbone": "five_layer_cnn", "batch_size": 16})
    assert classifier.fit(images, labels).score(images, labels) > 0.9
    np.testing.assert_allclose(
        classifier.predict_proba(images / 255), classifier.predict_proba(images), atol=1e-6
    )
    with pytest.raises(ValueError, match=r"X has samples of shape \(16, 8, 1\)"):
        classifier.predict(images[:, :, :8])


@pytest.fixture
def unchecked():
    """Annotations are checked in tests only; scikit-learn gives parameters of every kind."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.slow
@parametrize_with_checks([HybridClassifier(num_qubits=2, num_layers=1)])
def test_it_is_what_scikit_learn_asks_for(estimator, check, unchecked):
    check(estimator)
