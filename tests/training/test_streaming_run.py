"""Training on images read from disk is bitwise training on the same images in memory."""

import numpy as np
import pytest

import hqnn_jax.runs.run
from hqnn_jax.config import Config
from hqnn_jax.data.records import RecordImages
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.training.interrupt import Interrupted


def config(shared_data, storage: str) -> Config:
    return Config.model_validate(
        {
            "dataset": {
                "name": "pbc",
                "data_dir": shared_data,
                "images_per_class": 20,
                "storage": storage,
            },
            "model": {
                "backbone": {"name": "five_layer_cnn", "image_size": 28},
                "processor": {"widths": []},
                "circuit": {"name": "radhi2025", "num_qubits": 2, "num_layers": 1},
            },
            "training": {
                "epochs": 2,
                "batch_size": 16,
                "augmentation": {"horizontal_flip": True},
            },
            "evaluation": {"bootstrap_samples": 100, "explained_images": 0},
        }
    )


@pytest.fixture
def predictions(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))

    def predictions(storage: str, stop_after: int | None = None) -> dict[str, np.ndarray]:
        settings, quiet = config(shared_data, storage), Progress(terminal=False)
        folder = RunFolder(tmp_path / f"{storage}{stop_after}")
        if stop_after is not None:
            polls = iter(range(stop_after))
            original = hqnn_jax.runs.run.fit

            def stopped(*arguments, **options):
                options["stop"] = lambda: next(polls, None) is None
                return original(*arguments, **options)

            with monkeypatch.context() as patch:
                patch.setattr(hqnn_jax.runs.run, "fit", stopped)
                with pytest.raises(Interrupted):
                    hqnn_jax.runs.run.train(settings, folder, resume=False, progress=quiet)
        hqnn_jax.runs.run.train(settings, folder, resume=stop_after is not None, progress=quiet)
        with np.load(folder.predictions) as arrays:
            return dict(arrays)

    return predictions


def test_streamed_training_is_bitwise_training_in_memory(predictions, shared_data):
    expected = predictions("device")
    for found in (predictions("stream"), predictions("stream", stop_after=3)):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    setup = load_setup(config(shared_data, "stream"), Progress(terminal=False))
    assert isinstance(setup.inputs["train"], RecordImages)
