"""The hybrid network as an estimator of scikit-learn: `HybridClassifier().fit(X, y)`."""

from hqnn_jax.estimators.classifier import HybridClassifier

__all__ = ["HybridClassifier"]
