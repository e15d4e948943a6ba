"""Whatever an input has become, the command that reads it says so in one line."""

import importlib
import sys

import numpy as np
import PIL.Image
import pytest
from flax import nnx
from safetensors.numpy import save_file

from hqnn_jax.ablation import run as ablation_run
from hqnn_jax.backbones.efficientnet import EfficientNetB0
from hqnn_jax.backbones.pretrained import load_pretrained
from hqnn_jax.config import Config
from hqnn_jax.errors import HqnnError
from hqnn_jax.experiments.aml2026 import study as aml2026
from hqnn_jax.progress import Progress
from hqnn_jax.runs import run as runs_module
from hqnn_jax.runs.setup import check_model, load_setup
from tests.command_line import call
from tests.damaged_files.scenes import (
    ABLATION,
    NOT_BEGUN,
    SMALL,
    Scene,
    configuration,
    files,
    fuzz,
    not_begun,
    tried,
)

CIRCUIT = """
import pennylane as qml

from hqnn_jax.circuits import Circuit


def circuit(num_qubits, num_layers):
    def function(features, weights):
        for wire in range(num_qubits):
            qml.RY(features[wire], wire)
            qml.RX(weights[wire], wire)
        return [qml.expval(qml.Z(wire)) for wire in range(num_qubits)]

    return Circuit.from_function(
        function, num_qubits=num_qubits, num_features=num_qubits, weights_shape=(num_qubits,)
    )
"""
SYNTHETIC = "  synthetic: {train_images: 32, validation_images: 16, test_images: 24}\n"


def loading(config: Config, *_: object, **__: object) -> None:
    """Load the dataset and the backbone's features in the place of training."""
    load_setup(config, Progress(terminal=False))
    not_begun()


def checking(config: Config, *_: object, **__: object) -> None:
    """Check the model in the place of training."""
    check_model(config.model)
    not_begun()


@pytest.fixture(scope="module")
def run_config(place) -> Scene:
    folder = place / "config"
    folder.mkdir()
    config = folder / "small.yaml"
    config.write_text(SMALL)

    command = ("run", config, "--out", folder / "out")
    return Scene(folder, [config], command, (), [(runs_module, "train", checking)])


@pytest.fixture(scope="module")
def table_config(place) -> Scene:
    path = place / "tables" / "table.yaml"
    text = "dataset: {name: synthetic_cells}\nsizes: [10]\n"
    command = ("paper", "aml2026", "--config", path, "--out", path.parent / "out")
    return configuration(path, text, *command, begins=(aml2026, "run"))


@pytest.fixture(scope="module")
def ablation_config(place) -> Scene:
    path = place / "ablations" / "ablation.yaml"
    command = ("ablate", path, "--out", path.parent / "out")
    return configuration(path, ABLATION, *command, begins=(ablation_run, "run_ablation"))


@pytest.fixture(scope="module")
def circuit(place) -> Scene:
    folder = place / "modules"
    folder.mkdir(exist_ok=True)
    path = folder / "damaged_circuit.py"
    path.write_text(CIRCUIT)
    config = place / "own_circuit.yaml"
    config.write_text(
        SMALL.replace(
            "{name: radhi2025, num_qubits: 2, num_layers: 1}",
            '{name: "damaged_circuit:circuit", num_qubits: 2}',
        )
    )

    def start() -> None:
        sys.modules.pop("damaged_circuit", None)
        importlib.invalidate_caches()
        code, _, err = call("run", config, "--out", place / "own")
        if code:
            raise HqnnError(err.removeprefix("error: ").strip())

    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    yield Scene(folder, [path], start, (), [(runs_module, "train", checking)])
    sys.dont_write_bytecode = kept


@pytest.fixture(scope="module")
def images(place) -> Scene:
    folder = place / "data"
    config = place / "images.yaml"
    shares = "split: {method: stratified, validation: 0.3, test: 0.3}"
    config.write_text(
        SMALL.replace(
            "name: synthetic_cells", f"name: medical_mnist\n  data_dir: {folder}\n  {shares}"
        ).replace(SYNTHETIC, "")
    )
    names = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
    rng = np.random.default_rng(1)
    for number, suffix in enumerate(("png", "jpg", "bmp", "tif") * 3):
        for name in names:
            path = folder / "medical_mnist" / name / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8)).save(path)
    command = ("run", config, "--out", place / "images_out")
    return Scene(folder, files(folder, "**/*"), command, (), [(runs_module, "train", loading)])


@pytest.fixture(scope="module")
def cached(place) -> Scene:
    """Features of the frozen backbone, and prepared images."""
    config = place / "cached.yaml"
    config.write_text(SMALL)
    folder = place / "cached"
    command = ("run", config, "--out", place / "cached_out")
    scene = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(folder))
        patch.setattr(runs_module, "train", loading)
        code, _, err = call(*command)
        assert (code, err.strip().splitlines()[-1]) == (1, f"error: {NOT_BEGUN}")

        def start() -> None:
            with pytest.MonkeyPatch.context() as inner:
                inner.setenv("HQNN_CACHE_DIR", str(folder))
                code, _, err = call(*command)
            assert code == 1
            raise HqnnError(err.strip().splitlines()[-1].removeprefix("error: "))

        found = files(folder, "**/*")
        scene = Scene(
            folder, found, start, tuple(p.name for p in found), [(runs_module, "train", loading)]
        )
    return scene


@pytest.fixture(scope="module")
def weights(place) -> Scene:
    """Few tensors of a network that has many: what is wrong is found before anything is read."""
    path = place / "weights" / "weights.safetensors"
    path.parent.mkdir()
    save_file(
        {"conv_stem.weight": np.ones((32, 3, 3, 3), np.float32)}, path, metadata={"mean": "[0.5]"}
    )
    module = nnx.eval_shape(lambda: EfficientNetB0(num_classes=None, rngs=nnx.Rngs(0)))
    return Scene(path.parent, [path], lambda: load_pretrained(module, path), ends="does not fit")


@pytest.mark.parametrize(
    ("name", "examples"),
    tried(
        {
            "run_config": 30,
            "table_config": 12,
            "ablation_config": 12,
            "circuit": 24,
            "images": 12,
            "cached": 6,
            "weights": 24,
        }
    ),
)
def test_a_damaged_file_is_one_line(request, name, examples):
    fuzz(request.getfixturevalue(name), examples)
