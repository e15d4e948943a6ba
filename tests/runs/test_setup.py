"""Loading a set-up after another: what is taken from it, and what is not."""

import numpy as np
import pytest

from hqnn_jax.config import Config
from hqnn_jax.progress import Progress
from hqnn_jax.runs.setup import load_next, load_setup

QUIET = Progress(terminal=False)
CONFIG = {
    "dataset": {
        "name": "synthetic_cells",
        "resolution": 28,
        "synthetic": {"train_images": 40, "validation_images": 10, "test_images": 10},
    },
    "model": {"backbone": {"name": "compact", "image_size": 16, "frozen": True}},
    "training": {"epochs": 1, "batch_size": 16},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))


def test_another_seed_has_the_features_of_its_own_backbone():
    """A frozen backbone without weights of its own is drawn from the seed."""
    first, second = (Config.model_validate({**CONFIG, "seed": seed}) for seed in (0, 1))
    setup = load_setup(first, QUIET)
    after = load_next(setup, second)
    assert after.dataset is setup.dataset
    alone = load_setup(second, QUIET)
    np.testing.assert_array_equal(after.inputs["test"], alone.inputs["test"])
    assert not np.array_equal(after.inputs["test"], setup.inputs["test"])


def test_another_evaluation_has_the_features_that_are_there():
    setup = load_setup(Config.model_validate(CONFIG), QUIET)
    after = load_next(setup, Config.model_validate({**CONFIG, "evaluation": {"shots": 10}}))
    assert after.inputs is setup.inputs
    assert after.config.evaluation.shots == 10
