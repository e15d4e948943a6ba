"""What a run has left predicts as the run has evaluated it."""

import dataclasses
from pathlib import Path

import numpy as np

from hqnn_jax import load
from hqnn_jax.config.loading import load_config
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.trained.model import TrainedModel


def assert_predicts_as_evaluated(run: Path, *, atol: float = 1e-5) -> TrainedModel:
    """Compare with `predictions.npz`, where probabilities are those before temperature."""
    model = load(run)
    test = load_dataset(load_config(run / "config.yaml").dataset).test
    record = model.record.model_copy(update={"temperature": 1.0})
    found = dataclasses.replace(model, record=record).predict(np.asarray(test.images))
    with np.load(run / "predictions.npz") as stored:
        seed = stored["seeds"].tolist().index(record.origin.seed)
        expected = stored["test_probabilities"][seed]
    np.testing.assert_allclose(found.probabilities, expected, rtol=0, atol=atol)
    return model
